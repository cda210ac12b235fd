"""Pictures of differences: methods against a baseline with intervals, and what an option does to a score."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hncse.data.text import picture as plain
from hncse.errors import HncseError
from hncse.evaluation import results, statistics
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, styled

__all__ = ["MEASURES", "ablations", "effects", "forest"]

#: Measure → what stands over its panel.
MEASURES = {
    "sts": "STS, average of 7, test",
    "transfer": "transfer, average of 7, test",
    "probe": "probe, Spearman",
    "stsb-dev": "STS-B dev",
}
_VERDICTS = {  # colour and shape: either tells them apart
    "better": (OKABE_ITO["blue"], "^"),
    "worse": (OKABE_ITO["vermillion"], "v"),
    "not told apart": (MUTED, "o"),
    "not tested": (MUTED, "x"),
}

_FEWEST = 3  # seeds for an interval worth drawing: of two it reaches 9 sd to either side of the mean


def effects(
    frame: pd.DataFrame, baseline: str = "simcse", measures: Iterable[str] = ("sts", "transfer", "probe"),
    *, solver: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Compare every method of these runs with the baseline trained alike.

    Args:
        frame: From `hncse.evaluation.results`.
        baseline: Its name.
        measures: Of `MEASURES`; those without scores are left out.
        solver: Whose transfer results; None takes SentEval's where the runs have them.

    Returns:
        Rows of `hncse.evaluation.statistics.against` that have a difference, with ``measure``, ``setting`` (encoder,
        sentences and what sets the training apart, in words) and ``solver``.
    """
    solver = solver or results.best_solver(frame)
    common = results.usual(frame)
    groups = frame[frame["kind"] == "trained"].drop_duplicates("group").set_index("group")
    words = {
        key: f"{row['encoder']}, {row['sentences']:,} sentences{results.uncommon(row['parameters'], common)}"
        for key, row in groups.iterrows()
    }
    parts = []
    for measure in measures:
        found = statistics.against(frame, measure, baseline, solver=solver, resamples=0)
        found = found[found["value"].notna()]
        parts.append(found.assign(measure=measure, setting=found.index.map(words), solver=solver))
    return pd.concat(parts)


