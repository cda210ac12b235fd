"""Schematics: what the equations mean. No data, no encoder, the same picture every time.

    figures.show(schematics.cases(), "schematic_cases", …)

``GALLERY`` lists them under the names that they have in figures/. As in `hncse.visual.figures`, ``get_label()`` says in
words what a picture shows. Places on a circle are angles to the anchor, in degrees.

Taught in notebooks 01 (two dropout passes, the cases), 03 (the denominator's columns) and 04 (a mix on the sphere).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyBboxPatch, Rectangle, Wedge

from hncse.visual.style import CASE_COLOURS, INK, MUTED, OKABE_ITO, figure, styled

__all__ = ["GALLERY", "cases", "chord", "circle", "denominator", "dropout_passes", "mix_on_sphere", "push", "spot"]

_PULL, _PUSH, _MIX, _NEAR = OKABE_ITO["blue"], OKABE_ITO["vermillion"], OKABE_ITO["orange"], OKABE_ITO["yellow"]
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}


def dropout_passes() -> Figure:
    """Draw one sentence, two passes with other units switched off, and the batch of cosines that comes of it."""
    with styled():
        fig, (axes,) = figure(8.2, 3.5)
        _plain(axes, (0, 16.4), (0, 7))
        _box(axes, 0.1, 2.9, 3.2, 1.2, "“A cat sat\non the mat.”", "#f2f2f2")
        rng = np.random.default_rng(4)
        for y, name, ink in ((4.6, "$z^1_i$", INK), (0.7, "$z^2_i$", _PULL)):
            _box(axes, 4.5, y, 3.4, 1.7, "", "#f2f2f2")
            for k, off in enumerate(rng.random(12) < 0.3):
                x, up = 4.95 + 0.5 * (k % 6), y + 0.55 + 0.6 * (k // 6)
                axes.plot(x, up, "o", color="white" if off else MUTED, markeredgecolor=MUTED, markersize=8)
                if off:
                    axes.plot(x, up, "x", color=_PUSH, markersize=7, markeredgewidth=1.6)
            axes.annotate("", (4.4, y + 0.85), (3.4, 3.5), arrowprops=_ARROW)
            axes.annotate("", (9.0, y + 0.85), (8.0, y + 0.85), arrowprops=_ARROW)
            _math(axes, 9.5, y + 0.85, name, color=ink, fontsize=15)
        _text(axes, 6.2, 6.65, "the encoder, dropout mask 1")
        _text(axes, 6.2, 0.3, "the same encoder, mask 2")
        axes.annotate("", (11.1, 3.9), (10.0, 5.1), arrowprops=_ARROW)
        axes.annotate("", (11.1, 3.1), (10.0, 1.9), arrowprops=_ARROW)
        for i in range(4):
            for j in range(4):
                colour, alpha = (_PULL, 0.9) if i == j else (_PUSH, 0.28)
                axes.add_patch(Rectangle((11.6 + j, 4.6 - i), 0.94, 0.94, facecolor=colour, alpha=alpha, linewidth=0))
        _math(axes, 13.6, 6.1, "$s_{ij} = \\cos(z^1_i,\\, z^2_j)$", fontsize=12)
        _text(axes, 13.6, 0.9, "diagonal: positives, pulled", color=_PULL, fontweight="bold")
        _text(axes, 13.6, 0.35, "all else: negatives, pushed", color=_PUSH, fontweight="bold")
    fig.set_label(
        "One sentence goes through the same encoder twice with different dropout masks and becomes two vectors, z1 "
        "and z2. A table compares all first views of a batch with all second views: the diagonal holds the "
        "positives, which are pulled together, every other cell a negative, which is pushed away."
    )
    return fig


def cases() -> Figure:
    """Draw HNCSE's cases B, A and C on the circle: where the hardest negative stands, and what PM makes of it."""
    drawn = (  # case, degrees of positive and hardest negative, weights of z³
        ("B", 40, -75, "safe", "$p > n,\\ (p-n)/p > \\mathrm{band}$", "$z^3 = z^2$", (1.0, 0.0)),
        ("A", 46, -49, "near the boundary", "$p > n,\\ (p-n)/p \\leq \\mathrm{band}$",
         "$z^3 = w_1 z^2 + w_2 z^2_{j*}$", (0.8, 0.3)),
        ("C", 62, 24, "on the wrong side", "$p \\leq n$", "$z^3 = (p\\,z^2 + n\\,z^2_{j*})/(p+n)$",
         (np.cos(np.radians(62)), np.cos(np.radians(24)))),
    )  # fmt: skip
    with styled():
        fig, panels = figure(8.2, 2.6, columns=3)
        for axes, (case, positive, hardest, name, rule, mixed, (w1, w2)) in zip(panels, drawn, strict=True):
            _half(axes, positive, -0.65)
            spot(axes, positive, _PULL, "o", "positive")
            spot(axes, hardest, _PUSH, "^", "hardest\nnegative")
            if case != "B":
                chord(axes, positive, hardest)
                spot(axes, _angle(w1 * _on(positive) + w2 * _on(hardest)), _PULL, "P", "z³", hollow=True, out=0.8)
            axes.set_title(f"{case}: {name}", color=CASE_COLOURS[case], loc="center")
            _math(axes, 0, -0.3, rule, fontsize=11)
            _math(axes, 0, -0.52, mixed, fontsize=11, color=_PULL)
    fig.set_label(
        "Three half circles with the anchor on top; the boundary goes through the positive, and everything nearer "
        "to the anchor is shaded. Case B: the hardest negative is far outside, z3 is the positive. Case A: it is "
        "just outside, z3 is a weighted sum of positive and hardest negative. Case C: it is inside, z3 is their "
        "mean weighted by p and n and lies nearer to the anchor than the positive."
    )
    return fig


