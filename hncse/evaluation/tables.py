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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    "ARGUMENT", "COLUMNS", "FORMATS", "LANDMARKS", "PROBE", "STS", "TRANSFER", "Table", "ablation", "cases", "dev",
    "everything", "landmarks", "markdown", "probe", "sts", "sts_table", "transfer", "transfer_table",
    "tuned", "verdict", "verdicts", "with_recorded",
]  # fmt: skip

_FACTS = ["method", "encoder", "pooling", "corpus", "sentences"]
#: Columns of `sts_table`; "half" is half the width of the 95 % interval of avg, "source" a publication.
COLUMNS = ("kind", *_FACTS, "seeds", *STS, "avg", "half", "source", "group", "loss", "options", "setting")
#: Published rows that most papers compare with, by their beginnings; all others are in literature/sts.csv.
LANDMARKS = (
    "GloVe avg", "BERT-flow", "ConSERT", "SimCSE (unsup)", "DCLR", "MixCSE", "ArcCSE", "DiffCSE (unsup)",
    "PromptBERT (unsup)", "SNCSE", "RankCSE_listMLE", "SimCSE (sup NLI)",
)  # fmt: skip
#: The methods that carry an argument; the others' rows are for looking up.
ARGUMENT = ("simcse", "pm-intended", "hnm-no-replacement")
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
        rows: A dictionary a row: printed cells under their names ("" where a figure is not given), "block" (the title
            it stands under), and not printed "note" (a number, from 1), and of our rows "loss", "options", "setting".
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

    def pick(self, wanted: Callable[[dict[str, Any]], bool]) -> Table:
        """The same table with those of our rows alone that are wanted; notes belong to published rows and go, too."""
        ours = [row for row in self.rows if row["block"] == _TITLES["ours"] and wanted(row)]
        return replace(self, rows=ours, notes=[])

    def cells(self, row: Mapping[str, Any], escape: Callable[[object], str], note: str) -> list[str]:
        """A row's printed cells, escaped, a dash where there is none; ``note`` takes the number of the row's note."""
        first, *others = self.head
        mark = note.format(row["note"]) if row.get("note") else ""
        return [escape(row[first]) + mark, *(escape(row[name] or _MISSING) for name in others)]

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
            "% needs \\usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering",
            rf"\caption{{{latex(self.caption)}}}", rf"\label{{tab:{self.name}}}", r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(latex(name) for name in self.head) + r" \\",
        ]  # fmt: skip
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
        number = ' style="text-align:right"'
        for title, rows in self.blocks.items():
            lines += ["<tbody>", f'<tr><th colspan="{len(self.head)}" scope="rowgroup">{html(title)}</th></tr>']
            for row in rows:
                first, *others = self.cells(row, html, "<sup>{}</sup>")
                cells = [f"<td{'' if i < self.text else number}>{cell}</td>" for i, cell in enumerate(others, 1)]
                lines.append(f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>')
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
    """Gather our STS scores, of one encoder or all, and where wanted ``published`` ones, of one backbone or all.

    Returns:
        A row a method, columns `COLUMNS`. ``kind`` is "ours", "untrained" or "published"; scores are Spearman ×100 on
        the test split, "all" aggregation, for ours means over ``seeds`` runs; ``half`` is NaN for fewer than two.
    """
    return _scores(frame, "sts", STS, "", published, encoder, backbone)


def transfer_table(
    frame: pd.DataFrame, published: bool = True, *, encoder: str | None = None, backbone: str | None = None,
    solver: str = "senteval",
) -> pd.DataFrame:  # fmt: skip
    """Gather transfer accuracies ×100 on test rows as `sts_table` gathers STS, all of one solver.

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


def with_recorded(table: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """Add another table's trained rows as kind "recorded", and its untrained encoders where ``table`` has them not."""
    import pandas as pd

    known = set(table.loc[table["kind"] == "untrained", ["encoder", "pooling"]].itertuples(index=False, name=None))
    rows = [
        row | {"kind": row["kind"].replace("ours", "recorded")}
        for row in recorded.to_dict("records")
        if row["kind"] != "untrained" or (row["encoder"], row["pooling"]) not in known
    ]
    return pd.DataFrame([*table.to_dict("records"), *rows], columns=table.columns)


def _scores(
    frame: pd.DataFrame, name: str, tasks: Sequence[str], solver: str, published: bool, encoder: str | None,
    backbone: str | None,
) -> pd.DataFrame:  # fmt: skip
    import pandas as pd

    if encoder is not None:
        frame = frame[frame["encoder"] == encoder]
    rows = frame[(frame["solver"] == solver) & frame["measure"].isin([*tasks, name])]
    average = _means(rows, name, solver or "senteval")  # of runs that have all tasks
    ours = _groups(rows[rows["group"].isin(average.index)], _FACTS).assign(kind="ours")
    ours = ours.assign(seeds=average["n"], avg=average["mean"], half=average["half"])
    ours = ours.assign(**{task: _means(rows, task, solver or "senteval")["mean"] for task in tasks})
    before = rows[rows["kind"] == "untrained"]
    untrained = before.pivot_table("value", ["encoder", "pooling"], "measure", aggfunc="last").reindex(
        columns=[*tasks, name]
    )
    untrained = untrained.rename(columns={name: "avg"}).dropna(subset="avg").reset_index()
    parts = [ours.sort_values(["encoder", "avg", "method"]), untrained.assign(kind="untrained", method="untrained")]
    if published:
        known = literature.load(name).rename(columns={"backbone": "encoder"}).assign(kind="published")
        known = known[~known["method"].str.startswith(_DEV_SET)].sort_values(["encoder", "avg"], kind="stable")
        parts.append(known if backbone is None else known[known["encoder"] == backbone])
    facts = [column for column in COLUMNS if column not in STS]
    records = [row for part in parts for row in part.to_dict("records")]
    return pd.DataFrame(records, columns=[*facts[:7], *tasks, *facts[7:]])


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
    return _printed("sts", text, table, _verdicts(frame, "sts", baseline), baseline, published, results.sampled(frame))


def transfer(
    frame: pd.DataFrame, baseline: str = "simcse", published: str = "landmarks", *, backbone: str | None = None,
    solver: str | None = None,
) -> Table:  # fmt: skip
    """Transfer, test rows; arguments as in `sts`. ``solver`` of None takes SentEval's where the runs have it.

    Beside another solver than SentEval's there are no published rows, and the caption says so.
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
    said = _verdicts(frame, "transfer", baseline, solver)
    return _printed("transfer", text, table, said, baseline, allowed, results.sampled(frame))


def _printed(
    name: str, text: str, table: pd.DataFrame, said: pd.Series, baseline: str, published: str, sample: str
) -> Table:
    if published == "landmarks":
        table = landmarks(table)
    tasks = [column for column in table.columns if column in (*STS, *TRANSFER)]
    sources = list(table["source"].dropna().unique())
    numbers = {source: i for i, source in enumerate(sources, 1)}
    cells = table[["method", "pooling", "corpus", "loss", "options", "setting"]].fillna("").assign(
        backbone=table["encoder"], block=table["kind"].map(_TITLES), sentences=table["sentences"].map(_count),
        seeds=table["seeds"].map(_count), note=[numbers.get(source, 0) for source in table["source"]],
        avg=[_interval(*pair) for pair in zip(table["avg"], table["half"], strict=True)],
        **{task: table[task].map(_interval) for task in tasks},
        **{_against(baseline): table["group"].map(said).fillna("")},
    )  # fmt: skip
    seeds = sorted({int(n) for n in table.loc[table["kind"] == "ours", "seeds"]})
    said_below = [text, _seeds_caption(seeds), _verdict_caption(baseline, "avg"), sample, "A dash: not given."]
    caption = " ".join(filter(None, said_below))
    return Table(name, caption, [*_HEAD, *tasks, "avg", _against(baseline)], cells.to_dict("records"), 4, sources)


def _seeds_caption(seeds: Sequence[int]) -> str:
    if not seeds:
        return "No run of ours has such scores yet."
    text = f"Ours: mean over seeds ({' or '.join(map(str, seeds))})"
    if seeds[-1] > 1:
        text += ", avg ± half the 95 % t-interval over seeds"
    if seeds[0] == 1:
        text += "; one seed has no interval, and says little"
    return text + ". Published rows: pooling, seeds and selection are their papers'."


# The probe, dev, each method at its own best, the cases


def probe(frame: pd.DataFrame, baseline: str = "simcse", phenomenon: str | None = None) -> Table:
    """The probe: Spearman and how often each paraphrase outranks hard negatives, before training and after; as `sts`.

    Results on another probe than the embedded one contribute nothing. With a ``phenomenon``: of its hard negatives
    alone, without Spearman; known from run folders only.
    """
    if phenomenon is not None and phenomenon not in data_probe.PHENOMENA:
        raise unknown("phenomenon", phenomenon, data_probe.PHENOMENA)
    embedded = data_probe.load()
    frame = frame[frame["probe_version"] == data_probe.fingerprint(embedded)]
    suffix = "" if phenomenon is None else f":{phenomenon}"
    measures = {name: measure + suffix for name, measure in PROBE.items() if not suffix or name != "spearman"}
    close = _means(frame, measures["close"])
    ours = _groups(frame[frame["group"].isin(close.index)], ["method", "encoder", "pooling", "sentences"])
    raw = frame[frame["kind"] == "untrained"].drop_duplicates("group")[["group", "weights", "pooling"]]
    before = ours.drop_duplicates(["weights", "pooling"])[["weights", "pooling", "backbone"]].merge(raw)
    before = before.assign(method="before training", sentences="", seeds="", block=_TITLES["untrained"])
    ours = ours.assign(mean=close["mean"], seeds=close["n"]).sort_values(["mean", "method"])
    said = _verdicts(frame, "probe", baseline)
    rows = [*_records(ours), *before.to_dict("records")]
    for name, measure in measures.items():
        cells = _cells(frame, measure, digits=1)
        rows = [
            row | {name: cells.get(row["group"], ""), _against(baseline): said.get(row["group"], "")} for row in rows
        ]
    caption = (
        f"Probe, {len(embedded)} groups: Spearman × 100 with the grades; % of hard negatives outranked by the "
        "close, the far, either, both paraphrases (50 is chance for the first three); mean over seeds ± half the 95 % "
        f"t-interval. {_verdict_caption(baseline, 'Spearman')} {results.sampled(frame)}"
    )
    head = ["method", "backbone", "pooling", "sentences", "seeds", *measures]
    if phenomenon is not None:
        caption = f"{phenomenon.replace('_', ' ')}. {caption.partition('. Against')[0]}."
        return Table(f"probe-{phenomenon}", caption, head, rows, text=3)
    return Table("probe", caption, [*head, _against(baseline)], rows, text=3)


def dev(frame: pd.DataFrame, baseline: str = "simcse", exploring: bool = False) -> Table:
    """STS-B dev, by which weights are chosen, and the cases of training's anchors; no test split is read; as `sts`.

    ``exploring`` gives differences and intervals without verdicts: of many rows of few seeds some look lucky.
    """
    common = results.usual(frame)
    groups = _groups(frame, common)
    order = dict.fromkeys(group for _, part in results.trainings(frame).values() for group in part["group"])
    known = set(_means(frame, "stsb-dev").index)
    groups = groups.loc[[group for group in order if group in known]]
    groups = groups.assign(**_shares(frame, ["mean"], 1))
    for name, measure, short in (("STS-B dev", "stsb-dev", "dev"), ("probe", "probe", "probe")):
        groups[name] = _cells(frame, measure, of=groups["seeds"])
        groups[f"{short} {_against(baseline)}"] = _verdicts(frame, measure, baseline, exploring=exploring)
    caption = (
        "STS-B dev, Spearman × 100 of the weights that were kept because they score best there, and the probe's "
        "Spearman × 100 of the same weights: good for choosing, dev is too high for reporting; mean over seeds ± "
        "half the 95 % t-interval. A, B, C: % of training's anchors in each case. "
        + f"{_verdict_caption(baseline, 'each score', exploring)} {results.sampled(frame)}"
    )
    if len(common) > 2:
        caption += f" Where not named: {', '.join(f'{name}={value}' for name, value in common.items())}."
    head = [*_HEAD, "A", "B", "C", "STS-B dev", f"dev {_against(baseline)}", "probe", f"probe {_against(baseline)}"]
    return Table("dev", caption, head, _records(groups), text=4)


def tuned(
    frame: pd.DataFrame, baseline: str = "simcse", *, solver: str | None = None, margin: float = results.MARGIN
) -> Table:
    """Each loss in the setting that STS-B dev prefers, then read on test; empty where no loss has two settings.

    Arguments as in `transfer` and `verdicts`.
    """
    solver = solver or results.best_solver(frame)
    measures = {"STS-B dev": "stsb-dev", "STS": "sts", "transfer": "transfer", "probe": "probe"}
    rows = []
    for part in results.scopes(frame).values():
        chosen = statistics.tuned(part)
        best = part[part["group"].isin(chosen)]
        losses = set(best["loss"])
        if part["group"].nunique() == len(losses) or baseline not in losses:
            continue
        groups = _groups(best, results.usual(part)).loc[chosen]
        for name, measure in measures.items():
            scores = results.select(best, measure, solver)
            known = baseline if baseline in set(scores["loss"]) else None
            compared = statistics.compare(scores, known, by="loss", margin=margin, resamples=0).set_index("loss")
            groups[name] = _cells(best, measure, solver)
            groups[f"{name} {_against(baseline)}"] = [verdict(compared, loss) for loss in groups["loss"]]
        rows += _records(groups)
    caption = (
        "Each method in that one of its trainings which scores best on STS-B dev (mean over seeds), then read on test: "
        f"{MEASURES['sts']}; {results.measure_name('transfer', solver)}; {MEASURES['probe']}. Against {baseline}, "
        "which stands at its own best as well: difference over the same seeds, 95 % interval, Holm's correction over "
        f"the methods of this table. {results.sampled(frame)}"
    )
    caption += f" Equal within ±{margin:g}: two one-sided t-tests at 0.05 (TOST), corrected likewise."
    head = [*_HEAD, "STS-B dev"]
    head += [text for name in ("STS", "transfer", "probe") for text in (name, f"{name} {_against(baseline)}")]
    return Table("tuned", caption, head, rows, text=4)


def cases(frame: pd.DataFrame) -> Table:
    """How training's anchors were spread over the cases: the first logged steps, all of training, the last ones."""
    moments = ["first", "mean", "last"]
    groups = _groups(frame, ["method", "encoder", "sentences"]).assign(**_shares(frame, moments, 2))
    head = ["method", "backbone", "sentences", "seeds", *(f"{case} {moment}" for moment in moments for case in "ABC")]
    caption = "% of anchors in each case: at the first logged step, over all of training, at the last; mean over seeds."
    return Table("cases", caption, head, _records(groups), text=2)


def ablation(frame: pd.DataFrame) -> Table:
    """What one option does to a score: `hncse.evaluation.statistics.curves`, a row a point."""
    head = ["method", "option", "value", "seeds", "mean", "± 95 %", "baseline alike"]
    rows = []
    for p in statistics.curves(frame).to_dict("records"):
        scores = (_interval(p[name]) for name in ("mean", "half", "baseline_mean"))
        value = f"{p['value']} (default)" if p["default"] else str(p["value"])
        cells = [p["method"], p["option"], value, str(p["seeds"]), *scores]
        rows.append(dict(zip(head, cells, strict=True)) | {"block": _TITLES["ours"]})
    caption = (
        f"{MEASURES['stsb-dev']}; one option changed, the others as most runs of the method have them; mean over seeds "
        "± half the 95 % t-interval, and simcse trained alike. (default): the preset's own value."
    )
    return Table("ablation", caption, head, rows, 2)


# Verdicts, and what cells hold


def verdict(compared: pd.DataFrame, key: object, exploring: bool = False) -> str:
    """A verdict in a cell: difference, interval, and what follows after Holm's correction; or why there is none.

    ``compared`` is from `hncse.evaluation.statistics.against` or ``compare``, indexed by what ``key`` names; "" comes
    back for a row that was not compared. ``exploring`` leaves the verdict out.
    """
    if key not in compared.index:
        return ""
    row = compared.loc[key]
    if row["verdict"] == "baseline":
        return "baseline"
    if _gap(row["value"]):
        return row["gap"]
    if row["gap"]:
        same = row["sd_difference"] == 0
        return f"{row['value']:+.2f}, {'the same with every seed' if same else 'not tested'}"
    words = "" if exploring else f", {row['verdict']}"
    words += f", equal within ±{row['margin']:g}" if row["equal"] else ""
    return f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]{words}"


