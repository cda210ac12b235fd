"""README's recipes, executed from its own text in a folder that holds the small files they name."""

from __future__ import annotations

import csv
import re
import runpy
import shlex

import pytest

from hncse import cli, runs
from hncse.evaluation import mteb
from tests import tiny
from tests.data import benchmark
from tests.evaluation.test_mteb import own_task
from tests.hub import Hub
from tools.notebook_files import CHECKOUT

SECTION = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("\n## Recipes\n")[2].partition("\n## ")[0]
RECIPES = {
    title: re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    for title, text in re.findall(r"^\*\*(.+?)\*\*(.*?)(?=^\*\*|\Z)", SECTION, re.M | re.S)
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """my-encoder, my.txt, pairs.csv and a benchmark."""
    folder = tmp_path_factory.mktemp("recipes")
    tiny.encoder("mean").save(folder / "my-encoder")
    sentences = tiny.sentences(128)
    (folder / "my.txt").write_text("\n".join(sentences), encoding="utf-8")
    rows = [(text, f"{text} .", other) for text, other in zip(sentences[:64], sentences[64:], strict=True)]
    for name, head in (("pairs", ["query", "passage"]), ("triplets", ["anchor", "positive", "negative"])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, *(row[: len(head)] for row in rows)])
    scored = "".join(f"{first}\t{second}\t{i % 6}\n" for i, (first, _, second) in enumerate(rows))
    (folder / "sts.tsv").write_text(f"sentence1\tsentence2\tscore\n{scored}", encoding="utf-8")
    roles = [("text", "role"), *zip(sentences[:4], ("anchor", "positive", "hard", "my own"), strict=True)]
    (folder / "sentences.csv").write_text("".join(f"{text},{role}\n" for text, role in roles), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def hub(online, monkeypatch):
    """Stands in for the Hugging Face hub."""
    with Hub({}) as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        monkeypatch.setenv("HF_TOKEN", "may write")
        yield started


@pytest.fixture
def place(files, tmp_path, monkeypatch, small_probe):
    """The folder that a recipe runs in; a benchmark and a probe of few rows."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    benchmark.shrink(monkeypatch)
    benchmark.write(tmp_path / "data")
    for name in ("data", "runs", "cache"):
        monkeypatch.setenv(f"HNCSE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")
    monkeypatch.chdir(tmp_path)
    known = mteb._named  # the names must be known; the data would come from the hub
    monkeypatch.setattr(mteb, "_named", lambda package, task: known(package, task) and [own_task()])
    return tmp_path


def run(language: str, code: str, place) -> None:
    """Run a block: Python as a file of its own, each line of a shell's as a command line."""
    if language == "python":
        (place / "recipe.py").write_text(code, encoding="utf-8")
        runpy.run_path(str(place / "recipe.py"))
        return
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        assert words.pop(0) == "hncse", line
        assert cli.main(words) == 0, line


def evaluated(place, hub, out):
    assert "Spearman ×100 over" in out and "STS16" in out


def evaluated_on_pairs(place, hub, out):
    assert "my-encoder on sts.tsv, 64 pairs" in out


def evaluated_by_mteb(place, hub, out):
    assert "cosine_spearman" in out


def adapted(place, hub, out):
    (made,) = runs.list_runs(place / "runs")
    assert made.finished and (made.path / "adapters" / "adapter_model.safetensors").is_file()


def trained(place, hub, out):
    (made,) = runs.list_runs(place / "runs")
    assert made.finished and made.config["data"]["sentences"] == 64


def mined(place, hub, out):
    from pyarrow import parquet

    table = parquet.read_table(place / "mined.parquet").to_pandas()
    assert list(table) == ["anchor", "positive", "negative"] and len(table)
    assert (table["negative"] != table["positive"]).all()


def trained_with_a_loss(place, hub, out):
    (made,) = runs.list_runs(place / "runs")
    assert made.finished and made.name.startswith("my-loss-")


def trained_in_sentence_transformers(place, hub, out):
    assert "HNCSE" in (place / "mine" / "README.md").read_text(encoding="utf-8")


def exported(place, hub, out):
    assert (place / "exported" / "onnx" / "model_quantized.onnx").is_file() and "largest difference" in out


def pushed(place, hub, out):
    assert {"README.md", "model.safetensors"} <= hub.datasets["me/my-encoder"].keys() and hub.private


def plotted(place, hub, out):
    assert {path.name for path in (place / "pictures").glob("*.*g")} >= {"similarity_plane.png", "boundary-01.svg"}
    assert "my own" in (place / "pictures" / "explorer.html").read_text(encoding="utf-8")


#: What is left behind or said.
OUTCOMES = {
    "Evaluate my folder": evaluated,
    "Evaluate on my STS pairs": evaluated_on_pairs,
    "Evaluate on MTEB": evaluated_by_mteb,
    "Train on my triplets": trained,
    "Train adapters": adapted,
    "Mine for my passages": mined,
    "Train with my loss": trained_with_a_loss,
    "In sentence-transformers' trainer": trained_in_sentence_transformers,
    "Export": exported,
    "Push to the hub": pushed,
    "Plot my sentences": plotted,
}


def test_every_recipe_is_executed():
    assert RECIPES.keys() == OUTCOMES.keys() and all(RECIPES.values())


@pytest.mark.parametrize("title", OUTCOMES)
def test_a_recipe(title, place, hub, capsys):
    for language, code in RECIPES[title]:
        run(language, code, place)
    OUTCOMES[title](place, hub, capsys.readouterr().out)
