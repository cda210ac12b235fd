"""Exercises of notebook 08, your own text: what to keep of a corpus, which negatives to trust, losses of your own."""

from __future__ import annotations

import re
from math import exp
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hncse.exercises.core import exercise, hint


@hint("""
    Make a key of every sentence: lower case, punctuation away, single spaces. Keep a sentence if its key is new. A
    `set` of keys remembers; the list of sentences keeps the order.""")
@exercise("08.1", "The same sentence twice", difficulty=1, importance=2, minutes=10,
    praise="What is left are paraphrases, which no spelling tells: exercise 08.2.")  # fmt: skip
def distinct(sentences: list[str]) -> list[str]:
    """Return the sentences without repetitions, in their order, the first of equals kept as it stands.

    Two sentences are equal if they differ in case, punctuation and spaces alone. A copy in the same batch is a false
    negative: the loss pushes a sentence away from itself.
    """
    seen: set[str] = set()
    kept = []
    for sentence in sentences:
        key = " ".join(re.sub(r"[^\w\s]", "", sentence).casefold().split())
        if key not in seen:
            seen.add(key)
            kept.append(sentence)
    return kept


_SENTENCES = ["Rain falls", "a dog barks", "Room 5 is free", "Room 6 is free", "snow falls on hills", "Snowfalls"]


@distinct.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    def spelled(sentence: str) -> str:
        sentence = sentence.upper() if rng.random() < 0.3 else sentence
        gap = "  " if rng.random() < 0.2 else " "
        return gap.join(sentence.split()) + str(rng.choice(["", ".", "!", " ", " …"]))

    return ([spelled(str(rng.choice(_SENTENCES))) for _ in range(rng.integers(0, 8))],)


distinct.by_hand({
    "Of four sentences with one repeated three stay, in their order: {right}, not {seen}. With a shuffled corpus the "
    "same seed would give another run.": (["Rain falls.", "a dog barks", "Rain falls.", "Snow falls."],),
    "Case, punctuation and spaces make no other sentence: {right} stays, as it stands, not {seen}.":
        (["Rain falls.", "RAIN  falls!", "rain, falls"],),
    "Numbers are no punctuation: 5 euros and 6 euros are two sentences, and hard negatives. Not {seen}.":
        (["It costs 5 euros.", "It costs 6 euros.", "It rains."],),
})  # fmt: skip
distinct.mistaken({
    "The order is lost: the same seed would give another run.": ("return kept", "return sorted(kept)"),
    "You keep the last of equals; the first stays, where it stands.":
        ("for sentence in sentences", "for sentence in sentences[::-1]", "return kept", "return kept[::-1]"),
    "You find only letter-for-letter copies; case, punctuation and spaces make no other sentence.":
        ('" ".join(re.sub(r"[^\\w\\s]", "", sentence).casefold().split())', "sentence"),
    "Numbers are no punctuation: 5 euros and 6 euros are two sentences, and hard negatives.":
        ("[^\\w\\s]", "[^A-Za-z\\s]"),
})  # fmt: skip


def cosines(rng: np.random.Generator) -> Tensor:
    """(N, N) cosines of a random batch, positives above 0, float32 or float64; negatives often all below 0."""
    n = int(rng.integers(2, 7))
    table = rng.uniform(-1, rng.choice([-0.1, 1.0]), (n, n)).round(2)
    np.fill_diagonal(table, rng.integers(4, 17, n) / 16)
    return torch.from_numpy(table).to(torch.float32 if rng.random() < 0.4 else torch.float64)


@hint("""
    `similarity.diagonal()` holds the positives, (N,); with `[:, None]` it stands beside every row. Compare, then take
    the diagonal out.""")
@exercise("08.2", "Which negatives to trust", difficulty=2, importance=2, minutes=15,
    praise="Mind what it costs: the negatives it throws away first are the hardest. 02 measures that for every guard "
    "of `hncse.mining.Guards`.")  # fmt: skip
