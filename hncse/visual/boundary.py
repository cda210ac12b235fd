"""Pictures of the decision boundary around one anchor: a map, and beside it always the ruler that cannot lie.

On the ruler every sentence stands at its exact angle to the anchor; the line is the positive's. Left of it, a sentence
would be taken for the positive. The map shows who is near whom, and guesses where that line would run; what it makes up
is drawn by `distortion` and put into numbers by `distortion_report`.

``python -m tools.film RUN`` makes the film and the page of figures/.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hncse.evaluation.geometry import angle
from hncse.visual import projection
from hncse.visual.study import KINDS, Film, Moment
from hncse.visual.style import INK, OKABE_ITO, figure, styled

__all__ = ["distortion", "distortion_report", "moment", "picture", "rank_agreement", "rulers", "strip", "words"]

Floats = NDArray[np.float64]
#: Kind → colour, marker, size (points). Shapes differ wherever colours do.
LOOKS: dict[str, tuple[str, str, float]] = {
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
#: The ruler's rows, top to bottom: kind → name.
_ROWS = {
    "positive": "positive", "hard": "hard negatives", "false": "false negative", "other": "other sentences",
    "HNM": "HNM's mixes", "PM": "PM's z³",
}  # fmt: skip
_WRONG: dict[str, Any] = {"facecolors": "none", "edgecolors": INK, "linestyles": ":", "linewidths": 1.1}
#: Drawing order: what matters lies on top.
DEPTH = ("other", "topic", "HNM", "hard", "false", "PM", "positive", "anchor")
#: Cosines marked on the ruler.
TICKS = (1.0, 0.95, 0.85, 0.7, 0.5, 0.25, 0.0)


def moment(film: Film, name: str, step: int, *, mixes: bool = True) -> Figure:
    """Draw one moment of a run: the map, and the ruler beside it.

    Args:
        film: From `Study.film`.
        name: Of a run.
        step: The nearest snapshot is drawn.
        mixes: Whether PM's and HNM's mixes are shown.
    """
    fig = picture(film, film.at(name, step), mixes=mixes)
    fig.set_label(f"Map and ruler of {name}. {fig.get_label()}")
    return fig


def picture(film: Film, at: Moment, *, mixes: bool = True) -> Figure:
    """Draw a moment that need not be a snapshot: one of `Film.between`, for example."""
    with styled():
        fig, (left, right) = figure(8.2, 4.5, columns=2, width_ratios=(1.0, 1.12))
        _map(left, film, at, mixes, size=1.0)
        left.set_title(f"The map, step {at.step}")
        _ruler(right, film, at, mixes, names=True, size=1.0)
        right.set_title("The ruler: exact")
        legend(fig, [film], mixes)
    fig.set_label(f"At step {at.step}, {words(film, at)}")
    return fig


def strip(film: Film, name: str, steps: Sequence[int] | None = None, *, mixes: bool = True) -> Figure:
    """Draw four moments of a run side by side, each map above its ruler: the film for paper.

    Args:
        film: From `Study.film`.
        name: Of a run.
        steps: Which moments; None takes four, evenly, the first and the last included.
        mixes: Whether PM's and HNM's mixes are shown.
    """
    if steps is None:
        every = film.moments[name]
        steps = [every[i].step for i in np.unique(np.linspace(0, len(every) - 1, 4).round().astype(int))]
    moments = [film.at(name, step) for step in steps]
    with styled():
        fig, axes = figure(8.2, 5.0, rows=2, columns=len(moments), height_ratios=(1.0, 0.95))
        for i, at in enumerate(moments):
            top, low = axes[i], axes[len(moments) + i]
            _map(top, film, at, mixes, size=0.62)
            top.set_title(f"step {at.step}")
            _ruler(low, film, at, mixes, names=i == 0, size=0.62)
        legend(fig, [film], mixes)
    first, last = moments[0], moments[-1]
    fig.set_label(
        f"Maps above rulers of {name} at steps {', '.join(str(at.step) for at in moments)}. "
        f"First, {words(film, first)} Last, {words(film, last)}"
    )
    return fig


def rulers(entries: Sequence[tuple[str, Film, Moment]]) -> Figure:
    """Draw rulers side by side: several anchors, or one anchor under several losses.

    Args:
        entries: Title, film and moment of each; four at most read well.
    """
    with styled():
        fig, axes = figure(8.2, 4.2, columns=len(entries))
        for i, (panel, (title, film, at)) in enumerate(zip(axes, entries, strict=True)):
            _ruler(panel, film, at, mixes=True, names=i == 0, size=0.75)
            panel.set_title(title)
        legend(fig, [film for _, film, _ in entries], mixes=True, on_map=False)
    said = " ".join(f"{title}, step {at.step}: {words(film, at)}" for title, film, at in entries)
    fig.set_label(f"{len(entries)} rulers. {said}")
    return fig


def words(film: Film, at: Moment) -> str:
    """One moment in words: who is on which side."""
    hard = np.array([point.kind == "hard" for point in film.points])
    over = int((at.cosine[hard] > at.p).sum())
    inside = sum(m.cosine > at.p for m in at.mixes.negatives)
    return (
        f"the positive is at cosine {at.p:.2f}; {over} of {int(hard.sum())} hard negatives are nearer, the hardest at "
        f"{at.mixes.n:.2f} (case {at.mixes.case}); {inside} of {len(at.mixes.negatives)} HNM mixes are nearer."
    )


def visible(film: Film, at: Moment, mixes: bool) -> NDArray[np.bool_]:
    """Which of points and mixes a map shows; (points + mixes,).

    In case B, z³ is the positive and not drawn twice. Sentences of other groups and HNM's mixes, which have those among
    their parents, are drawn inside the frame only.
    """
    left, right, bottom, top = film.box
    x, y = np.concatenate([at.places, at.mix_places]).T
    inside = (left < x) & (x < right) & (bottom < y) & (y < top)
    always = np.array([p.grade is not None for p in film.points] + [m.kind == "PM" for m in at.synthetic])
    return (always | inside) & drawable(film, at, mixes)


def drawable(film: Film, at: Moment, mixes: bool) -> NDArray[np.bool_]:
    """Which of points and mixes a ruler has: all sentences, and where asked for the mixes that are no sentence."""
    wanted = np.repeat([True, mixes], [len(film.points), len(at.synthetic)])
    wanted[len(film.points)] &= at.mixes.case != "B"
    return wanted


def _map(axes: Axes, film: Film, at: Moment, mixes: bool, size: float) -> None:
    box = film.box
    x, y, value = at.surface.grid(box)
    tie = float(angle(at.p))
    axes.contourf(x, y, value, levels=[-99.0, tie], colors=[OKABE_ITO["yellow"]], alpha=0.28)
    axes.contour(x, y, value, levels=[tie], colors=[INK], linewidths=1.4)
    drawn = visible(film, at, mixes)
    places = film.framed(np.concatenate([at.places, at.mix_places]))
    marks: list[tuple[str, str | None]] = [(point.kind, point.phenomenon) for point in film.points]
    marks += [(mixed.kind, None) for mixed in at.synthetic]
    for layer in DEPTH:
        for (x, y), (kind, phenomenon), on in zip(places, marks, drawn, strict=True):
            if on and kind == layer:
                dot(axes, float(x), float(y), kind, phenomenon, size)
    wrong = places[at.wrong_side & drawn]
    axes.scatter(wrong[:, 0], wrong[:, 1], s=(17 * size) ** 2, zorder=4, **_WRONG)
    axes.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#cccccc")


def row_places() -> dict[str, float]:
    """Name of each of the ruler's rows → its height, from 0 at the top to 1 at the bottom."""
    return {name: (i + 1.3) / (len(_ROWS) + 1) for i, name in enumerate(_ROWS.values())}


