"""Exercises of notebook 07, is it real?"""

from __future__ import annotations

from itertools import combinations
from math import ceil, inf, isclose, sqrt
from statistics import mean, stdev

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("""
    `combinations(scores, k)` lists every set of `k` runs that could have been made. What does an author print who made
    one such set and keeps its best run? What would the mean of all runs have been?
    """)
@exercise("07.1", "The best of k", difficulty=1, minutes=10)
def gain_of_best(scores: list[float], k: int) -> float:
    """Return how many points are gained, on average, by printing the best of `k` runs in place of a typical one.

    `scores` holds one run a seed, all of one method; every set of `k` different runs is equally likely to be the one
    that was made.
    """
    best = [max(chosen) for chosen in combinations(scores, k)]
    return mean(best) - mean(scores)


@gain_of_best.checked_by
def _(answer: Answer) -> str:
    equal(answer([70.0, 72.0, 77.0], 1), 0, "With k = 1 there is nothing to choose: the gain is 0, not {seen:.3f}.")
    equal(
        answer([70.0, 72.0, 77.0], 3),
        4,
        "All three tried: the best is always 77, the mean 73, the gain 4; not {seen:.3f}.",
    )
    seen = answer([70.0, 72.0, 77.0], 2)
    expect(
        not isclose(seen, 4),
        "You take the best of all three, but only two were run. The sets are (70, 72), (70, 77) and (72, 77).",
    )
    expect(
        not isclose(seen, (72 + 77 + 77 + 70 + 72 + 77 + 72 + 77 + 77) / 9 - 73),
        "You let a run stand twice in one set. Two seeds are two different runs: `combinations`, not `product`.",
    )
    equal(seen, (72 + 77 + 77) / 3 - 73, "The bests are 72, 77, 77: the gain is 2.333, not {seen:.3f}.")
    return (
        "Over the 50 published BERT-base seeds, `statistics.best_of` counts the same without listing two million sets: "
        "about one point for k = 5. That is the size of many a published improvement."
    )


gain_of_best.mistakes |= {
    "the best of all runs": lambda scores, k: (max(scores) - mean(scores)) if k > 1 else 0.0,
}


@gain_of_best.mistake("a run may stand twice in a set")
def _(scores: list[float], k: int) -> float:
    from itertools import product

    return mean(max(chosen) for chosen in product(scores, repeat=k)) - mean(scores)


@hint("Two questions, in this order: does the interval exclude 0? On which side does it lie?")
@exercise("07.2", "What may be said of this row?", difficulty=1, minutes=5)
def verdict(low: float, high: float, matters: float) -> str:
    """Return what a table may say of a difference whose interval is `[low, high]`: one of four words.

    - `"better"` or `"worse"`: the interval excludes 0;
    - `"alike"`: it holds 0, and no difference as large as `matters` (points, above 0) is compatible with it;
    - `"unknown"`: it holds 0, and a difference that matters as well.
    """
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "alike" if max(-low, high) < matters else "unknown"


@verdict.checked_by
def _(answer: Answer) -> str:
    expect(answer(0.2, 1.8, 1.0) == "better", "[+0.2, +1.8] excludes 0 and lies above it: better, by how much is open.")
    expect(answer(-1.8, -0.2, 1.0) == "worse", "[-1.8, -0.2] lies below 0: worse.")
    seen = answer(-2.0, 2.4, 1.0)
    expect(
        seen != "alike",
        "[-2.0, +2.4] holds 0, but it holds +2 and -2 as well. That nothing was seen is no proof that nothing is "
        "there: these seeds cannot tell.",
    )
    equal(seen, "unknown", "[-2.0, +2.4] when 1 point matters: unknown, not {seen!r}.")
    expect(answer(-0.3, 2.4, 1.0) == "unknown", "[-0.3, +2.4] still holds +2: unknown.")
    expect(answer(-2.4, 0.3, 1.0) == "unknown", "[-2.4, +0.3] holds -2: unknown. Look at both ends.")
    expect(
        answer(-0.3, 0.4, 1.0) == "alike",
        "[-0.3, +0.4] excludes every difference of 1 point: alike, and that is a result.",
    )
    expect(answer(0.1, inf, 1.0) == "better", "However wide: what excludes 0 has a sign.")
    return (
        "The kit's verdict `not told apart` covers your last two; its interval, and the seeds it says it takes, tell "
        "them apart."
    )


