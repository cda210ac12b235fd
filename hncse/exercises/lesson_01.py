"""Exercises of notebook 01, contrastive learning: the loss, its gradient, its limits, two views, and two measures."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hncse import losses
from hncse.exercises.core import exercise, hint

ROW = [0.9, 0.3, 0.6, -0.2]  # an anchor's cosines


def _row(rng: np.random.Generator) -> tuple[list[float], int]:
    """Cosines of an anchor, now and then with a tie at the top or none above 0, and its positive's column."""
    row = rng.uniform(-1, 1, rng.integers(2, 9)).round(2)
    kind, i = rng.random(), int(rng.integers(len(row)))
    if kind < 0.2:
        row = -np.abs(row) - 0.01
    elif kind < 0.35:
        row[i] = row.max()
    return row.tolist(), i


@hint("""
    The loss is -log of a share: e^(p/τ) over the sum of e^(s/τ) over the whole row, the positive included. Taken
    apart it is log Σ e^(s/τ) - p/τ. At τ = 0.001, e^(0.9/τ) is more than a float can hold: subtract the largest
    logit from all of them first; the share stays what it was.""")
@exercise("01.1", "InfoNCE for one anchor", difficulty=2, importance=3, minutes=15,
    praise="The mean of it over anchors is `losses.build('simcse')`, to ten decimals.")  # fmt: skip
def loss_of_one(row: list[float], i: int, tau: float) -> float:
    """Return the loss of one anchor, at any temperature.

    `row[j]` is `s_ij`, the cosine of anchor `i` and the second view of sentence `j`, so `row[i]` is the positive's.
    The loss is the cross-entropy of picking column `i` from a softmax over `row / tau`.

    It must hold at τ = 0.001 too, where `exp(0.9 / 0.001)` is more than a float can hold: subtract the largest logit
    of the row from all of them before you take exponentials. The softmax stays what it was.
    """
    logits = [s / tau for s in row]
    largest = max(logits)
    return largest + log(sum(exp(value - largest) for value in logits)) - logits[i]


loss_of_one.samples(lambda rng: (*_row(rng), float(rng.choice([0.001, 0.02, 0.05, 0.1, 0.5, 1.0]))))
loss_of_one.by_hand({
    "Eight equal cosines: picking one of eight blindly costs log 8 = 2.079, not {seen:.3f}. The positive is one "
    "of the columns of the denominator.": ([0.7] * 8, 3, 0.05),
    f"The row {ROW} with τ = 1 and i = 0 gives {{right:.4f}}, not {{seen:.4f}}. Natural logarithm, column i on top, "
    "minus in front.": (ROW, 0, 1.0),
    "With i = 2 the positive is 0.6: use `i`, not column 0.": (ROW, 2, 1.0),
    "With τ = 0.1 it is {right:.4f}, not {seen:.4f}: divide every cosine.": (ROW, 0, 0.1),
    "With τ = 0.001 this positive wins by far: 0, not {seen}.": (ROW, 0, 0.001),
    "With τ = 0.001 column 0 wins by far, and the positive, 0.6, loses by 300: not {seen}. Subtract the largest logit "
    "of the row, whosever it is.": (ROW, 2, 0.001),
})  # fmt: skip
loss_of_one.mistaken({
    "You leave the positive out of the denominator.":
        ("    largest", "    positive = logits.pop(i)\n    largest", "- logits[i]", "- positive"),
    "The temperature is missing: divide every cosine by it.": ("s / tau", "s"),
    "You multiply by the temperature; cosines are divided by it.": ("s / tau", "s * tau"),
    "You take column 0 for the positive; it is column `i`.": ("logits[i]", "logits[0]"),
})  # fmt: skip


@hint("""
    Write the loss as log Σ e^(s/τ) - p/τ and differentiate. The first term gives every column its share of the
    softmax; the second touches only one column. Both have a factor 1/τ.""")
