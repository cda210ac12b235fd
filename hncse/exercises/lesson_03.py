"""Exercises of notebook 03, training: HNM, PM and the loop that trains with them, built one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hncse import SentenceEncoder, losses
from hncse.exercises.core import exercise, hint
from hncse.exercises.lesson_01 import batch_of_views, info_nce
from hncse.exercises.lesson_02 import mine_batch, pn_band


@hint("Test scores are read once, when nothing is left to choose.")
@exercise("03.1", "Which weights are kept?", difficulty=1, importance=3, minutes=5,
    praise="Its test score is the result, though a better one may have been passed on the way.")  # fmt: skip
def kept_step(history: list[dict[str, float]]) -> float:
    """Return the step whose weights are kept at the end of training.

    Every entry has "step", "loss", "dev" (Spearman on STS-B dev) and "test" (on STS-B test). Of equals the first.
    """
    return max(history, key=lambda line: line["dev"])["step"]


@kept_step.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n = int(rng.integers(1, 7))
    rows = np.stack([50 * np.arange(1, n + 1), rng.uniform(0.1, 1, n), *rng.uniform(-5, 75, (2, n)).round(0)], axis=1)
    rows[:, 1:] *= rng.choice([-1, 1])  # correlations can be negative, too
    return ([dict(zip(("step", "loss", "dev", "test"), map(float, row), strict=True)) for row in rows],)


_HISTORY = [
    {"step": 50, "loss": 0.30, "dev": 70.0, "test": 66.0},
    {"step": 100, "loss": 0.20, "dev": 74.0, "test": 67.0},
    {"step": 150, "loss": 0.15, "dev": 73.0, "test": 69.0},
    {"step": 200, "loss": 0.12, "dev": 71.0, "test": 65.0},
]
kept_step.by_hand({
    "Step 100 has the best dev score, 74; you return {seen!r}.": (_HISTORY,),
    "Of steps with equal dev scores the first is kept.":
        ([{"step": s, "loss": 0.1, "dev": 70.0, "test": 60.0} for s in (10, 20)],),
})  # fmt: skip
kept_step.mistaken({
    "You choose by the test score. A score that chose the weights is no test any more: it is high because it was "
    "picked for being high.": ('"dev"', '"test"'),
    "You choose by the loss. The loss is an easier game than the one you care about.":
        ('max(history, key=lambda line: line["dev"])', 'min(history, key=lambda line: line["loss"])'),
    "You keep the last step, whatever dev says.": ('max(history, key=lambda line: line["dev"])', "history[-1]"),
})  # fmt: skip


@hint("""
    Of `k` hardest negatives, how many pairs `a < b` are there? One given pair is missed by one draw with which
    probability, and by all draws? What is then the chance that it is there, and how many such pairs are there?""")
@exercise("03.2", "How many different mixes?", difficulty=2, importance=1, minutes=10,
    praise="k = 10, s = 40: 26.7 different mixes of 40, so some count twice or more in the denominator. The preset "
    "`hnm-no-replacement` draws 40 different ones of the 45.")  # fmt: skip
def expected_distinct(k: int, draws: int) -> float:
    """Return how many different pairs HNM mixes on average, drawing with replacement as the released code does.

    An anchor has `k` hardest negatives; each of the `draws` draws takes one of their pairs `(a, b)`, `a < b`, all
    equally likely.
    """
    pairs = k * (k - 1) / 2
    missed = (1 - 1 / pairs) ** draws
    return pairs * (1 - missed)


expected_distinct.samples(lambda rng: (int(rng.integers(2, 13)), int(rng.integers(0, 60))))
expected_distinct.by_hand({
    "Two negatives make one pair (a < b, and none with itself): always 1, not {seen:.3f}.": (2, 7),
    "One draw is one pair: 1, not {seen:.3f}.": (10, 1),
    "Of 3 pairs, 2 draws: 1 + 2/3 = 1.667 different ones on average, not {seen:.3f}.": (3, 2),
    "k = 10 has 45 pairs; your {seen:.2f} does not follow from them.": (10, 40),
})  # fmt: skip
expected_distinct.mistaken({
    "Draws are not always different: the second is the first again once in so many times.":
        ("pairs * (1 - missed)", "min(draws, pairs)"),
    "You count every pair in both orders; a < b counts it once.": ("k * (k - 1) / 2", "k * (k - 1)"),
})  # fmt: skip


@hint("""
    The numerator is the inner product of z1 with the mix, and an inner product is linear. The denominator holds the
    mix's norm, `‖u‖² = <u, u>`: multiply it out and count the terms.""")
