"""Corpus + encoder + loss → a run folder. `transformers.Trainer` does the training; ours is what surrounds it.

run = train(TrainingConfig(loss="hnm-no-replacement", corpus="wikipedia", limit=100_000))
run = train(TrainingConfig(seed=1), [("a question", "its answer", "another answer"), …])
run = train(TrainingConfig(seed=1), loss=my_loss)     # any function of the two views: hncse.training.own_loss

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
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from hncse import __version__, presets, runs
from hncse.errors import HncseError, command
from hncse.files import expand, somebody_watches, source_hash
from hncse.runs import Run
from hncse.training.config import PAPER, PLACES, RECIPES, TRAININGS, DefaultLimit, TrainingConfig, parse_value

if TYPE_CHECKING:
    from hncse.data.corpora import Corpus
    from hncse.encoder import SentenceEncoder
    from hncse.training.own_loss import OwnLoss

_LOG = logging.getLogger(__name__)

__all__ = ["PAPER", "RECIPES", "TRAININGS", "TrainingConfig", "parse_value", "train"]

_CODE = ("encoder", "miner", "mixing", "presets", "losses", "training")
_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


def train(
    config: TrainingConfig,
    sentences: Any = None,
    on_log: Callable[[Run], None] | None = None,
    *,
    loss: Callable[..., Any] | None = None,
) -> Run:
    """Train an encoder, or return the run that already did exactly this.

    A run is known by a key over parameters, sentences, encoder weights and package version, by a hash of the code
    that trains, and by that of a loss of your own. A finished run with all the same is returned as it is; an
    interrupted one is resumed from its last checkpoint; one that another process trains is waited for. The same
    machine, libraries and number of threads (``result["threads"]``, from ``OMP_NUM_THREADS``) give the same bytes
    again, resumed or not; with other threads sums are rounded in another order, and the last bits differ. Where
    ``precision="auto"`` takes bf16 (``result["precision_why"]`` says why), another machine may take float32:
    ``precision="fp32"``, which all recorded runs were made in, is the same everywhere but for the last bits.

    Args:
        config: What to do.
        sentences: The corpus, in place of ``config.corpus``; all of it, unless the configuration gives a limit.
            Sentences; or rows of anchor, positive and hard negatives, if any: tuples, a ``datasets.Dataset``, a
            ``DataFrame``, a list of dictionaries (its columns of text in their order, or those that the configuration
            names), a `hncse.mining.MinedCorpus`.
        on_log: Called with the run after every line of its history, for a live picture (process 0 only).
        loss: A function of z1 and z2, (N, d) float32 tensors, that returns a number to minimise as a tensor, or a
            `hncse.losses.LossOutput`; in place of ``config.loss``. Its name is its row's in every table, its source a
            part of the run's key (`hncse.training.own_loss` has the rules).

    Returns:
        The finished run.

    Raises:
        HncseError: A corpus too small for one batch or unreadable to the encoder, an encoder without dropout, a
            folder of that name holding something else, a full disk, a loss that is none or that nobody can know again.
    """
    from hncse.training import trainer

    own = None if loss is None else _own_loss(config, loss)

    if sentences is not None and isinstance(config.limit, DefaultLimit):
        config = dataclasses.replace(config, limit=None)
    corpus = load_corpus(config, sentences)
    _check_rows(config, corpus, own is not None)
    encoder = load_encoder(config)
    guide = None if config.guide is None else type(encoder).from_pretrained(config.guide)
    described = facts(config, corpus, encoder, own, guide)
    run = run_folder(config, described["key"], own.name if own else None)
    _refuse_another(run, described)
    if not run.finished:
        _tell_of_other_code(run, described)
        try:
            trainer.fit(config, corpus, encoder, run, described, on_log, own, guide)
        except KeyboardInterrupt as error:
            error.add_note(f"the same command resumes the run: {run.path}")
            raise
    elif run.checkpoints.exists():  # it was killed after its last step
        with contextlib.suppress(HncseError), run.lock(wait=False):
            run.tidy()
    return run


def _own_loss(config: TrainingConfig, function: Callable[..., Any]) -> OwnLoss:
    from hncse.training.own_loss import OwnLoss

    if config.loss_options:
        raise HncseError(
            f"loss_options are {config.loss_options}, changes to a preset; a loss of your own takes its own: "
            "functools.partial(my_loss, k=5), say"
        )
    return OwnLoss(function, config.temperature)


def load_corpus(config: TrainingConfig, sentences: Any = None) -> Corpus:
    """Load the corpus that a configuration names, or take the sentences or rows given in its place."""
    from hncse.data import corpora, readers

    sample: dict[str, Any] = {"limit": config.limit, "seed": config.sample_seed or 0}
    columns: dict[str, Any] = {"column": config.column, "positives": config.positives, "negatives": config.negatives}
    if sentences is None:
        return corpora.load(config.corpus, **sample, **columns, pairs=config.pairs)
    if hasattr(sentences, "triplets"):  # a MinedCorpus
        sentences = sentences.triplets(similarities=False)
    if readers.is_table(sentences):
        return corpora.from_rows(sentences, **sample, **columns)
    if any(value is not None for value in columns.values()):
        raise HncseError("column, positives and negatives name columns of a table; sentences given as a list have none")
    sentences = sentences if isinstance(sentences, str) else list(sentences)
    if config.pairs or (sentences and isinstance(sentences[0], tuple | list)):
        return corpora.from_rows(sentences, **sample)
    return corpora.from_sentences(sentences, **sample)


def _check_rows(config: TrainingConfig, corpus: Corpus, own: bool) -> None:
    """Refuse rows that the loss can make nothing of."""
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
    if own:
        return
    options = presets.resolve(config.loss, **config.all_loss_options())
    if options.views == 3 and (corpus.positives or corpus.negatives):
        raise HncseError(f"loss {config.loss!r} has three views of one sentence; rows with more texts have none")
    if not options.in_batch_negatives and corpus.negatives is None:
        raise HncseError(
            f"in_batch_negatives is False, and {corpus.source} has no hard negatives: nothing would be left to learn "
            "from; name their columns with negatives"
        )


def load_encoder(config: TrainingConfig) -> SentenceEncoder:
    """Load the encoder that a configuration begins with."""
    from hncse.encoder import SentenceEncoder

    return SentenceEncoder.from_pretrained(
        config.encoder,
        config.pooling,
        layers=config.layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )


def facts(
    config: TrainingConfig,
    corpus: Corpus,
    encoder: SentenceEncoder,
    own: OwnLoss | None = None,
    guide: SentenceEncoder | None = None,
) -> dict[str, Any]:
    """Describe a run before it starts: what config.json holds, its key among it."""
    from hncse.encoder import precision

    loss = {"loss": own.name, "loss_source": own.source} if own else {}
    data = {"source": corpus.source, "sentences": len(corpus.sentences), "fingerprint": corpus.fingerprint}
    weights, selects = encoder.fingerprint(), selects_on_dev(config)
    used, why = precision.choose(encoder, config.precision, training=True)
    deciding = config.deciding() | loss | {
        "precision": "auto" if used == "fp32" else used,  # as recorded runs call it, which were float32 all
        "data": corpus.fingerprint, "encoder": weights, "selects": selects, "hncse": __version__,
    }  # fmt: skip
    if config.guide is not None:
        deciding |= {"guide": (guide or type(encoder).from_pretrained(config.guide)).fingerprint()}
    noise = encoder.unusual_dropout() if config.dropout is None else {}  # config.dropout overrides them all
    if noise:
        deciding |= {"encoder_dropout": noise}
    return {
        "key": hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest(),
        "code": source_hash(*_CODE),
        "sources": {name: source_hash(name)[:16] for name in _CODE},
        "parameters": dataclasses.asdict(config) | loss,
        "precision": {"used": used, "why": why},
        "pooling": encoder.pooling,
        "causal": encoder.causal,
        "data": data | {"skipped": corpus.skipped},
        "encoder_fingerprint": weights,
        "selection": "stsb-dev" if selects else "last",
        "seed": config.seed,
        "versions": {"hncse": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in _PACKAGES},
    }


def selects_on_dev(config: TrainingConfig) -> bool:
    """Whether the best weights on STS-B dev are kept; fetches the file where that was asked for."""
    from hncse.data import senteval

    if config.selection == "stsb-dev" and not senteval.sts_present():
        senteval.fetch()
    return config.selection == "stsb-dev" or (config.selection == "auto" and senteval.sts_present())


def run_folder(config: TrainingConfig, key: str, loss: str | None = None) -> Run:
    """A run's folder; its name is the one given, or loss, seed and the beginning of a hash of key and code."""
    loss = re.sub(r"[^A-Za-z0-9]+", "-", loss or config.loss).strip("-")
    both = hashlib.sha256(f"{key} {source_hash(*_CODE)}".encode()).hexdigest()
    folder = expand(config.output) if config.output else runs.root()
    return Run(folder / (config.name or f"{loss}-seed{config.seed}-{both[:8]}"))


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
        if before != value and name not in PLACES:
            return f"{name} was {before!r}, now {value!r}" if name != "loss_source" else "its loss's source differs"
    if old["key"] == new["key"]:
        return _edits(old, new)
    return "its sentences, encoder weights or package version differ"


