"""Exercises of notebook 08, your own text: what to keep of a corpus, which negatives to trust, losses of your own."""

from __future__ import annotations

import re
from math import exp, isclose, log

import torch

from hncse.exercises.core import Answer, equal, exercise, expect, hint


@hint("""
    Make a key of every sentence: lower case, punctuation away, single spaces. Keep a sentence if its key is new. A
    `set` of keys remembers; the list of sentences keeps the order.
    """)
@exercise("08.1", "The same sentence twice", difficulty=1, minutes=10)
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


@distinct.checked_by
def _(answer: Answer) -> str:
    given = ["Rain falls.", "a dog barks", "Rain falls.", "Snow falls."]
    seen = list(answer(given))
    expect(
        sorted(seen) == sorted(["Rain falls.", "a dog barks", "Snow falls."]),
        f"Of four sentences with one repeated three stay, not {seen}.",
    )
    equal(
        seen,
        ["Rain falls.", "a dog barks", "Snow falls."],
        "All there, but in another order: with a shuffled corpus the same seed gives another run. Keep the order.",
    )
    equal(
        list(answer(["Rain falls.", "RAIN  falls!", "rain, falls"])),
        ["Rain falls."],
        "Case, punctuation and spaces make no other sentence: ['Rain falls.'] stays, as it stands, not {seen}.",
    )
    seen = list(answer(["It costs 5 euros.", "It costs 6 euros.", "It rains."]))
    expect(len(seen) == 3, "Numbers are no punctuation: 5 euros and 6 euros are two sentences, and hard negatives.")
    return "What is left are paraphrases, which no spelling tells: exercise 08.2."


@distinct.mistake("order lost in a set")
def _(sentences: list[str]) -> list[str]:
    keys = {" ".join(re.sub(r"[^\w\s]", "", s).casefold().split()): s for s in reversed(sentences)}
    return [keys[key] for key in sorted(keys)]


distinct.mistakes |= {
    "only letter-for-letter copies found": lambda sentences: list(dict.fromkeys(sentences)),
}


@distinct.mistake("digits thrown away with the punctuation")
def _(sentences: list[str]) -> list[str]:
    keys: dict[str, str] = {}
    for s in sentences:
        keys.setdefault(" ".join(re.sub(r"[^a-z\s]", "", s.lower()).split()), s)
    return list(keys.values())


@hint("""
    `similarity.diagonal()` holds the positives, (N,); with `[:, None]` it stands beside every row. Compare, then take
    the diagonal out.
    """)
@exercise("08.2", "Which negatives to trust", difficulty=2, minutes=15)
def trusted(similarity: torch.Tensor, share: float) -> torch.Tensor:
    """Return which columns are trusted as negatives, an (N, N) tensor of bool.

    `similarity[i, j]` is `s_ij`. A column is trusted if it is at most `share` times as similar as the anchor's own
    positive: nearer ones may be paraphrases, false negatives. The positive itself is no negative. All positives here
    are above 0.
    """
    ceiling = share * similarity.diagonal()[:, None]  # (N, 1)
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (similarity <= ceiling) & ~own


@trusted.checked_by
def _(answer: Answer) -> str:
    table = torch.tensor([[0.80, 0.10, 0.78], [0.30, 0.40, 0.39], [0.20, -0.50, 1.00]])
    seen = torch.as_tensor(answer(table, 1.0))
    expect(seen.shape == (3, 3), f"One answer for every pair: shape (3, 3), not {tuple(seen.shape)}.")
    expect(not seen.diagonal().any(), "The diagonal holds positives. They are never negatives, whatever the share.")
    expect(
        seen.tolist() == [[False, True, True], [True, False, True], [True, True, False]],
        "With share 1 every column that is not nearer than the positive is trusted.",
    )
    seen = torch.as_tensor(answer(table, 0.9))
    expect(
        not seen[0, 2],
        "Row 0: 0.78 is above 0.9 · 0.80 = 0.72. So near to the anchor it may say the same: not trusted.",
    )
    expect(
        not seen[1, 2] and seen[1, 0],
        "Row 1: its positive has 0.40, so its ceiling is 0.36: 0.39 is above, 0.30 below. Every anchor has a ceiling "
        "of its own; one number for all rows would let 0.39 through.",
    )
    expect(
        seen[2].tolist() == [True, True, False],
        "Row 2: 0.20 and -0.50 are far below 0.90. Unlike sentences are trusted.",
    )
    return (
        "Mind what it costs: the negatives it throws away first are the hardest. 02 measures that for every guard of "
        "`hncse.mining.Guards`."
    )


