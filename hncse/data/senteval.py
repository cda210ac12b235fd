"""The benchmark files, STS and transfer: fetched once, counted, and compared with the release that everybody scores.

The files lie in ``home()/senteval/downstream``, exactly as SimCSE's ``senteval.tar`` unpacks; ``senteval.csv`` lists
them with their counts and hashes. The STS protocol is SimCSE's (its ``SentEval/senteval/sts.py``), which every later
paper follows; STS13's SMT subset has no freely available input and is never scored. Of the transfer tasks, order
decides the folds, so it is part of the protocol: SentEval sorts each file's rows by their number of words, then by
label (its ``senteval/binary.py``, ``sst.py``, ``trec.py``, ``mrpc.py``). Empty lines count as sentences there: CR has
four, MPQA three.

``hncse benchmark-files [--transfer]`` fetches what is missing and prints what was counted.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import os
import re
import sys
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hncse import data
from hncse.data import remote
from hncse.errors import HncseError, command, unknown

__all__ = [
    "KNOWN", "OTHER", "OTHER_FILES_HELP", "STS_TASKS", "TRANSFER_TASKS", "WAYS", "StsSubset", "TransferTask",
    "downstream", "fetch", "load_sts", "load_task", "missing_files", "present", "splits", "sts_present", "together",
    "transfer_present",
]  # fmt: skip

#: The seven tasks of each kind, in the order of every published table.
STS_TASKS: tuple[str, ...] = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICKR")
TRANSFER_TASKS: tuple[str, ...] = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
#: What the files of a benchmark are: those that every published table scores, or others.
KNOWN, OTHER = "known release", "other"
OTHER_FILES_HELP = "score benchmark files whose rows are not the known release's too; the result says so"
#: Said wherever a benchmark file is missing.
WAYS = (
    f"Two ways to get it: `hncse benchmark-files` with a network (fetched once, from {remote.REPOSITORY}), or "
    "unpack senteval.tar yourself into senteval/downstream of the data folder, so that senteval/downstream/STS is "
    "there; HNCSE_DATA names the data folder."
)

_ARCHIVE = "senteval.tar"
_CUT_SUBJ = 20  # lines of subj.subjective in an early public archive

Row = tuple[str, str, float]  # a sentence, its partner ("" for single ones), score or class; words joined by blanks


@dataclass(frozen=True)
class _Part:
    """A subset or split: a line of ``senteval.csv``. Scores, or classes, may have a file each."""

    task: str
    name: str
    rows: list[int]
    files: list[str]
    sha256: str


@dataclass(frozen=True)
class _Format:
    """Where label, sentence and partner stand among a row's cells; without classes the label is a score."""

    columns: tuple[int, ...]
    classes: tuple[str, ...] = ()
    form: str = "two sentences and a score between tabs"
    encoding: str = "utf-8-sig"
    header: int = 0  # lines that name the columns


def _listed(path: Path) -> list[_Part]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [_Part(task, part, [*map(int, rows.split())], files.split(), sha) for task, part, rows, files, sha in lines]


_PARTS = _listed(Path(__file__).with_suffix(".csv"))
_QUESTIONS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
_QUESTION_FORM = f"CLASS:subclass and a question, CLASS one of {', '.join(_QUESTIONS)}"
_FORMATS = {
    **dict.fromkeys(STS_TASKS, _Format((0, 1, 2))),  # the score comes from a file of its own and stands in front
    "STSB": _Format((4, 5, 6)),  # what follows differs by line
    "SICKR": _Format((3, 1, 2), header=1),
    **dict.fromkeys(TRANSFER_TASKS, _Format((0, 1), ("0", "1"), encoding="latin-1")),  # the file says the class
    "SST2": _Format((1, 0), ("0", "1"), "a sentence, a tab, and 0 or 1"),
    "TREC": _Format((0, 1), _QUESTIONS, _QUESTION_FORM, "latin-1"),
    "MRPC": _Format((0, 3, 4), ("0", "1"), "five tab-separated fields: 0 or 1, two numbers, two sentences", header=1),
}


