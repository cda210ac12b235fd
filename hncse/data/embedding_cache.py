"""Sentences → embeddings: float32, checked, computed once, and stored in files that cannot be stale.

z = cached_encode(encoder, sentences)                       # (n, d) float32; the second time it is read from disk

A file's name is a hash of everything that decides its content: weights, tokenizer, pooling, the code that embeds, the
texts. Files lie in ``$HNCSE_CACHE`` (else the user's cache folder of this kit), at most ``$HNCSE_CACHE_GB`` gigabytes
of them (default 4; 0 turns the cache off); the ones not used for longest go first. Other files there are left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import logging
import math
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import hncse
from hncse.errors import HncseError
from hncse.files import cache_folder as folder
from hncse.files import somebody_watches, source_hash, whole_file

__all__ = ["Encoder", "cached_encode", "folder", "key", "limit_bytes"]

_LOG = logging.getLogger(__name__)

_CHUNK = 20_000  # sentences encoded at a time; the step of the progress bar
_MARK = b"hncse embeddings"  # the last bytes of every file written here: it is whole, and nobody else's
_NAME = re.compile(r"[0-9a-f]{64}\.npy")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.npy-[0-9a-f]{8}")  # of a process that was killed (hncse.files)
_ABANDONED = 86_400  # seconds after which an unfinished file has no writer any more

Rows = NDArray[np.float32]


class Encoder(Protocol):
    """Anything with `encode`; with ``fingerprint()`` as well (as `hncse.SentenceEncoder` has it), it is cached."""

    def encode(self, sentences: list[str], /) -> Any:
        """Return an (n, d) array or tensor of floats, one row a sentence."""


def cached_encode(
    encoder: Encoder, sentences: Sequence[str], *, cache: bool = True, batch_size: int | None = None
) -> Rows:
    """Embed sentences, or read what the same encoder made of the same sentences before.

    Args:
        encoder: Anything with `encode`; it meets every different sentence once.
        sentences: Any number of strings; repeats and empty ones are allowed.
        cache: False neither reads nor writes a file. A folder that cannot be written is a warning.
        batch_size: Passed on to ``encode``; None leaves the encoder's own.

    Returns:
        (n, d) float32 in the caller's order; writing into it does not change the file.

    Raises:
        HncseError: One string in place of a list, an entry that is no string, no sentences; embeddings of another
            shape than (n, d), that are no floats, or with NaN or infinity; a bad ``HNCSE_CACHE_GB`` or ``HNCSE_CACHE``.
    """
    if isinstance(sentences, str):
        raise HncseError(f"sentences is one string {sentences[:40]!r}; put it in a list")
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise HncseError(f"sentence {i} is {sentence!r} ({type(sentence).__name__}); every one must be a str")
    position = {sentence: i for i, sentence in enumerate(dict.fromkeys(sentences))}
    if not position:
        raise HncseError("there are no sentences to encode; give at least one")
    distinct = list(position)
    name = key(encoder, distinct) if cache and limit_bytes() else None
    path = None if name is None else folder() / f"{name}.npy"
    rows = None if path is None else _read(path)
    if rows is None:
        rows = _encode(encoder, distinct, {} if batch_size is None else {"batch_size": batch_size})
        if path is not None and rows.nbytes <= limit_bytes():
            _write(path, rows)
    return rows if len(distinct) == len(sentences) else rows[[position[sentence] for sentence in sentences]]


def limit_bytes() -> int:
    """Most bytes of all files together: ``$HNCSE_CACHE_GB``, a number of at least 0, × 10⁹; 4 × 10⁹ if not set."""
    text = os.environ.get("HNCSE_CACHE_GB") or "4"
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise HncseError(f"HNCSE_CACHE_GB is {text!r}; it must be a number of gigabytes, 0 to turn the cache off")
    return int(size * 1e9)


def key(encoder: Encoder, sentences: Sequence[str]) -> str | None:
    """Hash what decides the embeddings: weights, tokenizer, pooling, configuration, code, versions, and the texts.

    Device and batch size are left out: they change embeddings by rounding only. None for an encoder without
    ``fingerprint()``, which is not cached.
    """
    fingerprint = getattr(encoder, "fingerprint", None)
    if fingerprint is None:
        return None
    config = getattr(getattr(encoder, "backbone", None), "config", None)
    settings = {} if config is None else config.to_dict()
    settings = {name: value for name, value in settings.items() if name[:1] != "_" and name != "transformers_version"}
    versions = [hncse.__version__, importlib.metadata.version("transformers")]
    code = [source_hash("encoder"), *map(_source, type(encoder).__mro__)]
    facts = [code, fingerprint(), getattr(encoder, "pooling", None), versions, settings]
    digest = hashlib.sha256(_MARK + json.dumps(facts, sort_keys=True, default=str).encode())
    for sentence in sentences:
        text = sentence.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)  # with its length: no two lists hash alike
    return digest.hexdigest()


def _source(kind: type) -> str:
    """Name and source of a class of the reader's own; `source_hash` covers the kit's."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] in ("builtins", "torch", "typing", "hncse"):
        return name
    try:
        return name + inspect.getsource(kind)
    except (OSError, TypeError):  # typed into an interpreter
        methods = [member.__code__ for member in vars(kind).values() if isinstance(member, FunctionType)]
        return name + repr([(code.co_name, code.co_code.hex(), code.co_names, code.co_consts) for code in methods])


