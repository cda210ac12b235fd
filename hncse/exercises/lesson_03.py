"""Exercises of notebook 03, training."""

from __future__ import annotations

from math import inf, isclose

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Test scores are read once, when nothing is left to choose.")
@exercise("03.1", "Which weights are kept?", difficulty=1, minutes=5)
def kept_step(history: list[dict[str, float]]) -> float:
    """Return the step whose weights are kept at the end of training.

    Every entry has "step", "loss", "dev" (Spearman on STS-B dev) and "test" (on STS-B test). Of equals the first.
    """
    return max(history, key=lambda line: line["dev"])["step"]


@kept_step.checked_by
def _(answer: Answer) -> str:
    history = [
        {"step": 50, "loss": 0.30, "dev": 70.0, "test": 66.0},
        {"step": 100, "loss": 0.20, "dev": 74.0, "test": 67.0},
        {"step": 150, "loss": 0.15, "dev": 73.0, "test": 69.0},
        {"step": 200, "loss": 0.12, "dev": 71.0, "test": 65.0},
    ]
    seen = answer(history)
    expect(
        seen != 150,
        "Step 150 has the best test score. A score that chose the weights is no test any more: it is high because it "
        "was picked for being high.",
    )
    expect(
        seen != 200,
        "Step 200 has the lowest loss, and is last. The loss is an easier game than the one you care about.",
    )
    equal(seen, 100, "Step 100 has the best dev score; you return {seen!r}.")
    expect(
        answer([{"step": s, "loss": 0.1, "dev": 70.0, "test": 60.0} for s in (10, 20)]) == 10,
        "Of steps with equal dev scores the first is kept.",
    )
    return "That test score, 67.0, is the result, though a better one was passed on the way."


kept_step.mistakes |= {
    "the best test score": lambda history: max(history, key=lambda line: line["test"])["step"],
    "the lowest loss": lambda history: min(history, key=lambda line: line["loss"])["step"],
}


@hint("""
    Of `k` hardest negatives, how many pairs `a < b` are there? One given pair is missed by one draw with which
    probability, and by all draws? What is then the chance that it is there, and how many such pairs are there?
    """)
@exercise("03.2", "How many different mixes?", difficulty=2, minutes=10)
def expected_distinct(k: int, draws: int) -> float:
    """Return how many different pairs HNM mixes on average, drawing with replacement as the released code does.

    An anchor has `k` hardest negatives; each of the `draws` draws takes one of their pairs `(a, b)`, `a < b`, all
    equally likely.
    """
    pairs = k * (k - 1) / 2
    missed = (1 - 1 / pairs) ** draws
    return pairs * (1 - missed)


@expected_distinct.checked_by
def _(answer: Answer) -> str:
    equal(answer(2, 7), 1, "Two negatives make one pair (a < b, and none with itself): always 1, not {seen:.3f}.")
    equal(answer(10, 1), 1, "One draw is one pair: 1, not {seen:.3f}.")
    seen = answer(3, 2)
    expect(
        not isclose(seen, 2),
        "Of 3 pairs, 2 draws: they are not always different. The second is the first again once in three times.",
    )
    equal(seen, 5 / 3, "Of 3 pairs, 2 draws: 1 + 2/3 = 1.667 different ones on average, not {seen:.3f}.")
    seen = answer(10, 40)
    equal(seen, 45 * (1 - (44 / 45) ** 40), "k = 10 has 45 pairs; your {seen:.2f} does not follow from them.")
    return (
        f"k = 10, s = 40: {seen:.1f} different mixes of 40, so some count twice or more in the denominator. The preset "
        "`hnm-no-replacement` draws 40 different ones of the 45."
    )


expected_distinct.mistakes |= {
    "every draw a new pair": lambda k, draws: min(draws, k * (k - 1) / 2),
    "pairs counted in both orders": lambda k, draws: k * (k - 1) * (1 - (1 - 1 / (k * (k - 1))) ** draws),
}


@hint("""
    The top of the fraction is the inner product of z1 with the mix, and an inner product is linear. Below it stands the
    mix's norm, `‖u‖² = <u, u>`: multiply it out and count the terms.
    """)
@exercise("03.3", "A cosine with a vector that is never built", difficulty=2, minutes=15)
def cosine_with_mix(
    z1_a: float, z1_b: float, aa: float, bb: float, ab: float, norm1: float, alpha: float = 0.5
) -> float:
    """Return `cos(z1, u)` for the mix `u = alpha·z2_a + (1-alpha)·z2_b`, from inner products alone.

    - `z1_a = <z1, z2_a>` and `z1_b = <z1, z2_b>`: the anchor with each of the two negatives;
    - `aa = <z2_a, z2_a>`, `bb = <z2_b, z2_b>`, `ab = <z2_a, z2_b>`: the negatives with themselves and each other;
    - `norm1 = ‖z1‖`.
    """
    top = alpha * z1_a + (1 - alpha) * z1_b
    square = alpha**2 * aa + (1 - alpha) ** 2 * bb + 2 * alpha * (1 - alpha) * ab
    return top / (norm1 * square**0.5)


