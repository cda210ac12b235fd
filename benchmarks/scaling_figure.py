"""What more compute buys: scores over text and over language modelling, and a line drawn on beyond the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from hncse.errors import HncseError
from hncse.evaluation.statistics import t_interval
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, styled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AHEAD", "Trend", "fit", "scaling_figure", "text_trend"]

AHEAD = 10.0  # how many times the most text the line is drawn on to
_LINES = {  # column: colour, line style, marker, name
    "simcse": (OKABE_ITO["blue"], "-", "o", "after SimCSE\n(bars: 95 % over seeds)"),
    "raw": (OKABE_ITO["green"], "--", "s", "raw, before SimCSE"),
}
_TITLES = {"text": "More text to count", "modelling": "Language modelling on top"}
_UNITS = {"text": "Wikipedia sentences, log scale", "modelling": "word pieces of language modelling; 0, then log scale"}
_OURS = OKABE_ITO["vermillion"]
_GAP = 0.6  # decades from 0, which a log scale does not have, to the smallest amount


@dataclass(frozen=True)
class Trend:
    """A least-squares line through mean scores over log10(amount).

    Attributes:
        amounts: (n,) what was varied, each once.
        means: (n,) mean score over the seeds at each.
        slope: Points a decade: what ten times the amount adds.
        intercept: Of the line, at an amount of 1.
        error: Standard deviation of the means around the line, n - 2 degrees of freedom.
    """

    amounts: tuple[float, ...]
    means: tuple[float, ...]
    slope: float
    intercept: float
    error: float

    def at(self, amount: float, level: float = 0.95) -> tuple[float, float, float]:
        """Score on the line, and the interval in which the mean of as many new seeds would lie.

        Args:
            amount: Where, inside the data or beyond.
            level: Coverage, if the line goes on and the means scatter around it as they do in the data.

        Returns:
            Score, low end, high end.
        """
        from scipy import stats

        x = np.log10(self.amounts)
        n, away = len(x), np.log10(amount) - x.mean()
        score = self.intercept + self.slope * float(np.log10(amount))
        spread = self.error * (1 + 1 / n + away**2 / ((x - x.mean()) ** 2).sum()) ** 0.5
        half = float(stats.t.ppf(0.5 + level / 2, n - 2) * spread)
        return score, score - half, score + half

    def slope_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Ends of the interval of the slope, points a decade."""
        from scipy import stats

        x = np.log10(self.amounts)
        half = float(stats.t.ppf(0.5 + level / 2, len(x) - 2)) * self.error / float(((x - x.mean()) ** 2).sum() ** 0.5)
        return self.slope - half, self.slope + half


def fit(amounts: Sequence[float], scores: Sequence[float]) -> Trend:
    """Fit a line to scores over log10(amount).

    The seeds of one amount share its encoder, so they are no separate witnesses of the line: their mean is the
    point, and the scatter of the means around the line, not the narrower one of the seeds, is the error.

    Args:
        amounts: (m,) above 0, one a run; those of several seeds repeat.
        scores: (m,) of the runs.

    Raises:
        HncseError: Fewer than three different amounts.
    """
    from scipy import stats

    places = sorted(set(map(float, amounts)))
    if len(places) < 3:
        raise HncseError(f"a line with an interval needs three amounts or more, there are {len(places)}")
    means = [float(np.mean([s for a, s in zip(amounts, scores, strict=True) if a == place])) for place in places]
    line = stats.linregress(np.log10(places), means)
    left = np.array(means) - (line.intercept + line.slope * np.log10(places))
    error = float((left**2).sum() / (len(places) - 2)) ** 0.5
    return Trend(tuple(places), tuple(means), float(line.slope), float(line.intercept), error)


def text_trend(table: pd.DataFrame) -> Trend:
    """Line through the scores after SimCSE along the axis of text.

    Args:
        table: As for `scaling_figure`.

    Raises:
        HncseError: Fewer than three amounts of text.
    """
    rows = table[table["axis"] == "text"]
    return fit(rows["amount"].tolist(), rows["simcse"].tolist())


def scaling_figure(table: pd.DataFrame) -> Figure:
    """Draw STS-B dev over the text counted, and over the word pieces of language modelling on the most text.

    Args:
        table: From benchmarks/encoder_scaling.py: a row a run with ``axis`` (``text`` or ``modelling``), ``amount``
            (sentences or word pieces), ``seed``, ``raw`` and ``simcse`` (STS-B dev, Spearman × 100). The most text
            without language modelling has the kit's settings.

    Raises:
        HncseError: An axis has no rows.
    """
    for axis in _TITLES:
        if not (table["axis"] == axis).any():
            raise HncseError(f"the table has no rows of the axis {axis!r} to draw")
    with styled():
        fig, panels = figure(8.2, 4.2, columns=2, sharey=True)
        for axes, axis in zip(panels, _TITLES, strict=True):
            rows = table[table["axis"] == axis]
            ours = rows["amount"].max() if axis == "text" else 0
            _lines(axes, rows, ours)
            _amounts(axes, sorted(set(rows["amount"])))
            axes.set_title(_TITLES[axis])
            axes.set_xlabel(_UNITS[axis])
            axes.grid(axis="y")
        panels[0].set_ylabel("STS-B dev, Spearman × 100")
        if table.query("axis == 'text'")["amount"].nunique() >= 3:
            _beyond(panels[0], text_trend(table))
        low, high = panels[0].get_ylim()
        panels[0].set_ylim(low - 0.02 * (high - low), high + 0.1 * (high - low))
        _legend(panels[1])
    fig.set_label(_words(table))
    return fig


