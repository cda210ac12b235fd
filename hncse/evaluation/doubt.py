"""Two doubts at once, and one number for many tasks: seeds and sentence pairs; how often a method beats another.

    value, low, high = seeds_and_pairs(hnm_runs, simcse_runs)        # STS average, points
    improvement(results.recorded("sweep"))                           # a row a method

A t-interval over seeds takes the benchmark's sentences as given, a bootstrap over its pairs the trained weights. A
difference that other seeds and other sentences would show must stand both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.evaluation import results
from hncse.evaluation.resampling import draw_groups, interval, spearman

if TYPE_CHECKING:
    import pandas as pd

    from hncse.runs import Run

__all__ = ["Task", "crossed", "improvement", "seeds_and_pairs"]

Floats = NDArray[np.float64]
#: Cosines (S, P) of a method's S runs on a task's P pairs, the baseline's with the same seeds, gold scores (P,).
Task = tuple[Floats, Floats, Floats]


def crossed(tasks: Sequence[Task], resamples: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """Bootstrap a difference of mean Spearman × 100 over seeds and pairs at once.

    Each resample draws seeds, the same for all tasks and for both arms, and of each task its pairs, the same for all
    seeds. Deviations between seeds are stretched by √(S/(S-1)), what a mean over S draws of S shrinks them by. A test
    simulates the coverage: not below 90 % of a nominal 95 % with six seeds.

    Args:
        tasks: At least one; S ≥ 2.
        resamples: B.
        seed: Of the resampling.

    Returns:
        Method minus baseline, mean over seeds and tasks, and its 95 % percentile interval.

    Raises:
        HncseError: Arms of different shapes, or fewer than two seeds.
    """
    shapes = {(method.shape, baseline.shape) for method, baseline, _ in tasks}
    seeds = {shape[0] for pair in shapes for shape in pair}
    if len(seeds) != 1 or min(seeds) < 2 or any(a != b for a, b in shapes):
        raise HncseError(
            f"arms have shapes {sorted(shapes)}; both need the same seeds, two or more, and the same pairs"
        )
    (count,) = seeds
    whole, drawn = np.zeros(count), np.zeros((count, resamples))
    for place, (method, baseline, gold) in enumerate(tasks):
        pair = np.arange(len(gold))  # each pair is a group of its own
        counts = np.vstack([np.ones(len(pair)), draw_groups(len(pair), resamples, seed + place)])
        for i, (a, b) in enumerate(zip(method, baseline, strict=True)):
            each = 100 * (spearman(a, gold, pair, counts) - spearman(b, gold, pair, counts)) / len(tasks)  # (1 + B,)
            whole[i] += each[0]
            drawn[i] += each[1:]
    weight = draw_groups(count, resamples, seed + len(tasks)).T / count  # (S, B)
    middle = drawn.mean(axis=0)  # (B,)
    values = middle + ((drawn - middle) * weight).sum(axis=0) * (count / (count - 1)) ** 0.5
    low, high = interval(values) or (np.nan, np.nan)
    return float(whole.mean()), float(low), float(high)


def seeds_and_pairs(
    method: Sequence[Run], baseline: Sequence[Run], names: Sequence[str] | None = None, resamples: int = 1000
) -> tuple[float, float, float]:
    """`crossed` on the STS test splits, from finished runs of two methods; runs are paired by their seeds.

    Args:
        method: Runs of one method, one a seed.
        baseline: Runs of the other.
        names: Tasks; None: all seven.
        resamples: B.

    Raises:
        HncseError: Fewer than two seeds in common.
    """
    from hncse.evaluation import sts

    arms = [{run.config["seed"]: run for run in runs} for runs in (method, baseline)]
    common = sorted(arms[0].keys() & arms[1].keys())
    if len(common) < 2:
        raise HncseError(f"seeds {sorted(arms[0])} and {sorted(arms[1])} have {len(common)} in common; two are needed")
    scored = [[sts.similarities(arm[seed].load_encoder(), names) for seed in common] for arm in arms]
    tasks = [
        (*(np.stack([run[task][0] for run in runs]) for runs in scored), scored[0][0][task][1]) for task in scored[0][0]
    ]
    return crossed(tasks, resamples)  # type: ignore[arg-type]


def improvement(
    frame: pd.DataFrame, baseline: str = "simcse", tasks: Sequence[str] = results.STS, resamples: int = 2000
) -> pd.DataFrame:
    """Chance that a run of a method beats a run of the baseline on a task, mean over tasks (rliable, arXiv:2108.13264).

    A pair of runs with equal scores counts half. The interval is a bootstrap over the runs of both, each with all of
    its tasks. 0.5 is no difference, and says nothing of its size.

    Args:
        frame: From `hncse.evaluation.results`, each method of ``name`` in one setting.
        baseline: Its name, as `hncse.evaluation.results.named` gives it.
        tasks: Measures.
        resamples: B.

    Returns:
        A row a method, its name the index: ``value``, ``low``, ``high``, and a column a task.
    """
    import pandas as pd

    rows = frame[frame["measure"].isin(tasks) & (frame["kind"] == "trained")]
    rows = results.named(rows.drop_duplicates(["group", "seed", "measure"], keep="last"))
    wide = rows.pivot_table("value", ["name", "seed"], "measure", sort=False)[list(tasks)].dropna()
    if baseline not in wide.index.get_level_values("name"):
        raise HncseError(f"no run of {baseline!r} has all of {', '.join(tasks)}")
    base, table = wide.loc[baseline].to_numpy(), {}  # (R, T)
    for name, part in wide.groupby(level="name", sort=False):
        if name == baseline:
            continue
        own = part.to_numpy()  # (S, T)
        wins = (own[:, None] > base).astype(float) + (own[:, None] == base) / 2  # (S, R, T)
        counts = [draw_groups(len(arm), resamples, seed) / len(arm) for seed, arm in enumerate((own, base))]
        drawn = np.einsum("bs,sr,br->b", counts[0], wins.mean(axis=2), counts[1])  # (B,)
        low, high = interval(drawn) or (np.nan, np.nan)
        each = dict(zip(tasks, wins.mean(axis=(0, 1)), strict=True))
        table[name] = {"value": wins.mean(), "low": low, "high": high, **each}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("name")
