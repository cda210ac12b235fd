"""The explorer: choose an anchor, a run and a training step, and see the map, the ruler and the boundary move.

    explorer.show(study)        # in JupyterLab 4, Colab, VS Code; nothing when `hncse.notebook.headless`

`Explorer` is its state and knows no widget; the controls are ipywidgets; the picture is an anywidget (SVG, explorer.js)
which also makes the page that needs no kernel. jupyter-scatter draws discs only, so phenomena could differ by colour
alone; plotly's FigureWidget would carry 5 MB of JavaScript into every notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hncse.errors import unknown
from hncse.evaluation.geometry import angle
from hncse.visual import boundary, projection
from hncse.visual.film import KINDS, Film, Mix, Moment, Point, name_of
from hncse.visual.study import Study
from hncse.visual.style import html_page, widget

__all__ = ["SCRIPT", "Explorer", "knobs", "page", "scene", "scenes", "show"]

SCRIPT = Path(__file__).with_name("explorer.js")
_WIDEST = 100.0  # degrees at the ruler's right end
_LISTED = 40  # anchors listed at most


class Explorer:
    """What is chosen: an anchor's group by id, a run by name, a snapshot by step, whether mixes are shown."""

    def __init__(self, study: Study, anchor: str | None = None, name: str | None = None) -> None:
        """Begin at an anchor (None: `Study.example_group`) and a run (None: the first), at its first snapshot."""
        self.study, self.mixes = study, True
        self.anchor = study.group(anchor).id if anchor else study.example_group()
        self.name = next(iter(study.runs))
        self.step = study.runs[self.name].steps[0]
        if name is not None:
            self.choose_run(name)

    @property
    def steps(self) -> list[int]:
        """Steps of the chosen run's snapshots."""
        return list(self.study.runs[self.name].steps)

    def options(self, words: str = "") -> list[tuple[str, str]]:
        """Anchors to choose from: (shown, id) of those that `Study.search` finds, at most 40, the chosen one first."""
        matching = self.study.search(words, self.name)
        chosen = self.study.group(self.anchor)
        if chosen in matching:
            matching = [chosen, *(g for g in matching if g is not chosen)]
        return [(f"{g.anchor[:88]}{'…' if len(g.anchor) > 88 else ''}  ({g.id})", g.id) for g in matching[:_LISTED]]

    def choose_anchor(self, name: str) -> None:
        """Show another anchor; HncseError names the nearest."""
        self.anchor = self.study.group(name).id

    def choose_run(self, name: str) -> None:
        """Show another run, at its snapshot nearest to the step shown; HncseError names the nearest."""
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
    """One moment as plain data: points with look, place, angle and words; rows and ticks of the ruler."""
    rows = boundary.ruler_names(film)
    marks = [_sentence(point, float(c), at.p) for point, c in zip(film.points, at.cosine, strict=True)]
    marks += [_mix(film, i, m, at.p) for i, m in enumerate(at.synthetic)]
    onmap = boundary.visible(film, at, mixes)
    places, angles = np.concatenate([at.places, at.mix_places]), angle(at.all_cosines)
    here = np.flatnonzero(boundary.drawable(film, at, mixes)).tolist()  # on the ruler
    kinds = [mark["kind"] for mark in marks]
    heights = dict(zip(here, boundary.ruler_rows(rows, [kinds[i] for i in here], angles[here]), strict=True))
    points = [
        {
            **{key: marks[i][key] for key in ("id", "look", "tip")},
            "x": round(float(places[i, 0]), 4), "y": round(float(places[i, 1]), 4),
            "angle": round(float(angles[i]), 4), "row": round(heights[i], 4), "onmap": bool(onmap[i]),
        }
        for i in sorted(here, key=lambda i: boundary.depth(kinds[i]))
    ]  # fmt: skip
    names = {marks[i]["look"]: marks[i]["tip"][0] for i in here if kinds[i] != "other"}
    looks = {marks[i]["look"]: (kinds[i], marks[i]["phenomenon"]) for i in here} | {"PM": ("PM", None)}
    said, when = boundary.words(film, at), f"{film.when(at).capitalize()}. " if film.when(at) else ""
    return {
        "anchor": film.group.id,
        "step": at.step,
        "says": f"{when}Anchor: “{film.group.anchor}” {said[0].upper()}{said[1:]}",
        "p": f"{at.p:.2f}",
        "tie": round(float(angle(at.p)), 4),
        "widest": _WIDEST,
        "reach": round(film.reach, 4),
        "points": points,
        "looks": {look: _look(*kind) for look, kind in looks.items()},
        "rows": [{"name": rows[kind], "place": place} for kind, place in boundary.row_places(rows).items()],
        "ticks": [{"name": f"{t:g}", "angle": round(float(angle(t)), 2)} for t in boundary.TICKS],
        "key": [*names.items(), ("other", KINDS["other"]), ("boundary", "decision boundary: cosine = p")],
    }  # fmt: skip


def _sentence(point: Point, cosine: float, p: float) -> dict[str, Any]:
    hard = point.kind == "hard" and point.phenomenon
    what = name_of(point.kind) + (f": {hard.replace('_', ' ')}" if hard else "")
    grade = f"grade {point.grade:g} of 5" if point.grade is not None else "" if point.own else "of another anchor"
    look = f"hard:{point.phenomenon}" if point.kind == "hard" else f"role:{point.kind}"
    if point.kind in KINDS and point.kind != "hard":
        look = point.kind
    lines = [what, point.text, grade, _side(point.kind, cosine, p)]
    return {"id": f"s{point.row}", "look": look, "kind": point.kind, "phenomenon": point.phenomenon,
            "tip": [line for line in lines if line]}  # fmt: skip


