"""At which temperature one loss pulls as another does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hncse.data import probe
from hncse.errors import HncseError
from hncse.evaluation import temperature
from hncse.visual.defects import colder_figure
from tests import tiny
from tests.evaluation.test_defects import views


def test_a_loss_is_most_like_itself_at_its_own_temperature() -> None:
    candidates = (0.05, 0.08, 0.1, 0.2, 0.4)
    two = [views(seed=1), views(seed=2)]
    beside = temperature.directions(two, "simcse", candidates)
    for match in temperature.matches(two, "simcse", [0.08, 0.2], candidates=candidates, beside=beside):
        assert match.alike == match.temperature and match.spread == 0 and match.length == 1
        own = candidates.index(match.temperature)
        assert match.cosines[own] == pytest.approx(1) and max(np.delete(match.cosines, own)) < 0.9999


def test_the_cosine_is_that_of_gradients_written_out() -> None:
    z1, z2 = views(n=6, d=5)

    def by_hand(tau: float) -> torch.Tensor:
        a, b = z1.clone().requires_grad_(), z2.clone().requires_grad_()
        total = torch.zeros(())
        for i in range(len(a)):
            similarity = torch.stack([F.cosine_similarity(a[i], b[j], dim=0) / tau for j in range(len(b))])
            total = total - torch.log_softmax(similarity, dim=0)[i] / len(a)
        return torch.cat([g.flatten() for g in torch.autograd.grad(total, [a, b])])

    (match,) = temperature.matches([(z1, z2)], "simcse", [0.3], candidates=[0.1])
    expected = F.cosine_similarity(by_hand(0.3), by_hand(0.1), dim=0)
    assert match.cosines == pytest.approx([float(expected)], abs=1e-9) and math.isnan(match.spread)


def test_hnm_acts_like_a_colder_softmax_where_the_notebook_says_so(kit) -> None:
    anchors = [group.anchor for group in probe.load()]
    two = temperature.batches(kit, anchors[:150])
    assert [len(z) for pair in two for z in pair] == [64] * 4 and not torch.equal(*two[0])
    found = temperature.matches(two, "hnm-no-replacement", [0.2, 0.5], candidates=temperature.CANDIDATES[::2])
    for match in found:
        assert match.alike < 0.8 * match.temperature
        assert match.cosines.max() > np.interp(match.temperature, match.candidates, match.cosines) + 0.01
    assert (
        f"hnm-no-replacement at 0.5 acts most like SimCSE at {found[1].alike:.2f}" in colder_figure(found).get_label()
    )


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(HncseError, match="size is 0"):
        temperature.batches(tiny.encoder(), tiny.sentences(4), size=0)
    with pytest.raises(HncseError, match="0 batches"):
        temperature.matches([], "simcse", [0.1])
    with pytest.raises(HncseError, match="0 temperatures were given"):
        colder_figure([])
