"""The committed notebooks: their contract, and real executions in a real kernel."""

from __future__ import annotations

import dataclasses
import json

import nbformat
import papermill
import pytest

from hncse import _notebook_run, _notebooks, runs
from hncse._notebook_contract import problems
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from hncse.notebook import Parameter, read_defaults
from hncse.training import TrainingConfig
from hncse.visual import gallery
from tests import tiny
from tests.evaluation.test_tables import fake_run

ALL = _notebooks.find()


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


def execute(notebook: str, tmp_path, **parameters) -> nbformat.NotebookNode:
    (path,) = _notebooks.find([notebook])
    return papermill.execute_notebook(
        str(path), str(tmp_path / "out.ipynb"), parameters, kernel_name="python3", progress_bar=False,
        execution_timeout=300,
    )  # fmt: skip


def pictures(done) -> list[dict]:
    return [o["data"] for c in done.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]


def text(done) -> str:
    found = []
    for output in (o for c in done.cells for o in c.get("outputs", [])):
        found.append(output.get("text", "") + output.get("data", {}).get("text/markdown", ""))
    return "\n".join(found)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_contract(path):
    assert list(problems(_notebooks.read(path), path.stem)) == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_linked_files_exist(path):
    import re

    for cell in _notebooks.read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
                assert "://" in target or (path.parent / target).exists(), target


