"""Exercises of notebook 04, the decision boundary."""

from __future__ import annotations

from math import acos, cos, degrees, radians, sin
from typing import Any

import numpy as np

from hncse.exercises.core import exercise, hint


@hint("""
    Turn each direction into a similarity: the cosine of the difference of two angles. Then compare with that of the
    positive. The cosine also knows that 350° and 10° are neighbours.""")
@exercise("04.1", "Which side of the boundary?", difficulty=1, importance=3, minutes=5,
    praise="On a sphere of 512 dimensions it is the same comparison: `hncse.miner.mine_in_batch`.")  # fmt: skip
def nearer_than_positive(anchor: float, positive: float, others: list[float]) -> list[int]:
    """Return the positions in `others` of the sentences that the anchor would take for its positive.

    In this toy world embeddings are directions on a circle, in degrees. A sentence that ties with the positive stands
    on the boundary, not beyond it (allow for rounding: differences of cosines below 1e-9 are ties).
    """
    p = cos(radians(positive - anchor))
    return [i for i, other in enumerate(others) if cos(radians(other - anchor)) > p + 1e-9]


@nearer_than_positive.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    anchor, positive = (float(x) for x in rng.integers(-36, 73, 2) * 5)
    others = rng.integers(-36, 73, rng.integers(0, 7)) * 5.0
    if len(others) and rng.random() < 0.4:
        others[0] = 2 * anchor - positive  # as far, on the other side
    lead = np.cos(np.radians(others - anchor)) - np.cos(np.radians(positive - anchor))
    return anchor, positive, others[(lead == 0) | (np.abs(lead) > 1e-9)].tolist()  # no tie but for rounding


nearer_than_positive.by_hand({
    "Anchor 0°, positive 40°: of 30°, 50° and 90° only the first is nearer. Meant is [0], not {seen}.":
        (0, 40, [30, 50, 90]),
    "-30° is as near as 30°: the boundary is a circle round the anchor, with two sides here. Not {seen}.":
        (0, 40, [-30, -50]),
    "From 10° to 350° it is 20°, not 340°: take the cosine of the difference, which wraps round. Meant is [0], "
    "not {seen}.": (10, 60, [350, 100]),
    "-40° and 40° tie with the positive at 40°: on the boundary, not beyond it. Meant is [], not {seen}.":
        (0, 40, [-40, 40]),
    "A positive can lie farther than 90°, with p below 0; the rule stays the same. Not {seen}.": (0, 120, [90, 150]),
})  # fmt: skip
nearer_than_positive.mistaken({
    "You subtract degrees without going round: from 10° to 350° it is 20°.":
        ("cos(radians(other - anchor)) > p + 1e-9", "abs(other - anchor) < abs(positive - anchor)"),
    "You look on one side of the anchor only; the boundary is a circle round it.":
        ("cos(radians(other - anchor)) > p + 1e-9", "0 <= other - anchor < positive - anchor"),
    "A tie stands on the boundary, not beyond it.": ("> p + 1e-9", ">= p - 1e-9"),
    "Those are farther than the positive; asked are the nearer ones.": ("> p + 1e-9", "< p - 1e-9"),
})  # fmt: skip


@hint("""
    Two vectors of length 1: their inner product is the cosine of the angle between them, and `acos` gives the angle in
    radians. Rounding can push a cosine just beyond 1, where `acos` stops: cut it to [-1, 1]. Then a point at distance r
    in direction φ is (r·cos φ, r·sin φ).""")
@exercise("04.2", "A map that cannot lie about the boundary", difficulty=2, importance=2, minutes=10,
    praise="The positive's own radius is a circle on this map, the boundary: nothing is ever drawn on its wrong side."
)  # fmt: skip
def polar_place(anchor: list[float], other: list[float], direction: float) -> tuple[float, float]:
    """Return the place (x, y) of a sentence on a map with its anchor in the middle.

    `anchor` and `other` are embeddings of length 1. The distance from the middle is the exact angle between them, in
    degrees; `direction`, in degrees from the x axis, is free, and chosen by some other method.
    """
    product = sum(a * b for a, b in zip(anchor, other, strict=True))
    radius = degrees(acos(min(1.0, max(-1.0, product))))
    return radius * cos(radians(direction)), radius * sin(radians(direction))


@polar_place.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    a, b = (z / np.linalg.norm(z) for z in rng.normal(size=(2, rng.integers(2, 5))))
    return a.tolist(), b.tolist(), float(rng.integers(-180, 180))


