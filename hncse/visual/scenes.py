"""One anchor and what surrounds it, at every step of one or more runs: the data behind figures, film and explorer.

The anchor's **false negative** is, here, a sentence of its group graded 4 or more that is not its positive: it means
what the anchor means, and a loss that knows no labels pushes it away like any other sentence.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hncse.data import probe
from hncse.errors import unknown
from hncse.evaluation.geometry import angle, normalised
from hncse.visual import projection
from hncse.visual.mixes import Mix, Mixes, mix

if TYPE_CHECKING:
    from hncse.presets import LossOptions

__all__ = ["KINDS", "Film", "Moment", "Point", "moment", "point"]

Floats = NDArray[np.float64]
#: What a sentence is to the anchor, and how it is called in pictures.
KINDS = {
    "anchor": "anchor",
    "positive": "positive (close paraphrase)",
    "hard": "hard negative",
    "false": "false negative (far paraphrase)",
    "topic": "same topic",
    "other": "other sentence",
}
_LISTED = {
    "anchor": "ANCHOR", "positive": "POSITIVE", "hard": "hard negative", "false": "far paraphrase",
    "topic": "same topic", "other": "unrelated",
}  # fmt: skip
SAME_MEANING = 4.0  # grade from which a sentence means what the anchor means
_KIND = {
    "anchor": "anchor", "paraphrase_close": "positive", "hard_negative": "hard", "same_topic": "topic",
    "unrelated": "other",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A sentence of the map; the same at every step.

    Attributes:
        row: Its row in the probe's order, which is the snapshots' order.
        text: The sentence.
        kind: A key of `KINDS`.
        phenomenon: Of a hard negative of the anchor's group; else None.
        grade: Against this anchor; None for sentences of other groups, which nobody graded against it.
    """

    row: int
    text: str
    kind: str
    phenomenon: str | None
    grade: float | None


@dataclass(frozen=True)
class Moment:
    """The map at one step of one run.

    Attributes:
        step: Of training.
        places: (m, 2), one for each of the film's points.
        cosine: (m,) exact similarity to the anchor.
        mixes: p, n, the case, and PM's and HNM's mixes of this moment.
        mix_places: (1 + pairs, 2): PM's z³, then HNM's mixes.
        embeddings: (m, d), turned.
    """

    step: int
    places: Floats
    cosine: Floats
    mixes: Mixes
    mix_places: Floats
    embeddings: Floats = field(repr=False)

    @property
    def p(self) -> float:
        """Similarity of the positive: the tie line."""
        return self.mixes.p

    @property
    def synthetic(self) -> list[Mix]:
        """PM's z³ (in case B the positive itself), then HNM's mixes."""
        return [self.mixes.positive, *self.mixes.negatives]

    @functools.cached_property
    def surface(self) -> projection.Surface:
        """Angle to the anchor, degrees, guessed all over the map; its contour at p's angle is the drawn boundary."""
        return projection.Surface(self.places, angle(self.cosine))

    @functools.cached_property
    def drawn_wrong(self) -> NDArray[np.bool_]:
        """(m + 1 + pairs,) True where the drawn contour puts a sentence or a mix on the wrong side.

        Never for the positive, which is on the boundary itself. The contour is drawn through the sentences, so it is
        the mixes, which it has not seen, that put it to the test.
        """
        places = np.concatenate([self.places, self.mix_places])
        exact = np.concatenate([self.cosine, [m.cosine for m in self.synthetic]])
        wrong = (self.surface(places) < angle(self.p)) != (exact > self.p)
        wrong[1] = False
        if self.mixes.case == "B":  # z³ is the positive
            wrong[len(self.places)] = False
        return wrong


