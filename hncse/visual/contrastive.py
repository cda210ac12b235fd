"""The pictures of contrastive learning (notebooks 00, 01 and 08).

A batch as a matrix, temperature, dropout, alignment against uniformity, how alike random pairs are, how long sentences
are, losses side by side. As in `hncse.visual.figures`: plain results in, a Figure out whose ``get_label()`` says in
words what it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hncse.errors import HncseError
from hncse.visual.style import (
    INK,
    MUTED,
    OKABE_ITO,
    SERIES,
    figure,
    finite,
    label_right,
    looks,
    one_line,
    score_limits,
    styled,
)

if TYPE_CHECKING:
    from hncse.demonstrations import DropoutViews

__all__ = [
    "alignment_uniformity", "anisotropy", "corpus_lengths", "dropout_cloud", "dropout_parts", "losses_compared",
    "similarity_matrix", "temperature_curves",
]  # fmt: skip

Floats = NDArray[np.float64]
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)


def similarity_matrix(similarity: ArrayLike, sentences: Sequence[str], tau: float) -> Figure:
    """Draw a batch twice: its cosines (N, N), anchors by row, and the shares that a softmax at τ makes of every row."""
    cosine = finite(similarity, "cosines")
    if len(sentences) < 2 or cosine.shape != (len(sentences), len(sentences)):
        raise HncseError(
            f"{len(sentences)} sentences and cosines of shape {cosine.shape}: the picture needs two sentences or more "
            "and a cosine for each pair"
        )
    _check_temperature(tau)
    logits = cosine / tau
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    n = len(cosine)
    with styled():
        fig, panels = figure(8.6, 3.6, columns=2)
        _matrix(panels[0], cosine, "cosines $s_{ij}$")
        _matrix(panels[1], share, f"share of each row's softmax, τ = {tau:g}")
        panels[0].set_yticks(range(n), [f"{one_line(s, 42)}  {i + 1}" for i, s in enumerate(sentences)], fontsize=7.5)
        panels[1].set_yticks(range(n), [str(i + 1) for i in range(n)], fontsize=8)
        for panel in panels:
            panel.set_xlabel("second views")
        panels[0].set_ylabel("anchors")
    hard = _masked(cosine).argmax(axis=1)
    pairs = ", ".join(f"{i + 1}→{j + 1} ({cosine[i, j]:.2f})" for i, j in enumerate(hard))
    fig.set_label(
        f"Two heat maps of {n} sentences against their second views. Left, cosines: the diagonal lies between "
        f"{cosine.diagonal().min():.2f} and {cosine.diagonal().max():.2f}; hardest negatives {pairs}. Right, the "
        f"softmax at temperature {tau:g}: the positives' shares lie between {share.diagonal().min():.2f} and "
        f"{share.diagonal().max():.2f}."
    )
    return fig


def _matrix(axes: Axes, values: Floats, title: str) -> None:
    n = len(values)
    low = min(0.0, float(values.min()))
    axes.imshow(values, cmap="viridis", vmin=low, vmax=1, aspect="equal")
    for i in range(n):
        for j in range(n):
            light = (values[i, j] - low) / (1 - low) > 0.6
            text = f"{values[i, j]:.2f}".replace("0.", ".").replace("1.00", "1.0").replace("-.00", ".00")
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="black" if light else "white")
        hard = int(_masked(values)[i].argmax())
        for colour, wide, dashes in (("white", 1.6, "-"), (OKABE_ITO["vermillion"], 1.4, (0, (2.5, 1.5)))):
            look: dict[str, Any] = {"color": colour, "linewidth": wide, "linestyle": dashes}
            axes.add_patch(Rectangle((hard - 0.44, i - 0.44), 0.88, 0.88, fill=False, **look))
    axes.set_xticks(range(n), [str(j + 1) for j in range(n)], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10, parse_math=True)  # ours, no user's text


def _masked(values: Floats) -> Floats:
    return np.where(np.eye(len(values), dtype=bool), -np.inf, values)


def _check_temperature(tau: float) -> None:
    if not 0 < tau < float("inf"):
        raise HncseError(f"temperature is {tau!r}; it must be above 0")


def temperature_curves(row: Sequence[float], i: int, names: Sequence[str] = (), chosen: float | None = None) -> Figure:
    """Draw what τ does to one anchor with cosines (N,), its positive in column ``i``: pushes, and the loss.

    ``names`` are those of the columns, numbers where empty; ``chosen`` is a temperature to mark.
    """
    cosine = finite(row, "cosines")
    if cosine.ndim != 1 or len(cosine) < 2 or not 0 <= i < len(cosine):
        raise HncseError(
            f"cosines of shape {cosine.shape} and a positive in column {i}: the picture needs one row of two cosines "
            "or more, the positive's among them"
        )
    if chosen is not None:
        _check_temperature(chosen)
    taus = np.geomspace(0.01, 2, 121)
    logits = cosine[None] / taus[:, None]  # (T, N)
    largest = logits.max(axis=1, keepdims=True)
    loss = (largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))) - logits[:, i]  # (T,)
    rest = [j for j in np.argsort(-cosine) if j != i]
    weight = np.exp(logits[:, rest] - logits[:, rest].max(axis=1, keepdims=True))  # (T, N-1)
    weight = 100 * weight / weight.sum(axis=1, keepdims=True)
    with styled():
        fig, (top, bottom) = figure(8.2, 5.6, rows=2, sharex=True, height_ratios=(3, 2))
        for place, j in reversed(list(enumerate(rest))):
            colour, line, _ = SERIES[(1, 0, 2)[place]] if place < 3 else ("#b0b0b0", "-", "")
            top.plot(
                taus, weight[:, place], line, color=colour, linewidth=2.4 if place < 3 else 1,
                label=f"{one_line(names[j]) if names else j + 1}  ({cosine[j]:.2f})" if place < 3 else None,
            )  # fmt: skip
        handles, texts = top.get_legend_handles_labels()
        top.legend(
            handles[::-1], texts[::-1], framealpha=1, edgecolor="none", fontsize=8, handlelength=2.4, alignment="left",
            loc="center left", bbox_to_anchor=(0.02, 0.5),
            title="the three hardest negatives; the others in grey", title_fontsize=8,
        )  # fmt: skip
        _finish_temperature(top, bottom, taus, loss, len(cosine), chosen)
    fig.set_label(
        f"Lines over the temperature. At 0.01 the hardest negative, cosine {cosine[rest[0]]:.2f}, takes "
        f"{weight[0, 0]:.0f} % of the push; at 2 it takes {weight[-1, 0]:.0f} %, near the equal share of "
        f"{100 / len(rest):.0f} %. The anchor's loss goes from {loss[0]:.2f} to {loss[-1]:.2f}, towards log N = "
        f"{np.log(len(cosine)):.2f}."
    )
    return fig


def _finish_temperature(top: Axes, bottom: Axes, taus: Floats, loss: Floats, n: int, chosen: float | None) -> None:
    top.axhline(100 / (n - 1), color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    top.set_title("Share of the push that each negative gets")
    top.set_ylabel("% of all negatives' gradient")
    top.set_ylim(-3, 103)
    bottom.plot(taus, loss, color=OKABE_ITO["black"])
    bottom.axhline(np.log(n), color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    bottom.text(taus[0], np.log(n), f"log {n}", va="bottom", color=MUTED, fontsize=8.5)
    bottom.set_ylim(0, 1.25 * max(np.log(n), float(loss.max())))
    bottom.set_title("Loss of the anchor")
    bottom.set_xlabel("temperature τ     (left: cold and strict; right: hot and even)")
    for panel in (top, bottom):
        panel.set_xscale("log")
        panel.set_xlim(taus[0], taus[-1])
        panel.set_xticks(_TICKS, [f"{tau:g}" for tau in _TICKS])
        panel.minorticks_off()
        panel.grid(axis="y")
        if chosen is not None:
            panel.axvline(chosen, color=INK, linewidth=1)
    if chosen is not None:
        bottom.text(
            chosen * 1.04, 0.97, f"τ = {chosen:g}", transform=bottom.get_xaxis_transform(), va="top", fontsize=8.5
        )


def dropout_cloud(clouds: Mapping[float, Floats], names: Sequence[str], curve: Mapping[str, Sequence[float]]) -> Figure:
    """Draw views of at most seven sentences under several dropout probabilities, and below what happens to p and n.

    ``clouds`` are probability → (V, S, 2) points in one plane; ``curve`` has ``probability``, ``p`` and ``n``.
    """
    colours = looks(names, "sentences")
    points = finite(np.concatenate([np.empty((0, 2)), *(c.reshape(-1, 2) for c in clouds.values())]), "points")
    for key in ("probability", "p", "n"):
        finite(curve[key], f"values of {key}")
    with styled():
        fig = Figure(figsize=(8.2, 5.8), layout="constrained")
        grid = fig.add_gridspec(2, len(clouds), height_ratios=(1.25, 1))
        panels = [fig.add_subplot(grid[0, k]) for k in range(len(clouds))]
        low, high = points.min(axis=0), points.max(axis=0)
        pad = 0.06 * (high - low)
        for panel, (probability, cloud) in zip(panels, clouds.items(), strict=True):
            for s, (name, (colour, _, marker)) in enumerate(zip(names, colours, strict=True)):
                panel.scatter(
                    cloud[:, s, 0], cloud[:, s, 1], s=16, marker=marker, color=colour, alpha=0.65,
                    edgecolor="white", linewidth=0.3, label=one_line(name),
                )  # fmt: skip
            panel.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(True)
            panel.set_title(f"dropout {probability:g}", fontsize=10)
        below = fig.add_subplot(grid[1, :])
        _dropout_curve(below, curve)
        handles, texts = panels[0].get_legend_handles_labels()
        below.legend(
            handles, texts, loc="lower left", bbox_to_anchor=(0.0, 0.0), fontsize=7.5, frameon=False,
            title="sentences above", title_fontsize=7.5, alignment="left", markerscale=1.3,
        )  # fmt: skip
    p, n = curve["p"], curve["n"]
    fig.set_label(
        f"Above, clouds of dropout views of {len(names)} sentences at dropout "
        f"{', '.join(f'{x:g}' for x in clouds)}: they grow and begin to overlap. Below, over dropout from "
        f"{curve['probability'][0]:g} to {curve['probability'][-1]:g}, the mean similarity to the positive goes from "
        f"{p[0]:.2f} to {p[-1]:.2f}, to the hardest negative from {n[0]:.2f} to {n[-1]:.2f}."
    )
    return fig


def dropout_parts(
    found: Sequence[DropoutViews], names: Sequence[str], shown: int = 5, panels: Sequence[float] = (0.1, 0.3, 0.5)
) -> tuple[dict[float, Floats], list[str], dict[str, list[float]]]:
    """Arguments of `dropout_cloud` from those of `hncse.demonstrations.dropout_views`: the first ``shown`` sentences.

    ``panels`` get a cloud of their own, where they were tried; else the first three probabilities above 0.
    """
    from hncse.demonstrations import flat

    wanted = [each for each in found if each.probability in panels] or [e for e in found if e.probability > 0][:3]
    points = flat([each.views[:, :shown] for each in wanted])
    clouds = {each.probability: cloud for each, cloud in zip(wanted, points, strict=True)}
    curve = {
        "probability": [each.probability for each in found],
        "p": [each.positive for each in found],
        "n": [each.hardest for each in found],
    }
    return clouds, list(names[:shown]), curve


def _dropout_curve(axes: Axes, curve: Mapping[str, Sequence[float]]) -> None:
    x = curve["probability"]
    axes.plot(x, curve["p"], "-o", color=OKABE_ITO["blue"], markersize=5, clip_on=False)
    axes.plot(x, curve["n"], "--s", color=OKABE_ITO["vermillion"], markersize=5, clip_on=False)
    axes.set(xlim=(min(x), max(x)), ylim=(min(0.0, *curve["n"]), 1.02))
    axes.set(xlabel="dropout probability", ylabel="mean cosine")
    axes.grid(axis="y")
    axes.set_title("Similarity to the positive, p, and to the hardest negative, n", fontsize=10)
    ends = [(curve["p"][-1], "p", OKABE_ITO["blue"]), (curve["n"][-1], "n", OKABE_ITO["vermillion"])]
    label_right(axes, ends, size=10)


def alignment_uniformity(paths: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw at most seven trainings, name → (alignment, uniformity) over moments, as paths; lower is better in both."""
    finite([value for path in paths.values() for half in path for value in half], "alignments and uniformities")
    with styled():
        fig, (axes,) = figure(8.2, 4.6)
        for (name, (up, across)), (colour, line, marker) in zip(
            paths.items(), looks(list(paths), "trainings"), strict=True
        ):
            axes.plot(
                across, up, line, marker=marker, color=colour, markersize=6, markeredgecolor="white",
                markeredgewidth=0.6, label=one_line(name),
            )  # fmt: skip
        first_up, first_across = next(iter(paths.values()))
        axes.plot(first_across[0], first_up[0], "*", color=INK, markersize=15, markeredgecolor="white", zorder=5)
        axes.annotate(
            "start", (first_across[0], first_up[0]), xytext=(9, 5), textcoords="offset points", fontweight="bold"
        )
        axes.margins(0.08)
        axes.grid()
        axes.set(xlabel="uniformity  (left: spread out; 0: all in one place)")
        axes.set(ylabel="alignment  (below: positives near)", title="Where each training goes, step by step")
        axes.legend(frameon=False, fontsize=9, handlelength=3.2)
    ends = "; ".join(
        f"{name}: alignment {up[0]:.2f} to {up[-1]:.2f}, uniformity {across[0]:.2f} to {across[-1]:.2f}"
        for name, (up, across) in paths.items()
    )
    fig.set_label(f"Paths of {len(paths)} trainings in the plane of uniformity and alignment. {ends}.")
    return fig


