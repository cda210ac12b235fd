"""Seeds and pairs together, on data whose truth is known; how often a method wins; equality within a margin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hncse.errors import HncseError
from hncse.evaluation import doubt, results, sts
from hncse.evaluation import statistics as s
from hncse.runs import Run
from tests.data import benchmark
from tests.evaluation.test_statistics import seeded, tidy
from tests.evaluation.test_tables import fake_run


def study(rng: np.random.Generator, seeds: int, pairs: int, spread: float):
    """A method and a baseline with one true score over all seeds and pairs; seeds differ in how noisy they are."""
    gold = rng.normal(size=pairs)
    shared = rng.normal(size=pairs)  # what is hard about a pair is hard for every seed

    def arm() -> np.ndarray:
        noise = 1 + spread * rng.normal(size=(seeds, 1))
        return gold + noise * (shared + rng.normal(size=(seeds, pairs))) / 2**0.5

    return arm(), arm(), gold


def test_the_interval_over_seeds_and_pairs_covers_the_truth() -> None:
    rng, covered = np.random.default_rng(0), []
    for place in range(100):  # the arms are drawn alike, so the true difference is 0
        _, low, high = doubt.crossed([study(rng, 6, 40, 0.3)], 100, seed=place)
        covered.append(low <= 0 <= high)
    assert 0.9 <= np.mean(covered) <= 1


def test_it_is_wider_than_either_doubt_alone_and_repeated_exactly() -> None:
    rng = np.random.default_rng(1)
    task = study(rng, 8, 100, 0.3)
    value, low, high = doubt.crossed([task], 500)
    each = [
        100 * (stats.spearmanr(a, task[2])[0] - stats.spearmanr(b, task[2])[0]) for a, b in zip(*task[:2], strict=True)
    ]
    assert value == pytest.approx(np.mean(each)) and low < value < high
    assert doubt.crossed([task], 500) == (value, low, high)
    still = (np.repeat(task[0][:1], 8, 0), np.repeat(task[1][:1], 8, 0), task[2])  # all seeds the same: pairs alone
    half = [np.ptp(doubt.crossed([data], 500)[1:]) / 2 for data in (task, still)]
    assert half[0] > s.t_interval(each)[1] * 0.7 and half[1] > 0
    assert doubt.crossed([task, task], 500)[0] == pytest.approx(value)  # a mean over tasks
    for bad in ((task[0][:1], task[1][:1], task[2]), (task[0], task[1][:5], task[2])):
        with pytest.raises(HncseError, match="the same seeds, two or more"):
            doubt.crossed([bad])


def frame_of(scores: dict[str, np.ndarray], tasks: list[str]) -> pd.DataFrame:
    rows = [
        {"kind": "trained", "method": name, "group": name, "parameters": {}, "seed": seed, "measure": task, "value": x}
        for name, table in scores.items()
        for seed, line in enumerate(table)
        for task, x in zip(tasks, line, strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_chance_to_beat_the_baseline_is_mann_whitneys() -> None:
    rng, tasks = np.random.default_rng(2), ["STS12", "STS13"]
    scores = {name: rng.normal(shift, 1, (6, 2)) for name, shift in (("simcse", 0), ("better", 3), ("same", 0))}
    table = doubt.improvement(frame_of(scores, tasks), tasks=tasks)
    assert list(table.index) == ["better", "same"]
    for name, row in table.iterrows():
        u = [stats.mannwhitneyu(scores[str(name)][:, t], scores["simcse"][:, t]).statistic / 36 for t in range(2)]
        assert row[tasks].tolist() == pytest.approx(u) and row["value"] == pytest.approx(np.mean(u))
        assert row["low"] <= row["value"] <= row["high"]
    assert table.loc["better", "low"] > 0.5
    with pytest.raises(HncseError, match="no run of 'hnm'"):
        doubt.improvement(frame_of(scores, tasks), "hnm", tasks)


def test_equal_within_a_margin_is_two_one_sided_tests_corrected_in_the_family() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(66, 0.3, 12)
    near, far = base + rng.normal(0.1, 0.2, 12), base + rng.normal(0.5, 0.2, 12)
    one = s.difference(seeded(near), seeded(base), margin=0.5, resamples=0)
    sides = [stats.ttest_1samp(near - base, end, alternative=way) for end, way in ((-0.5, "greater"), (0.5, "less"))]
    assert one.p_equal == pytest.approx(max(side.pvalue for side in sides))
    welch = s.difference(seeded(near), {i + 20: x for i, x in enumerate(base)}, margin=0.5, resamples=0)
    interval = stats.ttest_ind(near, base, equal_var=False).confidence_interval(0.9)
    assert (welch.p_equal <= 0.05) == (interval.low > -0.5 and interval.high < 0.5)
    table = s.compare(
        tidy({"simcse": seeded(base), "near": seeded(near), "far": seeded(far), "copy": seeded(base)}), "simcse",
        margin=0.5, resamples=0,
    ).set_index("method")  # fmt: skip
    assert table["equal"].to_dict() == {"simcse": False, "near": True, "copy": True, "far": False}
    assert "equal within ±0.5" in s.sentence(table.loc["near"]) and "not shown" in s.sentence(table.loc["far"])
    with pytest.raises(HncseError, match="the margin is -1"):
        s.difference(seeded(near), seeded(base), margin=-1)


def test_methods_of_three_seeds_do_not_weigh_on_those_of_twelve() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(66, 0.3, 12)
    arms = {"simcse": seeded(base), "confirmed": seeded(base + rng.normal(0.2, 0.28, 12))}
    alone = s.compare(tidy(arms), "simcse", resamples=0).set_index("method")
    arms |= {f"tried{i}": seeded(base[:3] + rng.normal(0, 0.3, 3)) for i in range(5)}
    table = s.compare(tidy(arms), "simcse", resamples=0).set_index("method")
    assert table.loc["confirmed", "p_holm"] == alone.loc["confirmed", "p"] and table.loc["confirmed", "tests"] == 1
    assert (table.loc["tried0":, "tests"] == 5).all() or (table.filter(like="tried", axis=0)["tests"] == 5).all()
    assert "over the 5 of fewer than 6 seeds for themselves" in s.to_markdown(table.reset_index())
    assert results.STS[0] == "STS12"


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Twelve runs on a small benchmark: a method's cosines are nearer to gold than the baseline's, seed by seed."""
    benchmark.shrink(monkeypatch)
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")
    asked: list[list[str]] = []

    def similarities(encoder, names):
        asked.append(names)
        loss, seed = encoder
        draw = np.random.default_rng([seed, loss == "simcse"])
        gold = np.linspace(0, 5, 40)
        return {name: (gold + draw.normal(0, 3 if loss == "simcse" else 0.5, 40), gold) for name in names}

    monkeypatch.setattr(sts, "similarities", similarities)
    monkeypatch.setattr(Run, "load_encoder", lambda run: (run.config["parameters"]["loss"], run.config["seed"]))
    made = [
        fake_run(tmp_path / "runs" / f"{loss}{seed}", loss=loss, seed=seed, score=60 + seed)
        for loss in ("simcse", "hnm-no-replacement")
        for seed in range(6)
    ]
    return made, asked


