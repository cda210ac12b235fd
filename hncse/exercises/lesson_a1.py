"""Exercises of appendix A1, an encoder from nothing but text."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from hncse.exercises.core import exercise, hint


@hint("Walk through the pieces and count words: a piece that does not begin with `##` begins a new one.")
@exercise("A1.1", "Hide whole words", difficulty=1, importance=2, minutes=10,
    praise="The same for a whole batch, words drawn at random: `mask` in `hncse/pretraining/text.py`.")  # fmt: skip
def hidden_places(pieces: list[str], words: set[int]) -> list[int]:
    """Return the places of all word pieces that are hidden when whole words are.

    `pieces` is a sentence in word pieces, where `##` begins a piece that continues a word; `words` says which words to
    hide, counted from 0. The places rise.
    """
    word, places = -1, []
    for place, piece in enumerate(pieces):
        word += not piece.startswith("##")
        if word in words:
            places.append(place)
    return places


@hidden_places.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    sentence = [["the"], ["hip", "##pop"], ["#", "##1"], ["embed", "##s"], ["text"], ["a", "##b", "##c"]]
    chosen = [sentence[i] for i in rng.integers(len(sentence), size=rng.integers(1, 6))]
    words = {int(i) for i in rng.integers(len(chosen), size=rng.integers(0, 4))}
    return [piece for word in chosen for piece in word], words


_PIECES = ["the", "hip", "##pop", "##ota", "##mus", "embed", "##s", "text"]
hidden_places.by_hand({
    "Word 0 is “the”, one piece at place 0; you return {seen}.": (_PIECES, {0}),
    "Word 1 is “hip ##pop ##ota ##mus”, places 1 to 4; you return {seen}.": (_PIECES, {1}),
    "Words 2 and 3 are “embed ##s” and “text”: places 5, 6, 7, not {seen}. `words` counts words, not pieces.":
        (_PIECES, {2, 3}),
    "Nothing to hide, nothing hidden.": (_PIECES, set()),
})  # fmt: skip
hidden_places.mistaken({
    "You hide the first piece of a word only. What stays is the answer beside the question, and the network learns to "
    "spell where it should learn what such sentences are about.":
        ("if word in words", 'if word in words and not piece.startswith("##")'),
    "You count pieces; `words` counts words.": ("return places", "return sorted(words)"),
})  # fmt: skip


@hint("""
    A word of probability a weighs a half, a much rarer one nearly 1, a much more frequent one nearly 0. Weigh each
    vector, add up, divide by the sum of the weights.""")
@exercise("A1.2", "Listen less to frequent words", difficulty=2, importance=2, minutes=10,
    praise="One line of arithmetic. The kit's encoders hold a word's frequency in one coordinate, so that attention "
    "can learn such a weighting: look at the attention picture above once more.")  # fmt: skip
def weighted_mean(vectors: list[list[float]], probabilities: list[float], a: float = 1e-4) -> list[float]:
    """Return a sentence's vector: the mean of its words' vectors, each weighing `a/(a + p)`.

    `vectors` holds a word's vector a row, `probabilities` the share `p` of all running words that each word makes up.
    (Smooth inverse frequency: Arora, Liang and Ma 2017.)
    """
    weights = [a / (a + p) for p in probabilities]
    columns = zip(*vectors, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]


@weighted_mean.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n, d = rng.integers(1, 6), rng.integers(1, 4)
    probabilities = (10.0 ** rng.uniform(-6, -1, n)).round(7)
    return rng.normal(size=(n, d)).round(2).tolist(), probabilities.tolist(), float(rng.choice([1e-4, 1e-3, 0.1]))


weighted_mean.by_hand({
    "Two words, equally frequent, weigh alike: the mean is [0.5, 0.5], not {seen}. Divide by the weights' sum.":
        ([[1.0, 0.0], [0.0, 1.0]], [1e-3, 1e-3]),
    "The first word is a twentieth of all text, the second one in a million, and your sentence is {seen}, not {right}. "
    "The rare one says what the sentence is about.": ([[1.0, 0.0], [0.0, 1.0]], [0.05, 1e-6]),
    "With a = 0.5, p = 0.5 weighs a half and p = 0 weighs 1: 4.5/1.5 = 3, not {seen}.":
        ([[1.0], [4.0]], [0.5, 0.0], 0.5),
})  # fmt: skip
weighted_mean.mistaken({
    "That is the plain mean, where “the” has its full say.": ("a / (a + p)", "1.0"),
    "Frequent words weigh more in yours; the rare one says what the sentence is about.": ("a / (a + p)", "p / (a + p)"),
    "Divide by the sum of the weights, not by the number of words.": ("sum(weights)", "len(weights)"),
})  # fmt: skip


@hint("""
    Divide the table by its sum: that is `p(i, j)`. Its row sums are `p(i)`, its column sums `p(j)`. Raise the column
    sums to the power `alpha` and make them add up to 1 again. Where a count is 0, or the logarithm negative, the entry
    is 0.""")
@exercise("A1.3", "PPMI of a small table", difficulty=3, importance=2, minutes=20,
    praise="`hncse.pretraining.vectors.ppmi` is the same in place, for a table of millions of entries.")  # fmt: skip
def ppmi(counts: list[list[float]], alpha: float = 1.0) -> list[list[float]]:
    """Return the positive pointwise mutual information of a square table of neighbour counts.

    `counts[i][j]` says how often `j` stood near `i`; every word has stood near some other. The entry is
    `max(0, log(p(i, j) / (p(i) · p_alpha(j))))`, with `p_alpha(j)` proportional to `p(j)**alpha` and all of them adding
    up to 1; it is 0 where the count is 0.
    """
    total = sum(map(sum, counts))
    row = [sum(line) / total for line in counts]
    smoothed = [(sum(column) / total) ** alpha for column in zip(*counts, strict=True)]
    context = [share / sum(smoothed) for share in smoothed]

    def entry(i: int, j: int) -> float:
        return max(0.0, log(counts[i][j] / total / (row[i] * context[j]))) if counts[i][j] else 0.0

    return [[entry(i, j) for j in range(len(counts))] for i in range(len(counts))]


@ppmi.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = rng.integers(2, 5)
    counts = rng.integers(0, 7, (n, n)) + np.roll(np.eye(int(n), dtype=int), 1, axis=1)  # rows and columns differ
    return counts.astype(float).tolist(), float(rng.choice([0.5, 0.75, 1.0, 2.0]))


ppmi.by_hand({
    "Each word is half of the table, so chance gives each pair a quarter; the pair that met has a half: log(0.5/0.25) "
    "= log 2 = 0.693. Words that never met: 0. {right}, not {seen}.": ([[0.0, 4.0], [4.0, 0.0]],),
    "The first word is near everything. “Seldom together” needs far more text to be trusted than “often together”, so "
    "negative entries are 0; words 1 and 2: log((1/16)/((3/16)·(3/16))) = 0.575. {right}, not {seen}.":
        ([[6.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0]],),
    "With alpha = 2 the columns 10, 3, 3 count as 100, 9, 9 of 118; the smoothed shares must add up to 1 again: "
    "{right}, not {seen}.": ([[6.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0]], 2.0),
})  # fmt: skip
ppmi.mistaken({
    "The first P is for positive: negative entries are 0.":
        ("max(0.0, log(counts[i][j] / total / (row[i] * context[j])))",
         "log(counts[i][j] / total / (row[i] * context[j]))"),
    "The smoothed shares must add up to 1 again.": ("share / sum(smoothed)", "share"),
    "You smooth the words of the rows; `alpha` belongs to the columns, the contexts.":
        ("    row = [", "    counts = [list(c) for c in zip(*counts, strict=True)]\n    row = [", "[[entry(i, j)",
         "[[entry(j, i)"),
})  # fmt: skip
