"""Exercises of notebook 05, the STS table."""

from __future__ import annotations

from math import isclose

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Which comes first, mean or rounding? Somebody who only has the printed table must find the same number.")
@exercise("05.1", "The average that tables print", difficulty=1, minutes=5)
def printed_average(scores: list[float]) -> float:
    """Return the average of a table's tasks as published tables have it: of the scores as they are printed.

    `scores` are Spearman × 100 with all their digits; a table prints each with two decimals.
    """
    return sum(round(score, 2) for score in scores) / len(scores)


@printed_average.checked_by
def _(answer: Answer) -> str:
    equal(answer([70.0, 80.0]), 75, "The average of 70 and 80 is 75, not {seen}.")
    scores = [60.0051, 60.0051, 60.0051, 60.0051, 60.001, 60.001, 60.001]
    seen = answer(scores)
    expect(
        not isclose(seen, sum(scores) / 7),
        "You average all digits. Printed stand 60.01 four times and 60.00 three times; a reader who averages the "
        "printed table gets 60.0057, and prints 60.01 where you print 60.00.",
    )
    expect(
        not isclose(seen, round(sum(scores) / 7, 2)),
        "You round once, at the end. Each score is rounded first, as it is printed.",
    )
    equal(seen, 60 + 0.04 / 7, "Of 4 × 60.01 and 3 × 60.00 the average is 60.0057, not {seen}.")
    return "A hundredth. It matters only because a difference of a hundredth has been called progress."


printed_average.mistakes |= {
    "no rounding before the mean": lambda scores: sum(scores) / len(scores),
    "rounding after the mean": lambda scores: round(sum(scores) / len(scores), 2),
}


@hint("""
    Two different things are called spread: that of single runs (the standard deviation) and that of their mean (the
    standard error, smaller by √n). The interval is about the mean. With few runs, divide the squares by n - 1.
    """)
@exercise("05.2", "An interval over seeds", difficulty=2, minutes=10)
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


@interval_over_seeds.checked_by
def _(answer: Answer) -> str:
    low, high = answer([60.0, 60.0, 60.0], 4.303)
    expect(isclose(low, 60) and isclose(high, 60), "Three equal runs have no spread: both ends are 60.")
    low, high = answer([59.0, 61.0], 1.0)
    expect(isclose((low + high) / 2, 60), "The interval's middle is the mean of the runs.")
    half = (high - low) / 2
    expect(
        not isclose(half, 2**0.5),
        "You give the spread of single runs. The mean of n runs is steadier than one of them: divide by √n.",
    )
    expect(
        not isclose(half, 1 / 2**0.5),
        "You divide the squared deviations by n. The mean was taken from the same few runs, which makes them look "
        "closer to it than they are: divide by n - 1 (numpy: ddof=1).",
    )
    equal(half, 1, "59 and 61 have s = √2, so s/√2 = 1: half the width is 1 for t = 1, not {seen:.3f}.")
    low, high = answer([59.0, 60.0, 61.0], 4.303)
    equal((high - low) / 2, 4.303 / 3**0.5, "59, 60, 61: s = 1, so half the width is 4.303/√3 = 2.484, not {seen:.3f}.")
    return (
        "Runs that differ by a point either way leave an interval five points wide when there are three of them. "
        "`hncse.evaluation.statistics.t_interval` looks up t as well."
    )


@interval_over_seeds.mistake("the standard deviation for the standard error")
def _(scores: list[float], t: float) -> tuple[float, float]:
    n = len(scores)
    mean = sum(scores) / n
    half = t * (sum((score - mean) ** 2 for score in scores) / (n - 1)) ** 0.5
    return mean - half, mean + half


@interval_over_seeds.mistake("squares divided by n")
def _(scores: list[float], t: float) -> tuple[float, float]:
    n = len(scores)
    mean = sum(scores) / n
    half = t * (sum((score - mean) ** 2 for score in scores) / n) ** 0.5 / n**0.5
    return mean - half, mean + half


@hint("""
    A value's rank: how many values are smaller, plus half of those equal to it, itself among them, plus a half. Then
    the ordinary (Pearson) correlation of the two lists of ranks.
    """)
@exercise("05.3", "Spearman, by hand", difficulty=2, minutes=15)
def spearman(cosines: list[float], gold: list[float]) -> float:
    """Return Spearman's correlation of similarities and human scores: Pearson's correlation of their ranks.

    Equal values share the mean of the ranks they take up. Without scipy.
    """

    def ranks(values: list[float]) -> list[float]:
        return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]

    x, y = ranks(cosines), ranks(gold)
    middle = (len(x) + 1) / 2
    both = sum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    return both / (sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y)) ** 0.5


