"""Exercises of notebook 00, how to read the kit's numbers."""

from __future__ import annotations

from math import ceil, sqrt
from statistics import mean, stdev
from typing import Any

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Three sums: of the products, of the squares of `u`, of the squares of `v`. Which two need a square root?")
@exercise("00.1", "Cosine by hand", difficulty=1, minutes=5)
def cosine(u: list[float], v: list[float]) -> float:
    """Return the cosine similarity of two vectors.

    It is the number behind every table of this kit: the inner product of `u` and `v`, divided by both lengths.
    Neither vector is zero.
    """
    product = sum(a * b for a, b in zip(u, v, strict=True))
    return product / sqrt(sum(a * a for a in u) * sum(b * b for b in v))


@cosine.checked_by
def _(answer: Answer) -> str:
    equal(answer([1.0, 0.0], [0.0, 2.0]), 0, "At a right angle the cosine is 0, not {seen:.3f}.")
    equal(
        answer([3.0, 4.0], [3.0, 4.0]),
        1,
        "A vector and itself: 1, not {seen:.3f}. (25 is the inner product: divide by both lengths, 5 · 5.)",
    )
    equal(
        answer([1.0, 1.0], [10.0, 0.0]),
        sqrt(0.5),
        "At 45 degrees the cosine is 0.707, however long the vectors are; you return {seen:.3f}.",
    )
    equal(
        answer([1.0, 2.0, 2.0], [-2.0, -4.0, -4.0]),
        -1,
        "Opposite directions: -1, not {seen:.3f}. The sign belongs to it.",
    )
    return "Only directions count. `SentenceEncoder.encode(…, normalize=True)` makes all lengths 1 beforehand."


cosine.mistakes |= {
    "the inner product, not divided by the lengths": lambda u, v: sum(a * b for a, b in zip(u, v, strict=True)),
    "divided by one length only": lambda u, v: (
        sum(a * b for a, b in zip(u, v, strict=True)) / sqrt(sum(a * a for a in u))
    ),
    "the sign lost on the way": lambda u, v: (
        abs(sum(a * b for a, b in zip(u, v, strict=True))) / sqrt(sum(a * a for a in u) * sum(b * b for b in v))
    ),
}


