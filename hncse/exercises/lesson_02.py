"""Exercises of notebook 02, hard negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hncse.exercises.core import exercise, hint
from hncse.exercises.lesson_01 import batch_of_views


def pn_band(rng: np.random.Generator) -> tuple[float, float, float]:
    """Similarities p and n and a band: anywhere, at a tie, or with the lead exactly at the band or beside it."""
    p, band = float(rng.integers(1, 17)) / 16, float(rng.choice([0.0625, 0.125, 0.25, 0.5]))  # exact in binary
    kind = rng.random()
    if kind < 0.15:
        return p, p, band
    if kind < 0.6:
        return p, p - p * band * float(rng.choice([0.75, 1.0, 1.0, 1.25])), band
    return p, round(float(rng.uniform(0.02, 1)), 3), band


@hint("Ask first whether the positive wins at all. A tie is no win.")
@exercise("02.1", "Name the case", difficulty=1, importance=3, minutes=5,
    praise="`hncse.miner.cases` is the same on tensors.")  # fmt: skip
def name_case(p: float, n: float, band: float = 0.1) -> str:
    """Return HNCSE's case of an anchor: "A", "B" or "C".

    `p` is its similarity to its positive, above 0, `n` to its hardest negative.

    - A: the positive is ahead, but by at most the share `band` of `p`;
    - B: ahead by more;
    - C: not ahead.
    """
    if p <= n:
        return "C"
    return "A" if (p - n) / p <= band else "B"


name_case.samples(pn_band)
name_case.by_hand({
    "p = 0.9, n = 0.2: far ahead of the boundary, so this anchor is safe: B.": (0.9, 0.2),
    "p = 0.3, n = 0.6: another sentence is nearer than the positive: C.": (0.3, 0.6),
    "p = n = 0.5: on the boundary itself the positive does not win. The paper says p ≤ n: C.": (0.5, 0.5),
    "p = 0.2, n = 0.15: the lead of 0.05 is a quarter of p. The band is relative: (p - n) / p, not p - n.": (0.2, 0.15),
    "p = 0.8, n = 0.75: ahead by a sixteenth of p, within the tenth: A.": (0.8, 0.75),
    "with band=0.3 a lead of a quarter of p is within the band: use `band`.": (0.8, 0.6, 0.3),
    "p = 0.8, n = 0.68: ahead by 15 % of p; the default band is a tenth: B.": (0.8, 0.68),
    "The lead of 0.25 is a quarter of p = 1, exactly the band: “at most” takes it in, A.": (1.0, 0.75, 0.25),
    "p = 0.5, n = -0.3: a negative can point away; the positive is far ahead, B.": (0.5, -0.3),
})  # fmt: skip
name_case.mistaken({
    "The band is relative to p: (p - n) / p, not p - n.": ("(p - n) / p", "p - n"),
    "The band is relative to p, not to n.": ("(p - n) / p", "n > 0 and (p - n) / n"),
    "A tie is no win: p ≤ n is C.": ("p <= n", "p < n"),
    "“At most the share” takes the share itself in: ≤, not <.": ("<= band", "< band"),
})  # fmt: skip


@hint("""
    Which columns of row i are negatives at all? Not the diagonal; and if a sentence stands in the batch twice, not its
    copy either. Of the rest take the largest.""")
@exercise("02.2", "The hardest negative of a batch", difficulty=2, importance=3, minutes=10,
    praise="`hncse.miner.mine_in_batch` does it with one mask; `excluded_pairs` makes the mask.")  # fmt: skip
def hardest_negatives(similarity: list[list[float]], sentences: list[str]) -> list[int]:
    """Return for every anchor `i` the column `j*` of its hardest negative.

    `similarity[i][j]` is `s_ij = cos(z1_i, z2_j)` of a batch, `sentences[i]` the text of row and column `i`. A column
    that holds the anchor's own sentence is no negative. An anchor without any negative gets its own column, `i`. Of
    equal similarities the first column counts.
    """
    hardest = []
    for i, row in enumerate(similarity):
        negatives = [j for j, sentence in enumerate(sentences) if sentence != sentences[i]]
        hardest.append(max(negatives, key=row.__getitem__, default=i))
    return hardest


_WORDS = ["rain falls", "a dog barks", "snow falls", "she sings", "the bus is late", "he naps"]


@hardest_negatives.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(1, 6))
    table = rng.uniform(-1, 1, (n, n)).round(1)
    if rng.random() < 0.3:
        table = -np.abs(table) - 0.01
    sentences = [str(word) for word in rng.choice(_WORDS, n, replace=bool(rng.random() < 0.5))]
    return table.tolist(), sentences


hardest_negatives.by_hand({
    "Of three different sentences the hardest negatives are {right}, not {seen}. On the diagonal stand the positives.":
        ([[0.9, 0.1, 0.4], [0.2, 0.8, 0.3], [0.6, 0.5, 0.7]], _WORDS[:3]),
    "Rows 0 and 2 hold the same sentence: it is nobody's negative to itself, however large 0.85 is. "
    "Meant is {right}, not {seen}. Training on such a pair pushes a sentence away from itself.":
        ([[0.9, 0.1, 0.85], [0.2, 0.8, 0.3], [0.86, 0.4, 0.9]], ["rain falls", "a dog barks", "rain falls"]),
    "A batch of one sentence twice has no negatives: every anchor gets its own column, not {seen}.":
        ([[0.9, 0.9], [0.9, 0.9]], ["rain falls", "rain falls"]),
    "Cosines can be negative: do not start looking from 0, and do not zero what you leave out. {right}, not {seen}.":
        ([[-0.1, -0.5, -0.2], [-0.4, 0.1, -0.3], [-0.2, -0.6, 0.2]], _WORDS[:3]),
})  # fmt: skip
hardest_negatives.mistaken({
    "A copy of the anchor's sentence is no negative of it, wherever it stands.": ("sentence != sentences[i]", "j != i"),
    "You take the largest of the row, which is the positive as a rule.": (" if sentence != sentences[i]", ""),
    "Anchors are the rows; you look for the hardest in each column.":
        ("enumerate(similarity)", "enumerate(list(c) for c in zip(*similarity, strict=True))"),
    "Setting the diagonal to 0 makes it the largest where all negatives are below 0.":
        ("hardest.append(max(negatives, key=row.__getitem__, default=i))",
         "row = [s if j in negatives else 0.0 for j, s in enumerate(row)]\n"
         "        hardest.append(max(range(len(row)), key=row.__getitem__) if negatives else i)"),
})  # fmt: skip


@hint("""
    Two shares of two different wholes. Safe looks at what the guard keeps. Yield looks at the hard negatives that
    were there before it.""")
@exercise("02.3", "Safe, and worth having", difficulty=2, importance=2, minutes=10,
    praise="One number alone says nothing about a guard. `hncse.evaluation.audit` prints both for every setting."
)  # fmt: skip
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


@safe_and_yield.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(1, 9))
    kinds = [str(kind) for kind in rng.choice(["paraphrase", "hard negative", "hard negative", "other"], n)]
    return kinds, (rng.random(n) < rng.choice([0.0, 0.5, 0.7, 1.0])).tolist()


_KINDS = ["paraphrase", "hard negative", "hard negative", "hard negative", "other", "paraphrase"]
safe_and_yield.by_hand({
    "With everything kept, 4 of the 6 are no paraphrase, and every hard negative is there: {right}, not {seen}. Safe "
    "is a share of what is kept, yield a share of the hard negatives that were there.": (_KINDS, [True] * 6),
    "Of the 4 kept one is a paraphrase: safe is 0.75; of 3 hard negatives 2 are kept: the yield is 0.667. {right}, not "
    "{seen}. A guard that throws away all but one good neighbour of a thousand has lost the other 999.":
        (_KINDS, [False, False, True, True, True, True]),
    "A guard that keeps nothing is perfectly safe, 1, and yields nothing, 0.": (_KINDS, [False] * 6),
    "Where there is no hard negative, the yield is 0.": (["other"], [True]),
})  # fmt: skip
safe_and_yield.mistaken({
    "The yield's whole is the hard negatives that were there, not the neighbours that are kept.":
        ('hard = kinds.count("hard negative")', "hard = len(left)"),
    "Safe asks what training would meet: its whole is what is kept, not the paraphrases there were.":
        ("/ len(left) if left else 1.0", '/ max(kinds.count("paraphrase"), 1)'),
    "Safe is what is no paraphrase: what is neither counts too.":
        ('1 - left.count("paraphrase") / len(left)', 'left.count("hard negative") / len(left)'),
})  # fmt: skip


@hint("""
    Sort the paraphrases' similarities, lowest first. Of five, how many may lie below the threshold if a fifth is
    allowed? The threshold can rise until it would let one more through.""")
@exercise("02.4", "A ceiling read off labels", difficulty=3, importance=2, minutes=15,
    praise="`hncse.mining.calibrate` reads it off the probe. Mind what it cannot do: it bounds the paraphrases let "
    "through, and promises nothing about the hard negatives that go with them.")  # fmt: skip
def calibrated_ceiling(paraphrases: list[float], share: float) -> float:
    """Return the highest threshold strictly below which at most `share` of the paraphrases lie.

    `paraphrases` are similarities of labelled paraphrases to their anchors. A neighbour strictly below the threshold
    is kept as a negative, so every paraphrase below it becomes a false negative. Return
    `float("inf")` where all may lie below.
    """
    ordered = sorted(paraphrases)
    allowed = int(share * len(ordered) + 1e-9)
    return ordered[allowed] if allowed < len(ordered) else float("inf")


@calibrated_ceiling.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.choice([1, 2, 4, 5, 8]))  # shares of these are exact enough to be multiplied back
    return rng.uniform(-0.3, 1, n).round(1).tolist(), float(rng.integers(0, n + 1) + rng.choice([0, 0, 0.3, 0.7])) / n


_FIVE = [0.9, 0.2, 0.6, 0.4, 0.8]
calibrated_ceiling.by_hand({
    "A fifth of five is one: 0.2 may lie below, and the threshold rises to the next, 0.4, itself no longer below. "
    "You return {seen}.": (_FIVE, 0.2),
    "With no paraphrase allowed below, the lowest of them, 0.2, is the threshold, not {seen}.": (_FIVE, 0.0),
    "Half of five is 2.5: two may lie below, not three. The threshold is 0.6, not {seen}.": (_FIVE, 0.5),
    "Where all may lie below, nothing limits the threshold: float('inf').": (_FIVE, 1.0),
})  # fmt: skip
calibrated_ceiling.mistaken({
    "The allowed share is counted from the lowest similarity up; you count from the top.":
        ("sorted(paraphrases)", "sorted(paraphrases, reverse=True)"),
    "You let one paraphrase too few through: the threshold itself is not below itself.":
        ("return ordered[allowed]", "return ordered[max(allowed - 1, 0)]"),
    "You round the number that may lie below up; “at most” rounds down.":
        ("int(share * len(ordered) + 1e-9)", "round(share * len(ordered) + 0.4999)"),
})  # fmt: skip


@hint("""
    The table of cosines as in 01.7. `masked_fill` with -∞ takes the diagonal out (0 would not: cosines can be below
    0), and `topk(k, dim=1)` gives both values and columns. There are N - 1 negatives, so k can be no more.""")
@exercise("02.5", "Build: the miner", difficulty=2, importance=3, minutes=15, builds=True,
    praise="`hncse.miner.hardest_k` gives the same columns, `mine_in_batch` the first of them and the case."
)  # fmt: skip
def mine_batch(z1: Tensor, z2: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what HNCSE has to know of a batch: `p` (N,), `n` (N, k) and `columns` (N, k).

    `z1` and `z2` are (N, d), two views of N sentences, of any length; similarities are cosines of a row of `z1` with a
    row of `z2`. `p[i]` is anchor i's similarity to its positive; `n[i]` holds those to its k hardest negatives, the
    largest first, and `columns[i]` says which rows of `z2` these are. With fewer than k negatives all of them, N - 1.
    """
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T  # (N, N)
    own = torch.eye(len(z1), dtype=torch.bool, device=z1.device)
    n, columns = cosine.masked_fill(own, -torch.inf).topk(min(k, len(z1) - 1), dim=1)
    return cosine.diagonal(), n, columns


