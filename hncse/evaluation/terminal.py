"""What the commands of all measures share: their arguments, what becomes of a result, intervals in print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.training.config import POOLINGS

if TYPE_CHECKING:
    from hncse.runs import Run

__all__ = ["add_encoder", "add_pooling", "deliver", "parser", "percent", "span"]


def parser(measure: str, description: str, resamples: int) -> argparse.ArgumentParser:
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
    line.add_argument("--pooling", help=f"{', '.join(POOLINGS)}; default: as the encoder was saved")


def deliver(
    measure: str, result: dict[str, Any], lines: Iterable[str], options: argparse.Namespace, run: Run | None
) -> int:
    """Write a result to ``--json`` and into its run, print its table; returns the exit code.

    ``run`` is the one whose own score it is, of the name ``measure``; with another pooling than the run's it is not.
    """
    if options.json:
        from hncse.files import write_json

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