def mix_on_sphere() -> Figure:
    """Draw HNM's mix of two negatives: once harder than both, once between them."""
    drawn = (
        ("Negatives on two sides of the anchor:\ntheir mix is harder than either", 50, (-58, 88)),
        ("Negatives on one side:\ntheir mix is harder than one of them only", 50, (30, 84)),
    )
    with styled():
        fig, panels = figure(8.2, 2.9, columns=2)
        for axes, (title, positive, (a, b)) in zip(panels, drawn, strict=True):
            _half(axes, positive, -0.35)
            spot(axes, -positive if a > 0 else positive, _PULL, "o", "p")
            spot(axes, a, _PUSH, "^", "a")
            spot(axes, b, _PUSH, "^", "b")
            chord(axes, a, b)
            middle = (_on(a) + _on(b)) / 2
            place = _angle(middle)
            axes.plot(*middle, "o", color="white", markeredgecolor=_MIX, markersize=5)
            axes.annotate("", 0.96 * _on(place), middle, arrowprops=_ARROW | {"color": _MIX})
            spot(axes, place, _MIX, "X", "g", hollow=True)
            axes.set_title(title, loc="center", fontsize=10)
        _math(panels[0], 0, -0.24, "$g = \\alpha\\,z^2_a + (1-\\alpha)\\,z^2_b$: on the chord, then out to the sphere")
        _math(panels[1], 0, -0.24, "only the angle of $g$ counts: a cosine ignores length")
    fig.set_label(
        "Two half circles with the anchor on top. Left, negatives a and b stand on both sides of it, outside the "
        "boundary; the middle of their chord, pushed out to the circle, is their mix g, nearer to the anchor than "
        "both. Right, a and b stand on one side; their mix lies between them, farther from the anchor than a."
    )
    return fig


def denominator() -> Figure:
    """Draw which columns an anchor's denominator has: SimCSE's, PM's (z³ in every column), HNM's mixes beside them."""
    rows = (  # name, of which view the columns are, how many mixes, in words
        (4.6, "SimCSE", 2, "", "z² in every column"),
        (2.8, "PM", 3, "", "z³ replaces z² in EVERY column"),
        (1.0, "HNM", 2, "12s", "z², and s mixes of the anchor's own"),
    )
    with styled():
        fig, (axes,) = figure(8.6, 3.5)
        _plain(axes, (-3.1, 15.9), (-0.9, 6.3))
        for y, name, view, mixes, words in rows:
            _text(axes, -3.0, y + 0.5, name, ha="left", fontweight="bold", fontsize=11)
            _text(axes, -3.0, y - 0.35, words, ha="left", fontsize=8.5, color=MUTED)
            _text(axes, 6.95, y + 0.5, "…")
            for k, index in enumerate("12iN"):
                look = (_PULL, 0.25) if index == "i" else (_PUSH, 0.16)
                _cell(axes, 2.3 * k + 0.5 * (k == 3), y, f"z^{view}_{{{index}}}", *look, striped=view == 3)
            for k, index in enumerate(mixes):
                _cell(axes, 9.8 + 2.02 * k, y, f"g_{{i{index}}}", _MIX, 0.3, wide=1.94)
        _text(axes, 5.55, 6.0, "numerator", color=_PULL, fontweight="bold")
        _text(axes, 12.8, 2.4, "mixes: in the denominator only", color="#8a5a00", fontsize=9)
        total = r"\sum_{\mathrm{all\ columns\ of\ the\ row}} e^{\,\mathrm{column}/\tau}"
        _math(axes, 5.6, -0.35, rf"$\ell_i = -\log\ e^{{\,\mathrm{{blue\ column}}/\tau}}\ /\ {total}$", fontsize=12)
    fig.set_label(
        "Three rows of boxes, the columns of one anchor's denominator. SimCSE: cosines of z1_i with z2 of all N "
        "sentences; column i is the numerator. PM: the same N columns, but with z3 in place of z2 in every one, "
        "negatives included. HNM: SimCSE's N columns and s more, cosines with mixes g of the anchor's own hardest "
        "negatives, in the denominator only."
    )
    return fig


