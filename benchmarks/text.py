"""Sentences to measure with: real Wikipedia where HNCSE_DATA holds it, else pseudo-sentences of the same lengths."""

from __future__ import annotations

import itertools
import lzma
import os
from pathlib import Path

import numpy as np

__all__ = ["repeated", "sentences"]

_LOG_MEAN, _LOG_SD = 2.99, 0.50  # of words a sentence in English Wikipedia: a mean of 22.4
_SPLIT = 0.35  # chance that a pseudo-word has one piece more


def sentences(n: int, seed: int = 0) -> tuple[list[str], str]:
    """Give n distinct sentences and say where they come from."""
    folder = os.environ.get("HNCSE_DATA")
    files = sorted(Path(folder, "wikipedia").glob("*.txt.xz")) if folder else []
    if files:
        with lzma.open(files[0], "rt", encoding="utf-8") as lines:
            return [line.strip() for line in itertools.islice(lines, n)], "Wikipedia"
    return _pseudo(n, seed), "pseudo-sentences"


def repeated(n: int, seed: int = 0) -> tuple[list[str], str]:
    """Give n sentences as STS files hold them: pairs, among which sentences come back (a third are copies)."""
    distinct, source = sentences(n - n // 3, seed)
    copies = np.random.default_rng(seed).integers(len(distinct), size=n // 3)
    out = distinct + [distinct[i] for i in copies]
    return [out[i] for i in np.random.default_rng(seed + 1).permutation(n)], source


def _pseudo(n: int, seed: int) -> list[str]:
    from hncse.encoder.loading import KIT

    vocabulary = (KIT / "vocab.txt").read_text(encoding="utf-8").split()
    starts = np.array([w for w in vocabulary if w.isalpha() and w.isascii()])
    inside = np.array([w[2:] for w in vocabulary if w.startswith("##") and w[2:].isalpha() and w.isascii()])
    draw = np.random.default_rng(seed)
    out: dict[str, None] = {}
    while len(out) < n:
        length = max(3, int(draw.lognormal(_LOG_MEAN, _LOG_SD)))
        words = starts[_zipf(draw, len(starts), length)]
        pieces = draw.geometric(1 - _SPLIT, length) - 1  # further pieces of each word
        tails = ["".join(inside[draw.integers(len(inside), size=k)]) for k in pieces]
        out[" ".join(w + t for w, t in zip(words, tails, strict=True)).capitalize() + "."] = None
    return list(out)


def _zipf(draw: np.random.Generator, size: int, n: int) -> np.ndarray:
    """Ranks with probability about 1/rank, as words have."""
    return (size ** draw.random(n)).astype(int) - 1
