"""Pictures of tables: our rows with their intervals beside published ones on one axis, and dev beside test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hncse.data.text import picture as plain
from hncse.errors import HncseError
from hncse.evaluation import results, tables
from hncse.visual import differences
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, save, styled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dev_and_test", "draw", "sts_figure", "transfer_figure"]

_TITLES = {
    "published": "Published, as printed",
    "untrained": "Untrained",
    "recorded": "Recorded with the kit",
    "ours": "Yours",
}
_BACKBONES = {  # colour and shape: either tells them apart
    "bert-base": (OKABE_ITO["black"], "o"),
    "roberta-base": (OKABE_ITO["green"], "s"),
    "roberta-large": (OKABE_ITO["purple"], "D"),
}
_OTHER = (MUTED, "v")
_SEEDED = ("ours", "recorded")  # means over seeds
_KINDS = {
    "ours": (OKABE_ITO["blue"], "o"), "recorded": (OKABE_ITO["sky"], "P"), "untrained": (OKABE_ITO["orange"], "^"),
}  # fmt: skip


def sts_figure(table: pd.DataFrame, seeds: Sequence[float] = ()) -> Figure:
    """Draw the averages of a ``tables.sts_table``, a row a method, ours with their 95 % intervals over seeds.

    ``seeds`` are averages of unsupervised SimCSE's runs on BERT-base (literature's seed_runs), drawn as ticks on a line
    of their own: how large luck is.
    """
    return _averages(table, seeds, "STS", "Spearman × 100")


def transfer_figure(table: pd.DataFrame) -> Figure:
    """Draw the averages of an `hncse.evaluation.tables.transfer_table` as `sts_figure` does."""
    return _averages(table, (), "transfer", "accuracy × 100")


def dev_and_test(result: dict[str, Any]) -> Figure:
    """Draw, for each task of ``transfer.evaluate_full``, the accuracy that chose the strength (dev) beside test."""
    tasks = result["tasks"]
    with styled():
        made, (axes,) = figure(7.2, 1.3 + 0.36 * len(tasks))
        for place, entry in enumerate(tasks.values()):
            low, high = entry["interval"]
            axes.plot([low, high], [place, place], color=OKABE_ITO["blue"], linewidth=2.2, solid_capstyle="butt")
            axes.plot(entry["acc"], place, "o", color=OKABE_ITO["blue"], label="test" if not place else None)
            axes.plot(
                entry["dev"], place, "D", color=OKABE_ITO["vermillion"], markerfacecolor="white",
                label="dev, by which the strength was chosen" if not place else None,
            )  # fmt: skip
        axes.set_yticks(range(len(tasks)), list(tasks))
        axes.set_ylim(len(tasks) - 0.4, -0.6)  # first task on top, markers whole
        axes.grid(axis="x")
        axes.set_xlabel("accuracy × 100; bars: 95 % intervals over scored rows")
        made.legend(loc="outside lower center", ncols=2)
    pairs = ", ".join(f"{name} test {e['acc']:.2f}, dev {e['dev']:.2f}" for name, e in tasks.items())
    made.set_label(f"Dots with bars for accuracy on test rows, hollow diamonds for dev accuracy. {pairs}.")
    return made


def draw(frame: pd.DataFrame, out: Path, baseline: str = "simcse") -> list[Path]:
    """Draw ``sts_table``, ``transfer_table`` and ``differences`` of runs that have such results, as PNG and SVG."""
    solver = results.best_solver(frame)
    written = []
    for name, table, picture in (
        ("sts_table", tables.sts_table(frame), sts_figure),
        ("transfer_table", tables.transfer_table(frame, solver == "senteval", solver=solver), transfer_figure),
    ):
        if (table["kind"] == "ours").any():
            written += save(picture(tables.landmarks(table)), out / name)
    effects = differences.effects(frame, baseline)
    return written + (save(differences.forest(effects), out / "differences") if len(effects) else [])


def _averages(table: pd.DataFrame, seeds: Sequence[float], what: str, measure: str) -> Figure:
    if not len(table):
        raise HncseError("the table has no rows to draw")
    lines = _lines(table, seeds)
    with styled():
        made, (axes,) = figure(8.2, 0.9 + 0.25 * len(lines))
        for place, (kind, content) in enumerate(lines):
            if kind == "title":
                axes.text(0, place, content, transform=axes.get_yaxis_transform(), va="center", fontweight="bold")
            elif kind == "seeds":
                axes.plot(content, [place] * len(content), "|", color=INK, markersize=9, alpha=0.5)
            else:
                _dot(axes, place, content)
        axes.set_ylim(len(lines) - 0.3, -0.7)
        axes.set_yticks(*_ticks(lines))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.margins(x=0.12)
        axes.set_xlabel(f"average of the seven {what} tasks, {measure}")
    made.set_label(f"Dot plot of average {what} scores, from the lowest to the highest in each group. " + _words(table))
    return made


def _words(table: pd.DataFrame) -> str:
    parts = []
    for kind, title in _TITLES.items():
        rows = table[(table["kind"] == kind) & table["avg"].notna()].sort_values("avg")
        if len(rows):
            dots = ", ".join(f"{row['method'].split(' (sd of')[0]} {row['avg']:.2f}" for _, row in rows.iterrows())
            parts.append(f"{title}: {dots}.")
    return " ".join(parts)


def _lines(table: pd.DataFrame, seeds: Sequence[float]) -> list[tuple[str, Any]]:
    """What stands on each line, from the top: ("title", text), ("row", row) or ("seeds", values)."""
    lines: list[tuple[str, Any]] = []
    for kind, title in _TITLES.items():
        rows = table[(table["kind"] == kind) & table["avg"].notna()].sort_values("avg")
        if len(rows):
            lines += [("title", title), *(("row", row) for _, row in rows.iterrows())]
        if kind == "published" and len(seeds):
            lines.append(("seeds", list(seeds)))
    return lines


def _ticks(lines: list[tuple[str, Any]]) -> tuple[list[int], list[str]]:
    places = [place for place, (kind, _) in enumerate(lines) if kind != "title"]
    return places, [plain(_name(*lines[place])) for place in places]


def _name(kind: str, content: Any) -> str:
    if kind == "seeds":
        return f"unsupervised SimCSE, bert-base, {len(content)} seeds"
    if content["kind"] == "published":
        method = content["method"].split(" (sd of")[0]
        return f"{_short(method)}, {content['encoder']}"
    seeds = f", {content['seeds']:.0f} seed{'s' if content['seeds'] > 1 else ''}" if content["kind"] in _SEEDED else ""
    encoder = content["encoder"].rstrip("/").split("/")[-1]  # a folder's or a hub name's last part
    method = f"{content['method']}, " if content["kind"] in _SEEDED else ""
    return f"{_short(method + encoder)}, {content['pooling']}{seeds}"


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _dot(axes: Axes, place: int, row: Any) -> None:
    colour, marker = _KINDS.get(row["kind"]) or _BACKBONES.get(row["encoder"], _OTHER)
    x, half = float(row["avg"]), float(row["half"])
    known = half == half
    if known:
        axes.plot([x - half, x + half], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
    alone = row["kind"] in _SEEDED and not known  # one seed: hollow, for nobody knows how far luck went
    axes.plot(x, place, marker, color=colour, markersize=6, markerfacecolor="white" if alone else colour)
    text = f"{x:.2f} ± {half:.2f}" if known else f"{x:.2f}"
    axes.annotate(
        text, (x + (half if known else 0), place), xytext=(7, 0), textcoords="offset points",
        va="center", fontsize=8.5, color=INK,
    )  # fmt: skip
