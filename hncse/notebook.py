"""What the notebooks need from the package, and what the package asks of the notebooks.

    check_parameters(In, globals())     # the cell after the parameters: a wrong name or type stops here, at once
    train(config, on_log=LiveCurve())   # a curve that grows while training; nothing where nobody watches

python -m hncse.notebook run [NAME …]   # execute with papermill, check, print a table
python -m hncse.notebook check          # the contract every notebook keeps
python -m hncse.notebook sync           # make the cells of exercises from hncse.exercises
python -m hncse.notebook clean          # remove outputs, keep tags
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import sys
import time
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError, command, unknown

if TYPE_CHECKING:
    from hncse.runs import Run

__all__ = ["DEFAULTS", "INJECTED", "LiveCurve", "Parameter", "check_parameters", "headless", "read_defaults"]

DEFAULTS = "# parameters"  # first line of the cell tagged "parameters"
INJECTED = "# Parameters"  # first line of the cell papermill puts after it
_EXECUTORS = ("papermill", "nbconvert", "nbclient", "jupyter-execute", "nbmake", "jupyter-book")


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    Attributes:
        name: The variable.
        default: Its literal value.
        comment: What stands after ``#`` on its line; empty if nothing does.
        annotated: Whether its type is written down.
    """

    name: str
    default: Any
    comment: str
    annotated: bool

    @property
    def allowed(self) -> str:
        """The types it takes, for people; empty where any will do."""
        if self.default is None:
            return ""
        name = "number" if isinstance(self.default, float) else type(self.default).__name__
        return f"{name} or None" if self.none_allowed else name

    @property
    def none_allowed(self) -> bool:
        """Whether None is a value: its default is None, or its comment says what None means."""
        return self.default is None or "None" in self.comment

    def fits(self, value: Any) -> bool:
        """Whether a value has the default's type; a whole number is a number, and True is no number."""
        if value is None:
            return self.none_allowed
        if self.default is None:
            return True
        kinds = (int, float) if isinstance(self.default, float) else (type(self.default),)
        return isinstance(value, kinds) and isinstance(value, bool) == isinstance(self.default, bool)


def check_parameters(
    cells: Sequence[str], namespace: Mapping[str, Any] | None = None, **choices: Sequence[Any]
) -> dict[str, Any]:
    """Stop a notebook at once when it was given a parameter that it does not have, or one of the wrong type.

    papermill only warns about an unknown name and runs on, for hours, without what was asked for.

    Args:
        cells: Sources of the cells executed so far, IPython's ``In``. The cell of defaults begins with the line
            ``# parameters``; papermill's begins with ``# Parameters``.
        namespace: The notebook's variables, ``globals()``; None takes the literals in the cells.
        **choices: Parameter → the values it may have, where these are few.

    Returns:
        Every parameter with its value.

    Raises:
        HncseError: An unknown name or choice (the nearest is given), a type that does not fit, no cell of defaults.
    """
    position = max((i for i, cell in enumerate(cells) if _begins(cell, DEFAULTS)), default=None)
    if position is None:
        raise HncseError(f"no executed cell begins with {DEFAULTS!r}; run the notebook from its first cell")
    parameters = {p.name: p for p in read_defaults(cells[position])}
    values = {name: p.default for name, p in parameters.items()}
    for cell in cells[position + 1 :]:
        if _begins(cell, INJECTED):
            for name, value in _assigned(cell).items():
                if name not in parameters:
                    raise unknown("parameter", name, parameters)
                values[name] = value
    for name, parameter in parameters.items():
        if namespace is not None:
            values[name] = namespace.get(name, values[name])
        _check_type(parameter, values[name])
    for name, valid in choices.items():
        if values[name] not in valid:
            raise unknown(f"value of {name}", values[name], map(str, valid))
    return values


def read_defaults(source: str) -> list[Parameter]:
    """Read a cell of defaults: its names, literal values and comments, in order.

    Raises:
        HncseError: A line that is no assignment of a literal to a name.
    """
    comments = _comments(source)
    found = []
    for statement in ast.parse(source).body:
        name = _target(statement)
        try:
            if name is None:
                raise ValueError
            default = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        except ValueError as error:
            raise HncseError(
                f"parameters cell, line {statement.lineno}: {ast.unparse(statement)!r}; every line must give a name a "
                "literal value, so that papermill and people can change it"
            ) from error
        comment = comments.get(statement.end_lineno or statement.lineno, "")
        found.append(Parameter(name, default, comment, isinstance(statement, ast.AnnAssign)))
    return found


