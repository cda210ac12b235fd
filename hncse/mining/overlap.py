"""Near-duplicate text: equal after normalising, or sharing most of their words or character 5-grams.

Overlap is the Jaccard coefficient |A ∩ B| / |A ∪ B|. It is exact, and quick over millions of pairs: a sketch of a few
machine words bounds it from above, and only pairs that pass are compared as sets.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRAM", "Sketches", "character_grams", "jaccard", "normalised", "overlapping", "sketches", "words"]

GRAM = 5  # characters

_WORD = re.compile(r"\w+")
_WORD_BITS, _GRAM_BITS = 128, 512  # a sentence has about 20 words and 110 grams
_CHUNK = 8_192  # texts sketched, and pairs compared, at a time
_FACTORS = np.random.default_rng(5).integers(1, 1 << 62, GRAM, dtype=np.uint64) | np.uint64(1)
_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]


def normalised(text: str) -> str:
    """Lower-case words joined by single blanks, without punctuation; the text itself where it has no words."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def words(text: str) -> set[str]:
    """Different words of a normalised text; never empty for a text that is not blank."""
    return set(text.split())


def character_grams(text: str) -> set[str]:
    """Different runs of `GRAM` characters of a normalised text; a shorter text is its own only gram."""
    return {text[i : i + GRAM] for i in range(len(text) - GRAM + 1)} or {text}


def jaccard(a: set[str], b: set[str]) -> float:
    """|A ∩ B| / |A ∪ B| of two sets that are not both empty."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


@dataclass(frozen=True)
class Sketches:
    """What is kept of n texts for a comparison.

    Attributes:
        digest: (n, 2) uint64, equal for equal normalised texts (128 bits of a hash).
        word: (n, 2) uint64, a bit for every word.
        word_count: (n,) int64, words counted with repeats; an upper bound of the different ones.
        gram: (n, 8) uint64, a bit for every character gram.
        gram_count: (n,) int64, likewise.
    """

    digest: Words
    word: Words
    word_count: Integers
    gram: Words
    gram_count: Integers

    def of(self, feature: str) -> tuple[Words, Integers]:
        """Sketch and size of ``"word"`` or ``"gram"``."""
        return (self.word, self.word_count) if feature == "word" else (self.gram, self.gram_count)


def sketches(parts: Iterable[Sequence[str]]) -> Sketches:
    """Sketch texts that come in parts; the parts need not stay in memory."""
    made = [_sketch([normalised(text) for text in part]) for part in parts]
    columns: list[Any] = [np.concatenate(column) for column in zip(*made, strict=True)]
    return Sketches(*columns)


def overlapping(
    feature: str,
    threshold: float,
    left: tuple[Sketches, Integers],
    right: tuple[Sketches, Integers],
    texts: Callable[[Integers], list[tuple[str, str]]],
) -> NDArray[np.bool_]:
    """Say which pairs of texts overlap by at least ``threshold``.

    Args:
        feature: ``"word"`` or ``"gram"``.
        threshold: Jaccard coefficient, above 0.
        left: Sketches, and a row of them for each of the p pairs.
        right: Likewise.
        texts: Gives both texts of pairs (c,), as they stand in the corpus; asked only for pairs that may overlap.

    Returns:
        (p,) bool.
    """
    sets = words if feature == "word" else character_grams
    near = np.flatnonzero(_may_overlap(feature, threshold, left, right))
    out = np.zeros(len(left[1]), dtype=bool)
    for start in range(0, len(near), _CHUNK):
        part = near[start : start + _CHUNK]
        both = [(sets(normalised(a)), sets(normalised(b))) for a, b in texts(part)]
        out[part] = [jaccard(a, b) >= threshold for a, b in both]
    return out


def _may_overlap(
    feature: str, threshold: float, left: tuple[Sketches, Integers], right: tuple[Sketches, Integers]
) -> NDArray[np.bool_]:
    """False where the sketches prove that a pair overlaps less.

    With s = |A| + |B| and x = |A Δ B| the Jaccard coefficient is (s - x) / (s + x). Every bit in which the sketches
    differ takes an element of A Δ B, so x is at least their number, and a larger s only raises the bound.
    """
    (a, a_count), (b, b_count) = left[0].of(feature), right[0].of(feature)
    out = np.empty(len(left[1]), dtype=bool)
    for start in range(0, len(out), _CHUNK):
        i, j = left[1][start : start + _CHUNK], right[1][start : start + _CHUNK]
        differing = _ones(a[i] ^ b[j])  # (c,)
        size = a_count[i] + b_count[j]  # (c,)
        out[start : start + _CHUNK] = size - differing >= threshold * (size + differing) - 1e-9
    return out


def _ones(rows: Words) -> Integers:
    """Bits set in each row of (c, w) words."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.bitwise_count(rows).sum(axis=1, dtype=np.int64)
    return _BITS[rows.view(np.uint8)].sum(axis=1, dtype=np.int64)


def _sketch(texts: list[str]) -> tuple[Words, Words, Integers, Words, Integers]:
    """Sketch normalised texts; the columns of `Sketches`."""
    digests = b"".join(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts)
    split = [text.split() for text in texts]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    starts = range(0, max(len(texts), 1), _CHUNK)
    grams = [_gram_bits(texts[i : i + _CHUNK], lengths[i : i + _CHUNK]) for i in starts]
    return (
        np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2),
        _word_bits(split),
        np.array([len(parts) for parts in split], dtype=np.int64),
        np.concatenate(grams),
        np.maximum(lengths - GRAM + 1, 1),
    )


def _word_bits(split: list[list[str]]) -> Words:
    """(n, 2) words with a bit for every word. Python's hash differs between processes; what is decided does not."""
    bits = np.zeros((len(split), _WORD_BITS), dtype=bool)
    for row, parts in enumerate(split):
        bits[row, [hash(word) % _WORD_BITS for word in parts]] = True
    return np.packbits(bits, axis=1).view(np.uint64)


def _gram_bits(texts: list[str], lengths: Integers) -> Words:
    """(n, 8) words with a bit for every character gram, hashed all at once as products modulo 2⁶⁴."""
    bits = np.zeros((len(texts), _GRAM_BITS), dtype=bool)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) >= GRAM:
        mixed = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
        for offset, factor in enumerate(_FACTORS):
            mixed += codes[offset : offset + len(mixed)] * factor
        row = np.repeat(np.arange(len(texts)), lengths)[: len(mixed)]
        ends = np.cumsum(lengths)[row]
        inside = np.arange(len(mixed)) + GRAM <= ends  # a gram does not reach into the next text
        bits[row[inside], (mixed[inside] >> np.uint64(40)) % np.uint64(_GRAM_BITS)] = True
    for short in np.flatnonzero(lengths < GRAM):
        bits[short, hash(texts[short]) % _GRAM_BITS] = True
    return np.packbits(bits, axis=1).view(np.uint64)
