"""The defects of the released code, each against what is known of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hncse import losses, mixing
from hncse.data import probe
from hncse.errors import HncseError
from hncse.evaluation import defects, geometry, temperature
from hncse.miner import excluded_pairs, mine_in_batch
from tests import random_state, tiny


def views(n: int = 24, d: int = 12, noise: float = 0.1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    return z + noise * torch.randn(n, d, generator=g), z + noise * torch.randn(n, d, generator=g)


def test_a_common_part_raises_cosines_and_moves_anchors_to_case_a() -> None:
    z1, z2 = views()
    assert all(torch.equal(a, b) for a, b in zip(defects.shift(z1, z2, 0.0), (z1, z2), strict=True))
    near = [defects.compare(*defects.shift(z1, z2, s), ["simcse"])[0].cases[0] for s in (0.0, 3.0, 10.0)]
    assert near[0] == 0 and near[0] < near[1] <= near[2] == 1
    x1, x2 = (F.normalize(z, dim=1) for z in defects.shift(z1, z2, 10.0))
    assert float((x1 @ x2.T).min()) > 0.9


def test_pm_is_simcse_where_all_is_safe_and_hnm_is_not() -> None:
    z1, z2 = views()
    rows = {row.preset: row for row in defects.compare(z1, z2, ["pm-intended", "pm-as-released", "hnm-as-released"])}
    plain = float(losses.build("simcse")(z1, z2).loss)
    assert rows["pm-intended"].loss == rows["pm-as-released"].loss == pytest.approx(plain)
    assert rows["pm-intended"].angle < 1e-4 and rows["hnm-as-released"].angle > 1
    assert rows["hnm-as-released"].loss > plain and math.isnan(rows["hnm-as-released"].mix_angle)
    assert 0 < rows["hnm-as-released"].mix_hardness < 1 and rows["pm-intended"].cases == (0, 1, 0)


def test_draws_of_the_released_study_differ_and_the_search_does_not() -> None:
    z = defects.shift(*views(), 10.0)
    drawn = {defects.compare(*z, ["pm-as-released"], {"seed": seed})[0].mix_angle for seed in range(5)}
    chosen = {defects.compare(*z, ["pm-intended"], {"seed": seed})[0].mix_angle for seed in range(5)}
    assert len(drawn) == 5 and len(chosen) == 1


def test_the_searchs_terms_are_the_kits_objective() -> None:
    z1, z2 = defects.shift(*views(), 10.0)
    terms = defects.search_terms(z1, z2, 0.05, steps=65)
    assert np.all(np.diff(terms["loss"]) > 0)  # mixing only ever makes the loss larger
    total = terms["gap"] + terms["rank"]
    g = mixing.gram(z1, z2, mixes=True)
    excluded = excluded_pairs(len(z1), None, z1.device)
    mined = mine_in_batch(g.cosine, excluded, 0.99)
    w = mixing.search_weights(g, mined, excluded, objective="released", candidates=65, temperature=0.05)
    assert math.degrees(math.atan2(float(w[1]), float(w[0]))) == pytest.approx(terms["angle"][int(total.argmin())])


def test_with_ten_rows_every_positive_is_a_hard_negative_and_with_nine_nothing_works() -> None:
    similarity = torch.rand(10, 10)
    assert defects.own_positive_among_hardest(similarity, 10) == 1.0
    assert defects.own_positive_among_hardest(similarity, 9) == 0.0
    with pytest.raises(HncseError, match="a row of 9 has no 10"):
        defects.own_positive_among_hardest(similarity[:9, :9], 10)


def test_forty_draws_hold_26_7_different_pairs() -> None:
    found = defects.distinct_mixes(anchors=4000)
    assert found.mean() == pytest.approx(45 * (1 - (44 / 45) ** 40), abs=0.1) and found.max() <= 40


def test_first_last_means_two_things() -> None:
    encoder, texts = tiny.encoder("mean", layers=3), tiny.sentences(6)
    embedding, first = defects._early_and_last(encoder, texts)
    encoder.pooling = "first_last"
    np.testing.assert_allclose(first, encoder.encode(texts), atol=1e-6)
    assert np.abs(embedding - first).max() > 1e-3


def test_the_table_holds_all_twelve_and_leaves_the_caller_alone(kit) -> None:
    anchors = [group.anchor for group in probe.load()]
    kit.train()
    with random_state.unchanged():
        rows = defects.table(kit, anchors)
        temperature.matches(temperature.batches(kit, anchors[:64]), "hnm-no-replacement", [0.2], candidates=(0.1,))
    assert kit.training
    kit.eval()
    assert list(dict.fromkeys(row[0] for row in rows)) == [str(i) for i in range(1, 13)]
    assert all(len(row) == 6 and all(row) for row in rows)
    changes = {row[1]: row[4:] for row in rows}
    twice, meant = changes["every batch's labels are appended twice"]
    # pairs of any grade stand in it, and on the probe hard negatives lie nearer than paraphrases
    assert float(twice.split()[1]) < float(meant.split()[1]) - 0.01
    assert all(row[2].startswith("[") and f"({defects.RELEASED}/" in row[2] for row in rows)
    assert changes["the last, short batch is kept"][0] == "1,000,001 rows: a last batch of 1, a crash"
    uniformity = geometry.uniformity(kit.encode(anchors[:64], show_progress=False))
    assert changes["uniformity lacks the factor 2 in its exponent"][1] == f"{uniformity:.2f}"


def test_a_mask_of_zero_leaks_in_a_hot_softmax_alone_and_each_defect_elsewhere_has_its_line(kit) -> None:
    z = [part.double() for part in defects.raw_views(kit, [group.anchor for group in probe.load()][:64])]
    cold, hot = defects.mask_of_zero(*z, 0.05), defects.mask_of_zero(*z, 1.0)
    assert set(cold) == {"MixCSE", "DCLR"} and max(cold.values()) < 1e-6 and min(hot.values()) > 1e-3
    same = torch.eye(4, dtype=torch.float64)  # anchors at right angles: a masked mix is 0.8 the positive, the others 0
    share = 1 - (z_total := math.exp(1) + 3 + _mixes(4)) / (z_total + 2)
    assert defects.mask_of_zero(same, same, 1.0)["MixCSE"] == pytest.approx(share)
    rows = defects.elsewhere(*z)
    assert all(len(row) == 6 and all(row) and f"({defects.ELSEWHERE[row[0]]}/" in row[2] for row in rows)
    assert {row[0] for row in rows} == {"MixCSE", "DCLR"}


def _mixes(n: int) -> float:
    """Σ e^cosine of one anchor with MixCSE's columns that are no masked ones, where sentences are at right angles."""
    own = math.exp(0.2 / math.hypot(0.2, 0.8))
    return 2 * (own + (n - 2) * math.exp(0))


def test_views_are_repeated_exactly_and_the_mode_is_put_back(monkeypatch) -> None:
    encoder = tiny.encoder().eval()
    first, second = (defects.raw_views(encoder, tiny.sentences(4), seed=3) for _ in range(2))
    assert torch.equal(first[0], second[0]) and not torch.equal(first[0], first[1]) and not encoder.training
    monkeypatch.setattr(type(encoder), "views", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        defects.raw_views(encoder, tiny.sentences(4))
    assert not encoder.training


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: defects.raw_views(tiny.encoder(), ["one"]), "a batch of 1 sentences"),
        (lambda: defects.search_terms(*(z[:1] for z in views())), "1 rows"),
        (lambda: defects.search_terms(*views(), temperature=0.0), "temperature 0.0"),
        (lambda: defects.own_positive_among_hardest(torch.eye(3), 0), "k is 0"),
        (lambda: defects.distinct_mixes(k=1), "k is 1"),
        (lambda: defects.table(tiny.encoder(), ["one", "two"]), "there are 2 sentences"),
    ],
)
def test_what_has_no_answer_is_said(call, says) -> None:
    with pytest.raises(HncseError, match=says):
        call()
