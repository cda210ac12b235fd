"""Exercises of notebook 00, how to read the kit's numbers."""

from __future__ import annotations

from math import ceil, sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np

from hncse.exercises.core import any_order, exercise, hint


@hint("Three sums: of the products, of the squares of `u`, of the squares of `v`. Which two need a square root?")
@exercise("00.1", "Cosine by hand", difficulty=1, importance=3, minutes=5,
    praise="Only directions count. `SentenceEncoder.encode(…, normalize=True)` makes all lengths 1 beforehand."
)  # fmt: skip
def cosine(u: list[float], v: list[float]) -> float:
    """Return the cosine similarity of two vectors.

    It is the number behind every table of this kit: the inner product of `u` and `v`, divided by both lengths.
    Neither vector is zero.
    """
    product = sum(a * b for a, b in zip(u, v, strict=True))
    return product / sqrt(sum(a * a for a in u) * sum(b * b for b in v))


@cosine.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    u, v = rng.normal(size=(2, rng.integers(1, 7))) + 0.05
    scale = rng.choice([1e-4, 1.0, 1.0, 1e4], 2)
    return (u * scale[0]).round(7).tolist(), (v * scale[1]).round(7).tolist()


cosine.by_hand({
    "At a right angle the cosine is 0, not {seen:.3f}.": ([1.0, 0.0], [0.0, 2.0]),
    "A vector and itself: 1, not {seen:.3f}. (25 is the inner product: divide by both lengths, 5 · 5.)":
        ([3.0, 4.0], [3.0, 4.0]),
    "At 45 degrees the cosine is 0.707, however long the vectors are; you return {seen:.3f}.":
        ([1.0, 1.0], [10.0, 0.0]),
    "Opposite directions: -1, not {seen:.3f}. The sign belongs to it.": ([1.0, 2.0, 2.0], [-2.0, -4.0, -4.0]),
})  # fmt: skip
cosine.mistaken({
    "That is the inner product: divide it by both lengths.":
        ("product / sqrt(sum(a * a for a in u) * sum(b * b for b in v))", "product"),
    "You divide by one length only; the cosine is divided by both.": (" * sum(b * b for b in v)", ""),
    "Your cosine has lost its sign: opposite directions have -1.": ("return product", "return abs(product)"),
})  # fmt: skip


