"""The run: text, counts, language modelling, and the folder of an encoder at the end."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import platform
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hncse.errors import HncseError, command
from hncse.files import expand, whole_file, write_json, write_text
from hncse.pretraining import text as pieces
from hncse.pretraining.card import card
from hncse.pretraining.config import LONGEST, PretrainingConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hncse.pretraining.loop import Trainer

__all__ = ["Text", "count", "main", "prepare", "pretrain", "read_curve"]

Text = tuple[list[str], pieces.Tokens]  # word pieces in the order of their ids, and the corpus in ids
_CURVE = "curve.json"
_RUN_FILES = ("checkpoint.safetensors", "settings.json", _CURVE, "encoder")
_TEXT_FILES = ("vocab.txt", "tokens.npz", "text.json")


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
    """What an earlier call noted about its files in a folder; None where there are no such files.

    Raises:
        HncseError: Files of those names lie there and are not this command's; nothing of them is touched.
    """
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
    """Count neighbours in a corpus and turn the counts into positive pointwise mutual information.

    Args:
        config: Its window and smoothing.
        tokens: From `prepare`.
        n_types: Size of the vocabulary V.

    Returns:
        (V, V) float32; every width's word vectors are factors of this one table.
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
        prog="hncse pretrain",
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
    _device(config.device)
    _note(_folder(config.out), "settings.json", _RUN_FILES)
    from hncse.data import corpora

    corpus = corpora.load(config.source, limit=config.limit, seed=config.seed)
    folder = pretrain(config, corpus.sentences, lambda line: sys.stderr.write(line + "\n"))
    sys.stdout.write(f"{folder}\n")
    return 0
