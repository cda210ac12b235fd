"""Tables as people have them, .csv and .tsv: which delimiter, which quotes, is the first line a header.

Everything is decided from the whole file, never from its ending, and by these rules:

* The delimiter is the one of comma, semicolon, tab and pipe that stands in the first line and gives every row as many
  cells; a line ``sep=;`` on top, as Excel writes it, names it. Two that do so are refused, unless `column` decides.
* Quotes are RFC 4180's. Between tabs or pipes they may also be part of the text: whichever reading gives every row its
  number of cells holds for the whole file, and where both do, the quoted one.
* A quote that opens and never closes as it should costs its own line, not the lines below: in a file of one column
  the line is taken as it stands and counted in the notes; in a table the row is left out and counted.
* The first line is a header where `column` or a name such as ``text`` stands in it, or where every cell looks like a
  name: no number, no full stop at the end. Lines of text without a header are read whole, which the notes say; a
  table without one is refused.
* A row longer than the header is an error with its line number; where `column` was given it is left out and counted.
  Only where every other cell is a number, the surplus can belong to the text alone: then it is put together again.
  A row shorter than the header is left out and counted, unless numbers stand before its text.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hncse.errors import HncseError, unknown

__all__ = ["TEXT_NAMES", "Bad", "Tally", "header", "pick_column", "read"]

#: Column names that need no choosing.
TEXT_NAMES: tuple[str, ...] = ("text", "sentence", "texts", "sentences")

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_NONE = "\x1f"  # a delimiter that stands in no line: one column
_NUMBER = re.compile(r"\s*[+-]?\d[\d.,]*(e[+-]?\d+)?\s*%?\s*", re.IGNORECASE)
_SEP_LINE = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)
_MOST_WORDS, _LONGEST_NAME = 6, 60  # of a column's name
_OF_PAIRS = re.compile(
    r"(positive|negative|hard_?neg|anchor|query|question|answer|passage|premise|hypothesis)s?(_?\d+)?$"
)
_LONG, _SHORT, _OPEN = "row longer than the header", "row shorter than the header", "quote left open"
_AS_IT_STANDS = "a line whose quotes do not close or whose delimiters mean nothing, taken as it stands"

Lines = Callable[[], Iterator[str]]  # opens the file anew


@dataclass(frozen=True)
class Bad:
    """A record that holds no text; ``reason`` is counted under its name."""

    reason: str


@dataclass
class Tally:
    """What was met while reading, how often, and where first.

    Attributes:
        counts: Occurrences by reason.
        first: Number of the first line of each (a record's number, where there are no lines).
        remarks: Sentences about the file as a whole.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, reason: str, line: int) -> None:
        """Count one occurrence."""
        self.counts[reason] += 1
        self.first.setdefault(reason, line)

    def unused(self, columns: Iterable[str], used: Sequence[str]) -> None:
        """Note columns that look like a part of pairs or triplets and are not read."""
        names = [name for name in columns if name not in used and _OF_PAIRS.match(name.strip().lower())]
        self.remarks += [f"column {name!r} is not used" for name in dict.fromkeys(names)]

    def lines(self) -> list[str]:
        """Everything noted, a sentence each."""
        counted = [f"{n:,} × {what} (first at line {self.first[what]:,})" for what, n in self.counts.items()]
        return [*dict.fromkeys(self.remarks), *counted]


class _Row(NamedTuple):
    line: int  # its first line in the file
    cells: list[str] | None  # None: a quote in it does not close as it should
    raw: str  # its first line as it stands


