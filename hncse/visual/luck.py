"""Pictures of luck: runs of one method that differ by their seeds alone (notebook 07a).

Drawn from the 200 published runs of `hncse.evaluation.literature` and from the results that come with the kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.evaluation import literature, results, statistics
from hncse.visual.differences import ablations, effects, forest
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, styled

__all__ = [
    "best_of_figure",
    "chance_figure",
    "chance_sliders",
    "effects",
    "forest",
    "gallery_figures",
    "power_figure",
    "seed_runs",
    "seeds_figure",
]

_LOOKS = {  # backbone of the seed study: colour, marker, line style, name
    "bert-base-uncased": (OKABE_ITO["blue"], "o", "-", "BERT-base"),
    "bert-large-uncased": (OKABE_ITO["vermillion"], "s", "--", "BERT-large"),
    "roberta-base": (OKABE_ITO["green"], "^", "-.", "RoBERTa-base"),
    "roberta-large": (OKABE_ITO["purple"], "D", ":", "RoBERTa-large"),
}
#: What SimCSE's paper prints (literature/sts.csv: "SimCSE (unsup)").
_PUBLISHED = {"bert-base-uncased": "bert-base", "bert-large-uncased": "bert-large"}
_DRAWN = 20_000


def seed_runs() -> dict[str, list[float]]:
    """Average STS of the 200 published runs: backbone → 50 scores, Spearman × 100, test, one a seed."""
    table = literature.load("seed_runs")
    return {name: rows["avg"].tolist() for name, rows in table.groupby("backbone")}


def seeds_figure() -> Figure:
    """Draw the 200 runs of one method, a dot a seed, and what its paper printed."""
    runs, printed = seed_runs(), _printed()
    names = [name for name in _LOOKS if name in runs]
    with styled():
        made, (axes,) = figure(8.2, 3.6)
        for place, name in enumerate(names):
            colour, marker, _, _ = _LOOKS[name]
            axes.plot(runs[name], place + _swarm(runs[name]), marker, color=colour, markersize=4.5, alpha=0.75)
            if name in printed:
                axes.plot([printed[name]] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=1.6)
        axes.plot([], [], color=INK, linewidth=1.6, label="printed in SimCSE's paper")
        axes.legend(loc="upper left", frameon=False)
        axes.set_yticks(range(len(names)), [_LOOKS[name][3] for name in names])
        axes.set_ylim(len(names) - 0.4, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("average of the seven STS tasks, test split, Spearman × 100; a dot is a seed")
    parts = []
    for name in names:
        scores = np.array(runs[name])
        text = f"{_LOOKS[name][3]} {scores.min():.2f} to {scores.max():.2f}, sd {scores.std(ddof=1):.2f}"
        parts.append(text + (f", printed {printed[name]:.2f}" if name in printed else ""))
    made.set_label("Dots of 50 seeds for each of four backbones, all trained alike. " + "; ".join(parts) + ".")
    return made


def chance_figure(scores: Sequence[float], counts: Sequence[int] = (1, 3, 5, 12), effect: float = 1.0) -> Figure:
    """Draw how far two means of k runs of one method lie apart, though nothing sets them apart.

    Args:
        scores: One a seed, all of one method.
        counts: k, a panel each.
        effect: Differences at least so large are marked.

    Raises:
        HncseError: Fewer than 2k scores.
    """
    with styled():
        made, panels = figure(max(4.6, 2.5 * len(counts)), 2.9, 1, len(counts), sharex=True, sharey=True)
        shares = []
        for axes, k in zip(panels, counts, strict=True):
            shares.append(statistics.luck(scores, effect, k))
            _chance_panel(axes, _differences(scores, k), effect, k, shares[-1])
        panels[0].set_ylabel("share of pairs, %")
    parts = ", ".join(f"{k} seed{'s' if k > 1 else ''} {100 * s:.1f} %" for k, s in zip(counts, shares, strict=True))
    made.set_label(
        f"Histograms of the difference between two means of k runs of one method. At least {effect:g} points apart: "
        f"{parts}."
    )
    return made


def chance_sliders(scores: Sequence[float], k: int = 1, effect: float = 1.0) -> Any:
    """`chance_figure` under two sliders, seeds and effect; for a live notebook.

    Args:
        scores: As in `chance_figure`.
        k: Where the first slider begins.
        effect: Where the second does.

    Returns:
        A widget to display.
    """
    import ipywidgets as widgets

    from hncse.visual.style import png

    seeds = widgets.IntSlider(k, 1, min(25, len(scores) // 2), description="seeds each", continuous_update=False)
    points = widgets.FloatSlider(effect, min=0.1, max=3.0, step=0.1, description="effect", continuous_update=False)
    shown = widgets.Image(format="png", width=460)

    def draw(*_: object) -> None:
        picture = chance_figure(scores, [seeds.value], points.value)
        shown.value, shown.alt = png(picture), picture.get_label()

    for slider in (seeds, points):
        slider.observe(draw, "value")
    draw()
    return widgets.VBox([widgets.HBox([seeds, points]), shown])


def best_of_figure(most: int = 10) -> Figure:
    """Draw what printing the best of k runs gains, for the four backbones of the seed study.

    Args:
        most: Largest k.
    """
    counts = list(range(1, most + 1))
    gains = {name: [statistics.best_of(scores, k) for k in counts] for name, scores in seed_runs().items()}
    with styled():
        made, (axes,) = figure(7.2, 3.4)
        for name, (colour, marker, style, shown) in _LOOKS.items():
            if name in gains:
                axes.plot(counts, gains[name], style, marker=marker, color=colour, markersize=5, label=shown)
        axes.set_xticks(counts)
        axes.set_xlabel("k: seeds tried, of which the best one is printed")
        axes.set_ylabel("points gained, on average")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.legend(frameon=False)
    ends = "; ".join(
        f"{_LOOKS[n][3]} {gains[n][min(4, most - 1)]:.2f} for 5, {gains[n][-1]:.2f} for {most}" for n in gains
    )
    made.set_label(f"Gain from printing the best of k seeds, rising from 0 at k = 1. {ends}.")
    return made


def power_figure(sd: float, effects_seen: Sequence[float] = (0.25, 0.5, 1.0, 2.0), most: int = 40) -> Figure:
    """Draw the chance that a t-test sees a difference, against the number of seeds.

    Args:
        sd: Over seeds within a method.
        effects_seen: True differences, a line each (four at most).
        most: Largest number of seeds in each arm.
    """
    counts = list(range(2, most + 1))
    looks = list(_LOOKS.values())
    ends = []
    with styled():
        made, (axes,) = figure(7.2, 3.6)
        for effect, (colour, marker, style, _) in zip(effects_seen, looks, strict=False):
            chances = [100 * statistics.power(effect, sd, n) for n in counts]
            axes.plot(
                counts, chances, style, color=colour, marker=marker, markevery=4, markersize=5, label=f"{effect:g}"
            )
            needed = statistics.seeds_needed(effect, sd)
            ends.append(f"{effect:g} points: {needed} seeds")
        axes.axhline(80, color=MUTED, linewidth=1)
        axes.annotate(
            "80 %", (most, 80), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8, color=MUTED
        )
        axes.set_xlim(1, most)
        axes.set_ylim(0, 101)
        axes.grid(axis="y")
        axes.set_xlabel(f"seeds for each method (sd over seeds {sd:.2f})")
        axes.set_ylabel("chance to see it, %")
        axes.legend(title="true difference", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    made.set_label(f"Power of a two-sided t-test at 5 % for sd {sd:.2f}. For 80 % power, {'; '.join(ends)}.")
    return made


def gallery_figures() -> dict[str, Figure]:
    """Every picture of notebooks 07a to 07c that is drawn from committed files alone: name → figure."""
    scores = seed_runs()["bert-base-uncased"]
    knobs = statistics.curves(results.recorded("ablation"))
    return {
        "luck_seeds": seeds_figure(),
        "luck_chance": chance_figure(scores),
        "luck_best_of": best_of_figure(),
        "luck_power": power_figure(float(np.std(scores, ddof=1))),
        "verdicts": forest(effects(results.recorded("sweep"), measures=("sts",))),
        "sweep_differences": forest(effects(results.recorded("sweep"))),
        "ablation": ablations(knobs, "STS-B dev, Spearman × 100"),
    } | _of_the_kit()


def _of_the_kit() -> dict[str, Figure]:
    """Pictures of batches: the embedded encoder on the embedded probe's anchors, the first 64 where one will do."""
    from hncse import SentenceEncoder
    from hncse.data import probe
    from hncse.evaluation import defects, temperature
    from hncse.visual import defects as drawn

    encoder = SentenceEncoder.from_pretrained("kit", device="cpu")
    anchors = [group.anchor for group in probe.load()]
    views = defects.raw_views(encoder, anchors[:64])
    batches = temperature.batches(encoder, anchors)
    terms = defects.search_terms(*defects.shift(*views, defects.STRENGTHS[-2]))
    rows = [defects.compare(*defects.shift(*views, strength), defects.PRESETS) for strength in defects.STRENGTHS]
    return {
        "search_terms": drawn.search_figure(terms),
        "anisotropy": drawn.anisotropy_figure(defects.STRENGTHS, rows),
        "mask_of_zero": drawn.mask_figure(defects.masks_of_zero(*views)),
        "colder_softmax": drawn.colder_figure(temperature.matches(batches, "hnm-no-replacement", temperature.TAUS)),
    }


