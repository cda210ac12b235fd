"""One finished run in words and two tables: what `make train` prints at its end."""

from __future__ import annotations

from typing import Any

from hncse.evaluation.tables import STS, TRANSFER, markdown, method_name, score_text
from hncse.runs import Run
from hncse.text import markdown as escaped

__all__ = ["run_summary"]


def run_summary(run: Run) -> str:
    """Describe one finished run in Markdown: what it was, and its scores beside the untrained encoder's.

    Args:
        run: With probe.json and baseline.json; sts.json and transfer.json where these were evaluated.
    """
    config, result = run.config, run.result
    p, data = config["parameters"], config["data"]
    kept = f"step {result['kept_step']} kept"
    kept += f" (best STS-B dev: {result['stsb_dev']:.2f})" if result["stsb_dev"] is not None else " (the last)"
    parts = [
        f"# {escaped(run.name)}",
        f"{escaped(method_name(p))} on {escaped(p['encoder'])}, pooling {config['pooling']}, {data['sentences']:,} "
        f"sentences from {escaped(data['source'])}, seed {config['seed']}: {result['steps']} steps in "
        f"{result['seconds']:.0f} s on {result['device']}, {kept}.",
    ]
    rows = _summary_rows(run)
    parts += _probe_part(rows)
    if all("sts" in scores for _, _, scores in rows):
        parts += _sts_part(rows)
    else:
        parts.append(
            'STS was not evaluated: its files are not here, or `evaluate` was "probe". `-p evaluate fetch` downloads '
            "them once."
        )
    if run.has("transfer"):
        parts += _transfer_part(run)
    return "\n\n".join(parts) + "\n"


def _summary_rows(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, pooling, scores) of the encoder before and after training."""
    baseline, own = run.read("baseline")["poolings"], run.config["pooling"]
    order = sorted(baseline, key=lambda pooling: (pooling == own, pooling))
    rows = [("before training", pooling, baseline[pooling]) for pooling in order]
    after = {name: run.read(name) for name in ("probe", "sts") if run.has(name)}
    return [*rows, ("after training", own, after)]


def _probe_part(rows: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    first = rows[-1][2]["probe"]
    text = (
        f"Probe ({first['groups']} groups, {first['sentences']:,} sentences), 95 % bootstrap intervals over groups. "
        "Spearman × 100 with the grades; % of hard negatives that the paraphrase outranks (50 is chance)."
    )
    body = []
    for name, pooling, scores in rows:
        spearman = {"value": scores["probe"]["spearman"], "interval": scores["probe"]["spearman_interval"]}
        triplets = scores["probe"]["triplet_accuracy"]
        body.append([name, pooling, *(_ranged(x) for x in (spearman, triplets["close"], triplets["far"]))])
    return [text, markdown(["", "pooling", "Spearman", "close paraphrase", "far paraphrase"], body, left=2)]


def _sts_part(rows: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    body = []
    for name, pooling, scores in rows:
        tasks = [score_text(scores["sts"]["tasks"][task]["all"]) for task in STS]
        body.append([name, pooling, *tasks, score_text(scores["sts"]["avg"])])
    span = rows[-1][2]["sts"]["avg_interval"]
    text = 'STS, test split, Spearman × 100, "all" aggregation, one seed.'
    if span:
        text += (
            f" 95 % interval of the last average over sentence pairs: [{span[0]:.2f}, {span[1]:.2f}]; another seed "
            "moves it, too (notebook 05)."
        )
    return [text, markdown(["", "pooling", *STS, "avg"], body, left=2)]


def _transfer_part(run: Run) -> list[str]:
    own = run.config["pooling"]
    before = run.read("baseline")["poolings"].get(own, {}).get("transfer") if run.has("baseline") else None
    rows = [("before training", before), ("after training", run.read("transfer"))]
    body = [
        [name, own, *(score_text(result["tasks"][task]["acc"]) for task in TRANSFER), score_text(result["avg"])]
        for name, result in rows
        if result is not None
    ]
    text = "Transfer, test rows, accuracy × 100 of a linear classifier on frozen embeddings, solver fast, one seed."
    return [text, markdown(["", "pooling", *TRANSFER, "avg"], body, left=2)]


def _ranged(entry: dict[str, Any]) -> str:
    span = entry["interval"]
    return f"{entry['value']:.1f} [{span[0]:.1f}, {span[1]:.1f}]" if span else f"{entry['value']:.1f}"
