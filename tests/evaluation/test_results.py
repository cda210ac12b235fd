"""Results as a CSV and back: tables and statistics are the same from either."""

from __future__ import annotations

import pandas as pd
import pytest

from hncse.errors import HncseError
from hncse.evaluation import results, tables
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


def read_back(tmp_path, runs) -> pd.DataFrame:
    path = tmp_path / "results.csv"
    path.write_text(results.to_csv(results.from_runs(runs)))
    return results.from_csv(path)


def scores(frame, measure: str, solver: str = "senteval") -> dict[tuple[str, int], float]:
    rows = results.named(results.select(frame, measure, solver))
    return {(name, seed): value for name, seed, value in zip(rows["name"], rows["seed"], rows["value"], strict=True)}


def one(frame, measure: str) -> float:
    (value,) = frame.loc[(frame["kind"] == "trained") & (frame["measure"] == measure), "value"]
    return value


def test_a_row_is_a_run_and_a_measure(sweep):
    frame = results.from_runs(sweep)
    assert not frame.duplicated(["kind", "run", "pooling", "solver", "measure"]).any()
    (row,) = frame[(frame["run"] == "b1") & (frame["measure"] == "STS12")].to_dict("records")
    assert (row["method"], row["loss"], row["options"], row["seed"], row["solver"], row["value"]) == (
        "hnm-no-replacement (k=5, alpha=uniform)", "hnm-no-replacement", "k=5, alpha=uniform", 1, "", 60.0
    )  # fmt: skip
    assert frame[frame["kind"] == "trained"].groupby("group")["seed"].nunique().tolist() == [3, 3]
    assert frame.loc[frame["kind"] == "trained", "training"].nunique() == 1
    assert frame.loc[frame["kind"] == "untrained", "pooling"].unique().tolist() == ["cls", "mean"]


def test_each_file_of_a_run_is_read_once(sweep, monkeypatch):
    read = []
    whole = Run.read
    monkeypatch.setattr(Run, "read", lambda self, what: read.append((self.name, what)) or whole(self, what))
    frame = results.from_runs(sweep)
    tables.everything(frame)
    once = [(name, what) for name, what in read if what != "result"]  # which says as well whether a run is finished
    assert len(once) == len(set(once)) and len(read) - len(once) <= 2 * len(sweep)
    assert {name for name, _ in read} == {run.name for run in sweep}


def test_tables_and_statistics_are_the_same_from_a_csv(tmp_path, sweep):
    frame = results.from_runs(sweep)
    again = read_back(tmp_path, sweep)
    assert set(again["run"]) - {""} == {run.name for run in sweep}
    for make in (tables.sts_table, lambda f, published: tables.transfer_table(f, published, solver="fast")):
        one, other = make(frame, published=False), make(again, published=False)
        assert (one["kind"] == "untrained").sum() == (other["kind"] == "untrained").sum()
        for column in ("method", "seeds", "avg", "half"):
            assert one[column].tolist() == pytest.approx(other[column].tolist(), nan_ok=True)
    for measure in ("sts", "transfer", "probe", "probe-close", "stsb-dev", "STS12"):
        assert scores(frame, measure, "fast") == pytest.approx(scores(again, measure, "fast"))
        assert len(scores(frame, measure, "fast")) == 6
    assert "hnm-no-replacement (k=5, alpha=uniform)" in set(again["method"])


def test_a_csv_of_a_csv_is_the_same_csv(tmp_path, sweep):
    first = results.to_csv(results.from_runs(sweep))
    assert results.to_csv(read_back(tmp_path, sweep)) == first
    assert results.to_csv(results.from_runs(sweep[::-1])) == first  # whatever order they were made in
    assert first.splitlines()[0] == ",".join(results.COLUMNS)


def test_the_csv_says_whose_transfer_results_it_holds(tmp_path, sweep):
    path = tmp_path / "results.csv"
    sweep[0].write("transfer_senteval", transfer(77.0) | {"solver": "senteval"})
    read_back(tmp_path, sweep)
    rows = pd.read_csv(path).set_index("run")
    assert rows.loc["a0", ["transfer", "transfer_solver"]].tolist() == [77.0, "senteval"]
    assert rows.loc["a1", ["transfer", "transfer_solver"]].tolist() == [80.0, "fast"]
    rows.drop(columns="transfer_solver").to_csv(path)  # as files were before there was that column
    assert scores(results.from_csv(path), "transfer") == {}
    assert len(scores(results.from_csv(path), "transfer", "fast")) == 6


def test_the_probe_table_works_from_a_csv(tmp_path, sweep):
    table = tables.probe(read_back(tmp_path, sweep))
    assert [row["method"] for row in table.rows].count("before training") == 1
    (ours, *_) = table.rows
    assert ours["both"] == "50.0 ± 0.0" and ours["seeds"] == "3"