@mine_batch.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    z1, z2 = batch_of_views(rng)
    return z1, -z2 if rng.random() < 0.3 else z2, int(rng.integers(1, 6))


_Z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 2.0]])
mine_batch.by_hand({
    "Three directions, at 0°, 37° and 90°, both views the same: {right}, not {seen}.": (_Z, _Z, 2),
    "Three sentences have two negatives each, so k = 10 gives two: {right}, not {seen}.": (_Z, _Z, 10),
    "Here every negative's cosine is 0 or below, and still one is the hardest: {right}, not {seen}.":
        (_Z, -_Z.flip(0), 1),
})  # fmt: skip
mine_batch.mistaken({
    "The positive is among your negatives: take the diagonal out first.":
        ("cosine.masked_fill(own, -torch.inf)", "cosine"),
    "A diagonal set to 0 is still among the hardest where negatives are below 0: use -∞.": ("-torch.inf", "0.0"),
    "Those are inner products: bring the rows to length 1, or a long vector looks hard.":
        ("F.normalize(z1, dim=1) @ F.normalize(z2, dim=1)", "z1 @ z2"),
    "Anchors are the rows, z1; your table is transposed.":
        ("F.normalize(z1, dim=1) @ F.normalize(z2, dim=1)", "F.normalize(z2, dim=1) @ F.normalize(z1, dim=1)"),
})  # fmt: skip
