"""Anchors, positives and a corpus → every anchor's nearest k, its own text left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError
from hncse.mining.corpus import Listed, Pool
from hncse.mining.guards import Neighbours
from hncse.mining.search import Nearest, pair_similarity, unit_rows

__all__ = ["Given", "Search"]

_LONG = 2_000_000_000  # similarities to compute from which on a progress bar shows: some seconds

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Block = tuple[list[str], Integers]


@dataclass(frozen=True)
class Given:
    """Anchors and positives, checked.

    Attributes:
        anchors: n texts.
        positives: n texts, or None where an anchor is its own positive.
        labels: Text → label: 0 … u-1 are the u different anchors in order of appearance, positives follow.
        row: (n,) label of each anchor.
        own: (u, p) labels of each different anchor's positives, padded with -1; p is 0 where positives is None.
    """

    anchors: list[str]
    positives: list[str] | None
    labels: dict[str, int]
    row: Integers
    own: Integers

    @property
    def distinct(self) -> int:
        """Number u of different anchors."""
        return len(self.own)

    @classmethod
    def read(cls, anchors: Sequence[str], positives: Sequence[str] | None) -> Given:
        """Check and number the texts.

        Raises:
            HncseError: No anchors, one that is blank or no string, positives that are missing or too many.
        """
        texts = _checked(anchors, "anchor")
        answers = None if positives is None else _checked(positives, "positive")
        if answers is not None and len(answers) != len(texts):
            raise HncseError(
                f"there are {len(texts)} anchors and {len(answers)} positives; every anchor needs its own (leave "
                "positives out to take each anchor for its own positive)"
            )
        labels: dict[str, int] = {}
        row = np.array([labels.setdefault(text, len(labels)) for text in texts], dtype=np.int64)
        several: list[dict[int, None]] = [{} for _ in labels]  # dictionaries for their order
        for label, text in zip(row.tolist(), answers or [], strict=False):
            several[label][labels.setdefault(text, len(labels))] = None
        own = np.full((len(several), max(map(len, several))), -1, dtype=np.int64)
        for label, mine in enumerate(several):
            own[label, : len(mine)] = list(mine)
        return cls(texts, answers, labels, row, own)

    def positive_similarity(self, rows: Floats) -> Floats:
        """Similarity of every given pair, (n,), from the labels' unit rows; 1 where an anchor is its own positive."""
        if self.positives is None:
            return np.ones(len(self.row), dtype=np.float32)
        partner = np.array([self.labels[text] for text in self.positives], dtype=np.int64)
        return pair_similarity(rows, self.row, rows, partner)


