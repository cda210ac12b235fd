"""Guards against false negatives: which of an anchor's neighbours may not be used as its negatives, and why.

A neighbour is near the anchor because it says something similar, and may say the same. Every guard is a cheap guess at
which do; the order is fixed, and a neighbour counts for the first guard that removes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown
from hncse.mining.calibration import PARAPHRASES
from hncse.mining.corpus import Pool
from hncse.mining.overlap import overlapping, sketches

__all__ = ["GUARDS", "KEPT", "MISSING", "Guards", "Neighbours", "apply"]

#: The guards in the order they are tried; ``removed_by`` holds 1 for the first, 2 for the second, …
GUARDS: tuple[str, ...] = (
    "positive", "same_text", "word_overlap", "character_overlap", "margin", "relative_margin", "max_similarity",
    "calibrated", "min_similarity", "skip",
)  # fmt: skip
KEPT, MISSING = 0, -1  # other values of removed_by: no guard removed it; there is no such neighbour

_RANGES = (  # name, lowest, highest, whether the lowest itself is allowed
    ("word_overlap", 0.0, 1.0, False),
    ("character_overlap", 0.0, 1.0, False),
    ("margin", -2.0, 2.0, True),
    ("relative_margin", 0.0, 1.0, True),
    ("max_similarity", -1.0, 1.0, True),
    ("calibrated", 0.0, 1.0, True),
    ("min_similarity", -1.0, 1.0, True),
)
_PART = 65_536  # texts sketched at a time
_ANCHORS = 16_384  # anchors whose neighbours' texts are compared at a time

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Guards:
    """Which guards are on; None (0 for ``skip``, False for ``same_text``) turns one off.

    Attributes:
        same_text: Remove a neighbour whose text is the anchor's but for case, punctuation and spacing.
        word_overlap: Remove it where the Jaccard coefficient of both sets of words reaches this, in (0, 1]. A sentence
            with two words swapped has the same words: 1.0 removes true hard negatives too.
        character_overlap: Likewise, of both sets of character 5-grams; these see something of the order of words.
        margin: Keep it where its similarity is at most the positive's minus this.
        relative_margin: Keep it where its similarity is at most p - |p| × this, p being the positive's.
        max_similarity: Keep it where its similarity is at most this.
        calibrated: Keep it where its similarity is below the threshold under which at most this share of the embedded
            probe's paraphrases falls; see `hncse.mining.calibrate`.
        calibrated_on: Whose share: of the probe's ``"close"`` paraphrases, of the ``"far"`` ones (other words), or of
            ``"both"``. An encoder that goes by words puts far paraphrases among the unrelated: no threshold holds them
            back and leaves anything.
        min_similarity: Keep it where its similarity is at least this: what is farther is no hard negative.
        skip: Of what the guards above leave an anchor, remove the first so many.
    """

    same_text: bool = True
    word_overlap: float | None = None
    character_overlap: float | None = None
    margin: float | None = None
    relative_margin: float | None = None
    max_similarity: float | None = None
    calibrated: float | None = None
    calibrated_on: str = "both"
    min_similarity: float | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HncseError: One that cannot mean anything; the message names it and its range.
        """
        for name, low, high, closed in _RANGES:
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not (low <= value if closed else low < value) or value > high:
                raise HncseError(
                    f"guard {name} is {value!r}; it must be a number {'from' if closed else 'above'} {low:g} up to "
                    f"{high:g}, or None to turn it off"
                )
        if not isinstance(self.same_text, bool):
            raise HncseError(f"guard same_text is {self.same_text!r}; it must be True or False")
        if isinstance(self.skip, bool) or not isinstance(self.skip, int) or self.skip < 0:
            raise HncseError(f"guard skip is {self.skip!r}; it must be a whole number, 0 to turn it off")
        floor, ceiling = self.min_similarity, self.max_similarity
        if floor is not None and ceiling is not None and floor > ceiling:
            raise HncseError(f"min_similarity {floor} is above max_similarity {ceiling}: nothing could stay")
        if self.calibrated_on not in PARAPHRASES:
            raise unknown("value of calibrated_on", self.calibrated_on, PARAPHRASES)

    def settings(self) -> dict[str, Any]:
        """The guards that are on, in order, with their values; ``positive`` is no choice and not among them."""
        return {name: getattr(self, name) for name in GUARDS[1:] if self.is_on(name)}

    def is_on(self, name: str) -> bool:
        """Whether a guard is turned on; ``positive`` always is."""
        value = getattr(self, name, True)
        return bool(value) if name in ("same_text", "skip") else value is not None


@dataclass(frozen=True)
class Neighbours:
    """What the search found for n different anchors, k neighbours each.

    Attributes:
        anchors: The anchors' texts, n of them.
        positive: (n,) float32, similarity of anchor and positive.
        similarity: (n, k) float32, falling along a row; ``-inf`` where there is no neighbour.
        index: (n, k) int64 positions in the pool; -1 where there is none.
        own: (n, p) int64 positions of each anchor's positives in the pool; -2 for one that is not there.
        pool: Where the neighbours' texts are.
    """

    anchors: list[str]
    positive: Floats
    similarity: Floats
    index: Integers
    own: Integers
    pool: Pool


