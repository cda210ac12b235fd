"""PM and HNM in Gram space: cosines with mixed vectors, without ever building a mixed vector.

Every quantity needed is a function of inner products that one matrix product already holds:

    cos(z1_i, a·x + b·y) = (a<z1_i,x> + b<z1_i,y>) / (‖z1_i‖ · sqrt(a²‖x‖² + b²‖y‖² + 2ab<x,y>))

Loss and gradients equal the plain loop's (tests/oracles/, to 1e-10 in float64).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hncse.miner import CASE_A, CASE_C, Mined, hardest_k

__all__ = [
    "EPS",
    "Gram",
    "gram",
    "hard_negative_mixes",
    "mixed_positives",
    "mixing_weights",
    "search_weights",
]

EPS = 1e-8  # the norm below which a vector counts as zero, as in torch.nn.functional.cosine_similarity
_CHUNK = 1 << 21  # elements of the search's largest tensor: 8 MiB in float32


@dataclass(frozen=True)
class Gram:
    """Inner products of a batch; ``x`` stands for the negatives, z2 itself or z2 without its gradient.

    Attributes:
        z1_z2: (N, N) <z1_i, z2_j>.
        z1_x: (N, N) <z1_i, x_j>.
        z2_x: (N, N) <z2_i, x_j>.
        x_x: (N, N) <x_i, x_j>.
        norm1: (N,) ‖z1_i‖, at least `EPS`.
        norm2: (N,) ‖z2_j‖, at least `EPS`.
    """

    z1_z2: Tensor
    z1_x: Tensor
    z2_x: Tensor
    x_x: Tensor
    norm1: Tensor
    norm2: Tensor

    @property
    def cosine(self) -> Tensor:
        """(N, N) cos(z1_i, z2_j)."""
        return self.z1_z2 / (self.norm1[:, None] * self.norm2)


class _Products(torch.autograd.Function):
    """<z1_i,z2_j>, both norms and, where asked, <z2_i,z2_j>.

    By hand, because the backward pass is then two or three matrix products: the norms' gradients ride along as a
    diagonal, where autograd would add up five (N, d) tensors.
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor, mixes: bool) -> tuple[Tensor, ...]:
        norm1, norm2 = (torch.linalg.vector_norm(z, dim=1).clamp_min_(EPS) for z in (z1, z2))  # (N,)
        ctx.save_for_backward(z1, z2, norm1, norm2)
        ctx.mixes = mixes
        products = (z1 @ z2.T, norm1, norm2)  # (N, N), (N,), (N,)
        return (*products, z2 @ z2.T) if mixes else products

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z1, z2, norm1, norm2 = ctx.saved_tensors
        scale1, scale2 = (torch.where(n > EPS, g / n, 0.0) for n, g in ((norm1, grads[1]), (norm2, grads[2])))  # (N,)
        with torch.autocast(z1.device.type, enabled=False):
            grad1 = (grads[0] @ z2).addcmul_(z1, scale1[:, None])  # (N, d)
            grad2 = grads[0].T @ z1  # (N, d)
            if not ctx.mixes:
                return grad1, grad2.addcmul_(z2, scale2[:, None]), None
            inner = grads[3] + grads[3].T  # (N, N)
            inner.diagonal().add_(scale2)
            return grad1, grad2.addmm_(inner, z2), None


def gram(z1: Tensor, z2: Tensor, *, mixes: bool, detach_negatives: bool = False) -> Gram:
    """Take every inner product the losses need: one matrix product without mixes, two with them.

    Args:
        z1: (N, d) first views.
        z2: (N, d) second views.
        mixes: Whether products among second views are needed.
        detach_negatives: Stop the gradient through negatives inside mixes.
    """
    if mixes and not detach_negatives:
        z1_z2, norm1, norm2, z2_z2 = _Products.apply(z1, z2, True)
        return Gram(z1_z2, z1_z2, z2_z2, z2_z2, norm1, norm2)
    z1_z2, norm1, norm2 = _Products.apply(z1, z2, False)
    if not mixes:
        return Gram(z1_z2, z1_z2, z1_z2, z1_z2, norm1, norm2)
    x = z2.detach()
    return Gram(z1_z2, z1 @ x.T, z2 @ x.T, x @ x.T, norm1, norm2)


