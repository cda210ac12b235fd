"""One anchor and what surrounds it, at every step of every run: what `hncse.visual.boundary` draws.

A `Film` is made by `hncse.visual.study.Study.film`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hncse.data import probe
from hncse.errors import unknown
from hncse.evaluation.geometry import angle
from hncse.visual.mixes import Mix, Mixes

__all__ = ["KINDS", "NO_NEGATIVES", "Film", "Moment", "Point", "copies", "name_of"]

Floats = NDArray[np.float64]
#: What a sentence is to the anchor, and how it is called in pictures. A user's own roles are called what they are.
KINDS = {
    "anchor": "anchor",
    "positive": "positive (close paraphrase)",
    "hard": "hard negative",
    "false": "false negative (far paraphrase)",
    "topic": "same topic",
    "other": "other sentence",
}
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
