"""The pictures of notebook 08: how long a corpus's sentences are, and two losses trained side by side."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from hncse.errors import HncseError
from hncse.visual.style import INK, OKABE_ITO, figure, finite, looks, one_line, styled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["corpus_lengths", "gallery_figures", "losses_compared"]


def corpus_lengths(lengths: Sequence[int], max_length: int) -> Figure:
    """Draw how long sentences are, in tokens, and where training cuts them.

    Args:
        lengths: Tokens of every sentence, special tokens included.
        max_length: The longest training input.

    Raises:
        HncseError: There are no sentences.
    """
    tokens = np.asarray(lengths)
    if not len(tokens):
        raise HncseError("there are no sentences to draw")
    cut = 100 * float(np.mean(tokens > max_length))
    last = int(max(max_length + 4, np.quantile(tokens, 0.99)))
    bins = np.arange(1, last + 2) - 0.5
    share = 100 * np.histogram(np.minimum(tokens, last), bins)[0] / len(tokens)
    with styled():
        made, (axes,) = figure(8.2, 3.0)
        over = bins[:-1] + 0.5 > max_length
        for chosen, colour, hatch in ((~over, "blue", ""), (over, "vermillion", "////")):
            axes.bar(
                bins[:-1][chosen] + 0.5, share[chosen], width=0.9, color=OKABE_ITO[colour], hatch=hatch,
                edgecolor="white", linewidth=0.3,
            )  # fmt: skip
        axes.axvline(max_length + 0.5, color=INK, linewidth=1.2)
        axes.margins(y=0.15)
        axes.text(
            max_length + 0.8, 0.96, f"cut off: {cut:.1f} %", transform=axes.get_xaxis_transform(), va="top",
            color=OKABE_ITO["vermillion"], fontweight="bold",
        )  # fmt: skip
        axes.set_xlabel(f"tokens in a sentence  (the last bar: {last} or more)")
        axes.set_ylabel("% of sentences")
        axes.set_title(f"{len(tokens):,} sentences, half of them up to {np.median(tokens):.0f} tokens long")
        axes.grid(axis="y")
    made.set_label(
        f"Histogram of sentence lengths in tokens: median {np.median(tokens):.0f}, longest {tokens.max()}; "
        f"{cut:.1f} % are longer than {max_length} and are cut."
    )
    return made


def losses_compared(
    loss: Mapping[str, Sequence[float]], steps: Mapping[str, Sequence[int]], score: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw short trainings side by side: each one's loss, and what no loss sees, the probe.

    Args:
        loss: Name → loss of every step.
        steps: Name → steps after which the probe was asked.
        score: Name → Spearman × 100 there.

    Raises:
        HncseError: No losses, more than seven, or a loss or score that is not finite.
    """
    for name in loss:
        finite(loss[name], f"values of the loss {name!r}")
        finite(score[name], f"scores of {name!r}")
    named = zip(loss.items(), looks(list(loss), "losses"), strict=True)
    with styled():
        made = Figure(figsize=(8.2, 1.7 * max(2, len(loss)) + 0.3), layout="constrained")
        grid = made.add_gridspec(len(loss), 2)
        right = made.add_subplot(grid[:, 1])
        for place, ((name, values), (shade, line, marker)) in enumerate(named):
            left = made.add_subplot(grid[place, 0])
            left.plot(np.arange(1, len(values) + 1), values, line, color=shade)
            left.set_title(f"{one_line(name)}: its loss", fontsize=10)
            left.grid(axis="y")
            left.margins(y=0.15)
            right.plot(steps[name], score[name], line, marker=marker, color=shade, markersize=6, label=one_line(name))
        left.set_xlabel("step")
        low = min(min(values) for values in score.values())
        high = max(max(values) for values in score.values())
        room = max(1.0, 0.25 * (high - low))
        right.set_ylim(low - room, high + room)
        right.set_title("Probe: the same question to all", fontsize=10)
        right.set_ylabel("Spearman × 100")
        right.set_xlabel("step")
        right.grid(axis="y")
        right.legend(frameon=False, fontsize=9, handlelength=3.2, loc="lower right")
    ends = "; ".join(
        f"{name}: loss {values[0]:.2f} to {values[-1]:.2f}, probe {score[name][0]:.1f} to {score[name][-1]:.1f}"
        for name, values in loss.items()
    )
    made.set_label(f"Two panels over training steps, loss and probe, for {len(loss)} losses. {ends}.")
    return made


def _decoupled(z1: Tensor, z2: Tensor, tau: float) -> Tensor:
    """The loss written in notebook 08."""
    import torch
    import torch.nn.functional as F

    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / tau  # (N, N)
    own = torch.eye(len(logits), dtype=torch.bool)
    return (logits.masked_fill(own, -torch.inf).logsumexp(dim=1) - logits.diagonal()).mean()


def gallery_figures() -> dict[str, Figure]:
    """Draw what notebook 08 shows, by name; see `hncse.visual.contrastive.gallery_figures`."""
    from hncse import demonstrations as demo
    from hncse.data import corpora
    from hncse.encoder import SentenceEncoder
    from hncse.plain_training import Loss, objective
    from hncse.training import TrainingConfig

    sentences = corpora.load("docstrings", limit=1000).sentences
    model = SentenceEncoder.from_pretrained("kit", device="cpu")
    tau = TrainingConfig(encoder="kit").temperature or 0.05
    losses: dict[str, Loss] = {"SimCSE": objective("InfoNCE", tau), "DCL": functools.partial(_decoupled, tau=tau)}
    traces = demo.side_by_side("kit", sentences, losses, steps=16)
    return {
        "own_text_lengths": corpus_lengths([len(row) for row in model.tokenize(sentences)], 32),
        "own_text_losses": losses_compared(
            {name: trace.loss for name, trace in traces.items()},
            {name: trace.steps for name, trace in traces.items()},
            {name: trace.series("spearman") for name, trace in traces.items()},
        ),
    }
