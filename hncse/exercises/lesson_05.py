"""Exercises of notebook 05, the STS table."""

from __future__ import annotations

from typing import Any

import numpy as np

from hncse.exercises.core import exercise, hint


@hint("Which comes first, mean or rounding? Somebody who only has the printed table must find the same number.")
@exercise("05.1", "The average that tables print", difficulty=1, importance=1, minutes=5, tolerance=1e-6,
    praise="A hundredth. It matters only because a difference of a hundredth has been called progress.")  # fmt: skip
def printed_average(scores: list[float]) -> float:
    """Return the average of a table's tasks as published tables have it: of the scores as they are printed.

    `scores` are Spearman × 100 with all their digits; a table prints each with two decimals. The average is not
    rounded again.
    """
    return sum(round(score, 2) for score in scores) / len(scores)


@printed_average.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    scores = rng.integers(2000, 9000, rng.integers(1, 9)) / 100 + rng.choice([0.001, 0.0032, 0.0049, -0.0041])
    return (scores.round(4).tolist(),)


printed_average.by_hand({
    "The average of 70 and 80 is 75, not {seen}.": ([70.0, 80.0],),
    "Of 4 × 60.01 and 3 × 60.00 the average is {right:.4f}, not {seen}.":
        ([60.0051, 60.0051, 60.0051, 60.0051, 60.001, 60.001, 60.001],),
})  # fmt: skip
printed_average.mistaken({
    "Rounding is missing: a reader of the table averages the scores as they are printed.": ("round(score, 2)", "score"),
    "Your rounding comes once, at the end; each score is rounded first, as it is printed.":
        ("sum(round(score, 2) for score in scores) / len(scores)", "round(sum(scores) / len(scores), 2)"),
})  # fmt: skip


@hint("""
    Two different things are called spread: that of single runs (the standard deviation) and that of their mean (the
    standard error, smaller by √n). The interval is about the mean. With few runs, divide the squares by n - 1.""")
@exercise("05.2", "An interval over seeds", difficulty=2, importance=3, minutes=10, builds=True,
    praise="Runs that differ by a point either way leave an interval five points wide when there are three of them. "
    "`hncse.evaluation.statistics.t_interval` looks up t as well.")  # fmt: skip
def interval_over_seeds(scores: list[float], t: float) -> tuple[float, float]:
    """Return the lower and the upper end of the interval for a method's mean score.

    `scores` holds one run's score a seed, two or more; `t` is Student's quantile for that number of runs, 4.303 for
    three at 95 %. The interval is mean ± t·s/√n, with s the standard deviation estimated from these runs.
    """
    n = len(scores)
    mean = sum(scores) / n
    s = (sum((score - mean) ** 2 for score in scores) / (n - 1)) ** 0.5
    half = t * s / n**0.5
    return mean - half, mean + half


@interval_over_seeds.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(2, 8))
    return (rng.normal(rng.choice([-20, 0, 60]), 2, n).round(2).tolist(), round(float(rng.uniform(0.5, 5)), 3))


interval_over_seeds.by_hand({
    "Three equal runs have no spread: both ends are 60, not {seen}.": ([60.0, 60.0, 60.0], 4.303),
    "59 and 61 have s = √2, so s/√2 = 1: the interval is 60 ± 1 for t = 1, {right}, not {seen}.": ([59.0, 61.0], 1.0),
    "59, 60, 61: s = 1, so half the width is 4.303/√3 = 2.484: {right}, not {seen}.": ([59.0, 60.0, 61.0], 4.303),
})  # fmt: skip
interval_over_seeds.mistaken({
    "That is the spread of single runs. The mean of n is steadier: divide by √n.": (" / n**0.5", ""),
    "You divide the squared deviations by n. The mean was taken from the same few runs, which makes them look closer "
    "to it than they are: divide by n - 1 (numpy: ddof=1).": ("(n - 1)", "n"),
    "You divide by n where √n belongs.": ("n**0.5", "n"),
})  # fmt: skip


@hint("""
    A value's rank: how many values are smaller, plus half of those equal to it, itself among them, plus a half. Then
    the ordinary (Pearson) correlation of the two lists of ranks.""")
@exercise("05.3", "Spearman, by hand", difficulty=2, importance=2, minutes=15,
    praise="`scipy.stats.spearmanr` gives the same; tables print it times 100.")  # fmt: skip
def spearman(cosines: list[float], gold: list[float]) -> float:
    """Return Spearman's correlation of similarities and human scores: Pearson's correlation of their ranks.

    Equal values share the mean of the ranks they take up. Neither list holds one value alone. Without scipy.
    """

    def ranks(values: list[float]) -> list[float]:
        return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]

    x, y = ranks(cosines), ranks(gold)
    middle = (len(x) + 1) / 2
    both = sum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    return both / (sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y)) ** 0.5


@spearman.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(2, 9))
    values = rng.integers(0, 6, (2, n)).astype(float)
    values[:, 0], values[:, 1] = [0, 2], [3, 2.5]  # at least two values each
    return ((values[0] / 10 - 0.2).round(2).tolist(), values[1].tolist())


