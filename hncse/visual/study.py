"""Runs opened for looking: the probe at every snapshot, and one anchor with what surrounds it, at every step.

study = Study({"simcse": run, "hnm-no-replacement": other})      # runs with snapshots
film = study.film("sport-03")                                    # one map for all steps of all runs
film.moments["simcse"][-1].cosine                                # exact similarities to the anchor at the last step

The anchor's **false negative** is, here, a sentence of its group graded 4 or more that is not its positive: it means
what the anchor means, and a loss that knows no labels pushes it away like any other sentence.

This is the one place where PM's and HNM's mixes are vectors and not only cosines. Training never builds them
(`hncse.mixing`); a map needs them. Who is hard, which case fires, which pairs are drawn and which weights are taken is
asked of `hncse.miner`, `hncse.mixing` and `hncse.losses`, with the options of the run: the picture shows what training
would do.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse import presets
from hncse.data import probe
from hncse.errors import HncseError, unknown
from hncse.evaluation.geometry import angle, normalised
from hncse.runs import Run
from hncse.visual import projection

if TYPE_CHECKING:
    from hncse.presets import LossOptions

__all__ = [
    "KINDS",
    "Film",
    "Mix",
    "Mixes",
    "Moment",
    "Point",
    "Study",
    "by_loss",
    "cases",
    "copies",
    "mix",
    "moment_of",
    "point_of",
]

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
        negatives: HNM's mixes: the pairs that are drawn from the k hardest, sorted, harder first.
    """

    p: float
    n: float
    hardest: int
    case: str
    positive: Mix
    negatives: tuple[Mix, ...]


def cases(positive: ArrayLike, hardest: ArrayLike, band: float = presets.LossOptions().band) -> NDArray[np.str_]:
    """Sort anchors into HNCSE's cases, as `hncse.miner.cases` does, by letter: (G,) of "A", "B", "C".

    Args:
        positive: (G,) cosines to the positive.
        hardest: (G,) cosines to the hardest negative.
        band: Width of case A.
    """
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
        candidates: (m, d) second views of the other sentences. Each is its own positive, so that the batch is that of
            m + 1 anchors.
        options: Of the loss; None takes those of ``pm+hnm``. A loss without PM is drawn with what ``"search"`` would
            mix, a loss without HNM with what HNM would, its other options being the same.
        draw: Which batch of the training this is, from 0: what is drawn by chance depends on the options' seed and it.
        groups: (m + 1,) whole numbers, equal where sentences are, the anchor's first: copies are no negatives.
        **changes: To the options, fields of `hncse.presets.LossOptions`.

    Raises:
        HncseError: Fewer than two candidates that are no copies of the anchor's sentence, or embeddings that are not
            finite.
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
    cosine = g.cosine
    mined = miner.mine_in_batch(cosine, excluded, o.band)
    a, b = (float(w[0]) for w in mixing.mixing_weights(mined, loss.pair_weights(g, mined, excluded), detach=True))
    star = int(mined.index[0])
    pairs = mixing.draw_pairs(
        cosine, excluded, loss.generator(), k=o.k, s=o.s, alpha=o.alpha, replacement=o.replacement
    )
    return Mixes(
        p=float(cosine[0, 0]),
        n=float(cosine[0, star]),
        hardest=star - 1,
        case=str(cases(mined.positive[:1], mined.hardest[:1], o.band)[0]),
        positive=_mixture("PM", first[0], (-1, star - 1), (a, b), second[0], second[star]),
        negatives=_negatives(pairs, first[0], second, cosine[0].numpy()),
    )


def _negatives(pairs: Any, anchor: Floats, second: Floats, cosine: Floats) -> tuple[Mix, ...]:
    """HNM's mixes of the first anchor from `hncse.mixing.draw_pairs`."""
    weight = np.broadcast_to(np.asarray(pairs.weight, dtype=np.float64), tuple(pairs.harder.shape))[0]  # (s',)
    mixed = zip(pairs.harder[0].tolist(), pairs.easier[0].tolist(), weight, pairs.whole[0].tolist(), strict=True)
    mixes = [
        _mixture("HNM", anchor, (u - 1, v - 1), (float(w), 1 - float(w)), second[u], second[v])
        for u, v, w, whole in mixed
        if whole
    ]
    return tuple(sorted(mixes, key=lambda m: tuple(-cosine[parent + 1] for parent in m.parents)))


