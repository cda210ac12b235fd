"""Exercises of notebook 06, the transfer table."""

from __future__ import annotations

from math import isclose

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Somebody who never reads the sentence gives every one the same answer. Which answer is best?")
@exercise("06.1", "What knowing nothing scores", difficulty=1, minutes=5)
def majority_accuracy(labels: list[str]) -> float:
    """Return the accuracy × 100 of the best answer that ignores the sentence: always the same label."""
    return 100 * max(labels.count(label) for label in labels) / len(labels)


@majority_accuracy.checked_by
def _(answer: Answer) -> str:
    seen = answer(["objective"] * 3 + ["subjective"])
    expect(
        not isclose(seen, 50),
        "Two classes do not make 50 %: that is a coin, and the best one can do only where both are equally common.",
    )
    equal(seen, 75, "Three of four labels are the same: 75, not {seen}.")
    equal(
        answer(["who", "when", "where", "who", "how"]),
        40,
        "The commonest of these labels covers 2 of 5: 40, not {seen}.",
    )
    seen = answer(["subjective"] * 20 + ["objective"] * 5000)
    equal(seen, 100 * 5000 / 5020, "5,000 of 5,020: 99.60, not {seen:.2f}. Do not rely on which label is first.")
    return f"And {seen:.1f} is what published tables have for SUBJ where its file was cut. Ask for this number first."


majority_accuracy.mistakes |= {
    "one over the number of classes": lambda labels: 100 / len(set(labels)),
    "the first label always": lambda labels: 100 * labels.count(labels[0]) / len(labels),
}


@hint("""
    A paraphrase pair has no first and no second sentence. Which of `u - v`, `|u - v|`, `u + v`, `u*v` and `[u, v]` are
    the same when the two change places? SentEval takes two of these, one after the other.
    """)
@exercise("06.2", "What a classifier sees of a pair", difficulty=2, minutes=10)
def pair_features(u: list[float], v: list[float]) -> list[float]:
    """Return the features of a pair of sentences for the task MRPC, `[|u-v|, u*v]`, from their embeddings.

    Element by element: first the d absolute differences, then the d products, 2d numbers in all.
    """
    return [abs(a - b) for a, b in zip(u, v, strict=True)] + [a * b for a, b in zip(u, v, strict=True)]


@pair_features.checked_by
def _(answer: Answer) -> str:
    u, v = [1.0, 2.0, -1.0], [3.0, 0.5, -2.0]
    seen = [float(x) for x in answer(u, v)]
    expect(
        len(seen) == 6,
        f"Embeddings of 3 numbers make 6 features, 3 differences and 3 products; you return {len(seen)}.",
    )
    other = [float(x) for x in answer(v, u)]
    equal(
        seen,
        other,
        "(u, v) gives {seen} and (v, u) gives {right}. Whether two sentences say the same does not depend on which is "
        "named first; the features must not either, or the classifier has to learn that from data.",
    )
    meant = [2.0, 1.5, 1.0, 3.0, 1.0, 2.0]
    expect(seen != meant[3:] + meant[:3], "Right numbers, other order: the differences come first, then the products.")
    expect(all(map(isclose, seen, meant)), f"u = {u}, v = {v}: meant is {meant}, not {seen}.")
    return (
        "`hncse.evaluation.transfer.features` does it for all pairs. How could a linear classifier read a cosine here?"
    )


pair_features.mistakes |= {
    "the embeddings one after the other": lambda u, v: [*u, *v],
    "differences with their sign": lambda u, v: (
        [a - b for a, b in zip(u, v, strict=True)] + [a * b for a, b in zip(u, v, strict=True)]
    ),
}


@hint("One of the two numbers chooses the strength. Only the other one may be printed.")
@exercise("06.3", "Which number goes into the table?", difficulty=2, minutes=10)
def table_entry(results: dict[float, tuple[float, float]]) -> float:
    """Return the accuracy that belongs into the table.

    `results` maps every strength of regularisation that was tried to its accuracy on dev rows, and on test rows.
    """
    strength = max(results, key=lambda tried: results[tried][0])
    return results[strength][1]