verdict.mistakes |= {
    "no significance, no difference": lambda low, high, matters: (
        "better" if low > 0 else "worse" if high < 0 else "alike"
    ),
}


@verdict.mistake("the middle decides")
def _(low: float, high: float, matters: float) -> str:
    middle = (low + high) / 2
    return "better" if middle > matters else "worse" if middle < -matters else "alike"


@hint("""
    One number a seed: what did the method gain *with this seed*? Only seeds that both were run with can tell. Then the
    interval of the mean of those numbers: mean ± t · sd / √n, sd with n - 1.
    """)
@exercise("07.3", "A paired difference and its interval", difficulty=2, minutes=15)
def paired_interval(method: dict[int, float], baseline: dict[int, float], t: float) -> tuple[float, float]:
    """Return the ends, low and high, of the interval of a method's mean gain over the baseline, paired by seed.

    Both map a seed to a score. `t` is the quantile of Student's t for n - 1 degrees of freedom, where n is the number
    of seeds they share (for example 4.303 for three seeds and 95 %).
    """
    gains = [method[seed] - baseline[seed] for seed in method if seed in baseline]
    half = t * stdev(gains) / sqrt(len(gains))
    return mean(gains) - half, mean(gains) + half


@paired_interval.checked_by
def _(answer: Answer) -> str:
    method, baseline = {0: 71.0, 1: 75.0, 2: 73.0}, {0: 70.0, 1: 73.0, 2: 73.0}  # gains 1, 2, 0
    low, high = answer(method, baseline, 4.303)
    expect(low <= high, "The low end comes first.")
    expect(
        isclose((low + high) / 2, 1),
        f"The gains are 1, 2 and 0: their mean, 1, is the middle, not {low / 2 + high / 2:.3f}.",
    )
    half = (high - low) / 2
    expect(
        not isclose(half, 4.303 * sqrt((4 + 3) / 3), rel_tol=1e-6),
        "You add the variances of both methods, as if their seeds had nothing to do with each other. A good seed is "
        "good for both here; the difference of each seed is steadier than either score.",
    )
    expect(not isclose(half, 4.303 * 1), "sd is how far single seeds scatter; the mean of n is √n times steadier.")
    expect(
        not isclose(half, 4.303 * sqrt(2 / 3) / sqrt(3)), "Divide by n - 1 in the sd: three gains tell two deviations."
    )
    equal(half, 4.303 / sqrt(3), "Half the width is 4.303 · 1 / √3 = 2.484, not {seen:.3f}.")
    low, high = answer({0: 71.0, 1: 75.0, 2: 73.0, 9: 50.0}, {2: 73.0, 1: 73.0, 0: 70.0, 5: 90.0}, 4.303)
    expect(
        isclose((low + high) / 2, 1) and isclose((high - low) / 2, 4.303 / sqrt(3)),
        "Seeds 9 and 5 have no partner and are left out, and seed 0 is compared with seed 0 whatever the order of the "
        "dictionary: look scores up by seed.",
    )
    return "`statistics.difference` does this, says how many seeds it used, and puts a bootstrap beside it."


@paired_interval.mistake("two independent arms")
def _(method: dict[int, float], baseline: dict[int, float], t: float) -> tuple[float, float]:
    a, b = list(method.values()), list(baseline.values())
    value, half = mean(a) - mean(b), t * sqrt(stdev(a) ** 2 / len(a) + stdev(b) ** 2 / len(b))
    return value - half, value + half


@paired_interval.mistake("the sd of single seeds")
def _(method: dict[int, float], baseline: dict[int, float], t: float) -> tuple[float, float]:
    gains = [method[seed] - baseline[seed] for seed in method if seed in baseline]
    return mean(gains) - t * stdev(gains), mean(gains) + t * stdev(gains)


