"""What a notebook needs from the package while it runs.

check_parameters(In, globals())     # the cell after the parameters: a wrong name or value stops here, at once
train(config, on_log=LiveCurve())   # a curve that grows while training; nothing where nobody watches
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import io
import os
import re
import sys
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.data.text import html
from hncse.errors import HncseError, unknown
from hncse.files import expand
from hncse.presets import PRESETS
from hncse.training.config import BATCHES, POOLINGS

if TYPE_CHECKING:
    from hncse.runs import Run

__all__ = [
    "DEFAULTS", "INJECTED", "RULES", "LiveCurve", "Parameter", "a_corpus", "a_file", "a_folder", "a_run", "above",
    "an_encoder", "answer", "between", "check_parameters", "encoder_of_a_run", "folded", "headless", "read_defaults",
    "some_text",
]  # fmt: skip

DEFAULTS = "# parameters"  # first line of the cell tagged "parameters"
INJECTED = "# Parameters"  # first line of the cell papermill puts after it
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict, "None": type(None),
}  # fmt: skip
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
_NO_LITERAL = float("nan")  # papermill writes nan as float('nan')
_EXECUTORS = ("papermill", "nbconvert", "nbclient", "jupyter-execute", "nbmake", "jupyter-book")


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``limit: int or None = 4_000  # sentences taken; None takes all``.

    ``default`` is its literal value, ``comment`` what stands after ``#``, ``types`` its annotation: ``("int",
    "None")``.
    """

    name: str
    default: Any
    comment: str
    types: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The types it takes, for people; empty where any will do."""
        return " or ".join("number" if name == "float" else name for name in self._types())

    def read(self, value: Any) -> Any:
        """The value as its type has it, else HncseError; papermill's word ``false`` means False."""
        types = self._types()
        if "bool" in types and "str" not in types and isinstance(value, str) and value in _BOOLEANS:
            return _BOOLEANS[value]
        if types and not any(_is(value, name) for name in types):
            raise self.refusal(value, f"it must be {self.allowed}{_hint(self.name, value, types)}")
        return value

    def refusal(self, value: Any, right: str) -> HncseError:
        """The error for a value: what was seen, what would be right, and what the parameter is."""
        about = f" ({self.comment})" if self.comment else ""
        return HncseError(f"parameter {self.name} is {value!r:.200} ({type(value).__name__}); {right}{about}")

    def _types(self) -> tuple[str, ...]:
        return self.types or (() if self.default is None else (type(self.default).__name__,))


Rule = Callable[[Any, Mapping[str, Any]], str]


def between(low: float, high: float | str) -> Rule:
    """A rule: the number lies from ``low`` to ``high``; both may be it. A name stands for that parameter's value."""

    def rule(value: Any, values: Mapping[str, Any]) -> str:
        most = values[high] if isinstance(high, str) else high
        if most is None:  # limit=None: there is no such bound
            return "" if value >= low else f"it must be at least {low:g}"
        name = f" ({high})" if isinstance(high, str) else ""
        return "" if low <= value <= most else f"it must lie from {low:g} to {most:,}{name}"

    return rule


def above(low: float, high: float) -> Rule:
    """A rule: the number is above ``low`` and at most ``high``."""
    return lambda value, values: "" if low < value <= high else f"it must be above {low:g} and at most {high:,}"


def a_corpus(value: str, values: Mapping[str, Any]) -> str:
    """A rule: a source of sentences that `hncse.data.corpora.load` knows, or a file that is there."""
    from hncse.data.corpora import SOURCES

    if value in SOURCES:
        return ""
    if value.startswith("hf:"):
        return "" if value.count(":") > 1 and not value.endswith(":") else "it must read hf:NAME:COLUMN"
    return a_file(value, values) and f"no file is there; {_nearest(value, SOURCES)}or take {', '.join(SOURCES)}"


def an_encoder(value: str, values: Mapping[str, Any]) -> str:
    """A rule: ``kit``, ``minilm``, ``smollm2``, a folder, or what can be a name on the Hugging Face hub."""
    if value in ENCODERS or (value and expand(value).is_dir()):
        return ""
    near = _nearest(value, ENCODERS)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", value) or ("/" not in value and near):
        return f"no folder is there; {near}{', '.join(ENCODERS)}, a folder or a Hugging Face name will do"
    return ""


def a_file(value: str, values: Mapping[str, Any]) -> str:
    """A rule: a file that is there."""
    return "" if value and expand(value).is_file() else "there is no such file"


