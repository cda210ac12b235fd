"""Exercises of the notebooks: ``exercises.check("02.1", my_function)`` judges an answer and explains what is wrong.

A module a notebook (``lesson_02.py``) holds its exercises; `hncse.exercises.core` says how one is written.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from hncse.errors import unknown
from hncse.exercises import core
from hncse.exercises.core import Exercise
from hncse.exercises.grading import Verdict

__all__ = ["Exercise", "Verdict", "check", "find", "lesson", "modules", "use"]

_SIGNS = {"right": "✓", "wrong": "✗", "open": "○"}


def check(name: str, answer: Any) -> None:
    """Judge a learner's function and print what there is to say; a wrong answer raises nothing.

    Args:
        name: Of the exercise, for example ``"02.1"``.
        answer: The learner's function.

    Raises:
        HncseError: No such exercise.
    """
    _say(name, find(name).grade(answer))


def use(name: str, answer: Any) -> Callable[..., Any]:
    """Judge as `check` does, and return the function to go on with: the learner's if it is right, else the kit's own.

    Args:
        name: Of the exercise.
        answer: The learner's function.

    Raises:
        HncseError: No such exercise.
    """
    verdict = find(name).grade(answer)
    _say(name, verdict, "" if verdict.state == "right" else " (Cells below use the kit's own until then.)")
    return answer if verdict.state == "right" else find(name).solution


def _say(name: str, verdict: Verdict, more: str = "") -> None:
    print(f"{_SIGNS[verdict.state]} {name}  {verdict.message}{more}")  # noqa: T201 - it speaks to a notebook's reader


def find(name: str) -> Exercise:
    """One exercise by name.

    Raises:
        HncseError: There is none; the nearest is given.
    """
    if name not in lesson(name.partition(".")[0]):
        for number in modules():  # the nearest may be another notebook's
            lesson(number)
        if name not in core.registered():
            raise unknown("exercise", name, core.registered())
    return core.registered()[name]


def lesson(number: str) -> dict[str, Exercise]:
    """The exercises of one notebook, ``"02"`` or ``"A1"``, by name, in order; empty where it has none."""
    module = f"lesson_{number.lower()}"
    if module in _modules():
        importlib.import_module(f"{__name__}.{module}")
    return {name: e for name, e in core.registered().items() if name.startswith(f"{number}.")}


def modules() -> list[str]:
    """The notebooks that have exercises: ``"00"``, …, ``"A1"``."""
    return [module.removeprefix("lesson_").upper() for module in _modules()]


def _modules() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_")]