polar_place.by_hand({
    "At a right angle, to the right: (90, 0), not {seen}.": ([1.0, 0.0], [0.0, 1.0], 0.0),
    "Opposite, upwards: (0, 180), not {seen}.": ([1.0, 0.0], [-1.0, 0.0], 90.0),
    "The anchor itself is the middle, whatever the direction, and though its product with itself is a little over 1.":
        ([0.6, 0.8 + 1e-15], [0.6, 0.8], 45.0),
})  # fmt: skip
polar_place.mistaken({
    "The distance is the angle, in degrees, not in radians.": ("degrees(acos", "(acos"),
    "Your distance is 1 - cosine. It keeps the order and bends the scale: asked is the angle.":
        ("degrees(acos(min(1.0, max(-1.0, product))))", "1 - product"),
    "The direction is in degrees; `cos` and `sin` take radians.": ("radians(direction)", "direction"),
})  # fmt: skip


@hint("""
    First who: the k sentences of the highest similarity, nearest first. Then what: only the grade, a person's
    judgement, says whether a sentence means the same. Similarity is what we are trying to correct.""")
@exercise("04.3", "Hard negative or false negative?", difficulty=2, importance=3, minutes=10,
    praise="A guard tries to make this choice without the grades; notebook 02 measures how badly that goes."
)  # fmt: skip
def judge_catch(similarity: list[float], grade: list[float], k: int) -> list[tuple[int, str]]:
    """Return what a miner without labels would take as an anchor's k hardest negatives, and what each of them is.

    similarity[i] and grade[i] are sentence i's cosine to the anchor and its grade (0 to 5). Nearest first (of equals
    the first in the list), each as (i, "false") if its grade is 4 or more, (i, "hard") otherwise. If there are fewer
    than k sentences, all of them.
    """
    caught = sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]
    return [(i, "false" if grade[i] >= 4 else "hard") for i in caught]


@judge_catch.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(0, 8))
    grades = rng.choice([0.0, 1.0, 2.5, 3.5, 3.9, 4.0, 4.0, 4.5, 5.0], n)
    return rng.uniform(-0.5, 1, n).round(1).tolist(), grades.tolist(), int(rng.integers(1, 6))


judge_catch.by_hand({
    "k = 3 of four, nearest first; sentence 1, at 0.9, is graded 2: it looks the same and means something else, which "
    "is what a hard negative is; sentence 2, graded 4.5, means the same. {right}, not {seen}.":
        ([0.2, 0.9, 0.7, 0.6], [0, 2, 4.5, 1], 3),
    "Two sentences and k = 10: both are caught; grade 4 is the same meaning. Not {seen}.": ([0.3, 0.5], [4.0, 3.5], 10),
})  # fmt: skip
judge_catch.mistaken({
    "You take what is very similar for the same meaning; only the grade says that.":
        ("grade[i] >= 4", "similarity[i] >= 0.8"),
    "A miner without labels cannot leave false negatives out before it counts its k.":
        ("range(len(similarity))", "(i for i in range(len(similarity)) if grade[i] < 4)"),
    "Grade 4 itself is the same meaning: 4 or more.": (">= 4", "> 4"),
})  # fmt: skip


@hint("""
    Go through all pairs. One is made up if the exact angles order it one way and the map's distances the other way:
    then the two differences have opposite signs, and their product is below 0.""")
@exercise("04.4", "What the map made up", difficulty=3, importance=2, minutes=15,
    praise="This is how far the map can be trusted for one question: who is nearer to the anchor? "
    "`hncse.visual.projection.trust` asks another one: whose neighbours are real?")  # fmt: skip
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


@made_up.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(0, 7))
    return (rng.integers(1, 19, n) * 10.0).tolist(), rng.integers(1, 9, n).astype(float).tolist()


made_up.by_hand({
    "The map keeps the order: nothing is made up, 0, not {seen}.": ([10, 20, 30], [1, 2, 3]),
    "Only order counts. A map may stretch as it likes (UMAP does), and 10°, 20°, 30° at 100, 2000, 2001 are in "
    "order: 0, not {seen}.": ([10, 20, 30], [100, 2000, 2001]),
    "Here all three pairs are turned round: 1, not {seen}. Sentences come in any order: compare every pair.":
        ([30, 10, 20], [1, 3, 2]),
    "One of three pairs is turned round: 1/3, not {seen}. Count each pair once.": ([10, 20, 30], [2, 1, 3]),
    "10° and 10° have no order that a map could get wrong: 0, not {seen}.": ([10, 10, 30], [2, 1, 3]),
    "One sentence makes no pair: 0.": ([10], [5]),
})  # fmt: skip
made_up.mistaken({
    "You compare places with sizes, an angle against a distance; compare the order of two sentences.":
        ("wrong / len(pairs) if pairs else 0.0",
         "sum(a < d for a, d in zip(angle, distance, strict=True)) / max(n, 1)"),
    "You compare neighbours in the list only; every pair counts.": ("range(i + 1, n)", "range(i + 1, min(i + 2, n))"),
    "A tie on either side is no wrong order.":
        ("(angle[i] - angle[j]) * (distance[i] - distance[j]) < 0",
         "(angle[i] < angle[j]) != (distance[i] < distance[j])"),
})  # fmt: skip
