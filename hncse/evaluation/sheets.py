"""From runs to tables for a paper: ours with intervals and verdicts, untrained encoders, published rows.

Runs are folders or rows of a CSV (`hncse.evaluation.results`). Every sheet says split, pooling, seeds and interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hncse.evaluation import probe_table, tables
from hncse.evaluation._run_scores import MEASURES, against, by_setting, by_training, measure_name, run_scores, tuned
from hncse.evaluation._verdicts import Comparison, compare
from hncse.evaluation._verdicts import to_markdown as verdicts_markdown
from hncse.evaluation.table_formats import Block, Sheet
from hncse.runs import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "apart",
    "cases_sheet",
    "dev_sheet",
    "probe_sheet",
    "sheets",
    "sts_sheet",
    "transfer_sheet",
    "tuned_sheet",
    "verdict_text",
    "verdict_texts",
]

_FACTS = ("method", "encoder", "pooling", "corpus", "sentences", "seeds")
_HEAD = ["method", "backbone", "pooling", "corpus", "sentences", "seeds"]
_TITLES = {"ours": "Ours", "untrained": "The same encoders, untrained", "published": "Published, as printed there"}
_MEASURES = ("sts", "transfer", "probe", "stsb-dev")


def sheets(runs: Sequence[Run], baseline: str = "simcse", published: str = "landmarks") -> list[Sheet]:
    """Every sheet that these runs have results for.

    Args:
        runs: Run folders or recorded runs, oldest first.
        baseline: Method that the others are compared with, where it was trained as they were.
        published: "landmarks", "all" or "none".
    """
    made = [sts_sheet(runs, baseline, published), transfer_sheet(runs, baseline, published)]
    made += [probe_sheet(runs, baseline), dev_sheet(runs, baseline), tuned_sheet(runs, baseline)]
    return [sheet for sheet in made if any(block.title.startswith(_TITLES["ours"]) for block in sheet.blocks)]


def sts_sheet(runs: Sequence[Run], baseline: str = "simcse", published: str = "landmarks") -> Sheet:
    """STS, test split; arguments as in `sheets`."""
    table = tables.sts_table(runs, published=published != "none")
    return _scores_sheet("sts", table, against(runs, "sts", baseline), baseline, published)


def transfer_sheet(runs: Sequence[Run], baseline: str = "simcse", published: str = "landmarks") -> Sheet:
    """Transfer, test rows; arguments as in `sheets`."""
    table = tables.transfer_table(runs, published=published != "none")
    return _scores_sheet("transfer", table, against(runs, "transfer", baseline), baseline, published)


def probe_sheet(runs: Sequence[Run], baseline: str = "simcse") -> Sheet:
    """The probe: Spearman and how often each paraphrase outranks hard negatives; arguments as in `sheets`."""
    rows = probe_table.rows(runs)
    found = against(runs, "probe", baseline)
    blocks = []
    for title, trained in ((_TITLES["ours"], True), (_TITLES["untrained"], False)):
        chosen = [row for row in rows if bool(row["runs"]) == trained]
        body = [
            [row["method"], row["encoder"], row["pooling"], *_counts(row["sentences"], row["seeds"])]
            + [_mean_half(row[name][0], row[name][1], digits=1) for name in probe_table.MEASURES]
            + [verdict_text(found.get(", ".join(row["runs"])))]
            for row in chosen
        ]
        if body:
            blocks.append(Block(title, body))
    head = ["method", "backbone", "pooling", "sentences", "seeds", *probe_table.MEASURES, _against(baseline)]
    caption = f"{probe_table.caption()}. {_verdict_caption(baseline, 'Spearman')}"
    return Sheet("probe", caption, head, blocks, text=3)


def dev_sheet(runs: Sequence[Run], baseline: str = "simcse") -> Sheet:
    """STS-B dev, by which weights are chosen, and the cases of training's anchors; no test split is read for it."""
    from hncse.evaluation.results import rows as recorded

    on_dev, on_probe = (against(runs, measure, baseline) for measure in ("stsb-dev", "probe"))
    body = []
    for part in by_training(runs).values():
        extra = apart(part, runs)
        for group in tables.grouped(part):
            lines = [row for row in recorded(group) if row["kind"] == "trained"]
            if any(line["stsb_dev"] in (None, "") for line in lines):
                continue
            config = group[0].config
            about = [tables.method_name(config["parameters"]) + extra, config["parameters"]["encoder"]]
            about += [config["pooling"], config["data"]["source"], *_counts(config["data"]["sentences"], len(group))]
            key = ", ".join(run.name for run in group)
            scores = [
                text
                for column, found in (("stsb_dev", on_dev), ("probe", on_probe))
                for text in (_mean_of([line.get(column) for line in lines]), verdict_text(found.get(key)))
            ]
            shares = [_percent([line.get(f"case_{case}_mean", "") for line in lines]) for case in "abc"]
            body.append([*about, *shares, *scores])
    caption = (
        "STS-B dev, Spearman × 100 of the weights that were kept because they score best there, and the probe's "
        "Spearman × 100 of the same weights: good for choosing, dev is too high for reporting; mean over seeds ± "
        "half the 95 % t-interval. A, B, C: % of training's anchors in each case. "
        + _verdict_caption(baseline, "each score")
    )
    usual = _usual(runs) if runs else {}
    if len(usual) > 2:
        caption += f" Where not named: {', '.join(f'{name}={value}' for name, value in usual.items())}."
    head = [*_HEAD, "A", "B", "C", "STS-B dev", f"dev {_against(baseline)}", "probe", f"probe {_against(baseline)}"]
    return Sheet("dev", caption, head, [Block(_TITLES["ours"], body)] if body else [], text=4)


