"""The sweep: what its words mean, finished runs kept, processes that share a folder, one table with intervals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hncse import _sweep_grid, _trainer, sweep, training
from hncse.data import senteval
from hncse.errors import HncseError
from hncse.evaluation import report
from hncse.evaluation.tables import STS
from hncse.runs import Run
from tests import tiny


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Words for a sweep of one preset and three seeds, two steps each."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(40)), encoding="utf-8")
    return ["--losses", "simcse", "--seeds", "1-3", "--encoder", str(tiny.folder(tmp_path)), "--corpus", str(corpus),
            "--limit", "None", "--set", "batch_size=16", "snapshots=0", f"output={tmp_path / 'runs'}",
            "eval_every=1000"]  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores by hand: 10 × seed on every task."""

    def judge(run: Run, *_: object, **__: object) -> Run:
        score = 10.0 * run.config["seed"]
        run.write("sts", {"tasks": {task: {"all": score} for task in STS}, "avg": score, "split": "test"})
        return run

    monkeypatch.setattr(report, "judge", judge)
    monkeypatch.setattr(report, "judged", lambda run, **_: run.finished and run.has("sts"))
    monkeypatch.setattr(senteval, "sts_present", lambda: True)
    monkeypatch.setattr(_trainer, "_selects_on_dev", lambda config: False)
    monkeypatch.setattr(_trainer._Watch, "_scores", lambda self: {})


def test_the_grid_is_seed_by_seed() -> None:
    configs = sweep.grid(["simcse", "pm-fixed"], [3, 4], limit=100)
    assert [(c.loss, c.seed) for c in configs] == [("simcse", 3), ("pm-fixed", 3), ("simcse", 4), ("pm-fixed", 4)]
    assert all(c.limit == 100 for c in configs)
    with pytest.raises(HncseError, match="Did you mean 'simcse'"):
        sweep.grid(["simsce"], [0])


def test_seeds_are_numbers_and_ranges() -> None:
    assert _sweep_grid.parse_seeds(["0-3", "7", "2", "9,11"]) == [0, 1, 2, 3, 7, 9, 11]
    for word in ("3-1", "a", "-1", "1-"):
        with pytest.raises(HncseError, match="no whole number and no range"):
            _sweep_grid.parse_seeds([word])


def test_options_are_crossed_where_they_change_something() -> None:
    grid = _sweep_grid.parse_grid(["k=3,10", "temperature=0.05,0.1"])
    assert grid == {"k": [3, 10], "temperature": [0.05, 0.1]}
    made = _sweep_grid.crossed(["simcse", "hnm-no-replacement"], [0], ["docstrings"], {"limit": 100}, grid)
    assert [(c.loss, c.temperature, c.loss_options) for c in made] == [
        ("simcse", 0.05, {}),
        ("hnm-no-replacement", 0.05, {"k": 3}),
        ("simcse", 0.1, {}),
        ("hnm-no-replacement", 0.1, {"k": 3}),
        ("hnm-no-replacement", 0.05, {}),  # k = 10 is the preset's own
        ("hnm-no-replacement", 0.1, {}),
    ]
    with_alpha = _sweep_grid.crossed(["hnm-as-released"], [0], ["a.txt", "b.txt"], {}, {"alpha": ["uniform", 0.3]})
    assert [(c.corpus, c.loss_options) for c in with_alpha] == [
        (corpus, {"alpha": alpha}) for corpus in ("a.txt", "b.txt") for alpha in ("uniform", 0.3)
    ]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [(["kk=3"], "Did you mean 'k'"), (["k"], "write NAME=VALUE"), (["seed=1,2"], "give it with --seeds")],
)
def test_words_of_the_grid_are_checked(pairs: list[str], message: str) -> None:
    with pytest.raises(HncseError, match=message):
        _sweep_grid.parse_grid(pairs)


def test_a_value_out_of_range_is_refused_where_it_would_change_nothing() -> None:
    with pytest.raises(HncseError, match="k is 0"):
        _sweep_grid.crossed(["simcse"], [0], ["docstrings"], {}, {"k": [0]})


@pytest.mark.usefixtures("quick")
def test_a_sweep_trains_judges_and_prints_a_table(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments += ["--csv", str(tmp_path / "t.csv")]
    assert sweep.main(arguments) == 0
    out = capsys.readouterr().out
    assert "20.00 ± 24.84" in out and "95 % t-interval over seeds" in out  # t(2) = 4.303, sd 10, n 3
    assert (tmp_path / "t.csv").read_text().count("\n") == 2
    assert not list((tmp_path / "runs").glob("*.claim-*"))
    monkeypatch.setattr(_trainer, "fit", lambda *_: pytest.fail("trained a finished run again"))
    assert sweep.main(arguments) == 0
    assert "3 of 3 runs are done" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_run_that_fails_is_reported_and_the_others_are_made(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = _trainer.fit

    def short_of_memory(config: training.TrainingConfig, *rest: object) -> None:
        if config.seed == 2:
            raise RuntimeError("out of memory")
        fit(config, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(_trainer, "fit", short_of_memory)
    assert sweep.main(arguments) == 1
    seen = capsys.readouterr()
    assert "RuntimeError: out of memory" in seen.err and "2 of 3 runs are done" in seen.err
    assert "1 failed" in seen.err and "20.00 ±" in seen.out


@pytest.mark.usefixtures("quick")
def test_what_others_are_making_is_left_to_them(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = sweep._parser().parse_args(arguments)
    first, second, _ = sweep.plan(sweep._configs(options))
    first.run.path.parent.mkdir()
    claim = {"host": "far", "machine": "elsewhere", "pid": 7, "since": "2026-01-01"}
    for one in (first, second):
        (tmp_path / "runs" / f"{one.run.name}.claim-0").write_text(json.dumps(claim))
    os.utime(tmp_path / "runs" / f"{second.run.name}.claim-0", (0, 0))  # silent for long
    assert sweep.main([*arguments, "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert "made by far, process 7" in listed and "1 made elsewhere, 2 to do" in listed
    assert sweep.main(arguments) == 0
    assert "2 of 3 runs are done" in (err := capsys.readouterr().err) and "1 still being made elsewhere" in err
    assert second.run.finished and not first.run.path.exists()


@pytest.mark.usefixtures("quick")
def test_a_run_goes_where_training_puts_it(arguments: list[str]) -> None:
    (one, *_) = sweep.plan(sweep._configs(sweep._parser().parse_args(arguments)))
    assert sweep.state(one.run) == "to do"
    assert training.train(one.config).path == one.run.path
    assert sweep.state(one.run) == "trained"
    (one.run.path / "result.json").unlink()
    assert sweep.state(one.run) == "interrupted"


@pytest.mark.slow
def test_two_processes_share_a_folder_and_train_nothing_twice(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hncse.sweep", *arguments, "--no-test"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    lines = [line for _, err in ended for line in err.splitlines() if " of 3: " in line]
    made = [line.split()[3] for line in lines if line.endswith(" done")]
    runs = {path.name for path in (tmp_path / "runs").iterdir()}
    assert sorted(made) == sorted(runs) and len(runs) == 3
    assert any("3 of 3 runs are done" in err for _, err in ended)
    assert all(Run(tmp_path / "runs" / name).has("probe") for name in runs)
    assert not any(Run(tmp_path / "runs" / name).has("sts") for name in runs)


def test_without_benchmark_files_nothing_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--corpus", "docstrings"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "senteval.tar" in err


def test_transfer_reads_test_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--transfer", "--no-test"]) == 2
    assert "leave out one" in capsys.readouterr().err
