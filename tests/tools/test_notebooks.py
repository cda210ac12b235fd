"""The notebooks' tools: contract, cleaner, sync and runner, on notebooks written here."""

from __future__ import annotations

import json

import nbformat
import pytest

from hncse.errors import HncseError
from tools import exercise_cells, notebook_files, notebooks, runner
from tools.contract import check, problems

DEFAULTS = """# parameters
loss: str = "simcse"  # preset
limit: int or None = 100  # sentences; None takes all"""


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")


def valid(name: str = "B9_test") -> nbformat.NotebookNode:
    """The least that keeps the contract; an appendix, so it needs no exercises."""
    title = f"# Title\n{notebook_files.badge(name)}\n**You will be able to** …\nTime: two minutes. **Hardware:** any."
    end = (
        "Notation: [glossary](GLOSSARY.md)\n\n<details><summary><b>What you should see</b></summary>\n\n"
        "![Expected margins](../figures/margins.png)\n</details>\n\n## To discuss\n\n1. Why?\n\n## To read\n\n- [SimCSE](https://arxiv.org/abs/2104.08821)"
    )
    made = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(title),
            nbformat.v4.new_code_cell(notebook_files.setup_source()),
            nbformat.v4.new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("check_parameters(In, globals())"),
            nbformat.v4.new_markdown_cell("> **Predict.** What will it be?"),
            nbformat.v4.new_code_cell('figures.show(picture, "name", alt=picture.get_label(), caption="Look.")'),
            nbformat.v4.new_markdown_cell(end),
        ]
    )
    return notebook_files.strip(exercise_cells.with_guesses(made))


def test_a_notebook_that_keeps_the_contract_has_no_problems():
    assert list(problems(valid(), "B9_test")) == []


def _untag(made):
    made.cells[2].metadata = {}


def _output(made):
    made.cells[3].outputs = [nbformat.v4.new_output("stream", text="x")]


def _widgets(made):
    made.metadata["widgets"] = {}


def _same_id(made):
    made.cells[3].id = made.cells[2].id


def _uncommented(made):
    made.cells[2].source += "\nmore: int = 1"


def _untyped(made):
    made.cells[2].source += "\nmore = 1  # more"


def _no_badge(made):
    made.cells[0].source = made.cells[0].source.replace("/hncse/blob", "/other/blob")


def _own_setup(made):
    made.cells[1].source = "!pip install hncse>=0.1"


def _unchecked(made):
    made.cells[3].source = "pass"


def _broken(made):
    made.cells[3].source += "\nif"


def _unasked(made):
    del made.cells[4:6]


def _no_guess(made):
    del made.cells[5]


def _asked_once(made):
    made.cells.append(made.cells[6].copy())


def _no_picture(made):
    made.cells[6].source = "print()"


def _without(words):
    def spoil(made):
        made.cells[7].source = made.cells[7].source.replace(words, "")

    return spoil


def _lost_picture(made):
    made.cells[7].source += "![Expected other picture](../figures/other.png)"


def _silent_picture(made):
    made.cells[7].source += '<img src="../figures/margins.png">'


def _exercise(made):
    made.cells.append(nbformat.v4.new_markdown_cell("<!-- exercise B9.1 -->"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_untag, "0 cells are tagged"), (_output, "stores outputs"), (_widgets, "metadata.widgets"),
        (_same_id, "have the id"), (_uncommented, "more has no comment"), (_untyped, "more has no type"),
        (_no_badge, "lacks the Colab badge"), (_own_setup, "must be the setup cell"),
        (_unchecked, "must call check_parameters"), (_broken, "is no Python"),
        (_unasked, "cell 4 shows a picture without a question"), (_asked_once, "cell 8 shows a picture without"),
        (_no_guess, "1 predictions have no cell"),
        (_no_picture, "shows no picture"), (_without("](GLOSSARY.md"), "lacks the notation"),
        (_without("## To discuss"), "lacks questions for a group"),
        (_without("<summary><b>What you should see"), "lacks the expected pictures"),
        (_without("![Expected margins](../figures/margins.png)"), "embeds no picture"),
        (_lost_picture, "embeds ../figures/other.png, which does not exist"),
        (_silent_picture, "margins.png with the alt text ''"),
        (_exercise, "exercise B9.1 is in the notebook and not in"),
    ],
)  # fmt: skip
def test_every_broken_promise_is_found(spoil, message):
    made = valid()
    spoil(made)
    assert any(message in problem for problem in problems(made, "B9_test"))


