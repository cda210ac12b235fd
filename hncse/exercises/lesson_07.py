"""Exercises of notebooks 07a to 07c, is it real?"""

from __future__ import annotations

from itertools import combinations
from math import ceil, inf, sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np

from hncse.exercises.core import exercise, hint


@hint("""
    `combinations(scores, k)` lists every set of `k` runs that could have been made. What does an author print who made
    one such set and keeps its best run? What would the mean of all runs have been?""")
@exercise("07.1", "The best of k", difficulty=1, importance=2, minutes=10,
    praise="Over the 50 published BERT-base seeds, `statistics.best_of` counts the same without listing two million "
    "sets: about one point for k = 5. That is the size of many a published improvement.")  # fmt: skip
def gain_of_best(scores: list[float], k: int) -> float:
    """Return how many points are gained, on average, by printing the best of `k` runs in place of a typical one.

    `scores` holds one run a seed, all of one method; every set of `k` different runs is equally likely to be the one
    that was made. `k` is at most the number of runs.
    """
    best = [max(chosen) for chosen in combinations(scores, k)]
    return mean(best) - mean(scores)


@gain_of_best.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(1, 7))
    return (rng.choice([60, -20]) + 2 * rng.normal(size=n)).round(1).tolist(), int(rng.integers(1, n + 1))


gain_of_best.by_hand({
    "With k = 1 there is nothing to choose: the gain is 0, not {seen:.3f}.": ([70.0, 72.0, 77.0], 1),
    "All three tried: the best is always 77, the mean 73, the gain 4; not {seen:.3f}.": ([70.0, 72.0, 77.0], 3),
    "Two of three were run: the sets are (70, 72), (70, 77) and (72, 77), their bests 72, 77, 77: 2.333, not "
    "{seen:.3f}.": ([70.0, 72.0, 77.0], 2),
})  # fmt: skip
gain_of_best.mistaken({
    "You take the best of all runs, but only k were made.": ("mean(best)", "(max(scores) if k > 1 else mean(scores))"),
    "Two seeds are two different runs: `combinations`, not `product`.":
        ("combinations(scores, k)", "np.array(np.meshgrid(*[scores] * k)).reshape(k, -1).T"),
})  # fmt: skip


@hint("Two questions, in this order: does the interval exclude 0? On which side does it lie?")
@exercise("07.2", "What may be said of this row?", difficulty=1, importance=3, minutes=5, builds=True,
    praise="Of a table with many rows the kit asks more: its verdict is Holm's, so a row whose own interval just "
    "excludes 0 may still read `not told apart`.")  # fmt: skip
def verdict(low: float, high: float, matters: float) -> str:
    """Return what a table may say of a difference whose interval is `[low, high]`: one of four words.

    - `"better"` or `"worse"`: the interval excludes 0;
    - `"alike"`: it holds 0, and no difference as large as `matters` (points, above 0) is compatible with it;
    - `"unknown"`: it holds 0, and a difference that matters as well.

    An end that is exactly 0, or exactly `matters` from it, belongs to the interval. One row alone, no correction for
    looking many times.
    """
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "alike" if max(-low, high) < matters else "unknown"


@verdict.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    matters = float(rng.choice([0.5, 1.0, 2.0]))
    low, high = sorted(rng.choice([-3, -2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3], 2))
    return float(low), float(high), matters


