"""Pictures of differences: methods against a baseline with intervals, and what an option does to a score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hncse.errors import HncseError
from hncse.evaluation import sheets
from hncse.evaluation.ablation import Curve, Point
from hncse.evaluation.statistics import Comparison, against
from hncse.evaluation.tables import grouped, method_name
from hncse.runs import Run
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, styled

__all__ = ["MEASURES", "Effect", "ablations", "effects", "forest"]

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


@dataclass(frozen=True)
class Effect:
    """A method against the baseline on one measure."""

    label: str
    setting: str
    measure: str
    found: Comparison


def effects(
    runs: Sequence[Run], baseline: str = "simcse", measures: Iterable[str] = ("sts", "transfer", "probe")
) -> list[Effect]:
    """Compare every method of these runs with the baseline trained alike.

    Args:
        runs: Run folders or recorded runs.
        baseline: Its name.
        measures: Of `MEASURES`; those without scores are left out.
    """
    found = []
    trained = [run for run in runs if run.has("result")]
    for measure in measures:
        compared = against(runs, measure, baseline, resamples=0)
        groups = {", ".join(run.name for run in group): group[0] for group in _measured(runs, measure)}
        for key, comparison in compared.items():
            if comparison.difference is not None:
                config = groups[key].config
                label = method_name(config["parameters"])
                setting = f"{config['parameters']['encoder']}, {config['data']['sentences']:,} sentences"
                setting += sheets.apart([groups[key]], trained)
                found.append(Effect(label, setting, measure, comparison))
    return found


def forest(found: Sequence[Effect]) -> Figure:
    """Draw differences from the baseline with their intervals: a row a method, a panel a measure.

    Args:
        found: From `effects`.

    Raises:
        HncseError: There is nothing to draw.
    """
    if not found:
        raise HncseError("no method here was trained as the baseline was; there is no difference to draw")
    rows = list(dict.fromkeys((effect.setting, effect.label) for effect in found))
    rows.sort(key=lambda row: row[0])
    lines: list[tuple[str, str]] = []
    for setting, label in rows:
        if not lines or lines[-1][0] != setting:
            lines.append((setting, ""))
        lines.append((setting, label))
    measures = [measure for measure in MEASURES if any(effect.measure == measure for effect in found)]
    with styled():
        made, panels = figure(2.2 + 2.9 * len(measures), 1.3 + 0.32 * len(lines), 1, len(measures), sharey=True)
        for axes, measure in zip(panels, measures, strict=True):
            for effect in found:
                if effect.measure == measure:
                    _whisker(axes, lines.index((effect.setting, effect.label)), effect.found)
            axes.axvline(0, color=INK, linewidth=1)
            axes.set_title(MEASURES[measure], fontsize=10)
            axes.set_xlabel(f"points more than {found[0].found.baseline}")
            axes.grid(axis="x")
            axes.margins(x=0.08)
        panels[0].set_yticks(range(len(lines)), [label or setting for setting, label in lines])
        for tick, (_, label) in zip(panels[0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("normal" if label else "bold")
        panels[0].set_ylim(len(lines) - 0.5, -0.5)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        _legend(made, found)
    made.set_label(_words(found, measures))
    return made


def ablations(curves: Sequence[Curve], measure: str, columns: int = 4) -> Figure:
    """Draw what each option does to a score: a panel an option, each with its own axis.

    Means over seeds with 95 % intervals, from three seeds on.

    Args:
        curves: From `hncse.evaluation.ablation.curves`.
        measure: What the scores are, for the axis.
        columns: Panels in a row.

    Raises:
        HncseError: There are no curves.
    """
    if not curves:
        raise HncseError("no runs differ in one option alone; there is no curve to draw")
    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    with styled():
        made, panels = figure(max(5.8, 2.5 * columns + 0.6), 2.7 * rows + 0.4, rows, columns)
        for axes, curve in zip(panels, curves, strict=False):
            _curve(axes, curve)
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        for i in range(0, len(curves), columns):
            panels[i].set_ylabel(measure)
        handles = [
            Line2D([], [], color=OKABE_ITO["blue"], marker="o", label="the method (hollow: its default)"),
            Line2D([], [], color=OKABE_ITO["vermillion"], marker="s", linestyle="--", label="simcse trained alike"),
        ]
        made.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    parts = []
    for curve in curves:
        points = ", ".join(
            f"{p.value}: {p.mean:.2f}" + (f" ± {p.half:.2f}" if p.seeds >= _FEWEST else "") for p in curve.points
        )
        parts.append(f"{curve.method}, {curve.option}: {points}")
    made.set_label(f"Means over seeds with 95 % intervals of {measure}. {'; '.join(parts)}.")
    return made


def _measured(runs: Sequence[Run], measure: str) -> list[list[Run]]:
    """Groups of runs that have this score, in the order that `against` names them by."""
    result = {"stsb-dev": "result"}.get(measure, measure)
    return grouped(run for run in runs if run.has(result))


def _whisker(axes: Axes, place: int, found: Comparison) -> None:
    d = found.difference
    assert d is not None
    colour, marker = _VERDICTS[found.verdict]
    if d.interval is not None:
        axes.plot(d.interval, [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(d.value, place, marker, color=colour, markersize=7, markeredgewidth=1.6)


def _legend(made: Figure, found: Sequence[Effect]) -> None:
    seen = [name for name in _VERDICTS if any(effect.found.verdict == name for effect in found)]
    handles = [Line2D([], [], color=_VERDICTS[n][0], marker=_VERDICTS[n][1], linewidth=2.2, label=n) for n in seen]
    made.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _words(found: Sequence[Effect], measures: Sequence[str]) -> str:
    parts = []
    for measure in measures:
        rows = "; ".join(
            f"{e.label} on {e.setting} {e.found.difference.value:+.2f}, {e.found.verdict}"
            for e in found
            if e.measure == measure and e.found.difference is not None
        )
        parts.append(f"{MEASURES[measure]}: {rows}.")
    return f"Differences from {found[0].found.baseline} with 95 % intervals over seeds. " + " ".join(parts)


def _curve(axes: Axes, curve: Curve) -> None:
    _line(axes, list(curve.baseline), 0.12, OKABE_ITO["vermillion"], "s", "--")
    _line(axes, list(curve.points), 0.0, OKABE_ITO["blue"], "o", "-")
    many = len(curve.points) > 5
    names = [str(point.value) for point in curve.points]
    axes.set_xticks(range(len(names)), names, fontsize=8 if many else None, rotation=45 if many else 0)
    axes.margins(x=0.15)
    axes.grid(axis="y")
    axes.set_title(f"{curve.option}\n{curve.method}", fontsize=9)


def _line(axes: Axes, points: Sequence[Point | None], shift: float, colour: str, marker: str, style: str) -> None:
    known = [(place + shift, point) for place, point in enumerate(points) if point is not None]
    axes.plot([x for x, _ in known], [point.mean for _, point in known], style, color=colour, linewidth=1.2)
    for x, point in known:
        if point.seeds >= _FEWEST:
            axes.plot([x, x], [point.mean - point.half, point.mean + point.half], color=colour, linewidth=2)
        face = "white" if point.default else colour
        axes.plot(x, point.mean, marker, color=colour, markersize=5, markerfacecolor=face)
