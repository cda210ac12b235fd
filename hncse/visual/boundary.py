"""Pictures of the decision boundary around one anchor: a polar map, and a ruler that has a row for each kind.

On both every sentence stands at its exact angle to the anchor. The boundary, cos = p, is a circle through the positive
on the map and a line on the ruler; what is inside would be taken for the positive. Only the direction on the map is a
choice: see `hncse.visual.projection`. `caution` puts UMAP's free map beside it, with what that one makes up.

``python -m tools.film RUN`` makes the film and the page of figures/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from hncse.evaluation.geometry import angle
from hncse.visual import projection
from hncse.visual.film import KINDS, NO_NEGATIVES, Film, Moment, name_of
from hncse.visual.style import INK, OKABE_ITO, SERIES, figure, one_line, styled

__all__ = [
    "FreeMap", "caution", "drawable", "free_map", "legend", "look_of", "moment", "picture", "report", "row_places",
    "ruler_rows", "rulers", "strip", "visible", "words",
]  # fmt: skip

Floats = NDArray[np.float64]
#: Kind → colour, marker, size (points). Shapes differ wherever colours do.
LOOKS: dict[str, tuple[str, Any, float]] = {
    "anchor": (OKABE_ITO["black"], "*", 15),
    "positive": (OKABE_ITO["blue"], "o", 10),
    "hard": (OKABE_ITO["vermillion"], "^", 8),
    "false": (OKABE_ITO["green"], "D", 8),
    "topic": ("#8c8c8c", "s", 5),
    "other": ("#b4b4b4", ".", 6),
    "PM": (OKABE_ITO["blue"], "P", 9),
    "HNM": (OKABE_ITO["orange"], "X", 5.0),
}
MIX_NAMES = {"PM": "PM's z³ (synthetic)", "HNM": "HNM's mixes (synthetic)"}
#: A shape for each phenomenon: within a group, which has seldom more than five, no two are alike.
PHENOMENON_MARKERS: dict[str, Any] = {
    "negation": "^", "antonym": "v", "role_swap": "<", "number": ">", "quantifier": "s", "entity": "p",
    "time_order": [(-1, 1), (1, 1), (-1, -1), (1, -1)],  # an hourglass
    "cause_reversed": [(-1, -1), (-1, 1), (1, -1), (1, 1)],  # a bow tie
    "comparison_reversed": "d",
    "place_preposition": [(-1.2, -0.55), (1.2, -0.55), (1.2, 0.55), (-1.2, 0.55)],  # lies
    "hypernym_narrowing": [(-0.55, -1.2), (0.55, -1.2), (0.55, 1.2), (-0.55, 1.2)],  # stands
    "modality": (4, 1, 0),  # four points
}  # fmt: skip
#: The ruler's rows, top to bottom: kind → name. A user's own roles stand before the other sentences.
_ROWS = {
    "positive": "positive", "hard": "hard negatives", "false": "false negative", "other": "other sentences",
    "HNM": "HNM's mixes", "PM": "PM's z³",
}  # fmt: skip
_WRONG: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "linestyles": ":", "linewidths": 1.1}
#: Drawing order: what matters lies on top.
DEPTH = ("other", "topic", "HNM", "hard", "false", "PM", "positive", "anchor")
#: Cosines marked on the ruler and as rings on the map.
TICKS = (1.0, 0.95, 0.85, 0.7, 0.5, 0.25, 0.0)


def moment(film: Film, name: str, step: int) -> Figure:
    """Draw one moment of a run, the snapshot nearest to a step: the map, and the ruler beside it."""
    fig = picture(film, film.at(name, step))
    fig.set_label(f"Polar map and ruler of {one_line(name)}. {fig.get_label()}")
    return fig


def picture(film: Film, at: Moment, *, mixes: bool = True) -> Figure:
    """Draw a moment that need not be a snapshot: one of `Film.between`, for example."""
    with styled():
        fig, (left, right) = figure(8.2, 4.5, columns=2, width_ratios=(1.0, 1.12))
        _polar(left, film, at, mixes, size=1.0)
        left.set_title(", ".join(filter(None, ("Round the anchor", film.when(at)))))
        _ruler(right, film, at, mixes, names=True, size=1.0)
        right.set_title("The same, kind by kind")
        legend(fig, [film], mixes)
    said = words(film, at)
    fig.set_label(f"At {film.when(at)}, {said}" if film.when(at) else said[0].upper() + said[1:])
    return fig


def strip(film: Film, name: str, steps: Sequence[int] | None = None) -> Figure:
    """Draw moments of a run side by side, each map above its ruler: the film for paper.

    ``steps`` of None are four, evenly, the first and the last included.
    """
    if steps is None:
        every = film.moments[name]
        steps = [every[i].step for i in np.unique(np.linspace(0, len(every) - 1, 4).round().astype(int))]
    moments = [film.at(name, step) for step in steps]
    with styled():
        fig, axes = figure(8.2, 5.0, rows=2, columns=len(moments), height_ratios=(1.0, 0.95))
        for i, at in enumerate(moments):
            top, low = axes[i], axes[len(moments) + i]
            _polar(top, film, at, mixes=True, size=0.62)
            top.set_title(f"step {at.step}")
            _ruler(low, film, at, mixes=True, names=i == 0, size=0.62)
        legend(fig, [film], mixes=True)
    first, last = moments[0], moments[-1]
    fig.set_label(
        f"Polar maps above rulers of {one_line(name)} at steps {', '.join(str(at.step) for at in moments)}. "
        f"First, {words(film, first)} Last, {words(film, last)}"
    )
    return fig


def rulers(entries: Sequence[tuple[str, Film, Moment]]) -> Figure:
    """Draw rulers with titles side by side, four at most: several anchors, or one under several losses."""
    with styled():
        fig, axes = figure(8.2, 4.2, columns=len(entries))
        for i, (panel, (title, film, at)) in enumerate(zip(axes, entries, strict=True)):
            _ruler(panel, film, at, mixes=True, names=i == 0, size=0.75)
            panel.set_title(title)
        legend(fig, [film for _, film, _ in entries], mixes=True)
    said = " ".join(f"{title}, step {at.step}: {words(film, at)}" for title, film, at in entries)
    fig.set_label(f"{len(entries)} rulers. {said}")
    return fig


def words(film: Film, at: Moment) -> str:
    """One moment in words: who is on which side."""
    hard = np.array([point.own and point.kind not in NO_NEGATIVES for point in film.points])
    over = int((at.cosine[hard] > at.p).sum())
    inside = sum(m.cosine > at.p for m in at.mixes.negatives)
    return (
        f"the positive is at cosine {at.p:.2f}; {over} of {int(hard.sum())} hard negatives are nearer, the hardest "
        f"sentence is at {at.mixes.n:.2f} (case {at.mixes.case}); {inside} of {len(at.mixes.negatives)} HNM mixes are "
        "nearer."
    )


def visible(film: Film, at: Moment, mixes: bool) -> NDArray[np.bool_]:
    """Which of points and mixes a map shows: what is drawable and inside the frame; (points + mixes,)."""
    return (angle(at.all_cosines) <= film.reach) & drawable(film, at, mixes)


def drawable(film: Film, at: Moment, mixes: bool) -> NDArray[np.bool_]:
    """Which of points and mixes a ruler has: all sentences, and where asked for the mixes that are no sentence.

    In case B, z³ is the positive and not drawn twice.
    """
    wanted = np.repeat([True, mixes], [len(film.points), len(at.synthetic)])
    wanted[len(film.points)] &= at.mixes.case != "B"
    return wanted


def _marks(film: Film, at: Moment) -> list[tuple[str, str | None]]:
    """Kind and phenomenon of every point and mix."""
    return [(p.kind, p.phenomenon) for p in film.points] + [(m.kind, None) for m in at.synthetic]


def depth(kind: str) -> int:
    """How high a kind lies in a picture; a user's own roles lie where hard negatives do."""
    return DEPTH.index(kind if kind in DEPTH else "hard")