def hard_negative_mixes(
    g: Gram,
    similarity: Tensor,
    excluded: Tensor,
    generator: torch.Generator,
    *,
    k: int,
    s: int,
    alpha: float | str,
    replacement: bool,
) -> Tensor:
    """HNM: cosines of every anchor with mixes of its own hardest negatives.

    Args:
        g: Inner products.
        similarity: (N, N) cosines the k hardest are read from.
        excluded: (N, N) bool, pairs that are no negatives.
        generator: Source of the draws (CPU, so that every device draws alike).
        k: How many hardest negatives are mixed.
        s: Mixes an anchor; without replacement at most k(k-1)/2.
        alpha: Weight of the first of a pair (the harder one), or "uniform".
        replacement: Draw pairs with replacement, as released.

    Returns:
        (N, s') cosines cos(z1_i, g_im), ``-inf`` where an anchor has too few negatives for a pair; s' = 0 when
        nobody has two negatives.
    """
    n, device = similarity.shape[0], similarity.device
    columns, valid = hardest_k(similarity, excluded, k)  # (N, k')
    first, second = torch.triu_indices(columns.shape[1], columns.shape[1], offset=1)  # (P,) a < b
    n_pairs = first.numel()
    if n_pairs == 0:
        return similarity.new_empty(n, 0)
    if replacement:
        drawn = torch.randint(n_pairs, (n, s), generator=generator)  # (N, s)
    else:
        drawn = torch.rand(n, n_pairs, generator=generator).topk(min(s, n_pairs), dim=1).indices  # (N, s')
    weight: float | Tensor = alpha  # type: ignore[assignment]
    if alpha == "uniform":
        weight = torch.rand(drawn.shape, generator=generator).to(similarity)
    slot_b = second[drawn].to(device)  # negatives are sorted, so a pair is whole if its easier half exists
    a = columns.gather(1, first[drawn].to(device))  # (N, s')
    b = columns.gather(1, slot_b)  # (N, s')
    rest = 1 - weight
    z1_a, z1_b = g.z1_x.gather(1, torch.cat([a, b], dim=1)).chunk(2, dim=1)  # (N, s')
    entries = torch.stack([a * (n + 1), b * (n + 1), a * n + b])  # (3, N, s') of the flattened x_x: aa, bb, ab
    aa, bb, ab = g.x_x.reshape(-1).index_select(0, entries.view(-1)).view(3, *a.shape)  # (N, s')
    norm = weight**2 * aa + rest**2 * bb + 2 * weight * rest * ab  # (N, s')
    cosine = (weight * z1_a + rest * z1_b) / (g.norm1[:, None] * norm.clamp_min(EPS**2).sqrt())
    return cosine if bool(valid.all()) else cosine.masked_fill(~valid.gather(1, slot_b), -torch.inf)


def mixing_weights(
    mined: Mined, weights: tuple[float | Tensor, float | Tensor], *, detach: bool
) -> tuple[Tensor, Tensor]:
    """PM: the two coefficients of every mixed positive z3_j = a_j·z2_j + b_j·z2_{j*}.

    Args:
        mined: The batch's positives, hardest negatives and cases.
        weights: (w1, w2) of case A.
        detach: Stop the gradient through case C's coefficients.

    Returns:
        a, b: (N,) each. Case A (w1, w2); B (1, 0); C proportional to (p, n)/(p+n). The scale of z3 never matters
        to a cosine, so C's division is left out (p + n may be 0) and only its sign is kept.
    """
    p, n = mined.positive, mined.hardest
    if detach:
        p, n = p.detach(), n.detach()
    n = n.masked_fill(n.isneginf(), 0.0)
    sign = torch.where(p + n < 0, -1.0, 1.0)
    near, wrong = mined.case == CASE_A, mined.case == CASE_C
    w1, w2 = (torch.as_tensor(w, dtype=p.dtype, device=p.device) for w in weights)
    a = torch.where(near, w1, torch.where(wrong, sign * p, 1.0))  # (N,)
    b = torch.where(near, w2, torch.where(wrong, sign * n, 0.0))  # (N,)
    return a, b


