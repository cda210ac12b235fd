"""The ``senteval`` solver: SentEval's Adam schedule to the letter, many classifiers side by side.

SentEval (its ``tools/classifier.py``) trains one linear layer at a time: Adam with step 1e-3 and coupled weight decay,
batches of 64, four epochs between looks at the development rows, at most 51 looks, an end at the sixth look that brings
nothing new (the count is never set back); the best look counts. Seed 1111 begins every classifier alike, so those with
equally many training rows draw the same permutations and can be trained as one: folds (F) and strengths (S) are
dimensions of one weight tensor, and a step is two batched products.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hncse.evaluation._transfer_folds import SEED, Fit

__all__ = ["accuracies"]

BATCH = 64
EPOCHS_A_LOOK = 4
MAX_EPOCH = 200
TENACITY = 5
HELD_OUT = 0.05  # share of the training rows that stops a fit which has no development rows of its own
_RATE, _BETAS, _EPS = 1e-3, (0.9, 0.999), 1e-8  # torch.optim.Adam's defaults
_TOGETHER = 10  # fits trained as one: their batches and weights stay in a core's cache

Floats = NDArray[np.float64]


def accuracies(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    fits: list[Fit],
    strengths: Floats,
    device: torch.device | None = None,
) -> Floats:
    """Train every fit with every strength.

    Args:
        features: (n, d).
        labels: (n,) from 0 to ``classes`` - 1.
        classes: Number of classes C.
        fits: F of them.
        strengths: (F, S) weight decays of each fit.
        device: Where to compute.

    Returns:
        (F, S) accuracies on each fit's ``score`` rows, from 0 to 1.
    """
    x = torch.from_numpy(np.hstack([features, np.ones((len(features), 1), np.float32)])).to(device)  # (n, d+1): bias
    y = torch.from_numpy(labels).to(device)
    out = np.zeros_like(strengths)

    def run(places: list[int]) -> None:
        group = _Group(x, y, classes, [fits[p] for p in places], strengths[places])
        out[places] = group.train()

    alike = list(_alike(fits))
    if x.is_cuda:
        for places in alike:
            run(places)
        return out
    threads = torch.get_num_threads()
    try:  # the products are small: a group to a core, not a product to all cores
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(run, alike))
    finally:
        torch.set_num_threads(threads)
    return out


def _alike(fits: list[Fit]) -> Iterator[list[int]]:
    """Places of fits that draw the same permutations, a few at a time."""
    by_size: dict[tuple[int, bool], list[int]] = {}
    for place, fit in enumerate(fits):
        by_size.setdefault((len(fit.train), fit.dev is None), []).append(place)
    for places in by_size.values():
        for start in range(0, len(places), _TOGETHER):
            yield places[start : start + _TOGETHER]


class _Group:
    """F fits of one size with S strengths each, trained in step; those that have ended leave."""

    def __init__(self, x: Tensor, y: Tensor, classes: int, fits: list[Fit], strengths: Floats) -> None:
        self.x, self.y, self.classes = x, y, classes
        self.draw = np.random.RandomState(SEED)  # the generator behind np.random.seed
        train = np.stack([fit.train for fit in fits])  # (F, n')
        if fits[0].dev is None:
            order = self.draw.permutation(train.shape[1])
            cut = int(HELD_OUT * train.shape[1])
            devs, train = list(train[:, order[:cut]]), train[:, order[cut:]]
        else:
            devs = [fit.dev for fit in fits if fit.dev is not None]
        self.rows = torch.from_numpy(train).to(x.device)
        self.devs = [torch.from_numpy(rows).to(x.device) for rows in devs]
        self.scores = [torch.from_numpy(fit.score).to(x.device) for fit in fits]
        self.decay = torch.from_numpy(strengths).float().to(x.device)[:, :, None, None]  # (F, S, 1, 1)
        self.w = _start(x.shape[1] - 1, classes).to(x.device).expand(*strengths.shape, -1, -1).clone()  # (F, S, C, d+1)
        self.room = torch.empty((self.rows.shape[0] * BATCH, x.shape[1]), device=x.device)  # a step's batches
        self.m, self.v, self.step = torch.zeros_like(self.w), torch.zeros_like(self.w), 0

    def train(self) -> Floats:
        """Return (F, S) accuracies at each classifier's best look."""
        fits, strengths = self.decay.shape[:2]
        best, reported = np.full((fits, strengths), -1.0), np.zeros((fits, strengths))
        fruitless, ended = np.zeros((fits, strengths), int), np.zeros((fits, strengths), bool)
        active = np.arange(fits)
        for _ in range(0, MAX_EPOCH + 1, EPOCHS_A_LOOK):
            for _ in range(EPOCHS_A_LOOK):
                self._epoch()
            for place, fit in enumerate(active):
                seen = self._accuracy(place, self.devs[fit])  # (S,)
                better = (seen > best[fit]) & ~ended[fit]
                if better.any():
                    best[fit] = np.where(better, seen, best[fit])
                    reported[fit] = np.where(better, self._accuracy(place, self.scores[fit]), reported[fit])
                ended[fit] |= ~better & (fruitless[fit] >= TENACITY)
                fruitless[fit] += ~better
            keep = ~ended[active].all(axis=1)
            if not keep.all():
                active = active[keep]
                self._keep(torch.from_numpy(np.flatnonzero(keep)).to(self.x.device))
            if not len(active):
                break
        return reported

    def _epoch(self) -> None:
        order = torch.from_numpy(self.draw.permutation(self.rows.shape[1])).to(self.x.device)
        for places in order.split(BATCH):
            self._update(self.rows[:, places])

    def _update(self, rows: Tensor) -> None:
        """Take one step of Adam on a batch of each fit, rows (F, B)."""
        fits, batch = rows.shape
        flat = rows.flatten()
        x = torch.index_select(self.x, 0, flat, out=self.room[: len(flat)]).view(fits, batch, -1)  # (F, B, d+1)
        gradient = self._gradient(x, self.y[flat].view(fits, 1, batch))  # (F, S, C, d+1)
        gradient.addcmul_(self.w, self.decay)
        self.step += 1
        self.m.lerp_(gradient, 1 - _BETAS[0])
        self.v.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        scale = (1 - _BETAS[1] ** self.step) ** 0.5
        below = torch.sqrt(self.v).div_(scale).add_(_EPS)
        self.w.addcdiv_(self.m, below, value=-_RATE / (1 - _BETAS[0] ** self.step))

    def _gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy's gradient (F, S, C, d+1) on batches x (F, B, d+1), y (F, 1, B)."""
        if self.classes == 2:  # both columns from one: what pulls class 1 up pushes class 0 down
            error = torch.bmm(self.w[:, :, 1] - self.w[:, :, 0], x.mT).sigmoid_()  # (F, S, B)
            error -= y
            one = torch.bmm(error.div_(x.shape[1]), x)  # (F, S, d+1)
            return torch.stack([-one, one], dim=2)
        error = torch.bmm(self.w.flatten(1, 2), x.mT).unflatten(1, self.w.shape[1:3]).softmax(2)  # (F, S, C, B)
        error -= (y.unsqueeze(2) == torch.arange(self.classes, device=y.device)[:, None]).to(x.dtype)
        return torch.bmm(error.div_(x.shape[1]).flatten(1, 2), x).view_as(self.w)

    def _accuracy(self, place: int, rows: Tensor) -> Floats:
        """(S,) accuracies of one fit's classifiers on some rows."""
        logits = self.x[rows] @ self.w[place].flatten(0, 1).mT  # (B, S·C)
        said = logits.unflatten(1, self.w.shape[1:3]).argmax(-1)  # (B, S)
        right = (said == self.y[rows][:, None]).sum(0)
        return right.double().cpu().numpy() / len(rows)

    def _keep(self, places: Tensor) -> None:
        self.rows, self.decay = self.rows[places], self.decay[places]
        self.w, self.m, self.v = self.w[places], self.m[places], self.v[places]


def _start(width: int, classes: int) -> Tensor:
    """First weights torch gives a linear layer under SentEval's seed, bias as last column: (C, d+1)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Linear(width, classes)
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
