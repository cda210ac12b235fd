"""The benchmark files, STS and transfer: fetched once, counted, and compared with the release that everybody scores.

The files lie in ``home()/senteval/downstream``, exactly as SimCSE's ``senteval.tar`` unpacks. The STS protocol and its
counts are SimCSE's (its ``SentEval/senteval/sts.py``), which every later paper follows. Of the transfer tasks, order
decides the folds, so it is part of the protocol: SentEval sorts each file's rows by their number of words, then by
label (its ``senteval/binary.py``, ``sst.py``, ``trec.py``, ``mrpc.py``), and so do we. Empty lines count as sentences
there, and here: CR has four, MPQA three.

``hncse benchmark-files [--transfer]`` fetches what is missing and prints what was counted.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import os
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hncse import data
from hncse.data import remote
from hncse.errors import HncseError, command, unknown

__all__ = [
    "KNOWN", "OTHER", "OTHER_FILES_HELP", "STS_PAIRS", "STS_TASKS", "TRANSFER_TASKS", "WAYS", "StsSubset",
    "TransferTask", "downstream", "fetch", "load_sts", "load_task", "missing_files", "present", "release_of", "splits",
    "sts_present", "together", "transfer_present",
]  # fmt: skip

#: Labelled pairs of every subset, by task. STS13's SMT subset has no freely available input and is never scored.
STS_PAIRS: dict[str, dict[str, int]] = {
    "STS12": {"MSRpar": 750, "MSRvid": 750, "SMTeuroparl": 459, "surprise.OnWN": 750, "surprise.SMTnews": 399},
    "STS13": {"FNWN": 189, "headlines": 750, "OnWN": 561},
    "STS14": {"deft-forum": 450, "deft-news": 300, "headlines": 750, "images": 750, "OnWN": 750, "tweet-news": 750},
    "STS15": {"answers-forums": 375, "answers-students": 750, "belief": 375, "headlines": 750, "images": 750},
    "STS16": {"answer-answer": 254, "headlines": 249, "plagiarism": 230, "postediting": 244, "question-question": 209},
}
_TABLES = {  # task → split → (file, pairs)
    "STSB": {
        "train": ("STS/STSBenchmark/sts-train.csv", 5749),
        "dev": ("STS/STSBenchmark/sts-dev.csv", 1500),
        "test": ("STS/STSBenchmark/sts-test.csv", 1379),
    },
    "SICKR": {
        "train": ("SICK/SICK_train.txt", 4500),
        "dev": ("SICK/SICK_trial.txt", 500),
        "test": ("SICK/SICK_test_annotated.txt", 4927),
    },
}
#: The seven tasks in the order of every published table.
STS_TASKS: tuple[str, ...] = (*STS_PAIRS, *_TABLES)

Row = tuple[list[str], list[str], int]  # words of a sentence, words of its partner (empty for single ones), label

_OPINIONS = {  # task → (file of class 1, its lines, file of class 0, its lines); SentEval's SUBJ calls objective 1
    "MR": ("MR/rt-polarity.pos", 5331, "MR/rt-polarity.neg", 5331),
    "CR": ("CR/custrev.pos", 2407, "CR/custrev.neg", 1368),
    "SUBJ": ("SUBJ/subj.objective", 5000, "SUBJ/subj.subjective", 5000),
    "MPQA": ("MPQA/mpqa.pos", 3312, "MPQA/mpqa.neg", 7294),
}
_SPLITS = {  # task → part → (file, rows)
    "SST2": {
        "train": ("SST/binary/sentiment-train", 67349),
        "dev": ("SST/binary/sentiment-dev", 872),
        "test": ("SST/binary/sentiment-test", 1821),
    },
    "TREC": {"train": ("TREC/train_5500.label", 5452), "test": ("TREC/TREC_10.label", 500)},
    "MRPC": {"train": ("MRPC/msr_paraphrase_train.txt", 4076), "test": ("MRPC/msr_paraphrase_test.txt", 1725)},
}
#: The seven tasks in the order of every published table.
TRANSFER_TASKS: tuple[str, ...] = (*_OPINIONS, *_SPLITS)

_QUESTIONS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")  # TREC's classes 0 to 5
_CUT_SUBJ = 20  # lines of subj.subjective in an early public archive


#: What the files of a benchmark are: those that every published table scores, or others.
KNOWN, OTHER = "known release", "other"
OTHER_FILES_HELP = "score benchmark files whose rows are not the known release's too; the result says so"

_COLUMNS = {"STSB": (4, 5, 6), "SICKR": (3, 1, 2)}  # score, first, second; what follows them differs by line
_ARCHIVE = "senteval.tar"


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
    release: str = "other"


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
    """Return the folder of the benchmark files, ``home()/senteval/downstream``; ``root`` stands in for home()."""
    return (root or data.home()) / "senteval" / "downstream"


def splits(task: str) -> tuple[str, ...]:
    """Return the splits of a task: ``test``, and for STS-B and SICK-R also ``train`` and ``dev``.

    Raises:
        HncseError: There is no such task; the nearest is named.
    """
    if task not in STS_TASKS:
        raise unknown("STS task", task, STS_TASKS)
    return tuple(_TABLES[task]) if task in _TABLES else ("test",)


def present(task: str, split: str = "test") -> bool:
    """Say whether the files of one task are there; their counts are checked when they are read.

    Raises:
        HncseError: Unknown task or split.
    """
    return all(path.is_file() for path in _files(task, split, downstream()))


def sts_present() -> bool:
    """Say whether the files of the seven test sets and of STS-B dev are there; counts are checked on reading."""
    return present("STSB", "dev") and all(map(present, STS_TASKS))


def load_sts(
    task: str, split: str = "test", folder: Path | None = None, *, allow_other_files: bool | None = None
) -> list[StsSubset]:
    """Read one task, SimCSE's protocol to the letter: its subsets, pairs without a gold score dropped.

    Args:
        task: One of :data:`STS_TASKS`.
        split: ``test``; for STSB and SICKR also ``train`` or ``dev`` (SICK's "trial").
        folder: Where ``STS`` and ``SICK`` lie; default :func:`downstream`.
        allow_other_files: Read files whose rows are not the known release's as well; ``release`` of each subset says
            which they are. None asks ``HNCSE_OTHER_BENCHMARKS``, which is 1 where they are allowed.

    Returns:
        The subsets, in SimCSE's order.

    Raises:
        HncseError: Unknown task or split; a file that is missing, cut, not what its name says, or of other rows than
            the known release. The message names the file, what was seen and what was expected.
    """
    files = _files(task, split, folder or downstream())
    if task in _TABLES:
        subsets = [_table(task, split, files[0], _TABLES[task][split][1])]
    else:
        pairs = zip(files[::2], files[1::2], strict=True)
        subsets = [_subset(*p, name, STS_PAIRS[task][name]) for p, name in zip(pairs, STS_PAIRS[task], strict=True)]
    golds = files if task in _TABLES else files[1::2]
    return [
        replace(subset, release=release_of(f"{task} {subset.name}", _rows(subset), gold, allow_other_files))
        for subset, gold in zip(subsets, golds, strict=True)
    ]


def transfer_present(task: str | None = None) -> bool:
    """Say whether the files of a task (None: of all seven) are there; their counts are checked when they are read.

    Raises:
        HncseError: There is no such task; the nearest is named.
    """
    return not missing_files(downstream(), None if task is None else [task])


def missing_files(folder: Path, tasks: list[str] | None = None) -> list[Path]:
    """Return the files of some tasks (None: of all seven) that a folder lacks."""
    return [path for task in tasks or TRANSFER_TASKS for path in _task_files(task, folder) if not path.is_file()]


def load_task(task: str, folder: Path | None = None, *, allow_other_files: bool | None = None) -> TransferTask:
    """Read one task, in SentEval's order.

    Args:
        task: One of `TRANSFER_TASKS`.
        folder: Where ``MR``, ``CR`` … lie; default `downstream`.
        allow_other_files: As in `load_sts`.

    Returns:
        The task.

    Raises:
        HncseError: Unknown task; a file that is missing, cut, not what its name says (the early public archive with
            its truncated SUBJ is told by name), or of other rows than the known release. The message names the file,
            what was seen, what was expected.
    """
    files = _task_files(task, folder or downstream())
    if task in _OPINIONS:
        parts = {"train": _opinions(task, *files)}
    else:
        expected = [rows for _, rows in _SPLITS[task].values()]
        parts = {
            part: _split(task, file, rows) for part, file, rows in zip(_SPLITS[task], files, expected, strict=True)
        }
    for (part, rows), file in zip(parts.items(), files, strict=False):
        _check_labels(task, part, rows, file)
    release = together(
        release_of(f"{task} {part}", map(_line, rows), files[place], allow_other_files)
        for place, (part, rows) in enumerate(parts.items())
    )
    rows = [row for part in parts.values() for row in _sorted(part)]
    ends = np.cumsum([0, *map(len, parts.values())]).tolist()
    places = {part: slice(start, stop) for part, start, stop in zip(parts, ends, ends[1:], strict=False)}
    second = [" ".join(row[1]) for row in rows] if task == "MRPC" else None
    labels = np.array([row[2] for row in rows], dtype=np.int64)
    return TransferTask(task, [" ".join(row[0]) for row in rows], second, labels, **places, release=release)


def release_of(part: str, rows: Iterable[str], path: Path, allow_other_files: bool | None) -> str:
    """Compare what was read with the release that every published table scores.

    Line ends, spaces between words and fields that are not read make no difference; words, labels and order do.

    Args:
        part: Task and subset or split, as in ``senteval.sha256`` beside this file.
        rows: What was read, a line each.
        path: A file it was read from, for the message.
        allow_other_files: As in `load_sts`.

    Returns:
        :data:`KNOWN` or :data:`OTHER`.

    Raises:
        HncseError: The rows are other ones, and those are not allowed.
    """
    digest = hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()
    if digest == _digests().get(part):
        return KNOWN
    allowed = os.environ.get("HNCSE_OTHER_BENCHMARKS") == "1" if allow_other_files is None else allow_other_files
    if allowed:
        return OTHER
    raise HncseError(
        f"{path}: its rows are not those of the known release ({part}: sha256 {digest[:12]}…, expected "
        f"{_digests().get(part, 'none')[:12]}…): edited, in another order, or of another version. Move it away and run "
        "`hncse benchmark-files` to fetch it again; or score it as it is with allow_other_files=True "
        "(--allow-other-files, HNCSE_OTHER_BENCHMARKS=1), and the result says so"
    )


@functools.cache
def _digests() -> dict[str, str]:
    lines = Path(__file__).with_name("senteval.sha256").read_text(encoding="utf-8").splitlines()
    return {part: digest for digest, part in (line.split("  ", 1) for line in lines)}


def _rows(subset: StsSubset) -> Iterator[str]:
    for row in zip(subset.first, subset.second, subset.gold.tolist(), strict=True):
        yield "\t".join(map(str, row))


def fetch(transfer: bool = False, *, allow_other_files: bool | None = None) -> Path:
    """Download and unpack ``senteval.tar`` once; nothing happens where the files are already there.

    The archive is downloaded, unpacked and counted in a temporary folder beside its destination and moved there
    when all of it is right, so a failure at any point leaves the data folder as it was.

    Args:
        transfer: Whether the transfer tasks are needed besides STS.
        allow_other_files: As in `load_sts`.

    Returns:
        The folder of the benchmark files.

    Raises:
        HncseError: No network, a damaged or cut archive, a disk that is full or read-only. The message names the
            file, the place, and the ways to get it.
    """
    target = downstream()
    if sts_present() and (not transfer or transfer_present()):
        return target
    try:
        data.home().mkdir(parents=True, exist_ok=True)
        with remote.work_folder(data.home()) as work:
            try:
                archive = remote.download(_ARCHIVE, work)
                unpacked = _unpack(archive, work / "unpacked", transfer, allow_other_files)
            except remote.Unavailable as error:
                raise HncseError(f"{_ARCHIVE} is not in {data.home()}, and {error}. {WAYS}") from error
            _install(unpacked, target)
    except OSError as error:
        raise HncseError(
            f"{data.home()} could not be written ({error.strerror or error}): make room there, or set HNCSE_DATA to "
            "a folder that can be written"
        ) from error
    return target


#: Said wherever a benchmark file is missing.
WAYS = (
    f"Two ways to get it: `hncse benchmark-files` with a network (fetched once, from {remote.REPOSITORY}), or "
    f"unpack {_ARCHIVE} yourself into senteval/downstream of the data folder, so that senteval/downstream/STS is "
    "there; HNCSE_DATA names the data folder."
)


def _files(task: str, split: str, folder: Path) -> list[Path]:
    """Return the files of a task: one for STS-B and SICK-R, an input and a gold file for each subset of the others."""
    if split not in splits(task):
        raise HncseError(f"{task} has no split {split!r}; it has: {', '.join(splits(task))}")
    if task in _TABLES:
        return [folder / _TABLES[task][split][0]]
    place = folder / "STS" / f"{task}-en-test"
    return [place / f"STS.{kind}.{name}.txt" for name in STS_PAIRS[task] for kind in ("input", "gs")]


def _unpack(archive: Path, work: Path, transfer: bool, others: bool | None) -> Path:
    """Unpack an archive into an empty folder and return the folder in it that holds ``STS``, all counts right."""
    if not hasattr(tarfile, "data_filter"):
        raise HncseError("this Python is too old to unpack archives safely; use 3.10.12, 3.11.4 or any later one")
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
    _check_all(found.parent, archive.name, transfer, others)
    return found.parent


def _harmless(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Refuse links and paths that lead out of the folder; leave file modes to the person's umask."""
    checked = tarfile.data_filter(member, folder)
    return checked and checked.replace(mode=None, deep=False)  # type: ignore[arg-type]


def _check_all(folder: Path, archive: str, transfer: bool, others: bool | None) -> None:
    """Read every task and split in a freshly unpacked folder."""
    absent = [path for task in STS_TASKS for split in splits(task) for path in _files(task, split, folder)]
    absent = [path for path in absent if not path.is_file()] + (missing_files(folder) if transfer else [])
    if absent:
        raise remote.Unavailable(f"{archive} is cut off: it holds no {absent[0].relative_to(folder)}")
    try:
        for task in STS_TASKS:
            for split in splits(task):
                load_sts(task, split, folder, allow_other_files=others)
        for task in TRANSFER_TASKS if transfer else ():
            load_task(task, folder, allow_other_files=others)
    except HncseError as error:
        raise remote.Unavailable(f"{archive} is not SimCSE's: {str(error).replace(str(folder), '…')}") from error


def _install(source: Path, target: Path) -> None:
    """Move a checked folder into place: whole, or file by file where another (an older, another process's) is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
        return
    except OSError:
        if not target.is_dir():
            raise
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_file() and place.read_bytes() != path.read_bytes():  # somebody's: it stays, under another name
                places = (place.with_name(f"{place.name}.before-{n}") for n in itertools.count(1))
                place.replace(next(spare for spare in places if not spare.exists()))
            path.replace(place)


def _subset(inputs: Path, golds: Path, name: str, pairs: int) -> StsSubset:
    """Read one subset of STS12 to STS16: tab-separated pairs in one file, their gold scores in the other."""
    rows, scores = _lines(inputs), _lines(golds)
    if len(rows) != len(scores):
        raise HncseError(
            f"{inputs} has {len(rows)} lines, {golds.name} beside it has {len(scores)}: one of them is cut"
        )
    kept = [number for number, score in enumerate(scores) if score]  # STS15 and STS16 label a part of their input
    _check_count(golds, len(kept), pairs)
    cells = [_cells(inputs, number, rows[number], (0, 1)) for number in kept]
    return StsSubset(
        name,
        [_joined(cell[0]) for cell in cells],
        [_joined(cell[1]) for cell in cells],
        np.array([_score(golds, number, scores[number]) for number in kept]),
    )


def _table(task: str, split: str, path: Path, pairs: int) -> StsSubset:
    """Read STS-B or SICK-R, whose scores and sentences share a line; quotes in them mean nothing."""
    rows = list(enumerate(_lines(path)))
    if task == "SICKR":  # its first line names the columns
        rows = rows[1:]
    _check_count(path, len(rows), pairs)
    cells = [(number, _cells(path, number, row, _COLUMNS[task])) for number, row in rows]
    return StsSubset(
        split,
        [_joined(cell[1]) for _, cell in cells],
        [_joined(cell[2]) for _, cell in cells],
        np.array([_score(path, number, cell[0]) for number, cell in cells]),
    )


def _lines(path: Path) -> list[str]:
    """Return a UTF-8 file's lines; only line feeds end one (SICK's test file has carriage returns before them)."""
    lines = [line.removesuffix("\r") for line in _decoded(path, "utf-8").split("\n")]
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


def _check_count(path: Path, seen: int, expected: int, what: str = "labelled pairs", whose: str = "SimCSE") -> None:
    if seen != expected:
        raise HncseError(f"{path} has {seen} {what}, {whose}'s has {expected}: the file is cut or another one")


def _cells(path: Path, number: int, line: str, columns: tuple[int, ...]) -> list[str]:
    cells = line.split("\t")
    if len(cells) <= max(columns):
        raise HncseError(
            f"{path}, line {number + 1}: {len(cells)} tab-separated fields, at least {max(columns) + 1} needed"
        )
    return [cells[column] for column in columns]


def _score(path: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 5:
        raise HncseError(f"{path}, line {number + 1}: the gold score is {text!r}; it must be a number from 0 to 5")
    return score


def _joined(sentence: str) -> str:
    return " ".join(sentence.split())


def _task_files(task: str, folder: Path) -> list[Path]:
    if task in _OPINIONS:
        return [folder / name for name in _OPINIONS[task][::2]]
    if task in _SPLITS:
        return [folder / name for name, _ in _SPLITS[task].values()]
    raise unknown("transfer task", task, TRANSFER_TASKS)


def _opinions(task: str, positive: Path, negative: Path) -> list[Row]:
    """Read a task whose two classes have a file each: a sentence a line, latin-1."""
    rows: list[Row] = []
    for path, label, expected in ((positive, 1, _OPINIONS[task][1]), (negative, 0, _OPINIONS[task][3])):
        lines = _decoded(path, "latin-1").splitlines()  # Python's line ends, as SentEval has them
        if task == "SUBJ" and len(lines) == _CUT_SUBJ:
            raise HncseError(
                f"{path} has {len(lines)} lines, SentEval's has {expected}: this is the truncated SUBJ of an early "
                "public archive. A classifier that always says 'objective' is right 99.6 % of the time on it, and "
                "tables were published with that; fetch the data again"
            )
        _check_count(path, len(lines), int(expected), "lines", "SentEval")
        rows += [(line.split(), [], label) for line in lines]
    return rows


def _split(task: str, path: Path, expected: int) -> list[Row]:
    """Read one part of SST2, TREC or MRPC."""
    encoding, parse = _FORMATS[task]
    lines = _decoded(path, encoding).split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if task == "MRPC":  # its first line names the columns
        lines = lines[1:]
    _check_count(path, len(lines), expected, "labelled rows", "SentEval")
    rows = []
    for number, line in enumerate(lines, 2 if task == "MRPC" else 1):
        try:
            rows.append(parse(line.strip()))
        except (ValueError, IndexError) as error:
            shown = repr(line[:60]) if line.strip() else "an empty line"
            raise HncseError(f"{path}, line {number}: {shown}; it must be {_FORM_OF_ROW[task]}") from error
    return rows


def _sentiment(line: str) -> Row:
    sentence, label = line.split("\t")[:2]
    return sentence.split(), [], _binary(label)


def _question(line: str) -> Row:
    label, rest = line.split(":", 1)
    return rest.split(" ", 1)[1].split(), [], _QUESTIONS.index(label)


def _paraphrase(line: str) -> Row:
    cells = line.split("\t")
    return cells[3].split(), cells[4].split(), _binary(cells[0])


def _binary(text: str) -> int:
    return ("0", "1").index(text)


_FORMATS: dict[str, tuple[str, Callable[[str], Row]]] = {
    "SST2": ("utf-8", _sentiment),
    "TREC": ("latin-1", _question),
    "MRPC": ("utf-8-sig", _paraphrase),  # the file begins with a byte-order mark
}
_FORM_OF_ROW = {
    "SST2": "a sentence, a tab, and 0 or 1",
    "TREC": f"CLASS:subclass and a question, CLASS one of {', '.join(_QUESTIONS)}",
    "MRPC": "five tab-separated fields: 0 or 1, two numbers, two sentences",
}


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (len(row[0]), len(row[1]), row[2]))  # stable, as SentEval's


def _line(row: Row) -> str:
    return "\t".join((" ".join(row[0]), " ".join(row[1]), str(row[2])))


def _check_labels(task: str, part: str, rows: list[Row], path: Path) -> None:
    """Refuse a part in which nothing could be learned or told apart."""
    if len(labels := {row[2] for row in rows}) < 2:
        raise HncseError(
            f"{task} {part}: every label in {path} is {min(labels, default='absent')}; a classifier needs two classes "
            "or more"
        )


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="hncse benchmark-files",
        description="Fetch the benchmark files once, count them, and print the counts.",
    )
    parser.add_argument("--transfer", action="store_true", help="the transfer tasks' files besides those of STS")
    parser.add_argument("--allow-other-files", action="store_true", default=None, help=OTHER_FILES_HELP)
    options = parser.parse_args(arguments)
    others = options.allow_other_files
    sys.stdout.write(f"{fetch(options.transfer, allow_other_files=others)}\n")
    for task in STS_TASKS:
        for split in splits(task):
            subsets = load_sts(task, split, allow_other_files=others)
            pairs, release = sum(len(subset.gold) for subset in subsets), together(s.release for s in subsets)
            sys.stdout.write(f"{task:6} {split:5} {pairs:5} pairs, {release}\n")
    for name in TRANSFER_TASKS if options.transfer else ():
        sys.stdout.write(_counted(load_task(name, allow_other_files=others)) + "\n")
    return 0


def _counted(task: TransferTask) -> str:
    parts = {"train": task.train, "dev": task.dev, "test": task.test}
    rows = ", ".join(f"{place.stop - place.start:,} {part}" for part, place in parts.items() if place)
    counts = " + ".join(f"{n:,}" for n in np.bincount(task.labels)[::-1])
    empty = sum(not sentence for sentence in task.sentences)
    note = f"; {empty} empty lines, kept as SentEval keeps them" if empty else ""
    rows = rows if task.test else rows.removesuffix(" train")
    return f"{task.name:6} {rows} rows ({counts}), {task.release}{note}"


if __name__ == "__main__":
    sys.exit(main())
