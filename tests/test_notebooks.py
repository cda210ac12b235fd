"""The committed notebooks: their contract, their parameters, and what they leave on small data."""

from __future__ import annotations

import dataclasses
import re

import nbformat
import papermill
import pytest

from hncse import runs
from hncse.errors import HncseError
from hncse.notebook import Parameter, read_defaults
from hncse.training import TrainingConfig
from tests import tiny
from tests.cells import run_notebook
from tests.evaluation.test_tables import fake_run
from tools import notebook_files
from tools.contract import problems

ALL = notebook_files.find()
READ = {path: notebook_files.read(path) for path in ALL}  # the reader looks at every cell: a tenth of a second each


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_contract(path):
    assert list(problems(READ[path], path.stem)) == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_linked_files_exist(path):
    for cell in READ[path].cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
                assert "://" in target or (path.parent / target).exists(), target


def test_badge_and_setup_line_come_from_the_project_urls():
    import tomllib

    project = tomllib.loads((ALL[0].parent.parent / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == notebook_files.repository()
    for path in ALL:
        source = path.read_text()
        assert f'hncse @ git+{project["urls"]["Repository"]}@v{project["version"]}"' in source.replace('\\"', '"')
        assert "torch" not in READ[path].cells[1].source


def test_train_notebook_takes_the_trainings_own_parameters():
    cell = next(c for c in READ[notebook_files.find(["03_train"])[0]].cells if c.metadata.get("tags"))
    given = {p.name: p.default for p in read_defaults(cell.source)}
    assert given.pop("evaluate") == "auto"
    given.pop("own_seeds")  # whose loss and seeds: what the reader wrote in the notebook
    fields = {f.name for f in dataclasses.fields(TrainingConfig)}
    assert set(given) <= fields
    assert {"loss", "encoder", "corpus", "limit", "epochs", "seed"} <= set(given)  # what `make train` passes on
    TrainingConfig.from_dict(given)


def test_in_a_kernel_a_wrong_name_is_three_lines_and_nothing_else_ran(tmp_path):
    (path,), out = notebook_files.find(["03_train"]), tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(str(path), str(out), {"epoch": 1}, kernel_name="python3", progress_bar=False)
    message = str(caught.value)
    assert "HncseError: unknown parameter 'epoch'. Did you mean 'epochs'?" in message
    assert len(message.strip().splitlines()) == 3  # a rule, where, what: no traceback
    ran = [c for c in nbformat.read(out, as_version=4).cells if c.cell_type == "code" and c.execution_count]
    assert "import torch" not in "".join(c.source for c in ran)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("small_probe")
def test_train_notebook_leaves_a_whole_run_and_rows_of_an_own_loss_and_reopens_them(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(300)))
    parameters = {
        "corpus": str(corpus), "encoder": str(tiny.folder(tmp_path)), "limit": 300, "batch_size": 32, "eval_every": 5,
        "evaluate": "probe", "name": "first", "loss": "three-view", "learning_rate": 1e-3, "pooling": "last_two",
        "own_seeds": 2,
    }  # fmt: skip
    whole_probe = ("03-recorded-3",)  # the plane of a recorded run
    done = run_notebook("03_train", tmp_path, without=whole_probe, **parameters)
    run = runs.find("first")
    assert run.finished and run.load_encoder().pooling == "last_two"
    for name in ("probe", "baseline"):
        assert run.has(name)
    assert set(run.read("baseline")["poolings"]) == {"cls", "mean", "last_two"}
    drawn = {p.stem for p in (run.path / "figures").glob("*.png")}
    assert drawn == {"training_curve", "case_fractions", "margins", "similarity_plane"}
    assert len(done.pictures) == 6  # and the denominator's columns, and the cases of the recorded runs
    assert all('alt="' in data["text/html"] and "<figcaption" in data["text/html"] for data in done.pictures)
    summary = (run.path / "summary.md").read_text()
    assert summary in done.text and "three-view on" in summary and "after training" in summary
    assert runs.main([str(run.path)]) == 0

    before = (run.path / "history.jsonl").read_bytes(), (run.path / "probe.json").stat().st_mtime_ns
    run_notebook("03_train", tmp_path, without=whole_probe, **parameters)
    assert before == ((run.path / "history.jsonl").read_bytes(), (run.path / "probe.json").stat().st_mtime_ns)

    own = run_notebook("05_sts_table", tmp_path).text  # the loss of exercise 03.5, the kit's while it is open
    assert re.search(r"\| my_hnm \| +probe \| +2 \| +[-\d.]+ \| +\[", own), own[-2000:]


def test_table_notebook_without_runs_says_what_to_run(tmp_path):
    done = run_notebook("05_sts_table", tmp_path)
    said = done.text
    assert "papermill notebooks/03_train.ipynb" in said and "none with STS scores yet" in said
    assert "SimCSE (unsup)" in said and "76.25" in said
    assert "two runs differ by a point or more in 43 % of pairs" in said
    assert len(done.pictures) == 1


def test_table_notebook_shows_our_runs_beside_published_ones(tmp_path):
    folder = tmp_path / "elsewhere"
    for seed, score in ((0, 60.0), (1, 62.0)):
        fake_run(folder / f"run-{seed}", seed=seed, score=score, baseline=40.0)
    done = run_notebook("05_sts_table", tmp_path, runs=str(folder), backbone="all")
    said = done.text
    assert "61.00 ± 12.71" in said and "untrained" in said and "roberta-base" in said
    assert "none with STS scores yet" not in said
    assert (folder / "figures" / "sts_table.svg").is_file()


DEFAULTS = {
    path: next(cell.source for cell in READ[path].cells if "parameters" in cell.metadata.get("tags", []))
    for path in ALL
}
PARAMETERS = [(path, parameter) for path, cell in DEFAULTS.items() for parameter in read_defaults(cell)]
ANY_WORDS = {"column", "name"}  # nothing but an empty text can be told from a right one
TRUTH_OR_CHOICES = {"loss_options": [{"no_such_option": 1}, {"k": 0}], "head": ["maybe"], "network": [2]}


def refusal(path, line: str) -> str:
    """What a notebook says to a parameter from papermill in its first cells; "" where it takes it."""
    cells = [cell.source for cell in READ[path].cells if cell.cell_type == "code"][:3]
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
        ("06", "solver = 'sentevl'", "senteval"), ("07a", "baseline = 'simcs'", "simcse"),
        ("07b", "band = 2", "0 to 1"),
        ("01", "batch_size = 1", "from 2"), ("01", "steps = 0", "from 1"), ("04", "neighbours = -1", "from 1"),
        ("04", "snapshots = 0", "from 2"), ("A1", "width = 0", "from 8"),
    ],
)  # fmt: skip
def test_what_would_be_right_is_named(name, line, nearest, nothing_loads):
    (path,) = notebook_files.find([name])
    assert nearest in refusal(path, line)


def test_a_table_notebook_names_the_encoders_that_its_runs_have(tmp_path):
    fake_run(tmp_path / "runs" / "one", encoder="kit")
    (path,) = notebook_files.find(["05"])
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
