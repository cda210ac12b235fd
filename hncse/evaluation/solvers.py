"""Who learns from which rows, and how: SentEval's three protocols, and the two solvers of the transfer tasks.

    nested   MR CR SUBJ MPQA   10 folds take turns in testing; in the other nine, 10 inner folds choose the strength
    folds    TREC MRPC         10 folds of the training part choose the strength; the test part is scored
    split    SST2              the dev part chooses the strength; the test part is scored

Folds are scikit-learn's StratifiedKFold with shuffling and seed 1111, as in SentEval's ``validation.py``.

``senteval``: its Adam schedule to the letter, many classifiers side by side. SentEval (its ``tools/classifier.py``)
trains one linear layer at a time: Adam with step 1e-3 and coupled weight decay, batches of 64, four epochs between
looks at the development rows, at most 51 looks, an end at the sixth look that brings nothing new (the count is never
set back); the best look counts. Seed 1111 begins every classifier alike, so those with equally many training rows draw
the same permutations and can be trained as one: folds (F) and strengths (S) are dimensions of one weight tensor, and a
step is two batched products.

``fast``: every fold and strength of a task as one batched convex problem. A fit with strength λ minimises the mean
cross-entropy of a linear layer plus λ/2 ‖W‖², its bias all but free. All P problems share the rows X, so one product
gives all logits and one all gradients; which rows a problem learns from is a weight of 0 or 1/n. They are solved
together by L-BFGS, preconditioned by the bound of the logistic Hessian (Böhning 1992), which is diagonal in the
eigenbasis of XᵀX. A problem is done when its duality gap, ‖gradient‖²/2λ, is at most `TOLERANCE`: no other weights have
an objective lower by more. Nothing is drawn: equal input, equal output.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hncse.data.senteval import TransferTask
from hncse.errors import HncseError

__all__ = [
    "FOLDS", "SEED", "TOLERANCE", "Choice", "Fit", "choices", "fast_accuracies", "protocol", "senteval_accuracies",
    "solve",
]  # fmt: skip

FOLDS = 10
SEED = 1111

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """One classifier to be trained on rows ``train``; its accuracy is taken on ``score``.

    Rows ``dev`` may stop its training early; None leaves that to a share of ``train``.
    """

    train: Rows
    dev: Rows | None
    score: Rows


@dataclass(frozen=True)
class Choice:
    """One choice of a strength: the fits whose mean accuracy chooses, and the fit that is then reported."""

    search: list[Fit]
    final: Fit


def protocol(task: TransferTask) -> str:
    """Name a task's protocol: nested, folds or split."""
    return "nested" if task.test is None else "folds" if task.dev is None else "split"


def choices(task: TransferTask) -> list[Choice]:
    """Lay out a task's protocol: ten choices for ``nested``, else one; HncseError for a class too small for folds."""
    rows = np.arange(len(task.labels))
    train = rows[task.train]
    if task.test is None:
        return [Choice(_inner(task, kept), Fit(kept, None, held)) for kept, held in _folds(task, train)]
    if task.dev is None:
        return [Choice(_inner(task, train), Fit(train, None, rows[task.test]))]
    dev = rows[task.dev]
    return [Choice([Fit(train, dev, dev)], Fit(train, dev, rows[task.test]))]


def _inner(task: TransferTask, rows: Rows) -> list[Fit]:
    return [Fit(kept, held, held) for kept, held in _folds(task, rows)]


def _folds(task: TransferTask, rows: Rows) -> Iterator[tuple[Rows, Rows]]:
    from sklearn.model_selection import StratifiedKFold

    labels = task.labels[rows]
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < FOLDS:
        have = ", ".join(f"{n} of class {c}" for c, n in zip(classes, counts, strict=True))
        raise HncseError(f"{task.name}: {FOLDS} folds need two classes with {FOLDS} rows each; there are {have}")
    for kept, held in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(labels, labels):
        yield rows[kept], rows[held]


# --- senteval

BATCH = 64
EPOCHS_A_LOOK = 4
MAX_EPOCH = 200
TENACITY = 5
HELD_OUT = 0.05  # share of the training rows that stops a fit which has no development rows of its own
_RATE, _BETAS, _EPS = 1e-3, (0.9, 0.999), 1e-8  # torch.optim.Adam's defaults
_TOGETHER = 10  # fits trained as one: their batches and weights stay in a core's cache


