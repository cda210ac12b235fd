"""The probe over seeds: means and intervals by hand, stale results left out."""

from __future__ import annotations

import pytest

from hncse.data import probe as data
from hncse.errors import HncseError
from hncse.evaluation import probe_table
from hncse.evaluation.tables import t_interval
from tests.evaluation.test_tables import fake_run, probe


def scores(value: float) -> dict:
    rate = {"value": value, "interval": None, "n": 9}
    shares = dict.fromkeys(("close", "far", "overall", "both"), rate)
    return probe(value + 1) | {"triplet_accuracy": shares, "phenomena": {"negation": shares}}


def made(tmp_path, name: str, value: float, **settings):
    run = fake_run(tmp_path / name, baseline=40.0, **settings)
    run.write("probe", scores(value))
    baseline = run.read("baseline")
    baseline["poolings"]["cls"]["probe"] = scores(20.0)
    run.write("baseline", baseline)
    return run


def test_means_over_seeds_and_the_row_before(tmp_path):
    runs = [made(tmp_path, f"a{seed}", 50.0 + 3 * seed, seed=seed) for seed in range(3)]
    runs.append(made(tmp_path, "b", 45.0, loss="simcse"))
    table = probe_table.rows(runs)
    assert [row["method"] for row in table] == ["before training", "simcse", "hnm-no-replacement"]
    assert table[0]["close"][0] == 20.0 and table[0]["spearman"][0] == 21.0
    assert table[2]["close"] == pytest.approx(t_interval([50.0, 53.0, 56.0])) and table[2]["seeds"] == 3
    text = probe_table.to_markdown(table)
    assert "53.0 ± 7.5" in text and " 45.0 |" in text
    narrow = probe_table.rows(runs, "negation")
    assert "spearman" not in narrow[2] and narrow[2]["far"][0] == 53.0
    with pytest.raises(HncseError, match="Did you mean 'negation'"):
        probe_table.rows(runs, "negations")


def test_methods_that_differ_in_training_alone_are_told_apart(tmp_path):
    runs = [made(tmp_path, f"t{t}", 50.0 + t, temperature=t) for t in (0.1, 0.2)]
    runs.append(made(tmp_path, "b", 45.0, loss="simcse", temperature=0.1))
    names = [row["method"] for row in probe_table.rows(runs)[1:]]
    assert names == ["simcse", "hnm-no-replacement, temperature=0.1", "hnm-no-replacement, temperature=0.2"]


def test_results_on_another_probe_are_left_out(tmp_path, monkeypatch, capsys):
    run = made(tmp_path, "a", 50.0)
    run.write("probe", scores(50.0) | {"fingerprint": "another"})
    assert probe_table.rows([run]) == []
    (run.path / "history.jsonl").write_text("")
    assert probe_table.main([str(run.path)]) == 2
    assert "no run has a result on the embedded probe" in capsys.readouterr().err
    run.write("probe", scores(50.0))
    assert probe_table.main([str(run.path)]) == 0
    assert f"Probe, {len(data.load())} groups" in capsys.readouterr().out
