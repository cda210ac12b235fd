"""Who learns from which rows, who chooses, who is scored: SentEval's three protocols as lists of row numbers.

    nested   MR CR SUBJ MPQA   10 folds take turns in testing; in the other nine, 10 inner folds choose the strength
    folds    TREC MRPC         10 folds of the training part choose the strength; the test part is scored
    split    SST2              the dev part chooses the strength; the test part is scored

Folds are scikit-learn's StratifiedKFold with shuffling and seed 1111, as in SentEval's ``validation.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hncse.data.senteval import TransferTask
from hncse.errors import HncseError

__all__ = ["FOLDS", "SEED", "Choice", "Fit", "choices", "protocol"]

FOLDS = 10
SEED = 1111

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """One classifier to be trained, whatever its regularisation strength.

    Attributes:
        train: Rows it learns from.
        dev: Rows that may stop its training early; None leaves that to a share of ``train``.
        score: Rows its accuracy is taken on.
    """

    train: Rows
    dev: Rows | None
    score: Rows


@dataclass(frozen=True)
class Choice:
    """One choice of a strength: the fits whose mean accuracy chooses, and the fit that is then reported."""

    search: list[Fit]
    final: Fit


def protocol(task: TransferTask) -> str:
    """Name a task's protocol: nested, folds or split."""
    return "nested" if task.test is None else "folds" if task.dev is None else "split"


def choices(task: TransferTask) -> list[Choice]:
    """Lay out a task's protocol: ten choices for ``nested``, one for the others.

    Raises:
        HncseError: A class has fewer rows than there are folds.
    """
    rows = np.arange(len(task.labels))
    train = rows[task.train]
    if task.test is None:
        outer = [(train[a], train[b]) for a, b in _folds(task, train)]
        return [Choice(_inner(task, kept), Fit(kept, None, held)) for kept, held in outer]
    if task.dev is None:
        return [Choice(_inner(task, train), Fit(train, None, rows[task.test]))]
    dev = rows[task.dev]
    return [Choice([Fit(train, dev, dev)], Fit(train, dev, rows[task.test]))]


def _inner(task: TransferTask, rows: Rows) -> list[Fit]:
    return [Fit(rows[a], rows[b], rows[b]) for a, b in _folds(task, rows)]


def _folds(task: TransferTask, rows: Rows) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import StratifiedKFold

    labels = task.labels[rows]
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < FOLDS:
        have = ", ".join(f"{n} of class {c}" for c, n in zip(classes, counts, strict=True))
        raise HncseError(f"{task.name}: {FOLDS} folds need two classes with {FOLDS} rows each; there are {have}")
    yield from StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(labels, labels)