@dataclass(frozen=True)
class StsSubset:
    """Labelled sentence pairs that were collected together.

    Attributes:
        name: Subset of STS12 to STS16; the split's name for STS-B and SICK-R, which have no subsets.
        first: n sentences, words joined by single spaces.
        second: The n sentences they are compared with.
        gold: Human similarity, float64 (n,), from 0 to 5.
        release: :data:`KNOWN` where the rows are those of the release that everybody scores, else :data:`OTHER`.
    """

    name: str
    first: list[str]
    second: list[str]
    gold: NDArray[np.float64]
    release: str = OTHER


@dataclass(frozen=True)
class TransferTask:
    """A classification task in SentEval's order.

    Attributes:
        name: One of `TRANSFER_TASKS`, or your own.
        first: n sentences, words joined by single spaces; an empty line is an empty sentence.
        second: Their n partners in a task over pairs (MRPC), else None.
        labels: Classes from 0, int64 (n,).
        train: Rows to learn from; for a task without a test part all rows, and folds take turns in testing.
        dev: Rows that choose (SST2), or None where folds of ``train`` do.
        test: Rows that are scored, or None.
        release: ``known release`` where the rows are SentEval's, ``other`` where they are not, ``own`` of your own.
    """

    name: str
    first: list[str]
    second: list[str] | None
    labels: NDArray[np.int64]
    train: slice
    dev: slice | None = None
    test: slice | None = None
    release: str = "own"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    @property
    def sentences(self) -> list[str]:
        """Every sentence of the task, partners after the first ones."""
        return self.first + (self.second or [])


def together(releases: Iterable[str]) -> str:
    """Say what several parts are together: :data:`KNOWN` where all of them are."""
    return KNOWN if set(releases) <= {KNOWN} else OTHER


def downstream(root: Path | None = None) -> Path:
    """Folder of the benchmark files, ``home()/senteval/downstream``; ``root`` stands in for home()."""
    return (root or data.home()) / "senteval" / "downstream"


def splits(task: str) -> tuple[str, ...]:
    """The splits of an STS task: ``test``, and for STS-B and SICK-R also ``train`` and ``dev``."""
    if task not in STS_TASKS:
        raise unknown("STS task", task, STS_TASKS)
    return tuple(part.name for part in _PARTS if part.task == task) if task in ("STSB", "SICKR") else ("test",)


def present(task: str, split: str = "test") -> bool:
    """Whether the files of an STS task are there; their counts are checked when they are read."""
    return not _missing(_sts_parts(task, split), downstream())


def sts_present() -> bool:
    """Whether the files of the seven test sets and of STS-B dev are there."""
    return present("STSB", "dev") and all(map(present, STS_TASKS))


def transfer_present(task: str | None = None) -> bool:
    """Whether the files of a transfer task (None: of all seven) are there."""
    return not missing_files(downstream(), None if task is None else [task])


def missing_files(folder: Path, tasks: Iterable[str] | None = None) -> list[Path]:
    """The files of some transfer tasks (None: of all seven) that a folder lacks."""
    return _missing([part for task in tasks or TRANSFER_TASKS for part in _transfer_parts(task)], folder)


def load_sts(
    task: str, split: str = "test", folder: Path | None = None, *, allow_other_files: bool | None = None
) -> list[StsSubset]:
    """Read one task by SimCSE's protocol: its subsets in SimCSE's order, pairs without a gold score dropped.

    Args:
        task: One of :data:`STS_TASKS`.
        split: ``test``; for STSB and SICKR also ``train`` or ``dev`` (SICK's "trial").
        folder: Where ``STS`` and ``SICK`` lie; default :func:`downstream`.
        allow_other_files: Read files whose rows are not the known release's as well; ``release`` of each subset says
            which they are. None asks ``HNCSE_OTHER_BENCHMARKS``, which is 1 where they are allowed.

    Raises:
        HncseError: Unknown task or split; a file that is missing, cut, not what its name says, or of other rows than
            the known release. The message names the file, what was seen and what was expected.
    """
    subsets = []
    for part in _sts_parts(task, split):
        rows, release = _read(part, folder or downstream(), allow_other_files)
        first, second, gold = zip(*rows, strict=True)
        subsets.append(StsSubset(part.name, list(first), list(second), np.array(gold), release))
    return subsets


