"""What a miner says about its own work: how similar, what each guard removed, which knob to turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.mining.guards import GUARDS, KEPT, MISSING

__all__ = ["QUANTILES", "Report", "make"]

QUANTILES = (5, 25, 50, 75, 95)
_STARVED = 0.01  # share of anchors without a negative from which on the report says so
_NEAR_COPY = 0.95  # similarity at which a negative deserves a look

_LOOSEN = {
    "positive": "give a larger corpus",
    "same_text": "clean the corpus of repeated sentences",
    "word_overlap": "raise it",
    "character_overlap": "raise it",
    "margin": "lower it",
    "relative_margin": "lower it",
    "max_similarity": "raise it",
    "calibrated": "raise its share",
    "min_similarity": "lower it",
    "skip": "lower it",
}


@dataclass(frozen=True)
class Report:
    """Figures of one mining; ``str(report)`` is a table to read.

    Attributes:
        settings: What was asked for.
        counts: ``anchors`` (given), ``distinct_anchors``, ``corpus``, ``copies`` and ``blank`` (left out of it),
            ``neighbours`` (looked at), ``kept`` (by the guards), ``negatives``, and anchors ``full`` (all the negatives
            asked for), ``short`` (fewer) and ``without``.
        similarity: ``positive``, ``nearest`` (the single nearest), ``neighbours``, ``kept`` and ``negatives``, each
            with count, mean, min, max and the quantiles p5 … p95.
        guards: Name → ``setting``, ``removed``, ``share`` of the neighbours that reached it, ``of_all``.
        advice: Sentences that say which knob to turn, and why.
    """

    settings: dict[str, Any]
    counts: dict[str, int]
    similarity: dict[str, dict[str, float | int]]
    guards: dict[str, dict[str, Any]]
    advice: list[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able figures."""
        return asdict(self)

    def __str__(self) -> str:
        """The report as a table."""
        return "\n".join([*self._head(), "", *self._similarities(), "", *self._guards(), "", *self._advice()])

    def _head(self) -> Iterator[str]:
        s, c = self.settings, self.counts
        left_out = ", ".join(f"{c[name]:,} {name}" for name in ("copies", "blank") if c[name])
        yield (
            f"{s['negatives']} negative{'s' * (s['negatives'] > 1)} an anchor, "
            + ("the nearest" if s["sampling"] == "top" else f"drawn with seed {s['seed']}")
            + f" of what the guards leave of its {s['k']} nearest"
        )
        yield f"encoder {s['encoder']}, pooling {s['pooling'] or 'its own'}"
        yield f"anchors {c['anchors']:,}" + (
            f", {c['distinct_anchors']:,} of them different" if c["distinct_anchors"] < c["anchors"] else ""
        )
        yield f"corpus {c['corpus']:,} sentences" + (f", without {left_out}" if left_out else "")
        filled = [(c[n], text) for n, text in (("full", "with all"), ("short", "with fewer"), ("without", "with none"))]
        yield "anchors " + ", ".join(f"{text} {n:,} ({_share(n, c['distinct_anchors'])})" for n, text in filled)

    def _similarities(self) -> Iterator[str]:
        names = ("mean", "min", *(f"p{q}" for q in QUANTILES), "max")
        yield f"{'similarity':12}{'count':>12}" + "".join(f"{name:>9}" for name in names)
        for kind, row in self.similarity.items():
            yield f"{kind:12}{row['count']:12,}" + "".join(f"{row[n]:9.4f}" if n in row else f"{'-':>9}" for n in names)
        if self.settings["positive"] == "itself":
            yield "positive: the anchor itself, seen again; 1 by definition"

    def _guards(self) -> Iterator[str]:
        yield f"{'guard':18}{'setting':>12}{'removed':>12}{'of those it saw':>18}{'of all':>10}"
        for name, row in self.guards.items():
            shown = row["setting"] if isinstance(row["setting"], str) else f"{row['setting']:g}"
            yield f"{name:18}{shown:>12}{row['removed']:12,}{row['share']:18.2%}{row['of_all']:10.2%}"
        if "calibrated" in self.guards:
            yield f"calibrated: {self.settings['calibration']}"

    def _advice(self) -> Iterator[str]:
        yield "what to turn"
        yield from (f"- {line}" for line in self.advice or ["nothing stands out; read some triplets all the same"])


