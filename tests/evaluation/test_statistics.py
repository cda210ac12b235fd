"""Statistics over seeds, against scipy, against loops, and on simulated data where the truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hncse.errors import HncseError
from hncse.evaluation import literature, results
from hncse.evaluation import statistics as s
from hncse.evaluation.resampling import bootstrap_t, draw_groups
from tests.evaluation.test_tables import fake_run

SIMULATIONS = 400


def seeded(values) -> dict[int, float]:
    return {seed: float(value) for seed, value in enumerate(values)}


def tidy(scores: dict[str, dict[int, float]]) -> pd.DataFrame:
    rows = [(method, seed, value) for method, of_seed in scores.items() for seed, value in of_seed.items()]
    return pd.DataFrame(rows, columns=["method", "seed", "value"])


def run_scores(runs, measure="sts", solver="senteval") -> dict[str, dict[int, float]]:
    rows = results.named(results.select(results.from_runs(runs), measure, solver))
    parts = rows.groupby("name", sort=False)
    return {name: dict(sorted(zip(part["seed"], part["value"], strict=True))) for name, part in parts}


def bert() -> list[float]:
    return literature.load("seed_runs").query("backbone == 'bert-base-uncased'")["avg"].tolist()


scores = st.lists(st.integers(6000, 7000).map(lambda x: x / 100), min_size=3, max_size=12)


# Means and differences


def test_means_by_hand():
    table = s.means(tidy({"a": seeded([60.0, 62.0, 67.0]), "b": {0: 50.0}}), by="method")
    half = 4.302652729911275 * math.sqrt(13 / 3)  # t(0.975, 2)
    assert table.loc["a"].to_dict() == pytest.approx({"n": 3, "mean": 63.0, "half": half, "sd": math.sqrt(13)})
    assert table.loc["b", ["n", "mean"]].tolist() == [1, 50.0] and table.loc["b", ["half", "sd"]].isna().all()
    assert s.t_interval([60.0, 62.0, 67.0]) == (63.0, pytest.approx(half))


@settings(max_examples=30, deadline=None)
@given(scores, st.integers(2, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_difference_is_scipys(values, m, seed, alpha):
    rng = np.random.default_rng(seed)
    for method, baseline, shift in (
        (np.array(values) + rng.normal(0.3, 0.5, len(values)), values, 0),
        (rng.normal(61, 0.4, len(values)), rng.normal(60, 1.2, m), 100),
    ):
        given = s.difference(seeded(method), {shift + i: x for i, x in enumerate(baseline)}, alpha=alpha, resamples=0)
        theirs = stats.ttest_rel(method, baseline) if not shift else stats.ttest_ind(method, baseline, equal_var=False)
        assert given.paired == (not shift) and given.p == pytest.approx(theirs.pvalue, rel=1e-8)
        assert (given.low, given.high) == pytest.approx(tuple(theirs.confidence_interval(1 - alpha)), rel=1e-8)
        wanted = (
            np.var(method - values, ddof=1) if not shift else (np.var(method, ddof=1) + np.var(baseline, ddof=1)) / 2
        )
        assert given.sd_difference == pytest.approx(math.sqrt(wanted))
        n = len(values)
        assert given.test == (
            f"Welch's t, seeds not the same: {n} against {m}" if shift else f"paired t over {n} seeds"
        )


def test_what_is_paired_and_what_is_not():
    rng = np.random.default_rng(0)
    twelve, five = seeded(rng.normal(60, 1, 12)), seeded(rng.normal(60, 1, 5))
    inside = s.difference(five, twelve, resamples=0)
    assert inside.test == "paired t over 5 seeds"
    assert inside.value == pytest.approx(np.mean([five[i] - twelve[i] for i in range(5)]))  # not that of the means
    shifted = {seed + 10: score for seed, score in five.items()}  # two seeds in common, three not
    assert not s.difference(shifted, twelve, resamples=0).paired
    assert s.difference(shifted, twelve, paired=True, resamples=0).test == "paired t over 2 seeds"
    assert s.difference(five, twelve, paired=False, resamples=0).test.endswith("5 against 12")
    with pytest.raises(HncseError, match=r"seeds \[1\] and \[2\] have none in common"):
        s.difference({1: 60.0}, {2: 60.0}, paired=True)


def test_no_spread_is_no_proof():
    base = seeded([60.1, 60.2, 60.4])
    same = s.difference(base, base)
    assert (same.value, same.sd_difference, same.p) == (0.0, 0.0, 1.0)
    assert math.isnan(same.low) and math.isnan(same.bootstrap_low)
    rounded = s.difference(base, seeded([60.1, 60.20003, 60.40001]))
    assert (rounded.value, rounded.p) == (0.0, 1.0)
    assert s.difference(base, seeded([60.1, 60.2, 60.39])).p < 1  # a hundredth counts
    shifted = s.difference(seeded([60.2, 60.3, 60.5]), base)  # 0.1 but for rounding
    assert shifted.value == pytest.approx(0.1) and math.isnan(shifted.p) and math.isnan(shifted.low)


@pytest.mark.parametrize("sizes", [(6,), (5, 8)])
def test_the_bootstrap_t_is_a_loop_over_copied_scores(sizes):
    rng = np.random.default_rng(3)
    arms = [rng.normal(0.4, 1, n) for n in sizes]
    resamples, alpha = 400, 0.1

    def t(samples, truth):
        means = [sample.mean() for sample in samples]
        error = math.sqrt(sum(sample.var(ddof=1) / len(sample) for sample in samples))
        return (means[0] - sum(means[1:]) - truth) / error

    draws = [draw_groups(n, resamples, seed=7 + i).astype(int) for i, n in enumerate(sizes)]
    value = arms[0].mean() - sum(arm.mean() for arm in arms[1:])
    copies = [[np.repeat(arm, draw[b]) for arm, draw in zip(arms, draws, strict=True)] for b in range(resamples)]
    drawn = sorted(t(copy, value) for copy in copies)
    error = value / t(arms, 0)
    low, high = bootstrap_t(arms, alpha, resamples, seed=7)
    assert low == pytest.approx(value - drawn[math.ceil(0.95 * resamples) - 1] * error)
    assert high == pytest.approx(value - drawn[math.ceil(0.05 * resamples) - 1] * error)


def test_a_bootstrap_needs_six_seeds_and_is_repeated_exactly():
    method, baseline = seeded(bert()[:6]), seeded(bert()[10:16])

    def ends(*arms, **settings):
        difference = s.difference(*arms, **settings)
        return difference.bootstrap_low, difference.bootstrap_high

    six = ends(method, baseline)
    assert six[0] < s.difference(method, baseline).value < six[1]
    assert ends(method, baseline) == six and ends(method, baseline, resamples=999, seed=1) != six
    nearly_equal = {seed: baseline[seed] + (seed == 0) for seed in baseline}  # a third of the resamples has no spread
    for few in (ends(method, baseline, resamples=0), ends(method, {20: 75.0, 21: 76.0}), ends(nearly_equal, baseline)):
        assert np.isnan(few).all()


# Coverage and false verdicts, where the truth is known


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 12)])
def test_intervals_hold_the_truth(n, m):
    rng = np.random.default_rng(10 * n + m)
    common = rng.normal(0, 0.6, (SIMULATIONS, max(n, m)))  # what a seed does to every method
    a = 61 + common[:, :n] + rng.normal(0, 0.5, (SIMULATIONS, n))
    b = 60 + common[:, :m] + rng.normal(0, 0.5, (SIMULATIONS, m))
    c = 60 + rng.normal(0, 1.5, (SIMULATIONS, m))  # other seeds, another spread
    for others, shift in ((b, 0), (c, 100)):
        intervals = [
            s.difference(seeded(x), {shift + i: score for i, score in enumerate(y)}, resamples=0)
            for x, y in zip(a, others, strict=True)
        ]
        assert abs(np.mean([d.low <= 1.0 <= d.high for d in intervals]) - 0.95) < 0.033
    alone = [mean - half <= 61 <= mean + half for mean, half in map(s.t_interval, a)]
    assert abs(np.mean(alone) - 0.95) < 0.033


@pytest.mark.parametrize("sizes", [(6,), (6, 12)])
def test_bootstrap_t_intervals_hold_the_truth_and_percentiles_do_not(sizes):
    rng = np.random.default_rng(sum(sizes))
    arms = [rng.normal(0, 1, (SIMULATIONS, n)) for n in sizes]
    low, high = bootstrap_t(arms, resamples=1000)
    assert abs(((low <= 0) & (high >= 0)).mean() - 0.95) < 0.033
    if sizes == (6,):  # why not the plain bootstrap
        means = draw_groups(6, 1000) @ arms[0].T / 6
        ends = np.quantile(means, (0.025, 0.975), axis=0)
        assert ((ends[0] <= 0) & (ends[1] >= 0)).mean() < 0.89


def verdicts(true, n, simulations) -> np.ndarray:
    """Whether each method gets a verdict in tables of methods with these true gains: (simulations, M, after/before)."""
    rng = np.random.default_rng(17 + n)
    common = rng.normal(75, 0.6, (simulations, 1, n))
    drawn = common + np.array([0.0, *true])[None, :, None] + rng.normal(0, 0.6, (simulations, len(true) + 1, n))
    p = stats.ttest_rel(drawn[:, 1:], drawn[:, :1], axis=2).pvalue  # (simulations, M), as `difference` has them
    return np.stack([np.array([s.holm(row) for row in p.tolist()]), p], axis=2) <= 0.05


def test_a_table_without_differences_has_a_false_verdict_five_times_of_100_at_most():
    false, uncorrected = verdicts([0.0] * 5, 5, 2000).any(axis=1).mean(axis=0)
    assert 0.02 < false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)  # and it is not merely blind
    assert uncorrected > 0.10  # what Holm's correction is for


def test_true_differences_are_found_and_leave_the_others_alone():
    rejected = verdicts([3.0, -3.0, 0.0, 0.0, 0.0], 6, 2000)[:, :, 0]
    assert rejected[:, :2].mean() > 0.95
    assert rejected[:, 2:].any(axis=1).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, alpha):
    rejected = set()
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - rank) > alpha:
            break
        rejected.add(i)
    assert {i for i, q in enumerate(s.holm(p)) if q <= alpha} == rejected


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = s.holm([0.02, math.nan, 0.01])
    assert with_gap[::2] == pytest.approx([0.02, 0.02]) and math.isnan(with_gap[1]) and s.holm([]) == []
    p = np.random.default_rng(2).random(9) ** 3
    assert s.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])


# Power, luck


def test_seeds_known_from_textbooks():
    # Cohen 1988, table 2.4.1, and G*Power: two-sided 0.05, power 0.8
    assert [s.seeds_needed(d, 1.0) for d in (0.2, 0.5, 0.8)] == [394, 64, 26]
    assert s.seeds_needed(0.5, 1.0, paired=True) == 34
    assert s.seeds_needed(-1.0, 1.0, target=0.9) == 23  # R: power.t.test(delta=1, power=.9) is 22.02
    assert s.power(1.0, 1.0, 20) == pytest.approx(0.8689528, abs=1e-6)  # R: power.t.test(n=20, delta=1)
    assert s.power(0.0, 1.0, 5) == pytest.approx(0.05) and s.power(50.0, 0.1, 5) == 1.0
    assert s.power(8.0, 0.01, 200) == 1.0  # far beyond where the noncentral t underflows


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 3), st.floats(0.1, 2), st.sampled_from([0.01, 0.05]), st.booleans())
def test_seeds_needed_is_the_least_n_and_power_is_noncentral_f(effect, sd, alpha, paired):
    n = s.seeds_needed(effect, sd, alpha=alpha, paired=paired)
    chance = {k: s.power(effect, sd, k, alpha=alpha, paired=paired) for k in (n - 1, n) if k >= 2}
    assert chance[n] >= 0.8 and chance.get(n - 1, 0) < 0.8
    df, shift = (n - 1, n) if paired else (2 * n - 2, n / 2)
    wanted = stats.ncf.sf(stats.f.isf(alpha, 1, df), 1, df, shift * (effect / sd) ** 2)
    assert chance[n] == pytest.approx(wanted, rel=1e-6)


def test_the_seed_study_says_what_notebook_07_says():
    values = bert()
    sd = float(np.std(values, ddof=1))
    assert s.luck(values, 1.0) == 521 / 1225 and s.luck_normal(sd, 1.0) == pytest.approx(0.40, abs=0.005)
    assert s.best_of(values, 5) == pytest.approx(1.0, abs=0.03) == s.best_of_normal(sd, 5)
    assert [round(s.half_width(sd, n), 2) for n in (1, 3, 5, 10)] == [2.34, 1.35, 1.05, 0.74]
    # "about 12": R's power.t.test says 12.1, so 12 seeds fall short of 80 % by half a point and 13 exceed it
    assert s.seeds_needed(1.0, sd) == 13 and s.power(1.0, sd, 12) == pytest.approx(0.79, abs=0.01)


def every_split(values, k):
    for left in itertools.combinations(range(len(values)), k):
        for right in itertools.combinations(sorted(set(range(len(values))) - set(left)), k):
            yield sum(values[i] for i in left) - sum(values[i] for i in right)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=6, max_size=7), st.integers(1, 3), st.integers(0, 40))
def test_luck_and_best_of_count_every_choice(units, k, apart):
    values = [60 + u / 100 for u in units]
    differences = [abs(d) >= apart * k for d in every_split(units, k)]  # in hundredths: exact
    assert s.luck(values, apart / 100, k) == pytest.approx(np.mean(differences))
    best = np.mean([max(subset) for subset in itertools.combinations(values, k)])
    assert s.best_of(values, k) == pytest.approx(best - np.mean(values), abs=1e-9)


def test_normal_approximations_are_right_for_normal_scores():
    assert [s.best_of_normal(1.0, k) for k in (1, 2, 3)] == pytest.approx([0, math.pi**-0.5, 1.5 * math.pi**-0.5])
    quantiles = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    assert s.best_of(quantiles.tolist(), 5) == pytest.approx(s.best_of_normal(1.0, 5), abs=0.01)
    some = quantiles[::20].tolist()
    assert s.luck(some, 0.5, 4) == pytest.approx(s.luck_normal(float(np.std(some, ddof=1)), 0.5, 4), abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: s.power(1.0, 0.0, 5), "sd is 0.0; it must be positive"),
        (lambda: s.power(1.0, 1.0, 1), "n is 1; a t-test needs at least 2"),
        (lambda: s.power(math.nan, 1.0, 5), "the effect is nan"),
        (lambda: s.power(1.0, 1.0, 5, alpha=5), "alpha is 5; it must lie between 0 and 1"),
        (lambda: s.seeds_needed(0.0, 1.0), "the effect is 0"),
        (lambda: s.seeds_needed(1e-5, 1.0), "more than 10,000,000 seeds"),
        (lambda: s.seeds_needed(1.0, 1.0, target=80), "the power wanted is 80; it must lie between"),
        (lambda: s.luck([1.0, 2.0], 1.0, 2), "2 scores were given; to compare means of 2 takes at least 4"),
        (lambda: s.luck([1.0, 2.0], -1.0), "the difference is -1.0"),
        (lambda: s.luck([0.0, 1e6, 1.0], 1.0), "too many ways to count"),
        (lambda: s.half_width(1.0, 0), "n is 0"),
        (lambda: s.best_of([1.0], 2), "to take the best of 2 takes at least 2"),
        (lambda: s.best_of([1.0, math.nan], 2), "NaN or infinite"),
        (lambda: s.best_of_normal(1.0, 0), "k is 0"),
        (lambda: s.difference({}, {0: 1.0}), "0 scores were given"),
        (lambda: s.compare(tidy({"simcse": {0: math.nan}}), None), "has a training diverged"),
        (lambda: s.compare(tidy({"simcse": {0: 1.0}}), None, resamples=-1), "resamples is -1"),
        (lambda: s.compare(tidy({"simcse": {0: 1.0}}), "simsce"), "Did you mean 'simcse'"),
    ],
)
def test_impossible_values_are_named(call, message):
    with pytest.raises(HncseError, match=message):
        call()


# Verdicts


def scores_of_five() -> dict[str, dict[int, float]]:
    base = [60.0, 60.4, 59.8, 60.9, 60.2]
    noise = [0.10, -0.05, 0.02, -0.08, 0.04]
    near = [0.5, -0.2, 0.4, -0.3, 0.1]

    def plus(gain, wobble):
        return seeded([x + gain + w for x, w in zip(base, wobble, strict=True)])

    return {
        "simcse": seeded(base),
        "good": plus(1.0, noise),
        "bad": plus(-1.0, noise),
        "near": plus(0.0, near),
        "same": seeded(base),
        "single": {0: 63.0},
        "elsewhere": {seed + 50: x for seed, x in plus(0.1, near).items()},
    }


def test_verdicts_in_words():
    rows = s.compare(tidy(scores_of_five()), "simcse")
    assert rows["method"].tolist() == ["simcse", "bad", "same", "near", "elsewhere", "good", "single"]
    of = {row["method"]: row for _, row in rows.iterrows()}
    assert {name: row["verdict"] for name, row in of.items()} == {
        "simcse": "baseline", "good": "better", "bad": "worse", "near": "not told apart", "same": "not told apart",
        "elsewhere": "not told apart", "single": "not tested",
    }  # fmt: skip
    assert set(rows["tests"]) == {5}
    assert s.sentence(of["good"]).startswith(
        "better than simcse: +1.01 [+0.92, +1.10], paired t over 5 seeds, p <0.001 "
    )
    assert s.sentence(of["bad"]).startswith("worse than simcse: -0.99 [-1.08, -0.90]")
    assert "the same score with every seed" in s.sentence(of["same"])
    assert "Welch's t, seeds not the same: 5 against 5" in s.sentence(of["elsewhere"])
    assert s.sentence(of["single"]) == (
        "not tested against simcse: +3.00, paired t over 1 seed; a test takes two seeds of both"
    )
    needed = s.seeds_needed(0.5, of["near"]["sd_difference"], alpha=0.01, paired=True)
    words = f"a true difference of 0.50 takes about {needed} seeds each to see (80 % power)"
    assert s.sentence(of["near"], effect=0.5).endswith(words)
    assert "to see" not in s.sentence(of["near"])  # no power is told of the difference that was observed
    assert s.sentence(of["near"], effect=0.001).endswith("takes more than 1,000 seeds each to see (80 % power)")


def test_a_verdict_rests_on_the_corrected_p_and_says_so():
    base = scores_of_five()["simcse"]
    gains = {"a": [0.3, 0.1, 0.02, 0.25, 0.12], "b": [0.1, -0.1, 0.2, -0.2, 0.3], "c": [-0.1, 0.1, 0.3, -0.3, 0.1]}
    weak = tidy({"simcse": base} | {name: seeded(np.array(gain) + list(base.values())) for name, gain in gains.items()})
    row = s.compare(weak, "simcse").set_index("method").loc["a"]
    assert row["p"] <= 0.05 < row["p_holm"] and row["low"] > 0 and row["verdict"] == "not told apart"
    assert f"p {row['p']:.3f} alone but {row['p_holm']:.3f} after Holm over 3 methods" in s.sentence(row)
    alone = weak.assign(family=weak["method"].map({"a": "confirmatory"}).fillna("exploratory"))
    rows = s.compare(alone, "simcse", family="family").set_index("method")
    assert rows.loc["a", ["verdict", "tests"]].tolist() == ["better", 1]
    assert rows.loc[["b", "c"], "tests"].tolist() == [2, 2]


def test_without_a_baseline_every_row_says_so():
    rows = s.compare(tidy(scores_of_five()), None)
    assert set(rows["verdict"]) == {"not tested"} and set(rows["gap"]) == {"no baseline"}
    assert s.sentence(rows.iloc[0]) == "not tested: no baseline"


def test_the_table_says_what_its_figures_are():
    scores = scores_of_five()
    text = s.to_markdown(s.compare(tidy(scores), "simcse"), "kit; STS")
    caption, table, words = text.rstrip("\n").split("\n\n")
    assert caption.startswith("kit; STS. ") and "Holm's correction over 5 tested methods" in caption
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[0][6:] == ["difference", "95 % t", "95 % bootstrap", "p", "p Holm"]
    assert lines[2][:6] == ["simcse", "baseline", "", "5", "60.26 ± 0.52", "0.42"]
    of = {line[0]: line for line in lines[2:]}
    assert of["good"][1:4] == ["better", "paired", "5"] and of["good"][6:9] == ["+1.01", "[+0.92, +1.10]", ""]
    assert of["elsewhere"][2] == "Welch" and of["single"][1:6] == ["not tested", "", "1", "63.00", ""]
    assert len(words.splitlines()) == 6 and words.startswith("- **bad**: worse than simcse")
    six = {**scores["simcse"], 5: 60.6}
    wider = {seed: score + 1.0 + 0.1 * (seed % 3) for seed, score in six.items()}
    row = s.to_markdown(s.compare(tidy({"simcse": six, "x": wider}), "simcse")).splitlines()[-3]
    difference = s.difference(wider, six)
    assert f"[{difference.bootstrap_low:+.2f}, {difference.bootstrap_high:+.2f}]" in row


# Run folders and the command line


def runs(tmp_path, **changes):
    made = []
    for loss, gain in (("simcse", 0.0), ("hnm-no-replacement", 1.0)):
        for seed in range(4):
            path = tmp_path / f"{loss}{seed}"
            made.append(fake_run(path, seed=seed, score=60 + gain + 0.1 * seed * (1 + gain), loss=loss, **changes))
    return made


def test_scores_come_from_run_folders(tmp_path):
    made = [*runs(tmp_path), fake_run(tmp_path / "unscored", seed=9, score=None)]
    of = run_scores(made)
    assert list(of) == ["simcse", "hnm-no-replacement"]
    assert of["simcse"] == pytest.approx({0: 60.0, 1: 60.1, 2: 60.2, 3: 60.3})
    assert run_scores(made, "SICKR")["simcse"][1] == pytest.approx(63.1)  # fake_run: 3 above the average
    assert run_scores(made, "probe")["hnm-no-replacement"][9] == 45.0
    assert run_scores(made, "probe-close")["simcse"][0] == 50.0
    made[0].write("transfer", {"avg": 77.0, "tasks": {"MR": {"acc": 71.5, "dev": 70.0}}})
    made[0].write("transfer_senteval", {"avg": 76.0, "tasks": {}, "solver": "senteval"})
    assert run_scores(made, "transfer", "fast") == {"simcse": {0: 77.0}}  # a file without a solver is of the older one
    assert run_scores(made, "MR", "fast") == {"simcse": {0: 71.5}} and run_scores(made, "CR") == {}
    assert run_scores(made, "transfer") == {"simcse": {0: 76.0}}


def test_the_younger_of_two_runs_alike_counts_and_options_part_methods(tmp_path):
    old, new = fake_run(tmp_path / "old", score=50.0), fake_run(tmp_path / "new", score=60.0)
    assert run_scores([old, new]) == {"hnm-no-replacement": {0: 60.0}}
    other = fake_run(tmp_path / "other", score=55.0, learning_rate=1e-4)
    assert run_scores([new, other]) == {
        "hnm-no-replacement, learning_rate=3e-05": {0: 60.0}, "hnm-no-replacement, learning_rate=0.0001": {0: 55.0}
    }  # fmt: skip


def test_unlike_settings_and_unlike_probes_are_not_compared(tmp_path, capsys):
    here, there = fake_run(tmp_path / "a"), fake_run(tmp_path / "b", encoder="minilm")
    changed = fake_run(tmp_path / "c", seed=1, fingerprint="otherdata")
    frame = results.from_runs([here, there, changed])
    parts = results.scopes(frame)
    assert [part["run"].nunique() for part in parts.values()] == [1, 1, 1]
    assert list(parts)[1] == "minilm on 1,000 sentences from wikipedia"
    assert "data otherd" in list(parts)[2]
    assert set(s.against(frame, baseline="hnm-no-replacement")["verdict"]) == {"baseline"}
    rejudged = fake_run(tmp_path / "d", seed=2)
    rejudged.write("probe", here.read("probe") | {"fingerprint": "newer"})
    for run in (here, rejudged):
        run.log({"step": 1})
    assert s.main([str(here.path), str(rejudged.path), "--measure", "probe", "--baseline", "hnm-no-replacement"]) == 2
    assert "a and d were scored on different versions of the probe" in capsys.readouterr().err
    with pytest.raises(HncseError, match="unknown measure 'STS11'. Did you mean"):
        run_scores([here], "STS11")
    with pytest.raises(HncseError, match="unknown solver 'adam'"):
        run_scores([here], "transfer", solver="adam")


def test_a_gap_is_said_in_its_row(tmp_path):
    made = runs(tmp_path)
    alone = fake_run(tmp_path / "alone", loss="three-view", batch_size=128)
    (made[0].path / "sts.json").unlink()  # of simcse, seed 0
    rows = s.against(results.from_runs([*made, alone])).set_index("method")
    assert rows.loc["hnm-no-replacement", "test"] == "paired t over 3 seeds"
    assert rows.loc["three-view", "gap"] == "no simcse trained alike"
    assert rows.loc["three-view", "verdict"] == "not tested" and math.isnan(rows.loc["three-view", "value"])
    assert len(s.against(results.from_runs([]))) == 0


def test_the_command_prints_verdicts(tmp_path, monkeypatch, capsys):
    (run, *_) = runs(tmp_path)
    fake_run(tmp_path / "alone", encoder="minilm", loss="three-view")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path))

    def said(*arguments: str, code: int = 0) -> str:
        assert s.main([*arguments, "--resamples", "500"]) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    out = said("--baseline", "simcse")
    assert (
        'kit on 1,000 sentences from wikipedia; average of the seven STS tasks, test split, Spearman × 100, "all"'
        in out
    )
    assert "- **hnm-no-replacement**: better than simcse: +1.15 [+0.94, +1.36], paired t over 4 seeds, p <0.001" in out
    assert "minilm on 1,000 sentences from wikipedia: no run of simcse; only three-view." in out
    chosen = ["simcse0", "simcse1", "hnm-no-replacement0", "hnm-no-replacement1"]
    out = said(*chosen, "--baseline", "hnm-no-replacement", "--encoder", "kit")
    assert "paired t over 2 seeds" in out and "minilm" not in out
    assert "Did you mean 'simcse'" in said("--baseline", "simsce", code=2)
    assert "none of 9 runs has a score of 'transfer'" in said("--measure", "transfer", code=2)
    run.write("transfer", {"avg": 77.0, "tasks": {}})  # of the quick solver: not taken for SentEval's
    assert "--solver fast" in said("--measure", "transfer", code=2)
    assert "solver fast" in said("--measure", "transfer", "--solver", "fast")


def test_the_command_compares_across_trainings(tmp_path, monkeypatch, capsys):
    runs(tmp_path, temperature=0.1)
    for seed in range(4):
        fake_run(tmp_path / f"hot{seed}", seed=seed, score=58 + 0.2 * seed, loss="simcse", temperature=0.2)
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path))
    assert s.main(["--across", "--baseline", "simcse, temperature=0.1", "--resamples", "500"]) == 0
    out = capsys.readouterr().out
    assert "- **simcse, temperature=0.2**: worse than simcse, temperature=0.1: -1.85" in out
    assert "- **hnm-no-replacement**: better than simcse, temperature=0.1: +1.15" in out
    assert "Holm's correction over 2 tested methods" in out  # one family, whatever the trainings
    assert s.main(["--baseline", "simcse"]) == 0
    assert "temperature=0.2**" not in capsys.readouterr().out  # alone in its training: nothing to compare it with


def test_the_command_counts_seeds(capsys):
    assert s.main(["--seeds-needed", "1.0", "--sd", "0.84"]) == 0
    out = capsys.readouterr().out
    assert "two-sided t-test at 0.05, 80 % power: 13 seeds for each method." in out and "79.6 %" in out
    assert s.main(["--seeds-needed", "0.5", "--sd", "1", "--paired"]) == 0
    assert "34 pairs of runs with one seed" in capsys.readouterr().out
    assert s.main(["--seeds-needed", "1.0"]) == 2
    assert "takes --sd as well" in capsys.readouterr().err
