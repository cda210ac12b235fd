"""Exercises of notebook 06, the transfer table."""

from __future__ import annotations

from typing import Any

import numpy as np

from hncse.exercises.core import exercise, hint


@hint("Somebody who never reads the sentence gives every one the same answer. Which answer is best?")
@exercise("06.1", "What knowing nothing scores", difficulty=1, importance=2, minutes=5,
    praise="And 99.60 is what published tables have for SUBJ where its file was cut. Ask for this number first."
)  # fmt: skip
def majority_accuracy(labels: list[str]) -> float:
    """Return the accuracy × 100 of the best answer that ignores the sentence: always the same label."""
    return 100 * max(labels.count(label) for label in labels) / len(labels)


@majority_accuracy.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    names = ["who", "when", "where", "how", "why"][: rng.integers(1, 6)]
    return ([str(name) for name in rng.choice(names, rng.integers(1, 12))],)


majority_accuracy.by_hand({
    "Three of four labels are the same: 75, not {seen}.": (["objective"] * 3 + ["subjective"],),
    "The commonest of these labels covers 2 of 5: 40, not {seen}.": (["who", "when", "where", "who", "how"],),
    "5 of 7, and not the first: 71.43, not {seen:.2f}. Do not rely on which label is first.":
        (["subjective"] * 2 + ["objective"] * 5,),
})  # fmt: skip
majority_accuracy.mistaken({
    "One over the number of classes is a coin, and the best one can do only where all are equally common.":
        ("max(labels.count(label) for label in labels) / len(labels)", "1 / len(set(labels))"),
    "You answer with the first label always; the commonest is the best.":
        ("max(labels.count(label) for label in labels)", "labels.count(labels[0])"),
    "Accuracies are printed × 100.": ("100 * ", ""),
})  # fmt: skip


@hint("""
    A paraphrase pair has no first and no second sentence. Which of `u - v`, `|u - v|`, `u + v`, `u*v` and `[u, v]` are
    the same when the two change places? SentEval takes two of these, one after the other.""")
@exercise("06.2", "What a classifier sees of a pair", difficulty=2, importance=1, minutes=10,
    praise="`hncse.evaluation.transfer.features` does it for all pairs. How could a linear classifier read a cosine "
    "here?")  # fmt: skip
def pair_features(u: list[float], v: list[float]) -> list[float]:
    """Return the features of a pair of sentences for the task MRPC, `[|u-v|, u*v]`, from their embeddings.

    Element by element: first the d absolute differences, then the d products, 2d numbers in all.
    """
    return [abs(a - b) for a, b in zip(u, v, strict=True)] + [a * b for a, b in zip(u, v, strict=True)]


@pair_features.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    d = rng.integers(1, 6)
    return tuple((rng.normal(size=d) * rng.choice([0.1, 1, 30])).round(3).tolist() for _ in range(2))


pair_features.by_hand({
    "The differences come first, without their sign, then the products: {right}, not {seen}.":
        ([1.0, 2.0, -1.0], [3.0, 0.5, -2.0]),
})  # fmt: skip
pair_features.mistaken({
    "Whether two sentences say the same does not depend on which is named first; the features must not either, or the "
    "classifier has to learn that from data.":
        ("[abs(a - b) for a, b in zip(u, v, strict=True)] + [a * b for a, b in zip(u, v, strict=True)]", "[*u, *v]"),
    "The differences lose their sign: |u - v|, or the order of the pair shows.": ("abs(a - b)", "a - b"),
    "Right numbers, other order: the differences come first, then the products.":
        ("abs(a - b)", "?", "a * b", "abs(a - b)", "?", "a * b"),
})  # fmt: skip


@hint("One of the two numbers chooses the strength. Only the other one may be printed.")
@exercise("06.3", "Which number goes into the table?", difficulty=2, importance=3, minutes=10,
    praise="`acc` and `dev` of every task stand beside each other in a run's transfer.json, so that nobody mixes them "
    "up.")  # fmt: skip