@spearman.checked_by
def _(answer: Answer) -> str:
    equal(
        answer([0.1, 0.2, 0.9], [0.0, 4.0, 5.0]),
        1,
        "0.1 < 0.2 < 0.9 and 0 < 4 < 5: the order is the same, so the correlation is 1, not {seen:.3f}. Only ranks "
        "count, not distances: an encoder whose cosines all lie between 0.9 and 1 may score as high as any other.",
    )
    equal(answer([0.9, 0.2, 0.1], [0.0, 4.0, 5.0]), -1, "The opposite order is -1, not {seen:.3f}.")
    equal(
        answer([0.5, 0.1, 0.4, 0.2], [2.0, 4.0, 1.0, 3.0]),
        -0.8,
        "The ranks of 0.5, 0.1, 0.4, 0.2 are 4, 1, 3, 2, so the correlation with 2, 4, 1, 3 is -0.8, not {seen:.3f}. "
        "(One argsort gives the order of the places, two give the ranks.)",
    )
    equal(
        answer([0.1, 0.2, 0.3, 0.4], [3.0, 3.0, 5.0, 5.0]),
        2 / 5**0.5,
        "Gold scores repeat: 3, 3, 5, 5 have the ranks 1.5, 1.5, 3.5, 3.5; the correlation is 0.894, not {seen:.3f}. "
        "Ranks handed out by position would let the order of the file decide the score.",
    )
    return "`scipy.stats.spearmanr` gives the same; tables print it times 100."


@spearman.mistake("Pearson's correlation of the values")
def _(cosines: list[float], gold: list[float]) -> float:
    import numpy as np

    return float(np.corrcoef(cosines, gold)[0, 1])


@spearman.mistake("one argsort taken for ranks")
def _(cosines: list[float], gold: list[float]) -> float:
    import numpy as np

    return float(np.corrcoef(np.argsort(cosines), np.argsort(gold))[0, 1])


@spearman.mistake("ties ranked by position")
def _(cosines: list[float], gold: list[float]) -> float:
    import numpy as np

    x, y = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (cosines, gold))
    return float(np.corrcoef(x, y)[0, 1])


@hint("""
    `from scipy.stats import spearmanr`, then `spearmanr(x, y).statistic`. For "all", first make one list of cosines
    and one of gold scores out of all subsets.
    """)
@exercise("05.4", "Two scores, both called STS", difficulty=3, minutes=15)
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


@all_and_mean.checked_by
def _(answer: Answer) -> str:
    one = ([0.1, 0.3, 0.2], [1.0, 2.0, 3.0])
    both = answer([one])
    expect(
        all(isclose(score, 50) for score in both),
        f"Of one subset both scores are its own correlation × 100, here 50; you return {tuple(both)}.",
    )
    captions = ([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
    headlines = ([0.7, 0.8, 0.9], [1.0, 2.0, 3.0])  # as good an order, all cosines higher
    together, mean = answer([captions, headlines])
    equal(mean, 100, "Each of these subsets is in perfect order: their mean is 100, not {seen:.2f}.")
    expect(
        not isclose(together, 100),
        "You average for “all” as well. “All” puts the pairs of both subsets into one list first, and there a headline "
        "scored 1 stands above a caption scored 3: an encoder that finds one kind of text nearer pays for it.",
    )
    equal(together, 100 * (8 / 35) ** 0.5, "In one list these six pairs correlate by 47.81, not {seen:.2f}.")
    bad = ([0.9, 0.1], [1.0, 2.0])
    equal(
        answer([([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]), bad])[1],
        0,
        "Correlations 1 (of 4 pairs) and -1 (of 2): the plain mean is 0, not {seen:.2f}. Weighted by pairs it would "
        "be 33.33, and that is the third number called STS: “wmean”.",
    )
    return "Say which one you print; `hncse.evaluation.sts.evaluate_full` keeps all three apart."


@all_and_mean.mistake("the subsets' mean, weighted by pairs, for both")
def _(subsets: list[tuple[list[float], list[float]]]) -> tuple[float, float]:
    from scipy.stats import spearmanr

    own = [(len(gold), 100 * float(spearmanr(cosines, gold).statistic)) for cosines, gold in subsets]
    score = sum(n * value for n, value in own) / sum(n for n, _ in own)
    return score, score


@all_and_mean.mistake("both the wrong way round")
def _(subsets: list[tuple[list[float], list[float]]]) -> tuple[float, float]:
    together, mean = all_and_mean(subsets)
    return mean, together