def a_folder(value: str, values: Mapping[str, Any]) -> str:
    """A rule: a folder that is there."""
    return "" if value and expand(value).is_dir() else "there is no such folder"


def a_run(value: str, values: Mapping[str, Any]) -> str:
    """A rule: the name or the folder of a run."""
    from hncse import runs

    runs.find(value)  # its error says what would be right
    return ""


def encoder_of_a_run(value: str, values: Mapping[str, Any]) -> str:
    """A rule: an encoder that a run was trained from, among those of the folder ``runs``."""
    from hncse import runs

    place = expand(values["runs"]) if values["runs"] else runs.root()
    names = {run.config["parameters"]["encoder"] for run in runs.list_runs(place)}
    if not names:
        return an_encoder(value, values)
    return "" if value in names else f"no run in {place} has it; {_nearest(value, names)}there is {sorted(names)}"


def some_text(value: str, values: Mapping[str, Any]) -> str:
    """A rule: words, not nothing."""
    return "" if value.strip() else "it must not be empty"


ENCODERS = ("kit", "minilm", "smollm2")
#: What parameters of these names may be, in whichever notebook they stand.
RULES: dict[str, Rule | Iterable[Any]] = {
    "batch_size": between(2, "limit"), "batches": BATCHES, "column": some_text,
    "corpus": a_corpus,
    "dropout": between(0, 0.99), "encoder": an_encoder, "epochs": above(0, 10_000), "eval_every": between(1, 10**9),
    "learning_rate": above(0, 10), "limit": between(2, 10**9), "log_every": between(1, 10**9), "loss": PRESETS,
    "losses": PRESETS, "max_length": between(3, 8_192), "name": some_text, "pooling": POOLINGS, "runs": a_folder,
    "seed": between(0, 2**32 - 1), "steps": between(1, 100_000), "temperature": above(0, 100),
}  # fmt: skip


def check_parameters(
    cells: Sequence[str], namespace: MutableMapping[str, Any] | None = None, **rules: Rule | Iterable[Any]
) -> dict[str, Any]:
    """Stop a notebook at once when it was given a parameter it does not have, or a value that cannot be right.

    papermill only warns about an unknown name and runs on, for hours, without what was asked for. Types come from the
    annotations of the parameters cell, whose own words are always right; numbers are finite; `RULES` says what
    parameters that several notebooks share may be. Nothing is loaded.

    Args:
        cells: Sources of the cells executed so far, IPython's ``In``. The cell of defaults begins with the line
            ``# parameters``; papermill's begins with ``# Parameters``.
        namespace: The notebook's variables, ``globals()``; None takes the literals in the cells.
        **rules: Parameter → the values it may have, or a rule such as ``between(1, 50)``; of a list, every element
            is asked. None is asked of the type alone.

    Returns:
        Every parameter with its value. A word for a truth value, ``"false"``, is False here and in the namespace.
    """
    parameters, values = _given(cells)
    for name, parameter in parameters.items():
        if namespace is not None:
            values[name] = namespace.get(name, values[name])
        values[name] = parameter.read(values[name])
        if namespace is not None:
            namespace[name] = values[name]
    for name, parameter in parameters.items():
        untouched = isinstance(parameter.default, str) and values[name] == parameter.default
        if values[name] == [] != parameter.default:
            raise parameter.refusal([], "it must hold at least one")
        if not untouched and (rule := rules.get(name, RULES.get(name))) is not None:
            _obey(parameter, rule, values)
    return values


def _given(cells: Sequence[str]) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """The parameters of the last cell of defaults, and their values with what papermill put after it."""
    position = max((i for i, cell in enumerate(cells) if _begins(cell, DEFAULTS)), default=None)
    if position is None:
        raise HncseError(f"no executed cell begins with {DEFAULTS!r}; run the notebook from its first cell")
    parameters = {p.name: p for p in read_defaults(cells[position])}
    values = {name: p.default for name, p in parameters.items()}
    for cell in cells[position + 1 :]:
        if _begins(cell, INJECTED):
            injected = {name: value for _, name, value in _assignments(cell) if name is not None}
            if wrong := next((name for name in injected if name not in parameters), None):
                raise unknown("parameter", wrong, parameters)
            values |= injected
    return parameters, values


