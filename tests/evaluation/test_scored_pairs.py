"""Pairs of your own: read as people have them or refused, and scored as the benchmark's are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from hncse import HncseError
from hncse.data import scored_pairs
from hncse.evaluation import sts
from tests import tiny

FIRST = ["the cat sat", 'a "small" dog', "rain, and wind", "the sun was on the river", "a red house"]
SECOND = ["a cat slept", "the dog ran", "the old bird", "sun on the river", "a red house"]
SCORES = [4.0, 2.5, 0.0, 4.5, 5.0]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",') else text


def rows(delimiter: str, quote: bool = True) -> str:
    each = zip(FIRST, SECOND, SCORES, strict=True)
    return "".join(f"{quoted(a) if quote else a}{delimiter}{b}{delimiter}{s}\n" for a, b, s in each)


FILES = {
    "plain.tsv": rows("\t", quote=False),
    "pandas.tsv": "sentence1\tsentence2\tscore\n" + rows("\t"),
    "excel.csv": "\ufeffone;two;human\r\n" + rows(";").replace("\n", "\r\n"),
    "headless.csv": rows(",") + "\n\n",
    "stsb.csv": "id,score,sentence2,sentence1\n"
    + "".join(f"{i},{s},{b},{quoted(a)}\n" for i, (a, b, s) in enumerate(zip(FIRST, SECOND, SCORES, strict=True))),
    "lines.jsonl": "".join(
        json.dumps({"score": s, "sentence1": a, "sentence2": b, "genre": "x"}) + "\n"
        for a, b, s in zip(FIRST, SECOND, SCORES, strict=True)
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_as_people_have_them(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8", newline="")
    assert scored_pairs.read(tmp_path / name) == (FIRST, SECOND, SCORES)


def test_a_line_ends_where_csv_says(tmp_path: Path) -> None:
    """A line separator or a form feed inside a sentence is no end of a row."""
    rows = "one\u2028two\tthree\x0cfour\t1\nfive\x85six\tseven\t2\neight\tnine\t3\n"
    (tmp_path / "a.tsv").write_text(rows, encoding="utf-8")
    first, _, scores = scored_pairs.read(tmp_path / "a.tsv")
    assert len(first) == 3 and scores == [1.0, 2.0, 3.0]


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,grade,x,y\n1,4,a,b\n2,3,c,d\n3,1,e,f\n")
    for columns in (["x", "y", "grade"], ["3", "4", "2"]):
        assert scored_pairs.read(tmp_path / "a.csv", columns) == (["a", "c", "e"], ["b", "d", "f"], [4, 3, 1])
    (tmp_path / "b.tsv").write_text("3\ta\tb\n2\tc\td\n1\te\tf\n")
    assert scored_pairs.read(tmp_path / "b.tsv", ["2", "3", "1"]).scores == [3, 2, 1]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a\tb\t1\nc\td\nn/a\te\tf\n", None, "line 2 has 2 cells"),
        ("a\tb\t1\nc\td\tn/a\ne\tf\t2\n", None, "line 2: the score is 'n/a'"),
        ("a\tb\t1\nc\td\tnan\ne\tf\t2\n", None, "line 2: the score is 'nan'"),
        ("a\tb\t1\n \td\t2\ne\tf\t2\n", None, "line 2: ' ' is no sentence"),
        ("a\tb\t1\nc\td\t2\n", None, "holds 2 pairs"),
        ("a\tb\n", None, "three columns"),
        ("", None, "three columns"),
        ("x\ta\tb\t1\nx\ta\tb\t2\nx\ta\tb\t2\n", None, "4 columns; choose three"),
        ("x\ty\tgrade\na\tb\t1\nc\td\t2\ne\tf\t3\n", ["x", "y", "grde"], "Did you mean 'grade'"),
        ("a\tb\t1\nc\td\t2\ne\tf\t3\n", ["1", "2", "7"], "columns 1 to 3"),
        ("a\tb\t1\nc\td\t2\ne\tf\t3\n", ["1", "2"], "give three"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(content: str, columns, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text(content)
    with pytest.raises(HncseError, match=message):
        scored_pairs.read(tmp_path / "p.tsv", columns)


def test_the_score_is_spearmans_of_the_cosines() -> None:
    encoder = tiny.encoder("mean")
    a, b = (encoder.encode(texts, normalize=True) for texts in (FIRST, SECOND))
    scores = [1.0, 4.0, 2.0, 0.0, 3.0]
    result = sts.evaluate_pairs(encoder, FIRST, SECOND, scores, bootstrap=50)
    assert result["spearman"] == pytest.approx(100 * spearmanr((a * b).sum(1), scores).statistic)
    assert (result["n"], result["sentences"], result["pooling"]) == (5, 9, "mean")
    low, high = result["interval"]
    assert -100.1 < low < result["spearman"] < high < 100.1
    with pytest.raises(HncseError, match="not equal"):
        sts.evaluate_pairs(encoder, FIRST, SECOND, [1.0] * 5)
    with pytest.raises(HncseError, match="5 first sentences, 4 second"):
        sts.evaluate_pairs(encoder, FIRST, SECOND[1:], SCORES)


def test_the_command_prints_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file, out = tiny.folder(tmp_path, "mean"), tmp_path / "my.tsv", tmp_path / "out.json"
    file.write_text(FILES["plain.tsv"])
    assert sts.main([str(folder), "--pairs", str(file), "--bootstrap", "20", "--json", str(out)]) == 0
    said, result = capsys.readouterr().out, json.loads(out.read_text())
    assert "5 pairs" in said and f"{result['spearman']:.1f} [" in said
    assert sts.main([str(folder), "--pairs", str(file), "--tasks", "STSB"]) == 2
    assert sts.main([str(folder), "--columns", "1", "2", "3"]) == 2
    assert np.isfinite(result["pearson"])
