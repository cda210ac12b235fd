"""Exercises of notebook 02, hard negatives."""

from __future__ import annotations

from math import inf, isclose

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Ask first whether the positive wins at all. A tie is no win.")
@exercise("02.1", "Name the case", difficulty=1, minutes=5)
def name_case(p: float, n: float, band: float = 0.1) -> str:
    """Return HNCSE's case of an anchor: "A", "B" or "C".

    `p` is its similarity to its positive, `n` to its hardest negative.

    - A: the positive is ahead, but by at most the share `band` of `p`;
    - B: ahead by more;
    - C: not ahead.
    """
    if p <= n:
        return "C"
    return "A" if (p - n) / p <= band else "B"


@name_case.checked_by
def _(answer: Answer) -> str:
    expect(answer(0.9, 0.2) == "B", "p = 0.9, n = 0.2: far ahead of the boundary, so this anchor is safe: B.")
    expect(answer(0.3, 0.6) == "C", "p = 0.3, n = 0.6: another sentence is nearer than the positive: C.")
    expect(
        answer(0.5, 0.5) == "C",
        "p = n = 0.5: on the boundary itself the positive does not win. The paper says p ≤ n: C.",
    )
    expect(
        answer(0.2, 0.15) == "B",
        "p = 0.2, n = 0.15: the lead of 0.05 is a quarter of p. The band is relative: (p - n) / p, not p - n.",
    )
    expect(answer(0.8, 0.75) == "A", "p = 0.8, n = 0.75: ahead by a sixteenth of p, within the tenth: A.")
    expect(answer(0.8, 0.6, 0.3) == "A", "with band=0.3 a lead of a quarter of p is within the band: use `band`.")
    return "`hncse.miner.cases` is the same on tensors."


name_case.mistakes |= {
    "the lead not taken relative to p": lambda p, n, band=0.1: "C" if p <= n else "A" if p - n <= band else "B",
    "a tie counted as a win": lambda p, n, band=0.1: "C" if p < n else "A" if (p - n) / p <= band else "B",
}


@hint("""
    Which columns of row i are negatives at all? Not the diagonal; and if a sentence stands in the batch twice, not its
    copy either. Of the rest take the largest.
    """)
@exercise("02.2", "The hardest negative of a batch", difficulty=2, minutes=10)
def hardest_negatives(similarity: list[list[float]], sentences: list[str]) -> list[int]:
    """Return for every anchor `i` the column `j*` of its hardest negative.

    `similarity[i][j]` is `s_ij = cos(z1_i, z2_j)` of a batch, `sentences[i]` the text of row and column `i`. A column
    that holds the anchor's own sentence is no negative. An anchor without any negative gets its own column, `i`.
    """
    found = []
    for i, row in enumerate(similarity):
        negatives = [j for j, sentence in enumerate(sentences) if sentence != sentences[i]]
        found.append(max(negatives, key=row.__getitem__, default=i))
    return found


@hardest_negatives.checked_by
def _(answer: Answer) -> str:
    table = [[0.9, 0.1, 0.4], [0.2, 0.8, 0.3], [0.6, 0.5, 0.7]]
    seen = list(answer(table, ["rain falls", "a dog barks", "snow falls"]))
    expect(
        seen != [0, 1, 2], "You return the diagonal. There stand the positives, the largest value of a row as a rule."
    )
    equal(seen, [2, 2, 0], "Of three different sentences the hardest negatives are [2, 2, 0], not {seen}.")
    table = [[0.9, 0.1, 0.85], [0.2, 0.8, 0.3], [0.86, 0.4, 0.9]]
    equal(
        list(answer(table, ["rain falls", "a dog barks", "rain falls"])),
        [1, 2, 1],
        "Rows 0 and 2 hold the same sentence: it is nobody's negative to itself, however large 0.85 is. "
        "Meant is [1, 2, 1], not {seen}. Training on such a pair pushes a sentence away from itself.",
    )
    equal(
        list(answer([[0.9, 0.9], [0.9, 0.9]], ["rain falls", "rain falls"])),
        [0, 1],
        "A batch of one sentence twice has no negatives: every anchor gets its own column, not {seen}.",
    )
    table = [[-0.1, -0.5, -0.2], [-0.4, 0.1, -0.3], [-0.2, -0.6, 0.2]]
    equal(
        list(answer(table, ["rain falls", "a dog barks", "snow falls"])),
        [2, 2, 0],
        "Cosines can be negative: do not start looking from 0, and do not zero what you leave out.",
    )
    return "`hncse.miner.mine_in_batch` does it with one mask; `excluded_pairs` makes the mask."


@hardest_negatives.mistake("copies of the anchor's sentence taken for negatives")
def _(similarity: list[list[float]], sentences: list[str]) -> list[int]:
    n = len(sentences)
    return [max((j for j in range(n) if j != i), key=similarity[i].__getitem__) for i in range(n)]


hardest_negatives.mistakes |= {
    "the largest of the row, the positive": lambda similarity, sentences: [
        max(range(len(row)), key=row.__getitem__) for row in similarity
    ],
}


@hint("""
    Two shares of two different wholes. Safe looks at what the guard keeps. Yield looks at the hard negatives that
    were there before it.
    """)
