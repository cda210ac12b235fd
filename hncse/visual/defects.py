"""The pictures of "paper against code" (notebooks 07b and 07c).

The released search, what anisotropy does, presets beside presets, and hard negatives as a colder softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.evaluation.defects import Comparison
from hncse.evaluation.temperature import Match
from hncse.runs import Run
from hncse.visual.style import CASE_COLOURS, MUTED, OKABE_ITO, figure, log_axis, one_line, styled

__all__ = [
    "anisotropy_figure",
    "colder_figure",
    "mask_figure",
    "presets_figure",
    "search_figure",
]

_HATCH = {"A": "", "B": "///", "C": "..."}
_LOOKS = [
    (OKABE_ITO["black"], "-", "o"), (OKABE_ITO["blue"], "--", "s"), (OKABE_ITO["vermillion"], "-.", "^"),
    (OKABE_ITO["green"], ":", "D"), (OKABE_ITO["purple"], (0, (5, 1)), "v"), (OKABE_ITO["orange"], (0, (1, 1)), "P"),
]  # fmt: skip


def search_figure(terms: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Draw the two terms of the released search and the loss against the mixing angle.

    Args:
        terms: From `hncse.evaluation.defects.search_terms`.
    """
    angle, total = terms["angle"], terms["gap"] + terms["rank"]
    best = float(angle[int(total.argmin())])
    lines = [
        ("gap / τ: positive less mean negative", terms["gap"], OKABE_ITO["blue"], "--"),
        ("mean rank of the positive, from 1", terms["rank"], OKABE_ITO["orange"], "-."),
        ("their sum, which is minimised", total, OKABE_ITO["black"], "-"),
    ]
    with styled():
        fig, (left, right) = figure(8.6, 3.5, 1, 2)
        for name, values, colour, style in lines:
            left.plot(angle, values, linestyle=style, color=colour, label=one_line(name))
        left.axvline(best, color=MUTED, linewidth=1, linestyle=":")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False, fontsize=8.5)
        left.set_title("What the search minimises", fontsize=10)
        left.set_ylabel("mean over the batch")
        right.plot(angle, terms["loss"], color=OKABE_ITO["vermillion"])
        right.axvline(best, color=MUTED, linewidth=1, linestyle=":")
        right.set_title("The loss it trains with", fontsize=10)
        right.set_ylabel("cross-entropy")
        for axes in (left, right):
            axes.set_xticks([0, 15, 30, 45, 60, 75, 90])
            axes.set_xlabel("angle of (w1, w2): 0° is no mixing, 45° equal parts")
            axes.grid(axis="y")
    fig.set_label(
        f"Two panels against the mixing angle. Left: the gap falls from {terms['gap'][0]:.2f} to "
        f"{terms['gap'].min():.2f} and the rank rises from {terms['rank'][0]:.2f} to {terms['rank'].max():.2f}; their "
        f"sum is least at {best:.0f}°. "
        f"Right: the loss, {terms['loss'][0]:.2f} without mixing, {terms['loss'].max():.2f} at most."
    )
    return fig