@exercise("01.2", "What pulls, what pushes", difficulty=2, importance=3, minutes=15,
    praise="A hard negative is hard because of this exponential: nothing in the code looks for it.")  # fmt: skip
def gradient(row: list[float], i: int, tau: float) -> list[float]:
    """Return the derivative of the anchor's loss by every cosine of its row.

    Entry `j` is dℓ_i / ds_ij: negative for the positive, which the loss pulls closer, positive for the negatives, which
    it pushes away.
    """
    largest = max(row)
    shares = [exp((s - largest) / tau) for s in row]
    total = sum(shares)
    return [(share / total - (j == i)) / tau for j, share in enumerate(shares)]


gradient.samples(lambda rng: (*_row(rng), float(rng.choice([0.05, 0.1, 0.3, 1.0, 2.0]))))
gradient.by_hand({
    "Of four equal cosines each has a quarter of the softmax: a negative's derivative is 0.25, the positive's its "
    "share minus 1, -0.75: {right}, not {seen}. The positive has a term of its own, -p/τ.": ([0.5] * 4, 1, 1.0),
    "With τ = 0.1 the same forces are ten times as large, {right} and not {seen}: the factor 1/τ is inside.":
        ([0.5] * 4, 1, 0.1),
    "Of two negatives the nearer is pushed more, by the factor e^(difference of cosines / τ), and all of a row adds up "
    "to 0: {right}, not {seen}.": ([0.2, 0.9, 0.6], 1, 0.3),
})  # fmt: skip
gradient.mistaken({
    "The factor 1/τ is missing: the temperature is inside the logits.": ("(j == i)) / tau", "(j == i))"),
    "You treat the positive as one of the negatives; it has a term of its own, -p/τ.": (" - (j == i)", ""),
    "You push all negatives alike; each is pushed by its own share of the softmax.":
        ("share / total - (j == i)", "shares[i] / total - 1 if j == i else (1 - shares[i] / total) / (len(row) - 1)"),
})  # fmt: skip


@hint("""
    Cold: τ · log Σ e^(s/τ) tends to the largest cosine of the row, the positive's included. Hot: all logits tend to
    0; how many columns are there?""")
@exercise("01.3", "Very cold and very hot", difficulty=2, importance=2, minutes=15,
    praise="Between the two lies the choice of τ: low (cold), it is a margin loss on the hardest negative; high (hot), "
    "it pushes all negatives alike.")  # fmt: skip
def limits(row: list[float], i: int) -> tuple[float, float]:
    """Return two limits of the anchor's loss ℓ: of τ·ℓ for τ → 0, and of ℓ for τ → ∞.

    The first is a number that you know from the similarity plane, cut off at 0. No temperature is needed for either.
    """
    return max(row) - row[i], log(len(row))


limits.samples(lambda rng: _row(rng))
limits.by_hand({
    "Where the positive is the nearest, a cold softmax is content: τ·ℓ tends to 0; hot, all three columns are alike, "
    "the positive among them: log 3. {right}, not {seen}.": ([0.3, 0.9, 0.6], 1),
    "p = 0.5, the hardest negative n = 0.8: τ·ℓ tends to n - p = 0.3; hot, it is log 4 whatever the cosines are: "
    "{right}, not {seen}. A cold loss sees one negative only, the hardest; the others could be anything.":
        ([0.1, 0.5, 0.8, 0.7], 1),
})  # fmt: skip
limits.mistaken({
    "A loss is never below 0: cut the margin off there.":
        ("max(row) -", "max(s for j, s in enumerate(row) if j != i) -"),
    "Hot, the positive is one of the columns too: count all of them.": ("log(len(row))", "log(len(row) - 1)"),
    "You take the mean negative; a cold softmax sees the hardest alone.":
        ("max(row) - row[i]", "max(0.0, (sum(row) - row[i]) / (len(row) - 1) - row[i])"),
    "You take column 0 for the hardest negative; it is the largest of the row.":
        ("max(row) - row[i]", "max(0.0, row[0] - row[i])"),
})  # fmt: skip


