"""One table, three ways to print it: Markdown, LaTeX (booktabs) and HTML.

A `Sheet` is a caption that says what the numbers are, blocks of rows under one head, and numbered notes (sources).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hncse.text import Markup, html, latex
from hncse.text import markdown as escaped
from hncse.text import table as markdown

__all__ = ["FORMATS", "Block", "Sheet", "to_html", "to_latex", "to_markdown"]

_MISSING = "–"


@dataclass(frozen=True)
class Block:
    """Rows under a title of their own.

    Attributes:
        title: What they have in common.
        rows: Cells, as many as the sheet's head; "" where a figure is not given.
        notes: Number of each row's note, or None.
    """

    title: str
    rows: list[list[str]]
    notes: list[int | None] = field(default_factory=list)

    def note(self, row: int) -> int | None:
        """Number of a row's note."""
        return self.notes[row] if row < len(self.notes) else None


@dataclass(frozen=True)
class Sheet:
    """A table, ready to print.

    Attributes:
        name: File name without ending, and the LaTeX label.
        caption: What the numbers are: measure, split, pooling, seeds, interval.
        head: Names of the columns.
        blocks: Rows.
        text: How many columns, from the first, are text and not numbers.
        notes: Numbered from 1.
    """

    name: str
    caption: str
    head: list[str]
    blocks: list[Block]
    text: int = 1
    notes: list[str] = field(default_factory=list)


def to_markdown(sheet: Sheet) -> str:
    """Write a sheet as Markdown, a table for each block."""
    parts = [escaped(sheet.caption)]
    for block in sheet.blocks:
        rows = [
            [Markup(f"{escaped(row[0])} [{block.note(i)}]") if block.note(i) else row[0]]
            + [cell or _MISSING for cell in row[1:]]
            for i, row in enumerate(block.rows)
        ]
        parts += [f"**{escaped(block.title)}**", markdown(sheet.head, rows, left=sheet.text)]
    if sheet.notes:
        parts.append("\n".join(f"[{i}] {escaped(note)}  " for i, note in enumerate(sheet.notes, 1)))
    return "\n\n".join(parts) + "\n"


def to_latex(sheet: Sheet) -> str:
    """Write a sheet as a LaTeX table; the document needs booktabs and graphicx."""
    columns = "l" * sheet.text + "r" * (len(sheet.head) - sheet.text)
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(sheet.caption)}}}",
        rf"\label{{tab:{sheet.name}}}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(latex(name) for name in sheet.head) + r" \\",
    ]
    for block in sheet.blocks:
        lines += [r"\midrule", rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{latex(block.title)}}}}} \\"]
        for i, row in enumerate(block.rows):
            mark = rf"\textsuperscript{{{block.note(i)}}}" if block.note(i) else ""
            cells = [latex(row[0]) + mark, *(latex(cell or _MISSING) for cell in row[1:])]
            lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if sheet.notes:
        notes = "; ".join(rf"\textsuperscript{{{i}}}{latex(note)}" for i, note in enumerate(sheet.notes, 1))
        lines.append(rf"\par\smallskip\footnotesize {notes}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def to_html(sheet: Sheet) -> str:
    """Write a sheet as an HTML table without styles of its own."""
    head = "".join(f'<th scope="col">{html(name)}</th>' for name in sheet.head)
    lines = [f'<table id="{sheet.name}">', f"<caption>{html(sheet.caption)}</caption>"]
    lines += [f"<thead><tr>{head}</tr></thead>"]
    for block in sheet.blocks:
        title = f'<th colspan="{len(sheet.head)}" scope="rowgroup">{html(block.title)}</th>'
        lines += ["<tbody>", f"<tr>{title}</tr>"]
        for i, row in enumerate(block.rows):
            mark = f"<sup>{block.note(i)}</sup>" if block.note(i) else ""
            cells = f'<th scope="row">{html(row[0])}{mark}</th>'
            for c, cell in enumerate(row[1:], 1):
                align = "" if c < sheet.text else ' style="text-align:right"'
                cells += f"<td{align}>{html(cell or _MISSING)}</td>"
            lines.append(f"<tr>{cells}</tr>")
        lines.append("</tbody>")
    lines.append("</table>")
    if sheet.notes:
        lines += ["<ol>", *(f"<li>{html(note)}</li>" for note in sheet.notes), "</ol>"]
    return "\n".join(lines) + "\n"


#: Format → how it is written; the file's ending.
FORMATS: dict[str, Callable[[Sheet], str]] = {"md": to_markdown, "tex": to_latex, "html": to_html}
