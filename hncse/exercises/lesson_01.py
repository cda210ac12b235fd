"""Exercises of notebook 01, contrastive learning: the loss, its gradient, its limits, and two measures."""

from __future__ import annotations

from math import exp, isclose, log

import numpy as np

from hncse.exercises.core import Answer, equal, exercise, expect, hint

ROW = [0.9, 0.3, 0.6, -0.2]  # an anchor's cosines; column 0 is its positive unless a check says otherwise


@hint("""
    The loss is -log of a share: e^(p/τ) over the sum of e^(s/τ) over the whole row, the positive included. Taken
    apart it is log Σ e^(s/τ) - p/τ. At τ = 0.001, e^(0.9/τ) is more than a float can hold: subtract the largest
    logit from all of them first; the share stays what it was.
    """)
@exercise("01.1", "InfoNCE for one anchor", difficulty=1, minutes=10)
def info_nce(row: list[float], i: int, tau: float) -> float:
    """Return the loss of one anchor.

    `row[j]` is `s_ij`, the cosine of anchor `i` and the second view of sentence `j`, so `row[i]` is the positive's.
    The loss is the cross-entropy of picking column `i` from a softmax over `row / tau`.
    """
    logits = [s / tau for s in row]
    largest = max(logits)
    return largest + log(sum(exp(value - largest) for value in logits)) - logits[i]


@info_nce.checked_by
def _(answer: Answer) -> str:
    equal(
        answer([0.7] * 8, 3, 0.05),
        log(8),
        "Eight equal cosines: picking one of eight blindly costs log 8 = 2.079, not {seen:.3f}. The positive is one "
        "of the columns of the denominator.",
    )
    seen = answer(ROW, 0, 1.0)
    meant = log(sum(exp(s) for s in ROW)) - 0.9
    expect(
        isclose(seen, meant, rel_tol=1e-6),
        f"The row {ROW} with τ = 1 and i = 0 gives {meant:.4f}, not {seen:.4f}. Natural logarithm, column i on top, "
        "minus in front.",
    )
    equal(answer(ROW, 2, 1.0), meant + 0.3, "With i = 2 the positive is 0.6: use `i`, not column 0.")
    seen = answer(ROW, 0, 0.1)
    meant = log(sum(exp((s - 0.9) / 0.1) for s in ROW))
    equal(seen, meant, "With τ = 0.1 it is {right:.4f}, not {seen:.4f}: divide every cosine.")
    equal(answer(ROW, 0, 0.001), 0, "With τ = 0.001 this positive wins by far: 0, not {seen}.")
    return "The mean of it over anchors is `losses.build('simcse')`, to ten decimals."


@info_nce.mistake("the positive left out of the denominator")
def _(row: list[float], i: int, tau: float) -> float:
    logits = [s / tau for s in row]
    largest = max(logits)
    rest = sum(exp(value - largest) for j, value in enumerate(logits) if j != i)
    return largest + log(rest) - logits[i]


info_nce.mistakes |= {
    "the temperature forgotten": lambda row, i, tau: log(sum(exp(s) for s in row)) - row[i],
}


@info_nce.mistake("column 0 taken for the positive")
def _(row: list[float], i: int, tau: float) -> float:
    largest = max(row)
    return largest / tau + log(sum(exp((s - largest) / tau) for s in row)) - row[0] / tau


@hint("""
    Write the loss as log Σ e^(s/τ) - p/τ and differentiate. The first term gives every column its share of the
    softmax; the second touches only one column. Both have a factor 1/τ.
    """)
@exercise("01.2", "What pulls, what pushes", difficulty=2, minutes=15)
def gradient(row: list[float], i: int, tau: float) -> list[float]:
    """Return the derivative of the anchor's loss by every cosine of its row.

    Entry `j` is dℓ_i / ds_ij: negative for the positive, which the loss pulls closer, positive for the negatives, which
    it pushes away.
    """
    largest = max(row)
    shares = [exp((s - largest) / tau) for s in row]
    total = sum(shares)
    return [(share / total - (j == i)) / tau for j, share in enumerate(shares)]


