"""Which sentences share a batch: every one once an epoch, near ones together, the same after a resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from hncse.data import corpora
from hncse.errors import HncseError
from hncse.runs import Run
from hncse.training import TrainingConfig, train, trainer
from hncse.training.batches import Families, Neighbours
from tests import tiny
from tests.test_training import cut, everything, weights

TEXTS = tiny.sentences(96)
FAMILY = np.arange(96) // 5
POINTS = np.random.default_rng(0).standard_normal((203, 6)).astype(np.float32)
SAMPLERS = [lambda seed: Families(FAMILY.tolist(), seed), lambda seed: Neighbours(POINTS, 16, seed)]


def orders(sampler: Families | Neighbours, epochs: int = 2) -> list[list[int]]:
    result = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        result.append(list(sampler))
    return result


@pytest.mark.parametrize("make", SAMPLERS)
def test_every_row_comes_once_an_epoch_in_an_order_of_the_seed(make):
    first, second = orders(make(3))
    assert sorted(first) == sorted(second) == list(range(len(make(3))))
    assert first != second
    assert orders(make(3)) == [first, second] and orders(make(4)) != [first, second]


def test_a_family_stays_together_and_in_random_order():
    (order,) = orders(Families(FAMILY.tolist(), 0), 1)
    families = FAMILY[order]
    assert (np.diff(families) != 0).sum() == FAMILY[-1]
    assert (np.diff(order)[np.diff(families) == 0] != 1).any()


def test_batches_of_neighbours_are_nearer_than_chance():
    order = np.array(orders(Neighbours(POINTS, 16, 0), 1)[0])
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)

    def hardest(rows: np.ndarray) -> float:
        batches = rows[:192].reshape(12, 16)
        similarity = unit[batches] @ unit[batches].transpose(0, 2, 1) - 2 * np.eye(16)  # (batches, 16, 16)
        return float(similarity.max(axis=2).mean())

    assert hardest(order) > hardest(np.arange(203)) + 0.1
    few = Neighbours(np.zeros((5, 2), np.float32), 16, 0)  # less than a batch, and no directions
    assert sorted(few) == [0, 1, 2, 3, 4]


def test_two_processes_share_the_batch_that_one_has():
    sampler = Neighbours(POINTS, 16, 0)
    whole = list(BatchSampler(sampler, 16, drop_last=True))
    shards = [list(BatchSamplerShard(BatchSampler(sampler, 8, drop_last=True), 2, rank)) for rank in range(2)]
    assert [left + right for left, right in zip(*shards, strict=True)] == whole


def config(tmp_path: Path, **changes: object) -> TrainingConfig:
    base = {
        "encoder": str(tiny.folder(tmp_path)), "loss": "simcse", "output": str(tmp_path / "runs"), "batch_size": 16,
        "learning_rate": 1e-3, "log_every": 1, "eval_every": 4, "snapshots": 0, "max_length": 16, "epochs": 2.0,
    }  # fmt: skip
    return TrainingConfig.from_dict(base | changes)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.Watch, "_scores", lambda self: {"probe": 0.0})


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of the tiny encoder's words that has families."""
    corpus = dataclasses.replace(corpora.from_sentences(TEXTS), families=FAMILY.tolist())
    monkeypatch.setattr(corpora, "from_sentences", lambda *_, **__: corpus)


@pytest.mark.usefixtures("blind", "families")
@pytest.mark.parametrize("batches", ["families", "neighbours"])
def test_a_run_resumed_in_its_second_epoch_ends_in_the_same_bytes(
    batches: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def hard(name: str, how: str = batches) -> TrainingConfig:
        return config(tmp_path, batches=how, name=name)

    whole, shuffled = train(hard("whole"), TEXTS), train(hard("shuffled", "shuffled"), TEXTS)
    assert any(not np.array_equal(tensor, weights(shuffled)[name]) for name, tensor in weights(whole).items())
    run: Run = cut(monkeypatch, 10, hard("cut"))
    assert not run.finished and run.checkpoints.exists()
    assert everything(train(hard("cut"), TEXTS)) == everything(whole)


def test_the_default_changes_no_key_and_what_cannot_be_is_refused(tmp_path):
    assert "batches" not in config(tmp_path).deciding()
    assert TrainingConfig(encoder="kit").learning_rate == 1e-3
    assert TrainingConfig(encoder="kit", batches="neighbours").learning_rate == 3e-4
    assert TrainingConfig(encoder="kit", batches="neighbours", learning_rate=1e-3).learning_rate == 1e-3
    assert config(tmp_path, batches="neighbours").deciding()["batches"] == "neighbours"
    with pytest.raises(HncseError, match="batches 'familes'.*families"):
        config(tmp_path, batches="familes")
    with pytest.raises(HncseError, match="given sentences has none; take corpus='minimal-pairs'"):
        train(config(tmp_path, batches="families"), TEXTS)
