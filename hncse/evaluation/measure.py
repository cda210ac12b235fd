"""Everything the kit measures of a finished run, written into its folder once."""

from __future__ import annotations

import json
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
    if not _complete(run.read("baseline") if run.has("baseline") else {}, wanted):
        run.write("baseline", _baseline(run, wanted))
    return {what: run.read(what) for what in wanted} | {"baseline": run.read("baseline")}


def _complete(baseline: dict[str, Any], wanted: list[str]) -> bool:
    return all(set(wanted) <= set(baseline.get(pooling, {})) for pooling in BASELINE_POOLINGS)


def _baseline(run: Run, wanted: list[str]) -> dict[str, Any]:
    """Scores of the untrained encoder, kept beside the runs under its fingerprint: a sweep measures it once."""
    from hncse.encoder import SentenceEncoder
    from hncse.runs import write_json

    kept = run.path.parent / ".baselines" / f"{run.config['encoder_fingerprint'][:16]}.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if not _complete(found, wanted):
        name = run.config["parameters"]["encoder"]
        found = {p: scores(SentenceEncoder.from_pretrained(name, p), sts="sts" in wanted) for p in BASELINE_POOLINGS}
        write_json(kept, found)
    return found