@dataclass(frozen=True)
class Search:
    """How to look for neighbours.

    Attributes:
        encoder: What embeds.
        k: Neighbours wanted.
        exact: Whether fewer than k for everybody are an error.
        options: Passed on to `cached_encode`.
        block: Sentences searched at a time.
        backend: See `hncse.mining.search.pick_backend`.
        show_progress: A bar; None shows one on long work.
    """

    encoder: Encoder
    k: int
    exact: bool
    options: dict[str, Any]
    block: int
    backend: str | None
    show_progress: bool | None

    def run(self, given: Given, searched: Pool) -> tuple[Neighbours, Floats]:
        """Search.

        Returns:
            The different anchors' neighbours (with the least similar positive of each), and (n,) the similarity of
            every given pair.

        Raises:
            HncseError: The corpus is too small for k, or holds nothing an anchor may have.
        """
        blocks, rows, size = self._prepare(given, searched)
        k = self.k if size is None else min(self.k, size)
        nearest = Nearest(rows[: given.distinct], k, self.backend)
        seen = np.full(len(given.labels) + 1, -2, dtype=np.int64)  # label → position in the corpus; the last: none
        steps = None if size is None else given.distinct * -(-size // self.block)
        with self._bar(given.distinct * (size or self.block), steps) as bar:
            for texts, places, block_rows in blocks:
                labels = np.array([given.labels.get(text, -1) for text in texts], dtype=np.int64)  # (m,)
                seen[labels[labels >= 0]] = places[labels >= 0]
                for done in nearest.add(block_rows, places, np.where(labels < given.distinct, labels, -1)):
                    bar.update(done)
        similarity, index = self._trimmed(nearest, searched)
        each = given.positive_similarity(rows)  # (n,)
        least = np.full(given.distinct, np.inf, dtype=np.float32)
        np.minimum.at(least, given.row, each)
        texts = list(given.labels)[: given.distinct]
        return Neighbours(texts, least, similarity, index, seen[given.own], searched), each

    def _prepare(
        self, given: Given, searched: Pool
    ) -> tuple[Iterable[tuple[list[str], Integers, Floats]], Floats, int | None]:
        """Blocks with their unit rows, the labels' unit rows, and how many sentences there are (None: not known)."""
        if not isinstance(searched, Listed):
            return self._streamed(searched), self._unit(list(given.labels)), None
        parts = list(searched.blocks(self.block))
        size = sum(len(texts) for texts, _ in parts)
        if self.exact and self.k > size:
            raise _too_small(self.k, size, searched)
        place = dict(given.labels)  # text → row; every different text is encoded once
        for texts, _ in parts:
            for text in texts:
                place.setdefault(text, len(place))
        rows = self._unit(list(place))  # (t, d)
        return _listed(parts, place, rows), rows, size

    def _streamed(self, searched: Pool) -> Iterator[tuple[list[str], Integers, Floats]]:
        for texts, places in searched.blocks(self.block):
            yield texts, places, self._unit(texts)

    def _unit(self, texts: list[str]) -> Floats:
        return unit_rows(cached_encode(self.encoder, texts, **self.options))

    def _trimmed(self, nearest: Nearest, searched: Pool) -> tuple[Floats, Integers]:
        """Cut columns that nobody filled; complain where k was asked for and nobody could fill it."""
        depth = int((nearest.index >= 0).sum(axis=1).max())
        if depth == 0:
            raise HncseError(
                f"the corpus of {searched.total} sentences ({searched.copies} copies, {searched.blank} blank) holds "
                "nothing but the anchor's own text; give a larger one"
            )
        if self.exact and depth < self.k:
            raise _too_small(self.k, depth, searched)
        return nearest.similarity[:, :depth], nearest.index[:, :depth]

    def _bar(self, work: int, steps: int | None) -> Any:
        from tqdm.auto import tqdm

        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        show = self.show_progress if self.show_progress is not None else watched and work > _LONG
        return tqdm(total=steps, desc="search", unit=" anchors", disable=not show)


def _listed(parts: list[Block], place: dict[str, int], rows: Floats) -> Iterator[tuple[list[str], Integers, Floats]]:
    """Yield blocks with their rows: a view where they lie together, as they do where the anchors are the corpus."""
    for texts, places in parts:
        at = np.array([place[text] for text in texts], dtype=np.int64)  # (m,)
        together = at[-1] - at[0] == len(at) - 1 and (np.diff(at) == 1).all()
        yield texts, places, rows[at[0] : at[-1] + 1] if together else rows[at]


def _checked(texts: Sequence[str], what: str) -> list[str]:
    """Return sentences as a list.

    Raises:
        HncseError: One string, none, one that is missing, no string, or blank.
    """
    if isinstance(texts, str):
        raise HncseError(f"{what}s is one string {texts[:40]!r}; put it in a list")
    texts = list(getattr(texts, "sentences", texts))  # a hncse.data.corpora.Corpus
    if not texts:
        raise HncseError(f"there are no {what}s; give at least one sentence")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise HncseError(f"{what} {i} is {text!r} ({type(text).__name__}); every {what} must be a sentence")
        if not text.strip():
            raise HncseError(f"{what} {i} is {text!r}, a blank sentence; leave it out (corpora.load does)")
    return texts


def _too_small(k: int, there: int, searched: Pool) -> HncseError:
    left_out = (
        f", {searched.copies} copies and {searched.blank} blank left out" if searched.copies + searched.blank else ""
    )
    return HncseError(
        f"k is {k}, but no anchor can have more than {there} neighbours in a corpus of {searched.total} sentences"
        f"{left_out}; ask for at most {there}, or leave k out"
    )
