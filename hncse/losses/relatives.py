"""HNM's relatives: the hard-negative losses of the literature, on the same matrix of cosines.

s_ij is the cosine of anchor i and candidate j, p_i = s_ii, τ the temperature; sg(·) stops the gradient. What each
preset computes stands in `hncse.presets`; where it composes with PM, HNM and mined negatives, it takes their columns as
further negatives.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hncse.miner import hardest_k
from hncse.mixing import Gram, Pairs, hard_negative_mixes
from hncse.presets import LossOptions

__all__ = ["anchor_mixes", "needed", "neighbour_mix", "objective"]


def needed(o: LossOptions) -> bool:
    """Whether the loss is anything else than a cross-entropy over cosines / τ."""
    return bool(o.denominator != "softmax" or o.hardness or o.focal is not None or o.angular_margin or o.orthogonality)


def objective(cosine: Tensor, own_mined: Tensor | None, o: LossOptions, width: int) -> Tensor:
    """Compute the loss from the cosines of anchors with everything in their denominator.

    Args:
        cosine: (N, N+e), the positive on the diagonal, e further negatives behind the batch's; ``-inf`` hides one.
        own_mined: (N, e') bool, which of the last e' columns are an anchor's own mined negatives; None: none are.
        o: The options.
        width: d, the dimensions of the embeddings, for ``orthogonality``.

    Returns:
        0-dimensional, the mean over anchors.
    """
    n = len(cosine)
    positive = cosine.diagonal()  # (N,)
    own = torch.zeros_like(cosine, dtype=torch.bool)
    own.fill_diagonal_(True)
    hidden = own | cosine.isneginf()
    negative = cosine.masked_fill(hidden, 0.0)  # (N, N+e); hidden cells are dropped again below
    p, x = positive / o.temperature, negative / o.temperature
    if o.angular_margin:
        margin = math.radians(o.angular_margin)
        sine = (1 - positive**2).clamp_min(1e-12).sqrt()
        p = (positive * math.cos(margin) - sine * math.sin(margin)) / o.temperature  # cos(θ + margin) / τ
    if o.focal is not None:
        p, x = p * positive, x * (negative + o.focal)
    mined = torch.zeros_like(cosine)  # (N, N+e) 1 at an anchor's own mined negatives
    if own_mined is not None:
        mined[:, -own_mined.shape[1] :] = own_mined.to(cosine.dtype)
        x = x + float(o.hard_negative_weight) * mined
    if o.hardness:
        where = {"in-batch": 1 - mined, "mined": mined, "all": torch.ones_like(mined)}[o.hardness_of]
        x = x + o.hardness * negative.detach() * where
    x = x.masked_fill(hidden, -torch.inf)
    loss = (_denominator(p, x, (~hidden).sum(dim=1), o) - p).mean()
    if o.orthogonality:
        within = negative[:, :n][~hidden[:, :n]]
        spread = (within**2).mean() - 1 / width
        loss = loss + o.orthogonality * (within.mean() ** 2 + spread.clamp_min(0)) if within.numel() else loss
    return loss


def _denominator(p: Tensor, x: Tensor, count: Tensor, o: LossOptions) -> Tensor:
    """(N,) log of the denominator; x (N, ·) logits of the negatives, -inf where there is none."""
    if o.denominator == "softmax":
        return torch.logsumexp(torch.cat([p[:, None], x], dim=1), dim=1)
    total = torch.logsumexp(x, dim=1)  # (N,) log Σ e^x
    if o.denominator == "decoupled":
        return torch.where(count > 0, total, p)  # an anchor without negatives has nothing to lose
    many = count.to(p.dtype).clamp_min(1).log()
    if o.denominator == "hcl":  # the mean of e^x under weights e^βx, times their number
        total = many + torch.logsumexp((1 + o.beta) * x, dim=1) - torch.logsumexp(o.beta * x, dim=1)
    floor = many - 1 / o.temperature
    if o.prior:  # minus the share of false negatives, which look like the positive
        excess = p + many + math.log(o.prior) - total  # log of what is subtracted, relative to what there is
        left = torch.log1p(-torch.exp(torch.where(excess < 0, excess, -1.0)))
        total = torch.where(excess < 0, total + left - math.log1p(-o.prior), floor)
    negatives = torch.where(count > 0, torch.maximum(total, floor), -torch.inf)
    return torch.logaddexp(p, negatives)


def neighbour_mix(g: Gram, excluded: Tensor, weight: float) -> Tensor:
    """MixCSE: cos(z1_i, sg(λ z2_i + (1-λ) z2_{i+1})), one synthetic negative an anchor.

    Args:
        g: Inner products, with ``detach_negatives``.
        excluded: (N, N) bool, pairs that are no negatives: an anchor whose neighbour is its copy has no mix.
        weight: λ, the share of the positive.

    Returns:
        (N, 1) cosines.
    """
    row = torch.arange(len(excluded), device=excluded.device)
    following = row.roll(-1)
    whole = ~excluded[row, following]
    return hard_negative_mixes(g, Pairs(row[:, None], following[:, None], weight, whole[:, None]))


def anchor_mixes(cosine: Tensor, excluded: Tensor, generator: torch.Generator, o: LossOptions) -> Tensor:
    """MoCHi's second kind and SynCo's extrapolation: sg(β ẑ1_i + (1-β) ẑ2_j), j drawn among the k hardest.

    A function of s_ij alone: (β + (1-β) s) / √(β² + (1-β)² + 2β(1-β)s). β is uniform on (0, ½) for mixes, which lie
    between a negative and the anchor, and on (-½, 0) for extrapolations, which lie beyond the negative.

    Args:
        cosine: (N, N) cosines whose gradient goes through the anchors alone.
        excluded: (N, N) bool, pairs that are no negatives.
        generator: Source of the draws (CPU).
        o: ``anchor_mixes``, ``extrapolations`` and ``k``.

    Returns:
        (N, anchor_mixes + extrapolations) cosines, ``-inf`` for an anchor without negatives.
    """
    n, many = len(cosine), o.anchor_mixes + o.extrapolations
    columns, valid = hardest_k(cosine, excluded, o.k)  # (N, k')
    if not columns.shape[1]:
        return cosine.new_empty(n, 0)
    beta = torch.rand(n, many, generator=generator).to(cosine) / 2  # (N, many)
    beta[:, o.anchor_mixes :] *= -1
    have = valid.sum(dim=1, keepdim=True).clamp_min(1)  # (N, 1) draw among what is there
    slot = (torch.rand(n, many, generator=generator).to(cosine) * have).long().minimum(have - 1)
    s = cosine.gather(1, columns.gather(1, slot))  # (N, many)
    norm = (beta**2 + (1 - beta) ** 2 + 2 * beta * (1 - beta) * s.detach()).clamp_min(1e-12).sqrt()
    return ((beta + (1 - beta) * s) / norm).masked_fill(~valid[:, :1], -torch.inf)