def _obey(parameter: Parameter, rule: Rule | Iterable[Any], values: Mapping[str, Any]) -> None:
    """Ask a rule of a value, or of every element of a list."""
    value = values[parameter.name]
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        if callable(rule):
            try:
                right = rule(one, values)
            except HncseError as error:
                right = str(error)
            except (OSError, ValueError) as error:  # a name longer than the system allows
                right = str(error)[-100:]
            if right:
                raise parameter.refusal(one, right)
        elif one not in (valid := list(rule)):
            raise unknown(f"value of {parameter.name}", one, map(str, valid))


def read_defaults(source: str) -> list[Parameter]:
    """Read a cell of defaults: its names, types, literal values and comments, in order.

    Raises:
        HncseError: A line that is no assignment of a literal to a name, or an unknown type.
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
    parameters = []
    for statement, name, value in _assignments(source):
        if name is None or value is _NO_LITERAL:
            raise HncseError(
                f"parameters cell, line {statement.lineno}: {ast.unparse(statement)!r}; every line must give a name a "
                "literal value, so that papermill and people can change it"
            )
        types = tuple(_types(statement.annotation)) if isinstance(statement, ast.AnnAssign) else ()
        parameters.append(Parameter(name, value, comments.get(statement.end_lineno or statement.lineno, ""), types))
    return parameters


def headless() -> bool:
    """Whether nobody is watching: papermill, nbclient or nbconvert executes this notebook, or there is no notebook.

    ``HNCSE_HEADLESS=1`` (or ``0``) decides it for everything that cannot be recognised.
    """
    if (setting := os.environ.get("HNCSE_HEADLESS")) is not None:
        return setting not in ("", "0")
    if "ipykernel" not in sys.modules:
        return True
    import psutil  # type: ignore[import-untyped]  # always there beside ipykernel

    try:
        words = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return False
    return any(executor in Path(word).name for word in words[:4] for executor in _EXECUTORS)


def folded(title: str, text: str) -> None:
    """Show Markdown that a click on its title unfolds: what is for looking up, not for reading through."""
    from IPython.display import Markdown, display

    display(Markdown(f"<details><summary><b>{html(title)}</b></summary>\n\n{text}\n\n</details>"))


def answer(text: str) -> None:
    """Show what became of a prediction, folded, so that it is read after the reader's own has been written."""
    folded("What happened: open this when your prediction is written", text)


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
        from IPython.display import HTML, display  # its Image takes no alt text in Colab's IPython 7

        from hncse.visual import figures, style

        picture = HTML(style.image(figures.training_curve(run), "Loss and scores so far."))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def _begins(cell: str, line: str) -> bool:
    return cell.lstrip().split("\n", 1)[0].rstrip() == line


def _assignments(source: str) -> Iterator[tuple[ast.stmt, str | None, Any]]:
    """Every statement of a cell, with the one name it assigns to (else None) and the literal it assigns."""
    for statement in ast.parse(source).body:
        target: Any = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target = statement.target
        value: Any = _NO_LITERAL
        if isinstance(target, ast.Name):
            with contextlib.suppress(ValueError):
                value = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        yield statement, target.id if isinstance(target, ast.Name) else None, value


def _types(annotation: ast.expr) -> Iterator[str]:
    """The alternatives of ``int | None``, or of ``int or None``, which papermill's own reader knows as well."""
    for name in re.split(r" \| | or ", ast.unparse(annotation)):
        if name.removeprefix("list[").removesuffix("]") not in _TYPES:
            known = ", ".join(_TYPES)
            raise HncseError(f"parameters cell: {name!r} is no type of a parameter; those are {known}, list[…]")
        yield name


def _is(value: Any, name: str) -> bool:
    """Whether a value is of a type; a whole number is a number, True is none, and numbers are finite."""
    if name.startswith("list"):
        element = name.removeprefix("list").strip("[]")
        return isinstance(value, list) and (not element or all(_is(one, element) for one in value))
    if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
        return name == "bool" and isinstance(value, bool)
    return not isinstance(value, (int, float)) or abs(value) < 1e300


def _hint(name: str, value: Any, types: Sequence[str]) -> str:
    """How to hand papermill what it cannot know."""
    if "bool" in types:
        return f"; with papermill: -p {name} True or -p {name} False"
    if "dict" in types:
        return f"; with papermill: -y '{name}: {{k: 5}}'"
    if types[0].startswith("list"):
        return f"; with papermill: -y '{name}: [one, two]'"
    return f"; with papermill: -r {name} {value}" if "str" in types and value is not None else ""


def _nearest(value: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(value, sorted(valid), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""
