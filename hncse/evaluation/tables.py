"""From run folders to tables: our rows with seeds and intervals, the untrained encoder, published rows, kept apart.

    table = sts_table(runs.list_runs())          # a pandas DataFrame
    print(to_markdown(table))                    # reads well in a terminal, too

A row of ours is the mean over the seeds of runs that are alike in everything else. Its interval is Student's t over
seeds; one seed has none, and the table says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hncse.evaluation import literature
from hncse.runs import Run, list_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "LANDMARKS",
    "STS",
    "caption",
    "landmarks",
    "markdown",
    "sts_table",
    "t_interval",
    "to_markdown",
]

STS = ("STS12", "STS13", "STS14", "STS15", "STS16", "STSB", "SICKR")
_SCORES = (*STS, "avg")
#: Columns of `sts_table`; "half" is half the width of the 95 % interval of avg, "runs" or "source" where it is from.
COLUMNS = ("kind", "method", "encoder", "pooling", "corpus", "sentences", "seeds", *_SCORES, "half", "source")
#: Published rows that most papers compare with, by their beginnings; all others are in literature/sts.csv.
LANDMARKS = (
    "GloVe avg", "BERT-flow", "ConSERT", "SimCSE (unsup)", "DCLR", "MixCSE", "ArcCSE", "DiffCSE (unsup)",
    "PromptBERT (unsup)", "SNCSE", "RankCSE_listMLE", "SimCSE (sup NLI)",
)  # fmt: skip
_IGNORED = ("seed", "name", "output", "log_every", "snapshots", "length_groups")  # no part of what a method is


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
    import pandas as pd

    found = [run for run in (list_runs() if runs is None else runs) if _usable(run, encoder)]
    rows = [*_ours(found), *_untrained(found)]
    if published:
        rows += _published(backbone)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def landmarks(table: pd.DataFrame) -> pd.DataFrame:
    """Keep of an `sts_table`'s published rows those of `LANDMARKS`, one for each backbone; all other rows stay."""
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
    """Write an `sts_table` as Markdown: ours, untrained and published rows under headings of their own."""
    parts = [caption(table)]
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
                + [score_text(row[name]) for name in STS]
                + [_average(row), *(row[name] for name in last)]
                for _, row in rows.iterrows()
            ]
            parts += [f"**{title}**", markdown([*head, *seeds, *_SCORES, *last], body, left=len(head))]
    return "\n\n".join(parts) + "\n"


def caption(table: pd.DataFrame) -> str:
    """Say what the numbers of a table are: split, measure, pooling, seeds, interval."""
    ours = table[table["kind"] == "ours"]
    text = 'STS, test split, Spearman × 100 of cosine similarity, "all" aggregation; avg: mean of the seven tasks.'
    if not len(ours):
        return f"{text} No run of ours has STS scores yet."
    seeds = sorted({int(n) for n in ours["seeds"]})
    text += f" Ours: mean over seeds ({' or '.join(map(str, seeds))})"
    if seeds[-1] > 1:
        text += ", avg ± half the 95 % t-interval over seeds"
    if seeds[0] == 1:
        text += "; one seed has no interval, and says little"
    return text + ". Published rows: pooling, seeds and selection are their papers'."


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align a Markdown table so that it reads well as plain text, too.

    Args:
        head: Names of the columns.
        body: Rows of cells.
        left: How many columns, from the first, are text and not numbers; "source" is text, too.
    """
    rows = [[str(cell).replace("|", "/") for cell in row] for row in (head, *body)]
    text = [c < left or name == "source" for c, name in enumerate(head)]
    widths = [max(3, *(len(row[c]) for row in rows)) for c in range(len(head))]
    rules = ["-" * w if text[c] else "-" * (w - 1) + ":" for c, w in enumerate(widths)]
    lines = [
        "| "
        + " | ".join(
            f"{cell:{'<' if text[c] else '>'}{w}}" for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (rows[0], rules, *rows[1:])
    ]
    return "\n".join(lines)


def _usable(run: Run, encoder: str | None) -> bool:
    if not (run.has("config") and run.has("sts")) or run.read("sts").get("avg") is None:
        return False
    return encoder is None or run.config["parameters"]["encoder"] == encoder


def _ours(runs: list[Run]) -> list[dict[str, Any]]:
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:  # oldest first: of two runs with one seed the younger counts
        groups.setdefault(_kind_of(run.config), {})[run.config["seed"]] = run
    rows = [_our_row(list(of_seed.values())) for of_seed in groups.values()]
    for row, extra in zip(rows, _distinctions([next(iter(g.values())) for g in groups.values()], rows), strict=True):
        row["method"] += extra
    return sorted(rows, key=lambda row: (row["encoder"], row["avg"]))


def _kind_of(config: dict[str, Any]) -> str:
    """What runs of one row share: everything but the seed."""
    parameters = {k: v for k, v in config["parameters"].items() if k not in _IGNORED}
    facts = [config["data"]["fingerprint"], config["encoder_fingerprint"], config["selection"]]
    return json.dumps([parameters, *facts], sort_keys=True)


def _our_row(runs: list[Run]) -> dict[str, Any]:
    config = runs[0].config
    scores = [run.read("sts") for run in runs]
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
    for task in STS:
        row[task] = t_interval([s["tasks"][task]["all"] for s in scores])[0]
    row["avg"], row["half"] = t_interval([s["avg"] for s in scores])
    return row


def method_name(parameters: dict[str, Any]) -> str:
    options = ", ".join(f"{k}={v}" for k, v in parameters["loss_options"].items())
    return f"{parameters['loss']} ({options})" if options else parameters["loss"]


def _distinctions(runs: list[Run], rows: list[dict[str, Any]]) -> list[str]:
    """What to add to the names of rows that would otherwise read alike: the parameters in which they differ."""
    shown = [tuple(row[key] for key in COLUMNS[:6]) for row in rows]
    added = []
    for run, name in zip(runs, shown, strict=True):
        twins = [other.config for other, theirs in zip(runs, shown, strict=True) if theirs == name]
        mine = run.config["parameters"]
        differs = [k for k in mine if k not in _IGNORED and any(t["parameters"].get(k) != mine[k] for t in twins)]
        extra = ", ".join(f"{k}={mine[k]}" for k in differs)
        if not extra and len(twins) > 1:
            extra = f"data {run.config['data']['fingerprint'][:6]}, {run.config['selection']}"
        added.append(f", {extra}" if extra else "")
    return added


def _untrained(runs: list[Run]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        if not run.has("baseline"):
            continue
        baseline = run.read("baseline")
        for pooling, scores in baseline["poolings"].items():
            if "sts" in scores:
                tasks = {task: scores["sts"]["tasks"][task]["all"] for task in STS}
                row = {"kind": "untrained", "method": "untrained", "encoder": baseline["encoder"], "pooling": pooling}
                rows[baseline["encoder"], pooling] = row | tasks | {"avg": scores["sts"]["avg"], "source": run.name}
    return [rows[key] for key in sorted(rows)]


def _published(backbone: str | None) -> list[dict[str, Any]]:
    table = literature.load("sts").rename(columns={"backbone": "encoder"})
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