def ruler_rows(kinds: Sequence[str], angles: Floats) -> list[float]:
    """Height on the ruler of points of these kinds at these angles, from 0 (top) to 1.

    The anchor lies above all rows; points that would lie on each other are lifted apart: up, down, up …
    """
    places = row_places()
    heights = [0.5 / (len(_ROWS) + 1)] * len(kinds)
    for row, name in _ROWS.items():
        members = [i for i, kind in enumerate(kinds) if ("other" if kind == "topic" else kind) == row]
        members.sort(key=lambda i: angles[i])
        lifts = dict.fromkeys(members, 0.0)
        for before, after in pairwise(members):
            if row != "other" and angles[after] - angles[before] < 4.0:  # a cloud of dots needs no room
                lifts[before] = lifts[before] or 0.2
                lifts[after] = -lifts[before]
        for i, lift in lifts.items():
            heights[i] = places[name] - lift / (len(_ROWS) + 1)
    return heights


def _ruler(axes: Axes, film: Film, at: Moment, mixes: bool, names: bool, size: float) -> None:
    tie = float(angle(at.p))
    axes.axvspan(0, tie, color=OKABE_ITO["yellow"], alpha=0.28, linewidth=0)
    axes.axvline(tie, color=INK, linewidth=1.4)
    entries = [(p.kind, p.phenomenon, float(angle(c))) for p, c in zip(film.points, at.cosine, strict=True)]
    entries += [(m.kind, None, float(angle(m.cosine))) for m in at.synthetic]
    entries = [entry for entry in entries if mixes or entry[0] not in MIX_NAMES]
    heights = ruler_rows([kind for kind, _, _ in entries], np.array([x for _, _, x in entries]))
    for (kind, phenomenon, x), y in zip(entries, heights, strict=True):
        dot(axes, x, y, kind, phenomenon, size)
    axes.set(xlim=(-4, 100), ylim=(1.0, 0.0))
    axes.set_yticks(list(row_places().values()), [name if names else "" for name in row_places()])
    ticks = TICKS if size > 0.8 else (1.0, 0.9, 0.6, 0.2)
    axes.set_xticks(angle(np.array(ticks)), [f"{tick:g}" for tick in ticks])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("cosine to the anchor (scale: angle)" if size > 0.8 else "cosine to the anchor")
    axes.text(tie + 1.5, 0.05, f"p = {at.p:.2f}", fontsize=9 if size > 0.8 else 8.5, va="center").set_in_layout(False)


