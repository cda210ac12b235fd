"""Small training and what the notebooks look at: dropout views, push against pull, two losses side by side.

Real runs go through `hncse.training`, which resumes, logs, splits a batch over GPUs and keeps the best step.
`train_briefly` does nothing but train, in a loop of twenty lines where any loss fits, also one that somebody wrote a
minute ago.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hncse import losses
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError, unknown

__all__ = [
    "EIGHT", "OBJECTIVES", "PROBABILITIES", "DropoutViews", "Loss", "Trace", "dropout_views", "encoders", "flat",
    "objective", "push_or_pull", "random_pairs", "raw_views", "side_by_side", "spreads", "train_briefly", "unit_views",
]  # fmt: skip

Floats = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]  # z1, z2 (N, d) → one number with a gradient

#: What `objective` knows: alignment alone, uniformity alone, and the loss that holds both.
OBJECTIVES: tuple[str, ...] = ("pull only", "push only", "InfoNCE")
#: A batch that fits on a page: 1 and 2 swap roles, 3 says what 1 says, 4 and 5 differ in one word, the rest is far off.
EIGHT: tuple[str, ...] = (
    "The dog chased the cat across the yard.",
    "The cat chased the dog across the yard.",
    "A dog ran after a cat in the garden.",
    "The train to Oslo leaves at nine.",
    "The train to Oslo arrives at nine.",
    "She planted tomatoes behind the shed.",
    "The bank raised its interest rates again.",
    "He forgot to lock the front door.",
)

#: Dropout probabilities that notebook 01 compares; BERT's, and so SimCSE's, is 0.1.
PROBABILITIES: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


def raw_views(
    encoder: SentenceEncoder, sentences: Sequence[str], n: int = 2, seed: int = 0, max_length: int | None = None
) -> Tensor:
    """Embed N sentences n times, each time under other dropout masks, as training does; lengths are as they come.

    Returns:
        (n, N, d) without gradient, in the encoder's precision, on the CPU. Neither the encoder's mode nor the caller's
        random state changes.
    """
    training = encoder.training
    batch = {k: t.to(encoder.device) for k, t in encoder.pad(encoder.tokenize(sentences, max_length)).items()}
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            return torch.stack(encoder.train().views(batch["input_ids"], batch["attention_mask"], n=n)).cpu()
    finally:
        encoder.train(training)


def unit_views(encoder: SentenceEncoder, sentences: Sequence[str], n: int = 2, seed: int = 0) -> Tensor:
    """The same as `raw_views`, every embedding scaled to length 1: (n, N, d) float64."""
    return F.normalize(raw_views(encoder, sentences, n, seed).double(), dim=-1)


@dataclass(frozen=True)
class DropoutViews:
    """What a dropout probability does to (V, S, d) unit embeddings, V views of S sentences.

    ``positive`` is the mean cosine of two views of one sentence, p; ``hardest`` the mean over anchors of the largest
    cosine to a view of another sentence, n.
    """

    probability: float
    views: Floats
    positive: float
    hardest: float


def dropout_views(
    encoder: str, sentences: Sequence[str], probabilities: Sequence[float], n: int = 24, seed: int = 0
) -> list[DropoutViews]:
    """Embed S sentences ``n`` times, an even number (p and n are means over n/2 pairs), under every probability."""
    clouds = []
    own = torch.eye(len(sentences), dtype=torch.bool)
    for probability in probabilities:
        z = unit_views(_load(encoder, dropout=probability), sentences, n, seed)  # (n, S, d)
        cosine = z[0::2] @ z[1::2].transpose(1, 2)  # (n/2, S, S)
        hardest = cosine.masked_fill(own, -torch.inf).amax(dim=2)  # (n/2, S)
        positive = cosine.diagonal(dim1=1, dim2=2)  # (n/2, S)
        clouds.append(DropoutViews(probability, z.numpy(), float(positive.mean()), float(hardest.mean())))
    return clouds


def _load(encoder: str, dropout: float | None = None) -> SentenceEncoder:
    return SentenceEncoder.from_pretrained(encoder, dropout=dropout, device="cpu")


def flat(views: Sequence[Floats]) -> list[Floats]:
    """Project several (V, S, d) clouds onto one plane, so that they can be compared: (V, S, 2) each.

    The plane is that of the largest differences between sentences (principal components of the sentences' mean views
    in the first cloud), so what dropout does inside it is not chosen to look large.
    """
    centres = views[0].mean(axis=0)  # (S, d)
    middle = centres.mean(axis=0)
    axes = np.linalg.svd(centres - middle, full_matrices=False)[2][:2]  # (2, d)
    axes *= np.sign(axes[:, np.abs(axes).argmax(axis=1)].diagonal())[:, None]  # a sign of its own: the same everywhere
    return [(cloud - middle) @ axes.T for cloud in views]


def random_pairs(embeddings: NDArray[np.floating], n: int = 2000, seed: int = 0) -> Floats:
    """Cosines of n random pairs of different rows of (m, d) embeddings: (n,).

    Their mean is a measure of anisotropy: near 0 where directions are spread, near 1 where all are alike.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    first = rng.integers(len(rows), size=n)
    second = (first + rng.integers(1, len(rows), size=n)) % len(rows)
    return np.einsum("nd,nd->n", rows[first], rows[second])