def test_badge_and_setup_line_come_from_the_project_urls():
    import tomllib

    project = tomllib.loads((ALL[0].parent.parent / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == _notebooks.repository()
    for path in ALL:
        source = path.read_text()
        assert f'hncse @ git+{project["urls"]["Repository"]}@v{project["version"]}"' in source.replace('\\"', '"')
        assert "torch" not in _notebooks.read(path).cells[1].source


def test_train_notebook_takes_the_trainings_own_parameters():
    cell = next(c for c in _notebooks.read(_notebooks.find(["03_train"])[0]).cells if c.metadata.get("tags"))
    given = {p.name: p.default for p in read_defaults(cell.source)}
    assert given.pop("evaluate") == "auto"
    fields = {f.name for f in dataclasses.fields(TrainingConfig)}
    assert set(given) <= fields
    assert {"loss", "encoder", "corpus", "limit", "epochs", "seed"} <= set(given)  # what `make train` passes on
    TrainingConfig.from_dict(given)


def test_a_wrong_name_fails_with_the_right_one_before_anything_is_loaded(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        execute("03_train", tmp_path, epoch=1)
    message = str(caught.value)
    assert "HncseError: unknown parameter 'epoch'. Did you mean 'epochs'?" in message
    assert len(message.strip().splitlines()) == 3  # a rule, where, what: no traceback
    done = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    ran = [c for c in done.cells if c.cell_type == "code" and c.execution_count]
    assert "import torch" not in "".join(c.source for c in ran)
    assert not (tmp_path / "runs").exists()


def test_an_impossible_value_fails_there_too(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="Did you mean 'simcse'"):
        execute("03_train", tmp_path, loss="simsce")


def test_train_notebook_leaves_a_whole_run_and_reopens_it(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(300)))
    parameters = {
        "corpus": str(corpus), "encoder": str(tiny.folder(tmp_path)), "limit": 300, "batch_size": 32, "eval_every": 5,
        "evaluate": "probe", "name": "first", "loss": "three-view", "learning_rate": 1e-3, "pooling": "last_two",
    }  # fmt: skip
    done = execute("03_train", tmp_path, **parameters)
    (run,) = runs.list_runs(tmp_path / "runs")
    assert run.finished and run.load_encoder().pooling == "last_two"
    for name in ("probe", "baseline"):
        assert run.has(name)
    assert set(run.read("baseline")["poolings"]) == {"cls", "mean", "last_two"}
    drawn = {p.stem for p in (run.path / "figures").glob("*.png")}
    assert drawn == {"training_curve", "case_fractions", "margins", "similarity_plane"}
    assert len(pictures(done)) == 4
    assert all('alt="' in data["text/html"] and "<figcaption>" in data["text/html"] for data in pictures(done))
    summary = (run.path / "summary.md").read_text()
    assert summary in text(done) and "three-view on" in summary and "after training" in summary
    assert runs.main([str(run.path)]) == 0

    before = (run.path / "history.jsonl").read_bytes(), (run.path / "probe.json").stat().st_mtime_ns
    execute("03_train", tmp_path, **parameters)
    assert before == ((run.path / "history.jsonl").read_bytes(), (run.path / "probe.json").stat().st_mtime_ns)


def test_table_notebook_without_runs_says_what_to_run(tmp_path):
    done = execute("05_sts_table", tmp_path)
    said = text(done)
    assert "papermill notebooks/03_train.ipynb" in said and "none with STS scores yet" in said
    assert "SimCSE (unsup)" in said and "76.25" in said
    assert "two runs differ by a point or more in 43 % of pairs" in said
    assert len(pictures(done)) == 1


def test_table_notebook_shows_our_runs_beside_published_ones(tmp_path):
    folder = tmp_path / "elsewhere"
    for seed, score in ((0, 60.0), (1, 62.0)):
        fake_run(folder / f"run-{seed}", seed=seed, score=score, baseline=40.0)
    done = execute("05_sts_table", tmp_path, runs=str(folder), backbone="all")
    said = text(done)
    assert "61.00 ± 12.71" in said and "untrained" in said and "roberta-base" in said
    assert "none with STS scores yet" not in said
    assert (folder / "figures" / "sts_table.svg").is_file()


def test_table_notebook_refuses_a_backbone_nobody_published(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="Did you mean 'bert-base'"):
        execute("05_sts_table", tmp_path, backbone="bert-bas")


DEFAULTS = {
    path: next(cell.source for cell in _notebooks.read(path).cells if "parameters" in cell.metadata.get("tags", []))
    for path in ALL
}
PARAMETERS = [(path, parameter) for path, cell in DEFAULTS.items() for parameter in read_defaults(cell)]
ANY_WORDS = {"column", "name"}  # nothing but an empty text can be told from a right one
TRUTH_OR_CHOICES = {"loss_options": [{"no_such_option": 1}, {"k": 0}], "head": ["maybe"], "network": [2]}


def refusal(path, line: str) -> str:
    """What a notebook says to a parameter from papermill in its first cells; "" where it takes it."""
    cells = [cell.source for cell in _notebooks.read(path).cells if cell.cell_type == "code"][:3]
    given = ["", *cells[:2], f"# Parameters\n{line}\n", cells[2]]
    namespace = {"In": given}
    try:
        for source in given[2:]:
            exec(source, namespace)
    except HncseError as error:
        return str(error)
    return ""


@pytest.fixture
def nothing_loads(monkeypatch):
    def loads(*_, **__):
        raise AssertionError("something was loaded before the parameters were checked")

    monkeypatch.setattr("hncse.data.corpora.load", loads)
    monkeypatch.setattr("hncse.encoder.SentenceEncoder.from_pretrained", loads)


def wrong_values(parameter: Parameter) -> list:
    """Values of a wrong type, and values that no such parameter may have."""
    found: list = ["text", 1] if "dict" in parameter.types else [{"a": 1}]
    if {"int", "float"} & set(parameter.types):
        found += [-(10**9), 10**30, float("inf"), float("nan"), True, "text"]
    elif "str" in parameter.types:
        found += ["", 5, *([] if parameter.name in ANY_WORDS else ["no/such/thing.zzz", "n" * 5000])]
        if parameter.default == "":
            found.remove("")
    elif any(name.startswith("list") for name in parameter.types):
        found += ["text", [5], [""]]
    if "None" not in parameter.types:
        found.append(None)
    return found + TRUTH_OR_CHOICES.get(parameter.name, [])


@pytest.mark.parametrize(
    ("path", "parameter"), PARAMETERS, ids=lambda value: getattr(value, "stem", None) or value.name
)
def test_every_wrong_value_of_every_parameter_stops_where_parameters_are_checked(path, parameter, nothing_loads):
    for value in wrong_values(parameter):
        shown = f"float({str(value)!r})" if isinstance(value, float) else repr(value)
        said = refusal(path, f"{parameter.name} = {shown}")
        assert parameter.name.removesuffix("_options").removesuffix("es") in said, f"{value!r:.80} is taken"


@pytest.mark.parametrize(
    ("name", "line", "nearest"),
    [
        ("00", "corpus = 'docstring'", "docstrings"), ("00", "encoder = 'kitt'", "kit"), ("02", "k = 100_000", "4,000"),
        ("02", "k = 0", "from 1"), ("03", "loss = 'simsce'", "simcse"), ("03", "pooling = 'men'", "mean"),
        ("03", "batch_size = 20_000", "limit"), ("04", "losses = ['simcse', 'pm-intendet']", "pm-intended"),
        ("04", "anchor = 'sport-1o'", "sport-10"), ("05", "backbone = 'bert-bas'", "bert-base"),
        ("06", "solver = 'sentevl'", "senteval"), ("07", "baseline = 'simcs'", "simcse"), ("07", "band = 2", "0 to 1"),
        ("01", "batch_size = 1", "from 2"), ("01", "steps = 0", "from 1"), ("04", "neighbours = -1", "from 1"),
        ("04", "snapshots = 0", "from 2"), ("A1", "width = 0", "from 8"),
    ],
)  # fmt: skip
def test_what_would_be_right_is_named(name, line, nearest, nothing_loads):
    (path,) = _notebooks.find([name])
    assert nearest in refusal(path, line)


def test_a_table_notebook_names_the_encoders_that_its_runs_have(tmp_path):
    fake_run(tmp_path / "runs" / "one", encoder="kit")
    (path,) = _notebooks.find(["05"])
    assert "['kit']" in refusal(path, "encoder = 'minilm'")
    assert refusal(path, "encoder = 'kit'") == ""
    assert refusal(path, f"runs = {str(tmp_path / 'runs')!r}\nencoder = 'kit'") == ""


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_name_that_is_no_parameter_stops_with_the_nearest(path, nothing_loads):
    first = read_defaults(DEFAULTS[path])[0].name
    assert f"unknown parameter '{first}_'. Did you mean '{first}'" in refusal(path, f"{first}_ = 1")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_papermill_itself_knows_every_parameter(path):
    from papermill.translators import PythonTranslator

    known = PythonTranslator.inspect(nbformat.v4.new_code_cell(DEFAULTS[path]))
    assert [p.name for p in known] == [p.name for p in read_defaults(DEFAULTS[path])]
    assert all(p.inferred_type_name != "None" for p in known)


CELL = """from hncse import runs
from hncse.visual import figures, style

run = runs.Run(runs.root() / "made-here")
run.path.mkdir(parents=True, exist_ok=True)
with style.styled():
    picture, _ = style.figure(2, 2)
figures.show(picture, "dots", alt="{alt}", caption="{caption}"{run})
"""


def short(path, *more: str, alt="A square.", caption="Look.", run=", run=run") -> None:
    """Write a notebook that keeps everything but the contract's prose."""
    made = nbformat.read(_notebooks.find(["05_sts_table"])[0], as_version=4)
    made.cells = made.cells[:4]
    made.cells[3].source = "from hncse.notebook import check_parameters\n\ncheck_parameters(In, globals())"
    sources = [CELL.format(alt=alt, caption=caption, run=run), *more]
    made.cells += [nbformat.v4.new_code_cell(source, id=f"c-{n}") for n, source in enumerate(sources)]
    nbformat.write(made, path)


def run_one(path, tmp_path, monkeypatch, **options) -> tuple[bool, list[str]]:
    monkeypatch.setattr(_notebook_run, "problems", lambda notebook, name: iter(()))
    said: list[str] = []
    return _notebook_run.run([path], said.append, tmp_path / "out", timeout=120, **options), said


def test_runner_prints_a_table_and_leaves_the_notebook_as_it_was(tmp_path, monkeypatch):
    stub = 'from hncse import exercises\n\n\ndef f():\n    ...\n\n\nexercises.check("02.1", f)'
    short(tmp_path / "05_good.ipynb")
    made = _notebooks.read(tmp_path / "05_good.ipynb")
    made.cells.append(nbformat.v4.new_code_cell(stub, id="ex-02-1-code"))
    nbformat.write(made, tmp_path / "05_good.ipynb")
    before = (tmp_path / "05_good.ipynb").read_bytes()
    fine, said = run_one(tmp_path / "05_good.ipynb", tmp_path, monkeypatch)
    assert fine, said
    assert said[0].split() == ["notebook", "seconds", "CPU", "s", "figures", "exercises", "outcome"]
    name, seconds, cpu, *rest = said[1].split()
    assert (name, rest) == ("05_good", ["1", "1", "ok"]) and float(seconds) > 0 and float(cpu) > 0
    assert said[2].startswith("1 in all") and said[2].endswith("all ok") and len(said) == 3
    assert (tmp_path / "05_good.ipynb").read_bytes() == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["05_good.ipynb"]
    assert (tmp_path / "runs" / "made-here" / "figures" / "dots.svg").is_file()


def test_runner_finds_what_a_notebook_does_not_keep(tmp_path, monkeypatch):
    path = tmp_path / "05_bad.ipynb"
    short(path, "import ipywidgets\n\nipywidgets.IntSlider()", alt="", caption="", run="")
    made = _notebooks.read(path)
    made.cells[3].source = "pass"  # parameters unchecked
    made.cells[4].source += f"\nopen({str(path)!r}, 'a').write(' ')"  # writes into itself
    made.cells[5].id = "ex-02-1-code"
    nbformat.write(made, path)
    fine, said = run_one(path, tmp_path, monkeypatch)
    text = "\n".join(said)
    assert not fine and "failed: 05_bad" in said[-1]
    for words in (
        "cell ex-02-1-code shows a widget", "its stub is not reported as open", "a picture has no alt text",
        "takes a parameter 'no_such_parameter' without a word", "running it changed the notebook itself",
    ):  # fmt: skip
        assert words in text


def test_runner_goes_on_after_a_failing_cell(tmp_path, monkeypatch):
    short(tmp_path / "05_bad.ipynb", "raise RuntimeError('on purpose')")
    fine, said = run_one(tmp_path / "05_bad.ipynb", tmp_path, monkeypatch)
    assert not fine and said[1].endswith("RuntimeError: on purpose") and said[-1].endswith("failed: 05_bad")


def test_runner_says_what_is_late_and_fails_on_it_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(_notebook_run, "_one", lambda path, *_: _notebook_run.Outcome(path.stem, 130.0, 99.0, 2, 3))
    fine, said = run_one(tmp_path / "05_late.ipynb", tmp_path, monkeypatch)
    assert fine and said[1].split() == ["05_late", "130.0", "99.0", "2", "3", "ok,", "over", "120", "s"]
    monkeypatch.setattr(_notebook_run, "WHOLE", 100)
    fine, said = run_one(tmp_path / "05_late.ipynb", tmp_path, monkeypatch)
    assert fine and said[-1].endswith("all ok, over 100 s")
    fine, said = run_one(tmp_path / "05_late.ipynb", tmp_path, monkeypatch, strict=True)
    assert not fine and said[1].endswith("took 130 s; its budget is 120 s")
    assert said[-1].endswith("failed: 05_late, over 100 s")


def test_runner_looks_for_pictures_in_run_folders(tmp_path, monkeypatch):
    import time

    cell = nbformat.v4.new_code_cell('figures.show(p, "dots", alt="a", caption="c", run=run)')
    notebook = nbformat.v4.new_notebook(cells=[cell])
    began = time.time()
    assert len(list(_notebook_run._files(notebook, began))) == 2
    folder = tmp_path / "runs" / "one" / "figures"
    folder.mkdir(parents=True)
    for ending in ("png", "svg"):
        (folder / f"dots.{ending}").touch()
    assert list(_notebook_run._files(notebook, began)) == []
    assert len(list(_notebook_run._files(notebook, began + 60))) == 2  # left by an earlier run
    assert list(_notebook_run._kept('figures.show(p, "a", alt="x", caption="y")\n%time 1')) == []


def test_runner_tells_cells_that_ran_out_of_order():
    cells = [nbformat.v4.new_code_cell("1", execution_count=n) for n in (1, 3)]
    (problem,) = _notebook_run._order(nbformat.v4.new_notebook(cells=cells))
    assert problem == "cells ran in the order [1, 3], not 1 to 2"


def test_gallery_is_drawn_from_a_run_and_refuses_an_unfinished_one(tmp_path, capsys):
    run = fake_run(tmp_path / "runs" / "a", encoder=str(tiny.folder(tmp_path)), epochs=1.0, batch_size=8)
    run.write("result", run.result | {"kept_step": 2})
    tiny.encoder().save(run.encoder_path)
    config = run.config | {
        "key": "abc",
        "encoder_fingerprint": SentenceEncoder.from_pretrained(run.encoder_path).fingerprint(),
    }
    run.write("config", config)
    for step in (1, 2):
        run.log({"step": step, "loss": 1.0 / step, "case_a": 0.5, "case_b": 0.25, "case_c": 0.25, "probe": 30.0})
    assert gallery.main([str(run.path), "--out", str(tmp_path / "figures")]) == 0
    index = json.loads((tmp_path / "figures" / "index.json").read_text())["figures"]
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == set(index)
    assert index["margins"]["key"] == "abc" and index["margins"]["parameters"]["seed"] == 0
    assert "76.25" in index["sts_table"]["alt"]
    (run.path / "result.json").unlink()
    assert gallery.main([str(run.path)]) == 2
    assert "is not finished" in capsys.readouterr().err


def test_gallery_index_names_every_picture():
    folder = ALL[0].parent.parent / "figures"
    index = json.loads((folder / "index.json").read_text())
    assert {path.stem for path in folder.glob("*.png")} == set(index["figures"])
    for entry in index["figures"].values():
        assert entry["alt"] and entry["made_by"]
