"""The model card of a run's encoder: what trained it, on what, and its own scores, for people and for the hub."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hncse.data import remote
from hncse.data.text import Markup, markdown, table
from hncse.encoder import card
from hncse.presets import DESCRIPTIONS, OWN_PRESETS

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder
    from hncse.runs import Run

__all__ = ["command", "of_run", "scores"]

#: The kit's own names → name on the hub if it is there, licence, what to say of it.
_BASES: dict[str, tuple[str | None, str, str]] = {
    "kit": (None, "cc-by-sa-3.0", "the encoder embedded in the study kit, counted from English Wikipedia"),
    "minilm": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0", "supervised: trained on sentence pairs"),
    "smollm2": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", "a causal language model"),
}
_DATASETS = dict.fromkeys(("wiki1m", "nli"), remote.REPOSITORY)
_HNCSE = "HNCSE ([arXiv:2411.12156](https://arxiv.org/abs/2411.12156))"
_SIMCSE = "SimCSE ([arXiv:2104.08821](https://arxiv.org/abs/2104.08821))"
_TITLES = {"STS": "Semantic textual similarity", "transfer": "Transfer", "probe": "The kit's probe"}


class Score(NamedTuple):
    """One of a run's scores: of what, on which split, in which unit, ×100, its interval, and before training."""

    kind: str
    task: str
    split: str
    metric: str
    value: float
    interval: tuple[float, float] | None
    before: float | None


def of_run(run: Run, encoder: SentenceEncoder, name: str) -> str | None:
    """Write the card of a finished run's encoder; None, with a warning, where it is no longer the run's."""
    if not card.unchanged(encoder, run.encoder_path):
        return None
    p, config = run.config["parameters"], run.config
    base, licence, about = _base(p["encoder"])
    of_run_ = list(scores(run))
    data, corpus = config["data"], markdown(_short(str(config["data"]["source"])))
    text = f"""# {markdown(run.name)}

A sentence encoder trained by the HNCSE study kit {markdown(config["versions"]["hncse"])}, from
`{_code(base or _short(p["encoder"]))}` ({markdown(about)}).

| | |
|---|---|
| loss | `{_code(p["loss"])}`: {markdown(DESCRIPTIONS.get(p["loss"], "a loss of its own"))}; {_papers(p["loss"])} |
| corpus | {corpus}, {data["sentences"]:,} sentences (`{_code(data["fingerprint"][:16])}`) |
| seed | {config["seed"]} |
| steps | {run.result["steps"]:,}, weights of step {run.result["kept_step"]:,} ({markdown(config["selection"])}) |
| hardware | {markdown(run.result["device"])}, torch {markdown(config["versions"]["torch"])} |

```sh
{_code(command(p, str(data["source"])))}
```

## Scores

{_table(of_run_, encoder, config["seed"])}
"""
    return card.compose(
        encoder, name, text, base_model=base, license=licence, model_name=run.name,
        datasets=_datasets(str(data["source"])), tags=[p["loss"]],
        eval_results=_results(of_run_, encoder, config["seed"]),
    )  # fmt: skip


def scores(run: Run) -> Iterator[Score]:
    """Every score in a run's folder: STS, transfer, probe; each beside that of the encoder before training."""
    files = {name: run.read(name) if run.has(name) else {} for name in ("sts", "transfer", "probe", "baseline")}
    before = files["baseline"].get("poolings", {}).get(run.config["pooling"], {})
    for kind, what, metric, unit in (
        ("STS", "sts", "all", "spearman"), ("transfer", "transfer", "acc", "accuracy"),
    ):  # fmt: skip
        result, earlier = files[what], before.get(what, {})
        tasks = [(task, entry[metric], entry["interval"]) for task, entry in result.get("tasks", {}).items()]
        if result.get("avg") is not None:
            tasks.append(("average of seven", result["avg"], result["avg_interval"]))
        known = {task: entry[metric] for task, entry in earlier.get("tasks", {}).items()}
        known["average of seven"] = earlier.get("avg")
        for task, value, interval in tasks:
            yield Score(kind, task, result["split"], unit, value, interval, known.get(task))
    if probe := files["probe"]:
        earlier = before.get("probe", {})
        yield Score("probe", "grades", "all", "spearman", probe["spearman"], probe["spearman_interval"],
                    earlier.get("spearman"))  # fmt: skip
        overall = probe["triplet_accuracy"]["overall"]
        yield Score("probe", "hard negatives outranked", "all", "accuracy", overall["value"], overall["interval"],
                    earlier.get("triplet_accuracy", {}).get("overall", {}).get("value"))  # fmt: skip


