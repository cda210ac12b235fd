"""Exact nearest neighbours by cosine, over a corpus that comes in blocks.

faiss (or torch on a GPU) proposes a block's nearest; their similarities are then computed once more, pair by pair, and
ordered by similarity and position. A pair's number so depends on the pair alone, not on block or batch, and ties fall
the same way every time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown

__all__ = ["BACKENDS", "Nearest", "pair_similarity", "pick_backend", "unit_rows"]

BACKENDS = ("faiss", "torch")

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_QUERIES = 16_384  # anchors searched in one call; the step of the progress bar
_PAIRS = 32_768  # pairs whose vectors are gathered at a time
_SPARE = 8  # proposals beyond k: a matrix product's rounding may swap neighbours that are nearly tied
_ROUNDING = 1e-5  # far more than float32 products of unit vectors are off
_TIE = 2e-6  # sentences that differ by less may be proposed in any order
_WIDEST = 2_048  # of more sentences tied at an anchor's k-th place, which are taken is left to the engine
_GPU_FLOATS = 1 << 28  # similarities held on a GPU at a time, 1 GiB


def unit_rows(rows: Floats) -> Floats:
    """Scale rows to length 1, in a new array; a row of zeros stays.

    Args:
        rows: (n, d) float32, finite.
    """
    out = np.array(rows, dtype=np.float32, order="C")  # (n, d)
    for start in range(0, len(out), _PAIRS):
        part = out[start : start + _PAIRS]
        lengths = np.sqrt(np.einsum("nd,nd->n", part, part, dtype=np.float64))  # (c,)
        part /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return out


def pair_similarity(left: Floats, i: Integers, right: Floats, j: Integers) -> Floats:
    """Similarity of pairs of unit rows, each computed alone: the same wherever and beside whatever it is asked for.

    Args:
        left: (n, d) float32.
        i: (p,) rows of ``left``.
        right: (m, d) float32.
        j: (p,) rows of ``right``.

    Returns:
        (p,) float32.
    """
    out = np.empty(len(i), dtype=np.float32)
    for start in range(0, len(i), _PAIRS):
        part = slice(start, start + _PAIRS)
        out[part] = np.einsum("pd,pd->p", left[i[part]], right[j[part]])  # (c, d) · (c, d)
    return out


def pick_backend(name: str | None) -> str:
    """Choose ``"torch"`` where it has a CUDA device, else ``"faiss"``.

    Raises:
        HncseError: An unknown name.
    """
    if name is not None:
        if name not in BACKENDS:
            raise unknown("backend", name, BACKENDS)
        return name
    torch = sys.modules.get("torch")  # an encoder on a GPU has imported it
    return "torch" if torch is not None and torch.cuda.is_available() else "faiss"


class _Engine(Protocol):
    """What proposes a block's nearest."""

    def nearest(self, anchors: Floats, width: int) -> tuple[Floats, Integers]:
        """Similarities (q, w), falling, and rows of the block (q, w), for anchors (q, d)."""


@dataclass(frozen=True)
class _Block:
    """Part of a corpus: what searches it, its unit rows (m, d), their positions (m,), whose text each is (m,)."""

    engine: _Engine
    rows: Floats
    index: Integers
    same: Integers


