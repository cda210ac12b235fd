"""Exercises of the notebooks: every solution is right, every stub open, every mistake refused with an explanation.

The first tests run over all lessons that exist; the later ones look at the machinery, on exercises written here.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from hncse import exercises
from hncse.errors import HncseError
from hncse.exercises import core
from hncse.exercises.core import Exercise, expect
from tools import exercise_cells as cells_of

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


@pytest.mark.parametrize("name", ALL)
class TestEvery:
    def test_solution_is_right_and_its_check_has_a_word_to_say(self, name):
        verdict = ALL[name].grade(ALL[name].solution)
        assert verdict.state == "right", verdict.message
        assert len(verdict.message.split()) >= 5

    def test_stub_is_open(self, name):
        stub = answer_of(ALL[name], ALL[name].stub)
        assert ALL[name].grade(stub).state == "open"

    def test_every_mistake_is_wrong_and_explained(self, name):
        assert ALL[name].mistakes
        said = {}
        for title, mistake in ALL[name].mistakes.items():
            verdict = ALL[name].grade(mistake)
            assert verdict.state == "wrong", f"the check takes {title!r} for right"
            assert len(verdict.message.split()) >= 5 and len(title.split()) >= 2
            assert "stopped" not in verdict.message, f"{title!r} is an error, not a misunderstanding"
            said[title] = verdict.message

    @pytest.mark.parametrize(
        "trivial", [0, 1, -1, 0.5, True, False, "", "A", "B", "C", [], (0, 0), {}, [0.0], "nothing"], ids=repr
    )
    def test_no_constant_is_right(self, name, trivial):
        assert ALL[name].grade(lambda *_, **__: trivial).state == "wrong"

    def test_giving_back_nothing_or_the_argument_is_wrong(self, name):
        def works_and_forgets(*arguments, **_):
            return sorted(map(str, arguments)).clear()

        assert ALL[name].grade(works_and_forgets).state == "wrong"
        assert ALL[name].grade(lambda *arguments, **_: arguments[0] if arguments else None).state == "wrong"

    def test_an_exception_is_explained(self, name):
        def stops(*_, **__):
            return 1 / 0

        verdict = ALL[name].grade(stops)
        assert verdict.state == "wrong"
        assert verdict.message.startswith("stops(")
        assert verdict.message.endswith("stopped in line 2 with ZeroDivisionError: division by zero")

    def test_what_surrounds_it(self, name):
        exercise = ALL[name]
        assert exercise.difficulty in (1, 2, 3) and 1 <= exercise.minutes <= 60
        assert len(exercise.hint.split()) >= 4 and exercise.title[0].isupper()
        assert exercise.task.splitlines()[0].endswith(".") and len(exercise.task.split()) >= 8
        assert "    " not in exercise.hint.replace("\n\n", "\n").split("```")[0]

    def test_check_leaves_an_answer_repeatable(self, name):
        assert ALL[name].grade(ALL[name].solution) == ALL[name].grade(ALL[name].solution)


@pytest.mark.parametrize("module", LESSONS)
def test_cells_run_as_stub_and_with_the_solution_pasted(module, capsys):
    number = module.removeprefix("lesson_").upper()
    lesson = exercises.lesson(number)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"<!-- exercise {name} -->") for name in lesson]
    )
    cells_of.sync(notebook, number)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    helps = [cell.source for cell in notebook.cells if cell.id.endswith("-help")]

    namespace: dict[str, Any] = {}
    for cell in code:
        define(cell, namespace)
    said = capsys.readouterr().out.splitlines()
    assert [line[:1] for line in said] == ["○"] * len(lesson) and "not solved yet" in said[0]

    namespace = {}  # one learner solves all of them, one after the other
    for cell, folded, exercise in zip(code, helps, lesson.values(), strict=True):
        solution = folded.partition("```python\n")[2].partition("\n```")[0]
        pasted = cell.replace(exercise.stub, solution)
        assert pasted != cell
        define(pasted, namespace)
    said = capsys.readouterr().out
    signs = [line[:1] for line in said.splitlines() if line[:1] in ("✓", "✗", "○")]
    assert signs == ["✓"] * len(lesson), said


def test_lessons_rise_in_difficulty():
    for module in LESSONS:
        lesson = list(exercises.lesson(module.removeprefix("lesson_").upper()).values())
        assert [e.difficulty for e in lesson] == sorted(e.difficulty for e in lesson), f"{module} falls back"
        assert len(lesson) >= 3 or module == "lesson_a1"


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
    @core.exercise(
        name,
        "Twice",
        difficulty=1,
        minutes=1,
        hint="""
        Add it
        to itself.
        """,
    )
    def twice(
        value: float,
        *,
        other: float = 0.0,
    ) -> float:
        """Return twice the value, plus `other`."""
        return 2 * value + other

    @twice.checked_by
    def _(answer):
        seen = answer(2.0)
        expect(abs(seen - 4) < 1e-9, f"twice 2 is 4, not {seen:.1f}")
        return "that is all there was to it"

    return twice


def test_sources_of_a_signature_over_several_lines_and_a_one_line_docstring(registry):
    made = toy()
    signature = "def twice(\n    value: float,\n    *,\n    other: float = 0.0,\n) -> float:"
    docstring = '    """Return twice the value, plus `other`."""'
    assert made.stub == f"{signature}\n{docstring}\n    {core.STUB}"
    assert made.shown_solution == f"{signature}\n    return 2 * value + other"
    assert made.hint == "Add it\nto itself." and made.stars == "★☆☆" and made(3.0) == 6.0


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
        ("return str(value)", "twice(2.0) returned '2.0', which is not the kind of result that the task asks for"),
        ("x = value\n    return x + y", "twice(2.0) stopped in line 3 with NameError: name 'y' is not defined"),
        ("raise SystemError('no')", "twice(2.0) stopped in line 2 with SystemError: no"),
    ],
)
def test_wrong_answers_are_told_in_the_learners_terms(body, message, registry):
    namespace: dict[str, Any] = {}
    define(f"def twice(value, *, other=0.0):\n    {body}", namespace)
    assert toy().grade(namespace["twice"]) == core.Verdict("wrong", message)


def test_a_wrong_signature_and_things_that_are_no_function(registry):
    made = toy()
    assert "stopped with TypeError" in made.grade(lambda: 4.0).message
    assert made.grade(4.0) == core.Verdict("wrong", "this takes a function, not 4.0")
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
        core.exercise("77.2", "T", difficulty=4, minutes=1, hint="")
    with pytest.raises(HncseError, match="needs a name like"):
        core.exercise("lesson", "T", difficulty=1, minutes=1, hint="")

    @core.exercise("77.3", "Bare", difficulty=1, minutes=1, hint="")
    def bare(value):
        return value

    with pytest.raises(HncseError, match="docstring, which is the task"):
        _ = bare.stub
    with pytest.raises(HncseError, match="has no check"):
        bare.grade(len)


def test_exercises_come_in_the_order_of_their_numbers(registry):
    for name in ("77.10", "77.9", "A1.1", "08.2"):
        toy(name)
    assert list(core.registered()) == ["08.2", "77.9", "77.10", "A1.1"]


# --- their cells -----------------------------------------------------------------------------------------------------


def notebook_of(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(
        cells=[
            (nbformat.v4.new_markdown_cell if s.startswith(("#", "<")) else nbformat.v4.new_code_cell)(s)
            for s in sources
        ]
    )


def marked() -> nbformat.NotebookNode:
    names = exercises.lesson("02")
    return notebook_of("# 02", *(f"<!-- exercise {name} -->" for name in names), "## To discuss")


def test_sync_makes_three_cells_of_a_marker_and_nothing_the_second_time():
    made = cells_of.sync(marked(), "02_hard_negatives")
    ids = [cell.id for cell in made.cells]
    assert ids[1:4] == ["ex-02-1-task", "ex-02-1-code", "ex-02-1-help"]
    task, code, folded = (cell.source for cell in made.cells[1:4])
    first = exercises.find("02.1")
    assert task == f"### Exercise 02.1 · {first.title}\n\n{first.stars} · {first.minutes} minutes\n\n{first.task}"
    assert code.startswith("from hncse import exercises\n\n\ndef ")
    assert code.endswith(f'exercises.check("02.1", {first.solution.__name__})')
    assert folded.count("<details>") == folded.count("</details>") == 2 and first.hint in folded
    assert first.shown_solution in folded
    assert "from hncse import exercises" not in made.cells[5].source  # the second exercise has it already
    before = json.dumps(made)
    assert json.dumps(cells_of.sync(made, "02_hard_negatives")) == before
    assert json.dumps(cells_of.sync(marked(), "02_hard_negatives").cells[1:4]) == json.dumps(made.cells[1:4])
    nbformat.validate(made)
    assert list(cells_of.drift(made, "02_hard_negatives")) == []


def test_sync_mends_cells_that_were_changed_lost_or_doubled():
    made = cells_of.sync(marked(), "02_hard_negatives")
    wanted = json.dumps(made)
    made.cells[1].source = "something else"
    del made.cells[2]
    assert any("task, code not as hncse/exercises/lesson_02.py makes it" in p for p in cells_of.drift(made, "02_hard"))
    assert json.dumps(cells_of.sync(made, "02_hard_negatives")) == wanted
    made.cells.append(made.cells[1].copy())
    assert any("exercise 02.1: cells not as" in problem for problem in cells_of.drift(made, "02_hard_negatives"))
    assert json.dumps(cells_of.sync(made, "02_hard_negatives")) == wanted


def test_drift_names_exercises_that_are_missing_or_unknown_and_lessons_that_are_too_short(registry):
    assert any("holds 0 exercises" in p for p in cells_of.drift(notebook_of("# 77"), "77_x"))
    assert list(cells_of.drift(notebook_of("# B"), "B1_appendix")) == []
    for number in (1, 2, 3):
        toy(f"77.{number}")
    found = list(cells_of.drift(notebook_of("# 77", "<!-- exercise 77.1 -->", "<!-- exercise 77.9 -->"), "77_x"))
    assert "exercise 77.9 is in the notebook and not in hncse/exercises/lesson_77.py" in found
    assert any(p.startswith("exercise 77.2 is missing: put a cell <!-- exercise 77.2 -->") for p in found)
    assert any(p.startswith("exercise 77.1: task, code, help not as") for p in found)
    assert len(found) == 4


def test_imports_come_along_once(registry, tmp_path, monkeypatch):
    (tmp_path / "toy_lesson.py").write_text(
        "from __future__ import annotations\n\n"
        "import math\n"
        "from collections.abc import Sequence\n\n"
        "import numpy as np\n\n"
        "from hncse.exercises.core import exercise\n\n\n"
        '@exercise("77.1", "Length", difficulty=1, minutes=1, hint="Squares.")\n'
        "def length(vector: np.ndarray, more: Sequence[float] = ()) -> float:\n"
        '    """Return the length."""\n'
        "    return math.sqrt(np.square(vector).sum())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import toy_lesson  # type: ignore[import-not-found]

    _, code, folded = cells_of.cells(toy_lesson.length, [])
    first = "from collections.abc import Sequence\n\nimport numpy as np\n\nfrom hncse import exercises\n\n\ndef length("
    assert code.source.startswith(first)
    assert "```python\nimport math\n\n\ndef length(" in folded.source  # only the solution needs it
    above = notebook_of("%pip install x\nimport math\nimport numpy as np", "def broken(:")
    _, code, folded = cells_of.cells(toy_lesson.length, above.cells)
    assert "import numpy" not in code.source and "import math" not in folded.source
