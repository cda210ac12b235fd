"""The sentences to search, in memory or in a stream larger than memory, and the nearest of them by cosine, exactly.

faiss (or torch on a GPU) proposes a block's nearest; their similarities are then computed once more, pair by pair, and
ordered by similarity and position. A pair's number so depends on the pair alone, not on block or batch, and ties fall
the same way every time.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown

__all__ = ["BACKENDS", "Nearest", "Pool", "pair_similarity", "unit_rows"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_PAIRS = 32_768  # pairs whose vectors are gathered at a time
_PROPOSALS = 1 << 19  # proposals asked for in one call
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
        self._sentences = sentences
        self._ends = array("Q", [0])
        if not self.in_memory:
            self._file = tempfile.TemporaryFile(prefix="hncse-corpus-")  # noqa: SIM115  lives as long as this object

    def blocks(self, size: int) -> Iterator[tuple[list[str], Integers]]:
        """Yield up to ``size`` different sentences at a time, and their positions (m,), rising."""
        distinct = self._distinct()
        while block := list(islice(distinct, size)):
            yield [text for _, text in block], np.array([position for position, _ in block], dtype=np.int64)

    def texts(self, index: Integers) -> list[str]:
        """Sentences at positions (p,), in the order asked for; a stream's file is read from front to back."""
        if isinstance(self._sentences, Sequence):
            return [self._sentences[i] for i in index.tolist()]
        positions, inverse = np.unique(index, return_inverse=True)
        texts = []
        for i in positions.tolist():
            self._file.seek(self._ends[i])
            texts.append(self._file.read(self._ends[i + 1] - self._ends[i]).decode("utf-8", "surrogatepass"))
        return [texts[i] for i in inverse.tolist()]

    def _distinct(self) -> Iterator[tuple[int, str]]:
        """Yield first occurrences with their positions, counting the rest."""
        known: set[bytes | str] = set()
        for position, text in enumerate(self._sentences):
            if not isinstance(text, str):
                raise HncseError(f"sentence {position} of the corpus is {text!r:.60}; every one must be a str")
            self.total += 1
            mark = text if self.in_memory else self._spool(text)
            if not text.strip():
                self.blank += 1
            elif mark in known:
                self.copies += 1
            else:
                known.add(mark)
                yield position, text

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
    """Scale rows (n, d) to length 1, in a new array; a row of zeros stays."""
    out = np.array(rows, dtype=np.float32, order="C")
    for start in range(0, len(out), _PAIRS):
        part = out[start : start + _PAIRS]
        lengths = np.sqrt(np.einsum("nd,nd->n", part, part, dtype=np.float64))
        part /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return out


def pair_similarity(left: Floats, i: Integers, right: Floats, j: Integers) -> Floats:
    """Similarity (p,) float32 of rows ``i`` (p,) of ``left`` (n, d) and ``j`` (p,) of ``right`` (m, d).

    Each pair is computed alone: of a pair it is the same wherever, and beside whatever, it is asked for.
    """
    out = np.empty(len(i), dtype=np.float32)
    for start in range(0, len(i), _PAIRS):
        part = slice(start, start + _PAIRS)
        out[part] = np.einsum("pd,pd->p", left[i[part]], right[j[part]])
    return out


