"""One look for every picture, and one way to store and show it.

Colours are Okabe and Ito's, told apart with any colour vision; where two would be alike in grey, lines differ in
style and points in shape too. Figures are made without pyplot: no window, no global state, nothing to close.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from hncse.data import text as escape
from hncse.errors import HncseError
from hncse.files import whole_file
from hncse.runs import Run

__all__ = [
    "CASE_COLOURS", "INK", "MUTED", "OKABE_ITO", "SERIES", "WIDTH", "figure", "finite", "image", "label_right",
    "log_axis", "looks", "one_line", "png", "save", "score_limits", "show", "spread", "styled",
]  # fmt: skip

OKABE_ITO = {
    "orange": "#E69F00", "sky": "#56B4E9", "green": "#009E73", "yellow": "#F0E442", "blue": "#0072B2",
    "vermillion": "#D55E00", "purple": "#CC79A7", "black": "#000000",
}  # fmt: skip
#: HNCSE's cases: near the boundary, safe, on the wrong side.
CASE_COLOURS = {"A": OKABE_ITO["orange"], "B": OKABE_ITO["blue"], "C": OKABE_ITO["vermillion"]}
#: Colour, line and marker of up to seven series; any of the three tells them apart, so they differ in grey as well.
SERIES: tuple[tuple[str, str, str], ...] = (
    (OKABE_ITO["blue"], "-", "o"), (OKABE_ITO["vermillion"], "--", "s"), (OKABE_ITO["green"], ":", "^"),
    (OKABE_ITO["purple"], "-.", "D"), (OKABE_ITO["orange"], "-", "v"), (OKABE_ITO["sky"], "--", "P"),
    (OKABE_ITO["black"], ":", "X"),
)  # fmt: skip
INK, MUTED = "#222222", "#6b6b6b"
WIDTH = 860  # CSS pixels: fits a laptop's notebook column
_DPI = 200

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 8, "axes.labelsize": 10, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    **{f"{axis}tick.color": MUTED for axis in "xy"}, **{f"{axis}tick.labelcolor": INK for axis in "xy"},
    **{f"{axis}tick.labelsize": 9 for axis in "xy"},
    "text.color": INK,
    "text.parse_math": False,  # names and sentences come from users: a dollar sign in them is a dollar sign
    "grid.color": "#dddddd", "grid.linewidth": 0.7, "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "hncse",  # the same picture twice is the same file twice
}  # fmt: skip


def styled() -> AbstractContextManager[None]:
    """Apply the house style inside a ``with``; outside, the reader's own settings stay as they are."""
    plain: Any = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    return mpl.rc_context(plain | _RC)


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``width`` by ``height`` inches and its axes, row by row; call inside `styled`."""
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False, **kwargs)
    return fig, list(axes.flat)


def looks(names: Sequence[str], what: str, most: int = len(SERIES)) -> Sequence[tuple[str, str, str]]:
    """Colour, line and marker for each of several series.

    Raises:
        HncseError: None, or more than can be told apart: nothing is left out of a picture without a word.
    """
    if not 0 < len(names) <= most:
        raise HncseError(f"there are {len(names)} {what} to draw ({', '.join(map(str, names))}); give 1 to {most}")
    return SERIES[: len(names)]


def finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Values as a float64 array of the same shape; HncseError where there are none, or NaN or infinite ones."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise HncseError(f"there are no {what} to draw")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise HncseError(f"{bad} of {array.size} {what} are NaN or infinite; a picture needs finite numbers")
    return array


def one_line(text: str, most: int | None = None) -> str:
    """Text from outside as one line that can be drawn (`hncse.data.text.picture`), cut at ``most`` characters."""
    line = escape.picture(text)
    return line if most is None or len(line) <= most else line[: most - 1].rstrip() + "…"


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until neighbours are ``gap`` from each other, order and rough place kept.

    None lies below ``low``; ``high`` is given up before ``gap`` is where both cannot hold.
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    places = [min(max(p, low), high) for p in positions]
    for before, after in pairwise(order):
        places[after] = max(places[after], places[before] + gap)
    if order and places[order[-1]] > high:
        places[order[-1]] = high
        for after, before in pairwise(order[::-1]):
            places[before] = min(places[before], places[after] - gap)
    return places


def label_right(axes: Axes, ends: list[tuple[float, str, str]], size: float = 9, swatches: Sequence[str] = ()) -> None:
    """Name lines at their right ends, (y, text, colour) each, without overlap; the axes' limits are set before.

    ``swatches`` are colours of a small square before each text.
    """
    low, high = axes.get_ylim()
    fig = axes.get_figure(root=True)
    assert fig is not None
    height = axes.get_position().height * fig.get_figheight() * 72  # points
    gap = 1.25 * size / height * (high - low)
    places = spread([y for y, _, _ in ends], gap, low + gap / 2, high - gap / 2)
    for place, swatch in zip(places, swatches, strict=False):
        axes.plot(
            1.02, place, "s", color=swatch, markersize=6, clip_on=False,
            transform=axes.get_yaxis_transform(), scalex=False, scaley=False,
        )  # fmt: skip
    for place, (_, text, colour) in zip(places, ends, strict=True):
        axes.annotate(
            one_line(text), (1, place), xycoords=("axes fraction", "data"), xytext=(18 if swatches else 6, 0),
            textcoords="offset points", va="center", color=colour, fontsize=size, fontweight="bold",
            annotation_clip=False,
        )  # fmt: skip


def log_axis(axes: Axes, axis: str) -> None:
    """Make an axis (``"x"`` or ``"y"``) logarithmic, with plain numbers; matplotlib's own labels are formulas."""
    line = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    line.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))


