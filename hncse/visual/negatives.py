"""Pictures about hard negatives: what guards let through, and which phenomena an encoder sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hncse.errors import HncseError
from hncse.visual.style import INK, MUTED, OKABE_ITO, figure, one_line, styled

__all__ = ["guard_curves", "phenomena"]

_LOOKS = {  # guard → name, colour, shape, line: any of the three tells them apart
    "max_similarity": ("similarity ceiling", OKABE_ITO["blue"], "o", "-"),
    "calibrated": ("calibrated on the probe", OKABE_ITO["vermillion"], "D", "--"),
    "skip": ("skip the first r", OKABE_ITO["orange"], "s", "-."),
    "word_overlap": ("word overlap", OKABE_ITO["green"], "^", ":"),
    "character_overlap": ("character overlap", OKABE_ITO["purple"], "v", ":"),
    "min_similarity": ("similarity floor", OKABE_ITO["black"], "P", "-"),
}
_SERIES = (  # encoders in a phenomena picture
    (OKABE_ITO["orange"], "^"), (OKABE_ITO["blue"], "o"), (OKABE_ITO["green"], "s"), (OKABE_ITO["vermillion"], "D"),
)  # fmt: skip


def guard_curves(result: Mapping[str, Any]) -> Figure:
    """Draw, for every guard, how safe its choice is against how many true hard negatives it keeps.

    Args:
        result: From `hncse.evaluation.audit.audit`.
    """
    from hncse.evaluation.audit import SAFE, YIELD

    with styled():
        made, (axes,) = figure(8.2, 4.6)
        for guard, (name, colour, marker, line) in _LOOKS.items():
            rows = sorted(result["guards"].get(guard, ()), key=lambda row: row["yield"])
            if rows:
                x, y = ([100 * row[key] for row in rows] for key in ("yield", "safe"))
                axes.plot(x, y, line, marker=marker, color=colour, markersize=4.5, linewidth=1.4, label=name)
        start = result["guards"]["none"][0]
        axes.plot(100 * start["yield"], 100 * start["safe"], "*", color=INK, markersize=13, label="no guard")
        axes.axhspan(100 * SAFE, 100.5, xmin=0, xmax=1, color=OKABE_ITO["sky"], alpha=0.12)
        axes.plot([100 * YIELD, 100 * YIELD, 103], [100.5, 100 * SAFE, 100 * SAFE], color=MUTED, linewidth=1)
        axes.annotate(
            "where a good guard would be", (76, (100 * SAFE + 100.3) / 2), ha="center", va="center", color=MUTED
        )
        axes.set_xlim(-2, 103)
        low = min(row["safe"] for rows in result["guards"].values() for row in rows)
        axes.set_ylim(100 * low - 1, 100.5)
        axes.set_xlabel("true hard negatives kept, % of those among the neighbours")
        axes.set_ylabel("kept neighbours that are\nno paraphrase, %")
        axes.grid()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4)
    best = result["best"]
    words = (
        "none is safe enough"
        if best is None
        else f"the best safe one, {best['guard']}, keeps {100 * best['yield']:.0f} % of the hard negatives"
    )
    made.set_label(
        f"Curves for {len(result['guards']) - 1} guards, hard negatives kept across, share free of paraphrases up. "
        f"Without a guard {100 * start['safe']:.0f} % are free of paraphrases; {words}."
    )
    return made


def phenomena(results: Mapping[str, Mapping[str, Any]], paraphrase: str = "close") -> Figure:
    """Draw, for every phenomenon, how often the paraphrase outranks the hard negative, with intervals.

    Args:
        results: Encoder's name → result of `hncse.evaluation.probe.evaluate`; four at most.
        paraphrase: ``close``, ``far``, ``overall`` or ``both``.

    Raises:
        HncseError: No results, or more than four.
    """
    if not 1 <= len(results) <= len(_SERIES):
        raise HncseError(f"there are {len(results)} encoders to draw; give 1 to {len(_SERIES)}")
    first = next(iter(results.values()))
    names = sorted(first["phenomena"], key=lambda n: first["phenomena"][n][paraphrase]["value"])
    with styled():
        made, (axes,) = figure(8.2, 0.9 + 0.42 * len(names))
        for i, ((encoder, result), (colour, marker)) in enumerate(
            zip(results.items(), _SERIES[: len(results)], strict=True)
        ):
            places = np.arange(len(names)) + 0.2 * (i - (len(results) - 1) / 2)
            for place, name in zip(places, names, strict=True):
                entry = result["phenomena"][name][paraphrase]
                if entry["interval"]:
                    axes.plot(entry["interval"], [place, place], color=colour, linewidth=1.6)
                label = one_line(encoder) if name == names[0] else None
                axes.plot(entry["value"], place, marker, color=colour, markersize=5, label=label)
        axes.axvline(50, color=MUTED, linewidth=1, linestyle=":")
        axes.set_ylim(-0.6, len(names) - 0.1)
        axes.annotate("a coin", (50, len(names) - 0.45), xytext=(4, 0), textcoords="offset points", color=MUTED)
        axes.set_yticks(range(len(names)), [one_line(name.replace("_", " ")) for name in names])
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"hard negatives outranked by the {paraphrase} paraphrase, %; bars: 95 % intervals over groups")
        axes.grid(axis="x")
        axes.legend(loc="lower right")
    words = "; ".join(
        f"{encoder}: {result['triplet_accuracy'][paraphrase]['value']:.0f} % over all"
        for encoder, result in results.items()
    )
    made.set_label(f"Dots with bars for {len(names)} phenomena, share of hard negatives outranked. {words}.")
    return made
