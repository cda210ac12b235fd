"""What an exercise is: one function is its source, with a check beside it.

Its signature and docstring are what the learner starts from, its body is the solution; the check takes the learner's
function and says what is wrong, and why.

    @hint("Compare p with n first.")
    @exercise("02.1", "Name the case", difficulty=1, minutes=5)
    def name_case(p: float, n: float, band: float = 0.1) -> str:
        \"\"\"Return HNCSE's case of an anchor: "A", "B" or "C".\"\"\"
        if p <= n:
            return "C"
        return "A" if (p - n) / p <= band else "B"

    @name_case.checked_by
    def _(answer: Answer) -> str:
        equal(answer(0.5, 0.5), "C", "At p = n the anchor does not prefer its positive: C, not {seen}.")
        ...
        return "Now read `hncse.miner.cases`, the same on tensors."  # said when everything is right

    name_case.mistakes |= {  # wrong answers that the check must catch; a test proves that it does
        "a tie counted as A": lambda p, n, band=0.1: ...,
    }

What a function uses besides its arguments it imports at the top of its module; the notebook then gets the same import.
Notebooks hold cells made from this by ``python -m tools.notebooks sync``; `make lint` fails when they differ.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import re
import reprlib
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isclose
from types import CodeType
from typing import Any

from hncse.errors import HncseError, unknown

__all__ = ["STUB", "Answer", "Exercise", "Verdict", "Wrong", "equal", "exercise", "expect", "hint"]

Answer = Callable[..., Any]
STUB = "...  # your code, in place of this line"
_REGISTRY: dict[str, Exercise] = {}


class Wrong(Exception):
    """An answer is wrong; the message says to the learner what was seen, what was meant, and why."""


def expect(right: object, explanation: str) -> None:
    """Go on if ``right`` holds.

    Raises:
        Wrong: It does not; ``explanation`` is what the learner reads.
    """
    if not right:
        raise Wrong(explanation)


def equal(seen: Any, right: Any, explanation: str) -> None:
    """Go on if a result is the right one: numbers to a millionth of them, all else exactly.

    Args:
        seen: What the learner's function returned.
        right: What it should be.
        explanation: What the learner reads, with ``{seen}`` and ``{right}`` filled in.

    Raises:
        Wrong: They differ.
    """
    same = isclose(seen, right, rel_tol=1e-6, abs_tol=1e-9) if isinstance(right, int | float) else seen == right
    expect(same, explanation.format(seen=seen, right=right))


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        state: ``"right"``, ``"wrong"`` or ``"open"`` (the stub, or nothing returned).
        message: For the learner.
    """

    state: str
    message: str