@hint("""
    Three steps: every row of both tables to length 1; squared distance of row k and row k; the mean of these.
    `np.linalg.norm(x, axis=1, keepdims=True)` gives the lengths as a column.""")
@exercise("01.4", "Alignment", difficulty=2, importance=2, minutes=10,
    praise="On the sphere it is 2 - 2·mean(p): alignment *is* the positives' mean cosine, in other words.")  # fmt: skip
def alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean squared distance of anchors and their positives on the unit sphere.

    `x` and `y` are (n, d) arrays, row k of `y` the positive of row k of `x`. Embeddings have any length: bring them to
    length 1 first.
    """
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    return float(np.mean(np.sum((x - y) ** 2, axis=1)))


def _table(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """(n, d) embeddings of many lengths, float32 or float64."""
    kind = rng.choice(["float32", "float64"])
    return (rng.normal(size=(n, d)) * rng.choice([0.01, 1.0, 50.0], (n, 1))).round(4).astype(kind) + 0.001


@alignment.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n, d = rng.integers(1, 6), rng.integers(2, 5)
    return _table(rng, int(n), int(d)), _table(rng, int(n), int(d))


def on_circle(*degrees: float) -> np.ndarray:
    """Unit vectors at angles: (n, 2)."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


alignment.by_hand({
    "Positives on their anchors: 0, not {seen:.3f}.": (on_circle(0, 90), on_circle(0, 90)),
    "At right angles the squared distance is 2 - 2·cos = 2, not {seen:.3f}. (Not squared it is 1.414; averaged "
    "over both axes it is 1.)": (on_circle(10, 50), on_circle(100, 140)),
    "One pair with distance² 0, one with 4: the mean is 2, not {seen:.3f}. The anchors here are three times as "
    "long, which must not matter: normalise both.": (3 * on_circle(0, 0), on_circle(0, 180)),
    "Here the positives are three times as long: 2, not {seen:.3f}.": (on_circle(0, 0), 3 * on_circle(0, 180)),
})  # fmt: skip
alignment.mistaken({
    "Lengths must not matter: bring both tables to length 1.":
        (" / np.linalg.norm(x, axis=1, keepdims=True)", "", " / np.linalg.norm(y, axis=1, keepdims=True)", ""),
    "You bring the anchors to length 1 and forget the positives.": (" / np.linalg.norm(y, axis=1, keepdims=True)", ""),
    "The distance is squared before the mean.": ("np.sum((x - y) ** 2, axis=1)", "np.linalg.norm(x - y, axis=1)"),
})  # fmt: skip


@hint("""
    After normalising, all squared distances at once are `2 - 2 * x @ x.T`. A row's distance to itself is always 0 and
    says nothing: leave the diagonal out (`~np.eye(n, dtype=bool)`, or `np.triu_indices(n, 1)`). Mean first, then log.
    """)
@exercise("01.5", "Uniformity", difficulty=3, importance=2, minutes=20,
    praise="`hncse.evaluation.geometry.uniformity` is the same, in pieces, so that n rows never need an n × n table."
)  # fmt: skip
def uniformity(x: np.ndarray) -> float:
    """Return the logarithm of the mean, over all pairs of different rows, of exp(-2·squared distance).

    `x` is an (n, d) array, its rows of any length: bring them to length 1 first. 0 means all rows in one place; the
    lower, the more evenly they fill the sphere.
    """
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    squared = 2 - 2 * x @ x.T
    return float(np.log(np.mean(np.exp(-2 * squared[np.triu_indices(len(x), 1)]))))