@gradient.checked_by
def _(answer: Answer) -> str:
    seen = list(answer([0.5] * 4, 1, 1.0))
    expect(len(seen) == 4, "One number a column: four cosines, four derivatives.")
    expect(
        isclose(seen[0], 0.25, rel_tol=1e-6),
        f"Of four equal cosines each has a quarter of the softmax: a negative's derivative is 0.25, not {seen[0]:.3f}.",
    )
    expect(
        isclose(seen[1], -0.75, rel_tol=1e-6),
        f"The positive's is its share minus 1: 0.25 - 1 = -0.75, not {seen[1]:.3f}. It has a term of its own, -p/τ.",
    )
    seen = list(answer([0.5] * 4, 1, 0.1))
    expect(
        isclose(seen[0], 2.5, rel_tol=1e-6),
        f"With τ = 0.1 the same forces are ten times as large, 2.5 and not {seen[0]:.3f}: the factor 1/τ is inside.",
    )
    seen = list(answer([0.2, 0.9, 0.6], 1, 0.3))
    expect(
        isclose(sum(seen), 0, abs_tol=1e-6),
        f"Pull and push are equal: the derivatives of a row add up to 0, yours to {sum(seen):.3f}.",
    )
    expect(
        isclose(seen[2] / seen[0], exp(0.4 / 0.3), rel_tol=1e-6),
        "Of two negatives the nearer is pushed more, by the factor e^(difference of cosines / τ).",
    )
    return "A hard negative is hard because of this exponential: nothing in the code looks for it."


@gradient.mistake("the factor 1/τ forgotten")
def _(row: list[float], i: int, tau: float) -> list[float]:
    largest = max(row)
    shares = [exp((s - largest) / tau) for s in row]
    return [share / sum(shares) - (j == i) for j, share in enumerate(shares)]


@gradient.mistake("the positive treated as one of the negatives")
def _(row: list[float], i: int, tau: float) -> list[float]:
    largest = max(row)
    shares = [exp((s - largest) / tau) for s in row]
    return [share / sum(shares) / tau for share in shares]


@gradient.mistake("all negatives pushed alike")
def _(row: list[float], i: int, tau: float) -> list[float]:
    largest = max(row)
    own = exp((row[i] - largest) / tau) / sum(exp((s - largest) / tau) for s in row)
    rest = (1 - own) / (len(row) - 1)
    return [((own - 1) if j == i else rest) / tau for j in range(len(row))]


@hint("""
    Cold: τ · log Σ e^(s/τ) tends to the largest cosine of the row, the positive's included. Hot: all logits tend to
    0; how many columns are there?
    """)
@exercise("01.3", "Very cold and very hot", difficulty=2, minutes=15)
def limits(row: list[float], i: int) -> tuple[float, float]:
    """Return two limits of the anchor's loss ℓ: of τ·ℓ for τ → 0, and of ℓ for τ → ∞.

    The first is a number that you know from the similarity plane, cut off at 0. No temperature is needed for either.
    """
    return max(row) - row[i], log(len(row))


@limits.checked_by
def _(answer: Answer) -> str:
    cold, hot = answer([0.3, 0.9, 0.6], 1)
    equal(
        cold,
        0,
        "Where the positive is the nearest, a cold softmax is content: τ·ℓ tends to 0, not to {seen:.3f}. A loss is "
        "never below 0.",
    )
    equal(hot, log(3), "Hot, all three columns are alike, the positive among them: log 3 = 1.099, not {seen:.3f}.")
    cold, hot = answer([0.8, 0.5, 0.1, 0.7], 1)
    equal(
        cold,
        0.3,
        "p = 0.5, the hardest negative n = 0.8: τ·ℓ tends to n - p = 0.3, not {seen:.3f}. A cold loss sees one "
        "negative only, the hardest; the others could be anything.",
    )
    equal(hot, log(4), "Hot, it is log 4, whatever the cosines are.")
    return (
        "Between the two lies the choice of τ: cold, it is a margin loss on the hardest negative; hot, it pushes all "
        "negatives alike."
    )


limits.mistakes |= {
    "the margin not cut off at 0": lambda row, i: (max(s for j, s in enumerate(row) if j != i) - row[i], log(len(row))),
    "the positive not counted among the columns": lambda row, i: (max(row) - row[i], log(len(row) - 1)),
}


@limits.mistake("the mean negative in place of the hardest")
def _(row: list[float], i: int) -> tuple[float, float]:
    rest = [s for j, s in enumerate(row) if j != i]
    return max(0.0, sum(rest) / len(rest) - row[i]), log(len(row))


@hint("""
    Three steps: every row of both tables to length 1; squared distance of row k and row k; the mean of these.
    `np.linalg.norm(x, axis=1, keepdims=True)` gives the lengths as a column.
    """)