@dataclass
class Exercise:
    """One exercise; made by `exercise`.

    Attributes:
        name: ``<notebook>.<number>``, for example ``02.1``.
        title: A few words.
        difficulty: 1 (read it off), 2 (think) or 3 (build).
        minutes: What a learner needs.
        solution: The function whose body solves it.
        hint: Markdown, folded in the notebook.
        mistakes: Wrong answers by name, each refused by the check.
    """

    name: str
    title: str
    difficulty: int
    minutes: int
    solution: Answer
    hint: str = ""
    mistakes: dict[str, Answer] = field(default_factory=dict)
    _check: Callable[[Answer], str] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the solution: other exercises may build on it."""
        return self.solution(*args, **kwargs)

    def checked_by(self, check: Callable[[Answer], str]) -> Callable[[Answer], str]:
        """Register the check: takes the learner's function, raises `Wrong`, returns what to say when all is right."""
        self._check = check
        return check

    def mistake(self, name: str) -> Callable[[Answer], Answer]:
        """Register a wrong answer that people give."""

        def keep(answer: Answer) -> Answer:
            self.mistakes[name] = answer
            return answer

        return keep

    def grade(self, answer: Answer) -> Verdict:
        """Judge an answer; never raises for what the learner wrote."""
        if self._check is None:
            raise HncseError(f"exercise {self.name} has no check")
        if not callable(answer):
            return Verdict("wrong", f"this takes a function, not {answer!r}")
        if _does_nothing(answer):
            return Verdict("open", "not solved yet: write your code, run the cell, and it is checked")
        attempt = _Attempt(answer)
        try:
            return Verdict("right", self._check(attempt))
        except Wrong as wrong:
            return Verdict("wrong", str(wrong))
        except Exception as error:  # theirs to read, in words and without our frames
            return Verdict("wrong", attempt.explain(error))

    @property
    def stars(self) -> str:
        """The difficulty, to look at."""
        return "★" * self.difficulty + "☆" * (3 - self.difficulty)

    @property
    def task(self) -> str:
        """The docstring, Markdown."""
        return ast.get_docstring(self._function()) or ""

    @property
    def stub(self) -> str:
        """Source the learner starts from: signature, the task's first line, no body."""
        return f'{self._source()[0]}\n    """{self.task.splitlines()[0]}"""\n    {STUB}'

    @property
    def solution_source(self) -> str:
        """Source of the solution, without its decorator and docstring."""
        return "\n".join(self._source())

    def _lines(self) -> list[str]:
        return textwrap.dedent(inspect.getsource(self.solution)).splitlines()

    def _function(self) -> ast.FunctionDef:
        """The solution's syntax; its docstring is there even where Python runs without docstrings."""
        (function,) = ast.parse("\n".join(self._lines())).body
        if not isinstance(function, ast.FunctionDef) or ast.get_docstring(function) is None:
            raise HncseError(f"exercise {self.name}: it is a function with a docstring, which is the task")
        return function

    def _source(self) -> tuple[str, str]:
        """Signature and body as written, without decorators and docstring."""
        lines, function = self._lines(), self._function()
        text = function.body[0]
        return "\n".join(lines[function.lineno - 1 : text.lineno - 1]), "\n".join(lines[text.end_lineno :]).rstrip()


def exercise(name: str, title: str, *, difficulty: int, minutes: int) -> Callable[[Answer], Exercise]:
    """Make an exercise of the function that solves it; see this module's beginning.

    Raises:
        HncseError: A name that is no ``<notebook>.<number>`` or is used twice, a difficulty that is not 1, 2 or 3.
    """
    if not re.fullmatch(r"[0-9A-Z]+\.\d+", name):
        raise HncseError(f"exercise {name!r} needs a name like 02.1: its notebook, a point, its number there")
    if name in _REGISTRY:
        raise HncseError(f"exercise {name} exists already: {_REGISTRY[name].title!r}")
    if difficulty not in (1, 2, 3):
        raise HncseError(f"exercise {name}: difficulty is {difficulty}; it must be 1, 2 or 3")

    def make(solution: Answer) -> Exercise:
        _REGISTRY[name] = Exercise(name, title, difficulty, minutes, solution)
        return _REGISTRY[name]

    return make


def hint(text: str) -> Callable[[Exercise], Exercise]:
    """Give an exercise its hint: Markdown, indented as one likes."""

    def give(to: Exercise) -> Exercise:
        to.hint = textwrap.dedent(text).strip()
        return to

    return give


def registered() -> dict[str, Exercise]:
    """All exercises whose modules were imported, by name, in order."""
    return {name: _REGISTRY[name] for name in sorted(_REGISTRY, key=_order)}


def lookup(name: str) -> Exercise:
    """One exercise by name.

    Raises:
        HncseError: There is none; the nearest is given.
    """
    if name not in _REGISTRY:
        raise unknown("exercise", name, _REGISTRY)
    return _REGISTRY[name]


def _order(name: str) -> tuple[str, int]:
    lesson, _, number = name.partition(".")
    return lesson, int(number)


class _Attempt:
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


def _does_nothing(answer: Callable[..., Any]) -> bool:
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
