"""The paper's setting: what it is, that its time is said before it starts, and a toy of it from end to end."""

from __future__ import annotations

import pytest

from hncse import paper
from hncse.errors import HncseError
from hncse.evaluation import transfer
from hncse.evaluation.results import TRANSFER
from tests import tiny
from tests.data import benchmark


def test_the_setting_is_simcses_table_a1():
    assert [(name, *pair) for name, pair in paper.BACKBONES.items()] == [
        ("bert-base-uncased", 64, 3e-5), ("bert-large-uncased", 64, 1e-5), ("roberta-base", 512, 1e-5),
        ("roberta-large", 512, 3e-5),
    ]  # fmt: skip
    base = paper.setting("bert-base-uncased")
    assert (base["temperature"], base["pooling"], base["head"], base["max_length"]) == (0.05, "cls", True, 32)
    with pytest.raises(HncseError, match="Did you mean 'bert-base-uncased'"):
        paper.setting("bert-base-uncasd")


def test_minutes_and_cost_are_of_what_is_left(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(64)), encoding="utf-8")
    changes = {"batch_size": 16, "output": str(tmp_path / "runs")}
    jobs = paper.plan(str(tiny.folder(tmp_path)), (0, 1, 2), ("simcse", "three-view"), str(corpus), None, changes)
    assert [(job.config.seed, job.config.loss) for job in jobs][:3] == [(0, "simcse"), (0, "three-view"), (1, "simcse")]
    assert all(job.config.learning_rate == 3e-5 and job.config.head for job in jobs)
    said = paper.expectation(6, jobs[1:], {"simcse": 600.0, "three-view": 1200.0}, price=6.0)
    assert "6 runs, 1 of them done" in said and "80 minutes (1.3 hours)" in said and "8.00" in said


@pytest.mark.usefixtures("small_probe")
def test_a_toy_of_the_whole_from_end_to_end_and_again(tmp_path, monkeypatch, capsys):
    benchmark.shrink(monkeypatch)
    benchmark.write(tmp_path)
    benchmark.write_transfer(tmp_path)
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(48)), encoding="utf-8")
    words = ["--backbone", str(tiny.folder(tmp_path)), "--corpus", str(corpus)]
    words += ["--presets", "simcse", "hnm-as-released"]
    words += ["--set", "batch_size=16", "eval_every=1000", "snapshots=0", "--seeds", "0", "--price", "1"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    scores = {
        task: {"acc": 50.0 + i, "dev": 60.0} for i, task in enumerate(TRANSFER)
    }  # SentEval's solver takes minutes
    result = {"solver": "senteval", "tasks": scores, "avg": 53.0}
    monkeypatch.setattr(transfer, "evaluate_full", lambda *_, **__: result)
    assert paper.main(words) == 2 and "--cpu" in capsys.readouterr().err
    assert paper.main([*words, "--cpu", "--out", str(tmp_path / "tables.md")]) == 0
    printed = capsys.readouterr()
    assert printed.err.index("expected for what is left") < printed.err.index("1 of 2")
    said = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert said == printed.out
    for name in ("SimCSE (unsup)", "hnm-as-released", "MRPC", "untrained"):
        assert name in said, said
    assert paper.main([*words, "--cpu"]) == 0
    again = capsys.readouterr()
    assert "2 of them done: nothing is left" in again.err and again.err.count("done before") == 2 and again.out == said