def _mix(film: Film, i: int, m: Mix, p: float) -> dict[str, Any]:
    first, second = ("the positive" if j < 0 else f"“{film.points[j + 2].text}”" for j in m.parents)
    w = m.weights[0] / sum(m.weights)
    tip = [boundary.MIX_NAMES[m.kind], f"{w:.2f} of {first} + {1 - w:.2f} of {second}", _side(m.kind, m.cosine, p)]
    return {"id": f"m{i}", "look": m.kind, "kind": m.kind, "phenomenon": None, "tip": tip}


def show(study: Study, anchor: str | None = None, name: str | None = None) -> Any:
    """Show the explorer at a group's id and a run's name; the widget, or None when nobody watches."""
    from hncse.notebook import headless

    if headless():
        return None
    return _widgets(Explorer(study, anchor, name))


def knobs(film: Film, at: Moment) -> Any:
    """Show UMAP's free map of a moment with sliders for its neighbours, min_dist and seed; None when nobody watches."""
    from hncse.notebook import headless

    if headless():
        return None
    import ipywidgets as w

    from hncse.visual import style

    short, out = {"description_width": "80px"}, w.HTML()
    sliders = {
        "neighbours": w.IntSlider(
            projection.NEIGHBOURS, min=2, max=len(film.points) - 1, style=short, continuous_update=False
        ),
        "min_dist": w.FloatSlider(
            projection.MIN_DIST, min=0.0, max=0.99, step=0.01, style=short, continuous_update=False
        ),
        "seed": w.IntSlider(0, min=0, max=20, style=short, continuous_update=False),
    }

    def draw(_: object = None) -> None:
        free = boundary.free_map(film, at, **{name: slider.value for name, slider in sliders.items()})
        fig = boundary.caution(film, at, free)
        out.value = style.image(fig, str(fig.get_label()))

    for name, slider in sliders.items():
        slider.description = name
        slider.observe(draw, "value")
    draw()
    return w.VBox([w.HBox(list(sliders.values())), out])


def scenes(film: Film) -> dict[str, list[dict[str, Any]]]:
    """Every moment of every run of a film, what `page` and explorer.js draw."""
    return {name: [scene(film, at) for at in moments] for name, moments in film.moments.items()}


def page(scenes: Mapping[str, list[dict[str, Any]]], title: str, choice: str) -> str:
    """An HTML page of all scenes by the name of a run or anchor (``choice``); it fetches nothing, needs no kernel."""
    return html_page(title, SCRIPT, "page(el, data)", {"choice": choice, "scenes": scenes})


def _widgets(state: Explorer) -> Any:
    """Controls and picture, wired to the state."""
    import ipywidgets as w

    short = {"description_width": "52px"}
    row, rest = w.Layout(width="100%", max_width="960px"), w.Layout(flex="1 1 0", width="0", min_width="0")
    find = w.Text(
        description="search",
        placeholder="words, negation, case A, changed sides",
        style=short,
        layout=w.Layout(flex="0 0 230px"),
    )
    count = w.Label(_count(len(state.study.groups)), layout=w.Layout(flex="0 0 80px"))
    pick = w.Dropdown(description="anchor", options=state.options(), value=state.anchor, style=short, layout=rest)
    run = w.ToggleButtons(options=list(state.study.runs), value=state.name)
    run.style.button_width = "auto"
    step = w.SelectionSlider(description="step", options=state.steps, value=state.step, style=short, layout=rest)
    mixes = w.Checkbox(description="mixes", value=True, indent=False, layout=w.Layout(flex="0 0 80px"))
    picture = widget(SCRIPT, scene=state.scene())

    def on(control: Any, act: Callable[[Any], None]) -> None:
        def changed(change: Mapping[str, Any]) -> None:
            if change["new"] is not None:
                act(change["new"])
                picture.scene = state.scene()

        control.observe(changed, "value")

    def search(words: str) -> None:
        count.value = _count(len(state.study.search(words, state.name)))
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


def _look(kind: str, phenomenon: str | None) -> dict[str, Any]:
    """Shape of a look, the same as matplotlib's: path of radius 1/2 about the origin, size in pixels, colour."""
    from matplotlib.markers import MarkerStyle

    colour, marker, size = boundary.look_of(kind, phenomenon)
    style = MarkerStyle(marker)
    shapes = [np.asarray(s) for s in style.get_path().transformed(style.get_transform()).to_polygons()]
    path = "".join("M" + "L".join(f"{x:.3f} {-y:.3f}" for x, y in shape) + "Z" for shape in shapes)
    return {"path": path, "size": round(1.35 * size, 2), "colour": colour, "hollow": kind in boundary.MIX_NAMES}


def _side(kind: str, cosine: float, p: float) -> str:
    if kind == "anchor":
        return "everything is measured from here"
    if kind == "positive":
        return f"similarity p = {cosine:.3f}: the decision boundary goes through it"
    side = "nearer than the positive" if cosine > p else "farther than the positive"
    return f"similarity {cosine:.3f}, {side} by {abs(cosine - p):.3f}"
