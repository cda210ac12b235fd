"""Settings of the book's pages: Sphinx, MyST-NB and a theme, all from PyPI; nothing is fetched while a page is read."""

import html
from collections.abc import Callable
from typing import Any

from docutils.nodes import SkipNode

project, author, language = "HNCSE study kit", "the authors of the HNCSE study kit", "en"
html_title = "HNCSE study kit"
extensions = ["myst_nb"]
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make notebooks` has run them
nb_render_markdown_format = "myst"  # tables that a notebook prints are tables
exclude_patterns = ["downloads", "_shown"]
nitpicky = True

html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,  # a notebook's own line has both
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_static_path = ["_shown"]  # book/static, and what `python -m book` puts beside it
html_favicon = "_shown/icon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_css_files = ["katex/katex.min.css", "book.css"]
html_js_files = [("tables.js", {"type": "module"})]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "katex"


def _equation(kind: str) -> tuple[Callable[..., None], None]:
    def visit(translator: Any, node: Any) -> None:
        translator.body.append(f"<{kind} data-latex>{html.escape(node.astext(), quote=False)}</{kind}>")
        raise SkipNode

    return visit, None


def setup(app: Any) -> None:
    """Leave equations in the pages as they are written; book/equations.mjs renders them."""
    app.add_html_math_renderer("katex", _equation("span"), _equation("div"))
