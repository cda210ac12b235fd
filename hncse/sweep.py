"""A grid of runs, presets × seeds × corpora × options: each trained and judged, then one table.

    python -m hncse.sweep --losses simcse pm-intended hnm-no-replacement --seeds 0-11 --transfer
    python -m hncse.sweep --losses simcse hnm-no-replacement --grid k=3,5,10 --limit 5000 --no-test

Finished runs are found by their key and not made again, and an interrupted one resumes from its checkpoint: start a
sweep that was cut off once more. Start it as often as you like, on as many machines as share the folder of runs
(HNCSE_RUNS): each process makes one run at a time, and none makes what another has claimed (`hncse._sweep_claims`).
"""

from __future__ import annotations

import argparse
import gc
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import _sweep_claims as claims
from hncse.errors import HncseError, command
from hncse.runs import Run, root

if TYPE_CHECKING:
    from hncse.training import TrainingConfig

__all__ = ["Outcome", "Plan", "grid", "plan", "state", "sweep"]

LOSSES = ("simcse", "pm-intended", "hnm-no-replacement")


@dataclass(frozen=True)
class Plan:
    """One run to be made: what, and where it will lie."""

    config: TrainingConfig
    run: Run


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``state`` "done", "elsewhere" (another process has it) or "failed", with why."""

    plan: Plan
    state: str
    why: str = ""


def grid(losses: Sequence[str], seeds: Sequence[int], **settings: Any) -> list[TrainingConfig]:
    """Every preset with every seed, seeds outermost, so that an unfinished sweep still compares all presets.

    Args:
        losses: Presets.
        seeds: Training seeds.
        **settings: Other fields of `hncse.training.TrainingConfig`, the same for all.
    """
    from hncse.training import TrainingConfig

    return [TrainingConfig.from_dict({**settings, "loss": loss, "seed": seed}) for seed in seeds for loss in losses]


def plan(configs: Sequence[TrainingConfig]) -> list[Plan]:
    """Find each run's folder, which its key names.

    Raises:
        HncseError: A corpus or an encoder that is not there.
    """
    from hncse._sweep_grid import locate

    return [Plan(config, run) for config, run in zip(configs, locate(configs), strict=True)]


def state(run: Run, test: bool = True, transfer: bool = False, stale_after: float = claims.STALE_AFTER) -> str:
    """Say how far a run is: "done", "trained" (not judged), "interrupted", "to do", or who is making it."""
    from hncse.evaluation import report

    if report.judged(run, test=test, transfer=transfer):
        return "done"
    who = claims.holder(run.path.parent, run.name, stale_after)
    if who is not None:
        return f"made by {who['host']}, process {who['pid']}, since {who['since']}"
    return "trained" if run.finished else "interrupted" if run.has("config") else "to do"


def sweep(
    plans: Sequence[Plan],
    *,
    test: bool = True,
    transfer: bool = False,
    stale_after: float = claims.STALE_AFTER,
) -> Iterator[Outcome]:
    """Train and judge one run after the other, leaving out what is done and what others have claimed.

    Args:
        plans: From `plan`.
        test: Judge on the STS test splits; False leaves them unread (STS-B dev and the probe only).
        transfer: Judge on the transfer tasks as well.
        stale_after: Seconds without a sign of life after which another process's claim counts for nothing.

    Yields:
        An outcome for each run, "elsewhere" last: those are tried again as long as this process has made another.
    """
    waiting, made = list(plans), True
    while waiting and made:
        made, again = False, []
        for one in waiting:
            outcome = _make(one, test, transfer, stale_after)
            if outcome is None:
                again.append(one)
            else:
                made = made or not outcome.why.startswith("already")
                yield outcome
        waiting = again
    yield from (Outcome(one, "elsewhere") for one in waiting)


def _make(one: Plan, test: bool, transfer: bool, stale_after: float) -> Outcome | None:
    """Make one run; None where another process is at it."""
    from hncse.evaluation import report

    run = one.run
    if report.judged(run, test=test, transfer=transfer):
        return Outcome(one, "done", "already")
    with claims.claim(run.path.parent, run.name, stale_after) as mine:
        if mine is None:
            return None
        if report.judged(run, test=test, transfer=transfer):  # by whoever held it a moment ago
            return Outcome(one, "done", "already")
        try:
            _train_and_judge(one, mine, test, transfer)
        except claims.ClaimLost:
            return None
        except Exception as error:  # one run's trouble, out of memory for example, is not the sweep's
            return Outcome(one, "failed", _reason(error))
        finally:
            _free()
    return Outcome(one, "done")


def _train_and_judge(one: Plan, mine: claims.Claim, test: bool, transfer: bool) -> None:
    from hncse.evaluation import report
    from hncse.training import train

    run = train(one.config, on_log=lambda _: mine.check())
    mine.check()
    report.judge(run, "auto" if test else "probe", show_progress=False)
    if transfer:
        report.judge_transfer(run)


def _reason(error: Exception) -> str:
    if isinstance(error, HncseError):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


def _free() -> None:
    """Give memory back before the next run."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.sweep",
        description="Train presets × seeds × corpora × options, judge them, print one table with intervals. Any number "
        "of processes and machines may share a folder of runs (HNCSE_RUNS); finished runs are kept.",
    )
    add = parser.add_argument
    add("--losses", nargs="+", default=list(LOSSES), metavar="PRESET", help=f"default {' '.join(LOSSES)}")
    add("--seeds", nargs="+", default=["0-2"], metavar="N", help="numbers and ranges, such as 0-11 (default 0-2)")
    add("--encoder", default="kit", help="default kit")
    add("--corpora", "--corpus", nargs="+", default=["wikipedia"], metavar="CORPUS", help="default wikipedia")
    add("--limit", default="6400", help="sentences, or None (default 6400)")
    add("--grid", nargs="+", default=[], metavar="NAME=V,V", help="values to cross: loss options, training parameters")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="the same for all runs: what --grid takes")
    add("--transfer", action="store_true", help="measure the seven transfer tasks as well")
    add("--no-test", action="store_true", help="read no test split: STS-B dev and the probe only, for choosing")
    add("--stale-after", type=float, default=claims.STALE_AFTER, metavar="SECONDS",
        help="silence after which another process's run is taken over (default 300)")  # fmt: skip
    add("--csv", help="write the table there as well (transfer: with -transfer in its name)")
    add("--dry-run", action="store_true", help="list the runs and how far they are; make none")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 1 if a run failed."""
    options = _parser().parse_args(arguments)
    from hncse.data import senteval

    if options.no_test and options.transfer:
        raise HncseError("--transfer reads test rows; leave out one of --no-test and --transfer")
    configs = _configs(options)
    if not (options.no_test or options.dry_run):
        senteval.fetch(options.transfer)  # where files are missing; or an error now, not after the first training
    plans = plan(configs)
    judged = {"test": not options.no_test, "transfer": options.transfer}
    if options.dry_run:
        return _dry_run(plans, {**judged, "stale_after": options.stale_after})
    counts: Counter[str] = Counter()
    for outcome in sweep(plans, stale_after=options.stale_after, **judged):
        counts[outcome.state] += 1
        line = f"{sum(counts.values())} of {len(plans)}: {outcome.plan.run.name} {outcome.state} {outcome.why}"
        sys.stderr.write(line.rstrip() + "\n")
    done = [one.run for one in plans if state(one.run, **judged) == "done"]
    _print_tables(done, options)
    left = ", ".join(f"{counts[name]} {text}" for name, text in _LEFT.items() if counts[name])
    sys.stderr.write(f"{len(done)} of {len(plans)} runs are done in {plans[0].run.path.parent}{left and '; ' + left}\n")
    return 1 if counts["failed"] else 0


_LEFT = {"elsewhere": "still being made elsewhere", "failed": "failed"}


def _configs(options: argparse.Namespace) -> list[TrainingConfig]:
    from hncse import _sweep_grid as words
    from hncse.training import parse_value

    settings = {"encoder": options.encoder, "limit": parse_value("limit", options.limit)}
    settings |= words.parse_settings(options.set)
    seeds, crossed = words.parse_seeds(options.seeds), words.parse_grid(options.grid)
    return words.crossed(options.losses, seeds, options.corpora, settings, crossed)


def _dry_run(plans: Iterable[Plan], judged: dict[str, Any]) -> int:
    from hncse.evaluation.tables import method_name

    counts: Counter[str] = Counter()
    for one in plans:
        how_far = state(one.run, **judged)
        counts["made elsewhere" if how_far.startswith("made") else how_far] += 1
        config = one.config
        what = method_name({"loss": config.loss, "loss_options": config.loss_options})
        sys.stdout.write(f"{one.run.name:40} {how_far:12} {what}, seed {config.seed}, {config.corpus}\n")
    sys.stdout.write(", ".join(f"{count} {name}" for name, count in counts.items()) + f": {root()}\n")
    return 0


def _print_tables(done: Sequence[Run], options: argparse.Namespace) -> None:
    from hncse.evaluation import probe_table, tables
    from hncse.files import write_text

    if not done:
        return
    sys.stdout.write(probe_table.to_markdown(probe_table.rows(done)) + "\n")
    made = {} if options.no_test else {"": tables.sts_table(done, published=False)}
    if options.transfer:
        made["-transfer"] = tables.transfer_table(done, published=False)
    for suffix, table in made.items():
        sys.stdout.write(tables.to_markdown(table) + "\n")
        if options.csv:
            path = Path(options.csv)
            write_text(path.with_stem(path.stem + suffix), table.to_csv(index=False))


if __name__ == "__main__":
    sys.exit(main())
