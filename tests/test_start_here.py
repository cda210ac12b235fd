"""Notebook 00's map of the notebooks says what the notebooks say."""

from __future__ import annotations

import re

import pytest

from hncse import exercises
from tools import notebook_files

NOTEBOOKS = {path.stem: notebook_files.read(path) for path in notebook_files.find()}
PROSE = "\n".join(c.source for c in NOTEBOOKS["00_start_here"].cells if c.cell_type == "markdown")
ROWS = {
    number: (target or "00_start_here", int(read), int(solve))
    for number, target, read, solve in re.findall(
        r"^\| (\w{2,3}) \| (?:\[[^\]]*\]\(([^)]*)\.ipynb\)|start here) \|.*\| (\d+) min \| (\d+) min \|$", PROSE, re.M
    )
}


def test_every_notebook_is_on_the_map():
    assert {name.partition("_")[0] for name in NOTEBOOKS} <= set(ROWS)


@pytest.mark.parametrize("number", ROWS)
def test_minutes_are_those_of_the_title_and_of_the_exercises(number):
    name, read, solve = ROWS[number]
    placed = [exercises.find(cell.source.split()[2]) for cell in NOTEBOOKS[name].cells if cell.id.endswith("-task")]
    assert solve == sum(exercise.minutes for exercise in placed)
    title = " ".join(NOTEBOOKS[name].cells[0].source.split())
    assert re.search(rf"\*\*Time:\*\* {read} minutes", title), f"{name}: the map says {read} minutes"