def objective(name: str, temperature: float = 0.05) -> Loss:
    """One of `OBJECTIVES` as a function of two views; HncseError for another name.

    "pull only" is alignment, mean ‖z¹ - z²‖², "push only" uniformity over the first views, both on the unit sphere;
    "InfoNCE" is ``losses.build("simcse")``.
    """
    simcse = losses.build("simcse", temperature=temperature)
    known: dict[str, Loss] = {
        "pull only": lambda z1, z2: (F.normalize(z1, dim=1) - F.normalize(z2, dim=1)).square().sum(dim=1).mean(),
        "push only": lambda z1, _: torch.pdist(F.normalize(z1, dim=1)).square().mul(-2).exp().mean().log(),
        "InfoNCE": lambda z1, z2: simcse(z1, z2).loss,
    }
    if name not in known:
        raise unknown("objective", name, OBJECTIVES)
    return known[name]


@dataclass
class Trace:
    """What a short training left: the loss of every step, and what was ``seen`` after ``steps``, 0 among them."""

    encoder: SentenceEncoder
    loss: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    seen: list[dict[str, float]] = field(default_factory=list)

    def series(self, key: str) -> list[float]:
        """One quantity of `seen` over `steps`."""
        return [entry[key] for entry in self.seen]


@torch.random.fork_rng()  # the caller's random state is as it was
def train_briefly(
    encoder: SentenceEncoder, sentences: Sequence[str], loss: Loss, *, steps: int = 12, batch_size: int = 48,
    learning_rate: float = 1e-3, max_length: int = 32, seed: int = 0,
    look: Callable[[SentenceEncoder], dict[str, float]] | None = None, looks: int = 5,
) -> Trace:  # fmt: skip
    """Train an encoder in place for a few steps, in the plainest way there is: AdamW, the rate falling to 0 in a line.

    Args:
        encoder: Trained in place.
        sentences: The corpus; repetitions are left out, every pass has an order of its own.
        loss: Takes two dropout views (N, d) of a batch, returns the loss.
        steps: Optimiser steps.
        batch_size: Sentences a step, N.
        learning_rate: At the start.
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


def push_or_pull(
    encoder: str, name: str, sentences: Sequence[str] | None = None, *, temperature: float = 0.1, **settings: Any
) -> Trace:
    """Train an encoder with one of `OBJECTIVES` and look at alignment and uniformity on the way.

    Both are measured on every fifth group of the probe, which training never sees: alignment of anchors and their close
    paraphrases, uniformity of the anchors. ``sentences`` of None are 1,000 of the corpus ``docstrings``;
    ``temperature`` is that of "InfoNCE"; ``settings`` are those of `train_briefly`.
    """
    from hncse.data import corpora
    from hncse.evaluation.geometry import alignment, uniformity

    def look(model: SentenceEncoder) -> dict[str, float]:
        anchors, paraphrases = _held_out(model)
        return {"alignment": alignment(anchors, paraphrases), "uniformity": uniformity(anchors)}

    loss = objective(name, temperature)
    if sentences is None:
        sentences = corpora.load("docstrings", limit=1000).sentences
    return train_briefly(_load(encoder), sentences, loss, look=look, **settings)


def side_by_side(
    encoder: str, sentences: Sequence[str], named: Mapping[str, Loss], *, looks: int = 2, **settings: Any
) -> dict[str, Trace]:
    """Train the same encoder on the same batches with one loss after the other; the embedded probe judges each.

    ``settings`` are those of `train_briefly`, the same for every loss. In `Trace.seen`, on every fifth group of the
    probe, at the start and ``looks`` times more: ``spearman`` (× 100) and
    ``close_first`` (% of hard negatives that the close paraphrase outranks); at the last look also the 95 % interval of
    spearman, ``low`` to ``high``.
    """
    from hncse.data.probe import load
    from hncse.evaluation import probe

    groups = load()[::5]

    def look(model: SentenceEncoder) -> dict[str, float]:
        scores = probe.evaluate(model, groups=groups, bootstrap=0)
        return {"spearman": scores["spearman"], "close_first": scores["triplet_accuracy"]["close"]["value"]}

    traces = {
        name: train_briefly(_load(encoder), sentences, loss, look=look, looks=looks, **settings)
        for name, loss in named.items()
    }
    for trace in traces.values():
        low, high = probe.evaluate(trace.encoder, groups=groups, bootstrap=500)["spearman_interval"]
        trace.seen[-1] |= {"low": low, "high": high}
    return traces


def encoders(traces: Mapping[str, Trace]) -> dict[str, SentenceEncoder]:
    """Trained encoders by the name of their training: "after InfoNCE" …."""
    return {f"after {name}": trace.encoder for name, trace in traces.items()}


def spreads(models: Mapping[str, SentenceEncoder]) -> dict[str, tuple[Floats, Floats]]:
    """Cosines of random pairs of anchors, and of anchors with their close paraphrases, by encoder; held-out groups."""
    result = {}
    for name, model in models.items():
        anchors, paraphrases = (rows.astype(np.float64) for rows in _held_out(model))
        near = (anchors * paraphrases).sum(axis=1) / np.linalg.norm(anchors, axis=1)
        result[name] = random_pairs(anchors), near / np.linalg.norm(paraphrases, axis=1)
    return result


def _held_out(model: SentenceEncoder) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of anchors and close paraphrases of every fifth probe group: (G, d) each."""
    from hncse.data import probe

    groups = probe.load()[::5]
    rows = model.encode([g.anchor for g in groups] + [g.close.text for g in groups], show_progress=False)
    return rows[: len(groups)], rows[len(groups) :]
