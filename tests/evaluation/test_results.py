"""Results as a CSV and back: tables and statistics are the same from either."""

from __future__ import annotations

import math

import pytest

from hncse.errors import HncseError
from hncse.evaluation import probe_table, results, statistics, tables
from hncse.runs import Run
from tests.evaluation.test_tables import fake_run


def transfer(score: float) -> dict:
    return {"split": "test", "tasks": {task: {"acc": score, "dev": 0.0} for task in tables.TRANSFER}, "avg": score}


def recordable(path, *, transfer_score=None, history=(), versions=None, **settings) -> Run:
    """`fake_run` with what a CSV needs besides."""
    run = fake_run(path, baseline=40.0, **settings)
    config = run.config
    config["versions"] = versions or {"hncse": "0.1.0", "torch": "2.13"}
    config["key"] = f"key of {path.name}"
    run.write("config", config)
    shares = {name: {"value": 50.0} for name in ("overall", "close", "far", "both")}
    content = run.read("probe") | {"triplet_accuracy": shares}
    run.write("probe", content)
    before = run.read("baseline")
    for scores in before["poolings"].values():
        scores["probe"] = content
    run.write("baseline", before)
    if transfer_score is not None:
        run.write("transfer", transfer(transfer_score))
    for line in history:
        run.log(line)
    return run


@pytest.fixture
def sweep(tmp_path) -> list[Run]:
    made = []
    for seed in range(3):
        made.append(recordable(tmp_path / f"a{seed}", seed=seed, loss="simcse", score=60.0 + seed, transfer_score=80.0))
        made.append(
            recordable(tmp_path / f"b{seed}", seed=seed, score=61.5 + 1.5 * seed, transfer_score=79.0 + seed / 10,
                       loss_options={"k": 5, "alpha": "uniform"})
        )  # fmt: skip
    return made


def read_back(tmp_path, runs) -> list[results.Recorded]:
    path = tmp_path / "results.csv"
    path.write_text(results.to_csv(results.rows(runs)))
    return results.read(path)


def test_tables_and_statistics_are_the_same_from_a_csv(tmp_path, sweep):
    again = read_back(tmp_path, sweep)
    assert len(again) == 6 and all(run.finished for run in again)
    for make in (tables.sts_table, tables.transfer_table):
        one, other = make(sweep, published=False), make(again, published=False)
        assert (one["kind"] == "untrained").sum() == (other["kind"] == "untrained").sum()
        for column in ("method", "seeds", "avg", "half"):
            assert one[column].tolist() == pytest.approx(other[column].tolist(), nan_ok=True)
    for measure in ("sts", "transfer", "probe", "probe-close", "stsb-dev", "STS12"):
        assert statistics.run_scores(sweep, measure) == statistics.run_scores(again, measure)
    assert "hnm-no-replacement (k=5, alpha=uniform)" in {tables.method_name(r.config["parameters"]) for r in again}


def test_a_csv_of_recorded_runs_is_the_same_csv(tmp_path, sweep):
    again = read_back(tmp_path, sweep)
    first = results.to_csv(results.rows(sweep))
    assert [line for line in results.to_csv(results.rows(again)).splitlines() if line.startswith("trained")] == [
        line for line in first.splitlines() if line.startswith("trained")
    ]
    assert results.to_csv(results.rows(sweep[::-1])) == first  # whatever order they were made in


def test_the_probe_table_works_from_a_csv(tmp_path, sweep):
    rows = probe_table.rows(read_back(tmp_path, sweep))
    assert [row["method"] for row in rows].count("before training") == 1
    assert rows[-1]["both"] == (50.0, 0.0) and rows[-1]["seeds"] == 3


def test_cases_are_summarised_from_the_history(tmp_path):
    shares = [(0.5, 0.3, 0.2), (0.1, 0.9, 0.0), (0.0, 1.0, 0.0)]
    history = [{"step": i, "case_a": a, "case_b": b, "case_c": c} for i, (a, b, c) in enumerate(shares)]
    (run,) = read_back(tmp_path, [recordable(tmp_path / "a", history=[*history, {"step": 3, "stsb_dev": 70.0}])])
    assert (run.row["case_a_first"], run.row["case_a_mean"], run.row["case_a_last"]) == ("0.5", "0.2", "0.0")
    assert run.row["case_b_mean"] == "0.7333"


def test_the_dev_score_of_a_run_that_kept_its_last_weights_is_the_last(tmp_path):
    run = recordable(tmp_path / "a", history=[{"step": 1, "stsb_dev": 70.0}, {"step": 2, "stsb_dev": 71.0}])
    assert results.dev_score(run) == 61.5  # the kept step's, from result.json
    run.write("result", run.result | {"stsb_dev": None})
    assert results.dev_score(run) == 71.0
    assert read_back(tmp_path, [run])[0].result["stsb_dev"] == 71.0


def test_unfinished_runs_are_left_out_and_missing_scores_stay_missing(tmp_path):
    whole, part = recordable(tmp_path / "a", score=None), recordable(tmp_path / "b", seed=1)
    (part.path / "result.json").unlink()
    (again,) = read_back(tmp_path, [whole, part])
    assert not again.has("sts") and again.has("probe") and math.isclose(again.read("probe")["spearman"], 45.0)
    with pytest.raises(HncseError, match="recorded without sts"):
        again.read("sts")


def test_what_is_no_such_csv_is_said(tmp_path):
    with pytest.raises(HncseError, match="is not there"):
        results.read(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(HncseError, match="no table of results: it has no column"):
        results.read(tmp_path / "other.csv")


def test_a_csv_is_read_with_a_column_more_or_fewer(tmp_path, sweep):
    import pandas as pd

    whole = read_back(tmp_path, sweep)
    frame = pd.read_csv(tmp_path / "results.csv", dtype=str)
    other = tmp_path / "other.csv"
    frame.assign(carbon="1.5").drop(columns=["case_a_mean", "precision", "STS14", "torch"]).to_csv(other, index=False)
    again = results.read(other)
    assert [run.name for run in again] == [run.name for run in whole]
    assert statistics.run_scores(again, "sts") == statistics.run_scores(whole, "sts")
    assert statistics.run_scores(again, "STS14") == {}
    frame.drop(columns="seed").to_csv(other, index=False)
    with pytest.raises(HncseError, match="no column seed"):
        results.read(other)


def test_the_command_writes_a_csv(tmp_path, sweep, capsys):
    path = tmp_path / "out" / "sweep.csv"
    assert results.main(["--runs", str(tmp_path), "--csv", str(path)]) == 0
    assert "6 runs in" in capsys.readouterr().err and len(results.read(path)) == 6
    assert results.main(["--runs", str(tmp_path / "nowhere")]) == 2
    assert "no finished run" in capsys.readouterr().err