verdict.by_hand({
    "[+0.2, +1.8] excludes 0 and lies above it: better, by how much is open.": (0.2, 1.8, 1.0),
    "[-1.8, -0.2] lies below 0: worse.": (-1.8, -0.2, 1.0),
    "[-2.0, +2.4] holds 0, but it holds +2 and -2 as well. That nothing was seen is no proof that nothing is "
    "there: unknown, not {seen!r}.": (-2.0, 2.4, 1.0),
    "[-0.3, +2.4] still holds +2: unknown.": (-0.3, 2.4, 1.0),
    "[-2.4, +0.3] holds -2: unknown. Look at both ends.": (-2.4, 0.3, 1.0),
    "[-0.3, +0.4] excludes every difference of 1 point: alike, and that is a result.": (-0.3, 0.4, 1.0),
    "[-0.7, +0.8] is 1.5 wide, and excludes every difference of 1 point either way: alike.": (-0.7, 0.8, 1.0),
    "However wide: what excludes 0 has a sign.": (0.1, inf, 1.0),
    "[0, +0.4] holds 0, its own end: alike, not {seen!r}.": (0.0, 0.4, 1.0),
    "[-0.2, +1] holds a difference of exactly 1: unknown, not {seen!r}.": (-0.2, 1.0, 1.0),
})  # fmt: skip
verdict.mistaken({
    "That nothing was seen is no proof that nothing is there: does the interval hold what would matter?":
        ('"alike" if max(-low, high) < matters else "unknown"', '"alike"'),
    "The middle of the interval decides nothing; its ends do.":
        ("if low > 0", "if (low + high) / 2 > matters", "if high < 0", "if (low + high) / 2 < -matters",
         '"alike" if max(-low, high) < matters else "unknown"', '"alike"'),
    "You ask how wide the interval is; ask what it holds. A narrow one can hold a difference that matters, and one "
    "wider than `matters` may exclude it on both sides.": ("max(-low, high)", "high - low"),
    "Half the width says what it holds only where it is centred on 0: look at both ends.":
        ("max(-low, high) < matters", "high - low < 2 * matters"),
})  # fmt: skip


@hint("""
    One number a seed: what did the method gain *with this seed*? Only seeds that both were run with can tell. Then the
    interval of the mean of those numbers: mean ± t · sd / √n, sd with n - 1.""")
@exercise("07.3", "A paired difference and its interval", difficulty=2, importance=3, minutes=15, builds=True,
    praise="`statistics.difference` does this, says how many seeds it used, and puts a bootstrap beside it."
)  # fmt: skip
def paired_interval(method: dict[int, float], baseline: dict[int, float], t: float) -> tuple[float, float]:
    """Return the ends, low and high, of the interval of a method's mean gain over the baseline, paired by seed.

    Both map a seed to a score; they share two seeds or more. `t` is the quantile of Student's t for n - 1 degrees of
    freedom, where n is the number of seeds they share (for example 4.303 for three seeds and 95 %).
    """
    gains = [method[seed] - baseline[seed] for seed in method if seed in baseline]
    half = t * stdev(gains) / sqrt(len(gains))
    return mean(gains) - half, mean(gains) + half


@paired_interval.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    seeds = rng.permutation(12)
    both, only = seeds[: rng.integers(2, 6)], seeds[6:]
    arms = []
    for extra in (only[:2], only[2:4]):
        order = rng.permutation(np.concatenate([both, extra[: rng.integers(0, 3)]]))
        arms.append({int(seed): round(float(rng.normal(60, 3)), 1) for seed in order})
    return *arms, round(float(rng.uniform(0.5, 5)), 3)


_METHOD, _BASELINE = {0: 71.0, 1: 75.0, 2: 73.0}, {0: 70.0, 1: 73.0, 2: 73.0}  # gains 1, 2, 0
paired_interval.by_hand({
    "The gains are 1, 2 and 0: their mean, 1, is the middle, half the width is 4.303 · 1 / √3 = 2.484: {right}, not "
    "{seen}. The low end comes first.": (_METHOD, _BASELINE, 4.303),
    "Seeds 9 and 5 have no partner and are left out, and seed 0 is compared with seed 0 whatever the order of the "
    "dictionary: look scores up by seed. {right}, not {seen}.":
        (_METHOD | {9: 50.0}, {2: 73.0, 1: 73.0, 0: 70.0, 5: 90.0}, 4.303),
})  # fmt: skip
paired_interval.mistaken({
    "You add the variances of both methods, as if their seeds had nothing to do with each other. A good seed is good "
    "for both here; the difference of each seed is steadier than either score.":
        ("half = t * stdev(gains) / sqrt(len(gains))",
         "a, b = ([arm[seed] for seed in method if seed in baseline] for arm in (method, baseline))\n"
         "    half = t * sqrt((stdev(a) ** 2 + stdev(b) ** 2) / len(gains))"),
    "sd is how far single seeds scatter; the mean of n is √n times steadier.": (" / sqrt(len(gains))", ""),
    "Divide by n - 1 in the sd: three gains leave only two free deviations.": ("stdev(gains)", "np.std(gains)"),
    "You pair by the order of the dictionaries; look scores up by seed.":
        ("[method[seed] - baseline[seed] for seed in method if seed in baseline]",
         "[a - b for a, b in zip(method.values(), baseline.values(), strict=False)]"),
})  # fmt: skip


