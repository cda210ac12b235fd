"""Sentences → a small BERT: own vocabulary, word vectors by counting, masked language modelling, a card.

python -m hncse.pretraining --source wikipedia --tokens 0 --out runs/kit-encoder        # the embedded encoder
python -m hncse.pretraining --source docstrings --out runs/toy --vocabulary 4096 --minutes 2

Interrupted runs go on from their last checkpoint when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hncse import _pretraining_text as pieces
from hncse._pretraining_card import card
from hncse.errors import HncseError, command
from hncse.files import write_json, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hncse._pretraining_loop import Trainer

__all__ = ["PretrainingConfig", "count", "prepare", "pretrain", "read_curve"]


Text = tuple[list[str], pieces.Tokens]  # word pieces in the order of their ids, and the corpus in ids
_CURVE = "curve.json"
_NO_EFFECT = ("out", "minutes", "checkpoint_minutes", "log_every", "device")


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
        if self.width % self.heads:
            raise HncseError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not 0 < self.mask < 1:
            raise HncseError(f"mask is {self.mask}; it is a share of the words, between 0 and 1")
        if not len(pieces.SPECIAL) < self.vocabulary <= 1 << 16:
            raise HncseError(f"vocabulary is {self.vocabulary}; it must lie in {len(pieces.SPECIAL) + 1} … 65536")
        if self.log_every < 1:
            raise HncseError(f"log_every is {self.log_every}; it must be a whole number of at least 1")
        if not 3 <= self.max_length <= min(pieces.LONGEST, self.batch_tokens):
            raise HncseError(f"max_length is {self.max_length}; it must lie in 3 … 128, and within batch_tokens")

    def key(self) -> str:
        """Hash of what decides the weights: folders, times and devices left out."""
        return _hash(self, [f.name for f in dataclasses.fields(self) if f.name not in _NO_EFFECT])

    def text_key(self) -> str:
        """Hash of what decides vocabulary and word pieces."""
        return _hash(self, ["source", "limit", "seed", "vocabulary", "vocabulary_sentences"])


def _hash(config: PretrainingConfig, names: Sequence[str]) -> str:
    kept = {name: getattr(config, name) for name in sorted(names)}
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


def pretrain(
    config: PretrainingConfig,
    sentences: Sequence[str],
    say: Callable[[str], object] | None = None,
    *,
    text: Text | None = None,
    table: Tensor | None = None,
) -> Path:
    """Make an encoder from sentences.

    Args:
        config: What to make.
        sentences: The corpus.
        say: Called with a line of text now and then; None is silent.
        text: What `prepare` made of these sentences, where several encoders share it; None makes it here.
        table: What `count` made of that, likewise.

    Returns:
        The folder ``encoder/`` under ``config.out``: weights in half precision, tokenizer, card. Beside it lies
        ``curve.json``, see `read_curve`.

    Raises:
        HncseError: The folder belongs to a run with other settings or sentences, or there is nothing to learn from.
    """
    say = say or (lambda line: None)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, note = out / "checkpoint.safetensors", out / "settings.json"
    found = json.loads(note.read_text(encoding="utf-8")) if checkpoint.is_file() and note.is_file() else {}
    meant = {"key": config.key(), "corpus": _fingerprint(sentences)}
    if checkpoint.is_file() and found.get("key") != meant["key"]:
        raise HncseError(f"{out} holds a run with other settings; choose another --out or remove {checkpoint.name}")
    if found.get("corpus", meant["corpus"]) != meant["corpus"]:
        raise HncseError(f"{out} holds a run on other sentences; choose another --out or remove {checkpoint.name}")
    write_json(note, {**dataclasses.asdict(config), **meant})
    vocabulary, tokens = prepare(config, sentences, out, say) if text is None else text
    if len(tokens.ids) < 2:
        raise HncseError(f"the corpus {config.source!r} has no words to learn from")
    from hncse._pretraining_loop import Trainer

    trainer = Trainer(config, vocabulary, tokens)
    if not trainer.resume(checkpoint):
        trainer.initialise(say, table)
    trainer.run(checkpoint, say)
    write_json(out / _CURVE, trainer.curve)
    return _write(trainer, vocabulary, out / "encoder")


def _fingerprint(sentences: Sequence[str]) -> str:
    """Hash of a corpus: the sentences of ``docstrings`` change with the packages installed, its name does not."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(sentence.encode() + b"\n")
    return digest.hexdigest()[:16]