def _place(amount: float, smallest: float) -> float:
    """Where an amount stands on the axis: its log10, and 0 a gap before the smallest."""
    return float(np.log10(amount)) if amount > 0 else float(np.log10(smallest)) - _GAP


def _lines(axes: Axes, rows: pd.DataFrame, ours: float) -> None:
    amounts = sorted(set(rows["amount"]))
    smallest = min(a for a in amounts if a > 0) if max(amounts) > 0 else 1.0
    places = [_place(a, smallest) for a in amounts]
    for column, (colour, line, marker, _) in _LINES.items():
        found = [t_interval(rows[rows["amount"] == a][column].tolist()) for a in amounts]
        means = [mean for mean, _ in found]
        measured = places.index(_place(0, smallest)) + 1 if 0 in amounts else 0
        axes.plot(places[measured:], means[measured:], line, color=colour)
        axes.plot(places[: measured + 1], means[: measured + 1], ":", color=colour, linewidth=1)  # to 0: off the scale
        for amount, place, (mean, half) in zip(amounts, places, found, strict=True):
            if column == "simcse" and half == half:
                axes.plot([place, place], [mean - half, mean + half], color=colour, linewidth=2.4, alpha=0.6)
            mine = amount == ours
            axes.plot(place, mean, "*" if mine else marker, color=_OURS if mine else colour,
                      markersize=13 if mine else 6, zorder=3)  # fmt: skip
    axes.set_xlim(places[0] - 0.25, places[-1] + 0.25)


def _amounts(axes: Axes, amounts: Sequence[float]) -> None:
    """Write the measured amounts under the axis, short: 30 k, 3.1 M."""
    smallest = min([a for a in amounts if a > 0], default=1.0)
    axes.set_xticks([_place(a, smallest) for a in amounts], [_short(a) for a in amounts])
    axes.xaxis.set_minor_locator(NullLocator())


def _short(amount: float) -> str:
    for size, name in ((1e6, " M"), (1e3, " k")):
        if amount >= size:
            return f"{amount / size:.3g}{name}" if amount / size < 10 else f"{amount / size:.0f}{name}"
    return f"{amount:g}"


def _beyond(axes: Axes, trend: Trend) -> None:
    """Draw the line on beyond the data, and mark it as what it is: not measured."""
    most = trend.amounts[-1]
    grid = np.linspace(np.log10(most), np.log10(most * AHEAD), 40)
    scores = np.array([trend.at(10**x) for x in grid])  # (40, 3) score, low, high
    colour = _LINES["simcse"][0]
    axes.plot(grid, scores[:, 0], "--", color=colour, linewidth=1.5)
    axes.fill_between(grid, scores[:, 1], scores[:, 2], color=colour, alpha=0.15, linewidth=0)
    axes.axvline(grid[0], color=MUTED, linewidth=0.8, linestyle=":")
    axes.annotate(
        "extrapolated,\nnot measured\n{}: {:.1f}\n({:.1f} to {:.1f})".format(
            _short(most * AHEAD), *scores[-1]
        ),
        (grid.mean(), scores[:, 1].min()), xytext=(0, -4), textcoords="offset points", ha="center", va="top",
        color=MUTED, fontsize=8.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    ticks, names = [*axes.get_xticks(), grid[-1]], [t.get_text() for t in axes.get_xticklabels()]
    axes.set_xticks(ticks, [*names, _short(most * AHEAD)])
    axes.set_xlim(axes.get_xlim()[0], grid[-1] + 0.15)


def _legend(axes: Axes) -> None:
    for colour, line, marker, name in _LINES.values():
        axes.plot([], [], line, marker=marker, color=colour, label=name)
    axes.plot([], [], "*", color=_OURS, markersize=11, linestyle="", label="the kit's settings")
    axes.legend(loc="lower right", framealpha=1, edgecolor="none", labelcolor=INK, handlelength=2.6)


def _words(table: pd.DataFrame) -> str:
    parts = []
    for axis, unit in (("text", "sentences"), ("modelling", "word pieces of language modelling")):
        rows = table[table["axis"] == axis]
        for amount, group in rows.groupby("amount"):
            parts.append(f"{amount:,} {unit}: {group['raw'].mean():.2f} raw, {group['simcse'].mean():.2f} after SimCSE")
    text = "Lines of STS-B dev over the text counted, left, and over language modelling on the most text, right. "
    text += "; ".join(parts) + "."
    if table.query("axis == 'text'")["amount"].nunique() < 3:
        return text
    line = text_trend(table)
    further = line.amounts[-1] * AHEAD
    score, low, high = line.at(further)
    return f"{text} Extrapolated, {further:,.0f} sentences: {score:.2f}, 95 % interval {low:.2f} to {high:.2f}."
