"""The run folder: the only way results travel.

    runs/<name>/
      config.json      every parameter, package versions, fingerprints of data, encoder and code, seed, key
      history.jsonl    a line for every logged step
      snapshots/       step-*.safetensors: embeddings of the probe while training
      encoder/         the result, for transformers and sentence-transformers
      result.json      steps, seconds, hardware, which step was kept; its presence says the run is finished
      sts.json  transfer.json  probe.json  summary.md  figures/      made from the run, later
      checkpoints/     what an interrupted run resumes from; gone when finished
      .lock  .owner    who writes here: one process at a time

``hncse runs`` lists runs; ``hncse runs NAME`` (or ``latest``) prints one run's summary.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import logging
import math
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError, command, unknown
from hncse.files import expand, is_leftover, sweep, write_json, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hncse.encoder import SentenceEncoder
    from hncse.presets import LossOptions

__all__ = ["RECORDED", "Run", "RunBusyError", "find", "list_runs", "root"]

#: Runs that come with the kit, without their weights: see `tools.record_run`.
RECORDED = Path(__file__).resolve().parent / "data" / "runs"
_LOG = logging.getLogger(__name__)
_OWNED: dict[Path, tuple[int, int]] = {}  # lock files that this process holds: process and thread
_OF_NOBODY = (".lock", ".owner", ".DS_Store")  # a folder with no more than these is a run's that just began


class RunBusyError(HncseError):
    """Another process owns the run folder."""


def root() -> Path:
    """Folder of runs: ``$HNCSE_RUNS``, else ``runs/`` of the source checkout, else ``runs/`` of the working folder.

    Jupyter starts in a notebook's folder and papermill in the caller's; both find the same runs this way.
    """
    if given := os.environ.get("HNCSE_RUNS"):
        folder = expand(given)
        if folder.exists() and not folder.is_dir():
            raise HncseError(f"HNCSE_RUNS is {given!r}, which is a file; it must name the folder of runs")
        return folder
    checkout = Path(__file__).resolve().parent.parent
    home = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
    return home / "runs"


class Run:
    """One run folder; ``encoder_path`` holds the result, ``checkpoints`` what an interrupted run resumes from."""

    def __init__(self, path: str | Path) -> None:
        """Open a run folder; it need not exist yet. ``~`` is your home."""
        self.path = expand(path)
        self.name, self.encoder_path, self.checkpoints = (
            self.path.name,
            self.path / "encoder",
            self.path / "checkpoints",
        )

    def __repr__(self) -> str:
        """Name and state."""
        return f"Run({str(self.path)!r}, {'finished' if self.finished else 'unfinished'})"

    @property
    def finished(self) -> bool:
        """Whether training ended and the encoder lies there; a result.json that is cut off or empty says nothing."""
        try:
            return self.read("result") is not None
        except HncseError:
            return False

    @property
    def config(self) -> dict[str, Any]:
        """Contents of config.json."""
        return self.read("config")

    @property
    def result(self) -> dict[str, Any]:
        """Contents of result.json."""
        return self.read("result")

    @property
    def loss_options(self) -> LossOptions:
        """Complete options of the loss it trained with: its preset, with its τ, its seed and its own changes.

        Of a loss of the reader's own they are SimCSE's, by which cases and diagnostics are told.
        """
        from hncse.presets import resolve

        p = self.config["parameters"]
        given = {name: p[name] for name in ("temperature", "seed") if p.get(name) is not None}
        return resolve("simcse" if "loss_source" in p else p["loss"], **(given | p.get("loss_options", {})))

    @contextlib.contextmanager
    def lock(self, wait: bool | float = True) -> Iterator[None]:
        """Own the folder while the block runs: nobody else trains into it or removes it.

        The lock ends with the process, also when it is killed. Whoever holds it may take it again. ``wait`` says
        whether to wait for another owner, who is named on stderr; a number is the longest wait in seconds.

        Raises:
            RunBusyError: Another process owns the folder.
            HncseError: Something that is no run lies there, or the disk refuses.
        """
        import filelock

        path = (self.path / ".lock").absolute()
        me = (os.getpid(), threading.get_ident())
        if _OWNED.get(path) == me:
            yield
            return
        self.require_ours()
        lock = filelock.FileLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                if wait is not False:
                    sys.stderr.write(f"waiting for {self.owner()}, which works on {self.path}\n")
                lock.acquire(timeout=-1 if wait is True else float(wait))
        except filelock.Timeout as error:
            raise RunBusyError(f"run {self.name!r} is in the hands of {self.owner()}: {self.path}") from error
        except OSError as error:
            raise HncseError(f"run folder {self.path}: {error.strerror or error}") from error
        try:
            _OWNED[path] = me
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            write_text(self.path / ".owner", f"process {me[0]} on {platform.node()} since {since}\n")
            yield
        finally:
            _OWNED.pop(path, None)
            with contextlib.suppress(OSError):
                (self.path / ".owner").unlink(missing_ok=True)
            lock.release()

    def owner(self) -> str:
        """Who owns, or owned last, the folder: process, machine and time."""
        try:
            return (self.path / ".owner").read_text(encoding="utf-8").strip()
        except OSError:
            return "another process"

    def require_ours(self) -> None:
        """Make sure that the folder is a run's, new or empty, or raise HncseError: no other is written into."""
        try:
            inside = [path.name for path in self.path.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise HncseError(f"run folder {self.path}: {error.strerror or error}") from error
        if all(name in _OF_NOBODY or is_leftover(name) for name in inside):
            return
        if "config.json" not in inside or "key" not in self.config:
            raise HncseError(
                f"{self.path} is no run's folder, it holds {', '.join(sorted(inside)[:3])}; nothing is written there. "
                "Give another name or output"
            )

    def tidy(self) -> None:
        """Remove what interruptions left: files half written, and the checkpoints of a finished run; only its owner."""
        sweep(self.path)
        for folder in self.path.glob(".encoder-????????"):
            shutil.rmtree(folder, ignore_errors=True)
        if self.finished:
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def load_encoder(self) -> SentenceEncoder:
        """Load the trained encoder; its `save` writes a model card with this run's scores."""
        from hncse import model_card
        from hncse.encoder import SentenceEncoder

        if self.has("recorded"):
            raise HncseError(
                f"run {self.name!r} came with the kit, without its weights; {self.path / 'config.json'} says how to "
                "train it again"
            )
        if not self.encoder_path.is_dir():
            raise HncseError(f"run {self.name!r} has no encoder/ yet: it was interrupted; train again to resume it")
        encoder = SentenceEncoder.from_pretrained(self.encoder_path)
        encoder.card = functools.partial(model_card.of_run, self)
        return encoder

    def has(self, what: str) -> bool:
        """Whether ``<what>.json`` is there, for example ``has("sts")``."""
        return (self.path / f"{what}.json").is_file()

    def read(self, what: str) -> dict[str, Any]:
        """Contents of ``<what>.json``, read again only when changed; HncseError where it is missing or damaged."""
        path = self.path / f"{what}.json"
        try:
            now = path.stat()
            return copy.deepcopy(_parsed(path, now.st_mtime_ns, now.st_size, now.st_ino))
        except FileNotFoundError as error:
            raise HncseError(f"run {self.name!r} has no {what}.json") from error
        except OSError as error:
            raise HncseError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:  # no JSON, or no UTF-8
            raise HncseError(f"{path} is damaged: {error}") from error

    def write(self, what: str, content: Mapping[str, Any]) -> None:
        """Write ``<what>.json``, whole or not at all."""
        write_json(self.path / f"{what}.json", dict(content))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The logged steps, oldest first; a last line cut off by an interruption is left out."""
        path, lines = self.path / "history.jsonl", []
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        for text in texts:
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(text))
        return [line for line in lines if isinstance(line, dict) and "step" in line]

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to history.jsonl; numbers that are NaN or infinite are left out, which JSON cannot say."""
        finite = {name: value for name, value in line.items() if not isinstance(value, float) or math.isfinite(value)}
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite, allow_nan=False) + "\n")

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``: a resumed run writes it again."""
        lines = [json.dumps(line) for line in self.history if line["step"] <= step]
        write_text(self.path / "history.jsonl", "".join(f"{line}\n" for line in lines))
        for at, path in self.snapshots():
            if at > step:
                path.unlink()

    def snapshots(self) -> list[tuple[int, Path]]:
        """Steps and files of the probe's embeddings while training, in order."""
        files = (self.path / "snapshots").glob("step-*.safetensors")
        return sorted((int(file.stem.removeprefix("step-")), file) for file in files)

    @property
    def thinned(self) -> int:
        """Snapshots hold every n-th of the probe's groups: n is 1, and more in a recorded run."""
        return int(self.read("recorded")["every"]) if self.has("recorded") else 1

    @staticmethod
    def embeddings(snapshot: Path) -> NDArray[np.float64]:
        """A snapshot's rows, (n, d): float16, or bytes with a factor for each row in a recorded run."""
        import numpy as np
        from safetensors.numpy import load_file

        stored = load_file(snapshot)
        return stored["embeddings"].astype(np.float64) * stored.get("scale", np.ones(1))


