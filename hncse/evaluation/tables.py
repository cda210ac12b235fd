"""Tables for people, from the tidy table of `hncse.evaluation.results`: as Markdown, LaTeX (booktabs) and HTML.

    frame = results.from_runs()
    print(tables.sts(frame).to_markdown())       # transfer, probe, dev, tuned, cases likewise

Ours with seeds, intervals and verdicts, untrained encoders, and published rows are kept apart. A row of ours is the
mean over the seeds of runs that are alike in everything else. Its interval is Student's t over seeds; one seed has
none. Published transfer results are SentEval's, so only those of the solver ``senteval`` stand beside them.

``hncse tables`` writes every table of a set of runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.data import probe as data_probe
from hncse.data.text import Markup, html, latex
from hncse.data.text import markdown as escaped
from hncse.data.text import table as markdown
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import literature, results, statistics
from hncse.evaluation.results import MEASURES, STS, TRANSFER
from hncse.files import write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS", "FORMATS", "LANDMARKS", "PROBE", "STS", "TRANSFER", "Table", "ablation", "cases", "dev", "everything",
    "landmarks", "markdown", "probe", "sts", "sts_table", "transfer", "transfer_table", "tuned", "verdict", "verdicts",
]  # fmt: skip

_SHOWN = ("kind", "method", "encoder", "pooling", "corpus", "sentences")
#: Columns of `sts_table`; "half" is half the width of the 95 % interval of avg, "source" a publication.
COLUMNS = (*_SHOWN, "seeds", *STS, "avg", "half", "source", "group", "loss", "options", "setting")
#: Published rows that most papers compare with, by their beginnings; all others are in literature/sts.csv.
LANDMARKS = (
    "GloVe avg", "BERT-flow", "ConSERT", "SimCSE (unsup)", "DCLR", "MixCSE", "ArcCSE", "DiffCSE (unsup)",
    "PromptBERT (unsup)", "SNCSE", "RankCSE_listMLE", "SimCSE (sup NLI)",
)  # fmt: skip
#: Columns of the probe's table, and the measure of each.
PROBE = {"spearman": "probe", **{name: f"probe-{name}" for name in ("close", "far", "overall", "both")}}
_DEV_SET = "DEV-SET"  # how literature/transfer.csv marks rows that are no test results
_TITLES = {"ours": "Ours", "untrained": "The same encoders, untrained", "published": "Published, as printed there"}
_HEAD = ["method", "backbone", "pooling", "corpus", "sentences", "seeds"]
_MISSING = "–"


# One table, three ways to print it


@dataclass(frozen=True)
class Table:
    """A table, ready to print.

    Attributes:
        name: File name without ending, and the LaTeX label.
        caption: What the numbers are: measure, split, pooling, seeds, interval.
        head: Names of the printed columns.
        rows: A dictionary a row: the printed cells under their names ("" where a figure is not given), and "block",
            under whose title it stands. Beside these, not printed: "note" (a number, from 1), and of our rows "loss",
            "options" and "setting" (the training parameters that tell it from others, in words).
        text: How many columns, from the first, are text and not numbers.
        notes: Numbered from 1.
    """

    name: str
    caption: str
    head: list[str]
    rows: list[dict[str, Any]]
    text: int = 1
    notes: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> dict[str, list[dict[str, Any]]]:
        """Title → rows, in order."""
        titles = dict.fromkeys(row["block"] for row in self.rows)
        return {title: [row for row in self.rows if row["block"] == title] for title in titles}

    def cells(self, row: dict[str, Any], escape: Callable[[object], str], note: str) -> list[str]:
        """A row's printed cells, escaped, a dash where there is none; ``note`` takes the number of the row's note."""
        cells = [escape(row[name] or _MISSING) for name in self.head[1:]]
        mark = note.format(row["note"]) if row.get("note") else ""
        return [escape(row[self.head[0]]) + mark, *cells]

    def to_markdown(self) -> str:
        """Write the table as Markdown, a table for each block."""
        parts = [escaped(self.caption)]
        for title, rows in self.blocks.items():
            body = [[Markup(cell) for cell in self.cells(row, escaped, " [{}]")] for row in rows]
            parts += [f"**{escaped(title)}**", markdown(self.head, body, left=self.text)]
        if self.notes:
            parts.append("\n".join(f"[{i}] {escaped(note)}  " for i, note in enumerate(self.notes, 1)))
        return "\n\n".join(parts) + "\n"

    def to_latex(self) -> str:
        """Write the table for LaTeX; the document needs booktabs and graphicx."""
        columns = "l" * self.text + "r" * (len(self.head) - self.text)
        lines = [
            "% needs \\usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(self.caption)}}}",
            rf"\label{{tab:{self.name}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(latex(name) for name in self.head) + r" \\",
        ]
        for title, rows in self.blocks.items():
            lines += [r"\midrule", rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{latex(title)}}}}} \\"]
            lines += [" & ".join(self.cells(row, latex, r"\textsuperscript{{{}}}")) + r" \\" for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}}"]
        if self.notes:
            notes = "; ".join(rf"\textsuperscript{{{i}}}{latex(note)}" for i, note in enumerate(self.notes, 1))
            lines.append(rf"\par\smallskip\footnotesize {notes}")
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def to_html(self) -> str:
        """Write the table as HTML without styles of its own."""
        head = "".join(f'<th scope="col">{html(name)}</th>' for name in self.head)
        lines = [f'<table id="{self.name}">', f"<caption>{html(self.caption)}</caption>"]
        lines += [f"<thead><tr>{head}</tr></thead>"]
        for title, rows in self.blocks.items():
            lines += ["<tbody>", f'<tr><th colspan="{len(self.head)}" scope="rowgroup">{html(title)}</th></tr>']
            for row in rows:
                first, *others = self.cells(row, html, "<sup>{}</sup>")
                cells = f'<th scope="row">{first}</th>'
                for column, cell in enumerate(others, 1):
                    align = "" if column < self.text else ' style="text-align:right"'
                    cells += f"<td{align}>{cell}</td>"
                lines.append(f"<tr>{cells}</tr>")
            lines.append("</tbody>")
        lines.append("</table>")
        if self.notes:
            lines += ["<ol>", *(f"<li>{html(note)}</li>" for note in self.notes), "</ol>"]
        return "\n".join(lines) + "\n"


#: Format → how it is written; the file's ending.
FORMATS: dict[str, Callable[[Table], str]] = {"md": Table.to_markdown, "tex": Table.to_latex, "html": Table.to_html}


# STS and transfer: numbers, for figures, and the printed table


def sts_table(
    frame: pd.DataFrame, published: bool = True, *, encoder: str | None = None, backbone: str | None = None
) -> pd.DataFrame:
    """Gather our STS scores and published ones.

    Args:
        frame: From `hncse.evaluation.results`.
        published: Add the rows of literature/sts.csv.
        encoder: Keep only runs of this encoder.
        backbone: Keep only published rows of this backbone.

    Returns:
        A row a method, columns `COLUMNS`. ``kind`` is "ours", "untrained" or "published"; scores are Spearman ×100 on
        the test split, "all" aggregation, for ours means over ``seeds`` runs; ``half`` is NaN for fewer than two.
    """
    return _scores(frame, "sts", STS, "", published, encoder, backbone)


def transfer_table(
    frame: pd.DataFrame, published: bool = True, *, encoder: str | None = None, backbone: str | None = None,
    solver: str = "senteval",
) -> pd.DataFrame:  # fmt: skip
    """Gather our transfer accuracies and published ones.

    Args:
        frame: As in `sts_table`; runs without results of this solver contribute nothing.
        published: Add the rows of literature/transfer.csv that are test results; three there are not.
        encoder: As in `sts_table`.
        backbone: As in `sts_table`.
        solver: Whose results; rows of two solvers never stand in one table.

    Returns:
        As `sts_table`, with the seven transfer tasks; scores are accuracies ×100 on test rows.

    Raises:
        HncseError: Published rows were asked for beside another solver than SentEval's.
    """
    if solver not in results.SOLVERS:
        raise unknown("solver", solver, results.SOLVERS)
    if published and solver != "senteval":
        raise HncseError(
            f"published rows were made by SentEval's own solver and cannot stand beside results of {solver!r}, which "
            "are higher by 0.8 on average; take solver='senteval', or published=False"
        )
    return _scores(frame, "transfer", TRANSFER, solver, published, encoder, backbone)


def landmarks(table: pd.DataFrame) -> pd.DataFrame:
    """Keep of a table's published rows those of `LANDMARKS`, one for each backbone; all other rows stay."""
    published = table[table["kind"] == "published"]
    chosen = []
    for _, rows in published.groupby("encoder"):
        for name in LANDMARKS:
            like = rows[rows["method"].str.startswith(name)]
            exact = like[like["method"] == name]  # before "SimCSE (unsup) reproduced by …"
            chosen += list((exact if len(exact) else like).index[:1])
    return table[(table["kind"] != "published") | table.index.isin(chosen)]


