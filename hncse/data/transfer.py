"""The seven transfer tasks of SentEval: read, counted, and put in the order in which SentEval meets them.

The files lie beside the STS files in ``home()/senteval/downstream``, under SentEval's own names. Order decides the
folds, so it is part of the protocol: SentEval sorts each file's rows by their number of words, then by label (its
``senteval/binary.py``, ``sst.py``, ``trec.py``, ``mrpc.py``), and so do we. Empty lines count as sentences there,
and here: CR has four, MPQA three.

``python -m hncse.data.transfer`` prints what was counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hncse.data import senteval
from hncse.errors import HncseError, command, unknown

__all__ = ["TRANSFER_TASKS", "TransferTask", "load_task", "missing_files", "transfer_present"]

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


def transfer_present(task: str | None = None) -> bool:
    """Say whether the files of a task (None: of all seven) are there; their counts are checked when they are read.

    Raises:
        HncseError: There is no such task; the nearest is named.
    """
    return not missing_files(senteval.downstream(), None if task is None else [task])


def missing_files(folder: Path, tasks: list[str] | None = None) -> list[Path]:
    """Return the files of some tasks (None: of all seven) that a folder lacks."""
    return [path for task in tasks or TRANSFER_TASKS for path in _files(task, folder) if not path.is_file()]


def load_task(task: str, folder: Path | None = None, *, allow_other_files: bool | None = None) -> TransferTask:
    """Read one task, in SentEval's order.

    Args:
        task: One of `TRANSFER_TASKS`.
        folder: Where ``MR``, ``CR`` … lie; default `hncse.data.senteval.downstream`.
        allow_other_files: As in `hncse.data.senteval.load_sts`.

    Returns:
        The task.

    Raises:
        HncseError: Unknown task; a file that is missing, cut, not what its name says (the early public archive with
            its truncated SUBJ is told by name), or of other rows than the known release. The message names the file,
            what was seen, what was expected.
    """
    files = _files(task, folder or senteval.downstream())
    if task in _OPINIONS:
        parts = {"train": _opinions(task, *files)}
    else:
        expected = [rows for _, rows in _SPLITS[task].values()]
        parts = {
            part: _split(task, file, rows) for part, file, rows in zip(_SPLITS[task], files, expected, strict=True)
        }
    for (part, rows), file in zip(parts.items(), files, strict=False):
        _check_labels(task, part, rows, file)
    release = senteval.together(
        senteval.release_of(f"{task} {part}", map(_line, rows), files[place], allow_other_files)
        for place, (part, rows) in enumerate(parts.items())
    )
    rows = [row for part in parts.values() for row in _sorted(part)]
    ends = np.cumsum([0, *map(len, parts.values())]).tolist()
    places = {part: slice(start, stop) for part, start, stop in zip(parts, ends, ends[1:], strict=False)}
    second = [" ".join(row[1]) for row in rows] if task == "MRPC" else None
    labels = np.array([row[2] for row in rows], dtype=np.int64)
    return TransferTask(task, [" ".join(row[0]) for row in rows], second, labels, **places, release=release)


def _line(row: Row) -> str:
    return "\t".join((" ".join(row[0]), " ".join(row[1]), str(row[2])))


def _files(task: str, folder: Path) -> list[Path]:
    if task in _OPINIONS:
        return [folder / name for name in _OPINIONS[task][::2]]
    if task in _SPLITS:
        return [folder / name for name, _ in _SPLITS[task].values()]
    raise unknown("transfer task", task, TRANSFER_TASKS)


def _opinions(task: str, positive: Path, negative: Path) -> list[Row]:
    """Read a task whose two classes have a file each: a sentence a line, latin-1."""
    rows: list[Row] = []
    for path, label, expected in ((positive, 1, _OPINIONS[task][1]), (negative, 0, _OPINIONS[task][3])):
        lines = _read(path, "latin-1").splitlines()  # Python's line ends, as SentEval has them
        if task == "SUBJ" and len(lines) == _CUT_SUBJ:
            raise HncseError(
                f"{path} has {len(lines)} lines, SentEval's has {expected}: this is the truncated SUBJ of an early "
                "public archive. A classifier that always says 'objective' is right 99.6 % of the time on it, and "
                "tables were published with that; fetch the data again"
            )
        _check_count(path, len(lines), int(expected), "lines")
        rows += [(line.split(), [], label) for line in lines]
    return rows


def _split(task: str, path: Path, expected: int) -> list[Row]:
    """Read one part of SST2, TREC or MRPC."""
    encoding, parse = _FORMATS[task]
    lines = _read(path, encoding).split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if task == "MRPC":  # its first line names the columns
        lines = lines[1:]
    _check_count(path, len(lines), expected, "labelled rows")
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


def _read(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding)
    except FileNotFoundError as error:
        raise HncseError(f"there is no benchmark file {path}. {senteval.WAYS}") from error
    except OSError as error:
        raise HncseError(f"{path} could not be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise HncseError(f"{path} is not the benchmark's file: byte {error.start} is not UTF-8") from error


def _check_count(path: Path, seen: int, expected: int, what: str) -> None:
    if seen != expected:
        raise HncseError(f"{path} has {seen} {what}, SentEval's has {expected}: the file is cut or another one")


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
        prog="python -m hncse.data.transfer",
        description="Fetch the transfer tasks' files once, count them, and print the counts.",
    )
    parser.add_argument("--allow-other-files", action="store_true", default=None, help=senteval.OTHER_FILES_HELP)
    others = parser.parse_args(arguments).allow_other_files
    sys.stdout.write(f"{senteval.fetch(transfer=True, allow_other_files=others)}\n")
    for name in TRANSFER_TASKS:
        task = load_task(name, allow_other_files=others)
        parts = {"train": task.train, "dev": task.dev, "test": task.test}
        rows = ", ".join(f"{place.stop - place.start:,} {part}" for part, place in parts.items() if place)
        counts = " + ".join(f"{n:,}" for n in np.bincount(task.labels)[::-1])
        empty = sum(not sentence for sentence in task.sentences)
        note = f"; {empty} empty lines, kept as SentEval keeps them" if empty else ""
        sys.stdout.write(
            f"{name:5} {rows if task.test else rows.removesuffix(' train')} rows ({counts}), {task.release}{note}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
