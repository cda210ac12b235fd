"""Everyday English sentences in families: a sentence and others that look almost the same and mean something else.

minimal_pairs.families(3)     # three families, a base sentence and its variants by phenomenon each
minimal_pairs.sentences(6_400)

The words and the families' patterns stand in minimal_pairs.toml, which anybody can read and extend; the card is
MINIMAL_PAIRS.md. The same on every machine: nothing but the seed decides, and of `random.Random` only ``random()`` is
used, which Python promises not to change.

Taught in notebooks/03_train.ipynb.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hncse.errors import HncseError

__all__ = ["AVAILABLE", "Family", "families", "phenomena", "sentences"]

#: Sentences that a corpus without a limit has.
AVAILABLE = 100_000

_SLOT = re.compile(r"\{([a-z]+)(\d?)(?:\.([a-z]+))?\}")
_BEFORE_A_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou])")

Row = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """A base sentence and its minimal variants: (phenomenon, sentence) each, near in words and another in meaning."""

    base: str
    variants: tuple[tuple[str, str], ...]

    def __iter__(self) -> Iterator[str]:
        """Yield the base and the variants."""
        yield self.base
        yield from (text for _, text in self.variants)


def families(count: int, seed: int = 0) -> tuple[Family, ...]:
    """Generate families until they hold ``count`` different sentences; the last may bring a few more.

    Every pattern takes its turn, in an order that the seed shuffles.

    Raises:
        HncseError: More than `AVAILABLE` were asked for.
    """
    if count > AVAILABLE:
        raise HncseError(f"minimal-pairs has {AVAILABLE:,} sentences, {count:,} were asked for")
    return _families(count, seed)


def sentences(count: int | None = None, seed: int = 0) -> list[tuple[int, str]]:
    """Generate (number of the family, sentence), family by family; a smaller count is the beginning of a larger one.

    ``count`` is at most `AVAILABLE`, which None stands for.
    """
    count = AVAILABLE if count is None else min(count, AVAILABLE)
    numbered = ((number, text) for number, family in enumerate(families(count, seed)) for text in family)
    return list(islice(numbered, count))


@functools.lru_cache(maxsize=2)
def _families(count: int, seed: int) -> tuple[Family, ...]:
    words, patterns = _grammar()
    rng = random.Random(seed)
    used: set[str] = set()
    result: list[Family] = []
    while True:
        for pattern in _draw(rng, patterns, len(patterns)):
            if len(used) >= count:
                return tuple(result)
            family = _family(rng, words, pattern)
            if used.isdisjoint(family):
                used.update(family)
                result.append(family)


def phenomena() -> dict[str, int]:
    """Count the patterns of variants by phenomenon, most first."""
    counts: dict[str, int] = {}
    for pattern in _grammar()[1]:
        for phenomenon, _ in pattern[1:]:
            counts[phenomenon] = counts.get(phenomenon, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@functools.cache
def _grammar() -> tuple[dict[str, list[Row]], list[list[tuple[str, str]]]]:
    """Read the lists of words, and each family's pattern as (phenomenon, text) with its base first."""
    raw = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    words: dict[str, list[Row]] = {}
    for name, text in raw["words"].items():
        words[name] = _rows(text, words)
    patterns = [
        [(name, text) for name, texts in family.items() for text in ([texts] if isinstance(texts, str) else texts)]
        for family in raw["family"]
    ]
    return words, patterns


def _rows(text: str, words: dict[str, list[Row]]) -> list[Row]:
    head, colon, body = text.rpartition(":")
    columns = head.split("/") if colon else []
    rows = []
    for entry in body.split(";"):
        cells = [cell.strip() for cell in entry.split("/")]
        firsts = [row[""] for row in words[cells[0][1:]]] if cells[0].startswith("@") else cells[:1]
        for first in firsts:
            row = dict(zip(columns, (cell or first for cell in [first, *cells[1:]]), strict=False)) | {"": first}
            end = row.pop("+", "")
            rows.append({column: f"{cell} {end}".strip() for column, cell in row.items()})
    return rows


def _family(rng: random.Random, words: dict[str, list[Row]], pattern: list[tuple[str, str]]) -> Family:
    """Fill one pattern: different words for {name}, {name2}, {name3} of a list, the same in base and variants."""
    slots = sorted({(name, number) for _, text in pattern for name, number, _ in _SLOT.findall(text)})
    rows: dict[tuple[str, str], Row] = {}
    for name in sorted({name for name, _ in slots}):
        numbers = [number for other, number in slots if other == name]
        rows |= zip([(name, number) for number in numbers], _draw(rng, words[name], len(numbers)), strict=True)
    filled = [(phenomenon, _sentence(text, rows)) for phenomenon, text in pattern]
    return Family(filled[0][1], tuple(filled[1:]))


def _sentence(text: str, rows: dict[tuple[str, str], Row]) -> str:
    text = _SLOT.sub(lambda slot: rows[slot[1], slot[2]][slot[3] or ""], text)
    return _BEFORE_A_VOWEL.sub(r"\1n ", text[0].upper() + text[1:])


def _draw(rng: random.Random, items: list[T], count: int) -> list[T]:
    """Draw so many different items, in random order."""
    rest = list(items)
    return [rest.pop(int(rng.random() * len(rest))) for _ in range(count)]