def _scores(
    frame: pd.DataFrame, name: str, tasks: Sequence[str], solver: str, published: bool, encoder: str | None,
    backbone: str | None,
) -> pd.DataFrame:  # fmt: skip
    import pandas as pd

    if encoder is not None:
        frame = frame[frame["encoder"] == encoder]
    rows = frame[(frame["solver"] == solver) & frame["measure"].isin([*tasks, name])]
    made = [*_ours(rows, name, tasks, solver), *_untrained(rows, name, tasks)]
    made += _published(backbone, name) if published else []
    facts = [column for column in COLUMNS if column not in STS]
    return pd.DataFrame(made, columns=[*facts[:7], *tasks, *facts[7:]])


def _ours(rows: pd.DataFrame, name: str, tasks: Sequence[str], solver: str) -> list[dict[str, Any]]:
    whole = results.select(rows, name, solver or "senteval")  # runs with an average, so with all tasks
    rows = rows[rows["group"].isin(whole["group"])]
    groups = whole.drop_duplicates("group").assign(kind="ours")
    settings = results.tell_apart(groups, _SHOWN)
    means = {task: _means(rows, task, solver) for task in tasks}
    made = []
    for (_, group), setting in zip(groups.iterrows(), settings, strict=True):
        average, half = statistics.t_interval(whole.loc[whole["group"] == group["group"], "value"].tolist())
        row = {column: group[column] for column in (*_SHOWN, "group", "loss", "options")}
        row |= {task: means[task].get(group["group"], float("nan")) for task in tasks}
        row |= {"avg": average, "half": half, "seeds": int((whole["group"] == group["group"]).sum())}
        made.append(row | {"method": group["method"] + setting, "setting": setting})
    return sorted(made, key=lambda row: (row["encoder"], row["avg"], row["method"]))


