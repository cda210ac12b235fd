"""What decides a pretraining run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hncse.errors import HncseError

__all__ = ["LONGEST", "SPECIAL", "PretrainingConfig"]

#: Word pieces without a meaning of their own; they come first in every vocabulary.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST = 128  # positions of the model
_NO_EFFECT = ("out", "minutes", "checkpoint_minutes", "log_every", "device")
_LEAST = {  # whole numbers; where vectors are counted, three coordinates of the width are not theirs
    "width": 4, "heads": 1, "layers": 1, "intermediate": 1, "window": 1, "tokens": 0, "log_every": 1, "seed": 0,
    "vocabulary_sentences": 1, "batch_tokens": 3, "limit": 2, "max_length": 3, "vocabulary": len(SPECIAL) + 1,
}  # fmt: skip
_ABOVE_ZERO = ("smoothing", "learning_rate", "minutes")
_FROM_ZERO = ("embedding_rate", "checkpoint_minutes")


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class PretrainingConfig:
    """Everything that decides a pretraining run; the defaults with ``tokens=0`` made the embedded encoder."""

    source: str = _option("wikipedia", "corpus: wikipedia, docstrings, or a file; see hncse.data.corpora")
    limit: int | None = _option(None, "sentences taken from the corpus; None takes all")
    out: str = _option("runs/pretraining", "folder for checkpoints and, at the end, encoder/")
    vocabulary: int = _option(8_192, "word pieces")
    vocabulary_sentences: int = _option(1_000_000, "sentences the vocabulary is learned from")
    width: int = _option(384, "hidden size")
    layers: int = _option(1, "transformer layers")
    heads: int = _option(6, "attention heads")
    intermediate: int = _option(64, "feed-forward size")
    static: bool = _option(True, "start from counted word vectors (PPMI, SVD) instead of random weights")
    window: int = _option(10, "farthest neighbour counted, in word pieces")
    smoothing: float = _option(1.2, "exponent on context frequencies in the PPMI; above 1, common contexts count less")
    power: float = _option(-0.25, "exponent on the singular values")
    tokens: int = _option(5_000_000, "word pieces of masked language modelling; 0: counted vectors only")
    mask: float = _option(0.2, "share of whole words to predict")
    batch_tokens: int = _option(4096, "word pieces a step, padding included")
    learning_rate: float = _option(1e-3, "peak, after a linear rise over 2 % of the word pieces, then linear to 0")
    embedding_rate: float = _option(0.1, "learning rate of the word embeddings, as a share of the other weights'")
    max_length: int = _option(64, "word pieces a sentence, special ones included; the rest is cut")
    minutes: float | None = _option(None, "stop masked language modelling early after this time")
    checkpoint_minutes: float = _option(3.0, "time between checkpoints")
    log_every: int = _option(50, "steps between points of the loss curve")
    seed: int = _option(0, "seed of weights, order and masks")
    device: str | None = _option(None, "for example cuda; None takes a GPU where there is one")

    def __post_init__(self) -> None:
        """Check what would otherwise fail late.

        Raises:
            HncseError: A value that cannot work; the message says which and what would.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                if value is None and name == "limit":
                    continue
                raise HncseError(f"{name} is {value!r}; it must be a whole number of at least {least}")
        for name in (*_ABOVE_ZERO, *_FROM_ZERO, "power", "mask"):
            _check_number(name, getattr(self, name))
        if self.width % self.heads:
            raise HncseError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not 0 < self.mask < 1:
            raise HncseError(f"mask is {self.mask}; it is a share of the words, between 0 and 1")
        if self.vocabulary > 1 << 16:
            raise HncseError(f"vocabulary is {self.vocabulary}; it must lie in {len(SPECIAL) + 1} … 65536")
        if self.max_length > min(LONGEST, self.batch_tokens):
            raise HncseError(f"max_length is {self.max_length}; it must lie in 3 … {LONGEST}, and within batch_tokens")
        if not isinstance(self.out, str) or not self.out.strip():
            raise HncseError(f"out is {self.out!r}; it must name a folder")

    def key(self) -> str:
        """Hash of what decides the weights: folders, times and devices left out."""
        return _hash(self, [f.name for f in dataclasses.fields(self) if f.name not in _NO_EFFECT])

    def text_key(self) -> str:
        """Hash of what decides vocabulary and word pieces."""
        return _hash(self, ["source", "limit", "seed", "vocabulary", "vocabulary_sentences"])


def _hash(config: PretrainingConfig, names: Sequence[str]) -> str:
    kept = {name: getattr(config, name) for name in sorted(names)}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def _check_number(name: str, value: Any) -> None:
    if value is None and name == "minutes":
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HncseError(f"{name} is {value!r}; it must be a number")
    if value < 0 and name in _FROM_ZERO:
        raise HncseError(f"{name} is {value}; it must be at least 0")
    if value <= 0 and name in _ABOVE_ZERO:
        raise HncseError(f"{name} is {value}; it must be above 0")