uniformity.samples(lambda rng: (_table(rng, int(rng.integers(2, 6)), int(rng.integers(2, 4))),))
uniformity.by_hand({
    "All rows in one place: 0, not {seen:.3f}.": (5 * on_circle(20, 20, 20),),
    "Two opposite rows: one pair, distance² 4, log exp(-8) = -8, not {seen:.3f}. A row and itself is no pair: "
    "its distance 0 would hide everything else.": (on_circle(0, 180),),
    "Angles 0, 90 and 180: two pairs with distance² 2, one with 4, so {right:.3f}, not {seen:.3f}. Lengths do "
    "not count, and the logarithm comes after the mean: near pairs weigh most.":
        (on_circle(0, 90, 180) * np.array([[1.0], [7.0], [0.5]]),),
})  # fmt: skip
uniformity.mistaken({
    "You count a row's distance to itself, which is always 0 and hides everything else.":
        ("[np.triu_indices(len(x), 1)]", ""),
    "You use exp(-d²); the measure has exp(-2·d²). The code released with HNCSE makes the same slip.":
        ("-2 * squared", "-squared"),
    "You take the mean of logarithms; the logarithm comes last, and near pairs weigh most.":
        ("np.log(np.mean(np.exp(", "np.mean((("),
    "Lengths must not matter: bring the rows to length 1 first.":
        (" / np.linalg.norm(x, axis=1, keepdims=True)", "", "2 - 2 * x @ x.T",
         "np.sum((x[:, None] - x[None]) ** 2, axis=2)"),
})  # fmt: skip


class Toy(nn.Module):
    """A stand-in for a sentence encoder: mean of word vectors, and half of the numbers dropped while training."""

    def __init__(self, seed: int) -> None:
        """Draw weights."""
        super().__init__()
        words = torch.empty(20, 24).uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(seed))
        self.words, self.dropout = nn.Parameter(words), nn.Dropout(0.5)

    def __repr__(self) -> str:
        """How a message to the learner names it."""
        return "a small encoder"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, L) pieces → (N, 24)."""
        mask = attention_mask[..., None].to(self.words.dtype)
        return self.dropout((self.words[input_ids] * mask).sum(1) / mask.sum(1))


@hint("""
    `encoder.train()` switches dropout on; then call it twice with the same batch: every call draws masks of its own.
    `encoder.training` says how it was before.""")
@exercise("01.6", "Build: two views", difficulty=1, importance=3, minutes=10, builds=True, pure=False,
    praise="That is all the supervision there is. `SentenceEncoder.views` does it in one pass over both copies."
)  # fmt: skip
def two_views(encoder: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return two views (N, d) of a batch of sentences: the encoder's outputs under different dropout masks.

    `encoder(**batch)` embeds a batch, (N, d). Dropout acts only in training mode, whatever mode the encoder comes in;
    leave it in the mode in which it came. Both views keep their gradient, for a loss will train with them.
    """
    mode = encoder.training
    encoder.train()
    z1, z2 = encoder(**batch), encoder(**batch)
    encoder.train(mode)
    return z1, z2


@two_views.samples
def _(rng: np.random.Generator) -> tuple[Any, ...]:
    n, length = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    batch = {"input_ids": torch.from_numpy(rng.integers(20, size=(n, length)))}
    batch["attention_mask"] = torch.ones(n, length, dtype=torch.long)
    return Toy(int(rng.integers(1000))).train(bool(rng.random() < 0.5)), batch


@two_views.compare_by
def _(result: Any, arguments: tuple[Any, ...]) -> Any:
    """Everything but which numbers a mask has hit: those are drawn."""
    encoder, batch = arguments
    if not isinstance(result, tuple | list) or not all(isinstance(z, Tensor) for z in result):
        return result
    mode = encoder.training
    whole = 2 * encoder.eval()(**batch).detach()  # what dropout leaves is scaled up
    fits = [z.shape == whole.shape and bool(((z == 0) | torch.isclose(z, whole)).all()) for z in result]
    return {
        "shapes": [tuple(z.shape) for z in result],
        "outputs of the encoder with dropout on": fits,
        "the views differ": len(result) == 2 and not torch.equal(*result),
        "with a gradient": [z.requires_grad for z in result],
        "the encoder is left in training mode": mode,
    }


