"""Geometry of embeddings: alignment, uniformity, and the decision boundary of one anchor.

On the unit sphere a squared distance is a cosine in other words, ‖x - y‖² = 2 - 2·cos(x, y); so the place where a
sentence would tie with the positive, cos = p, is the circle of all points as far from the anchor as the positive is.

Taught in notebooks/01_contrastive_learning.ipynb and notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse.errors import HncseError

__all__ = ["alignment", "angle", "normalised", "uniformity"]

Floats = NDArray[np.float64]
_CHUNK = 1 << 22  # cosines held at a time: 32 MiB


def alignment(x: ArrayLike, y: ArrayLike) -> float:
    """How far positives (n, d) are from their anchors (n, d): mean ‖f(x) - f(x⁺)‖² (Wang & Isola 2020), 0 to 4.

    Lower is closer. Rows are L2-normalised here; one without direction (all zeros, not finite) is an HncseError.
    """
    first, second = normalised(x), normalised(y)  # (n, d) each
    if first.shape != second.shape:
        raise HncseError(f"alignment compares row for row; shapes are {first.shape} and {second.shape}")
    return float(np.mean(np.sum((first - second) ** 2, axis=1)))


def uniformity(x: ArrayLike, t: float = 2.0) -> float:
    """How evenly embeddings (n, d) fill the sphere: log mean exp(-t‖f(x) - f(y)‖²) over pairs (Wang & Isola 2020).

    0: all rows in one place; evenly filled, a sphere of many dimensions tends to -2t. t is 2 in their paper, 1 in
    HNCSE's released code. Rows are L2-normalised here; fewer than two, or one without direction, are an HncseError.
    """
    rows = normalised(x)  # (n, d)
    n = len(rows)
    if n < 2:
        raise HncseError(f"uniformity is a mean over pairs of rows; there are {n}, two are needed")
    step, total = max(1, _CHUNK // n), 0.0
    for begin in range(0, n, step):
        cosine = rows[begin : begin + step] @ rows[begin:].T  # (step, n - begin) from the diagonal on
        total += float(np.triu(np.exp(2 * t * (cosine - 1.0)), k=1).sum())  # -t·(2 - 2cos); each pair once
    return float(np.log(total / (n * (n - 1) / 2)))


def angle(cosine: ArrayLike) -> Floats:
    """Degrees between two directions of that cosine: the distance along the sphere, in the cosines' shape.

    A value beyond ±1 by rounding counts as ±1.
    """
    return np.degrees(np.arccos(np.clip(np.asarray(cosine, dtype=np.float64), -1.0, 1.0)))


def normalised(x: ArrayLike) -> Floats:
    """Rows of length 1, float64, (n, d); HncseError for no rows, or one that is all zeros or not finite."""
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2:
        raise HncseError(f"embeddings have two axes, (n, d); this has shape {rows.shape}")
    if not rows.size:
        raise HncseError(f"there are no rows to measure; the shape is {rows.shape}")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)  # (n, 1)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise HncseError(f"row {bad[0]} has no direction: its length is {norms[bad[0], 0]:g}")
    return rows / norms
