"""PM's and HNM's mixed vectors, built for drawing: the one place where a mix is a vector and not only a cosine.

Training never builds them (`hncse.mixing`); a map needs them. Who is hard, which case fires and which weights are taken
is asked of `hncse.miner` and `hncse.mixing`, so what is drawn is what training would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse.errors import HncseError

__all__ = ["Mix", "Mixes", "mix"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mix:
    """One synthetic vector.

    Attributes:
        kind: ``"PM"`` (z³, in the positive's place) or ``"HNM"`` (g, a negative).
        parents: Rows of the candidates it is mixed from, harder first; -1 is the positive.
        weights: Their weights; scale does not matter to a cosine.
        vector: (d,) the mix, not normalised.
        cosine: To the anchor.
    """

    kind: str
    parents: tuple[int, int]
    weights: tuple[float, float]
    vector: Floats
    cosine: float


@dataclass(frozen=True)
class Mixes:
    """What training would make of one anchor.

    Attributes:
        p: Cosine of the anchor with its positive.
        n: With its hardest candidate.
        hardest: Row of that candidate, j*.
        case: HNCSE's case, ``"A"``, ``"B"`` or ``"C"``.
        positive: PM's z³; in case B the positive itself.
        negatives: HNM's mixes of all pairs of the k hardest.
    """

    p: float
    n: float
    hardest: int
    case: str
    positive: Mix
    negatives: tuple[Mix, ...]


def mix(anchor: ArrayLike, positive: ArrayLike, candidates: ArrayLike, *, k: int = 4, alpha: float = 0.5) -> Mixes:
    """Mix an anchor's positive (PM, weights searched as in ``pm-intended``) and its hardest negatives (HNM).

    Equations: z³ = w1·z²_i + w2·z²_{j*} in case A, z²_i in B, (p·z²_i + n·z²_{j*})/(p + n) in C;
    g = α·z²_a + (1-α)·z²_b for a, b among the k hardest, a the harder.

    Args:
        anchor: (d,) z¹_i.
        positive: (d,) z²_i.
        candidates: (m, d) second views of the other sentences, m at least 2.
        k: How many hardest are mixed with each other: k(k-1)/2 mixes.
        alpha: Weight of the harder of a pair.

    Raises:
        HncseError: Fewer than two candidates.
    """
    import torch

    from hncse import miner, mixing

    others = np.asarray(candidates, dtype=np.float64)
    if others.ndim != 2 or len(others) < 2:
        raise HncseError(f"mixing needs two candidates at least; their shape is {others.shape}")
    first = np.concatenate([[anchor], others])  # (m+1, d): each candidate is its own, safe anchor
    second = np.concatenate([[positive], others])  # (m+1, d)
    g = mixing.gram(torch.from_numpy(first), torch.from_numpy(second), mixes=True)
    excluded = miner.excluded_pairs(len(first))
    cosine = g.cosine
    mined = miner.mine_in_batch(cosine, excluded)
    weights = mixing.search_weights(g, mined, excluded, objective="released", candidates=65, temperature=0.05)
    a, b = (float(w[0]) for w in mixing.mixing_weights(mined, weights, detach=True))
    star = int(mined.index[0])
    columns, _ = miner.hardest_k(cosine, excluded, k)
    hard = [int(c) for c in columns[0]]
    negatives = tuple(
        _made("HNM", first[0], (u - 1, v - 1), (alpha, 1 - alpha), second[u], second[v])
        for u, v in combinations(hard, 2)
    )
    return Mixes(
        p=float(cosine[0, 0]),
        n=float(cosine[0, star]),
        hardest=star - 1,
        case={miner.CASE_A: "A", miner.CASE_B: "B", miner.CASE_C: "C"}[int(mined.case[0])],
        positive=_made("PM", first[0], (-1, star - 1), (a, b), second[0], second[star]),
        negatives=negatives,
    )


def _made(kind: str, anchor: Floats, parents: tuple[int, int], w: tuple[float, float], x: Floats, y: Floats) -> Mix:
    vector = w[0] * x + w[1] * y
    cosine = float(anchor @ vector / (np.linalg.norm(anchor) * np.linalg.norm(vector)))
    return Mix(kind, parents, w, vector, cosine)
