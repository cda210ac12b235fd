"""Corpus + encoder + loss → a run folder. `transformers.Trainer` does the training; ours is what surrounds it.

run = train(TrainingConfig(loss="hnm-no-replacement", corpus="wikipedia", limit=100_000))

hncse train --loss hnm-no-replacement --corpus wikipedia --limit 100000
torchrun --nproc-per-node 4 -m hncse train …          # the same batch, split over four processes

Taught in notebooks/03_train.ipynb.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import __version__, presets, runs
from hncse.errors import HncseError, command, unknown
from hncse.files import expand, somebody_watches, source_hash
from hncse.runs import Run

if TYPE_CHECKING:
    from hncse.data.corpora import Corpus
    from hncse.encoder import SentenceEncoder

_LOG = logging.getLogger(__name__)

__all__ = ["PAPER", "RECIPES", "TrainingConfig", "parse_value", "train"]

#: SimCSE's and HNCSE's setting for BERT-base (SimCSE, Table A.1).
PAPER: dict[str, Any] = {"temperature": 0.05, "learning_rate": 3e-5, "head": True}
#: Encoders that want another one; the kit encoder's was chosen on STS-B dev, see its card.
RECIPES: dict[str, dict[str, Any]] = {
    "kit": {"temperature": 0.1, "learning_rate": 1e-3, "head": False},
    "minilm": {"learning_rate": 1e-5, "head": False},
}
_CODE = ("encoder", "miner", "mixing", "presets", "losses", "training")
# Fields of the first recorded runs. A younger one is left out of the key at its default, so that keys stay.
_FIRST_FIELDS = {
    "loss", "loss_options", "temperature", "encoder", "pooling", "head", "dropout", "corpus", "column", "limit",
    "epochs", "batch_size", "accumulate", "learning_rate", "warmup", "weight_decay", "clip", "max_length", "precision",
    "seed", "eval_every", "selection", "snapshots", "length_groups",
}  # fmt: skip
_PLACES = ("name", "output", "log_every")  # decide nothing about the weights
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "selection": ("auto", "stsb-dev", "last"),
    "batches": ("shuffled", "families", "neighbours"),
    "pooling": (None, "cls", "mean", "first_last", "last_two", "last"),
}
_MOST = 2**31 - 1
_WHOLE = {  # whole numbers and the least and most each may be
    "limit": (2, _MOST), "batch_size": (2, _MOST), "accumulate": (1, _MOST), "max_length": (3, _MOST),
    "seed": (0, 2**32 - 1), "eval_every": (1, _MOST), "snapshots": (0, _MOST), "log_every": (1, _MOST),
    "length_groups": (1, _MOST),
}  # fmt: skip
_MOST_EPOCHS = 100_000
_LONGEST_NAME = 200  # bytes; systems allow 255, and files beside it add to theirs
_TEXTS = (
    "loss", "encoder", "corpus", "batches", "precision", "selection", "pooling", "column", "negatives", "name", "output"
)  # fmt: skip


class DefaultLimit(int):
    """The limit that holds where none was given: sentences that come as a list are then used whole."""


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
    corpus: str = _option("docstrings", "docstrings, minimal-pairs, wikipedia, wiki1m, a file, hf:NAME:COLUMN")
    column: str | None = _option(None, "column of a corpus that has several")
    negatives: str | None = _option(None, "column of the corpus file with a mined negative each; None: none")
    limit: int | None = _option(DefaultLimit(6_400), "sentences taken from the corpus; None takes all")
    epochs: float = _option(1.0, "passes over the sentences")
    batch_size: int = _option(64, "sentences a step, over all processes; each is a negative of the others")
    batches: str = _option("shuffled", "who shares one: shuffled, families (of minimal-pairs) or neighbours")
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
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Path):
                object.__setattr__(self, f.name, str(value))
            elif hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number out of an array
                object.__setattr__(self, f.name, value.item())
        for name in ("encoder", "output"):
            if isinstance(value := getattr(self, name), str) and value.startswith("~"):
                object.__setattr__(self, name, str(expand(value)))
        for name, value in (PAPER | RECIPES.get(str(self.encoder), {})).items():
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
        values = dataclasses.asdict(self)
        return {
            f.name: values[f.name]
            for f in dataclasses.fields(self)
            if f.name not in _PLACES and (f.name in _FIRST_FIELDS or values[f.name] != f.default)
        }


def train(
    config: TrainingConfig, sentences: Sequence[str] | None = None, on_log: Callable[[Run], None] | None = None
) -> Run:
    """Train an encoder, or return the run that already did exactly this.

    A run is known by a key over parameters, sentences, encoder weights and package version, and by a hash of the code
    that trains. A finished run with both the same is returned as it is; an interrupted one is resumed from its last
    checkpoint; one that another process trains is waited for. The same machine, libraries
    and number of threads (``result["threads"]``, from ``OMP_NUM_THREADS``) give the same bytes again, resumed or not;
    with other threads sums are rounded in another order, and the last bits differ.

    Args:
        config: What to do.
        sentences: The corpus, in place of ``config.corpus``; all of them, unless the configuration gives a limit.
        on_log: Called with the run after every line of its history, for a live picture (process 0 only).

    Returns:
        The finished run.

    Raises:
        HncseError: A corpus too small for one batch or unreadable to the encoder, an encoder without dropout, a
            folder of that name holding something else, a full disk.
    """
    from hncse.encoder import SentenceEncoder
    from hncse.training import trainer

    if sentences is not None and isinstance(config.limit, DefaultLimit):
        config = dataclasses.replace(config, limit=None)
    corpus = _corpus(config, sentences)
    encoder = SentenceEncoder.from_pretrained(config.encoder, config.pooling, dropout=config.dropout)
    described = facts(config, corpus, encoder)
    run = Run((expand(config.output) if config.output else runs.root()) / run_name(config, described["key"]))
    _refuse_another(run, described)
    if not run.finished:
        _tell_of_other_code(run, described)
        try:
            trainer.fit(config, corpus, encoder, run, described, on_log)
        except KeyboardInterrupt as error:
            error.add_note(f"the same command resumes the run: {run.path}")
            raise
    elif run.checkpoints.exists():  # it was killed after its last step
        with contextlib.suppress(HncseError), run.lock(wait=False):
            run.tidy()
    return run


def _corpus(config: TrainingConfig, sentences: Sequence[str] | None) -> Corpus:
    from hncse.data import corpora

    if sentences is None:
        corpus = corpora.load(config.corpus, limit=config.limit, column=config.column, negatives=config.negatives)
    elif config.negatives is not None:
        raise HncseError("negatives names a column of a corpus file; sentences given as a list have none")
    else:
        corpus = corpora.from_sentences(sentences, limit=config.limit)
    if config.batches == "families" and corpus.families is None:
        raise HncseError(
            f"batches is 'families', and {corpus.source} has none; take corpus='minimal-pairs', or "
            "batches='neighbours', which finds near sentences in any corpus"
        )
    if len(corpus.sentences) < config.batch_size:
        raise HncseError(
            f"the corpus has {len(corpus.sentences)} sentences, batch_size is {config.batch_size}: give a larger "
            f"corpus or batch_size={max(2, len(corpus.sentences) // 2)} or less"
        )
    return corpus


def facts(config: TrainingConfig, corpus: Corpus, encoder: SentenceEncoder) -> dict[str, Any]:
    """Describe a run before it starts: what config.json holds, its key among it."""
    deciding = config.deciding()
    data = {"source": corpus.source, "sentences": len(corpus.sentences), "fingerprint": corpus.fingerprint}
    weights = encoder.fingerprint()
    selects = selects_on_dev(config)
    deciding |= {"data": corpus.fingerprint, "encoder": weights, "selects": selects, "hncse": __version__}
    noise = encoder.unusual_dropout() if config.dropout is None else {}  # config.dropout overrides them all
    if noise:
        deciding |= {"encoder_dropout": noise}
    packages = ("torch", "transformers", "accelerate", "tokenizers", "numpy")
    return {
        "key": key_of(deciding),
        "code": source_hash(*_CODE),
        "sources": {name: source_hash(name)[:16] for name in _CODE},
        "parameters": dataclasses.asdict(config),
        "pooling": encoder.pooling,
        "data": data | {"skipped": corpus.skipped},
        "encoder_fingerprint": weights,
        "selection": "stsb-dev" if selects else "last",
        "seed": config.seed,
        "versions": {"hncse": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
    }


def selects_on_dev(config: TrainingConfig) -> bool:
    """Whether the best weights on STS-B dev are kept; fetches the file where that was asked for."""
    from hncse.data import senteval

    if config.selection == "stsb-dev" and not senteval.sts_present():
        senteval.fetch()
    return config.selection == "stsb-dev" or (config.selection == "auto" and senteval.sts_present())


def key_of(deciding: dict[str, Any]) -> str:
    """Hash what decides a run."""
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def run_name(config: TrainingConfig, key: str) -> str:
    """Name of a run's folder: the one given, or loss, seed and the beginning of a hash of key and code."""
    loss = re.sub(r"[^A-Za-z0-9]+", "-", config.loss).strip("-")
    both = hashlib.sha256(f"{key} {source_hash(*_CODE)}".encode()).hexdigest()
    return config.name or f"{loss}-seed{config.seed}-{both[:8]}"