@dataclass(frozen=True)
class _Layout:
    """How a file is to be cut into cells, and what comes of it."""

    delimiter: str
    quotes: str  # "rfc", "rfc after blanks" or "text"
    skip: int  # lines before the header
    header: list[str] = field(default_factory=list)
    uneven: int = 0  # rows with another number of cells than the header, or with a quote left open
    stray: bool = False  # some cell has a lone quote, as where a quoted delimiter is taken for one

    def rows(self, lines: Iterable[str]) -> Iterator[_Row]:
        """Cut lines into rows; a row whose quotes do not close takes no more than its own line."""
        source, again, taken = islice(lines, self.skip, None), deque[str](), list[str]()

        def reader() -> Iterator[list[str]]:
            return csv.reader(
                following(),
                delimiter=self.delimiter,
                quoting=csv.QUOTE_NONE if self.quotes == "text" else csv.QUOTE_MINIMAL,
                skipinitialspace=self.quotes == "rfc after blanks",
                strict=True,
            )

        def following() -> Iterator[str]:
            while (line := again.popleft() if again else next(source, None)) is not None:
                taken.append(line)
                yield line

        cut, number = reader(), self.skip + 1
        while True:
            taken.clear()
            try:
                cells = next(cut, None)
            except csv.Error:
                again.extendleft(reversed(taken[1:]))
                del taken[1:]
                cut = reader()
                cells = None if '"' in taken[0] else taken[0].split(self.delimiter)  # longer than csv allows
            if not taken:
                return
            yield _Row(number, cells, taken[0].rstrip("\r\n"))
            number += len(taken)


def read(
    path: Path, lines: Lines, columns: Sequence[str | None], notes: Tally
) -> Iterator[tuple[int, tuple[str | Bad, ...]]]:
    """Read columns of a table: line number, counted from 1, and their cells.

    Args:
        path: Its name, for messages.
        lines: Opens the file and yields its lines with their ends; called several times.
        columns: Which columns; None stands for the only one, or the one called ``text`` or ``sentence``.
        notes: Told what was decided and repaired.

    Raises:
        HncseError: A column that is not there or must be chosen, no header, a delimiter that cannot be told, a row
            longer than the header where no column was given.
    """
    asked = [column for column in columns if column is not None]
    layout = _layout(path, lines, asked)
    if layout is None:
        return
    if _has_header(path, layout, asked, lines, notes):
        if layout.quotes == "text":
            notes.remarks.append("quotes are a part of its text: read as they stand")
        rows = layout.rows(lines())
        top = next(row.line for row in rows if row.raw.strip())
    else:
        notes.remarks.append(
            "it has no line of column names and is read as text, one sentence a line; .txt is its proper ending"
        )
        layout, top, columns = _Layout(_NONE, "rfc", layout.skip, ["text"]), 0, [None] * len(columns)
        rows = layout.rows(lines())
    header, delimiter = layout.header, layout.delimiter
    places = [header.index(pick_column(header, column, str(path))) for column in columns]
    notes.unused(header, [header[place] for place in places])
    for row in rows:
        seen = row.raw if row.cells is None else delimiter.join(row.cells)
        if not seen.strip(f' \t\r\n"{delimiter}'):
            yield row.line, ("",) * len(places)
            continue
        cells = _cells(row, len(header), places, delimiter, notes)
        if cells == Bad(_LONG) and not asked:
            raise HncseError(
                f"{path}, line {row.line}: {len(row.cells or ())} cells separated by a {_DELIMITERS[delimiter]}, the "
                f"header (line {top}) has {len(header)}: {_shown(row.raw)}. Put the text in double quotes, or choose "
                "a column with column=, which leaves such rows out and counts them"
            )
        yield row.line, (cells,) * len(places) if isinstance(cells, Bad) else cells


def header(path: Path, lines: Lines) -> tuple[list[str], dict[str, str]]:
    """Names of a table's columns, and a row with those that hold text, not numbers alone; two columns at least."""
    layout = _layout(path, lines, [])
    if layout is None or len(layout.header) < 2 or not _has_header(path, layout, [], lines, Tally()):
        raise HncseError(f"{path} has no line of names for two columns or more on top, such as 'anchor,positive'")
    rows = (row.cells for row in layout.rows(lines()) if row.cells and any(map(str.strip, row.cells)))
    next(rows)  # the names
    cells = (pair for row in rows for pair in zip(layout.header, row, strict=False))
    return layout.header, {name: "" for name, cell in cells if cell.strip() and not _number(cell.strip())}


