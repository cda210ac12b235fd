"""Rows of sentences: of files (text, csv, tsv, jsonl, plain, .gz or .xz, and parquet), of tables and of tuples.

A file is read a line or a record at a time. What stands in it is yielded, bad records included; `hncse.data.corpora`
decides what is a sentence. How .csv and .tsv are read stands in `hncse.data.delimited`.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import lzma
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hncse.data import delimited
from hncse.data.delimited import Bad, Tally, pick_column
from hncse.errors import HncseError

__all__ = [
    "SUFFIXES", "Bad", "Columns", "Rows", "Tally", "Value", "format_of", "head", "is_table", "nli_triplets",
    "pick_column", "plain", "read", "read_columns", "read_table", "read_tuples",
]  # fmt: skip

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
    """Read columns of a file side by side, lazily: the line (in parquet: record) number, from 1, and what they hold.

    Args:
        path: A file whose name ends in one of :data:`SUFFIXES`, ``.gz`` or ``.xz`` perhaps behind it.
        columns: Columns or keys; None stands for the only one, or the one that is named ``sentence`` or ``text``.
        notes: Told what was decided about the file, repaired, or not used.

    Raises:
        HncseError: Unknown kind of file, a column that is not there or must be chosen, a damaged file.
    """
    reader = _READERS[_kind(path)]
    with _troubles(path):
        yield from reader(path, columns, Tally() if notes is None else notes)


def head(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Names of a file's columns, and a row that tells which hold text."""
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
        return delimited.header(path, lambda: _decoded(path))


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


#: Columns that sentence-transformers takes for labels and no inputs, and the figures that `hncse.mining` writes.
_LABELS, _FIGURES = ("label", "labels", "score", "scores"), "_similarity"


@dataclass(frozen=True)
class Columns:
    """Which columns of a source make a row.

    Attributes:
        names: Of the anchor, then of its positive where there is one, then of its hard negatives; None stands for the
            only column, or the one called ``text``.
        positive: Whether the second is the positive.
        in_order: All columns of text instead, in their order: anchor, positive, then hard negatives.
    """

    names: tuple[str | None, ...] = (None,)
    positive: bool = False
    in_order: bool = False

    @classmethod
    def of(
        cls, column: str | None, positives: str | None, negatives: str | Sequence[str] | None, pairs: bool
    ) -> Columns:
        """Complete what was asked for; in rows of several columns the anchor is in ``anchor``, if nothing is said."""
        hard = [negatives] if isinstance(negatives, str) else list(negatives or ())
        if pairs:
            if asked := [name for name in (column, positives, *hard) if name is not None]:
                raise HncseError(f"pairs takes all columns in their order; leave {asked[0]!r} out, or pairs")
            return cls(positive=True, in_order=True)
        others = [*([] if positives is None else [positives]), *hard]
        names = (column or "anchor" if others else column, *others)
        if len(set(names)) < len(names):
            raise HncseError(f"a column is named twice for one row: {', '.join(map(str, names))}")
        return cls(names, positives is not None)

    def named(self, columns: Sequence[str], first: Mapping[str, Any], source: str, notes: Tally) -> list[str]:
        """The columns to read, out of those that are there; ``first`` is a row of values, to tell which are text."""
        if not self.in_order:
            keys = [pick_column(columns, name, source) for name in self.names]
            notes.unused(columns, keys)
            return keys
        text = [name for name in columns if isinstance(first.get(name), str)]
        keys = [name for name in text if name.lower() not in _LABELS and not name.lower().endswith(_FIGURES)]
        if len(keys) < 2:
            raise HncseError(
                f"{source} has {len(keys) or 'no'} column(s) of text ({', '.join(columns)}); a pair has two at least, "
                "anchor and positive"
            )
        roles = ["anchor", "positive", *["negative"] * (len(keys) - 2)]
        listed = ", ".join(f"{role} {key!r}" for role, key in zip(roles, keys, strict=True))
        notes.remarks.append(f"columns taken in their order: {listed}")
        notes.remarks += [
            f"column {name!r} is not used" + ("" if name in text else ": it holds no text")
            for name in columns
            if name not in keys
        ]
        return keys

    def has_positive(self) -> bool:
        """Whether rows are pairs at least."""
        return self.positive or self.in_order


def plain(text: str) -> str:
    """A text without what makes no difference: case, spacing, and how its characters are composed (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def is_table(rows: Any) -> bool:
    """Whether an object has named columns: a ``datasets.Dataset``, a ``DataFrame``, a list of dictionaries."""
    return hasattr(rows, "column_names") or hasattr(rows, "columns") or _is_record(rows)


def _is_record(rows: Any) -> bool:
    return isinstance(rows, Sequence) and len(rows) > 0 and isinstance(rows[0], Mapping)


def read_table(rows: Any, columns: Columns, notes: Tally) -> Rows:
    """Read the rows of an object for which `is_table` holds; a set of several splits is an `HncseError`."""
    records = _is_record(rows)
    names = list(rows[0]) if records else getattr(rows, "column_names", None) or list(rows.columns)
    if isinstance(names, Mapping):
        raise HncseError(f"this dataset has the splits {', '.join(names)}; give one of them, as in dataset['train']")
    first = dict(rows[0]) if records else {name: next(iter(rows[name]), None) for name in names}
    keys = columns.named([str(name) for name in names], first, "what was given", notes)
    values = ([row.get(key) for row in rows] if records else rows[key] for key in keys)
    for number, row in enumerate(zip(*values, strict=True), 1):
        yield number, tuple(value if isinstance(value, str) else Bad("no text in the record") for value in row)


def read_tuples(rows: Iterable[Any]) -> Rows:
    """Read tuples or lists of texts, all of one length: anchor, positive, hard negatives …; None is a gap."""
    width = 0
    for number, row in enumerate(rows, 1):
        if not isinstance(row, tuple | list) or len(row) != (width or len(row)) or len(row) < 2:
            seen = f"{len(row)} texts" if isinstance(row, tuple | list) else f"a {type(row).__name__}"
            right = f"{width}, as the first has" if width else "two at least: anchor, positive, hard negatives …"
            raise HncseError(f"row {number} of what was given has {seen}; every row must have {right}")
        width = len(row)
        yield number, tuple(Bad("no text in the record") if text is None else text for text in row)


def nli_triplets(rows: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Make triplets of natural language inference, as SimCSE does (arXiv:2104.08821, section 4).

    Args:
        rows: (premise, hypothesis, label), the label ``entailment``, ``neutral`` or ``contradiction``.

    Yields:
        (premise, a hypothesis that it entails, one that contradicts it), for each entailment of a premise that has a
        contradiction; where it has several, they take turns.
    """
    entailed, contradicting = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for premise, hypothesis, label in rows:
        if label in ("entailment", "contradiction"):
            (entailed if label == "entailment" else contradicting)[premise].append(hypothesis)
    for premise, hypotheses in entailed.items():
        if hard := contradicting.get(premise):
            yield from ((premise, text, hard[i % len(hard)]) for i, text in enumerate(hypotheses))
