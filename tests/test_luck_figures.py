"""Figures of notebook 07: drawn, described, and right about their numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hncse import cli
from hncse.errors import HncseError
from hncse.evaluation import defects, results, statistics
from hncse.visual import defects as drawn
from hncse.visual import differences, luck, style
from tests.evaluation.test_defects import views
from tests.evaluation.test_results import recordable


def described(picture) -> str:
    assert style.png(picture)[:4] == b"\x89PNG"
    label = picture.get_label()
    assert len(label.split()) >= 15 and label.endswith(".")
    return label


def test_the_seeds_are_the_published_ones() -> None:
    label = described(luck.seeds_figure())
    assert "BERT-base 73.16 to 76.70, sd 0.84, printed 76.25" in label
    assert all(len(scores) == 50 for scores in luck.seed_runs().values()) and len(luck.seed_runs()) == 4


def test_chance_says_the_exact_share() -> None:
    bert = luck.seed_runs()["bert-base-uncased"]
    label = described(luck.chance_figure(bert, (1, 5), 1.0))
    assert f"1 seed {100 * statistics.luck(bert, 1.0, 1):.1f} %" in label and "5 seeds 6.0 %" in label
    gaps = luck._differences(bert, 1)
    assert len(gaps) == 50 * 49 and np.mean(np.abs(np.round(gaps, 2)) >= 1.0) == pytest.approx(
        statistics.luck(bert, 1.0, 1)
    )
    with pytest.raises(HncseError):
        luck.chance_figure(bert[:5], (3,))


def test_sliders_draw_what_they_say() -> None:
    box = luck.chance_sliders(luck.seed_runs()["roberta-base"], 1, 0.5)
    row, image = box.children
    before = bytes(image.value)
    row.children[0].value = 5
    assert bytes(image.value) != before and "5 seeds" in image.alt


def test_best_of_and_power() -> None:
    assert "BERT-base 0.98 for 5" in described(luck.best_of_figure())
    assert "1 points: 13 seeds" in described(luck.power_figure(0.84))


def test_swarm_keeps_order_and_parts_neighbours() -> None:
    shifts = luck._swarm([1.0, 1.0, 1.0, 5.0])
    assert len(set(shifts[:3])) == 3 and shifts[3] == 0


def test_the_forest_shows_each_method_against_the_baseline(tmp_path) -> None:
    runs = [
        recordable(tmp_path / f"{loss}{seed}", seed=seed, loss=loss, score=60.0 + seed + gain * (1 + seed / 10))
        for loss, gain in (("simcse", 0.0), ("pm-fixed", 1.0), ("three-view", -1.0)) for seed in range(3)
    ]  # fmt: skip
    effects = differences.effects(results.from_runs(runs))
    on_sts = effects[effects["measure"] == "sts"]
    assert dict(zip(on_sts["method"], on_sts["verdict"], strict=True)) == {"pm-fixed": "better", "three-view": "worse"}
    label = described(differences.forest(effects))
    assert "pm-fixed on kit, 1,000 sentences +1.10, better" in label and "three-view" in label
    with pytest.raises(HncseError, match="no difference to draw"):
        differences.forest(effects[:0])


def test_the_forest_parts_trainings(tmp_path) -> None:
    runs = [
        recordable(tmp_path / f"{loss}{t}{seed}", seed=seed, loss=loss, temperature=t, score=60.0 + seed + gain)
        for loss, gain in (("simcse", 0.0), ("pm-fixed", 1.0)) for t in (0.1, 0.2) for seed in range(2)
    ]  # fmt: skip
    found = differences.effects(results.from_runs(runs), measures=["sts"])
    assert [setting.rpartition(", ")[2] for setting in found["setting"]] == ["temperature=0.1", "temperature=0.2"]
    assert "pm-fixed on kit, 1,000 sentences, temperature=0.2" in described(differences.forest(found))


def test_a_bar_beside_0_is_grey_where_holm_says_so() -> None:
    found = differences.effects(results.recorded("sweep"), measures=["sts"])
    row = found[(found["method"] == "hnm-as-released")].iloc[0]
    assert row["high"] < 0 and row["verdict"] == "not told apart"
    label = described(differences.forest(found))
    assert "verdicts after Holm" in label and "-0.27, not told apart" in label


def test_one_run_without_a_score_costs_its_seed_and_nothing_else(tmp_path) -> None:
    runs = [
        recordable(tmp_path / f"{loss}{seed}", seed=seed, loss=loss, score=60.0 + seed + gain * (1 + seed / 10))
        for loss, gain in (("simcse", 0.0), ("pm-fixed", 1.0)) for seed in range(3)
    ]  # fmt: skip
    runs[-1].write("result", runs[-1].result | {"stsb_dev": None})
    found = differences.effects(results.from_runs(runs), measures=("sts", "stsb-dev")).set_index("measure")
    assert found["test"].to_dict() == {"sts": "paired t over 3 seeds", "stsb-dev": "paired t over 2 seeds"}


def test_ablations_draw_points_and_their_baseline() -> None:
    common = {"method": "hnm-no-replacement", "option": "k"}
    rows = [
        {"value": 3, "mean": 70.0, "half": 1.0, "seeds": 3, "default": False, "baseline_mean": 69.0,
         "baseline_half": 0.5, "baseline_seeds": 3},
        {"value": 10, "mean": 71.0, "half": float("nan"), "seeds": 1, "default": True, "baseline_mean": float("nan"),
         "baseline_half": float("nan"), "baseline_seeds": 0},
    ]  # fmt: skip
    curves = pd.DataFrame([common | row for row in rows])
    picture = differences.ablations(curves, "STS-B dev")
    assert "k: 3: 70.00 ± 1.00, 10: 71.00" in described(picture)
    hollow = [line for line in picture.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [line.get_ydata()[0] for line in hollow] == [71.0]
    with pytest.raises(HncseError, match="no curve to draw"):
        differences.ablations(curves[:0], "STS-B dev")


def test_pictures_of_a_set_of_runs_are_drawn(tmp_path, capsys) -> None:
    runs = tmp_path / "runs"
    for loss, gain in (("simcse", 0.0), ("pm-fixed", 1.0)):
        for seed in range(3):
            score = 60.0 + 3 * seed + gain * (1 + seed / 10)
            recordable(runs / f"{loss}{seed}", seed=seed, loss=loss, score=score, transfer_score=80.0 + seed)
    out = tmp_path / "out"
    assert cli.main(["tables", "--runs", str(runs), "--out", str(out), "--format", "md"]) == 0
    names = {f"{name}.{ending}" for name in ("differences", "sts_table", "transfer_table") for ending in ("png", "svg")}
    written = {path.name for path in out.iterdir()}
    assert names | {"sts.md", "verdicts.md", "results.csv"} <= written
    assert {line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()} == written


def test_defects_are_drawn() -> None:
    z = views()
    terms = defects.search_terms(*defects.shift(*z, 3.0))
    assert "sum is least at" in described(drawn.search_figure(terms))
    rows = [defects.compare(*defects.shift(*z, s), defects.PRESETS) for s in (0.0, 3.0)]
    assert "0 % at 0" in described(drawn.anisotropy_figure((0.0, 3.0), rows))


def test_presets_are_drawn_beside_each_other(tmp_path) -> None:
    history = [{"step": i, "loss": 1.0 / i, "case_a": 0.5} for i in range(1, 4)]
    run = recordable(tmp_path / "a", history=[*history, {"step": 3, "probe": 1.0}])
    assert "one: loss 1.00 to 0.33" in described(drawn.presets_figure({"one": run, "two": run}))
    with pytest.raises(HncseError):
        drawn.presets_figure({})


def test_the_gallery_needs_only_what_is_committed() -> None:
    made = luck.gallery_figures()
    assert {
        "luck_seeds",
        "luck_chance",
        "luck_best_of",
        "luck_power",
        "search_terms",
        "anisotropy",
        "ablation",
        "sweep_differences",
    } <= set(made)
    assert all(picture.get_label() for picture in made.values())
