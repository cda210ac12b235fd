"""Exact nearest neighbours by cosine, among sentences in memory or in a stream that is larger than memory.

faiss (or torch on a GPU) proposes a block's nearest; their similarities are then computed once more, pair by pair, and
ordered by similarity and position. A pair's number so depends on the pair alone, not on block or batch, and ties fall
the same way every time.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown

__all__ = ["BACKENDS", "Nearest", "Pool", "pair_similarity", "pick_backend", "unit_rows"]

BACKENDS = ("faiss", "torch")

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_QUERIES = 16_384  # anchors searched in one call; the step of the progress bar
_PAIRS = 32_768  # pairs whose vectors are gathered at a time
_SPARE = 8  # proposals beyond k: a matrix product's rounding may swap neighbours that are nearly tied
_ROUNDING = 1e-5  # far more than float32 products of unit vectors are off
_TIE = 2e-6  # sentences that differ by less may be proposed in any order
_WIDEST = 2_048  # of more sentences tied at an anchor's k-th place, which are taken is left to the backend
_GPU_FLOATS = 1 << 28  # similarities held on a GPU at a time, 1 GiB


class Pool:
    """The sentences to search. A position counts every sentence given, copies and blank ones too.

    A list stays where it is. A stream is read once and written to an unnamed temporary file as it passes; in memory
    stay 8 bytes a sentence (where it begins) and about 100 (a hash that recognises copies).

    Attributes:
        in_memory: Whether it is a list.
        total: Sentences read so far.
        copies: Those equal to an earlier one; only the first of equal sentences is searched.
        blank: Those without a character that is no blank; never searched.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        """Take a list or a stream; nothing is read yet."""
        self.in_memory = isinstance(sentences, Sequence)
        self.total = self.copies = self.blank = 0
        self._sentences: Iterable[str] = sentences
        self._ends = array("Q", [0])
        if not self.in_memory:
            self._file = tempfile.TemporaryFile(prefix="hncse-corpus-")  # noqa: SIM115  lives as long as this object

    def blocks(self, size: int) -> Iterator[tuple[list[str], Integers]]:
        """Yield up to ``size`` different sentences at a time, and their positions (m,), rising."""
        texts: list[str] = []
        places: list[int] = []
        for place, text in self._distinct():
            texts.append(text)
            places.append(place)
            if len(texts) == size:
                yield texts, np.array(places, dtype=np.int64)
                texts, places = [], []
        if texts:
            yield texts, np.array(places, dtype=np.int64)

    def texts(self, index: Integers) -> list[str]:
        """Sentences at positions (p,), in the order asked for; a stream's file is read from front to back."""
        if isinstance(self._sentences, Sequence):
            return [self._sentences[i] for i in index.tolist()]
        wanted, where = np.unique(index, return_inverse=True)
        texts = []
        for i in wanted.tolist():
            self._file.seek(self._ends[i])
            texts.append(self._file.read(self._ends[i + 1] - self._ends[i]).decode("utf-8", "surrogatepass"))
        return [texts[i] for i in where.tolist()]

    def _distinct(self) -> Iterator[tuple[int, str]]:
        """Yield first occurrences with their positions, counting the rest."""
        known: set[bytes | str] = set()
        for place, text in enumerate(self._sentences):
            self.total += 1
            if not isinstance(text, str):
                raise HncseError(f"sentence {place} of the corpus is {text!r:.60}; every one must be a str")
            mark = text if self.in_memory else self._spool(text)
            if not text.strip():
                self.blank += 1
            elif mark in known:
                self.copies += 1
            else:
                known.add(mark)
                yield place, text

    def _spool(self, text: str) -> bytes:
        """Write a sentence to the file; return its hash."""
        content = text.encode("utf-8", "surrogatepass")
        try:
            self._file.write(content)
        except OSError as error:
            raise HncseError(
                f"the corpus could not be written to {tempfile.gettempdir()} ({error.strerror or error}); make room "
                "there, or set TMPDIR to another folder"
            ) from error
        self._ends.append(self._ends[-1] + len(content))
        return hashlib.blake2b(content, digest_size=16).digest()


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


