"""Is a difference real? Methods against a baseline over seeds, with intervals, Holm's correction and a verdict.

    table = against(results.recorded("sweep"), "sts", "simcse")     # a row a method, numbers and a verdict
    print(to_markdown(table))

A verdict is "better" or "worse" where the t-test's p, corrected by Holm over all methods of one family, is at most
alpha, and "not told apart" otherwise: that is no proof of equality. Equality is a test of its own: with a ``margin``
δ, "equal within ±δ" where both one-sided t-tests against -δ and +δ say so (TOST), corrected by Holm likewise. A family
are the methods trained alike, those of fewer than six seeds for themselves: they explore, and do not weigh on the
others. An interval is of one method alone, so one that leaves out 0 may still be "not told apart" after Holm. How far
two runs of one method differ by luck: `luck`, `best_of`; seeds for an effect: `seeds_needed`, `power`. The doubt
within one run, over sentence pairs, is in its sts.json (`hncse.evaluation.sts.evaluate_full`).

Student's t assumes scores that are normal over seeds. Beside it stands the bootstrap-t
(`hncse.evaluation.resampling.bootstrap_t`), which does not, from six seeds on.

``hncse statistics --baseline simcse`` prints the verdicts for the runs there are, each training for itself
(``--across``: all trainings of one encoder and corpus together); ``--pairs`` varies the sentence pairs with the seeds;
``--seeds-needed EFFECT --sd SD`` counts seeds. Taught in notebooks/07a_luck_and_verdicts.ipynb.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hncse.data.text import Markup, markdown, table
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import results
from hncse.evaluation.luck import (
    POWER,
    RESAMPLES,
    best_of,
    best_of_normal,
    check_scores,
    check_settings,
    half_width,
    luck,
    luck_normal,
    power,
    seeds_needed,
)
from hncse.evaluation.resampling import bootstrap_t
from hncse.presets import OPTION_NAMES, PRESETS, resolve
from hncse.runs import find, list_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FEWEST", "POWER", "Difference", "against", "best_of", "best_of_normal", "compare", "curves",
    "difference", "half_width", "holm", "luck", "luck_normal", "means", "power", "seeds_needed", "sentence",
    "t_interval", "to_markdown", "tuned",
]  # fmt: skip

FEWEST = 6  # seeds in each arm, for a bootstrap
SAME = 1e-3  # points; equal weights score within 4e-5 of each other, by rounding in the encoder
_MANY = 1000  # seeds; beyond it a sentence says "more than"


# Means and differences


@dataclass(frozen=True)
class Difference:
    """A method's mean minus the baseline's; NaN where something is not known.

    Attributes:
        value: In points.
        low: End of Student's t interval (Welch's if not paired); NaN where there is no test.
        high: The other end.
        bootstrap_low: End of the bootstrap-t interval; NaN for fewer than six seeds, or where too many are equal.
        bootstrap_high: The other end.
        p: Two-sided, from t.
        p_equal: Of the two one-sided tests that the difference lies within ±margin; NaN without a margin.
        sd_difference: Over seeds: of the differences if paired, else the root of the two variances' mean.
        paired: Whether seeds stand against themselves.
        test: The test and its seeds in words.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan
    p: float = math.nan
    p_equal: float = math.nan
    sd_difference: float = math.nan
    paired: bool = True
    test: str = ""


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean of a few runs and half the width of its interval (Student's t).

    Args:
        values: One score a run.
        level: Coverage.

    Returns:
        Mean and half width; the latter is NaN for fewer than two values.
    """
    from scipy import special

    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, math.nan
    return mean, float(special.stdtrit(n - 1, 0.5 + level / 2)) * float(np.std(values, ddof=1)) / n**0.5


def means(scores: pd.DataFrame, by: str = "group", level: float = 0.95) -> pd.DataFrame:
    """Mean over seeds of each method.

    Args:
        scores: Columns ``by`` and ``value``, a row a run.
        by: Column that names methods.
        level: Coverage of the interval.

    Returns:
        A row for each value of ``by``, which is the index, in order of appearance: ``n`` seeds, ``mean``, ``sd`` (n -
        1; NaN for one seed), ``half`` of the t-interval's width (NaN for one seed).
    """
    import pandas as pd

    parts = {name: values.tolist() for name, values in scores.groupby(by, sort=False)["value"]}
    rows = [
        (len(values), *t_interval(values, level), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)
        for values in parts.values()
    ]
    return pd.DataFrame(rows, pd.Index(parts, dtype=object, name=by), ["n", "mean", "half", "sd"])


def difference(
    method: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    paired: bool | None = None,
    alpha: float = 0.05,
    margin: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare a method with a baseline, by scipy's ``ttest_rel`` or (Welch's) ``ttest_ind``.

    Args:
        method: Seed → score.
        baseline: Seed → score.
        paired: True tests the differences over the seeds both have, False two independent arms (Welch). None pairs if
            every seed of one is among the other's, as in a sweep or an unfinished one, and says Welch if not.
        alpha: One minus the intervals' coverage.
        margin: δ, the largest difference, in points, that would not matter; None: equality is not tested.
        resamples: Behind the bootstrap; 0 leaves it out.
        seed: Of the resampling.

    Returns:
        The difference; without a test where there are too few seeds for one, or where it is the same for every seed.
        Where no seed's scores differ by more than rounding (a thousandth of a point), 0 with p = 1.

    Raises:
        HncseError: No scores, some not finite; no seed in common, if paired; an impossible alpha or number of
            resamples.
    """
    from scipy import stats

    _check_margin(margin)
    check_settings(alpha=alpha, resamples=resamples)
    a, b = (check_scores(list(scores.values()), 1, "a mean") for scores in (method, baseline))
    common = sorted(method.keys() & baseline.keys())
    if paired is None:
        paired = len(common) == min(len(a), len(b))
    if paired and not common:
        raise HncseError(f"paired, but seeds {sorted(method)} and {sorted(baseline)} have none in common")
    if paired:
        a, b = np.array([method[s] for s in common]), np.array([baseline[s] for s in common])
    value = float((a - b).mean() if paired else a.mean() - b.mean())
    many = f"paired t over {len(a)} seed{'' if len(a) == 1 else 's'}"
    about: dict[str, Any] = {
        "paired": paired, "test": many if paired else f"Welch's t, seeds not the same: {len(a)} against {len(b)}"
    }  # fmt: skip
    if min(len(a), len(b)) < 2:
        return Difference(value, **about)
    if paired and np.abs(a - b).max() <= SAME:
        return Difference(0.0, p=1.0, p_equal=math.nan if margin is None else 0.0, sd_difference=0.0, **about)
    arms = [a - b] if paired else [a, b]
    sd = math.sqrt(float(np.mean([arm.var(ddof=1) for arm in arms])))
    if sd <= 1e-9 * float(np.abs(a).max()):  # t would be infinite
        return Difference(value, sd_difference=0.0, **about)
    t_test = stats.ttest_rel if paired else functools.partial(stats.ttest_ind, equal_var=False)
    test = t_test(a, b)
    low, high = test.confidence_interval(1 - alpha)
    if margin is not None:
        above, below = t_test(a + margin, b, alternative="greater"), t_test(a - margin, b, alternative="less")
        about["p_equal"] = float(max(above.pvalue, below.pvalue))
    ends: Any = math.nan, math.nan
    if resamples and all(len(arm) >= FEWEST and np.ptp(arm) > 0 for arm in arms):
        ends = bootstrap_t(arms, alpha, resamples, seed)
        ends = ends if np.isfinite(ends).all() else (math.nan, math.nan)
    return Difference(
        value, float(low), float(high), float(ends[0]), float(ends[1]), float(test.pvalue), sd_difference=sd,
        **about,
    )  # fmt: skip


def _check_margin(margin: float | None) -> None:
    if margin is not None and not 0 < margin < math.inf:
        raise HncseError(f"the margin is {margin}; it must be above 0: the largest difference that would not matter")


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values so that among true null hypotheses any is rejected at alpha with a chance of alpha at most.

    Holm 1979: the smallest is multiplied by their number m, the next by m - 1, and none falls below one before it.
    Five lines here, for statsmodels' ``multipletests`` collects garbage at every call, a quarter of a second; a test
    holds them equal.

    Args:
        p: NaN, where nothing was tested, stays NaN and does not count.

    Returns:
        In the same order.
    """
    corrected = np.array(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(corrected))
    order = tested[np.argsort(corrected[tested])]  # (m,)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * corrected[order]))
    return corrected.tolist()


# Whole tables


def compare(
    scores: pd.DataFrame,
    baseline: str | None,
    *,
    by: str = "method",
    family: str | None = None,
    paired: bool | None = None,
    alpha: float = 0.05,
    margin: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare methods with a baseline.

    Args:
        scores: Columns ``by``, ``seed`` and ``value`` (higher is better), a row a run.
        baseline: One of the values of ``by``; None where there is none: then nothing is tested, and each row says so.
        by: Column that names methods.
        family: Column that says which methods Holm corrects together; None: all of the table. Within each, methods of
            fewer than six seeds are corrected for themselves, where others have more.
        paired: As in `difference`, for all methods; None decides for each.
        alpha: Chance, over a family, of a verdict "better" or "worse" where no method differs.
        margin: As in `difference`.
        resamples: Behind the bootstrap intervals; 0 leaves them out.
        seed: Of the resampling.

    Returns:
        A row for each method, the baseline first, then the others by their means, lowest first: ``by``, ``baseline``,
        the columns of `means`, the fields of `Difference` (NaN where there is nothing to compare), ``p_holm``,
        ``tests`` (methods over which Holm corrects), ``alpha``, ``margin``, ``equal`` (whether it lies within
        ±margin), ``verdict`` ("baseline", "better", "worse", "not told apart", "not tested") and ``gap``: why there is
        no test, else "".

    Raises:
        HncseError: An unknown baseline, or as in `difference`.
    """
    import pandas as pd

    check_settings(alpha=alpha, resamples=resamples)
    check_scores(scores["value"].tolist(), 0, "a table")
    arms = {name: dict(zip(part["seed"], part["value"], strict=True)) for name, part in scores.groupby(by, sort=False)}
    if baseline is not None and baseline not in arms:
        raise unknown("baseline", baseline, arms)
    settings: dict[str, Any] = {
        "paired": paired,
        "alpha": alpha,
        "margin": margin,
        "resamples": resamples,
        "seed": seed,
    }
    others = [name for name in arms if baseline not in (None, name)]
    differences = {name: asdict(difference(arms[name], arms[str(baseline)], **settings)) for name in others}
    columns = list(Difference.__dataclass_fields__)
    rows = means(scores, by, 1 - alpha).join(pd.DataFrame.from_dict(differences, orient="index", columns=columns))
    rows = rows.sort_values("mean", kind="stable")
    rows = rows.sort_index(key=lambda names: names != baseline, kind="stable")  # the baseline first
    families = "" if family is None else rows.index.map(scores.groupby(by)[family].first())
    named = rows.assign(family=families, explores=rows["n"] < FEWEST).groupby(["family", "explores"])
    p_holm, p_equal = (named[name].transform(lambda each: holm(each.tolist())) for name in ("p", "p_equal"))
    rows = rows.assign(p_holm=p_holm, tests=named["p"].transform("count"), alpha=alpha, margin=margin)
    rows = rows.assign(equal=p_equal <= alpha)
    return _verdicts(rows.rename_axis(by).reset_index().assign(baseline=baseline))


def _verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    own = rows.iloc[:, 0] == rows["baseline"]
    verdicts = {
        "baseline": own, "not tested": rows["p_holm"].isna(), "not told apart": rows["p_holm"] > rows["alpha"],
        "better": rows["value"] > 0,
    }  # fmt: skip
    gaps = {
        "": own | rows["low"].notna(), "no baseline": rows["value"].isna(),
        "the same score with every seed": (rows["sd_difference"] == 0) & (rows["p"] == 1),
        "no spread over seeds to test with": rows["sd_difference"] == 0,
    }  # fmt: skip
    return rows.assign(
        verdict=np.select(list(verdicts.values()), list(verdicts), "worse"),
        gap=np.select(list(gaps.values()), list(gaps), "a test takes two seeds of both"),
    )


def against(
    frame: pd.DataFrame, measure: str = "sts", baseline: str = "simcse", *, solver: str = "senteval", **settings: Any
) -> pd.DataFrame:
    """Compare every method with the baseline that was trained as it was in everything else.

    Args:
        frame: From `hncse.evaluation.results`.
        measure: One of `hncse.evaluation.results.MEASURES`.
        baseline: Loss, with its options if it has any, as the column ``method`` has it.
        solver: Whose transfer results.
        **settings: Passed on to `compare`.

    Returns:
        As `compare`, with ``group`` as index, and ``method``, ``training``, ``family``. A method without such a
        baseline has no difference; its ``gap`` says so.
    """
    import pandas as pd

    scores = results.select(frame, measure, solver)
    parts = []
    for _, part in scores.groupby("training", sort=False):
        base = part.loc[part["method"] == baseline, "group"].tolist()
        compared = compare(part, base[0] if base else None, by="group", family="family", **settings)
        parts.append(compared if base else compared.assign(gap=f"no {baseline} trained alike"))
    names = scores.drop_duplicates("group").set_index("group")[["method", "training", "family"]]
    table = pd.concat(parts) if parts else compare(scores, None, by="group")
    return table.assign(baseline=baseline).join(names, on="group").set_index("group")


def tuned(frame: pd.DataFrame, by: str = "stsb-dev") -> list[str]:
    """Choose for each loss the one of its settings, options and training alike, that scores best, mean over seeds.

    Chosen on dev and then read on test, methods are compared each at its own best, not all at the baseline's. Settings
    are compared over the seeds that all of a loss's have; where they share none, each over its own.

    Args:
        frame: Of one encoder and corpus; runs without a score of ``by`` do not count.
        by: One of `hncse.evaluation.results.MEASURES`, not the one that will be read.

    Returns:
        Keys of the chosen groups, in the order of their losses.
    """
    chosen = []
    for _, part in results.select(frame, by).groupby("loss", sort=False):
        wide = part.pivot_table("value", "seed", "group", sort=False)
        shared = wide.dropna()
        chosen.append(str((shared if len(shared) else wide).mean().idxmax()))
    return chosen


def curves(frame: pd.DataFrame, measure: str = "stsb-dev", *, baseline: str = "simcse") -> pd.DataFrame:
    """Find every option in which runs of a method differ from its commonest setting alone.

    Args:
        frame: Of one corpus and encoder.
        measure: One of `hncse.evaluation.results.MEASURES`.
        baseline: Loss that stands beside the others; it has no curves of its own.

    Returns:
        A row for each point, with at least two to a method and option: ``method`` (its loss), ``option``, ``value``,
        ``seeds``, ``mean``, ``half`` (of the 95 % t-interval; NaN for one seed), ``default`` (whether the value is the
        preset's own or, of a parameter, the training's), ``centre`` (whether the other curves were
        made with it), and ``baseline_mean``, ``baseline_half``, ``baseline_seeds`` of the baseline trained alike in
        everything but its loss, NaN where nobody has. Values in order: numbers, then words.
    """
    import pandas as pd

    scores = results.select(frame, measure)
    scores = scores[scores["loss"].isin(PRESETS)]  # a loss of the reader's own has no options
    groups = scores.drop_duplicates("group")
    settings = pd.DataFrame(map(_setting, groups["parameters"]), index=groups["group"], dtype=object)
    average, rows = means(scores), []
    for method in dict.fromkeys(groups["loss"]):
        preset = _plain(asdict(resolve(method)))
        alike = settings[settings["loss"] == method] if method != baseline else settings[:0]
        centre = {name: _commonest(preset.get(name), values.tolist()) for name, values in alike.items() if len(alike)}
        unlike = alike.ne(pd.Series(centre, dtype=object))
        for option in centre:
            line = alike.loc[~unlike.drop(columns=option).any(axis=1), option]
            if len(line) < 2:
                continue
            defaults = preset if option in _OF_LOSS else _plain(results.defaults())
            for group, value in sorted(line.items(), key=lambda point: _by_value(point[1])):
                beside = settings[settings["loss"] == baseline].drop(columns=_OF_LOSS)
                trained = pd.Series({**centre, option: value}, dtype=object)[beside.columns]
                other = average.reindex(beside.index[beside.eq(trained).all(axis=1)][:1])
                mean, half, n = other[["mean", "half", "n"]].iloc[0] if len(other) else (math.nan, math.nan, 0)
                rows.append({
                    "method": method, "option": option, "value": value, "seeds": average.loc[group, "n"],
                    "mean": average.loc[group, "mean"], "half": average.loc[group, "half"],
                    "default": value == defaults.get(option), "centre": not unlike.loc[group].any(),
                    "baseline_mean": mean, "baseline_half": half, "baseline_seeds": int(n),
                })  # fmt: skip
    return pd.DataFrame(rows)


_OF_LOSS = ["loss", *(name for name in OPTION_NAMES if name not in ("temperature", "seed"))]


def _setting(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a run may differ in: training parameters, and all options of its loss."""
    options = asdict(resolve(parameters["loss"], **parameters["loss_options"]))
    hidden = (*results.IGNORED, "loss_options", "limit")
    values = {name: value for name, value in parameters.items() if name not in hidden}
    return _plain(values | {name: options[name] for name in _OF_LOSS[1:]})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and words as they are, all else as JSON or, of None, its name: comparable and hashable."""
    texts = {name: json.dumps(value) for name, value in values.items() if isinstance(value, (list, dict))}
    return {name: "None" if value is None else value for name, value in values.items()} | texts


def _commonest(first: Any, values: Sequence[Any]) -> Any:
    """The value that occurs most often; ``first`` where there are ties."""
    return max(dict.fromkeys([first, *values]), key=values.count)


def _by_value(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, (int, float))
    return not number, float(value) if number else 0.0, str(value)


# In words


def sentence(row: pd.Series, effect: float | None = None, target: float = POWER) -> str:
    """Say a verdict in a sentence.

    Args:
        row: From `compare` or `against`.
        effect: Where not told apart, say as well how many seeds a difference of this size takes. No such number is
            given for the difference that was observed: power at an observed effect says nothing that p does not.
        target: Power those seeds should have.
    """
    verdict, baseline = row["verdict"], row["baseline"]
    if verdict == "baseline":
        return f"the baseline, {_mean(row)} over {row['n']} seeds"
    if math.isnan(row["value"]):
        return f"not tested: {row['gap']}"
    if verdict == "not tested":
        return f"not tested against {baseline}: {row['value']:+.2f}, {row['test']}; {row['gap']}"
    if row["gap"]:
        return f"not told apart from {baseline}: {row['gap']}, {row['test']}"
    link = "from" if verdict == "not told apart" else "than"
    span = _span(row["low"], row["high"])
    text = f"{verdict} {link} {baseline}: {row['value']:+.2f} {span}, {row['test']}, {_p_words(row)}"
    if verdict == "not told apart" and effect:
        seeds = _seeds_words(row, effect, target)
        text += f"; a true difference of {abs(effect):.2f} takes {seeds} seeds each to see ({100 * target:g} % power)"
    if row["margin"]:
        text += f"; {'' if row['equal'] else 'not shown to be '}equal within ±{row['margin']:g}"
    return text


def to_markdown(
    compared: pd.DataFrame, about: str = "", *, by: str = "method", effect: float | None = None, target: float = POWER
) -> str:
    """Write a table of verdicts as Markdown, and under it each verdict as a sentence.

    Args:
        compared: From `compare`.
        about: What the scores are: measure, encoder, corpus.
        by: Column that names methods.
        effect: As in `sentence`.
        target: As in `sentence`.
    """
    first, rows = compared.iloc[0], [row for _, row in compared.iterrows()]
    level = f"{100 * (1 - first['alpha']):g} %"
    head = ["method", "verdict", "test", "seeds", "mean", "sd"]
    head += ["difference", f"{level} t", f"{level} bootstrap", "p", "p Holm"]
    few, many = (compared.loc[(compared["n"] < FEWEST) == explores, "tests"].max() for explores in (True, False))
    counts = [int(n) for n in (many, few) if n > 0] or [0]
    tested = f"{counts[0]} tested method{'' if counts[0] == 1 else 's'}"
    if len(counts) > 1:
        tested += f", and over the {counts[1]} of fewer than {FEWEST} seeds for themselves"
    caption = (
        f"{markdown(about)}{'. ' if about else ''}Mean ± half the {level} t-interval over seeds; differences from "
        f"{markdown(first['baseline'])} with {level} intervals (t; bootstrap-t, from {FEWEST} seeds on), two-sided p, "
        f"and p after Holm's correction over {tested}, on which verdicts rest (alpha {first['alpha']:g})."
    )
    if first["margin"]:
        caption += f" Equal within ±{first['margin']:g}: two one-sided t-tests (TOST), corrected likewise."
    words = [
        f"- **{markdown(row[by])}**: {sentence(row, effect, target)}." for row in rows if row["verdict"] != "baseline"
    ]
    parts = [caption, table(head, [[row[by], *_cells(row)] for row in rows], left=3), "\n".join(words)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: pd.Series) -> list[str]:
    """Of one method, all columns of a table of verdicts but its name."""
    untested = row["verdict"] in ("baseline", "not tested")
    test = "" if untested else "paired" if row["paired"] else "Welch"
    sd, value = ("" if math.isnan(row[name]) else row[name] for name in ("sd", "value"))
    return [
        row["verdict"], test, str(row["n"]), _mean(row), sd and f"{sd:.2f}", value if value == "" else f"{value:+.2f}",
        _span(row["low"], row["high"]), _span(row["bootstrap_low"], row["bootstrap_high"]), _p(row["p"]),
        _p(row["p_holm"]),
    ]  # fmt: skip


def _seeds_words(row: pd.Series, effect: float, target: float) -> str:
    """Seeds in each arm, or pairs, that see an effect at Holm's hardest step."""
    settings: dict[str, Any] = {"alpha": row["alpha"] / max(1, row["tests"]), "paired": bool(row["paired"])}
    if power(effect, row["sd_difference"], _MANY, **settings) < target:
        return f"more than {_MANY:,}"
    return f"about {seeds_needed(effect, row['sd_difference'], target=target, **settings)}"


def _p_words(row: pd.Series) -> str:
    if row["tests"] == 1:
        return f"p {_p(row['p'])}"
    corrected = f"{_p(row['p_holm'])} after Holm over {row['tests']} methods"
    only_alone = row["p"] <= row["alpha"] < row["p_holm"]
    return f"p {_p(row['p'])} alone but {corrected}" if only_alone else f"p {corrected}"


def _mean(row: pd.Series) -> str:
    return f"{row['mean']:.2f}" + ("" if math.isnan(row["half"]) else f" ± {row['half']:.2f}")


def _p(p: float) -> str:
    return Markup("" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}")


def _span(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{low:+.2f}, {high:+.2f}]"


# The command line


def _seed_lines(options: argparse.Namespace) -> Iterator[str]:
    effect, sd, paired = options.seeds_needed, options.sd, options.paired
    if sd is None:
        raise HncseError("--seeds-needed takes --sd as well: the standard deviation over seeds, 0.84 for BERT-base")
    n = seeds_needed(effect, sd, alpha=options.alpha, target=options.power, paired=paired)
    what = "of the paired differences, two-sided paired" if paired else "over seeds, two-sided"
    yield (
        f"A difference of {abs(effect):g} at sd {sd:g} {what} t-test at {options.alpha:g}, {100 * options.power:g} % "
        f"power: {n} {'pairs of runs with one seed' if paired else 'seeds for each method'}.\n"
    )
    counts = sorted({2, 3, 5, 8, 12, 20, n - 1, n} - {1})
    chances = [power(effect, sd, count, alpha=options.alpha, paired=paired) for count in counts]
    yield table(["seeds", *map(str, counts)], [["power", *(f"{100 * chance:.1f} %" for chance in chances)]])


def _verdict_texts(options: argparse.Namespace) -> Iterator[str]:
    measure, solver = options.measure, options.solver
    if options.runs:
        frame = results.from_runs(find(name) for name in options.runs)
    else:
        frame = results.load(tables=[options.csv] if options.csv else None)
    if options.encoder is not None:
        frame = frame[frame["encoder"] == options.encoder]
    scored = results.select(frame, measure, solver)
    if not len(scored):
        trained = frame[frame["kind"] == "trained"].drop_duplicates(["group", "seed"])
        have = sorted(set(frame["solver"]) - {""}) if measure in (*results.TRANSFER, "transfer") else []
        hint = f"; they have it of the solver {have[0]}: --solver {have[0]}" if have else ""
        raise HncseError(
            f"none of {len(trained)} runs has a score of {measure!r}{hint}; train and judge some: make train"
        )
    trained_alike = dict(results.trainings(scored).values()) if not options.across else results.scopes(scored)
    parts = {setting: results.named(part) for setting, part in trained_alike.items()}
    names = list(dict.fromkeys(name for part in parts.values() for name in part["name"]))
    if options.baseline not in names:
        raise unknown("baseline", options.baseline, names)
    for setting, part in parts.items():
        _check_probe(part, measure)
        if options.baseline not in set(part["name"]):
            yield f"{setting}: no run of {options.baseline}; only {', '.join(dict.fromkeys(part['name']))}.\n"
            continue
        if options.pairs:
            yield from _seeds_and_pairs(setting, part, options)
            continue
        family = None if options.across else "family"
        compared = compare(
            part, options.baseline, by="name", family=family, alpha=options.alpha, margin=options.margin,
            resamples=RESAMPLES if options.resamples is None else options.resamples,
        )  # fmt: skip
        about = f"{setting}; {results.measure_name(measure, solver)}. {results.sampled(part).rstrip('.')}"
        yield to_markdown(compared, about, by="name", effect=options.effect, target=options.power)


def _seeds_and_pairs(setting: str, part: pd.DataFrame, options: argparse.Namespace) -> Iterator[str]:
    """Every method less the baseline, over seeds and sentence pairs together."""
    from hncse.evaluation import doubt

    known = {run.name: run for run in (map(find, options.runs) if options.runs else list_runs())}
    arms = {name: [known[run] for run in rows["run"]] for name, rows in part.groupby("name", sort=False)}
    resamples = doubt.RESAMPLES if options.resamples is None else options.resamples
    compared = doubt.seeds_and_pairs(arms, options.baseline, options.tasks, resamples)
    of = "average of the seven STS tasks" if options.tasks is None else f"mean of {', '.join(options.tasks)}"
    yield (
        f"{markdown(setting)}; {of}, test split, Spearman × 100. Differences from {markdown(options.baseline)} over "
        f"the same seeds; 95 % intervals over seeds and sentence pairs together, {resamples} resamples, each method "
        f"for itself (no correction for how many there are). {results.sampled(part)}\n"
    )
    body = [[name, str(n), f"{value:+.2f}", _span(low, high)] for name, (n, value, low, high) in compared.items()]
    yield table(["method", "seeds", "difference", "95 %"], body)


def _check_probe(scored: pd.DataFrame, measure: str) -> None:
    """Raise where runs were scored on different probes: their difference would be the probes'."""
    versions = scored.drop_duplicates("probe_version")
    if measure.startswith("probe") and len(versions) > 1:
        raise HncseError(
            f"{' and '.join(versions['run'])} were scored on different versions of the probe; score the older again: "
            "hncse probe RUN"
        )


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="hncse statistics",
        description="Compare methods with a baseline over seeds, or count the seeds that an effect takes.",
    )
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="names or folders of runs; default: all")
    add("--csv", type=Path, help="results of hncse.evaluation.results, in place of run folders")
    add("--baseline", default="simcse", help="method to compare with (default simcse)")
    add("--across", action="store_true",
        help="all trainings of one encoder and corpus in one table; name one: --baseline 'simcse, temperature=0.1'",
    )  # fmt: skip
    add("--measure", default="sts", help=f"one of {' '.join(results.MEASURES)} (default sts)")
    add("--encoder", help="only runs of this encoder")
    add("--solver", default="senteval", help="whose transfer results: senteval (default) or fast")
    add("--alpha", type=float, default=0.05, help="chance of a false verdict in a table (default 0.05)")
    add("--power", type=float, default=POWER, help=f"wanted when seeds are counted (default {POWER})")
    add("--effect", type=float, help="a difference that matters: say what it takes to see it")
    add("--margin", type=float, default=results.MARGIN,
        help=f"a difference that would not matter: test whether each is smaller (TOST; default {results.MARGIN})",
    )  # fmt: skip
    add("--resamples", type=int, help=f"of the bootstrap (default {RESAMPLES}; with --pairs 1000)")
    add("--pairs", action="store_true",
        help="STS: resample the benchmark's sentence pairs together with the seeds; embeds them by each run's encoder, "
        "once, and keeps the cosines in its folder",
    )  # fmt: skip
    add("--tasks", nargs="+", metavar="TASK", help="with --pairs: these STS tasks alone, which is quicker")
    add("--seeds-needed", type=float, metavar="EFFECT", help="count the seeds for this difference")
    add("--sd", type=float, help="with --seeds-needed: standard deviation over seeds")
    add("--paired", action="store_true", help="with --seeds-needed: SD is that of paired differences")
    options = parser.parse_args(arguments)
    if options.tasks and not options.pairs:
        raise HncseError("--tasks are those of --pairs; name a single task with --measure STS12")
    if options.pairs and (options.csv or options.measure != "sts"):
        raise HncseError("--pairs embeds STS sentences by the encoders of run folders: leave out --csv and --measure")
    texts = _verdict_texts(options) if options.seeds_needed is None else _seed_lines(options)
    sys.stdout.write("\n".join(texts).rstrip("\n") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
