"""Results of many runs as one CSV, a row a run, and back: tables and statistics without the run folders.

    python -m hncse.evaluation.results --runs FOLDER --csv figures/sweep.csv
    runs = read("figures/sweep.csv")             # as good as run folders to tables, statistics and probe_table

A row holds every parameter, the key, scores on all tasks, and how the anchors of training were
spread over the cases. Rows of kind "untrained" hold the encoders before training. Weights, histories and snapshots
stay in the run folders.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hncse.errors import HncseError, command
from hncse.evaluation.tables import STS, TRANSFER
from hncse.files import write_text
from hncse.runs import Run, list_runs

__all__ = ["COLUMNS", "Recorded", "dev_score", "gather", "read", "rows", "to_csv"]

_PROBE = ("overall", "close", "far", "both")
_CASES = tuple(f"case_{case}_{when}" for case in "abc" for when in ("first", "mean", "last"))
_RESULT = ("steps", "kept_step", "seconds", "sentences_per_second", "device", "precision")
_SHOWN = ("loss", "loss_options", "encoder", "corpus", "limit", "seed")
#: The CSV's columns, in order.
COLUMNS = (
    "kind", "run", *_SHOWN, "parameters", "pooling", "source", "sentences", "data", "weights", "selection", "key",
    *_RESULT, "stsb_dev", *STS, "sts", *TRANSFER, "transfer", "probe", *(f"probe-{name}" for name in _PROBE),
    "probe_version", *_CASES, "hncse", "torch",
)  # fmt: skip
_NEEDED = ("kind", "run", "loss", "encoder", "seed")
_DIGITS = 4


class Recorded(Run):
    """A run read back from a CSV: what tables and statistics ask of a `Run`, without a folder.

    Attributes:
        row: Its row, column → text.
    """

    def __init__(self, row: dict[str, str], contents: dict[str, dict[str, Any]]) -> None:
        """Keep a row and what its files would hold."""
        super().__init__(Path(row["run"]))
        self.row, self._contents = row, contents

    @property
    def finished(self) -> bool:
        """True: only finished runs are recorded."""
        return True

    def has(self, what: str) -> bool:
        """Whether the row tells what ``<what>.json`` would."""
        return what in self._contents

    def read(self, what: str) -> dict[str, Any]:
        """What ``<what>.json`` held, as far as tables and statistics need it.

        Raises:
            HncseError: It was not recorded.
        """
        if what not in self._contents:
            raise HncseError(f"run {self.name!r} was recorded without {what}")
        return self._contents[what]


def gather(folder: Path | None = None, table: Path | None = None) -> list[Run]:
    """Finished runs: of a CSV if one is named, else of a folder (None: the default one).

    Raises:
        HncseError: The CSV is missing or is none of ours.
    """
    if table is not None:
        return list(read(table))
    return [run for run in list_runs(folder) if run.finished]


def rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Make the rows: encoders before training, then runs, sorted by what they are and not by when they were made.

    Args:
        runs: Finished; others contribute nothing.
    """
    untrained: dict[tuple[str, str], dict[str, Any]] = {}
    made = []
    for run in runs:
        if not run.finished:
            continue
        if isinstance(run, Recorded):
            made.append(run.row)
            continue
        made.append(_row(run))
        for pooling, scores in (run.read("baseline")["poolings"] if run.has("baseline") else {}).items():
            config = run.config
            facts = {"kind": "untrained", "encoder": config["parameters"]["encoder"], "pooling": pooling}
            row = facts | {"weights": config["encoder_fingerprint"][:16]} | _scores(scores)
            old = untrained.setdefault((row["weights"], pooling), row)
            old.update({name: value for name, value in row.items() if name not in old})
    made.sort(key=lambda row: (*(str(row.get(name, "")) for name in (*_SHOWN[2:5], *_SHOWN[:2])), int(row["seed"])))
    return [*(untrained[key] for key in sorted(untrained)), *made]


