"""Sentences → a small BERT: own vocabulary, word vectors by counting, masked language modelling, a card.

hncse pretrain --source wikipedia --tokens 0 --out runs/kit-encoder        # the embedded encoder
hncse pretrain --source docstrings --out runs/toy --vocabulary 4096 --minutes 2

Interrupted runs go on from their last checkpoint when started again with the same arguments.

    text      vocabulary, batches, masks    loop      masked language modelling, resumed exactly
    vectors   counts of neighbours → word vectors → a BERT that starts from them
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hncse.errors import HncseError, command
from hncse.files import expand, whole_file, write_json, write_text
from hncse.pretraining import text as pieces
from hncse.pretraining.text import LONGEST, SPECIAL

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hncse.pretraining.loop import Trainer

__all__ = ["PretrainingConfig", "Text", "count", "main", "prepare", "pretrain", "read_curve"]

Text = tuple[list[str], pieces.Tokens]  # word pieces in the order of their ids, and the corpus in ids
_CURVE = "curve.json"
_RUN_FILES = ("checkpoint.safetensors", "settings.json", _CURVE, "encoder")
_TEXT_FILES = ("vocab.txt", "tokens.npz", "text.json")
_NO_EFFECT = ("out", "minutes", "checkpoint_minutes", "log_every", "device")
_ABOVE_ZERO = ("smoothing", "learning_rate", "minutes")
_FROM_ZERO = ("embedding_rate", "checkpoint_minutes")


def _option(default: Any, text: str, least: int | None = None) -> Any:
    """A field with its help; a whole number has its least value as well."""
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class PretrainingConfig:
    """Everything that decides a pretraining run; the defaults with ``tokens=0`` made the embedded encoder."""

    source: str = _option("wikipedia", "corpus: wikipedia, docstrings, or a file; see hncse.data.corpora")
    limit: int | None = _option(None, "sentences taken from the corpus; None takes all", 2)
    out: str = _option("runs/pretraining", "folder for checkpoints and, at the end, encoder/")
    vocabulary: int = _option(8_192, "word pieces", len(SPECIAL) + 1)
    vocabulary_sentences: int = _option(1_000_000, "sentences the vocabulary is learned from", 1)
    width: int = _option(384, "hidden size", 4)  # where vectors are counted, three coordinates are not theirs
    layers: int = _option(1, "transformer layers", 1)
    heads: int = _option(6, "attention heads", 1)
    intermediate: int = _option(64, "feed-forward size", 1)
    static: bool = _option(True, "start from counted word vectors (PPMI, SVD) instead of random weights")
    window: int = _option(10, "farthest neighbour counted, in word pieces", 1)
    smoothing: float = _option(1.2, "exponent on context frequencies in the PPMI; above 1, common contexts count less")
    power: float = _option(-0.25, "exponent on the singular values")
    tokens: int = _option(5_000_000, "word pieces of masked language modelling; 0: counted vectors only", 0)
    mask: float = _option(0.2, "share of whole words to predict")
    batch_tokens: int = _option(4096, "word pieces a step, padding included", 3)
    learning_rate: float = _option(1e-3, "peak, after a linear rise over 2 % of the word pieces, then linear to 0")
    embedding_rate: float = _option(0.1, "learning rate of the word embeddings, as a share of the other weights'")
    max_length: int = _option(64, "word pieces a sentence, special ones included; the rest is cut", 3)
    minutes: float | None = _option(None, "stop masked language modelling early after this time")
    checkpoint_minutes: float = _option(3.0, "time between checkpoints")
    log_every: int = _option(50, "steps between points of the loss curve", 1)
    seed: int = _option(0, "seed of weights, order and masks", 0)
    device: str | None = _option(None, "for example cuda; None takes a GPU where there is one")

    def __post_init__(self) -> None:
        """Refuse what would otherwise fail late."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if not (value is None and "None" in str(f.type)):
                _check(f, value)
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
        return self._hash(f.name for f in dataclasses.fields(self) if f.name not in _NO_EFFECT)

    def text_key(self) -> str:
        """Hash of what decides vocabulary and word pieces."""
        return self._hash(["source", "limit", "seed", "vocabulary", "vocabulary_sentences"])

    def _hash(self, names: Iterable[str]) -> str:
        values = {name: getattr(self, name) for name in sorted(names)}
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _check(f: dataclasses.Field[Any], value: Any) -> None:
    least, number = f.metadata["least"], isinstance(value, int | float) and not isinstance(value, bool)
    right = None
    if least is not None and not (number and isinstance(value, int) and value >= least):
        right = f"a whole number of at least {least}"
    elif str(f.type).startswith("float"):
        if not number or not math.isfinite(value):
            right = "a number"
        elif f.name in _FROM_ZERO and value < 0:
            right = "at least 0"
        elif f.name in _ABOVE_ZERO and value <= 0:
            right = "above 0"
    if right:
        raise HncseError(f"{f.name} is {value!r}; it must be {right}")


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
        HncseError: The folder belongs to a run with other settings or sentences, or holds files of these names that no
            run wrote; a device that is not here; nothing to learn from.
    """
    say = say or (lambda line: None)
    device = _device(config.device)
    out = _folder(config.out)
    checkpoint, note = out / "checkpoint.safetensors", out / "settings.json"
    meant = {"key": config.key(), "corpus": _fingerprint(sentences)}
    if (there := _note(out, note.name, _RUN_FILES)) and checkpoint.is_file():
        if there["key"] != meant["key"]:
            raise HncseError(f"{out} holds a run with other settings; choose another --out or remove {checkpoint.name}")
        if there["corpus"] != meant["corpus"]:
            raise HncseError(f"{out} holds a run on other sentences; choose another --out or remove {checkpoint.name}")
    write_json(note, {**dataclasses.asdict(config), **meant})
    vocabulary, tokens = prepare(config, sentences, out, say) if text is None else text
    if len(tokens.ids) < 2:
        raise HncseError(f"the corpus {config.source!r} has no words to learn from")
    from hncse.pretraining.loop import Trainer

    trainer = Trainer(config, vocabulary, tokens, device)
    if not trainer.resume(checkpoint):
        if config.static and table is None:
            say("counting neighbours")
            table = count(config, tokens, len(vocabulary))
        trainer.initialise(say, table)
    trainer.run(checkpoint, say)
    write_json(out / _CURVE, trainer.curve)
    return _write(trainer, vocabulary, out / "encoder")


def _device(name: str | None) -> str:
    """Return a device that is here, tried with one number; CUDA where there is some and none is named."""
    import torch

    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
        raise HncseError(f"device is {name!r}, which is not on this machine; it has {here}") from error
    return chosen


def _folder(name: str | Path) -> Path:
    out = expand(name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file stands there, the name is too long, nothing can be written
        raise HncseError(f"out is {str(name)[:200]!r}, which can be no folder: {error.strerror or error}") from error
    return out


def _note(out: Path, name: str, files: Sequence[str]) -> dict[str, Any] | None:
    """What an earlier call noted about its files in a folder; None without such files, an error at others' files."""
    path = out / name
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict) and {"key", "corpus"} <= found.keys():
        return found
    if foreign := [file for file in files if (out / file).exists()]:
        raise HncseError(
            f"{out} holds {', '.join(foreign)}, which no pretraining wrote (there is no {name} of its own); they would "
            "be replaced: choose another folder"
        )
    return None


