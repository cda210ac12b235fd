"""Picture of hard negatives as a colder softmax (notebook 07)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hncse.errors import HncseError
from hncse.evaluation.temperature import Match
from hncse.visual.style import MUTED, OKABE_ITO, figure, one_line, styled

__all__ = ["colder_figure"]

_LOOKS = [
    (OKABE_ITO["blue"], "-"), (OKABE_ITO["green"], "--"), (OKABE_ITO["orange"], "-."), (OKABE_ITO["vermillion"], ":"),
    (OKABE_ITO["purple"], (0, (5, 1))), (OKABE_ITO["sky"], (0, (1, 1))),
]  # fmt: skip


def colder_figure(found: Sequence[Match], baseline: str = "SimCSE") -> Figure:
    """Draw how alike two losses' gradients are, over the baseline's τ, and where they are most alike.

    Args:
        found: From `hncse.evaluation.temperature.matches`, one preset at up to six temperatures.
        baseline: Its name in the picture.

    Raises:
        HncseError: Nothing to draw, or more lines than can be told apart.
    """
    if not 0 < len(found) <= len(_LOOKS):
        raise HncseError(f"{len(found)} temperatures were given; 1 to {len(_LOOKS)} can be drawn")
    preset, baseline = one_line(found[0].preset), one_line(baseline)
    with styled():
        made, (left, right) = figure(8.6, 3.7, 1, 2)
        for match, (colour, style) in zip(found, _LOOKS[: len(found)], strict=True):
            left.plot(
                match.candidates, match.cosines, color=colour, linestyle=style, label=f"τ = {match.temperature:g}"
            )
            top = int(match.cosines.argmax())
            left.plot(match.candidates[top], match.cosines[top], marker="o", color=colour)
            own = float(np.interp(np.log(match.temperature), np.log(match.candidates), match.cosines))
            left.plot(match.temperature, own, marker="s", markerfacecolor="white", color=colour)
        left.set_ylabel("cosine of the two gradients")
        left.set_ylim(max(0.0, min(float(m.cosines.max()) for m in found) - 0.35), 1.0)
        left.set_title(f"{preset} beside {baseline}", fontsize=10)
        left.legend(title=preset, fontsize=8.5, title_fontsize=8.5, loc="lower right")
        hot = np.array([m.temperature for m in found])
        like = np.array([m.alike for m in found])
        right.plot(hot, hot, color=MUTED, linestyle="--", label="the same τ")
        right.errorbar(
            hot, like, yerr=np.nan_to_num([m.spread for m in found]), color=OKABE_ITO["black"], marker="o", capsize=3,
            label=preset,
        )  # fmt: skip
        right.set_xlabel(f"τ of {preset}")
        right.set_ylabel(f"τ at which {baseline} pulls most alike")
        right.set_title("The τ it acts like", fontsize=10)
        right.set_yscale("log")
        right.legend(fontsize=8.5, loc="upper left")
        left.set_xlabel(f"τ of {baseline}")
        _temperatures(left, "x", [0.04, 0.07, 0.1, 0.2, 0.3, 0.5])
        _temperatures(right, "y", sorted({0.05, 0.1, 0.2, 0.3, 0.5}))
        _temperatures(right, "x", list(hot))
    made.set_label(
        f"Two panels. Left: cosine of the gradients of {preset} and {baseline} over {baseline}'s temperature. Right: "
        + "; ".join(f"{preset} at {m.temperature:g} acts most like {baseline} at {m.alike:.2f}" for m in found)
        + "."
    )
    return made


def _temperatures(axes: Axes, axis: str, ticks: Sequence[float]) -> None:
    line = axes.xaxis if axis == "x" else axes.yaxis
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    line.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    line.set_ticks([], minor=True)
