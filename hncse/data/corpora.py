"""Where training sentences come from: one function, one name.

corpora.load("docstrings")                              # from the installed packages: on every machine
corpora.load("minimal-pairs", limit=6_400)             # generated families of sentences that look almost the same
corpora.load("wikipedia", limit=100_000)                # home()/wikipedia/*.txt(.xz), shuffled files
corpora.load("wiki1m")                                  # the paper's million sentences, fetched once
corpora.load("reviews.csv", column="text")              # your own .txt, .csv, .tsv, .jsonl or .parquet
corpora.load("hf:stanfordnlp/sst2:sentence", limit=50_000)
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from hncse import data, files
from hncse.data import docstrings, minimal_pairs, readers, remote
from hncse.data.readers import Bad, Rows, Tally, Value
from hncse.errors import HncseError, unknown

__all__ = ["MAX_CHARACTERS", "MAX_WORDS", "SOURCES", "Corpus", "from_sentences", "load", "stream"]

_LOG = logging.getLogger(__name__)

#: Names of sources; a file's path and ``hf:<dataset>:<column>`` are sources too.
SOURCES: tuple[str, ...] = ("docstrings", "minimal-pairs", "wikipedia", "wiki1m")
#: A line beyond either is no sentence (a whole document, or data) and is left out.
MAX_WORDS, MAX_CHARACTERS = 2_000, 20_000

_WIKI1M = "wiki1m_for_simcse.txt"
_WIKI1M_LINES = range(999_000, 1_001_001)  # a million; readers differ by a few in what they call a line


@dataclass(frozen=True)
class Corpus:
    """Sentences and where they come from.

    Attributes:
        sentences: The sentences, words separated by single spaces.
        source: What was asked for.
        fingerprint: sha256 over the sentences: the same sentences in the same order have the same one.
        skipped: Lines left out, by reason.
        first_skipped: The first of them, by reason: a line number (a record's number, where there are no lines).
        negatives: A mined hard negative of each sentence, or None.
        notes: What was decided about the file, repaired in it, or not used of it; a sentence each.
        families: The number of the family each belongs to, of near neighbours that mean different things, or None.
    """

    sentences: list[str]
    source: str
    fingerprint: str
    skipped: dict[str, int] = field(default_factory=dict)
    first_skipped: dict[str, int] = field(default_factory=dict)
    negatives: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    families: list[int] | None = None

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.sentences)

    def describe(self) -> str:
        """Say in one line how many sentences there are, what was left out, where that begins, and every note."""
        text = f"{len(self):,} sentences from {self.source}"
        if self.skipped:
            text += f"; left out: {_listed(self.skipped, self.first_skipped)}"
        return "; ".join([text, *self.notes])


def load(
    source: str | Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    column: str | None = None,
    negatives: str | None = None,
) -> Corpus:
    """Load sentences.

    Blank lines, lines beyond :data:`MAX_WORDS` or :data:`MAX_CHARACTERS`, lines that are not UTF-8 and records
    without text are left out, counted and, but for blank ones, reported in a warning; so is whatever was decided about
    a table (`hncse.data.delimited` has the rules) and a column such as ``positive`` that is there and not read.

    Args:
        source: ``docstrings``, ``minimal-pairs``, ``wikipedia``, ``wiki1m``, a file, or ``hf:<dataset>:<column>``; a
            dataset of several configurations is named ``<dataset>@<configuration>``.
        limit: At most so many sentences, a sample: the first of ``wikipedia`` (its files are shuffled, and only what
            is needed is read) and of ``minimal-pairs``, a seeded draw of the others. None takes all.
        seed: Seed of that draw, of the order of ``docstrings``, and of the words of ``minimal-pairs``.
        column: Column or key of a .csv, .tsv, .jsonl or .parquet file.
        negatives: Another column of it, with a mined negative of each sentence (`hncse.mining` writes such files).

    Returns:
        The corpus, at least two of its sentences different.

    Raises:
        HncseError: Unknown source or column, a missing or damaged file, no network, or fewer than two different
            sentences. The message says what is there instead.
    """
    _check(limit, seed)
    name, notes = str(source), Tally()
    columns = [column] if negatives is None else [column or "anchor", negatives]
    draw = name == "wiki1m" or not _is_named(name)
    corpus = _corpus(_rows(name, columns, limit, seed, notes), name, limit, seed, draw, notes)
    if name == "minimal-pairs":
        return replace(corpus, families=[family for family, _ in minimal_pairs.sentences(limit, seed)])
    return corpus


def stream(source: str | Path, *, limit: int | None = None, seed: int = 0, column: str | None = None) -> Iterator[str]:
    """Read a source sentence by sentence, cleaned as :func:`load` does, never in memory as a whole.

    What was left out is counted and reported in a warning at the end.

    Args:
        source: As in `load`.
        limit: The first so many sentences (`load` draws a sample of most sources, which needs all of them at once).
        seed: Seed of the order of ``docstrings`` and of a dataset on the hub.
        column: As in `load`.

    Raises:
        HncseError: As `load`; a corpus of fewer than two sentences is none here.
    """
    name, skipped, notes = str(source), Tally(), Tally()
    rows = _rows(name, [column], limit, seed, notes)  # wrong names fail here, not when the first sentence is read

    def sentences() -> Iterator[str]:
        for (sentence,) in islice(_cleaned(rows, skipped), limit):
            yield sentence
        _warn(name, skipped, notes)

    return sentences()


def from_sentences(
    sentences: Iterable[str], *, limit: int | None = None, seed: int = 0, source: str = "given sentences"
) -> Corpus:
    """Make a corpus of sentences already in memory, cleaned and checked as :func:`load` does.

    Args:
        sentences: The sentences.
        limit: At most so many of them, drawn with ``seed``; None takes all.
        seed: Seed of the draw.
        source: What to call them.

    Raises:
        HncseError: One of them is no string, or fewer than two are different.
    """
    _check(limit, seed)
    if isinstance(sentences, str):
        raise HncseError("sentences is one string; give a list of them, or a file's path to corpora.load")
    return _corpus(_numbered(sentences), source, limit, seed, True, Tally())


def _check(limit: int | None, seed: int) -> None:
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 2):
        raise HncseError(f"limit is {limit!r}; it must be a whole number of at least 2, or None for all sentences")
    if type(seed) is not int or seed < 0:
        raise HncseError(f"seed is {seed!r}; it must be a whole number of at least 0")


def _is_named(name: str) -> bool:
    return name in SOURCES or name.startswith("hf:")


def _rows(name: str, columns: Sequence[str | None], limit: int | None, seed: int, notes: Tally) -> Rows:
    """Open a source; what its rows hold is not looked at yet."""
    if not _is_named(name):
        return readers.read_columns(_existing(name), columns, notes)
    if asked := [column for column in columns if column is not None]:
        raise HncseError(f"source {name!r} takes no column (got {asked[-1]!r}); only files of your own do")
    if name == "docstrings":
        return _numbered(docstrings.harvest(seed))
    if name == "minimal-pairs":
        return _numbered(sentence for _, sentence in minimal_pairs.sentences(limit, seed))
    if name == "wikipedia":
        return _wikipedia()
    if name == "wiki1m":
        return _wiki1m()
    return _hugging_face(name, limit, seed, notes)


def _numbered(sentences: Iterable[str]) -> Rows:
    return ((number, (sentence,)) for number, sentence in enumerate(sentences, 1))


def _corpus(rows: Rows, source: str, limit: int | None, seed: int, draw: bool, notes: Tally) -> Corpus:
    """Keep the good rows, all of them or a sample: the first ``limit``, or a draw that keeps their order."""
    skipped = Tally()
    kept = list(islice(_cleaned(rows, skipped), None if draw else limit))
    if limit is not None and len(kept) > limit:
        chosen = np.random.default_rng(seed).choice(len(kept), limit, replace=False)
        kept = [kept[place] for place in sorted(chosen.tolist())]
    _check_distinct([row[0] for row in kept], source, skipped, notes)
    _warn(source, skipped, notes)
    digest = hashlib.sha256()
    for row in kept:
        digest.update("\t".join(row).encode() + b"\n")
    sentences, *others = map(list, zip(*kept, strict=True))
    facts = digest.hexdigest(), dict(skipped.counts), skipped.first
    return Corpus(sentences, source, *facts, others[0] if others else None, notes.lines())


def _warn(source: str, skipped: Tally, notes: Tally) -> None:
    """Say on stderr what was left out, blank lines aside, and every note."""
    if loud := {reason: count for reason, count in skipped.counts.items() if reason != "blank"}:
        _LOG.warning("%s: left out %s", source, _listed(loud, skipped.first))
    for line in notes.lines():
        _LOG.warning("%s: %s", source, line)


def _cleaned(rows: Rows, skipped: Tally) -> Iterator[tuple[str, ...]]:
    """Yield the rows that hold nothing but sentences; count the rest by reason."""
    for number, values in rows:
        row = tuple(map(_sentence, values))
        bad = next((value for value in row if isinstance(value, Bad)), None)
        if bad is None:
            yield row  # type: ignore[misc]
        else:
            skipped.add(bad.reason, number)


def _sentence(value: Value) -> str | Bad:
    """Return a sentence with single spaces between its words, or why this is none."""
    if isinstance(value, Bad):
        return value
    if not isinstance(value, str | bytes):
        raise HncseError(f"sentences must be strings; one is {type(value).__name__}: {value!r:.80}")
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not text.isascii():
            text.encode()  # fails on lone surrogates, which stand for bytes that were not UTF-8
    except UnicodeError:
        return Bad("not UTF-8")
    words = text.split()
    sentence = " ".join(words)
    if not words:
        return Bad("blank")
    if len(sentence) > MAX_CHARACTERS or len(words) > MAX_WORDS:
        return Bad(f"over {MAX_WORDS:,} words or {MAX_CHARACTERS:,} characters")
    return Bad("zero bytes (UTF-16?)") if "\0" in sentence else sentence


def _check_distinct(sentences: list[str], source: str, skipped: Tally, notes: Tally) -> None:
    if any(sentence != sentences[0] for sentence in sentences):
        return
    few = {0: f"{source} has no sentences", 1: f"{source} has only one sentence"}
    problem = few.get(len(sentences), f"the {len(sentences)} sentences of {source} are all equal")
    why = f" (left out: {_listed(skipped.counts, skipped.first)})" if skipped.counts else ""
    why += "".join(f"; {line}" for line in notes.lines())
    raise HncseError(
        f"{problem}{why}; contrastive training needs at least two different ones, since each is a negative of the "
        "others"
    )


def _listed(skipped: Mapping[str, int], first: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason} (first at {first[reason]:,})" for reason, count in skipped.items())


def _wikipedia() -> Rows:
    """Read the sentence files of home()/wikipedia one after the other, without wiki1m, a source of its own."""
    folder = data.home() / "wikipedia"
    paths = sorted(folder.glob("*"), reverse=True) if folder.is_dir() else []
    sentences = [p for p in paths if readers.format_of(p) == ".txt" and not p.name.startswith(("wiki1m", "."))]
    by_name = {path.name.split(".")[0]: path for path in sentences}  # sentences.txt and sentences.txt.xz are the same
    if not by_name:
        raise HncseError(
            f"there are no Wikipedia sentences in {folder}: put .txt, .txt.xz or .txt.gz files there, one sentence a "
            "line, shuffled (HNCSE_DATA names another data folder), or take 'wiki1m' (fetched once), 'docstrings' "
            "or 'minimal-pairs'"
        )
    for _, path in sorted(by_name.items()):
        yield from readers.read_columns(path, [None])


def _wiki1m() -> Rows:
    """Read SimCSE's training sentences; fetch them first where they are not there yet."""
    path = data.home() / "wikipedia" / _WIKI1M
    if not path.is_file():
        _fetch_wiki1m(path)
    number = 0
    for number, row in readers.read_columns(path, [None]):
        yield number, row
    if number not in _WIKI1M_LINES:
        raise HncseError(
            f"{path} has {number:,} lines, SimCSE's file has 1,000,000: it is cut off or another one. Remove it to "
            "fetch it again, or load it by its path"
        )


def _fetch_wiki1m(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with remote.work_folder(path.parent) as work:
            fresh = remote.download(_WIKI1M, work)
            lines = sum(1 for _ in readers.read(fresh))
            if lines not in _WIKI1M_LINES:
                raise remote.Unavailable(f"the file at {files.hub()} has {lines:,} lines instead of 1,000,000")
            fresh.replace(path)
    except remote.Unavailable as error:
        raise HncseError(
            f"{_WIKI1M} is not in {path.parent}, and {error}. Two ways to get it: run this again with a network (it is "
            f"fetched once, from {remote.REPOSITORY}), or put the file there yourself (HNCSE_DATA names another data "
            "folder). Without it: 'wikipedia', 'docstrings' or 'minimal-pairs'"
        ) from error
    except OSError as error:
        raise HncseError(f"{path} could not be written: {error.strerror or error}") from error


def _hugging_face(source: str, limit: int | None, seed: int, notes: Tally) -> Rows:
    """Read ``hf:<dataset>:<column>``; with a limit it is streamed in a shuffled order, not downloaded whole."""
    name, _, column = source.removeprefix("hf:").rpartition(":")
    if not name or not column:
        raise HncseError(f"source {source!r} must read hf:<dataset>:<column>, for example hf:stanfordnlp/sst2:sentence")
    for number, row in enumerate(remote.rows(name, streamed=limit is not None, seed=seed), 1):
        if number == 1:
            notes.unused(row, [readers.pick_column(list(row), column, f"dataset {name}")])
        value = row.get(column)
        yield number, (value if isinstance(value, str) else Bad("no text in the record"),)


def _existing(name: str) -> Path:
    """Return the path of a file that exists; say what is there instead where it does not."""
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError, ValueError) as error:  # too long, a user's home that is not known, a zero byte
        shown = name if len(name) <= 80 else f"{name[:79]}… ({len(name):,} characters)"
        raise HncseError(f"{shown!r} is no file's name: {getattr(error, 'strerror', None) or error}") from error
    if path.is_dir():
        raise HncseError(f"{path} is a folder; name one of its files{_files_in(path)}")
    if readers.format_of(path) is None and path.name == name:
        raise unknown("source of sentences", name, [*SOURCES, "hf:<dataset>:<column>", "a file's path"])
    raise HncseError(f"there is no file {path}{_files_in(path.parent)}")


def _files_in(folder: Path) -> str:
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and readers.format_of(path))
    held = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    return f"; {folder.absolute()} holds{': ' + held if held else ' no file of sentences'}"
