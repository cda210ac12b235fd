"""Sentences → embeddings: float32, checked, computed once, kept in files under which nothing stale can be found.

from hncse.data.embedding_cache import cached_encode
z = cached_encode(encoder, sentences)                       # (n, d) float32; the second time it is read from disk

A file's name is a hash of everything that decides its content: weights, tokenizer, pooling, the code that embeds, the
texts. Files lie in ``$HNCSE_CACHE`` (else the user's cache folder of this kit), at most ``$HNCSE_CACHE_GB`` gigabytes
of them (default 4; 0 turns the cache off); the ones not used for longest go first. Other files there are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import hncse
from hncse.errors import HncseError
from hncse.files import expand, somebody_watches, source_hash, whole_file

__all__ = ["Encoder", "as_rows", "cached_encode", "folder", "key", "limit_bytes"]

_LOG = logging.getLogger(__name__)

_CHUNK = 20_000  # sentences encoded at a time; the step of the progress bar
_LIMIT_GB = 4.0
_MARK = b"hncse embeddings"  # the last bytes of every file of ours: it is whole, and nobody else's
_NAME = re.compile(r"[0-9a-f]{64}\.npy")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.npy-[0-9a-f]{8}")  # of a process that was killed (hncse.files)
_LEFTOVER = 86_400  # seconds after which an unfinished file has no writer any more

Rows = NDArray[np.float32]


class Encoder(Protocol):
    """Anything with `encode`; with `fingerprint` as well (as `hncse.SentenceEncoder` has it), it is cached."""

    def encode(self, sentences: list[str], /) -> Any:
        """Return an (n, d) array or tensor of floats, one row a sentence."""


def cached_encode(
    encoder: Encoder, sentences: Sequence[str], *, cache: bool = True, batch_size: int | None = None
) -> Rows:
    """Embed sentences, or read what the same encoder made of the same sentences before.

    Every distinct sentence is encoded once. An encoder without ``fingerprint()`` (a test's fake, a
    sentence_transformers model) works as well and is not cached. Where the cache folder cannot be written, a warning
    says so and the embeddings are computed. Device and batch size are not in the key: they change embeddings by
    rounding only.

    Args:
        encoder: Anything with `encode`.
        sentences: Any number of strings; repeats and empty ones are allowed.
        cache: False neither reads nor writes a file.
        batch_size: Passed on to ``encode``; None leaves the encoder's own.

    Returns:
        (n, d) float32 in the caller's order. Where it was read from a file and no sentence repeats, it is mapped
        from there; writing into it changes the caller's copy only.

    Raises:
        HncseError: One string instead of a list, an entry that is no string, no sentences, embeddings that `as_rows`
            refuses (they are never written to the cache), a bad ``HNCSE_CACHE_GB`` or ``HNCSE_CACHE``.
    """
    distinct, position = _distinct(sentences)
    place = _place(encoder, distinct) if cache else None
    rows = None if place is None else _read(place, len(distinct))
    if rows is None:
        rows = _encode(encoder, distinct, batch_size)
        if place is not None and rows.nbytes <= limit_bytes():
            rows = _keep(place, rows)
    return rows if len(distinct) == len(position) else rows[position]  # (n, d)


def as_rows(embeddings: Any, sentences: Sequence[str]) -> Rows:
    """Turn what an encoder gave for n sentences into float32 rows, or say what is wrong with it.

    Args:
        embeddings: An array of floats, a torch tensor (any floating dtype, device, with or without gradient), or a
            list of either.
        sentences: The n sentences, to name the first whose row is broken.

    Returns:
        (n, d) float32.

    Raises:
        HncseError: A shape other than (n, d), numbers that are no floats, NaN or infinity.
    """
    z = _as_numpy(embeddings)
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


def _as_numpy(embeddings: Any) -> NDArray[Any]:
    if isinstance(embeddings, list | tuple) and embeddings and hasattr(embeddings[0], "detach"):
        embeddings = [_as_numpy(row) for row in embeddings]
    if hasattr(embeddings, "detach"):  # a torch tensor; numpy knows neither bfloat16 nor gradients
        tensor = embeddings.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    try:
        return np.asarray(embeddings)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise HncseError(f"encode() gave {type(embeddings).__name__}, which is no (n, d) array: {error}") from error


def folder() -> Path:
    """Folder of the files: ``$HNCSE_CACHE``, else ``embeddings/`` of the kit's own cache folder.

    Raises:
        HncseError: ``HNCSE_CACHE`` names a file.
    """
    if given := os.environ.get("HNCSE_CACHE"):
        path = expand(given).absolute()
        if path.exists() and not path.is_dir():
            raise HncseError(
                f"HNCSE_CACHE is {given!r}, which is a file; it must name a folder, there or yet to be made"
            )
        return path
    import platformdirs

    return platformdirs.user_cache_path("hncse") / "embeddings"


def limit_bytes() -> int:
    """Most bytes all files may have together: ``$HNCSE_CACHE_GB`` × 10⁹, 4 × 10⁹ where it is not set.

    Raises:
        HncseError: The variable is no number of at least 0.
    """
    given = os.environ.get("HNCSE_CACHE_GB") or str(_LIMIT_GB)
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise HncseError(f"HNCSE_CACHE_GB is {given!r}; it must be a number of gigabytes, 0 to turn the cache off")
    return int(size * 1e9)


def key(encoder: Encoder, sentences: Sequence[str]) -> str | None:
    """Hash everything that decides the embeddings: the encoder (weights, tokenizer, pooling, code) and the texts.

    Args:
        encoder: Its ``fingerprint()`` covers weights, tokenizer, pooling and length limit. Class, its source and the
            kit's encoder code, configuration (activation, heads, …) and package versions are added here.
        sentences: In order; each enters with its length, so that no two lists hash alike.

    Returns:
        64 hexadecimal digits; None for an encoder without ``fingerprint()``.
    """
    fingerprint: Callable[[], str] | None = getattr(encoder, "fingerprint", None)
    if fingerprint is None:
        return None
    kind = type(encoder)
    code = [f"{kind.__module__}.{kind.__qualname__}", *_code(kind), source_hash("encoder")]
    versions = [hncse.__version__, _transformers_version()]
    facts = [code, fingerprint(), getattr(encoder, "pooling", None), versions, _configuration(encoder)]
    digest = hashlib.sha256(_MARK + json.dumps(facts, sort_keys=True, default=str).encode())
    for sentence in sentences:
        text = sentence.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


@functools.cache
def _transformers_version() -> str:
    return importlib.metadata.version("transformers")


def _code(kind: type) -> list[str]:
    """Source of a class and of its bases, as far as they are no library's."""
    texts = []
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] not in ("builtins", "torch", "typing"):
            file = Path(getattr(sys.modules.get(base.__module__), "__file__", None) or "")
            texts.append(_class_source(base, file.stat().st_mtime_ns if file.is_file() else 0))
    return texts


