"""The runner of notebooks: each from top to bottom with papermill, a table, and whether its promises were kept."""

from __future__ import annotations

import ast
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hncse import runs
from tools.contract import problems
from tools.notebook_files import Say, parse, read

BUDGET = 120  # seconds a notebook with its defaults may take on two cores
WHOLE = 720  # seconds for all of them
_STRANGER = "no_such_parameter"
_WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Outcome:
    """What came of one notebook: seconds, its kernel's start included, and of all cores (better on a busy machine).

    ``pictures`` were shown with alt text and caption; of ``exercises`` the stub ran and was reported as open;
    ``faults`` say in words what went wrong.
    """

    name: str
    seconds: float = 0.0
    cpu: float = 0.0
    pictures: int = 0
    exercises: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Its line of the table, and a line for everything else that broke."""
        fine = f"ok, over {BUDGET} s" if self.seconds > BUDGET else "ok"
        yield _row(self, (self.faults or [fine])[0])
        yield from (f"    {problem}" for problem in self.faults[1:])


def run(paths: Sequence[Path], say: Say, out: Path | None = None, timeout: int = 600, strict: bool = False) -> bool:
    """Execute notebooks headless with their defaults; print time, pictures, exercises and outcome of each.

    Executed copies go to ``out`` (None: ``notebooks/`` among the runs). A cell may take ``timeout`` seconds; with
    ``strict`` going over a time budget fails, else the table only says so: on a busy machine it means little. Returns
    whether every notebook ran, left what it promises, and keeps the contract.
    """
    os.environ["HNCSE_HEADLESS"] = "1"
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this environment, not of the user's home
    folder = out or runs.root() / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{'notebook':24} {'seconds':>8} {'CPU s':>8} {'figures':>8} {'exercises':>10}  outcome")
    outcomes = []
    for path in paths:
        outcome = _one(path, folder / path.name, timeout)
        if strict and outcome.seconds > BUDGET:
            outcome.faults.append(f"took {outcome.seconds:.0f} s; its budget is {BUDGET} s")
        outcomes.append(outcome)
        for line in outcome.lines():
            say(line)
    whole = Outcome(f"{len(outcomes)} in all")
    for outcome in outcomes:
        whole.seconds += outcome.seconds
        whole.cpu += outcome.cpu
        whole.pictures += outcome.pictures
        whole.exercises += outcome.exercises
    bad = [outcome.name for outcome in outcomes if outcome.faults]
    verdict = f"failed: {', '.join(bad)}" if bad else "all ok"
    late = whole.seconds > WHOLE
    say(_row(whole, f"{verdict}, over {WHOLE} s" if late else verdict))
    return not (bad or (strict and late))


def _row(of: Outcome, outcome: str) -> str:
    return f"{of.name:24} {of.seconds:8.1f} {of.cpu:8.1f} {of.pictures:8d} {of.exercises:10d}  {outcome}"


def _one(path: Path, copy: Path, timeout: int) -> Outcome:
    """Execute one notebook into ``copy`` and look at all that it left."""
    outcome, before = Outcome(path.stem), path.read_bytes()
    began, clock, cpu = time.time(), time.perf_counter(), _children()
    failure = _execute(path, copy, timeout)
    outcome.seconds, outcome.cpu = time.perf_counter() - clock, _children() - cpu
    if failure:
        outcome.faults.append(failure)
    else:
        executed = read(copy)
        outcome.pictures = sum(not _words_missing(data) for data in _pictures(executed))
        outcome.exercises = sum(cell.id.endswith("-code") and "○" in _printed(cell) for cell in _exercises(executed))
        outcome.faults += [*_order(executed), *_outputs(executed), *_files(executed, began)]
        outcome.faults += _stranger(path, copy, timeout)
    if path.read_bytes() != before:
        outcome.faults.append("running it changed the notebook itself")
    outcome.faults += problems(read(path), path.stem)
    return outcome


def _children() -> float:
    """Processor seconds of the processes that this one has started and seen end; a kernel is one."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _execute(path: Path, out: Path, timeout: int) -> str | None:
    """Run one notebook; returns why it failed, or None."""
    import papermill

    try:
        papermill.execute_notebook(
            str(path), str(out), kernel_name="python3", progress_bar=False, execution_timeout=timeout
        )
    except papermill.PapermillExecutionError as error:
        return f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    except Exception as error:  # a kernel that died, a cell that took too long: the table goes on
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return None