def _polar(axes: Axes, film: Film, at: Moment, mixes: bool, size: float) -> None:
    tie, reach = float(angle(at.p)), film.reach
    axes.add_patch(Circle((0, 0), tie, facecolor=OKABE_ITO["yellow"], alpha=0.28, linewidth=0))
    axes.add_patch(Circle((0, 0), tie, fill=False, edgecolor=INK, linewidth=1.4, zorder=2))
    for tick in TICKS[1:]:
        ring = float(angle(tick))
        if ring < reach:
            axes.add_patch(Circle((0, 0), ring, fill=False, edgecolor="#cccccc", linewidth=0.7, zorder=0.5))
            if size > 0.8:
                axes.text(0, -ring, f"{tick:g}", fontsize=8, ha="center", va="center", color="#6b6b6b", zorder=0.6)
    _dots(axes, np.concatenate([at.places, at.mix_places]), film, at, visible(film, at, mixes), size)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#cccccc")


def _dots(axes: Axes, places: Floats, film: Film, at: Moment, drawn: NDArray[np.bool_], size: float) -> None:
    marks = _marks(film, at)
    for i in sorted(np.flatnonzero(drawn), key=lambda i: depth(marks[i][0])):
        dot(axes, float(places[i, 0]), float(places[i, 1]), *marks[i], size)