def trusted(similarity: Tensor, share: float) -> Tensor:
    """Return which columns are trusted as negatives, an (N, N) tensor of bool.

    `similarity[i, j]` is `s_ij`. A column is trusted if it is at most `share` times as similar as the anchor's own
    positive: nearer ones may be paraphrases, false negatives. The positive itself is no negative, whatever `share` is.
    All positives here are above 0.
    """
    ceiling = share * similarity.diagonal()[:, None]  # (N, 1)
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (similarity <= ceiling) & ~own


@trusted.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    table, share = cosines(rng), float(rng.choice([0.5, 0.75, 1.0, 1.25, 2.0]))
    if rng.random() < 0.5:
        table[0, 1] = share * table[0, 0]  # exactly at the ceiling
    return table, share


_COSINES = torch.tensor([[0.80, 0.10, 0.78], [0.30, 0.40, 0.39], [0.20, -0.50, 1.00]])
trusted.by_hand({
    "With share 1 every column that is not nearer than the positive is trusted, and the diagonal never: {right}, not "
    "{seen}.": (_COSINES, 1.0),
    "Row 0: 0.78 is above 0.9 · 0.80 = 0.72: not trusted. Row 1: its own ceiling is 0.36: 0.39 is above, 0.30 below. "
    "Row 2: 0.20 and -0.50 are far below 0.90. {right}, not {seen}.": (_COSINES, 0.9),
    "Share 1.5 lets everything through but the positives, which are never negatives: {right}, not {seen}.":
        (_COSINES, 1.5),
})  # fmt: skip
trusted.mistaken({
    "Every anchor has a ceiling of its own; one number for all rows lets too much or too little through.":
        ("similarity.diagonal()[:, None]", "similarity.diagonal().mean()"),
    "You keep the near ones and throw the far ones away.": ("<=", ">="),
    "You take the positives of the columns; an anchor is a row.": ("[:, None]", "[None]"),
    "The diagonal holds positives. They are never negatives, whatever the share: take it out.": (" & ~own", ""),
    "A cosine below 0 is far away, however large it is without its sign.": ("similarity <=", "similarity.abs() <="),
})  # fmt: skip


@hint("""
    `masked_fill` sets the diagonal to -∞, so that the largest of a row is its hardest negative. `relu` or
    `clamp(min=0)` cuts off at 0.""")
@exercise("08.3", "A margin loss", difficulty=2, importance=2, minutes=15, gradient=True,
    praise="It is the cold limit of InfoNCE, with a margin. Try it below in place of your loss."
)  # fmt: skip
def margin_loss(similarity: Tensor, margin: float) -> Tensor:
    """Return the mean over anchors of max(0, margin - (p - n)).

    `similarity[i, j]` is `s_ij`; p is the anchor's cosine to its positive, on the diagonal, n to its hardest negative
    in the batch. The result has no dimension and a gradient: an anchor that leads by more than `margin` has none.
    """
    own = torch.eye(len(similarity), dtype=torch.bool)
    hardest = similarity.masked_fill(own, -torch.inf).max(dim=1).values  # (N,)
    return torch.relu(margin - similarity.diagonal() + hardest).mean()


@margin_loss.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    noise = torch.from_numpy(rng.uniform(0.0001, 0.0009, 64)).round(decimals=6)  # no two negatives tie
    table = cosines(rng)
    return table + noise[: table.numel()].view_as(table).to(table), float(rng.choice([0.0, 0.2, 0.5, 1.5]))