@exercise("02.3", "Safe, and worth having", difficulty=2, minutes=10)
def safe_and_yield(kinds: list[str], kept: list[bool]) -> tuple[float, float]:
    """Return how safe a guard is, and its yield, from labelled neighbours.

    `kinds[i]` is "paraphrase", "hard negative" or "other"; `kept[i]` is True where the guard leaves neighbour `i` in.

    - safe: share of what is kept that is no paraphrase (1 where nothing is kept);
    - yield: share of the hard negatives that is kept (0 where there are none).
    """
    left = [kind for kind, stays in zip(kinds, kept, strict=True) if stays]
    hard = kinds.count("hard negative")
    safe = 1 - left.count("paraphrase") / len(left) if left else 1.0
    return safe, left.count("hard negative") / hard if hard else 0.0


@safe_and_yield.checked_by
def _(answer: Answer) -> str:
    kinds = ["paraphrase", "hard negative", "hard negative", "hard negative", "other", "paraphrase"]
    safe, share = answer(kinds, [True] * 6)
    equal(
        safe,
        4 / 6,
        "With everything kept, 4 of the 6 are no paraphrase: safe is 0.667, not {seen:.3f}. It asks what training "
        "would meet: its whole is what is kept, not the paraphrases that were there.",
    )
    equal(
        share,
        1,
        "With everything kept, every hard negative is: the yield is 1, not {seen:.3f}. Its whole is the hard "
        "negatives that were there, not the neighbours that are kept.",
    )
    safe, share = answer(kinds, [False, False, True, True, True, True])
    equal(safe, 3 / 4, "Of the 4 kept one is a paraphrase: safe is 0.75, not {seen:.3f}.")
    equal(
        share,
        2 / 3,
        "Of 3 hard negatives 2 are kept: the yield is 0.667, not {seen:.3f}. A guard that throws away all but one "
        "good neighbour of a thousand has lost the other 999.",
    )
    safe, share = answer(kinds, [False] * 6)
    expect((safe, share) == (1, 0), "A guard that keeps nothing is perfectly safe, 1, and yields nothing, 0.")
    expect(answer(["other"], [True])[1] == 0, "Where there is no hard negative, the yield is 0.")
    return "One number alone says nothing about a guard. `hncse.evaluation.audit` prints both for every setting."


@safe_and_yield.mistake("the yield as a share of what is kept")
def _(kinds: list[str], kept: list[bool]) -> tuple[float, float]:
    left = [kind for kind, stays in zip(kinds, kept, strict=True) if stays]
    size = max(len(left), 1)
    return 1 - left.count("paraphrase") / size, left.count("hard negative") / size


@safe_and_yield.mistake("safe as the share of paraphrases removed")
def _(kinds: list[str], kept: list[bool]) -> tuple[float, float]:
    left = [kind for kind, stays in zip(kinds, kept, strict=True) if stays]
    safe = 1 - left.count("paraphrase") / max(kinds.count("paraphrase"), 1)
    return safe, left.count("hard negative") / max(kinds.count("hard negative"), 1)


@hint("""
    Sort the paraphrases' similarities, lowest first. Of five, how many may lie below the threshold if a fifth is
    allowed? The threshold can rise until it would let one more through.
    """)
@exercise("02.4", "A ceiling read off labels", difficulty=3, minutes=15)
def calibrated_ceiling(paraphrases: list[float], share: float) -> float:
    """Return the highest threshold strictly below which at most `share` of the paraphrases lie.

    `paraphrases` are similarities of labelled paraphrases to their anchors. A neighbour strictly below the threshold
    is kept as a negative, so every paraphrase below it becomes a false negative. Return
    `float("inf")` where all may lie below.
    """
    ordered = sorted(paraphrases)
    allowed = int(share * len(ordered) + 1e-9)
    return ordered[allowed] if allowed < len(ordered) else float("inf")


@calibrated_ceiling.checked_by
def _(answer: Answer) -> str:
    known = [0.9, 0.2, 0.6, 0.4, 0.8]
    seen = answer(known, 0.2)
    expect(
        not isclose(seen, 0.8) and not isclose(seen, 0.9),
        f"You return {seen}: four of the five paraphrases lie below it and would be used as negatives. The allowed "
        "share is counted from the lowest similarity up.",
    )
    equal(
        seen,
        0.4,
        "A fifth of five is one: 0.2 may lie below, and the threshold rises to the next, 0.4, itself no longer below. "
        "You return {seen}.",
    )
    equal(
        answer(known, 0.0),
        0.2,
        "With no paraphrase allowed below, the lowest of them, 0.2, is the threshold, not {seen}.",
    )
    equal(
        answer(known, 0.5), 0.6, "Half of five is 2.5: two may lie below, not three. The threshold is 0.6, not {seen}."
    )
    expect(answer(known, 1.0) == inf, "Where all may lie below, nothing limits the threshold: float('inf').")
    equal(known, [0.9, 0.2, 0.6, 0.4, 0.8], "Your function changes the list it was given; `sorted` makes a new one.")
    return (
        "`hncse.mining.calibrate` reads it off the probe. Mind what it cannot do: it bounds the paraphrases let "
        "through, and promises nothing about the hard negatives that go with them."
    )


@calibrated_ceiling.mistake("the share counted from the top")
def _(paraphrases: list[float], share: float) -> float:
    ordered = sorted(paraphrases, reverse=True)
    allowed = int(share * len(ordered) + 1e-9)
    return ordered[allowed] if allowed < len(ordered) else inf


@calibrated_ceiling.mistake("one paraphrase too few let through")
def _(paraphrases: list[float], share: float) -> float:
    allowed = int(share * len(paraphrases) + 1e-9)
    return sorted(paraphrases)[max(allowed - 1, 0)] if allowed < len(paraphrases) else inf
