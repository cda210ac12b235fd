"""Dropout views, projections, and the plain training loop: on the embedded encoder and on toy geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hncse import SentenceEncoder, losses
from hncse import demonstrations as demo
from hncse.errors import HncseError


def test_views_differ_by_dropout_and_leave_the_caller_alone(kit):
    torch.manual_seed(7)
    state, training = torch.get_rng_state(), kit.training
    first, second = demo.unit_views(kit, demo.EIGHT)
    assert torch.equal(torch.get_rng_state(), state) and kit.training == training
    assert first.shape == (8, kit.dimension) and first.dtype == torch.float64 and not first.requires_grad
    assert torch.allclose(first.norm(dim=1), torch.ones(8, dtype=torch.float64))
    assert not torch.allclose(first, second)
    assert torch.equal(demo.unit_views(kit, demo.EIGHT)[0], first)
    assert not torch.equal(demo.unit_views(kit, demo.EIGHT, seed=1)[0], first)


def test_more_dropout_means_less_similar_views():
    none, some, much = demo.dropout_views("kit", demo.EIGHT, [0.0, 0.1, 0.5], n=4)
    assert none.positive == pytest.approx(1)
    assert 1 > some.positive > much.positive and none.views.shape[:2] == (4, 8)


def test_flat_projects_all_clouds_onto_one_plane():
    rng = np.random.default_rng(0)
    centres = np.array([[3.0, 0, 0, 0], [-3, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]])
    clouds = [centres + 0.01 * rng.normal(size=(5, 4, 4)) for _ in range(2)]
    first, second = demo.flat(clouds)
    assert first.shape == second.shape == (5, 4, 2)
    assert np.allclose(np.abs(first.mean(axis=0)[:, 0]), [3, 3, 0, 0], atol=0.05)
    assert np.allclose(first.mean(axis=0), second.mean(axis=0), atol=0.05)


def test_random_pairs_never_pair_a_row_with_itself():
    cosines = demo.random_pairs(5 * np.eye(6), n=500)
    assert cosines.shape == (500,) and np.allclose(cosines, 0)
    assert np.allclose(demo.random_pairs(np.ones((3, 2)), n=10), 1)


def test_objectives_are_what_they_are_called():
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    assert demo.objective("pull only")(z1, z2) == pytest.approx(float((2 - 2 * (a * b).sum(1)).mean()))
    squared = 2 - 2 * a @ a.T
    pairs = torch.exp(-2 * squared)[torch.triu(torch.ones(6, 6, dtype=torch.bool), 1)]
    assert demo.objective("push only")(z1, z2) == pytest.approx(float(pairs.mean().log()))
    same = losses.build("simcse", temperature=0.2)(z1, z2).loss
    assert demo.objective("InfoNCE", 0.2)(z1, z2) == pytest.approx(float(same))
    with pytest.raises(HncseError, match="Did you mean 'push only'"):
        demo.objective("push")


def corpus(n=40):
    return [f"The {i} boats of harbour {i % 7} leave before row {i // 3}." for i in range(n)]


def test_train_briefly_lowers_its_loss_and_looks_when_told():
    encoder = SentenceEncoder.from_pretrained("kit", device="cpu")
    before = encoder.encode(["A boat leaves."])
    trace = demo.train_briefly(
        encoder, corpus(), demo.objective("InfoNCE", 0.1), steps=6, batch_size=16, looks=2,
        look=lambda model: {"training": float(model.training)},
    )  # fmt: skip
    assert len(trace.loss) == 6 and trace.loss[-1] < trace.loss[0]
    assert trace.steps == [0, 3, 6] and trace.series("training") == [0, 0, 0]
    assert trace.encoder is encoder and not encoder.training
    assert not np.allclose(before, encoder.encode(["A boat leaves."]))


def test_train_briefly_repeats_itself_and_leaves_copies_out():
    def once(seed):
        encoder = SentenceEncoder.from_pretrained("kit", device="cpu")
        loss = demo.objective("InfoNCE", 0.1)
        return demo.train_briefly(encoder, corpus(20), loss, steps=2, batch_size=10, seed=seed).loss

    assert once(0) == once(0) != once(1)
    encoder = SentenceEncoder.from_pretrained("kit", device="cpu")
    with pytest.raises(HncseError, match="only 2 different ones"):
        demo.train_briefly(encoder, ["a", "b"] * 9, lambda a, b: a.sum(), batch_size=4)


@pytest.mark.usefixtures("small_probe")
def test_side_by_side_starts_every_loss_from_the_same_encoder():
    named = {"a": lambda x, y: (x - y).square().mean(), "b": lambda x, y: x.sum() * 0.0}
    traces = demo.side_by_side("kit", corpus(20), named, steps=1, batch_size=8, looks=1)
    first, last = traces["a"].seen[0], traces["a"].seen[-1]
    assert set(first) == {"spearman", "close_first"} and last["low"] < last["spearman"] < last["high"]
    a, b = (trace.series("spearman") for trace in traces.values())
    assert a[0] == b[0] == pytest.approx(b[1])


def test_spreads_and_names_of_trained_encoders(kit):
    trace = demo.Trace(kit)
    models = {"before training": kit} | demo.encoders({"InfoNCE": trace})
    found = demo.spreads(models)
    assert list(found) == ["before training", "after InfoNCE"]
    apart, near = found["before training"]
    assert len(apart) == 2000 and apart.mean() < near.mean() <= 1