def anisotropy(cosines: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw, for several encoders, the cosines of random pairs and of paraphrases: one histogram above the other."""
    if not cosines:
        raise HncseError("there are no encoders to draw")
    data = {k: (finite(a, f"cosines of {k!r}"), finite(b, f"cosines of {k!r}")) for k, (a, b) in cosines.items()}
    low = min(-0.2, *(float(a.min()) for a, _ in data.values()))
    bins = np.linspace(low, 1.0, 49)
    with styled():
        fig, panels = figure(8.2, 1.55 * len(data) + 0.6, rows=len(data), sharex=True)
        for panel, (name, (random, near)) in zip(panels, data.items(), strict=True):
            for values, colour, filled in ((random, "vermillion", True), (near, "blue", False)):
                share = 100 * np.histogram(values, bins)[0] / len(values)
                panel.stairs(
                    share, bins, fill=filled, color=OKABE_ITO[colour], alpha=0.55 if filled else 1, linewidth=1.8
                )
                panel.axvline(float(np.mean(values)), color=OKABE_ITO[colour], linestyle="--", linewidth=1.4)
            panel.set_title(
                f"{one_line(name)}: random pairs {random.mean():.2f}, paraphrases {near.mean():.2f}", fontsize=10
            )
            panel.set_ylabel("% of pairs")
            panel.grid(axis="y")
        panels[-1].set_xlabel("cosine  (filled: random pairs; outlined: paraphrases; dashed: their means)")
    fig.set_label(
        "Histograms of cosines, random pairs against paraphrases. Means: "
        + "; ".join(f"{name}: {a.mean():.2f} against {b.mean():.2f}" for name, (a, b) in data.items())
        + "."
    )
    return fig


def corpus_lengths(lengths: Sequence[int], max_length: int) -> Figure:
    """Draw how long sentences are, in tokens (special ones included), and where training cuts them."""
    tokens = np.asarray(lengths)
    if not len(tokens):
        raise HncseError("there are no sentences to draw")
    cut = 100 * float(np.mean(tokens > max_length))
    last = int(max(max_length + 4, np.quantile(tokens, 0.99)))
    bins = np.arange(1, last + 2) - 0.5
    share = 100 * np.histogram(np.minimum(tokens, last), bins)[0] / len(tokens)
    with styled():
        fig, (axes,) = figure(8.2, 3.0)
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
    fig.set_label(
        f"Histogram of sentence lengths in tokens: median {np.median(tokens):.0f}, longest {tokens.max()}; "
        f"{cut:.1f} % are longer than {max_length} and are cut."
    )
    return fig


def losses_compared(
    loss: Mapping[str, Sequence[float]], steps: Mapping[str, Sequence[int]], score: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:  # fmt: skip
    """Draw short trainings side by side: each one's loss, and what no loss sees, the probe.

    By name: the ``loss`` of every step; the ``steps`` after which the probe was asked and its ``score`` (Spearman ×
    100) there; the 95 % interval of the last score, drawn, and never zoomed away.
    """
    for name in loss:
        finite(loss[name], f"values of the loss {name!r}")
        finite(score[name], f"scores of {name!r}")
    named = zip(loss.items(), looks(list(loss), "losses"), strict=True)
    with styled():
        fig = Figure(figsize=(8.2, 1.7 * max(2, len(loss)) + 0.3), layout="constrained")
        grid = fig.add_gridspec(len(loss), 2)
        right = fig.add_subplot(grid[:, 1])
        for place, ((name, values), (shade, line, marker)) in enumerate(named):
            left = fig.add_subplot(grid[place, 0])
            left.plot(np.arange(1, len(values) + 1), values, line, color=shade)
            left.set_title(f"{one_line(name)}: its loss", fontsize=10)
            left.grid(axis="y")
            left.margins(y=0.15)
            right.plot(steps[name], score[name], line, marker=marker, color=shade, markersize=6, label=one_line(name))
            if intervals and name in intervals:
                end = steps[name][-1] + 0.25 * (place - (len(loss) - 1) / 2)
                right.plot([end, end], intervals[name], color=shade, linewidth=5, alpha=0.35, solid_capstyle="butt")
        left.set_xlabel("step")
        ends = np.concatenate([*score.values(), *(intervals or {}).values()])
        right.set(ylim=score_limits(ends, room=0.25), xlabel="step", ylabel="Spearman × 100")
        right.set_title("Probe, and its 95 % intervals" if intervals else "Probe: the same to all", fontsize=10)
        right.grid(axis="y")
        right.legend(frameon=False, fontsize=9, handlelength=3.2, loc="lower right")
    said = "; ".join(
        f"{name}: loss {values[0]:.2f} to {values[-1]:.2f}, probe {score[name][0]:.1f} to {score[name][-1]:.1f}"
        for name, values in loss.items()
    )
    fig.set_label(f"Two panels over training steps, loss and probe, for {len(loss)} losses. {said}.")
    return fig
