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
from hncse.evaluation.resampling import draw_groups
from tests.evaluation.test_tables import fake_run

SIMULATIONS = 400
ERROR = math.sqrt(0.05 * 0.95 / SIMULATIONS)  # of a simulated 5 %


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
    runs = literature.load("seed_runs")
    return runs[runs["backbone"] == "bert-base-uncased"]["avg"].tolist()


scores = st.lists(st.integers(6000, 7000).map(lambda x: x / 100), min_size=3, max_size=12)


# Means and differences


def test_a_summary_by_hand():
    found = s.summarise([60.0, 62.0, 67.0], resamples=0)
    assert (found.n, found.mean, found.sd) == (3, 63.0, pytest.approx(math.sqrt(13)))
    half = 4.302652729911275 * math.sqrt(13 / 3)  # t(0.975, 2)
    assert found.interval == pytest.approx((63 - half, 63 + half)) and found.bootstrap is None
    alone = s.summarise([60.0])
    assert (alone.n, alone.mean, alone.interval, alone.bootstrap) == (1, 60.0, None, None) and math.isnan(alone.sd)


@settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_paired_difference_is_scipys(values, seed, alpha):
    others = np.array(values) + np.random.default_rng(seed).normal(0.3, 0.5, len(values))
    found = s.difference(seeded(others), seeded(values), alpha=alpha, resamples=0)
    theirs = stats.ttest_rel(others, values)
    assert found.paired and found.n == (len(values),) * 2
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-8)
    assert found.interval == pytest.approx(tuple(theirs.confidence_interval(1 - alpha)), rel=1e-8)
    assert found.sd == pytest.approx(np.std(others - values, ddof=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_an_unpaired_difference_is_scipys_welch(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(61, 0.4, n), rng.normal(60, 1.2, m)
    found = s.difference(seeded(a), {100 + i: float(x) for i, x in enumerate(b)}, resamples=0)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert not found.paired and found.n == (n, m)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-8)
    assert found.interval == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-8)
    assert found.sd == pytest.approx(math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    assert f"Welch's t, seeds not the same: {n} against {m}" in found.test


def test_what_is_paired_and_what_is_not():
    rng = np.random.default_rng(0)
    twelve, five = seeded(rng.normal(60, 1, 12)), seeded(rng.normal(60, 1, 5))
    inside = s.difference(five, twelve, resamples=0)
    assert inside.paired and inside.n == (5, 5)
    assert inside.value == pytest.approx(
        np.mean([five[i] - twelve[i] for i in range(5)])
    )  # not the difference of means
    shifted = {seed + 10: score for seed, score in five.items()}  # two seeds in common, three not
    assert not s.difference(shifted, twelve, resamples=0).paired
    assert s.difference(shifted, twelve, paired=True, resamples=0).n == (2, 2)
    assert s.difference(five, twelve, paired=False, resamples=0).n == (5, 12)
    with pytest.raises(HncseError, match=r"seeds \[1\] and \[2\] have none in common"):
        s.difference({1: 60.0}, {2: 60.0}, paired=True)


def test_no_spread_is_no_proof():
    same = s.difference(seeded([60.1, 60.2, 60.4]), seeded([60.1, 60.2, 60.4]))
    assert (same.value, same.sd, same.p, same.interval, same.bootstrap) == (0.0, 0.0, 1.0, None, None)
    rounded = s.difference(seeded([60.1, 60.2, 60.4]), seeded([60.1, 60.20003, 60.40001]))
    assert rounded == s.difference(seeded([60.1, 60.2, 60.4]), seeded([60.1, 60.2, 60.4]))
    assert s.difference(seeded([60.1, 60.2, 60.4]), seeded([60.1, 60.2, 60.39])).p < 1  # a hundredth counts
    shifted = s.difference(seeded([60.2, 60.3, 60.5]), seeded([60.1, 60.2, 60.4]))  # 0.1 but for rounding
    assert shifted.value == pytest.approx(0.1) and math.isnan(shifted.p) and shifted.interval is None


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
    error, seen = value / t(arms, 0), t(arms, 0)
    low, high, p = s.bootstrap_t(arms, alpha, resamples, seed=7)
    assert low == pytest.approx(value - drawn[math.ceil(0.95 * resamples) - 1] * error)
    assert high == pytest.approx(value - drawn[math.ceil(0.05 * resamples) - 1] * error)
    beyond = min(sum(x >= seen for x in drawn), sum(x <= seen for x in drawn))
    assert p == pytest.approx(2 * (beyond + 1) / (resamples + 1))


def test_a_bootstrap_needs_six_seeds_and_is_repeated_exactly():
    values = bert()
    assert s.summarise(values[:5]).bootstrap is None
    six = s.summarise(values[:6])
    assert six.bootstrap[0] < six.mean < six.bootstrap[1]
    assert s.summarise(values[:6]) == six and s.summarise(values[:6], resamples=999, seed=1).bootstrap != six.bootstrap
    assert s.summarise(values[:6], resamples=0).bootstrap is None
    assert s.summarise([60.0] * 5 + [61.0]).bootstrap is None  # a third of the resamples has no spread
    method, baseline = seeded(values[:6]), seeded(values[10:16])
    assert s.difference(method, baseline).bootstrap is not None
    assert s.difference(method, {20: 75.0, 21: 76.0, 22: 74.0}).bootstrap is None


# Coverage and false verdicts, where the truth is known


@pytest.mark.parametrize("n", [3, 5, 12])
def test_t_intervals_hold_the_truth_95_times_of_100(n):
    draws = np.random.default_rng(n).normal(75.0, 0.84, (SIMULATIONS, n))
    held = [low <= 75.0 <= high for low, high in (s.summarise(row, resamples=0).interval for row in draws)]
    assert abs(np.mean(held) - 0.95) < 0.033


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 12)])
def test_intervals_of_differences_hold_the_truth(n, m):
    rng = np.random.default_rng(10 * n + m)
    common = rng.normal(0, 0.6, (SIMULATIONS, max(n, m)))  # what a seed does to every method
    a = 61 + common[:, :n] + rng.normal(0, 0.5, (SIMULATIONS, n))
    b = 60 + common[:, :m] + rng.normal(0, 0.5, (SIMULATIONS, m))
    paired = [s.difference(seeded(x), seeded(y), resamples=0).interval for x, y in zip(a, b, strict=True)]
    c = 60 + rng.normal(0, 1.5, (SIMULATIONS, m))  # other seeds, another spread
    apart = {seed + 100: 0.0 for seed in range(m)}
    welch = [
        s.difference(seeded(x), dict(zip(apart, y.tolist(), strict=True)), resamples=0).interval
        for x, y in zip(a, c, strict=True)
    ]
    for intervals in (paired, welch):
        assert abs(np.mean([low <= 1.0 <= high for low, high in intervals]) - 0.95) < 0.033


