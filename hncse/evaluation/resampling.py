"""Bootstrap intervals without a loop over resamples: over groups of the probe, and over seeds.

Sentences of one group share an anchor, so groups, not pairs, are what is drawn. A resample is a row of counts: how
often each group was drawn. Rates and Spearman's ρ are computed from the counts, exactly as if the rows had been copied.

Over seeds what is resampled is t itself (scipy's bootstrap has no such method). The plain percentile bootstrap would be
too sure of itself: with 6 seeds its 95 % intervals hold the truth 87 % of the time. The price is width: 1.1 times
Student's in the median for 6 seeds of normal scores, 1.03 times for 12. With fewer than 6, resamples of two or three
seeds that happen to be close decide the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bootstrap_t", "draw_groups", "interval", "rate", "spearman"]

Floats = NDArray[np.float64]
_CHUNK = 250  # resamples at a time: 250 × 5,000 pairs in float64 is 10 MB


def draw_groups(n_groups: int, resamples: int, seed: int = 0) -> Floats:
    """Draw n_groups groups with replacement, `resamples` times.

    Returns:
        (B, G) counts, as float64; every row sums to G.
    """
    draw = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), resamples)
    return draw.astype(np.float64)


def interval(resampled: Floats) -> list[float] | None:
    """Return the middle 95 % of resampled values (B,), NaN left out; None where there are none."""
    if not np.isfinite(resampled).any():
        return None
    low, high = np.nanpercentile(resampled, (2.5, 97.5))
    return [float(low), float(high)]


def rate(hits: Floats, group: NDArray[np.int64], counts: Floats) -> dict[str, Any]:
    """Percentage of hits, with an interval.

    Where every hit is 0 (or 1) all resamples agree and a bootstrap shows no doubt at all; the exact binomial bound over
    the groups seen stands in for it there.

    Args:
        hits: (M,) between 0 and 1.
        group: (M,) the group of each.
        counts: (B, G) from `draw_groups`; B = 0 leaves the interval None.

    Returns:
        ``value`` and ``interval`` in percent, ``n`` = M.
    """
    n_groups = counts.shape[1]
    won = np.bincount(group, weights=hits, minlength=n_groups)  # (G,)
    size = np.bincount(group, minlength=n_groups).astype(np.float64)  # (G,)
    value = float(won.sum() / size.sum())
    if len(counts) and value in (0.0, 1.0):
        bound = 0.025 ** (1 / np.count_nonzero(size))  # Clopper-Pearson, 0 or all of the groups
        span: list[float] | None = [0.0, 100 * (1 - bound)] if value == 0 else [100 * bound, 100.0]
    else:
        with np.errstate(invalid="ignore"):  # a resample that drew none of these groups: NaN
            span = interval(100 * (counts @ won) / (counts @ size))
    return {"value": 100 * value, "interval": span, "n": len(hits)}


def spearman(x: Floats, y: Floats, group: NDArray[np.int64], counts: Floats) -> Floats:
    """Spearman's ρ of every resample, ties sharing their mean rank.

    Args:
        x: (…, P) values; several rows are each correlated with y.
        y: (P,) values.
        group: (P,) the group of each pair.
        counts: (B, G) from `draw_groups`, or ones (1, G) for the data themselves.

    Returns:
        (…, B); 0 where x or y has a single value and ρ is undefined.
    """
    rho = np.empty((*x.shape[:-1], len(counts)))
    for start in range(0, len(counts), _CHUNK):
        weights = counts[start : start + _CHUNK, group]  # (b, P)
        ranks = _midranks(y, weights)
        for place in np.ndindex(x.shape[:-1]):
            rho[(*place, slice(start, start + _CHUNK))] = _pearson(_midranks(x[place], weights), ranks, weights)
    return rho


def bootstrap_t(
    arms: Sequence[Floats], alpha: float = 0.05, resamples: int = 10_000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Bootstrap-t interval of a mean, or of the difference of two; many data sets at once.

    Args:
        arms: One or two arrays (..., n), n ≥ 2 each, no data set without spread.
        alpha: One minus the coverage.
        resamples: B, the same for every data set.
        seed: Of the resampling.

    Returns:
        Low and high end, (...) each; infinite where too many resamples have no spread.
    """
    means = [arm.mean(axis=-1, keepdims=True) for arm in arms]  # (..., 1)
    value = (means[0] - (means[1] if len(arms) == 2 else 0.0))[..., 0]  # (...)
    error2 = sum(arm.var(axis=-1, ddof=1) / arm.shape[-1] for arm in arms)  # (...)
    shift: Any = 0.0
    spread2: Any = 0.0
    for i, (arm, mean) in enumerate(zip(arms, means, strict=True)):
        n = arm.shape[-1]
        share = draw_groups(n, resamples, seed + i).T / n  # (n, B)
        moved = (arm - mean) @ share  # (..., B)
        shift = shift - moved if i else moved
        spread2 = spread2 + ((arm - mean) ** 2 @ share - moved**2) / (n - 1)
    varied = spread2 > 1e-9 * np.expand_dims(error2, -1)  # less is what rounding leaves of none
    t = np.divide(shift, np.sqrt(np.maximum(spread2, 0)), out=np.copysign(np.inf, shift), where=varied)  # (..., B)
    low_t, high_t = np.quantile(t, (alpha / 2, 1 - alpha / 2), axis=-1, method="inverted_cdf")  # no inf - inf
    return value - high_t * np.sqrt(error2), value - low_t * np.sqrt(error2)


def _midranks(values: Floats, weights: Floats) -> Floats:
    """Ranks of values (P,) where value p stands weights[b, p] times: (b, P)."""
    order = np.argsort(values)
    _, first, inverse = np.unique(values[order], return_index=True, return_inverse=True)
    count = np.add.reduceat(weights[:, order], first, axis=1)  # (b, distinct values)
    middle = np.cumsum(count, axis=1) - (count - 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, inverse]
    return ranks


def _pearson(x: Floats, y: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))  # (b,)
    return np.divide((weights * x * y).sum(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
