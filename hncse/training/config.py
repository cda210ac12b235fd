"""Everything that decides a training run, checked when it is made, and how a command line spells it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hncse import presets
from hncse.errors import HncseError, unknown
from hncse.files import expand

__all__ = ["HARD_BATCHES", "PAPER", "PLACES", "RECIPES", "TRAININGS", "DefaultLimit", "TrainingConfig", "parse_value"]

#: SimCSE's and HNCSE's setting for BERT-base (SimCSE, Table A.1).
PAPER: dict[str, Any] = {"temperature": 0.05, "learning_rate": 3e-5, "head": True}
#: Encoders that want another one; the kit encoder's was chosen on STS-B dev, see its card.
RECIPES: dict[str, dict[str, Any]] = {
    "kit": {"temperature": 0.1, "learning_rate": 1e-3, "head": False},
    "minilm": {"learning_rate": 1e-5, "head": False},
    "smollm2": {"layers": 2, "pooling": "mean_no_first", "dropout": 0.1, "learning_rate": 1e-4, "head": False},
}
#: What differs where batches hold near neighbours. The trials behind this value are not recorded: it is no tuned one.
HARD_BATCHES: dict[str, dict[str, Any]] = {"kit": {"learning_rate": 3e-4}}
#: Trainings that go by one name (``--recipe``, `TrainingConfig.from_recipe`); whatever is given beside it holds.
#: ``supervised`` is SimCSE's with NLI triplets, equation 5 (run_sup_example.sh; Table A.1 for BERT-base): anchors,
#: entailed positives, contradictions as hard negatives, other rows' too; weight 0. Two things differ: the head is left
#: behind as in every training here, and an encoder of `RECIPES` keeps its own learning rate and τ.
TRAININGS: dict[str, dict[str, Any]] = {
    "supervised": {
        "corpus": "nli", "pairs": True, "limit": None, "loss": "simcse", "epochs": 3.0, "batch_size": 512,
        "learning_rate": 5e-5,
    },
}  # fmt: skip
#: Ways to make one vector of a sentence's tokens, `hncse.encoder.POOLINGS` without importing torch; who shares a batch.
POOLINGS = ("cls", "mean", "first_last", "last_two", "last", "mean_no_first")
BATCHES = ("shuffled", "families", "neighbours")
#: Where training can report to besides the run's history, and the packages of which one is needed.
REPORTS: dict[str, tuple[str, ...]] = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
#: Fields that decide nothing about the weights.
PLACES = ("name", "output", "log_every", "num_workers", "report_to")
# Fields of the first recorded runs. A younger one is left out of the key at its default, so that keys stay.
_FIRST_FIELDS = {
    "loss", "loss_options", "temperature", "encoder", "pooling", "head", "dropout", "corpus", "column", "limit",
    "epochs", "batch_size", "accumulate", "learning_rate", "warmup", "weight_decay", "clip", "max_length", "precision",
    "seed", "eval_every", "selection", "snapshots", "length_groups",
}  # fmt: skip
_MOST = 2**31 - 1
_LONGEST_NAME = 200  # bytes; systems allow 255, and files beside it add to theirs

Rule = tuple[Callable[[Any], bool], str]  # whether a value is right, and what would be


def listed(names: str | Sequence[str] | None) -> list[str]:
    """A name, or names, as a list; None gives none."""
    return [names] if isinstance(names, str) else list(names or ())


class DefaultLimit(int):
    """The limit that holds where none was given: sentences that come as a list are then used whole."""


def _whole(least: int, most: int = _MOST) -> Rule:
    wanted = f"of at least {least}" if most == _MOST else f"from {least} to {most}"
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
        f"it must be a whole number {wanted}",
    )


def _number(holds: Callable[[float], bool], right: str) -> Rule:
    return (
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and -math.inf < value < math.inf
            and holds(value)
        ),
        right,
    )


def _is_folder_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name == name.strip() != ""
        and name != "latest"
        and name[0] not in ".~"
        and name.isprintable()
        and not set("/\\") & set(name)
        and len(name.encode(errors="replace")) <= _LONGEST_NAME
    )


_POSITIVE = _number(lambda value: value > 0, "it must be a number above 0")
_TEXT: Rule = lambda value: isinstance(value, str), "it must be a text"
_HEAD: Rule = (
    lambda value: isinstance(value, bool),
    "it must be True, False or None (command line: --head or --no-head; papermill: -p head True or -p head False, "
    "with a capital)",
)
_TRUTH: Rule = lambda value: isinstance(value, bool), "it must be True, False or None"
_YES_NO: Rule = lambda value: isinstance(value, bool), "it must be True or False"
_NAMES: Rule = (
    lambda value: (
        isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(v, str) for v in value))
    ),
    "it must be a column's name, or a list of names",
)
_OPTIONS: Rule = (
    lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value),
    "give a dictionary such as {'k': 5}",
)
_NAME: Rule = (
    _is_folder_name,
    "it names one folder among the runs: no slashes, no . or ~ at its beginning, no blank at either end, at most "
    f"{_LONGEST_NAME} bytes, and not 'latest'. output names the folder that holds it",
)


def _option(default: Any, text: str, valid: Rule | tuple[str, ...] = _TEXT) -> Any:
    """A field with its help and what is right for it: a rule, or the names it chooses from."""
    metadata = {"help": text, "valid": valid}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run. Checked when made: a bad value is an `HncseError` that says what would be right.

    ``temperature``, ``learning_rate`` and ``head`` depend on the encoder: None takes `RECIPES`'s value, the paper's for
    an encoder not named there; ``smollm2``'s recipe names ``layers``, ``pooling`` and ``dropout`` as well, and
    ``learning_rate`` also depends on ``batches`` (`HARD_BATCHES`). So the paper's run is
    ``TrainingConfig(encoder="bert-base-uncased", corpus="wiki1m", limit=None)``.
    """

    loss: str = _option("hnm-no-replacement", "loss preset: " + ", ".join(presets.PRESETS))
    loss_options: dict[str, Any] = _option({}, "changes to the preset, for example k=5 s=20", _OPTIONS)
    temperature: float | None = _option(
        None, "τ of the softmax; None: what suits the encoder (the paper: 0.05)", _POSITIVE
    )
    encoder: str = _option("kit", "'kit', 'minilm', 'smollm2', a folder, or a Hugging Face name")
    pooling: str | None = _option(
        None,
        "cls, mean, first_last, last_two, last or mean_no_first; None keeps the encoder's own",
        POOLINGS,
    )
    layers: int | None = _option(None, "lower layers of the encoder; None: what suits the encoder, else all", _whole(1))
    bidirectional: bool | None = _option(
        None, "let a causal encoder's tokens read those after them too; None: as it is", _TRUTH
    )
    head: bool | None = _option(None, "SimCSE's Linear+tanh head while training; None: what suits the encoder", _HEAD)
    dropout: float | None = _option(
        None,
        "dropout probability; None keeps the encoder's own (BERT: 0.1)",
        _number(lambda value: 0 <= value < 1, "it must lie in [0, 1) (SimCSE uses 0.1)"),
    )
    guide: str | None = _option(
        None, "for losses that ask which negatives are false (dclr, gist): another encoder, as `encoder` names one"
    )
    corpus: str = _option(
        "docstrings", "docstrings, minimal-pairs, wikipedia, wiki1m, nli, cad-nli, a file, hf:NAME:COLUMN"
    )
    column: str | None = _option(None, "column of a corpus that has several")
    positives: str | None = _option(
        None, "column of the corpus with a positive of each sentence; None: its own second view under dropout"
    )
    negatives: str | list[str] | None = _option(
        None, "columns of the corpus with a hard negative each, one or several; None: none", _NAMES
    )
    pairs: bool = _option(
        False, "take the corpus's columns in order, as sentence-transformers does: anchor, positive, negatives", _YES_NO
    )
    in_batch_negatives: bool | None = _option(
        None,
        "whether other rows of the batch are negatives too; False: a row's own hard negatives alone. Short for the "
        "loss option of this name, None: as it stands there",
        _TRUTH,
    )
    limit: int | None = _option(DefaultLimit(6_400), "sentences taken from the corpus; None takes all", _whole(2))
    sample_seed: int | None = _option(
        None, "seed of the sample that limit draws; None: the same sentences whatever the seed", _whole(0, 2**32 - 1)
    )
    epochs: float = _option(
        1.0,
        "passes over the sentences",
        _number(
            lambda value: 0 < value <= 100_000, "it must be a number above 0, and more than 100,000 would never end"
        ),
    )
    batch_size: int = _option(64, "sentences a step, over all processes; each is a negative of the others", _whole(2))
    batches: str = _option(
        "shuffled",
        "who shares one: shuffled, families (of minimal-pairs) or neighbours",
        BATCHES,
    )
    accumulate: int = _option(1, "batches a step of the optimiser; negatives stay within a batch", _whole(1))
    learning_rate: float | None = _option(
        None, "peak, decayed linearly to 0; None: what suits (the paper: 3e-5)", _POSITIVE
    )
    warmup: float = _option(
        0.0,
        "share of the steps in which the learning rate rises from 0",
        _number(lambda value: 0 <= value < 1, "it is a share of the steps, from 0 to below 1"),
    )
    weight_decay: float = _option(
        0.0, "AdamW's weight decay", _number(lambda value: value >= 0, "it must be a number of 0 or more")
    )
    clip: float = _option(1.0, "largest gradient norm", _POSITIVE)
    max_length: int = _option(32, "longest training input in tokens; longer sentences are cut", _whole(3))
    precision: str = _option(
        "auto",
        "auto (bf16 on a GPU that has it, on a CPU that has it where a trial is quicker; else fp32), fp32, bf16 or "
        "fp16",
        ("auto", "fp32", "bf16", "fp16"),
    )
    seed: int = _option(42, "seed of weights, data order, dropout and draws", _whole(0, 2**32 - 1))
    eval_every: int = _option(
        125, "optimiser steps between evaluations (STS-B dev and the probe) and checkpoints", _whole(1)
    )
    selection: str = _option(
        "auto",
        "weights kept: stsb-dev (best), last; auto is stsb-dev where its file is there",
        ("auto", "stsb-dev", "last"),
    )
    snapshots: int = _option(
        9, "how often the probe's embeddings are stored, first and last step included; 0: never", _whole(0)
    )
    patience: int | None = _option(
        None, "stop early, after so many evaluations without a better STS-B dev score; None: never", _whole(1)
    )
    log_every: int = _option(10, "optimiser steps between history lines", _whole(1))
    length_groups: int | None = _option(
        None, "split a pass by length, same result; None: 4 on CPU, 1 on GPU", _whole(1)
    )
    gradient_checkpointing: bool = _option(
        False, "compute activations again in the backward pass: less memory, more time, same result", _YES_NO
    )
    lora: int | None = _option(None, "rank of LoRA adapters to train in place of the weights; None: none", _whole(1))
    lora_alpha: float | None = _option(None, "adapters are scaled by this / rank; None: twice the rank", _POSITIVE)
    lora_targets: str | list[str] | None = _option(
        None, "ends of the names of layers with adapters, such as query value; None: every linear layer", _NAMES
    )
    num_workers: int = _option(0, "processes that prepare batches; 0: the one that trains", _whole(0, 256))
    report_to: str | list[str] | None = _option(
        None, "tensorboard, wandb or both, besides the run's history.jsonl; None: neither", _NAMES
    )
    name: str | None = _option(None, "name of the run folder; None makes one from loss, seed and key", _NAME)
    output: str | None = _option(None, "folder of runs; None is HNCSE_RUNS or runs/")

    def __post_init__(self) -> None:
        """Fill in what depends on the encoder, then check every value, cheaply: nothing is loaded yet."""

        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for f in dataclasses.fields(self):
            put(f.name, _spelled(f.name, getattr(self, f.name)))
        hard = {} if self.batches == "shuffled" else HARD_BATCHES.get(str(self.encoder), {})
        for name, value in (PAPER | RECIPES.get(str(self.encoder), {}) | hard).items():
            if getattr(self, name) is None:
                put(name, value)
        for f in dataclasses.fields(self):
            _check(f, getattr(self, f.name))
        if self.in_batch_negatives is not None:
            put("loss_options", self.loss_options | {"in_batch_negatives": self.in_batch_negatives})
            put("in_batch_negatives", None)
        _check_options(self)
        _check_guide(self, presets.resolve(self.loss, **self.all_loss_options()).needs_guide)

    def all_loss_options(self) -> dict[str, Any]:
        """All that is said of the loss: temperature and seed as they are here, then ``loss_options``."""
        return {"temperature": self.temperature, "seed": self.seed, **self.loss_options}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Build from names and values, as a notebook's parameters give them; ``recipe`` may be one (`from_recipe`).

        Raises:
            HncseError: A name that is no field (the nearest is given) or a bad value.
        """
        valid = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in (*valid, "recipe"):
                raise unknown("parameter", name, valid)
        return cls.from_recipe(**values) if "recipe" in values else cls(**values)

    @classmethod
    def from_recipe(cls, recipe: str, **values: Any) -> TrainingConfig:
        """Build one of `TRAININGS` by its name; values given beside it hold.

        Raises:
            HncseError: No such recipe, or a bad value.
        """
        if recipe not in TRAININGS:
            raise unknown("recipe", recipe, TRAININGS)
        chosen = dict(TRAININGS[recipe])
        if values.get("encoder", "kit") in RECIPES:
            del chosen["learning_rate"]
        if {"column", "positives", "negatives"} & values.keys():  # then they are not taken in their order
            del chosen["pairs"]
        return cls(**chosen | values)

    def deciding(self) -> dict[str, Any]:
        """The values that decide the weights that come out: all but names and places."""
        values = dataclasses.asdict(self)
        return {
            f.name: values[f.name]
            for f in dataclasses.fields(self)
            if f.name not in PLACES and (f.name in _FIRST_FIELDS or values[f.name] != f.default)
        }


def _spelled(name: str, value: Any) -> Any:
    """A value as it is written down: paths as text, numbers out of arrays, one name rather than a list of one."""
    if isinstance(value, Path):
        value = str(value)
    elif hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    elif isinstance(value, list | tuple):
        value = value[0] if len(value) == 1 else list(value) or None
    if name in ("encoder", "guide", "output") and isinstance(value, str) and value.startswith("~"):
        value = str(expand(value))
    return value


def _check(f: dataclasses.Field[Any], value: Any) -> None:
    valid = f.metadata.get("valid")
    if valid is None or (value is None and "None" in str(f.type)):
        return
    if isinstance(valid[0], str):  # names to choose from
        holds, right = _TEXT
        if holds(value) and value not in valid:
            raise unknown(f.name, value, valid)
    else:
        holds, right = valid
    if not holds(value):
        raise HncseError(f"{f.name} is {str(value)[:40] + ' …' if len(str(value)) > 60 else value!r}; {right}")


def _check_options(config: TrainingConfig) -> None:
    """Refuse options that ask for nothing, and reports nobody knows or that need a package."""
    for name in listed(config.report_to):
        if name not in REPORTS:
            raise unknown("report_to", name, REPORTS)
        if not any(importlib.util.find_spec(package) for package in REPORTS[name]):
            raise HncseError(f"report_to is {name!r}, which needs a package: pip install {REPORTS[name][0]}")
    if config.lora is None and (config.lora_alpha is not None or config.lora_targets is not None):
        raise HncseError("lora_alpha and lora_targets are about adapters; give their rank as well: lora=8, say")
    if config.patience is not None and config.selection == "last":
        raise HncseError("patience waits for a better STS-B dev score, and selection='last' keeps none; leave one out")


def _check_guide(config: TrainingConfig, needed: bool) -> None:
    if needed and config.guide is None:
        raise HncseError(
            f"loss {config.loss!r} asks a guide which negatives are false: give guide='minilm', or another"
        )
    if config.guide is not None and not needed:
        raise HncseError(f"guide is {config.guide!r}, and loss {config.loss!r} asks none; leave it out, or take gist")


def parse_value(name: str, text: str) -> Any:
    """Read a command-line word as the field's type; words that do not fit are left for the check to refuse."""
    kind = str({f.name: f.type for f in dataclasses.fields(TrainingConfig)}.get(name, "Any"))
    if kind.startswith("str"):
        return None if text == "None" and "None" in kind else text
    try:
        return json.loads({"None": "null", "True": "true", "False": "false"}.get(text, text))
    except json.JSONDecodeError:
        return text
