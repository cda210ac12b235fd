"""The plainest contrastive training: a loop of twenty lines, and a place where any loss fits.

Real runs go through `hncse.training`, which resumes, logs, splits a batch over GPUs and keeps the best step. This loop
does nothing but train, so that a notebook can show what a loss does, also one that somebody wrote a minute ago.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hncse import losses
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError, unknown

__all__ = ["OBJECTIVES", "Loss", "Trace", "objective", "train_briefly"]

Loss = Callable[[Tensor, Tensor], Tensor]  # z1, z2 (N, d) → one number with a gradient

#: What `objective` knows: alignment alone, uniformity alone, and the loss that holds both.
OBJECTIVES: tuple[str, ...] = ("pull only", "push only", "InfoNCE")


def objective(name: str, temperature: float = 0.05) -> Loss:
    """One of `OBJECTIVES` as a function of two views.

    "pull only" is alignment, mean ‖z¹ - z²‖², "push only" uniformity over the first views, both on the unit sphere;
    "InfoNCE" is ``losses.build("simcse")``.

    Raises:
        HncseError: Another name (the nearest is given).
    """
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    if name == "InfoNCE":
        simcse = losses.build("simcse", temperature=temperature)
        return lambda z1, z2: simcse(z1, z2).loss
    return _pull if name == "pull only" else _push


def _pull(z1: Tensor, z2: Tensor) -> Tensor:
    return (F.normalize(z1, dim=1) - F.normalize(z2, dim=1)).square().sum(dim=1).mean()


def _push(z1: Tensor, z2: Tensor) -> Tensor:
    return torch.pdist(F.normalize(z1, dim=1)).square().mul(-2).exp().mean().log()


@dataclass
class Trace:
    """What a short training left.

    Attributes:
        encoder: The trained encoder.
        loss: The loss of every step, one number a step.
        steps: The steps after which was looked, 0 among them.
        seen: What `look` returned there.
    """

    encoder: SentenceEncoder
    loss: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    seen: list[dict[str, float]] = field(default_factory=list)

    def series(self, key: str) -> list[float]:
        """One quantity of `seen` over `steps`."""
        return [entry[key] for entry in self.seen]


@torch.random.fork_rng()  # the caller's random state is as it was
def train_briefly(
    encoder: SentenceEncoder,
    sentences: Sequence[str],
    loss: Loss,
    *,
    steps: int = 12,
    batch_size: int = 48,
    learning_rate: float = 1e-3,
    max_length: int = 32,
    seed: int = 0,
    look: Callable[[SentenceEncoder], dict[str, float]] | None = None,
    looks: int = 5,
) -> Trace:
    """Train an encoder for a few steps, in the plainest way there is.

    Args:
        encoder: Trained in place.
        sentences: The corpus; repetitions are left out, every pass has an order of its own.
        loss: Takes two dropout views (N, d) of a batch, returns the loss.
        steps: Optimiser steps; the learning rate falls to 0 in a straight line.
        batch_size: Sentences a step, N.
        learning_rate: AdamW's at the start.
        max_length: Longest input in tokens.
        seed: Of order and dropout.
        look: Called with the encoder, not training, before the first step and ``looks`` times more.
        looks: How often, spread evenly, the last time after the last step.

    Raises:
        HncseError: Fewer different sentences than a batch holds.
    """
    ids = list(dict.fromkeys(map(tuple, encoder.tokenize(sentences, max_length))))  # copies would be false negatives
    if len(ids) < batch_size:
        raise HncseError(f"a batch has {batch_size} sentences; only {len(ids)} different ones were given")
    trace, moments = Trace(encoder), set(np.linspace(0, steps, looks + 1).round().astype(int).tolist())
    optimizer = torch.optim.AdamW(encoder.parameters(), learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    torch.manual_seed(seed)
    order: list[int] = []
    for step in range(steps + 1):
        if look is not None and step in moments:
            encoder.eval()
            trace.steps.append(step)
            trace.seen.append(look(encoder))
        if step == steps:
            break
        if len(order) < batch_size:
            order = torch.randperm(len(ids)).tolist()
        rows, order = order[:batch_size], order[batch_size:]
        batch = {k: t.to(encoder.device) for k, t in encoder.pad([ids[i] for i in rows]).items()}
        z1, z2 = encoder.train().views(batch["input_ids"], batch["attention_mask"], length_groups=4)  # (N, d) each
        value = loss(z1, z2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        trace.loss.append(float(value.detach()))
    encoder.eval()
    return trace