@pytest.mark.parametrize("sizes", [(6,), (12,), (6, 6), (6, 12)])
def test_bootstrap_t_intervals_hold_the_truth_and_percentiles_do_not(sizes):
    rng = np.random.default_rng(sum(sizes))
    arms = [rng.normal(0, 1, (SIMULATIONS, n)) for n in sizes]
    low, high, p = s.bootstrap_t(arms, resamples=1000)
    held = (low <= 0) & (high >= 0)
    assert abs(held.mean() - 0.95) < 0.033
    assert (held == (p > 0.05)).mean() > 0.99  # p and interval say the same
    if sizes == (6,):  # why not the plain bootstrap
        means = draw_groups(6, 1000) @ arms[0].T / 6
        ends = np.quantile(means, (0.025, 0.975), axis=0)
        assert ((ends[0] <= 0) & (ends[1] >= 0)).mean() < 0.89


def verdicts(true, n, simulations, paired) -> np.ndarray:
    """Whether each method gets "better" or "worse" in tables of methods with these true gains: (simulations, M)."""
    rng = np.random.default_rng(17 + n)
    common = rng.normal(75, 0.6, (simulations, 1, n))
    drawn = common + np.array([0.0, *true])[None, :, None] + rng.normal(0, 0.6, (simulations, len(true) + 1, n))
    found = []
    for base, *methods in drawn:
        p = [s.difference(seeded(x), seeded(base), paired=paired, resamples=0).p for x in methods]
        found.append([(q <= 0.05, one <= 0.05) for q, one in zip(s.holm(p), p, strict=True)])
    return np.array(found)


