"""Files of sentences, read a line or a record at a time: text, csv, tsv, jsonl (plain, .gz or .xz) and parquet.

A reader yields what stands in the file, bad records included; `hncse.data.corpora` decides what is a sentence. How
.csv and .tsv are read stands in `hncse.data.delimited`.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from hncse.data import delimited
from hncse.data.delimited import Bad, Tally, pick_column
from hncse.errors import HncseError

__all__ = ["SUFFIXES", "Bad", "Tally", "Value", "format_of", "pick_column", "read", "read_columns"]

#: What a file may be called; ``.gz`` and ``.xz`` may follow all but ``.parquet``.
SUFFIXES: tuple[str, ...] = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")

_COMPRESSED: dict[str, Any] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
_HEAD = 1 << 16  # bytes looked at to tell how lines end

Value = str | bytes | Bad  # bytes: a line not decoded yet; str may hold lone surrogates where bytes were not UTF-8
Rows = Iterator[tuple[int, tuple[Value, ...]]]


def format_of(path: Path) -> str | None:
    """Return which of :data:`SUFFIXES` a file name ends with, compression aside; None where it is none of them."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
        if suffixes and suffixes[-1] == ".parquet":
            return None
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else None


def read(path: Path, column: str | None = None, notes: Tally | None = None) -> Iterator[tuple[int, Value]]:
    """Read one column of a file lazily; see `read_columns`.

    Yields:
        Line number (record number in parquet), counted from 1, and what stands there.
    """
    for number, (value,) in read_columns(path, [column], notes):
        yield number, value


def read_columns(path: Path, columns: Sequence[str | None], notes: Tally | None = None) -> Rows:
    """Read some columns of a file side by side, lazily.

    Args:
        path: A file whose name ends in one of :data:`SUFFIXES`, ``.gz`` or ``.xz`` perhaps behind it.
        columns: Columns or keys; None stands for the only one, or the one that is named ``sentence`` or ``text``.
            Text files have none.
        notes: Told what was decided about the file, repaired, or not used.

    Yields:
        Line number (record number in parquet), counted from 1, and what stands in the columns.

    Raises:
        HncseError: Unknown kind of file, a column that is not there or must be chosen, a damaged file.
    """
    kind = format_of(path)
    if kind is None:
        raise HncseError(
            f"{path}: cannot tell what kind of file this is; its name must end in one of {', '.join(SUFFIXES)} "
            f"({' or '.join(_COMPRESSED)} may follow)"
        )
    if kind == ".txt" and (asked := [column for column in columns if column is not None]):
        raise HncseError(f"{path} is a text file, one sentence a line, and has no column {asked[0]!r}; leave it out")
    try:
        yield from _READERS[kind](path, columns, Tally() if notes is None else notes)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise HncseError(f"{path} is cut off or damaged: {error}") from error
    except OSError as error:
        raise HncseError(f"{path} could not be read: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    unpacking = _COMPRESSED.get(path.suffix.lower())
    return unpacking(path) if unpacking else path.open("rb")


def _lines(path: Path) -> Iterator[bytes]:
    """Lines without a byte-order mark; carriage returns end them where no line feed does."""
    with _open(path) as file:
        head = file.read(_HEAD)
        file.seek(0)
        lines: Iterator[bytes] = iter(file)
        if b"\r" in head and b"\n" not in head:
            lines = iter(file.read().split(b"\r"))
        for number, line in enumerate(lines):
            yield line.removeprefix(codecs.BOM_UTF8) if number == 0 else line


def _text(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    alike: dict[bytes, int] | None = None  # delimiters that every line so far holds as often
    number = 0
    for number, line in enumerate(_lines(path), 1):
        yield number, (line,)
        if alike != {} and line.strip():
            counts = {mark: line.count(mark) for mark in (b"\t", b";", b"|")} if alike is None else alike
            alike = {mark: n for mark, n in counts.items() if n and line.count(mark) == n}
    if alike and number > 1:
        mark, count = next(iter(alike.items()))
        name = {b"\t": "tab(s)", b";": "semicolon(s)", b"|": "pipe(s)"}[mark]
        notes.remark(
            f"every line has {count} {name}: if this is a table, rename it to .tsv or .csv and choose a column"
        )


def _separated(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    def lines() -> Iterator[str]:
        with _open(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from file

    yield from delimited.read(path, lines, columns, notes)


def _json_lines(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    keys: list[str] | None = None
    for number, line in enumerate(_lines(path), 1):
        record = _parsed(line)
        if isinstance(record, dict) and record:
            if keys is None:
                keys = [pick_column(list(record), column, str(path)) for column in columns]
                notes.unused(record, keys)
            values = [record.get(key) for key in keys]
            yield number, tuple(value if isinstance(value, str) else Bad("no text in the record") for value in values)
        else:
            value = record if isinstance(record, str | bytes | Bad) else Bad("no text in the record")
            yield number, (value,) * len(columns)


def _parsed(line: bytes) -> Any:
    """What a line of JSON holds; a blank line, bytes that are not UTF-8, or why it cannot be read."""
    if not line.strip():
        return ""
    try:
        return json.loads(line, parse_int=float)  # Python refuses whole numbers of thousands of digits
    except UnicodeDecodeError:
        return line
    except RecursionError:
        return Bad("nested too deep to be read")
    except ValueError:
        return Bad("not JSON")


def _parquet(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            keys = [pick_column(names, column, str(path)) for column in columns]
            notes.unused(names, keys)
            for key in keys:
                _check_text(path, key, file.schema_arrow.field(key).type)
            number = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(keys))):
                for values in zip(*(batch.column(key).to_pylist() for key in keys), strict=True):
                    number += 1
                    yield number, tuple(Bad("no text in the record") if value is None else value for value in values)
    except pyarrow.ArrowException as error:
        raise HncseError(f"{path} is no parquet file or is damaged: {error}") from error


def _check_text(path: Path, column: str, kind: Any) -> None:
    """Refuse a parquet column that is no text; categories of text, as pandas writes them, are."""
    import pyarrow

    held = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    tests = [getattr(pyarrow.types, name, None) for name in ("is_string", "is_large_string", "is_string_view")]
    if not any(test(held) for test in tests if test):
        raw = " (bytes: decode them before writing)" if "binary" in str(held) else ""
        raise HncseError(f"{path}: column {column!r} holds {kind}, not text{raw}")


_READERS: dict[str, Callable[[Path, Sequence[str | None], Tally], Rows]] = {
    ".txt": _text,
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
