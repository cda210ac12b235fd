"""The ``fast`` solver: every fold and strength of a task as one batched convex problem.

A fit with strength λ minimises the mean cross-entropy of a linear layer plus λ/2 ‖W‖², its bias all but free. All P
problems share the rows X, so one product gives all logits and one all gradients; which rows a problem learns from is a
weight of 0 or 1/n. They are solved together by L-BFGS, preconditioned by the bound of the logistic Hessian (Böhning
1992), which is diagonal in the eigenbasis of XᵀX. A problem is done when its duality gap, ‖gradient‖²/2λ, is at most
`TOLERANCE`: no other weights have an objective lower by more. Nothing is drawn: equal input, equal output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hncse.evaluation._transfer_folds import Fit

__all__ = ["TOLERANCE", "accuracies", "solve"]

TOLERANCE = 1e-4  # nats of mean cross-entropy
BIAS = 10.0  # of the column that stands for 1: the ridge on a bias is a hundredth of that on a weight
MAX_STEPS = 500
_MEMORY = 8  # pairs L-BFGS remembers
_SLOPE = 1e-4  # share of the promised decrease a step must keep (Armijo)
_CELLS = 2**25  # logits held at once; more problems than that wait for the next batch

Floats = NDArray[np.float64]


def accuracies(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    fits: list[Fit],
    strengths: Floats,
    device: torch.device | None = None,
) -> Floats:
    """Solve every fit with every strength; arguments and result as `hncse.evaluation._adam.accuracies`."""
    x = torch.from_numpy(np.hstack([features, np.full((len(features), 1), BIAS, np.float32)])).to(device)  # (n, D)
    x, spectrum = _rotated(x)
    y = torch.from_numpy(labels).to(x.device)
    out = np.zeros(strengths.size)
    flat = strengths.ravel()
    owner = np.arange(strengths.size) // strengths.shape[1]  # problem → fit
    logits = 1 if classes == 2 else classes
    for places in np.array_split(np.arange(flat.size), max(1, -(-flat.size * logits * len(x) // _CELLS))):
        weight = torch.zeros((len(places), len(x)), device=x.device)  # (P, n)
        for p, place in enumerate(places):
            rows = fits[owner[place]].train
            weight[p, torch.from_numpy(rows).to(x.device)] = 1 / len(rows)
        strength = torch.from_numpy(flat[places]).float().to(x.device)
        w = solve(x, y, classes, weight, strength, spectrum)
        for p, place in enumerate(places):
            rows = torch.from_numpy(fits[owner[place]].score).to(x.device)
            z = x[rows] @ w[p].mT  # (B, K)
            said = (z[:, 0] > 0).long() if classes == 2 else z.argmax(1)
            out[place] = (said == y[rows]).double().mean().item()
    return out.reshape(strengths.shape)


def _rotated(x: Tensor) -> tuple[Tensor, Tensor]:
    """Turn rows (n, D) into the eigenbasis of XᵀX/n, where the ridge looks the same; also its eigenvalues (D,)."""
    gram = x.double().mT @ x.double() / len(x)
    values, vectors = torch.linalg.eigh(gram)
    return (x.double() @ vectors).float().contiguous(), values.clamp_min(0).float()


def solve(x: Tensor, y: Tensor, classes: int, weight: Tensor, strength: Tensor, spectrum: Tensor) -> Tensor:
    """Minimise P objectives over the same rows.

    Args:
        x: (n, D) float32, columns uncorrelated as `_rotated` makes them.
        y: (n,) int64.
        classes: C. For two, one logit w1 - w0 is solved for: at the minimum w1 = -w0, so its ridge is half as strong.
        weight: (P, n) of each row in each mean.
        strength: (P,) λ.
        spectrum: (D,) mean squares of x's columns.

    Returns:
        (P, K, D) weights; K is C, or 1 for two classes.
    """
    objective = _Objective(x, y, classes, weight, strength)
    k = objective.k
    bound = 0.25 if k == 1 else 0.5  # on the Hessian of the cross-entropy in the logits
    inverse = 1 / (bound * spectrum[None] + objective.ridge[:, None])  # (P, D)
    return _lbfgs(objective, inverse[:, None].expand(-1, k, -1))


@dataclass
class _State:
    """Where the P' problems still being solved stand: w, its logits, loss and gradient."""

    w: Tensor  # (P', K, D)
    z: Tensor  # (P', K, n)
    f: Tensor  # (P',) float64
    g: Tensor  # (P', K, D)


