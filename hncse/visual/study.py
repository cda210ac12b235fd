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
from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["KINDS", "Film", "Mix", "Mixes", "Moment", "Point", "Study", "by_loss", "cases", "copies", "mix"]

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
    """A sentence of the map; the same at every step."""

    row: int  # in the probe's order, which is the snapshots' order
    text: str
    kind: str  # a key of `KINDS`
    phenomenon: str | None  # of a hard negative of the anchor's group
    grade: float | None  # against this anchor; None for sentences of other groups, which nobody graded against it


def copies(points: Sequence[Point]) -> list[int]:
    """What `mix` takes as groups: equal numbers for equal texts, the positive being the anchor's."""
    numbers = {points[1].text: 0}
    return [numbers.setdefault(point.text, 0 if i == 0 else i) for i, point in enumerate((points[0], *points[2:]))]


@dataclass(frozen=True)
class Moment:
    """The map at one step of one run."""

    step: int
    places: Floats  # (m, 2), one for each of the film's points
    cosine: Floats  # (m,) exact similarity to the anchor
    mixes: Mixes
    mix_places: Floats  # (1 + pairs, 2): PM's z³, then HNM's mixes
    embeddings: Floats = field(repr=False)  # (m, d), turned

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
        wrong[len(self.places)] &= self.mixes.case != "B"  # there z³ is the positive
        return wrong