def anisotropy_figure(strengths: Sequence[float], rows: Sequence[Sequence[Comparison]]) -> Figure:
    """Draw cases, and how far each preset's gradient points from SimCSE's, against anisotropy.

    Args:
        strengths: (S,) as `hncse.evaluation.defects.shift` takes them.
        rows: For each strength, `hncse.evaluation.defects.compare` of the same presets.

    Raises:
        HncseError: No strengths, rows that do not fit them, or more presets than can be told apart.
    """
    if not rows or len(rows) != len(strengths):
        raise HncseError(f"{len(strengths)} strengths and {len(rows)} rows; a picture needs one row for each")
    names = [one.preset for one in rows[0]]
    if not 0 < len(names) < len(_LOOKS):
        raise HncseError(f"there are {len(names)} presets to draw; give 1 to {len(_LOOKS) - 1}")
    with styled():
        fig, (left, right) = figure(8.6, 3.5, 1, 2)
        shares = 100 * np.array([row[0].cases for row in rows]).T  # (3, S)
        areas = left.stackplot(strengths, shares, colors=list(CASE_COLOURS.values()), labels=list(CASE_COLOURS))
        for area, hatch in zip(areas, _HATCH.values(), strict=True):
            area.set_hatch(hatch)
            area.set_edgecolor("white")
        left.set_ylim(0, 100)
        left.set_ylabel("% of anchors")
        left.set_title("Cases", fontsize=10)
        for (colour, style, marker), name in zip(_LOOKS[1 : 1 + len(names)], names, strict=True):
            angles = [next(one for one in row if one.preset == name).angle for row in rows]
            right.plot(
                strengths, angles, linestyle=style, marker=marker, markersize=5, color=colour, label=one_line(name)
            )
        right.set_ylim(bottom=-2)
        right.set_ylabel("degrees")
        right.set_title("Angle between its gradient and SimCSE's", fontsize=10)
        for axes in (left, right):
            axes.set_xlabel("common part of all vectors, in lengths of one")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False, ncols=3 if axes is left else 2)
    ends = "; ".join(
        f"{one.preset} {one.angle:.0f}° at first, {last.angle:.0f}° at last"
        for one, last in zip(rows[0], rows[-1], strict=True)
    )
    near = ", ".join(
        f"{100 * row[0].cases[0]:.0f} % at {strength:g}" for strength, row in zip(strengths, rows, strict=True)
    )
    fig.set_label(f"Left: share of anchors in case A, {near}. Right, the angle from SimCSE's gradient: {ends}.")
    return fig


