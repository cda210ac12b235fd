"""Verdicts: methods against a baseline, corrected over a whole table, in figures and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hncse.errors import unknown
from hncse.evaluation._intervals import FEWEST, RESAMPLES, Difference, Interval, Summary, difference, holm, summarise
from hncse.evaluation._luck import POWER, power, seeds_needed
from hncse.text import Markup
from hncse.text import markdown as escaped
from hncse.text import table as markdown

__all__ = ["Comparison", "compare", "to_markdown"]

_MANY = 1000  # seeds; beyond it a verdict says "more than"


@dataclass(frozen=True)
class Comparison:
    """A row of the table of verdicts.

    Attributes:
        method: Its name.
        baseline: The name of what it is compared with.
        summary: Its own scores.
        difference: Its mean minus the baseline's; None for the baseline itself.
        p_holm: ``difference.p`` after Holm's correction; NaN where nothing was tested.
        tests: How many methods of the table were tested, over which Holm corrects.
        alpha: Level of the verdicts, and one minus the coverage of every interval.
    """

    method: str
    baseline: str
    summary: Summary
    difference: Difference | None
    p_holm: float
    tests: int
    alpha: float

    @property
    def verdict(self) -> str:
        """One of "baseline", "better", "worse", "not told apart", "not tested"."""
        if self.difference is None:
            return "baseline"
        if math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm > self.alpha:
            return "not told apart"
        return "better" if self.difference.value > 0 else "worse"

    def seeds_for(self, effect: float | None = None, target: float = POWER) -> int | None:
        """Seeds that would let this table see an effect.

        Args:
            effect: In points; None takes the difference that was found, itself an uncertain figure.
            target: Power wanted.

        Returns:
            Seeds in each arm, or pairs, for a test at alpha / tests, Holm's hardest step; None where the scores say
            nothing of it: no spread, no difference, or more than a thousand.
        """
        d = self.difference
        effect = d.value if effect is None and d is not None else effect
        if d is None or not d.sd > 0 or not effect:
            return None
        alpha = self.alpha / max(1, self.tests)
        if power(effect, d.sd, _MANY, alpha=alpha, paired=d.paired) < target:
            return None
        return seeds_needed(effect, d.sd, alpha=alpha, target=target, paired=d.paired)

    def words(self, effect: float | None = None, target: float = POWER) -> str:
        """Say the verdict in a sentence.

        Args:
            effect: Where not told apart, say as well how many seeds a difference of this size takes.
            target: Power those seeds should have.
        """
        d = self.difference
        if d is None:
            return f"the baseline, {_mean(self.summary)} over {self.summary.n} seeds"
        if self.verdict == "not tested":
            why = "no spread over seeds to test with" if d.sd == 0 else "a test takes two seeds of both"
            return f"not tested against {self.baseline}: {d.value:+.2f}, {d.test}; {why}"
        if d.sd == 0:
            return f"not told apart from {self.baseline}: the same score with every seed, {d.test}"
        link = {"better": "than", "worse": "than"}.get(self.verdict, "from")
        text = f"{self.verdict} {link} {self.baseline}: {d.value:+.2f} {_span(d.interval)}, {d.test}, {self._p()}"
        if self.verdict == "not told apart":
            text += f"; a true difference of {abs(d.value):.2f} takes {self._count(d.value, target)} seeds each to see"
            text += f" ({100 * target:g} % power)"
            text += f", one of {abs(effect):.2f} {self._count(effect, target)}" if effect else ""
        return text

    def _p(self) -> str:
        alone = self.difference.p if self.difference else math.nan
        if self.tests == 1:
            return f"p {_p_text(alone)}"
        text = f"p {_p_text(self.p_holm)} after Holm over {self.tests} methods"
        return f"p {_p_text(alone)} alone but {text[2:]}" if alone <= self.alpha < self.p_holm else text

    def _count(self, effect: float, target: float) -> str:
        n = self.seeds_for(effect, target)
        return f"more than {_MANY:,}" if n is None else f"about {n}"


def compare(
    scores: Mapping[str, Mapping[int, float]],
    baseline: str,
    *,
    paired: bool | None = None,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare methods with a baseline.

    Args:
        scores: Method → seed → score, higher is better.
        baseline: One of the methods.
        paired: As in `difference`, for all methods; None decides for each.
        alpha: Chance, over the whole table, of a verdict "better" or "worse" where no method differs.
        resamples: Behind the bootstrap intervals; 0 leaves them out.
        seed: Of the resampling.

    Returns:
        A row for each method: the baseline, then the others by their means, lowest first.

    Raises:
        HncseError: An unknown baseline, or as in `difference`.
    """
    if baseline not in scores:
        raise unknown("baseline", baseline, scores)
    settings: dict[str, Any] = {"alpha": alpha, "resamples": resamples, "seed": seed}
    summaries = {name: summarise(list(of_seed.values()), **settings) for name, of_seed in scores.items()}
    others = sorted((name for name in scores if name != baseline), key=lambda name: summaries[name].mean)
    found = [difference(scores[name], scores[baseline], paired=paired, **settings) for name in others]
    corrected = holm([d.p for d in found])
    tests = sum(not math.isnan(p) for p in corrected)
    rows = [Comparison(baseline, baseline, summaries[baseline], None, math.nan, tests, alpha)]
    for name, d, p in zip(others, found, corrected, strict=True):
        rows.append(Comparison(name, baseline, summaries[name], d, p, tests, alpha))
    return rows


def to_markdown(
    rows: Sequence[Comparison], about: str = "", *, effect: float | None = None, target: float = POWER
) -> str:
    """Write the table of verdicts as Markdown, and under it each verdict as a sentence.

    Args:
        rows: From `compare`.
        about: What the scores are: measure, encoder, corpus.
        effect: As in `Comparison.words`.
        target: As in `Comparison.words`.
    """
    level = f"{100 * (1 - rows[0].alpha):g} %"
    head = ["method", "verdict", "test", "seeds", "mean", "sd"]
    head += ["difference", f"{level} t", f"{level} bootstrap", "p", "p Holm"]
    body = [[row.method, row.verdict, _test(row), str(row.summary.n), _mean(row.summary), *_cells(row)] for row in rows]
    tested = f"{rows[0].tests} tested method{'' if rows[0].tests == 1 else 's'}"
    caption = (
        f"{escaped(about)}{'. ' if about else ''}Mean ± half the {level} t-interval over seeds; differences from "
        f"{rows[0].baseline} with {level} intervals (t; bootstrap-t, from {FEWEST} seeds on), two-sided p, and p after "
        f"Holm's correction over {tested}, on which verdicts rest (alpha {rows[0].alpha:g})."
    )
    words = [f"- **{escaped(row.method)}**: {row.words(effect, target)}." for row in rows if row.difference is not None]
    return "\n\n".join([caption, markdown(head, body, left=3), *(["\n".join(words)] if words else [])]) + "\n"


def _test(row: Comparison) -> str:
    if row.difference is None or row.verdict == "not tested":
        return ""
    return "paired" if row.difference.paired else "Welch"


def _cells(row: Comparison) -> list[str]:
    sd, d = _number(row.summary.sd), row.difference
    if d is None:
        return [sd, *[""] * 5]
    return [sd, f"{d.value:+.2f}", _span(d.interval), _span(d.bootstrap), _p_text(d.p), _p_text(row.p_holm)]


def _mean(summary: Summary) -> str:
    if summary.interval is None:
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.2f} ± {summary.interval[1] - summary.mean:.2f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _p_text(p: float) -> str:
    return Markup("" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}")


def _span(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"
