"""What a map of one anchor makes up, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hncse.evaluation.geometry import angle
from hncse.visual import projection
from hncse.visual.boundary import TICKS, dot, legend
from hncse.visual.scenes import Film, Moment
from hncse.visual.style import INK, figure, styled

__all__ = ["picture", "rank_agreement", "report"]


def picture(film: Film, at: Moment) -> Figure:
    """Draw every sentence's distance to the anchor in the map against its exact angle: a faithful map would rise.

    Args:
        film: From `Study.film`.
        at: One of its moments.
    """
    far = np.linalg.norm(at.places - at.places[0], axis=1)[1:]  # (m-1,)
    exact = angle(at.cosine)[1:]
    with styled():
        made, (axes,) = figure(8.2, 4.2)
        for x, y, point in zip(exact, far, film.points[1:], strict=True):
            dot(axes, float(x), float(y), point.kind, point.phenomenon, 1.0)
        axes.axvline(float(angle(at.p)), color=INK, linewidth=1.4)
        axes.set(xlim=(0, 100), ylim=(0, 1.1 * float(far.max())), ylabel="distance to the anchor in the map")
        axes.set_xticks(angle(np.array(TICKS)), [f"{tick:g}" for tick in TICKS])
        axes.set_xlabel("cosine to the anchor (scale: angle)")
        axes.grid(axis="y")
        legend(made, [film], mixes=False, on_map=False)
    made.set_label(
        f"Scatter plot of {len(far)} sentences, exact angle to the anchor across, distance in the map up; "
        f"rank correlation {rank_agreement(at):.2f}, where 1 would be a map without distortion."
    )
    return made


def rank_agreement(at: Moment) -> float:
    """Spearman correlation of the map's distances to the anchor with the exact angles; 1 where nothing is distorted."""
    from scipy.stats import spearmanr

    far = np.linalg.norm(at.places - at.places[0], axis=1)[1:]
    return float(spearmanr(far, angle(at.cosine)[1:])[0])


def report(film: Film, name: str) -> str:
    """Say in lines how far a run's map can be trusted, and how it compares with a fit for every step.

    Args:
        film: From `Study.film`.
        name: Of a run. The first, middle and last moment are compared; they are fitted again for it.
    """
    found = film.moments[name]
    three = (found[0], found[len(found) // 2], found[-1])
    others = [i for i, point in enumerate(film.points) if point.grade is None]
    placed = projection.drift([m.places[others] for m in three])
    again = [projection.fit(m.embeddings) for m in three]
    fitted = projection.drift([flat[others] for flat in again])
    turned = projection.drift([flat[others] for flat in _turned(again)])
    last = found[-1]
    trusted = projection.trust(last.embeddings, last.places)
    return "\n".join((
        "how far sentences of other groups jump from step to step, share of the map's radius (median)",
        f"  {100 * placed:6.1f} %  fitted once, then placed (this map)",
        f"  {100 * fitted:6.1f} %  fitted again at every step",
        f"  {100 * turned:6.1f} %  fitted again, each layout turned or mirrored onto the one before",
        f"this map at step {last.step}",
        f"  {trusted:8.2f}  trustworthiness: are neighbours on the map real ones? (1: all)",
        f"  {rank_agreement(last):8.2f}  rank correlation of distances to the anchor, map and sphere (1: same order)",
        f"  {100 * last.drawn_wrong.mean():6.1f} %  of sentences and mixes are on the wrong side of the drawn boundary",
    ))  # fmt: skip


def _turned(layouts: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Layouts (n, 2), centred, each turned or mirrored so that it lies on the one before as well as it can."""
    from scipy.linalg import orthogonal_procrustes

    done = [layouts[0]]
    for flat in layouts[1:]:
        done.append(flat @ orthogonal_procrustes(flat, done[-1])[0])
    return done
