"""The losses as loops over rows and columns that build every mixed vector.

Written from the equations (SimCSE equation 4; HNCSE's PM and HNM), not from hncse: one float at a time, so that a
reader can compare with the paper line by line.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cos(x: Tensor, y: Tensor, eps: float = 1e-8) -> Tensor:
    norm_x = torch.sqrt((x * x).sum()) if bool((x != 0).any()) else x.new_tensor(0.0)
    norm_y = torch.sqrt((y * y).sum()) if bool((y != 0).any()) else y.new_tensor(0.0)
    return (x * y).sum() / (norm_x.clamp_min(eps) * norm_y.clamp_min(eps))


def negatives_of(i: int, n: int, groups: list[int] | None) -> list[int]:
    return [j for j in range(n) if j != i and (groups is None or groups[j] != groups[i])]


def nll(positive: Tensor, others: list[Tensor], tau: float) -> Tensor:
    denominator = torch.exp(positive / tau)
    for other in others:
        denominator = denominator + torch.exp(other / tau)
    return torch.log(denominator) - positive / tau


def simcse(z1: Tensor, z2: Tensor, tau: float = 0.05, groups: list[int] | None = None) -> Tensor:
    total = z1.new_tensor(0.0)
    n = len(z1)
    for i in range(n):
        others = [cos(z1[i], z2[j]) for j in negatives_of(i, n, groups)]
        total = total + nll(cos(z1[i], z2[i]), others, tau)
    return total / n


def hardest(z1: Tensor, z2: Tensor, i: int, groups: list[int] | None = None) -> int | None:
    best, best_value = None, -math.inf
    for j in negatives_of(i, len(z1), groups):
        value = float(cos(z1[i], z2[j]).detach())
        if value > best_value:
            best, best_value = j, value
    return best


def case_of(p: float, n: float, band: float) -> str:
    if p <= n:
        return "C"
    if p == 0.0:
        return "B"
    return "A" if (p - n) / p <= band else "B"


def mixed_positive(
    z1: Tensor, z2: Tensor, i: int, w1: float, w2: float, band: float, groups: list[int] | None = None
) -> Tensor:
    j = hardest(z1, z2, i, groups)
    if j is None:
        return z2[i]
    p, n = cos(z1[i], z2[i]), cos(z1[i], z2[j])
    case = case_of(float(p.detach()), float(n.detach()), band)
    if case == "A":
        return w1 * z2[i] + w2 * z2[j]
    if case == "B":
        return z2[i]
    return p / (p + n) * z2[i] + n / (p + n) * z2[j]


def pm(
    z1: Tensor,
    z2: Tensor,
    w1: float,
    w2: float,
    tau: float = 0.05,
    band: float = 0.1,
    columns: str = "replace",
    groups: list[int] | None = None,
) -> Tensor:
    n = len(z1)
    z3 = [mixed_positive(z1, z2, j, w1, w2, band, groups) for j in range(n)]
    total = z1.new_tensor(0.0)
    for i in range(n):
        column = z3 if columns == "replace" else list(z2)
        others = [cos(z1[i], column[j]) for j in negatives_of(i, n, groups)]
        total = total + nll(cos(z1[i], z3[i]), others, tau)
    return total / n


def hardest_list(z1: Tensor, z2: Tensor, i: int, k: int, groups: list[int] | None = None) -> list[int]:
    candidates = negatives_of(i, len(z1), groups)
    return sorted(candidates, key=lambda j: -float(cos(z1[i], z2[j])))[:k]


def hnm(
    z1: Tensor,
    z2: Tensor,
    pairs: list[list[tuple[int, int]]],
    k: int,
    alpha: float = 0.5,
    tau: float = 0.05,
    groups: list[int] | None = None,
) -> Tensor:
    """``pairs[i]`` lists positions (a, b), a < b, in anchor i's list of hardest negatives."""
    n = len(z1)
    total = z1.new_tensor(0.0)
    for i in range(n):
        top = hardest_list(z1, z2, i, k, groups)
        others = [cos(z1[i], z2[j]) for j in negatives_of(i, n, groups)]
        for a, b in pairs[i]:
            if b < len(top):
                u = alpha * z2[top[a]] + (1 - alpha) * z2[top[b]]
                norm = torch.sqrt((u * u).sum()).clamp_min(1e-8)
                others.append(cos(z1[i], u / norm))
        total = total + nll(cos(z1[i], z2[i]), others, tau)
    return total / n


def released_objective(z1: Tensor, z2: Tensor, w1: float, w2: float, tau: float = 0.05, band: float = 0.1) -> float:
    """What the released study minimises: mean(s_ii - mean_{j≠i} s_ij) + mean rank of s_ii, s = cos/τ."""
    n = len(z1)
    z3 = [mixed_positive(z1, z2, j, w1, w2, band) for j in range(n)]
    first, second = 0.0, 0.0
    for i in range(n):
        s = [float(cos(z1[i], z3[j])) / tau for j in range(n)]
        rest = [s[j] for j in range(n) if j != i]
        first += s[i] - sum(rest) / len(rest)
        second += 1 + sum(1 for value in rest if value > s[i])
    return (first + second) / n


def simcse_with_negatives(
    z1: Tensor,
    z2: Tensor,
    negatives: list[list[Tensor]],
    weight: float = 0.0,
    tau: float = 0.05,
    groups: list[int] | None = None,
    positive_groups: list[int] | None = None,
    negative_groups: list[list[int]] | None = None,
    in_batch: bool = True,
) -> Tensor:
    """SimCSE's equation 5, one direction: N in-batch negatives and N lists of mined ones, an anchor's own times
    e^weight. What says the same as an anchor, or as its positive, is no negative of it."""
    total = z1.new_tensor(0.0)
    n = len(z1)
    groups = groups or list(range(n))
    positives = positive_groups or groups
    for i in range(n):
        same = {groups[i], positives[i]}
        positive = cos(z1[i], z2[i])
        denominator = torch.exp(positive / tau)
        for j in range(n):
            copy = groups[j] == groups[i] or positives[j] in same
            if in_batch and j != i and not copy:
                denominator = denominator + torch.exp(cos(z1[i], z2[j]) / tau)
        for j in range(n):
            for m in range(len(negatives[j])):
                copy = negative_groups is not None and negative_groups[j][m] in same
                if not copy and (in_batch or j == i):
                    times = math.exp(weight) if j == i else 1.0
                    denominator = denominator + times * torch.exp(cos(z1[i], negatives[j][m]) / tau)
        total = total + torch.log(denominator) - positive / tau
    return total / n
