"""What every notebook promises, and the check that it keeps it. See `tools.notebooks`."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hncse import notebook as support
from hncse.errors import HncseError
from tools.exercise_cells import PREDICT, drift, with_guesses
from tools.notebook_files import CHECKOUT, Say, badge, parse, read, setup_source

_TITLE = {"outcomes": "You will be able to", "minutes": "minutes", "hardware": "Hardware"}
_SECTIONS = {
    "<summary><b>What you should see</b>": "the expected pictures: a folded <summary><b>What you should see</b>…",
    "## To read": "references with links: a section '## To read'",
    "## To discuss": "questions for a group: a section '## To discuss'",
    "](GLOSSARY.md": "the notation: a link [...](GLOSSARY.md)",
}


def check(paths: Sequence[Path], say: Say) -> bool:
    """Print what breaks the contract, notebook by notebook; returns whether nothing does."""
    fine = True
    for path in paths:
        faults = list(problems(read(path), path.stem))
        fine = fine and not faults
        say(f"{path.stem:24} {'ok' if not faults else f'{len(faults)} to put right'}")
        for problem in faults:
            say(f"    {problem}")
    return fine


def problems(notebook: Any, name: str) -> Iterator[str]:
    """Yield what breaks the contract of a notebook; ``name`` is its file name without ending."""
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    if len(code) < 3 or cells[0].cell_type != "markdown":
        yield "needs a title cell, then a setup cell, a parameters cell and a check cell"
        return
    yield from _title(cells[0].source, name)
    if cells[1] is not code[0] or code[0].source != setup_source():
        yield "the second cell must be the setup cell, exactly:\n" + setup_source()
    yield from _parameters(code)
    yield from _lesson(cells)
    yield from _embedded(cells)
    yield from drift(notebook, name)
    if guesses := len(with_guesses(copy.copy(notebook)).cells) - len(cells):
        yield f"{guesses} predictions have no cell to be written in; `python -m tools.notebooks sync {name}`"
    yield from _leftovers(notebook)


def _title(source: str, name: str) -> Iterator[str]:
    number = name.partition("_")[0]
    start = f"# {number} · " if number[:1].isdigit() else "# "
    if not source.startswith(start):
        yield f"the first cell must begin with a title, '{start}…'"
    for what, words in _TITLE.items():
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
    if not re.search(r"\bcheck_parameters\(\s*In, globals\(\)", code[2].source):
        yield "the cell after the parameters must call check_parameters(In, globals(), …)"
    try:
        defaults = support.read_defaults(tagged[0].source)
    except HncseError as error:
        yield str(error)
        return
    for parameter in defaults:
        if not parameter.comment:
            yield f"parameter {parameter.name} has no comment on its line"
        if not parameter.types:
            yield f"parameter {parameter.name} has no type; write {parameter.name}: {parameter.allowed or 'str'} = …"


def _lesson(cells: Sequence[Any]) -> Iterator[str]:
    """What makes it a lesson and not a demonstration."""
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for words, what in _SECTIONS.items():
        if words not in prose:
            yield f"lacks {what}"
    asked, pictures = False, 0
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            asked = asked or PREDICT in cell.source
        elif _shows_picture(cell.source) and "schematics." not in cell.source:  # an explanation asks nothing
            if not asked:
                yield f"cell {number} shows a picture without a question before it; write '{PREDICT}.** …?' there"
            asked, pictures = False, pictures + 1
    if not pictures:
        yield "shows no picture: call figures.show(picture, name, alt=…, caption=…)"


def _embedded(cells: Sequence[Any]) -> Iterator[str]:
    """Expected pictures: they exist, and say in words what they show."""
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    images = [(target, alt) for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose)]
    for tag in re.findall(r"<img\b[^>]*>", prose):
        attributes = dict(re.findall(r'(src|alt)="([^"]*)"', tag))
        images.append((attributes.get("src", ""), attributes.get("alt", "")))
    figures = [(target, alt) for target, alt in images if target.startswith("../figures/")]
    if not figures:
        yield "embeds no picture from ../figures/ as what one should see"
    for target, alt in figures:
        if not (CHECKOUT / "notebooks" / target).is_file():
            yield f"embeds {target}, which does not exist"
        if len(alt.split()) < 2:
            yield f"embeds {target} with the alt text {alt!r}; say in words what it shows"


def _shows_picture(source: str) -> bool:
    return re.search(r"\bshow\(.*\balt=", source, re.S) is not None


def _leftovers(notebook: Any) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored; `python -m tools.notebooks clean` removes it"
    for number, cell in enumerate(notebook.cells):
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"cell {number} stores outputs; `python -m tools.notebooks clean` removes them"
        if cell.cell_type == "code":
            try:
                parse(cell.source)
            except SyntaxError as error:
                yield f"cell {number} is no Python: {error.msg}, line {error.lineno}"
    for identity, count in Counter(cell.get("id") for cell in notebook.cells).items():
        if identity is None or count > 1:
            yield f"{count} cells have the id {identity!r}; ids must be there and differ"