GALLERY: dict[str, Callable[[], Figure]] = {
    "schematic_dropout": dropout_passes,
    "schematic_cases": cases,
    "schematic_mix": mix_on_sphere,
    "schematic_denominator": denominator,
}


def _plain(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set(xlim=x, ylim=y, aspect="equal")
    axes.axis("off")


def _text(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    plain: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9.5}
    axes.text(x, y, text, **plain | look)


def _math(axes: Axes, x: float, y: float, formula: str, **look: Any) -> None:
    """Ours, no user's text: dollars are formulas."""
    _text(axes, x, y, formula, **look | {"parse_math": True})


def _box(axes: Axes, x: float, y: float, wide: float, high: float, text: str, colour: str) -> None:
    axes.add_patch(FancyBboxPatch((x, y), wide, high, "round,pad=0.02,rounding_size=0.2", fc=colour, ec=MUTED))
    _text(axes, x + wide / 2, y + high / 2, text)


def _cell(
    axes: Axes, x: float, y: float, other: str, colour: str, alpha: float, wide: float = 2.1, striped: bool = False
) -> None:
    axes.add_patch(Rectangle((x, y), wide, 1.0, facecolor=colour, alpha=alpha, linewidth=0))
    axes.add_patch(Rectangle((x, y), wide, 1.0, fill=False, edgecolor=MUTED, linewidth=0.8))
    if striped:  # told apart without colour
        axes.add_patch(Rectangle((x, y + 0.86), wide, 0.14, fill=False, edgecolor=_PULL, linewidth=0, hatch="//////"))
    _math(axes, x + wide / 2, y + 0.48, f"$\\cos(z^1_i, {other})$", fontsize=9.5)


def _on(degrees: float) -> Any:
    """The place at an angle from the anchor, which is on top: right is positive."""
    return np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def _angle(place: Any) -> float:
    """The angle from the anchor of a place that may lie inside the sphere."""
    return float(np.degrees(np.arctan2(place[0], place[1])))


def circle(axes: Axes, anchor: float, tie: float, arc: tuple[float, float] = (0, 360)) -> None:
    """Draw a circle with what is nearer to the anchor than ``tie`` shaded; degrees from the top, clockwise."""
    _plain(axes, (-1.5, 1.5), (-1.4, 1.4))
    axes.add_patch(Wedge((0, 0), 1, 90 - anchor - tie, 90 - anchor + tie, color=_NEAR, alpha=0.3, linewidth=0))
    axes.add_patch(Arc((0, 0), 2, 2, theta1=arc[0], theta2=arc[1], color=MUTED, linewidth=1.2))
    for side in (-tie, tie):
        axes.plot(*np.array([(0, 0), _on(anchor + side)]).T, color=INK, linewidth=1.2)


def _half(axes: Axes, positive: float, low: float) -> None:
    """The upper half of the sphere, cut through, with the anchor on top."""
    circle(axes, 0, positive, arc=(-4, 184))
    axes.set(xlim=(-1.45, 1.45), ylim=(low, 1.28))
    axes.plot(*_on(0), "*", color="black", markersize=15, markeredgecolor="white", zorder=5)
    _text(axes, 0, 1.17, "anchor", fontsize=9)


def push(axes: Axes, degrees: float, derivative: float, colour: str) -> None:
    """Draw where one step of descent moves a point of the circle: along a ``derivative`` by its angle."""
    length = 40 * float(np.tanh(2.5 * derivative))  # clockwise is down the derivative
    if abs(length) > 3:
        bend = f"arc3,rad={-0.13 * np.sign(length) * abs(length) / 40:.3f}"
        look = _ARROW | {"color": colour, "linewidth": 2, "connectionstyle": bend}
        axes.annotate("", 1.12 * _on(degrees + length), 1.12 * _on(degrees), arrowprops=look)


def spot(
    axes: Axes, degrees: float, colour: str, marker: str, text: str, *, hollow: bool = False, out: float = 1.13
) -> None:
    """Mark a place on the circle and name it, ``out`` radii from the centre."""
    inner, rim = ("white", colour) if hollow else (colour, "white")
    wide = 1.7 if hollow else 0.8
    axes.plot(*_on(degrees), marker, color=inner, markeredgecolor=rim, markersize=10, markeredgewidth=wide, zorder=4)
    x, y = out * _on(degrees)
    side = "center" if abs(x) < 0.2 or out < 1 else "left" if x > 0 else "right"
    _text(axes, x, y, text, ha=side, fontsize=9, color=colour, fontweight="bold")


def chord(axes: Axes, *ends: float) -> None:
    """Draw the straight line between places on the circle."""
    axes.plot(*np.array([_on(each) for each in ends]).T, color=_MIX, linewidth=1.2, linestyle="--")