def _edits(old: dict[str, Any], new: dict[str, Any]) -> str:
    if "sources" not in old:
        return "it was made before runs knew their code"
    modules = [f"hncse.{name}" for name, value in new["sources"].items() if old["sources"].get(name) != value]
    return f"other code made it: {', '.join(modules)} changed since"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse train",
        description="Train a sentence encoder on sentences, pairs or triplets, and write a run folder.",
        epilog=presets.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipes = f"a training by its name: {', '.join(TRAININGS)}; options beside it hold"
    parser.add_argument("--recipe", default=argparse.SUPPRESS, help=recipes, metavar="X")
    for f in dataclasses.fields(TrainingConfig):
        options: dict[str, Any] = {"metavar": "X"}
        default = f.default
        if f.name == "loss_options":
            options, default = {"nargs": "*", "metavar": "NAME=VALUE"}, {}
        elif str(f.type).startswith("bool"):
            options = {"action": argparse.BooleanOptionalAction}
        elif "list" in str(f.type):
            options = {"nargs": "+", "metavar": "X"}
        text = f"{f.metadata['help']} (default {default!r})"
        parser.add_argument("--" + f.name.replace("_", "-"), default=argparse.SUPPRESS, help=text, **options)
    return parser


def _report(run: Run) -> None:
    """Tell a log file how training goes; a terminal has a progress bar instead."""
    line = run.history[-1]
    names = ("step", "loss", "positive_similarity", "hardest_negative_similarity", "stsb_dev", "probe")
    sys.stderr.write("  ".join(f"{name} {line[name]:.5g}" for name in names if name in line) + "\n")


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
