"""A learner's function under examination: whether it is solved at all, and what to say when it fails."""

from __future__ import annotations

import dis
import functools
import reprlib
import traceback
from collections.abc import Callable
from types import CodeType
from typing import Any

__all__ = ["Watched", "does_nothing"]


class Watched:
    """A learner's function that remembers its last call, so that an error can be told in the learner's terms."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        """Watch a function."""
        functools.update_wrapper(self, answer)
        self._answer, self._call = answer, ""
        self._value: Any = None
        self._failure: Exception | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and remember with what and what came of it."""
        given = [reprlib.repr(a) for a in args] + [f"{k}={reprlib.repr(v)}" for k, v in kwargs.items()]
        self._call = f"{getattr(self._answer, '__name__', 'your function')}({', '.join(given)})"
        try:
            self._value = self._answer(*args, **kwargs)
        except Exception as error:
            self._failure = error
            raise
        return self._value

    def explain(self, error: Exception) -> str:
        """What to say of an error that came out of the function, or of the check because of what it returned."""
        if error is self._failure:
            return f"{self._call} stopped{_place(error, self._answer)} with {type(error).__name__}: {error}"
        if self._value is None:
            return f"{self._call} returned None; is a `return` missing?"
        return (
            f"{self._call} returned {reprlib.repr(self._value)}, which is not the kind of result that the task asks for"
        )


def does_nothing(answer: Callable[..., Any]) -> bool:
    """Whether a function is but a docstring, ``...``, ``pass`` or ``return None``: asked of its instructions."""
    code = getattr(answer, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    idle = ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE")
    return all(step.opname in idle and step.argval is None for step in steps)


def _place(error: BaseException, answer: Callable[..., Any]) -> str:
    """Where in the learner's function an error arose, counted from its ``def``."""
    code = getattr(answer, "__code__", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    return f" in line {lines[-1] - code.co_firstlineno + 1}" if code and lines else ""