def read_curve(out: str | Path) -> NDArray[np.float64]:
    """Word pieces seen and the loss there, (n, 2), of a finished run's folder; n is 0 without language modelling.

    Raises:
        HncseError: No finished run lies there.
    """
    path = Path(out) / _CURVE
    if not path.is_file():
        raise HncseError(f"{path} is missing: no finished pretraining run lies in {out}")
    return np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64).reshape(-1, 2)


def prepare(
    config: PretrainingConfig, sentences: Sequence[str], out: Path, say: Callable[[str], object] | None = None
) -> Text:
    """Learn the vocabulary and cut the corpus into word pieces, or read both back where they lie already.

    Args:
        config: What decides them: its source, limit, seed and vocabulary.
        sentences: The corpus.
        out: Folder that keeps them: ``vocab.txt``, ``tokens.npz``, ``text.json``.
        say: Called with a line of text now and then; None is silent.

    Returns:
        The word pieces in the order of their ids, and the corpus in ids.
    """
    say = say or (lambda line: None)
    listing, stored, note = out / "vocab.txt", out / "tokens.npz", out / "text.json"
    meant = {"key": config.text_key(), "corpus": _fingerprint(sentences)}
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == meant:
        kept = np.load(stored)
        vocabulary = listing.read_text(encoding="utf-8").split("\n")[:-1]
        return vocabulary, pieces.Tokens(kept["ids"], kept["lengths"], kept["inside"])
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = pieces.learn_vocabulary(sentences[: config.vocabulary_sentences], config.vocabulary)
    say(f"vocabulary: {len(vocabulary):,} word pieces")
    tokens = pieces.tokenise(sentences, vocabulary)
    say(f"corpus: {len(sentences):,} sentences, {len(tokens.ids):,} word pieces")
    write_text(listing, "\n".join(vocabulary) + "\n")
    np.savez(stored, ids=tokens.ids, lengths=tokens.lengths, inside=tokens.inside)
    write_json(note, meant)  # last: says the others are whole
    return vocabulary, tokens


def count(config: PretrainingConfig, tokens: pieces.Tokens, n_types: int) -> Tensor:
    """Count neighbours in a corpus and turn the counts into positive pointwise mutual information.

    Args:
        config: Its window and smoothing.
        tokens: From `prepare`.
        n_types: Size of the vocabulary V.

    Returns:
        (V, V) float32; every width's word vectors are factors of this one table.
    """
    from hncse import static_vectors

    counts = static_vectors.cooccurrence(tokens.ids, tokens.lengths, n_types, config.window)
    return static_vectors.ppmi(counts, config.smoothing)


def _write(trainer: Trainer, vocabulary: Sequence[str], folder: Path) -> Path:
    """Write the encoder in half precision; its config says float32, in which it is loaded."""
    import torch
    from safetensors.torch import save_file

    pieces.save_tokenizer(vocabulary, folder, pieces.LONGEST)
    trainer.model.config.architectures = ["BertModel"]
    trainer.model.config.save_pretrained(folder)
    weights = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in trainer.model.state_dict().items()}
    part = folder / "model.part"
    save_file(weights, part, metadata={"format": "pt"})
    part.replace(folder / "model.safetensors")
    write_json(folder / "hncse.json", {"pooling": "mean", "max_length": pieces.LONGEST})
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name() if trainer.device.type == "cuda" else platform.processor() or platform.machine()
    facts = {
        "sentences": len(trainer.tokens.lengths), "pieces": len(trainer.tokens.ids), "vocabulary": len(vocabulary),
        "bytes": (folder / "model.safetensors").stat().st_size, "seen": trainer.seen, "steps": trainer.step,
        "minutes": trainer.seconds / 60, "hardware": f"{name}, {threads} CPU thread(s), torch {torch.__version__}",
    }  # fmt: skip
    write_text(folder / "README.md", card(trainer.config, facts, trainer.curve))
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.pretraining",
        description="Make a small encoder from plain text: vocabulary, counted vectors, masked language model.",
    )
    kinds: dict[str, type] = {"int": int, "int | None": int, "float": float, "float | None": float}
    for option in dataclasses.fields(PretrainingConfig):
        flag, text_ = f"--{option.name.replace('_', '-')}", f"{option.metadata['help']} (default: {option.default})"
        kind = str(option.type)
        if kind == "bool":
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=option.default, help=option.metadata["help"]
            )
        else:
            parser.add_argument(flag, type=kinds.get(kind, str), default=option.default, help=text_.replace("%", "%%"))
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = vars(_parser().parse_args(arguments))
    config = PretrainingConfig(**options)
    from hncse.data import corpora

    corpus = corpora.load(config.source, limit=config.limit, seed=config.seed)
    folder = pretrain(config, corpus.sentences, lambda line: sys.stderr.write(line + "\n"))
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
