"""Exercises of notebook 04, the decision boundary."""

from __future__ import annotations

from math import cos, isclose, radians, sqrt

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("""
    Turn each direction into a similarity: the cosine of the difference of two angles. Then compare with that of the
    positive. The cosine also knows that 350° and 10° are neighbours.
    """)
@exercise("04.1", "Which side of the boundary?", difficulty=1, minutes=5)
def nearer_than_positive(anchor: float, positive: float, others: list[float]) -> list[int]:
    """Return the positions in `others` of the sentences that the anchor would take for its positive.

    In this toy world embeddings are directions on a circle, in degrees. A sentence that ties with the positive stands
    on the boundary, not beyond it.
    """
    p = cos(radians(positive - anchor))
    return [i for i, other in enumerate(others) if cos(radians(other - anchor)) > p + 1e-12]


@nearer_than_positive.checked_by
def _(answer: Answer) -> str:
    equal(
        list(answer(0, 40, [30, 50, 90])),
        [0],
        "Anchor 0°, positive 40°: of 30°, 50° and 90° only the first is nearer. Meant is [0], not {seen}.",
    )
    equal(
        list(answer(0, 40, [-30, -50])),
        [0],
        "-30° is as near as 30°: the boundary is a circle round the anchor, with two sides here. Not {seen}.",
    )
    equal(
        list(answer(10, 60, [350, 100])),
        [0],
        "From 10° to 350° it is 20°, not 340°: take the cosine of the difference, which wraps round. Meant is [0], "
        "not {seen}.",
    )
    equal(
        list(answer(0, 40, [-40, 40])),
        [],
        "-40° and 40° tie with the positive at 40°: on the boundary, not beyond it. Meant is [], not {seen}.",
    )
    equal(
        list(answer(0, 120, [90, 150])),
        [0],
        "A positive can lie farther than 90°, with p below 0; the rule stays the same. Not {seen}.",
    )
    return "On a sphere of 512 dimensions it is the same comparison: `hncse.evaluation.geometry.lead`."


nearer_than_positive.mistakes |= {
    "degrees subtracted, without going round": lambda anchor, positive, others: [
        i for i, other in enumerate(others) if abs(other - anchor) < abs(positive - anchor)
    ],
    "one side of the anchor only": lambda anchor, positive, others: [
        i for i, other in enumerate(others) if 0 <= other - anchor < positive - anchor
    ],
}


@nearer_than_positive.mistake("a tie counted as nearer")
def _(anchor: float, positive: float, others: list[float]) -> list[int]:
    p = cos(radians(positive - anchor))
    return [i for i, other in enumerate(others) if cos(radians(other - anchor)) >= p - 1e-12]


@hint("""
    Above the line of the cosine stands ⟨x, α·a + (1-α)·b⟩, which is made of the two cosines. Below it stands the length
    of the mix. Two vectors of length 1 that point different ways have a mean shorter than 1:
    ‖α·a + (1-α)·b‖² = α² + (1-α)² + 2α(1-α)·⟨a, b⟩.
    """)
@exercise("04.2", "Put a mix on the sphere", difficulty=2, minutes=10)
def mix_cosine(to_a: float, to_b: float, between: float, alpha: float = 0.5) -> float:
    """Return the cosine between an anchor and HNM's mix α·a + (1-α)·b of two of its hard negatives.

    All have length 1. to_a and to_b are the anchor's cosines with a and b, between is the cosine of a with b.
    """
    top = alpha * to_a + (1 - alpha) * to_b
    return top / sqrt(alpha**2 + (1 - alpha) ** 2 + 2 * alpha * (1 - alpha) * between)


@mix_cosine.checked_by
def _(answer: Answer) -> str:
    equal(answer(0.6, 0.6, 1.0), 0.6, "a = b: their mix is themselves, so the cosine stays 0.6; you return {seen:.3f}.")
    seen = answer(0.6, 0.6, 0.0)
    expect(
        not isclose(seen, 0.6, abs_tol=1e-6),
        "0.6 is the mean of the two cosines. But the mean vector is shorter than 1, and a cosine is divided by the "
        "length: the mix is nearer to the anchor than either of its parents.",
    )
    expect(
        isclose(seen, 0.6 / sqrt(0.5), abs_tol=1e-9),
        f"a at right angles to b: the mix has length √½, so the cosine is 0.6/√½ = {0.6 / sqrt(0.5):.3f}, "
        f"not {seen:.3f}.",
    )
    equal(answer(0.9, 0.3, 0.2, 1.0), 0.9, "α = 1: the mix is a itself, cosine 0.9, not {seen:.3f}.")
    meant = (0.25 * 0.8 + 0.75 * 0.4) / sqrt(0.0625 + 0.5625 + 0.375 * 0.5)
    equal(
        answer(0.8, 0.4, 0.5, 0.25), meant, "α = 0.25 is the weight of a, 0.75 that of b: {right:.3f}, not {seen:.3f}."
    )
    return (
        "So two negatives, both safely behind the boundary, can have a mix in front of it. That is what makes mixes "
        "hard, and `hncse.mixing` computes it without building one."
    )


mix_cosine.mistakes |= {
    "the mean of the cosines": lambda to_a, to_b, between, alpha=0.5: alpha * to_a + (1 - alpha) * to_b,
    "lengths that add up as if the parents were at right angles": lambda to_a, to_b, between, alpha=0.5: (
        (alpha * to_a + (1 - alpha) * to_b) / sqrt(alpha**2 + (1 - alpha) ** 2)
    ),
}