def senteval_accuracies(
    features: NDArray[np.float32], labels: Rows, classes: int, fits: list[Fit], strengths: Floats,
    device: torch.device | None = None,
) -> Floats:  # fmt: skip
    """Train F fits with S strengths each on features (n, d) and labels (n,) from 0 to ``classes`` - 1.

    Returns:
        (F, S) accuracies on each fit's ``score`` rows, from 0 to 1.
    """
    x, y = _tensors(features, labels, 1.0, device)
    out = np.zeros_like(strengths)

    def train(places: list[int]) -> None:
        out[places] = _Group(x, y, classes, [fits[place] for place in places], strengths[places]).train()

    threads = torch.get_num_threads()
    try:  # the products are small: a group to a core, not a product to all cores
        with ThreadPoolExecutor(1 if x.is_cuda else threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(train, _alike(fits)))
    finally:
        torch.set_num_threads(threads)
    return out


def _tensors(
    features: NDArray[np.float32], labels: NDArray[np.int64], bias: float, device: torch.device | None
) -> tuple[Tensor, Tensor]:
    """Features with a last column for the bias, (n, d+1), and labels (n,)."""
    x = np.hstack([features, np.full((len(features), 1), bias, np.float32)])
    return torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)


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
        devs = [fit.dev for fit in fits if fit.dev is not None]
        if not devs:
            order = self.draw.permutation(train.shape[1])
            cut = int(HELD_OUT * train.shape[1])
            devs, train = list(train[:, order[:cut]]), train[:, order[cut:]]
        self.rows = torch.from_numpy(train).to(x.device)
        self.devs = [torch.from_numpy(rows).to(x.device) for rows in devs]
        self.scores = [torch.from_numpy(fit.score).to(x.device) for fit in fits]
        self.decay = torch.from_numpy(strengths).float().to(x.device)[:, :, None, None]  # (F, S, 1, 1)
        self.w = _start(x.shape[1] - 1, classes).to(x.device).expand(*strengths.shape, -1, -1).clone()  # (F, S, C, d+1)
        self.room = torch.empty((self.rows.shape[0] * BATCH, x.shape[1]), device=x.device)  # a step's batches
        self.m, self.v, self.step = torch.zeros_like(self.w), torch.zeros_like(self.w), 0

    def train(self) -> Floats:
        """Return (F, S) accuracies at each classifier's best look."""
        shape = tuple(self.decay.shape[:2])
        best, reported = np.full(shape, -1.0), np.zeros(shape)
        fruitless, ended = np.zeros(shape, int), np.zeros(shape, bool)
        active = np.arange(shape[0])
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
            still = ~ended[active].all(axis=1)
            if not still.any():
                break
            if not still.all():
                active = active[still]
                self._keep(torch.from_numpy(np.flatnonzero(still)).to(self.x.device))
        return reported

    def _epoch(self) -> None:
        order = torch.from_numpy(self.draw.permutation(self.rows.shape[1])).to(self.x.device)
        for places in order.split(BATCH):
            self._update(self.rows[:, places])

    def _update(self, rows: Tensor) -> None:
        """Take one step of Adam on a batch of each fit, rows (F, B)."""
        flat = rows.flatten()
        x = torch.index_select(self.x, 0, flat, out=self.room[: len(flat)]).view(*rows.shape, -1)  # (F, B, d+1)
        gradient = self._gradient(x, self.y[flat].view(len(rows), 1, -1))  # (F, S, C, d+1)
        gradient.addcmul_(self.w, self.decay)
        self.step += 1
        self.m.lerp_(gradient, 1 - _BETAS[0])
        self.v.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        below = torch.sqrt(self.v).div_((1 - _BETAS[1] ** self.step) ** 0.5).add_(_EPS)
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
        for name in ("rows", "decay", "w", "m", "v"):
            setattr(self, name, getattr(self, name)[places])


