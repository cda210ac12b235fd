"""A flat map of embeddings that stays comparable while the embeddings move: UMAP fitted once, everything placed in it.

Three steps, each with its reason:

1. **Turn** (`turn_onto`). Training also rotates the whole sphere, and a rotation changes no cosine: nothing should move
   because of it. So every snapshot is first turned onto a common one by the best rotation (orthogonal Procrustes).
2. **Fit once** (`fit`, on `middle`). UMAP lays out each sentence's mean direction over the first and last snapshots of
   all runs that are compared, on exact cosine neighbours.
3. **Place** (`place`). A sentence at any step, and a mix that no sentence has, is put by one fixed rule: the mean of
   its nearest mapped points, weighted by 1/distance² (Shepard's rule). It moves as it nears some and leaves others.

In a fit for every snapshot, or in `umap.AlignedUMAP`, moving one sentence moves all others, a mix can only be shown by
fitting again, and unrelated sentences jump from step to step (`drift` measures it; notebook 04 prints it). Here each
point's place depends on its own embedding alone. UMAP's own ``transform`` moves its points by random draws, and the
search index it builds takes a minute to compile.

The same embeddings give the same map, bit for bit on one machine: the seed is fixed, and UMAP then works on one thread.

Taught in notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hncse.errors import HncseError
from hncse.evaluation.geometry import normalised
from hncse.files import whole_file

__all__ = ["Surface", "drift", "fit", "fit_cached", "middle", "place", "trust", "turn_onto"]

Floats = NDArray[np.float64]
NEIGHBOURS, EPOCHS, MIN_DIST = 12, 500, 0.99
_FORMAT = "hncse map 1"  # raise it when the same embeddings would give another map


def turn_onto(z: ArrayLike, onto: ArrayLike) -> Floats:
    """Rotate embeddings as a whole so that they lie on others as well as they can.

    Args:
        z: (n, d) embeddings of a snapshot.
        onto: (n, d) the same sentences' embeddings in the snapshot all are turned onto.

    Returns:
        (n, d); lengths and all cosines within it are those of ``z``.

    Raises:
        HncseError: Shapes that differ, or a row without direction.
    """
    rows = np.asarray(z, dtype=np.float64)
    here, there = normalised(rows), normalised(onto)
    if here.shape != there.shape:
        raise HncseError(f"snapshots of shapes {here.shape} and {there.shape} do not hold the same sentences")
    u, _, vt = np.linalg.svd(here.T @ there)  # (d, d)
    return rows @ (u @ vt)


def middle(snapshots: Sequence[ArrayLike]) -> Floats:
    """Mean direction of each sentence over snapshots: (n, d) unit rows from arrays (n, d), turned beforehand.

    Raises:
        HncseError: No snapshots, shapes that differ, a sentence whose directions cancel, or one without direction.
    """
    shapes = {np.shape(z) for z in snapshots}
    if len(shapes) != 1:
        raise HncseError(f"snapshots of shapes {sorted(shapes)} have no common middle; give some of one shape")
    return normalised(np.mean([normalised(z) for z in snapshots], axis=0))


def fit(reference: ArrayLike, *, neighbours: int = NEIGHBOURS, seed: int = 0) -> Floats:
    """Lay out embeddings with UMAP (cosine, exact neighbours, started from the principal components).

    Args:
        reference: (n, d), at least four rows.
        neighbours: How many neighbours of each point the layout keeps near; cut to n - 1.
        seed: Of the layout.

    Returns:
        (n, 2) places, centred, the farthest at distance 1.

    Raises:
        HncseError: Fewer than four rows, rows of one number, fewer than two neighbours, or a row without direction.
    """
    rows = normalised(reference)
    if len(rows) < 4:
        raise HncseError(f"a map needs at least 4 points, there are {len(rows)}")
    if rows.shape[1] < 2:
        raise HncseError("embeddings of one number have no directions but two; a map needs a width of 2 or more")
    if neighbours < 2:
        raise HncseError(f"neighbours is {neighbours}; a map needs 2 or more of each point")
    neighbours = min(neighbours, len(rows) - 1)
    distance, nearest = _nearest(rows, rows, neighbours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap: one thread because of the seed, no search index for `transform`
        import umap

        mapper = umap.UMAP(
            n_neighbors=neighbours, metric="cosine", min_dist=MIN_DIST, n_epochs=EPOCHS, init="pca", random_state=seed,
            n_jobs=1, precomputed_knn=(nearest, distance.astype(np.float32)),
        )  # fmt: skip
        flat = np.asarray(mapper.fit_transform(rows.astype(np.float32)), dtype=np.float64)  # (n, 2)
    flat -= flat.mean(axis=0)
    return flat / np.linalg.norm(flat, axis=1).max()


def fit_cached(reference: ArrayLike, folder: Path) -> Floats:
    """The same, kept in a folder: importing and compiling UMAP takes far longer than the layout.

    A file's name is a hash of embeddings and settings, so a map of other embeddings is never found. A damaged file is
    made again; a folder that cannot be written keeps nothing.

    Args:
        reference: As in `fit`.
        folder: Where maps lie: a run's ``maps/``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save

    rows = np.ascontiguousarray(reference, dtype=np.float64)
    digest = hashlib.sha256(f"{_FORMAT} {rows.shape} {NEIGHBOURS} {EPOCHS} {MIN_DIST} 0".encode())
    digest.update(rows.tobytes())
    path = folder / f"{digest.hexdigest()[:24]}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        flat = load_file(path)["places"]
        if flat.shape == (len(rows), 2):
            return flat
    flat = fit(rows)
    with contextlib.suppress(HncseError), whole_file(path, "wb") as file:
        file.write(save({"places": flat}))
    return flat