def _fingerprint(sentences: Sequence[str]) -> str:
    """Hash of a corpus: the sentences of ``docstrings`` change with the packages installed, its name does not."""
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(f"{sentence}\n".encode())
    return digest.hexdigest()[:16]


def read_curve(out: str | Path) -> NDArray[np.float64]:
    """Word pieces seen and the loss there, (n, 2), of a finished run's folder; n is 0 without language modelling."""
    path = Path(out) / _CURVE
    if not path.is_file():
        raise HncseError(f"{path} is missing: no finished pretraining run lies in {out}")
    return np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64).reshape(-1, 2)


def prepare(
    config: PretrainingConfig, sentences: Sequence[str], out: Path, say: Callable[[str], object] | None = None
) -> Text:
    """Learn the vocabulary and cut the corpus into word pieces, or read both back where they lie already in ``out``.

    Returns the word pieces in the order of their ids, and the corpus in ids; kept in ``vocab.txt``, ``tokens.npz`` and
    ``text.json``.
    """
    say = say or (lambda line: None)
    out = _folder(out)
    listing, stored, note = (out / name for name in _TEXT_FILES)
    meant = {"key": config.text_key(), "corpus": _fingerprint(sentences)}
    if _note(out, note.name, _TEXT_FILES) == meant and (found := _read_text(listing, stored)):
        return found
    write_json(note, {**meant, "unfinished": True})
    vocabulary = pieces.learn_vocabulary(sentences[: config.vocabulary_sentences], config.vocabulary)
    say(f"vocabulary: {len(vocabulary):,} word pieces")
    tokens = pieces.tokenise(sentences, vocabulary)
    say(f"corpus: {len(sentences):,} sentences, {len(tokens.ids):,} word pieces")
    write_text(listing, "\n".join(vocabulary) + "\n")
    with whole_file(stored, "wb") as file:
        np.savez(file, ids=tokens.ids, lengths=tokens.lengths, inside=tokens.inside)
    write_json(note, meant)  # last: says the others are whole
    return vocabulary, tokens