class Nearest:
    """The k nearest of everything searched so far, for n anchors.

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
        self._anchors, self._k = anchors, k
        self._propose = _by_torch if pick_backend(backend) == "torch" else _by_faiss
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
        for start in range(0, len(self._anchors) if len(rows) else 0, _QUERIES):
            who = np.arange(start, min(start + _QUERIES, len(self._anchors)))
            self._search(rows, index, same, who, min(len(rows), self._k + 1 + _SPARE))
            yield len(who)

    def _search(self, rows: Floats, index: Integers, same: Integers, who: Integers, width: int) -> None:
        """Search a block for anchors (q,); again, wider, for those whose last proposals are tied with the k-th."""
        rough, column = self._propose(self._anchors[who], rows, width)  # (q, w)
        last, kth, worst = rough[:, -1], rough[:, min(self._k, width - 1)], self.similarity[who, -1]  # (q,)
        tied = (last > kth - _TIE) & (last > worst - _TIE)
        limit = min(len(rows), _WIDEST)
        if width >= limit:
            tied[:] = False
        enters = (same[column] != who[:, None]) & (rough > worst[:, None] - _ROUNDING) & ~tied[:, None]  # (q, w)
        self._merge(rows, index, who, column, enters)
        wider = min(8 * width, limit)
        step = max(1, _QUERIES * width // wider)
        for start in range(0, int(tied.sum()), step):
            self._search(rows, index, same, who[tied][start : start + step], wider)

    def _merge(self, rows: Floats, index: Integers, who: Integers, column: Integers, enters: NDArray[np.bool_]) -> None:
        """Put those of a block's proposals (q, w) that enter among the neighbours known so far of anchors (q,)."""
        i, j = np.nonzero(enters)
        fresh = np.full(column.shape, -np.inf, dtype=np.float32)  # (q, w)
        fresh[i, j] = pair_similarity(self._anchors, who[i], rows, column[i, j])
        similarity = np.concatenate([self.similarity[who], fresh], axis=1)  # (q, k+w)
        places = np.concatenate([self.index[who], np.where(enters, index[column], -1)], axis=1)
        order = np.lexsort((places, -similarity), axis=1)[:, : self._k]  # most similar first, then first in the corpus
        self.similarity[who] = np.take_along_axis(similarity, order, axis=1)
        self.index[who] = np.take_along_axis(places, order, axis=1)


def _by_faiss(anchors: Floats, rows: Floats, width: int) -> tuple[Floats, Integers]:
    """Propose by faiss's exact inner-product search (what IndexFlatIP runs, without its copy of the rows).

    Args:
        anchors: (q, d).
        rows: (m, d).
        width: w, proposals for every anchor.

    Returns:
        Similarities (q, w), falling, and rows (q, w).
    """
    import faiss

    contiguous = np.ascontiguousarray(anchors), np.ascontiguousarray(rows)
    return faiss.knn(*contiguous, width, metric=faiss.METRIC_INNER_PRODUCT)


def _by_torch(anchors: Floats, rows: Floats, width: int) -> tuple[Floats, Integers]:
    """Propose by matrix products and topk, on a GPU where there is one, tile by tile; as `_by_faiss`."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table, query = torch.from_numpy(rows).to(device), torch.from_numpy(anchors).to(device)  # (m, d), (q, d)
    tile = max(width, _GPU_FLOATS // len(anchors))  # columns at a time
    values: list[torch.Tensor] = []
    places: list[torch.Tensor] = []
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), _full_precision():
        for start in range(0, len(table), tile):
            similarity = query @ table[start : start + tile].T  # (q, t)
            best = similarity.topk(min(width, similarity.shape[1]), dim=1)
            values.append(best.values)
            places.append(best.indices + start)
        top = torch.cat(values, dim=1).topk(width, dim=1)  # (q, w)
        column = torch.cat(places, dim=1).gather(1, top.indices)
    return top.values.cpu().numpy(), column.cpu().numpy()


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
