"""Exercises of appendix A1, an encoder from nothing but text."""

from __future__ import annotations

from math import inf, isclose, log

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("Walk through the pieces and count words: a piece that does not begin with `##` begins a new one.")
@exercise("A1.1", "Hide whole words", difficulty=1, minutes=10)
def hidden_places(pieces: list[str], words: set[int]) -> list[int]:
    """Return the places of all word pieces that are hidden when whole words are.

    `pieces` is a sentence in word pieces, where `##` begins a piece that continues a word; `words` says which words to
    hide, counted from 0.
    """
    word, places = -1, []
    for place, piece in enumerate(pieces):
        word += not piece.startswith("##")
        if word in words:
            places.append(place)
    return places


@hidden_places.checked_by
def _(answer: Answer) -> str:
    pieces = ["the", "hip", "##pop", "##ota", "##mus", "embed", "##s", "text"]
    equal(list(answer(pieces, {0})), [0], "Word 0 is “the”, one piece at place 0; you return {seen}.")
    seen = list(answer(pieces, {1}))
    expect(
        seen != [1],
        "Only “hip” is hidden, and “##pop ##ota ##mus” stays: the answer stands beside the question, and the network "
        "learns to spell where it should learn what such sentences are about.",
    )
    equal(seen, [1, 2, 3, 4], "Word 1 is “hip ##pop ##ota ##mus”, places 1 to 4; you return {seen}.")
    equal(
        list(answer(pieces, {2, 3})),
        [5, 6, 7],
        "Words 2 and 3 are “embed ##s” and “text”: places 5, 6, 7, not {seen}. `words` counts words, not pieces.",
    )
    expect(list(answer(pieces, set())) == [], "Nothing to hide, nothing hidden.")
    return "The same for a whole batch, words drawn at random: `mask` in `hncse/pretraining/text.py`."


@hidden_places.mistake("only the first piece of a word")
def _(pieces: list[str], words: set[int]) -> list[int]:
    starts = [place for place, piece in enumerate(pieces) if not piece.startswith("##")]
    return [starts[word] for word in sorted(words)]


hidden_places.mistakes |= {
    "pieces counted as words": lambda pieces, words: sorted(words),
}


@hint("""
    A word of probability a weighs a half, a much rarer one nearly 1, a much more frequent one nearly 0. Weigh each
    vector, add up, divide by the sum of the weights.
    """)
@exercise("A1.2", "Listen less to frequent words", difficulty=2, minutes=10)
def weighted_mean(vectors: list[list[float]], probabilities: list[float], a: float = 1e-4) -> list[float]:
    """Return a sentence's vector: the mean of its words' vectors, each weighing `a/(a + p)`.

    `vectors` holds a word's vector a row, `probabilities` the share `p` of all running words that each word makes up.
    (Smooth inverse frequency: Arora, Liang and Ma 2017.)
    """
    weights = [a / (a + p) for p in probabilities]
    columns = zip(*vectors, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]


@weighted_mean.checked_by
def _(answer: Answer) -> str:
    seen = [float(x) for x in answer([[1.0, 0.0], [0.0, 1.0]], [1e-3, 1e-3])]
    expect(len(seen) == 2, f"Two words of width 2 make a sentence of width 2, not {len(seen)}.")
    expect(
        all(isclose(x, 0.5) for x in seen),
        f"Two words, equally frequent, weigh alike: the mean is [0.5, 0.5], not {seen}. Divide by the weights' sum.",
    )
    seen = [float(x) for x in answer([[1.0, 0.0], [0.0, 1.0]], [0.05, 1e-6])]
    expect(
        seen[0] <= seen[1],
        f"The first word is a twentieth of all text, the second one in a million, and your sentence is "
        f"{[round(x, 3) for x in seen]}: mostly the frequent word. The rare one says what the sentence is about.",
    )
    expect(
        not isclose(seen[0], 0.5), "Both words still weigh alike: that is the plain mean, where “the” has its full say."
    )
    weights = 1e-4 / (1e-4 + 0.05), 1e-4 / (1e-4 + 1e-6)
    expect(isclose(seen[0], weights[0] / sum(weights)), f"p = 0.05 weighs {weights[0]:.4f}, p = 1e-6 {weights[1]:.4f}.")
    seen = [float(x) for x in answer([[1.0], [4.0]], [0.5, 0.0], 0.5)]
    expect(
        isclose(seen[0], 3.0),
        f"With a = 0.5, p = 0.5 weighs a half and p = 0 weighs 1: 4.5/1.5 = 3, not {seen[0]:.3f}.",
    )
    return (
        "One line of arithmetic. The kit's encoders hold a word's frequency in one coordinate, so that attention can "
        "learn such a weighting: look at the attention picture above once more."
    )