def pick_column(columns: Sequence[str], asked: str | None, source: str) -> str:
    """The column to read; an `HncseError` where it is not there, or there are several and none was asked for."""
    if asked is not None:
        if asked not in columns:
            raise unknown(f"column of {source}", asked, map(_printable, columns))
        if list(columns).count(asked) > 1:
            raise HncseError(f"{source} has {list(columns).count(asked)} columns called {asked!r}; rename all but one")
        return asked
    named = [name for name in columns if name.strip().lower() in TEXT_NAMES]
    if len(columns) == 1 or len(named) == 1:
        return (named or columns)[0]
    names = ", ".join(_printable(name) or "(no name)" for name in columns)
    raise HncseError(
        f"{source} has several columns; choose one with column=: {names} (of rows of anchor, positive, negatives: "
        "positives= and negatives= too, or pairs=True for all in this order)"
    )


def _cells(row: _Row, width: int, places: list[int], delimiter: str, notes: Tally) -> tuple[str, ...] | Bad:
    """The wanted cells of a row, or why they cannot be told."""
    cells = row.cells
    if width == 1 and (cells is None or len(cells) != 1):  # one column: the whole line is its text
        notes.add(_AS_IT_STANDS, row.line)
        cells = [row.raw]
    if cells is None:
        return Bad(_OPEN)
    if len(cells) > width:
        repaired = None if '"' in row.raw else _repaired(cells, width, places, delimiter)
        if repaired is None:
            return Bad(_LONG)
        notes.add("a row with unquoted delimiters in its text, put together again", row.line)
        cells = repaired
    elif len(cells) < width:
        last = max(places)
        numbers = [cell for place, cell in enumerate(cells[:last]) if place not in places]
        if last >= len(cells) or _number(cells[last]) or not all(map(_number, numbers)):
            return Bad(_SHORT)
        notes.add("a row shorter than the header, its text read all the same", row.line)
    if any("\n" in cells[place] or "\r" in cells[place] for place in places):
        notes.add("a quoted cell over several lines, joined by spaces", row.line)
    return tuple(cells[place] for place in places)


def _repaired(cells: list[str], width: int, places: list[int], delimiter: str) -> list[str] | None:
    """Put a text with unquoted delimiters together again, where nothing else than numbers stands around it."""
    if len(places) != 1:
        return None
    before, after = places[0], len(cells) - (width - 1 - places[0])
    inner = cells[before:after]
    at_the_edge = [inner[0]] * (before > 0) + [inner[-1]] * (after < len(cells))  # a number there may be a column's
    if not all(map(_number, cells[:before] + cells[after:])) or any(map(_number, at_the_edge)):
        return None
    return [*cells[:before], delimiter.join(inner), *cells[after:]]


def _layout(path: Path, lines: Lines, asked: list[str]) -> _Layout | None:
    """Find the layout of a file; None where it holds nothing but blank lines."""
    place, first = next(((place, line) for place, line in enumerate(lines()) if line.strip()), (0, ""))
    if not first:
        return None
    if "\0" in first:
        raise HncseError(f"{path} holds zero bytes: it is UTF-16 (Excel's 'Unicode text') or no text; save it as UTF-8")
    skip, delimiters = 0, list(_DELIMITERS)
    if named := _SEP_LINE.fullmatch(first.strip("\r\n ")):
        skip, delimiters = place + 1, [named[1]]
        first = next((line for line in islice(lines(), skip, None) if line.strip()), "")
    layouts = [_best(lines, delimiter, skip) for delimiter in delimiters if delimiter in first]
    layouts = [layout for layout in layouts if len(layout.header) > 1]
    if not layouts:
        return _surveyed(lines, _NONE, "rfc", skip)

    def names_text(layout: _Layout) -> bool:
        if asked:
            return set(asked) <= set(layout.header)
        return any(name.lower() in TEXT_NAMES for name in layout.header)

    for good in (lambda it: not it.uneven, lambda it: not it.stray, names_text):
        layouts = [layout for layout in layouts if good(layout)] or layouts
    if len(layouts) > 1:
        read_as = "; ".join(f"{_DELIMITERS[layout.delimiter]}: {_shown(layout.header)}" for layout in layouts)
        raise HncseError(f"{path}: what separates its columns cannot be told ({read_as}); choose one with column=")
    return layouts[0]