@cosine_with_mix.checked_by
def _(answer: Answer) -> str:
    equal(
        answer(0.6, 0.6, 1.0, 1.0, 1.0, 1.0),
        0.6,
        "A vector mixed with itself is itself: the cosine stays 0.6, not {seen:.4f}. "
        "‖u‖² has three terms, the two squares and twice the product 2·α·(1-α)·<z2_a, z2_b>; is one missing?",
    )
    seen = answer(0.6, 0.8, 1.0, 1.0, 0.96, 1.0)  # angles 0°, 53° and 37°
    expect(
        not isclose(seen, 0.7),
        "You return the mean of both cosines. The mix is shorter than its parts where they point apart, and a cosine "
        "divides by its length: the cosine with a mix is larger than the mean.",
    )
    expect(
        not isclose(seen, 0.7 / 0.5**0.5),
        "‖u‖² has three terms; the product of the two parts is missing.",
    )
    equal(seen, 0.7 / 0.98**0.5, "Unit vectors 0.6 and 0.8 near, with <z2_a, z2_b> = 0.96: not {seen:.4f}.")
    equal(
        answer(0.6, 0.8, 1.0, 1.0, 0.96, 2.0),
        0.35 / 0.98**0.5,
        "The cosine divides by ‖z1‖ too; here it is 2. You return {seen:.4f}.",
    )
    equal(
        answer(1.2, 0.8, 4.0, 1.0, 1.92, 1.0),
        1 / (1.25 + 0.96) ** 0.5,
        "z2_a twice as long weighs more in the mix; you return {seen:.4f}.",
    )
    equal(
        answer(0.6, 0.8, 1.0, 1.0, 0.96, 1.0, 1.0),
        0.6,
        "alpha = 1 leaves z2_a alone: 0.6, not {seen:.4f}. Use `alpha`, not a half.",
    )
    return (
        "All anchors and mixes at once: `hncse.mixing.hard_negative_mixes`. It reads these entries out of one matrix "
        "product and never holds a mix."
    )


cosine_with_mix.mistakes |= {
    "the mean of the cosines": lambda z1_a, z1_b, aa, bb, ab, norm1, alpha=0.5: (
        (alpha * z1_a / aa**0.5 + (1 - alpha) * z1_b / bb**0.5) / norm1
    ),
    "no product of the parts in the norm": lambda z1_a, z1_b, aa, bb, ab, norm1, alpha=0.5: (
        (alpha * z1_a + (1 - alpha) * z1_b) / (norm1 * (alpha**2 * aa + (1 - alpha) ** 2 * bb) ** 0.5)
    ),
}


@hint("""
    Name the case first. Case C's weights add up to 1, and the nearer of the two sentences gets the larger one. Only the
    direction of z3 matters to a cosine, so any positive multiple of the two weights is right.
    """)
@exercise("03.4", "What positive mixing does to one anchor", difficulty=3, minutes=15)
def mixing_coefficients(p: float, n: float, w1: float, w2: float, band: float = 0.1) -> tuple[float, float]:
    """Return `(a, b)` of the mixed positive `z3_i = a·z2_i + b·z2_j*`, where `j*` is the hardest negative.

    `p` and `n` are the anchor's similarities to its positive and to `z2_j*`, both above 0.

    - case A, near the boundary, ahead by at most the share `band` of `p`: the batch's weights `w1` and `w2`;
    - case B, safe: the positive itself;
    - case C, on the wrong side: `p/(p+n)` and `n/(p+n)`.
    """
    if p <= n:
        return p / (p + n), n / (p + n)
    return (w1, w2) if (p - n) / p <= band else (1.0, 0.0)


@mixing_coefficients.checked_by
def _(answer: Answer) -> str:
    def angle(p: float, n: float, w1: float, w2: float, band: float = 0.1) -> float:
        a, b = answer(p, n, w1, w2, band)
        return b / a if a > 0 else inf  # w2/w1: all that a cosine sees

    equal(
        angle(0.9, 0.3, 1.0, 0.4),
        0.0,
        "p = 0.9, n = 0.3 is safe, case B: z3 is the positive itself, b = 0, whatever w1 and w2 are. "
        "Your b/a is {seen:.3f}.",
    )
    equal(
        angle(0.8, 0.76, 1.0, 0.4),
        0.4,
        "p = 0.8, n = 0.76 is case A: z3 = w1·z2_i + w2·z2_j*, b/a = 0.4, not {seen:.3f}.",
    )
    equal(angle(0.8, 0.76, 2.0, 0.8), 0.4, "w1 = 2, w2 = 0.8 point the same way as 1 and 0.4: b/a stays 0.4.")
    seen = angle(0.4, 0.6, 1.0, 0.2)
    expect(
        not isclose(seen, 0.4 / 0.6),
        "p = 0.4, n = 0.6 is case C, and your weights are swapped: the positive gets p/(p+n) = 0.4, the negative 0.6. "
        "So the farther the anchor is on the wrong side, the more of the negative its new positive holds.",
    )
    expect(not isclose(seen, 0.2), "p = 0.4, n = 0.6 is case C: w1 and w2 belong to case A alone.")
    equal(seen, 1.5, "p = 0.4, n = 0.6, case C: b/a = n/p = 1.5, not {seen:.3f}.")
    equal(angle(0.5, 0.5, 1.0, 0.2), 1.0, "p = n is case C (p ≤ n): half and half, b/a = 1, not {seen:.3f}.")
    equal(angle(0.8, 0.6, 1.0, 0.4, 0.3), 0.4, "With band = 0.3 a lead of a quarter of p is case A: use `band`.")
    return (
        "`hncse.mixing.mixing_weights` is the same on tensors. Look at the picture of A, B and C above once more: "
        "where all is B, this function always returns (1, 0), and PM is SimCSE."
    )


@mixing_coefficients.mistake("case C's weights swapped")
def _(p: float, n: float, w1: float, w2: float, band: float = 0.1) -> tuple[float, float]:
    if p <= n:
        return n / (p + n), p / (p + n)
    return (w1, w2) if (p - n) / p <= band else (1.0, 0.0)


mixing_coefficients.mistakes |= {
    "w1 and w2 in every case": lambda p, n, w1, w2, band=0.1: (w1, w2),
    "case C treated as case A": lambda p, n, w1, w2, band=0.1: (w1, w2) if (p - n) / p <= band else (1.0, 0.0),
}