@paired_interval.mistake("paired by position")
def _(method: dict[int, float], baseline: dict[int, float], t: float) -> tuple[float, float]:
    gains = [a - b for a, b in zip(method.values(), baseline.values(), strict=True)]
    half = t * stdev(gains) / sqrt(len(gains))
    return mean(gains) - half, mean(gains) + half


@hint("""
    The difference of two means of n seeds has the standard deviation sd · √(2/n). It must be so small that `effect` is
    `z_alpha + z_power` of them. Solve for n, and round so that the promise is kept.
    """)
@exercise("07.4", "How many seeds does it take?", difficulty=2, minutes=10)
def seeds_for(effect: float, sd: float, z_alpha: float = 1.96, z_power: float = 0.8416) -> int:
    """Return the seeds that *each* of two methods needs for a true difference of `effect` to be seen.

    `sd` is the standard deviation over seeds within a method. `z_alpha` and `z_power` are the normal quantiles of a
    two-sided test at 5 % and of 80 % power.
    """
    return ceil(2 * ((z_alpha + z_power) * sd / effect) ** 2)


@seeds_for.checked_by
def _(answer: Answer) -> str:
    seen = answer(1.0, 1.0)
    expect(
        seen != 8,
        "Both means are uncertain, not only the method's: the variance of their difference is 2 · sd² / n.",
    )
    expect(seen != 15, "15.7 seeds are not 15: with 15 the power is below what was promised. Round up.")
    equal(seen, 16, "Effect 1, sd 1: 2 · (1.96 + 0.8416)² = 15.7, so 16 seeds each; not {seen!r}.")
    equal(
        answer(0.5, 1.0),
        63,
        "Half the effect takes four times the seeds: 62.8, so 63; not {seen!r}. Is there a square?",
    )
    equal(answer(1.0, 0.5), 4, "Half the sd takes a quarter of the seeds: 3.9, so 4; not {seen!r}.")
    equal(answer(0.5, 0.5, 2.5758), 24, "A test at 1 % (z_alpha = 2.5758) takes more: 24, not {seen!r}.")
    return (
        "For BERT-base, sd 0.84 and an effect of 1: 12 by this formula, 13 by `statistics.seeds_needed`, which uses "
        "Student's t, since the sd is not known but estimated from the same few seeds."
    )


seeds_for.mistakes |= {
    "one mean is known exactly": lambda effect, sd, z_alpha=1.96, z_power=0.8416: ceil(
        ((z_alpha + z_power) * sd / effect) ** 2
    ),
    "rounded down": lambda effect, sd, z_alpha=1.96, z_power=0.8416: int(2 * ((z_alpha + z_power) * sd / effect) ** 2),
    "no square": lambda effect, sd, z_alpha=1.96, z_power=0.8416: ceil(2 * (z_alpha + z_power) ** 2 * sd / effect),
}


@hint("""
    `max(dev, key=dev.get)` is the setting with the best score on dev. Each method has its own. What may you look up on
    test, and at which settings?
    """)
@exercise("07.5", "Each at its own best", difficulty=2, minutes=10)
def gain_at_best(
    method_dev: dict[float, float],
    method_test: dict[float, float],
    baseline_dev: dict[float, float],
    baseline_test: dict[float, float],
) -> float:
    """Return how many points of test score a method is ahead of the baseline, each in the setting that dev prefers.

    Each dictionary maps a setting (a temperature, say) to a score. Test is read where dev has chosen, nowhere else.
    """
    method, baseline = max(method_dev, key=method_dev.__getitem__), max(baseline_dev, key=baseline_dev.__getitem__)
    return method_test[method] - baseline_test[baseline]


