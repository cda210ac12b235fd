"""The same losses, written the obvious way: what the Gram-space forms are timed against, and equal to.

Ours, from the equations: broadcast cosines that allocate N × N × d, mixes as real vectors, loops where a first version
would loop. `tests/test_benchmarks.py` holds these and `hncse.losses` to the same losses and gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cosine", "drawn_pairs", "hnm_loop", "hnm_materialised", "mine", "pm_loss", "pm_trials", "simcse"]


def cosine(z1: Tensor, z2: Tensor) -> Tensor:
    """(N, M) cosines of all rows by broadcasting, as SimCSE writes it; (N, M, d) stands in memory on the way."""
    return F.cosine_similarity(z1[:, None], z2[None], dim=-1)


def simcse(z1: Tensor, z2: Tensor, temperature: float = 0.05) -> Tensor:
    """SimCSE's equation 4 with broadcast cosines."""
    return _cross_entropy(cosine(z1, z2), temperature)


def drawn_pairs(n: int, k: int, s: int, *, replacement: bool, seed: int = 0, step: int = 0) -> tuple[Tensor, Tensor]:
    """Draw the pairs that `hncse.losses` draws at a step.

    Returns:
        Two (n, s') int64 tensors, positions a < b in each anchor's list of hardest negatives.
    """
    k = min(k, n - 1)
    first, second = torch.triu_indices(k, k, offset=1)  # (P,)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    if replacement:
        drawn = torch.randint(len(first), (n, s), generator=generator)
    else:
        drawn = torch.rand(n, len(first), generator=generator).topk(min(s, len(first)), dim=1).indices
    return first[drawn], second[drawn]


def hnm_materialised(
    z1: Tensor, z2: Tensor, pairs: tuple[Tensor, Tensor], k: int = 10, alpha: float = 0.5, temperature: float = 0.05
) -> Tensor:
    """HNM with every mix built: two (N, s, d) gathers, no loop."""
    similarity = cosine(z1, z2)  # (N, N)
    top = _hardest(similarity, k)  # (N, k)
    a, b = top.gather(1, pairs[0]), top.gather(1, pairs[1])  # (N, s)
    mixes = F.normalize(alpha * z2[a] + (1 - alpha) * z2[b], dim=-1)  # (N, s, d)
    hard = F.cosine_similarity(z1[:, None], mixes, dim=-1)  # (N, s)
    return _cross_entropy(torch.cat([similarity, hard], dim=1), temperature)


def hnm_loop(
    z1: Tensor, z2: Tensor, pairs: tuple[Tensor, Tensor], k: int = 10, alpha: float = 0.5, temperature: float = 0.05
) -> Tensor:
    """HNM row by row, mix by mix."""
    similarity = cosine(z1, z2)  # (N, N)
    top = _hardest(similarity, k).tolist()
    rows = []
    for i, (firsts, seconds) in enumerate(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)):
        mixes = []
        for a, b in zip(firsts, seconds, strict=True):
            mix = alpha * z2[top[i][a]] + (1 - alpha) * z2[top[i][b]]  # (d,)
            mixes.append(mix / mix.norm())
        rows.append(F.cosine_similarity(z1[i][None], torch.stack(mixes), dim=-1))  # (s,)
    return _cross_entropy(torch.cat([similarity, torch.stack(rows)], dim=1), temperature)


def mine(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positive similarity p (N,), hardest negative's n (N,) and its column (N,)."""
    similarity = cosine(z1, z2)  # (N, N)
    n, index = _without_own(similarity).max(dim=1)
    return similarity.diagonal(), n, index


def mixed_positives(
    z2: Tensor, mined: tuple[Tensor, Tensor, Tensor], w1: float, w2: float, band: float = 0.1
) -> Tensor:
    """PM's (N, d) mixed positives z3 for one pair of weights, without a loop."""
    p, n, index = mined
    near, wrong = (p > n) & ((p - n) / p <= band), p <= n
    a = torch.where(near, w1, torch.where(wrong, p / (p + n), 1.0))  # (N,)
    b = torch.where(near, w2, torch.where(wrong, n / (p + n), 0.0))  # (N,)
    return a[:, None] * z2 + b[:, None] * z2[index]


def mixed_positives_loop(
    z2: Tensor, mined: tuple[Tensor, Tensor, Tensor], w1: float, w2: float, band: float = 0.1
) -> Tensor:
    """The same, row by row; each row's case is decided on its own, as the released code does."""
    rows = []
    for i, (p, n, j) in enumerate(zip(*mined, strict=True)):
        if p <= n:
            rows.append(p / (p + n) * z2[i] + n / (p + n) * z2[j])
        elif (p - n) / p <= band:
            rows.append(w1 * z2[i] + w2 * z2[j])
        else:
            rows.append(z2[i])
    return torch.stack(rows)  # (N, d)


def pm_loss(z1: Tensor, z2: Tensor, w1: float, w2: float, temperature: float = 0.05) -> Tensor:
    """PM for one pair of weights: cross-entropy over cosines with real mixed vectors."""
    return _cross_entropy(cosine(z1, mixed_positives(z2, mine(z1, z2), w1, w2)), temperature)


def objective(z1: Tensor, z3: Tensor, temperature: float = 0.05) -> float:
    """What the released search minimises, for one trial: mean(c_ii - mean of the row's rest) + mean rank of c_ii."""
    c = cosine(z1, z3) / temperature  # (N, N)
    positive = c.diagonal()
    rest = (c.sum(1) - positive) / (len(c) - 1)
    rank = 1 + (c > positive[:, None]).sum(1)
    return float(((positive - rest).mean() + rank.float().mean()).detach())


def pm_trials(
    z1: Tensor, z2: Tensor, mined: tuple[Tensor, Tensor, Tensor], trials: list[tuple[float, float]], *, loop: bool
) -> list[float]:
    """Try one pair of weights after the other.

    Args:
        z1: (N, d) anchors.
        z2: (N, d) positives.
        mined: From `mine`, once a batch, so that a trial costs only what a trial must.
        trials: The pairs (w1, w2).
        loop: As released: rows in a loop and gradients recorded. Otherwise vectorised, without gradients, which is
            as quick as one trial at a time can be made in a few lines.

    Returns:
        The objective of every trial.
    """
    with torch.set_grad_enabled(loop):
        mix = mixed_positives_loop if loop else mixed_positives
        return [objective(z1, mix(z2, mined, *w)) for w in trials]


def _without_own(similarity: Tensor) -> Tensor:
    return similarity.masked_fill(torch.eye(len(similarity), dtype=torch.bool), -torch.inf)


def _hardest(similarity: Tensor, k: int) -> Tensor:
    return _without_own(similarity.detach()).topk(min(k, len(similarity) - 1), dim=1).indices  # (N, k)


def _cross_entropy(cosines: Tensor, temperature: float) -> Tensor:
    return F.cross_entropy(cosines / temperature, torch.arange(len(cosines)))