def ruler_names(film: Film) -> dict[str, str]:
    """Kind → name of the ruler's rows, those that the film's points have."""
    kinds = dict.fromkeys(point.kind for point in film.points)
    first = {kind: name for kind, name in _ROWS.items() if kind in kinds and kind != "other"}
    own = {kind: one_line(name_of(kind), 18) for kind in kinds if kind not in KINDS}
    return first | own | {kind: _ROWS[kind] for kind in ("other", "HNM", "PM")}


def row_places(rows: dict[str, str]) -> dict[str, float]:
    """Kind → height of its row of the ruler, from 0 at the top to 1 at the bottom."""
    return {kind: (i + 1.3) / (len(rows) + 1) for i, kind in enumerate(rows)}


def ruler_rows(rows: dict[str, str], kinds: Sequence[str], angles: Floats) -> list[float]:
    """Height on the ruler of points of these kinds at these angles, from 0 (top) to 1.

    The anchor lies above all rows; points that would lie on each other are lifted apart: up, down, up …
    """
    places = row_places(rows)
    heights = [0.5 / (len(rows) + 1)] * len(kinds)
    for row, place in places.items():
        members = [i for i, kind in enumerate(kinds) if ("other" if kind == "topic" else kind) == row]
        members.sort(key=lambda i: angles[i])
        lifts = dict.fromkeys(members, 0.0)
        for before, after in pairwise(members):
            if row != "other" and angles[after] - angles[before] < 4.0:  # a cloud of dots needs no room
                lifts[before] = lifts[before] or 0.2
                lifts[after] = -lifts[before]
        for i, lift in lifts.items():
            heights[i] = place - lift / (len(rows) + 1)
    return heights


def _ruler(axes: Axes, film: Film, at: Moment, mixes: bool, names: bool, size: float) -> None:
    tie, rows = float(angle(at.p)), ruler_names(film)
    axes.axvspan(0, tie, color=OKABE_ITO["yellow"], alpha=0.28, linewidth=0)
    axes.axvline(tie, color=INK, linewidth=1.4)
    marks, drawn = _marks(film, at), np.flatnonzero(drawable(film, at, mixes))
    angles = angle(at.all_cosines)[drawn]
    heights = ruler_rows(rows, [marks[i][0] for i in drawn], angles)
    for i, x, y in zip(drawn, angles, heights, strict=True):
        dot(axes, float(x), y, *marks[i], size)
    axes.set(xlim=(-4, 100), ylim=(1.0, 0.0))
    axes.set_yticks(list(row_places(rows).values()), [name if names else "" for name in rows.values()])
    ticks = TICKS if size > 0.8 else (1.0, 0.9, 0.6, 0.2)
    axes.set_xticks(angle(np.array(ticks)), [f"{tick:g}" for tick in ticks])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("cosine to the anchor (scale: angle)" if size > 0.8 else "cosine to the anchor")
    axes.text(tie + 1.5, 0.05, f"p = {at.p:.2f}", fontsize=9 if size > 0.8 else 8.5, va="center").set_in_layout(False)


