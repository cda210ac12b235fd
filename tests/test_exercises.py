"""Exercises of the notebooks: every solution is right, every stub open, every mistake refused with an explanation.

The first tests run over all lessons that exist; the later ones look at the machinery, on exercises written here.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

from hncse import exercises
from hncse.errors import HncseError
from hncse.exercises import core
from hncse.exercises.core import Exercise
from hncse.exercises.grading import Verdict
from tools import exercise_mutants

LESSONS = [m.name for m in pkgutil.iter_modules(exercises.__path__) if m.name.startswith("lesson_")]
ALL = {name: e for m in LESSONS for name, e in exercises.lesson(m.removeprefix("lesson_").upper()).items()}


def define(source: str, namespace: dict[str, Any]) -> None:
    exec(compile(source, "cell", "exec", dont_inherit=True), namespace)


def answer_of(exercise: Exercise, source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    define("from __future__ import annotations\n" + source, namespace)
    return namespace[exercise.solution.__name__]


def test_there_are_lessons():
    assert len(LESSONS) >= 2


CONSTANTS = [0, 1, 0.5, True, "A", [], (0, 0), {}]


def forgets(*arguments, **_):
    return sorted(map(str, arguments)).clear()


def stops(*_, **__):
    return 1 / 0


@pytest.mark.parametrize("name", ALL)
def test_an_exercise_takes_its_solution_alone(name):
    """The solution is right, twice; the stub is open; mistakes, constants, the argument and nothing are wrong."""
    exercise = ALL[name]
    right = exercise.grade(exercise.solution)
    assert right.state == "right", right.message
    assert len(right.message.split()) >= 5 and exercise.grade(exercise.solution) == right
    assert exercise.grade(answer_of(exercise, exercise.stub)).state == "open"

    assert exercise.mistakes
    for words, mistake in exercise.mistakes.items():
        verdict = exercise.grade(mistake)
        assert verdict.state == "wrong", f"the check takes for right: {words!r}"
        assert verdict.message.startswith(words), "a known mistake is told in its own words"

    for constant in CONSTANTS:
        assert exercise.grade(lambda *_, _c=constant, **__: _c).state == "wrong", f"{constant!r} is taken for right"
    assert exercise.grade(forgets).state == "wrong"
    assert exercise.grade(lambda *arguments, **_: arguments[0] if arguments else None).state == "wrong"

    verdict = exercise.grade(stops)
    assert verdict.state == "wrong" and verdict.message.startswith("stops(")
    assert verdict.message.endswith("stopped in line 2 with ZeroDivisionError: division by zero")


def test_what_surrounds_every_exercise():
    for name, exercise in ALL.items():
        assert 1 <= exercise.minutes <= 60 and len(exercise.drawn()) >= 50, name
        assert len(exercise.hint.split()) >= 4 and exercise.title[0].isupper(), name
        assert exercise.task.splitlines()[0].endswith(".") and len(exercise.task.split()) >= 8, name
        assert "    " not in exercise.hint.replace("\n\n", "\n").split("```")[0], name


def test_every_wrong_variant_of_a_solution_is_refused():
    """Operators, comparisons, constants, bounds, arguments, steps left out: see `tools.exercise_mutants`."""
    for name in exercise_mutants.names():
        of = exercise_mutants.report(name, enough=15, further=20)
        assert not of.accepted, f"{name} takes for right:\n" + "\n\n".join(of.accepted)
        assert len(of.refused) >= 15, f"{name}: only {len(of.refused)} wrong variants"


def test_unknown_name_gives_the_nearest():
    with pytest.raises(HncseError, match=r"unknown exercise '02\.l'\. Did you mean '02\.\d'"):
        exercises.find("02.l")
    with pytest.raises(HncseError, match=r"unknown exercise '2\.1'\. Did you mean"):
        exercises.find("2.1")
    with pytest.raises(HncseError, match="unknown exercise"):
        exercises.check("99.9", len)
    assert exercises.lesson("99") == {}


# --- the machinery ---------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(core, "_REGISTRY", {})


def toy(name: str = "77.1") -> Exercise:
    @core.hint("""
        Add it
        to itself.
        """)
    @core.exercise(name, "Twice", difficulty=1, importance=2, minutes=1, praise="that is all there was to it")
    def twice(
        value: float,
        *,
        other: float = 0.0,
    ) -> float:
        """Return twice the value, plus `other`."""
        return 2 * value + other

    @twice.samples
    def _(rng):
        return (round(float(rng.normal()), 2),)

    twice.by_hand({"twice 2 is 4, not {seen:.1f}": (2.0,)})
    return twice


def test_sources_of_a_signature_over_several_lines_and_a_one_line_docstring(registry):
    made = toy()
    signature = "def twice(\n    value: float,\n    *,\n    other: float = 0.0,\n) -> float:"
    docstring = '    """Return twice the value, plus `other`."""'
    assert made.stub == f"{signature}\n{docstring}\n    {core.STUB}"
    assert made.solution_source == f"{signature}\n    return 2 * value + other"
    assert (
        made.hint == "Add it\nto itself."
        and made.rating == "difficulty ★☆☆ · importance ★★☆ · 1 minutes"
        and made(3.0) == 6.0
    )


@pytest.mark.parametrize("body", ["...", "pass", "return None", '"""Text."""', '"""Text."""\n    ...', "return"])
def test_a_function_that_does_nothing_is_open(body, registry):
    namespace: dict[str, Any] = {}
    define(f"def twice(value, *, other=0.0):\n    {body}", namespace)
    assert toy().grade(namespace["twice"]).state == "open"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3.0", "twice 2 is 4, not 3.0"),
        ("return value", "twice 2 is 4, not 2.0"),
        ("print(value)", "twice(2.0) returned None; is a `return` missing?"),
        (
            "return str(value)",
            "twice(2.0) returned '2.0', which is not the kind of result that the task asks for; here it is 4.0",
        ),
        ("x = value\n    return x + y", "twice(2.0) stopped in line 3 with NameError: name 'y' is not defined"),
        ("raise SystemError('no')", "twice(2.0) stopped in line 2 with SystemError: no"),
    ],
)
def test_wrong_answers_are_told_in_the_learners_terms(body, message, registry):
    namespace: dict[str, Any] = {}
    define(f"def twice(value, *, other=0.0):\n    {body}", namespace)
    assert toy().grade(namespace["twice"]) == Verdict("wrong", message)


def test_a_wrong_signature_and_things_that_are_no_function(registry):
    made = toy()
    assert "stopped with TypeError" in made.grade(lambda: 4.0).message
    assert made.grade(4.0) == Verdict("wrong", "this takes a function, not 4.0")
    assert made.grade(lambda v: 2 * v).state == "right"
    assert made.grade(abs).state == "wrong"  # a built-in has no code to look at


def test_check_prints_one_line(capsys):
    name, exercise = next(iter(ALL.items()))
    exercises.check(name, exercise.solution)
    assert capsys.readouterr().out.startswith(f"✓ {name}  ")


def test_what_an_author_gets_wrong_is_an_error(registry):
    toy()
    with pytest.raises(HncseError, match=r"exercise 77\.1 exists already: 'Twice'"):
        toy()
    with pytest.raises(HncseError, match="difficulty is 4"):
        core.exercise("77.2", "T", difficulty=4, importance=1, minutes=1, praise="")
    with pytest.raises(HncseError, match="needs a name like"):
        core.exercise("lesson", "T", difficulty=1, importance=1, minutes=1, praise="")

    @core.exercise("77.3", "Bare", difficulty=1, importance=1, minutes=1, praise="")
    def bare(value):
        return value

    with pytest.raises(HncseError, match="docstring, which is the task"):
        _ = bare.stub
    with pytest.raises(HncseError, match="has no samples"):
        bare.grade(len)


def test_exercises_come_in_the_order_of_their_numbers(registry):
    for name in ("77.10", "77.9", "A1.1", "08.2"):
        toy(name)
    assert list(core.registered()) == ["08.2", "77.9", "77.10", "A1.1"]