@gain_at_best.checked_by
def _(answer: Answer) -> str:
    one = {0.1: 70.0}
    seen = answer({0.1: 72.0}, {0.1: 66.0}, one, {0.1: 65.0})
    expect(
        not isclose(seen, 2),
        "That is the difference on dev. Dev has chosen both settings, so it flatters both; test is what is reported.",
    )
    equal(seen, 1, "One setting each: 66 - 65 = 1, not {seen:g}.")
    dev, test = {0.1: 76.0, 0.2: 75.0}, {0.1: 66.0, 0.2: 64.5}
    seen = answer({0.1: 76.5, 0.2: 77.5}, {0.1: 66.5, 0.2: 65.5}, dev, test)
    expect(
        not isclose(seen, 66.5 - 66.0),
        "You took the method's best on *test*, or its score at the baseline's setting. Dev prefers 0.2 for the method.",
    )
    expect(
        not isclose(seen, 65.5 - 64.5),
        "You hold the baseline to the method's setting, 0.2, where it is not at its best. Most gains of published "
        "tables would shrink if their baselines were tuned as their methods were.",
    )
    equal(seen, 65.5 - 66.0, "Method at 0.2, baseline at 0.1: 65.5 - 66.0 = -0.5, not {seen:g}.")
    return "`statistics.tuned` chooses so; the last table of section 5 is made with it."


gain_at_best.mistakes |= {
    "dev is reported": lambda method_dev, method_test, baseline_dev, baseline_test: (
        max(method_dev.values()) - max(baseline_dev.values())
    ),
    "chosen on test": lambda method_dev, method_test, baseline_dev, baseline_test: (
        max(method_test.values()) - max(baseline_test.values())
    ),
}


@gain_at_best.mistake("the baseline at the method's setting")
def _(
    method_dev: dict[float, float], method_test: dict[float, float],
    baseline_dev: dict[float, float], baseline_test: dict[float, float],
) -> float:  # fmt: skip
    method = max(method_dev, key=method_dev.__getitem__)
    return method_test[method] - baseline_test[method]


@hint("""
    Holm: sort the p-values. The smallest of m is multiplied by m, the next by m - 1, and so on. A later one may never
    come out below an earlier one, and none above 1. Give them back in the order in which they came.
    """)
@exercise("07.6", "Seven methods, one lucky p", difficulty=3, minutes=20)
def holm(p: list[float]) -> list[float]:
    """Return the p-values after Holm's correction, in the same order.

    Compared with alpha they keep the chance of *any* false "better" in a table of m methods at alpha.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


@holm.checked_by
def _(answer: Answer) -> str:
    def near(seen: list[float], right: list[float]) -> bool:
        return len(seen) == len(right) and all(isclose(a, b, abs_tol=1e-9) for a, b in zip(seen, right, strict=True))

    seen = answer([0.04])
    expect(near(seen, [0.04]), f"A single test needs no correction: [0.04], not {seen!r}.")
    seen = answer([0.01, 0.02, 0.03])
    expect(
        not near(seen, [0.03, 0.06, 0.09]),
        "That is Bonferroni: all times m. It is right, but it gives away power: once the smallest is rejected, only "
        "m - 1 hypotheses can still be true.",
    )
    expect(
        not near(seen, [0.03, 0.04, 0.03]),
        "The third comes out below the second, though its p was larger. Whoever is not rejected stops the walk: no "
        "value may fall below one before it.",
    )
    expect(near(seen, [0.03, 0.04, 0.04]), f"[0.01, 0.02, 0.03] becomes [0.03, 0.04, 0.04], not {seen!r}.")
    seen = answer([0.03, 0.01, 0.02])
    expect(near(seen, [0.04, 0.03, 0.04]), f"Give them back in the order they came in; you return {seen!r}.")
    seen = answer([0.6, 0.7])
    expect(near(seen, [1.0, 1.0]), f"A probability is at most 1; you return {seen!r}.")
    return "`statistics.holm`, on which every verdict of the kit rests. Try it on the table above."


holm.mistakes |= {
    "all times m": lambda p: [min(1.0, len(p) * value) for value in p],
}


@holm.mistake("a later one falls below an earlier one")
def _(p: list[float]) -> list[float]:
    order = sorted(range(len(p)), key=lambda i: p[i])
    return [min(1.0, (len(p) - order.index(i)) * p[i]) for i in range(len(p))]


@holm.mistake("sorted, not in the order they came")
def _(p: list[float]) -> list[float]:
    made, largest = [], 0.0
    for rank, value in enumerate(sorted(p)):
        largest = max(largest, min(1.0, (len(p) - rank) * value))
        made.append(largest)
    return made