spearman.by_hand({
    "0.1 < 0.2 < 0.9 and 0 < 4 < 5: the order is the same, so the correlation is 1, not {seen:.3f}. Only ranks "
    "count, not distances: an encoder whose cosines all lie between 0.9 and 1 may score as high as any other.":
        ([0.1, 0.2, 0.9], [0.0, 4.0, 5.0]),
    "The opposite order is -1, not {seen:.3f}.": ([0.9, 0.2, 0.1], [0.0, 4.0, 5.0]),
    "The ranks of 0.5, 0.1, 0.4, 0.2 are 4, 1, 3, 2, so the correlation with 2, 4, 1, 3 is -0.8, not {seen:.3f}. "
    "(One argsort gives the order of the places, two give the ranks.)": ([0.5, 0.1, 0.4, 0.2], [2.0, 4.0, 1.0, 3.0]),
    "Gold scores repeat: 3, 3, 5, 5 have the ranks 1.5, 1.5, 3.5, 3.5; the correlation is 0.894, not {seen:.3f}. "
    "Ranks handed out by position would let the order of the file decide the score.":
        ([0.1, 0.2, 0.3, 0.4], [3.0, 3.0, 5.0, 5.0]),
})  # fmt: skip
spearman.mistaken({
    "That is Pearson's correlation of the values; take their ranks first.":
        ("x, y = ranks(cosines), ranks(gold)", "return float(np.corrcoef(cosines, gold)[0, 1])"),
    "One argsort gives the order of the places; two give the ranks, and ties still have to share.":
        ("ranks(cosines), ranks(gold)", "np.argsort(cosines), np.argsort(gold)", "(len(x) + 1) / 2",
         "(len(x) - 1) / 2"),
    "Equal values share a rank; yours are ranked by position, so the order of the file decides.":
        ("[sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]",
         "list(np.argsort(np.argsort(values, kind='stable'), kind='stable') + 1.0)"),
    "Equal values share the mean of their ranks, not the lowest of them.":
        ("x, y = ranks(cosines), ranks(gold)", "return float(np.corrcoef(ranks(cosines), ranks(gold))[0, 1])",
         "(sum(b == a for b in values) + 1) / 2", "1"),
})  # fmt: skip


@hint("""
    `from scipy.stats import spearmanr`, then `spearmanr(x, y).statistic`. For "all", first make one list of cosines
    and one of gold scores out of all subsets.""")
@exercise("05.4", "Two scores, both called STS", difficulty=2, importance=2, minutes=15,
    praise="Say which one you print; `hncse.evaluation.sts.evaluate_full` keeps all three apart.")  # fmt: skip
def all_and_mean(subsets: list[tuple[list[float], list[float]]]) -> tuple[float, float]:
    """Return a task's "all" and "mean" scores, × 100.

    Every subset is (cosines, gold scores). "all" is one Spearman correlation over the pairs of all subsets together,
    "mean" the plain mean of the subsets' own correlations. `scipy.stats.spearmanr` is allowed.
    """
    from scipy.stats import spearmanr

    cosines = [c for subset, _ in subsets for c in subset]
    gold = [g for _, subset in subsets for g in subset]
    own = [float(spearmanr(*subset).statistic) for subset in subsets]
    return 100 * float(spearmanr(cosines, gold).statistic), 100 * sum(own) / len(own)


@all_and_mean.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    def subset() -> tuple[list[float], list[float]]:
        n = int(rng.integers(3, 7))
        return rng.permutation(20)[:n].astype(float).tolist(), rng.permutation(6)[:n].astype(float).tolist()

    return ([subset() for _ in range(rng.integers(1, 4))],)


all_and_mean.by_hand({
    "Of one subset both scores are its own correlation × 100, here 50; you return {seen}.":
        ([([0.1, 0.3, 0.2], [1.0, 2.0, 3.0])],),
    "Captions and headlines, each in perfect order, so their mean is 100; in one list a headline scored 1 stands above "
    "a caption scored 3, and “all” is 47.81: {right}, not {seen}. An encoder that finds one kind of text nearer pays.":
        ([([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]), ([0.7, 0.8, 0.9], [1.0, 2.0, 3.0])],),
    "Correlations 1 (of 4 pairs) and -1 (of 2): the plain mean is 0, {right}, not {seen}. Weighted by pairs it would "
    "be 33.33, and that is the third number called STS: “wmean”.":
        ([([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]), ([0.9, 0.1], [1.0, 2.0])],),
})  # fmt: skip
all_and_mean.mistaken({
    "You average for “all” as well; it puts the pairs of all subsets into one list first.":
        ("100 * float(spearmanr(cosines, gold).statistic), ", "100 * sum(own) / len(own), "),
    "The mean is a plain one: every subset counts once, however many pairs it has.":
        ("sum(own) / len(own)", "sum(r * len(g) for r, (_, g) in zip(own, subsets, strict=True)) / len(gold)"),
    "“all” comes first, then “mean”.":
        ("float(spearmanr(cosines, gold).statistic), 100 * sum(own) / len(own)",
         "sum(own) / len(own), 100 * float(spearmanr(cosines, gold).statistic)"),
    "Tables print both times 100.": ("100 * ", ""),
})  # fmt: skip