def _start(width: int, classes: int) -> Tensor:
    """First weights torch gives a linear layer under SentEval's seed, bias as last column: (C, d+1)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Linear(width, classes)
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()


# --- fast

TOLERANCE = 1e-4  # nats of mean cross-entropy
BIAS = 10.0  # of the column that stands for 1: the ridge on a bias is a hundredth of that on a weight
MAX_STEPS = 500
_MEMORY = 8  # pairs L-BFGS remembers
_SLOPE = 1e-4  # share of the promised decrease a step must keep (Armijo)
_CELLS = 2**25  # logits held at once; more problems than that wait for the next batch


def fast_accuracies(
    features: NDArray[np.float32], labels: Rows, classes: int, fits: list[Fit], strengths: Floats,
    device: torch.device | None = None,
) -> Floats:  # fmt: skip
    """Solve every fit with every strength; arguments and result as `senteval_accuracies`."""
    x, y = _tensors(features, labels, BIAS, device)  # (n, D), (n,)
    x, spectrum = _rotated(x)
    problems = [(fit, strength) for fit, row in zip(fits, strengths, strict=True) for strength in row]
    cells = len(problems) * (1 if classes == 2 else classes) * len(x)
    out: list[float] = []
    for part in np.array_split(np.arange(len(problems)), max(1, -(-cells // _CELLS))):
        batch = [problems[place] for place in part]
        weight = torch.zeros((len(batch), len(x)), device=x.device)  # (P, n)
        for row, (fit, _) in zip(weight, batch, strict=True):
            row[torch.from_numpy(fit.train).to(x.device)] = 1 / len(fit.train)
        strength = torch.tensor([strength for _, strength in batch], dtype=torch.float64).float().to(x.device)
        for w, (fit, _) in zip(solve(x, y, classes, weight, strength, spectrum), batch, strict=True):
            rows = torch.from_numpy(fit.score).to(x.device)
            z = x[rows] @ w.mT  # (B, K)
            said = (z[:, 0] > 0).long() if classes == 2 else z.argmax(1)
            out.append((said == y[rows]).double().mean().item())
    return np.array(out).reshape(strengths.shape)


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
    problems = _Problems(x, y, classes, weight, strength)
    bound = 0.25 if classes == 2 else 0.5  # on the Hessian of the cross-entropy in the logits
    inverse = 1 / (bound * spectrum[None] + problems.ridge[:, None])  # (P, D): the first inverse Hessian's diagonal
    inverse = inverse[:, None].expand(-1, problems.k, -1)
    solution = torch.zeros(inverse.shape, device=x.device)
    state = problems.state(solution.clone(), problems.logits(solution))
    active = torch.arange(len(solution), device=x.device)
    pairs: list[tuple[Tensor, ...]] = []  # (Δw, Δg), oldest first
    for _ in range(MAX_STEPS):
        w, _, _, g = state
        gap = g.square().sum((1, 2)) / (2 * problems.ridge)  # (P',)
        still = (gap > TOLERANCE).nonzero()[:, 0]
        if len(still) < len(active):
            solution[active] = w
            problems.keep(still)
            (active, inverse), state, *pairs = (
                tuple(tensor[still] for tensor in group) for group in ((active, inverse), state, *pairs)
            )
            w, _, _, g = state
        if not len(active):
            return solution
        direction = -_times_inverse_hessian(g, pairs, inverse)
        state = problems.step(state, direction, (g * direction).sum((1, 2)))
        pairs = [*pairs, (state[0] - w, state[3] - g)][-_MEMORY:]
    solution[active] = state[0]
    return solution


State = tuple[
    Tensor, ...
]  # of P' problems: w (P', K, D), its logits (P', K, n), loss (P',) float64, gradient (P', K, D)


class _Problems:
    """Mean cross-entropies and ridges of P problems; ``keep`` leaves out those that are done."""

    def __init__(self, x: Tensor, y: Tensor, classes: int, weight: Tensor, strength: Tensor) -> None:
        self.x, self.weight = x, weight
        self.k = 1 if classes == 2 else classes
        self.ridge = strength / 2 if self.k == 1 else strength  # (P,)
        self.target = y.float()[None] if self.k == 1 else F.one_hot(y, classes).float().mT.contiguous()  # (K, n)

    def keep(self, places: Tensor) -> None:
        self.weight, self.ridge = self.weight[places], self.ridge[places]

    def logits(self, w: Tensor) -> Tensor:
        return (w.flatten(0, 1) @ self.x.mT).view(len(w), self.k, -1)  # (P, K, n)

    def loss(self, w: Tensor, z: Tensor) -> Tensor:
        """(P,) float64."""
        if self.k == 1:
            cost = F.softplus(z[:, 0])
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

    def state(self, w: Tensor, z: Tensor) -> State:
        return w, z, self.loss(w, z), self.gradient(w, z)

    def step(self, state: State, direction: Tensor, slope: Tensor) -> State:
        """Go along a direction, each problem as far as Armijo's rule lets it, halving its step until then."""
        along = self.logits(direction)  # logits are linear in w: looking further along costs no product
        size = torch.ones_like(slope)
        for _ in range(30):
            w = state[0] + size[:, None, None] * direction
            z = state[1] + size[:, None, None] * along
            enough = self.loss(w, z) <= state[2] + _SLOPE * size * slope + 1e-9  # rounding of the loss
            if enough.all():
                break
            size = torch.where(enough, size, size / 2)
        return self.state(w, z)


def _times_inverse_hessian(g: Tensor, pairs: list[tuple[Tensor, ...]], inverse: Tensor) -> Tensor:
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
