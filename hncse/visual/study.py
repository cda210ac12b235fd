"""Embeddings opened for looking: one anchor with what surrounds it, at every step of every run.

study = Study({"simcse": run, "hnm-no-replacement": other})      # runs with snapshots
film = study.film("sport-03")
film.moments["simcse"][-1].cosine                                # exact similarities to the anchor at the last step

The anchor's **false negative** is, here, a sentence of its group graded 4 or more that is not its positive: it means
what the anchor means, and a loss that knows no labels would push it away like any other sentence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import probe
from hncse.errors import HncseError, unknown
from hncse.evaluation.geometry import normalised
from hncse.presets import LossOptions, resolve
from hncse.runs import Run
from hncse.visual import projection
from hncse.visual.film import KINDS, NO_NEGATIVES, Film, Moment, Point, cases, copies, mix

__all__ = ["Snapshots", "Study", "by_loss"]

Floats = NDArray[np.float64]
SAME_MEANING = 4.0  # grade from which a sentence means what the anchor means
_KIND = {
    "anchor": "anchor", "paraphrase_close": "positive", "hard_negative": "hard", "same_topic": "topic",
    "unrelated": "other",
}  # fmt: skip


@dataclass(frozen=True)
class Snapshots:
    """A run as pictures need it: at each of its steps (n, d) embeddings of all sentences of all groups in order.

    Cases and mixes are those of a training with ``options``; ``accumulate`` batches a step decide what chance draws.
    """

    steps: Sequence[int]
    embeddings: Sequence[Floats]
    options: LossOptions = field(default_factory=lambda: resolve("pm+hnm"))
    accumulate: int = 1


def by_loss(runs: Sequence[Run]) -> dict[str, Run]:
    """Name runs for `Study`: by their loss, and by loss and run name where several have one loss; each once."""
    losses = [run.config["parameters"]["loss"] for run in runs]
    names = [
        loss if losses.count(loss) == 1 else f"{loss} ({run.name})" for loss, run in zip(losses, runs, strict=True)
    ]
    if len(set(names)) < len(names):
        raise HncseError(f"two runs have one loss and one name: {', '.join(names)}; give each run once")
    return dict(zip(names, runs, strict=True))


class Study:
    """Embeddings opened for looking: films of any anchor, cases of all, and a search among the anchors."""

    def __init__(
        self, runs: Mapping[str, Run | Snapshots], *, neighbours: int = 32, groups: Sequence[probe.Group] | None = None
    ) -> None:
        """Read every snapshot.

        Args:
            runs: Name → run; all with the same groups and width.
            neighbours: How many sentences of other groups a film holds.
            groups: The anchors with their sentences; None is the embedded probe, or of it the groups that are left in
                a recorded run.

        Raises:
            HncseError: No runs, or one whose snapshots are missing, hold NaN or are not of these groups.
        """
        if not runs:
            raise HncseError("there are no runs to look at")
        if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 0:
            raise HncseError(f"neighbours is {neighbours!r}; it must be a whole number of 0 or more")
        whole = list(groups) if groups is not None else probe.load()
        every = max((run.thinned for run in runs.values() if isinstance(run, Run)), default=1)
        self.neighbours, self.groups = neighbours, whole[::every]
        self._start = np.cumsum([0, *(len(group.sentences) for group in self.groups)])
        sizes = [len(group.sentences) for group in whole]
        rows = np.repeat(np.arange(len(whole)) % every == 0, sizes)  # of all sentences, those of the groups kept
        self.runs = {name: _read(name, run, rows) for name, run in runs.items()}
        self._films: dict[str, Film] = {}

    def search(self, words: str, name: str | None = None) -> list[probe.Group]:
        """Groups that have all the words, in any order and case; all groups for an empty search.

        A word is found whole ("not" does not find "noticed"), in the anchor's id or text, in the names of the group's
        phenomena and roles, or as one of ``case A``, ``case B``, ``case C`` and ``changed sides``: of the run ``name``
        (None: the first), the anchor's case at the last step, and whether a hard negative crossed the boundary since
        the first.
        """
        asked = words.casefold()
        groups = self.groups
        if letter := re.search(r"\bcase ([abc])\b", asked):
            asked = asked.replace(letter[0], " ")
            letters = self.cases(name or next(iter(self.runs)))
            groups = [g for g in groups if letters[g.id] == letter[1].upper()]
        if "changed sides" in asked:
            asked = asked.replace("changed sides", " ")
            crossed = self._crossings[name or next(iter(self.runs))]
            groups = [g for g in groups if crossed[g.id][0]]
        wanted = set(_words([asked]))
        return [g for g in groups if wanted <= set(_words(_findable(g)))]

    def group(self, name: str) -> probe.Group:
        """A group by its id; HncseError names the nearest."""
        for group in self.groups:
            if group.id == name:
                return group
        raise unknown("anchor", name, (g.id for g in self.groups))

    def _of(self, name: str) -> Snapshots:
        if name not in self.runs:
            raise unknown("run", name, self.runs)
        return self.runs[name]

    def _sides(self, name: str, moment: int) -> list[tuple[float, Floats]]:
        """Every group's p, and cosines of its negatives: hard ones in the probe, all but false ones in a user's."""
        z, sides = normalised(self._of(name).embeddings[moment]), []
        for group, begin in zip(self.groups, self._start, strict=False):
            kinds = np.array([_kind(sentence) for sentence in group.sentences])
            cosine = z[begin : begin + len(kinds)] @ z[begin]
            sides.append((float(cosine[kinds == "positive"][0]), cosine[~np.isin(kinds, NO_NEGATIVES)]))
        return sides

    def planes(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All groups in the similarity plane at a run's first and last snapshot: for `figures.similarity_plane`."""
        first, last = (
            {
                "positive": np.array([p for p, _ in sides]),
                "hardest_negative": np.array([negatives.max() for _, negatives in sides]),
            }
            for sides in (self._sides(name, 0), self._sides(name, -1))
        )
        return first, last

    def cases(self, name: str, moment: int = -1) -> dict[str, str]:
        """Group's id → case of its anchor among its group's hard negatives, with the run's own band, at a snapshot."""
        sides = self._sides(name, moment)
        letters = cases([p for p, _ in sides], [n.max() for _, n in sides], self._of(name).options.band)
        return dict(zip((group.id for group in self.groups), letters.tolist(), strict=True))

    def typical(self, name: str, moment: int = -1) -> dict[str, str]:
        """Case → id of the first group in that case at a snapshot; a case that no group is in is left out."""
        groups = list(self.cases(name, moment).items())
        return dict(sorted({case: group for group, case in reversed(groups)}.items()))

    @functools.cached_property
    def _crossings(self) -> dict[str, dict[str, tuple[int, int, int]]]:
        """Run → group's id → how many negatives changed sides, how many end nearer, and how many there are."""
        return {
            name: {
                group.id: (int(((a > p) != (b > q)).sum()), int((b > q).sum()), len(b))
                for group, (p, a), (q, b) in zip(self.groups, self._sides(name, 0), self._sides(name, -1), strict=True)
            }
            for name in self.runs
        }

    def example_group(self) -> str:
        """Id of the group where most hard negatives change sides while the first run trains, and both sides are held.

        Ties go to the group with more hard negatives, then to the order of the groups.
        """
        scores = {
            group: (changed if 0 < nearer < many else -1, many)
            for group, (changed, nearer, many) in next(iter(self._crossings.values())).items()
        }
        return max(scores, key=scores.__getitem__)

    def film(self, name: str) -> Film:
        """The surroundings of a group's anchor at every snapshot of every run, in one map; computed once."""
        if name not in self._films:
            self._films[name] = self._film(self.group(name))
        return self._films[name]

    @functools.cached_property
    def _aligned(self) -> dict[str, list[Floats]]:
        """Name → snapshots, all turned onto the first run's first."""
        onto = next(iter(self.runs.values())).embeddings[0]
        widths = {run.embeddings[0].shape[1] for run in self.runs.values()}
        if len(widths) > 1:
            raise HncseError(f"these runs are {sorted(widths)} wide; one map takes runs of one encoder")
        return {
            name: [z if z is onto else projection.turn_onto(z, onto) for z in run.embeddings]
            for name, run in self.runs.items()
        }

    def _film(self, group: probe.Group) -> Film:
        points = self._points(group)
        rows, own = [point.row for point in points], sum(point.own for point in points)
        near = {name: [z[rows] for z in snapshots] for name, snapshots in self._aligned.items()}  # (m, d) each
        ends = [z[:own] for snapshots in near.values() for z in (snapshots[0], snapshots[-1])]
        sideways = projection.sideways(ends)  # (d,)

        def moment_of(name: str, step: int, z: Floats) -> Moment:
            run = self.runs[name]
            mixes = mix(z[0], z[1], z[2:], run.options, draw=step * run.accumulate, groups=copies(points))
            vectors = np.stack([m.vector for m in (mixes.positive, *mixes.negatives)])
            places, held = projection.polar(np.concatenate([z, vectors]), sideways)
            unit = normalised(z)
            return Moment(step, places[: len(z)], unit @ unit[0], mixes, places[len(z) :], held[: len(z)], z)

        compute = {name: functools.partial(moment_of, name) for name in near}
        moments = {
            name: [compute[name](step, z) for step, z in zip(self.runs[name].steps, snapshots, strict=True)]
            for name, snapshots in near.items()
        }
        return Film(group, points, moments, compute)

    def _points(self, group: probe.Group) -> tuple[Point, ...]:
        g = self.groups.index(group)
        begin, end = int(self._start[g]), int(self._start[g + 1])
        order = {kind: i for i, kind in enumerate(KINDS)}
        members = [Point(begin + i, s.text, _kind(s), s.phenomenon, s.grade) for i, s in enumerate(group.sentences)]
        members.sort(key=lambda p: (order.get(p.kind, order["hard"]), p.row))
        ends = [normalised(z) for snapshots in self._aligned.values() for z in (snapshots[0], snapshots[-1])]
        nearest = np.max([unit @ unit[begin] for unit in ends], axis=0)  # (n,)
        nearest[begin:end] = -np.inf
        texts = [s.text for other in self.groups for s in other.sentences]
        rows = np.argsort(-nearest, kind="stable")[: min(self.neighbours, len(texts) - (end - begin))]
        return (*members, *(Point(int(row), texts[row], "other", None, None, own=False) for row in rows))