def tuned_sheet(runs: Sequence[Run], baseline: str = "simcse") -> Sheet:
    """Each loss in the setting that STS-B dev prefers, then read on test; empty where no loss has two settings."""
    body = []
    for part in by_setting(runs).values():
        chosen = tuned(part)
        losses = {run.config["parameters"]["loss"] for run in chosen}
        if len(tables.grouped(part)) == len(losses) or baseline not in losses:
            continue
        scores = {measure: _by_loss(chosen, measure) for measure in ("stsb-dev", "sts", "transfer", "probe")}
        found = {measure: _among(known, baseline) for measure, known in scores.items() if measure != "stsb-dev"}
        for group in tables.grouped(chosen):
            config = group[0].config
            loss = config["parameters"]["loss"]
            about = [tables.method_name(config["parameters"]) + apart(group, part), config["parameters"]["encoder"]]
            about += [config["pooling"], config["data"]["source"], *_counts(config["data"]["sentences"], len(group))]
            means = {measure: _mean_of(list(known.get(loss, {}).values())) for measure, known in scores.items()}
            cells = [means["stsb-dev"]]
            for measure, compared in found.items():
                cells += [means[measure], verdict_text(compared.get(loss))]
            body.append([*about, *cells])
    caption = (
        "Each method in that one of its trainings which scores best on STS-B dev (mean over seeds), then read on test: "
        f"{MEASURES['sts']}; {MEASURES['transfer']}; {MEASURES['probe']}. Against {baseline}, which stands at its own "
        "best as well: difference over the same seeds, 95 % interval, Holm's correction over the methods of this table."
    )
    head = [*_HEAD, "STS-B dev"]
    head += [text for measure in ("STS", "transfer", "probe") for text in (measure, f"{measure} {_against(baseline)}")]
    return Sheet("tuned", caption, head, [Block(_TITLES["ours"], body)] if body else [], text=4)


def cases_sheet(runs: Sequence[Run]) -> Sheet:
    """How training's anchors were spread over the cases: the first logged steps, all of training, the last ones."""
    from hncse.evaluation.results import rows as recorded

    moments = ("first", "mean", "last")
    body = []
    for group in tables.grouped(runs):
        lines = [row for row in recorded(group) if row["kind"] == "trained"]
        config = group[0].config
        about = [tables.method_name(config["parameters"]), config["parameters"]["encoder"]]
        shares = [_percent([line.get(f"case_{c}_{m}", "") for line in lines], 2) for m in moments for c in "abc"]
        body.append([*about, *_counts(config["data"]["sentences"], len(group)), *shares])
    head = ["method", "backbone", "sentences", "seeds", *(f"{case} {moment}" for moment in moments for case in "ABC")]
    caption = "% of anchors in each case: at the first logged step, over all of training, at the last; mean over seeds."
    return Sheet("cases", caption, head, [Block(_TITLES["ours"], body)] if body else [], text=2)


def verdict_text(found: Comparison | None) -> str:
    """A verdict in a cell: difference, interval, and what follows after Holm's correction."""
    if found is None or found.difference is None:
        return "" if found is None else "baseline"
    d = found.difference
    if d.interval is None:
        return f"{d.value:+.2f}, {'the same with every seed' if d.sd == 0 else 'not tested'}"
    return f"{d.value:+.2f} [{d.interval[0]:+.2f}, {d.interval[1]:+.2f}], {found.verdict}"