def verdicts(
    frame: pd.DataFrame, baseline: str = "simcse", measures: Iterable[str] = ("sts", "transfer", "probe", "stsb-dev"),
    effect: float = 1.0, margin: float = results.MARGIN,
) -> str:  # fmt: skip
    """The tables of verdicts in words, as Markdown: one for each training and measure that the runs have.

    Args:
        frame: As in `sts`.
        baseline: As in `sts`.
        measures: Of `MEASURES`; those without scores are left out.
        effect: A difference that matters, in points: rows that are not told apart say how many seeds it takes.
        margin: A difference that would not matter, in points: every row says whether it is shown to be smaller.
    """
    parts, solver = [], results.best_solver(frame)
    for words, part in results.trainings(frame).values():
        for measure in measures:
            scores = results.named(results.select(part, measure, solver))
            if baseline in set(scores["name"]) != {baseline}:
                about = f"{words}; {results.measure_name(measure, solver)}. {results.sampled(part).rstrip('.')}"
                compared = statistics.compare(scores, baseline, by="name", family="family", margin=margin)
                parts.append(statistics.to_markdown(compared, about, by="name", effect=effect))
    return "\n".join(parts)


def _verdict_caption(baseline: str, measure: str, exploring: bool = False) -> str:
    rests = "exploration, so no verdict is given" if exploring else (
        "better or worse where p is at most 0.05 after Holm's correction over the methods trained alike, those of "
        f"fewer than {statistics.FEWEST} seeds for themselves; equal within ±{results.MARGIN:g} where two one-sided "
        "t-tests say so (TOST, corrected likewise)"
    )  # fmt: skip
    return (
        f"Against {baseline}: difference of {measure} from {baseline} trained alike, over the same seeds, 95 % "
        f"interval (paired t; Welch's where seeds differ); {rests}."
    )