class Nearest:
    """The k nearest of everything seen so far, for n anchors.

    Attributes:
        similarity: (n, k) float32, falling along a row; ``-inf`` where there is no neighbour yet.
        index: (n, k) int64 position in the corpus; -1 where there is none.
    """

    def __init__(self, anchors: Floats, k: int, backend: str | None = None) -> None:
        """Start with no neighbours.

        Args:
            anchors: (n, d) float32 unit rows.
            k: Neighbours to keep.
            backend: One of `BACKENDS`; None picks.
        """
        self._anchors, self._k, self._backend = anchors, k, pick_backend(backend)
        self.similarity = np.full((len(anchors), k), -np.inf, dtype=np.float32)
        self.index = np.full((len(anchors), k), -1, dtype=np.int64)

    def add(self, rows: Floats, index: Integers, same: Integers) -> Iterator[int]:
        """Search one block of the corpus; yields the number of anchors done, step by step.

        Args:
            rows: (m, d) float32 unit rows.
            index: (m,) int64 positions in the corpus, rising.
            same: (m,) int64, the anchor whose text a sentence is, which never gets it; -1 where it is nobody's.

        Raises:
            HncseError: The block's width is not the anchors'.
        """
        if rows.shape[1] != self._anchors.shape[1]:
            raise HncseError(
                f"the corpus has embeddings of width {rows.shape[1]}, the anchors {self._anchors.shape[1]}"
            )
        if len(rows) == 0:
            return
        block = _Block(_Torch(rows) if self._backend == "torch" else _Faiss(rows), rows, index, same)
        for start in range(0, len(self._anchors), _QUERIES):
            who = np.arange(start, min(start + _QUERIES, len(self._anchors)))
            self._search(block, who, min(len(rows), self._k + 1 + _SPARE))
            yield len(who)

    def _search(self, block: _Block, who: Integers, width: int) -> None:
        """Search a block for anchors (q,); again, wider, for those whose last proposals are tied with the k-th."""
        rough, column = block.engine.nearest(self._anchors[who], width)  # (q, w)
        last, kth, worst = rough[:, -1], rough[:, min(self._k, width - 1)], self.similarity[who, -1]  # (q,)
        tied = (last > kth - _TIE) & (last > worst - _TIE)
        limit = min(len(block.rows), _WIDEST)
        if width >= limit or not tied.any():
            self._merge(block, who, rough, column)
            return
        self._merge(block, who[~tied], rough[~tied], column[~tied])
        wider = min(8 * width, limit)
        step = max(1, _QUERIES * width // wider)
        for start in range(0, int(tied.sum()), step):
            self._search(block, who[tied][start : start + step], wider)

    def _merge(self, block: _Block, who: Integers, rough: Floats, column: Integers) -> None:
        """Put a block's proposals (q, w) among the neighbours known so far of anchors (q,)."""
        worst = self.similarity[who, -1:]  # (q, 1)
        enters = (block.same[column] != who[:, None]) & (rough > worst - _ROUNDING)  # (q, w)
        i, j = np.nonzero(enters)
        fresh = np.full(rough.shape, -np.inf, dtype=np.float32)  # (q, w)
        fresh[i, j] = pair_similarity(self._anchors, who[i], block.rows, column[i, j])
        places = np.where(enters, block.index[column], -1)  # (q, w)
        similarity = np.concatenate([self.similarity[who], fresh], axis=1)  # (q, k+w)
        places = np.concatenate([self.index[who], places], axis=1)
        order = np.lexsort((places, -similarity), axis=1)[:, : self._k]  # most similar first, then first in the corpus
        self.similarity[who] = np.take_along_axis(similarity, order, axis=1)
        self.index[who] = np.take_along_axis(places, order, axis=1)


class _Faiss:
    """A block searched by faiss's exact inner-product search (what IndexFlatIP runs, without its copy of the rows)."""

    def __init__(self, rows: Floats) -> None:
        self._rows = np.ascontiguousarray(rows)

    def nearest(self, anchors: Floats, width: int) -> tuple[Floats, Integers]:
        import faiss

        return faiss.knn(np.ascontiguousarray(anchors), self._rows, width, metric=faiss.METRIC_INNER_PRODUCT)


class _Torch:
    """A block searched by matrix products and topk, on a GPU where there is one, tile by tile."""

    def __init__(self, rows: Floats) -> None:
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._rows = torch.from_numpy(rows).to(self._device)  # (m, d)

    def nearest(self, anchors: Floats, width: int) -> tuple[Floats, Integers]:
        import torch

        tile = max(width, _GPU_FLOATS // len(anchors))  # columns at a time
        values: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        query = torch.from_numpy(anchors).to(self._device)  # (q, d)
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=False), _full_precision():
            for start in range(0, len(self._rows), tile):
                similarity = query @ self._rows[start : start + tile].T  # (q, t)
                best = similarity.topk(min(width, similarity.shape[1]), dim=1)
                values.append(best.values)
                places.append(best.indices + start)
            found = torch.cat(values, dim=1).topk(width, dim=1)  # (q, w)
            column = torch.cat(places, dim=1).gather(1, found.indices)
        return found.values.cpu().numpy(), column.cpu().numpy()


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply float32 as float32: with TF32, which a program may have turned on, the nearest would be missed."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
