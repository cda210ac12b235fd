"""Corpus + encoder + loss → a run folder. `transformers.Trainer` does the training; ours is what surrounds it.

run = train(TrainingConfig(loss="hnm-no-replacement", corpus="wikipedia", limit=100_000))

hncse train --loss hnm-no-replacement --corpus wikipedia --limit 100000
torchrun --nproc-per-node 4 -m hncse train …          # the same batch, split over four processes

Taught in notebooks/03_train.ipynb.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import presets
from hncse.errors import HncseError, command, unknown
from hncse.files import somebody_watches

if TYPE_CHECKING:
    from hncse.runs import Run

__all__ = ["PAPER", "RECIPES", "TrainingConfig", "parse_value", "train"]

#: SimCSE's and HNCSE's setting for BERT-base (SimCSE, Table A.1).
PAPER: dict[str, Any] = {"temperature": 0.05, "learning_rate": 3e-5, "head": True}
#: Encoders that want another one; the kit encoder's was chosen on STS-B dev, see its card.
RECIPES: dict[str, dict[str, Any]] = {
    "kit": {"temperature": 0.1, "learning_rate": 1e-3, "head": False},
    "minilm": {"learning_rate": 1e-5, "head": False},
}
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "selection": ("auto", "stsb-dev", "last"),
    "pooling": (None, "cls", "mean", "first_last", "last_two", "last"),
}
_WHOLE = {  # whole numbers and the least each may be
    "limit": 2, "batch_size": 2, "accumulate": 1, "max_length": 3, "seed": 0, "eval_every": 1,
    "snapshots": 0, "log_every": 1, "length_groups": 1,
}  # fmt: skip


def _option(default: Any, text: str) -> Any:
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run. Checked when made: a bad value is an `HncseError` that says what would be right.

    ``temperature``, ``learning_rate`` and ``head`` depend on the encoder: None takes `RECIPES`'s value, the paper's for
    an encoder not named there. So the paper's run is
    ``TrainingConfig(encoder="bert-base-uncased", corpus="wiki1m", limit=None)``.
    """

    loss: str = _option("hnm-no-replacement", "loss preset: " + ", ".join(presets.PRESETS))
    loss_options: dict[str, Any] = _option({}, "changes to the preset, for example k=5 s=20")
    temperature: float | None = _option(None, "τ of the softmax; None: what suits the encoder (the paper: 0.05)")
    encoder: str = _option("kit", "'kit', 'minilm', a folder, or a Hugging Face name")
    pooling: str | None = _option(None, "cls, mean, first_last, last_two or last; None keeps the encoder's own")
    head: bool | None = _option(None, "SimCSE's Linear+tanh head while training; None: what suits the encoder")
    dropout: float | None = _option(None, "dropout probability; None keeps the encoder's own (BERT: 0.1)")
    corpus: str = _option("docstrings", "docstrings, wikipedia, wiki1m, a text/csv/jsonl/parquet file, hf:NAME:COLUMN")
    column: str | None = _option(None, "column of a corpus that has several")
    negatives: str | None = _option(None, "column of the corpus file with a mined negative each; None: none")
    limit: int | None = _option(6_400, "sentences taken from the corpus; None takes all")
    epochs: float = _option(1.0, "passes over the sentences")
    batch_size: int = _option(64, "sentences a step, over all processes; each is a negative of the others")
    accumulate: int = _option(1, "batches a step of the optimiser; negatives stay within a batch")
    learning_rate: float | None = _option(None, "peak, decayed linearly to 0; None: what suits (the paper: 3e-5)")
    warmup: float = _option(0.0, "share of the steps in which the learning rate rises from 0")
    weight_decay: float = _option(0.0, "AdamW's weight decay")
    clip: float = _option(1.0, "largest gradient norm")
    max_length: int = _option(32, "longest training input in tokens; longer sentences are cut")
    precision: str = _option("auto", "auto (bf16 on a GPU that has it, else fp32), fp32, bf16 or fp16")
    seed: int = _option(42, "seed of weights, data order, dropout and draws")
    eval_every: int = _option(125, "optimiser steps between evaluations (STS-B dev and the probe) and checkpoints")
    selection: str = _option("auto", "weights kept: stsb-dev (best), last; auto is stsb-dev where its file is there")
    snapshots: int = _option(9, "how often the probe's embeddings are stored, first and last step included; 0: never")
    log_every: int = _option(10, "optimiser steps between history lines")
    length_groups: int | None = _option(None, "split a pass by length, same result; None: 4 on CPU, 1 on GPU")
    name: str | None = _option(None, "name of the run folder; None makes one from loss, seed and key")
    output: str | None = _option(None, "folder of runs; None is HNCSE_RUNS or runs/")

    def __post_init__(self) -> None:
        """Fill in what depends on the encoder, then check every value, cheaply: nothing is loaded yet."""
        for name, value in (PAPER | RECIPES.get(self.encoder, {})).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        _check(self)
        presets.resolve(self.loss, **{"temperature": self.temperature, **self.loss_options})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Build from names and values, as a notebook's parameters give them.

        Raises:
            HncseError: A name that is no field (the nearest is given) or a bad value.
        """
        valid = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in valid:
                raise unknown("parameter", name, valid)
        return cls(**values)

    def deciding(self) -> dict[str, Any]:
        """The values that decide the weights that come out: all but names and places."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in ("name", "output", "log_every")}
        if values["negatives"] is None:  # younger than the others: runs without it keep their key
            del values["negatives"]
        return values