def table_entry(results: dict[float, tuple[float, float]]) -> float:
    """Return the accuracy that belongs in the table.

    `results` maps every strength of regularisation that was tried to its accuracy on dev rows, and on test rows. Of
    equally good strengths the first in the dictionary counts.
    """
    strength = max(results, key=lambda tried: results[tried][0])
    return results[strength][1]


@table_entry.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    strengths = rng.permutation([0.001, 0.01, 0.1, 1.0, 10.0])[: rng.integers(1, 6)]
    return ({float(s): tuple(map(float, rng.integers(70, 76, 2))) for s in strengths},)


table_entry.by_hand({
    "Dev chooses strength 0.1; its test accuracy, 79.0, is the entry, not {seen!r}.":
        ({0.01: (80.0, 78.0), 0.1: (84.0, 79.0), 1.0: (82.0, 81.0)},),
    "With one strength nothing is chosen: 74.0, which may well be above dev; not {seen!r}.": ({0.1: (70.0, 74.0)},),
})  # fmt: skip
table_entry.mistaken({
    "That is a dev accuracy. It is the highest because it was picked for being the highest: released code that prints "
    "it claims too much.": ("[strength][1]", "[strength][0]"),
    "You choose by the test rows. Whoever does has no test rows left; dev chooses the strength, and the test accuracy "
    "of that strength is the result, though a better one stands beside it.": ("[tried][0]", "[tried][1]"),
    "You choose a strength by its place, not by dev.":
        ("max(results, key=lambda tried: results[tried][0])", "sorted(results)[:2][-1]"),
})  # fmt: skip


@hint("""
    Outer loop: which rows are test? Everything else is `rest`. Inner loop over `rest` alone: which of *its* rows are
    dev? What is left trains. Slices with a step, `rows[f::k]`, make a fold.""")
@exercise("06.4", "Folds inside folds", difficulty=3, importance=2, minutes=20,
    praise="So ten folds train a hundred classifiers a strength. The real ones keep the classes balanced in every "
    "fold: `hncse/evaluation/solvers.py`.")  # fmt: skip
def nested_folds(n: int, k: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Return the `k·k` splits of nested cross-validation, each as three lists of row numbers: train, dev, test.

    For every outer fold `f` the test rows are `f`, `f + k`, `f + 2k`, … of the `n`. The rest, in order, is split once
    more: inner fold `g` takes its places `g`, `g + k`, … as dev rows, and all others train. The inner folds of outer
    fold 0 come first, then those of outer fold 1, and so on.
    """
    splits = []
    for f in range(k):
        test = list(range(f, n, k))
        rest = [row for row in range(n) if row % k != f]
        for g in range(k):
            dev = rest[g::k]
            splits.append(([row for row in rest if row not in dev], dev, test))
    return splits


@nested_folds.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    k = int(rng.integers(2, 5))
    return int(rng.integers(2 * k, 14)), k


@nested_folds.compare_by
def _(result: Any, _: tuple[Any, ...]) -> Any:
    """The rows of every part; their order within it does not matter."""
    try:
        return [[sorted(int(row) for row in part) for part in split] for split in result]
    except TypeError:
        return result


nested_folds.by_hand({
    "3 outer folds with 3 inner ones each are 9 splits of train, dev and test. The first test rows are 0, 3, 6; the "
    "rest is 1, 2, 4, 5, 7, 8, whose places 0 and 3 hold the rows 1 and 5: these are dev. In all {right}, not {seen}.":
        (9, 3),
})  # fmt: skip
nested_folds.mistaken({
    "Your test rows choose as well. What chose the strength was seen: its accuracy is a dev accuracy by another name.":
        ("dev = rest[g::k]", "dev = test"),
    "Your inner folds run over all rows, test rows among them; split the rest alone.":
        ("dev = rest[g::k]", "dev = list(range(g, n, k))", "for row in rest", "for row in range(n)"),
    "A dev row trains in your splits: then the weakest regularisation always looks best.": (" if row not in dev", ""),
})  # fmt: skip