def presets_figure(runs: Mapping[str, Run]) -> Figure:
    """Draw runs of several presets beside each other: the loss, and anchors in case A.

    Args:
        runs: Name → a run with its history.

    Raises:
        HncseError: There are no runs, more than can be told apart, or one without logged steps.
    """
    if not 0 < len(runs) <= len(_LOOKS):
        raise HncseError(f"there are {len(runs)} runs to draw; give 1 to {len(_LOOKS)}")
    with styled():
        fig, (left, right) = figure(8.6, 3.5, 1, 2)
        parts = []
        for (colour, style, marker), (name, run) in zip(_LOOKS[: len(runs)], runs.items(), strict=True):
            lines = [line for line in run.history if "loss" in line and "case_a" in line]
            if not lines:
                raise HncseError(f"run {name!r} has logged no loss with its cases; it was shorter than log_every")
            steps = [line["step"] for line in lines]
            for axes, key, scale in ((left, "loss", 1), (right, "case_a", 100)):
                values = [scale * line[key] for line in lines]
                every = max(1, len(steps) // 6)
                axes.plot(
                    steps,
                    values,
                    linestyle=style,
                    color=colour,
                    marker=marker,
                    markevery=every,
                    markersize=5,
                    label=one_line(name),
                )
            parts.append(f"{name}: loss {lines[0]['loss']:.2f} to {lines[-1]['loss']:.2f}")
        left.set_title("Loss, logarithmic", fontsize=10)
        log_axis(left, "y")
        right.set_title("% of anchors in case A", fontsize=10)
        right.set_ylim(-3, 103)
        for axes in (left, right):
            axes.set_xlabel("step")
            axes.grid(axis="y")
        handles, labels = left.get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    fig.set_label(f"Two panels over training steps, loss and share of case A, a line a preset. {'; '.join(parts)}.")
    return fig


_TAU_LOOKS = [
    (OKABE_ITO["blue"], "-"), (OKABE_ITO["green"], "--"), (OKABE_ITO["orange"], "-."), (OKABE_ITO["vermillion"], ":"),
    (OKABE_ITO["purple"], (0, (5, 1))), (OKABE_ITO["sky"], (0, (1, 1))),
]  # fmt: skip


def colder_figure(matches: Sequence[Match], baseline: str = "SimCSE") -> Figure:
    """Draw how alike two losses' gradients are, over the baseline's τ, and where they are most alike.

    Args:
        matches: From `hncse.evaluation.temperature.matches`, one preset at up to six temperatures.
        baseline: Its name in the picture.

    Raises:
        HncseError: Nothing to draw, or more lines than can be told apart.
    """
    if not 0 < len(matches) <= len(_TAU_LOOKS):
        raise HncseError(f"{len(matches)} temperatures were given; 1 to {len(_TAU_LOOKS)} can be drawn")
    preset, baseline = one_line(matches[0].preset), one_line(baseline)
    with styled():
        fig, (left, right) = figure(8.6, 3.7, 1, 2)
        for match, (colour, style) in zip(matches, _TAU_LOOKS[: len(matches)], strict=True):
            left.plot(
                match.candidates, match.cosines, color=colour, linestyle=style, label=f"τ = {match.temperature:g}"
            )
            top = int(match.cosines.argmax())
            left.plot(match.candidates[top], match.cosines[top], marker="o", color=colour)
            same = float(np.interp(np.log(match.temperature), np.log(match.candidates), match.cosines))
            left.plot(match.temperature, same, marker="s", markerfacecolor="white", color=colour)
        left.set_ylabel("cosine of the two gradients")
        left.set_ylim(max(0.0, min(float(m.cosines.max()) for m in matches) - 0.35), 1.0)
        left.set_title(f"{preset} beside {baseline}", fontsize=10)
        left.legend(title=preset, fontsize=8.5, title_fontsize=8.5, loc="lower right")
        hot = np.array([m.temperature for m in matches])
        like = np.array([m.alike for m in matches])
        right.plot(hot, hot, color=MUTED, linestyle="--", label="the same τ")
        right.errorbar(
            hot, like, yerr=np.nan_to_num([m.spread for m in matches]), color=OKABE_ITO["black"], marker="o", capsize=3,
            label=preset,
        )  # fmt: skip
        right.set_xlabel(f"τ of {preset}")
        right.set_ylabel(f"τ at which {baseline} pulls most alike")
        right.set_title("The τ it acts like", fontsize=10)
        right.set_yscale("log")
        right.legend(fontsize=8.5, loc="upper left")
        left.set_xlabel(f"τ of {baseline}")
        _temperatures(left, "x", [0.04, 0.07, 0.1, 0.2, 0.3, 0.5])
        _temperatures(right, "y", sorted({0.05, 0.1, 0.2, 0.3, 0.5}))
        _temperatures(right, "x", list(hot))
    fig.set_label(
        f"Two panels. Left: cosine of the gradients of {preset} and {baseline} over {baseline}'s temperature. Right: "
        + "; ".join(f"{preset} at {m.temperature:g} acts most like {baseline} at {m.alike:.2f}" for m in matches)
        + "."
    )
    return fig


def mask_figure(shares: Mapping[float, Mapping[str, float]]) -> Figure:
    """Draw how much of the denominator masked negatives hold that got logit 0 in place of -∞, over the temperature.

    Args:
        shares: τ → `hncse.evaluation.defects.mask_of_zero`.

    Raises:
        HncseError: Nothing to draw.
    """
    if not shares:
        raise HncseError("there are no temperatures to draw masks at")
    taus = sorted(shares)
    with styled():
        made, (axes,) = figure(6.4, 3.4)
        for name, (colour, style, marker) in zip(shares[taus[0]], _LOOKS[1:], strict=False):
            percent = [100 * shares[tau][name] for tau in taus]
            axes.plot(taus, percent, color=colour, linestyle=style, marker=marker, label=name)
        axes.axvline(0.05, color=MUTED, linewidth=1)
        log_axis(axes, "y")
        axes.yaxis.set_minor_formatter(NullFormatter())
        _temperatures(axes, "x", taus)
        axes.set_xlabel("temperature τ (the line: 0.05, which both papers train at)")
        axes.set_ylabel("% of the denominator")
        axes.set_title("What is masked by 0 and should be by −∞")
        axes.legend(frameon=False)
    said = "; ".join(f"τ = {t:g}: " + ", ".join(f"{n} {100 * v:.2g} %" for n, v in shares[t].items()) for t in taus)
    made.set_label(f"Share of the denominator that masked negatives with logit 0 hold. {said}.")
    return made


def _temperatures(axes: Axes, axis: str, ticks: Sequence[float]) -> None:
    line = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    line.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    line.set_ticks([], minor=True)