def verdict_texts(runs: Sequence[Run], baseline: str = "simcse", measures: Iterable[str] = _MEASURES) -> str:
    """The tables of verdicts in words, as Markdown: one for each setting and measure that the runs have."""
    parts = []
    for words, part in by_training(runs).items():
        for measure in measures:
            scores = run_scores(part, measure)
            if baseline in scores and len(scores) > 1:
                about = f"{words}; {measure_name(measure)}"
                parts.append(verdicts_markdown(compare(scores, baseline), about, effect=1.0))
    return "\n".join(parts)


def _scores_sheet(name: str, table: pd.DataFrame, found: dict[str, Comparison], baseline: str, published: str) -> Sheet:
    if published == "landmarks":
        table = tables.landmarks(table)
    tasks = [column for column in table.columns if column in (*tables.STS, *tables.TRANSFER)]
    notes: dict[str, int] = {}
    blocks = []
    for kind, title in _TITLES.items():
        chosen = table[table["kind"] == kind]
        rows, numbers = [], []
        for _, row in chosen.iterrows():
            about = ["" if _missing(row[fact]) else str(row[fact]) for fact in _FACTS[:4]]
            scores = [*(tables.score_text(row[task]) for task in tasks), _mean_half(row["avg"], row["half"])]
            rows.append(
                [*about, *_counts(row["sentences"], row["seeds"]), *scores, verdict_text(found.get(row["source"]))]
            )
            numbers.append(notes.setdefault(row["source"], len(notes) + 1) if kind == "published" else None)
        if rows:
            blocks.append(Block(title, rows, numbers))
    caption = f"{tables.caption(table)} {_verdict_caption(baseline, 'avg')} A dash: not given."
    return Sheet(name, caption, [*_HEAD, *tasks, "avg", _against(baseline)], blocks, 4, list(notes))


def _by_loss(chosen: Sequence[Run], measure: str) -> dict[str, dict[int, float]]:
    """Loss → seed → score, of losses of which each has one setting."""
    found = {g[0].config["parameters"]["loss"]: run_scores(g, measure) for g in tables.grouped(chosen)}
    return {loss: next(iter(of_one.values())) for loss, of_one in found.items() if of_one}


def _among(scores: dict[str, dict[int, float]], baseline: str) -> dict[str, Comparison]:
    """Compare losses whatever their trainings: loss → comparison."""
    return {one.method: one for one in compare(scores, baseline)} if baseline in scores else {}


def _against(baseline: str) -> str:
    return f"against {baseline}"


def _verdict_caption(baseline: str, measure: str) -> str:
    return (
        f"Against {baseline}: difference of {measure} from {baseline} trained alike, over the same seeds, 95 % "
        "interval (paired t; Welch's where seeds differ); better or worse where p after Holm's correction is at most "
        "0.05."
    )


def apart(part: Sequence[Run], runs: Sequence[Run]) -> str:
    """Say what sets a part's training apart from that of other runs in a table, as in ", temperature=0.2".

    Where more than two parameters vary over the table, only those of them that are not as usual.

    Args:
        part: Runs trained alike.
        runs: All of the table.
    """
    usual = _usual(runs)
    mine = part[0].config["parameters"]
    shown = [name for name in usual if name in mine and (len(usual) < 3 or mine[name] != usual[name])]
    return "".join(f", {name}={mine[name]}" for name in shown)


def _usual(runs: Sequence[Run]) -> dict[str, Any]:
    """The commonest value of each training parameter in which runs differ."""
    ignored = (*tables.IGNORED, "loss", "loss_options", "encoder", "corpus", "limit")
    all_of_them = [run.config["parameters"] for run in runs]
    names = dict.fromkeys(name for one in all_of_them for name in one if name not in ignored)
    seen = {name: [one.get(name) for one in all_of_them] for name in names}
    return {name: max(values, key=values.count) for name, values in seen.items() if len(set(map(repr, values))) > 1}


def _counts(*values: Any) -> list[str]:
    return ["" if _missing(value) else f"{value:,.0f}" for value in values]


def _mean_half(mean: float, half: float, *, digits: int = 2) -> str:
    if _missing(mean):
        return ""
    return f"{mean:.{digits}f}" if _missing(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def _mean_of(values: Sequence[Any]) -> str:
    known = [float(value) for value in values if value not in (None, "")]
    return _mean_half(*tables.t_interval(known)) if known and len(known) == len(values) else ""


def _percent(values: Sequence[Any], digits: int = 1) -> str:
    shares = [float(value) for value in values if value != ""]
    return f"{100 * sum(shares) / len(shares):.{digits}f}" if shares else ""


def _missing(value: Any) -> bool:
    return value is None or value != value
