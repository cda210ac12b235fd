"""PM's and HNM's mixes as vectors, for pictures. Training never builds them (`hncse.mixing`); a map needs them.

Who is hard, which case fires, which pairs are drawn and which weights are taken is asked of `hncse.miner`,
`hncse.mixing` and `hncse.losses`, with the options of the run: the picture shows what training would do.

Taught in notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse import presets
from hncse.errors import HncseError

if TYPE_CHECKING:
    from hncse.presets import LossOptions

__all__ = ["Mix", "Mixes", "cases", "mix"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mix:
    """One synthetic vector."""

    kind: str  # "PM" (z³, in the positive's place) or "HNM" (g, a negative)
    parents: tuple[int, int]  # rows of the candidates it is mixed from, harder first; -1 is the positive
    weights: tuple[float, float]  # of the parents; scale does not matter to a cosine
    vector: Floats  # (d,) the mix, not normalised
    cosine: float  # to the anchor


@dataclass(frozen=True)
class Mixes:
    """What training would make of one anchor."""

    p: float  # cosine of the anchor with its positive
    n: float  # with its hardest candidate
    hardest: int  # row of that candidate, j*
    case: str  # HNCSE's case, "A", "B" or "C"
    positive: Mix  # PM's z³; in case B the positive itself
    negatives: tuple[Mix, ...]  # HNM's: the pairs that are drawn from the k hardest, sorted, harder first


def cases(positive: ArrayLike, hardest: ArrayLike, band: float = presets.LossOptions().band) -> NDArray[np.str_]:
    """Sort anchors by cosines (G,) to positive and hardest negative into cases "A", "B", "C" of `hncse.miner`: (G,)."""
    from torch import as_tensor

    from hncse import miner

    letters = {miner.CASE_A: "A", miner.CASE_B: "B", miner.CASE_C: "C"}
    p, n = (as_tensor(np.asarray(values, dtype=np.float64)) for values in (positive, hardest))
    return np.array([letters[int(case)] for case in miner.cases(p, n, band)], dtype=np.str_)


def mix(
    anchor: ArrayLike,
    positive: ArrayLike,
    candidates: ArrayLike,
    options: LossOptions | None = None,
    *,
    draw: int = 0,
    groups: Sequence[int] | None = None,
    **changes: Any,
) -> Mixes:
    """Mix an anchor's positive (PM) and its hardest negatives (HNM), as a loss with these options would.

    Equations: z³ = w1·z²_i + w2·z²_{j*} in case A, z²_i in B, (p·z²_i + n·z²_{j*})/(p + n) in C;
    g = α·z²_a + (1-α)·z²_b for s pairs a, b of the k hardest, a the harder.

    Args:
        anchor: (d,) z¹_i.
        positive: (d,) z²_i.
        candidates: (m, d) second views of the other sentences, two at least. Each is its own positive, so that the
            batch is that of m + 1 anchors.
        options: Of the loss; None takes those of ``pm+hnm``. A loss without PM is drawn with what ``"search"`` would
            mix, a loss without HNM with what HNM would, its other options being the same.
        draw: Which batch of the training this is, from 0: what is drawn by chance depends on the options' seed and it.
        groups: (m + 1,) whole numbers, equal where sentences are, the anchor's first: copies are no negatives.
        **changes: To the options, fields of `hncse.presets.LossOptions`.
    """
    import torch

    from hncse import losses, miner, mixing

    others = np.asarray(candidates, dtype=np.float64)
    if others.ndim != 2 or len(others) < 2:
        raise HncseError(f"mixing needs two candidates at least; their shape is {others.shape}")
    first = np.concatenate([[anchor], others])  # (m+1, d): each candidate is its own, safe anchor
    second = np.concatenate([[positive], others])  # (m+1, d)
    if not np.isfinite([first, second]).all():
        raise HncseError("the embeddings to be mixed hold NaN or infinity")
    o = dataclasses.replace(options or presets.resolve("pm+hnm"), **changes)
    loss = losses.ContrastiveLoss(dataclasses.replace(o, views=2, positive_mixing=o.positive_mixing or "search"))
    loss.step = draw
    g = mixing.gram(torch.from_numpy(first), torch.from_numpy(second), mixes=True)
    excluded = miner.excluded_pairs(len(first), None if groups is None else torch.as_tensor(groups))
    if int((~excluded[0]).sum()) < 2:
        raise HncseError("mixing needs two candidates at least that are no copies of the anchor's sentence")
    mined = miner.mine_in_batch(g.cosine, excluded, o.band)
    a, b = (float(w[0]) for w in mixing.mixing_weights(mined, loss.pair_weights(g, mined, excluded), detach=True))
    star = int(mined.index[0])
    pairs = mixing.draw_pairs(
        g.cosine, excluded, loss.generator(), k=o.k, s=o.s, alpha=o.alpha, replacement=o.replacement
    )
    shares = np.broadcast_to(np.asarray(pairs.weight, dtype=np.float64), tuple(pairs.harder.shape))[0]  # (s',)
    drawn = zip(pairs.harder[0].tolist(), pairs.easier[0].tolist(), shares, pairs.whole[0].tolist(), strict=True)

    def mixture(kind: str, u: int, v: int, weights: tuple[float, float]) -> Mix:
        vector = weights[0] * second[u] + weights[1] * second[v]
        cosine = float(first[0] @ vector / (np.linalg.norm(first[0]) * np.linalg.norm(vector)))
        return Mix(kind, (u - 1, v - 1), weights, vector, cosine)

    negatives = [mixture("HNM", u, v, (float(w), 1 - float(w))) for u, v, w, whole in drawn if whole]
    cosine = g.cosine[0].numpy()  # (m+1,)
    return Mixes(
        p=float(cosine[0]),
        n=float(cosine[star]),
        hardest=star - 1,
        case=str(cases(mined.positive[:1], mined.hardest[:1], o.band)[0]),
        positive=mixture("PM", 0, star, (a, b)),
        negatives=tuple(sorted(negatives, key=lambda m: tuple(-cosine[parent + 1] for parent in m.parents))),
    )
