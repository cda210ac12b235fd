"""The explorer: choose an anchor, a run and a training step, and see the map, the ruler and the boundary move.

    explorer.show(study)        # in JupyterLab 4, Colab, VS Code; nothing when `hncse.notebook.headless`

`Explorer` is its state and knows no widget; the controls are ipywidgets; the picture is an anywidget (explorer.js, 180
lines of SVG). Looked at in its place: jupyter-scatter (2.1 MB, WebGL) draws discs only, so phenomena could differ by
colour alone; plotly's FigureWidget has shapes and contours, but carries 5 MB of JavaScript into every notebook. With a
few dozen points neither is needed, and the same explorer.js makes the page that needs no kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hncse.errors import HncseError, unknown
from hncse.evaluation.geometry import angle
from hncse.visual import boundary
from hncse.visual.study import KINDS, Film, Moment, Study

__all__ = ["SCRIPT", "Explorer", "scene", "show"]

SCRIPT = Path(__file__).with_name("explorer.js")
_WIDEST = 100.0  # degrees at the ruler's right end
_LISTED = 40  # anchors listed at most


class Explorer:
    """What is chosen, and what can be.

    Attributes:
        study: The runs.
        anchor: Id of the group shown.
        name: Of the run shown.
        step: Of the snapshot shown.
        mixes: Whether mixes are shown.
    """

    def __init__(self, study: Study, anchor: str | None = None, name: str | None = None) -> None:
        """Begin at an anchor (None: `Study.example_group`) and a run (None: the first), at its first snapshot.

        Raises:
            HncseError: No such anchor or run; the nearest is given.
        """
        self.study, self.mixes = study, True
        self.anchor = study.group(anchor).id if anchor else study.example_group()
        self.name = next(iter(study.runs))
        self.step = study.steps[self.name][0]
        if name is not None:
            self.choose_run(name)

    @property
    def steps(self) -> list[int]:
        """Steps of the chosen run's snapshots."""
        return self.study.steps[self.name]

    def options(self, words: str = "") -> list[tuple[str, str]]:
        """Anchors to choose from: (shown, id) of those that `Study.search` finds, at most 40, the chosen one first."""
        matching = self.study.search(words)
        chosen = self.study.group(self.anchor)
        if chosen in matching:
            matching = [chosen, *(g for g in matching if g is not chosen)]
        return [(f"{g.anchor[:88]}{'…' if len(g.anchor) > 88 else ''}  ({g.id})", g.id) for g in matching[:_LISTED]]

    def choose_anchor(self, name: str) -> None:
        """Show another anchor.

        Raises:
            HncseError: No such group.
        """
        self.anchor = self.study.group(name).id

    def choose_run(self, name: str) -> None:
        """Show another run, at its snapshot nearest to the step shown.

        Raises:
            HncseError: No such run.
        """
        if name not in self.study.runs:
            raise unknown("run", name, self.study.runs)
        self.name = name
        self.move(self.step)

    def move(self, step: int) -> None:
        """Show the snapshot nearest to a step."""
        self.step = min(self.steps, key=lambda s: abs(s - step))

    def scene(self) -> dict[str, Any]:
        """What explorer.js draws; JSON-able."""
        film = self.study.film(self.anchor)
        return scene(film, film.at(self.name, self.step), mixes=self.mixes)


def scene(film: Film, at: Moment, *, mixes: bool = True) -> dict[str, Any]:
    """One moment as plain data: points with look, place, angle and words; the contour; rows and ticks of the ruler."""
    kinds = [p.kind for p in film.points]
    looks = [f"hard:{p.phenomenon}" if p.kind == "hard" else p.kind for p in film.points]
    tips = [
        [KINDS[p.kind] + (f": {p.phenomenon.replace('_', ' ')}" if p.kind == "hard" and p.phenomenon else ""), p.text,
         f"grade {p.grade:g} of 5" if p.grade is not None else "of another group, not graded against this anchor",
         _side(p.kind, float(c), at.p)]
        for p, c in zip(film.points, at.cosine, strict=True)
    ]  # fmt: skip
    ids = [f"s{p.row}" for p in film.points]
    for i, m in enumerate(at.synthetic if mixes else []):
        if m.kind == "HNM" or at.mixes.case != "B":
            kinds, looks = [*kinds, m.kind], [*looks, m.kind]
            parents = ["the positive" if j < 0 else f"“{film.points[j + 2].text}”" for j in m.parents]
            w = m.weights[0] / sum(m.weights)
            tips.append([boundary.MIX_NAMES[m.kind], f"{w:.2f} of {parents[0]} + {1 - w:.2f} of {parents[1]}",
                         _side(m.kind, m.cosine, at.p)])  # fmt: skip
            ids.append(f"m{i}")
    drawn = np.concatenate([np.ones(len(film.points), bool), np.full(len(at.synthetic), mixes)])
    drawn[len(film.points)] &= at.mixes.case != "B"
    visible = boundary.visible(film, at, mixes)[drawn]  # on the map; the ruler has all
    places = film.framed(np.concatenate([at.places, at.mix_places]))[drawn]
    cosine = np.concatenate([at.cosine, [m.cosine for m in at.synthetic]])[drawn]
    rows = boundary.ruler_rows(kinds, angle(cosine))
    points = [
        {"id": ids[i], "look": looks[i], "x": round(float(places[i, 0]), 4), "y": round(float(places[i, 1]), 4),
         "angle": round(float(angle(cosine[i])), 2), "row": round(rows[i], 4), "wrong": bool(at.wrong_side[drawn][i]),
         "onmap": bool(visible[i]), "tip": tips[i]}
        for i in sorted(range(len(ids)), key=lambda i: _depth(kinds[i]))
    ]  # fmt: skip
    names = [(look, tip[0]) for look, tip in dict(zip(looks, tips, strict=True)).items() if look != "other"]
    return {
        "anchor": film.group.id, "step": at.step, "says": _says(film, at), "p": f"{at.p:.2f}",
        "tie": round(float(angle(at.p)), 2), "widest": _WIDEST, "box": [round(float(v), 4) for v in film.box],
        "points": points, "looks": {look: _look(look) for look in {*looks, "PM"}}, "contour": _contour(film, at),
        "rows": [{"name": name, "place": place} for name, place in boundary.row_places().items()],
        "ticks": [{"name": f"{t:g}", "angle": round(float(angle(t)), 2)} for t in boundary.TICKS],
        "key": [*names, ("other", KINDS["other"]), ("boundary", "decision boundary: cosine = p"),
                ("wrong", "drawn on the wrong side")],
    }  # fmt: skip