def _kind(sentence: probe.Sentence) -> str:
    """What a sentence is to its group's anchor; a user's role that is none of the probe's stays what it is."""
    kind = _KIND.get(sentence.role, "false" if sentence.role == "paraphrase_far" else sentence.role)
    graded = sentence.grade is not None and sentence.grade >= SAME_MEANING
    return "false" if graded and kind not in ("anchor", "positive") else kind


def _words(texts: Iterable[str]) -> list[str]:
    return re.findall(r"[\w'-]+", " ".join(texts).casefold())


def _findable(group: probe.Group) -> list[str]:
    """What a search looks through: id and anchor, and phenomena and roles, with and without their underscores."""
    names = {name for s in group.sentences for name in (s.role, s.phenomenon) if name}
    return [group.id, group.anchor, *names, *(name.replace("_", " ") for name in names)]


def _read(name: str, run: Run | Snapshots, of: NDArray[np.bool_]) -> Snapshots:
    """A run's snapshots, checked: of all sentences, those in ``of``."""
    n = int(of.sum())
    if isinstance(run, Run):
        stored = run.snapshots()
        if len(stored) < 2:
            raise HncseError(f"run {name!r} has no snapshots to show; train with snapshots=9")
        z = [run.embeddings(path) for _, path in stored]
        z = [each[of] if len(each) == len(of) else each for each in z]
        accumulate = run.config["parameters"].get("accumulate", 1)
        run = Snapshots([step for step, _ in stored], z, run.loss_options, accumulate)
    for step, rows in zip(run.steps, run.embeddings, strict=True):
        if len(rows) != n:
            raise HncseError(
                f"run {name!r} has snapshots of {len(rows)} sentences, the probe has {n}: it was trained with another "
                "version of the probe; train again"
            )
        if not np.isfinite(rows).all():
            raise HncseError(
                f"run {name!r} holds NaN or infinite embeddings at step {step}: its training diverged; train again "
                "with a lower learning rate"
            )
    return run
