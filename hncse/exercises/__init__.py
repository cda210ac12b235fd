"""Exercises of the notebooks: ``exercises.check("02.1", my_function)`` judges an answer and explains what is wrong.

A module a notebook (``lesson_02.py``) holds its exercises; `hncse.exercises.core` says how one is written.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from hncse.exercises import core
from hncse.exercises.core import Exercise, Verdict

__all__ = ["Exercise", "Verdict", "check", "find", "lesson"]

_SIGNS = {"right": "✓", "wrong": "✗", "open": "○"}


def check(name: str, answer: Any) -> None:
    """Judge a learner's function and print what there is to say; a wrong answer raises nothing.

    Args:
        name: Of the exercise, for example ``"02.1"``.
        answer: The learner's function.

    Raises:
        HncseError: No such exercise.
    """
    verdict = find(name).grade(answer)
    print(f"{_SIGNS[verdict.state]} {name}  {verdict.message}")  # noqa: T201 - it speaks to a notebook's reader


def find(name: str) -> Exercise:
    """One exercise by name.

    Raises:
        HncseError: There is none; the nearest is given.
    """
    if name not in lesson(name.partition(".")[0]):
        for module in _modules():  # the nearest may be another notebook's
            lesson(module.removeprefix("lesson_").upper())
    return core.lookup(name)


def lesson(number: str) -> dict[str, Exercise]:
    """The exercises of one notebook, ``"02"`` or ``"A1"``, by name, in order; empty where it has none."""
    module = f"lesson_{number.lower()}"
    if module in _modules():
        importlib.import_module(f"{__name__}.{module}")
    return {name: e for name, e in core.registered().items() if name.startswith(f"{number}.")}


def _modules() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson_")]