def _against(baseline: str) -> str:
    return f"against {baseline}"


def _groups(frame: pd.DataFrame, naming: Sequence[str] | Mapping[str, Any]) -> pd.DataFrame:
    """A row a group of trained runs, indexed by it; ``setting`` says what the columns or values ``naming`` do not."""
    trained = frame[frame["kind"] == "trained"]
    groups = trained.drop_duplicates("group").set_index("group", drop=False)
    if isinstance(naming, Mapping):
        setting = groups["parameters"].map(lambda parameters: results.uncommon(parameters, naming)).astype(object)
    else:
        setting = results.tell_apart(groups, naming)
    return groups.assign(
        method=groups["method"] + setting, setting=setting, backbone=groups["encoder"], block=_TITLES["ours"],
        seeds=trained.groupby("group")["seed"].nunique(),
    )  # fmt: skip


def _records(groups: pd.DataFrame) -> list[dict[str, Any]]:
    counts = {name: groups[name].map(_count).astype(object) for name in ("sentences", "seeds")}
    return groups.assign(**counts).fillna("").to_dict("records")


def _verdicts(
    frame: pd.DataFrame, measure: str, baseline: str, solver: str = "senteval", exploring: bool = False
) -> pd.Series:
    """Group → its verdict in a cell."""
    import pandas as pd

    settings = {"resamples": 0, "margin": None if exploring else results.MARGIN}  # cells show no bootstrap
    compared = statistics.against(frame, measure, baseline, solver=solver, **settings)
    cells = [verdict(compared, key, exploring) for key in compared.index]
    return pd.Series(cells, index=compared.index, dtype=object)


