"""Picture of a search: encoders of several shapes, their size against what they score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hncse.errors import HncseError
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, styled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIMIT", "shapes_figure"]

LIMIT = 12.0  # megabytes of 1,000,000 bytes: what the embedded encoder may weigh
Shape = tuple[int, int, int]
_LOOKS = {1: (OKABE_ITO["blue"], "o"), 2: (OKABE_ITO["green"], "s")}  # by layers; colour or shape tells them apart
_OURS = OKABE_ITO["vermillion"]
_PANELS = {"simcse": "After SimCSE", "raw": "Counted vectors, before training"}
_PLACES = (  # where a point's name may stand: offset in points, alignment; the first that covers least
    (0, 8, "center", "bottom"), (0, -8, "center", "top"), (8, 0, "left", "center"), (-8, 0, "right", "center"),
    (6, 8, "left", "bottom"), (-6, 8, "right", "bottom"), (6, -8, "left", "top"), (-6, -8, "right", "top"),
)  # fmt: skip
_Box = tuple[float, float, float, float]  # left, bottom, right, top; points


def shapes_figure(table: pd.DataFrame, ours: Shape, limit: float = LIMIT) -> Figure:
    """Draw STS-B dev against megabytes, after training above and before it below.

    Args:
        table: From benchmarks/encoder_shapes.py: a row a shape with ``vocabulary``, ``width``, ``layers``, ``bytes``,
            ``raw`` and ``simcse`` (STS-B dev, Spearman × 100).
        ours: Vocabulary, width and layers of the shape to mark.
        limit: Megabytes, a line across.

    Raises:
        HncseError: The table is empty.
    """
    if not len(table):
        raise HncseError("the table has no shapes to draw")
    with styled():
        fig, panels = figure(8.2, 6.2, rows=2, sharex=True)
        for axes, (column, title) in zip(panels, _PANELS.items(), strict=True):
            _panel(axes, table, column, ours, limit)
            axes.set_title(title)
            axes.set_ylabel("STS-B dev,\nSpearman × 100")
        panels[0].annotate(
            f"limit: {limit:g} MB", (limit, 1), xycoords=("data", "axes fraction"), xytext=(5, -3),
            textcoords="offset points", va="top", color=MUTED, fontsize=8.5,
        )  # fmt: skip
        panels[1].set_xlabel("size of model.safetensors in half precision, MB")
        for axes in panels:
            _name_points(axes, table, "simcse" if axes is panels[0] else "raw", ours)
    fig.set_label(_words(table, ours, limit))
    return fig


def _panel(axes: Axes, table: pd.DataFrame, column: str, ours: Shape, limit: float) -> None:
    for row in table.itertuples():
        colour, marker = _LOOKS.get(row.layers, (MUTED, "v"))
        mine = _shape(row) == ours
        axes.plot(
            row.bytes / 1e6, getattr(row, column), "*" if mine else marker, color=_OURS if mine else colour,
            markersize=14 if mine else 7,
        )  # fmt: skip
    axes.axvline(limit, color=MUTED, linewidth=1, linestyle="--")
    sizes = table["bytes"] / 1e6
    axes.set_xlim(sizes.min() - 0.9, max(sizes.max(), limit) + 1.1)
    low, high = table[column].min(), table[column].max()
    pad = max(0.5, 0.3 * (high - low))
    axes.set_ylim(low - pad, high + pad)
    axes.grid(axis="both")


def _name_points(axes: Axes, table: pd.DataFrame, column: str, ours: Shape) -> None:
    """Write each shape beside its point, where it covers least of points and other names."""
    fig = axes.get_figure(root=True)
    if fig is None:
        return
    fig.draw_without_rendering()  # axes get their final size only now
    to_points = 72 / fig.dpi
    points = [
        axes.transData.transform((row.bytes / 1e6, getattr(row, column))) * to_points for row in table.itertuples()
    ]
    limit = axes.transData.transform((LIMIT, 0))[0] * to_points
    taken: list[_Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in points] + [(limit - 1, -9999, limit + 1, 9999)]
    for row, (x, y) in zip(table.itertuples(), points, strict=True):
        text, mine = _name(_shape(row)), _shape(row) == ours
        size = (5.6 * len(text) * (1.15 if mine else 1), 11)  # points, roughly, at font size 9
        boxes = [_box(x + dx, y + dy, *size, ha, va) for dx, dy, ha, va in _PLACES]
        covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        dx, dy, ha, va = _PLACES[best]
        axes.annotate(
            text, (row.bytes / 1e6, getattr(row, column)), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va,
            fontsize=9, color=_OURS if mine else INK, fontweight="bold" if mine else "normal",
        )  # fmt: skip


def _box(x: float, y: float, width: float, height: float, ha: str, va: str) -> _Box:
    left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[ha] * width
    bottom = y - {"bottom": 0.0, "center": 0.5, "top": 1.0}[va] * height
    return left, bottom, left + width, bottom + height


def _overlap(one: _Box, other: _Box) -> float:
    """Area that two boxes share, square points."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _shape(row: object) -> Shape:
    return tuple(int(getattr(row, name)) for name in ("vocabulary", "width", "layers"))  # type: ignore[return-value]


def _name(shape: Shape) -> str:
    vocabulary, width, layers = shape
    return f"{vocabulary:,} × {width}" + ("" if layers == 1 else f", {layers} layers")


def _words(table: pd.DataFrame, ours: Shape, limit: float) -> str:
    rows = sorted(table.itertuples(), key=lambda row: row.bytes)
    parts = [
        f"{_name(_shape(row))}{' (the kit)' if _shape(row) == ours else ''}: {row.bytes / 1e6:.1f} MB, "
        f"{row.raw:.2f} raw, {row.simcse:.2f} after SimCSE"
        for row in rows
    ]
    return (
        "Two scatter plots of STS-B dev against size, a point a shape (vocabulary × width), and the limit. "
        + "; ".join(parts) + "."
    )  # fmt: skip
