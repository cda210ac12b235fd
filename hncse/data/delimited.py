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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hncse.errors import HncseError, unknown

__all__ = ["TEXT_NAMES", "Bad", "Tally", "pick_column", "read"]

#: Column names that need no choosing.
TEXT_NAMES: tuple[str, ...] = ("text", "sentence", "texts", "sentences")

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_NONE = "\x1f"  # a delimiter that stands in no line: one column
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(e[+-]?\d+)?\s*%?", re.IGNORECASE)
_SEP_LINE = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)
_MOST_WORDS, _LONGEST_NAME = 6, 60  # of a column's name
_MATTERS = re.compile(
    r"(positive|negative|hard_?neg|anchor|query|question|answer|passage|premise|hypothesis)s?(_?\d+)?$"
)


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

    def remark(self, text: str) -> None:
        """Note a sentence once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def unused(self, columns: Iterable[str], used: Sequence[str]) -> None:
        """Note columns that look like a part of pairs or triplets and are not read."""
        for name in columns:
            if name not in used and _MATTERS.match(name.strip().lower()):
                self.remark(f"column {name!r} is not used")

    def lines(self) -> list[str]:
        """Everything noted, a sentence each."""
        return [
            *self.remarks,
            *(f"{n:,} × {what} (first at line {self.first[what]:,})" for what, n in self.counts.items()),
        ]


class _Row(NamedTuple):
    line: int  # its first line in the file
    cells: list[str] | None  # None: a quote in it does not close as it should
    raw: str  # its first line as it stands


@dataclass(frozen=True)
class _Layout:
    """How a file is to be cut into cells."""

    delimiter: str
    quotes: str  # "rfc", "rfc after blanks" or "text"
    skip: int = 0  # lines before the header

    def rows(self, lines: Iterable[str]) -> Iterator[_Row]:
        """Cut lines into rows; a row whose quotes do not close takes no more than its own line."""
        source, again, number = iter(lines), [], 0  # type: Iterator[str], list[str], int
        while (line := again.pop() if again else next(source, None)) is not None:
            number += 1
            raw = line.rstrip("\r\n")
            if number <= self.skip:
                continue
            if self.quotes == "text" or '"' not in line:
                yield _Row(number, raw.split(self.delimiter) if raw.strip() else [], raw)
                continue
            taken: list[str] = []
            cells = self._quoted(line, taken, again, source)
            if cells is None:
                again.extend(reversed(taken))
            yield _Row(number, cells, raw)
            number += len(taken) if cells is not None else 0

    def even_rows(self, lines: Iterable[str]) -> Iterator[_Row]:
        """As `rows`, for files without an open quote: many times quicker.

        Raises:
            csv.Error: A quote is left open.
        """
        spaced = self.quotes == "rfc after blanks"
        body = islice(lines, self.skip, None)
        reader = csv.reader(body, delimiter=self.delimiter, strict=True, skipinitialspace=spaced)
        line = self.skip + 1
        for cells in reader:
            yield _Row(line, cells, self.delimiter.join(cells))
            line = self.skip + reader.line_num + 1

    def _quoted(self, line: str, taken: list[str], again: list[str], source: Iterator[str]) -> list[str] | None:
        def feed() -> Iterator[str]:
            yield line
            while (more := again.pop() if again else next(source, None)) is not None:
                taken.append(more)
                yield more

        spaced = self.quotes == "rfc after blanks"
        try:
            return next(csv.reader(feed(), delimiter=self.delimiter, strict=True, skipinitialspace=spaced))
        except csv.Error:
            return None


@dataclass(frozen=True)
class _Survey:
    """What one layout makes of a whole file."""

    layout: _Layout
    header: list[str]
    uneven: int  # rows with another number of cells than the header, or with a quote left open

    def rows(self, lines: Iterable[str]) -> Iterator[_Row]:
        """Cut lines into rows."""
        quick = not self.uneven and self.layout.quotes != "text"
        return self.layout.even_rows(lines) if quick else self.layout.rows(lines)


def read(
    path: Path, lines: Callable[[], Iterator[str]], columns: Sequence[str | None], notes: Tally
) -> Iterator[tuple[int, tuple[str | Bad, ...]]]:
    """Read some columns of a table.

    Args:
        path: Its name, for messages.
        lines: Opens the file and yields its lines with their ends; called several times.
        columns: Which columns; None stands for the only one, or the one called ``text`` or ``sentence``.
        notes: Told what was decided and repaired.

    Yields:
        Line number, counted from 1, and the cells of the columns.

    Raises:
        HncseError: A column that is not there or must be chosen, no header, a delimiter that cannot be told, a row
            longer than the header where no column was given. The message names the line and what was seen.
    """
    survey = _survey(path, lines, columns)
    if survey is None:
        return
    places = _places(path, survey, columns, lines, notes)
    if places is None:
        yield from _plain(lines, len(columns), notes)
        return
    if survey.layout.quotes == "text":
        notes.remark("quotes are a part of its text: read as they stand")
    guessed = all(column is None for column in columns) and len(survey.header) > 1
    rows = survey.rows(lines())
    header = next(row for row in rows if row.raw.strip())
    notes.unused(survey.header, [survey.header[place] for place in places])
    nothing = f' \t"{survey.layout.delimiter}'
    for row in rows:
        if not row.raw.strip(nothing):
            yield row.line, ("",) * len(places)
            continue
        cells = _cells(row, len(survey.header), places, survey.layout.delimiter, notes)
        if guessed and isinstance(cells, Bad) and cells.reason == _LONG:
            raise HncseError(
                f"{path}, line {row.line}: {len(row.cells or ())} cells separated by a "
                f"{_DELIMITERS[survey.layout.delimiter]}, the header (line {header.line}) has {len(survey.header)}: "
                f"{_shown(row.raw)}. Put the text in double quotes, or choose a column with column=, which leaves "
                "such rows out and counts them"
            )
        yield row.line, (cells,) * len(places) if isinstance(cells, Bad) else cells


def pick_column(columns: Sequence[str], asked: str | None, source: str) -> str:
    """Return the column to read.

    Raises:
        HncseError: It does not exist, or there are several and none was asked for; the message lists them.
    """
    if asked is not None:
        if asked not in columns:
            raise unknown(f"column of {source}", asked, map(_printable, columns))
        if list(columns).count(asked) > 1:
            raise HncseError(f"{source} has {list(columns).count(asked)} columns called {asked!r}; rename all but one")
        return asked
    named = [name for name in columns if name.strip().lower() in TEXT_NAMES]
    if len(columns) == 1:
        return columns[0]
    if len(named) == 1:
        return named[0]
    names = ", ".join(_printable(name) or "(no name)" for name in columns)
    raise HncseError(f"{source} has several columns; choose one with column=: {names}")


_LONG, _SHORT, _OPEN = "row longer than the header", "row shorter than the header", "quote left open"


def _cells(row: _Row, width: int, places: list[int], delimiter: str, notes: Tally) -> tuple[str, ...] | Bad:
    """The wanted cells of a row, or why they cannot be told."""
    cells = row.cells
    if width == 1 and (cells is None or len(cells) != 1):  # one column: the whole line is its text
        notes.add("a line whose quotes do not close or whose delimiters mean nothing, taken as it stands", row.line)
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
        place = max(places)
        numbers = [cell for i, cell in enumerate(cells) if i < place and i not in places]
        if place >= len(cells) or _number(cells[place]) or not all(map(_number, numbers)):
            return Bad(_SHORT)
        notes.add("a row shorter than the header, its text read all the same", row.line)
    if any("\n" in cells[place] or "\r" in cells[place] for place in places):
        notes.add("a quoted cell over several lines, joined by spaces", row.line)
    return tuple(cells[place] for place in places)


def _repaired(cells: list[str], width: int, places: list[int], delimiter: str) -> list[str] | None:
    """Put a text with unquoted delimiters together again, where nothing else than numbers stands around it."""
    if len(places) != 1:
        return None
    before, after = places[0], width - 1 - places[0]
    inner = cells[before : len(cells) - after]
    around = cells[:before] + cells[len(cells) - after :]
    if not all(map(_number, around)) or (before and _number(inner[0])) or (after and _number(inner[-1])):
        return None
    return [*cells[:before], delimiter.join(inner), *cells[len(cells) - after :]]


def _survey(path: Path, lines: Callable[[], Iterator[str]], columns: Sequence[str | None]) -> _Survey | None:
    """Find the layout of a file; None where it holds nothing but blank lines."""
    top = next(((i, line) for i, line in enumerate(lines()) if line.strip()), None)
    if top is None:
        return None
    if "\0" in top[1]:
        raise HncseError(f"{path} holds zero bytes: it is UTF-16 (Excel's 'Unicode text') or no text; save it as UTF-8")
    skip, first, delimiters = 0, top[1], list(_DELIMITERS)
    if named := _SEP_LINE.fullmatch(first.strip("\r\n ")):
        skip, delimiters = top[0] + 1, [named[1]]
        first = next((line for i, line in enumerate(lines()) if i >= skip and line.strip()), "")
    surveys = [_best(lines, delimiter, skip) for delimiter in delimiters if delimiter in first]
    surveys = [survey for survey in surveys if len(survey.header) > 1]
    if not surveys:
        return _of_layout(lines, _Layout(_NONE, "rfc", skip))
    return _chosen(path, surveys, [column for column in columns if column is not None], lines)


def _chosen(path: Path, surveys: list[_Survey], asked: list[str], lines: Callable[[], Iterator[str]]) -> _Survey:
    """Choose among delimiters: even rows, then no stray quotes, then the columns asked for, or a telling name."""
    even = [survey for survey in surveys if not survey.uneven] or surveys
    if len(even) > 1:
        clean = [survey for survey in even if not _stray(survey, lines)]
        even = clean or even
    if len(even) > 1:
        wanted = set(asked) or set(TEXT_NAMES)
        named = [s for s in even if (wanted <= set(s.header) if asked else wanted & {n.lower() for n in s.header})]
        even = named or even
    if len(even) > 1:
        read_as = "; ".join(f"{_DELIMITERS[s.layout.delimiter]}: {_shown(s.header)}" for s in even)
        raise HncseError(f"{path}: what separates its columns cannot be told ({read_as}); choose one with column=")
    return even[0]


def _best(lines: Callable[[], Iterator[str]], delimiter: str, skip: int) -> _Survey:
    """The reading of quotes that leaves the fewest uneven rows; of equal ones the first."""
    best: _Survey | None = None
    for quotes in ("rfc", "rfc after blanks", *(("text",) if delimiter in "\t|" else ())):
        survey = _of_layout(lines, _Layout(delimiter, quotes, skip))
        if best is None or survey.uneven < best.uneven:
            best = survey
        if not best.uneven:
            break
    assert best is not None
    return best


def _of_layout(lines: Callable[[], Iterator[str]], layout: _Layout) -> _Survey:
    if layout.quotes != "text":
        try:
            survey = _counted(layout, layout.even_rows(lines()))
            if not survey.uneven:
                return survey
        except csv.Error:
            pass
    return _counted(layout, layout.rows(lines()))


def _counted(layout: _Layout, rows: Iterable[_Row]) -> _Survey:
    header: list[str] = []
    uneven = 0
    for row in rows:
        if not header:
            header = [name.strip() for name in row.cells or [row.raw]] if row.raw.strip() else []
        elif row.cells is None or (len(row.cells) != len(header) and any(cell.strip() for cell in row.cells)):
            uneven += 1
    return _Survey(layout, header, uneven)


def _stray(survey: _Survey, lines: Callable[[], Iterator[str]]) -> bool:
    """Say whether some cell has a lone quote in it, as where a quoted delimiter is taken for one."""
    return any(cell.count('"') % 2 for row in survey.rows(lines()) for cell in row.cells or ())


def _places(
    path: Path, survey: _Survey, columns: Sequence[str | None], lines: Callable[[], Iterator[str]], notes: Tally
) -> list[int] | None:
    """Where the columns stand; None where the file has no header and is lines of text."""
    header, asked = survey.header, [column for column in columns if column is not None]
    if not asked and len(header) > 1 and not _is_header(header):
        if _is_text(lines, survey.layout.delimiter):
            return None
        raise HncseError(
            f"{path}: its first line names no columns: {_shown(header)}. Put a line of names on top, for example "
            "'id,text,label', or, where each line is one sentence, rename the file to .txt"
        )
    if len(header) == 1:
        _check_single(path, header[0], asked, lines)
        if not asked and not _is_name(header[0]):
            return None
        if not asked and header[0].lower() not in TEXT_NAMES:
            notes.remark(f"the first line, {_printable(header[0])!r}, is taken for the column's name")
    return [header.index(pick_column(header, column, str(path))) for column in columns]


def _check_single(path: Path, name: str, asked: list[str], lines: Callable[[], Iterator[str]]) -> None:
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


def _plain(lines: Callable[[], Iterator[str]], width: int, notes: Tally) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Lines of text without a header, quotes around a whole line taken off where all of them are RFC's."""
    notes.remark("it has no line of column names and is read as text, one sentence a line; .txt is its proper ending")
    for row in _Layout(_NONE, "rfc").rows(lines()):
        text = row.cells[0] if row.cells and len(row.cells) == 1 else row.raw
        if row.cells is None:
            notes.add("a line whose quotes do not close or whose delimiters mean nothing, taken as it stands", row.line)
        yield row.line, (text,) * width