def headless() -> bool:
    """Whether nobody is watching: papermill, nbclient or nbconvert executes this notebook, or there is no notebook.

    ``HNCSE_HEADLESS=1`` (or ``0``) decides it for everything that cannot be recognised.
    """
    if (given := os.environ.get("HNCSE_HEADLESS")) is not None:
        return given not in ("", "0")
    if "ipykernel" not in sys.modules:
        return True
    import psutil  # type: ignore[import-untyped]  # always there beside ipykernel

    try:
        words = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return False
    return any(executor in Path(word).name for word in words[:4] for executor in _EXECUTORS)


class LiveCurve:
    """The training curve, redrawn in place while training; does nothing when `headless`.

    Give it to ``hncse.training.train(config, on_log=LiveCurve())``. Drawing takes at most a twentieth of the time.
    """

    def __init__(self) -> None:
        """Prepare; nothing is shown before the first step is logged."""
        self._off = headless()
        self._next = 0.0
        self._handle: Any = None

    def __call__(self, run: Run) -> None:
        """Redraw from the run's history, if it is time to."""
        if self._off or time.monotonic() < self._next:
            return
        began = time.monotonic()
        self._draw(run)
        self._next = time.monotonic() + max(1.0, 20.0 * (time.monotonic() - began))

    def close(self) -> None:
        """Take the live picture away; the final one follows with its caption."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(""))
            self._handle = None

    def _draw(self, run: Run) -> None:
        from IPython.display import Image, display

        from hncse.visual import figures, style

        picture = Image(style.png(figures.training_curve(run)), width=style.WIDTH, alt="Loss and scores so far.")
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def _begins(cell: str, line: str) -> bool:
    return cell.lstrip().split("\n", 1)[0].rstrip() == line


def _target(statement: ast.stmt) -> str | None:
    """Name that a statement assigns to, if it assigns to exactly one."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target = statement.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def _assigned(source: str) -> dict[str, Any]:
    """Names a cell assigns to, with their values where these are literals (papermill writes nan as float('nan'))."""
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        if (name := _target(statement)) is not None:
            try:
                found[name] = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            except ValueError:
                found[name] = float("nan")
    return found


def _comments(source: str) -> dict[int, str]:
    """Line number → comment that ends the line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _check_type(parameter: Parameter, value: Any) -> None:
    if parameter.fits(value):
        return
    about = f" ({parameter.comment})" if parameter.comment else ""
    hint = ""
    if isinstance(parameter.default, (dict, list)):
        hint = f"; papermill takes it as -y '{parameter.name}: {{k: 5}}'"
    raise HncseError(
        f"parameter {parameter.name} is {value!r} ({type(value).__name__}); it must be {parameter.allowed}{about}{hint}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.notebook", description="Run, check, sync or clean the notebooks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | check | sync | clean")
    texts = {
        "run": "execute with papermill and their default parameters; print a table",
        "check": "check the contract: title, setup, parameters, questions, exercises, no outputs",
        "sync": "make the cells of exercises from hncse.exercises, where <!-- exercise 02.1 --> stands",
        "clean": "remove outputs and counters, keep tags",
    }
    for action, text in texts.items():
        sub = commands.add_parser(action, help=text, description=text)
        sub.add_argument("names", nargs="*", help="for example 03_train; default: every notebook")
        if action == "run":
            sub.add_argument("--out", type=Path, help="folder of the executed notebooks (default: notebooks/ of runs)")
            sub.add_argument("--timeout", type=int, default=600, help="longest a cell may take, seconds (default 600)")
            sub.add_argument("--strict", action="store_true", help="fail over two minutes a notebook, twelve in all")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0, 1 for notebooks that fail, 2 for a wrong request."""
    options = _parser().parse_args(arguments)
    from hncse import _notebooks

    paths = _notebooks.find(options.names)
    if options.command == "run":
        from hncse import _notebook_run

        return 0 if _notebook_run.run(paths, _say, options.out, options.timeout, options.strict) else 1
    if options.command == "check":
        from hncse import _notebook_contract

        return 0 if _notebook_contract.check(paths, _say) else 1
    return 0 if (_notebooks.sync if options.command == "sync" else _notebooks.clean)(paths, _say) else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a table that grows while notebooks run


if __name__ == "__main__":
    sys.exit(main())