two_views.mistaken({
    "The two views are one and the same: call the encoder twice.": ("return z1, z2", "return z1, z1"),
    "An encoder that does not train has its dropout off: switch to training mode first.": ("    encoder.train()\n", ""),
    "You leave the encoder in training mode; whoever embeds with it next gets noise.":
        ("    encoder.train(mode)\n", ""),
    "Without a gradient nothing can train: no `no_grad`, no `detach`.":
        ("return z1, z2", "return z1.detach(), z2.detach()"),
})  # fmt: skip


def batch_of_views(rng: np.random.Generator, most: int = 8) -> tuple[Tensor, Tensor]:
    """Two views (N, d) of a random batch, of many lengths, float32 or float64: near, on and behind the boundary."""
    n, d = int(rng.integers(2, most + 1)), int(rng.integers(2, 6))
    z1 = rng.normal(size=(n, d)) + rng.choice([0.0, 1.0]) * rng.normal(size=d)
    z2 = (z1 + rng.choice([0.2, 0.6, 1.5]) * rng.normal(size=(n, d))) * rng.uniform(0.3, 3, (n, 1))
    kind = torch.float32 if rng.random() < 0.4 else torch.float64
    return torch.from_numpy(z1.round(2)).to(kind), torch.from_numpy(z2.round(2)).to(kind)


@hint("""
    `F.normalize(z, dim=1)` brings rows to length 1; then one product, `z1 @ z2.T`, holds all N × N cosines. In row i
    the right column is i: `F.cross_entropy(logits, torch.arange(N))` is the mean of the loss of 01.1 over all rows.""")
@exercise("01.7", "Build: InfoNCE of a batch", difficulty=2, importance=3, minutes=15, builds=True, gradient=True,
    reference=lambda z1, z2, tau=0.05: losses.build("simcse", temperature=tau)(z1, z2).loss,
    praise="Loss and gradient are those of `losses.build('simcse')`. You have just written SimCSE.")  # fmt: skip
def info_nce(z1: Tensor, z2: Tensor, tau: float = 0.05) -> Tensor:
    """Return InfoNCE of a batch: the mean over anchors of the loss of exercise 01.1, a number with a gradient.

    `z1` and `z2` are (N, d), the two views of N sentences, of any length; `s_ij` is the cosine of `z1[i]` and `z2[j]`.
    Anchor `i` has to pick column `i` out of the N of its row.
    """
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T  # (N, N)
    return F.cross_entropy(cosine / tau, torch.arange(len(z1), device=z1.device))


info_nce.samples(lambda rng: (*batch_of_views(rng), float(rng.choice([0.02, 0.05, 0.2, 1.0]))))
_SAME = torch.ones(8, 5, dtype=torch.float64)
info_nce.by_hand({
    "Eight equal embeddings: a blind guess among eight costs log 8 = 2.079, not {seen:.3f}.": (_SAME, _SAME),
    "Four directions at right angles, four times as long: lengths do not matter. The default τ, 0.05, makes it "
    "{right:.3g}, not {seen:.3g}.": (4 * torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)),
})  # fmt: skip
info_nce.mistaken({
    "Rows are not brought to length 1: a cosine does not know lengths.":
        ("F.normalize(z1, dim=1) @ F.normalize(z2, dim=1)", "z1 @ z2"),
    "The temperature is missing: divide the cosines by it.": ("cosine / tau", "cosine"),
    "You multiply by the temperature; cosines are divided by it.": ("cosine / tau", "cosine * tau"),
    "Anchors are the rows, z1; you let the second views pick (the table is transposed).":
        ("cosine / tau", "cosine.T / tau"),
    "You leave the positive out of the denominator.":
        ("return F.cross_entropy(cosine / tau, torch.arange(len(z1), device=z1.device))",
         "rest = cosine.masked_fill(torch.eye(len(z1), dtype=torch.bool), -torch.inf) / tau\n"
         "    return (rest.logsumexp(1) - cosine.diagonal() / tau).mean()"),
    "That is the sum over anchors; the loss is their mean.": ("return ", "return len(z1) * "),
})  # fmt: skip
