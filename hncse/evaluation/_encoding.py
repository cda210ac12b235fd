"""Embeddings for an evaluation: asked for once, kept on disk if wanted, refused where they are broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError

__all__ = ["Encoder", "check", "encode_once"]


def encode_once(
    encoder: Encoder, sentences: list[str], batch_size: int | None = None, *, cache: bool = False
) -> NDArray[np.floating]:
    """Embed distinct sentences and check what came.

    Args:
        encoder: Called once, unless its embeddings of these sentences are on disk.
        sentences: n of them.
        batch_size: Passed on to ``encode``; None leaves its default.
        cache: Whether `hncse.embedding_cache` may be used.

    Returns:
        (n, d), in the encoder's own precision.

    Raises:
        HncseError: As in `check`.
    """
    if cache:
        return check(cached_encode(encoder, sentences, batch_size=batch_size), len(sentences))
    encode: Callable[..., Any] = encoder.encode
    return check(encode(sentences) if batch_size is None else encode(sentences, batch_size=batch_size), len(sentences))


def check(embeddings: Any, n: int) -> NDArray[np.floating]:
    """Return embeddings as an array, or say what is wrong with them.

    Raises:
        HncseError: A shape other than (n, d), numbers that are no floats, NaN or infinity, or all rows equal.
    """
    z = np.asarray(embeddings)
    if z.ndim != 2 or len(z) != n or not z.size:
        raise HncseError(f"encode() gave an array of shape {z.shape} for {n} sentences; it must be (n, d)")
    if not np.issubdtype(z.dtype, np.floating):
        raise HncseError(f"encode() gave {z.dtype} values; embeddings must be floating-point numbers")
    if broken := int((~np.isfinite(z)).any(axis=1).sum()):
        raise HncseError(f"{broken} of {len(z)} embeddings hold NaN or infinity; has the training diverged?")
    if (z == z[0]).all():
        raise HncseError(f"all {n} embeddings are equal, so nothing can be told apart; has the training collapsed?")
    return z
