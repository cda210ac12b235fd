"""Two ways to make embeddings flat: a polar map that cannot lie about the boundary, and UMAP, which can.

**The polar map** (`polar`). A sentence's distance from the middle is its exact angle to the anchor, so the decision
boundary cos = p is a true circle and nothing is ever on the wrong side. A flat picture has one freedom left, the
direction, and that is taken from the tangent: what of a sentence points away from the anchor. Up is the positive's own
direction, exactly; to the right is the direction in which the group's sentences differ most beyond that (the first
principal component of their tangents, `sideways`). UMAP could give directions too, but then a mix would have none, one
moving sentence would move all others, and every seed would turn the map; the tangent is linear, so that a mix lies
between its parents, and the same embeddings give the same map. What is lost is told: `polar` returns how much of each
sentence's direction the two hold.

**The free map** (`fit`, `place`, `Surface`). UMAP lays out the sentences of one moment; a mix is put among them by
Shepard's rule; where the boundary would run is guessed. It is there to be distrusted.

Taught in notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse.errors import HncseError
from hncse.evaluation.geometry import angle, normalised

__all__ = ["Surface", "fit", "place", "polar", "sideways", "trust", "turn_onto"]

Floats = NDArray[np.float64]
NEIGHBOURS, EPOCHS, MIN_DIST = 12, 500, 0.99


def turn_onto(z: ArrayLike, onto: ArrayLike) -> Floats:
    """Rotate embeddings (n, d) as a whole so that they lie on others of the same sentences as well as they can."""
    rows = np.asarray(z, dtype=np.float64)
    here, there = normalised(rows), normalised(onto)
    if here.shape != there.shape:
        raise HncseError(f"snapshots of shapes {here.shape} and {there.shape} do not hold the same sentences")
    u, _, vt = np.linalg.svd(here.T @ there)  # (d, d)
    return rows @ (u @ vt)


def sideways(moments: Sequence[ArrayLike]) -> Floats:
    """The direction (d,) in which sentences differ most, seen from their anchor and across their positive's direction.

    The first principal component of the tangents of all moments, (m, d) each, anchor first, then the positive, turned
    onto one another; signed so that the largest share is positive.
    """
    across = []
    for z in moments:
        tangent, up = _tangents(normalised(z))
        across.append(tangent[2:] - np.outer(tangent[2:] @ up, up))  # (m-2, d)
    rows = np.concatenate(across)
    axis = np.linalg.svd(rows, full_matrices=False)[2][0] if len(rows) else np.zeros(np.shape(moments[0])[1])
    shares = rows @ axis
    return -axis if len(rows) and shares[np.abs(shares).argmax()] < 0 else axis


def polar(z: ArrayLike, side: ArrayLike) -> tuple[Floats, Floats]:
    """Place embeddings (m, d) round the first, their anchor: at the exact angle to it, in the tangent's direction.

    Up is the second row's direction, the positive's; right is ``side`` (d,) from `sideways`.

    Returns:
        Places (m, 2) in degrees, the anchor at (0, 0); and (m,) how much of each tangent the two directions hold, 0 to
        1. A sentence without direction (the anchor's copy, its opposite, one at right angles to both) is put to the
        right.
    """
    unit = normalised(z)
    tangent, up = _tangents(unit)
    right = np.asarray(side, dtype=np.float64)
    right = right - (right @ unit[0]) * unit[0] - (right @ up) * up
    length = np.linalg.norm(right)
    flat = tangent @ np.stack([right / length if length > 1e-9 else 0 * right, up]).T  # (m, 2)
    held = np.linalg.norm(flat, axis=1)
    flat = np.where(held[:, None] > 1e-9, flat / np.maximum(held, 1e-9)[:, None], [1.0, 0.0])
    flat[0], flat[1] = 0.0, [0.0, 1.0]
    return flat * angle(unit @ unit[0])[:, None], np.minimum(held, 1.0)


def _tangents(unit: Floats) -> tuple[Floats, Floats]:
    """What of unit rows (m, d) points away from the first, (m, d), of length 1 or 0; and the second row's."""
    tangent = unit - np.outer(unit @ unit[0], unit[0])
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    tangent = np.where(length > 1e-9, tangent / np.maximum(length, 1e-9), 0.0)
    return tangent, tangent[1]


def fit(reference: ArrayLike, *, neighbours: int = NEIGHBOURS, min_dist: float = MIN_DIST, seed: int = 0) -> Floats:
    """Lay out embeddings (n, d) with UMAP (cosine, exact neighbours, started from the principal components).

    Args:
        reference: (n, d), at least four rows.
        neighbours: How many neighbours of each point the layout keeps near; cut to n - 1.
        min_dist: How near points may come to each other, 0 to 1.
        seed: Of the layout.

    Returns:
        (n, 2) places, centred, the farthest at distance 1.
    """
    rows = normalised(reference)
    if len(rows) < 4:
        raise HncseError(f"a map needs at least 4 points, there are {len(rows)}")
    if rows.shape[1] < 2:
        raise HncseError("embeddings of one number have no directions but two; a map needs a width of 2 or more")
    if neighbours < 2:
        raise HncseError(f"neighbours is {neighbours}; a map needs 2 or more of each point")
    if not 0 <= min_dist <= 1:
        raise HncseError(f"min_dist is {min_dist!r}; it must lie in 0 to 1")
    neighbours = min(neighbours, len(rows) - 1)
    distance, nearest = _nearest(rows, rows, neighbours)
    return layout(rows, distance, nearest, min_dist=min_dist, seed=seed, epochs=EPOCHS)


def layout(
    rows: ArrayLike, distance: NDArray[Any], nearest: NDArray[np.int64], *, min_dist: float, seed: int,
    epochs: int | None = None,
) -> Floats:  # fmt: skip
    """Lay out unit rows (n, d) as `fit`, from (n, k) distances and indices of their nearest, themselves first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap: one thread because of the seed, no search index for `transform`
        import umap

        mapper = umap.UMAP(
            n_neighbors=nearest.shape[1], metric="cosine", min_dist=min_dist, n_epochs=epochs, init="pca",
            random_state=seed, n_jobs=1, precomputed_knn=(nearest, distance.astype(np.float32)),
        )  # fmt: skip
        flat = np.asarray(mapper.fit_transform(np.asarray(rows, dtype=np.float32)), dtype=np.float64)  # (n, 2)
    flat -= flat.mean(axis=0)
    return flat / np.linalg.norm(flat, axis=1).max()


def place(points: ArrayLike, reference: ArrayLike, places: ArrayLike, *, k: int = 6) -> Floats:
    """Put points (m, d) into a finished map (n, 2): the mean of their k nearest mapped points, weighted by 1/distance².

    Distance is measured straight through the unit sphere; its square is 2 - 2·cosine. A mapped point gets its own place
    exactly, and no point depends on another.
    """
    rows, mapped, flat = normalised(points), normalised(reference), np.asarray(places, dtype=np.float64)
    if len(mapped) != len(flat):
        raise HncseError(f"{len(mapped)} embeddings and {len(flat)} places; a map has one for each")
    if rows.shape[1] != mapped.shape[1] or k < 1:
        raise HncseError(
            f"points of width {rows.shape[1]} cannot be put among {k} neighbours of width {mapped.shape[1]}; widths "
            "must be equal and k at least 1"
        )
    distance, nearest = _nearest(rows, mapped, min(k, len(mapped)))
    weight = 1.0 / (distance + 1e-12)  # (m, k); 1 - cosine is half the squared distance
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("mk,mkc->mc", weight, flat[nearest])


class Surface:
    """A quantity known at points of the map, guessed everywhere: the map's best guess, and no more than that.

    A smoothed linear spline through the points (scipy's RBFInterpolator).
    """

    def __init__(self, places: ArrayLike, values: ArrayLike) -> None:
        """Take (n, 2) places and (n,) values, finite, n at least 3."""
        from scipy.interpolate import RBFInterpolator

        known = np.column_stack([np.asarray(places, float), np.asarray(values, float)])  # (n, 3)
        if len(known) < 3 or not np.isfinite(known).all():
            raise HncseError(f"a surface is guessed from three finite points or more; {len(known)} were given")
        self._guess = RBFInterpolator(known[:, :2], known[:, 2], kernel="linear", smoothing=0.002)

    def __call__(self, places: ArrayLike) -> Floats:
        """Guess at (m, 2) places: (m,)."""
        return self._guess(np.asarray(places, dtype=np.float64))

    def grid(self, box: tuple[float, float, float, float], n: int = 90) -> tuple[Floats, Floats, Floats]:
        """Guess on a grid: x (n,), y (n,) and values (n, n), row by y; ``box`` is left, right, bottom, top."""
        x, y = np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], n)
        across, up = np.meshgrid(x, y)
        return x, y, self(np.stack([across.ravel(), up.ravel()], axis=1)).reshape(n, n)


def trust(embeddings: ArrayLike, places: ArrayLike) -> float:
    """Trustworthiness (Venna & Kaski): 1 when the map's five nearest are true neighbours, lower for those it made up.

    They are fewer below n/2, where the measure is defined; fewer than three rows are an HncseError.
    """
    from sklearn.manifold import trustworthiness

    rows = normalised(embeddings)
    if len(rows) < 3 or np.shape(places) != (len(rows), 2):
        raise HncseError(
            f"{len(rows)} embeddings and places of shape {np.shape(places)}; trust is measured on three rows or more "
            "with a place (x, y) each"
        )
    k = max(1, min(5, (len(rows) - 1) // 2))
    return float(trustworthiness(rows, np.asarray(places), n_neighbors=k))


def _nearest(rows: Floats, known: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Cosine distances and indices (m, k) of each row's k nearest known ones, nearest first; ties by index."""
    distance = np.maximum(1.0 - rows @ known.T, 0.0)  # (m, n)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, order, axis=1), order