def train(
    config: TrainingConfig, sentences: Sequence[str] | None = None, on_log: Callable[[Run], None] | None = None
) -> Run:
    """Train an encoder, or return the run that already did exactly this.

    A run is known by a key over parameters, sentences, encoder weights and package version. A finished run with the
    same key is returned as it is; an interrupted one is resumed from its last checkpoint.

    Args:
        config: What to do.
        sentences: The corpus, in place of ``config.corpus``.
        on_log: Called with the run after every line of its history, for a live picture (process 0 only).

    Returns:
        The finished run.

    Raises:
        HncseError: A corpus too small for one batch, a run folder of that name holding something else, a full disk.
    """
    from hncse import _trainer, runs
    from hncse.data import corpora
    from hncse.encoder import SentenceEncoder

    if sentences is None:
        corpus = corpora.load(config.corpus, limit=config.limit, column=config.column, negatives=config.negatives)
    elif config.negatives is not None:
        raise HncseError("negatives names a column of a corpus file; sentences given as a list have none")
    else:
        corpus = corpora.from_sentences(sentences, limit=config.limit)
    if len(corpus.sentences) < config.batch_size:
        raise HncseError(
            f"the corpus has {len(corpus.sentences)} sentences, batch_size is {config.batch_size}: give a larger "
            f"corpus or batch_size={max(2, len(corpus.sentences) // 2)} or less"
        )
    encoder = SentenceEncoder.from_pretrained(config.encoder, config.pooling, dropout=config.dropout)
    facts = _trainer.facts(config, corpus, encoder)
    folder = Path(config.output) if config.output else runs.root()
    run = runs.Run(folder / run_name(config, facts["key"]))
    if (run.path / "config.json").is_file() and run.config["key"] != facts["key"]:
        raise HncseError(
            f"{run.path} holds another run: {_difference(run.config, facts)}. Give a different name, or remove that "
            "folder"
        )
    if run.finished:
        return run
    _trainer.fit(config, corpus, encoder, run, facts, on_log)
    return run


