"""Judging encoders: STS, the probe, transfer tasks, geometry, and the tables made from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError
from hncse.files import write_json

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder
    from hncse.runs import Run

__all__ = [
    "TIE", "add_encoder", "add_pooling", "check_resampling", "deliver", "embed", "measure_parser", "open_encoder",
    "percent", "span", "unit_rows", "wins",
]  # fmt: skip

TIE = 1e-6  # float32 rounding; cosines closer than this say nothing about order
_CELLS = 125_000_000  # counts of a bootstrap held at a time, 1 GB

Floats = NDArray[np.float64]


def embed(
    encoder: Encoder, sentences: Sequence[str], batch_size: int | None = None, *, cache: bool = True
) -> NDArray[np.float32]:
    """Embed n sentences for a score: (n, d) float32. Every distinct one is met once, or read from disk where ``cache``.

    Raises:
        HncseError: Another shape, numbers that are no floats, NaN or infinity, or all rows equal but for rounding (a
            collapsed encoder has no score).
    """
    rows = cached_encode(encoder, sentences, cache=cache, batch_size=batch_size)
    if np.abs(rows - rows[0]).max() <= TIE * np.abs(rows[0]).max():
        raise HncseError(
            f"all {len(rows)} embeddings are equal, so nothing can be told apart; has the training collapsed?"
        )
    return rows


def unit_rows(embeddings: NDArray[np.floating]) -> Floats:
    """Rows (n, d) scaled to length 1, float64; a row of zeros stays one."""
    rows = np.asarray(embeddings, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def wins(positive: Floats, negative: Floats) -> Floats:
    """1 where a positive is nearer than its negative, 0 where it is not, a half where they tie; all (n,)."""
    gap = positive - negative
    return np.where(np.abs(gap) <= TIE, 0.5, (gap > 0).astype(np.float64))


def check_resampling(resamples: int, seed: int, units: int = 1) -> None:
    """Check a bootstrap's settings before anything is encoded; each resample draws so many ``units``.

    Raises:
        HncseError: A negative one, one that is no whole number, or more resamples than fit into memory.
    """
    for name, value in (("bootstrap", resamples), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            meaning = "0 (no intervals) or a number of resamples such as 2000" if name == "bootstrap" else "0 or more"
            raise HncseError(f"{name} is {value!r}; it must be a whole number, {meaning}")
    most = _CELLS // units
    if resamples > most:
        raise HncseError(f"bootstrap is {resamples}; it must be at most {most:,}: more resamples do not fit in memory")


def open_encoder(name: str, pooling: str | None = None) -> tuple[SentenceEncoder, Run | None]:
    """Load what a command line names: a run (its name, folder or ``latest``), or what ``from_pretrained`` takes.

    Returns:
        The encoder, with ``pooling`` in place of its own where that is given, and the run it belongs to, if any.
    """
    from hncse import runs
    from hncse.encoder import SentenceEncoder

    run = None
    if (Path(name) / "encoder").is_dir():
        run = runs.Run(name)
    elif name == "latest" or (Path(name).name == name and (runs.root() / name / "config.json").is_file()):
        run = runs.find(name)
    if run is None:
        return SentenceEncoder.from_pretrained(name, pooling), None
    return (run.load_encoder() if pooling is None else SentenceEncoder.from_pretrained(run.encoder_path, pooling)), run


# What the commands of all measures share


def measure_parser(measure: str, description: str, resamples: int) -> argparse.ArgumentParser:
    """Arguments that the command of every measure has; ``resamples`` is the default of ``--bootstrap``."""
    line = argparse.ArgumentParser(prog=f"hncse {measure}", description=description)
    add = line.add_argument
    add_encoder(line)
    add("--bootstrap", type=int, default=resamples, help=f"resamples behind each interval (default {resamples})")
    add("--seed", type=int, default=0, help="seed of the resampling")
    add("--json", help="write the result there as well")
    return line


def add_encoder(line: argparse.ArgumentParser) -> None:
    """Add the encoder and its pooling to a command's arguments."""
    line.add_argument("encoder", help="a run's name or folder, 'latest', 'kit', 'minilm', or a Hugging Face encoder")
    add_pooling(line)


def add_pooling(line: argparse.ArgumentParser) -> None:
    """Add ``--pooling``."""
    from hncse.training.config import POOLINGS

    line.add_argument("--pooling", help=f"{', '.join(POOLINGS)}; default: as the encoder was saved")


def deliver(
    measure: str, result: dict[str, Any], lines: Iterable[str], options: argparse.Namespace, run: Run | None
) -> int:
    """Write a result to ``--json`` and into its run, print its table; returns the exit code.

    ``run`` is the one whose own score it is, of the name ``measure``; with another pooling than the run's it is not.
    """
    if options.json:
        write_json(Path(options.json), result)
    if run is not None and options.pooling is None:
        run.write(measure, result)
    sys.stdout.writelines(line + "\n" for line in lines)
    return 0


def span(interval: Sequence[float]) -> str:
    """An interval in print: ``[71.2, 73.9]``."""
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]"


def percent(value: float, interval: Sequence[float] | None) -> str:
    """A value in print, with its interval if it has one: ``72.5 [71.2, 73.9]``."""
    return f"{value:.1f}" if interval is None else f"{value:.1f} {span(interval)}"