def _best(lines: Lines, delimiter: str, skip: int) -> _Layout:
    """The reading of quotes that leaves the fewest uneven rows; of equal ones the first."""
    best = _surveyed(lines, delimiter, "rfc", skip)
    for quotes in ("rfc after blanks", *(("text",) if delimiter in "\t|" else ())):
        if best.uneven:
            best = min(best, _surveyed(lines, delimiter, quotes, skip), key=lambda layout: layout.uneven)
    return best


def _surveyed(lines: Lines, delimiter: str, quotes: str, skip: int) -> _Layout:
    """Cut a whole file, and say what comes of it."""
    header: list[str] = []
    uneven, stray = 0, False
    for row in _Layout(delimiter, quotes, skip).rows(lines()):
        if not header:
            header = [name.strip() for name in row.cells or [row.raw]] if row.raw.strip() else []
        elif row.cells is None or (len(row.cells) != len(header) and any(map(str.strip, row.cells))):
            uneven += 1
        if '"' in row.raw and not stray:
            stray = any(cell.count('"') % 2 for cell in row.cells or ())
    return _Layout(delimiter, quotes, skip, header, uneven, stray)


def _has_header(path: Path, layout: _Layout, asked: list[str], lines: Lines, notes: Tally) -> bool:
    """Say whether the first line names columns; where it does not, the lines must be sentences."""
    header = layout.header
    if len(header) > 1:
        if asked or any(cell.lower() in TEXT_NAMES for cell in header) or all(map(_is_name, header)):
            return True
        if not layout.skip and _is_text(lines, layout.delimiter):
            return False
        raise HncseError(
            f"{path}: its first line names no columns: {_shown(header)}. Put a line of names on top, for example "
            "'id,text,label', or, where each line is one sentence, rename the file to .txt"
        )
    _check_single(path, header[0], asked, lines)
    if asked or header[0].lower() in TEXT_NAMES:
        return True
    if _is_name(header[0]):
        notes.remarks.append(f"the first line, {_printable(header[0])!r}, is taken for the column's name")
        return True
    return False


def _check_single(path: Path, name: str, asked: list[str], lines: Lines) -> None:
    """Refuse a file of one column whose rows hold several, or whose first line may be a name as well as a sentence."""
    rows = [line for line in lines() if line.strip()][1:]
    for delimiter, called in _DELIMITERS.items():
        counts = {_count(line, delimiter) for line in rows}
        if len(counts) == 1 and 0 not in counts:
            raise HncseError(
                f"{path}: every line below the first has {counts.pop()} {called}(s), the first, {_shown(name)}, has "
                "none: it is no header of these columns"
            )
    if asked or name.lower() in TEXT_NAMES or not _is_name(name):
        return
    if " " in name or any("," in line and '"' not in line for line in rows):
        raise HncseError(
            f"{path}: its first line, {_shown(name)}, may be a column's name or a sentence. This looks like text: "
            "rename the file to .txt if each line is a sentence, or name the column with column="
        )


def _is_name(cell: str) -> bool:
    """Say whether a cell may be a column's name: short, no number, and no sentence."""
    if len(cell.split()) > _MOST_WORDS or len(cell) > _LONGEST_NAME or _number(cell):
        return False
    return cell.lower() in ("no.", "nr.") or not cell.rstrip("\"')”’").endswith((".", "!", "?", "…", "。"))


def _is_text(lines: Lines, delimiter: str) -> bool:
    """Say whether lines without a header are sentences: delimiters here and there, no column of numbers at an end."""
    if delimiter == "\t":
        return False
    first = last = True
    counts: set[int] = set()
    for line in filter(str.strip, lines()):
        cells = line.split(delimiter)
        counts.add(_count(line, delimiter))
        first, last = first and _number(cells[0]), last and _number(cells[-1])
    return not first and not last and (counts == {0} or len(counts) > 1)


def _count(line: str, delimiter: str) -> int:
    """Delimiters of a line; commas before a blank are punctuation."""
    return line.count(delimiter) - (line.count(", ") if delimiter == "," else 0)


def _number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(seen: object) -> str:
    text = _printable(repr(seen))
    return text if len(text) <= 120 else text[:119] + "…"