@functools.lru_cache(maxsize=64)
def _class_source(kind: type, _changed_ns: int) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into an interpreter
        methods = [member.__code__ for member in vars(kind).values() if isinstance(member, FunctionType)]
        return repr([(code.co_name, code.co_code.hex(), code.co_names, code.co_consts) for code in methods])


def _distinct(sentences: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct sentences in order of appearance, and where each given one stands among them, (n,)."""
    if isinstance(sentences, str):
        raise HncseError(f"sentences is one string {sentences[:40]!r}; put it in a list")
    index: dict[str, int] = {}
    position = np.empty(len(sentences), dtype=np.int64)
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise HncseError(f"sentence {i} is {sentence!r} ({type(sentence).__name__}); every one must be a str")
        position[i] = index.setdefault(sentence, len(index))
    if not index:
        raise HncseError("there are no sentences to encode; give at least one")
    return list(index), position


def _configuration(encoder: Encoder) -> dict[str, Any]:
    """What the backbone's configuration says, without where it was loaded from and by what."""
    config = getattr(getattr(encoder, "backbone", None), "config", None)
    as_dictionary: Callable[[], dict[str, Any]] = getattr(config, "to_dict", dict)
    facts = as_dictionary()
    return {name: value for name, value in facts.items() if name[:1] != "_" and name != "transformers_version"}


def _encode(encoder: Encoder, sentences: list[str], batch_size: int | None) -> Rows:
    """Encode in chunks, (n, d)."""
    from tqdm.auto import tqdm

    options = {} if batch_size is None else {"batch_size": batch_size}
    rows = np.empty((0, 0), dtype=np.float32)
    with tqdm(
        total=len(sentences),
        desc="encode",
        unit=" sentences",
        disable=not (somebody_watches() and len(sentences) > _CHUNK),
    ) as bar:
        for start in range(0, len(sentences), _CHUNK):
            part = sentences[start : start + _CHUNK]
            chunk = as_rows(encoder.encode(part, **options), part)  # (c, d)
            if start == 0:
                rows = np.empty((len(sentences), chunk.shape[1]), dtype=np.float32)
            elif chunk.shape[1] != rows.shape[1]:
                raise HncseError(f"encode() gave rows of {chunk.shape[1]} numbers after rows of {rows.shape[1]}")
            rows[start : start + len(part)] = chunk
            bar.update(len(part))
    return rows


def _place(encoder: Encoder, sentences: list[str]) -> Path | None:
    """File of these embeddings, there or not; None where the cache is off or the encoder has no fingerprint."""
    if limit_bytes() == 0:
        return None
    name = key(encoder, sentences)
    return None if name is None else folder() / f"{name}.npy"


def _is_ours(path: Path) -> bool:
    """Whether a file has the name and the last bytes of a file written here."""
    if not _NAME.fullmatch(path.name):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_MARK)))
        return file.read() == _MARK


def _read(path: Path, n: int) -> Rows | None:
    """Map a file's rows into memory, copy on write; None where there is none or it is damaged."""
    try:
        if not _is_ours(path):
            raise ValueError("it is cut off")
        rows = np.load(path, mmap_mode="c", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        _LOG.warning("%s cannot be used and is made again: %s", path, error)
        return None
    with contextlib.suppress(OSError):  # another person's file
        os.utime(path)  # used now: what `_evict` goes by
    return rows.view(np.ndarray) if rows.ndim == 2 and len(rows) == n and rows.dtype == np.float32 else None


def _keep(place: Path, rows: Rows) -> Rows:
    """Write rows to a file and return them as mapped from there; warn and return them where that fails."""
    try:
        with whole_file(place, "wb") as file:
            np.lib.format.write_array(file, rows, allow_pickle=False)
            file.write(_MARK)
        _evict(place)
    except (HncseError, OSError) as error:
        _LOG.warning("embeddings are not cached: %s", error)
        return rows
    stored = _read(place, len(rows))
    return rows if stored is None else stored


def _evict(newest: Path) -> None:
    """Remove files of ours, those not used for longest first, until the rest fit the limit; never ``newest``."""
    files = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            if _is_ours(path):
                files.append((status.st_mtime, status.st_size, path))
            elif _UNFINISHED.fullmatch(path.name) and time.time() - status.st_mtime > _LEFTOVER:
                path.unlink()
    total, limit = sum(size for _, size, _ in files), limit_bytes()
    for _, size, path in sorted(files):
        if total > limit and path != newest:
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