@hint("First: how many whole batches does one pass give? Then: how many passes? A part of a step is a step.")
@exercise("00.2", "How many steps is that?", difficulty=1, minutes=5)
def steps(limit: int, batch_size: int, epochs: float) -> int:
    """Return how many optimiser steps a run takes.

    A run makes `epochs` passes over `limit` sentences, `batch_size` of them a step. The last batch of a pass is
    dropped where it is not full: a short batch has fewer negatives, and a batch of one sentence has none. If `epochs`
    ends inside a pass, the number of steps is rounded up.
    """
    return ceil(epochs * (limit // batch_size))


@steps.checked_by
def _(answer: Answer) -> str:
    equal(answer(6_400, 64, 1.0), 100, "6,400 sentences, 64 a step, are 100 steps, not {seen}.")
    equal(
        answer(4_000, 64, 1.0),
        62,
        "4,000 sentences are 62 whole batches of 64 and 32 sentences over; these are dropped: 62, not {seen}.",
    )
    equal(
        answer(4_000, 64, 2.0),
        124,
        "Two passes of 62 steps are 124, not {seen}: the last batch is dropped in every pass, not once at the end.",
    )
    equal(answer(640, 64, 0.25), 3, "A quarter of 10 steps is 2.5, rounded up: 3, not {seen}.")
    return "Steps, not sentences, decide how often weights move. `result.json` of a run says how many there were."


steps.mistakes |= {
    "the short last batch counted": lambda limit, batch_size, epochs: ceil(epochs * ceil(limit / batch_size)),
    "sentences of all passes divided at once": lambda limit, batch_size, epochs: int(epochs * limit) // batch_size,
}


@hint("""
    What may differ between two rows if their difference is to say something about the method? Only the method, and
    what comes out of it. Go through the other columns.
    """)
@exercise("00.3", "A fair comparison", difficulty=2, minutes=10)
def fair_rows(rows: list[dict[str, Any]], ours: int) -> list[int]:
    """Return the places of the rows that compare fairly with the row `rows[ours]`.

    Every row has "method", "encoder", "split" (dev or test), "pooling", "labels" (True where sentence pairs with
    labels were used in training) and "score". A comparison says something about the method if all else is equal:
    encoder, split, pooling and labels. Rows of the same method, and so the row itself, are no comparison.
    """
    fixed = ("encoder", "split", "pooling", "labels")
    own = rows[ours]
    return [
        i
        for i, row in enumerate(rows)
        if row["method"] != own["method"] and all(row[name] == own[name] for name in fixed)
    ]


_ROWS = [
    {"method": "untrained", "encoder": "kit", "split": "test", "pooling": "cls", "labels": False, "score": 40.0},
    {"method": "untrained", "encoder": "kit", "split": "test", "pooling": "mean", "labels": False, "score": 50.0},
    {"method": "SimCSE", "encoder": "kit", "split": "test", "pooling": "mean", "labels": False, "score": 58.0},
    {"method": "HNM", "encoder": "kit", "split": "test", "pooling": "mean", "labels": False, "score": 57.0},
    {"method": "SimCSE", "encoder": "kit", "split": "dev", "pooling": "mean", "labels": False, "score": 63.0},
    {"method": "SimCSE", "encoder": "bert-base", "split": "test", "pooling": "mean", "labels": False, "score": 76.0},
    {"method": "pairs", "encoder": "kit", "split": "test", "pooling": "mean", "labels": True, "score": 70.0},
]


@fair_rows.checked_by
def _(answer: Answer) -> str:
    seen = sorted(answer(_ROWS, 3))
    expect(3 not in seen, "Row 3 is our row itself; it compares with others.")
    expect(0 not in seen, "Row 0 has another pooling, [CLS]. From there to mean pooling no training is needed.")
    expect(4 not in seen, "Row 4 is a dev score: what was chosen on dev looks better there than on test.")
    expect(5 not in seen, "Row 5 is another encoder, a far larger one: the method is not what makes the difference.")
    expect(6 not in seen, "Row 6 was trained on labelled pairs. That is another task, and its score another question.")
    equal(
        seen,
        [1, 2],
        "Fair are rows 1 (the same encoder before training) and 2 (the other method), not {seen}. That SimCSE's score "
        "is higher is a reason to show it, not to leave it out.",
    )
    equal(
        sorted(answer(_ROWS, 2)),
        [1, 3],
        "For row 2 they are rows 1 and 3, not {seen}: rows of its own method are no comparison.",
    )
    expect(list(answer(_ROWS, 5)) == [], "For row 5 there is none: nothing else here is that encoder.")
    return "Tables of the kit print split, pooling, seeds and interval beside every score so that you can do this."


fair_rows.mistakes |= {
    "all other rows of the same encoder": lambda rows, ours: [
        i for i, row in enumerate(rows) if i != ours and row["encoder"] == rows[ours]["encoder"]
    ],
}


@fair_rows.mistake("only rows with a lower score")
def _(rows: list[dict[str, Any]], ours: int) -> list[int]:
    fixed = ("encoder", "split", "pooling", "labels")
    own = rows[ours]
    return [
        i for i, row in enumerate(rows)
        if row["score"] < own["score"] and all(row[name] == own[name] for name in fixed)
    ]  # fmt: skip


@fair_rows.mistake("the split not looked at")
def _(rows: list[dict[str, Any]], ours: int) -> list[int]:
    own = rows[ours]
    return [
        i for i, row in enumerate(rows)
        if row["method"] != own["method"] and all(row[name] == own[name] for name in ("encoder", "pooling", "labels"))
    ]  # fmt: skip


@hint("""
    Seed by seed, how much is the one ahead? Of these differences you need the mean and the standard deviation
    (`statistics.stdev`, which divides by n - 1). A mean of n values is √n times as steady as one value.
    """)
@exercise("00.4", "Better, worse, or not to tell", difficulty=3, minutes=15)
def verdict(ours: list[float], theirs: list[float], t: float) -> str:
    """Return "better", "worse" or "not to tell".

    `ours[i]` and `theirs[i]` are scores of two methods with the same seed `i`, at least two seeds. The 95 % interval of
    the mean difference is mean ± `t` · sd / √n, where sd is the standard deviation of the n differences and `t` the
    quantile of Student's distribution (2.776 for five seeds). The verdict is "better" where the whole interval lies
    above 0, "worse" where it lies below.
    """
    lead = [a - b for a, b in zip(ours, theirs, strict=True)]
    half = t * stdev(lead) / sqrt(len(lead))
    if mean(lead) - half > 0:
        return "better"
    return "worse" if mean(lead) + half < 0 else "not to tell"


@verdict.checked_by
def _(answer: Answer) -> str:
    theirs = [60.0, 64.0, 62.0, 66.0, 58.0]
    expect(
        answer([61.0, 65.1, 62.9, 67.0, 59.0], theirs, 2.776) == "better",
        "With every seed the lead is about 1.0: better. Seeds differ by points among themselves, but the same seed "
        "moves both methods alike, so take the differences first and their spread after.",
    )
    expect(
        answer([63.0, 63.0, 65.0, 65.0, 59.0], theirs, 2.776) == "not to tell",
        "The mean lead is 1.0, but it is 3, -1, 3, -1, 1 with the five seeds: the interval holds 0, so it is not to "
        "tell. A higher mean alone is no result.",
    )
    expect(
        answer([59.0, 63.1, 61.0, 65.2, 57.0], theirs, 2.776) == "worse",
        "With every seed it is about 1.0 behind: worse. Look at both ends of the interval.",
    )
    expect(
        answer([61.2, 64.3, 63.4, 66.6, 59.5], theirs, 2.776) == "better",
        "The leads are 1.2, 0.3, 1.4, 0.6, 1.5: mean 1.0, sd 0.52, so the mean is known to ± 0.65: better. Dividing "
        "by √n makes the interval of a mean out of the spread of single values.",
    )
    expect(answer([60.0, 64.0], [60.0, 64.0], 12.7) == "not to tell", "Equal scores: nobody is ahead, not to tell.")
    return "`hncse.evaluation.statistics` does it for whole tables, and corrects for looking many times. See 07."


@verdict.mistake("the higher mean wins")
def _(ours: list[float], theirs: list[float], t: float) -> str:
    lead = mean(ours) - mean(theirs)
    return "better" if lead > 0 else "worse" if lead < 0 else "not to tell"


@verdict.mistake("the spread of single seeds taken for the interval of the mean")
def _(ours: list[float], theirs: list[float], t: float) -> str:
    lead = [a - b for a, b in zip(ours, theirs, strict=True)]
    half = t * stdev(lead)
    return "better" if mean(lead) > half else "worse" if mean(lead) < -half else "not to tell"


@verdict.mistake("seeds not paired")
def _(ours: list[float], theirs: list[float], t: float) -> str:
    half = t * sqrt((stdev(ours) ** 2 + stdev(theirs) ** 2) / len(ours))
    lead = mean(ours) - mean(theirs)
    return "better" if lead > half else "worse" if lead < -half else "not to tell"