@pytest.mark.parametrize("paired", [None, False])
def test_a_table_without_differences_has_a_false_verdict_five_times_of_100_at_most(paired):
    simulations = SIMULATIONS if paired is None else SIMULATIONS // 2
    found = verdicts([0.0] * 5, 5, simulations, paired)
    false, uncorrected = found.any(axis=1).mean(axis=0)
    assert false <= 0.05 + 2 * ERROR * math.sqrt(SIMULATIONS / simulations)
    if paired is None:
        assert uncorrected > 0.10  # what Holm's correction is for
        assert false > 0.02  # and it is not merely blind


def test_true_differences_are_found_and_leave_the_others_alone():
    found = verdicts([3.0, -3.0, 0.0, 0.0, 0.0], 6, SIMULATIONS // 4, None)[:, :, 0]
    assert found[:, :2].mean() > 0.95
    assert found[:, 2:].any(axis=1).mean() <= 0.05 + 2 * math.sqrt(4) * ERROR


# Holm


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.6, 0.9]) == [1.0, 1.0] and s.holm([]) == []
    p = np.random.default_rng(2).random(9) ** 3
    assert s.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = s.holm([0.02, math.nan, 0.01])
    assert with_gap[::2] == pytest.approx([0.02, 0.02]) and math.isnan(with_gap[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, alpha):
    rejected = set()
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - rank) > alpha:
            break
        rejected.add(i)
    corrected = s.holm(p)
    assert {i for i, q in enumerate(corrected) if q <= alpha} == rejected
    assert all(q >= min(1, x) for q, x in zip(corrected, p, strict=True))


# Power, luck


def test_seeds_known_from_textbooks():
    # Cohen 1988, table 2.4.1, and G*Power: two-sided 0.05, power 0.8
    assert [s.seeds_needed(d, 1.0) for d in (0.2, 0.5, 0.8)] == [394, 64, 26]
    assert s.seeds_needed(0.5, 1.0, paired=True) == 34
    assert s.seeds_needed(-1.0, 1.0, target=0.9) == 23  # R: power.t.test(delta=1, power=.9) is 22.02
    assert s.power(1.0, 1.0, 20) == pytest.approx(0.8689528, abs=1e-6)  # R: power.t.test(n=20, delta=1)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 3), st.floats(0.1, 2), st.sampled_from([0.01, 0.05]), st.booleans())
def test_seeds_needed_is_the_least_n_and_power_is_noncentral_f(effect, sd, alpha, paired):
    n = s.seeds_needed(effect, sd, alpha=alpha, paired=paired)
    chance = {k: s.power(effect, sd, k, alpha=alpha, paired=paired) for k in (n - 1, n) if k >= 2}
    assert chance[n] >= 0.8 and chance.get(n - 1, 0) < 0.8
    df, shift = (n - 1, n) if paired else (2 * n - 2, n / 2)
    wanted = stats.ncf.sf(stats.f.isf(alpha, 1, df), 1, df, shift * (effect / sd) ** 2)
    assert chance[n] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("paired", [False, True])
def test_power_is_what_simulated_tests_see(paired):
    rng, n, sd, effect = np.random.default_rng(5), 7, 0.84, 1.0
    a, b = rng.normal(effect, sd, (40_000, n)), rng.normal(0, sd, (40_000, n))
    p = (stats.ttest_1samp(a, 0.0, axis=1) if paired else stats.ttest_ind(a, b, axis=1)).pvalue
    chance = s.power(effect, sd, n, paired=paired)
    assert (p <= 0.05).mean() == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / len(p)))


def test_power_at_its_ends():
    assert s.power(0.0, 1.0, 5) == pytest.approx(0.05) and s.power(50.0, 0.1, 5) == 1.0
    assert s.power(8.0, 0.01, 200) == 1.0  # far beyond where the noncentral t underflows
    with pytest.raises(HncseError, match="more than 10,000,000 seeds"):
        s.seeds_needed(1e-5, 1.0)


