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


def guided(z1, z2, guide, above, margin, tau):
    """Without negatives whose guide cosine is above φ, or above the positive's less the margin."""
    rows = []
    for i in range(len(z1)):
        limit = min(above, float(cos(guide[i], guide[i])) - margin)
        others = [cos(z1[i], z2[j]) / tau for j in range(len(z1)) if j != i and float(cos(guide[i], guide[j])) <= limit]
        rows.append(nll(cos(z1[i], z2[i]) / tau, others))
    return torch.stack(rows).mean()


def noise(z1, z2, start, steps, tau, false=lambda i, j: False):
    """DCLR's noise vectors, by autograd: each step 0.001 along its own gradient of the mean cross-entropy."""
    vectors = [v.clone() for v in start]
    for _ in range(steps):
        vectors = [v.detach().requires_grad_() for v in vectors]
        rows = []
        for i in range(len(z1)):
            others = [cos(z1[i].detach(), z2[j].detach()) / tau for j in range(len(z1)) if j != i and not false(i, j)]
            others += [cos(z1[i].detach(), v) / tau for v in vectors]
            rows.append(nll(cos(z1[i].detach(), z2[i].detach()) / tau, others))
        climbs = torch.autograd.grad(torch.stack(rows).mean(), vectors)
        vectors = [v + 1e-3 * climb / climb.norm() for v, climb in zip(vectors, climbs, strict=True)]
    return [v.detach() for v in vectors]


def dclr(z1, z2, guide, start, above, steps, tau):
    """The softmax of the paper: false negatives left out, noise beside the others."""

    def false(i, j):
        return j != i and float(cos(guide[i], guide[j])) > above

    vectors, rows = noise(z1, z2, start, steps, tau, false), []
    for i in range(len(z1)):
        others = [cos(z1[i], z2[j]) / tau for j in range(len(z1)) if j != i and not false(i, j)]
        rows.append(nll(cos(z1[i], z2[i]) / tau, others + [cos(z1[i], v) / tau for v in vectors]))
    return torch.stack(rows).mean()


def dclr_as_released(z1, z2, guide, start, above, steps, tau):
    """DCLR's models.py, 676-710: logits times 0 or 1, softmax, binary cross-entropy of every cell, mean over cells."""
    vectors, cells = noise(z1, z2, start, steps, tau), []
    for i in range(len(z1)):
        logits = [cos(z1[i], z2[j]) / tau for j in range(len(z1))]
        logits = [x * 0 if j != i and float(cos(guide[i], guide[j])) > above else x for j, x in enumerate(logits)]
        logits += [cos(z1[i], v) / tau for v in vectors]
        total = sum(torch.exp(x) for x in logits)
        cells += [
            -torch.log(torch.exp(x) / total if j == i else 1 - torch.exp(x) / total) for j, x in enumerate(logits)
        ]
    return torch.stack(cells).mean()


def mixcse_as_released(z1, z2, share, tau, masked=0.0):
    """MixCSE's models_mix.py, 220-271: mixes of all rows, in both directions; ``masked`` in place of two logits."""
    n, rows = len(z1), []
    for i in range(n):
        others = [cos(z1[i], z2[j]) / tau for j in range(n) if j != i]
        for j in range(n):
            mix = (share * z2[j] + (1 - share) * z2[(j + 1) % n]).detach()
            others.append(cos(z1[i], mix) / tau if (j + 1) % n != i else z1.new_tensor(masked))
        anchor = (share * z1[i] + (1 - share) * z1[(i + 1) % n]).detach()
        others += [cos(anchor, z2[j]) / tau if j != (i + 1) % n else z1.new_tensor(masked) for j in range(n)]
        rows.append(nll(cos(z1[i], z2[i]) / tau, others))
    return torch.stack(rows).mean()