def _refuse_another(run: Run, described: dict[str, Any]) -> None:
    """Refuse a folder that holds another run, or something that is no run at all."""
    run.require_ours()
    if run.has("config"):
        before = run.config
        if (before["key"], before.get("code")) != (described["key"], described["code"]):
            raise HncseError(
                f"{run.path} holds another run: {_difference(before, described)}. Give a different name, or remove "
                "that folder"
            )


def _tell_of_other_code(run: Run, described: dict[str, Any]) -> None:
    """Say that a run with the same settings exists that other code made, or it would be missed without a word."""
    if run.has("config"):
        return
    for other in runs.list_runs(run.path.parent):
        if other.config.get("key") == described["key"]:
            _LOG.warning("training anew; %s has the same settings, but %s", other.name, _edits(other.config, described))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for name, value in new["parameters"].items():
        before = old.get("parameters", {}).get(name)
        if before != value and name not in _PLACES:
            return f"{name} was {before!r}, now {value!r}"
    if old["key"] == new["key"]:
        return _edits(old, new)
    return "its sentences, encoder weights or package version differ"


def _edits(old: dict[str, Any], new: dict[str, Any]) -> str:
    if "sources" not in old:
        return "it was made before runs knew their code"
    files = [f"hncse.{name}" for name, value in new["sources"].items() if old["sources"].get(name) != value]
    return f"other code made it: {', '.join(files)} changed since"