_BATCH = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.6, 0.3], [0.4, 0.7, 0.5]], dtype=torch.float64)
margin_loss.by_hand({
    "p - n is 0.7, 0.1 and -0.2, so with margin 0.3 the anchors cost 0, 0.2 and 0.5: mean 0.233, not {seen:.3f}. "
    "An anchor far ahead costs 0, not less; of a row's negatives only the hardest counts.": (_BATCH, 0.3),
    "All negatives are below 0 here, and the hardest of them is still the hardest: {right:.3f}, not {seen:.3f}. Do not "
    "zero what you leave out.": (torch.tensor([[0.4, -0.2], [-0.6, 0.3]], dtype=torch.float64), 1.0),
})  # fmt: skip
margin_loss.mistaken({
    "Your hardest negative is the positive itself: mask the diagonal before the maximum.":
        (".masked_fill(own, -torch.inf)", ""),
    "A diagonal set to 0 is the largest where all negatives are below 0: use -∞.": ("-torch.inf", "0.0"),
    "You take all negatives; of a row's negatives only the hardest counts.":
        ("return torch.relu(margin - similarity.diagonal() + hardest).mean()",
         "each = torch.relu(margin - similarity.diagonal()[:, None] + similarity).masked_fill(own, 0.0)\n"
         "    return each.sum() / (len(own) * (len(own) - 1))"),
    "An anchor far ahead costs 0, not less: cut off at 0, anchor by anchor.": ("torch.relu", ""),
})  # fmt: skip


@hint("""
    Work on e = exp(similarity / tau). The mean over a row's negatives is (sum of the row - diagonal) / (N - 1).
    `torch.clamp(…, min=…)` holds the floor. Test yourself: with `prior` 0 you must get plain InfoNCE.""")
@exercise("08.4", "Debiased InfoNCE", difficulty=3, importance=1, minutes=25, gradient=True,
    praise="In Gram space a new loss is a few lines. Which `prior` is right for your corpus, and how would you know?"
)  # fmt: skip
def debiased(similarity: Tensor, tau: float, prior: float) -> Tensor:
    """Return the debiased contrastive loss (Chuang et al. 2020, M = 1), the mean over anchors.

    A share `prior` of the "negatives" of a batch are in truth positives. So what they add to the denominator is
    estimated and taken out. With e = exp(s/τ), N - 1 negatives and their mean over the row, written m:

    - g = (m - prior · e⁺) / (1 - prior), where e⁺ = exp(p/τ), but never below exp(-1/τ), the least a cosine allows;
    - ℓ = -log( e⁺ / (e⁺ + (N - 1) · g) ).
    """
    n = len(similarity)
    e = torch.exp(similarity / tau)  # (N, N)
    own = e.diagonal()  # (N,)
    mean = (e.sum(dim=1) - own) / (n - 1)
    g = torch.clamp((mean - prior * own) / (1 - prior), min=exp(-1 / tau))
    return -torch.log(own / (own + (n - 1) * g)).mean()


debiased.samples(
    lambda rng: (cosines(rng), float(rng.choice([0.3, 0.5, 1.0])), float(rng.choice([0.0, 0.1, 0.3, 0.5])))
)
debiased.by_hand({
    "Without false negatives, prior = 0, it is InfoNCE: {right:.4f}, not {seen:.4f}. The (N - 1) negatives stand in "
    "the denominator by their sum, that is (N - 1) · m, and m is a mean over negatives alone.": (_BATCH, 0.5, 0.0),
    "All cosines equal: m = e⁺, so g = e⁺ for every prior, and the loss is log 4 = 1.386, not {seen:.4f}. Divide "
    "by 1 - prior.": (torch.full((4, 4), 0.3, dtype=torch.float64), 0.5, 0.2),
    "With prior 0.1 this batch gives {right:.4f}, not {seen:.4f}.": (_BATCH, 0.5, 0.1),
    "Here the estimate of g is below zero, which no sum of exponentials can be: the floor exp(-1/τ) holds it, and "
    "the loss is {right:.4f}, not {seen:.4f}.":
        (torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64), 1.0, 0.5),
})  # fmt: skip
debiased.mistaken({
    "The floor is missing: g is never below exp(-1/τ).":
        ("torch.clamp((mean - prior * own) / (1 - prior), min=exp(-1 / tau))", "(mean - prior * own) / (1 - prior)"),
    "The mean negative stands in the denominator N - 1 times, not once.": ("own + (n - 1) * g", "own + g"),
    "The estimate is divided by 1 - prior.": ("(1 - prior)", "1.0"),
    "The floor is exp(-1/τ), the least a cosine allows, not 0.": ("exp(-1 / tau)", "0.0"),
})  # fmt: skip
