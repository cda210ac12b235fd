"""Pictures of embeddings as a whole: alignment against uniformity, and how alike random pairs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hncse.errors import HncseError
from hncse.visual.style import INK, OKABE_ITO, figure, finite, looks, one_line, styled

__all__ = ["alignment_uniformity", "anisotropy"]


def alignment_uniformity(paths: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Draw trainings as paths in the plane of uniformity (across) and alignment (up); lower is better in both.

    Args:
        paths: Name → (alignment, uniformity) over the moments looked at, all from the same start.

    Raises:
        HncseError: No training, more than seven, or numbers that are not finite.
    """
    finite([value for path in paths.values() for half in path for value in half], "alignments and uniformities")
    with styled():
        made, (axes,) = figure(8.2, 4.6)
        for (name, (up, across)), (colour, line, marker) in zip(
            paths.items(), looks(list(paths), "trainings"), strict=True
        ):
            axes.plot(
                across, up, line, marker=marker, color=colour, markersize=6, markeredgecolor="white",
                markeredgewidth=0.6, label=one_line(name),
            )  # fmt: skip
        first_up, first_across = next(iter(paths.values()))
        axes.plot(first_across[0], first_up[0], "*", color=INK, markersize=15, markeredgecolor="white", zorder=5)
        axes.annotate(
            "start", (first_across[0], first_up[0]), xytext=(9, 5), textcoords="offset points", fontweight="bold"
        )
        axes.margins(0.08)
        axes.grid()
        axes.set_xlabel("uniformity  (left: spread out; 0: all in one place)")
        axes.set_ylabel("alignment  (below: positives near)")
        axes.set_title("Where each training goes, step by step")
        axes.legend(frameon=False, fontsize=9, handlelength=3.2)
    ends = "; ".join(
        f"{name}: alignment {up[0]:.2f} to {up[-1]:.2f}, uniformity {across[0]:.2f} to {across[-1]:.2f}"
        for name, (up, across) in paths.items()
    )
    made.set_label(f"Paths of {len(paths)} trainings in the plane of uniformity and alignment. {ends}.")
    return made


def anisotropy(cosines: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw, for several encoders, the cosines of random pairs and of paraphrases: one histogram above the other.

    Args:
        cosines: Name of an encoder → (cosines of random pairs, cosines of paraphrases).

    Raises:
        HncseError: No encoder, or one without pairs or with cosines that are not finite.
    """
    if not cosines:
        raise HncseError("there are no encoders to draw")
    data = {k: (finite(a, f"cosines of {k!r}"), finite(b, f"cosines of {k!r}")) for k, (a, b) in cosines.items()}
    low = min(-0.2, *(float(a.min()) for a, _ in data.values()))
    bins = np.linspace(low, 1.0, 49)
    with styled():
        made, panels = figure(8.2, 1.55 * len(data) + 0.6, rows=len(data), sharex=True)
        for panel, (name, (apart, near)) in zip(panels, data.items(), strict=True):
            for values, colour, filled in ((apart, "vermillion", True), (near, "blue", False)):
                share = 100 * np.histogram(values, bins)[0] / len(values)
                panel.stairs(
                    share, bins, fill=filled, color=OKABE_ITO[colour], alpha=0.55 if filled else 1, linewidth=1.8
                )
            panel.axvline(float(apart.mean()), color=OKABE_ITO["vermillion"], linestyle="--", linewidth=1.4)
            panel.axvline(float(near.mean()), color=OKABE_ITO["blue"], linestyle="--", linewidth=1.4)
            panel.set_title(
                f"{one_line(name)}: random pairs {apart.mean():.2f}, paraphrases {near.mean():.2f}", fontsize=10
            )
            panel.set_ylabel("% of pairs")
            panel.grid(axis="y")
        panels[-1].set_xlabel("cosine  (filled: random pairs; outlined: paraphrases; dashed: their means)")
    made.set_label(
        "Histograms of cosines, random pairs against paraphrases. Means: "
        + "; ".join(f"{name}: {a.mean():.2f} against {b.mean():.2f}" for name, (a, b) in data.items())
        + "."
    )
    return made