def _order(executed: Any) -> Iterator[str]:
    """Cells ran 1 to n from top to bottom, each once."""
    counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield f"cells ran in the order {counts}, not 1 to {len(counts)}"


def _outputs(executed: Any) -> Iterator[str]:
    """No error was shown, no widget where nobody can move it, no picture without words."""
    for cell in executed.cells:
        outputs = cell.get("outputs", [])
        if any(output.output_type == "error" for output in outputs):
            yield f"cell {cell.id} shows an error"
        if any(_WIDGET in output.get("data", {}) for output in outputs):
            yield f"cell {cell.id} shows a widget though nobody watches; put it under `if not headless():`"
        if cell in _exercises(executed) and cell.id.endswith("-code") and "○" not in _printed(cell):
            yield f"cell {cell.id}: its stub is not reported as open"
    pictures = _pictures(executed)
    if not pictures:
        yield "shows no picture"
    for data in pictures:
        if what := _words_missing(data):
            yield f"a picture has no {what}: {str(data.get('text/plain', ''))[:60]!r}"


def _pictures(executed: Any) -> list[Any]:
    """Data of all outputs that are pictures."""
    outputs = [output.get("data", {}) for cell in executed.cells for output in cell.get("outputs", [])]
    return [data for data in outputs if "image/png" in data]


def _words_missing(data: Any) -> str:
    """Which words a picture lacks: alt text, caption, or none of them."""
    page = data.get("text/html", "")
    if not re.search(r'<img\b[^>]*\balt="[^"]+"', page):
        return "alt text"
    return "" if re.search(r"<figcaption[^>]*>[^<]+</figcaption>", page) else "caption"


def _files(executed: Any, began: float) -> Iterator[str]:
    """Every picture shown with ``run=`` now lies in a run folder, as PNG and SVG, and was written just now."""
    for cell in executed.cells:
        for name in _stored_pictures(cell.source) if cell.cell_type == "code" else ():
            for ending in ("png", "svg"):
                written = runs.root().rglob(f"figures/{name}.{ending}")
                if not any(file.stat().st_mtime >= began - 1 for file in written):  # a second for coarse clocks
                    yield f"picture {name}.{ending} lies in no run folder under {runs.root()}"


def _stored_pictures(source: str) -> Iterator[str]:
    """Names of the pictures that a cell shows and stores with a run."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Call) and "run" in {keyword.arg for keyword in node.keywords}:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function == "show" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                yield str(node.args[1].value)


def _exercises(executed: Any) -> list[Any]:
    return [cell for cell in executed.cells if (cell.get("id") or "").startswith("ex-")]


def _printed(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def _stranger(path: Path, copy: Path, timeout: int) -> Iterator[str]:
    """A parameter that the notebook does not have must stop it, by its own words, before it does anything."""
    import nbformat
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of the name; the notebook must do more
    notebook = read(path)
    code = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    del notebook.cells[code[2] + 1 :]  # up to the cell that checks
    short = copy.with_name(f"{copy.stem}-{_STRANGER}.ipynb")
    nbformat.write(notebook, short)
    try:
        papermill.execute_notebook(
            str(short), str(short), {_STRANGER: 1}, kernel_name="python3", progress_bar=False, execution_timeout=timeout
        )
        yield f"takes a parameter {_STRANGER!r} without a word"
    except papermill.PapermillExecutionError as error:
        if error.ename != "HncseError" or _STRANGER not in error.evalue:
            yield f"answers an unknown parameter with {error.ename}: {error.evalue}"
    finally:
        short.unlink(missing_ok=True)