def look_of(kind: str, phenomenon: str | None = None) -> tuple[str, Any, float]:
    """Colour, marker and size (points) of a point; a user's own role gets a look by its name's letters."""
    if kind not in LOOKS:
        colour, _, marker = SERIES[2:][sum(kind.encode()) % len(SERIES[2:])]
        return colour, marker, 8
    colour, marker, size = LOOKS[kind]
    return colour, PHENOMENON_MARKERS.get(phenomenon or "", marker) if kind == "hard" else marker, size


def _style(kind: str, phenomenon: str | None) -> dict[str, Any]:
    """Marker and colours of a point; synthetic ones are hollow."""
    colour, marker, _ = look_of(kind, phenomenon)
    inner, rim = ("white", colour) if kind in MIX_NAMES else (colour, "white")
    return {"marker": marker, "color": inner, "markeredgecolor": rim, "linestyle": "none"}


def dot(axes: Axes, x: float, y: float, kind: str, phenomenon: str | None, size: float) -> None:
    """Draw one point; ``size`` scales all of them."""
    look = _style(kind, phenomenon)
    wide = look_of(kind)[2] * (1.0 if isinstance(look["marker"], str) else 1.3)  # slim ones look small
    rim = min(1.6, 0.18 * wide) if kind in MIX_NAMES else 0.7
    over = 3.0 if kind in ("other", "topic", *MIX_NAMES) else 3.1
    axes.plot([x], [y], markersize=wide * size, markeredgewidth=rim * size**0.5, zorder=over, **look)


def legend(fig: Figure, films: Sequence[Film], mixes: bool, wrong: bool = False) -> None:
    """Say below a picture what its marks are; ``wrong``: also the rings of a free map."""
    from matplotlib.lines import Line2D

    marks = dict.fromkeys((p.kind, p.phenomenon if p.kind == "hard" else None) for film in films for p in film.points)
    entries: list[tuple[str, str, str | None]] = []
    for kind, phenomenon in sorted(marks, key=lambda mark: -depth(mark[0])):
        name = one_line(name_of(kind), 40)
        entries.append((kind, name + (f": {phenomenon.replace('_', ' ')}" if phenomenon else ""), phenomenon))
    entries += [(kind, name, None) for kind, name in MIX_NAMES.items()] if mixes else []
    handles: list[Any] = []
    for kind, text, phenomenon in entries:
        wide = look_of(kind)[2]
        rim = min(1.4, 0.18 * wide) if kind in MIX_NAMES else 0.6
        look = _style(kind, phenomenon) | {"markersize": min(wide, 10), "markeredgewidth": rim}
        handles.append(Line2D([], [], label=text, **look))
    handles.append(Line2D([], [], color=INK, linewidth=1.4, label="decision boundary: cosine = p"))
    if wrong:
        handles.append(fig.axes[0].scatter([], [], s=110, label="drawn on the wrong side", **_WRONG))
    look = {"ncols": 3, "fontsize": 8.5, "frameon": False, "handletextpad": 0.4, "columnspacing": 1.4}
    fig.legend(handles=handles, loc="outside lower center", **look)
    engine = fig.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, 0, 1, 0.985))  # type: ignore[call-arg]  # titles above square panels reach over the edge


@dataclass(frozen=True)
class FreeMap:
    """UMAP's layout of one moment, and what it gets wrong.

    Attributes:
        places: (points + mixes, 2).
        surface: The angle to the anchor, guessed all over the map from the sentences' own.
        wrong: (points + mixes,) on the wrong side of the contour that the guess draws for the boundary; never the
            positive, which is on it. The contour has not seen the mixes: they put it to the test.
        wrong_points: Share of sentences on the wrong side, 0 to 1; ``wrong_mixes`` of mixes.
        order: Spearman correlation of the sentences' distances to the anchor on the map with the exact angles.
        trust: Trustworthiness: are neighbours on the map real ones? 1: all.
    """

    places: Floats
    surface: projection.Surface
    wrong: NDArray[np.bool_]
    wrong_points: float
    wrong_mixes: float
    order: float
    trust: float