def _is_header(cells: Sequence[str]) -> bool:
    return any(cell.lower() in TEXT_NAMES for cell in cells) or all(_is_name(cell) for cell in cells)


def _is_name(cell: str) -> bool:
    """Say whether a cell may be a column's name: short, no number, and no sentence."""
    words = cell.split()
    if len(words) > _MOST_WORDS or len(cell) > _LONGEST_NAME or _number(cell):
        return False
    return cell.lower() in ("no.", "nr.") or not cell.rstrip("\"')”’").endswith((".", "!", "?", "…", "。"))


def _is_text(lines: Callable[[], Iterator[str]], delimiter: str) -> bool:
    """Say whether lines without a header are sentences: delimiters here and there, no column of numbers at an end."""
    if delimiter == "\t":
        return False
    first = last = True
    counts: set[int] = set()
    for line in lines():
        if cells := line.strip().split(delimiter) if line.strip() else []:
            counts.add(_count(line, delimiter))
            first, last = first and _number(cells[0]), last and _number(cells[-1])
    return not first and not last and (counts == {0} or len(counts) > 1)


def _count(line: str, delimiter: str) -> int:
    """Delimiters of a line; commas before a blank are punctuation."""
    return line.count(delimiter) - (line.count(", ") if delimiter == "," else 0)


def _number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(seen: object) -> str:
    text = _printable(repr(seen))
    return text if len(text) <= 120 else text[:119] + "…"