@exercise("03.3", "A cosine with a vector that is never built", difficulty=2, importance=2, minutes=15,
    praise="All anchors and mixes at once: `hncse.mixing.hard_negative_mixes`. It reads these entries out of one "
    "matrix product and never holds a mix. Note that a mix can be nearer to the anchor than both its parents."
)  # fmt: skip
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


@cosine_with_mix.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    z, a, b = rng.normal(size=(3, 4)) * rng.choice([0.3, 1.0, 5.0], (3, 1))
    products = [float(x) for x in (z @ a, z @ b, a @ a, b @ b, a @ b, np.sqrt(z @ z))]
    return (*products, float(rng.choice([0.0, 0.2, 0.25, 0.5, 0.7, 1.0])))


cosine_with_mix.by_hand({
    "A vector mixed with itself is itself: the cosine stays 0.6, not {seen:.4f}. "
    "‖u‖² has three terms, the two squares and twice the product 2·α·(1-α)·<z2_a, z2_b>.":
        (0.6, 0.6, 1.0, 1.0, 1.0, 1.0),
    "Unit vectors 0.6 and 0.8 near, with <z2_a, z2_b> = 0.96: not {seen:.4f}. The mix is shorter than its parts where "
    "they point apart, and a cosine divides by its length.": (0.6, 0.8, 1.0, 1.0, 0.96, 1.0),
    "The cosine divides by ‖z1‖ too; here it is 2. You return {seen:.4f}.": (0.6, 0.8, 1.0, 1.0, 0.96, 2.0),
    "z2_a twice as long weighs more in the mix; you return {seen:.4f}.": (1.2, 0.8, 4.0, 1.0, 1.92, 1.0),
    "alpha = 1 leaves z2_a alone: 0.6, not {seen:.4f}. Use `alpha`, not a half.": (0.6, 0.8, 1.0, 1.0, 0.96, 1.0, 1.0),
    "alpha = 0.25: ‖u‖² = 0.0625 + 0.5625 + 2·0.25·0.75·0.5, so {right:.4f}, not {seen:.4f}.":
        (0.8, 0.4, 1.0, 1.0, 0.5, 1.0, 0.25),
})  # fmt: skip
cosine_with_mix.mistaken({
    "That is the mean of both cosines; the mix is shorter than its parts, so its cosine is larger.":
        ("top / (norm1 * square**0.5)", "(alpha * z1_a / aa**0.5 + (1 - alpha) * z1_b / bb**0.5) / norm1"),
    "‖u‖² has three terms; the product of the two parts is missing.": (" + 2 * alpha * (1 - alpha) * ab", ""),
    "The product of the parts counts twice in ‖u‖²: 2·α·(1-α)·<z2_a, z2_b>.":
        ("2 * alpha * (1 - alpha) * ab", "(1 - alpha) * ab"),
})  # fmt: skip


@hint("""
    Name the case first. Case C's weights add up to 1, and the nearer of the two sentences gets the larger one. Only the
    direction of z3 matters to a cosine, so any positive multiple of the two weights is right.""")
@exercise("03.4", "What positive mixing does to one anchor", difficulty=2, importance=3, minutes=15,
    praise="`hncse.mixing.mixing_weights` is the same on tensors. Look at the picture of A, B and C once more: "
    "where all is B, this function always returns (1, 0), and PM is SimCSE.")  # fmt: skip
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


@mixing_coefficients.compare_by
def _(result: Any, _: tuple[Any, ...]) -> Any:
    """The direction of (a, b), which is all that a cosine sees."""
    if not isinstance(result, tuple | list | np.ndarray | Tensor) or len(result) != 2:
        return result
    a, b = (float(x) for x in result)
    length = (a * a + b * b) ** 0.5
    return [a / length, b / length] if length else [0.0, 0.0]


@mixing_coefficients.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    p, n, band = pn_band(rng)
    return p, n, *rng.uniform(0.1, 2, 2).round(2).tolist(), band