def command(parameters: Mapping[str, Any], source: str = "") -> str:
    """The command that trains this again, without what is a default; of paths only the last name is told.

    ``source`` is what the corpus called itself; sentences given as a list have no command.
    """
    from hncse.training.config import PLACES, TrainingConfig

    given = {name: parameters[name] for name in ("encoder", "batches") if name in parameters}
    usual = dataclasses.asdict(TrainingConfig(**given))
    words = ["hncse", "train"]
    for f in dataclasses.fields(TrainingConfig):
        value = parameters.get(f.name, usual[f.name])
        flag = "--" + f.name.replace("_", "-")
        if f.name in PLACES or (value == (f.default if f.name in given else usual[f.name]) and f.name != "loss"):
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        elif isinstance(value, dict):
            words += [flag, *(f"{name}={json.dumps(each)}" for name, each in value.items())]
        else:
            words += [flag, _short(str(value))]
    remarks = [f"on {source}, in Python"] if source.startswith("given ") else []
    remarks += [f"with train(…, loss={parameters['loss']}), in Python"] if "loss_source" in parameters else []
    return shlex.join(words) + "".join(f"  # {remark}" for remark in remarks)


def _base(encoder: str) -> tuple[str | None, str, str]:
    """Name on the hub (None: it is not there), licence and description of what a run began with."""
    local = _short(encoder) != encoder or Path(encoder).exists()
    return _BASES.get(
        encoder, (None if local else encoder, "unknown", "its licence, and your corpus's, hold for this encoder")
    )


def _short(text: str) -> str:
    """A path's last name; a hub's name, ``hf:…`` and everything else as it is."""
    path = Path(text).expanduser() if not text.startswith("hf:") and re.search(r"[/\\]", text) else None
    is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", text) and path is not None and not path.exists() and not path.suffix
    return text if path is None or is_name else re.split(r"[/\\]", text.rstrip("/\\"))[-1]


def _datasets(corpus: str) -> list[str] | None:
    if not corpus.startswith("hf:"):
        return [_DATASETS[corpus]] if corpus in _DATASETS else None
    return [corpus.removeprefix("hf:").partition(":")[0].partition("@")[0]]


def _papers(loss: str) -> str:
    """The papers to cite: HNCSE's for its own, SimCSE's, which all build on; a relative's stands in its description."""
    hncse = loss in OWN_PRESETS[1:]
    return Markup(f"{_HNCSE}, on {_SIMCSE}" if hncse else _SIMCSE)


def _code(text: str) -> str:
    """Text for inside backticks: one line, without backticks."""
    return " ".join(text.splitlines()).replace("`", "'").replace("|", "¦")


def _table(of_run_: list[Score], encoder: SentenceEncoder, seed: int) -> str:
    if not of_run_:
        return "None yet: `hncse probe`, `hncse sts` and `hncse transfer` write them into the run."
    rows = [
        [_TITLES[s.kind], s.task, s.split, s.metric, f"{s.value:.2f}",
         "" if s.interval is None else f"{s.interval[0]:.2f} to {s.interval[1]:.2f}",
         "" if s.before is None else f"{s.before:.2f}"]
        for s in of_run_
    ]  # fmt: skip
    head = ["measure", "task", "split", "× 100", "score", "95 % interval", "before training"]
    return (
        f"One run, seed {seed}, pooling `{encoder.pooling}`. STS: SimCSE's protocol, all subsets of a task together. "
        "Intervals are over sentence pairs, test rows or groups; what another seed would change they do not say.\n\n"
        + table(head, rows, left=4)
    )


def _results(of_run_: list[Score], encoder: SentenceEncoder, seed: int) -> list[Any]:
    from huggingface_hub import EvalResult

    kinds = {"STS": "semantic-similarity", "transfer": "text-classification", "probe": "semantic-similarity"}
    return [
        EvalResult(
            task_type=kinds[s.kind], task_name=_TITLES[s.kind], dataset_type=re.sub(r"\W+", "-", f"{s.kind}-{s.task}"),
            dataset_name=f"{s.kind} {s.task}", dataset_split=s.split, metric_type=s.metric,
            metric_name=f"{s.metric} × 100", metric_value=round(s.value, 4),
            metric_args={"pooling": encoder.pooling, "seed": seed}
            | ({} if s.interval is None else {"interval": [round(float(end), 4) for end in s.interval]}),
        )
        for s in of_run_
    ]  # fmt: skip
