"""Tables inside Markdown files: written from results, and checked against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hncse.errors import HncseError
from hncse.evaluation import results
from tests.evaluation.test_results import recordable
from tools import readme_tables

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path):
    runs = []
    for seed in range(3):
        for loss, temperature, score in (("simcse", 0.1, 60.0), ("pm-fixed", 0.1, 61.5), ("simcse", 0.2, 50.0)):
            path = tmp_path / "runs" / f"{loss}{temperature}{seed}"
            changed = {"loss": loss, "temperature": temperature, "score": score + seed * (1 + score / 100)}
            runs.append(recordable(path, seed=seed, **changed))
    (tmp_path / "all.csv").write_text(results.to_csv(results.from_runs(runs)), encoding="utf-8")
    return tmp_path


def place(words: str) -> str:
    return f"Before.\n\n<!-- table {words} -->\nold\n<!-- end table -->\nAfter."


def test_a_table_is_written_into_its_place(folder):
    text = readme_tables.filled(place("sts all.csv"), folder)
    assert text.startswith("Before.\n\n<!-- table sts all.csv -->\n| method") and text.endswith("-->\nAfter.")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[-3:]] == ["`simcse`, τ = 0.1", "`pm-fixed`", "`simcse`, τ = 0.2"]
    cells = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows}
    assert cells["`pm-fixed`"]["against simcse"] == "+1.52 [+1.48, +1.55], better"
    assert cells["`pm-fixed`"]["avg"].startswith("63.1") and cells["`pm-fixed`"]["seeds"] == "3"
    assert "backbone" not in cells["`pm-fixed`"] and "old" not in text
    assert readme_tables.filled(text, folder) == text
    assert "pm-fixed" not in readme_tables.filled(place("sts all.csv methods=simcse"), folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("stss all.csv", "Did you mean 'sts'"),
        ("sts all.csv method=simcse", "Did you mean 'methods'"),
        ("sts all.csv methods=three-view", "no row for the table 'sts' of three-view"),
        ("sts none.csv", "none.csv"),
        ("sts", "a place for a table is not"),
    ],
)
def test_what_cannot_be_filled_is_said(folder, words, message):
    with pytest.raises(HncseError, match=message):
        readme_tables.filled(place(words), folder)


def test_the_command_checks_and_writes(folder, capsys):
    page = folder / "page.md"
    page.write_text(place("sts all.csv"), encoding="utf-8")
    assert readme_tables.main([str(page), "--check"]) == 1
    assert "does not match its results" in capsys.readouterr().out and "old" in page.read_text(encoding="utf-8")
    assert readme_tables.main([str(page)]) == 0 and readme_tables.main([str(page), "--check"]) == 0
    assert "as it must be" in capsys.readouterr().out
    assert readme_tables.main([str(folder / "no.md")]) == 2


def test_the_projects_own_tables_match_their_results():
    pages = [ROOT / "README.md", ROOT / "hncse" / "kit" / "encoder" / "README.md"]
    assert all("<!-- table " in page.read_text(encoding="utf-8") for page in pages)
    assert readme_tables.main([*map(str, pages), "--check"]) == 0