def _mixture(kind: str, anchor: Floats, parents: tuple[int, int], w: tuple[float, float], x: Floats, y: Floats) -> Mix:
    vector = w[0] * x + w[1] * y
    cosine = float(anchor @ vector / (np.linalg.norm(anchor) * np.linalg.norm(vector)))
    return Mix(kind, parents, w, vector, cosine)


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
    def wrong_side(self) -> NDArray[np.bool_]:
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
        flat = np.concatenate([m.places[core] for moments in self.moments.values() for m in moments])
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
        members = [i for i, point in enumerate(self.points) if point.grade is not None]
        lines = []
        for i in sorted(members, key=lambda i: -at.cosine[i]):
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
        moments = self.moments[name] if name in self.moments else [self.at(name, 0)]
        steps = [m.step for m in moments]
        after = int(np.clip(np.searchsorted(steps, step), 1, len(moments) - 1))
        before, later = moments[after - 1], moments[after]
        share = float(np.clip((step - before.step) / (later.step - before.step), 0, 1))
        z = (1 - share) * before.embeddings + share * later.embeddings  # (m, d)
        return moment_of(
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


def point_of(row: int, sentence: probe.Sentence) -> Point:
    """A sentence of the anchor's own group as a point of its map."""
    kind = _KIND.get(sentence.role, "other")
    if sentence.role == "paraphrase_far" or (kind not in ("anchor", "positive") and sentence.grade >= SAME_MEANING):
        kind = "false"
    return Point(row, sentence.text, kind, sentence.phenomenon, sentence.grade)


def copies(points: Sequence[Point]) -> list[int]:
    """What `mix` takes as groups: equal numbers for equal texts, the positive being the anchor's."""
    numbers = {points[1].text: 0}
    return [numbers.setdefault(point.text, 0 if i == 0 else i) for i, point in enumerate((points[0], *points[2:]))]


def moment_of(
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
        options: Of the run's loss, as `mix` takes them.
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


def by_loss(runs: Sequence[Run]) -> dict[str, Run]:
    """Name runs for `Study`: by their loss, and by loss and run name where several have one loss.

    Raises:
        HncseError: A run is named twice.
    """
    losses = [run.config["parameters"]["loss"] for run in runs]
    names = [
        loss if losses.count(loss) == 1 else f"{loss} ({run.name})" for loss, run in zip(losses, runs, strict=True)
    ]
    if len(set(names)) < len(names):
        raise HncseError(f"two runs have one loss and one name: {', '.join(names)}; give each run once")
    return dict(zip(names, runs, strict=True))


class Study:
    """Runs opened for looking: their snapshots, turned onto the first one, and films of any anchor.

    Attributes:
        runs: Name → run.
        groups: The probe's.
        steps: Name → steps of its snapshots.
        options: Name → options of its loss; cases and mixes are those of a training with them.
    """

    def __init__(
        self, runs: Mapping[str, Run], *, neighbours: int = 32, groups: Sequence[probe.Group] | None = None
    ) -> None:
        """Read every snapshot.

        Args:
            runs: Name → run; all with the same probe and width.
            neighbours: How many sentences of other groups a map shows.
            groups: The probe's groups; None is the embedded probe.

        Raises:
            HncseError: No runs, a number of neighbours below 0, or a run whose snapshots are missing, hold NaN or are
                not of this probe.
        """
        if not runs:
            raise HncseError("there are no runs to look at")
        if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 0:
            raise HncseError(f"neighbours is {neighbours!r}; it must be a whole number of 0 or more")
        self.runs, self.neighbours = dict(runs), neighbours
        self.groups = list(groups) if groups is not None else probe.load()
        sizes = [len(group.sentences) for group in self.groups]
        self._start = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.steps = {name: [step for step, _ in run.snapshots()] for name, run in self.runs.items()}
        self._z = {name: self._read(name, run) for name, run in self.runs.items()}
        self.options = {name: run.loss_options for name, run in self.runs.items()}
        self.accumulate = {name: run.config["parameters"].get("accumulate", 1) for name, run in self.runs.items()}
        self._films: dict[str, Film] = {}

    def _read(self, name: str, run: Run) -> list[Floats]:
        from safetensors.numpy import load_file

        if len(run.snapshots()) < 2:
            raise HncseError(f"run {name!r} has no snapshots to show; train with snapshots=9")
        snapshots = []
        for step, path in run.snapshots():
            z = load_file(path)["embeddings"].astype(np.float64)  # (n, d)
            if len(z) != self._start[-1]:
                raise HncseError(
                    f"run {name!r} has snapshots of {len(z)} sentences, the probe has {self._start[-1]}: "
                    "it was trained with another version of the probe; train again"
                )
            if not np.isfinite(z).all():
                raise HncseError(
                    f"run {name!r} holds NaN or infinite embeddings at step {step}: its training diverged; train again "
                    "with a lower learning rate"
                )
            snapshots.append(z)
        return snapshots

    @functools.cached_property
    def _aligned(self) -> dict[str, list[Floats]]:
        """Name → snapshots, all turned onto the first run's first."""
        onto = next(iter(self._z.values()))[0]
        widths = {z[0].shape[1] for z in self._z.values()}
        if len(widths) > 1:
            raise HncseError(f"these runs are {sorted(widths)} wide; one map takes runs of one encoder")
        return {
            name: [z if z is onto else projection.turn_onto(z, onto) for z in snapshots]
            for name, snapshots in self._z.items()
        }

    def search(self, words: str) -> list[probe.Group]:
        """Groups whose anchor or id contains all the words, in any order and case; all groups for an empty search."""
        wanted = words.casefold().split()
        return [g for g in self.groups if all(w in f"{g.id} {g.anchor}".casefold() for w in wanted)]

    def group(self, name: str) -> probe.Group:
        """A group by its id.

        Raises:
            HncseError: There is none; the nearest is given.
        """
        for group in self.groups:
            if group.id == name:
                return group
        raise unknown("anchor", name, (g.id for g in self.groups))

    def cases(self, name: str, moment: int = -1) -> dict[str, str]:
        """Group's id → HNCSE's case of its anchor, with the group's hard negatives as negatives and the run's own band.

        Args:
            name: Of a run.
            moment: Which snapshot, counted as in a list.
        """
        from hncse.evaluation.probe import plane_of_embeddings

        if name not in self._z:
            raise unknown("run", name, self._z)
        plane = plane_of_embeddings(self._z[name][moment], self.groups)
        letters = cases(plane["positive"], plane["hardest_negative"], self.options[name].band)
        return dict(zip(plane["id"].tolist(), letters.tolist(), strict=True))

    def example_group(self) -> str:
        """Id of the group where most hard negatives change sides while the first run trains, and both sides are held.

        Ties go to the group with more hard negatives, then to the probe's order.
        """
        snapshots = next(iter(self._z.values()))
        best, name = (-1, 0), self.groups[0].id
        for g, group in enumerate(self.groups):
            first, last = (np.subtract(*self._similarities(z, g)[::-1]) > 0 for z in (snapshots[0], snapshots[-1]))
            both = 0 < int(last.sum()) < len(last)
            score = (int((first != last).sum()) if both else -1, len(group.negatives))
            if score > best:
                best, name = score, group.id
        return name

    def typical(self, name: str, moment: int = -1) -> dict[str, str]:
        """Case → id of the probe's first group in that case; a case that no group is in is left out.

        Args:
            name: Of a run.
            moment: Which snapshot, counted as in a list.
        """
        first: dict[str, str] = {}
        for group, case in self.cases(name, moment).items():
            first.setdefault(case, group)
        return dict(sorted(first.items()))

    def planes(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All groups in the similarity plane at a run's first and last snapshot: for `figures.similarity_plane`."""
        from hncse.evaluation.probe import plane_of_embeddings

        if name not in self._z:
            raise unknown("run", name, self._z)
        first, last = (plane_of_embeddings(z, self.groups) for z in (self._z[name][0], self._z[name][-1]))
        return first, last

    def film(self, name: str) -> Film:
        """The anchor's surroundings at every snapshot of every run, in one map. Kept: a second call is at once.

        Args:
            name: A group's id.
        """
        if name not in self._films:
            self._films[name] = self._film(self.group(name))
        return self._films[name]

    def _similarities(self, z: Floats, g: int) -> tuple[float, Floats]:
        """P and the cosines of a group's hard negatives to its anchor."""
        rows = normalised(z[self._start[g] : self._start[g + 1]])
        cosine = rows @ rows[0]
        role = np.array([s.role for s in self.groups[g].sentences])
        return float(cosine[role == "paraphrase_close"][0]), cosine[role == "hard_negative"]

    def _film(self, group: probe.Group) -> Film:
        points = self._points(group)
        rows = [point.row for point in points]
        near = {name: [z[rows] for z in snapshots] for name, snapshots in self._aligned.items()}  # (m, d) each
        reference = projection.middle(
            [z for snapshots in near.values() for z in (snapshots[0], snapshots[-1])]
        )  # (m, d)
        home = next(iter(self.runs.values())).path / "maps"
        layout = projection.fit_cached(reference, home)
        moments = {
            name: [
                moment_of(
                    step, z, reference, layout, self.options[name], accumulate=self.accumulate[name],
                    groups=copies(points),
                )
                for step, z in zip(self.steps[name], snapshots, strict=True)
            ]
            for name, snapshots in near.items()
        }  # fmt: skip
        return Film(group, points, moments, reference, layout, self.options, self.accumulate)

    def _points(self, group: probe.Group) -> tuple[Point, ...]:
        g = self.groups.index(group)
        begin, end = int(self._start[g]), int(self._start[g + 1])
        members = [point_of(begin + i, sentence) for i, sentence in enumerate(group.sentences)]
        order = list(KINDS)
        members.sort(key=lambda p: (order.index(p.kind), p.row))
        nearest = np.full(self._start[-1], -np.inf)
        for snapshots in self._aligned.values():
            for z in (snapshots[0], snapshots[-1]):
                unit = normalised(z)
                nearest = np.maximum(nearest, unit @ unit[begin])
        nearest[begin:end] = -np.inf
        texts = [s for other in self.groups for s in other.sentences]
        rows = np.argsort(-nearest, kind="stable")[: min(self.neighbours, len(texts) - (end - begin))]
        return (*members, *(Point(int(r), texts[r].text, "other", None, None) for r in rows))