@functools.lru_cache(maxsize=4096)
def _parsed(path: Path, _changed_ns: int, _size: int, _inode: int) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not names and values")
    return content


def list_runs(folder: str | Path | None = None) -> list[Run]:
    """Every run in a folder (default `root`), oldest first; damaged ones are left out, with a warning."""
    folder = root() if folder is None else expand(folder)
    if not folder.is_dir():
        return []
    whole = []
    for run in map(Run, folder.iterdir()):
        try:
            if run.has("config") and "parameters" in run.config:
                whole.append(run)
        except HncseError as error:
            _warn_once(f"left out of the runs: {error}")
    return sorted(whole, key=lambda run: ((run.path / "config.json").stat().st_mtime, run.name))


@functools.cache
def _warn_once(text: str) -> None:
    _LOG.warning(text)


def find(name: str, folder: str | Path | None = None) -> Run:
    """Find a run by name or path, or one of the kit; ``"latest"`` is the youngest. It names the nearest."""
    folder = root() if folder is None else expand(folder)
    runs = list_runs(folder)
    if name == "latest" and runs:
        return runs[-1]
    for run in (Run(folder / name), Run(name), Run(RECORDED / name)):
        with contextlib.suppress(OSError):  # a name longer than the system allows
            if run.has("config") and "parameters" in run.config:
                return run
    if not runs and name == "latest":
        raise HncseError(f"no run {name!r}: {folder} holds no runs yet; `make train` makes one")
    raise unknown("run", name, [run.name for run in (*runs, *list_runs(RECORDED))])


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="hncse runs", description="List runs, or print one run's summary.")
    parser.add_argument("run", nargs="?", help="a run's name or folder, or 'latest'")
    options = parser.parse_args(arguments)
    if options.run is not None:
        run = find(options.run)
        summary = run.path / "summary.md"
        sys.stdout.write(summary.read_text(encoding="utf-8") if summary.is_file() else f"{run}\n")
        if pictures := sorted((run.path / "figures").glob("*.png")):
            sys.stdout.write(f"\nPictures in {run.path / 'figures'}: {', '.join(path.stem for path in pictures)}\n")
        return 0
    for run in list_runs():
        parameters, state = run.config["parameters"], "finished" if run.finished else "unfinished"
        what = " ".join(f"{key}={parameters.get(key)}" for key in ("loss", "encoder", "corpus", "limit", "seed"))
        sys.stdout.write(f"{run.name:40} {state:10} {what}\n")
    return 0