def test_cases_are_summarised_from_the_history(tmp_path):
    shares = [(0.5, 0.3, 0.2), (0.1, 0.9, 0.0), (0.0, 1.0, 0.0)]
    history = [{"step": i, "case_a": a, "case_b": b, "case_c": c} for i, (a, b, c) in enumerate(shares)]
    frame = read_back(tmp_path, [recordable(tmp_path / "a", history=[*history, {"step": 3, "stsb_dev": 70.0}])])
    assert [one(frame, f"case_a_{when}") for when in ("first", "mean", "last")] == [0.5, 0.2, 0.0]
    assert one(frame, "case_b_mean") == 0.7333


def test_the_dev_score_of_a_run_that_kept_its_last_weights_is_the_last(tmp_path):
    run = recordable(tmp_path / "a", history=[{"step": 1, "stsb_dev": 70.0}, {"step": 2, "stsb_dev": 71.0}])
    assert one(results.from_runs([run]), "stsb-dev") == 61.5  # the kept step's, from result.json
    run.write("result", run.result | {"stsb_dev": None})
    assert one(results.from_runs([run]), "stsb-dev") == 71.0
    assert one(read_back(tmp_path, [run]), "stsb-dev") == 71.0


def test_unfinished_runs_are_left_out_and_missing_scores_stay_missing(tmp_path):
    whole, part = recordable(tmp_path / "a", score=None), recordable(tmp_path / "b", seed=1)
    (part.path / "result.json").unlink()
    frame = read_back(tmp_path, [whole, part])
    assert set(frame["run"]) == {"", "a"}
    assert scores(frame, "sts") == {} and list(scores(frame, "probe").values()) == [45.0]


def test_a_csv_is_read_with_a_column_more_or_fewer(tmp_path, sweep):
    whole = read_back(tmp_path, sweep)
    frame = pd.read_csv(tmp_path / "results.csv", dtype=str)
    other = tmp_path / "other.csv"
    frame.assign(carbon="1.5").drop(columns=["case_a_mean", "precision", "STS14", "torch"]).to_csv(other, index=False)
    with pytest.warns(UserWarning, match="carbon"):
        again = results.from_csv(other)
    assert set(again["run"]) == set(whole["run"]) and set(again["group"]) == set(whole["group"])
    assert scores(again, "sts") == scores(whole, "sts")
    assert scores(again, "STS14") == {} and tables.sts_table(again, False)["STS14"].isna().all()
    assert [table.name for table in tables.everything(again)] == [table.name for table in tables.everything(whole)]


def test_what_is_no_such_csv_is_said(tmp_path, sweep):
    with pytest.raises(HncseError, match="is not there"):
        results.from_csv(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(HncseError, match="no table of results: it has no column kind"):
        results.from_csv(tmp_path / "other.csv")
    read_back(tmp_path, sweep)
    for column, text, message in (
        ("STS12", "high", "STS12: 'high' is no number"),
        ("parameters", "{", "parameters, options, limit or seed are damaged"),
        ("kind", "tried", "kind is 'tried'"),
    ):
        frame = pd.read_csv(tmp_path / "results.csv", dtype=str, keep_default_na=False)
        frame.loc[3, column] = text
        frame.to_csv(tmp_path / "other.csv", index=False)
        with pytest.raises(HncseError, match=f"row 5.*{message}"):
            results.from_csv(tmp_path / "other.csv")
    with pytest.raises(HncseError, match="Did you mean 'sweep'"):
        results.recorded("sweeps")


def test_a_sample_drawn_with_the_seed_is_one_group_and_tables_say_so(tmp_path) -> None:
    runs = [
        recordable(tmp_path / f"{loss}{seed}{varied}", seed=seed, loss=loss, sample_seed=seed if varied else None,
                   fingerprint=f"data{seed}" if varied else "data", score=60.0 + seed)
        for loss in ("simcse", "hnm-no-replacement") for seed in range(3) for varied in (True, False)
    ]  # fmt: skip
    frame = results.from_runs(runs)
    varied = frame[frame["sample"] == results.VARIED]
    assert frame["group"].nunique() == 4 + 2 and varied["group"].nunique() == 2  # and two untrained
    assert len(results.scopes(frame)) == 2
    assert "drawn anew with each seed" in tables.sts(varied).caption
    assert "The same training sentences" in tables.sts(frame[frame["sample"] == "data"]).caption
    assert "Some rows" in results.sampled(frame)
    path = tmp_path / "all.csv"
    path.write_text(results.to_csv(frame), encoding="utf-8")
    assert set(results.from_csv(path)["sample"]) == set(frame["sample"]) and "data0" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", results.RECORDED)
def test_recorded_results_have_each_method_once_a_seed(name):
    frame = results.recorded(name)
    runs = frame[frame["kind"] == "trained"].drop_duplicates(["run", "key"])
    assert len(runs) >= 6 and not runs.duplicated(["group", "seed"]).any()
    assert {"sts", "stsb-dev"} & set(frame["measure"])


def test_the_command_writes_a_csv(tmp_path, sweep, capsys):
    path = tmp_path / "out" / "sweep.csv"
    assert results.main(["--runs", str(tmp_path), "--csv", str(path)]) == 0
    assert "6 runs in" in capsys.readouterr().err and len(scores(results.from_csv(path), "sts")) == 6
    assert results.main(["--runs", str(tmp_path / "nowhere")]) == 2
    assert "no finished run" in capsys.readouterr().err