def _means(rows: pd.DataFrame, measure: str, solver: str) -> dict[str, float]:
    if measure not in set(rows["measure"]):
        return {}
    selected = results.select(rows, measure, solver or "senteval")
    return {group: statistics.t_interval(part["value"].tolist())[0] for group, part in selected.groupby("group")}


def _untrained(rows: pd.DataFrame, name: str, tasks: Sequence[str]) -> list[dict[str, Any]]:
    before = rows[rows["kind"] == "untrained"]
    made = []
    for (encoder, pooling), part in before.groupby(["encoder", "pooling"]):
        scores = dict(zip(part["measure"], part["value"], strict=True))
        if name in scores:
            row = {"kind": "untrained", "method": "untrained", "encoder": encoder, "pooling": pooling}
            made.append(row | {task: scores.get(task) for task in tasks} | {"avg": scores[name]})
    return made


def _published(backbone: str | None, name: str) -> list[dict[str, Any]]:
    table = literature.load(name).rename(columns={"backbone": "encoder"})
    table = table[~table["method"].str.startswith(_DEV_SET)]
    if backbone is not None:
        table = table[table["encoder"] == backbone]
    table = table.sort_values(["encoder", "avg"], kind="stable")
    return [{"kind": "published"} | row for row in table.to_dict("records")]


