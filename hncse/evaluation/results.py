"""Results of many runs as one tidy table, a row a run and measure, from run folders or a CSV; and as a CSV again.

    frame = results.from_runs(list_runs())                       # or from_csv("mine.csv"), or recorded("sweep")
    frame[frame["measure"] == "sts"].groupby("method")["value"].mean()

Everything that is printed, tested or drawn begins here. What a run is called, and what it is compared with, is decided
once, in columns: ``method`` (loss and options), ``group`` (everything but the seed), ``training`` (everything but loss
and seed), ``sample`` (which sentences), ``family`` (the methods whose verdicts Holm corrects together: those of one
training).
The CSV is wide, a row a run, with every parameter; weights, histories and snapshots stay in the run folders.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.data.senteval import STS_TASKS as STS
from hncse.data.senteval import TRANSFER_TASKS as TRANSFER
from hncse.errors import HncseError, command, unknown
from hncse.files import write_text
from hncse.runs import Run, list_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS", "IGNORED", "MARGIN", "MEASURES", "RECORDED", "SCOPE", "SOLVERS", "STS", "TRANSFER", "VARIED",
    "best_solver", "defaults", "from_csv", "from_runs", "load", "measure_name", "method_name", "named", "recorded",
    "recorded_with", "sampled", "scopes", "select", "tell_apart", "to_csv", "trainings", "transfer_results",
    "transfer_solver", "uncommon", "usual",
]  # fmt: skip

#: What a run can be compared by. Higher is better in all of them.
MEASURES: dict[str, str] = {
    "sts": 'average of the seven STS tasks, test split, Spearman × 100, "all" aggregation',
    "transfer": "average of the seven transfer tasks, test rows, accuracy × 100",
    "probe": "probe, Spearman × 100 of cosine and grade",
    "probe-overall": "probe, % of hard negatives that a paraphrase outranks",
    "probe-close": "probe, % of hard negatives that the close paraphrase outranks",
    "probe-far": "probe, % of hard negatives that the far paraphrase outranks",
    "probe-both": "probe, % of hard negatives that both paraphrases outrank",
    "stsb-dev": "STS-B dev, Spearman × 100, of the weights kept by it: for choosing, no test score",
    **{task: f'{task}, test split, Spearman × 100, "all" aggregation' for task in STS},
    **{task: f"{task}, test rows, accuracy × 100" for task in TRANSFER},
}
#: Solvers of the transfer tasks: SentEval's own, which published rows are compared with, and a quick one for choosing.
SOLVERS = ("senteval", "fast")
#: Points of STS, transfer or probe for which nobody would choose a method: tables say "equal" within so many.
MARGIN = 0.5
#: Files of results that come with the kit.
RECORDED = ("sweep", "ablation", "regimes", "minilm", "smollm2", "relatives_training")
#: Parameters that are no part of what a method is.
IGNORED = (
    "seed", "sample_seed", "name", "output", "log_every", "snapshots", "length_groups", "num_workers", "report_to",
    "gradient_checkpointing",
)  # fmt: skip
#: Scores compare where these columns are equal: the encoder that training began with, and the sentences it saw.
SCOPE = ["encoder", "sentences", "corpus", "weights", "sample"]

#: In the column ``sample``, where others have the fingerprint of their sentences: ``sample_seed`` is the run's seed.
VARIED = "varied"  # as long as what is shown of a fingerprint

_LOSS = ("loss", "loss_options")
_OF_LOSS = (*_LOSS, "loss_source")  # of a loss of the reader's own
_OF_TRANSFER = (*TRANSFER, "transfer")
_SHARES = ("overall", "close", "far", "both")
_WHOLE = ("steps", "kept_step")
_TIMES = ("seconds", "sentences_per_second")
_CASES = tuple(f"case_{case}_{moment}" for case in "abc" for moment in ("first", "mean", "last"))
_PROBE = ("probe", *(f"probe-{name}" for name in _SHARES))
_MEASURED = (*_WHOLE, *_TIMES, "stsb-dev", *STS, "sts", *_OF_TRANSFER, *_PROBE, *_CASES)
_LEADING = (*_LOSS, "encoder", "corpus", "limit", "seed")  # parameters with a column of their own
_RENAMED = {"corpus": "source", "stsb-dev": "stsb_dev"}  # in the frame: in the CSV
#: The CSV's columns, in order.
COLUMNS = (
    "kind", "run", *_LEADING, "parameters", "pooling", "source", "sentences", "data", "weights", "selection", "key",
    *_WHOLE, *_TIMES, "device", "precision", "stsb_dev", *STS, "sts", *_OF_TRANSFER, "transfer_solver", *_PROBE,
    "probe_version", *_CASES, "hncse", "torch",
)  # fmt: skip
_NEEDED = ("kind", "run", "loss", "encoder", "seed")
_FACTS = (
    "kind", "run", "method", "loss", "options", "encoder", "pooling", "corpus", "sentences", "seed", "selection",
    "weights", "data", "sample", "key", "group", "training", "family", "parameters", "device", "precision",
    "probe_version", "hncse", "torch",
)  # fmt: skip


# From folders and files


def load(folders: Sequence[Path] | None = None, tables: Sequence[Path] | None = None) -> pd.DataFrame:
    """Read results of CSV files if any are named, else of folders of runs (None: the default one)."""
    import pandas as pd

    if tables:
        return pd.concat([from_csv(path) for path in tables], ignore_index=True)
    return from_runs(run for folder in (folders or (None,)) for run in list_runs(folder))


def recorded(name: str) -> pd.DataFrame:
    """Read results that come with the kit, one of `RECORDED`: `from_csv` of a file inside the package."""
    if name not in RECORDED:
        raise unknown("file of recorded results", name, RECORDED)
    with resources.as_file(resources.files("hncse.data") / "results" / f"{name}.csv") as path:
        return from_csv(path)


def recorded_with(measure: str) -> pd.DataFrame:
    """All recorded results of runs that were judged on a measure, such as ``sts``, with their untrained encoders."""
    import pandas as pd

    frames = [frame for name in RECORDED if measure in set((frame := recorded(name))["measure"])]
    return pd.concat(frames, ignore_index=True)


def from_runs(runs: Iterable[Run] | None = None) -> pd.DataFrame:
    """Read finished runs, each of their files once; unfinished ones contribute nothing.

    Args:
        runs: Run folders, oldest first; None takes all of the default folder.

    Returns:
        The tidy table: a row for each run (``kind`` "trained") or encoder before training ("untrained", one for each
        pooling) and measure. ``value`` holds the number, ``measure`` its name (`MEASURES`, steps, seconds, cases;
        from folders also ``probe-close:negation`` and its like), ``solver`` whose transfer result it is, else "".
        ``parameters`` is a dictionary; ``options`` are those of the loss, in words; ``group``, ``training`` and
        ``family`` are keys to join and group by.
    """
    untrained: dict[tuple[str, str], dict[str, Any]] = {}
    trained = []
    for run in list_runs() if runs is None else runs:
        if not run.finished:
            continue
        config = run.config
        weights = config["encoder_fingerprint"][:16]
        trained.append(_trained(run, config) | {"weights": weights})
        before = run.read("baseline")["poolings"] if run.has("baseline") else {}
        for pooling, files in before.items():
            known = untrained.setdefault((weights, pooling), {
                "kind": "untrained", "encoder": config["parameters"]["encoder"], "pooling": pooling, "values": {},
                "weights": weights, "probe_version": files.get("probe", {}).get("fingerprint"),
            })  # fmt: skip
            known["values"] = _values(files) | known["values"]  # of two runs the first one's
    return _tidy([*untrained.values(), *trained])


def from_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV that `to_csv` wrote, in this version or another, as `from_runs` reads folders.

    A column that is missing is a gap in every row; one that is not known is left out, with a warning that names it. A
    file without ``transfer_solver`` is older than that column, and its transfer scores are of the solver ``fast``.

    Raises:
        HncseError: The file is missing, is no such table, or a cell that should hold a number does not.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise HncseError(f"{path} is not there; `hncse results --csv {path}` makes it from runs")
    wide = pd.read_csv(path, dtype=str, keep_default_na=False)
    lacking = [name for name in _NEEDED if name not in wide]
    if lacking:
        raise HncseError(
            f"{path} is no table of results: it has no column {', '.join(lacking)}; "
            "`hncse results --csv FILE` writes one from run folders"
        )
    if strange := [name for name in wide if name not in COLUMNS]:
        warnings.warn(f"{path}: columns this version does not know are left out: {', '.join(strange)}", stacklevel=2)
    wide = wide.reindex(columns=list(COLUMNS), fill_value="")
    return _tidy([_record(row, f"{path}, row {number}") for number, row in enumerate(wide.to_dict("records"), 2)])


def _trained(run: Run, config: dict[str, Any]) -> dict[str, Any]:
    """Facts and values of a run folder."""
    files = {name: run.read(name) for name in ("result", "sts", "probe") if run.has(name)}
    result, history = files["result"], run.history
    dev = [line["stsb_dev"] for line in [*history, result] if line.get("stsb_dev") is not None]  # kept step, else last
    values = {name: result.get(name) for name in (*_WHOLE, *_TIMES)} | {"stsb-dev": dev[-1] if dev else None}
    values |= _cases(history)
    return {
        "kind": "trained", "run": run.name, "key": config.get("key", ""), "corpus": config["data"]["source"],
        "sentences": config["data"]["sentences"], "data": config["data"]["fingerprint"][:16],
        "probe_version": files.get("probe", {}).get("fingerprint"),
        **{name: config[name] for name in ("parameters", "pooling", "selection")},
        **{name: result.get(name) for name in ("device", "precision")},
        **{name: config.get("versions", {}).get(name) for name in ("hncse", "torch")},
        "values": {(name, ""): value for name, value in values.items()} | _values(files | transfer_results(run)),
    }  # fmt: skip


def transfer_results(run: Run) -> dict[str, dict[str, Any]]:
    """Contents of a run's transfer files by their names; whose they are, their content says (`transfer_solver`)."""
    names = sorted(path.stem for path in run.path.glob("transfer*.json"))
    return {name: run.read(name) for name in names}