def test_seeds_and_pairs_of_runs_are_crossed_and_their_cosines_stay(judged, capsys) -> None:
    made, asked = judged
    arms = {"simcse": made[:6], "hnm": made[6:]}
    count, *span = doubt.seeds_and_pairs(arms, "simcse", ["STS12", "STSB"], 100)["hnm"]
    cosines = [doubt.cosines(run, ["STS12", "STSB"]) for run in made]
    tasks = [
        (np.stack([c[t][0] for c in cosines[6:]]), np.stack([c[t][0] for c in cosines[:6]]), cosines[0][t][1])
        for t in ("STS12", "STSB")
    ]
    assert count == 6 and span == pytest.approx(doubt.crossed(tasks, 100)) and span[1] > 0
    assert len(asked) == 12  # each run embedded once, however often it is asked
    doubt.cosines(made[0], ["STSB", "SICKR"])
    assert asked[-1] == ["SICKR"] and "embedding SICKR: simcse0" in capsys.readouterr().err
    made[0].write("cosines", made[0].read("cosines") | {"key": "of another training"})
    doubt.cosines(made[0], ["STSB"])
    assert asked[-1] == ["STSB"]
    with pytest.raises(HncseError, match="have 1 in common"):
        doubt.seeds_and_pairs({"simcse": made[:6], "hnm": made[6:7]}, "simcse", ["STSB"])
    stored = made[1].read("cosines")
    stored["tasks"]["STSB"]["gold"][0] = 4.5
    made[1].write("cosines", stored)
    with pytest.raises(HncseError, match="'simcse1' was scored on other pairs"):
        doubt.seeds_and_pairs(arms, "simcse", ["STSB"])


def test_the_command_varies_seeds_and_pairs(judged, capsys) -> None:
    assert s.main(["--pairs", "--tasks", "STSB", "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert "mean of STSB" in out and "seeds and sentence pairs together, 50 resamples" in out
    line = next(line for line in out.splitlines() if "hnm-no-replacement" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == "6" and float(cells[2]) > 5
    for arguments, why in (
        (["--tasks", "STSB"], "are those of --pairs"),
        (["--pairs", "--csv", "x.csv"], "run folder"),
    ):
        assert s.main(arguments) == 2
        assert why in capsys.readouterr().err
