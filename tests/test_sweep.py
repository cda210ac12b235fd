"""The sweep: the grid's order, finished runs kept, one table with intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from hncse import _trainer, sweep
from hncse.data import senteval
from hncse.errors import HncseError
from hncse.evaluation import report
from hncse.evaluation.tables import STS
from hncse.runs import Run
from tests import tiny


def test_the_grid_is_seed_by_seed() -> None:
    configs = sweep.grid(["simcse", "pm-fixed"], [3, 4], limit=100)
    assert [(c.loss, c.seed) for c in configs] == [("simcse", 3), ("pm-fixed", 3), ("simcse", 4), ("pm-fixed", 4)]
    assert all(c.limit == 100 for c in configs)
    with pytest.raises(HncseError, match="Did you mean 'simcse'"):
        sweep.grid(["simsce"], [0])


def test_a_sweep_trains_judges_and_prints_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(40)), encoding="utf-8")

    def judged(run: Run, **_: object) -> Run:  # scores by hand: 10 × seed on every task
        score = 10.0 * run.config["seed"]
        run.write("sts", {"tasks": {task: {"all": score} for task in STS}, "avg": score, "split": "test"})
        return run

    monkeypatch.setattr(report, "judge", judged)
    monkeypatch.setattr(senteval, "sts_present", lambda: True)
    monkeypatch.setattr(_trainer, "_selects_on_dev", lambda config: False)
    monkeypatch.setattr(_trainer._Watch, "_scores", lambda self: {})
    arguments = ["--losses", "simcse", "--seeds", "1", "2", "3", "--encoder", str(tiny.folder(tmp_path)),
                 "--corpus", str(corpus), "--limit", "None", "--csv", str(tmp_path / "t.csv"), "--set",
                 "batch_size=16", "snapshots=0", f"output={tmp_path / 'runs'}", "eval_every=1000"]  # fmt: skip
    assert sweep.main(arguments) == 0
    out = capsys.readouterr().out
    assert "20.00 ± 24.84" in out and "95 % t-interval over seeds" in out  # t(2) = 4.303, sd 10, n 3
    assert (tmp_path / "t.csv").read_text().count("\n") == 2
    monkeypatch.setattr(_trainer, "fit", lambda *_: pytest.fail("trained a finished run again"))
    assert sweep.main(arguments) == 0


def test_without_benchmark_files_nothing_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--corpus", "docstrings"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "senteval.tar" in err