def sts(
    frame: pd.DataFrame, baseline: str = "simcse", published: str = "landmarks", *, backbone: str | None = None
) -> Table:
    """STS, test split.

    Args:
        frame: From `hncse.evaluation.results`.
        baseline: Method that the others are compared with, where it was trained as they were.
        published: "landmarks", "all" or "none".
        backbone: Keep only published rows of this backbone.
    """
    table = sts_table(frame, published != "none", backbone=backbone)
    text = 'STS, test split, Spearman × 100 of cosine similarity, "all" aggregation; avg: mean of the seven tasks.'
    return _printed("sts", text, table, _found(frame, "sts", baseline), baseline, published)


def transfer(
    frame: pd.DataFrame, baseline: str = "simcse", published: str = "landmarks", *, backbone: str | None = None,
    solver: str | None = None,
) -> Table:  # fmt: skip
    """Transfer, test rows; arguments as in `sts`.

    Args:
        frame: As in `sts`.
        baseline: As in `sts`.
        published: As in `sts`. Beside another solver than SentEval's there are none, and the caption says so.
        backbone: As in `sts`.
        solver: Whose results; None takes SentEval's where the runs have them.
    """
    solver = solver or results.best_solver(frame)
    allowed = published if solver == "senteval" else "none"
    table = transfer_table(frame, allowed != "none", backbone=backbone, solver=solver)
    text = (
        "Transfer, test rows, accuracy × 100 of a linear classifier on frozen embeddings, strength chosen on "
        f"development folds (10 folds, seed 1111), solver {solver}; avg: mean of the seven tasks."
    )
    if allowed != published:
        text += f" Published rows are of SentEval's solver and do not stand beside results of {solver}."
    found = _found(frame, "transfer", baseline, solver)
    return _printed("transfer", text, table, found, baseline, allowed)


def _printed(
    name: str, text: str, table: pd.DataFrame, found: pd.DataFrame, baseline: str, published: str
) -> Table:  # fmt: skip
    if published == "landmarks":
        table = landmarks(table)
    tasks = [column for column in table.columns if column in (*STS, *TRANSFER)]
    notes: dict[str, int] = {}
    rows = []
    for _, row in table.iterrows():
        cells = {"method": row["method"], "backbone": row["encoder"]}
        cells |= {column: "" if _gap(row[column]) else str(row[column]) for column in ("pooling", "corpus")}
        cells |= {column: _count(row[column]) for column in ("sentences", "seeds")}
        cells |= {task: _score(row[task]) for task in tasks} | {"avg": _interval(row["avg"], row["half"])}
        if row["kind"] == "published":
            cells["note"] = notes.setdefault(row["source"], len(notes) + 1)
        about = {column: "" if _gap(row[column]) else row[column] for column in ("loss", "options", "setting")}
        rows.append({**cells, **about, _against(baseline): verdict(found, row["group"]), "block": _TITLES[row["kind"]]})
    ours = table[table["kind"] == "ours"]
    caption = f"{text} {_seeds_caption(ours)} {_verdict_caption(baseline, 'avg')} A dash: not given."
    return Table(name, caption, [*_HEAD, *tasks, "avg", _against(baseline)], rows, 4, list(notes))


def _seeds_caption(ours: pd.DataFrame) -> str:
    if not len(ours):
        return "No run of ours has such scores yet."
    seeds = sorted({int(n) for n in ours["seeds"]})
    text = f"Ours: mean over seeds ({' or '.join(map(str, seeds))})"
    if seeds[-1] > 1:
        text += ", avg ± half the 95 % t-interval over seeds"
    if seeds[0] == 1:
        text += "; one seed has no interval, and says little"
    return text + ". Published rows: pooling, seeds and selection are their papers'."


# The probe, dev, each method at its own best, the cases


