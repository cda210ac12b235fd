"""What an exercise is: one function is its source, beside it what can be wrong with an answer.

Its signature and docstring are what the learner starts from, its body is the solution. An answer is right if it does
what the solution does on inputs chosen by hand (`Exercise.by_hand`) and on 60 drawn by `Exercise.samples`.
`Exercise.mistaken` says what to tell who gives a wrong answer that others gave before (`hncse.exercises.grading`): the
solution, with a piece of it replaced.

    @hint("Compare p with n first.")
    @exercise("02.1", "Name the case", difficulty=1, importance=3, minutes=5, praise="Now read `hncse.miner.cases`.")
    def name_case(p: float, n: float, band: float = 0.1) -> str:
        \"\"\"Return HNCSE's case of an anchor: "A", "B" or "C".\"\"\"
        if p <= n:
            return "C"
        return "A" if (p - n) / p <= band else "B"

    name_case.samples(lambda rng: tuple(rng.uniform(0.05, 1, 3).round(2)))
    name_case.by_hand({"At p = n the anchor does not prefer its positive: C, not {seen}.": (0.5, 0.5)})
    name_case.mistaken({"You take the lead as it is; the band is relative to p.": ("(p - n) / p", "p - n")})

What a function uses besides its arguments it imports at the top of its module; the notebook then gets the same import.
Notebooks hold cells made from this by ``python -m tools.notebooks sync``; `make lint` fails when they differ.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import re
import textwrap
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from hncse.errors import HncseError
from hncse.exercises.compare import TOLERANCE
from hncse.exercises.grading import Case, Outcome, Verdict, judge, outcome

__all__ = ["DRAWS", "STUB", "Answer", "Exercise", "Verdict", "any_order", "exercise", "hint"]

Answer = Callable[..., Any]
Sampler = Callable[[np.random.Generator], tuple[Any, ...]]
DRAWS = 60  # random inputs of a check
STUB = "...  # your code, in place of this line"
_REGISTRY: dict[str, Exercise] = {}


@dataclass
class Exercise:
    """One exercise; made by `exercise`.

    Attributes:
        name: ``<notebook>.<number>``, for example ``02.1``.
        title: A few words.
        difficulty: 1 (read it off), 2 (think) or 3 (build).
        importance: 1 (an extra), 2 (worth it) or 3 (do not leave it out).
        minutes: What a learner needs.
        solution: The function whose body solves it.
        praise: Said when everything is right.
        tolerance: Largest relative difference from the right number; smaller where digits are the point.
        gradient: Whether the result's gradient is compared too.
        pure: Whether changing the arguments is a mistake.
        builds: Whether later cells use the function, the kit's own where the learner's is not right yet.
        reference: The kit's own function, in place of the solution, that answers are compared with.
        hint: Markdown, folded in the notebook.
        changes: What to say of a wrong answer that people give → pieces of the solution, each with its replacement.
        cases: Inputs chosen by hand, each with its words.
    """

    name: str
    title: str
    difficulty: int
    importance: int
    minutes: int
    solution: Answer
    praise: str
    tolerance: float = TOLERANCE
    gradient: bool = False
    pure: bool = True
    builds: bool = False
    reference: Answer | None = None
    hint: str = ""
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    _sampler: Sampler | None = None
    _compared: Callable[[Any, tuple[Any, ...]], Any] | None = None
    _expected: list[tuple[Case, Outcome]] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the solution: other exercises may build on it."""
        return self.solution(*args, **kwargs)

    def samples(self, sampler: Sampler) -> Sampler:
        """Register the source of random inputs: takes a generator, returns the arguments of one call."""
        self._sampler = sampler
        return sampler

    def compare_by(self, view: Callable[[Any, tuple[Any, ...]], Any]) -> Callable[[Any, tuple[Any, ...]], Any]:
        """Register what is compared, from the result and the arguments after the call; else it is the result."""
        self._compared = view
        return view

    def by_hand(self, table: dict[str, tuple[Any, ...]]) -> None:
        """Add inputs: words that tell the learner who is wrong there why, with {seen} and {right} → arguments."""
        self.cases += [Case(arguments, words) for words, arguments in table.items()]

    def mistaken(self, table: dict[str, tuple[str, ...]]) -> None:
        """Add wrong answers that people give: what to say → a piece of the solution, its replacement, and so on."""
        self.changes |= table

    @functools.cached_property
    def mistakes(self) -> dict[str, Answer]:
        """What to say of a wrong answer → that answer: the solution with its pieces replaced, one after the other.

        Raises:
            HncseError: The solution has no such piece.
        """
        answers: dict[str, Answer] = {}
        for words, pieces in self.changes.items():
            source = self.solution_source
            for old, new in zip(pieces[::2], pieces[1::2], strict=True):
                if old not in source:
                    raise HncseError(f"exercise {self.name}: {old!r} does not stand in its solution")
                source = source.replace(old, new)
            scope: dict[str, Answer] = {}
            exec(f"from __future__ import annotations\n{source}", self.solution.__globals__, scope)
            answers[words] = scope[self.solution.__name__]
        return answers

    def compared(self, result: Any, arguments: tuple[Any, ...]) -> Any:
        """What of a call is compared."""
        return result if self._compared is None else self._compared(result, arguments)

    def drawn(self, n: int = DRAWS, seed: int = 0) -> list[Case]:
        """Random inputs, the same for the same seed.

        Raises:
            HncseError: The exercise has no source of them.
        """
        if self._sampler is None:
            raise HncseError(f"exercise {self.name} has no samples to check an answer with")
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return [Case(self._sampler(rng)) for _ in range(n)]

    def expected(self) -> list[tuple[Case, Outcome]]:
        """Every input of the check with the right outcome, computed once."""
        if not self._expected:
            right = self.reference or self.solution
            self._expected = [(case, outcome(self, right, case)) for case in self.cases + self.drawn()]
        return self._expected

    def grade(self, answer: Answer) -> Verdict:
        """Judge an answer; never raises for what the learner wrote."""
        if not callable(answer):
            return Verdict("wrong", f"this takes a function, not {answer!r}")
        if _does_nothing(answer):
            return Verdict("open", "not solved yet: write your code, run the cell, and it is checked")
        return judge(self, answer)

    @property
    def rating(self) -> str:
        """Difficulty, importance and minutes, in a line."""
        difficulty, importance = ("★" * n + "☆" * (3 - n) for n in (self.difficulty, self.importance))
        return f"difficulty {difficulty} · importance {importance} · {self.minutes} minutes"

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