@dataclass(frozen=True)
class Film:
    """One anchor at all moments, in one map."""

    group: probe.Group
    points: tuple[Point, ...]  # anchor, positive, the rest of the group, then the nearest of other groups
    moments: Mapping[str, Sequence[Moment]]  # run's name → its moments, in order of steps
    compute: Mapping[str, Callable[[int, Floats], Moment]] = field(repr=False)  # run's name → step, (m, d) → moment

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
        lines = []
        for i in np.argsort(-at.cosine, kind="stable"):
            point = self.points[i]
            if point.grade is not None:
                lines.append(f"{at.cosine[i]:6.3f}  {point.phenomenon or _LISTED[point.kind]:20} {point.text}")
            if point.kind == "positive":
                lines.append("-" * 100)
        return "\n".join(lines)

    def at(self, name: str, step: float) -> Moment:
        """The moment of a run nearest to a step.

        Raises:
            HncseError: No such run (the nearest name is given).
        """
        if name not in self.moments:
            raise unknown("run", name, self.moments)
        return min(self.moments[name], key=lambda m: abs(m.step - step))

    def between(self, name: str, step: float) -> Moment:
        """A moment between two snapshots: their embeddings mixed in proportion, everything else computed from that.

        Raises:
            HncseError: No such run.
        """
        self.at(name, step)
        moments = self.moments[name]
        after = int(np.clip(np.searchsorted([m.step for m in moments], step), 1, len(moments) - 1))
        before, later = moments[after - 1], moments[after]
        share = float(np.clip((step - before.step) / (later.step - before.step), 0, 1))
        return self.compute[name](round(step), (1 - share) * before.embeddings + share * later.embeddings)


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
        self._start = np.cumsum([0, *(len(group.sentences) for group in self.groups)])
        self._z = {name: _read(name, run, int(self._start[-1])) for name, run in self.runs.items()}
        self.steps = {name: [step for step, _ in run.snapshots()] for name, run in self.runs.items()}
        self.options = {name: run.loss_options for name, run in self.runs.items()}
        self._films: dict[str, Film] = {}

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

    def _plane(self, name: str, moment: int) -> dict[str, NDArray[Any]]:
        from hncse.evaluation.probe import plane_of_embeddings

        if name not in self._z:
            raise unknown("run", name, self._z)
        return plane_of_embeddings(self._z[name][moment], self.groups)

    def planes(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All groups in the similarity plane at a run's first and last snapshot: for `figures.similarity_plane`."""
        return self._plane(name, 0), self._plane(name, -1)

    def cases(self, name: str, moment: int = -1) -> dict[str, str]:
        """Group's id → HNCSE's case of its anchor, with the group's hard negatives as negatives and the run's own band.

        Args:
            name: Of a run.
            moment: Which snapshot, counted as in a list.
        """
        plane = self._plane(name, moment)
        letters = cases(plane["positive"], plane["hardest_negative"], self.options[name].band)
        return dict(zip(plane["id"].tolist(), letters.tolist(), strict=True))

    def typical(self, name: str, moment: int = -1) -> dict[str, str]:
        """Case → id of the probe's first group in that case; a case that no group is in is left out.

        Args:
            name: Of a run.
            moment: Which snapshot, counted as in a list.
        """
        groups = list(self.cases(name, moment).items())
        return dict(sorted({case: group for group, case in reversed(groups)}.items()))

    def example_group(self) -> str:
        """Id of the group where most hard negatives change sides while the first run trains, and both sides are held.

        Ties go to the group with more hard negatives, then to the probe's order.
        """
        snapshots = next(iter(self._z.values()))

        def score(g: int) -> tuple[int, int]:
            first, last = self._nearer(snapshots[0], g), self._nearer(snapshots[-1], g)
            return int((first != last).sum()) if 0 < last.sum() < len(last) else -1, len(last)

        return self.groups[max(range(len(self.groups)), key=score)].id

    def _nearer(self, z: Floats, g: int) -> NDArray[np.bool_]:
        """Which hard negatives of a group are nearer to its anchor than the positive."""
        rows = normalised(z[self._start[g] : self._start[g + 1]])
        cosine = rows @ rows[0]
        role = np.array([s.role for s in self.groups[g].sentences])
        return cosine[role == "hard_negative"] > cosine[role == "paraphrase_close"][0]

    def film(self, name: str) -> Film:
        """The anchor's surroundings at every snapshot of every run, in one map; computed once.

        Args:
            name: A group's id.
        """
        if name not in self._films:
            self._films[name] = self._film(self.group(name))
        return self._films[name]

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

    def _film(self, group: probe.Group) -> Film:
        points = self._points(group)
        rows = [point.row for point in points]
        near = {name: [z[rows] for z in snapshots] for name, snapshots in self._aligned.items()}  # (m, d) each
        reference = projection.middle([z for snapshots in near.values() for z in (snapshots[0], snapshots[-1])])
        layout = projection.fit_cached(reference, next(iter(self.runs.values())).path / "maps")

        def moment_of(name: str, step: int, z: Floats) -> Moment:
            draw = step * self.runs[name].config["parameters"].get("accumulate", 1)
            mixes = mix(z[0], z[1], z[2:], self.options[name], draw=draw, groups=copies(points))
            vectors = np.stack([m.vector for m in (mixes.positive, *mixes.negatives)])
            unit = normalised(z)
            places, mix_places = (projection.place(x, reference, layout) for x in (z, vectors))
            return Moment(step, places, unit @ unit[0], mixes, mix_places, z)

        compute = {name: functools.partial(moment_of, name) for name in near}
        moments = {
            name: [compute[name](step, z) for step, z in zip(self.steps[name], snapshots, strict=True)]
            for name, snapshots in near.items()
        }
        return Film(group, points, moments, compute)

    def _points(self, group: probe.Group) -> tuple[Point, ...]:
        g = self.groups.index(group)
        begin, end = int(self._start[g]), int(self._start[g + 1])
        members = [_point(begin + i, sentence) for i, sentence in enumerate(group.sentences)]
        members.sort(key=lambda p: (list(KINDS).index(p.kind), p.row))
        ends = [normalised(z) for snapshots in self._aligned.values() for z in (snapshots[0], snapshots[-1])]
        nearest = np.max([unit @ unit[begin] for unit in ends], axis=0)  # (n,)
        nearest[begin:end] = -np.inf
        texts = [s.text for other in self.groups for s in other.sentences]
        rows = np.argsort(-nearest, kind="stable")[: min(self.neighbours, len(texts) - (end - begin))]
        return (*members, *(Point(int(row), texts[row], "other", None, None) for row in rows))


def _point(row: int, sentence: probe.Sentence) -> Point:
    """A sentence of the anchor's own group as a point of its map."""
    kind = _KIND.get(sentence.role, "other")
    if sentence.role == "paraphrase_far" or (kind not in ("anchor", "positive") and sentence.grade >= SAME_MEANING):
        kind = "false"
    return Point(row, sentence.text, kind, sentence.phenomenon, sentence.grade)


def _read(name: str, run: Run, n: int) -> list[Floats]:
    """A run's snapshots of the probe's n sentences, (n, d) each."""
    from safetensors.numpy import load_file

    if len(run.snapshots()) < 2:
        raise HncseError(f"run {name!r} has no snapshots to show; train with snapshots=9")
    snapshots = []
    for step, path in run.snapshots():
        z = load_file(path)["embeddings"].astype(np.float64)
        if len(z) != n:
            raise HncseError(
                f"run {name!r} has snapshots of {len(z)} sentences, the probe has {n}: it was trained with another "
                "version of the probe; train again"
            )
        if not np.isfinite(z).all():
            raise HncseError(
                f"run {name!r} holds NaN or infinite embeddings at step {step}: its training diverged; train again "
                "with a lower learning rate"
            )
        snapshots.append(z)
    return snapshots
