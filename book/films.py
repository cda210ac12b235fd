"""Every anchor of the probe for the page of the explorer: one gzip file an anchor, fetched when it is chosen.

A film is a map over all steps of all runs, and a second and a half of work; finished ones are kept beside the site.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from hncse import files, runs
from hncse.data.probe import Group
from hncse.visual.study import Study, by_loss

__all__ = ["write"]

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
    key = json.dumps([run.config["key"] for run in opened]) + files.source_hash(*_MODULES)
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
    scenes = explorer.scenes(_study.film(name))
    return gzip.compress(json.dumps(scenes, separators=(",", ":")).encode(), 9, mtime=0)
