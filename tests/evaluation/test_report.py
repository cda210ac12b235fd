"""Judging a run: before beside after, baselines shared and never lost, and the summary."""

from __future__ import annotations

import pytest

from hncse import SentenceEncoder, TrainingConfig, train
from hncse.data import senteval
from hncse.errors import HncseError
from hncse.evaluation import probe as probe_measure
from hncse.evaluation import report, transfer
from hncse.evaluation.results import transfer_results
from hncse.runs import Run
from tests import tiny
from tests.evaluation.test_tables import fake_run, probe, sts


def test_summary_puts_before_beside_after(tmp_path):
    text = report.run_summary(fake_run(tmp_path / "a", score=61.0, baseline=40.0))
    assert "hnm-no-replacement on kit, pooling cls, 1,000 sentences from wikipedia, seed 0" in text
    assert "step 10 kept (best STS-B dev: 61.50)" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    probe_rows, sts_rows = lines[2:5], lines[7:10]
    assert probe_rows[0] == ["before training", "mean", "30.0 [28.0, 32.0]", "50.0 [40.0, 60.0]", "50.0 [40.0, 60.0]"]
    assert probe_rows[-1][:3] == ["after training", "cls", "45.0 [43.0, 47.0]"]
    assert sts_rows[0][-1] == "40.00" and sts_rows[-1][2] == "58.00" and sts_rows[-1][-1] == "61.00"
    assert "[60.00, 62.00]" in text and "one seed" in text


def test_summary_without_sts_says_how_to_get_it(tmp_path):
    run = fake_run(tmp_path / "a", score=None, baseline=40.0)
    text = report.run_summary(run)
    assert "-p evaluate fetch" in text and "STS12" not in text


@pytest.mark.usefixtures("small_probe")
def test_the_encoder_before_training_is_scored_with_both_raw_poolings_and_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(senteval, "sts_present", lambda *_: False)
    config = TrainingConfig(
        encoder=str(tiny.folder(tmp_path)), pooling="last_two", output=str(tmp_path / "runs"), batch_size=8, snapshots=0
    )
    run = report.judge(train(config, tiny.sentences(24)))
    scores = run.read("baseline")["poolings"]
    assert set(scores) == {"cls", "mean", "last_two"}
    for pooling, measured in scores.items():
        alone = probe_measure.evaluate(SentenceEncoder.from_pretrained(config.encoder, pooling))
        assert measured["probe"] == alone, pooling


def test_a_baseline_is_taken_from_a_run_that_began_with_the_same_encoder(tmp_path):
    first = fake_run(tmp_path / "a", baseline=40.0)
    second = fake_run(tmp_path / "b", seed=1)
    report.judge(second, "probe")
    assert second.read("baseline")["poolings"] == first.read("baseline")["poolings"]
    assert "after training" in (second.path / "summary.md").read_text()


def test_a_baseline_of_another_run_completes_and_never_replaces(tmp_path):
    transfer = {"avg": 77.0, "tasks": {"MR": {"acc": 71.5}}}
    fake_run(tmp_path / "a", baseline=40.0)
    second = fake_run(tmp_path / "b", seed=1)
    mine = {"encoder": "kit", "encoder_fingerprint": "weights"}
    second.write("baseline", mine | {"poolings": {"cls": {"transfer": transfer, "sts": sts(41.0)}}})
    report.judge(second, "probe")
    poolings = second.read("baseline")["poolings"]
    assert poolings["cls"]["transfer"] == transfer and poolings["cls"]["sts"]["avg"] == 41.0  # its own
    assert poolings["cls"]["probe"]["spearman"] == 30.0 and poolings["mean"]["sts"]["avg"] == 40.0  # the other's
    report.judge(second, "probe")
    assert second.read("baseline")["poolings"] == poolings


def test_an_encoder_that_changed_under_its_name_is_not_compared(tmp_path):
    run = fake_run(tmp_path / "a")  # its fingerprint, "weights", is nobody's
    with pytest.raises(HncseError, match="began with another 'kit' than the one here now"):
        report.judge(run, "probe")
    with pytest.raises(HncseError, match="unknown value of evaluate 'prob'. Did you mean 'probe'"):
        report.judge(run, "prob")


def test_results_of_another_probe_are_measured_again_and_sts_is_not(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "a", baseline=40.0)
    stale = run.read("probe") | {"fingerprint": "of an older probe"}
    run.write("probe", stale)
    baseline = run.read("baseline")
    baseline["poolings"]["mean"]["probe"] = stale
    run.write("baseline", baseline | {"encoder_fingerprint": "weights"})
    measured = []
    monkeypatch.setattr(report.probe, "evaluate", lambda encoder: measured.append(encoder.pooling) or probe(12.0))
    monkeypatch.setattr(report.sts, "evaluate_full", lambda *_, **__: pytest.fail("STS was measured again"))
    monkeypatch.setattr(Run, "load_encoder", lambda self: tiny.encoder())
    monkeypatch.setattr(report, "_untrained", lambda run: tiny.encoder())
    monkeypatch.setattr(report.senteval, "sts_present", lambda: True)
    report.judge(run, show_progress=False)
    assert measured == ["cls", "mean"]  # the trained encoder, and of the baseline the stale half alone
    assert run.read("probe")["spearman"] == 12.0 and run.read("sts")["avg"] == 60.0
    assert run.read("baseline")["poolings"]["mean"]["probe"]["spearman"] == 12.0
    assert run.read("baseline")["poolings"]["cls"]["probe"]["spearman"] == 30.0


def test_transfer_results_of_two_solvers_stand_beside_each_other(tmp_path, monkeypatch):
    def result(solver: str, score: float) -> dict:
        return {"solver": solver, "avg": score, "tasks": {task: {"acc": score} for task in report.TRANSFER}}

    run, other = (fake_run(tmp_path / name, seed=seed, baseline=40.0) for seed, name in enumerate("ab"))
    quick = {name: value for name, value in result("fast", 78.0).items() if name != "solver"}  # an older file
    run.write("transfer", quick)
    made = []
    monkeypatch.setattr(transfer, "evaluate_full", lambda *a, **_: made.append(a[2]) or result(a[2], 77.0))
    monkeypatch.setattr(Run, "load_encoder", lambda self: tiny.encoder())
    monkeypatch.setattr(report, "_untrained", lambda run: tiny.encoder())
    report.judge_transfer(run)
    assert made == ["senteval", "senteval"] and run.read("transfer") == quick
    assert report.transfer_of(transfer_results(run), "senteval") == result("senteval", 77.0)
    assert report.transfer_of(transfer_results(run), "fast") == quick
    assert report.transfer_of(run.read("baseline")["poolings"]["cls"], "senteval") == result("senteval", 77.0)
    report.judge_transfer(run)
    assert len(made) == 2  # what is there stays
    summary = (run.path / "summary.md").read_text()
    assert "solver senteval" in summary and "solver fast" in summary
    report.judge_transfer(other)
    assert len(made) == 3 and other.read("transfer")["solver"] == "senteval"  # before: taken from the first run
    assert report.judged(other, test=False, transfer=True)


def test_a_baseline_with_transfer_alone_is_summarised(tmp_path):
    run = fake_run(tmp_path / "a", score=None)
    run.write("baseline", {"encoder": "kit", "poolings": {"cls": {"transfer": {"avg": 1.0, "tasks": {}}}}})
    assert "after training" in report.run_summary(run)
