"""The pictures of training and of hard negatives.

How the loss fell, which cases fired, where the decision boundary cut before and after, what guards let through, which
phenomena an encoder sees. Every function takes plain results (a run, a plane of similarities, a table) and returns a
matplotlib Figure whose ``get_label()`` says in words what it shows; display it with `show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.presets import LossOptions
from hncse.runs import Run
from hncse.visual.film import cases
from hncse.visual.leaderboard import dev_and_test, sts_figure, transfer_figure
from hncse.visual.style import (
    CASE_COLOURS,
    INK,
    MUTED,
    OKABE_ITO,
    figure,
    finite,
    label_right,
    one_line,
    save,
    score_limits,
    show,
    styled,
)

__all__ = [
    "case_fractions", "cases", "dev_and_test", "guard_curves", "margins", "phenomena", "save", "show",
    "similarity_plane", "sts_figure", "training_curve", "transfer_figure",
]  # fmt: skip

Plane = Mapping[str, NDArray[Any]]
CASE_NAMES = {"B": "B: safe", "A": "A: near the boundary", "C": "C: on the wrong side"}
_PAPER = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
_MARKERS = {"B": "o", "A": "^", "C": "X"}
BAND = LossOptions().band  # of case A, where no run says otherwise


def training_curve(run: Run) -> Figure:
    """Draw the loss over steps and, below it, the scores of the evaluations; the run may still be training."""
    loss = _series(run, "loss")
    scores = {name: _series(run, key) for key, name in (("probe", "probe"), ("stsb_dev", "STS-B dev"))}
    scores = {name: points for name, points in scores.items() if len(points[0])}
    if not len(loss[0]) and not scores:
        raise HncseError(f"run {run.name!r} has no logged steps to draw")
    with styled():
        rows = 1 + bool(scores)
        fig, axes = figure(8.2, 2.6 * rows + 0.3, rows=rows, sharex=True)
        _line(axes[0], *loss, OKABE_ITO["black"], "-", ".")
        axes[0].set_title("Training loss")
        axes[0].set_ylabel("loss")
        if scores:
            _score_panel(axes[1], scores, run.result.get("kept_step") if run.finished else None, _probe_interval(run))
        for panel in axes:
            panel.grid(axis="y")
            panel.margins(y=0.12)
        _step_axis(axes[-1])
        axes[-1].set_xlim(0, max(1, *(series[0][-1] for series in (loss, *scores.values()) if len(series[0]))))
    fig.set_label("Lines over training steps. " + " ".join(_change(*s) for s in [("Loss", loss), *scores.items()]))
    return fig


def _probe_interval(run: Run) -> list[float] | None:
    """The 95 % interval of the probe's score, where the run has been judged."""
    if not (run.path / "probe.json").is_file():
        return None
    return run.read("probe").get("spearman_interval")


