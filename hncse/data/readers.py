"""Files of sentences, read a line or a record at a time: text, csv, tsv, jsonl (plain, .gz or .xz) and parquet.

A reader yields what stands in the file, bad records included; `hncse.data.corpora` decides what is a sentence.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hncse.errors import HncseError, unknown

__all__ = ["SUFFIXES", "Bad", "Value", "format_of", "pick_column", "read"]

#: What a file may be called; ``.gz`` and ``.xz`` may follow all but ``.parquet``.
SUFFIXES: tuple[str, ...] = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")

_COMPRESSED: dict[str, Any] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
_TELLING = ("sentence", "text")  # column names that need no choosing


@dataclass(frozen=True)
class Bad:
    """A record that holds no text; ``reason`` is counted under its name."""

    reason: str


Value = str | bytes | Bad  # bytes: a line not decoded yet; str may hold lone surrogates where bytes were not UTF-8


def format_of(path: Path) -> str | None:
    """Return which of :data:`SUFFIXES` a file name ends with, compression aside; None where it is none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def read(path: Path, column: str | None = None) -> Iterator[tuple[int, Value]]:
    """Read a file lazily.

    Args:
        path: A file whose name ends in one of :data:`SUFFIXES`, ``.gz`` or ``.xz`` perhaps behind it.
        column: Column or key that holds the sentences; not needed where there is only one, or one is named
            ``sentence`` or ``text``. Text files have none.

    Yields:
        Line number (record number in parquet), counted from 1, and what stands there.

    Raises:
        HncseError: Unknown kind of file, a column that is not there or must be chosen, a damaged file.
    """
    kind = format_of(path)
    if kind is None:
        raise HncseError(
            f"{path}: cannot tell what kind of file this is; its name must end in one of {', '.join(SUFFIXES)} "
            f"({' or '.join(_COMPRESSED)} may follow)"
        )
    if kind == ".txt" and column is not None:
        raise HncseError(f"{path} is a text file, one sentence a line, and has no column {column!r}; leave column out")
    try:
        yield from _READERS[kind](path, column)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise HncseError(f"{path} is cut off or damaged: {error}") from error
    except csv.Error as error:
        raise HncseError(f"{path} cannot be read as {kind[1:]}: {error}; is a quote left open?") from error
    except OSError as error:
        raise HncseError(f"{path} could not be read: {error.strerror or error}") from error


def pick_column(columns: Sequence[str], asked: str | None, source: str) -> str:
    """Return the column to read.

    Raises:
        HncseError: It does not exist, or there are several and none was asked for; the message lists them.
    """
    if asked is not None:
        if asked not in columns:
            raise unknown(f"column of {source}", asked, columns)
        return asked
    telling = [name for name in columns if name.lower() in _TELLING]
    if len(columns) == 1:
        return columns[0]
    if len(telling) == 1:
        return telling[0]
    raise HncseError(f"{source} has several columns; choose one with column=: {', '.join(columns)}")


def _open(path: Path) -> IO[bytes]:
    unpacking = _COMPRESSED.get(path.suffix.lower())
    return unpacking(path) if unpacking else path.open("rb")


def _text(path: Path, column: str | None) -> Iterator[tuple[int, bytes]]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _separated(path: Path, column: str | None) -> Iterator[tuple[int, Value]]:
    options: dict[str, Any] = {}
    if format_of(path) == ".tsv":  # quotes mean nothing between tabs
        options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    with _open(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, **options)
        header = [name.strip() for name in next(rows, [])]
        if not header:
            return
        place = header.index(pick_column(header, column, str(path)))
        for row in rows:
            if row:  # the csv reader gives an empty row for a blank line
                yield rows.line_num, row[place] if place < len(row) else Bad("no such field in the row")
            else:
                yield rows.line_num, ""


def _json_lines(path: Path, column: str | None) -> Iterator[tuple[int, Value]]:
    key: str | None = None
    for number, line in _text(path, None):
        if not line.strip():
            yield number, ""
            continue
        try:
            record = json.loads(line)
        except UnicodeDecodeError:
            yield number, line
            continue
        except json.JSONDecodeError:
            yield number, Bad("not JSON")
            continue
        if isinstance(record, dict):
            key = key or pick_column(list(record), column, str(path))
            record = record.get(key)
        yield number, record if isinstance(record, str) else Bad("no text in the record")


def _parquet(path: Path, column: str | None) -> Iterator[tuple[int, Value]]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            key = pick_column(file.schema_arrow.names, column, str(path))
            kind = file.schema_arrow.field(key).type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise HncseError(f"{path}: column {key!r} holds {kind}, not text")
            number = 0
            for batch in file.iter_batches(columns=[key]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield number, Bad("no text in the record") if value is None else value
    except pyarrow.ArrowException as error:
        raise HncseError(f"{path} is no parquet file or is damaged: {error}") from error


_READERS: dict[str, Callable[[Path, str | None], Iterator[tuple[int, Value]]]] = {
    ".txt": _text,
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