def load_task(task: str, folder: Path | None = None, *, allow_other_files: bool | None = None) -> TransferTask:
    """Read one of `TRANSFER_TASKS`, in SentEval's order; arguments and errors as in `load_sts`.

    The early public archive with its truncated SUBJ is told by name.
    """
    rows: list[Row] = []
    places, releases = {}, []
    for part in _transfer_parts(task):
        read, release = _read(part, folder or downstream(), allow_other_files)
        places[part.name] = slice(len(rows), len(rows) + len(read))
        releases.append(release)
        rows += sorted(read, key=lambda row: (len(row[0].split()), len(row[1].split()), row[2]))  # stable
    first, second, labels = zip(*rows, strict=True)
    partners = list(second) if task == "MRPC" else None
    return TransferTask(
        task, list(first), partners, np.array(labels, dtype=np.int64), **places, release=together(releases)
    )


def fetch(transfer: bool = False, *, allow_other_files: bool | None = None) -> Path:
    """Download and unpack ``senteval.tar`` once, where files are missing; returns the folder of the benchmark files.

    The archive is unpacked and counted in a temporary folder beside its destination and moved there when all of it is
    right, so a failure at any point leaves the data folder as it was.

    Args:
        transfer: Whether the transfer tasks are needed besides STS.
        allow_other_files: As in `load_sts`.

    Raises:
        HncseError: No network, a damaged or cut archive, a disk that is full or read-only.
    """
    target = downstream()
    if sts_present() and (not transfer or transfer_present()):
        return target
    home = data.home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with remote.work_folder(home) as work:
            try:
                unpacked = _unpack(remote.download(_ARCHIVE, work), work / "unpacked")
                _check(unpacked, transfer, allow_other_files)
            except remote.Unavailable as error:
                raise HncseError(f"{_ARCHIVE} is not in {home}, and {error}. {WAYS}") from error
            _install(unpacked, target)
    except OSError as error:
        raise HncseError(
            f"{home} could not be written ({error.strerror or error}): make room there, or set HNCSE_DATA to "
            "a folder that can be written"
        ) from error
    return target


def _parts(transfer: bool) -> list[_Part]:
    return [part for part in _PARTS if transfer or part.task in STS_TASKS]


def _sts_parts(task: str, split: str) -> list[_Part]:
    if split not in splits(task):
        raise HncseError(f"{task} has no split {split!r}; it has: {', '.join(splits(task))}")
    return [part for part in _PARTS if part.task == task and (len(splits(task)) == 1 or part.name == split)]


def _transfer_parts(task: str) -> list[_Part]:
    if task not in TRANSFER_TASKS:
        raise unknown("transfer task", task, TRANSFER_TASKS)
    return [part for part in _PARTS if part.task == task]


def _missing(parts: Iterable[_Part], folder: Path) -> list[Path]:
    return [folder / name for part in parts for name in part.files if not (folder / name).is_file()]


def _read(part: _Part, folder: Path, allow_other_files: bool | None) -> tuple[list[Row], str]:
    """Read one part in its file's order, and say which release it is."""
    where = " and ".join([str(folder / part.files[0]), *(Path(name).name for name in part.files[1:])])
    rows = []
    for number, cells in _two_files(part, folder) if len(part.files) == 2 else _one_file(part, folder):
        try:
            rows.append(_row(_FORMATS[part.task], cells))
        except ValueError as error:
            raise HncseError(f"{where}, line {number}: {error}") from error
    if _FORMATS[part.task].classes and len({row[2] for row in rows}) < 2:
        raise HncseError(
            f"{part.task} {part.name}: every label in {where} is {rows[0][2]}; a classifier needs two classes or more"
        )
    return rows, _release(part, rows, where, allow_other_files)