def _look(kind: str, phenomenon: str | None) -> dict[str, Any]:
    """Marker and colours of a point; synthetic ones are hollow."""
    colour, marker, _ = LOOKS[kind]
    inner, rim = ("white", colour) if kind in MIX_NAMES else (colour, "white")
    shape = PHENOMENON_MARKERS.get(phenomenon or "", marker) if kind == "hard" else marker
    return {"marker": shape, "color": inner, "markeredgecolor": rim, "linestyle": "none"}


def dot(axes: Axes, x: float, y: float, kind: str, phenomenon: str | None, size: float) -> None:
    """Draw one point; ``size`` scales all of them."""
    look = _look(kind, phenomenon)
    wide = LOOKS[kind][2] * (1.0 if isinstance(look["marker"], str) else 1.3)  # slim ones look small
    rim = min(1.6, 0.18 * wide) if kind in MIX_NAMES else 0.7
    over = 3.1 if kind in ("anchor", "positive", "hard", "false") else 3.0
    axes.plot([x], [y], markersize=wide * size, markeredgewidth=rim * size**0.5, zorder=over, **look)


def legend(fig: Figure, films: Sequence[Film], mixes: bool, on_map: bool = True) -> None:
    """Say below a picture what its marks are."""
    from matplotlib.lines import Line2D

    hard = dict.fromkeys(p.phenomenon for film in films for p in film.points if p.kind == "hard" and p.phenomenon)
    entries: list[tuple[str, str, str | None]] = [(kind, KINDS[kind], None) for kind in ("anchor", "positive", "false")]
    entries += [("hard", f"hard negative: {name.replace('_', ' ')}", name) for name in hard]
    entries += [(kind, KINDS[kind], None) for kind in ("topic", "other")]
    entries += [(kind, name, None) for kind, name in MIX_NAMES.items()] if mixes else []
    handles: list[Any] = []
    for kind, text, phenomenon in entries:
        wide = LOOKS[kind][2]
        rim = min(1.4, 0.18 * wide) if kind in MIX_NAMES else 0.6
        look = _look(kind, phenomenon) | {"markersize": min(wide, 10), "markeredgewidth": rim}
        handles.append(Line2D([], [], label=text, **look))
    handles.append(Line2D([], [], color=INK, linewidth=1.4, label="decision boundary: cosine = p"))
    if on_map:
        handles.append(fig.axes[0].scatter([], [], s=110, label="drawn on the wrong side", **_WRONG))
    look = {"ncols": 3, "fontsize": 8.5, "frameon": False, "handletextpad": 0.4, "columnspacing": 1.4}
    fig.legend(handles=handles, loc="outside lower center", **look)