class _Objective:
    """Mean cross-entropies and ridges of P problems; ``keep`` leaves out those that are done."""

    def __init__(self, x: Tensor, y: Tensor, classes: int, weight: Tensor, strength: Tensor) -> None:
        self.x, self.weight = x, weight
        self.k = 1 if classes == 2 else classes
        self.ridge = strength / 2 if self.k == 1 else strength  # (P,)
        if self.k == 1:
            self.target = y.float()[None]  # (1, n)
        else:
            self.target = torch.nn.functional.one_hot(y, classes).float().mT.contiguous()  # (C, n)

    def keep(self, places: Tensor) -> None:
        self.weight, self.ridge = self.weight[places], self.ridge[places]

    def logits(self, w: Tensor) -> Tensor:
        return (w.flatten(0, 1) @ self.x.mT).view(len(w), self.k, -1)  # (P, K, n)

    def loss(self, w: Tensor, z: Tensor) -> Tensor:
        """(P,) float64."""
        if self.k == 1:
            cost = torch.nn.functional.softplus(z[:, 0])
            cost -= self.target * z[:, 0]  # (P, n)
        else:
            cost = z.logsumexp(1) - (self.target * z).sum(1)
        cost *= self.weight
        return cost.sum(1, dtype=torch.float64) + 0.5 * self.ridge * w.square().sum((1, 2), dtype=torch.float64)

    def gradient(self, w: Tensor, z: Tensor) -> Tensor:
        error = z.sigmoid() if self.k == 1 else z.softmax(1)
        error -= self.target
        error *= self.weight[:, None]
        return (error.flatten(0, 1) @ self.x).view_as(w) + self.ridge[:, None, None] * w

    def at(self, w: Tensor, z: Tensor) -> _State:
        return _State(w, z, self.loss(w, z), self.gradient(w, z))


def _lbfgs(objective: _Objective, inverse: Tensor) -> Tensor:
    """Minimise from zero; ``inverse`` (P, K, D) is the first inverse Hessian's diagonal."""
    solution = torch.zeros(inverse.shape, device=inverse.device)
    state = objective.at(solution.clone(), objective.logits(solution))
    active = torch.arange(len(solution), device=inverse.device)
    pairs: list[tuple[Tensor, Tensor]] = []  # (Δw, Δg), oldest first
    for _ in range(MAX_STEPS):
        gap = state.g.square().sum((1, 2)) / (2 * objective.ridge)  # (P',)
        still = (gap > TOLERANCE).nonzero()[:, 0]
        if len(still) < len(active):
            solution[active] = state.w
            active, inverse = active[still], inverse[still]
            pairs = [(s[still], u[still]) for s, u in pairs]
            objective.keep(still)
            state = _State(state.w[still], state.z[still], state.f[still], state.g[still])
        if not len(active):
            return solution
        direction = -_times_inverse_hessian(state.g, pairs, inverse)
        after = _step(objective, state, direction, (state.g * direction).sum((1, 2)))
        pairs = [*pairs, (after.w - state.w, after.g - state.g)][-_MEMORY:]
        state = after
    solution[active] = state.w
    return solution


def _times_inverse_hessian(g: Tensor, pairs: list[tuple[Tensor, Tensor]], inverse: Tensor) -> Tensor:
    """L-BFGS's two loops, for all problems at once; a pair without curvature counts for nothing."""
    q, trail = g.clone(), []
    for s, u in reversed(pairs):
        curvature = (s * u).sum((1, 2), keepdim=True)
        rho = torch.where(curvature > 1e-12, 1 / curvature, 0.0)
        a = rho * (s * q).sum((1, 2), keepdim=True)
        q -= a * u
        trail.append((a, rho))
    if pairs:
        s, u = pairs[-1]
        curvature = (s * u).sum((1, 2), keepdim=True)
        scale = curvature / (u * inverse * u).sum((1, 2), keepdim=True)
        inverse = inverse * torch.where(curvature > 1e-12, scale, 1.0)
    q = q * inverse
    for (s, u), (a, rho) in zip(pairs, reversed(trail), strict=True):
        q += s * (a - rho * (u * q).sum((1, 2), keepdim=True))
    return q


def _step(objective: _Objective, state: _State, direction: Tensor, slope: Tensor) -> _State:
    """Go along a direction, each problem as far as Armijo's rule lets it, halving its step until then."""
    along = objective.logits(direction)  # logits are linear in w: looking further along costs no product
    size = torch.ones_like(slope)
    for _ in range(30):
        w = state.w + size[:, None, None] * direction
        z = state.z + size[:, None, None] * along
        enough = objective.loss(w, z) <= state.f + _SLOPE * size * slope + 1e-9  # rounding of the loss
        if enough.all():
            break
        size = torch.where(enough, size, size / 2)
    return objective.at(w, z)