def _two_files(part: _Part, folder: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of each row where labels are no part of it: a file of scores, or a file for each class."""
    paths = [folder / name for name in part.files]
    if part.task in STS_TASKS:
        lines, scores = (_lines(path, part) for path in paths)
        if len(lines) != len(scores):
            raise HncseError(
                f"{paths[0]} has {len(lines)} lines, {paths[1].name} beside it has {len(scores)}: one of them is cut"
            )
        # STS15 and STS16 label a part of their input
        rows = [(n, [s, *line.split("\t")]) for n, (s, line) in enumerate(zip(scores, lines, strict=True), 1) if s]
        _check_count(paths[1], len(rows), part.rows[0], "labelled pairs")
        return rows
    rows = []
    for path, label, expected in zip(paths, "10", part.rows, strict=True):  # SentEval's SUBJ calls objective 1
        lines = _decoded(path, "latin-1").splitlines()  # Python's line ends, as SentEval has them
        if part.task == "SUBJ" and len(lines) == _CUT_SUBJ < expected:
            raise HncseError(
                f"{path} has {len(lines)} lines, SentEval's has {expected}: this is the truncated SUBJ of an early "
                "public archive. A classifier that always says 'objective' is right 99.6 % of the time on it, and "
                "tables were published with that; fetch the data again"
            )
        _check_count(path, len(lines), expected, "lines")
        rows += [(n, [label, line]) for n, line in enumerate(lines, 1)]
    return rows


def _one_file(part: _Part, folder: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of each row where label and sentences share a line; quotes mean nothing."""
    path, header = folder / part.files[0], _FORMATS[part.task].header
    lines = _lines(path, part)[header:]
    _check_count(path, len(lines), part.rows[0], "labelled pairs" if part.task in STS_TASKS else "labelled rows")
    if part.task == "TREC":
        matches = (re.fullmatch(r"([^:]*):[^ ]* (.*)", line.strip()) for line in lines)
        return [(n, [*match.groups()] if match else []) for n, match in enumerate(matches, 1)]
    return [(n, line.split("\t")) for n, line in enumerate(lines, 1 + header)]


def _row(layout: _Format, cells: Sequence[str]) -> Row:
    """Pick a row's sentences and label; a ValueError says what is wrong with it."""
    if len(cells) > max(layout.columns):
        label, first, *second = (" ".join(cells[column].split()) for column in layout.columns)
        if not layout.classes:
            return first, second[0], _score(label)
        if label in layout.classes:
            return first, "".join(second), layout.classes.index(label)
    seen = repr("\t".join(cells)[:60]) if any(map(str.strip, cells)) else "an empty line"
    needed = f"{len(cells)} tab-separated fields, at least {max(layout.columns) + 1} needed"
    raise ValueError(f"{seen}; it must be {layout.form} ({needed})")


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 5:
        raise ValueError(f"the gold score is {text!r}; it must be a number from 0 to 5")
    return score


def _lines(path: Path, part: _Part) -> list[str]:
    """Lines of a file; only line feeds end one (SICK's test file has carriage returns before them)."""
    lines = [line.removesuffix("\r") for line in _decoded(path, _FORMATS[part.task].encoding).split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _decoded(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding)
    except FileNotFoundError as error:
        raise HncseError(f"there is no benchmark file {path}. {WAYS}") from error
    except OSError as error:
        raise HncseError(f"{path} could not be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise HncseError(f"{path} is not the benchmark's file: byte {error.start} is not UTF-8") from error


def _check_count(path: Path, count: int, expected: int, what: str) -> None:
    if count != expected:
        raise HncseError(f"{path} has {count} {what}, the benchmark's has {expected}: the file is cut or another one")


def _release(part: _Part, rows: Sequence[Row], where: str, allow_other_files: bool | None) -> str:
    """Compare rows with the release that everybody scores: words, labels and order count, line ends do not."""
    text = "\n".join(f"{first}\t{second}\t{label}" for first, second, label in rows)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if digest == part.sha256:
        return KNOWN
    if allow_other_files or (allow_other_files is None and os.environ.get("HNCSE_OTHER_BENCHMARKS") == "1"):
        return OTHER
    raise HncseError(
        f"{where}: its rows are not those of the known release "
        f"({part.task} {part.name}: sha256 {digest[:12]}…, expected {part.sha256[:12]}…): edited, in another order, or "
        "of another version. Move it away and run `hncse benchmark-files` to fetch it again; or score it as it is "
        "with allow_other_files=True (--allow-other-files, HNCSE_OTHER_BENCHMARKS=1), and the result says so"
    )


def _unpack(archive: Path, work: Path) -> Path:
    """Unpack an archive into an empty folder and return the folder in it that holds ``STS``."""
    if not hasattr(tarfile, "data_filter"):
        raise HncseError("this Python is too old to unpack archives safely; use 3.11.4 or any later one")
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(work, filter=_harmless)
    except tarfile.FilterError as error:
        raise remote.Unavailable(f"{archive.name} was not unpacked: {error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise remote.Unavailable(f"{archive.name} is cut off or damaged: {error}") from error
    found = min(work.rglob("STS"), key=lambda path: len(path.parts), default=None)
    if found is None:
        raise remote.Unavailable(f"{archive.name} holds no folder STS")
    return found.parent


def _harmless(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Refuse links and paths that lead out of the folder; leave file modes to the person's umask."""
    checked = tarfile.data_filter(member, folder)
    return checked and checked.replace(mode=None, deep=False)  # type: ignore[arg-type]


def _check(folder: Path, transfer: bool, allow_other_files: bool | None) -> None:
    """Read every part in a freshly unpacked folder."""
    parts = _parts(transfer)
    if absent := _missing(parts, folder):
        raise remote.Unavailable(f"{_ARCHIVE} is cut off: it holds no {absent[0].relative_to(folder)}")
    try:
        for part in parts:
            _read(part, folder, allow_other_files)
    except HncseError as error:
        raise remote.Unavailable(f"{_ARCHIVE} is not SimCSE's: {str(error).replace(str(folder), '…')}") from error


def _install(source: Path, target: Path) -> None:
    """Move a checked folder into place: whole, or file by file where another (an older, another process's) is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
        return
    except OSError:
        if not target.is_dir():
            raise
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file() and place.read_bytes() != path.read_bytes():  # somebody's: it stays, under another name
            spares = (place.with_name(f"{place.name}.before-{n}") for n in itertools.count(1))
            place.replace(next(spare for spare in spares if not spare.exists()))
        path.replace(place)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="hncse benchmark-files", description="Fetch the benchmark files once, count them, and print the counts."
    )
    parser.add_argument("--transfer", action="store_true", help="the transfer tasks' files besides those of STS")
    parser.add_argument("--allow-other-files", action="store_true", default=None, help=OTHER_FILES_HELP)
    options = parser.parse_args(arguments)
    folder = fetch(options.transfer, allow_other_files=options.allow_other_files)
    sys.stdout.write(f"{folder}\n")
    for part in _parts(options.transfer):
        rows, release = _read(part, folder, options.allow_other_files)
        empty = sum(not row[0] for row in rows)
        note = f"; {empty} empty lines, kept as SentEval keeps them" if empty else ""
        sys.stdout.write(f"{part.task:6} {part.name:18} {len(rows):6,} rows, {release}{note}\n")
    return 0