def test_the_seed_study_says_what_method_md_says():
    values = bert()
    sd = float(np.std(values, ddof=1))
    assert (len(values), round(np.mean(values), 2), round(sd, 2)) == (50, 75.11, 0.84)
    assert s.luck(values, 1.0) == 521 / 1225 == pytest.approx(0.43, abs=0.005)
    assert s.luck_normal(sd, 1.0) == pytest.approx(0.40, abs=0.005)
    assert s.best_of(values, 5) == pytest.approx(1.0, abs=0.03) == s.best_of_normal(sd, 5)
    assert [round(s.half_width(sd, n), 2) for n in (1, 3, 5, 10)] == [2.34, 1.35, 1.05, 0.74]
    # "about 12": R's power.t.test says 12.1, so 12 seeds fall short of 80 % by half a point and 13 exceed it
    assert s.seeds_needed(1.0, sd) == 13 and s.power(1.0, sd, 12) == pytest.approx(0.79, abs=0.01)
    roberta = literature.load("seed_runs").query("backbone == 'roberta-base'")["avg"]
    assert s.luck(roberta.tolist(), 1.0) == 0.0


def every_split(values, k):
    for left in itertools.combinations(range(len(values)), k):
        for right in itertools.combinations(sorted(set(range(len(values))) - set(left)), k):
            yield sum(values[i] for i in left) - sum(values[i] for i in right)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=4, max_size=7), st.integers(1, 2), st.integers(0, 40))
def test_luck_counts_every_split(units, k, apart):
    differences = [abs(d) >= apart * k for d in every_split(units, k)]  # in hundredths: exact
    assert s.luck([60 + u / 100 for u in units], apart / 100, k) == pytest.approx(np.mean(differences))


@settings(max_examples=30, deadline=None)
@given(scores, st.integers(1, 3))
def test_best_of_is_the_mean_over_every_subset(values, k):
    best = np.mean([max(subset) for subset in itertools.combinations(values, k)])
    assert s.best_of(values, k) == pytest.approx(best - np.mean(values), abs=1e-9)


def test_normal_approximations_are_right_for_normal_scores():
    assert s.best_of_normal(2.0, 1) == pytest.approx(0, abs=1e-9)
    assert s.best_of_normal(2.0, 2) == pytest.approx(2 / math.sqrt(math.pi))
    assert s.best_of_normal(1.0, 3) == pytest.approx(1.5 / math.sqrt(math.pi))
    quantiles = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    assert s.best_of(quantiles.tolist(), 5) == pytest.approx(s.best_of_normal(1.0, 5), abs=0.005)
    assert s.luck(quantiles.tolist(), 1.0) == pytest.approx(s.luck_normal(1.0, 1.0), abs=0.005)
    some = quantiles[::40].tolist()
    assert s.luck(some, 0.5, 4) == pytest.approx(s.luck_normal(float(np.std(some, ddof=1)), 0.5, 4), abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: s.power(1.0, 0.0, 5), "sd is 0.0; it must be positive"),
        (lambda: s.power(1.0, 1.0, 1), "n is 1; a t-test needs at least 2"),
        (lambda: s.power(math.nan, 1.0, 5), "the effect is nan"),
        (lambda: s.power(1.0, 1.0, 5, alpha=5), "alpha is 5; it must lie between 0 and 1"),
        (lambda: s.seeds_needed(0.0, 1.0), "the effect is 0"),
        (lambda: s.seeds_needed(1.0, 1.0, target=80), "the power wanted is 80; it must lie between"),
        (lambda: s.luck([1.0, 2.0], 1.0, 2), "2 scores were given; to compare means of 2 takes at least 4"),
        (lambda: s.luck([1.0, 2.0], -1.0), "the difference is -1.0"),
        (lambda: s.luck([0.0, 1e6, 1.0], 1.0), "too many ways to count"),
        (lambda: s.luck_normal(1.0, 1.0, 0), "k is 0"),
        (lambda: s.half_width(1.0, 0), "n is 0"),
        (lambda: s.best_of([1.0], 2), "to take the best of 2 takes at least 2"),
        (lambda: s.best_of([1.0, math.nan], 2), "NaN or infinite"),
        (lambda: s.best_of_normal(1.0, 0), "k is 0"),
        (lambda: s.summarise([]), "no scores were given"),
        (lambda: s.summarise([60.0, math.nan]), "not all finite; has a training diverged"),
        (lambda: s.summarise([60.0], resamples=-1), "resamples is -1"),
        (lambda: s.summarise([60.0], alpha=0), "alpha is 0"),
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
    near = of["near"]
    needed = s.seeds_needed(0.5, near["difference"].sd, alpha=0.01, paired=True)
    assert s.sentence(near, effect=0.5).endswith(
        f"a true difference of 0.50 takes about {needed} seeds each to see (80 % power)"
    )