def transfer_solver(result: Mapping[str, Any]) -> str:
    """The solver of a transfer result; before results named it there was one, ``fast``."""
    return str(result.get("solver", "fast"))


def _values(files: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], float | None]:
    """(measure, solver) → value, of the contents of sts.json, probe.json and transfer files."""
    values: dict[tuple[str, str], float | None] = {}
    for name, result in files.items():
        if name == "sts" or name.startswith("transfer"):
            solver, score = ("", "all") if name == "sts" else (transfer_solver(result), "acc")
            values |= {(task, solver): entry.get(score) for task, entry in result.get("tasks", {}).items()}
            values[name.partition("_")[0], solver] = result.get("avg")
    probe = files.get("probe", {})
    values["probe", ""] = probe.get("spearman")
    by_phenomenon = {f":{name}": shares for name, shares in probe.get("phenomena", {}).items()}
    for suffix, shares in ({"": probe.get("triplet_accuracy", {})} | by_phenomenon).items():
        values |= {(f"probe-{name}{suffix}", ""): shares[name]["value"] for name in _SHARES if name in shares}
    return {name: value for name, value in values.items() if value is not None}


def _cases(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares of anchors in each case: in the first logged steps, over all, in the last."""
    values: dict[str, float] = {}
    for case in ("case_a", "case_b", "case_c"):
        shares = [line[case] for line in history if line.get(case) is not None]
        if shares:
            mean = sum(shares) / len(shares)
            values |= {f"{case}_first": shares[0], f"{case}_mean": mean, f"{case}_last": shares[-1]}
    return values


def _record(row: dict[str, str], place: str) -> dict[str, Any]:
    """One row of a CSV, as `_trained` makes one of a folder."""
    if row["kind"] not in ("trained", "untrained"):
        raise HncseError(f"{place}: kind is {row['kind']!r}; it must be trained or untrained")
    values = {}
    for name in _MEASURED:
        solver = (row["transfer_solver"] or "fast") if name in _OF_TRANSFER else ""
        values[name, solver] = _number(row[_RENAMED.get(name, name)], f"{place}, {name}")
    facts: dict[str, Any] = {name: row.get(_RENAMED.get(name, name)) for name in _FACTS}
    if row["kind"] == "trained":
        try:
            parameters = json.loads(row["parameters"] or "{}")
            parameters |= {"loss_options": json.loads(row["loss_options"] or "{}")}
            parameters |= {name: json.loads(row[name] or "null") for name in ("limit", "seed")}
        except json.JSONDecodeError as error:
            raise HncseError(f"{place}: parameters, options, limit or seed are damaged: {error}") from error
        facts["parameters"] = parameters | {name: row[name] for name in ("loss", "encoder", "corpus")}
        facts["sentences"] = int(_number(row["sentences"], f"{place}, sentences") or 0)
    return facts | {"values": values}


def _number(text: str, place: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise HncseError(f"{place}: {text!r} is no number") from None


def _tidy(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row for each record and value; what rows are called, and what they are alike to, is decided here."""
    import pandas as pd

    rows = []
    for record in records:
        facts = {name: record.get(name) for name in _FACTS}
        facts |= _names_of_untrained(facts) if facts["kind"] == "untrained" else _names_of_trained(facts)
        for (measure, solver), value in record["values"].items():
            if value is not None:
                rows.append({**facts, "solver": solver, "measure": measure, "value": float(value)})
    frame = pd.DataFrame(rows, columns=[*_FACTS, "solver", "measure", "value"])
    source = frame["parameters"].map(lambda parameters: (parameters or {}).get("loss_source", "")).astype(str)
    edited = source.groupby(frame["method"]).transform("nunique") > 1  # one name, several functions
    frame.loc[edited, "method"] += " [" + source[edited].str[:8] + "]"
    return frame.astype({"value": float, "seed": "Int64", "sentences": "Int64"})


def _names_of_untrained(facts: dict[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(("group", "training", "family"), _key([facts["weights"], facts["pooling"]])) | {"sample": ""}
    empty: dict[str, Any] = {"run": "", "loss": "", "options": "", "seed": None, "sentences": None, "parameters": {}}
    return names | empty | {"method": "untrained"}


def _names_of_trained(facts: dict[str, Any]) -> dict[str, Any]:
    parameters = defaults() | facts["parameters"]  # a parameter younger than the run had its default's effect
    varied = parameters.get("sample_seed") is not None and parameters["sample_seed"] == parameters["seed"]
    sample = VARIED if varied else facts["data"]  # which sentences: drawn anew with each seed, or these
    shared = {name: value for name, value in parameters.items() if name not in IGNORED}
    shared["precision"] = facts["precision"] or parameters["precision"]  # what ran, however it was asked for
    training = {name: value for name, value in shared.items() if name not in _OF_LOSS}
    place = [sample, facts["weights"], facts["selection"]]
    group, alike = _key([shared, *place]), _key([training, *place])
    names = {"group": group, "training": alike, "family": alike, "method": method_name(parameters)}
    names |= {"options": _options(parameters["loss_options"]), "sample": sample}
    return names | {name: parameters[name] for name in ("loss", "encoder", "seed")} | {"parameters": parameters}


@functools.cache
def defaults() -> dict[str, Any]:
    """Every parameter of a training with its default."""
    from hncse.training import TrainingConfig

    fields = dataclasses.fields(TrainingConfig)
    return {f.name: None if f.default is dataclasses.MISSING else f.default for f in fields}


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


# What rows are called, and which of them count


def method_name(parameters: Mapping[str, Any]) -> str:
    """Name of what was trained: the preset and the options that change it."""
    options = _options(parameters["loss_options"])
    return f"{parameters['loss']} ({options})" if options else parameters["loss"]


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def measure_name(measure: str, solver: str = "") -> str:
    """Say what a measure is, and whose solver's."""
    return f"{MEASURES[measure]}, solver {solver}" if measure in _OF_TRANSFER else MEASURES[measure]


def select(frame: pd.DataFrame, measure: str, solver: str = "senteval") -> pd.DataFrame:
    """Rows of trained runs for one measure; of two runs alike and with one seed the younger counts.

    ``solver`` is that of transfer results; other measures have none. HncseError names the nearest measure or solver.
    """
    if measure not in MEASURES and measure not in set(frame["measure"]):
        raise unknown("measure", measure, MEASURES)
    if solver not in SOLVERS:
        raise unknown("solver", solver, SOLVERS)
    rows = frame[(frame["kind"] == "trained") & (frame["measure"] == measure)]
    rows = rows[rows["solver"] == (solver if measure in _OF_TRANSFER else "")]
    return rows.drop_duplicates(["group", "seed"], keep="last")


def best_solver(frame: pd.DataFrame) -> str:
    """SentEval's solver where any run has its results, or nobody has any; else the other."""
    return "fast" if "senteval" not in set(frame["solver"]) and "fast" in set(frame["solver"]) else "senteval"


def tell_apart(rows: pd.DataFrame, shown: Sequence[str]) -> pd.Series:
    """What to add to names of rows (one a group) equal in the columns ``shown``: the parameters in which they differ.

    Returns:
        As in ``, temperature=0.2``, or "" where a row stands alone; same index.
    """
    import pandas as pd

    added = pd.Series("", index=rows.index, dtype=object)
    for _, alike in rows.groupby(list(shown), sort=False, dropna=False):
        if len(alike) > 1:
            differing = _differing(list(alike["parameters"]), IGNORED)
            for place, row in alike.iterrows():
                named = _setting(row["parameters"], differing)
                added[place] = named or f", data {row['sample'][:6]}, {row['selection']}"
    return added


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column ``name``: the method, and what tells groups of one method apart where there are several."""
    groups = rows.drop_duplicates("group").set_index("group")
    return rows.assign(name=rows["group"].map(groups["method"] + tell_apart(groups, ["method"])))


def usual(frame: pd.DataFrame) -> dict[str, Any]:
    """The commonest value of each training parameter in which the runs of a table differ."""
    parameters = frame[frame["kind"] == "trained"].drop_duplicates(["group", "seed"])["parameters"].tolist()
    common = {}
    for name in _differing(parameters, (*IGNORED, *_OF_LOSS, "encoder", "corpus", "limit")):
        values = [one.get(name) for one in parameters]
        common[name] = max(values, key=values.count)
    return common


def uncommon(parameters: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    """Say what sets one training apart from a table's others, as in ``, temperature=0.2``.

    Where more than two parameters vary over the table, only those that are not as `usual`.
    """
    names = [name for name in common if len(common) < 3 or parameters.get(name) != common[name]]
    return _setting(parameters, names)


def trainings(frame: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
    """Part runs by everything but loss, options and seed: key → (what sets the part apart, in words; its rows)."""
    parts = {}
    for words, scope in scopes(frame).items():
        groups = dict(list(scope.groupby("training", sort=False)))
        settings = [part["parameters"].iloc[0] | {"selection": part["selection"].iloc[0]} for part in groups.values()]
        differing = _differing(settings, (*IGNORED, *_OF_LOSS))
        for (key, part), setting in zip(groups.items(), settings, strict=True):
            parts[str(key)] = words + _setting(dict.fromkeys(differing) | setting, differing), part
    return parts


def scopes(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Part trained runs by `SCOPE`, what makes their scores comparable: words → rows, in their order."""
    parts = [part for _, part in frame[frame["kind"] == "trained"].groupby(SCOPE, sort=False)]
    firsts = [part.iloc[0] for part in parts]
    words = [f"{row['encoder']} on {row['sentences']:,} sentences from {row['corpus']}" for row in firsts]
    keys = [f" (encoder {row['weights'][:6]}, data {row['sample'][:6]})" for row in firsts]
    names = [text if words.count(text) == 1 else text + key for text, key in zip(words, keys, strict=True)]
    return dict(zip(names, parts, strict=True))


def sampled(frame: pd.DataFrame) -> str:
    """Say of a table's trained rows whether the seed decided the training sentences, too."""
    varied = set(frame.loc[frame["kind"] == "trained", "sample"] == VARIED)
    if varied == {True, False}:
        return "Some rows draw their training sentences anew with each seed, others have the same with every seed."
    said = {True: "Training sentences are drawn anew with each seed.",
            False: "The same training sentences with every seed."}  # fmt: skip
    return "".join(said[bool(each)] for each in varied)  # nothing where nothing was trained


def _differing(parameters: Sequence[Mapping[str, Any]], ignored: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for one in parameters for name in one if name not in ignored)
    return [name for name in names if any(one.get(name) != parameters[0].get(name) for one in parameters)]


def _setting(parameters: Mapping[str, Any], names: Sequence[str]) -> str:
    return "".join(f", {name}={parameters[name]}" for name in names if name in parameters)


# The CSV


def to_csv(frame: pd.DataFrame) -> str:
    """Write the wide form, a row a run, sorted by what runs are and not by when they were made.

    Numbers are rounded to four decimals. Where a run has the results of both solvers, those of ``senteval`` are
    written; the column ``transfer_solver`` says whose they are.
    """
    import pandas as pd

    rows = []
    for _, part in frame.groupby(["kind", "run", "key", "group"], sort=False, dropna=False):
        facts = part.iloc[0]
        solver = max(part["solver"])  # "" < "fast" < "senteval"
        part = part[part["solver"].isin(["", solver])]
        parameters = facts["parameters"]
        own = {name: parameters.get(name) for name in _LEADING} if parameters else {"encoder": facts["encoder"]}
        others = {k: v for k, v in parameters.items() if k not in (*_LEADING, "name", "output", "log_every")}
        row = {_RENAMED.get(name, name): facts[name] for name in _FACTS if name not in (*own, "sample")}
        row |= {_RENAMED.get(m, m): _rounded(m, v) for m, v in zip(part["measure"], part["value"], strict=True)}
        rows.append({**row, **own, "source": facts["corpus"], "parameters": others, "transfer_solver": solver})
    rows.sort(key=_order)
    texts = [{name: _cell(row.get(name)) for name in COLUMNS} for row in rows]
    return pd.DataFrame(texts, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\n")


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    if row["kind"] == "untrained":
        return 0, row["weights"], row["pooling"]
    return 1, *(str(row.get(name, "")) for name in ("encoder", "corpus", "limit", *_LOSS)), row["seed"]


def _rounded(measure: str, value: float) -> str:
    return str(int(value)) if measure in _WHOLE else repr(round(value, 4))


def _cell(value: Any) -> str:
    import pandas as pd

    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return "" if pd.isna(value) else str(value)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="hncse results", description="Write the results of finished runs as one CSV.")
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs (default: HNCSE_RUNS or runs/)")
    parser.add_argument("--csv", type=Path, help="file to write (default: standard output)")
    options = parser.parse_args(arguments)
    frame = load(options.runs)
    trained = frame[frame["kind"] == "trained"]
    if not len(trained):
        raise HncseError("there is no finished run; `hncse sweep` makes some")
    if options.csv is None:
        sys.stdout.write(to_csv(frame))
    else:
        write_text(options.csv, to_csv(frame))
        count = len(trained.drop_duplicates(["run", "key", "group"]))
        sys.stderr.write(f"{count} runs in {options.csv}\n")
    return 0
