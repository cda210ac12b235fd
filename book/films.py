"""Every anchor of the probe for the page of the explorer: one gzip file an anchor, fetched when it is chosen.

A film is a map over all steps of all runs, and a second and a half of work; finished ones are kept beside the site.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from graphlib import TopologicalSorter
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hncse import files, runs
from hncse.data.probe import Group
from hncse.visual.study import Study, by_loss

__all__ = ["compact", "write"]

Scenes = Mapping[str, list[dict[str, Any]]]  # run → its moments

_MODULES = ("visual.study", "visual.film", "visual.explorer", "visual.projection", "visual.boundary")
_study: Study | None = None  # of a worker process


def write(opened: Sequence[runs.Run], kept: Path, folder: Path, most: int | None = None) -> int:
    """Write films of anchors and their list, ``anchors.json``; returns how many.

    Args:
        opened: Finished runs with snapshots.
        kept: Folder of finished films, under the key of the runs and of the code that draws them.
        folder: Of the site, for the films.
        most: Anchors at most, the example first; None: all.
    """
    study = Study(by_loss(opened))
    key = json.dumps([run.config["key"] for run in opened]) + files.source_hash(*_MODULES) + inspect.getsource(compact)
    place = kept / hashlib.sha256(key.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    example = study.group(study.example_group())
    groups = list(islice(_first(example, study.groups), most))
    missing = [group.id for group in groups if not (place / f"{group.id}.bin").is_file()]
    if missing:
        paths = [str(run.path) for run in opened]
        workers = ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_open, initargs=(paths,))
        with workers:
            for name, content in zip(missing, workers.map(_film, missing, chunksize=4), strict=True):
                with files.whole_file(place / f"{name}.bin", "wb") as file:
                    file.write(content)
    for group in groups:
        shutil.copyfile(place / f"{group.id}.bin", folder / f"{group.id}.bin")
    files.write_json(folder / "anchors.json", [[group.id, group.anchor] for group in groups])
    return len(groups)


def _first(one: Group, others: Sequence[Group]) -> Iterator[Group]:
    yield one
    yield from (other for other in others if other is not one)


def _open(paths: list[str]) -> None:
    global _study
    _study = Study(by_loss([runs.find(path) for path in paths]))


def _film(name: str) -> bytes:
    """Every scene of every run for one anchor, as explorer.js reads it."""
    from hncse.visual import explorer

    assert _study is not None
    film = compact(explorer.scenes(_study.film(name)))
    return gzip.compress(json.dumps(film, separators=(",", ":")).encode(), 9, mtime=0)


def compact(scenes: Scenes) -> dict[str, Any]:
    """The scenes point by point instead of moment by moment: a third of the size; static/anchors.js turns it back.

    Args:
        scenes: From `hncse.visual.explorer.scenes`.

    Returns:
        ``runs``, the scenes without points; ``tips``, texts; ``points``, for each id and look four columns over all
        scenes: angle (degrees; None where the point is not drawn), bearing (degrees; None where it is not on the map),
        row, number of its tip. In a tip, ~ stands for the cosine, and a second one for its distance from p.
    """
    flat = [scene for of in scenes.values() for scene in of]
    order, tips = TopologicalSorter[tuple[str, str]](), dict[tuple[str, ...], int]()
    columns: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for i, scene in enumerate(flat):
        names = [(point["id"], point["look"]) for point in scene["points"]]
        for before, name in zip([None, *names], names, strict=False):
            order.add(name, *([before] if before else []))
        for name, point in zip(names, scene["points"], strict=True):
            angle = round(point["angle"], 3)
            bearing = round(math.degrees(math.atan2(point["y"], point["x"])), 1) if point["onmap"] else None
            tip = tips.setdefault(_tip(point["tip"], angle, scene["tie"]), len(tips))
            rows = columns.setdefault(name, [(None, None, None, None)] * len(flat))
            rows[i] = (angle, bearing, round(point["row"], 3), tip)
    return {
        "runs": {
            name: [{k: v for k, v in scene.items() if k != "points"} for scene in of] for name, of in scenes.items()
        },
        "tips": list(tips),
        "points": [[*name, *zip(*columns[name], strict=True)] for name in order.static_order()],
    }


def _tip(lines: Sequence[str], angle: float, tie: float) -> tuple[str, ...]:
    """A tip with ~ for its numbers, where they follow from the angles as they are written."""
    *others, last = lines
    cosine = math.cos(math.radians(angle))
    for number in (f"{cosine:.3f}", f"{abs(cosine - math.cos(math.radians(tie))):.3f}"):
        blank = re.sub(rf"(?<= ){re.escape(number)}(?=[,:]|$)", "~", last, count=1)
        if blank == last:
            return tuple(lines)
        last = blank
    return (*others, last)