def _read_text(listing: Path, stored: Path) -> Text | None:
    """Read text back; None where a file is gone or damaged."""
    try:
        with np.load(stored) as kept:
            tokens = pieces.Tokens(kept["ids"], kept["lengths"], kept["inside"])
        return listing.read_text(encoding="utf-8").split("\n")[:-1], tokens
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def count(config: PretrainingConfig, tokens: pieces.Tokens, n_types: int) -> Tensor:
    """Count neighbours in a corpus from `prepare`: positive pointwise mutual information, (V, V) float32.

    Every width's word vectors are factors of this one table.
    """
    from hncse.pretraining import vectors

    counts = vectors.cooccurrence(tokens.ids, tokens.lengths, n_types, config.window)
    return vectors.ppmi(counts, config.smoothing)


def _write(trainer: Trainer, vocabulary: Sequence[str], folder: Path) -> Path:
    """Write the encoder in half precision; its config says float32, in which it is loaded."""
    import torch
    from safetensors.torch import save

    pieces.save_tokenizer(vocabulary, folder, LONGEST)
    trainer.model.config.architectures = ["BertModel"]
    trainer.model.config.save_pretrained(folder)
    weights = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in trainer.model.state_dict().items()}
    with whole_file(folder / "model.safetensors", "wb") as file:
        file.write(save(weights, metadata={"format": "pt"}))
    write_json(folder / "hncse.json", {"pooling": "mean", "max_length": LONGEST})
    write_text(folder / "README.md", _card(trainer, len(vocabulary), (folder / "model.safetensors").stat().st_size))
    return folder


def _card(trainer: Trainer, n_types: int, size: int) -> str:
    """What made an encoder, from what, in how long, as Markdown."""
    import torch

    c, tokens, curve = trainer.config, trainer.tokens, np.array(trainer.curve).reshape(-1, 2)
    changed = [f.name for f in dataclasses.fields(c) if getattr(c, f.name) != f.default and f.name != "out"]
    cpu = platform.processor() or platform.machine()
    hardware = torch.cuda.get_device_name() if trainer.device.type == "cuda" else cpu
    loss, by_pieces = "none", "none (no masked language modelling)"
    if len(curve):
        loss = f"{curve[0, 1]:.3f} at the first step, {curve[-1, 1]:.3f} at the last"
        parts = np.array_split(curve, min(12, len(curve)))
        by_pieces = ", ".join(f"{part[-1, 0] / 1e6:.2f} M: {part[:, 1].mean():.2f}" for part in parts)
    rows = {
        "command": f"`hncse pretrain{''.join(_flag(name, getattr(c, name)) for name in changed)}`",
        "data": f"`{c.source}`: {len(tokens.lengths):,} sentences, {len(tokens.ids):,} word pieces",
        "shape": f"{c.layers} × {c.width}, {c.heads} heads, feed-forward {c.intermediate}, {n_types:,} word pieces; "
        f"{size:,} bytes in half precision",
        "start": f"counted vectors: window {c.window}, PPMI, SVD" if c.static else "random weights",
        "masked language modelling": f"{trainer.seen:,} word pieces in {trainer.step:,} steps",
        "loss": loss,
        "time of modelling": f"{trainer.seconds / 60:.1f} minutes",
        "hardware": f"{hardware}, {torch.get_num_threads()} CPU thread(s), torch {torch.__version__}",
        "revision": _revision(),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"# Encoder made by hncse.pretraining\n\n| | |\n|---|---|\n{table}\n\nLoss by word pieces: {by_pieces}\n"


def _flag(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f" --{flag}" if value else f" --no-{flag}"
    return "" if value is None else f" --{flag} {value}"


def _revision() -> str:
    words, here = ["git", "describe", "--always", "--dirty"], Path(__file__).parent
    try:
        return subprocess.run(words, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse pretrain",
        description="Make a small encoder from plain text: vocabulary, counted vectors, masked language model.",
    )
    for f in dataclasses.fields(PretrainingConfig):
        kind = str(f.type).split()[0]
        options: dict[str, Any] = {"type": {"int": int, "float": float}.get(kind, str)}
        if kind == "bool":
            options = {"action": argparse.BooleanOptionalAction}
        text = f"{f.metadata['help']} (default: {f.default})".replace("%", "%%")
        parser.add_argument("--" + f.name.replace("_", "-"), default=f.default, help=text, **options)
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = vars(_parser().parse_args(arguments))
    config = PretrainingConfig(**options)
    _device(config.device)
    _note(_folder(config.out), "settings.json", _RUN_FILES)
    from hncse.data import corpora

    corpus = corpora.load(config.source, limit=config.limit, seed=config.seed)
    folder = pretrain(config, corpus.sentences, lambda line: sys.stderr.write(line + "\n"))
    sys.stdout.write(f"{folder}\n")
    return 0
