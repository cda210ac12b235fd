"""What the corpus miner returns: which negatives, how similar, what was removed and why; as triplets, as a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown
from hncse.files import whole_file
from hncse.mining.corpus import Pool
from hncse.mining.guards import GUARDS, KEPT, Guards, Neighbours, apply
from hncse.mining.report import Report

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["FORMATS", "LAYOUTS", "MinedCorpus", "load", "save"]

LAYOUTS = ("triplet", "n-tuple")
FORMATS = (".parquet", ".jsonl")

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class MinedCorpus:
    """Hard negatives out of a corpus, a row for every anchor given.

    Attributes:
        anchors: The n anchors.
        positives: Their positives; None where an anchor is its own.
        index: (n, m) int64 positions of the negatives in the corpus, most similar first; -1 where one is missing.
        similarity: (n, m) float32 cosines to the anchor; NaN where one is missing.
        positive_similarity: (n,) float32 cosines of anchors and positives; 1 where an anchor is its own.
        neighbours: (n, k) int64 positions of the nearest k, before any guard; -1 where the corpus has no more.
        neighbour_similarity: (n, k) float32; NaN where there is none.
        removed_by: (n, k) int8: 0 kept, -1 no neighbour, else 1 + the position in `hncse.mining.GUARDS` of the guard
            that removed it.
        report: What to know about it; print it.
        pool: The corpus; `texts` reads from it.
    """

    anchors: list[str]
    positives: list[str] | None
    index: Integers
    similarity: Floats
    positive_similarity: Floats
    neighbours: Integers
    neighbour_similarity: Floats
    removed_by: NDArray[np.int8]
    report: Report
    pool: Pool = field(repr=False)

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.anchors)

    def texts(self, index: Integers | list[int]) -> list[str]:
        """Sentences of the corpus at positions (p,), such as a row of ``index`` without its -1."""
        index = np.asarray(index, dtype=np.int64)
        if len(index) and (index.min() < 0 or index.max() >= self.pool.total):
            raise HncseError(
                f"positions reach from {index.min()} to {index.max()}; the corpus has 0 to {self.pool.total - 1} "
                "(-1 stands for a missing negative)"
            )
        return self.pool.texts(index)

    def under(self, guards: Guards, threshold: float | None = None) -> NDArray[np.bool_]:
        """Say which neighbours other guards would keep, (n, k), without searching again.

        Args:
            guards: In place of those the corpus was mined with; positives stay removed.
            threshold: What the guard ``calibrated`` removes at and above; without it, that guard is not looked at.
        """
        similarity = np.where(np.isnan(self.neighbour_similarity), np.float32(-np.inf), self.neighbour_similarity)
        nobody = np.empty((len(self), 0), dtype=np.int64)
        found = Neighbours(self.anchors, self.positive_similarity, similarity, self.neighbours, nobody, self.pool)
        if threshold is not None:
            guards = replace(guards, calibrated=0.0)
        positive = self.removed_by == 1 + GUARDS.index("positive")
        return (apply(guards, found, threshold) == KEPT) & ~positive

    def triplets(self, layout: str = "triplet", *, similarities: bool = True) -> Dataset:
        """Return the negatives as a table to train on.

        Args:
            layout: ``"triplet"``: a row for every negative, columns anchor, positive, negative. ``"n-tuple"``: a row
                for every anchor that has all m, columns anchor, positive, negative_1 … negative_m.
            similarities: Add float32 columns positive_similarity and negative_similarity (negative_1_similarity …).

        Returns:
            Rows in the anchors' order, most similar negative first.

        Raises:
            HncseError: An unknown layout.
        """
        if layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        there = self.index >= 0  # (n, m)
        if layout == "triplet":
            row, column = np.nonzero(there)
            negatives = {"negative": (self.index[row, column], self.similarity[row, column])}
        else:
            row = np.flatnonzero(there.all(axis=1))
            negatives = {
                f"negative_{i + 1}": (self.index[row, i], self.similarity[row, i]) for i in range(there.shape[1])
            }
        return self._table(row, negatives, similarities)

    def save(self, path: str | Path, layout: str = "triplet") -> Path:
        """Write the triplets as .parquet or .jsonl, whole or not at all; `hncse.mining.load` reads them.

        Raises:
            HncseError: Another ending, an unknown layout, or a place that cannot be written.
        """
        return save(self.triplets(layout), path)

    def _table(self, row: Integers, negatives: dict[str, tuple[Integers, Floats]], similarities: bool) -> Dataset:
        from datasets import Dataset

        positives = self.anchors if self.positives is None else self.positives
        columns: dict[str, Any] = {
            "anchor": [self.anchors[i] for i in row.tolist()],
            "positive": [positives[i] for i in row.tolist()],
            **{name: self.pool.texts(index) for name, (index, _) in negatives.items()},
        }
        if similarities:
            columns["positive_similarity"] = self.positive_similarity[row]
            columns |= {f"{name}_similarity": values for name, (_, values) in negatives.items()}
        return Dataset.from_dict(columns)


def save(triplets: Dataset, path: str | Path) -> Path:
    """Write a table as .parquet or .jsonl, whole or not at all.

    Raises:
        HncseError: Another ending, or a place that cannot be written; an old file is then untouched.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise HncseError(f"{path.name!r} ends in {path.suffix or 'nothing'!r}; it must end in {' or '.join(FORMATS)}")
    with whole_file(path, "wb") as file, _no_bars():
        if path.suffix == ".parquet":
            triplets.to_parquet(file)
        else:
            triplets.to_json(file, lines=True, force_ascii=False)
    return path


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep datasets from drawing a bar into a log file."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def load(path: str | Path) -> Dataset:
    """Read triplets that `MinedCorpus.save` wrote.

    Raises:
        HncseError: No such file, another ending, or not what its name says.
    """
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.json  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    path = Path(path)
    if path.suffix not in FORMATS:
        raise HncseError(f"{path.name!r} ends in {path.suffix or 'nothing'!r}; it must end in {' or '.join(FORMATS)}")
    try:
        table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.json.read_json(path)
    except FileNotFoundError as error:
        raise HncseError(f"there is no file {path}") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise HncseError(f"{path} cannot be read as triplets: {error}") from error
    if missing := [name for name in ("anchor", "positive") if name not in table.column_names]:
        raise HncseError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return Dataset(table)