@trusted.mistake("one ceiling for all anchors")
def _(similarity: torch.Tensor, share: float) -> torch.Tensor:
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (similarity <= share * similarity.diagonal().mean()) & ~own


@trusted.mistake("the near ones kept, the far ones thrown away")
def _(similarity: torch.Tensor, share: float) -> torch.Tensor:
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (similarity >= share * similarity.diagonal()[:, None]) & ~own


@trusted.mistake("positives of the columns, not of the rows")
def _(similarity: torch.Tensor, share: float) -> torch.Tensor:
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (similarity <= share * similarity.diagonal()[None, :]) & ~own


@hint("""
    `masked_fill` sets the diagonal to -∞, so that the largest of a row is its hardest negative. `relu` or
    `clamp(min=0)` cuts off at 0.
    """)
@exercise("08.3", "A margin loss", difficulty=2, minutes=15)
def margin_loss(similarity: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the mean over anchors of max(0, margin - (p - n)).

    `similarity[i, j]` is `s_ij`; p is the anchor's cosine to its positive, on the diagonal, n to its hardest negative
    in the batch. The result has no dimension and a gradient: an anchor that leads by `margin` has none.
    """
    own = torch.eye(len(similarity), dtype=torch.bool)
    hardest = similarity.masked_fill(own, -torch.inf).max(dim=1).values  # (N,)
    return torch.relu(margin - similarity.diagonal() + hardest).mean()


@margin_loss.checked_by
def _(answer: Answer) -> str:
    table = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.6, 0.3], [0.4, 0.7, 0.5]], dtype=torch.float64, requires_grad=True)
    seen = answer(table, 0.3)
    expect(
        isinstance(seen, torch.Tensor) and seen.ndim == 0, "Return one number as a tensor, so that it has a gradient."
    )
    value = float(seen.detach())
    expect(
        not isclose(value, 0.3, rel_tol=1e-6),
        "0.3 for every row: your hardest negative is the positive itself. Mask the diagonal before the maximum.",
    )
    equal(
        value,
        (0 + 0.2 + 0.5) / 3,
        "p - n is 0.7, 0.1 and -0.2, so with margin 0.3 the anchors cost 0, 0.2 and 0.5: mean 0.233, not {seen:.3f}. "
        "An anchor far ahead costs 0, not less; of a row's negatives only the hardest counts.",
    )
    expect(seen.requires_grad, "The result has no gradient: stay with tensors from beginning to end.")
    (slope,) = torch.autograd.grad(seen, table)
    expect(
        torch.equal(slope[0], torch.zeros(3, dtype=torch.float64)), "Row 0 leads by more than the margin: no gradient."
    )
    expect(
        slope[2].tolist() == [0.0, 1 / 3, -1 / 3],
        "Row 2: its positive is pulled and its hardest negative pushed, both by a third, and column 0 is left alone.",
    )
    return "It is the cold limit of InfoNCE, with a margin. Try it in the training loop above in place of your loss."


margin_loss.mistakes |= {
    "the positive among the negatives": lambda similarity, margin: torch.relu(
        margin - similarity.diagonal() + similarity.max(dim=1).values
    ).mean(),
}


@margin_loss.mistake("all negatives in place of the hardest")
def _(similarity: torch.Tensor, margin: float) -> torch.Tensor:
    own = torch.eye(len(similarity), dtype=torch.bool)
    each = torch.relu(margin - similarity.diagonal()[:, None] + similarity).masked_fill(own, 0.0)
    return each.sum() / (len(similarity) * (len(similarity) - 1))


@margin_loss.mistake("not cut off at 0")
def _(similarity: torch.Tensor, margin: float) -> torch.Tensor:
    own = torch.eye(len(similarity), dtype=torch.bool)
    return (margin - similarity.diagonal() + similarity.masked_fill(own, -torch.inf).max(dim=1).values).mean()


@hint("""
    Work on e = exp(similarity / tau). The mean over a row's negatives is (sum of the row - diagonal) / (N - 1).
    `torch.clamp(…, min=…)` holds the floor. Test yourself: with `prior` 0 you must get plain InfoNCE.
    """)
@exercise("08.4", "Debiased InfoNCE", difficulty=3, minutes=25)
def debiased(similarity: torch.Tensor, tau: float, prior: float) -> torch.Tensor:
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


@debiased.checked_by
def _(answer: Answer) -> str:
    table = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.6, 0.3], [0.4, 0.7, 0.5]], dtype=torch.float64)
    plain = torch.nn.functional.cross_entropy(table / 0.5, torch.arange(3))
    seen = float(answer(table, 0.5, 0.0))
    expect(
        isclose(seen, float(plain), rel_tol=1e-6),
        f"Without false negatives, prior = 0, it is InfoNCE: {float(plain):.4f}, not {seen:.4f}. The (N - 1) negatives "
        "stand in the denominator by their sum, that is (N - 1) · m, and m is a mean over negatives alone.",
    )
    equal(
        float(answer(torch.full((4, 4), 0.3, dtype=torch.float64), 0.5, 0.2)),
        log(4),
        "All cosines equal: m = e⁺, so g = e⁺ for every prior, and the loss is log 4 = 1.386, not {seen:.4f}. Divide "
        "by 1 - prior.",
    )
    seen = float(answer(table, 0.5, 0.1))
    expect(seen < float(plain), "Negatives that are positives in truth weigh less: the loss is lower than InfoNCE's.")
    e = torch.exp(table / 0.5)
    g = ((e.sum(1) - e.diagonal()) / 2 - 0.1 * e.diagonal()) / 0.9
    meant = float(-torch.log(e.diagonal() / (e.diagonal() + 2 * g)).mean())
    equal(seen, meant, "With prior 0.1 this batch gives {right:.4f}, not {seen:.4f}.")
    far = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    seen = float(answer(far, 1.0, 0.5))
    meant = log(1 + exp(-2))
    equal(
        seen,
        meant,
        "Here the estimate of g is below zero, which no sum of exponentials can be: the floor exp(-1/τ) holds it, and "
        "the loss is {right:.4f}, not {seen:.4f}.",
    )
    return "In Gram space a new loss is a few lines. Which `prior` is right for your corpus, and how would you know?"


@debiased.mistake("the floor left out")
def _(similarity: torch.Tensor, tau: float, prior: float) -> torch.Tensor:
    n, e = len(similarity), torch.exp(similarity / tau)
    own = e.diagonal()
    g = ((e.sum(dim=1) - own) / (n - 1) - prior * own) / (1 - prior)
    return -torch.log(own / (own + (n - 1) * g)).mean()


@debiased.mistake("the mean negative counted once, not N - 1 times")
def _(similarity: torch.Tensor, tau: float, prior: float) -> torch.Tensor:
    n, e = len(similarity), torch.exp(similarity / tau)
    own = e.diagonal()
    g = torch.clamp(((e.sum(dim=1) - own) / (n - 1) - prior * own) / (1 - prior), min=exp(-1 / tau))
    return -torch.log(own / (own + g)).mean()


@debiased.mistake("not divided by 1 - prior")
def _(similarity: torch.Tensor, tau: float, prior: float) -> torch.Tensor:
    n, e = len(similarity), torch.exp(similarity / tau)
    own = e.diagonal()
    g = torch.clamp((e.sum(dim=1) - own) / (n - 1) - prior * own, min=exp(-1 / tau))
    return -torch.log(own / (own + (n - 1) * g)).mean()