weighted_mean.mistakes |= {
    "the plain mean": lambda vectors, probabilities, a=0.0001: [
        sum(column) / len(vectors) for column in zip(*vectors, strict=True)
    ],
}


@weighted_mean.mistake("frequent words weigh more")
def _(vectors: list[list[float]], probabilities: list[float], a: float = 1e-4) -> list[float]:
    weights = [p / (a + p) for p in probabilities]
    columns = zip(*vectors, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]


@hint("""
    Divide the table by its sum: that is `p(i, j)`. Its row sums are `p(i)`, its column sums `p(j)`. Raise the column
    sums to the power `alpha` and make them add up to 1 again. Where a count is 0, or the logarithm negative, the entry
    is 0.
    """)
@exercise("A1.3", "PPMI of a small table", difficulty=3, minutes=20)
def ppmi(counts: list[list[float]], alpha: float = 1.0) -> list[list[float]]:
    """Return the positive pointwise mutual information of a square table of neighbour counts.

    `counts[i][j]` says how often `j` stood near `i`; every word has stood near some other. The entry is
    `max(0, log(p(i, j) / (p(i) · p_alpha(j))))`, with `p_alpha(j)` proportional to `p(j)**alpha` and all of them adding
    up to 1; it is 0 where the count is 0.
    """
    from math import log

    total = sum(map(sum, counts))
    row = [sum(line) / total for line in counts]
    smoothed = [(sum(column) / total) ** alpha for column in zip(*counts, strict=True)]
    context = [share / sum(smoothed) for share in smoothed]

    def entry(i: int, j: int) -> float:
        return max(0.0, log(counts[i][j] / total / (row[i] * context[j]))) if counts[i][j] else 0.0

    return [[entry(i, j) for j in range(len(counts))] for i in range(len(counts))]


@ppmi.checked_by
def _(answer: Answer) -> str:
    seen = answer([[0, 4], [4, 0]])
    expect(seen[0][0] != -inf, "log 0 is minus infinity: pairs that never met get 0.")
    expect(
        isclose(seen[0][1], log(2)),
        f"Each word is half of the table, so chance gives each pair a quarter; this pair has a half. log(0.5/0.25) = "
        f"log 2 = 0.693, not {seen[0][1]:.3f}.",
    )
    expect(seen[0][0] == 0, f"Words that never met: 0, not {seen[0][0]:.3f}.")
    table = [[6.0, 2.0, 2.0], [2.0, 0.0, 1.0], [2.0, 1.0, 0.0]]  # the first word is near everything, "the" say
    seen = answer(table)
    expect(
        seen[0][0] >= 0,
        f"The first word meets itself less than chance has it, and you return {seen[0][0]:.3f}. The P is for positive: "
        "such entries are 0, for “seldom together” needs far more text to be trusted than “often together”.",
    )
    meant = log((1 / 16) / (3 / 16 * 3 / 16))
    expect(
        isclose(seen[1][2], meant),
        f"Words 1 and 2: p(1, 2) = 1/16, both shares 3/16, so log(16/9) = {meant:.3f}, not {seen[1][2]:.3f}.",
    )
    seen = answer(table, 2.0)
    meant = log((1 / 16) / (3 / 16 * 9 / 118))
    expect(
        isclose(seen[1][2], meant),
        f"With alpha = 2 the columns 10, 3, 3 count as 100, 9, 9 of 118: log((1/16)/((3/16)·(9/118))) = {meant:.3f}, "
        f"not {seen[1][2]:.3f}. The smoothed shares must add up to 1 again.",
    )
    return "`hncse.pretraining.vectors.ppmi` is the same in place, for a table of millions of entries."


@ppmi.mistake("negative entries left in")
def _(counts: list[list[float]], alpha: float = 1.0) -> list[list[float]]:
    total = sum(map(sum, counts))
    row = [sum(line) / total for line in counts]
    smoothed = [(sum(column) / total) ** alpha for column in zip(*counts, strict=True)]
    context = [share / sum(smoothed) for share in smoothed]
    return [
        [log(c / total / (row[i] * context[j])) if c else 0.0 for j, c in enumerate(line)]
        for i, line in enumerate(counts)
    ]


@ppmi.mistake("smoothed shares that do not add up to 1")
def _(counts: list[list[float]], alpha: float = 1.0) -> list[list[float]]:
    total = sum(map(sum, counts))
    row = [sum(line) / total for line in counts]
    context = [(sum(column) / total) ** alpha for column in zip(*counts, strict=True)]
    return [
        [max(0.0, log(c / total / (row[i] * context[j]))) if c else 0.0 for j, c in enumerate(line)]
        for i, line in enumerate(counts)
    ]