def probe(frame: pd.DataFrame, baseline: str = "simcse", phenomenon: str | None = None) -> Table:
    """The probe: Spearman and how often each paraphrase outranks hard negatives, before training and after.

    Args:
        frame: As in `sts`; results on another probe than the embedded one contribute nothing.
        baseline: As in `sts`.
        phenomenon: Of this phenomenon's hard negatives alone; there is no Spearman then. Known from run folders only.

    Raises:
        HncseError: No such phenomenon; the nearest is named.
    """
    if phenomenon is not None and phenomenon not in data_probe.PHENOMENA:
        raise unknown("phenomenon", phenomenon, data_probe.PHENOMENA)
    frame = frame[frame["probe_version"] == data_probe.fingerprint(data_probe.load())]
    suffix = "" if phenomenon is None else f":{phenomenon}"
    measures = {name: measure + suffix for name, measure in PROBE.items() if not suffix or name != "spearman"}
    values = {name: _by_group(frame, measure) for name, measure in measures.items()}
    chosen = frame[(frame["kind"] == "trained") & frame["group"].isin(values["close"])]
    groups = chosen.drop_duplicates("group")
    settings = results.tell_apart(groups, ["method", "encoder", "pooling", "sentences"])
    found = _found(frame, "probe", baseline)
    ours, before = [], {}
    for (_, group), setting in zip(groups.iterrows(), settings, strict=True):
        same = frame[(frame["kind"] == "untrained") & (frame["weights"] == group["weights"])]
        for _, raw in same[same["pooling"] == group["pooling"]].drop_duplicates("group").iterrows():
            facts = {"method": "before training", "backbone": group["encoder"], "pooling": group["pooling"]}
            before[raw["group"]] = facts | {"sentences": "", "seeds": "", "key": raw["group"], "verdict": ""}
        facts = {"method": group["method"] + setting, "backbone": group["encoder"], "pooling": group["pooling"]}
        facts |= {"sentences": _count(group["sentences"]), "seeds": _count(len(values["close"][group["group"]]))}
        about = {"key": group["group"], "verdict": verdict(found, group["group"]), "block": _TITLES["ours"]}
        ours.append(facts | about | {"loss": group["loss"], "options": group["options"], "setting": setting})
    ours.sort(key=lambda row: (statistics.t_interval(values["close"][row["key"]])[0], row["method"]))
    rows = [*ours, *({**row, "block": _TITLES["untrained"]} for row in before.values())]
    for row in rows:
        row |= {name: _mean(known.get(row["key"], []), digits=1) for name, known in values.items()}
        row[_against(baseline)] = row.pop("verdict")
    caption = (
        f"Probe, {len(data_probe.load())} groups: Spearman × 100 with the grades; % of hard negatives outranked by the "
        "close, the far, either, both paraphrases (50 is chance for the first three); mean over seeds ± half the 95 % "
        f"t-interval. {_verdict_caption(baseline, 'Spearman')}"
    )
    head = ["method", "backbone", "pooling", "sentences", "seeds", *measures]
    if phenomenon is not None:
        caption = f"{phenomenon.replace('_', ' ')}. {caption.partition('. Against')[0]}."
        return Table(f"probe-{phenomenon}", caption, head, rows, text=3)
    return Table("probe", caption, [*head, _against(baseline)], rows, text=3)


def dev(frame: pd.DataFrame, baseline: str = "simcse") -> Table:
    """STS-B dev, by which weights are chosen, and the cases of training's anchors; no test split is read for it."""
    measures = {"STS-B dev": "stsb-dev", "probe": "probe"}
    values = {name: _by_group(frame, measure) for name, measure in measures.items()}
    found = {name: _found(frame, measure, baseline) for name, measure in measures.items()}
    shares = _case_shares(frame, ["mean"])
    common = results.usual(frame)
    rows = []
    for _, part in results.trainings(frame).values():
        setting = results.uncommon(part["parameters"].iloc[0], common)
        for key, group in part.groupby("group", sort=False):
            if key not in values["STS-B dev"]:
                continue
            row = _about(group, setting) | shares(key, 1)
            for name, against in (("STS-B dev", "dev"), ("probe", "probe")):
                row[name] = _mean(values[name].get(key, []), of=group["seed"].nunique())
                row[f"{against} {_against(baseline)}"] = verdict(found[name], key)
            rows.append(row)
    caption = (
        "STS-B dev, Spearman × 100 of the weights that were kept because they score best there, and the probe's "
        "Spearman × 100 of the same weights: good for choosing, dev is too high for reporting; mean over seeds ± "
        "half the 95 % t-interval. A, B, C: % of training's anchors in each case. "
        + _verdict_caption(baseline, "each score")
    )
    if len(common) > 2:
        caption += f" Where not named: {', '.join(f'{name}={value}' for name, value in common.items())}."
    head = [*_HEAD, "A", "B", "C", "STS-B dev", f"dev {_against(baseline)}", "probe", f"probe {_against(baseline)}"]
    return Table("dev", caption, head, rows, text=4)