def forest(found: pd.DataFrame) -> Figure:
    """Draw differences from the baseline with their intervals: a row a method, a panel a measure.

    Colour and shape are the verdict's, after Holm's correction: a bar beside 0 may still be "not told apart".

    Args:
        found: From `effects`.

    Raises:
        HncseError: There is nothing to draw.
    """
    if not len(found):
        raise HncseError("no method here was trained as the baseline was; there is no difference to draw")
    rows = list(dict.fromkeys(zip(found["setting"], found["method"], strict=True)))
    rows.sort(key=lambda row: row[0])
    lines: list[tuple[str, str]] = []
    for setting, method in rows:
        if not lines or lines[-1][0] != setting:
            lines.append((setting, ""))
        lines.append((setting, method))
    measures = [measure for measure in MEASURES if (found["measure"] == measure).any()]
    baseline = found["baseline"].iloc[0]
    with styled():
        made, panels = figure(2.2 + 2.9 * len(measures), 1.3 + 0.32 * len(lines), 1, len(measures), sharey=True)
        for axes, measure in zip(panels, measures, strict=True):
            for _, row in found[found["measure"] == measure].iterrows():
                _whisker(axes, lines.index((row["setting"], row["method"])), row)
            axes.axvline(0, color=INK, linewidth=1)
            axes.set_title(MEASURES[measure], fontsize=10)
            axes.set_xlabel(f"points more than {baseline}")
            axes.grid(axis="x")
            axes.margins(x=0.08)
        panels[0].set_yticks(range(len(lines)), [plain(method or setting) for setting, method in lines])
        for tick, (_, method) in zip(panels[0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("normal" if method else "bold")
        panels[0].set_ylim(len(lines) - 0.5, -0.5)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        _legend(made, found)
    made.set_label(_words(found, measures))
    return made


def ablations(curves: pd.DataFrame, measure: str, columns: int = 4) -> Figure:
    """Draw what each option does to a score: a panel an option, each with its own axis.

    Means over seeds with 95 % intervals, from three seeds on.

    Args:
        curves: From `hncse.evaluation.statistics.curves`.
        measure: What the scores are, for the axis.
        columns: Panels in a row.

    Raises:
        HncseError: There are no curves.
    """
    if not len(curves):
        raise HncseError("no runs differ in one option alone; there is no curve to draw")
    parts = [(method, option, part) for (method, option), part in curves.groupby(["method", "option"], sort=False)]
    columns = min(columns, len(parts))
    rows = -(-len(parts) // columns)
    with styled():
        made, panels = figure(max(5.8, 2.5 * columns + 0.6), 2.7 * rows + 0.4, rows, columns)
        for axes, (method, option, part) in zip(panels, parts, strict=False):
            _curve(axes, method, option, part)
        for axes in panels[len(parts) :]:
            axes.set_visible(False)
        for i in range(0, len(parts), columns):
            panels[i].set_ylabel(measure)
        handles = [
            Line2D([], [], color=OKABE_ITO["blue"], marker="o", label="the method (hollow: its preset's default)"),
            Line2D([], [], color=OKABE_ITO["vermillion"], marker="s", linestyle="--", label="simcse trained alike"),
        ]
        made.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    words = []
    for method, option, part in parts:
        points = ", ".join(
            f"{p['value']}: {p['mean']:.2f}" + (f" ± {p['half']:.2f}" if p["seeds"] >= _FEWEST else "")
            for _, p in part.iterrows()
        )
        words.append(f"{method}, {option}: {points}")
    made.set_label(f"Means over seeds with 95 % intervals of {measure}. {'; '.join(words)}.")
    return made


def _whisker(axes: Axes, place: int, row: pd.Series) -> None:
    colour, marker = _VERDICTS[row["verdict"]]
    if not pd.isna(row["low"]):
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(row["value"], place, marker, color=colour, markersize=7, markeredgewidth=1.6)


def _legend(made: Figure, found: pd.DataFrame) -> None:
    verdicts = [name for name in _VERDICTS if (found["verdict"] == name).any()]
    handles = [Line2D([], [], color=_VERDICTS[n][0], marker=_VERDICTS[n][1], linewidth=2.2, label=n) for n in verdicts]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _words(found: pd.DataFrame, measures: list[str]) -> str:
    parts = []
    for measure in measures:
        rows = "; ".join(
            f"{row['method']} on {row['setting']} {row['value']:+.2f}, {row['verdict']}"
            for _, row in found[found["measure"] == measure].iterrows()
        )
        solver = f", solver {found['solver'].iloc[0]}" if measure == "transfer" else ""
        parts.append(f"{MEASURES[measure]}{solver}: {rows}.")
    baseline = found["baseline"].iloc[0]
    return f"Differences from {baseline} with 95 % intervals over seeds, verdicts after Holm. " + " ".join(parts)


def _curve(axes: Axes, method: str, option: str, part: pd.DataFrame) -> None:
    names = {"baseline_mean": "mean", "baseline_half": "half", "baseline_seeds": "seeds"}
    beside = part.drop(columns=["mean", "half", "seeds"]).rename(columns=names)
    _line(axes, beside, 0.12, OKABE_ITO["vermillion"], "s", "--")
    _line(axes, part, 0.0, OKABE_ITO["blue"], "o", "-")
    many = len(part) > 5
    labels = [plain(value) for value in part["value"]]
    axes.set_xticks(range(len(labels)), labels, fontsize=8 if many else None, rotation=45 if many else 0)
    axes.margins(x=0.15)
    axes.grid(axis="y")
    axes.set_title(f"{option}\n{method}", fontsize=9)


def _line(axes: Axes, points: pd.DataFrame, shift: float, colour: str, marker: str, style: str) -> None:
    known = [(place + shift, point) for place, (_, point) in enumerate(points.iterrows()) if point["seeds"]]
    axes.plot([x for x, _ in known], [point["mean"] for _, point in known], style, color=colour, linewidth=1.2)
    for x, point in known:
        if point["seeds"] >= _FEWEST:
            ends = [point["mean"] - point["half"], point["mean"] + point["half"]]
            axes.plot([x, x], ends, color=colour, linewidth=2)
        face = "white" if point["default"] else colour
        axes.plot(x, point["mean"], marker, color=colour, markersize=5, markerfacecolor=face)