def to_csv(made: Sequence[dict[str, Any]]) -> str:
    """Write rows as CSV text; numbers are rounded to four decimals."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in made)
    return file.getvalue()


def read(path: str | Path) -> list[Recorded]:
    """Read the runs of a CSV.

    Raises:
        HncseError: The file is missing, or it lacks a column without which a row says nothing (`_NEEDED`). Other
            columns that it lacks are gaps; what it has beyond `COLUMNS` is left in the rows, and nobody asks for it.
    """
    path = Path(path)
    if not path.is_file():
        raise HncseError(f"{path} is not there; `python -m hncse.evaluation.results --csv {path}` makes it from runs")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if lacking:
            raise HncseError(
                f"{path} is no table of results: it has no column {', '.join(lacking)}; "
                "`python -m hncse.evaluation.results --csv FILE` writes one from run folders"
            )
        found = [dict.fromkeys(COLUMNS, "") | row for row in reader]
    before = [row for row in found if row["kind"] == "untrained"]
    return [_recorded(row, before) for row in found if row["kind"] == "trained"]


def dev_score(run: Run) -> float | None:
    """STS-B dev of the weights that were kept; None where it was not measured."""
    score = run.result.get("stsb_dev")
    if score is not None or isinstance(run, Recorded):
        return score
    return next((line["stsb_dev"] for line in reversed(run.history) if "stsb_dev" in line), None)


def _row(run: Run) -> dict[str, Any]:
    config, result = run.config, run.result
    parameters = {k: v for k, v in config["parameters"].items() if k not in ("name", "output", "log_every")}
    others = {k: v for k, v in parameters.items() if k not in _SHOWN}  # all: a default may change
    return {
        "kind": "trained",
        "run": run.name,
        **{name: parameters[name] for name in _SHOWN},
        "parameters": others,
        "pooling": config["pooling"],
        "source": config["data"]["source"],
        "sentences": config["data"]["sentences"],
        "data": config["data"]["fingerprint"][:16],
        "weights": config["encoder_fingerprint"][:16],
        "selection": config["selection"],
        "key": config["key"],
        **{name: result.get(name) for name in _RESULT},
        "stsb_dev": dev_score(run),
        **_scores({name: run.read(name) for name in ("sts", "transfer", "probe") if run.has(name)}),
        **_cases(run.history),
        "hncse": config["versions"]["hncse"],
        "torch": config["versions"]["torch"],
    }


def _defaults() -> dict[str, Any]:
    from hncse.training import TrainingConfig

    return {f.name: None if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(TrainingConfig)}


def _scores(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for name, tasks, measure in (("sts", STS, "all"), ("transfer", TRANSFER, "acc")):
        if name in results:
            done = results[name]["tasks"]
            scores |= {task: done[task][measure] for task in tasks if task in done} | {name: results[name].get("avg")}
    if "probe" in results:
        shares = results["probe"].get("triplet_accuracy", {})
        scores |= {"probe": results["probe"]["spearman"], "probe_version": results["probe"].get("fingerprint")}
        scores |= {f"probe-{name}": shares[name]["value"] for name in _PROBE if name in shares}
    return scores


def _cases(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares of anchors in each case: in the first logged steps, over all, in the last."""
    found: dict[str, float] = {}
    for case in "abc":
        shares = [line[f"case_{case}"] for line in history if f"case_{case}" in line]
        if shares:
            values = {"first": shares[0], "mean": sum(shares) / len(shares), "last": shares[-1]}
            found |= {f"case_{case}_{when}": value for when, value in values.items()}
    return found


def _recorded(row: dict[str, str], before: Sequence[dict[str, str]]) -> Recorded:
    parameters = _defaults() | {name: row[name] for name in ("loss", "encoder", "corpus")}
    parameters |= {"limit": _number(row["limit"]), "seed": int(row["seed"])}
    parameters |= {"loss_options": json.loads(row["loss_options"] or "{}")} | json.loads(row["parameters"] or "{}")
    data = {"source": row["source"], "sentences": int(row["sentences"] or 0), "fingerprint": row["data"]}
    contents: dict[str, dict[str, Any]] = {
        "config": {
            "key": row["key"], "parameters": parameters, "pooling": row["pooling"], "data": data,
            "encoder_fingerprint": row["weights"], "selection": row["selection"], "seed": parameters["seed"],
            "versions": {"hncse": row["hncse"], "torch": row["torch"]},
        },
        "result": {name: _number(row[name]) for name in (*_RESULT, "stsb_dev")},
        **_contents(row),
    }  # fmt: skip
    poolings = {other["pooling"]: _contents(other) for other in before if other["weights"] == row["weights"]}
    if poolings:
        facts = {"encoder": row["encoder"], "encoder_fingerprint": row["weights"]}
        contents["baseline"] = facts | {"poolings": poolings}
    return Recorded(row, contents)


def _contents(row: dict[str, str]) -> dict[str, dict[str, Any]]:
    """sts.json, transfer.json and probe.json of a row, as far as they were recorded."""
    contents: dict[str, dict[str, Any]] = {}
    for name, tasks, measure in (("sts", STS, "all"), ("transfer", TRANSFER, "acc")):
        if row[name]:
            scores = {task: {measure: float(row[task])} for task in tasks if row[task]}
            contents[name] = {"split": "test", "tasks": scores, "avg": float(row[name])}
    if row["probe"]:
        shares = {name: {"value": float(row[f"probe-{name}"])} for name in _PROBE if row[f"probe-{name}"]}
        about = {"spearman": float(row["probe"]), "fingerprint": row["probe_version"]}
        contents["probe"] = about | {"triplet_accuracy": shares}
    return contents


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return repr(round(value, _DIGITS))
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return "" if value is None else value


def _number(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError:
        return text


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hncse.evaluation.results", description="Write the results of finished runs as one CSV."
    )
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs (default: HNCSE_RUNS or runs/)")
    parser.add_argument("--csv", type=Path, help="file to write (default: standard output)")
    options = parser.parse_args(arguments)
    made = rows(run for folder in options.runs or [None] for run in gather(folder))
    if not any(row["kind"] == "trained" for row in made):
        raise HncseError("there is no finished run; `python -m hncse.sweep` makes some")
    text = to_csv(made)
    if options.csv is None:
        sys.stdout.write(text)
    else:
        write_text(options.csv, text)
        sys.stderr.write(f"{sum(row['kind'] == 'trained' for row in made)} runs in {options.csv}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
