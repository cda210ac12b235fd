"""One look for every picture, and one way to store and show it.

Colours are Okabe and Ito's, told apart with any colour vision; where two would be alike in grey, lines differ in
style and points in shape too. Figures are made without pyplot: no window, no global state, nothing to close.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hncse.errors import HncseError
from hncse.runs import Run

__all__ = [
    "CASE_COLOURS",
    "INK",
    "MUTED",
    "OKABE_ITO",
    "WIDTH",
    "figure",
    "label_right",
    "png",
    "save",
    "show",
    "spread",
]

OKABE_ITO = {
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "black": "#000000",
}
#: HNCSE's cases: near the boundary, safe, on the wrong side.
CASE_COLOURS = {"A": OKABE_ITO["orange"], "B": OKABE_ITO["blue"], "C": OKABE_ITO["vermillion"]}
INK, MUTED = "#222222", "#6b6b6b"
WIDTH = 860  # CSS pixels: fits a laptop's notebook column
_DPI = 200

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "hncse",  # the same picture twice is the same file twice
}


def styled() -> AbstractContextManager[None]:
    """Apply the house style inside a ``with``; outside, the reader's own settings stay as they are."""
    plain: Any = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    return mpl.rc_context(plain | _RC)


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``width`` by ``height`` inches and its axes, row by row; call inside `styled`."""
    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, **kwargs)
    return made, list(axes.flat)


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until neighbours are ``gap`` from each other, order and rough place kept.

    Args:
        positions: Wished places, any order.
        gap: Least distance.
        low: Lowest place allowed.
        high: Highest; given up before ``gap`` is where both cannot hold.
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = [min(max(p, low), high) for p in positions]
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + gap)
    if order and placed[order[-1]] > high:
        placed[order[-1]] = high
        for after, before in pairwise(order[::-1]):
            placed[before] = min(placed[before], placed[after] - gap)
    return placed


def label_right(axes: Axes, ends: list[tuple[float, str, str]], size: float = 9, swatches: Sequence[str] = ()) -> None:
    """Name lines at their right ends, in their colours, without overlap.

    Args:
        axes: With its limits already set.
        ends: (y at the end, text, colour) of every line.
        size: Of the letters, points.
        swatches: Colour of a small square before each text; none where empty.
    """
    low, high = axes.get_ylim()
    made = axes.get_figure(root=True)
    assert made is not None
    height = axes.get_position().height * made.get_figheight() * 72  # points
    gap = 1.25 * size / height * (high - low)
    places = spread([y for y, _, _ in ends], gap, low + gap / 2, high - gap / 2)
    for place, swatch in zip(places, swatches, strict=False):
        axes.plot(
            1.02, place, "s", color=swatch, markersize=6, clip_on=False,
            transform=axes.get_yaxis_transform(), scalex=False, scaley=False,
        )  # fmt: skip
    for place, (_, text, colour) in zip(places, ends, strict=True):
        axes.annotate(
            text, (1, place), xycoords=("axes fraction", "data"), xytext=(18 if swatches else 6, 0),
            textcoords="offset points", va="center", color=colour, fontsize=size, fontweight="bold",
            annotation_clip=False,
        )  # fmt: skip


def png(picture: Figure) -> bytes:
    """The figure as a PNG file's bytes."""
    return _render(picture, "png")


def save(picture: Figure, path: Path) -> list[Path]:
    """Write ``<path>.png`` and ``<path>.svg``; the same figure gives the same bytes.

    Raises:
        HncseError: The folder cannot be written.
    """
    paths = []
    for ending in ("png", "svg"):
        target = path.with_suffix(f".{ending}")
        fresh = target.with_name(f".{target.name}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(_render(picture, ending))
            fresh.replace(target)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise HncseError(f"{target} could not be written: {error.strerror or error}") from error
        paths.append(target)
    return paths


def show(picture: Figure, name: str, alt: str, caption: str, run: Run | None = None) -> None:
    """Show a figure in a notebook with its caption and a text for those who cannot see it; store it with its run.

    Args:
        picture: What one of `hncse.visual.figures` returned.
        name: File name without ending.
        alt: What the picture shows, in words that stand in for it.
        caption: What to look for; plain text.
        run: Whose ``figures/`` receives PNG and SVG; None stores nothing.
    """
    if run is not None:
        save(picture, run.path / "figures" / name)
    from IPython.display import display

    code = base64.b64encode(png(picture)).decode()
    shown = (
        f'<figure style="margin:0"><img src="data:image/png;base64,{code}" alt="{html.escape(alt)}" '
        f'style="width:100%;max-width:{WIDTH}px"/><figcaption>{html.escape(caption)}</figcaption></figure>'
    )
    display({"text/html": shown, "image/png": code, "text/plain": f"{alt} {caption}"}, raw=True)


def _render(picture: Figure, ending: str) -> bytes:
    file = io.BytesIO()
    with styled():
        metadata = {"Software": None} if ending == "png" else {"Date": None}
        picture.savefig(file, format=ending, dpi=_DPI, metadata=metadata, facecolor="white")
    return file.getvalue()
