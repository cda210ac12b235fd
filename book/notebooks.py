"""Notebooks as pages: links that hold in the book, pictures as files, the badge as plain links.

An executed notebook shows a figure as HTML with the picture inside it, in base64. Here the picture becomes a file that
is fetched when it comes into view, so that pages stay small. Alt text and caption stay as the notebook wrote them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import posixpath
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hncse.errors import HncseError
from tools.notebook_files import badge, repository

__all__ = ["Site", "code_links", "glossary", "linked", "page"]

_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\()([^)\s]+)(\))")
_PICTURE = re.compile(r'<img src="data:image/png;base64,([A-Za-z0-9+/=\s]+)"([^>]*)>')
_TERM = re.compile(
    r"^(?!.*\n\|-)(?P<before>\|.*?)(?P<whole>(?<!\[)\*\*(?P<bold>[^*|]+)\*\*|(?<=^\| )(?P<word>[A-Za-z -]+)(?= \|))",
    re.MULTILINE,
)
_AS_IT_IS = re.compile(
    r"(```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|!?\[(?:[^\[\]]|\[[^\[\]]*\])*\](?:\([^)]*\)|\{[^}]*\})?"
    r"|<[^>]+>|^[#<][^\n]*|^\{[^\n]*)",
    re.DOTALL | re.MULTILINE,
)


class Site:
    """Where pages are written to, and what links of the repository become there.

    Attributes:
        checkout: The repository's root.
        source: Folder of the pages, all side by side.
        pages: Path in the repository → page, for example ``figures/decision_boundary.html`` → ``explorer.md``.
    """

    def __init__(self, checkout: Path, source: Path, pages: Mapping[str, str]) -> None:
        """Begin with an empty folder of pages."""
        self.checkout, self.source, self.pages = checkout, source, dict(pages)
        (source / "pictures").mkdir(parents=True, exist_ok=True)

    def links(self, text: str, folder: str) -> str:
        """Rewrite the links of a Markdown text that lies in ``folder`` of the repository.

        A page of the book is linked as one, a picture is copied, any other file is shown by the repository's host.

        Raises:
            HncseError: A link to a file that is not there.
        """

        def one(match: re.Match[str]) -> str:
            start, target, end = match.groups()
            if re.match(r"[a-z]+:|#", target):
                return match.group()
            path, mark, anchor = target.partition("#")
            return start + self.place(posixpath.normpath(posixpath.join(folder, path))) + mark + anchor + end

        return _LINK.sub(one, text)

    def place(self, path: str) -> str:
        """What a file of the repository is called in the book."""
        if path in self.pages:
            return self.pages[path]
        file = self.checkout / path
        if not file.exists():
            raise HncseError(f"a page links {path}, which is not there")
        if file.suffix in (".png", ".svg", ".gif"):
            shutil.copyfile(file, self.source / "pictures" / file.name)
            return f"pictures/{file.name}"
        return f"{repository()}/{'tree' if file.is_dir() else 'blob'}/main/{path}"

    def picture(self, code: str) -> tuple[str, int, int]:
        """Write a PNG in base64 as a smaller file without loss; returns its place under the site, width, height."""
        from PIL import Image

        content = base64.b64decode(code)
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.webp"
        with Image.open(io.BytesIO(content)) as image:
            file = self.source / "_shown" / name
            if not file.exists():
                image.save(file, "webp", lossless=True, quality=60)
            return f"_static/{name}", image.width, image.height


def page(notebook: Any, name: str, site: Site, terms: Mapping[str, str]) -> Any:
    """Turn a notebook, executed or not, into one that Sphinx can read beside the other pages; returns the same object.

    Args:
        notebook: As nbformat reads it.
        name: Of its file, without ending.
        site: Takes pictures and knows links.
        terms: What `linked` links.

    Raises:
        HncseError: A link to a file that is not there, or a cell that ended in an error.
    """
    target = badge(name).rpartition("](")[2].rstrip(")")
    plain = f"{{.buttons}}\n[Open in Colab]({target}) {{download}}`Download this notebook <downloads/{name}.ipynb>`"
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # which knows %pip and !uv
    used: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = site.links(cell.source.replace(badge(name), plain), "notebooks")
            cell.source = linked(source, terms, used)
            continue
        if failed := [out for out in cell.get("outputs", []) if out.output_type == "error"]:
            raise HncseError(f"{name}: a cell ended in {failed[0].ename}: {failed[0].evalue}")
        cell.outputs = [shown for out in cell.get("outputs", []) if (shown := _output(out, site)) is not None]
    return notebook


def _output(out: Any, site: Site) -> Any:
    """An output as the page shows it; None where there is nothing to show without a kernel."""
    if out.output_type == "stream":
        return out if out.name == "stdout" and out.text.strip() else None
    data = out.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data:
        return None
    if "text/html" in data:
        out.data = {"text/html": _PICTURE.sub(_shown(site), data["text/html"])}
    return out


def _shown(site: Site) -> Callable[[re.Match[str]], str]:
    def one(match: re.Match[str]) -> str:
        place, width, height = site.picture(match.group(1))
        return f'<img loading="lazy" src="{place}" width="{width}" height="{height}"{match.group(2)}>'

    return one


def glossary(text: str) -> tuple[str, dict[str, str]]:
    """Give every word that the glossary's tables explain an anchor; returns the text, and word in lower case → link."""
    terms: dict[str, str] = {}

    def mark(match: re.Match[str]) -> str:
        term = match["bold"] or match["word"]
        anchor = "term-" + re.sub(r"\W+", "-", term.lower()).strip("-")
        terms.setdefault(term.lower(), f"GLOSSARY.md#{anchor}")
        return match["before"] + f"[{match['whole']}]{{#{anchor}}}"

    return _TERM.sub(mark, text), terms


def code_links(text: str) -> dict[str, str]:
    """Names of code that the glossary links, the last part of them alone, → where they stand."""
    return {name.rpartition(".")[2]: place for name, place in re.findall(r"\[`([\w.]+)`\]\(([^)]+)\)", text)}


def linked(source: str, terms: Mapping[str, str], used: set[str]) -> str:
    """Link words (and names in backticks) where a notebook first has them in its text.

    Headings, formulas, code, HTML and what is a link already stay as they are.

    Args:
        source: Markdown.
        terms: Word in lower case, or `name` with its backticks → link.
        used: What was linked before; what is linked now is added.
    """
    if not terms:
        return source
    words = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    one = re.compile(rf"(?<![\w-])(\*\*)?({words})(?:(?<=\w)s)?(?(1)\*\*)(?![\w-])", re.IGNORECASE)

    def link(match: re.Match[str]) -> str:
        term = match.group(2).lower()
        if term in used:
            return match.group()
        used.add(term)
        return f"[{match.group()}]({terms[term]})"

    parts = _AS_IT_IS.split(source)  # text, what stays, text, …
    parts[::2] = [one.sub(link, part) for part in parts[::2]]
    for i in range(1, len(parts), 2):
        if parts[i] in terms and parts[i] not in used:
            used.add(parts[i])
            parts[i] = f"[{parts[i]}]({terms[parts[i]]})"
    return "".join(parts)