def tuned(frame: pd.DataFrame, baseline: str = "simcse", *, solver: str | None = None) -> Table:
    """Each loss in the setting that STS-B dev prefers, then read on test; empty where no loss has two settings."""
    solver = solver or results.best_solver(frame)
    rows = []
    for part in results.scopes(frame).values():
        chosen = statistics.tuned(part)
        best = part[part["group"].isin(chosen)]
        losses = set(best["loss"])
        if part["group"].nunique() == len(losses) or baseline not in losses:
            continue
        common = results.usual(part)
        for key in chosen:
            group = best[best["group"] == key]
            rows.append(_about(group, results.uncommon(group["parameters"].iloc[0], common)) | {"key": key})
        for name, measure in (("STS-B dev", "stsb-dev"), ("STS", "sts"), ("transfer", "transfer"), ("probe", "probe")):
            scores = results.select(best, measure, solver)
            known = baseline if baseline in set(scores["loss"]) else None
            found = (
                statistics.compare(scores, known, by="loss", resamples=0).set_index("loss") if len(scores) else scores
            )
            for row in rows[-len(chosen) :]:
                values = scores.loc[scores["group"] == row["key"], "value"].tolist()
                row |= {name: _mean(values), f"{name} {_against(baseline)}": verdict(found, row["loss"])}
    caption = (
        "Each method in that one of its trainings which scores best on STS-B dev (mean over seeds), then read on test: "
        f"{MEASURES['sts']}; {results.measure_name('transfer', solver)}; {MEASURES['probe']}. Against {baseline}, "
        "which stands at its own best as well: difference over the same seeds, 95 % interval, Holm's correction over "
        "the methods of this table."
    )
    head = [*_HEAD, "STS-B dev"]
    head += [text for name in ("STS", "transfer", "probe") for text in (name, f"{name} {_against(baseline)}")]
    return Table("tuned", caption, head, rows, text=4)


def cases(frame: pd.DataFrame) -> Table:
    """How training's anchors were spread over the cases: the first logged steps, all of training, the last ones."""
    moments = ("first", "mean", "last")
    shares = _case_shares(frame, moments)
    groups = frame[frame["kind"] == "trained"].drop_duplicates("group")
    settings = results.tell_apart(groups, ["method", "encoder", "sentences"])
    seeds = frame.groupby("group")["seed"].nunique()
    rows = []
    for (_, group), setting in zip(groups.iterrows(), settings, strict=True):
        about = {"method": group["method"] + setting, "backbone": group["encoder"], "block": _TITLES["ours"]}
        about |= {"sentences": _count(group["sentences"]), "seeds": _count(seeds[group["group"]])}
        about |= {"loss": group["loss"], "options": group["options"], "setting": setting}
        rows.append(about | shares(group["group"], 2))
    head = ["method", "backbone", "sentences", "seeds", *(f"{case} {moment}" for moment in moments for case in "ABC")]
    caption = "% of anchors in each case: at the first logged step, over all of training, at the last; mean over seeds."
    return Table("cases", caption, head, rows, text=2)


def ablation(frame: pd.DataFrame, measure: str = "stsb-dev", baseline: str = "simcse") -> Table:
    """What one option does to a score: `hncse.evaluation.statistics.curves`, a row a point."""
    rows = []
    for _, point in statistics.curves(frame, measure, baseline=baseline).iterrows():
        value = f"{point['value']}{' (default)' if point['default'] else ''}"
        half = "" if _gap(point["half"]) else f"{point['half']:.2f}"
        beside = "" if _gap(point["baseline_mean"]) else f"{point['baseline_mean']:.2f}"
        about = {"method": point["method"], "option": point["option"], "value": value, "seeds": str(point["seeds"])}
        about |= {"mean": f"{point['mean']:.2f}", "± 95 %": half, "baseline alike": beside}
        rows.append(about | {"block": _TITLES["ours"]})
    caption = (
        f"{MEASURES[measure]}; one option changed, the others as most runs of the method have them; mean over seeds ± "
        f"half the 95 % t-interval, and {baseline} trained alike. (default): the preset's own value."
    )
    return Table(
        "ablation", caption, ["method", "option", "value", "seeds", "mean", "± 95 %", "baseline alike"], rows, 2
    )