def _check(c: TrainingConfig) -> None:
    _texts(c)
    for name, (least, most) in _WHOLE.items():
        value = getattr(c, name)
        if not (value is None and name in ("limit", "length_groups")):
            _whole(name, value, least, most)
    _numbers(c)
    if not isinstance(c.head, bool):
        raise HncseError(
            f"head is {c.head!r}; it must be True, False or None (command line: --head or --no-head; papermill: "
            "-p head True or -p head False, with a capital)"
        )
    if not isinstance(c.loss_options, dict) or not all(isinstance(name, str) for name in c.loss_options):
        raise HncseError(f"loss_options is {c.loss_options!r}; give a dictionary such as {{'k': 5}}")


def _texts(c: TrainingConfig) -> None:
    for name in _TEXTS:
        value = getattr(c, name)
        if not isinstance(value, str) and (value is not None or name in ("loss", "encoder", "corpus")):
            raise HncseError(f"{name} is {value!r}; it must be a text")
    for name, valid in _CHOICES.items():
        if getattr(c, name) not in valid:
            raise unknown(name, getattr(c, name), [v for v in valid if v is not None])
    if c.name is not None:
        _folder_name(c.name)


def _folder_name(name: str) -> None:
    wrong = name in ("", "latest") or name[0] in ".~" or name != name.strip() or not name.isprintable()
    if wrong or "/" in name or "\\" in name:
        raise HncseError(
            f"name is {name!r}; it names one folder among the runs: no slashes, no . or ~ at its beginning, no blank "
            "at either end, and not 'latest'. output names the folder that holds it"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise HncseError(f"name has {len(name):,} letters ({name[:20]!r} …); at most {_LONGEST_NAME} bytes fit")


def _numbers(c: TrainingConfig) -> None:
    for name in ("epochs", "learning_rate", "clip", "temperature"):
        value = getattr(c, name)
        if not _number(value) or not 0 < value < float("inf"):
            raise HncseError(f"{name} is {value!r}; it must be a number above 0")
    if c.epochs > _MOST_EPOCHS:
        raise HncseError(f"epochs is {c.epochs!r}; more than {_MOST_EPOCHS:,} passes would never end")
    _share("warmup", c.warmup, "it is a share of the steps, from 0 to below 1")
    if c.dropout is not None:
        _share("dropout", c.dropout, "it must lie in [0, 1) (SimCSE uses 0.1)")
    if not _number(c.weight_decay) or not 0 <= c.weight_decay < float("inf"):
        raise HncseError(f"weight_decay is {c.weight_decay!r}; it must be a number of 0 or more")


def _share(name: str, value: object, right: str) -> None:
    if not _number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise HncseError(f"{name} is {value!r}; {right}")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        wanted = f"of at least {least}" if most == _MOST else f"from {least} to {most}"
        raise HncseError(f"{name} is {value!r}; it must be a whole number {wanted}")


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
    if os.environ.get("RANK", "0") == "0":  # torchrun's other processes are silent
        sys.stdout.write(f"{run.path}\n")
    return 0