def apply(guards: Guards, found: Neighbours, threshold: float | None = None) -> NDArray[np.int8]:
    """Try every guard on every neighbour.

    Args:
        guards: Which, and how strict.
        found: The neighbours.
        threshold: What ``calibrated`` removes at and above.

    Returns:
        (n, k) int8: `KEPT`, `MISSING`, or 1 + the position in `GUARDS` of the first guard that removed it.
    """
    removed = np.where(found.index < 0, MISSING, KEPT).astype(np.int8)  # (n, k)
    tests: dict[str, Callable[[], NDArray[np.bool_]]] = _by_similarity(guards, found, threshold)
    if guards.same_text or guards.word_overlap is not None or guards.character_overlap is not None:
        tests |= _by_text(guards, found, removed)
    tests["positive"] = lambda: _positives(found)
    tests["skip"] = lambda: np.cumsum(removed == KEPT, axis=1) <= guards.skip
    for code, name in enumerate(GUARDS, 1):
        if guards.is_on(name):
            removed[(removed == KEPT) & tests[name]()] = code
    return removed


def _positives(found: Neighbours) -> NDArray[np.bool_]:
    """Where a neighbour is one of the anchor's positives, (n, k)."""
    out = np.zeros(found.index.shape, dtype=bool)
    for column in range(found.own.shape[1]):
        out |= found.index == found.own[:, column : column + 1]
    return out


def _by_similarity(
    guards: Guards, found: Neighbours, threshold: float | None
) -> dict[str, Callable[[], NDArray[np.bool_]]]:
    """Guards that look at similarities alone; float32 throughout, as sentence-transformers compares."""
    s, p = found.similarity, found.positive[:, None]  # (n, k), (n, 1)
    one = np.float32  # a Python float would do under numpy 2 and turn the table into float64 under numpy 1
    return {
        "margin": lambda: s + one(guards.margin or 0.0) > p,
        "relative_margin": lambda: s > p - np.abs(p) * one(guards.relative_margin or 0.0),
        "max_similarity": lambda: s > one(guards.max_similarity or 0.0),
        "calibrated": lambda: s >= one(np.inf if threshold is None else threshold),
        "min_similarity": lambda: s < one(guards.min_similarity or 0.0),
    }


def _by_text(
    guards: Guards, found: Neighbours, removed: NDArray[np.int8]
) -> dict[str, Callable[[], NDArray[np.bool_]]]:
    """Guards that read the texts; each looks only at what is kept when it is called."""
    reader = _Reader(found)

    def table(hits: Callable[[Integers, Integers], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        out = np.zeros(removed.shape, dtype=bool)  # (n, k)
        for start in range(0, len(out), _ANCHORS):
            row, column = np.nonzero(removed[start : start + _ANCHORS] == KEPT)  # (p,)
            row += start
            out[row, column] = hits(row, found.index[row, column])
        return out

    return {
        "same_text": lambda: table(reader.equal),
        "word_overlap": lambda: table(lambda i, j: reader.overlap("word", guards.word_overlap or 1.0, i, j)),
        "character_overlap": lambda: table(lambda i, j: reader.overlap("gram", guards.character_overlap or 1.0, i, j)),
    }


class _Reader:
    """Sketches of the anchors and of every sentence that is somebody's neighbour."""

    def __init__(self, found: Neighbours) -> None:
        self._anchors, self._pool = found.anchors, found.pool
        present = np.zeros(found.pool.total + 1, dtype=bool)  # the last one takes the -1 of a missing neighbour
        present[found.index] = True
        used = np.flatnonzero(present[:-1])  # (u,)
        self._row = np.cumsum(present) - 1  # (total+1,), a sentence's row among the sketches
        ours, theirs = range(0, len(found.anchors), _PART), range(0, max(len(used), 1), _PART)
        self._ours = sketches(found.anchors[i : i + _PART] for i in ours)
        self._theirs = sketches(found.pool.texts(used[i : i + _PART]) for i in theirs)

    def equal(self, anchor: Integers, sentence: Integers) -> NDArray[np.bool_]:
        """Say of p pairs whether their normalised texts are equal."""
        return (self._ours.digest[anchor] == self._theirs.digest[self._row[sentence]]).all(axis=1)  # (p,)

    def overlap(self, feature: str, limit: float, anchor: Integers, sentence: Integers) -> NDArray[np.bool_]:
        """Say of p pairs whether they overlap by ``limit`` or more."""

        def texts(at: Integers) -> list[tuple[str, str]]:
            ours = [self._anchors[i] for i in anchor[at].tolist()]
            return list(zip(ours, self._pool.texts(sentence[at]), strict=True))

        left, right = (self._ours, anchor), (self._theirs, self._row[sentence])
        return overlapping(feature, limit, left, right, texts)