# Verdicts, and what cells hold


def verdict(found: pd.DataFrame, key: object) -> str:
    """A verdict in a cell: difference, interval, and what follows after Holm's correction; or why there is none.

    Args:
        found: From `hncse.evaluation.statistics.against` or ``compare``, indexed by what ``key`` names.
        key: Of the row; "" comes back for a row that was not compared at all.
    """
    if _gap(key) or key not in found.index:
        return ""
    row = found.loc[key]
    if row["verdict"] == "baseline":
        return "baseline"
    if row["difference"] is None:
        return row["gap"]
    if row["gap"]:
        same = row["difference"].sd == 0
        return f"{row['value']:+.2f}, {'the same with every seed' if same else 'not tested'}"
    return f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}], {row['verdict']}"


def verdicts(
    frame: pd.DataFrame, baseline: str = "simcse", measures: Iterable[str] = ("sts", "transfer", "probe", "stsb-dev"),
    effect: float = 1.0,
) -> str:  # fmt: skip
    """The tables of verdicts in words, as Markdown: one for each training and measure that the runs have.

    Args:
        frame: As in `sts`.
        baseline: As in `sts`.
        measures: Of `MEASURES`; those without scores are left out.
        effect: A difference that matters, in points: rows that are not told apart say how many seeds it takes.
    """
    parts, solver = [], results.best_solver(frame)
    for words, part in results.trainings(frame).values():
        for measure in measures:
            scores = results.named(results.select(part, measure, solver))
            names = set(scores["name"])
            if baseline in names and len(names) > 1:
                about = f"{words}; {results.measure_name(measure, solver)}"
                compared = statistics.compare(scores, baseline, by="name")
                parts.append(statistics.to_markdown(compared, about, by="name", effect=effect))
    return "\n".join(parts)


def _verdict_caption(baseline: str, measure: str) -> str:
    return (
        f"Against {baseline}: difference of {measure} from {baseline} trained alike, over the same seeds, 95 % "
        "interval (paired t; Welch's where seeds differ); better or worse where p after Holm's correction is at most "
        "0.05."
    )


def _found(frame: pd.DataFrame, measure: str, baseline: str, solver: str = "senteval") -> pd.DataFrame:
    return statistics.against(frame, measure, baseline, solver=solver, resamples=0)  # cells show no bootstrap


def _against(baseline: str) -> str:
    return f"against {baseline}"


def _about(group: pd.DataFrame, setting: str) -> dict[str, Any]:
    first = group.iloc[0]
    return {
        "method": first["method"] + setting, "backbone": first["encoder"], "pooling": first["pooling"],
        "corpus": first["corpus"], "sentences": _count(first["sentences"]), "seeds": _count(group["seed"].nunique()),
        "loss": first["loss"], "options": first["options"], "setting": setting, "block": _TITLES["ours"],
    }  # fmt: skip


def _by_group(frame: pd.DataFrame, measure: str) -> dict[str, list[float]]:
    """Group → its scores, one a seed; of an encoder before training the one it has."""
    if measure not in set(frame["measure"]):
        return {}
    rows = frame[(frame["kind"] == "untrained") & (frame["measure"] == measure)]
    known = {key: part["value"].tolist() for key, part in results.select(frame, measure).groupby("group")}
    return dict(zip(rows["group"], ([value] for value in rows["value"]), strict=True)) | known


