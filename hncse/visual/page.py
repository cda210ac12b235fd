"""An ES module in a notebook (anywidget) and in an HTML page that holds everything and needs no kernel."""

from __future__ import annotations

import functools
import html
import json
from pathlib import Path
from typing import Any

__all__ = ["html_page", "widget"]


def widget(script: Path, **state: Any) -> Any:
    """A widget that an ES module draws from a state: names → JSON-able values, each a synchronised trait."""
    return _kind(script, tuple(state))(**state)


@functools.cache
def _kind(script: Path, names: tuple[str, ...]) -> Any:
    """The widget's class; made when first used, so that importing this module needs no anywidget."""
    import anywidget
    import traitlets

    fields = {name: traitlets.Any().tag(sync=True) for name in names}
    return type("Picture", (anywidget.AnyWidget,), fields | {"_esm": script.read_text(encoding="utf-8")})


def html_page(title: str, script: Path, call: str, data: Any, wide: int = 976) -> str:
    """Write a page that fetches nothing and holds ``data``, JSON in which no text can end or open an element.

    ``call`` says what to do with ``el``, an element, and ``data``: one of the ES module's functions, called.
    """
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n"
        f'<body style="margin:16px auto;max-width:{wide}px">\n<div id="film"></div>\n'
        f'<script type="application/json" id="data">{text}</script>\n'
        f'<script type="module">\n{script.read_text(encoding="utf-8")}\n'
        'const el = document.getElementById("film"), data = JSON.parse(document.getElementById("data").textContent);\n'
        f"{call};\n</script>\n</body>\n</html>\n"
    )