def make(
    settings: dict[str, Any],
    counts: dict[str, int],
    positive: NDArray[np.float32],
    neighbours: NDArray[np.float32],
    removed: NDArray[np.int8],
    negatives: NDArray[np.float32],
) -> Report:
    """Make a report.

    Args:
        settings: What was asked for; ``guards`` in it are those that are on.
        counts: ``anchors``, ``distinct_anchors``, ``corpus``, ``copies``, ``blank``.
        positive: (n,) similarities to the positives, of different anchors.
        neighbours: (n, k) similarities to the neighbours.
        removed: (n, k) as `hncse.mining.guards.apply` returns it.
        negatives: (n, m) similarities to the chosen negatives; NaN where there is none.
    """
    chosen = np.isfinite(negatives)  # (n, m)
    there, kept = removed != MISSING, removed == KEPT  # (n, k)
    each = chosen.sum(axis=1)  # (n,)
    figures = {
        "positive": _summary(positive),
        "nearest": _summary(neighbours[:, 0][there[:, 0]]),
        "neighbours": _summary(neighbours[there]),
        "kept": _summary(neighbours[kept]),
        "negatives": _summary(negatives[chosen]),
    }
    counts = counts | {
        "neighbours": int(there.sum()),
        "kept": int(kept.sum()),
        "negatives": int(chosen.sum()),
        "full": int((each == negatives.shape[1]).sum()),
        "short": int(((each > 0) & (each < negatives.shape[1])).sum()),
        "without": int((each == 0).sum()),
    }
    guards = _guard_rows(settings["guards"], removed, counts["neighbours"])
    above = float((negatives > positive[:, None])[chosen].mean()) if chosen.any() else 0.0
    advice = list(_advise(settings, counts, figures, guards, removed[each == 0], above))
    return Report(settings, counts, figures, guards, advice)


def _summary(values: NDArray[np.float32]) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0}
    quantiles = np.percentile(values, QUANTILES)
    return {
        "count": len(values),
        "mean": float(values.mean(dtype=np.float64)),
        "min": float(values.min()),
        **{f"p{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "max": float(values.max()),
    }


def _guard_rows(on: dict[str, Any], removed: NDArray[np.int8], total: int) -> dict[str, dict[str, Any]]:
    by_code = np.bincount(removed[removed > 0], minlength=len(GUARDS) + 1)
    rows, reached = {}, total
    for name, setting in on.items():
        n = int(by_code[GUARDS.index(name) + 1])
        shown = "on" if setting is True else setting
        rows[name] = {
            "setting": shown, "removed": n, "share": n / max(reached, 1), "of_all": n / max(total, 1),
        }  # fmt: skip
        reached -= n
    return rows


def _advise(
    settings: dict[str, Any],
    counts: dict[str, int],
    figures: dict[str, dict[str, float | int]],
    guards: dict[str, dict[str, Any]],
    starved: NDArray[np.int8],
    above: float,
) -> Iterator[str]:
    anchors = counts["distinct_anchors"]
    if counts["without"] > _STARVED * anchors:
        yield _on_starved(settings, counts, starved)
    elif counts["short"] > _STARVED * anchors:
        yield (
            f"{_share(counts['short'], anchors)} of anchors have fewer than {settings['negatives']} negatives: raise k "
            f"({settings['k']}), or lower negatives"
        )
    if above > 0 and settings["positive"] == "given":
        yield (
            f"{above:.2%} of the negatives are nearer to the anchor than its positive: many of those will be "
            "paraphrases; margin=0 removes them, relative_margin=0.05 leaves a distance"
        )
    if not set(guards) & {"margin", "relative_margin", "max_similarity", "calibrated", "skip"}:
        yield (
            "no guard looks at how similar a neighbour is, so paraphrases stay: calibrated=0.05 sets a ceiling from "
            'the probe (a milder one with calibrated_on="close"), relative_margin=0.05 one from each positive, and '
            "skip=5 drops the nearest few"
        )
    if figures["negatives"].get("p95", 0) > _NEAR_COPY:
        yield (
            f"one negative in twenty is above {_NEAR_COPY} ({figures['negatives']['p95']:.3f} and more): read some; "
            "character_overlap=0.8 removes near-copies, max_similarity sets a ceiling"
        )
    for name, row in guards.items():
        if row["removed"] == 0 and name not in ("same_text", "skip"):
            yield f"{name}={row['setting']} removed nothing: {_tighten(name, figures)}"


def _on_starved(settings: dict[str, Any], counts: dict[str, int], removed: NDArray[np.int8]) -> str:
    """Say which guard took most from the anchors that were left with nothing."""
    share = f"{_share(counts['without'], counts['distinct_anchors'])} of anchors have no negative"
    taken = np.bincount(removed[removed > 0], minlength=len(GUARDS) + 1)
    if not taken.any():
        return f"{share}: the corpus has nothing but their own text; give a larger one"
    name = GUARDS[int(taken.argmax()) - 1]
    setting = settings["guards"][name]
    shown = name if setting is True else f"{name}={setting}"
    part = taken.max() / taken.sum()
    other = ', set calibrated_on="close"' if name == "calibrated" and settings["calibrated_on"] != "close" else ""
    return (
        f"{share}: {shown} took {part:.0%} of their neighbours; {_LOOSEN[name]}{other}, or raise k ({settings['k']}) "
        "to look farther down"
    )


def _tighten(name: str, figures: dict[str, dict[str, float | int]]) -> str:
    seen = figures["neighbours"]
    if not seen["count"]:
        return "there was no neighbour to remove"
    if name == "min_similarity":
        return f"the neighbours begin at {seen['min']:.3f}; above that it has an effect"
    if name.endswith("overlap"):
        return "no neighbour shares that much text; lower it, or leave it out"
    return f"the neighbours end at {seen['max']:.3f} (p95 {seen['p95']:.3f}); set it so that it lies below"


def _share(n: int, total: int) -> str:
    return f"{n / max(total, 1):.1%}"
