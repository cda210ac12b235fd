"""The run folder: the only way results travel.

    runs/<name>/
      config.json      every parameter, package versions, fingerprints of data and encoder, seed, key
      history.jsonl    a line for every logged step
      snapshots/       step-*.safetensors: embeddings of the probe while training
      encoder/         the result, for transformers and sentence-transformers
      result.json      steps, seconds, hardware, which step was kept; its presence says the run is finished
      sts.json  transfer.json  probe.json  summary.md  figures/      made from the run, later
      checkpoints/     what an interrupted run resumes from; empty when finished

``python -m hncse.runs`` lists runs; ``python -m hncse.runs NAME`` (or ``latest``) prints one run's summary.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hncse.errors import HncseError, command, unknown

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["Run", "find", "list_runs", "root", "whole_file", "write_json", "write_text"]


def root() -> Path:
    """Folder of runs: ``$HNCSE_RUNS``, else ``runs/`` of the source checkout, else ``runs/`` of the working folder.

    Jupyter starts in a notebook's folder and papermill in the caller's; both find the same runs this way.
    """
    if given := os.environ.get("HNCSE_RUNS"):
        return Path(given)
    checkout = Path(__file__).resolve().parent.parent
    home = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
    return home / "runs"


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Give a file to write that stands at ``path`` when the block ends well, and nowhere when it does not.

    Args:
        path: Where it goes; its folder is made.
        mode: ``"w"`` (UTF-8) or ``"wb"``.

    Raises:
        HncseError: The disk is full or read-only; the old file, if any, is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding = None if "b" in mode else "utf-8"
        with tempfile.NamedTemporaryFile(
            mode, dir=path.parent, prefix=f".{path.name}-", delete=False, encoding=encoding
        ) as file:
            temporary = Path(file.name)
            yield file
        temporary.chmod(0o644)  # mkstemp's 0600 would hide results from colleagues
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise HncseError(f"{path} could not be written: {error.strerror or error}") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; see `whole_file`."""
    with whole_file(path) as file:
        file.write(text)


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; see `write_text`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


class Run:
    """One run folder.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a run folder; it need not exist yet."""
        self.path = Path(path)

    def __repr__(self) -> str:
        """Name and state."""
        return f"Run({str(self.path)!r}, {'finished' if self.finished else 'unfinished'})"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def finished(self) -> bool:
        """Whether training ended and the encoder lies there."""
        return (self.path / "result.json").is_file()

    @property
    def config(self) -> dict[str, Any]:
        """Contents of config.json."""
        return self.read("config")

    @property
    def result(self) -> dict[str, Any]:
        """Contents of result.json."""
        return self.read("result")

    @property
    def encoder_path(self) -> Path:
        """Folder of the trained encoder."""
        return self.path / "encoder"

    def load_encoder(self) -> SentenceEncoder:
        """Load the trained encoder."""
        from hncse.encoder import SentenceEncoder

        if not self.encoder_path.is_dir():
            raise HncseError(f"run {self.name!r} has no encoder/ yet: it was interrupted; train again to resume it")
        return SentenceEncoder.from_pretrained(self.encoder_path)

    def has(self, what: str) -> bool:
        """Whether ``<what>.json`` is there, for example ``has("sts")``."""
        return (self.path / f"{what}.json").is_file()

    def read(self, what: str) -> dict[str, Any]:
        """Contents of ``<what>.json``.

        Raises:
            HncseError: The file is missing or damaged.
        """
        path = self.path / f"{what}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise HncseError(f"run {self.name!r} has no {what}.json") from error
        except json.JSONDecodeError as error:
            raise HncseError(f"{path} is damaged: {error}") from error

    def write(self, what: str, content: Mapping[str, Any]) -> None:
        """Write ``<what>.json``, whole or not at all."""
        write_json(self.path / f"{what}.json", dict(content))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The logged steps, oldest first; a last line cut off by an interruption is left out."""
        path = self.path / "history.jsonl"
        if not path.is_file():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(text))
        return lines

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to history.jsonl."""
        with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")

    def rewind(self, step: int) -> None:
        """Forget what was logged after ``step``: a resumed run writes it again."""
        kept = [json.dumps(line) for line in self.history if line["step"] <= step]
        write_text(self.path / "history.jsonl", "".join(f"{line}\n" for line in kept))
        for at, path in self.snapshots():
            if at > step:
                path.unlink()

    def snapshots(self) -> list[tuple[int, Path]]:
        """Steps and files of the probe's embeddings while training, in order."""
        files = (self.path / "snapshots").glob("step-*.safetensors")
        return sorted((int(file.stem.removeprefix("step-")), file) for file in files)


def list_runs(folder: Path | None = None) -> list[Run]:
    """Every run in a folder (default `root`), oldest first."""
    folder = folder or root()
    if not folder.is_dir():
        return []
    made = [path for path in folder.iterdir() if (path / "config.json").is_file()]
    return [Run(path) for path in sorted(made, key=lambda p: ((p / "config.json").stat().st_mtime, p.name))]


def find(name: str, folder: Path | None = None) -> Run:
    """Find a run by name or path; ``"latest"`` is the youngest.

    Raises:
        HncseError: There is none; the nearest name is given.
    """
    if (Path(name) / "config.json").is_file() and (Path(name) / "history.jsonl").is_file():
        return Run(name)
    runs = list_runs(folder)
    if name == "latest" and runs:
        return runs[-1]
    for run in runs:
        if run.name == name:
            return run
    if not runs:
        raise HncseError(f"no run {name!r}: {folder or root()} holds no runs yet; `make train` makes one")
    raise unknown("run", name, [run.name for run in runs])


def _lines(argument: str | None) -> Iterator[str]:
    if argument is not None:
        run = find(argument)
        summary = run.path / "summary.md"
        yield summary.read_text(encoding="utf-8") if summary.is_file() else f"{run}\n"
        return
    for run in list_runs():
        parameters = run.config["parameters"]
        state = "finished" if run.finished else "unfinished"
        shown = " ".join(f"{key}={parameters[key]}" for key in ("loss", "encoder", "corpus", "limit", "seed"))
        yield f"{run.name:40} {state:10} {shown}\n"


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hncse.runs", description="List runs, or print one run's summary.")
    parser.add_argument("run", nargs="?", help="a run's name or folder, or 'latest'")
    options = parser.parse_args(arguments)
    sys.stdout.writelines(_lines(options.run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
