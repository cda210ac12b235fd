"""What one option does to a score: runs that differ in it alone, with intervals over seeds.

for curve in curves(results.read("figures/ablation.csv"), "stsb-dev"):
    print(curve.option, [(p.value, p.mean, p.half) for p in curve.points])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hncse.evaluation._run_scores import run_scores
from hncse.evaluation.tables import IGNORED, grouped, t_interval
from hncse.presets import OPTION_NAMES, resolve
from hncse.runs import Run

__all__ = ["Curve", "Point", "curves", "rows"]

_HIDDEN = (*IGNORED, "loss", "loss_options", "limit")
_OF_LOSS = tuple(name for name in OPTION_NAMES if name not in ("temperature", "seed"))


@dataclass(frozen=True)
class Point:
    """One value of an option.

    Attributes:
        value: Of the option.
        mean: Over seeds.
        half: Half the 95 % t-interval; NaN for one seed.
        seeds: How many.
        default: Whether the other curves were made with this value.
    """

    value: Any
    mean: float
    half: float
    seeds: int
    default: bool


@dataclass(frozen=True)
class Curve:
    """One option of one method.

    Attributes:
        option: Its name.
        method: The loss preset.
        points: By value: numbers first, in order, then words.
        baseline: The baseline trained as each point was in everything but its loss; None where nobody has.
    """

    option: str
    method: str
    points: list[Point]
    baseline: list[Point | None]


def curves(runs: Sequence[Run], measure: str = "stsb-dev", *, baseline: str = "simcse") -> list[Curve]:
    """Find every option in which runs of a method differ from its commonest setting alone.

    Args:
        runs: Run folders or recorded runs, of one corpus and encoder.
        measure: Of `hncse.evaluation.statistics.MEASURES`.
        baseline: Method that stands beside the others; it has no curves of its own.

    Returns:
        A curve for each method and option with at least two values.
    """
    scored = [(_values(group[0]), _scores(group, measure)) for group in grouped(runs)]
    scored = [(values, scores) for values, scores in scored if scores]
    found = []
    for method in dict.fromkeys(values["loss"] for values, _ in scored):
        own = [(values, scores) for values, scores in scored if values["loss"] == method]
        centre = _centre([values for values, _ in own])
        for option in centre:
            line = [(v, s) for v, s in own if _alike(v, centre, but=(option,))]
            if len(line) > 1 and method != baseline:
                points = sorted((_point(v[option], s, v == centre) for v, s in line), key=_order)
                others = [(v, s) for v, s in scored if v["loss"] == baseline]
                found.append(Curve(option, method, points, _beside(points, option, centre, others)))
    return found


def rows(found: Sequence[Curve]) -> tuple[list[str], list[list[str]]]:
    """Curves as a table: head and rows of cells, one a point."""
    head = ["method", "option", "value", "seeds", "mean", "± 95 %", "baseline alike"]
    body = []
    for curve in found:
        for point, beside in zip(curve.points, curve.baseline, strict=True):
            half = f"{point.half:.2f}" if point.seeds > 1 else ""
            known = "" if beside is None else f"{beside.mean:.2f}"
            value = f"{point.value}{' (default)' if point.default else ''}"
            body.append([curve.method, curve.option, value, str(point.seeds), f"{point.mean:.2f}", half, known])
    return head, body


def _alike(values: dict[str, Any], centre: dict[str, Any], but: Sequence[str]) -> bool:
    return all(values[name] == centre[name] for name in values if name not in but)


def _beside(
    points: Sequence[Point], option: str, centre: dict[str, Any], others: Sequence[tuple[dict[str, Any], list[float]]]
) -> list[Point | None]:
    """The baseline trained as each point was; a loss option makes no difference to it."""
    made: list[Point | None] = []
    for point in points:
        wanted = centre | ({} if option in _LOSS else {option: point.value})
        scores = next((s for v, s in others if _alike(v, wanted, but=_LOSS)), None)
        made.append(None if scores is None else _point(point.value, scores, point.default))
    return made


_LOSS = ("loss", *_OF_LOSS)


def _values(run: Run) -> dict[str, Any]:
    """Everything that a run may differ in, hashable: training parameters, and all options of its loss."""
    parameters = run.config["parameters"]
    options = asdict(resolve(parameters["loss"], **parameters["loss_options"]))
    values = {name: value for name, value in parameters.items() if name not in _HIDDEN}
    values |= {"loss": parameters["loss"]} | {name: options[name] for name in _OF_LOSS}
    return {name: json.dumps(value) if isinstance(value, (list, dict)) else value for name, value in values.items()}


def _centre(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The commonest value of each option, the preset's own where there are ties."""
    own = asdict(resolve(settings[0]["loss"]))
    centre = {}
    for name in settings[0]:
        seen = [values[name] for values in settings]
        centre[name] = max(dict.fromkeys([own.get(name), *seen]), key=seen.count)
    return centre


def _scores(group: Sequence[Run], measure: str) -> list[float]:
    found = run_scores(group, measure)
    return list(next(iter(found.values())).values()) if found else []


def _point(value: Any, scores: Sequence[float], default: bool) -> Point:
    mean, half = t_interval(scores)
    return Point(value, mean, half, len(scores), default)


def _order(point: Point) -> tuple[bool, float, str]:
    number = isinstance(point.value, (int, float))
    return not number, float(point.value) if number else 0.0, str(point.value)
