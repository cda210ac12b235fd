"""What a notebook needs while it runs: the parameter check, `headless`, the live curve."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from hncse import notebook
from hncse.errors import HncseError
from hncse.notebook import check_parameters

DEFAULTS = """# parameters
loss: str = "simcse"  # preset
epochs: float = 1.0  # passes
seed: int = 42  # seed
limit: int or None = 100  # sentences; None takes all
options: dict = {}  # changes
pooling: str or None = None  # cls or mean; None keeps the encoder's own
head: bool | None = True  # the head
words: list[str] = ["a"]  # to show
"""


def cells(*injected: str) -> list[str]:
    return ["", "import hncse", DEFAULTS, *(f"# Parameters\n{text}\n" for text in injected)]


def test_values_come_back_with_injected_ones_in_place():
    values = check_parameters(cells("epochs = 2\nlimit = None"))
    assert values == {
        "loss": "simcse", "epochs": 2, "seed": 42, "limit": None, "options": {}, "pooling": None, "head": True,
        "words": ["a"],
    }  # fmt: skip


def test_unknown_names_and_choices_are_named_with_their_neighbour():
    with pytest.raises(HncseError, match=r"unknown parameter 'epoch'\. Did you mean 'epochs'\?"):
        check_parameters(cells("epoch = 1"))
    assert check_parameters(cells(), loss=("simcse", "pm"))["loss"] == "simcse"
    with pytest.raises(HncseError, match="unknown value of loss 'simcs'. Did you mean 'simcse'"):
        check_parameters(cells("loss = 'simcs'"), loss=("simcse", "pm"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epochs = '1'", ["epochs is '1' (str)", "number", "passes"]),
        ("epochs = False", ["epochs is False"]),
        ("epochs = float('nan')", ["epochs is nan"]),
        ("epochs = float('inf')", ["epochs is"]),
        ("seed = 1.5", ["seed is 1.5 (float)", "int"]),
        ("seed = True", ["seed is True (bool)", "int"]),
        ("head = 1", ["head is 1 (int)", "bool or None"]),
        ("head = 'maybe'", ["head is 'maybe'", "-p head False"]),
        ("head = 'no'", ["head is 'no'"]),
        ("loss = None", ["loss is None", "str"]),
        ("loss = 5", ["loss is 5 (int)", "-r loss 5"]),
        ("limit = 'all'", ["limit is 'all'", "int or None", "None takes all"]),
        ("options = '{}'", ["-y 'options: {k: 5}'"]),
        ("words = 'a'", ["words is 'a'", "list[str]"]),
        ("words = ['a', 1]", ["words is ['a', 1]"]),
        ("words = []", ["words is []", "at least one"]),
    ],
)
def test_a_wrong_type_is_refused_with_what_is_allowed(line, words):
    with pytest.raises(HncseError) as caught:
        check_parameters(cells(line))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("given", "value"), [("true", True), ("True", True), ("false", False), ("False", False)])
def test_a_word_for_a_truth_value_is_that_value_here_and_in_the_notebook(given, value):
    namespace = {"head": given, "loss": "simcse"}
    assert check_parameters(cells(), namespace)["head"] is value and namespace["head"] is value
    assert check_parameters(cells(f"head = {given!r}"))["head"] is value


def test_types_without_an_annotation_are_those_of_the_default():
    old = "# parameters\na = 1  # a\nb = None  # b\n"
    assert check_parameters([old, "# Parameters\nb = [1]\n"]) == {"a": 1, "b": [1]}
    with pytest.raises(HncseError, match="a is '1'"):
        check_parameters([old, "# Parameters\na = '1'\n"])


def test_rules_say_what_would_be_right(tmp_path):
    def refused(line, **rules):
        with pytest.raises(HncseError) as caught:
            check_parameters(cells(line), **rules)
        return str(caught.value)

    assert "from 2 to 50 (limit)" in refused("seed = 51\nlimit = 50", seed=notebook.between(2, "limit"))
    assert "at least 2" in refused("seed = 1\nlimit = None", seed=notebook.between(2, "limit"))
    assert "above 0 and at most 3" in refused("epochs = 0", epochs=notebook.above(0, 3))
    assert "'pm-fixed'?" in refused("loss = 'pm-fixd'")
    assert "0 to 4,294,967,295" in refused("seed = 2 ** 0\nseed = 4294967296")
    assert "must not be empty" in refused("words = ['a', ' ']", words=notebook.some_text)
    assert "'c'" in refused("words = ['a', 'c']", words=("a", "b"))
    (tmp_path / "file.txt").write_text("A line.\n")
    valid = [
        (notebook.a_file, tmp_path / "file.txt"), (notebook.a_folder, tmp_path), (notebook.a_corpus, "docstrings"),
        (notebook.a_corpus, "hf:owner/name:text"), (notebook.a_corpus, tmp_path / "file.txt"),
        (notebook.an_encoder, "kit"), (notebook.an_encoder, tmp_path), (notebook.an_encoder, "bert-base-uncased"),
        (notebook.an_encoder, "owner/Name-v1.5"),
    ]  # fmt: skip
    for rule, value in valid:
        assert check_parameters(cells(f"loss = {str(value)!r}"), loss=rule)["loss"] == str(value)
    invalid = [
        (notebook.a_file, tmp_path), (notebook.a_file, "n" * 5000), (notebook.a_folder, tmp_path / "none"),
        (notebook.a_folder, "a\0b"), (notebook.a_corpus, "docstring"), (notebook.a_corpus, "nothing.txt"),
        (notebook.a_corpus, "hf:name"), (notebook.a_corpus, tmp_path), (notebook.an_encoder, "kti"),
        (notebook.an_encoder, "/no/where"), (notebook.an_encoder, "two words"), (notebook.a_run, "no-such-run"),
    ]  # fmt: skip
    for rule, value in invalid:
        assert "loss is" in refused(f"loss = {str(value)!r}", loss=rule)
    assert "'docstrings'?" in refused("loss = 'docstring'", loss=notebook.a_corpus)


def test_namespace_wins_over_text():
    assert check_parameters(cells("epochs = float('nan')"), {"epochs": 3.0})["epochs"] == 3.0
    with pytest.raises(HncseError, match="seed is 'x'"):
        check_parameters(cells(), {"seed": "x"})


def test_running_the_defaults_again_forgets_what_was_injected_before():
    assert check_parameters([*cells("seed = 1"), DEFAULTS])["seed"] == 42


@pytest.mark.parametrize(
    ("executed", "says"),
    [
        (["", "x = 1"], "run the notebook from its first cell"),
        (["# parameters\na = b + 1  # no literal\n"], r"line 2: 'a = b \+ 1'"),
        (["# parameters\na, b = 1, 2\n"], r"line 2: .*every line must give a name a literal value"),
        (["# parameters\na: complex = 1  # a\n"], "'complex' is no type"),
    ],
)
def test_cells_that_hold_no_defaults_are_refused(executed, says):
    with pytest.raises(HncseError, match=says):
        check_parameters(executed)


def test_headless_follows_the_variable_and_a_plain_program_is_headless(monkeypatch):
    monkeypatch.delenv("HNCSE_HEADLESS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert notebook.headless()
    monkeypatch.setenv("HNCSE_HEADLESS", "0")
    assert not notebook.headless()
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    assert notebook.headless()


def test_live_curve_draws_in_place_and_not_too_often(monkeypatch):
    from IPython import display

    class Handle:
        updates = 0

        def update(self, _):
            self.updates += 1

    shown: list[Handle] = []

    def fake_display(picture, **__):
        assert 'alt="Loss' in picture.data and "data:image/png;base64,iVBOR" in picture.data
        shown.append(Handle())
        return shown[-1]

    monkeypatch.setenv("HNCSE_HEADLESS", "0")
    monkeypatch.setattr(display, "display", fake_display)
    clock = iter([0.0, 0.0, 0.1, 0.1, 0.5, 5.0, 5.0, 5.1, 5.1])  # a drawing reads it four times; the 2nd is too early
    monkeypatch.setattr(notebook, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    class Run:
        name, finished = "x", False
        history = ({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0})

    curve = notebook.LiveCurve()
    curve._next = -1.0
    for _ in range(3):
        curve(Run())
    assert (len(shown), shown[0].updates) == (1, 1)
    curve.close()
    assert shown[0].updates == 2


def test_live_curve_is_silent_when_nobody_watches(monkeypatch):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    notebook.LiveCurve()(None)  # type: ignore[arg-type]  # never looks at it