def place(points: ArrayLike, reference: ArrayLike, places: ArrayLike, *, k: int = 6) -> Floats:
    """Put points into a finished map: the mean of their k nearest mapped points, weighted by 1/distance².

    Distance is measured straight through the unit sphere; its square is 2 - 2·cosine. A mapped point gets its own place
    exactly, and no point depends on another.

    Args:
        points: (m, d) embeddings.
        reference: (n, d) embeddings the map was fitted on.
        places: (n, 2) from `fit`.
        k: How many nearest; cut to n.

    Returns:
        (m, 2).

    Raises:
        HncseError: A row without direction, widths that differ, k below 1, or not one place for each embedding.
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

    def __init__(self, places: ArrayLike, values: ArrayLike, smoothing: float = 0.002) -> None:
        """Take (n, 2) places and (n,) values, n at least 3.

        Raises:
            HncseError: Fewer, or numbers that are not finite.
        """
        from scipy.interpolate import RBFInterpolator

        known = np.column_stack([np.asarray(places, float), np.asarray(values, float)])  # (n, 3)
        if len(known) < 3 or not np.isfinite(known).all():
            raise HncseError(f"a surface is guessed from three finite points or more; {len(known)} were given")
        self._guess = RBFInterpolator(known[:, :2], known[:, 2], kernel="linear", smoothing=smoothing)

    def __call__(self, places: ArrayLike) -> Floats:
        """Guess at (m, 2) places: (m,)."""
        return self._guess(np.asarray(places, dtype=np.float64))

    def grid(self, box: tuple[float, float, float, float], n: int = 90) -> tuple[Floats, Floats, Floats]:
        """Guess on a grid: x (n,), y (n,) and values (n, n), row by y; ``box`` is left, right, bottom, top."""
        x, y = np.linspace(box[0], box[1], n), np.linspace(box[2], box[3], n)
        across, up = np.meshgrid(x, y)
        return x, y, self(np.stack([across.ravel(), up.ravel()], axis=1)).reshape(n, n)


def trust(embeddings: ArrayLike, places: ArrayLike, k: int = 5) -> float:
    """Trustworthiness (Venna & Kaski): 1 when the map's k nearest are true neighbours, lower for those it made up.

    Args:
        embeddings: (n, d).
        places: (n, 2).
        k: Neighbours looked at; cut below n/2, where the measure is defined.

    Raises:
        HncseError: Fewer than three rows, or not one place for each.
    """
    from sklearn.manifold import trustworthiness

    rows = normalised(embeddings)
    if len(rows) < 3 or np.shape(places) != (len(rows), 2):
        raise HncseError(
            f"{len(rows)} embeddings and places of shape {np.shape(places)}; trust is measured on three rows or more "
            "with a place (x, y) each"
        )
    k = max(1, min(k, (len(rows) - 1) // 2))
    return float(trustworthiness(rows, np.asarray(places), n_neighbors=k))


def drift(layouts: Sequence[ArrayLike]) -> float:
    """How far points jump between successive layouts: the median step, as a share of the layouts' radius.

    Args:
        layouts: Two or more (n, 2) layouts of the same points.

    Raises:
        HncseError: Fewer than two layouts, or not the same points in all.
    """
    shapes = {np.shape(layout) for layout in layouts}
    if len(layouts) < 2 or len(shapes) != 1:
        raise HncseError(
            f"drift compares successive layouts of the same points; there are not two, or their shapes differ: "
            f"{sorted(shapes)}"
        )
    flat = np.stack([np.asarray(layout, dtype=np.float64) for layout in layouts])  # (t, n, 2)
    steps = np.linalg.norm(np.diff(flat, axis=0), axis=2)  # (t-1, n)
    radius = np.linalg.norm(flat - flat.mean(axis=1, keepdims=True), axis=2).max()
    return float(np.median(steps) / radius) if radius > 0 else 0.0


def _nearest(rows: Floats, known: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Cosine distances and indices (m, k) of each row's k nearest known ones, nearest first; ties by index."""
    distance = np.maximum(1.0 - rows @ known.T, 0.0)  # (m, n)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, order, axis=1), order
