"""Files of sentences, read a line or a record at a time: text, csv, tsv, jsonl (plain, .gz or .xz) and parquet.

A reader yields what stands in the file, bad records included; `hncse.data.corpora` decides what is a sentence. How
.csv and .tsv are read stands in `hncse.data.delimited`.
"""

from __future__ import annotations

import codecs
import contextlib
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

__all__ = ["SUFFIXES", "Bad", "Rows", "Tally", "Value", "format_of", "head", "pick_column", "read", "read_columns"]

#: What a file may be called; ``.gz`` and ``.xz`` may follow all but ``.parquet``.
SUFFIXES: tuple[str, ...] = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")

Value = str | bytes | Bad  # bytes: a line not decoded yet; str may hold lone surrogates where bytes were not UTF-8
Rows = Iterator[tuple[int, tuple[Value, ...]]]  # number of the line or record, from 1, and what its columns hold

_COMPRESSED: dict[str, Any] = {".gz": gzip.GzipFile, ".xz": lzma.LZMAFile}
_HEAD = 1 << 16  # bytes looked at to tell how lines end
_NO_TEXT = Bad("no text in the record")


def format_of(path: Path) -> str | None:
    """Return which of :data:`SUFFIXES` a file name ends with, compression aside; None where it is none of them."""
    suffix, packed = path.suffix.lower(), False
    if suffix in _COMPRESSED:
        suffix, packed = Path(path.stem).suffix.lower(), True
    return suffix if suffix in SUFFIXES and not (packed and suffix == ".parquet") else None


def read(path: Path, column: str | None = None, notes: Tally | None = None) -> Iterator[tuple[int, Value]]:
    """Read one column of a file lazily; see `read_columns`."""
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
    reader = _READERS[_kind(path)]
    with _troubles(path):
        yield from reader(path, columns, Tally() if notes is None else notes)


def head(path: Path) -> tuple[list[str], dict[str, Any] | None]:
    """Names of a file's columns, and a row that tells which hold text (None: all of them, as in a .csv).

    Raises:
        HncseError: As `read_columns`, and of a file without columns.
    """
    kind = _kind(path)
    with _troubles(path):
        if kind == ".jsonl":
            records = (record for record in map(_parsed, _lines(path)) if isinstance(record, dict) and record)
            first = next(records, {})
            return list(first), first
        if kind == ".parquet":
            with _parquet_file(path) as file:
                schema = file.schema_arrow
                return schema.names, {name: "" for name in schema.names if _is_text(schema.field(name).type)}
        if kind == ".txt":
            raise HncseError(
                f"{path} is a text file, one sentence a line; pairs need columns: .csv, .jsonl or .parquet"
            )
        return delimited.header(path, lambda: _decoded(path)), None


def _kind(path: Path) -> str:
    kind = format_of(path)
    if kind is None:
        raise HncseError(
            f"{path}: cannot tell what kind of file this is; its name must end in one of {', '.join(SUFFIXES)} "
            f"({' or '.join(_COMPRESSED)} may follow)"
        )
    return kind


@contextlib.contextmanager
def _troubles(path: Path) -> Iterator[None]:
    try:
        yield
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
        lines = iter(file.read().split(b"\r")) if b"\r" in head and b"\n" not in head else iter(file)
        for number, line in enumerate(lines):
            yield line.removeprefix(codecs.BOM_UTF8) if number == 0 else line


def _text(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    if asked := [column for column in columns if column is not None]:
        raise HncseError(f"{path} is a text file, one sentence a line, and has no column {asked[0]!r}; leave it out")
    names = {b"\t": "tab(s)", b";": "semicolon(s)", b"|": "pipe(s)"}
    counts: dict[bytes, set[int]] = {mark: set() for mark in names}
    number = 0
    for number, line in enumerate(_lines(path), 1):
        yield number, (line,)
        for mark, seen in counts.items():
            if len(seen) < 2 and line.strip():
                seen.add(line.count(mark))
    for mark, seen in counts.items():
        if number > 1 and len(seen) == 1 and 0 not in seen:
            notes.remarks.append(
                f"every line has {min(seen)} {names[mark]}: if this is a table, rename it to .tsv or .csv and choose "
                "a column"
            )
            return


def _decoded(path: Path) -> Iterator[str]:
    with _open(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from file


def _separated(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    yield from delimited.read(path, lambda: _decoded(path), columns, notes)


def _json_lines(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    keys: list[str] | None = None
    for number, line in enumerate(_lines(path), 1):
        record = _parsed(line)
        if not isinstance(record, dict):
            yield number, (record if isinstance(record, str | bytes | Bad) else _NO_TEXT,) * len(columns)
            continue
        if keys is None and record:
            keys = [pick_column(list(record), column, str(path)) for column in columns]
            notes.unused(record, keys)
        values = [record.get(key) for key in keys or columns]
        yield number, tuple(value if isinstance(value, str) else _NO_TEXT for value in values)


def _parsed(line: bytes) -> Any:
    """What a line of JSON holds; a blank line, bytes that are not UTF-8, or why it cannot be read."""
    try:
        return json.loads(line, parse_int=float) if line.strip() else ""  # int() refuses thousands of digits
    except UnicodeDecodeError:
        return line
    except RecursionError:
        return Bad("nested too deep to be read")
    except ValueError:
        return Bad("not JSON")


def _parquet(path: Path, columns: Sequence[str | None], notes: Tally) -> Rows:
    with _parquet_file(path) as file:
        names = file.schema_arrow.names
        keys = [pick_column(names, column, str(path)) for column in columns]
        notes.unused(names, keys)
        for key in keys:
            kind = file.schema_arrow.field(key).type
            if not _is_text(kind):
                hint = " (bytes: decode them before writing)" if "binary" in str(kind) else ""
                raise HncseError(f"{path}: column {key!r} holds {kind}, not text{hint}")
        number = 0
        for batch in file.iter_batches(columns=list(dict.fromkeys(keys))):
            for values in zip(*(batch.column(key).to_pylist() for key in keys), strict=True):
                number += 1
                yield number, tuple(_NO_TEXT if value is None else value for value in values)


@contextlib.contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except pa.ArrowException as error:
        raise HncseError(f"{path} is no parquet file or is damaged: {error}") from error


def _is_text(kind: Any) -> bool:
    """Whether a column of this arrow type holds text, plain or as categories, as pandas writes them."""
    import pyarrow as pa

    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    return held in (pa.string(), pa.large_string(), pa.string_view())


_READERS: dict[str, Callable[[Path, Sequence[str | None], Tally], Rows]] = {
    ".txt": _text,
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
