"""One anchor and what surrounds it, at every step of every run: what `hncse.visual.boundary` draws.

A `Film` is made by `hncse.visual.study.Study.film`. Its mixes are vectors, which training never builds
(`hncse.mixing`). Who is hard, which case fires, which pairs are drawn and which weights are taken is asked of
`hncse.miner`, `hncse.mixing` and `hncse.losses`, with the options of the run: the picture shows what training would do.

Taught in notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse import presets
from hncse.data import probe
from hncse.errors import HncseError, unknown
from hncse.evaluation.geometry import angle

__all__ = ["KINDS", "NO_NEGATIVES", "Film", "Mix", "Mixes", "Moment", "Point", "cases", "copies", "mix", "name_of"]

Floats = NDArray[np.float64]
#: What a sentence is to the anchor, and how it is called in pictures. A user's own roles are called what they are.
KINDS = {
    "anchor": "anchor", "positive": "positive (close paraphrase)", "hard": "hard negative",
    "false": "false negative (far paraphrase)", "topic": "same topic", "other": "other sentence",
}  # fmt: skip
#: Those that a miner should not take for negatives of the anchor, and those it hardly would.
NO_NEGATIVES = ("anchor", "positive", "false", "topic", "other")
_LISTED = {
    "anchor": "ANCHOR", "positive": "POSITIVE", "false": "far paraphrase", "topic": "same topic", "other": "unrelated",
}  # fmt: skip


def name_of(kind: str) -> str:
    """What a kind of sentence is called."""
    return KINDS.get(kind) or kind.replace("_", " ")


@dataclass(frozen=True)
class Point:
    """A sentence of the map; the same at every step."""

    row: int  # in the order of the groups' sentences, which is the snapshots' order
    text: str
    kind: str  # a key of `KINDS`, or a user's own role
    phenomenon: str | None  # of a hard negative of the anchor's group
    grade: float | None  # against this anchor; None where nobody graded it
    own: bool = True  # of the anchor's own group


def copies(points: Sequence[Point]) -> list[int]:
    """What `mix` takes as groups: equal numbers for equal texts, the positive being the anchor's."""
    numbers = {points[1].text: 0}
    return [numbers.setdefault(point.text, 0 if i == 0 else i) for i, point in enumerate((points[0], *points[2:]))]


@dataclass(frozen=True)
class Moment:
    """The map at one step of one run."""

    step: int
    places: Floats  # (m, 2) in the polar map, degrees; one for each of the film's points
    cosine: Floats  # (m,) exact similarity to the anchor
    mixes: Mixes
    mix_places: Floats  # (1 + pairs, 2): PM's z³, then HNM's mixes
    held: Floats  # (m,) share of each sentence's direction that the map's two directions hold, 0 to 1
    embeddings: Floats = field(repr=False)  # (m, d), turned

    @property
    def p(self) -> float:
        """Similarity of the positive: the tie line."""
        return self.mixes.p

    @property
    def synthetic(self) -> list[Mix]:
        """PM's z³ (in case B the positive itself), then HNM's mixes."""
        return [self.mixes.positive, *self.mixes.negatives]

    @property
    def all_cosines(self) -> Floats:
        """(m + 1 + pairs,) exact similarities of sentences, then of `synthetic`."""
        return np.concatenate([self.cosine, [m.cosine for m in self.synthetic]])


@dataclass(frozen=True)
class Film:
    """One anchor at all moments, in one map."""

    group: probe.Group
    points: tuple[Point, ...]  # anchor, positive, the rest of the group, then the nearest of other groups
    moments: Mapping[str, Sequence[Moment]]  # run's name → its moments, in order of steps
    compute: Mapping[str, Callable[[int, Floats], Moment]] = field(repr=False)  # run's name → step, (m, d) → moment

    @functools.cached_property
    def reach(self) -> float:
        """Degrees from the anchor to the map's frame: the farthest of the group's sentences that are near in meaning.

        The same at every moment of every run; what is farther stands on the ruler alone.
        """
        core = [i for i, point in enumerate(self.points) if point.own and point.kind not in ("topic", "other")]
        return 1.15 * max(float(angle(m.cosine[core]).max()) for moments in self.moments.values() for m in moments)

    def when(self, at: Moment) -> str:
        """The step in words; nothing where there is one moment alone."""
        return f"step {at.step}" if any(len(moments) > 1 for moments in self.moments.values()) else ""

    def listing(self, at: Moment) -> str:
        """The group's sentences as lines, nearest first, with the decision boundary as a line between them."""
        lines = []
        for i in np.argsort(-at.cosine, kind="stable"):
            point = self.points[i]
            if point.own:
                name = point.phenomenon or _LISTED.get(point.kind) or name_of(point.kind)
                lines.append(f"{at.cosine[i]:6.3f}  {name:20} {point.text}")
            if point.kind == "positive":
                lines.append("-" * 100)
        return "\n".join(lines)

    def at(self, name: str, step: float) -> Moment:
        """The moment of a run nearest to a step; HncseError names the nearest run."""
        if name not in self.moments:
            raise unknown("run", name, self.moments)
        return min(self.moments[name], key=lambda m: abs(m.step - step))

    def between(self, name: str, step: float) -> Moment:
        """A moment between two snapshots: their embeddings mixed in proportion, everything else computed from that."""
        self.at(name, step)
        moments = self.moments[name]
        after = int(np.clip(np.searchsorted([m.step for m in moments], step), 1, len(moments) - 1))
        before, later = moments[after - 1], moments[after]
        share = float(np.clip((step - before.step) / (later.step - before.step), 0, 1))
        return self.compute[name](round(step), (1 - share) * before.embeddings + share * later.embeddings)


# PM's and HNM's mixes


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
    anchor: ArrayLike, positive: ArrayLike, candidates: ArrayLike, options: presets.LossOptions | None = None, *,
    draw: int = 0, groups: Sequence[int] | None = None, **changes: Any,
) -> Mixes:  # fmt: skip
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
        p=float(cosine[0]), n=float(cosine[star]), hardest=star - 1,
        case=str(cases(mined.positive[:1], mined.hardest[:1], o.band)[0]), positive=mixture("PM", 0, star, (a, b)),
        negatives=tuple(sorted(negatives, key=lambda m: tuple(-cosine[parent + 1] for parent in m.parents))),
    )  # fmt: skip
