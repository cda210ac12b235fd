"""Cells made from exercises: they run as stub and with the solution pasted; drift says where they differ."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest

from hncse import exercises
from hncse.exercises import core
from tests.test_exercises import LESSONS, define, toy
from tools import exercise_cells


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(core, "_REGISTRY", {})


@pytest.mark.parametrize("module", LESSONS)
def test_cells_run_as_stub_and_with_the_solution_pasted(module, capsys):
    number = module.removeprefix("lesson_").upper()
    lesson = exercises.lesson(number)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"<!-- exercise {name} -->") for name in lesson]
    )
    exercise_cells.sync(notebook, number)
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
    made = exercise_cells.sync(marked(), "02_hard_negatives")
    ids = [cell.id for cell in made.cells]
    assert ids[1:4] == ["ex-02-1-task", "ex-02-1-code", "ex-02-1-help"]
    task, code, folded = (cell.source for cell in made.cells[1:4])
    first = exercises.find("02.1")
    assert task == f"### Exercise 02.1 · {first.title}\n\n{first.rating}\n\n{first.task}"
    assert code.startswith("from hncse import exercises\n\n\ndef ")
    assert code.endswith(f'exercises.check("02.1", {first.solution.__name__})')
    assert folded.count("<details>") == folded.count("</details>") == 2 and first.hint in folded
    assert first.solution_source in folded
    assert "from hncse import exercises" not in made.cells[5].source  # the second exercise has it already
    before = json.dumps(made)
    assert json.dumps(exercise_cells.sync(made, "02_hard_negatives")) == before
    assert json.dumps(exercise_cells.sync(marked(), "02_hard_negatives").cells[1:4]) == json.dumps(made.cells[1:4])
    nbformat.validate(made)
    assert list(exercise_cells.drift(made, "02_hard_negatives")) == []


def test_sync_mends_cells_that_were_changed_lost_or_doubled():
    made = exercise_cells.sync(marked(), "02_hard_negatives")
    wanted = json.dumps(made)
    made.cells[1].source = "something else"
    del made.cells[2]
    assert any(
        "task, code not as hncse/exercises/lesson_02.py makes it" in p for p in exercise_cells.drift(made, "02_hard")
    )
    assert json.dumps(exercise_cells.sync(made, "02_hard_negatives")) == wanted
    made.cells.append(made.cells[1].copy())
    assert any("exercise 02.1: cells not as" in problem for problem in exercise_cells.drift(made, "02_hard_negatives"))
    assert json.dumps(exercise_cells.sync(made, "02_hard_negatives")) == wanted


def test_drift_names_exercises_that_are_missing_or_unknown_and_lessons_that_are_too_short(registry):
    assert any("holds 0 exercises" in p for p in exercise_cells.drift(notebook_of("# 77"), "77_x"))
    assert list(exercise_cells.drift(notebook_of("# B"), "B1_appendix")) == []
    for number in (1, 2, 3):
        toy(f"77.{number}")
    found = list(exercise_cells.drift(notebook_of("# 77", "<!-- exercise 77.1 -->", "<!-- exercise 77.9 -->"), "77_x"))
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
        "from hncse.exercises.core import exercise, hint\n\n\n"
        '@hint("Squares.")\n'
        '@exercise("77.1", "Length", difficulty=1, importance=1, minutes=1, praise="")\n'
        "def length(vector: np.ndarray, more: Sequence[float] = ()) -> float:\n"
        '    """Return the length."""\n'
        "    return math.sqrt(np.square(vector).sum())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import toy_lesson  # type: ignore[import-not-found]

    _, code, folded = exercise_cells.cells(toy_lesson.length, [])
    first = "from collections.abc import Sequence\n\nimport numpy as np\n\nfrom hncse import exercises\n\n\ndef length("
    assert code.source.startswith(first)
    assert "```python\nimport math\n\n\ndef length(" in folded.source  # only the solution needs it
    above = notebook_of("%pip install x\nimport math\nimport numpy as np", "def broken(:")
    _, code, folded = exercise_cells.cells(toy_lesson.length, above.cells)
    assert "import numpy" not in code.source and "import math" not in folded.source