def _case_shares(frame: pd.DataFrame, moments: Sequence[str]) -> Callable[[str, int], dict[str, str]]:
    """How a group's cells are made: "A" (of one moment) or "A first" → % of anchors, mean over seeds."""
    means = {
        f"{case.upper()} {moment}" if len(moments) > 1 else case.upper(): _by_group(frame, f"case_{case}_{moment}")
        for moment in moments for case in "abc"
    }  # fmt: skip

    def cells(group: str, digits: int) -> dict[str, str]:
        known = {name: values.get(group) for name, values in means.items()}
        return {name: f"{100 * sum(v) / len(v):.{digits}f}" if v else "" for name, v in known.items()}

    return cells


def _mean(values: Sequence[float], *, digits: int = 2, of: int = 0) -> str:
    if not values:
        return ""
    text = _interval(*statistics.t_interval(values), digits=digits)
    return f"{text} ({len(values)} of {of} seeds)" if len(values) < of else text


def _interval(mean: float, half: float, *, digits: int = 2) -> str:
    if _gap(mean):
        return ""
    return f"{mean:.{digits}f}" if _gap(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def _score(value: float) -> str:
    return "" if _gap(value) else f"{value:.2f}"


def _count(value: Any) -> str:
    return "" if _gap(value) else f"{value:,.0f}"


def _gap(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


# Everything at once


def everything(frame: pd.DataFrame, baseline: str = "simcse", published: str = "landmarks") -> list[Table]:
    """Every table that these runs have results for; arguments as in `sts`."""
    made = [sts(frame, baseline, published), transfer(frame, baseline, published)]
    made += [probe(frame, baseline), dev(frame, baseline), tuned(frame, baseline)]
    return [table for table in made if _TITLES["ours"] in table.blocks]


def write(
    frame: pd.DataFrame, out: Path, formats: Sequence[str] = tuple(FORMATS), baseline: str = "simcse",
    published: str = "landmarks", rows: bool = True,
) -> list[Path]:  # fmt: skip
    """Write all tables that these runs have results for.

    Args:
        frame: From `hncse.evaluation.results`.
        out: Folder to write into.
        formats: Of `FORMATS`.
        baseline: Method the others are compared with.
        published: "landmarks", "all" or "none".
        rows: Write ``results.csv``, a row a run, as well: the runs themselves stay where they were made.

    Returns:
        The files, written: ``sts``, ``transfer``, ``probe``, ``dev`` and ``tuned`` in each format, ``verdicts.md``,
        ``results.csv``.

    Raises:
        HncseError: No run is finished.
    """
    if not (frame["kind"] == "trained").any():
        raise HncseError("there is no finished run; `hncse sweep` makes some")
    made = everything(frame, baseline, published)
    texts = {f"{table.name}.{ending}": FORMATS[ending](table) for table in made for ending in formats}
    texts |= {"verdicts.md": verdicts(frame, baseline), "results.csv": results.to_csv(frame) if rows else ""}
    for name, text in texts.items():
        if text:
            write_text(out / name, text)
    return [out / name for name, text in texts.items() if text]


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = parser().parse_args(arguments)
    frame = results.load(options.runs, options.csv)
    written = write(frame, options.out, options.format, options.baseline, options.published, rows=not options.csv)
    sys.stdout.writelines(f"{path}\n" for path in written)
    for name in data_probe.PHENOMENA if options.phenomena else ():
        sys.stdout.write(f"\n{probe(frame, options.baseline, name).to_markdown()}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    options = argparse.ArgumentParser(
        prog="hncse tables",
        description="Write every table of a set of runs: STS, transfer, probe, STS-B dev, verdicts.",
    )
    options.add_argument("--runs", type=Path, nargs="+", help="folders of runs (default: HNCSE_RUNS or runs/)")
    options.add_argument("--csv", type=Path, nargs="+", help="results of hncse.evaluation.results, in place of folders")
    options.add_argument("--out", type=Path, default=Path("figures/tables"), help="default figures/tables")
    options.add_argument("--format", nargs="+", choices=list(FORMATS), default=list(FORMATS), help="default: all")
    options.add_argument("--baseline", default="simcse", help="method to compare with (default simcse)")
    options.add_argument("--published", choices=("landmarks", "all", "none"), default="landmarks", help="which rows")
    options.add_argument("--phenomena", action="store_true", help="print the probe a phenomenon at a time, as well")
    return options


if __name__ == "__main__":
    sys.exit(main())