def test_a_numbered_notebook_says_its_number_and_has_exercises():
    found = list(problems(valid("99_test"), "99_test"))
    assert any("'# 99 · …'" in problem for problem in found)
    assert any("lesson_99.py holds 0 exercises; a numbered notebook has at least three" in problem for problem in found)


def test_clean_removes_outputs_and_keeps_tags(tmp_path):
    made = valid()
    _output(made), _widgets(made)
    made.cells[3].execution_count = 7
    made.cells[2].metadata["papermill"] = {"duration": 1.0}
    path = tmp_path / "B9_test.ipynb"
    nbformat.write(made, path)
    said: list[str] = []
    assert not check([path], said.append)
    notebooks.clean([path], said.append)
    assert check([path], said.append)
    stored = json.loads(path.read_text())
    assert stored["cells"][2]["metadata"] == {"tags": ["parameters"]}
    assert stored["cells"][3]["outputs"] == [] and stored["cells"][3]["execution_count"] is None
    before = path.read_bytes()
    notebooks.clean([path], said.append)
    assert path.read_bytes() == before and "was clean" in said[-1]


def test_sync_writes_a_file_once_and_tells_what_is_left_to_do(tmp_path, capsys):
    made = valid("02_test")
    made.cells.append(nbformat.v4.new_markdown_cell("<!-- exercise 02.1 -->"))
    path = tmp_path / "02_test.ipynb"
    nbformat.write(made, path)
    assert notebooks.main(["sync", str(path)]) == 0
    said = capsys.readouterr().out
    assert "1 exercises, written" in said and "exercise 02.2 is missing" in said
    before = path.read_bytes()
    assert notebooks.main(["sync", str(path)]) == 0
    assert "1 exercises, as they were" in capsys.readouterr().out and path.read_bytes() == before
    assert not any("exercise 02.1" in p for p in problems(notebook_files.read(path), "02_test"))
    assert notebooks.main(["check", str(path)]) == 1  # 02.2 and on are missing


def test_unknown_notebook_names_the_nearest():
    with pytest.raises(HncseError, match="Did you mean '03_train'"):
        notebook_files.find(["03_trian"])
    for name in ("03_train", "03", "notebooks/03_train.ipynb"):
        assert [path.stem for path in notebook_files.find([name])] == ["03_train"]


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
    made = nbformat.read(notebook_files.find(["05_sts_table"])[0], as_version=4)
    made.cells = made.cells[:4]
    made.cells[3].source = "from hncse.notebook import check_parameters\n\ncheck_parameters(In, globals())"
    sources = [CELL.format(alt=alt, caption=caption, run=run), *more]
    made.cells += [nbformat.v4.new_code_cell(source, id=f"c-{n}") for n, source in enumerate(sources)]
    nbformat.write(made, path)


def run_one(path, tmp_path, monkeypatch, **options) -> tuple[bool, list[str]]:
    monkeypatch.setattr(runner, "problems", lambda notebook, name: iter(()))
    said: list[str] = []
    return runner.run([path], said.append, tmp_path / "out", timeout=120, **options), said


def test_runner_prints_a_table_and_leaves_the_notebook_as_it_was(tmp_path, monkeypatch):
    stub = 'from hncse import exercises\n\n\ndef f():\n    ...\n\n\nexercises.check("02.1", f)'
    short(tmp_path / "05_good.ipynb")
    made = notebook_files.read(tmp_path / "05_good.ipynb")
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
    made = notebook_files.read(path)
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
    monkeypatch.setattr(runner, "_one", lambda path, *_: runner.Outcome(path.stem, 130.0, 99.0, 2, 3))
    fine, said = run_one(tmp_path / "05_late.ipynb", tmp_path, monkeypatch)
    assert fine and said[1].split() == ["05_late", "130.0", "99.0", "2", "3", "ok,", "over", "120", "s"]
    monkeypatch.setattr(runner, "WHOLE", 100)
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
    assert len(list(runner._files(notebook, began))) == 2
    folder = tmp_path / "runs" / "one" / "figures"
    folder.mkdir(parents=True)
    for ending in ("png", "svg"):
        (folder / f"dots.{ending}").touch()
    assert list(runner._files(notebook, began)) == []
    assert len(list(runner._files(notebook, began + 60))) == 2  # left by an earlier run
    assert list(runner._stored_pictures('figures.show(p, "a", alt="x", caption="y")\n%time 1')) == []


def test_runner_tells_cells_that_ran_out_of_order():
    cells = [nbformat.v4.new_code_cell("1", execution_count=n) for n in (1, 3)]
    (problem,) = runner._order(nbformat.v4.new_notebook(cells=cells))
    assert problem == "cells ran in the order [1, 3], not 1 to 2"
