"""What a sweep's command line means: seeds, values to cross, and one configuration for every run."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hncse import presets, runs
from hncse.errors import HncseError, unknown
from hncse.runs import Run
from hncse.training import TrainingConfig, parse_value, run_name

__all__ = ["crossed", "locate", "parse_grid", "parse_seeds", "parse_settings"]

_OWN_FLAG = {"loss": "--losses", "seed": "--seeds", "corpus": "--corpora"}
_FIELDS = [f.name for f in dataclasses.fields(TrainingConfig) if f.name != "loss_options"]
_LOSS_OPTIONS = [name for name in presets.OPTION_NAMES if name not in _FIELDS]  # temperature and seed are fields
#: Options that change nothing unless another has one of these values; runs without it are made once, not once a value.
_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("k", "s", "alpha", "replacement"), ("hard_negative_mixing", (True,))),
    **dict.fromkeys(("objective", "candidates"), ("positive_mixing", ("search", "study"))),
    **dict.fromkeys(
        ("columns", "band", "detach_coefficients"), ("positive_mixing", ("search", "random", "study", "fixed"))
    ),
    "ratio": ("positive_mixing", ("fixed",)),
}


def crossed(
    losses: Sequence[str],
    seeds: Sequence[int],
    corpora: Sequence[str],
    settings: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
) -> list[TrainingConfig]:
    """Every combination once, seeds outermost, so that an unfinished sweep still compares everything.

    Args:
        losses: Presets.
        seeds: Training seeds.
        corpora: Sources of sentences.
        settings: Training parameters and loss options that are the same for all.
        grid: Name → values to cross.

    Raises:
        HncseError: An unknown name or a value out of range, before anything is trained.
    """
    made: dict[str, TrainingConfig] = {}
    products = list(itertools.product(*grid.values()))
    for seed, corpus, values, loss in itertools.product(seeds, corpora, products, losses):
        chosen = {**settings, **dict(zip(grid, values, strict=True))}
        config = _config(loss, {**chosen, "seed": seed, "corpus": corpus})
        made.setdefault(repr(config), config)
    return list(made.values())


def parse_seeds(words: Iterable[str]) -> list[int]:
    """Read seeds: numbers, ranges with both ends (``0-11``), separated by spaces or commas; each counts once."""
    seeds: dict[int, None] = {}
    for word in (part for text in words for part in str(text).split(",") if part):
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise HncseError(f"seeds {word!r} are no whole number and no range such as 0-11")
        seeds.update(dict.fromkeys(range(int(first), int(last if dash else first) + 1)))
    return list(seeds)


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` words; a name is a training parameter or a loss option."""
    return {name: parse_value(name, text) for name, text in map(_pair, pairs)}


def parse_grid(pairs: Iterable[str]) -> dict[str, list[Any]]:
    """Read ``NAME=VALUE,VALUE,…`` words, as in `parse_settings`."""
    grid = {}
    for name, text in map(_pair, pairs):
        if name in _OWN_FLAG:
            raise HncseError(f"{name} is no word of --grid; give it with {_OWN_FLAG[name]}")
        grid[name] = [parse_value(name, value) for value in text.split(",") if value]
    return grid


def locate(configs: Sequence[TrainingConfig]) -> list[Run]:
    """Find the folder of each run, which its key names, as `hncse.training.train` does; it need not exist yet.

    Corpora and encoders are read once, one after the other, and not kept.

    Raises:
        HncseError: A corpus or an encoder that is not there.
    """
    from hncse import _trainer
    from hncse.data import corpora
    from hncse.encoder import SentenceEncoder

    known: dict[tuple[Any, ...], Any] = {}
    found = []
    for c in configs:
        text, weights = (c.corpus, c.limit, c.column, c.negatives), (c.encoder, c.pooling, c.dropout)
        if text not in known:
            corpus = corpora.load(c.corpus, limit=c.limit, column=c.column, negatives=c.negatives)
            known[text] = dataclasses.replace(corpus, sentences=[""] * len(corpus), negatives=None)
        if weights not in known:
            encoder = SentenceEncoder.from_pretrained(c.encoder, c.pooling, dropout=c.dropout)
            print_of, noise = encoder.fingerprint(), encoder.unusual_dropout()
            known[weights] = types.SimpleNamespace(
                pooling=encoder.pooling, fingerprint=lambda key=print_of: key, unusual_dropout=lambda kept=noise: kept
            )
        key = _trainer.facts(c, known[text], known[weights])["key"]
        folder = Path(c.output) if c.output else runs.root()
        found.append(Run(folder / run_name(c, key)))
    return found


def _pair(word: str) -> tuple[str, str]:
    name, equals, text = word.partition("=")
    if not equals or not text:
        raise HncseError(f"{word!r} gives no value; write NAME=VALUE, for example batch_size=128")
    if name not in (*_FIELDS, *_LOSS_OPTIONS, "loss_options"):
        raise unknown("parameter or loss option", name, [*_FIELDS, *_LOSS_OPTIONS])
    return name, text


def _config(loss: str, values: Mapping[str, Any]) -> TrainingConfig:
    fields = {name: value for name, value in values.items() if name not in _LOSS_OPTIONS}
    options = dict(fields.pop("loss_options", {}))
    options |= {name: value for name, value in values.items() if name in _LOSS_OPTIONS}
    resolved = dataclasses.asdict(
        presets.resolve(loss, **options)
    )  # a bad value is refused also where it would change nothing
    plain = dataclasses.asdict(presets.resolve(loss))
    kept = {k: v for k, v in options.items() if v != plain[k] and _matters(k, resolved)}
    return TrainingConfig.from_dict({**fields, "loss": loss, "loss_options": kept})


def _matters(name: str, options: Mapping[str, Any]) -> bool:
    if name not in _NEEDS:
        return True
    other, values = _NEEDS[name]
    return options[other] in values