def _printed() -> dict[str, float]:
    """SimCSE's own figures for the backbones of the seed study."""
    table = literature.load("sts")
    rows = table[table["method"] == "SimCSE (unsup)"].set_index("backbone")["avg"]
    names = {name: _PUBLISHED.get(name, name) for name in _LOOKS}
    return {name: float(rows[short]) for name, short in names.items() if short in rows.index}


def _swarm(values: Sequence[float], step: float = 0.13) -> NDArray[np.float64]:
    """Vertical shifts (n,) that keep dots of one line apart: nearly equal values step away from the middle."""
    order, shifts = np.argsort(values), np.zeros(len(values))
    width = 0.02 * (np.ptp(values) or 1)
    run: list[int] = []
    for i in order:
        if run and values[i] - values[run[0]] > width:
            run = []
        run.append(int(i))
        level = (len(run)) // 2 * (1 if len(run) % 2 else -1)
        shifts[i] = np.clip(level * step, -0.4, 0.4)
    return shifts


def _differences(scores: Sequence[float], k: int) -> NDArray[np.float64]:
    """Differences of two means of k runs: all of them for k = 1, else many draws (always the same)."""
    values = np.asarray(scores)
    if len(values) < 2 * k:
        raise HncseError(f"{len(values)} scores are too few for two means of {k}")
    if k == 1:
        pairs = np.array(list(combinations(values, 2)))
        gaps = pairs[:, 0] - pairs[:, 1]
        return np.concatenate([gaps, -gaps])
    order = np.random.default_rng(0).random((_DRAWN, len(values))).argsort(axis=1)[:, : 2 * k]
    drawn = values[order]  # (draws, 2k)
    return drawn[:, :k].mean(axis=1) - drawn[:, k:].mean(axis=1)


def _chance_panel(axes: Axes, gaps: NDArray[np.float64], effect: float, k: int, share: float) -> None:
    edges = np.arange(-3.9, 4.0, 0.2)
    counts, _ = np.histogram(gaps, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    far = np.abs(middle) >= effect - 1e-9
    height = 100 * counts / len(gaps)
    axes.bar(middle[~far], height[~far], 0.18, color=MUTED, alpha=0.55)
    axes.bar(middle[far], height[far], 0.18, color=OKABE_ITO["vermillion"], hatch="///", edgecolor="white", linewidth=0)
    axes.set_title(f"{k} seed{'s' if k > 1 else ''} each", fontsize=10)
    axes.annotate(
        f"{effect:g} or more:\n{100 * share:.1f} %", (0.97, 0.95), xycoords="axes fraction", ha="right", va="top",
        fontsize=9, color=OKABE_ITO["vermillion"], fontweight="bold",
    )  # fmt: skip
    axes.set_xlabel("difference, points")
    axes.set_xlim(-3.9, 3.9)
