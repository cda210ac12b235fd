"""From run folders to tables: our rows with seeds and intervals, the untrained encoder, published rows, kept apart.

    table = sts_table(runs.list_runs())          # a pandas DataFrame; transfer_table likewise
    print(to_markdown(table))                    # reads well in a terminal, too

A row of ours is the mean over the seeds of runs that are alike in everything else. Its interval is Student's t over
seeds; one seed has none, and the table says so.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hncse.evaluation import literature
from hncse.runs import Run, list_runs
from hncse.text import table as markdown

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "LANDMARKS",
    "STS",
    "TRANSFER",
    "caption",
    "grouped",
    "landmarks",
    "markdown",
    "method_name",
    "sts_table",
    "t_interval",
    "to_markdown",
    "transfer_table",
]

STS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICKR")
TRANSFER = ("MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC")
_FACTS = ("kind", "method", "encoder", "pooling", "corpus", "sentences", "seeds")
#: Columns of `sts_table`; "half" is half the width of the 95 % interval of avg, "source" runs or a publication.
COLUMNS = (*_FACTS, *STS, "avg", "half", "source")
#: Published rows that most papers compare with, by their beginnings; all others are in literature/sts.csv.
LANDMARKS = (
    "GloVe avg", "BERT-flow", "ConSERT", "SimCSE (unsup)", "DCLR", "MixCSE", "ArcCSE", "DiffCSE (unsup)",
    "PromptBERT (unsup)", "SNCSE", "RankCSE_listMLE", "SimCSE (sup NLI)",
)  # fmt: skip
_DEV = "DEV-SET"  # how literature/transfer.csv marks rows that are no test results
IGNORED = ("seed", "name", "output", "log_every", "snapshots", "length_groups")  # no part of what a method is


def sts_table(
    runs: Iterable[Run] | None = None,
    published: bool = True,
    *,
    encoder: str | None = None,
    backbone: str | None = None,
) -> pd.DataFrame:
    """Gather runs and published figures into one table.

    Args:
        runs: Run folders; those without sts.json contribute nothing. None takes all of the default folder.
        published: Add the rows of literature/sts.csv.
        encoder: Keep only runs of this encoder.
        backbone: Keep only published rows of this backbone.

    Returns:
        A row a method, columns `COLUMNS`. ``kind`` is "ours", "untrained" or "published"; scores are Spearman ×100 on
        the test split, "all" aggregation, for ours means over ``seeds`` runs; ``half`` is NaN for fewer than two.
    """
    return _gather(_Measure("sts", STS, "all"), runs, published, encoder, backbone)


def transfer_table(
    runs: Iterable[Run] | None = None,
    published: bool = True,
    *,
    encoder: str | None = None,
    backbone: str | None = None,
    solver: str = "fast",
) -> pd.DataFrame:
    """Gather transfer accuracies of runs and published figures into one table.

    Args:
        runs: As in `sts_table`; those without this solver's transfer.json contribute nothing.
        published: Add the rows of literature/transfer.csv that are test results; three there are not.
        encoder: As in `sts_table`.
        backbone: As in `sts_table`.
        solver: Whose results (`hncse.evaluation.transfer`); rows of two solvers never stand in one table.

    Returns:
        As `sts_table`, with the seven transfer tasks; scores are accuracies ×100 on test rows.
    """
    from hncse.evaluation.transfer import result_name

    return _gather(_Measure(result_name(solver), TRANSFER, "acc"), runs, published, encoder, backbone)


def landmarks(table: pd.DataFrame) -> pd.DataFrame:
    """Keep of a table's published rows those of `LANDMARKS`, one for each backbone; all other rows stay."""
    published = table[table["kind"] == "published"]
    kept = []
    for _, rows in published.groupby("encoder"):
        for name in LANDMARKS:
            like = rows[rows["method"].str.startswith(name)]
            exact = like[like["method"] == name]  # before "SimCSE (unsup) reproduced by …"
            kept += list((exact if len(exact) else like).index[:1])
    return table[(table["kind"] != "published") | table.index.isin(kept)]


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean of a few runs and half the width of its interval (Student's t).

    Args:
        values: One score a run.
        level: Coverage.

    Returns:
        Mean and half width; the latter is NaN for fewer than two values.
    """
    import numpy as np
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * error


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown: ours, untrained and published rows under headings of their own."""
    parts, scores = [caption(table)], _tasks(table)
    titles = {"ours": "Ours", "untrained": "The same encoders, untrained", "published": "Published (as printed there)"}
    for kind, title in titles.items():
        rows = table[table["kind"] == kind]
        if len(rows):
            head = ["method", "encoder", *([] if kind == "published" else ["pooling"])]
            head += ["corpus"] if kind == "ours" else []
            seeds = ["sentences", "seeds"] if kind == "ours" else []
            last = ["source"] if kind == "published" else []
            body = [
                [*(_cell(row[name]) for name in head), *(_cell(row[name]) for name in seeds)]
                + [score_text(row[name]) for name in scores]
                + [_average(row), *(row[name] for name in last)]
                for _, row in rows.iterrows()
            ]
            parts += [f"**{title}**", markdown([*head, *seeds, *scores, "avg", *last], body, left=len(head))]
    return "\n\n".join(parts) + "\n"


def caption(table: pd.DataFrame) -> str:
    """Say what the numbers of a table are: split, measure, pooling, seeds, interval."""
    ours = table[table["kind"] == "ours"]
    if tuple(_tasks(table)) == TRANSFER:
        text = (
            "Transfer, test rows, accuracy × 100 of a linear classifier on frozen embeddings, strength chosen on "
            "development folds (10 folds, seed 1111); avg: mean of the seven tasks."
        )
    else:
        text = 'STS, test split, Spearman × 100 of cosine similarity, "all" aggregation; avg: mean of the seven tasks.'
    if not len(ours):
        return f"{text} No run of ours has such scores yet."
    seeds = sorted({int(n) for n in ours["seeds"]})
    text += f" Ours: mean over seeds ({' or '.join(map(str, seeds))})"
    if seeds[-1] > 1:
        text += ", avg ± half the 95 % t-interval over seeds"
    if seeds[0] == 1:
        text += "; one seed has no interval, and says little"
    return text + ". Published rows: pooling, seeds and selection are their papers'."


@dataclass(frozen=True)
class _Measure:
    """What a table is about: a result file of runs, its tasks in order, and a task's score in that file."""

    result: str
    tasks: tuple[str, ...]
    score: str

    def scores(self, result: dict[str, Any]) -> dict[str, float]:
        return {task: result["tasks"][task][self.score] for task in self.tasks}


def _tasks(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name in (*STS, *TRANSFER)]


def _gather(
    measure: _Measure, runs: Iterable[Run] | None, published: bool, encoder: str | None, backbone: str | None
) -> pd.DataFrame:
    import pandas as pd

    found = [run for run in (list_runs() if runs is None else runs) if _usable(run, measure, encoder)]
    rows = [*_ours(found, measure), *_untrained(found, measure)]
    if published:
        rows += _published(backbone, "sts" if measure.tasks == STS else "transfer")
    return pd.DataFrame(rows, columns=[*_FACTS, *measure.tasks, "avg", "half", "source"])


def _usable(run: Run, measure: _Measure, encoder: str | None) -> bool:
    if not (run.has("config") and run.has(measure.result)) or run.read(measure.result).get("avg") is None:
        return False
    return encoder is None or run.config["parameters"]["encoder"] == encoder


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Sort runs into those that are alike in everything but the seed; of two with one seed the younger counts."""
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:  # oldest first
        groups.setdefault(kind_of(run.config), {})[run.config["seed"]] = run
    return [list(of_seed.values()) for of_seed in groups.values()]


def _ours(runs: list[Run], measure: _Measure) -> list[dict[str, Any]]:
    groups = grouped(runs)
    rows = [_our_row(group, measure) for group in groups]
    shown = [tuple(row[key] for key in COLUMNS[:6]) for row in rows]
    for row, extra in zip(rows, distinctions([group[0] for group in groups], shown), strict=True):
        row["method"] += extra
    return sorted(rows, key=lambda row: (row["encoder"], row["avg"], row["method"]))


def kind_of(config: dict[str, Any]) -> str:
    """What runs of one row share: everything but the seed."""
    parameters = {k: v for k, v in config["parameters"].items() if k not in IGNORED}
    facts = [config["data"]["fingerprint"], config["encoder_fingerprint"], config["selection"]]
    return json.dumps([parameters, *facts], sort_keys=True)


def _our_row(runs: list[Run], measure: _Measure) -> dict[str, Any]:
    config = runs[0].config
    results = [run.read(measure.result) for run in runs]
    scores = [measure.scores(result) for result in results]
    row: dict[str, Any] = {
        "kind": "ours",
        "method": method_name(config["parameters"]),
        "encoder": config["parameters"]["encoder"],
        "pooling": config["pooling"],
        "corpus": config["data"]["source"],
        "sentences": config["data"]["sentences"],
        "seeds": len(runs),
        "source": ", ".join(run.name for run in runs),
    }
    for task in measure.tasks:
        row[task] = t_interval([s[task] for s in scores])[0]
    row["avg"], row["half"] = t_interval([result["avg"] for result in results])
    return row


def method_name(parameters: dict[str, Any]) -> str:
    """Name of what was trained: the preset and the options that change it."""
    options = ", ".join(f"{k}={v}" for k, v in parameters["loss_options"].items())
    return f"{parameters['loss']} ({options})" if options else parameters["loss"]


def distinctions(runs: Sequence[Run], shown: Sequence[Hashable]) -> list[str]:
    """What to add to the names of rows that would otherwise read alike: the parameters in which they differ.

    Args:
        runs: One of each row.
        shown: What each row tells of it; equal where they read alike.
    """
    added = []
    for run, name in zip(runs, shown, strict=True):
        twins = [other.config for other, theirs in zip(runs, shown, strict=True) if theirs == name]
        mine = run.config["parameters"]
        differs = [k for k in mine if k not in IGNORED and any(t["parameters"].get(k) != mine[k] for t in twins)]
        extra = ", ".join(f"{k}={mine[k]}" for k in differs)
        if not extra and len(twins) > 1:
            extra = f"data {run.config['data']['fingerprint'][:6]}, {run.config['selection']}"
        added.append(f", {extra}" if extra else "")
    return added


def _untrained(runs: list[Run], measure: _Measure) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        if not run.has("baseline"):
            continue
        baseline = run.read("baseline")
        for pooling, scores in baseline["poolings"].items():
            if measure.result in scores:
                tasks = measure.scores(scores[measure.result])
                row = {"kind": "untrained", "method": "untrained", "encoder": baseline["encoder"], "pooling": pooling}
                rows[baseline["encoder"], pooling] = (
                    row | tasks | {"avg": scores[measure.result]["avg"], "source": run.name}
                )
    return [rows[key] for key in sorted(rows)]


def _published(backbone: str | None, name: str) -> list[dict[str, Any]]:
    table = literature.load(name).rename(columns={"backbone": "encoder"})
    table = table[~table["method"].str.startswith(_DEV)]
    if backbone is not None:
        table = table[table["encoder"] == backbone]
    table = table.sort_values(["encoder", "avg"], kind="stable")
    return [{"kind": "published"} | row for row in table.to_dict("records")]


def _cell(value: Any) -> str:
    missing = value is None or value != value
    return "" if missing else f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def score_text(value: float) -> str:
    return "" if value != value else f"{value:.2f}"


def _average(row: Any) -> str:
    if row["kind"] == "ours":
        return f"{row['avg']:.2f} (1 seed)" if row["half"] != row["half"] else f"{row['avg']:.2f} ± {row['half']:.2f}"
    return score_text(row["avg"])


if __name__ == "__main__":
    from hncse.evaluation._rebuild import main

    raise SystemExit(main())