@hint("""
    First who: the k sentences of the highest similarity, nearest first. Then what: only the grade, a person's
    judgement, says whether a sentence means the same. Similarity is what we are trying to correct.
    """)
@exercise("04.3", "Hard negative or false negative?", difficulty=2, minutes=10)
def judge_catch(similarity: list[float], grade: list[float], k: int) -> list[tuple[int, str]]:
    """Return what a miner without labels would take as an anchor's k hardest negatives, and what each of them is.

    similarity[i] and grade[i] are sentence i's cosine to the anchor and its grade (0 to 5). Nearest first, each as
    (i, "false") if its grade is 4 or more, (i, "hard") otherwise. If there are fewer than k sentences, all of them.
    """
    caught = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
    return [(i, "false" if grade[i] >= 4 else "hard") for i in caught]


@judge_catch.checked_by
def _(answer: Answer) -> str:
    seen = [tuple(pair) for pair in answer([0.2, 0.9, 0.7, 0.6], [0, 2, 4.5, 1], 3)]
    expect(
        (0, "hard") not in seen and len(seen) == 3,
        f"k = 3 of four: sentence 0, similarity 0.2, is not among the three nearest; you return {seen}.",
    )
    expect(
        dict(seen).get(1) == "hard",
        "Sentence 1 is very near, 0.9, and graded 2: it looks the same and means something else. That is what a hard "
        "negative is. Do not judge by similarity.",
    )
    expect(dict(seen).get(2) == "false", "Sentence 2 is graded 4.5: it means what the anchor means. A false negative.")
    equal(
        seen,
        [(1, "hard"), (2, "false"), (3, "hard")],
        "Nearest first: [(1, 'hard'), (2, 'false'), (3, 'hard')], not {seen}.",
    )
    equal(
        [tuple(pair) for pair in answer([0.3, 0.5], [4.0, 3.5], 10)],
        [(1, "hard"), (0, "false")],
        "Two sentences and k = 10: both are caught; grade 4 is the same meaning. Not {seen}.",
    )
    return "A guard tries to make this choice without the grades; notebook 02 measures how badly that goes."


@judge_catch.mistake("what is very similar taken for the same meaning")
def _(similarity: list[float], grade: list[float], k: int) -> list[tuple[int, str]]:
    caught = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
    return [(i, "false" if similarity[i] >= 0.8 else "hard") for i in caught]


@judge_catch.mistake("false negatives left out before the k are counted")
def _(similarity: list[float], grade: list[float], k: int) -> list[tuple[int, str]]:
    negatives = [i for i in range(len(similarity)) if grade[i] < 4]
    return [(i, "hard") for i in sorted(negatives, key=lambda i: -similarity[i])[:k]]


@hint("""
    Go through all pairs. One is made up if the exact angles order it one way and the map's distances the other way:
    then the two differences have opposite signs, and their product is below 0.
    """)
@exercise("04.4", "What the map made up", difficulty=3, minutes=15)
def made_up(angle: list[float], distance: list[float]) -> float:
    """Return the share of pairs of sentences that a map puts in the wrong order, from 0 to 1.

    angle[i] is sentence i's exact angle to the anchor, distance[i] its distance to the anchor in the map. A pair counts
    where one is nearer by angle and the other is nearer in the map; a tie on either side is no wrong order. 0 if there
    is no pair.
    """
    n = len(angle)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    wrong = sum((angle[i] - angle[j]) * (distance[i] - distance[j]) < 0 for i, j in pairs)
    return wrong / len(pairs) if pairs else 0.0


@made_up.checked_by
def _(answer: Answer) -> str:
    equal(answer([10, 20, 30], [1, 2, 3]), 0, "The map keeps the order: nothing is made up, 0, not {seen}.")
    equal(
        answer([10, 20, 30], [100, 2000, 2001]),
        0,
        "Only order counts. A map may stretch as it likes (UMAP does), and 10°, 20°, 30° at 100, 2000, 2001 are in "
        "order: 0, not {seen}.",
    )
    equal(
        answer([30, 10, 20], [1, 3, 2]),
        1,
        "Here all three pairs are turned round: 1, not {seen}. Sentences come in any order: compare every pair.",
    )
    equal(
        answer([10, 20, 30], [2, 1, 3]),
        1 / 3,
        "One of three pairs is turned round: 1/3, not {seen}. Count each pair once.",
    )
    equal(answer([10, 10, 30], [2, 1, 3]), 0, "10° and 10° have no order that a map could get wrong: 0, not {seen}.")
    expect(answer([10], [5]) == 0, "One sentence makes no pair: 0.")
    return (
        "This is how far the map can be trusted for one question: who is nearer to the anchor? "
        "`hncse.visual.projection.trust` asks another one: whose neighbours are real?"
    )


made_up.mistakes |= {
    "places compared with sizes: an angle against a distance": lambda angle, distance: (
        sum(a < d for a, d in zip(angle, distance, strict=True)) / len(angle)
    ),
}


@made_up.mistake("neighbours in the list only")
def _(angle: list[float], distance: list[float]) -> float:
    n = len(angle) - 1
    wrong = sum((angle[i] - angle[i + 1]) * (distance[i] - distance[i + 1]) < 0 for i in range(n))
    return wrong / n if n else 0.0


@made_up.mistake("ties counted as made up")
def _(angle: list[float], distance: list[float]) -> float:
    pairs = [(i, j) for i in range(len(angle)) for j in range(i)]
    return sum((angle[i] < angle[j]) != (distance[i] < distance[j]) for i, j in pairs) / len(pairs) if pairs else 0.0
