"""Two doubts at once, and one number for many tasks: seeds and sentence pairs; how often a method beats another.

    seeds_and_pairs({"simcse": runs, "hnm-no-replacement": others}, "simcse")     # STS average, points
    improvement(results.recorded("sweep"))                                        # a row a method

A t-interval over seeds takes the benchmark's sentences as given, a bootstrap over its pairs the trained weights. A
difference that other seeds and other sentences would show must stand both (``hncse statistics --pairs``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError, unknown
from hncse.evaluation import results
from hncse.evaluation.resampling import draw_groups, interval, spearman

if TYPE_CHECKING:
    import pandas as pd

    from hncse.runs import Run

__all__ = ["RESAMPLES", "Task", "cosines", "crossed", "improvement", "seeds_and_pairs"]

RESAMPLES = 1000  # of seeds and pairs

Floats = NDArray[np.float64]
#: Cosines (S, P) of a method's S runs on a task's P pairs, the baseline's with the same seeds, gold scores (P,).
Task = tuple[Floats, Floats, Floats]


def crossed(tasks: Sequence[Task], resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
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
    method, baseline = _drawn([(np.stack([a, b]), gold) for a, b, gold in tasks], resamples, seed)
    return _over_seeds(method - baseline, seed + len(tasks))


def _drawn(tasks: Sequence[tuple[Floats, Floats]], resamples: int, seed: int) -> Floats:
    """Spearman × 100, mean over tasks, of cosines (…, P) with gold (P,): (…, 1 + B), the data themselves first."""
    total: Floats = np.zeros(())
    for place, (cosine, gold) in enumerate(tasks):
        pair = np.arange(len(gold))  # each pair is a group of its own
        counts = np.vstack([np.ones(len(pair)), draw_groups(len(pair), resamples, seed + place)])
        total = total + 100 * spearman(cosine, gold, pair, counts) / len(tasks)
    return total


def _over_seeds(difference: Floats, seed: int) -> tuple[float, float, float]:
    """Mean and interval of differences (S, 1 + B), from `_drawn`, seeds drawn as well."""
    count, drawn = len(difference), difference[:, 1:]
    weight = draw_groups(count, drawn.shape[1], seed).T / count  # (S, B)
    middle = drawn.mean(axis=0)  # (B,)
    values = middle + ((drawn - middle) * weight).sum(axis=0) * (count / (count - 1)) ** 0.5
    low, high = interval(values) or (np.nan, np.nan)
    return float(difference[:, 0].mean()), float(low), float(high)


def seeds_and_pairs(
    arms: Mapping[str, Sequence[Run]],
    baseline: str,
    names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[int, float, float, float]]:
    """`crossed` on the STS test splits, of several methods' finished runs against one; paired by their seeds.

    Args:
        arms: Method → its runs, one a seed.
        baseline: One of them.
        names: Tasks; None: all seven.
        resamples: B.

    Returns:
        Each other method → seeds in common, difference of the mean over tasks, and the ends of its 95 % interval.

    Raises:
        HncseError: No such baseline, fewer than two seeds in common, or runs scored on other pairs.
    """
    if baseline not in arms:
        raise unknown("baseline", baseline, arms)
    seeds = {name: {run.config["seed"]: run for run in runs} for name, runs in arms.items()}
    common = {name: sorted(own.keys() & seeds[baseline].keys()) for name, own in seeds.items()}
    for name, both in common.items():
        if len(both) < 2:
            given = f"seeds {sorted(seeds[name])} of {name} and {sorted(seeds[baseline])} of {baseline}"
            raise HncseError(f"{given} have {len(both)} in common; two are needed")
    used = {(name, seed): seeds[name][seed] for name, both in common.items() for seed in both}
    scored = [cosines(run, names, f"{place} of {len(used)}") for place, run in enumerate(used.values(), 1)]
    for run, own in zip(used.values(), scored, strict=True):
        if any(not np.array_equal(gold, scored[0][task][1]) for task, (_, gold) in own.items()):
            raise HncseError(f"run {run.name!r} was scored on other pairs than the first; remove its cosines.json")
    tasks = [(np.stack([own[task][0] for own in scored]), gold) for task, (_, gold) in scored[0].items()]
    rows = dict(zip(used, _drawn(tasks, resamples, 0), strict=True))
    return {
        name: (
            len(both),
            *_over_seeds(np.stack([rows[name, seed] - rows[baseline, seed] for seed in both]), len(tasks)),
        )
        for name, both in common.items()
        if name != baseline
    }


def cosines(run: Run, names: Sequence[str] | None = None, place: str = "") -> dict[str, tuple[Floats, Floats]]:
    """Cosines and gold scores (P,) of each STS task's test pairs, by a finished run's encoder.

    They are kept in the run's cosines.json: a task that is there is not embedded again, and needs no benchmark files.

    Args:
        run: The run.
        names: Tasks; None: all seven.
        place: Which of how many runs, for the line on stderr that says what is embedded.
    """
    from hncse.evaluation import sts

    wanted = sts.chosen(names, "test")
    stored = run.read("cosines") if run.has("cosines") else {"key": None, "tasks": {}}
    known = stored["tasks"] if stored["key"] == run.config.get("key") else {}
    if missing := [task for task in wanted if task not in known]:
        sys.stderr.write(f"embedding {', '.join(missing)}: {run.name} {place}".rstrip() + "\n")
        fresh = sts.similarities(run.load_encoder(), missing)
        known |= {task: {"cosine": c.tolist(), "gold": g.tolist()} for task, (c, g) in fresh.items()}
        run.write("cosines", {"key": run.config.get("key"), "tasks": known})
    return {task: (np.array(known[task]["cosine"]), np.array(known[task]["gold"])) for task in wanted}


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
