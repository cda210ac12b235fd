"""notebooks/GLOSSARY.md: its links lead to what they name, and it explains the signs that README's table uses."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TEXT = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith(("| sign", "| word"))
]
CODE = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", TEXT)
TAUGHT = (
    "encoder", "miner", "mixing", "losses", "training", "mining/__init__", "evaluation/sts", "evaluation/transfer",
    "evaluation/probe", "evaluation/geometry", "evaluation/statistics", "visual/projection",
)  # fmt: skip
MEANT = "\n".join(row[0] for row in ROWS)  # what has an entry


@cache
def defined(path: Path) -> set[str]:
    """Names a module defines, holds or takes from elsewhere: functions, classes, fields, and keys of its tables."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Dict):
            names |= {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
    return names | {path.stem}


@pytest.mark.parametrize(("name", "target"), sorted(set(CODE)), ids=lambda value: value)
def test_code_is_where_the_glossary_says(name, target):
    path = NOTEBOOKS / target
    assert path.is_file()
    assert set(name.split(".")) <= defined(path.resolve())


def test_every_entry_is_whole():
    assert len(ROWS) >= 30
    for row in ROWS:
        assert len(row) in (4, 5), row
        assert row[1].strip("*")[0].isupper() and row[1].endswith("."), f"no sentence: {row}"
        assert re.fullmatch(r"\[`[^`]+`\]\(\.\./hncse/[^)]+\)", row[-2]), row
        assert re.fullmatch(r"\[(\w\d\w?)\]\(\1_\w+\.ipynb\)", row[-1]), row
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_linked_notebooks_exist():
    for target in set(re.findall(r"\]\(([^)/]+\.ipynb)\)", TEXT)):
        assert (NOTEBOOKS / target).is_file(), target


def test_signs_of_the_readme_have_an_entry():
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## Paper ↔ code ↔ notebook")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 8
    equations = " ".join(re.sub(r"<sub>.*?</sub>|z\d<sub>", " ", row[1]) for row in rows)
    signs = set(re.findall(r"(?<![\w'])([a-zτα]\d?)(?![\w'])", equations)) - {"a", "b", "e", "j"}  # e: 2.718…
    assert {"z2", "z3", "w1", "w2", "τ", "p", "n", "k", "s", "α"} <= signs
    for sign in signs:
        spelled = rf"(?<![A-Za-z]){re.escape(sign)}(?![A-Za-z0-9])"
        assert re.search(spelled, MEANT), f"README writes {sign!r}; the glossary has no such entry"
    for words in ("SimCSE", "head", "PM", "HNM", "A, B, C", "mined negatives", "STS", "transfer"):
        assert words in MEANT and words.split(",")[0] in table


@pytest.mark.parametrize("module", TAUGHT)
def test_code_names_the_notebook_that_teaches_it(module):
    package = NOTEBOOKS.parent / "hncse"
    path = package / module / "__init__.py" if (package / module).is_dir() else package / f"{module}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    linked = re.findall(r"notebooks/(\w+\.ipynb)", docstring)
    assert linked and all((NOTEBOOKS / notebook).is_file() for notebook in linked)
