"""Is a difference real? Methods against a baseline over seeds, with intervals, Holm's correction and a verdict.

    rows = compare(run_scores(), "simcse")       # scores: method → seed → score
    print(to_markdown(rows))

A verdict is "better" or "worse" where the t-test's p, corrected by Holm over all methods of the table, is at most
alpha, and "not told apart" otherwise: that is no proof of equality, and the row says how many seeds it would take.
How far two runs of one method differ by luck: `luck`, `best_of`; seeds for an effect: `seeds_needed`, `power`. The
doubt within one run, over sentence pairs, is in its sts.json (`hncse.evaluation.sts.bootstrap_interval`).

``python -m hncse.evaluation.statistics --baseline simcse`` prints the verdicts for the runs there are, each training
for itself (``--across``: all trainings of one encoder and corpus together); ``--seeds-needed EFFECT --sd SD`` counts
seeds. Taught in notebooks/07_is_it_real.ipynb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from hncse.errors import HncseError, command, unknown
from hncse.evaluation._intervals import (
    RESAMPLES,
    Difference,
    Summary,
    bootstrap_t,
    difference,
    holm,
    summarise,
)
from hncse.evaluation._luck import POWER, best_of, best_of_normal, half_width, luck, luck_normal, power, seeds_needed
from hncse.evaluation._run_scores import MEASURES, against, by_setting, by_training, measure_name, run_scores, tuned
from hncse.evaluation._verdicts import Comparison, compare, to_markdown
from hncse.evaluation.tables import markdown
from hncse.runs import Run, find, list_runs

__all__ = [
    "MEASURES",
    "Comparison",
    "Difference",
    "Summary",
    "against",
    "best_of",
    "best_of_normal",
    "bootstrap_t",
    "by_setting",
    "by_training",
    "compare",
    "difference",
    "half_width",
    "holm",
    "luck",
    "luck_normal",
    "power",
    "run_scores",
    "seeds_needed",
    "summarise",
    "to_markdown",
    "tuned",
]


def _seed_lines(options: argparse.Namespace) -> Iterator[str]:
    effect, sd, paired = options.seeds_needed, options.sd, options.paired
    if sd is None:
        raise HncseError("--seeds-needed takes --sd as well: the standard deviation over seeds, 0.84 for BERT-base")
    n = seeds_needed(effect, sd, alpha=options.alpha, target=options.power, paired=paired)
    what = "of the paired differences, two-sided paired" if paired else "over seeds, two-sided"
    yield (
        f"A difference of {abs(effect):g} at sd {sd:g} {what} t-test at {options.alpha:g}, {100 * options.power:g} % "
        f"power: {n} {'pairs of runs with one seed' if paired else 'seeds for each method'}.\n"
    )
    counts = sorted({2, 3, 5, 8, 12, 20, n - 1, n} - {1})
    chances = [power(effect, sd, count, alpha=options.alpha, paired=paired) for count in counts]
    body = [["power", *(f"{100 * chance:.1f} %" for chance in chances)]]
    yield markdown(["seeds", *map(str, counts)], body)


def _verdict_texts(options: argparse.Namespace) -> Iterator[str]:
    from hncse.evaluation.results import gather

    runs: list[Run] = [find(name) for name in options.runs] or (
        gather(table=options.csv) if options.csv else list_runs()
    )
    if options.encoder is not None:
        runs = [run for run in runs if run.config["parameters"]["encoder"] == options.encoder]
    scored = {
        setting: scores
        for setting, part in (by_setting(runs) if options.across else by_training(runs)).items()
        if (scores := run_scores(part, options.measure, solver=options.solver))
    }
    if not scored:
        raise HncseError(
            f"none of {len(runs)} runs has a score of {options.measure!r}; train and judge some: make train"
        )
    if not any(options.baseline in scores for scores in scored.values()):
        raise unknown("baseline", options.baseline, {name for scores in scored.values() for name in scores})
    for setting, scores in scored.items():
        if options.baseline not in scores:
            yield f"{setting}: no run of {options.baseline}; only {', '.join(scores)}.\n"
            continue
        rows = compare(scores, options.baseline, alpha=options.alpha, resamples=options.resamples)
        about = f"{setting}; {measure_name(options.measure, options.solver)}"
        yield to_markdown(rows, about, effect=options.effect, target=options.power)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.evaluation.statistics",
        description="Compare methods with a baseline over seeds, or count the seeds that an effect takes.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names or folders of runs; default: all")
    parser.add_argument("--csv", type=Path, help="results of hncse.evaluation.results, in place of run folders")
    parser.add_argument("--baseline", default="simcse", help="method to compare with (default simcse)")
    parser.add_argument(
        "--across", action="store_true",
        help="all trainings of one encoder and corpus in one table; name one: --baseline 'simcse, temperature=0.1'",
    )  # fmt: skip
    parser.add_argument("--measure", default="sts", help=f"one of {' '.join(MEASURES)} (default sts)")
    parser.add_argument("--encoder", help="only runs of this encoder")
    parser.add_argument("--solver", default="fast", help="whose transfer results: fast (default) or senteval")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of a false verdict in a table (default 0.05)")
    parser.add_argument("--power", type=float, default=POWER, help=f"wanted when seeds are counted (default {POWER})")
    parser.add_argument("--effect", type=float, help="a difference that matters: say what it takes to see it")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"of the bootstrap (default {RESAMPLES})")
    parser.add_argument("--seeds-needed", type=float, metavar="EFFECT", help="count the seeds for this difference")
    parser.add_argument("--sd", type=float, help="with --seeds-needed: standard deviation over seeds")
    parser.add_argument("--paired", action="store_true", help="with --seeds-needed: SD is that of paired differences")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    texts = _verdict_texts(options) if options.seeds_needed is None else _seed_lines(options)
    sys.stdout.write("\n".join(texts).rstrip("\n") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