mixing_coefficients.by_hand({
    "p = 0.9, n = 0.3 is safe, case B: z3 is the positive itself, (1, 0), whatever w1 and w2 are.":
        (0.9, 0.3, 1.0, 0.4),
    "p = 0.8, n = 0.76 is case A: z3 = w1·z2_i + w2·z2_j*.": (0.8, 0.76, 1.0, 0.4),
    "p = 0.4, n = 0.6 is case C: b/a = n/p = 1.5, and w1 and w2 belong to case A alone.": (0.4, 0.6, 1.0, 0.2),
    "p = n is case C (p ≤ n): half and half.": (0.5, 0.5, 1.0, 0.2),
    "With band = 0.3 a lead of a quarter of p is case A: use `band`.": (0.8, 0.6, 1.0, 0.4, 0.3),
    "A lead of exactly the band is still case A: “at most”.": (1.0, 0.75, 1.0, 0.4, 0.25),
})  # fmt: skip
mixing_coefficients.mistaken({
    "Case C's weights are swapped: the positive gets p/(p+n), the negative n/(p+n). So the farther the anchor is on "
    "the wrong side, the more of the negative its new positive holds.":
        ("p / (p + n), n / (p + n)", "n / (p + n), p / (p + n)"),
    "w1 and w2 belong to case A alone; name the case first.":
        ("if p <= n", "if False", " if (p - n) / p <= band else (1.0, 0.0)", ""),
    "Case C has weights of its own, p/(p+n) and n/(p+n).": ("if p <= n", "if False"),
    "“At most the share” takes the share itself in: ≤, not <.": ("<= band", "< band"),
})  # fmt: skip


@hint("""
    `pairs = torch.combinations(torch.arange(k))` lists all a < b, (P, 2). With `columns` (N, k) of 02.5,
    `z2[columns[:, pairs[:, 0]]]` is every anchor's first partners, (N, P, d). Mix, take
    `F.cosine_similarity(z1[:, None], mixes, dim=2)`, (N, P), put it beside the (N, N) table with `torch.cat`, and
    finish as in 01.7: the right column is still i.""")