def exercise(
    name: str, title: str, *, difficulty: int, importance: int, minutes: int, praise: str, **how: Any
) -> Callable[[Answer], Exercise]:
    """Make an exercise of the function that solves it; see this module's beginning.

    Args:
        name: ``<notebook>.<number>``.
        title: A few words.
        difficulty: 1, 2 or 3.
        importance: 1, 2 or 3.
        minutes: What a learner needs.
        praise: Said when everything is right.
        **how: ``tolerance``, ``gradient``, ``pure``, ``builds``, ``reference`` of `Exercise`.

    Raises:
        HncseError: A name of another form or used twice, a difficulty or importance that is not 1, 2 or 3.
    """
    if not re.fullmatch(r"[0-9A-Z]+\.\d+", name):
        raise HncseError(f"exercise {name!r} needs a name like 02.1: its notebook, a point, its number there")
    if name in _REGISTRY:
        raise HncseError(f"exercise {name} exists already: {_REGISTRY[name].title!r}")
    for what, value in {"difficulty": difficulty, "importance": importance}.items():
        if value not in (1, 2, 3):
            raise HncseError(f"exercise {name}: {what} is {value}; it must be 1, 2 or 3")

    def make(solution: Answer) -> Exercise:
        _REGISTRY[name] = Exercise(name, title, difficulty, importance, minutes, solution, praise, **how)
        return _REGISTRY[name]

    return make


def hint(text: str) -> Callable[[Exercise], Exercise]:
    """Give an exercise its hint: Markdown, indented as one likes."""

    def give(to: Exercise) -> Exercise:
        to.hint = textwrap.dedent(text).strip()
        return to

    return give


def any_order(result: Any, _: tuple[Any, ...]) -> Any:
    """For `Exercise.compare_by`: a list whose order does not matter."""
    try:
        return sorted(result)
    except TypeError:  # no list, or of things without order: wrong in another way
        return result


def registered() -> dict[str, Exercise]:
    """All exercises whose modules were imported, by name, in order."""
    return {name: _REGISTRY[name] for name in sorted(_REGISTRY, key=_order)}


def _order(name: str) -> tuple[str, int]:
    lesson, _, number = name.partition(".")
    return lesson, int(number)


def _does_nothing(answer: Callable[..., Any]) -> bool:
    """Whether a function is but a docstring, ``...``, ``pass`` or ``return None``: asked of its instructions."""
    code = getattr(answer, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    idle = ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE")
    return all(step.opname in idle and step.argval is None for step in steps)
