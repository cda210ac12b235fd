"""Everything the kit measures of a finished run, written into its folder once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder
    from hncse.runs import Run

__all__ = ["BASELINE_POOLINGS", "measure", "scores"]

BASELINE_POOLINGS = ("cls", "mean")


def scores(encoder: SentenceEncoder, *, sts: bool) -> dict[str, Any]:
    """Measure an encoder on the probe and, where asked, on the seven STS tasks.

    Returns:
        ``probe`` and (with ``sts``) ``sts``: what the two evaluations' full results hold.
    """
    from hncse.evaluation import probe
    from hncse.evaluation import sts as tasks

    found: dict[str, Any] = {"probe": probe.evaluate(encoder)}
    if sts:
        found["sts"] = tasks.evaluate_full(encoder)
    return found


def measure(run: Run, *, sts: bool | None = None) -> dict[str, Any]:
    """Write probe.json, sts.json and baseline.json of a finished run; what is there already is kept.

    ``baseline.json`` holds the same scores of the encoder the run started from, untrained, for the poolings `[CLS]`
    and mean: what training has to beat.

    Args:
        run: A finished run.
        sts: Whether to measure the seven STS tasks; None: where their files are there.

    Returns:
        ``probe``, ``sts`` (absent if not measured) and ``baseline`` (pooling → the same).
    """
    from hncse.data import senteval

    sts = senteval.sts_present() if sts is None else sts
    wanted = ["probe", "sts"] if sts else ["probe"]
    if not all(run.has(what) for what in wanted):
        found = scores(run.load_encoder(), sts=sts)
        for what in wanted:
            run.write(what, found[what])
    baseline = run.read("baseline") if run.has("baseline") else {}
    if not all(set(wanted) <= set(baseline.get(pooling, {})) for pooling in BASELINE_POOLINGS):
        baseline = {p: _untrained(run.config["parameters"]["encoder"], p, sts) for p in BASELINE_POOLINGS}
        run.write("baseline", baseline)
    return {what: run.read(what) for what in wanted} | {"baseline": baseline}


@functools.cache  # a sweep starts many runs from the same encoder
def _untrained(name: str, pooling: str, sts: bool) -> dict[str, Any]:
    from hncse.encoder import SentenceEncoder

    return scores(SentenceEncoder.from_pretrained(name, pooling), sts=sts)