@dataclass(frozen=True)
class Film:
    """One anchor at all moments, in one map.

    Attributes:
        group: The anchor's group.
        points: The map's sentences: anchor, positive, the rest of the group, then the nearest of other groups.
        moments: Run's name → its moments, in order of steps.
        reference: (m, d) directions the map was fitted on, one for each point.
        layout: (m, 2) their places.
        options: Run's name → options of its loss, with which its mixes are drawn.
        accumulate: Run's name → batches in a step of its optimiser.
    """

    group: probe.Group
    points: tuple[Point, ...]
    moments: Mapping[str, Sequence[Moment]]
    reference: Floats = field(repr=False)
    layout: Floats = field(repr=False)
    options: Mapping[str, LossOptions] = field(default_factory=dict, repr=False)
    accumulate: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of the part of the map that pictures show: anchor, positive and hard negatives.

        The same at every moment of every run; what lies outside is put onto the frame by `framed`.
        """
        core = [i for i, point in enumerate(self.points) if point.kind in ("anchor", "positive", "hard")]
        flat = np.concatenate([m.places[core] for found in self.moments.values() for m in found])
        low, high = flat.min(axis=0), flat.max(axis=0)
        centre, half = (low + high) / 2, 0.8 * float((high - low).max())
        return centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half

    def framed(self, places: Floats) -> Floats:
        """Places as pictures show them: (n, 2), what lies outside `box` moved onto its frame, straight to the anchor.

        Args:
            places: (n, 2), the anchor's first.
        """
        left, right, bottom, top = self.box
        rim = 0.04 * (right - left)
        low, high = np.array([left + rim, bottom + rim]), np.array([right - rim, top - rim])
        origin = np.clip(places[0], low, high)
        way = places - origin  # (n, 2)
        room = np.where(way > 0, high - origin, low - origin)  # to the frame, along each axis
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(way == 0, 1.0, room / way).min(axis=1, keepdims=True)
        return origin + np.minimum(share, 1.0) * way

    def listing(self, at: Moment) -> str:
        """The group's sentences as lines, nearest first, with the decision boundary as a line between them."""
        own = [i for i, point in enumerate(self.points) if point.grade is not None]
        lines = []
        for i in sorted(own, key=lambda i: -at.cosine[i]):
            point = self.points[i]
            what = point.phenomenon or _LISTED[point.kind]
            lines.append(f"{at.cosine[i]:6.3f}  {what:20} {point.text}")
            if point.kind == "positive":
                lines.append("-" * 100)
        return "\n".join(lines)

    def between(self, name: str, step: float) -> Moment:
        """A moment between two snapshots: their embeddings mixed in proportion, everything else computed from that.

        Raises:
            HncseError: No such run.
        """
        found = self.moments[name] if name in self.moments else [self.at(name, 0)]
        steps = [m.step for m in found]
        after = int(np.clip(np.searchsorted(steps, step), 1, len(found) - 1))
        before, later = found[after - 1], found[after]
        share = float(np.clip((step - before.step) / (later.step - before.step), 0, 1))
        z = (1 - share) * before.embeddings + share * later.embeddings  # (m, d)
        return moment(
            round(step), z, self.reference, self.layout, self.options.get(name),
            accumulate=self.accumulate.get(name, 1), groups=copies(self.points),
        )  # fmt: skip

    def at(self, name: str, step: int) -> Moment:
        """The moment of a run nearest to a step.

        Raises:
            HncseError: No such run (the nearest name is given).
        """
        if name not in self.moments:
            raise unknown("run", name, self.moments)
        return min(self.moments[name], key=lambda m: abs(m.step - step))


def point(row: int, sentence: probe.Sentence) -> Point:
    """A sentence of the anchor's own group as a point of its map."""
    kind = _KIND.get(sentence.role, "other")
    if sentence.role == "paraphrase_far" or (kind not in ("anchor", "positive") and sentence.grade >= SAME_MEANING):
        kind = "false"
    return Point(row, sentence.text, kind, sentence.phenomenon, sentence.grade)


def copies(points: Sequence[Point]) -> list[int]:
    """What `hncse.visual.mixes.mix` takes as groups: equal numbers for equal texts, the positive being the anchor's."""
    known = {points[1].text: 0}
    return [known.setdefault(point.text, 0 if i == 0 else i) for i, point in enumerate((points[0], *points[2:]))]


def moment(
    step: int,
    z: Floats,
    reference: Floats,
    layout: Floats,
    options: LossOptions | None = None,
    *,
    accumulate: int = 1,
    groups: Sequence[int] | None = None,
) -> Moment:
    """Compute everything that a moment holds.

    Args:
        step: Of training.
        z: (m, d) embeddings, turned; anchor first, positive second.
        reference: (m, d) directions the map was fitted on.
        layout: (m, 2) their places.
        options: Of the run's loss, as `hncse.visual.mixes.mix` takes them.
        accumulate: Batches in a step of the run's optimiser.
        groups: (m - 1,) whole numbers, equal where sentences are: anchor and positive as one, then the others.
    """
    unit = normalised(z)
    mixes = mix(z[0], z[1], z[2:], options, draw=step * accumulate, groups=groups)
    vectors = np.stack([m.vector for m in (mixes.positive, *mixes.negatives)])
    return Moment(
        step=step,
        places=projection.place(z, reference, layout),
        cosine=unit @ unit[0],
        mixes=mixes,
        mix_places=projection.place(vectors, reference, layout),
        embeddings=z,
    )