@table_entry.checked_by
def _(answer: Answer) -> str:
    seen = answer({0.01: (80.0, 78.0), 0.1: (84.0, 79.0), 1.0: (82.0, 81.0)})
    expect(
        seen != 84.0,
        "84.0 is the dev accuracy. It is the highest of three because it was picked for being the highest: released "
        "code that prints it claims too much.",
    )
    expect(
        seen != 81.0,
        "81.0 is the best test accuracy. Whoever chooses by the test rows has no test rows left; the strength is "
        "chosen by dev, and the test accuracy of that strength is the result, though a better one stands beside it.",
    )
    equal(seen, 79.0, "Dev chooses strength 0.1; its test accuracy, 79.0, is the entry, not {seen!r}.")
    equal(
        answer({0.1: (70.0, 74.0)}),
        74.0,
        "With one strength nothing is chosen: 74.0, which may well be above dev; not {seen!r}.",
    )
    return (
        "`acc` and `dev` of every task stand beside each other in a run's transfer.json, so that nobody mixes them up."
    )


table_entry.mistakes |= {
    "dev printed as the result": lambda results: max(dev for dev, _ in results.values()),
    "the best test accuracy": lambda results: max(test for _, test in results.values()),
}


@hint("""
    Outer loop: which rows are test? Everything else is `rest`. Inner loop over `rest` alone: which of *its* rows are
    dev? What is left trains. Slices with a step, `rows[f::k]`, make a fold.
    """)
@exercise("06.4", "Folds inside folds", difficulty=3, minutes=20)
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


@nested_folds.checked_by
def _(answer: Answer) -> str:
    splits = [tuple(sorted(int(row) for row in part) for part in split) for split in answer(9, 3)]
    expect(len(splits) == 9, f"3 outer folds with 3 inner ones each are 9 splits, not {len(splits)}.")
    for train, dev, test in splits:
        expect(
            not set(train) & set(test), f"Rows {sorted(set(train) & set(test))} train and are tested on: a memory test."
        )
        expect(
            not set(dev) & set(test),
            f"Rows {sorted(set(dev) & set(test))} are dev and test rows at once. What chose the strength was seen: "
            "its accuracy is a dev accuracy under another name.",
        )
        expect(not set(train) & set(dev), "A dev row trains: then the weakest regularisation always looks best.")
        expect(len(train) + len(dev) + len(test) == 9, "Every row is in one of the three parts of every split.")
    equal(
        sorted(row for split in splits[::3] for row in split[2]),
        list(range(9)),
        "Over the outer folds, every row is a test row once.",
    )
    expect(splits[0][2] == [0, 3, 6], f"The first test rows are 0, 3, 6, not {splits[0][2]}.")
    expect(
        splits[0][1] == [1, 5],
        "The rest of fold 0 is 1, 2, 4, 5, 7, 8; its places 0 and 3 hold the rows 1 and 5. "
        f"Your dev rows: {splits[0][1]}.",
    )
    equal(splits, [tuple(map(sorted, split)) for split in nested_folds(9, 3)], "The order of the splits differs.")
    return (
        "So ten folds train a hundred classifiers a strength. The real ones keep the classes balanced in every fold: "
        "`hncse/evaluation/solvers.py`."
    )


@nested_folds.mistake("test rows choose")
def _(n: int, k: int) -> list[tuple[list[int], list[int], list[int]]]:
    folds = [list(range(f, n, k)) for f in range(k)]
    return [([r for r in range(n) if r not in test], test, test) for test in folds for _ in range(k)]


@nested_folds.mistake("inner folds over all rows")
def _(n: int, k: int) -> list[tuple[list[int], list[int], list[int]]]:
    folds = [list(range(f, n, k)) for f in range(k)]
    return [([r for r in range(n) if r not in dev], dev, test) for test in folds for dev in folds]
