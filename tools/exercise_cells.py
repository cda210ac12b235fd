"""Cells of a notebook made from its exercises: task, stub with its check, folded hint and solution.

`hncse.exercises` is the only source. A Markdown cell ``<!-- exercise 02.1 -->`` says where the three cells go; from
then on they are known by their ids, ``ex-02-1-task``, ``ex-02-1-code``, ``ex-02-1-help``; every sync writes them anew.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from hncse.exercises import lesson
from hncse.exercises.core import Exercise
from tools.notebook_files import find, lesson_number, parse, read

PARTS = ("task", "code", "help")
GUESS = "*My prediction:* … (double-click here and write it down)"
PREDICT = "> **Predict"
_MARKER = re.compile(r"<!-- exercise ([0-9A-Z]+\.\d+) -->")
_ID = re.compile(rf"ex-([0-9A-Za-z]+)-(\d+)-({'|'.join(PARTS)})")


def exercises_of(notebook_name: str) -> dict[str, Exercise]:
    """Exercises of a notebook, by name, in order: ``02_hard_negatives`` has those of ``lesson_02.py``.

    Parts of one lesson (``07a_…``, ``07b_…``) share its exercises; each stands in one of them.
    """
    return lesson(lesson_number(notebook_name))


def sync(notebook: Any, notebook_name: str) -> Any:
    """Make the cells of all exercises that a notebook marks or holds, in place; the same notebook twice is the same.

    Exercises that do not exist keep their cells; `drift` reports them.
    """
    known, placed = exercises_of(notebook_name), set()
    result: list[Any] = []
    for cell in notebook.cells:
        name = _exercise_in(cell)
        if name is None or name not in known:
            result.append(cell)
        elif name not in placed:
            placed.add(name)
            result += cells(known[name], result)
    notebook.cells = result
    return notebook


def cells(exercise: Exercise, before: Sequence[Any]) -> list[Any]:
    """The three cells of one exercise; what cells above them (``before``) import is not imported again."""
    from nbformat.v4 import new_code_cell, new_markdown_cell

    bound = _names_imported(before)
    head = exercise.stub.rpartition('\n    """')[0] + "\n    ..."
    imports = _imports(
        exercise, exercise.solution_source if exercise.builds else head, bound
    )  # builders get their tools
    if "exercises" not in bound:
        imports.append("from hncse import exercises")
    bound |= {name for line in imports for name in _bound_by(line)}
    missing = _imports(exercise, exercise.solution_source, bound)

    task = f"### Exercise {exercise.name} · {exercise.title}\n\n{exercise.rating}\n\n"
    function = exercise.solution.__name__
    call = f'exercises.check("{exercise.name}", {function})'
    if exercise.builds:  # what is not right is replaced, for later cells need it
        call = f'{function} = exercises.use("{exercise.name}", {function})'
    sources = (
        task + exercise.task,
        "\n\n\n".join([*_block(imports), exercise.stub, call]),
        _folded("Hint", exercise.hint) + "\n\n" + _folded("Solution", _python(_block(missing), exercise)),
    )
    stem = "ex-" + exercise.name.lower().replace(".", "-")
    return [
        (new_code_cell if part == "code" else new_markdown_cell)(source, id=f"{stem}-{part}")
        for part, source in zip(PARTS, sources, strict=True)
    ]


def with_guesses(notebook: Any) -> Any:
    """Put a cell to write in under every cell that asks for a prediction, where there is none; the same object."""
    from nbformat.v4 import new_markdown_cell

    cells = []
    for cell, after in zip_longest(notebook.cells, notebook.cells[1:]):
        cells.append(cell)
        if cell.cell_type == "markdown" and PREDICT in cell.source and (after is None or after.source != GUESS):
            cells.append(new_markdown_cell(GUESS, id=f"{cell.get('id')}-guess"))
    notebook.cells = cells
    return notebook


