"""How large luck is: exact for normal scores (power) and for lists of scores (every way of drawing counts once)."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError

__all__ = [
    "POWER", "RESAMPLES", "best_of", "best_of_normal", "check_scores", "check_settings", "half_width", "luck",
    "luck_normal", "power", "seeds_needed",
]  # fmt: skip

POWER = 0.8  # the share of studies that should see an effect that is there
RESAMPLES = 10_000
_MOST = 10_000_000  # seeds; more is an answer nobody can use
_CELLS = 20_000_000  # float64 that `luck` may hold: 160 MB


def power(effect: float, sd: float, n: int, *, alpha: float = 0.05, paired: bool = False) -> float:
    """Chance that a two-sided t-test sees an effect.

    Args:
        effect: True difference between two methods, in points.
        sd: Standard deviation over seeds within a method; if paired, of the differences seed by seed.
        n: Seeds in each arm; if paired, pairs.
        alpha: Level of the test.
        paired: Whether the same seeds stand in both arms and their differences are tested.

    Returns:
        Between alpha (no effect) and 1.

    Raises:
        HncseError: sd is not positive, n is below 2, alpha is no share.
    """
    if n < 2:
        raise HncseError(f"n is {n}; a t-test needs at least 2 seeds")
    check_settings(effect, sd, alpha)
    from scipy import stats

    df, shift = (n - 1, math.sqrt(n)) if paired else (2 * (n - 1), math.sqrt(n / 2))
    shift *= abs(effect) / sd
    threshold = stats.t.isf(alpha / 2, df)
    wrong_side = stats.nct.cdf(-threshold, df, shift)  # underflows to NaN where it is next to nothing
    return min(1.0, float(stats.nct.sf(threshold, df, shift)) + float(np.nan_to_num(wrong_side)))


def seeds_needed(effect: float, sd: float, *, alpha: float = 0.05, target: float = POWER, paired: bool = False) -> int:
    """Count the seeds that let a two-sided t-test see an effect.

    On BERT-base (sd 0.84) a difference of 1.0 takes 13 seeds in each arm; 12 see it with 79.6 % power.

    Args:
        effect: As in `power`; its sign is ignored.
        sd: As in `power`.
        alpha: Level of the test.
        target: Power wanted.
        paired: As in `power`.

    Returns:
        The least n whose `power` is at least ``target``: seeds in each arm, or pairs.

    Raises:
        HncseError: As in `power`; no effect, an impossible target, or more than ten million seeds.
    """
    check_settings(effect, sd, alpha)
    if effect == 0:
        raise HncseError("the effect is 0: no number of seeds shows it; name the smallest difference that matters")
    if not alpha < target < 1:
        raise HncseError(f"the power wanted is {target}; it must lie between alpha, {alpha}, and 1, such as {POWER}")

    def enough(n: int) -> bool:
        return power(effect, sd, n, alpha=alpha, paired=paired) >= target

    high = 2
    while not enough(high):
        if high == _MOST:
            raise HncseError(f"an effect of {effect:g} at sd {sd:g} takes more than {_MOST:,} seeds; name a larger one")
        high = min(2 * high, _MOST)
    counts = range(max(2, high // 2), high + 1)
    return counts[bisect.bisect_left(counts, True, key=enough)]


def half_width(sd: float, n: int, level: float = 0.95) -> float:
    """Half the width of the interval of a difference between two means of n seeds each, the sd being known (normal)."""
    check_settings(0.0, sd, 1 - level, n=n)
    from scipy import stats

    return float(stats.norm.isf((1 - level) / 2)) * sd * math.sqrt(2 / n)


def luck(scores: Sequence[float], difference: float, k: int = 1, *, decimals: int = 2) -> float:
    """Share of pairs of runs of one method that differ by at least so much, though nothing sets them apart.

    Exact: every two disjoint sets of k runs count once. They are counted by the difference of their sums, a run after
    the other: the number of ways to reach a difference with a runs on one side and b on the other.

    Args:
        scores: (n,) one a seed, n ≥ 2k.
        difference: In points, at least 0.
        k: Runs in each mean.
        decimals: Scores are rounded to so many first, as tables print them.

    Returns:
        Between 0 and 1.

    Raises:
        HncseError: Too few scores, some not finite, or too many ways to count.
    """
    check_settings(k=k)
    values = check_scores(scores, 2 * k, f"to compare means of {k}")
    if not difference >= 0:
        raise HncseError(f"the difference is {difference}; it must be 0 or more points, such as 1.0")
    scaled = np.rint(values * 10**decimals)
    units = [int(u) for u in scaled - scaled.min()]
    reach = k * max(units)  # the largest difference of two sums
    size = 2 * reach + 1
    if (k + 1) ** 2 * size > _CELLS:
        raise HncseError(
            f"k is {k}, scores span {np.ptp(values):g}: too many ways to count; take a smaller k, or luck_normal"
        )
    ways = np.zeros((k + 1, k + 1, size))  # [a, b, difference + reach]
    ways[0, 0, reach] = 1
    for u in units:
        before = ways.copy()
        ways[1:, :, u:] += before[:-1, :, : size - u]
        ways[:, 1:, : size - u] += before[:, :-1, u:]
    enough = np.abs(np.arange(size) - reach) >= difference * k * 10**decimals - 1e-6  # (size,)
    return float(ways[k, k, enough].sum() / ways[k, k].sum())


def luck_normal(sd: float, difference: float, k: int = 1) -> float:
    """Return `luck` of normal scores with this standard deviation."""
    check_settings(difference, sd, k=k)
    from scipy import stats

    return 2 * float(stats.norm.sf(abs(difference) / (sd * math.sqrt(2 / k))))


def best_of(scores: Sequence[float], k: int) -> float:
    """Points gained by printing the best of k runs in place of their mean.

    Exact: the mean over all sets of k runs of their highest score, less the mean of all.

    Args:
        scores: (n,) one a seed, n ≥ k.
        k: Runs of which the best is printed.

    Raises:
        HncseError: Too few scores, or some not finite.
    """
    check_settings(k=k)
    values = np.sort(check_scores(scores, k, f"to take the best of {k}"))
    from scipy.special import comb

    highest = comb(np.arange(len(values)), k - 1) / comb(len(values), k)  # (n,) share of sets whose highest is the i-th
    return float(highest @ values - values.mean())


def best_of_normal(sd: float, k: int) -> float:
    """Return `best_of` of normal scores with this standard deviation: sd · E[largest of k standard normals]."""
    check_settings(0.0, sd, k=k)
    from scipy import integrate, stats

    def density(x: float) -> float:
        return x * k * float(stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1))

    return sd * float(integrate.quad(density, -12, 12, limit=200)[0])


def check_scores(scores: Sequence[float], least: int, purpose: str) -> NDArray[np.float64]:
    """Scores (n,) as float64; refused where fewer than ``least`` or not finite."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise HncseError(f"{values.size} scores were given; {purpose} takes at least {least}")
    if not np.isfinite(values).all():
        raise HncseError("a score is NaN or infinite; has a training diverged? Leave that run out, and say so")
    return values


def check_settings(
    effect: float = 0.0, sd: float = 1.0, alpha: float = 0.05, resamples: int = 0, **counts: int
) -> None:
    """Refuse an effect, a deviation, a level or a number that cannot be."""
    if not math.isfinite(effect):
        raise HncseError(f"the effect is {effect}; it must be a number of points, such as 1.0")
    if not (sd > 0 and math.isfinite(sd)):
        raise HncseError(f"sd is {sd}; it must be positive, such as 0.84 (SimCSE on BERT-base)")
    if not 0 < alpha < 1:
        raise HncseError(f"alpha is {alpha}; it must lie between 0 and 1, such as 0.05")
    if resamples < 0:
        raise HncseError(f"resamples is {resamples}; it must be 0 (no bootstrap) or a number such as {RESAMPLES:,}")
    for name, count in counts.items():
        if count < 1:
            raise HncseError(f"{name} is {count}; it must be 1 run or more")