def test_no_power_is_told_of_the_difference_that_was_found():
    near = s.compare(tidy(scores_of_five()), "simcse").set_index("method").loc["near"]
    assert near["value"] != 0 and "to see" not in s.sentence(near)
    assert s.sentence(near, effect=0.001).endswith("takes more than 1,000 seeds each to see (80 % power)")


def test_a_verdict_rests_on_the_corrected_p_and_says_so():
    weak = {"simcse": scores_of_five()["simcse"]}
    gains = {"a": [0.3, 0.1, 0.02, 0.25, 0.12], "b": [0.1, -0.1, 0.2, -0.2, 0.3], "c": [-0.1, 0.1, 0.3, -0.3, 0.1]}
    weak |= {name: {i: weak["simcse"][i] + gain for i, gain in enumerate(gains[name])} for name in gains}
    rows = s.compare(tidy(weak), "simcse").set_index("method")
    assert rows.loc["a", "p"] <= 0.05 < rows.loc["a", "p_holm"] and rows.loc["a", "low"] > 0
    assert rows.loc["a", "verdict"] == "not told apart"
    assert (
        f"p {rows.loc['a', 'p']:.3f} alone but {rows.loc['a', 'p_holm']:.3f} after Holm over 3 methods"
        in s.sentence(rows.loc["a"])
    )
    alone = s.compare(tidy({name: weak[name] for name in ("simcse", "a")}), "simcse").set_index("method")
    assert alone.loc["a", "verdict"] == "better" and alone.loc["a", "tests"] == 1


def test_without_a_baseline_every_row_says_so():
    rows = s.compare(tidy(scores_of_five()), None)
    assert set(rows["verdict"]) == {"not tested"} and set(rows["gap"]) == {"no baseline"}
    assert s.sentence(rows.iloc[0]) == "not tested: no baseline"


def test_the_table_says_what_its_figures_are():
    scores = scores_of_five()
    six = {**scores["simcse"], 5: 60.6}
    wider = {seed: score + 1.0 + 0.1 * (seed % 3) for seed, score in six.items()}
    rows = s.compare(tidy(scores), "simcse")
    text = s.to_markdown(rows, "kit; STS")
    caption, table, words = text.rstrip("\n").split("\n\n")
    assert caption.startswith("kit; STS. ") and "Holm's correction over 5 tested methods" in caption
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[0][6:] == ["difference", "95 % t", "95 % bootstrap", "p", "p Holm"]
    assert lines[2][:6] == ["simcse", "baseline", "", "5", "60.26 ± 0.52", "0.42"]
    of = {line[0]: line for line in lines[2:]}
    assert of["good"][1:4] == ["better", "paired", "5"] and of["good"][6:9] == ["+1.01", "[+0.92, +1.10]", ""]
    assert of["elsewhere"][2] == "Welch" and of["single"][1:6] == ["not tested", "", "1", "63.00", ""]
    assert len(words.splitlines()) == 6 and words.startswith("- **bad**: worse than simcse")
    alone = s.to_markdown(s.compare(tidy({"simcse": {0: 1.0}}), "simcse"))
    assert len(alone.split("\n\n")) == 2  # nothing to say
    (row,) = (line for line in s.to_markdown(s.compare(tidy({"simcse": six, "x": wider}), "simcse")).splitlines()
              if line.startswith("| x"))  # fmt: skip
    bootstrap = s.difference(wider, six).bootstrap
    assert f"[{bootstrap[0]:+.2f}, {bootstrap[1]:+.2f}]" in row