def _score_panel(
    axes: Axes, scores: dict[str, tuple[NDArray[Any], NDArray[Any]]], kept: int | None,
    interval: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """Scores over steps, on an axis that is never finer than what the probe's interval can tell apart."""
    looks = {"probe": (OKABE_ITO["vermillion"], "--", "s"), "STS-B dev": (OKABE_ITO["blue"], "-", "o")}
    for name, points in scores.items():
        _line(axes, *points, *looks[name])
    values = np.concatenate([y for _, y in scores.values()])
    if interval and "probe" in scores:
        place = kept if kept is not None else scores["probe"][0][-1]
        wide: dict[str, Any] = {"linewidth": 6, "alpha": 0.3, "solid_capstyle": "butt", "clip_on": False}
        axes.plot([place, place], interval, color=looks["probe"][0], **wide)
        axes.annotate("95 % interval", (place, interval[0]), xytext=(-4, -2), textcoords="offset points", ha="right",
                      va="top", fontsize=8, color=looks["probe"][0])  # fmt: skip
        values = np.concatenate([values, interval])
    axes.set_ylim(*score_limits(values))
    axes.set_title("Evaluation while training")
    axes.set_ylabel("Spearman × 100")
    if kept is not None:
        axes.axvline(kept, color=MUTED, linewidth=1, linestyle=":")
        late = kept > 0.5 * max(x[-1] for x, _ in scores.values())
        axes.annotate(
            f"weights kept: step {kept}", (kept, 0), xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, 4), textcoords="offset points", ha="right" if late else "left",
            va="bottom", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    label_right(axes, [(float(y[-1]), name, looks[name][0]) for name, (_, y) in scores.items()])


def case_fractions(runs: Run | Mapping[str, Run]) -> Figure:
    """Draw the shares of anchors in HNCSE's cases A, B and C over training, stacked to 100 %.

    Args:
        runs: One, or several with their names, side by side.

    Raises:
        HncseError: A run's history holds no cases.
    """
    named = {"How close to the decision boundary were the anchors?": runs} if isinstance(runs, Run) else runs
    told = []
    with styled():
        fig, panels = figure(8.2, 3.4, columns=len(named), sharey=True)
        for axes, (title, run) in zip(panels, named.items(), strict=True):
            shares = _case_areas(axes, run, CASE_NAMES if len(named) == 1 else {case: case for case in "ABC"})
            axes.set_title(title)
            ends = ", ".join(f"{CASE_NAMES[c]} {shares[c][0]:.0f} % to {shares[c][-1]:.0f} %" for c in "ABC")
            told.append(ends if len(named) == 1 else f"{title}: {ends}")
        panels[0].set_ylabel("% of anchors")
    fig.set_label(f"Stacked areas over training steps; from the first to the last: {'; '.join(told)}.")
    return fig


def _case_areas(axes: Axes, run: Run, names: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Fill one panel; returns each case's % at the logged steps."""
    steps, _ = _series(run, "case_a")
    shares = {case: 100 * _series(run, f"case_{case.lower()}")[1] for case in "CAB"}  # bottom to top
    if not len(steps):
        raise HncseError(f"run {run.name!r} has logged no cases A, B, C: it was shorter than log_every; lower that")
    if len(steps) == 1:  # one point makes no area
        steps = np.array([0, steps[0]])
        shares = {case: np.repeat(y, 2) for case, y in shares.items()}
    tops = np.cumsum(list(shares.values()), axis=0)  # (3, steps)
    bottoms = tops - np.array(list(shares.values()))
    axes.set_xlim(steps[0], steps[-1])
    axes.set_ylim(0, 100)
    for case, low, high in zip(shares, bottoms, tops, strict=True):
        axes.fill_between(steps, low, high, color=CASE_COLOURS[case], edgecolor="white", linewidth=1.2)
    _name_areas(axes, steps, bottoms, tops, names)
    _step_axis(axes)
    return shares


def _name_areas(
    axes: Axes, steps: NDArray[Any], bottoms: NDArray[Any], tops: NDArray[Any], names: Mapping[str, str]
) -> None:
    """Write each area's name into it where it fits, else beside its right end."""
    outside = []
    for case, low, high in zip("CAB", bottoms, tops, strict=True):
        name, ink = names[case], "black" if case == "A" else "white"
        place = _room(steps, low, high, width=0.016 * len(name))
        if place is None:
            outside.append((float((low[-1] + high[-1]) / 2), name, INK, CASE_COLOURS[case]))
        else:
            axes.text(*place, name, color=ink, ha="center", va="center", fontweight="bold")
    label_right(axes, [end[:3] for end in outside], swatches=[end[3] for end in outside])


def _room(steps: NDArray[Any], low: NDArray[Any], high: NDArray[Any], width: float) -> tuple[float, float] | None:
    """Centre of the roomiest place in an area for a label of ``width`` (share of the axis), or None."""
    span = float(np.ptp(steps))
    grid = np.linspace(steps[0], steps[-1], 201)  # areas are read where labels go, not where steps were logged
    low, high = np.interp(grid, steps, low), np.interp(grid, steps, high)
    best, place = 7.0, None  # a line of text is about 7 % high
    for centre in np.linspace(steps[0] + (width / 2 + 0.02) * span, steps[-1] - (width / 2 + 0.02) * span, 41):
        under = np.abs(grid - centre) <= width / 2 * span
        floor, ceiling = low[under].max(), high[under].min()
        if ceiling - floor > best + 0.5:  # of places that are alike the first
            best, place = ceiling - floor, (float(centre), float(floor + ceiling) / 2)
    return place


def similarity_plane(before: Plane, after: Plane | None = None, band: float = BAND) -> Figure:
    """Draw every probe group as a point, hardest negative against positive, before and (unless None) after training.

    The planes are from `hncse.evaluation.probe.similarity_plane` or ``plane_of_embeddings``; ``band`` is the width of
    case A; a run's own is ``run.loss_options.band``.
    """
    titles = {"Before training": before, "After training": after} if after is not None else {"": before}
    keys = ("hardest_negative", "positive")
    planes = {title: {key: finite(p[key], "cosines") for key in keys} for title, p in titles.items()}
    values = np.concatenate([cosine for plane in planes.values() for cosine in plane.values()])
    with styled():
        fig, panels = figure(8.2 if after is not None else 4.7, 4.7, columns=len(planes), sharex=True, sharey=True)
        low = min(0.8, np.floor(10 * float(values.min()) - 0.2) / 10)
        for panel, (title, plane) in zip(panels, planes.items(), strict=True):
            _plane_panel(panel, plane, title, low, band)
        panels[0].set_ylabel("similarity to the positive, p")
    said = [f"{title.removesuffix(' training') or 'Now'}, {_shares(p, band)}." for title, p in planes.items()]
    what = "Two scatter plots of the probe's groups" if after is not None else "Scatter plot of anchors"
    fig.set_label(f"{what}, hardest negative across, positive up, with the line p = n. {' '.join(said)}")
    return fig


def _plane_panel(axes: Axes, plane: Plane, title: str, low: float, band: float) -> None:
    n, p = plane["hardest_negative"], plane["positive"]  # (G,) each
    case = cases(p, n, band)
    ends = np.array([low, 1.02])
    _shade_case_a(axes, low, band)
    axes.plot(ends, ends, color=INK, linewidth=1.2)
    names = {"B": (0.03, 0.97, "left", "top"), "C": (0.97, 0.03, "right", "bottom")}
    for name, (x, y, ha, va) in names.items():
        axes.text(
            x, y, CASE_NAMES[name], transform=axes.transAxes, ha=ha, va=va, color=CASE_COLOURS[name],
            fontsize=9.5, fontweight="bold", zorder=3, bbox=_PAPER,
        )  # fmt: skip
    for name in "BAC":
        at = case == name
        axes.scatter(
            n[at], p[at], s=22, marker=_MARKERS[name], color=CASE_COLOURS[name], alpha=0.75,
            edgecolor="white", linewidth=0.4, label=name,
        )  # fmt: skip
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="similarity to the hardest negative, n")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.text(
        0.15, 0.11, "decision boundary p = n", transform=axes.transAxes, rotation=45, rotation_mode="anchor",
        va="center", fontsize=8.5, color=INK,
    )  # fmt: skip
    axes.set_title(f"{title}\n", loc="left")
    axes.text(0, 1.02, _shares(plane, band), transform=axes.transAxes, fontsize=9.5, color=INK, va="bottom")


def _shade_case_a(axes: Axes, low: float, band: float) -> None:
    """Shade p > n ≥ (1 - band)·p; from a band of 1 on this reaches up to the frame, and left of n = 0."""
    look: dict[str, Any] = {"color": CASE_COLOURS["A"], "alpha": 0.22, "linewidth": 0}
    edge = np.linspace(max(low, 0), 1.02, 50)
    axes.fill_between(edge, edge, edge / (1 - band) if band < 1 else 2.0, **look)
    if band > 1 and low < 0:
        left = np.linspace(low, 0, 50)
        axes.fill_between(left, left / (1 - band), 2.0, **look)


def _shares(plane: Plane, band: float) -> str:
    case = cases(plane["positive"], plane["hardest_negative"], band)
    share = {name: f"{100 * np.mean(case == name):.0f} %" for name in "ABC"}
    return f"A, near the boundary (shaded): {share['A']},  B: {share['B']},  C: {share['C']}"


def margins(before: Plane, after: Plane) -> Figure:
    """Draw how far ahead the positives are, p - n over the probe's groups, before and after training."""
    both = [finite(p["positive"], "cosines") - finite(p["hardest_negative"], "cosines") for p in (before, after)]
    low, high = min(m.min() for m in both), max(m.max() for m in both)
    width = max((high - low) / 36, 1e-5)
    ends = min(np.floor(low / width - 1e-9), -6), max(np.ceil(high / width + 1e-9), 6)  # room for words on both sides
    with styled():
        fig, panels = figure(8.2, 4.2, rows=2, sharex=True, sharey=True)
        bins = width * np.arange(ends[0], ends[1] + 1)  # 0 is an edge: no bar is on both sides of the boundary
        for panel, margin, title in zip(panels, both, ("Before training", "After training"), strict=True):
            _margin_panel(panel, margin, bins, title)
        panels[1].set_xlabel("margin p - n   (right of 0: the positive is nearer than every hard negative)")
    ahead = [100 * np.mean(margin > 0) for margin in both]
    fig.set_label(
        f"Two histograms of the probe groups' margins. The positive is ahead in {ahead[0]:.0f} % of groups before "
        f"training, in {ahead[1]:.0f} % after; the median margin goes from {np.median(both[0]):+.3f} to "
        f"{np.median(both[1]):+.3f}."
    )
    return fig


def _margin_panel(axes: Axes, margin: NDArray[np.float64], bins: NDArray[np.float64], title: str) -> None:
    share = 100 * np.histogram(margin, bins)[0] / len(margin)
    colours = [CASE_COLOURS["C"] if right <= 0 else CASE_COLOURS["B"] for right in bins[1:]]
    axes.bar(bins[:-1], share, width=np.diff(bins), align="edge", color=colours, edgecolor="white", linewidth=0.6)
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set_title(title)
    axes.set_ylabel("% of groups")
    axes.margins(y=0.2)
    ahead = 100 * np.mean(margin > 0)
    for x, side, text, case in (
        (0.99, "right", f"ahead: {ahead:.0f} %", "B"),
        (0.01, "left", f"behind: {100 - ahead:.0f} %", "C"),
    ):
        look: dict[str, Any] = {"ha": side, "va": "top", "color": CASE_COLOURS[case], "fontweight": "bold"}
        axes.text(x, 0.93, text, transform=axes.transAxes, **look)


def _series(run: Run, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of one quantity: (n,) each, finite ones only."""
    points = [(line["step"], line[key]) for line in run.history if isinstance(line.get(key), (int, float))]
    table = np.array(points, dtype=float).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    return table[:, 0], table[:, 1]


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _change(name: str, points: tuple[NDArray[Any], NDArray[Any]]) -> str:
    if not len(points[0]):
        return f"{name}: nothing logged."
    return f"{name}: {points[1][0]:.4g} at step {points[0][0]:.0f}, {points[1][-1]:.4g} at step {points[0][-1]:.0f}."


def _line(axes: Axes, x: NDArray[Any], y: NDArray[Any], colour: str, style: str, marker: str) -> None:
    if len(x):
        axes.plot(x, y, style, color=colour, marker=marker if len(x) < 40 else None, markersize=5, clip_on=False)


_LOOKS = {  # guard, by the name that tables print → colour, shape, line: any of the three tells them apart
    "max_similarity": (OKABE_ITO["blue"], "o", "-"),
    "calibrated": (OKABE_ITO["vermillion"], "D", "--"),
    "skip": (OKABE_ITO["orange"], "s", "-."),
    "word_overlap": (OKABE_ITO["green"], "^", ":"),
    "character_overlap": (OKABE_ITO["purple"], "v", ":"),
    "min_similarity": (OKABE_ITO["black"], "P", "-"),
}
_SERIES = (  # encoders in a phenomena picture
    (OKABE_ITO["orange"], "^"), (OKABE_ITO["blue"], "o"), (OKABE_ITO["green"], "s"), (OKABE_ITO["vermillion"], "D"),
)  # fmt: skip


#: What is changed in a hard negative of each phenomenon, by an example of the edit (hncse/data/PROBE.md).
EXAMPLES = {
    "negation": "has agreed / has not agreed", "antonym": "upheld / lifted", "role_swap": "A sued B / B sued A",
    "number": "six months / six years", "quantifier": "some / all", "entity": "in April / in October",
    "time_order": "before / after", "cause_reversed": "X because Y / Y because X",
    "comparison_reversed": "taller than / shorter than", "place_preposition": "below the falls / above the falls",
    "modality": "must / may", "hypernym_narrowing": "the vaccine / some medicine",
}  # fmt: skip


def guard_curves(result: Mapping[str, Any]) -> Figure:
    """Draw, for every guard of ``hncse.evaluation.audit.audit``, how safe it is against the hard negatives it keeps."""
    from hncse.evaluation.audit import SAFE, YIELD

    with styled():
        fig, (axes,) = figure(8.2, 4.6)
        for guard, (colour, marker, line) in _LOOKS.items():
            rows = sorted(result["guards"].get(guard, ()), key=lambda row: row["yield"])
            if rows:
                x, y = ([100 * row[key] for row in rows] for key in ("yield", "safe"))
                axes.plot(x, y, line, marker=marker, color=colour, markersize=4.5, linewidth=1.4, label=guard)
        start = result["guards"]["none"][0]
        axes.plot(100 * start["yield"], 100 * start["safe"], "*", color=INK, markersize=13, label="no guard")
        axes.axhspan(100 * SAFE, 100.5, xmin=0, xmax=1, color=OKABE_ITO["sky"], alpha=0.12)
        axes.plot([100 * YIELD, 100 * YIELD, 103], [100.5, 100 * SAFE, 100 * SAFE], color=MUTED, linewidth=1)
        axes.annotate(
            "where a good guard would be", (76, (100 * SAFE + 100.3) / 2), ha="center", va="center", color=MUTED
        )
        axes.set_xlim(-2, 103)
        low = min(row["safe"] for rows in result["guards"].values() for row in rows)
        axes.set_ylim(100 * low - 1, 100.5)
        axes.set_xlabel("yield: true hard negatives kept, % of those among the neighbours")
        axes.set_ylabel("safe: kept neighbours that\nare no paraphrase, %")
        axes.grid()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4)
    best = result["best"]
    words = (
        "none is safe enough"
        if best is None
        else f"the best safe one, {best['guard']}, keeps {100 * best['yield']:.0f} % of the hard negatives"
    )
    fig.set_label(
        f"Curves for {len(result['guards']) - 1} guards, hard negatives kept across, share free of paraphrases up. "
        f"Without a guard {100 * start['safe']:.0f} % are free of paraphrases; {words}."
    )
    return fig


def phenomena(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw how often the close paraphrase outranks hard negatives of each phenomenon, for at most four encoders.

    ``results`` are those of `hncse.evaluation.probe.evaluate` by the encoders' names.
    """
    if not 1 <= len(results) <= len(_SERIES):
        raise HncseError(f"there are {len(results)} encoders to draw; give 1 to {len(_SERIES)}")
    first = next(iter(results.values()))
    names = sorted(first["phenomena"], key=lambda n: first["phenomena"][n]["close"]["value"])
    with styled():
        fig, (axes,) = figure(8.2, 0.9 + 0.42 * len(names))
        for i, ((encoder, result), (colour, marker)) in enumerate(
            zip(results.items(), _SERIES[: len(results)], strict=True)
        ):
            places = np.arange(len(names)) + 0.2 * (i - (len(results) - 1) / 2)
            for place, name in zip(places, names, strict=True):
                entry = result["phenomena"][name]["close"]
                if entry["interval"]:
                    axes.plot(entry["interval"], [place, place], color=colour, linewidth=1.6)
                label = one_line(encoder) if name == names[0] else None
                axes.plot(entry["value"], place, marker, color=colour, markersize=5, label=label)
        axes.axvline(50, color=MUTED, linewidth=1, linestyle=":")
        axes.set_ylim(-0.6, len(names) - 0.1)
        axes.annotate("a coin", (50, len(names) - 0.45), xytext=(4, 0), textcoords="offset points", color=MUTED)
        told = [
            one_line(name.replace("_", " ")) + (f"\n{EXAMPLES[name]}" if name in EXAMPLES else "") for name in names
        ]
        axes.set_yticks(range(len(names)), told, fontsize=7.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("hard negatives outranked by the close paraphrase, %; bars: 95 % intervals over groups")
        axes.grid(axis="x")
        axes.legend(loc="lower right")
    words = "; ".join(
        f"{encoder}: {result['triplet_accuracy']['close']['value']:.0f} % over all"
        for encoder, result in results.items()
    )
    fig.set_label(f"Dots with bars for {len(names)} phenomena, share of hard negatives outranked. {words}.")
    return fig