def drift(notebook: Any, notebook_name: str) -> Iterator[str]:
    """Yield where a notebook's exercises are not what their source makes them."""
    known, number = exercises_of(notebook_name), lesson_number(notebook_name)
    others = find([number]) if not notebook_name.startswith(f"{number}_") else []
    elsewhere = {name for path in others if path.stem != notebook_name for name in _by_exercise(read(path))}
    module = f"hncse/exercises/lesson_{number.lower()}.py"
    if number.isdigit() and len(known) < 3:
        yield f"{module} holds {len(known)} exercises; a numbered notebook has at least three"
    now, then = _by_exercise(notebook), _by_exercise(sync(copy.deepcopy(notebook), notebook_name))
    command = f"python -m tools.notebooks sync {notebook_name}"
    for name in now.keys() - known.keys():
        yield f"exercise {name} is in the notebook and not in {module}"
    for name in known:
        if name in elsewhere:
            if name in now:
                yield f"exercise {name} stands in another notebook of this lesson as well"
        elif name not in now:
            yield f"exercise {name} is missing: put a cell <!-- exercise {name} --> where it goes, then `{command}`"
        elif now[name] != then[name]:
            parts = [p for p, cell in zip(PARTS, then[name], strict=True) if cell not in now[name]]
            yield f"exercise {name}: {', '.join(parts) or 'cells'} not as {module} makes it; `{command}`"


def _by_exercise(notebook: Any) -> dict[str, list[tuple[str, ...]]]:
    """Id, type and source of the cells of every exercise."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for cell in notebook.cells:
        if (name := _exercise_in(cell)) is not None:
            groups.setdefault(name, []).append((cell.get("id") or "", cell.cell_type, cell.source))
    return groups


def _exercise_in(cell: Any) -> str | None:
    """Name of the exercise that a cell marks or is a part of."""
    if cell.cell_type == "markdown" and (marked := _MARKER.fullmatch(cell.source.strip())):
        return marked.group(1)
    if part := _ID.fullmatch(cell.get("id") or ""):
        return f"{part.group(1).upper()}.{part.group(2)}"
    return None


def _folded(title: str, text: str) -> str:
    return f"<details><summary><b>{title}</b></summary>\n\n{text}\n\n</details>"


def _python(imports: list[str], exercise: Exercise) -> str:
    return "```python\n" + "\n\n\n".join([*imports, exercise.solution_source]) + "\n```"


def _imports(exercise: Exercise, source: str, bound: set[str]) -> list[str]:
    """Lines that import what a source uses and nothing has bound, as the exercise's module imports it."""
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)} - bound
    module = inspect.getmodule(exercise.solution)
    assert module is not None
    lines = []
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            statement.names = [alias for alias in statement.names if (alias.asname or alias.name).split(".")[0] in used]
            if statement.names:
                lines.append(ast.unparse(statement))
    return lines


def _block(lines: list[str]) -> list[str]:
    """One block of imports in ruff's order: standard library, packages, ours; empty where there is nothing."""

    def group(line: str) -> int:
        top = line.split()[1].split(".")[0]
        return 0 if top in sys.stdlib_module_names else 2 if top == "hncse" else 1

    groups = [sorted((x for x in lines if group(x) == g), key=lambda x: (x.startswith("from"), x)) for g in range(3)]
    return ["\n\n".join("\n".join(each) for each in groups if each)] if lines else []


def _bound_by(line: str) -> set[str]:
    return {
        (alias.asname or alias.name).split(".")[0]
        for statement in ast.walk(ast.parse(line))
        if isinstance(statement, (ast.Import, ast.ImportFrom))
        for alias in statement.names
    }


def _names_imported(above: Sequence[Any]) -> set[str]:
    """Names that the code cells of a notebook import at their top level."""
    names: set[str] = set()
    for cell in above:
        if cell.cell_type == "code":
            with suppress(SyntaxError):  # the contract's check says so of such a cell
                for statement in parse(cell.source).body:
                    if isinstance(statement, (ast.Import, ast.ImportFrom)):
                        names |= _bound_by(ast.unparse(statement))
    return names
