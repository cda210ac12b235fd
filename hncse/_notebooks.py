"""Keeping notebooks: the contract they all follow, a cleaner that keeps tags, and a runner. See `hncse.notebook`."""

from __future__ import annotations

import ast
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hncse import notebook as support
from hncse import runs
from hncse.errors import HncseError, unknown

__all__ = ["badge", "check", "clean", "find", "problems", "repository", "run", "setup_source", "strip"]

Say = Callable[[str], None]
_CHECKOUT = Path(__file__).resolve().parent.parent
_PROMISES = {"outcomes": "You will be able to", "minutes": "minutes", "hardware": "Hardware"}
_KEPT = ("tags", "jupyter")  # of a cell's metadata; the rest is left behind by programs


def find(names: Sequence[str] = ()) -> list[Path]:
    """Paths of notebooks: all of the checkout's in order, or those named (``03_train``, or any path).

    Raises:
        HncseError: No such notebook (the nearest is given), or no checkout.
    """
    known = {path.stem: path for path in sorted((_CHECKOUT / "notebooks").glob("*.ipynb"))}
    if not known and not names:
        raise HncseError(f"{_CHECKOUT / 'notebooks'} holds no notebooks; run this in a checkout of the repository")
    paths = []
    for name in names or known:
        if Path(name).is_file():
            paths.append(Path(name))
        elif Path(name).stem in known:
            paths.append(known[Path(name).stem])
        else:
            raise unknown("notebook", name, known)
    return paths


def repository() -> str:
    """Address of the repository, from ``[project.urls]`` of pyproject.toml: the only place it is written.

    Raises:
        HncseError: No pyproject.toml, or no GitHub address in it.
    """
    path = _CHECKOUT / "pyproject.toml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    urls = re.search(r"^\[project\.urls\](.*?)(?=^\[|\Z)", text, re.M | re.S)
    found = re.search(r'"(https://github\.com/[^/"]+/[^/"#]+)', urls.group(1)) if urls else None
    if found is None:
        raise HncseError(f"{path} has no GitHub address under [project.urls]; badge and setup line come from there")
    return found.group(1).removesuffix(".git")


def badge(name: str) -> str:
    """The Colab badge of a notebook, Markdown."""
    place = repository().removeprefix("https://")
    target = place.replace("github.com", "https://colab.research.google.com/github", 1)
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({target}/blob/main/notebooks/{name}.ipynb)"


def setup_source() -> str:
    """Source of the setup cell: installs the package where it is missing (Colab), and nothing else ever."""
    return (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("hncse") is None:\n'
        f'    %pip install -q "hncse @ git+{repository()}"'
    )


def check(paths: Sequence[Path], say: Say) -> bool:
    """Print what breaks the contract, notebook by notebook; returns whether nothing does."""
    fine = True
    for path in paths:
        found = list(problems(_read(path), path.stem))
        fine = fine and not found
        say(f"{path.stem:24} {'ok' if not found else f'{len(found)} to put right'}")
        for problem in found:
            say(f"    {problem}")
    return fine


def problems(notebook: Any, name: str) -> Iterator[str]:
    """Yield what breaks the contract of a notebook.

    Args:
        notebook: As nbformat reads it.
        name: Its file name without ending.
    """
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    if len(code) < 3 or cells[0].cell_type != "markdown":
        yield "needs a title cell, then a setup cell, a parameters cell and a check cell"
        return
    yield from _title(cells[0].source, name)
    if cells[1] is not code[0] or code[0].source != setup_source():
        yield "the second cell must be the setup cell, exactly:\n" + setup_source()
    yield from _parameters(code)
    yield from _leftovers(notebook)


def _title(source: str, name: str) -> Iterator[str]:
    if not source.startswith("# "):
        yield "the first cell must begin with a title, '# …'"
    for what, words in _PROMISES.items():
        if words not in source:
            yield f"the title cell names no {what} ({words!r} is missing)"
    if badge(name) not in source:
        yield f"the title cell lacks the Colab badge {badge(name)}"


def _parameters(code: Sequence[Any]) -> Iterator[str]:
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged 'parameters'; it must be exactly one"
        return
    if tagged[0] is not code[1]:
        yield "the parameters cell must be the second code cell"
    if not tagged[0].source.startswith(support.DEFAULTS + "\n"):
        yield f"the parameters cell must begin with the line {support.DEFAULTS!r}"
    if "check_parameters(In, globals()" not in code[2].source:
        yield "the cell after the parameters must call check_parameters(In, globals(), …)"
    try:
        defaults = support.read_defaults(tagged[0].source)
    except HncseError as error:
        yield str(error)
        return
    for parameter in defaults:
        if not parameter.comment:
            yield f"parameter {parameter.name} has no comment on its line"
        if parameter.default is not None and not parameter.annotated:
            yield f"parameter {parameter.name} has no type; write {parameter.name}: {parameter.allowed} = …"


def _leftovers(notebook: Any) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored; `python -m hncse.notebook clean` removes it"
    for number, cell in enumerate(notebook.cells):
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"cell {number} stores outputs; `python -m hncse.notebook clean` removes them"
        if cell.cell_type == "code":
            try:
                ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.M))
            except SyntaxError as error:
                yield f"cell {number} is no Python: {error.msg}, line {error.lineno}"
    for identity, count in Counter(cell.get("id") for cell in notebook.cells).items():
        if identity is None or count > 1:
            yield f"{count} cells have the id {identity!r}; ids must be there and differ"


def clean(paths: Sequence[Path], say: Say) -> bool:
    """Remove outputs, counters and programs' metadata; keep tags. Returns True."""
    import nbformat

    for path in paths:
        before = path.read_text(encoding="utf-8")
        after = nbformat.writes(strip(_read(path))) + "\n"
        if after != before:
            runs.write_text(path, after)
        say(f"{path.stem:24} {'cleaned' if after != before else 'was clean'}")
    return True


def strip(notebook: Any) -> Any:
    """Take everything out of a notebook that running or editing left there; returns the same object."""
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in _KEPT if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def run(paths: Sequence[Path], say: Say, out: Path | None = None, timeout: int = 600) -> bool:
    """Execute notebooks headless with their defaults; print name, seconds, pictures and outcome.

    Args:
        paths: The notebooks.
        say: Takes every line of the table as soon as it is known.
        out: Folder of the executed copies; None is ``notebooks/`` among the runs.
        timeout: Longest a cell may take, in seconds.

    Returns:
        Whether every notebook ran and keeps the contract.
    """
    os.environ["HNCSE_HEADLESS"] = "1"
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this environment, not of the user's home
    folder = out or runs.root() / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{'notebook':24} {'seconds':>8} {'pictures':>9}  outcome")
    fine = True
    for path in paths:
        began = time.perf_counter()
        failure = _execute(path, folder / path.name, timeout)
        seconds = time.perf_counter() - began
        broken = [*([failure] if failure else []), *problems(_read(path), path.stem)]
        fine = fine and not broken
        pictures = 0 if failure else _pictures(_read(folder / path.name))
        say(f"{path.stem:24} {seconds:8.1f} {pictures:9d}  {broken[0] if broken else 'ok'}")
        for problem in broken[1:]:
            say(f"    {problem}")
    return fine


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


def _pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def _read(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat has a type of its own for every way a file can be wrong
        raise HncseError(f"{path} is no notebook: {error}") from error