def show(study: Study, anchor: str | None = None, name: str | None = None) -> Any:
    """Show the explorer; returns the widget, or None when nobody watches (`hncse.notebook.headless`).

    Args:
        study: The runs.
        anchor: Id of the first group shown.
        name: The first run shown.
    """
    from hncse.notebook import headless

    if headless():
        return None
    return _widgets(Explorer(study, anchor, name))


def _widgets(state: Explorer) -> Any:
    """Controls and picture, wired to the state."""
    import ipywidgets as w

    short = {"description_width": "52px"}
    row, rest = w.Layout(width="100%", max_width="960px"), w.Layout(flex="1 1 0", width="0", min_width="0")
    find = w.Text(description="search", placeholder="words, or an id", style=short, layout=w.Layout(flex="0 0 230px"))
    count = w.Label(_count(len(state.study.groups)), layout=w.Layout(flex="0 0 80px"))
    pick = w.Dropdown(description="anchor", options=state.options(), value=state.anchor, style=short, layout=rest)
    run = w.ToggleButtons(options=list(state.study.runs), value=state.name)
    run.style.button_width = "auto"
    step = w.SelectionSlider(description="step", options=state.steps, value=state.step, style=short, layout=rest)
    mixes = w.Checkbox(description="mixes", value=True, indent=False, layout=w.Layout(flex="0 0 80px"))
    picture = _picture()(scene=state.scene())

    def on(control: Any, act: Callable[[Any], None]) -> None:
        def changed(change: Mapping[str, Any]) -> None:
            if change["new"] is not None:
                act(change["new"])
                picture.scene = state.scene()

        control.observe(changed, "value")

    def search(words: str) -> None:
        count.value = _count(len(state.study.search(words)))
        if options := state.options(words):
            pick.options = options  # chooses the first
            state.choose_anchor(pick.value)

    def switch(name: str) -> None:
        state.choose_run(name)
        if tuple(step.options) != tuple(state.steps):
            step.options = state.steps
        step.value = state.step

    on(find, search)
    on(pick, state.choose_anchor)
    on(run, switch)
    on(step, state.move)
    on(mixes, lambda shown: setattr(state, "mixes", shown))
    return w.VBox([w.HBox([find, count, pick], layout=row), w.HBox([run, mixes, step], layout=row), picture])


def _count(matching: int) -> str:
    return f"{matching} found" if matching <= _LISTED else f"{_LISTED} of {matching}"


@functools.cache
def _picture() -> Any:
    """The widget class; made when first used, so that importing this module needs no anywidget."""
    import anywidget
    import traitlets

    class Picture(anywidget.AnyWidget):
        _esm = SCRIPT.read_text(encoding="utf-8")
        scene = traitlets.Dict().tag(sync=True)

    return Picture


def _look(look: str) -> dict[str, Any]:
    """Shape of a look, the same as matplotlib's: path of radius 1/2 about the origin, size in pixels, colour."""
    from matplotlib.markers import MarkerStyle

    kind, _, phenomenon = look.partition(":")
    colour, marker, size = boundary.LOOKS[kind]
    style = MarkerStyle(boundary.PHENOMENON_MARKERS.get(phenomenon, marker) if kind == "hard" else marker)
    shapes = [np.asarray(s) for s in style.get_path().transformed(style.get_transform()).to_polygons()]
    path = "".join("M" + "L".join(f"{x:.3f} {-y:.3f}" for x, y in shape) + "Z" for shape in shapes)
    return {"path": path, "size": round(1.35 * size, 2), "colour": colour, "hollow": kind in boundary.MIX_NAMES}


def _contour(film: Film, at: Moment) -> list[list[list[float]]]:
    """The drawn boundary: closed lines of (x, y)."""
    from contourpy import contour_generator

    x, y, value = at.surface.grid(film.box)
    lines = contour_generator(x, y, value).lines(float(angle(at.p)))
    return [np.asarray(line).round(4).tolist() for line in lines if line is not None and len(line) > 2]


def _side(kind: str, cosine: float, p: float) -> str:
    if kind == "anchor":
        return "everything is measured from here"
    if kind == "positive":
        return f"similarity p = {cosine:.3f}: the decision boundary goes through it"
    side = "nearer than the positive" if cosine > p else "farther than the positive"
    return f"similarity {cosine:.3f}, {side} by {abs(cosine - p):.3f}"


def _says(film: Film, at: Moment) -> str:
    said = boundary.words(film, at)
    return f"Step {at.step}. Anchor: “{film.group.anchor}” {said[0].upper()}{said[1:]}"


def _depth(kind: str) -> int:
    """Drawing order: what matters lies on top."""
    order = ("other", "topic", "HNM", "PM", "hard", "false", "positive", "anchor")
    if kind not in order:
        raise HncseError(f"no drawing order for {kind!r}")
    return order.index(kind)
