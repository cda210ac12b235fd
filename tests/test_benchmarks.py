"""The benchmarks compare like with like: both sides compute the same numbers. No times are asserted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks import __main__ as command
from benchmarks import growth, loss_step, measure, million, naive, readme, references, text
from hncse import losses, mixing
from hncse.errors import HncseError
from hncse.miner import excluded_pairs, mine_in_batch
from tests import tiny

N, D = 12, 16


def test_a_distilled_table_is_the_teachers_tokens_turned_and_weighed() -> None:
    teacher = tiny.encoder("mean")
    whole = references.distilled(teacher, teacher.dimension).table
    ids = range(len(whole))
    with torch.no_grad():
        alone = teacher(**teacher.pad([[2, token, 3] for token in ids])).numpy()  # [CLS] token [SEP]
    alone -= alone.mean(0)
    weights = np.log1p(np.arange(1, len(whole) + 1))[:, None]
    np.testing.assert_allclose(whole @ whole.T, (weights * alone) @ (weights * alone).T, atol=1e-3)
    variances = (whole / weights).var(0)
    assert (np.diff(variances) <= 1e-6).all()
    small = references.distilled(teacher, 4)
    np.testing.assert_allclose(np.abs(small.table), np.abs(whole[:, :4]), atol=1e-4)
    cat, dog, empty = small.encode(["the cat", "cat the", ""])
    np.testing.assert_allclose(cat, dog, atol=1e-5)
    assert not empty.any()


def test_the_trained_reference_is_the_recorded_runs() -> None:
    row = next(row for row in csv.DictReader(references.TABLE.open()) if row["encoder"] == "kit after SimCSE")
    assert {name: f"{value:.4f}" for name, value in references._recorded().items() if name != "seeds"} == {
        name: row[name] for name in references._recorded() if name != "seeds"
    }


def views() -> list[Tensor]:
    return [z.detach().double().requires_grad_() for z in loss_step.batch(N, D)]


def assert_same(value: Tensor, expected: Tensor, z: list[Tensor]) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    got, want = torch.autograd.grad(value, z), torch.autograd.grad(expected, z)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_the_obvious_simcse_is_ours() -> None:
    z = views()
    assert_same(losses.build("simcse")(*z).loss, naive.simcse(*z), z)


@pytest.mark.parametrize("form", [naive.hnm_materialised, naive.hnm_loop])
@pytest.mark.parametrize(("preset", "replacement"), [("hnm-as-released", True), ("hnm-no-replacement", False)])
def test_the_obvious_hnm_is_ours(form, preset: str, replacement: bool) -> None:
    z = views()
    pairs = naive.drawn_pairs(N, 10, 40, replacement=replacement)
    assert_same(losses.build(preset)(*z).loss, form(*z, pairs), z)


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0])
def test_the_obvious_pm_is_ours(ratio: float) -> None:
    z = views()
    cases = losses.build("pm-fixed")(*z).diagnostics
    assert cases["case_a"] > 0
    assert cases["case_c"] > 0
    assert_same(losses.build("pm-fixed", ratio=ratio)(*z).loss, naive.pm_loss(*z, 1.0, ratio), z)


def test_sequential_trials_choose_what_the_batched_search_chooses() -> None:
    z = views()
    candidates = 33
    angles = np.linspace(0, np.pi / 2, candidates)
    trials = [(float(np.cos(t)), float(np.sin(t))) for t in angles]
    mined = naive.mine(*z)
    scores = naive.pm_trials(*z, mined, trials, loop=False)
    assert scores == pytest.approx(naive.pm_trials(*z, mined, trials, loop=True), abs=1e-9)
    g = mixing.gram(*z, mixes=True)
    excluded = excluded_pairs(N)
    options = {"objective": "released", "candidates": candidates, "temperature": 0.05}
    w1, w2 = mixing.search_weights(g, mine_in_batch(g.cosine, excluded), excluded, **options)
    assert float(torch.atan2(w2, w1)) == pytest.approx(angles[int(np.argmin(scores))], abs=1e-9)


def test_peak_memory_counts_what_is_alive_at_once() -> None:
    def hold_then_drop() -> None:
        a = torch.ones(1000, 1000)
        b = a + 1
        del a, b
        torch.ones(1000, 500)

    assert measure.peak_bytes(hold_then_drop) == pytest.approx(8e6, rel=0.01)


def test_the_gram_form_needs_far_less_memory_than_the_mixes() -> None:
    z = loss_step.batch(64)
    loss, pairs = losses.build("hnm-as-released"), naive.drawn_pairs(64, 10, 40, replacement=True)
    ours = measure.peak_bytes(lambda: loss(*z).loss.backward())
    assert 20 * ours < measure.peak_bytes(lambda: naive.hnm_materialised(*z, pairs).backward())


def test_hnm_stays_under_64_mb_at_1024() -> None:
    z = loss_step.batch(1024)
    loss = losses.build("hnm-as-released")
    assert measure.peak_bytes(lambda: loss(*z, groups=torch.arange(1024)).loss.backward()) < 64e6


def test_interleaving_alternates_and_ratios_are_per_round() -> None:
    seen: list[str] = []
    times = measure.interleaved({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 2, {"b": 2})
    assert "".join(seen) == "ab" + "abb" + "bba"
    assert [len(t) for t in times.values()] == [2, 2]
    r = measure.ratio([2.0, 4.0, 9.0], [1.0, 1.0, 1.0])
    assert (r["q1"], r["median"], r["q3"]) == (3.0, 4.0, 6.5)


def test_pseudo_sentences_have_the_lengths_of_wikipedia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HNCSE_DATA", raising=False)
    sentences, source = text.sentences(500)
    assert source == "pseudo-sentences"
    assert sentences == text.sentences(500)[0]
    assert len(set(sentences)) == 500
    assert 20 < np.mean([len(s.split()) for s in sentences]) < 25
    assert len(set(text.repeated(300)[0])) == 200


def test_the_command_writes_figures_without_names_of_machines_or_places(
    tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_step, "DIMENSION", 8)
    monkeypatch.setattr(
        command, "_topics", lambda quick: {"loss-step": lambda: loss_step.measure((8,), rounds=2, trials=2)}
    )
    monkeypatch.setattr(command, "_prepare", lambda threads: None)
    assert command.main(["--quick", "--output", str(tmp_path / "results.json")]) == 0
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(results["machine"]) == {"processor", "architecture", "threads", "clock", "python", "versions"}
    assert {r["loss"] for r in results["loss-step"]} >= {"simcse", "hnm-as-released", "pm+hnm"}
    assert all(r["peak_bytes"] > 0 for r in results["loss-step"])
    assert "| 8 | hnm-as-released |" in capsys.readouterr().out
    assert command.main(["losses"]) == 2


def test_a_topic_goes_by_its_modules_name_as_well(tmp_path, monkeypatch, capsys) -> None:
    measured: list[str] = []
    topics = {name: lambda name=name: (measured.append(name) or [], f"## {name}") for name in command.TOPICS}
    monkeypatch.setattr(command, "_topics", lambda quick: topics)
    monkeypatch.setattr(command, "_prepare", lambda threads: None)
    assert command.main(["training_speed", "mining", "--output", str(tmp_path / "results.json")]) == 0
    assert measured == ["training", "mining"]


def test_topics_of_another_encoder_or_machine_are_dropped(tmp_path) -> None:
    now = {"machine": {"processor": "p", "versions": {}, "threads": 1}, "kit": {"fingerprint": "a"}, "quick": False}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(now | {"dates": {"mining": "2026-01-02"}, "mining": [1]}), encoding="utf-8")
    assert command._earlier(path, now)["mining"] == [1]
    for other in ({"kit": {"fingerprint": "b"}}, {"machine": {"processor": "q", "versions": {}}}, {"quick": True}):
        assert command._earlier(path, now | other) == {"dates": {}}


def test_readmes_table_of_speed_is_written_from_the_results() -> None:
    ratio = {"median": 1.62, "q1": 1.5, "q3": 1.7}
    results = {
        "machine": {"processor": "a CPU"}, "kit": {"fingerprint": "abc"},
        "dates": {"training": "2026-01-02", "training (2 threads)": "2026-01-03"},
        "training (2 threads)": [{
            "encoder": "kit", "what": "simcse, auto", "auto": "bf16", "against": "theirs", "ratio": ratio,
            "per_second": 271.3, "utilisation": 0.5,
        }],
    }  # fmt: skip
    text = readme.filled("before\n<!-- speed -->\nold\n<!-- end speed -->\nafter", results)
    assert (
        "| training, kit, simcse, auto (bf16) (271.3 sentences/s, 50% of a matrix product), 2 threads | theirs |"
        in text
    )
    assert "1.62× (1.50 to 1.70)" in text and "old" not in text and text.endswith("after")
    assert "2026-01-02 to 2026-01-03" in text
    with pytest.raises(HncseError, match="place"):
        readme.filled("no place", results)


def test_growths_exponent_is_the_slope_of_the_largest_sizes() -> None:
    rows = [
        {"axis": axis, "size": n, "seconds": 1e-6 * n**2, "megabytes": 3.0 * n}
        for axis in growth.AXES
        for n in (10, 100, 1000)
    ]
    table = pd.DataFrame(rows)
    assert growth.exponent(table, "STS") == pytest.approx((2, 1e-6))
    assert growth.exponent(table, "STS", "megabytes")[0] == pytest.approx(1)
    assert "27,778 h" in growth.extrapolated(table, 1e14)[1]  # 1e-6 · (10^7)² seconds
    assert "STS grows as size to the 2.00" in growth.growth_figure(table).get_label()
    with pytest.raises(HncseError, match="two sizes"):
        growth.exponent(table[:1], "STS")


def test_lists_of_which_all_are_looked_into_miss_nothing() -> None:
    rows = np.random.default_rng(0).standard_normal((400, 8), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity, column = million.InvertedLists(5, 5)(rows[:20], rows, 3)
    best = np.sort(rows[:20] @ rows.T, axis=1)[:, :-4:-1]
    np.testing.assert_allclose(similarity, best, atol=1e-6)
    np.testing.assert_array_equal(column[:, 0], np.arange(20))
