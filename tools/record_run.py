"""Make a finished run small enough to come with the kit: no weights, few moments, every n-th group of the probe.

    python -m tools.record_run RUN NAME --moments 3 --every 5

What is left is what the pictures of notebooks 03 and 04 read. Rows of a snapshot become bytes, each with a factor of
its own: cosines differ from float16's by at most 0.004. ``recorded.json`` says what was left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import save_file

from hncse import runs
from hncse.data import probe
from hncse.errors import HncseError

_FILES = ("config.json", "history.jsonl", "result.json", "probe.json", "sts.json", "summary.md")


def record(run: runs.Run, name: str, moments: int, every: int) -> runs.Run:
    """Copy a run under ``hncse/data/runs``; an older copy of that name is replaced, and nothing else.

    Args:
        run: Finished, judged, with snapshots.
        name: Of the copy.
        moments: Snapshots kept, the first and the last among them.
        every: Of the probe's groups, each ``every``-th is kept.

    Raises:
        HncseError: A name that is a path, or of a folder that is no copy; a run without snapshots, or a copy itself.
    """
    copy = runs.Run(runs.RECORDED / name)
    if copy.path.parent != runs.RECORDED or name in ("", ".", ".."):
        raise HncseError(f"the copy's name is {name!r}; it must be a plain name, for a folder in {runs.RECORDED}")
    if copy.path.exists() and not copy.has("recorded"):
        raise HncseError(f"{copy.path} is no recorded run, and is left as it is; give another name")
    if run.thinned > 1 or len(run.snapshots()) < moments:
        raise HncseError(
            f"{run} is itself a copy, or has fewer than {moments} snapshots; train with snapshots={moments}"
        )
    shutil.rmtree(copy.path, ignore_errors=True)
    (copy.path / "snapshots").mkdir(parents=True)
    for file in _FILES:
        if (run.path / file).is_file():
            shutil.copy(run.path / file, copy.path / file)
    groups = probe.load()
    rows = np.repeat(np.arange(len(groups)) % every == 0, [len(group.sentences) for group in groups])
    stored = run.snapshots()
    for i in np.linspace(0, len(stored) - 1, moments).round().astype(int):
        z = run.embeddings(stored[i][1])[rows]
        scale = np.abs(z).max(axis=1, keepdims=True) / 127
        tensors = {"embeddings": np.round(z / scale).astype(np.int8), "scale": scale.astype(np.float32)}
        save_file(tensors, copy.path / "snapshots" / stored[i][1].name)
    copy.write("recorded", {"every": every, "groups": len(groups[::every]), "from": run.name})
    config = json.loads((copy.path / "config.json").read_text(encoding="utf-8"))
    config["parameters"] |= {"output": None, "name": None}  # places of the machine that trained it
    copy.write("config", config)
    return copy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.record_run", description=__doc__)
    parser.add_argument("run", help="name or folder of a finished run")
    parser.add_argument("name", help="of the copy")
    parser.add_argument("--moments", type=int, default=3)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args(arguments)
    copy = record(runs.find(options.run), options.name, options.moments, options.every)
    size = sum(file.stat().st_size for file in copy.path.rglob("*") if file.is_file())
    sys.stdout.write(f"{copy.path}: {size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