@exercise("01.4", "Alignment", difficulty=2, minutes=10)
def alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean squared distance of anchors and their positives on the unit sphere.

    `x` and `y` are (n, d) arrays, row k of `y` the positive of row k of `x`. Embeddings have any length: bring them to
    length 1 first.
    """
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    return float(np.mean(np.sum((x - y) ** 2, axis=1)))


def on_circle(*degrees: float) -> np.ndarray:
    """Unit vectors at angles: (n, 2)."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@alignment.checked_by
def _(answer: Answer) -> str:
    equal(float(answer(on_circle(0, 90), on_circle(0, 90))), 0, "Positives on their anchors: 0, not {seen:.3f}.")
    equal(
        float(answer(on_circle(10, 50), on_circle(100, 140))),
        2,
        "At right angles the squared distance is 2 - 2·cos = 2, not {seen:.3f}. (Not squared it is 1.414; averaged "
        "over both axes it is 1.)",
    )
    equal(
        float(answer(3 * on_circle(0, 0), on_circle(0, 180))),
        2,
        "One pair with distance² 0, one with 4: the mean is 2, not {seen:.3f}. The anchors here are three times as "
        "long, which must not matter: normalise both.",
    )
    return "On the sphere it is 2 - 2·mean(p): alignment *is* the positives' mean cosine, in other words."


alignment.mistakes |= {
    "embeddings not normalised": lambda x, y: float(np.mean(np.sum((x - y) ** 2, axis=1))),
}


@alignment.mistake("the distance not squared")
def _(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    return float(np.mean(np.linalg.norm(x - y, axis=1)))


@hint("""
    After normalising, all squared distances at once are `2 - 2 * x @ x.T`. A row's distance to itself is always 0 and
    says nothing: leave the diagonal out (`~np.eye(n, dtype=bool)`, or `np.triu_indices(n, 1)`). Mean first, then log.
    """)
@exercise("01.5", "Uniformity", difficulty=3, minutes=20)
def uniformity(x: np.ndarray) -> float:
    """Return the logarithm of the mean, over all pairs of different rows, of exp(-2·squared distance).

    `x` is an (n, d) array, its rows of any length: bring them to length 1 first. 0 means all rows in one place; the
    lower, the more evenly they fill the sphere.
    """
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    squared = 2 - 2 * x @ x.T
    return float(np.log(np.mean(np.exp(-2 * squared[np.triu_indices(len(x), 1)]))))


@uniformity.checked_by
def _(answer: Answer) -> str:
    equal(float(answer(5 * on_circle(20, 20, 20))), 0, "All rows in one place: 0, not {seen:.3f}.")
    seen = float(answer(on_circle(0, 180)))
    expect(
        not isclose(seen, -4, rel_tol=1e-6),
        "You use exp(-d²); the measure has exp(-2·d²). The code released with HNCSE makes the same slip.",
    )
    equal(
        seen,
        -8,
        "Two opposite rows: one pair, distance² 4, log exp(-8) = -8, not {seen:.3f}. A row and itself is no pair: "
        "its distance 0 would hide everything else.",
    )
    seen = float(answer(on_circle(0, 90, 180) * np.array([[1.0], [7.0], [0.5]])))
    meant = log((2 * exp(-4) + exp(-8)) / 3)
    equal(
        seen,
        meant,
        "Angles 0, 90 and 180: two pairs with distance² 2, one with 4, so {right:.3f}, not {seen:.3f}. Lengths do "
        "not count, and the logarithm comes after the mean: near pairs weigh most.",
    )
    return "`hncse.evaluation.geometry.uniformity` is the same, in pieces, so that n rows never need an n × n table."


@uniformity.mistake("a row's distance to itself counted")
def _(x: np.ndarray) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.log(np.mean(np.exp(-2 * (2 - 2 * x @ x.T)))))


@uniformity.mistake("exp(-d²), as in the released code")
def _(x: np.ndarray) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.log(np.mean(np.exp(-(2 - 2 * x @ x.T)[np.triu_indices(len(x), 1)]))))


@uniformity.mistake("the mean of logarithms")
def _(x: np.ndarray) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.mean(-2 * (2 - 2 * x @ x.T)[np.triu_indices(len(x), 1)]))


@uniformity.mistake("embeddings not normalised")
def _(x: np.ndarray) -> float:
    squared = np.sum((x[:, None] - x[None]) ** 2, axis=2)
    return float(np.log(np.mean(np.exp(-2 * squared[np.triu_indices(len(x), 1)]))))