def key_of(deciding: dict[str, Any]) -> str:
    """Hash what decides a run."""
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def run_name(config: TrainingConfig, key: str) -> str:
    """Name of a run's folder: the one given, or loss, seed and the key's beginning."""
    loss = re.sub(r"[^A-Za-z0-9]+", "-", config.loss).strip("-")
    return config.name or f"{loss}-seed{config.seed}-{key[:8]}"


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for name, value in new["parameters"].items():
        was = old["parameters"].get(name)
        if was != value and name not in ("name", "output"):
            return f"{name} was {was!r}, now {value!r}"
    return "its sentences, encoder weights or package version differ"


def _check(c: TrainingConfig) -> None:
    for name, least in _WHOLE.items():
        value = getattr(c, name)
        if not (value is None and name in ("limit", "length_groups")):
            _whole(name, value, least)
    for name in ("epochs", "learning_rate", "clip", "temperature"):
        value = getattr(c, name)
        if not _number(value) or not 0 < value < float("inf"):
            raise HncseError(f"{name} is {value!r}; it must be a number above 0")
    _share("warmup", c.warmup, "it is a share of the steps, from 0 to below 1")
    if c.dropout is not None:
        _share("dropout", c.dropout, "it must lie in [0, 1) (SimCSE uses 0.1)")
    if not _number(c.weight_decay) or c.weight_decay < 0:
        raise HncseError(f"weight_decay is {c.weight_decay!r}; it must be 0 or more")
    _choices(c)
    if not isinstance(c.loss_options, dict):
        raise HncseError(f"loss_options is {c.loss_options!r}; give a dictionary such as {{'k': 5}}")
    if c.name is not None and (not c.name or Path(c.name).name != c.name):
        raise HncseError(f"name is {c.name!r}; it names one folder and must hold no slashes")


def _choices(c: TrainingConfig) -> None:
    for name, valid in _CHOICES.items():
        if getattr(c, name) not in valid:
            raise unknown(name, getattr(c, name), [str(v) for v in valid if v is not None])


def _share(name: str, value: object, right: str) -> None:
    if not _number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise HncseError(f"{name} is {value!r}; {right}")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise HncseError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse train",
        description="Train a sentence encoder on unlabelled sentences and write a run folder.",
        epilog=presets.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for f in dataclasses.fields(TrainingConfig):
        flag = "--" + f.name.replace("_", "-")
        shown = f"{f.metadata['help']} (default {'{}' if f.name == 'loss_options' else f.default!r})"
        if f.name == "loss_options":
            parser.add_argument(flag, nargs="*", metavar="NAME=VALUE", default=argparse.SUPPRESS, help=shown)
        elif f.name == "head":
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=shown)
        else:
            parser.add_argument(flag, default=argparse.SUPPRESS, metavar="X", help=shown)
    return parser


def parse_value(name: str, text: str) -> Any:
    """Read a command-line word as the field's type; words that do not fit are left for the check to refuse."""
    kind = str({f.name: f.type for f in dataclasses.fields(TrainingConfig)}.get(name, "Any"))
    if kind.startswith("str"):
        return None if text == "None" and "None" in kind else text
    try:
        return json.loads({"None": "null", "True": "true", "False": "false"}.get(text, text))
    except json.JSONDecodeError:
        return text


def _report(run: Run) -> None:
    """Tell a log file how training goes; a terminal has a progress bar instead."""
    line = run.history[-1]
    shown = ("step", "loss", "positive_similarity", "hardest_negative_similarity", "stsb_dev", "probe")
    sys.stderr.write("  ".join(f"{name} {line[name]:.5g}" for name in shown if name in line) + "\n")


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    given = vars(_parser().parse_args(arguments))
    if "loss_options" in given:
        pairs = [word.partition("=") for word in given["loss_options"]]
        given["loss_options"] = {name: parse_value("", value) for name, _, value in pairs}
    values = {name: parse_value(name, value) if isinstance(value, str) else value for name, value in given.items()}
    run = train(TrainingConfig.from_dict(values), on_log=None if somebody_watches() else _report)
    sys.stdout.write(f"{run.path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