# Run folders and the command line


def runs(tmp_path, **changes):
    made = []
    for loss, gain in (("simcse", 0.0), ("hnm-no-replacement", 1.0)):
        for seed in range(4):
            path = tmp_path / f"{loss}{seed}"
            made.append(fake_run(path, seed=seed, score=60 + gain + 0.1 * seed * (1 + gain), loss=loss, **changes))
    return made


def test_scores_come_from_run_folders(tmp_path):
    made = runs(tmp_path)
    unscored = fake_run(tmp_path / "unscored", seed=9, score=None)
    found = run_scores([*made, unscored])
    assert list(found) == ["simcse", "hnm-no-replacement"]
    assert found["simcse"] == pytest.approx({0: 60.0, 1: 60.1, 2: 60.2, 3: 60.3})
    assert run_scores(made, "SICKR")["simcse"][1] == pytest.approx(63.1)  # fake_run: 3 above the average
    assert run_scores([*made, unscored], "probe")["hnm-no-replacement"][9] == 45.0
    assert run_scores(made, "probe-close")["simcse"][0] == 50.0
    assert run_scores(made, "transfer") == {}
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
    found = s.against(results.from_runs([*made, alone])).set_index("method")
    assert found.loc["hnm-no-replacement", "difference"].n == (3, 3)
    assert found.loc["three-view", "gap"] == "no simcse trained alike"
    assert found.loc["three-view", "verdict"] == "not tested" and found.loc["three-view", "difference"] is None


def test_transfer_of_the_quick_solver_is_not_taken_for_sentevals(tmp_path, capsys):
    (run, *_) = runs(tmp_path)
    run.write("transfer", {"avg": 77.0, "tasks": {}})
    run.log({"step": 1})
    assert s.main([str(run.path), "--measure", "transfer"]) == 2
    assert "--solver fast" in capsys.readouterr().err
    assert s.main([str(run.path), "--measure", "transfer", "--solver", "fast"]) == 0
    assert "solver fast" in capsys.readouterr().out


def test_the_command_prints_verdicts(tmp_path, monkeypatch, capsys):
    runs(tmp_path)
    fake_run(tmp_path / "alone", encoder="minilm", loss="three-view")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path))
    assert s.main(["--baseline", "simcse", "--resamples", "500"]) == 0
    out = capsys.readouterr().out
    assert (
        'kit on 1,000 sentences from wikipedia; average of the seven STS tasks, test split, Spearman × 100, "all"'
        in out
    )
    assert "- **hnm-no-replacement**: better than simcse: +1.15 [+0.94, +1.36], paired t over 4 seeds, p <0.001" in out
    assert "minilm on 1,000 sentences from wikipedia: no run of simcse; only three-view." in out
    chosen = ["simcse0", "simcse1", "hnm-no-replacement0", "hnm-no-replacement1"]
    assert s.main([*chosen, "--baseline", "hnm-no-replacement", "--encoder", "kit"]) == 0
    out = capsys.readouterr().out
    assert "paired t over 2 seeds" in out and "minilm" not in out
    assert s.main(["--baseline", "simsce"]) == 2
    assert "Did you mean 'simcse'" in capsys.readouterr().err
    assert s.main(["--measure", "transfer"]) == 2
    assert "none of 9 runs has a score of 'transfer'" in capsys.readouterr().err


def test_the_command_compares_across_trainings(tmp_path, monkeypatch, capsys):
    runs(tmp_path, temperature=0.1)
    for seed in range(4):
        fake_run(tmp_path / f"hot{seed}", seed=seed, score=58 + 0.2 * seed, loss="simcse", temperature=0.2)
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path))
    assert s.main(["--across", "--baseline", "simcse, temperature=0.1", "--resamples", "500"]) == 0
    out = capsys.readouterr().out
    assert "- **simcse, temperature=0.2**: worse than simcse, temperature=0.1: -1.85" in out
    assert "- **hnm-no-replacement**: better than simcse, temperature=0.1: +1.15" in out
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
