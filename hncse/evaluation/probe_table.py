"""From run folders to a table of the probe: our methods with seeds and intervals, and the encoders before training.

``python -m hncse.evaluation.probe_table`` prints it for every run of the runs folder; ``--phenomena`` adds one row a
phenomenon.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hncse.data import probe
from hncse.errors import HncseError, command, unknown
from hncse.evaluation.tables import distinctions, grouped, markdown, method_name, t_interval
from hncse.runs import Run, find, list_runs

__all__ = ["MEASURES", "caption", "rows", "to_markdown"]

#: Column → what it is in probe.json.
MEASURES = ("spearman", "close", "far", "overall", "both")


def rows(runs: Iterable[Run] | None = None, phenomenon: str | None = None) -> list[dict[str, Any]]:
    """Gather probe results of runs, over seeds.

    Args:
        runs: Run folders; those without a result on the embedded probe contribute nothing. None takes all.
        phenomenon: Of this phenomenon's hard negatives alone; ``spearman`` is then missing.

    Returns:
        A row a method, best ``close`` last, after one for each encoder before training: ``method``, ``encoder``,
        ``pooling``, ``sentences``, ``seeds``, ``runs``, and each of `MEASURES`: (mean, half the 95 % t-interval).
    """
    current = probe.fingerprint(probe.load())
    found = [run for run in (list_runs() if runs is None else runs) if _usable(run, current)]
    before: dict[tuple[str, str], dict[str, Any]] = {}
    made = []
    groups = grouped(found)
    for group in groups:
        config = group[0].config
        facts = {"encoder": config["parameters"]["encoder"], "pooling": config["pooling"]}
        raw = group[0].read("baseline")["poolings"].get(facts["pooling"], {}).get("probe")
        if raw is not None and raw.get("fingerprint") == current:
            scores = {name: (value, float("nan")) for name, value in _values(raw, phenomenon).items()}
            key = (facts["encoder"], facts["pooling"])
            before[key] = {"method": "before training", **facts, "sentences": None, "seeds": None, "runs": []} | scores
        each = [_values(run.read("probe"), phenomenon) for run in group]
        scores = {name: t_interval([values[name] for values in each]) for name in each[0]}
        about = {"sentences": config["data"]["sentences"], "seeds": len(group), "runs": [run.name for run in group]}
        made.append({"method": method_name(config["parameters"]), **facts, **about} | scores)
    shown = [(row["method"], row["encoder"], row["pooling"], row["sentences"]) for row in made]
    for row, extra in zip(made, distinctions([group[0] for group in groups], shown), strict=True):
        row["method"] += extra
    return [*before.values(), *sorted(made, key=lambda row: row["close"][0])]


def to_markdown(table: Sequence[dict[str, Any]]) -> str:
    """Write `rows` as Markdown, with a caption that says what the numbers are."""
    text = caption()
    head = ["method", "encoder", "pooling", "sentences", "seeds", *MEASURES]
    body = []
    for row in table:
        facts = [row[name] for name in head[:3]] + ["" if row[n] is None else f"{row[n]:,}" for n in head[3:5]]
        body.append(facts + [_shown(row.get(name)) for name in MEASURES])
    return f"{text}.\n\n{markdown(head, body, left=3)}\n"


def caption() -> str:
    """Say what the probe's numbers are."""
    return (
        f"Probe, {len(probe.load())} groups: Spearman × 100 with the grades; % of hard negatives outranked by the "
        "close, the far, either, both paraphrases (50 is chance for the first three); mean over seeds ± half the 95 % "
        "t-interval"
    )


def _usable(run: Run, current: str) -> bool:
    if not (run.has("config") and run.has("probe") and run.has("baseline")):
        return False
    return run.read("probe").get("fingerprint") == current


def _values(result: dict[str, Any], phenomenon: str | None) -> dict[str, float]:
    if phenomenon is None:
        shares = result["triplet_accuracy"]
        return {"spearman": result["spearman"]} | {name: shares[name]["value"] for name in MEASURES[1:]}
    if phenomenon not in probe.PHENOMENA:
        raise unknown("phenomenon", phenomenon, probe.PHENOMENA)
    return {name: result["phenomena"][phenomenon][name]["value"] for name in MEASURES[1:]}


def _shown(value: tuple[float, float] | None) -> str:
    if value is None:
        return ""
    mean, half = value
    return f"{mean:.1f}" if half != half else f"{mean:.1f} ± {half:.1f}"


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hncse.evaluation.probe_table", description="The probe over seeds.")
    parser.add_argument("runs", nargs="*", help="names or folders of runs; default: all")
    parser.add_argument("--folder", type=Path, help="folder of runs (default: HNCSE_RUNS or runs/)")
    parser.add_argument("--phenomena", action="store_true", help="a table for each phenomenon as well")
    options = parser.parse_args(arguments)
    chosen = [find(name, options.folder) for name in options.runs] or list_runs(options.folder)
    table = rows(chosen)
    if not table:
        raise HncseError("no run has a result on the embedded probe; `python -m hncse.sweep` makes some")
    sys.stdout.write(to_markdown(table))
    for name in probe.PHENOMENA if options.phenomena else ():
        sys.stdout.write(f"\n**{name.replace('_', ' ')}**\n\n{to_markdown(rows(chosen, name)).split(chr(10), 2)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
