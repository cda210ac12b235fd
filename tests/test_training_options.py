"""Options of a training: the same bytes where nothing may change, adapters, early stopping, who is told."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest
import torch
from safetensors.torch import load_file

from hncse import SentenceEncoder, runs
from hncse.data import senteval
from hncse.errors import HncseError
from hncse.training import TrainingConfig, lora, train, trainer
from tests import tiny

TEXTS = tiny.sentences(64)


@pytest.fixture(scope="module")
def base(quick):
    return quick | {"loss": "simcse", "learning_rate": 1e-2}


def weights(run: runs.Run) -> dict[str, torch.Tensor]:
    return load_file(run.encoder_path / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_memory_saved_and_helpers_change_nothing(base):
    plain = train(TrainingConfig(**base, name="plain"), TEXTS)
    lean = train(TrainingConfig(**base, name="lean", num_workers=1, gradient_checkpointing=True), TEXTS)
    assert equal(weights(plain), weights(lean)) and plain.config["key"] != lean.config["key"]
    assert TrainingConfig(num_workers=3).deciding() == TrainingConfig().deciding()


@pytest.mark.parametrize("targets", [None, ["query", "value"]])
def test_adapters_are_saved_merged_and_loaded(targets, base, monkeypatch):
    name = f"lora{len(targets or [])}"
    options = {"lora": 2, "lora_alpha": 8.0, "lora_targets": targets, "name": name, "head": False}
    seen = {}
    finish = trainer._finish

    def spy(its, watch):
        seen.update({n: (p.requires_grad, p.numel()) for n, p in watch.encoder.backbone.named_parameters()})
        finish(its, watch)

    monkeypatch.setattr(trainer, "_finish", spy)
    run = train(TrainingConfig(**base, **options), TEXTS)
    layers = {n.partition(".lora_A")[0].rpartition(".")[2] for n in seen if "lora_A" in n}
    assert layers == ({"query", "value"} if targets else {"query", "key", "value", "dense"})
    assert {n for n, (trained, _) in seen.items() if trained} == {n for n in seen if "lora_" in n}
    assert (run.path / "adapters" / "adapter_model.safetensors").is_file()
    before = SentenceEncoder.from_pretrained(base["encoder"])
    z = before.encode(TEXTS[:8], show_progress=False)
    after = run.load_encoder().encode(TEXTS[:8], show_progress=False)
    assert abs(z - after).max() > 0.05  # it was trained
    loaded = lora.load(before, run.path / "adapters").encode(TEXTS[:8], show_progress=False)
    assert abs(loaded - after).max() < 1e-5
    with pytest.raises(HncseError, match="no adapters"):
        lora.load(before, run.encoder_path)
    with pytest.raises(HncseError, match="do not fit|another encoder"):
        lora.load(tiny.encoder(layers=1), run.path / "adapters")


def test_adapters_resume_to_the_same_bytes_and_the_best_are_kept(base, monkeypatch):
    monkeypatch.setattr(senteval, "sts_present", lambda: True)
    monkeypatch.setattr(trainer.Watch, "_scores", lambda self: {"probe": 0.0, "stsb_dev": float(len(self.run.history))})
    settings = base | {"lora": 2, "selection": "stsb-dev"}
    whole = train(TrainingConfig(**settings, name="whole"), TEXTS)
    with tiny.power_cut(monkeypatch, 3):
        train(TrainingConfig(**settings, name="again"), TEXTS)
    again = train(TrainingConfig(**settings, name="again"), TEXTS)
    assert equal(weights(whole), weights(again)) and whole.result["kept_step"] == 4


@pytest.mark.parametrize(("scores", "steps", "kept"), [([1, 3, 2, 3, 9], 6, 2), ([9, 1, 2, 3, 4], 8, 8)])
def test_training_stops_when_nothing_becomes_better(scores, steps, kept, base, monkeypatch):
    monkeypatch.setattr(senteval, "sts_present", lambda: True)
    told = iter(scores)
    monkeypatch.setattr(trainer.Watch, "_scores", lambda self: {"probe": 0.0, "stsb_dev": float(next(told))})
    settings = base | {"selection": "stsb-dev", "epochs": 2, "patience": 2, "name": f"stop{steps}", "snapshots": 2}
    run = train(TrainingConfig(**settings), TEXTS)
    assert (run.result["steps"], run.result["kept_step"]) == (steps, kept)
    assert run.result.get("planned_steps") == (8 if steps < 8 else None)
    assert [step for step, _ in run.snapshots()] == [0, steps]


def test_reports_go_where_they_are_asked_for(base, monkeypatch, tmp_path):
    written: dict[str, list] = {}

    class SummaryWriter:
        def __init__(self, log_dir):
            self.lines = written.setdefault(str(log_dir), [])

        def add_scalar(self, name, value, step):
            self.lines.append((name, step))

        add_text = flush = close = lambda self, *_: None

    with pytest.raises(HncseError, match="pip install wandb"):
        TrainingConfig(report_to=["wandb"])
    with pytest.raises(HncseError, match="Did you mean 'tensorboard'"):
        TrainingConfig(report_to="tensorbord")
    fake = types.ModuleType("tensorboardX")
    fake.SummaryWriter = SummaryWriter
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "tensorboardX" else find(name))
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    integrations = sys.modules[trainer.TensorBoardCallback.__module__]
    monkeypatch.setattr(integrations, "is_tensorboard_available", lambda: True)
    run = train(TrainingConfig(**base, name="told", report_to="tensorboard"), TEXTS)
    assert "report_to" not in TrainingConfig(report_to="tensorboard").deciding()
    (folder, lines), *_ = written.items()
    assert folder == str(run.path / "tensorboard")
    assert [line["step"] for line in run.history if "loss" in line] == [1, 2, 3, 4]
    assert {("train/loss", 1), ("train/case_a", 4), ("train/probe", 2), ("train/probe", 4)} <= set(lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": 0}, "at least 1"), ({"lora_alpha": 2.0}, "give their rank"), ({"patience": 2}, "selection='last'"),
        ({"lora": 2, "lora_targets": "querry"}, "Did you mean 'query'"), ({"num_workers": -1}, "from 0 to 256"),
        ({"patience": 1, "selection": "auto"}, "not here"),
    ],
)  # fmt: skip
def test_options_that_ask_for_nothing_are_refused_before_anything_is_written(
    changes, said, base, tmp_path, monkeypatch
):
    monkeypatch.setattr(senteval, "sts_present", lambda: False)
    with pytest.raises(HncseError, match=said):
        train(TrainingConfig(**base | {"output": str(tmp_path / "runs")} | changes), TEXTS)
    assert not (tmp_path / "runs").exists()


def test_a_missing_peft_is_named(base, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(HncseError, match=r"pip install 'hncse\[lora\]'"):
        train(TrainingConfig(**base | {"output": str(tmp_path / "runs")}, lora=4), TEXTS)
    assert not (tmp_path / "runs").exists()
