"""Sentences → embeddings, computed once: files keyed by the encoder's weights and the text, never by a name.

from hncse.embedding_cache import cached_encode
z = cached_encode(encoder, sentences)                       # (n, d) float32; the second time it is read from disk

A file's name is a hash of everything that decides its content, so a stale one cannot be found: change one weight and
the name is another. Files lie in ``$HNCSE_CACHE`` (else the user's cache folder of this kit), at most
``$HNCSE_CACHE_GB`` gigabytes of them (default 4; 0 turns the cache off); the ones not used for longest go first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import hncse
from hncse.errors import HncseError

__all__ = ["Encoder", "cached_encode", "folder", "key", "limit_bytes"]

_LOG = logging.getLogger(__name__)

_CHUNK = 20_000  # sentences encoded at a time: bounds memory, and is the step of the progress bar
_LIMIT_GB = 4.0
_FORMAT = "hncse embeddings 1"  # raise it when this module changes what a file holds
_LEFTOVER = 86_400  # seconds after which an unfinished file belongs to a process that was killed

Rows = NDArray[np.float32]


class Encoder(Protocol):
    """Anything with `encode`; with `fingerprint` as well (as `hncse.SentenceEncoder` has it), it is cached."""

    def encode(self, sentences: list[str], /) -> Any:
        """Return an (n, d) array, one row a sentence."""


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
        HncseError: One string instead of a list, an entry that is no string, no sentences, embeddings of the wrong
            shape or with NaN or infinity (never written to the cache), or a bad ``HNCSE_CACHE_GB``.
    """
    distinct, position = _distinct(sentences)
    place = _place(encoder, distinct) if cache else None
    rows = _read(place, len(distinct)) if place is not None else None
    if rows is None:
        rows = _computed(encoder, distinct, batch_size, place)
    return rows if len(distinct) == len(position) else rows[position]  # (n, d)


def folder() -> Path:
    """Folder of the files: ``$HNCSE_CACHE``, else ``embeddings/`` of the kit's own cache folder."""
    if given := os.environ.get("HNCSE_CACHE"):
        return Path(given).expanduser().absolute()
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
        encoder: Its ``fingerprint()`` covers weights, tokenizer, pooling and length limit. Class, configuration
            (activation, heads, …) and package versions are added here.
        sentences: In order; each enters with its length, so that no two lists hash alike.

    Returns:
        64 hexadecimal digits; None for an encoder without ``fingerprint()``.
    """
    fingerprint: Callable[[], str] | None = getattr(encoder, "fingerprint", None)
    if fingerprint is None:
        return None
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    versions = [hncse.__version__, _transformers_version()]
    facts = [_FORMAT, kind, fingerprint(), getattr(encoder, "pooling", None), versions, _configuration(encoder)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for sentence in sentences:
        text = sentence.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


@functools.cache
def _transformers_version() -> str:
    return importlib.metadata.version("transformers")


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


def _place(encoder: Encoder, sentences: list[str]) -> Path | None:
    """File of these embeddings, there or not; None where the cache is off or the encoder has no fingerprint."""
    if limit_bytes() == 0:
        return None
    name = key(encoder, sentences)
    return None if name is None else folder() / f"{name}.npy"


def _read(path: Path, n: int) -> Rows | None:
    """Map a file's rows into memory, copy on write; None where there is none or it is damaged."""
    try:
        rows = np.load(path, mmap_mode="c", allow_pickle=False)
        os.utime(path)  # used now: what eviction goes by
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        _LOG.warning("%s cannot be used and is made again: %s", path, error)
        return None
    return rows.view(np.ndarray) if rows.ndim == 2 and len(rows) == n and rows.dtype == np.float32 else None


def _computed(encoder: Encoder, sentences: list[str], batch_size: int | None, place: Path | None) -> Rows:
    """Encode chunk by chunk, into a file where there is a place for one that is large enough, else into memory."""
    chunks = _chunks(encoder, sentences, batch_size)
    first = next(chunks)  # (c, d); its width says how large the whole is
    size = len(sentences) * first.shape[1] * first.itemsize
    if place is not None and size <= limit_bytes():
        with _fresh_file(place, (len(sentences), first.shape[1])) as rows:
            if rows is not None:
                _fill(rows, first, chunks)
        if rows is not None:
            _evict(place)
            stored = _read(place, len(sentences))
            return rows if stored is None else stored
    rows = np.empty((len(sentences), first.shape[1]), dtype=np.float32)
    _fill(rows, first, chunks)
    return rows


def _fill(rows: Rows, first: Rows, rest: Iterator[Rows]) -> None:
    rows[: len(first)] = first
    start = len(first)
    for part in rest:
        if part.shape[1] != rows.shape[1]:
            raise HncseError(f"encode() gave rows of {part.shape[1]} numbers after rows of {rows.shape[1]}")
        rows[start : start + len(part)] = part
        start += len(part)


def _chunks(encoder: Encoder, sentences: list[str], batch_size: int | None) -> Iterator[Rows]:
    """Yield checked (c, d) float32 rows, in order."""
    from tqdm.auto import tqdm

    options = {} if batch_size is None else {"batch_size": batch_size}
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    with tqdm(
        total=len(sentences), desc="encode", unit=" sentences", disable=not (watched and len(sentences) > _CHUNK)
    ) as bar:
        for start in range(0, len(sentences), _CHUNK):
            part = sentences[start : start + _CHUNK]
            rows = np.asarray(encoder.encode(part, **options), dtype=np.float32)
            if rows.ndim != 2 or len(rows) != len(part):
                raise HncseError(f"encode() gave shape {rows.shape} for {len(part)} sentences, should be (n, d)")
            broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(broken):
                raise HncseError(
                    f"{len(broken)} of {len(part)} embeddings hold NaN or infinity, the first that of "
                    f"{part[broken[0]][:60]!r}; has the training diverged?"
                )
            yield rows
            bar.update(len(part))


@contextlib.contextmanager
def _fresh_file(place: Path, shape: tuple[int, int]) -> Iterator[Rows | None]:
    """Give rows that become a file at ``place`` when the block ends well; None where nothing can be written."""
    temporary = None
    rows: Rows | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.stem[:16]}-", suffix=".npy")
        temporary = Path(name)
        os.close(handle)
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        _reserve(temporary)
    except OSError as error:
        rows = None
        _LOG.warning("embeddings are not cached: %s cannot be written (%s)", place.parent, error.strerror or error)
    try:
        yield rows
        if temporary is not None and rows is not None:
            rows.flush()
            temporary.chmod(0o644)
            with contextlib.suppress(OSError):  # Windows holds on to a file another process has mapped
                temporary.replace(place)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Claim the file's blocks now: a full disk is then an error here and not a crash when pages are written."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _evict(kept: Path) -> None:
    """Remove what was not used for longest until all files fit the limit; never ``kept``."""
    files = []
    for path in kept.parent.glob("*.npy"):
        with contextlib.suppress(OSError):
            status = path.stat()
            if not path.name.startswith("."):
                files.append((status.st_mtime, status.st_size, path))
            elif time.time() - status.st_mtime > _LEFTOVER:
                path.unlink()
    total, limit = sum(size for _, size, _ in files), limit_bytes()
    for _, size, path in sorted(files):
        if total > limit and path != kept:
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