def score_limits(values: ArrayLike, room: float = 0.12) -> tuple[float, float]:
    """Ends of an axis of scores, ``room`` (a share of their span) beyond them; never finer than a probe can tell apart.

    It spans six points at least: some five times the half width of the probe's interval.
    """
    span = float(np.ptp(values))
    pad = max(1.0, room * span, (6.0 - span) / 2)
    return float(np.min(values)) - pad, float(np.max(values)) + pad


def png(fig: Figure) -> bytes:
    """The figure as a PNG file's bytes."""
    return _render(fig, "png")


def save(picture: Figure, path: Path) -> list[Path]:
    """Write ``<path>.png`` and ``<path>.svg``; the same figure gives the same bytes.

    The whole name is kept, dots included (``tau_0.1`` gives ``tau_0.1.png``); only a ``.png`` or ``.svg`` at its end is
    not written twice.
    """
    name = path.name.removesuffix(".png").removesuffix(".svg")
    if name in ("", ".."):
        raise HncseError(f"{str(path)!r} is no file name for a picture")
    paths = []
    for ending in ("png", "svg"):
        target = path.with_name(f"{name}.{ending}")
        with whole_file(target, "wb") as file:
            file.write(_render(picture, ending))
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

    Raises:
        HncseError: The name is that of a folder or leaves ``figures/``, or the disk refuses.
    """
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name:
        raise HncseError(f"{name!r} is no plain file name; a picture is stored in its run's figures/ under one")
    if run is not None:
        save(picture, run.path / "figures" / name)
    from IPython.display import display

    code = base64.b64encode(png(picture)).decode()
    markup = (
        f'<figure style="margin:0">{image(picture, alt, code)}<figcaption style="font-size:90%;opacity:.75;'
        f'max-width:{WIDTH}px">{html.escape(caption)}</figcaption></figure>'
    )
    display({"text/html": markup, "image/png": code, "text/plain": f"{alt} {caption}"}, raw=True)


def image(picture: Figure, alt: str, code: str | None = None) -> str:
    """The figure as an HTML image; ``code`` is its PNG in base64 where that is at hand."""
    code = code or base64.b64encode(png(picture)).decode()
    return f'<img src="data:image/png;base64,{code}" alt="{html.escape(alt)}" style="width:100%;max-width:{WIDTH}px"/>'


def widget(script: Path, **state: Any) -> Any:
    """A widget that an ES module draws from a state: names → JSON-able values, each a synchronised trait."""
    return _kind(script, tuple(state))(**state)


@functools.cache
def _kind(script: Path, names: tuple[str, ...]) -> Any:
    """The widget's class; made when first used, so that importing this module needs no anywidget."""
    import anywidget
    import traitlets

    fields = {name: traitlets.Any().tag(sync=True) for name in names}
    return type("Picture", (anywidget.AnyWidget,), fields | {"_esm": script.read_text(encoding="utf-8")})


def html_page(title: str, script: Path, call: str, data: Any) -> str:
    """Write a page that fetches nothing and holds ``data``, JSON in which no text can end or open an element.

    ``call`` says what to do with ``el``, an element, and ``data``: one of the ES module's functions, called.
    """
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n"
        f'<body style="margin:16px auto;max-width:976px">\n<div id="film"></div>\n'
        f'<script type="application/json" id="data">{text}</script>\n'
        f'<script type="module">\n{script.read_text(encoding="utf-8")}\n'
        'const el = document.getElementById("film"), data = JSON.parse(document.getElementById("data").textContent);\n'
        f"{call};\n</script>\n</body>\n</html>\n"
    )


def _render(picture: Figure, ending: str) -> bytes:
    file = io.BytesIO()
    with styled():
        metadata = {"Software": None} if ending == "png" else {"Date": None}
        picture.savefig(file, format=ending, dpi=_DPI, metadata=metadata, facecolor="white")
    return file.getvalue()