def _encode(encoder: Encoder, sentences: list[str], options: dict[str, int]) -> Rows:
    from tqdm.auto import tqdm

    hidden = len(sentences) <= _CHUNK or not somebody_watches()
    chunks = [sentences[start : start + _CHUNK] for start in range(0, len(sentences), _CHUNK)]
    bar = tqdm(chunks, desc="encode", unit_scale=_CHUNK, unit=" sentences", disable=hidden)
    return np.concatenate([_as_rows(encoder.encode(chunk, **options), chunk) for chunk in bar])


def _as_rows(embeddings: Any, sentences: list[str]) -> Rows:
    """Turn arrays, torch tensors or lists of them into (n, d) float32, or say what is wrong with them."""
    z = _as_array(embeddings)
    if z.ndim != 2 or len(z) != len(sentences) or not z.size:
        raise HncseError(f"encode() gave an array of shape {z.shape} for {len(sentences)} sentences; it must be (n, d)")
    if z.dtype.kind != "f" and z.dtype.name != "bfloat16":
        raise HncseError(f"encode() gave {z.dtype} values; embeddings must be floating-point numbers")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite and is named below
        rows = z.astype(np.float32, copy=False)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise HncseError(
            f"{len(broken)} of {len(rows)} embeddings hold NaN or infinity, the first that of "
            f"{sentences[broken[0]][:60]!r}; has the training diverged?"
        )
    return rows


def _as_array(embeddings: Any) -> NDArray[Any]:
    if isinstance(embeddings, list | tuple) and embeddings and hasattr(embeddings[0], "detach"):
        embeddings = [_as_array(row) for row in embeddings]
    if hasattr(embeddings, "detach"):  # a torch tensor; numpy knows neither bfloat16 nor gradients
        tensor = embeddings.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    try:
        return np.asarray(embeddings)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise HncseError(f"encode() gave {type(embeddings).__name__}, which is no (n, d) array: {error}") from error


def _is_ours(path: Path) -> bool:
    """Whether a file has the name and the last bytes of a file written here."""
    if not _NAME.fullmatch(path.name):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_MARK)))
        return file.read() == _MARK


def _read(path: Path) -> Rows | None:
    """Map a file's rows into memory, copy on write; None where there is none or it is damaged."""
    try:
        if not _is_ours(path):
            raise ValueError("it is cut off")
        rows = np.load(path, mmap_mode="c", allow_pickle=False).view(np.ndarray)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        _LOG.warning("%s cannot be used and is made again: %s", path, error)
        return None
    with contextlib.suppress(OSError):  # another person's file
        os.utime(path)  # used now: what `_evict` goes by
    return rows


def _write(path: Path, rows: Rows) -> None:
    try:
        with whole_file(path, "wb") as file:
            np.lib.format.write_array(file, rows, allow_pickle=False)
            file.write(_MARK)
        _evict(path)
    except (HncseError, OSError) as error:
        _LOG.warning("embeddings are not cached: %s", error)


def _evict(newest: Path) -> None:
    """Remove files of ours, those not used for longest first, until the rest fit the limit; never ``newest``."""
    files = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            if _is_ours(path):
                files.append((status.st_mtime, status.st_size, path))
            elif _UNFINISHED.fullmatch(path.name) and time.time() - status.st_mtime > _ABANDONED:
                path.unlink()
    total, limit = sum(size for _, size, _ in files), limit_bytes()
    for _, size, path in sorted(files):
        if total > limit and path != newest:
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
