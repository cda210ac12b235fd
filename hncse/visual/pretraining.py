"""Pictures of an encoder in the making: how the loss fell, which words get attention, what each stage scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, finite, label_right, log_axis, looks, one_line, styled

__all__ = ["attention_curves", "loss_curves", "stages_figure"]

Floats = NDArray[np.float64]


def loss_curves(curves: Mapping[str, Floats], floor: float, window: int = 9) -> Figure:
    """Draw at most four losses of language modelling over word pieces seen, smoothed, the raw points behind.

    ``curves`` are name → (n, 2) from `hncse.pretraining.read_curve`; ``floor`` is the loss of knowing word frequencies
    only (`hncse.evaluation.stages.entropy`); ``window`` points are averaged for a line.
    """
    colours = looks(list(curves), "loss curves", most=4)
    for name, curve in curves.items():
        if not len(curve):
            raise HncseError(f"the loss curve of {name!r} has no points; it was made without language modelling")
        finite(curve, f"numbers of the loss curve of {name!r}")
    with styled():
        fig, (axes,) = figure(8.2, 3.8)
        ends = []
        for (name, curve), (colour, line, _) in zip(curves.items(), colours, strict=True):
            axes.plot(curve[:, 0], curve[:, 1], ".", color=colour, alpha=0.25, markersize=4)
            smooth = _smooth(curve[:, 1], window)
            axes.plot(curve[:, 0], smooth, line, color=colour)
            ends.append((float(smooth[-1]), name, colour))
        axes.axhline(floor, color=MUTED, linewidth=1, linestyle=":")
        last = max(curve[-1, 0] for curve in curves.values())
        axes.annotate(
            "knows frequencies only", (last, floor), xytext=(0, 4), textcoords="offset points", ha="right",
            color=MUTED, fontsize=8.5,
        )  # fmt: skip
        axes.set_xlim(0, last)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:,.0f}"))
        axes.set_xlabel("word pieces seen, thousands")
        axes.set_ylabel("loss at hidden words, nats")
        axes.grid(axis="y")
        label_right(axes, ends)
    parts = [f"{n}: {_smooth(c[:, 1], window)[0]:.2f} to {_smooth(c[:, 1], window)[-1]:.2f}" for n, c in curves.items()]
    fig.set_label(f"Lines of loss over word pieces. {'; '.join(parts)}. Frequencies alone: {floor:.2f}.")
    return fig


def _smooth(values: Floats, window: int) -> Floats:
    """Mean over a centred window that shrinks at the ends, (n,)."""
    half = min(window, len(values)) // 2
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def attention_curves(curves: Mapping[str, tuple[Floats, Floats]]) -> Figure:
    """Draw how much attention word pieces get against how often they occur, for at most four encoders."""
    colours = looks(list(curves), "attention curves", most=4)
    for name, curve in curves.items():
        finite(np.concatenate(curve), f"numbers of the attention curve of {name!r}")
    with styled():
        fig, (axes,) = figure(8.2, 3.8)
        ends = []
        for (name, (often, share)), (colour, line, marker) in zip(curves.items(), colours, strict=True):
            axes.plot(often, share, line, marker=marker, color=colour, markersize=5)
            ends.append((float(share[-1]), name, colour))
        axes.axhline(1, color=MUTED, linewidth=1, linestyle=":")
        log_axis(axes, "x")
        axes.set_xlabel("occurrences in a thousand word pieces (left: rare, right: frequent)")
        axes.set_ylabel("attention received\n(1: an equal share)")
        axes.set_ylim(0, max(1.5, 1.08 * max(float(share.max()) for _, share in curves.values())))
        axes.set_xlim(min(x[0] for x, _ in curves.values()) * 0.8, max(x[-1] for x, _ in curves.values()) * 1.1)
        axes.grid(axis="y")
        label_right(axes, ends)
    parts = [f"{name}: {share[0]:.2f} for the rarest, {share[-1]:.2f} for the most frequent" for name, (_, share) in
             curves.items()]  # fmt: skip
    fig.set_label(f"Lines of attention received over the frequency of word pieces. {'; '.join(parts)}.")
    return fig


def stages_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw what ``stages.judge`` found, a line a stage: the probe with its interval and, where known, STS-B dev."""
    if not rows:
        raise HncseError("there are no stages to draw")
    with_dev = all(row["stsb_dev"] is not None for row in rows)
    with styled():
        fig, panels = figure(8.2, 1.1 + 0.42 * len(rows), columns=1 + with_dev, sharey=True)
        _dots(panels[0], rows, "probe", "probe_interval")
        panels[0].set_xlabel("the probe, Spearman × 100")
        if with_dev:
            _dots(panels[1], rows, "stsb_dev", None)
            panels[1].set_xlabel("STS-B dev, Spearman × 100")
        panels[0].set_yticks(range(len(rows)), [one_line(row["name"]) for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
    parts = [
        f"{row['name']}: probe {row['probe']:.1f}" + (f", STS-B dev {row['stsb_dev']:.1f}" if with_dev else "")
        for row in rows
    ]
    fig.set_label("Dots for the scores of each stage, intervals as bars. " + "; ".join(parts) + ".")
    return fig


def _dots(axes: Axes, rows: Sequence[Mapping[str, Any]], column: str, interval: str | None) -> None:
    for place, row in enumerate(rows):
        low, high = row[interval] if interval and row[interval] else (row[column], row[column])
        axes.plot([low, high], [place, place], color=OKABE_ITO["blue"], linewidth=2.2, solid_capstyle="butt")
        axes.plot(row[column], place, "o", color=OKABE_ITO["blue"], markersize=6)
        axes.annotate(
            f"{row[column]:.1f}", (high, place), xytext=(7, 0), textcoords="offset points", va="center",
            fontsize=8.5, color=INK,
        )  # fmt: skip
    axes.grid(axis="x")
    axes.margins(x=0.18)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
