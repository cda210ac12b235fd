"""HNM's relatives: the hard-negative losses of the literature, on the same matrix of cosines.

s_ij is the cosine of anchor i and candidate j, p_i = s_ii, τ the temperature; sg(·) stops the gradient. Every loss is
the mean over anchors of -log e^{p/τ} / (e^{p/τ} + Σ_{j≠i} e^{s_ij/τ}) but for what its line says; defaults are those of
`hncse.presets.PRESETS`.

hardness            s/τ + α sg(s) for j≠i. LLaVE, arXiv:2503.04812, equation 5; α = 9 (EmbeddingGemma: 5)
hcl                 (N-1) Σ e^{(1+β)s/τ} / Σ e^{βs/τ} for the sum. arXiv:2010.04592, released code; β = 1, τ⁺ = 0
debiased            max{(Σ e^{s/τ} - τ⁺(N-1) e^{p/τ}) / (1-τ⁺), (N-1) e^{-1/τ}}. arXiv:2007.00224; τ⁺ = 0.1
decoupled           the sum alone, without e^{p/τ}. arXiv:2110.06848
focal               p²/τ and s(s+m)/τ. arXiv:2310.06918, released code; m = 0.3
arccon              cos(θ_ii + margin) for p. ArcCSE, ACL 2022; 10°
gor                 + mean(s)² + max(0, mean(s²) - 1/d) over j≠i. ICCV 2017, as sentence-transformers has it
mixcse              one more column, cos(z1_i, sg(λ z2_i + (1-λ) z2_{i+1})). AAAI 2022; λ = 0.2
mixcse-as-released  `all_mixes`
mochi               HNM on unit vectors, and 40 columns cos(z1_i, sg(β z1_i + (1-β) z2_j)). arXiv:2010.01028
synco-extrapolated  the same with β in (-½, 0). arXiv:2410.02401, released code
dclr                without j where a guide's cosine is above φ, and N columns of `noise_negatives`. arXiv:2205.00656;
                    φ = 0.9, 4 steps of 0.001
dclr-as-released    a masked s/τ is 0; the loss is the mean over cells of -log q (own) and -log(1-q) (others)
gist                without j where the guide's cosine is above its own of anchor and positive less a margin.
                    arXiv:2402.16829; margin 0.1

They compose, for each changes one place: columns (PM, HNM, mixcse, mochi, synco, noise and mined negatives are appended
to one matrix), who is no negative (a guide's false negatives leave it before anything is mined or mixed), logits
(hardness, focal, arccon), denominator, and a term beside it (gor). ``build("pm-intended", hardness=9.0)`` is PM whose
negatives, mixed positives of other rows, are weighted by hardness.

**Hardness is a colder softmax of the negatives.** With sg(s) = s in value, s/τ + α sg(s) = s (1+ατ)/τ = s/τ'. The
gradient of -log(…) by s_ij, sg held still, is (1/τ) e^{s_ij/τ'} / (e^{p/τ} + Σ_k e^{s_ik/τ'}). Over j≠i that is
proportional to e^{s_ij/τ'}, as SimCSE's is at τ' = τ/(1+ατ); only the positive's share e^{p/τ} is weighed at τ.

**Two more laws**, with x = s/τ and q_i the positive's share of the loss's denominator. SimCSE's gradient by p is
-(1-q_i)/τ and by s_ij, j≠i, (1-q_i)/τ softmax(x)_j; the decoupled loss's is the same without (1-q_i): SimCSE at its own
τ whose anchors all count alike, however well they are told apart. HCL's by s_ij, where neither prior nor floor acts, is
(1-q_i)/τ [(1+β) softmax((1+β)x)_j - β softmax(βx)_j]: a softmax at τ/(1+β) less one at τ/β.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hncse.miner import hardest_k
from hncse.mixing import EPS, Gram, Pairs, hard_negative_mixes
from hncse.presets import LossOptions

__all__ = ["all_mixes", "anchor_mixes", "needed", "neighbour_mix", "noise_negatives", "objective"]

_STEP = 1e-3  # DCLR's


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
    loss = _binary(p, x) if o.denominator == "binary" else (_denominator(p, x, (~hidden).sum(dim=1), o) - p).mean()
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


def _binary(p: Tensor, x: Tensor) -> Tensor:
    """Mean over all cells of the softmax q of -log q for the positive's and -log(1-q) for the others."""
    log_q = torch.cat([p[:, None], x], dim=1).log_softmax(dim=1)
    others = torch.log(-torch.expm1(log_q[:, 1:].clamp_max(-1e-7)))  # 0 where there is no negative
    return -(log_q[:, 0].sum() + others.sum()) / (len(p) + (x > -torch.inf).sum())


def noise_negatives(z1: Tensor, logits: Tensor, generator: torch.Generator, o: LossOptions) -> Tensor:
    """DCLR's negatives of noise: normal vectors that take ``noise_steps`` up the gradient of the cross-entropy.

    The gradient of vector v_k is that of Σ_i w_ik cos(z1_i, v_k), w the softmax over in-batch and noise columns:
    Σ_i w_ik (ẑ1_i - cos_ik v̂_k), up to a factor. No gradient flows into the noise.

    Args:
        z1: (N, d) anchors.
        logits: (N, ·) cosines of anchors with what else is in their denominator.
        generator: Source of the draws (CPU).
        o: ``noise`` and ``noise_steps``, ``temperature``.

    Returns:
        (N, M) cosines with M = ``noise`` · N vectors.
    """
    unit = F.normalize(z1, dim=1, eps=EPS)  # (N, d)
    v = torch.randn(int(o.noise * len(z1)), z1.shape[1], generator=generator).to(z1)  # (M, d)
    with torch.no_grad():
        for _ in range(o.noise_steps):
            ends = F.normalize(v, dim=1, eps=EPS)
            cosine = unit @ ends.T  # (N, M)
            w = torch.cat([logits, cosine], dim=1).div(o.temperature).softmax(dim=1)[:, logits.shape[1] :]  # (N, M)
            climb = w.T @ unit - (w * cosine).sum(dim=0)[:, None] * ends  # (M, d)
            v = v + _STEP * F.normalize(climb, dim=1, eps=0.0).nan_to_num()
    return unit @ F.normalize(v, dim=1, eps=EPS).T


def all_mixes(z1: Tensor, z2: Tensor, excluded: Tensor, o: LossOptions) -> Tensor:
    """MixCSE's released columns: with m(z)_j = sg(λ z_j + (1-λ) z_{j+1}), cos(z1_i, m(z2)_j) and cos(m(z1)_i, z2_j).

    Masked, by ``masked_logit``, are the mixes that are 1-λ the positive: j = i-1 of the first, j = i+1 of the second.

    Args:
        z1: (N, d) anchors.
        z2: (N, d) positives.
        excluded: (N, N) bool, pairs that are no negatives; a copy's mix is masked as the positive's is.
        o: ``mixed_negative``, the share λ, and ``masked_logit``.

    Returns:
        (N, 2N) cosines.
    """
    share, unit1, unit2 = float(o.mixed_negative or 0), *(F.normalize(z, dim=1, eps=EPS) for z in (z1, z2))
    mix1, mix2 = (F.normalize(share * z + (1 - share) * z.roll(-1, 0), dim=1, eps=EPS).detach() for z in (z1, z2))
    cosine = torch.cat([unit1 @ mix2.T, mix1 @ unit2.T], dim=1)  # (N, 2N)
    masked = torch.cat([excluded.roll(-1, 1), excluded.roll(-1, 0)], dim=1)
    return cosine.masked_fill(masked, o.masked)


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
