"""Runs opened for looking: their snapshots of the probe, and films of any anchor.

study = Study({"simcse": run, "hnm-no-replacement": other})      # runs with snapshots
film = study.film("sport-03")                                    # one map for all steps of all runs
film.moments["simcse"][-1].cosine                                # exact similarities to the anchor at the last step
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import probe
from hncse.errors import HncseError, unknown
from hncse.evaluation.geometry import normalised
from hncse.runs import Run
from hncse.visual import projection, scenes
from hncse.visual.mixes import cases

__all__ = ["Study", "by_loss"]

Floats = NDArray[np.float64]


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
        self._films: dict[str, scenes.Film] = {}

    def _read(self, name: str, run: Run) -> list[Floats]:
        from safetensors.numpy import load_file

        if len(run.snapshots()) < 2:
            raise HncseError(f"run {name!r} has no snapshots to show; train with snapshots=9")
        found = []
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
            found.append(z)
        return found

    @functools.cached_property
    def _turned(self) -> dict[str, list[Floats]]:
        """Name → snapshots, all turned onto the first run's first."""
        onto = next(iter(self._z.values()))[0]
        widths = {z[0].shape[1] for z in self._z.values()}
        if len(widths) > 1:
            raise HncseError(f"these runs are {sorted(widths)} wide; one map takes runs of one encoder")
        return {
            name: [z if z is onto else projection.turn_onto(z, onto) for z in found] for name, found in self._z.items()
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

    def telling(self) -> str:
        """Id of the group where most hard negatives change sides while the first run trains, and both sides are held.

        Ties go to the group with more hard negatives, then to the probe's order.
        """
        found = next(iter(self._z.values()))
        best, name = (-1, 0), self.groups[0].id
        for g, group in enumerate(self.groups):
            first, last = (np.subtract(*self._similarities(z, g)[::-1]) > 0 for z in (found[0], found[-1]))
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
        found: dict[str, str] = {}
        for group, case in self.cases(name, moment).items():
            found.setdefault(case, group)
        return dict(sorted(found.items()))

    def planes(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """All groups in the similarity plane at a run's first and last snapshot: for `figures.similarity_plane`."""
        from hncse.evaluation.probe import plane_of_embeddings

        if name not in self._z:
            raise unknown("run", name, self._z)
        first, last = (plane_of_embeddings(z, self.groups) for z in (self._z[name][0], self._z[name][-1]))
        return first, last

    def film(self, name: str) -> scenes.Film:
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

    def _film(self, group: probe.Group) -> scenes.Film:
        points = self._points(group)
        rows = [point.row for point in points]
        near = {name: [z[rows] for z in found] for name, found in self._turned.items()}  # (m, d) each
        reference = projection.middle([z for found in near.values() for z in (found[0], found[-1])])  # (m, d)
        home = next(iter(self.runs.values())).path / "maps"
        layout = projection.fit_cached(reference, home)
        moments = {
            name: [
                scenes.moment(
                    step, z, reference, layout, self.options[name], accumulate=self.accumulate[name],
                    groups=scenes.copies(points),
                )
                for step, z in zip(self.steps[name], found, strict=True)
            ]
            for name, found in near.items()
        }  # fmt: skip
        return scenes.Film(group, points, moments, reference, layout, self.options, self.accumulate)

    def _points(self, group: probe.Group) -> tuple[scenes.Point, ...]:
        g = self.groups.index(group)
        begin, end = int(self._start[g]), int(self._start[g + 1])
        own = [scenes.point(begin + i, sentence) for i, sentence in enumerate(group.sentences)]
        order = list(scenes.KINDS)
        own.sort(key=lambda p: (order.index(p.kind), p.row))
        nearest = np.full(self._start[-1], -np.inf)
        for found in self._turned.values():
            for z in (found[0], found[-1]):
                unit = normalised(z)
                nearest = np.maximum(nearest, unit @ unit[begin])
        nearest[begin:end] = -np.inf
        texts = [s for other in self.groups for s in other.sentences]
        rows = np.argsort(-nearest, kind="stable")[: min(self.neighbours, len(texts) - (end - begin))]
        return (*own, *(scenes.Point(int(r), texts[r].text, "other", None, None) for r in rows))