def free_map(film: Film, at: Moment, **knobs: Any) -> FreeMap:
    """Let UMAP lay out a moment; ``knobs`` are those of `hncse.visual.projection.fit`."""
    from scipy.stats import spearmanr

    flat, m = projection.fit(at.embeddings, **knobs), len(film.points)
    mixed = projection.place([mix.vector for mix in at.synthetic], at.embeddings, flat)
    places, exact = np.concatenate([flat, mixed]), at.all_cosines
    surface = projection.Surface(flat, angle(at.cosine))
    wrong = (surface(places) < angle(at.p)) != (exact > at.p)
    wrong[1] = False
    wrong[m] &= at.mixes.case != "B"  # there z³ is the positive
    far = np.linalg.norm(flat - flat[0], axis=1)[1:]
    order = float(spearmanr(far, angle(at.cosine)[1:])[0])
    shares = float(wrong[:m].mean()), float(wrong[m:].mean())
    return FreeMap(places, surface, wrong, *shares, order, projection.trust(at.embeddings, flat))


def caution(film: Film, at: Moment, free: FreeMap | None = None) -> Figure:
    """Draw the polar map beside UMAP's free map with its guess of the boundary, and rings where that is wrong."""
    free = free or free_map(film, at)
    drawn = drawable(film, at, mixes=True)
    low, high = free.places.min(axis=0) - 0.08, free.places.max(axis=0) + 0.08
    centre, half = (low + high) / 2, float((high - low).max()) / 2
    box = (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
    with styled():
        fig, (left, right) = figure(8.2, 5.2, columns=2)
        _polar(left, film, at, True, size=0.9)
        left.set_title("Polar: distance is exact")
        x, y, value = free.surface.grid(box)
        right.contourf(x, y, value, levels=[-99.0, float(angle(at.p))], colors=[OKABE_ITO["yellow"]], alpha=0.28)
        right.contour(x, y, value, levels=[float(angle(at.p))], colors=[INK], linewidths=1.4)
        _dots(right, free.places, film, at, drawn, 0.9)
        wrong = free.places[free.wrong & drawn]
        right.scatter(wrong[:, 0], wrong[:, 1], s=15**2, zorder=4, **_WRONG)
        right.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])
        right.spines[:].set(visible=True, color="#cccccc")
        right.set_title("UMAP, free: its guess of the boundary")
        legend(fig, [film], mixes=True, wrong=True)
    fig.set_label(
        f"Two maps of step {at.step}. Left, polar: {words(film, at)} Right, UMAP's free map: "
        f"{100 * free.wrong_points:.0f} % of the sentences and {100 * free.wrong_mixes:.0f} % of the mixes are on the "
        f"wrong side of the boundary that it suggests; rank correlation of distances to the anchor {free.order:.2f}."
    )
    return fig


def report(film: Film, at: Moment, free: FreeMap) -> str:
    """Say in lines what the polar map leaves out and what a free map makes up."""
    own = [i for i, point in enumerate(film.points) if point.own and i > 1]
    m, k, held = len(film.points), len(at.synthetic), float(np.median(at.held[own]))
    return "\n".join((
        f"the polar map, step {at.step}",
        f"  {0:6} of {m} sentences, 0 of {k} mixes on the wrong side: the radius is the angle",
        f"  {held:8.2f}  of a sentence's direction is held by the map's two (median over the group; 1: all)",
        "UMAP's free map of the same",
        f"  {100 * free.wrong_points:6.1f} %  of {m} sentences are on the wrong side of the boundary it suggests",
        f"  {100 * free.wrong_mixes:6.1f} %  of {k} mixes are",
        f"  {free.order:8.2f}  rank correlation of distances to the anchor, map and sphere (1: same order)",
        f"  {free.trust:8.2f}  trustworthiness: are neighbours on the map real ones? (1: all)",
    ))  # fmt: skip