class Nearest:
    """The k nearest of everything searched so far, for n anchors.

    Attributes:
        similarity: (n, k) float32, falling along a row; ``-inf`` where there is no neighbour yet.
        index: (n, k) int64 position in the corpus; -1 where there is none.
    """

    def __init__(
        self, anchors: Floats, k: int, backend: str | None = None, progress: Callable[[int], object] = lambda n: None
    ) -> None:
        """Start with no neighbours; wants k for each of ``anchors`` (n, d), float32 unit rows.

        ``backend`` is one of `BACKENDS`; None takes torch where a program has imported it and it has a CUDA device.
        ``progress`` is called with the number of anchors done.
        """
        if backend is not None and backend not in BACKENDS:
            raise unknown("backend", backend, BACKENDS)
        torch = sys.modules.get("torch")  # an encoder on a GPU has imported it
        gpu = torch is not None and torch.cuda.is_available()
        self._propose = BACKENDS[backend or ("torch" if gpu else "faiss")]
        self._anchors, self._k, self._progress = anchors, k, progress
        self.similarity = np.full((len(anchors), k), -np.inf, dtype=np.float32)
        self.index = np.full((len(anchors), k), -1, dtype=np.int64)

    def add(self, rows: Floats, index: Integers, same: Integers) -> None:
        """Search one block of the corpus.

        Args:
            rows: (m, d) float32 unit rows, as wide as the anchors.
            index: (m,) int64 positions in the corpus, rising.
            same: (m,) int64, the anchor whose text a sentence is, which never gets it; -1 where it is nobody's.
        """
        if rows.shape[1] != self._anchors.shape[1]:
            raise HncseError(f"the corpus has embeddings of width {rows.shape[1]}, anchors {self._anchors.shape[1]}")
        width = min(len(rows), self._k + 1 + _SPARE)
        for who in _parts(np.arange(len(self._anchors)), width):
            self._search(rows, index, same, who, width)
            self._progress(len(who))

    def _search(self, rows: Floats, index: Integers, same: Integers, who: Integers, width: int) -> None:
        """Search a block for anchors (q,); again, wider, for those whose last proposals are tied with the k-th."""
        rough, column = self._propose(self._anchors[who], rows, width)  # (q, w)
        worst = self.similarity[who, -1]  # (q,)
        tied = rough[:, -1] > np.maximum(rough[:, min(self._k, width - 1)], worst) - _TIE
        tied &= width < min(len(rows), _WIDEST)
        enters = (same[column] != who[:, None]) & (rough > worst[:, None] - _ROUNDING)  # (q, w)
        self._merge(rows, index, who[~tied], column[~tied], enters[~tied])
        wider = min(8 * width, len(rows), _WIDEST)
        for part in _parts(who[tied], wider):
            self._search(rows, index, same, part, wider)

    def _merge(self, rows: Floats, index: Integers, who: Integers, column: Integers, enters: NDArray[np.bool_]) -> None:
        """Put those of a block's proposals (q, w) that enter among the neighbours known so far of anchors (q,)."""
        fresh = np.full(column.shape, -np.inf, dtype=np.float32)  # (q, w)
        fresh[enters] = pair_similarity(self._anchors, who[np.nonzero(enters)[0]], rows, column[enters])
        similarity = np.concatenate([self.similarity[who], fresh], axis=1)  # (q, k+w)
        positions = np.concatenate([self.index[who], np.where(enters, index[column], -1)], axis=1)
        order = np.lexsort((positions, -similarity), axis=1)[:, : self._k]  # most similar, then first in the corpus
        self.similarity[who] = np.take_along_axis(similarity, order, axis=1)
        self.index[who] = np.take_along_axis(positions, order, axis=1)


def _parts(who: Integers, width: int) -> list[Integers]:
    step = max(1, _PROPOSALS // width)
    return [who[start : start + step] for start in range(0, len(who), step)]


def _by_faiss(anchors: Floats, rows: Floats, width: int) -> tuple[Floats, Integers]:
    """Propose by faiss's exact inner-product search (what IndexFlatIP runs, without its copy of the rows)."""
    import faiss

    queries, table = np.ascontiguousarray(anchors), np.ascontiguousarray(rows)
    return faiss.knn(queries, table, width, metric=faiss.METRIC_INNER_PRODUCT)


def _by_torch(anchors: Floats, rows: Floats, width: int) -> tuple[Floats, Integers]:
    """Propose by matrix products and topk, on a GPU where there is one."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = torch.from_numpy(rows).to(device)  # (m, d)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # with TF32, which a program may have on, the nearest are missed
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            queries = torch.from_numpy(anchors).split(max(1, _GPU_FLOATS // len(rows)))
            best = [(part.to(device) @ table.T).topk(width, dim=1) for part in queries]
    finally:
        torch.set_float32_matmul_precision(precision)
    return tuple(torch.cat(columns).cpu().numpy() for columns in zip(*best, strict=True))  # type: ignore[return-value]


#: (anchors (q, d), rows (m, d), width w) → similarities (q, w), falling, and rows (q, w).
BACKENDS: dict[str, Callable[[Floats, Floats, int], tuple[Floats, Integers]]] = {"faiss": _by_faiss, "torch": _by_torch}
