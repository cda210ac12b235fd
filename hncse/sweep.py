"""A grid of runs: presets × seeds on one corpus, each trained and judged, then one table.

    python -m hncse.sweep --losses simcse pm-intended hnm-no-replacement --seeds 0 1 2 --corpus wikipedia

Finished runs are found by their key and not trained again, so a sweep that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.errors import command

if TYPE_CHECKING:
    from hncse.runs import Run
    from hncse.training import TrainingConfig

__all__ = ["grid", "sweep"]

LOSSES = ("simcse", "pm-intended", "hnm-no-replacement")


def grid(losses: Sequence[str], seeds: Sequence[int], **settings: Any) -> list[TrainingConfig]:
    """Every preset with every seed, seeds outermost, so that an unfinished sweep still compares all presets.

    Args:
        losses: Presets.
        seeds: Training seeds.
        **settings: Other fields of `hncse.training.TrainingConfig`, the same for all.
    """
    from hncse.training import TrainingConfig

    return [TrainingConfig.from_dict({**settings, "loss": loss, "seed": seed}) for seed in seeds for loss in losses]


def sweep(configs: Sequence[TrainingConfig], transfer: bool = False) -> Iterator[Run]:
    """Train and measure one run after the other; yields each when its results lie in its folder.

    Args:
        configs: One a run.
        transfer: Measure the transfer tasks as well.
    """
    from hncse.evaluation import report
    from hncse.training import train

    for config in configs:
        run = report.judge(train(config), show_progress=False)
        yield report.judge_transfer(run) if transfer else run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.sweep",
        description="Train presets × seeds, judge them on STS and the probe, print one table with intervals.",
    )
    parser.add_argument(
        "--losses", nargs="+", default=list(LOSSES), metavar="PRESET", help=f"default {' '.join(LOSSES)}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default 0 1 2")
    parser.add_argument("--encoder", default="kit", help="default kit")
    parser.add_argument("--corpus", default="wikipedia", help="default wikipedia (needs HNCSE_DATA)")
    parser.add_argument("--limit", default="20000", help="sentences, or None (default 20000)")
    parser.add_argument("--transfer", action="store_true", help="measure the seven transfer tasks as well")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other training parameters")
    parser.add_argument("--csv", help="write the table there as well (transfer: with -transfer in its name)")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    from hncse.data import senteval
    from hncse.evaluation import probe_table, tables
    from hncse.runs import write_text
    from hncse.training import parse_value

    pairs = [f"encoder={options.encoder}", f"corpus={options.corpus}", f"limit={options.limit}", *options.set]
    done = []
    settings = {name: parse_value(name, value) for name, _, value in (pair.partition("=") for pair in pairs)}
    configs = grid(options.losses, options.seeds, **settings)
    senteval.fetch(options.transfer)  # where files are missing; or an error now, not after the first training
    for i, run in enumerate(sweep(configs, options.transfer), 1):
        sys.stderr.write(f"{i} of {len(configs)}: {run.name}\n")
        done.append(run)
    made = {"": tables.sts_table(done, published=False)}
    if options.transfer:
        made["-transfer"] = tables.transfer_table(done, published=False)
    sys.stdout.write(probe_table.to_markdown(probe_table.rows(done)) + "\n")
    for suffix, table in made.items():
        sys.stdout.write(tables.to_markdown(table) + "\n")
        if options.csv:
            path = Path(options.csv)
            write_text(path.with_stem(path.stem + suffix), table.to_csv(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
