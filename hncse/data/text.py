r"""Text from outside (sentences of a corpus, names of files and runs) made harmless for the page it stands on.

Whoever shows such text escapes it here, once, for its format: `markdown`, `html`, `latex`, `picture`. What is markup
already, and ours, is `Markup` and stays as it is. `table` writes a Markdown table of escaped cells.
"""

from __future__ import annotations

import html as _html
import re
from collections.abc import Sequence

__all__ = ["Markup", "html", "latex", "markdown", "picture", "table"]

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "−": "$-$", "×": r"$\times$",
    "τ": r"$\tau$", "α": r"$\alpha$", "→": r"$\rightarrow$", "≤": r"$\leq$", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip
# What Markdown, with HTML, tables, links and Jupyter's formulas, reads as more than letters. An underscore within a
# word, a bracket that begins no link and a bare > are letters to it, and stay readable.
_MARKDOWN = re.compile(r"[\\`*|$]|(?<![^\W_])_|_(?![^\W_])|~(?=~)|(?<=~)~|\](?=[(\[:])")

_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


class Markup(str):
    """Markdown that the kit itself has written: not to be escaped again."""


def markdown(text: object) -> str:
    r"""Escape text for Markdown: it reads as it is and is no HTML, link, code, formula or end of a table's cell.

    Args:
        text: Anything; `Markup` stays as it is. Line breaks become spaces: a cell of a table is one line.
    """
    if isinstance(text, Markup):
        return text
    one_line = _one_line(str(text)).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(lambda match: "\\" + match[0], one_line)


def html(text: object) -> str:
    """Escape text for HTML and SVG, attributes included."""
    return _html.escape(_printable(str(text)))


def latex(text: object) -> str:
    """Escape text for LaTeX; the few signs of the kit's own tables become mathematics."""
    return "".join(_TEX.get(letter, letter) for letter in _one_line(str(text)))


def picture(text: object) -> str:
    """Text as one line for a picture of the kit, in whose style no text is read as a formula (`hncse.visual.style`)."""
    return " ".join(_one_line(str(text)).split())


def table(head: Sequence[object], body: Sequence[Sequence[object]], left: int = 1) -> str:
    """Write a Markdown table whose columns line up, so that it reads well as plain text, too.

    Args:
        head: Names of the columns.
        body: Rows of cells; all are escaped, but `Markup`.
        left: How many columns, from the first, are text and not numbers; "source" is text, too.
    """
    rows = [[markdown(cell) for cell in row] for row in (head, *body)]
    words = [column < left or name == "source" for column, name in enumerate(head)]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(head))]
    rules = ["-" * width if word else "-" * (width - 1) + ":" for width, word in zip(widths, words, strict=True)]
    aligned = (
        [cell.ljust(width) if word else cell.rjust(width) for cell, width, word in zip(row, widths, words, strict=True)]
        for row in (rows[0], rules, *rows[1:])
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in aligned)


def _one_line(text: str) -> str:
    return " ".join(_printable(text).splitlines())


def _printable(text: str) -> str:
    """Leave out control characters, which no page shows and some read; halves of a character become a sign for it."""
    return _CONTROL.sub("", text.encode("utf-8", "replace").decode("utf-8"))
