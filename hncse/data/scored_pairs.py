"""Pairs of sentences with a score, from a file of your own: .tsv, .csv, .jsonl or .parquet, columns by name or order.

Columns are those called ``sentence1``, ``sentence2`` and ``score``, else three columns in this order, with or without a
line of names. Delimiters are tab, semicolon or comma; quotes are RFC 4180's where they close, else part of the text.
Nothing is left out: what is no text or no number is an error with its line.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hncse.errors import HncseError, unknown
from hncse.files import expand

__all__ = ["NAMES", "Pairs", "read"]

NAMES = ("sentence1", "sentence2", "score")
_SUFFIXES = (".tsv", ".csv", ".txt", ".jsonl", ".parquet")
_LEAST = 3  # pairs a rank correlation says anything of

Row = tuple[int, Sequence[Any]]  # the line or record, from 1, and its cells


class Pairs(NamedTuple):
    """n pairs: the sentences of each, and what people gave it."""

    first: list[str]
    second: list[str]
    scores: list[float]


def read(path: str | Path, columns: Sequence[str] | None = None) -> Pairs:
    """Read pairs with scores.

    Args:
        path: The file; its ending says what it is.
        columns: Of first sentence, second sentence and score: their names, or their numbers from 1. None: see above.

    Raises:
        HncseError: No such file, another ending, columns that cannot be told, an empty text, a score that is no number,
            fewer than three pairs; the message names the line.
    """
    path = expand(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise HncseError(f"{path}: cannot tell what kind of file this is; its name must end in {', '.join(_SUFFIXES)}")
    try:
        rows = _records(path) if path.suffix.lower() in (".jsonl", ".parquet") else _lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise HncseError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise HncseError(f"{path} holds nothing; it must hold two sentences and a score a line")
    head = [str(cell).strip() for cell in rows[0][1]]
    places = _places(path, head, columns)
    if not _is_number(rows[0][1][places[2]]) and len(rows) > 1:
        rows = rows[1:]  # names
    elif columns is not None and not all(map(str.isdigit, columns)):
        raise HncseError(
            f"{path}: its first line names no columns: {head}; give their numbers, such as --columns 1 2 3"
        )
    if len(rows) < _LEAST:
        raise HncseError(f"{path} holds {len(rows)} pairs; a rank correlation needs {_LEAST} or more")
    checked = [_pair(f"{path}, line {line}", *(cells[place] for place in places)) for line, cells in rows]
    return Pairs(*map(list, zip(*checked, strict=True)))


def _pair(where: str, first: Any, second: Any, score: Any) -> tuple[str, str, float]:
    for text in (first, second):
        if not isinstance(text, str) or not text.strip():
            raise HncseError(f"{where}: {text!r} is no sentence")
    if not _is_number(score):
        raise HncseError(f"{where}: the score is {score!r}; it must be a number such as 3.5")
    return first, second, float(score)


def _lines(path: Path) -> list[Row]:
    """Rows of a table, all of one width, by the first delimiter and way with quotes that makes them so."""
    text = path.read_text(encoding="utf-8-sig")
    delimiters = "\t" if path.suffix.lower() == ".tsv" else "\t;,"
    uneven = ""
    for delimiter in delimiters:
        for quotes in ('"', None)[: 1 + (delimiter == "\t")]:
            style: dict[str, Any] = {"quotechar": quotes} if quotes else {"quoting": csv.QUOTE_NONE}
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **style)
            try:
                rows: list[Row] = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
            except csv.Error as error:
                uneven = uneven or f"line {reader.line_num}: {error}"
                continue
            widths = [len(cells) for _, cells in rows]
            if rows and widths[0] >= 3:
                if len(set(widths)) == 1:
                    return rows
                line, cells = next(row for row, width in zip(rows, widths, strict=True) if width != widths[0])
                uneven = f"line {line} has {len(cells)} cells, the first {widths[0]}; put texts into double quotes"
    raise HncseError(f"{path}: {uneven or 'no line has three columns: two sentences and a score, separated by tabs'}")


def _records(path: Path) -> list[Row]:
    """Rows of a .jsonl or .parquet file, its names first."""
    import pandas as pd

    try:
        parquet = path.suffix.lower() == ".parquet"
        frame = pd.read_parquet(path) if parquet else pd.read_json(path, lines=True, dtype=False, convert_dates=False)
    except (ValueError, OSError) as error:  # pyarrow's and pandas' errors are ValueErrors
        raise HncseError(f"{path} cannot be read: {error}") from error
    return [(0, list(frame.columns)), *enumerate(frame.itertuples(index=False, name=None), 1)]


def _places(path: Path, head: list[str], columns: Sequence[str] | None) -> list[int]:
    if columns is None:
        if set(NAMES) <= set(head):
            columns = NAMES
        elif len(head) == 3:
            return [0, 1, 2]
        else:
            raise HncseError(f"{path} has {len(head)} columns; choose three with --columns: {', '.join(head)[:200]}")
    if len(columns) != 3:
        raise HncseError(f"columns are {list(columns)}; give three: first sentence, second sentence, score")
    if all(str(name).isdigit() for name in columns) and not set(columns) <= set(head):
        numbers = [int(name) for name in columns]
        if not all(1 <= number <= len(head) for number in numbers):
            raise HncseError(f"columns are {list(columns)}; {path} has columns 1 to {len(head)}")
        return [number - 1 for number in numbers]
    for name in columns:
        if name not in head:
            raise unknown(f"column of {path}", name, head)
    return [head.index(name) for name in columns]


def _is_number(cell: Any) -> bool:
    try:
        return not isinstance(cell, bool) and math.isfinite(float(cell))
    except (TypeError, ValueError):
        return False