def _means(frame: pd.DataFrame, measure: str, solver: str = "senteval") -> pd.DataFrame:
    return statistics.means(_select(frame, measure, solver))


def _select(frame: pd.DataFrame, measure: str, solver: str = "senteval") -> pd.DataFrame:
    """As `hncse.evaluation.results.select`; nothing where no run has the measure."""
    return results.select(frame, measure, solver) if measure in set(frame["measure"]) else frame[:0]


def _cells(
    frame: pd.DataFrame, measure: str, solver: str = "senteval", *, digits: int = 2, of: pd.Series | None = None
) -> pd.Series:
    """Group → mean ± half the interval; with ``of``, how many seeds of all have the measure; untrained ones as well."""
    import pandas as pd

    raw = frame[(frame["kind"] == "untrained") & (frame["measure"] == measure)].set_index("group")["value"]
    cells = {group: _interval(value, digits=digits) for group, value in raw.items()}
    for group, row in _means(frame, measure, solver).iterrows():
        cells[group] = _interval(row["mean"], row["half"], digits=digits)
        if of is not None and row["n"] < of.get(group, 0):
            cells[group] += f" ({row['n']:.0f} of {of[group]} seeds)"
    return pd.Series(cells, dtype=object)


def _shares(frame: pd.DataFrame, moments: Sequence[str], digits: int) -> dict[str, pd.Series]:
    """Columns "A" (of one moment) or "A first": group → % of anchors in the case, mean over seeds."""
    columns = {}
    for moment in moments:
        for case in "abc":
            values = _select(frame, f"case_{case}_{moment}").groupby("group")["value"]
            name = f"{case.upper()} {moment}" if len(moments) > 1 else case.upper()
            columns[name] = values.agg(lambda v: f"{100 * sum(v) / len(v):.{digits}f}").astype(object)
    return columns


def _interval(mean: float, half: float = float("nan"), *, digits: int = 2) -> str:
    if _gap(mean):
        return ""
    return f"{mean:.{digits}f}" if _gap(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


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
    """Write all tables that these runs have results for, in each format; arguments as in `sts`.

    Returns:
        The files: ``sts``, ``transfer``, ``probe``, ``dev`` and ``tuned`` in each format, ``verdicts.md`` and, if
        ``rows``, ``results.csv``, a row a run: the runs themselves stay where they were made.
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
    add = options.add_argument
    add("--runs", type=Path, nargs="+", help="folders of runs (default: HNCSE_RUNS or runs/)")
    add("--csv", type=Path, nargs="+", help="results of hncse.evaluation.results, in place of folders")
    add("--out", type=Path, default=Path("figures/tables"), help="default figures/tables")
    add("--format", nargs="+", choices=list(FORMATS), default=list(FORMATS), help="default: all")
    add("--baseline", default="simcse", help="method to compare with (default simcse)")
    add("--published", choices=("landmarks", "all", "none"), default="landmarks", help="which rows")
    add("--phenomena", action="store_true", help="print the probe a phenomenon at a time, as well")
    return options