@hint("""
    The difference of two means of n seeds has the standard deviation sd · √(2/n). It must be so small that `effect` is
    `z_alpha + z_power` of them. Solve for n, and round so that the promise is kept.""")
@exercise("07.4", "How many seeds does it take?", difficulty=2, importance=2, minutes=10,
    praise="For BERT-base, sd 0.84 and an effect of 1: 12 by this formula, 13 by `statistics.seeds_needed`, which uses "
    "Student's t, since the sd is not known but estimated from the same few seeds.")  # fmt: skip
def seeds_for(effect: float, sd: float, z_alpha: float = 1.96, z_power: float = 0.8416) -> int:
    """Return the seeds that *each* of two methods needs for a true difference of `effect` to be seen.

    `sd` is the standard deviation over seeds within a method. `z_alpha` and `z_power` are the normal quantiles of a
    two-sided test at 5 % and of 80 % power.
    """
    return ceil(2 * ((z_alpha + z_power) * sd / effect) ** 2)


@seeds_for.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    z = float(rng.choice([1.96, 2.5758, 1.6449])), float(rng.choice([0.8416, 1.2816, 0.5244]))
    return round(float(rng.uniform(0.2, 3)), 2), round(float(rng.uniform(0.2, 3)), 2), *z


seeds_for.by_hand({
    "Effect 1, sd 1: 2 · (1.96 + 0.8416)² = 15.7, so 16 seeds each; not {seen!r}.": (1.0, 1.0),
    "Half the effect takes four times the seeds: 62.8, so 63; not {seen!r}. Is there a square?": (0.5, 1.0),
    "Half the sd takes a quarter of the seeds: 3.9, so 4; not {seen!r}.": (1.0, 0.5),
    "A test at 1 % (z_alpha = 2.5758) takes more: 24, not {seen!r}.": (0.5, 0.5, 2.5758),
})  # fmt: skip
seeds_for.mistaken({
    "Both means are uncertain, not only the method's: the variance of their difference is 2 · sd² / n.": ("2 * (", "("),
    "15.7 seeds are not 15: with 15 the power is below what was promised. Round up.": ("ceil", "int"),
    "The ratio of sd and effect is squared: half the effect takes four times the seeds.":
        ("((z_alpha + z_power) * sd / effect) ** 2", "(z_alpha + z_power) ** 2 * sd / effect"),
})  # fmt: skip


@hint("""
    `max(dev, key=dev.get)` is the setting with the best score on dev. Each method has its own. What may you look up on
    test, and at which settings?""")
@exercise("07.5", "Each at its own best", difficulty=2, importance=3, minutes=10,
    praise="`statistics.tuned` chooses so; the table above is made with it.")  # fmt: skip
def gain_at_best(
    method_dev: dict[float, float],
    method_test: dict[float, float],
    baseline_dev: dict[float, float],
    baseline_test: dict[float, float],
) -> float:
    """Return how many points of test score a method is ahead of the baseline, each in the setting that dev prefers.

    Each dictionary maps a setting (a temperature, say) to a score; no two settings of a method have equal dev scores.
    Test is read where dev has chosen, nowhere else.
    """
    method, baseline = max(method_dev, key=method_dev.__getitem__), max(baseline_dev, key=baseline_dev.__getitem__)
    return method_test[method] - baseline_test[baseline]


@gain_at_best.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    settings = [0.05, 0.1, 0.2, 0.5][: rng.integers(1, 5)]

    def arm() -> list[dict[float, float]]:
        dev, test = rng.permutation(80)[: len(settings)], rng.integers(0, 160, len(settings)) / 2
        order = rng.permutation(len(settings))  # dev and test are listed in different orders
        return [{settings[i]: float(dev[i]) for i in order}, dict(zip(settings, map(float, test), strict=True))]

    return *arm(), *arm()


