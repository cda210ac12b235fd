"""Pictures of HNM's relatives: which is only a colder softmax, and how often each beats SimCSE."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hncse.errors import HncseError
from hncse.evaluation import doubt, relatives
from hncse.visual.style import INK, MUTED, OKABE_ITO, SERIES, figure, log_axis, styled

__all__ = ["SAME", "chance", "gallery_figures", "only_colder"]

#: Cosine from which on two gradients point, for an optimiser, the same way.
SAME = 0.95


def only_colder(rows: pd.DataFrame | None = None) -> Figure:
    """Draw for each preset the temperature that SimCSE would have to have, and how alike the two gradients are then.

    Args:
        rows: From `hncse.evaluation.relatives.gradients`; None: the recorded ones. A bar spans the stages of training.

    Raises:
        HncseError: No rows.
    """
    rows = relatives.gradients() if rows is None else rows
    if not len(rows):
        raise HncseError("there are no rows of gradients; `python -m benchmarks.relatives` makes them")
    rows = rows[~rows["preset"].str.startswith(("pm-", "pm+"))].assign(ratio=lambda r: r["alike"] / r["tau"])
    order = rows.groupby("preset")["cosine"].median().sort_values(ascending=False)
    places = {preset: i for i, preset in enumerate(order.index)}
    taus = sorted(rows["tau"].unique())
    with styled():
        made, (left, right) = figure(9.4, 1.5 + 0.32 * len(places), 1, 2, sharey=True)
        for shift, (tau, (colour, _, marker)) in zip((-0.22, 0.0, 0.22), zip(taus, SERIES, strict=False), strict=False):
            for preset, part in rows[rows["tau"] == tau].groupby("preset"):
                for axes, column in ((left, "ratio"), (right, "cosine")):
                    y, x = places[preset] + shift, part[column]
                    axes.plot([x.min(), x.max()], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
                    axes.plot(x.iloc[-1], y, marker, color=colour, markersize=5)
        left.axvline(1, color=INK, linewidth=1)
        log_axis(left, "x")
        left.set_title("like SimCSE at … times its own τ")
        left.set_xlabel("← colder        warmer →")
        right.axvspan(SAME, 1.003, color=OKABE_ITO["sky"], alpha=0.2, linewidth=0)
        right.set_title("cosine of the two gradients there")
        right.set_xlabel(f"shaded, {SAME} and more: only a colder or warmer softmax")
        left.set_yticks(range(len(places)), list(places))
        left.set_ylim(len(places) - 0.5, -0.5)
        for axes in (left, right):
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        handles = [
            Line2D([], [], color=c, marker=m, label=f"τ = {tau:g}")
            for tau, (c, _, m) in zip(taus, SERIES, strict=False)
        ]
        made.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    middle = rows[rows["tau"] == taus[len(taus) // 2]].groupby("preset").last()
    said = "; ".join(f"{p} {middle.loc[p, 'ratio']:.2f}, {middle.loc[p, 'cosine']:.2f}" for p in places)
    made.set_label(
        "Two dot plots, a row a preset: the temperature of the most similar SimCSE in units of its own, and the cosine "
        f"of the two gradients. At τ = {taus[len(taus) // 2]:g} after an epoch: {said}."
    )
    return made


def chance(table: pd.DataFrame, baseline: str = "simcse") -> Figure:
    """Draw how often each method's runs beat the baseline's: a row a method, a small dot a task.

    Args:
        table: From `hncse.evaluation.doubt.improvement`.
        baseline: Its name, for the axis.

    Raises:
        HncseError: An empty table.
    """
    if not len(table):
        raise HncseError("no method stands beside the baseline; there is no chance to draw")
    table = table.sort_values("value")
    tasks = [name for name in table if name not in ("value", "low", "high")]
    with styled():
        made, (axes,) = figure(7.6, 1.2 + 0.34 * len(table))
        for place, (_, row) in enumerate(table.iterrows()):
            axes.plot(row[tasks], [place] * len(tasks), "|", color=MUTED, markersize=9)
            axes.plot([row["low"], row["high"]], [place, place], color=OKABE_ITO["blue"], linewidth=2.4)
            axes.plot(row["value"], place, "o", color=OKABE_ITO["blue"], markersize=6)
        axes.axvline(0.5, color=INK, linewidth=1)
        axes.set_xlim(-0.02, 1.02)
        axes.set_yticks(range(len(table)), list(table.index))
        axes.set_xlabel(f"chance that a run beats one of {baseline}: each task (|), their mean with 95 % interval")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    rows = "; ".join(
        f"{name} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for name, row in table.iterrows()
    )
    made.set_label(f"Chance that a run beats a run of {baseline} on a task, mean over {len(tasks)} tasks: {rows}.")
    return made


def gallery_figures() -> dict[str, Figure]:
    """The pictures from the recorded rows, by name."""
    return {
        "relatives_softmax": only_colder(),
        "relatives_chance": chance(doubt.improvement(relatives.recorded())),
    }
