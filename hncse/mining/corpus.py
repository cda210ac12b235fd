"""The sentences a miner searches: a list, or a stream too large for memory, handed out in blocks without copies."""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError

__all__ = ["Listed", "Pool", "Spooled", "pool", "stream"]

Integers = NDArray[np.int64]


class Pool(ABC):
    """Sentences to search. A position counts every sentence given, copies and blank ones too.

    Attributes:
        total: Sentences given so far.
        copies: Those equal to an earlier one; only the first of equal sentences is searched.
        blank: Those without a character that is no blank; never searched.
    """

    total = copies = blank = 0

    def blocks(self, size: int) -> Iterator[tuple[list[str], Integers]]:
        """Yield up to ``size`` different sentences at a time, and their positions (m,), rising."""
        texts: list[str] = []
        places: list[int] = []
        for place, text in self._distinct():
            texts.append(text)
            places.append(place)
            if len(texts) == size:
                yield texts, np.array(places, dtype=np.int64)
                texts, places = [], []
        if texts:
            yield texts, np.array(places, dtype=np.int64)

    @abstractmethod
    def texts(self, index: Integers) -> list[str]:
        """Sentences at positions (p,), in the order asked for."""

    def _distinct(self) -> Iterator[tuple[int, str]]:
        """Yield first occurrences with their positions, counting the rest."""
        seen: set[bytes | str] = set()
        for place, text in enumerate(self._given()):
            self.total += 1
            if not isinstance(text, str):
                raise HncseError(f"sentence {place} of the corpus is {text!r:.60}; every one must be a str")
            mark = self._mark(text)
            if not text.strip():
                self.blank += 1
            elif mark in seen:
                self.copies += 1
            else:
                seen.add(mark)
                yield place, text

    @abstractmethod
    def _given(self) -> Iterator[str]:
        """Yield every sentence, as it was given."""

    def _mark(self, text: str) -> bytes | str:
        return text


class Listed(Pool):
    """Sentences in memory."""

    def __init__(self, sentences: Sequence[str]) -> None:
        """Take the sentences as they are."""
        self._sentences = sentences

    def texts(self, index: Integers) -> list[str]:
        """Sentences at positions (p,), in the order asked for."""
        return [self._sentences[i] for i in index.tolist()]

    def _given(self) -> Iterator[str]:
        return iter(self._sentences)


class Spooled(Pool):
    """Sentences of a stream, written to an unnamed temporary file as they pass.

    In memory stay 8 bytes a sentence (where it begins) and about 100 (a hash that finds copies).
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        """Open the temporary file; it vanishes with this object."""
        self._stream = sentences
        self._file = tempfile.TemporaryFile(prefix="hncse-corpus-")  # noqa: SIM115  lives as long as this object
        self._ends = array("Q", [0])

    def texts(self, index: Integers) -> list[str]:
        """Sentences at positions (p,), in the order asked for; the file is read from front to back."""
        wanted, place = np.unique(index, return_inverse=True)
        found = [self._read(i) for i in wanted.tolist()]
        return [found[i] for i in place.tolist()]

    def _read(self, i: int) -> str:
        self._file.seek(self._ends[i])
        return self._file.read(self._ends[i + 1] - self._ends[i]).decode("utf-8", "surrogatepass")

    def _given(self) -> Iterator[str]:
        for text in self._stream:
            if isinstance(text, str):
                data = text.encode("utf-8", "surrogatepass")
                try:
                    self._file.write(data)
                except OSError as error:
                    raise HncseError(
                        f"the corpus could not be kept in {tempfile.gettempdir()} ({error.strerror or error}); make "
                        "room there, or set TMPDIR to another folder"
                    ) from error
                self._ends.append(self._ends[-1] + len(data))
            yield text

    def _mark(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def pool(corpus: Iterable[str] | str | Path, limit: int | None = None, column: str | None = None) -> Pool:
    """Make a pool of whatever was given as a corpus.

    Args:
        corpus: A list, an iterator of sentences (read once, kept on disk), a file or the name of a source.
        limit: At most so many sentences, the first.
        column: Column of a file.

    Raises:
        HncseError: No such source; a limit below 1; a column given with sentences.
    """
    if limit is not None and limit < 1:
        raise HncseError(f"limit is {limit}; it must be at least 1, or None for the whole corpus")
    if isinstance(corpus, str | Path):
        return Spooled(stream(corpus, limit, column))
    if column is not None:
        raise HncseError(f"column is {column!r}, but the corpus is sentences and no file; leave column out")
    corpus = getattr(corpus, "sentences", corpus)  # a hncse.data.corpora.Corpus
    if isinstance(corpus, Sequence):
        return Listed(corpus if limit is None else corpus[:limit])
    return Spooled(islice(corpus, limit))


def stream(source: str | Path, limit: int | None = None, column: str | None = None) -> Iterator[str]:
    """Read a source of `hncse.data.corpora` sentence by sentence, cleaned as its `load` does.

    Args:
        source: ``wikipedia``, ``wiki1m``, ``docstrings``, a file, or ``hf:<dataset>:<column>``.
        limit: The first so many sentences (`load` draws a sample of most sources, which needs all of them at once).
        column: Column or key of a .csv, .tsv, .jsonl or .parquet file.

    Raises:
        HncseError: As `hncse.data.corpora.load`.
    """
    from hncse.data import corpora

    return corpora.stream(source, limit=limit, column=column)