gain_at_best.by_hand({
    "One setting each: 66 - 65 = 1, not {seen:g}.": ({0.1: 72.0}, {0.1: 66.0}, {0.1: 70.0}, {0.1: 65.0}),
    "Method at 0.2, baseline at 0.1, for dev prefers these: 65.5 - 66.0 = -0.5, not {seen:g}.":
        ({0.1: 76.5, 0.2: 77.5}, {0.1: 66.5, 0.2: 65.5}, {0.1: 76.0, 0.2: 75.0}, {0.1: 66.0, 0.2: 64.5}),
    "The baseline's best setting is the one that dev prefers, 0.1, though test would rather have 0.2: 65 - 63 = 2, "
    "not {seen:g}.": ({0.1: 77.0, 0.2: 76.0}, {0.1: 65.0, 0.2: 64.0}, {0.1: 76.0, 0.2: 75.0}, {0.1: 63.0, 0.2: 66.0}),
})  # fmt: skip
gain_at_best.mistaken({
    "That is the difference on dev. Dev has chosen both settings, so it flatters both: report test.":
        ("method_test[method] - baseline_test[baseline]", "method_dev[method] - baseline_dev[baseline]"),
    "Both settings were chosen on test; test is read where dev has chosen, nowhere else.":
        ("method_test[method]", "max(method_test.values())", "baseline_test[baseline]", "max(baseline_test.values())"),
    "Your baseline's setting was chosen on test, the method's on dev: dev chooses for both.":
        ("baseline_test[baseline]", "max(baseline_test.values())"),
    "The method's setting was chosen on test, the baseline's on dev: dev chooses for both.":
        ("method_test[method]", "max(method_test.values())"),
    "You hold the baseline to the method's setting, where it is not at its best. Most gains of published tables would "
    "shrink if their baselines were tuned as their methods were.": ("baseline_test[baseline]", "baseline_test[method]"),
})  # fmt: skip


@hint("""
    Holm: sort the p-values. The smallest of m is multiplied by m, the next by m - 1, and so on. A later one may never
    come out below an earlier one, and none above 1. Give them back in the order in which they came.""")
@exercise("07.6", "Seven methods, one lucky p", difficulty=3, importance=2, minutes=20,
    praise="`statistics.holm`, on which every verdict of the kit rests. Try it on the table above.")  # fmt: skip
def holm(p: list[float]) -> list[float]:
    """Return the p-values after Holm's correction, in the same order.

    Compared with alpha they keep the chance of *any* false "better" in a table of m methods at alpha.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


holm.samples(lambda rng: ((rng.uniform(0, 1, rng.integers(1, 8)) ** rng.choice([1, 2, 3])).round(2).tolist(),))
holm.by_hand({
    "A single test needs no correction: [0.04], not {seen!r}.": ([0.04],),
    "[0.01, 0.02, 0.03] becomes [0.03, 0.04, 0.04], not {seen!r}.": ([0.01, 0.02, 0.03],),
    "Give them back in the order they came in; you return {seen!r}.": ([0.03, 0.01, 0.02],),
    "A probability is at most 1; you return {seen!r}.": ([0.6, 0.7],),
})  # fmt: skip
holm.mistaken({
    "That is Bonferroni: all times m. It is right, but it gives away power: once the smallest is rejected, only m - 1 "
    "hypotheses can still be true.": ("(len(p) - rank)", "len(p)"),
    "Whoever is not rejected stops the walk: no value may fall below that of a smaller p.":
        ("max(largest, min(1.0, (len(p) - rank) * p[i]))", "min(1.0, (len(p) - rank) * p[i])"),
    "You give them back sorted; keep the order in which they came.": ("return corrected", "return sorted(corrected)"),
    "A probability is at most 1: cut it off there.": ("min(1.0, (len(p) - rank) * p[i])", "(len(p) - rank) * p[i]"),
})  # fmt: skip
