"""HNM's relatives as loops over anchors and candidates, written from their equations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.oracles.loss_oracle import cos, hardest_list, negatives_of


def nll(p: Tensor, others: list[Tensor]) -> Tensor:
    return torch.log(torch.exp(p) + sum((torch.exp(x) for x in others), p.new_tensor(0.0))) - p


def each(z1: Tensor, z2: Tensor, groups: list[int] | None = None):
    for i in range(len(z1)):
        yield i, cos(z1[i], z2[i]), [cos(z1[i], z2[j]) for j in negatives_of(i, len(z1), groups)]


def hardness(z1: Tensor, z2: Tensor, alpha: float, tau: float, groups: list[int] | None = None) -> Tensor:
    """logit_ij = s_ij/τ + α·sg(s_ij), j ≠ i (LLaVE, equation 5)."""
    rows = [nll(p / tau, [s / tau + alpha * s.detach() for s in others]) for _, p, others in each(z1, z2, groups)]
    return torch.stack(rows).mean()


def decoupled(z1: Tensor, z2: Tensor, tau: float, groups: list[int] | None = None) -> Tensor:
    """-p/τ + log Σ_{j≠i} e^{s_ij/τ}."""
    rows = [torch.log(sum(torch.exp(s / tau) for s in others)) - p / tau for _, p, others in each(z1, z2, groups)]
    return torch.stack(rows).mean()


def debiased(
    z1: Tensor, z2: Tensor, prior: float, tau: float, beta: float | None = None, groups: list[int] | None = None
) -> Tensor:
    """Ng = max{(Σ e^{s/τ} - τ⁺ M e^{p/τ})/(1-τ⁺), M e^{-1/τ}}; with beta HCL's weighted sum in place of Σ."""
    rows = []
    for _, p, others in each(z1, z2, groups):
        many = len(others)
        total = sum(torch.exp(s / tau) for s in others)
        if beta is not None:
            weights = sum(torch.exp(beta * s / tau) for s in others)
            total = many * sum(torch.exp((1 + beta) * s / tau) for s in others) / weights
        negative = (total - prior * many * torch.exp(p / tau)) / (1 - prior)
        negative = negative.clamp_min(many * math.exp(-1 / tau))
        rows.append(torch.log(torch.exp(p / tau) + negative) - p / tau)
    return torch.stack(rows).mean()


def focal(z1: Tensor, z2: Tensor, m: float, tau: float, groups: list[int] | None = None) -> Tensor:
    """Logits p²/τ and s(s+m)/τ."""
    rows = [nll(p * p / tau, [s * (s + m) / tau for s in others]) for _, p, others in each(z1, z2, groups)]
    return torch.stack(rows).mean()


def arccon(z1: Tensor, z2: Tensor, degrees: float, tau: float, groups: list[int] | None = None) -> Tensor:
    """The positive's logit is cos(θ + margin)/τ."""
    rows = []
    for _, p, others in each(z1, z2, groups):
        rows.append(nll(torch.cos(torch.acos(p) + math.radians(degrees)) / tau, [s / tau for s in others]))
    return torch.stack(rows).mean()


def gor(z1: Tensor, z2: Tensor, weight: float, tau: float, groups: list[int] | None = None) -> Tensor:
    """SimCSE plus weight · (mean(s)² + max(0, mean(s²) - 1/d)) over all negatives."""
    rows, every = [], []
    for _, p, others in each(z1, z2, groups):
        rows.append(nll(p / tau, [s / tau for s in others]))
        every += others
    s = torch.stack(every)
    return torch.stack(rows).mean() + weight * (s.mean() ** 2 + ((s * s).mean() - 1 / z1.shape[1]).clamp_min(0))


def mixcse(z1: Tensor, z2: Tensor, share: float, tau: float, groups: list[int] | None = None) -> Tensor:
    """One more negative: sg(λ z2_i + (1-λ) z2_{i+1})."""
    rows, n = [], len(z1)
    for i, p, others in each(z1, z2, groups):
        after = (i + 1) % n
        if groups is None or groups[after] != groups[i]:
            others.append(cos(z1[i], (share * z2[i] + (1 - share) * z2[after]).detach()))
        rows.append(nll(p / tau, [s / tau for s in others]))
    return torch.stack(rows).mean()


def anchor_mixes(
    z1: Tensor, z2: Tensor, beta: Tensor, slot: Tensor, k: int, tau: float, groups: list[int] | None = None
) -> Tensor:
    """More negatives sg(β ẑ1_i + (1-β) ẑ2_j); slot[i, m] is j's place among anchor i's k hardest negatives."""
    rows = []
    for i, p, others in each(z1, z2, groups):
        top = hardest_list(z1, z2, i, k, groups)
        unit = z1[i] / z1[i].norm()
        for m in range(beta.shape[1] if top else 0):
            j = top[int(slot[i, m])]
            mix = beta[i, m] * unit + (1 - beta[i, m]) * z2[j] / z2[j].norm()
            others.append(cos(z1[i], mix.detach()))
        rows.append(nll(p / tau, [s / tau for s in others]))
    return torch.stack(rows).mean()