@hint("First: how many whole batches does one pass give? Then: how many passes? A part of a step is a step.")
@exercise("00.2", "How many steps is that?", difficulty=1, importance=2, minutes=5,
    praise="Steps, not sentences, decide how often weights move. `result.json` of a run says how many there were."
)  # fmt: skip
def steps(limit: int, batch_size: int, epochs: float) -> int:
    """Return how many optimiser steps a run takes.

    A run makes `epochs` passes over `limit` sentences, `batch_size` of them a step. The last batch of a pass is
    dropped where it is not full: a short batch has fewer negatives, and a batch of one sentence has none. If `epochs`
    ends inside a pass, the number of steps is rounded up.
    """
    return ceil(epochs * (limit // batch_size))


steps.samples(lambda rng: (int(rng.integers(1, 5000)), int(rng.choice([7, 16, 48, 64])), int(rng.integers(1, 13)) / 4))
steps.by_hand({
    "6,400 sentences, 64 a step, are 100 steps, not {seen}.": (6_400, 64, 1.0),
    "4,000 sentences are 62 whole batches of 64, with 32 left over; these are dropped: 62, not {seen}.":
        (4_000, 64, 1.0),
    "Two passes of 62 steps are 124, not {seen}: the last batch is dropped in every pass, not once at the end.":
        (4_000, 64, 2.0),
    "A quarter of 10 steps is 2.5, rounded up: 3, not {seen}.": (640, 64, 0.25),
})  # fmt: skip
steps.mistaken({
    "You count the short last batch; it is dropped in every pass.": ("limit // batch_size", "ceil(limit / batch_size)"),
    "You divide the sentences of all passes at once; the last batch is dropped in every pass.":
        ("ceil(epochs * (limit // batch_size))", "int(epochs * limit) // batch_size"),
})  # fmt: skip


@hint("""
    What may differ between two rows if their difference is to say something about the method? Only the method, and
    what comes out of it. Go through the other columns.""")
@exercise("00.3", "A fair comparison", difficulty=2, importance=3, minutes=10,
    praise="Tables of the kit print split, pooling, seeds and interval beside every score so that you can do this."
)  # fmt: skip
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


fair_rows.compare_by(any_order)
_COLUMNS: dict[str, list[Any]] = {
    "method": ["SimCSE", "HNM", "untrained"],
    "encoder": ["kit", "bert-base"],
    "split": ["test", "dev"],
    "pooling": ["mean", "cls"],
    "labels": [False, True],
}


@fair_rows.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    likely = {name: rng.choice(len(values)) for name, values in _COLUMNS.items()}  # most rows agree in most columns

    def row() -> dict[str, Any]:
        pick = {name: likely[name] if rng.random() < 0.75 else rng.choice(len(v)) for name, v in _COLUMNS.items()}
        pick["method"] = rng.choice(3)
        made = {name: _COLUMNS[name][int(place)] for name, place in pick.items()}
        return made | {"score": round(float(rng.normal(60, 5)), 1)}

    n = int(rng.integers(2, 9))
    return [row() for _ in range(n)], int(rng.integers(n))


def _row(method: str, encoder: str, split: str, pooling: str, labels: bool, score: float) -> dict[str, Any]:
    return dict(zip([*_COLUMNS, "score"], (method, encoder, split, pooling, labels, score), strict=True))


_ROWS = [
    _row("untrained", "kit", "test", "cls", False, 40.0),
    _row("untrained", "kit", "test", "mean", False, 50.0),
    _row("SimCSE", "kit", "test", "mean", False, 58.0),
    _row("HNM", "kit", "test", "mean", False, 57.0),
    _row("SimCSE", "kit", "dev", "mean", False, 63.0),
    _row("SimCSE", "bert-base", "test", "mean", False, 76.0),
    _row("pairs", "kit", "test", "mean", True, 70.0),
]
fair_rows.by_hand({
    "With row 3 of the kit's little table (untrained, SimCSE, HNM on test and dev, BERT, labelled pairs) compare rows "
    "{right}, not {seen}: 0 has another pooling, 4 is a dev score, 5 another encoder, 6 was trained with labels. That "
    "a score is higher is a reason to show it, not to leave it out.": (_ROWS, 3),
    "With row 2 compare {right}, not {seen}: rows of its own method are no comparison.": (_ROWS, 2),
    "With row 5 there is nothing to compare: no other row here is that encoder. Not {seen}.": (_ROWS, 5),
})  # fmt: skip
fair_rows.mistaken({
    "You take every other row of the same encoder; split, pooling and labels must be equal as well.":
        ('row["method"] != own["method"] and all(row[name] == own[name] for name in fixed)',
         'i != ours and row["encoder"] == own["encoder"]'),
    "You leave out rows that score higher. That is how a table is made to look good.":
        ('if row["method"]', 'if row["score"] < own["score"] and row["method"]'),
    "You do not look at the split: what was chosen on dev looks better there than on test.": ('"split", ', ""),
    "You take test rows whatever ours is: if ours is a dev score, dev scores compare with it.":
        ('"split", ', "", 'if row["method"]', 'if row["split"] == "test" and row["method"]'),
})  # fmt: skip


@hint("""
    Seed by seed, how much is the one ahead? Of these differences you need the mean and the standard deviation
    (`statistics.stdev`, which divides by n - 1). A mean of n values is √n times as steady as one value.""")
@exercise("00.4", "Better, worse, or not to tell", difficulty=3, importance=3, minutes=15,
    praise="`hncse.evaluation.statistics` does it for whole tables, and corrects for looking many times. See 07a."
)  # fmt: skip
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


@verdict.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(2, 7))
    theirs = rng.normal(60, 4, n).round(1)
    lead = (rng.normal(rng.choice([-1.0, 1.0]), 0.7, n) + 0.013 * np.arange(n)).round(2)
    edge = abs(lead.mean()) / max(lead.std(ddof=1) / np.sqrt(n), 0.1)  # the t at which the interval just reaches 0
    t = float(rng.choice([0.75, 0.8, 0.93, 0.97, 1.03, 1.07, 1.2, 1.5]) * edge)
    return (theirs + lead).round(2).tolist(), theirs.tolist(), t


_THEIRS = [60.0, 64.0, 62.0, 66.0, 58.0]
verdict.by_hand({
    "With every seed the lead is about 1.0: better. Seeds differ by points among themselves, but the same seed "
    "moves both methods alike, so take the differences first and their spread after.":
        ([61.0, 65.1, 62.9, 67.0, 59.0], _THEIRS, 2.776),
    "The mean lead is 1.0, but it is 3, -1, 3, -1, 1 with the five seeds: the interval holds 0, so it is not to "
    "tell. A higher mean alone is no result.": ([63.0, 63.0, 65.0, 65.0, 59.0], _THEIRS, 2.776),
    "With every seed it is about 1.0 behind: worse. Look at both ends of the interval.":
        ([59.0, 63.1, 61.0, 65.2, 57.0], _THEIRS, 2.776),
    "The leads are 1.2, 0.3, 1.4, 0.6, 1.5: mean 1.0, sd 0.52, so the mean is known to ± 0.65: better. Dividing "
    "by √n makes the interval of a mean out of the spread of single values.":
        ([61.2, 64.3, 63.4, 66.6, 59.5], _THEIRS, 2.776),
    "Equal scores: nobody is ahead, not to tell.": ([60.0, 64.0], [60.0, 64.0], 12.7),
})  # fmt: skip
verdict.mistaken({
    "The higher mean alone is no result: look at the interval.": ("t * stdev(lead) / sqrt(len(lead))", "0"),
    "Your interval is that of single seeds: the mean of n is √n times as steady.": (" / sqrt(len(lead))", ""),
    "Your sd divides by n. It is estimated from the same few seeds as the mean: divide by n - 1.":
        ("stdev(lead)", "np.std(lead)"),
    "You take the spread of each method; take the differences seed by seed first, and their spread after.":
        ("t * stdev(lead) / sqrt(len(lead))", "t * sqrt((stdev(ours) ** 2 + stdev(theirs) ** 2) / len(lead))"),
})  # fmt: skip