@exercise("03.5", "Build: hard-negative mixing", difficulty=3, importance=3, minutes=30, builds=True, gradient=True,
    reference=lambda z1, z2, k=10, tau=0.05: losses.build(
        "hnm-no-replacement", k=k, s=max(1, k * (k - 1) // 2), temperature=tau)(z1, z2).loss,
    praise="Loss and gradient are those of `losses.build('hnm-no-replacement')` with all its pairs. The kit never "
    "builds the (N, P, d) mixes: exercise 03.3 is why.")  # fmt: skip
def hnm(z1: Tensor, z2: Tensor, k: int = 10, tau: float = 0.05) -> Tensor:
    """Return HNCSE's hard-negative mixing loss of a batch, the mean over anchors, a number with a gradient.

    `z1` and `z2` are (N, d), two views of N sentences, of any length. It is InfoNCE with more columns: for every anchor
    take its k hardest negatives (N - 1 where there are fewer) and all their pairs a < b, P of them. Each pair's mix,
    half `z2[a]` plus half `z2[b]`, the embeddings as they are and not brought to length 1, is one more negative of
    *that* anchor. So row i of the logits holds N cosines with `z2` and P with its own mixes, all divided by τ, and the
    anchor still has to pick column i.
    """
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T  # (N, N)
    own = torch.eye(len(z1), dtype=torch.bool, device=z1.device)
    columns = cosine.masked_fill(own, -torch.inf).topk(min(k, len(z1) - 1), dim=1).indices  # (N, k)
    first, second = torch.combinations(torch.arange(columns.shape[1], device=z1.device)).T  # (P,) each
    mixes = 0.5 * z2[columns[:, first]] + 0.5 * z2[columns[:, second]]  # (N, P, d)
    harder = F.cosine_similarity(z1[:, None], mixes, dim=2)  # (N, P)
    logits = torch.cat([cosine, harder], dim=1) / tau  # (N, N + P)
    return F.cross_entropy(logits, torch.arange(len(z1), device=z1.device))


hnm.samples(lambda rng: (*batch_of_views(rng), int(rng.integers(1, 6)), float(rng.choice([0.05, 0.2, 1.0]))))
_Z1 = torch.tensor([[1.0, 0.2], [0.6, 0.8], [0.1, 1.0], [-0.5, 0.5]], dtype=torch.float64)
_WIDE = torch.from_numpy(np.random.default_rng(0).normal(size=(13, 2)).round(1))
hnm.by_hand({
    "Two sentences have one negative each and no pair: plain InfoNCE, {right:.4f}, not {seen:.4f}.":
        (_Z1[:2], _Z1[:2], 10, 0.5),
    "Three sentences: two negatives, one mix each: {right:.4f}, not {seen:.4f}.": (_Z1[:3], _Z1[:3], 10, 0.5),
    "k = 2 of three negatives: one mix each, of the two hardest: {right:.4f}, not {seen:.4f}.": (_Z1, _Z1, 2, 0.5),
    "Four sentences, three negatives each, three mixes: {right:.4f}, not {seen:.4f}.": (_Z1, _Z1),
    "k = 10 of twelve negatives, as the default is: {right:.4f}, not {seen:.4f}.": (_WIDE, _WIDE),
})  # fmt: skip
hnm.mistaken({
    "That is InfoNCE alone: where are the mixes?": ("torch.cat([cosine, harder], dim=1)", "cosine"),
    "The positive is among your hardest negatives: take the diagonal out before `topk`.":
        ("cosine.masked_fill(own, -torch.inf)", "cosine"),
    "You bring the embeddings to length 1 before mixing; they are mixed as they are, so a longer one weighs more.":
        ("mixes = ", "z2 = F.normalize(z2, dim=1)\n    mixes = "),
})  # fmt: skip


@hint("""
    `p`, `n` and the column j* as in 02.5 with k = 1. Then the weights of 03.4, for all anchors at once:
    `torch.where(case, a, b)`. Row i of z3 is `a[i]·z2[i] + b[i]·z2[j*[i]]`, and the loss is `info_nce(z1, z3, tau)`.
    """)
@exercise("03.6", "Build: positive mixing", difficulty=3, importance=2, minutes=25, builds=True, gradient=True,
    reference=lambda z1, z2, ratio=0.2, band=0.1, tau=0.05: losses.build(
        "pm-fixed", ratio=ratio, band=band, temperature=tau)(z1, z2).loss,
    praise="Loss and gradient are those of `losses.build('pm-fixed')`. HNCSE looks for the ratio w2/w1 in every batch."
)  # fmt: skip
def pm(z1: Tensor, z2: Tensor, ratio: float = 0.2, band: float = 0.1, tau: float = 0.05) -> Tensor:
    """Return HNCSE's positive-mixing loss of a batch with a fixed ratio of weights, a number with a gradient.

    `z1` and `z2` are (N, d), two views of N sentences, of any length. Every second view is replaced by
    `z3_i = a_i·z2_i + b_i·z2_j*`, where j* is anchor i's hardest negative and (a, b) are those of exercise 03.4 with
    `w1 = 1` and `w2 = ratio`; the embeddings are mixed as they are. The loss is InfoNCE of `z1` and `z3`: z3 stands in
    *every* column, so a mixed positive is also what the other anchors are pushed away from. The gradient flows through
    p and n as well.
    """
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T  # (N, N)
    own = torch.eye(len(z1), dtype=torch.bool, device=z1.device)
    n, hardest = cosine.masked_fill(own, -torch.inf).max(dim=1)  # (N,) each
    p = cosine.diagonal()  # (N,)
    wrong, near = p <= n, (p - n) / p <= band  # (N,)
    a = torch.where(wrong, p / (p + n), 1.0)
    b = torch.where(wrong, n / (p + n), torch.where(near, ratio, 0.0))
    z3 = a[:, None] * z2 + b[:, None] * z2[hardest]  # (N, d)
    logits = F.normalize(z1, dim=1) @ F.normalize(z3, dim=1).T / tau  # (N, N)
    return F.cross_entropy(logits, torch.arange(len(z1), device=z1.device))


@pm.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    z1, z2 = batch_of_views(rng)
    p, n, _ = mine_batch(z1, z2, 1)
    leads = ((p - n[:, 0]) / p)[p > n[:, 0]].sort().values  # the band falls between two of these
    some = len(leads) > 1 and rng.random() < 0.8
    band = float(leads[:2].mean() if some else rng.choice([0.05, 0.2, 0.9]))
    return z1, z2, float(rng.choice([0.1, 0.5, 1.5])), max(band, 0.0), float(rng.choice([0.05, 0.2, 1.0]))


_SPREAD = torch.eye(4, dtype=torch.float64)
_TURN = torch.tensor([[1.0, 0.0], [0.97, 0.24], [0.9, 0.45], [0.0, 1.0]], dtype=torch.float64)  # leads of 3 to 14 %
pm.by_hand({
    "Directions at right angles are all safe, case B: plain InfoNCE, {right:.4f}, not {seen:.4f}.": (_SPREAD, _SPREAD),
    "Some lead by less than a tenth, some by more: {right:.4f}, not {seen:.4f}.": (_TURN, _TURN),
    "Every positive here loses, case C: {right:.4f}, not {seen:.4f}.": (_Z1[:3], _Z1[:3].flip(0) + 0.3),
    "With a band of 0.9 nearly every anchor is in case A: {right:.4f}, not {seen:.4f}.": (_Z1, _Z1, 0.5, 0.9, 0.2),
})  # fmt: skip
pm.mistaken({
    "That is InfoNCE alone: where are the mixed positives?": ("F.normalize(z3, dim=1)", "F.normalize(z2, dim=1)"),
    "You put z3 on the diagonal alone; it replaces z2 in every column.":
        ("return F.cross", "logits = torch.where(own, logits, cosine / tau)\n    return F.cross"),
    "No gradient flows through your p and n; it does through HNCSE's.":
        ("cosine.diagonal()", "cosine.diagonal().detach()", ".max(dim=1)", ".detach().max(dim=1)"),
})  # fmt: skip


class ToyEncoder(nn.Module):
    """A stand-in for an encoder with `views`: a linear layer; what its dropout hits depends on the batch alone."""

    def __init__(self, seed: int) -> None:
        """Draw weights."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(5, 3, generator=generator, dtype=torch.float64))

    def __repr__(self) -> str:
        """How a message to the learner names it."""
        return "a small encoder"

    def views(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 5) → two views (N, 3), equal unless it trains."""
        z = x @ self.weight
        return (z, z + 0.3 * x[:, :3].flip(1)) if self.training else (z, z)


@hint("""
    Five lines inside `for step, batch in enumerate(batches)`: the learning rate into every `group["lr"]` of
    `optimizer.param_groups`; views; loss; `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`; `.item()`.
    """)
@exercise("03.7", "Build: the training loop", difficulty=2, importance=3, minutes=20, builds=True, pure=False,
    praise="What `hncse.train` adds: checkpoints, evaluation, several devices, a record of all that decides the run."
)  # fmt: skip
def fit(
    encoder: SentenceEncoder,
    batches: Sequence[dict[str, Any]],
    loss: Callable[[Tensor, Tensor], Tensor],
    learning_rate: float,
) -> list[float]:
    """Train an encoder in place, one optimiser step a batch, and return the loss of every step as plain numbers.

    `encoder.views(**batch)` gives the two views (N, d) of a batch, which differ only in training mode: switch it on
    before you begin, and off (`eval`) when you are done. `loss(z1, z2)` is a number with a gradient. The optimiser is
    `torch.optim.AdamW(encoder.parameters())`; its learning rate falls in a straight line: `learning_rate` at the first
    step, and in each of the T steps less by a T-th of it, so that it would be 0 after the last.
    """
    optimizer = torch.optim.AdamW(encoder.parameters())
    encoder.train()
    history = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / len(batches))
        value = loss(*encoder.views(**batch))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    encoder.eval()
    return history


@fit.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    sizes = rng.integers(2, 5, rng.integers(1, 5))
    batches = [{"x": torch.from_numpy(rng.normal(size=(n, 5)).round(1))} for n in sizes]
    return ToyEncoder(int(rng.integers(1000))), batches, info_nce.solution, float(rng.choice([0.01, 0.1]))


@fit.compare_by
def _(result: Any, arguments: tuple[Any, ...]) -> Any:
    """The losses, and what the encoder is now."""
    weights = [p.detach() for p in arguments[0].parameters()]
    return {"losses": result, "weights afterwards": weights, "still in training mode": arguments[0].training}


fit.mistaken({
    "Gradients add up: `zero_grad` before every `backward`, or each step repeats all before it.":
        ("        optimizer.zero_grad()\n", ""),
    "The learning rate stays where it was; it falls in a straight line.": (" * (1 - step / len(batches))", ""),
    "Two views are equal where the encoder does not train: switch to training mode first.":
        ("encoder.train()", "encoder.eval()"),
    "You leave the encoder in training mode; whoever embeds with it next gets noise.": ("    encoder.eval()\n", ""),
})  # fmt: skip
