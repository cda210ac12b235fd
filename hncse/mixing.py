"""PM and HNM in Gram space: cosines with mixed vectors, without ever building a mixed vector.

Every quantity needed is a function of inner products that one matrix product already holds:

    cos(z1_i, a·x + b·y) = (a<z1_i,x> + b<z1_i,y>) / (‖z1_i‖ · sqrt(a²‖x‖² + b²‖y‖² + 2ab<x,y>))

Loss and gradients equal the plain loop's (tests/oracles/, to 1e-10 in float64).

Taught in notebooks/03_train.ipynb; notebooks/04_decision_boundary.ipynb draws the mixes, and
notebooks/07b_paper_against_code.ipynb has what the released code does instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hncse.miner import CASE_A, CASE_C, Mined, hardest_k

__all__ = [
    "EPS",
    "Gram",
    "Pairs",
    "draw_pairs",
    "gram",
    "hard_negative_mixes",
    "mixed_positives",
    "mixing_weights",
    "search_weights",
    "study_weights",
]

EPS = 1e-8  # the norm below which a vector counts as zero, as in torch.nn.functional.cosine_similarity
_CHUNK = 1 << 18  # elements of the search's largest tensor: 1 MiB in float32, so that it stays in cache


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


class Pairs(NamedTuple):
    """HNM: which two of its hardest negatives each mix of an anchor is made of."""

    harder: Tensor  # (N, s') columns of z2
    easier: Tensor  # (N, s') columns of z2
    weight: float | Tensor  # of the harder one; (N, s') where it is drawn
    whole: Tensor  # (N, s') bool, False where an anchor has too few negatives for the pair


def draw_pairs(
    similarity: Tensor,
    excluded: Tensor,
    generator: torch.Generator,
    *,
    k: int,
    s: int,
    alpha: float | str,
    replacement: bool,
) -> Pairs:
    """HNM: draw the pairs of hardest negatives that are mixed.

    Args:
        similarity: (N, N) cosines the k hardest are read from.
        excluded: (N, N) bool, pairs that are no negatives.
        generator: Source of the draws (CPU, so that every device draws alike).
        k: How many hardest negatives are mixed.
        s: Mixes an anchor; without replacement at most k(k-1)/2.
        alpha: Weight of the first of a pair (the harder one), or "uniform".
        replacement: Draw pairs with replacement, as released.

    Returns:
        The pairs; s' = 0 when nobody has two negatives.
    """
    n, device = similarity.shape[0], similarity.device
    columns, valid = hardest_k(similarity, excluded, k)  # (N, k')
    pairs = torch.triu_indices(columns.shape[1], columns.shape[1], offset=1)  # (2, P) a < b
    n_pairs = pairs.shape[1]
    if n_pairs == 0:
        none = columns.new_empty(n, 0)
        return Pairs(none, none, 1.0, none.bool())
    if replacement:
        drawn = torch.randint(n_pairs, (n, s), generator=generator)  # (N, s)
    else:
        drawn = torch.rand(n, n_pairs, generator=generator).topk(min(s, n_pairs), dim=1).indices  # (N, s')
    weight: float | Tensor = alpha  # type: ignore[assignment]
    if alpha == "uniform":
        weight = torch.rand(drawn.shape, generator=generator).to(similarity)
    slots = pairs.index_select(1, drawn.view(-1)).view(2, n, -1).to(device)  # (2, N, s')
    harder, easier = columns.expand(2, -1, -1).gather(2, slots)  # (N, s') columns of z2
    # Negatives are sorted, so a pair is whole if its easier half exists.
    return Pairs(harder, easier, weight, valid.gather(1, slots[1]))


def hard_negative_mixes(g: Gram, pairs: Pairs) -> Tensor:
    """HNM: cosines of every anchor with mixes of its own hardest negatives.

    Args:
        g: Inner products.
        pairs: From `draw_pairs`.

    Returns:
        (N, s') cosines cos(z1_i, g_im), ``-inf`` where an anchor has too few negatives for a pair.
    """
    a, b, weight, whole = pairs
    if not a.numel():
        return g.z1_x.new_empty(a.shape)
    n = len(g.norm1)
    z1_a, z1_b = g.z1_x.gather(1, torch.cat([a, b], dim=1)).chunk(2, dim=1)  # (N, s')
    entries = torch.stack([a * (n + 1), b * (n + 1), a * n + b])  # (3, N, s') into the flattened x_x
    aa, bb, ab = g.x_x.reshape(-1).index_select(0, entries.view(-1)).view(3, *a.shape)  # (N, s') <x_a,x_a> …
    norm = torch.lerp(torch.lerp(bb, ab, weight), torch.lerp(ab, aa, weight), weight)  # (N, s') α²aa + … + (1-α)²bb
    cosine = torch.lerp(z1_b, z1_a, weight) / (g.norm1[:, None] * norm.clamp_min(EPS**2).sqrt())
    return cosine if bool(whole.all()) else cosine.masked_fill(~whole, -torch.inf)


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
    if not bool((mined.case == CASE_A).any()):
        return torch.ones_like(theta[0]), torch.zeros_like(theta[0])  # nothing to choose
    score = {"released": _released, "cross-entropy": _cross_entropy, "margin": _margin}[objective]
    best = theta[score(_candidates(g, mined, theta), excluded, temperature).argmin()]
    return best.cos(), best.sin()


@torch.no_grad()
def study_weights(
    g: Gram, mined: Mined, excluded: Tensor, generator: torch.Generator, **settings: Any
) -> tuple[Tensor, Tensor]:
    """PM: draw (w1, w2) as the last trial of the released study does, which is the one that trains.

    The released code asks optuna's TPE sampler for 2,000 trials and keeps the last. A simulation of that sampler with
    its objective (made once, with optuna, which the kit does not need) found about half of the late trials within 5°
    of the optimum and the others spread over the whole square. So: with probability 1/2 the optimum's angle plus a
    uniform ±5°, else uniform on [0,2]².

    Args:
        g: As in `search_weights`.
        mined: As there.
        excluded: As there.
        generator: Source of the draw (CPU).
        **settings: ``objective``, ``candidates``, ``temperature`` of `search_weights`.

    Returns:
        w1, w2: 0-dimensional tensors.
    """
    coin, place, w1, w2 = torch.rand(4, generator=generator).to(g.z1_z2)
    if coin >= 0.5:
        return 2 * w1, 2 * w2
    best1, best2 = search_weights(g, mined, excluded, **settings)
    angle = torch.atan2(best2, best1) + math.radians(5) * (2 * place - 1)
    angle = angle.clamp(0, math.pi / 2)
    return angle.cos(), angle.sin()


class _Candidates(NamedTuple):
    """What every candidate's cosines are made of: cos(z1_i, z3_j) = a_j · base_ij + b_j · partner_ij."""

    a: Tensor  # (T, N), over the norm of the vector it mixes
    b: Tensor  # (T, N), likewise
    base: Tensor  # (N, N) <z1_i, z2_j> / ‖z1_i‖
    partner: Tensor  # (N, N) <z1_i, z2_j*> / ‖z1_i‖

    def chunks(self) -> Iterator[Tensor]:
        """Cosines (t, N, N) of t candidates at a time, to be used up."""
        step = max(1, _CHUNK // self.base.numel())
        for a, b in zip(self.a.split(step), self.b.split(step), strict=True):
            yield (a[:, None, :] * self.base).addcmul_(b[:, None, :], self.partner)


def _candidates(g: Gram, mined: Mined, theta: Tensor) -> _Candidates:
    near = mined.case == CASE_A
    a, b = mixing_weights(mined, (1.0, 0.0), detach=True)
    a = torch.where(near, theta.cos()[:, None], a)  # (T, N)
    b = torch.where(near, theta.sin()[:, None], b)  # (T, N)
    own = torch.arange(near.numel(), device=theta.device)
    square2, square_x = g.norm2**2, g.x_x.diagonal()[mined.index]  # (N,)
    norm = a**2 * square2 + b**2 * square_x + 2 * a * b * g.z2_x[own, mined.index]  # (T, N)
    norm = norm.clamp_min(EPS**2).sqrt()
    base, partner = g.z1_z2, g.z1_x.index_select(1, mined.index)  # (N, N)
    return _Candidates(a / norm, b / norm, base / g.norm1[:, None], partner / g.norm1[:, None])


def _released(c: _Candidates, excluded: Tensor, temperature: float) -> Tensor:
    n = len(excluded)
    allowed = (~excluded).to(c.base.dtype)  # (N, N)
    share = allowed / allowed.sum(1, keepdim=True).clamp_min(1)
    share.diagonal().sub_(1)  # (N, N): the mean of a row's others less its positive, linear in the cosines
    gap = -(c.a @ (share * c.base).sum(0) + c.b @ (share * c.partner).sum(0)) / n  # (T,)
    above = []
    for cosine in c.chunks():
        positive = cosine.diagonal(dim1=1, dim2=2).clone()  # (t, N)
        above.append(cosine.gt_(positive[:, :, None]).flatten(1) @ allowed.flatten())  # (t,)
    return gap / temperature + 1 + torch.cat(above) / n


def _cross_entropy(c: _Candidates, excluded: Tensor, temperature: float) -> Tensor:
    hidden = excluded ^ torch.eye(len(excluded), dtype=torch.bool, device=excluded.device)
    parts = []
    for cosine in c.chunks():
        logits = cosine.masked_fill_(hidden, -torch.inf).div_(temperature)  # (t, N, N)
        parts.append((torch.logsumexp(logits, dim=2) - logits.diagonal(dim1=1, dim2=2)).mean(1))  # (t,)
    return torch.cat(parts)


def _margin(c: _Candidates, excluded: Tensor, temperature: float) -> Tensor:
    parts = []
    for cosine in c.chunks():
        positive = cosine.diagonal(dim1=1, dim2=2).clone()  # (t, N)
        parts.append((cosine.masked_fill_(excluded, -torch.inf).amax(2) - positive).mean(1))  # (t,)
    return torch.cat(parts)