def distortion(film: Film, at: Moment) -> Figure:
    """Draw every sentence's distance to the anchor in the map against its exact angle: a faithful map would rise.

    Args:
        film: From `Study.film`.
        at: One of its moments.
    """
    far = np.linalg.norm(at.places - at.places[0], axis=1)[1:]  # (m-1,)
    exact = angle(at.cosine)[1:]
    with styled():
        fig, (axes,) = figure(8.2, 4.2)
        for x, y, point in zip(exact, far, film.points[1:], strict=True):
            dot(axes, float(x), float(y), point.kind, point.phenomenon, 1.0)
        axes.axvline(float(angle(at.p)), color=INK, linewidth=1.4)
        axes.set(xlim=(0, 100), ylim=(0, 1.1 * float(far.max())), ylabel="distance to the anchor in the map")
        axes.set_xticks(angle(np.array(TICKS)), [f"{tick:g}" for tick in TICKS])
        axes.set_xlabel("cosine to the anchor (scale: angle)")
        axes.grid(axis="y")
        legend(fig, [film], mixes=False, on_map=False)
    fig.set_label(
        f"Scatter plot of {len(far)} sentences, exact angle to the anchor across, distance in the map up; "
        f"rank correlation {rank_agreement(at):.2f}, where 1 would be a map without distortion."
    )
    return fig


def rank_agreement(at: Moment) -> float:
    """Spearman correlation of the map's distances to the anchor with the exact angles; 1 where nothing is distorted."""
    from scipy.stats import spearmanr

    far = np.linalg.norm(at.places - at.places[0], axis=1)[1:]
    return float(spearmanr(far, angle(at.cosine)[1:])[0])


def distortion_report(film: Film, name: str) -> str:
    """Say in lines how far a run's map can be trusted, and how it compares with a fit for every step.

    Args:
        film: From `Study.film`.
        name: Of a run. The first, middle and last moment are compared; they are fitted again for it.
    """
    moments = film.moments[name]
    three = (moments[0], moments[len(moments) // 2], moments[-1])
    others = [i for i, point in enumerate(film.points) if point.grade is None] or list(range(len(film.points)))
    placed = projection.drift([m.places[others] for m in three])
    layouts = [projection.fit(m.embeddings) for m in three]
    fitted = projection.drift([flat[others] for flat in layouts])
    turned = projection.drift([flat[others] for flat in _turn_each(layouts)])
    last = moments[-1]
    trusted = projection.trust(last.embeddings, last.places)
    return "\n".join((
        "how far sentences of other groups jump from step to step, share of the map's radius (median)",
        f"  {100 * placed:6.1f} %  fitted once, then placed (this map)",
        f"  {100 * fitted:6.1f} %  fitted again at every step",
        f"  {100 * turned:6.1f} %  fitted again, each layout turned or mirrored onto the one before",
        f"this map at step {last.step}",
        f"  {trusted:8.2f}  trustworthiness: are neighbours on the map real ones? (1: all)",
        f"  {rank_agreement(last):8.2f}  rank correlation of distances to the anchor, map and sphere (1: same order)",
        f"  {100 * last.wrong_side.mean():6.1f} %  of sentences and mixes are on the wrong side of the drawn boundary",
    ))  # fmt: skip


def _turn_each(layouts: Sequence[Floats]) -> list[Floats]:
    """Layouts (n, 2), centred, each turned or mirrored so that it lies on the one before as well as it can."""
    from scipy.linalg import orthogonal_procrustes

    return list(accumulate(layouts, lambda before, flat: flat @ orthogonal_procrustes(flat, before)[0]))
