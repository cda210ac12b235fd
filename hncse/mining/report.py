"""What to know about mined negatives: how similar they are, what each guard removed, which knob to turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.mining.guards import GUARDS, KEPT, MISSING, Neighbours
from hncse.mining.search import Floats

__all__ = ["Report", "report"]

_PERCENTILES = {"min": 0, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100}
_STARVED = 0.01  # share of anchors without a negative from which on the report says so
_NEAR_COPY = 0.95  # similarity at which a negative deserves a look
_LOOSEN = {
    "positive": "give a larger corpus", "same_text": "clean the corpus of repeated sentences",
    "word_overlap": "raise it", "character_overlap": "raise it", "margin": "lower it", "relative_margin": "lower it",
    "max_similarity": "raise it", "calibrated": "raise its share", "min_similarity": "lower it", "skip": "lower it",
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Figures of one mining; ``str(report)`` is a table.

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
        advice = self.advice or ["nothing stands out; read some triplets all the same"]
        tables = [*self._head(), "", *self._similarities(), "", *self._guards(), ""]
        return "\n".join([*tables, "what to turn", *(f"- {line}" for line in advice)])

    def _head(self) -> Iterator[str]:
        s, c = self.settings, self.counts
        order = "the nearest" if s["sampling"] == "top" else f"drawn with seed {s['seed']}"
        plural = "s" * (s["negatives"] > 1)
        yield f"{s['negatives']} negative{plural} an anchor, {order} of what the guards leave of its {s['k']} nearest"
        yield f"encoder {s['encoder']}, pooling {s['pooling'] or 'its own'}"
        if s.get("guide"):
            yield f"guide {s['guide']}: margins and limits read its similarity"
        different = f", {c['distinct_anchors']:,} of them different" if c["distinct_anchors"] < c["anchors"] else ""
        yield f"anchors {c['anchors']:,}{different}"
        left_out = ", ".join(f"{c[name]:,} {name}" for name in ("copies", "blank") if c[name])
        yield f"corpus {c['corpus']:,} sentences" + (f", without {left_out}" if left_out else "")
        filled = {"with all": c["full"], "with fewer": c["short"], "with none": c["without"]}
        yield "anchors " + ", ".join(f"{k} {n:,} ({_share(n, c['distinct_anchors'])})" for k, n in filled.items())

    def _similarities(self) -> Iterator[str]:
        names = ("mean", *_PERCENTILES)
        yield f"{'similarity':12}{'count':>12}" + "".join(f"{name:>9}" for name in names)
        for kind, row in self.similarity.items():
            yield f"{kind:12}{row['count']:12,}" + "".join(f"{row[n]:9.4f}" if n in row else f"{'-':>9}" for n in names)
        if self.settings["positive"] == "itself":
            yield "positive: the anchor itself, seen again; 1 by definition"

    def _guards(self) -> Iterator[str]:
        yield f"{'guard':18}{'setting':>12}{'removed':>12}{'of those it saw':>18}{'of all':>10}"
        for name, row in self.guards.items():
            setting = row["setting"] if isinstance(row["setting"], str) else f"{row['setting']:g}"
            yield f"{name:18}{setting:>12}{row['removed']:12,}{row['share']:18.2%}{row['of_all']:10.2%}"
        if "calibrated" in self.guards:
            yield f"calibrated: {self.settings['calibration']}"


def report(
    settings: dict[str, Any], anchors: int, near: Neighbours, removed: NDArray[np.int8], negatives: Floats
) -> Report:
    """Count and summarise.

    Args:
        settings: What was asked for.
        anchors: How many were given.
        near: The neighbours of the u different ones.
        removed: (u, k) as `hncse.mining.guards.apply` left them.
        negatives: (u, m) similarities of the negatives, NaN for none.
    """
    chosen = np.isfinite(negatives)  # (u, m)
    existing, kept = removed != MISSING, removed == KEPT  # (u, k)
    each, m = chosen.sum(axis=1), negatives.shape[1]  # (u,)
    figures = {
        "positive": _summary(near.positive),
        "nearest": _summary(near.similarity[:, 0][existing[:, 0]]),
        "neighbours": _summary(near.similarity[existing]),
        "kept": _summary(near.similarity[kept]),
        "negatives": _summary(negatives[chosen]),
    }
    if near.guided is not None:
        figures["guide"] = _summary(near.guided[existing])
    counts = {
        "anchors": anchors, "distinct_anchors": len(removed),
        "corpus": near.pool.total, "copies": near.pool.copies, "blank": near.pool.blank,
        "neighbours": int(existing.sum()), "kept": int(kept.sum()), "negatives": int(chosen.sum()),
        "full": int((each == m).sum()), "short": int(((each > 0) & (each < m)).sum()),
        "without": int((each == 0).sum()),
    }  # fmt: skip
    by_name = _by_guard(removed)
    guards, reached = {}, counts["neighbours"]
    for name, setting in settings["guards"].items():
        shares = {"share": by_name[name] / max(reached, 1), "of_all": by_name[name] / max(counts["neighbours"], 1)}
        guards[name] = {"setting": "on" if setting is True else setting, "removed": by_name[name], **shares}
        reached -= by_name[name]
    facts = Report(settings, counts, figures, guards, [])
    above = float((negatives > near.positive[:, None])[chosen].mean()) if chosen.any() else 0.0
    facts.advice.extend(_advise(facts, _by_guard(removed[each == 0]), above))
    return facts


def _by_guard(removed: NDArray[np.int8]) -> dict[str, int]:
    return {name: int((removed == code).sum()) for code, name in enumerate(GUARDS, 1)}


def _summary(values: Floats) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0}
    percentiles = np.percentile(values, list(_PERCENTILES.values())).tolist()
    mean = float(values.mean(dtype=np.float64))
    return {"count": len(values), "mean": mean, **dict(zip(_PERCENTILES, percentiles, strict=True))}


def _advise(facts: Report, starved: dict[str, int], above: float) -> Iterator[str]:
    """Say which knob to turn; ``above``: the share of negatives nearer than the positive."""
    settings, counts, figures = facts.settings, facts.counts, facts.similarity
    anchors = counts["distinct_anchors"]
    if counts["without"] > _STARVED * anchors:
        yield f"{_share(counts['without'], anchors)} of anchors have no negative: {_starving(settings, starved)}"
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
    if not set(facts.guards) & {"margin", "relative_margin", "max_similarity", "calibrated", "skip"}:
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
    for name, row in facts.guards.items():
        if row["removed"] == 0 and name not in ("same_text", "skip"):
            seen = figures.get("guide", figures["neighbours"])
            yield f"{name}={row['setting']} removed nothing: {_tighten(name, seen)}"


def _starving(settings: dict[str, Any], starved: dict[str, int]) -> str:
    """Say which guard took most from the anchors that were left with nothing."""
    name = max(starved, key=lambda name: starved[name])
    if not starved[name]:
        return "the corpus has nothing but their own text; give a larger one"
    setting = settings["guards"][name]
    guard = name if setting is True else f"{name}={setting}"
    other = ', set calibrated_on="close"' if name == "calibrated" and settings["calibrated_on"] != "close" else ""
    return (
        f"{guard} took {starved[name] / sum(starved.values()):.0%} of their neighbours; {_LOOSEN[name]}{other}, or "
        f"raise k ({settings['k']}) to look farther down"
    )


def _tighten(name: str, neighbours: dict[str, float | int]) -> str:
    if not neighbours["count"]:
        return "there was no neighbour to remove"
    if name == "min_similarity":
        return f"the neighbours begin at {neighbours['min']:.3f}; above that it has an effect"
    if name.endswith("overlap"):
        return "no neighbour shares that much text; lower it, or leave it out"
    return f"the neighbours end at {neighbours['max']:.3f} (p95 {neighbours['p95']:.3f}); set it so that it lies below"


def _share(n: int, total: int) -> str:
    return f"{n / max(total, 1):.1%}"