def mixed_positives(g: Gram, index: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """PM: cosines of every anchor with every mixed positive.

    Args:
        g: Inner products.
        index: (N,) column j* of each positive's partner.
        a: (N,) coefficient of the positive.
        b: (N,) coefficient of the partner.

    Returns:
        (N, N) cos(z1_i, z3_j).
    """
    own = torch.arange(index.numel(), device=index.device)
    square2, square_x = g.norm2**2, g.x_x.diagonal()[index]  # (N,)
    norm = a**2 * square2 + b**2 * square_x + 2 * a * b * g.z2_x[own, index]  # (N,)
    top = a * g.z1_z2 + b * g.z1_x.index_select(1, index)  # (N, N)
    return top / (g.norm1[:, None] * norm.clamp_min(EPS**2).sqrt())


@torch.no_grad()
def search_weights(
    g: Gram, mined: Mined, excluded: Tensor, *, objective: str, candidates: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """PM: choose (w1, w2) for the batch by trying every candidate at once.

    A cosine ignores scale, so the two-dimensional search of the released code is one-dimensional: the angle θ of
    (w1, w2) = (cos θ, sin θ). Deterministic; ties go to the smaller angle (less mixing).

    Args:
        g: Inner products.
        mined: The batch's cases; only case A depends on the weights.
        excluded: (N, N) bool, pairs that are no negatives.
        objective: What is minimised over the mixed cosines c: "released", mean(c_ii - mean_{j≠i} c_ij)/τ +
            mean rank of c_ii in its row (from 1); "cross-entropy", the training loss; "margin",
            -mean(c_ii - max_{j≠i} c_ij).
        candidates: Number of angles from 0 to π/2, both included (an odd number contains 45°).
        temperature: τ.

    Returns:
        w1, w2: 0-dimensional tensors.
    """
    like = g.z1_z2
    theta = torch.linspace(0, math.pi / 2, candidates, dtype=like.dtype, device=like.device)  # (T,)
    theta[-1:].clamp_(max=math.pi / 2)
    if not bool((mined.case == CASE_A).any()):
        return torch.ones_like(theta[0]), torch.zeros_like(theta[0])  # nothing to choose
    step = max(1, _CHUNK // like.numel())
    score = {"released": _released, "cross-entropy": _cross_entropy, "margin": _margin}[objective]
    values = [
        score(_candidate_cosines(g, mined, part), excluded, temperature) for part in theta.split(step)
    ]  # each (t,)
    best = theta[torch.cat(values).argmin()]
    return best.cos(), best.sin()


def _candidate_cosines(g: Gram, mined: Mined, theta: Tensor) -> Tensor:
    """(t, N, N) cosines with the mixed positives of every candidate angle."""
    n = mined.index.numel()
    near = mined.case == CASE_A
    a, b = mixing_weights(mined, (1.0, 0.0), detach=True)
    a = torch.where(near, theta.cos()[:, None], a)  # (t, N)
    b = torch.where(near, theta.sin()[:, None], b)  # (t, N)
    own = torch.arange(n, device=theta.device)
    square2, square_x = g.norm2**2, g.x_x.diagonal()[mined.index]  # (N,)
    norm = a**2 * square2 + b**2 * square_x + 2 * a * b * g.z2_x[own, mined.index]  # (t, N)
    norm = norm.clamp_min(EPS**2).sqrt()
    base = g.z1_z2 / g.norm1[:, None]  # (N, N)
    partner = g.z1_x[:, mined.index] / g.norm1[:, None]  # (N, N)
    cosine = (a / norm)[:, None, :] * base  # (t, N, N)
    return cosine.addcmul_((b / norm)[:, None, :], partner)


def _released(cosine: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    positive = cosine.diagonal(dim1=1, dim2=2)  # (t, N)
    allowed = (~excluded).to(cosine.dtype)  # (N, N)
    others = torch.einsum("tij,ij->ti", cosine, allowed) / allowed.sum(1).clamp_min(1)  # (t, N)
    above = torch.einsum("tij,ij->ti", (cosine > positive[:, :, None]).to(cosine.dtype), allowed)  # (t, N)
    return (positive - others).mean(1) / temperature + (1 + above).mean(1)


def _cross_entropy(cosine: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    positive = cosine.diagonal(dim1=1, dim2=2)  # (t, N)
    hidden = excluded ^ torch.eye(len(excluded), dtype=torch.bool, device=excluded.device)
    total = torch.logsumexp(cosine.masked_fill(hidden, -torch.inf) / temperature, dim=2)  # (t, N)
    return (total - positive / temperature).mean(1)


def _margin(cosine: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    positive = cosine.diagonal(dim1=1, dim2=2)  # (t, N)
    return -(positive - cosine.masked_fill(excluded, -torch.inf).amax(2)).mean(1)
