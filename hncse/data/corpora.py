"""Where training sentences come from: one function, one name.

corpora.load("docstrings")                              # from the installed packages: on every machine
corpora.load("minimal-pairs", limit=6_400)             # generated families of sentences that look almost the same
corpora.load("wikipedia", limit=100_000)                # home()/wikipedia/*.txt(.xz), shuffled files
corpora.load("wiki1m")                                  # the paper's million sentences, fetched once
corpora.load("reviews.csv", column="text")              # your own .txt, .csv, .tsv, .jsonl or .parquet
corpora.load("hf:stanfordnlp/sst2:sentence", limit=50_000)
corpora.load("qa.csv", column="query", positives="passage")         # pairs
corpora.load("hf:sentence-transformers/all-nli@triplet", pairs=True)  # columns in order: anchor, positive, negative …
corpora.load("nli")                                     # SimCSE's 275,601 triplets, fetched once
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hncse import data, files
from hncse.data import docstrings, minimal_pairs, readers, remote
from hncse.data.readers import Bad, Columns, Rows, Tally, Value
from hncse.errors import HncseError, unknown

__all__ = ["MAX_CHARACTERS", "MAX_WORDS", "SOURCES", "Corpus", "from_rows", "from_sentences", "load", "stream"]

_LOG = logging.getLogger(__name__)

#: Names of sources; a file's path and ``hf:<dataset>:<column>`` are sources too.
SOURCES: tuple[str, ...] = ("docstrings", "minimal-pairs", "wikipedia", "wiki1m", "nli", "cad-nli")
_TRIPLETS = ("nli", "cad-nli")
#: A line beyond either is no sentence (a whole document, or data) and is left out.
MAX_WORDS, MAX_CHARACTERS = 2_000, 20_000

_WIKI1M, _NLI = "wiki1m_for_simcse.txt", "nli_for_simcse.csv"
_WIKI1M_LINES = range(999_000, 1_001_001)  # a million; readers differ by a few in what they call a line
_NLI_LINES = range(275_000, 276_201)  # 275,601 triplets
_NLI_COLUMNS = ("sent0", "sent1", "hard_neg")
_INSTEAD = {_WIKI1M: "'wikipedia', 'docstrings' or 'minimal-pairs'", _NLI: "'cad-nli', or a file of your own"}


@dataclass(frozen=True)
class Corpus:
    """Sentences and where they come from.

    Attributes:
        sentences: The sentences, of pairs the anchors; words separated by single spaces.
        source: What was asked for.
        fingerprint: sha256 over the sentences in their order.
        skipped: Lines left out, by reason.
        first_skipped: The first of them, by reason: a line number (a record's number, where there are no lines).
        positives: The positive of each, or None: a sentence is its own.
        negatives: The m hard negatives of each, or None.
        notes: What was decided about the file, repaired in it, or not used of it; a sentence each.
        families: The number of the family each belongs to, of near neighbours that mean different things, or None.
    """

    sentences: list[str]
    source: str
    fingerprint: str
    skipped: dict[str, int] = field(default_factory=dict)
    first_skipped: dict[str, int] = field(default_factory=dict)
    positives: list[str] | None = None
    negatives: list[tuple[str, ...]] | None = None
    notes: list[str] = field(default_factory=list)
    families: list[int] | None = None

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.sentences)

    def describe(self) -> str:
        """Say in one line how many sentences there are, what was left out, where that begins, and every note."""
        m = len(self.negatives[0]) if self.negatives else 0
        rows = "pairs" if self.positives is not None else "sentences"
        text = f"{len(self):,} {rows}{f' with {m} hard negative(s) each' if m else ''} from {self.source}"
        if self.skipped:
            text += f"; left out: {_listed(self.skipped, self.first_skipped)}"
        return "; ".join([text, *self.notes])


def load(
    source: str | Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    column: str | None = None,
    positives: str | None = None,
    negatives: str | Sequence[str] | None = None,
    pairs: bool = False,
) -> Corpus:
    """Load sentences, or rows of an anchor, its positive and its hard negatives.

    Blank lines, lines beyond :data:`MAX_WORDS` or :data:`MAX_CHARACTERS`, lines that are not UTF-8 and records
    without text are left out, counted and, but for blank ones, reported in a warning; so is whatever was decided about
    a table (`hncse.data.delimited` has the rules) and a column such as ``positive`` that is there and not read. A row
    is left out whole, of pairs also where a hard negative is the anchor or the positive, but for case and spacing.

    Args:
        source: One of :data:`SOURCES`, a file, or ``hf:<dataset>:<column>``; a dataset of several configurations is
            ``<dataset>@<configuration>``. ``cad-nli`` is home()/hard_negatives/cad-nli/train.tsv.
        limit: At most so many sentences; None takes all. The first of ``wikipedia`` (its files are shuffled, and only
            what is needed is read) and of ``minimal-pairs``, a seeded draw of the others.
        seed: Seed of that draw, of the order of ``docstrings``, and of the words of ``minimal-pairs``.
        column: Column or key of a .csv, .tsv, .jsonl or .parquet file.
        positives: Another column, of a file or a dataset, with the positive of each sentence.
        negatives: One or several others, with its hard negatives (`hncse.mining` writes such files).
        pairs: Take the columns of text in their order: anchor, positive, then hard negatives, if there are any. A
            dataset is then named without a column.

    Raises:
        HncseError: Unknown source or column, a missing or damaged file, no network, or fewer than two different
            sentences.
    """
    _check(limit, seed)
    name, notes = str(source), Tally()
    columns = Columns.of(column, positives, negatives, pairs)
    paired = columns.has_positive() or name in _TRIPLETS
    draw = name in ("wiki1m", *_TRIPLETS) or not _is_named(name)
    corpus = _corpus(_rows(name, columns, limit, seed, notes), name, limit, seed, draw, notes, paired)
    if name == "minimal-pairs":
        return replace(corpus, families=[family for family, _ in minimal_pairs.sentences(limit, seed)])
    return corpus


def stream(source: str | Path, *, limit: int | None = None, seed: int = 0, column: str | None = None) -> Iterator[str]:
    """Read a source sentence by sentence, cleaned as `load` does, never in memory as a whole; arguments are `load`'s.

    ``limit`` takes the first so many; ``seed`` orders ``docstrings`` and a dataset on the hub. What was left out is
    reported in a warning at the end.

    Raises:
        HncseError: As `load`; few sentences are no error here.
    """
    name, skipped, notes = str(source), Tally(), Tally()
    if name in _TRIPLETS:
        raise HncseError(
            f"source {name!r} holds triplets, not sentences; give a file of its own to what reads sentences"
        )
    rows = _rows(
        name, Columns((column,)), limit, seed, notes
    )  # wrong names fail here, not when the first sentence is read

    def sentences() -> Iterator[str]:
        for (sentence,) in islice(_cleaned(rows, skipped), limit):
            yield sentence
        _warn(name, skipped, notes)

    return sentences()


def from_sentences(
    sentences: Iterable[str], *, limit: int | None = None, seed: int = 0, source: str = "given sentences"
) -> Corpus:
    """Make a corpus of sentences in memory, cleaned, drawn from and checked as `load` does; ``source`` is its name.

    Raises:
        HncseError: One of them is no string, or fewer than two are different.
    """
    _check(limit, seed)
    if isinstance(sentences, str):
        raise HncseError("sentences is one string; give a list of them, or a file's path to corpora.load")
    return _corpus(_numbered(sentences), source, limit, seed, True, Tally())


def from_rows(
    rows: Any,
    *,
    limit: int | None = None,
    seed: int = 0,
    column: str | None = None,
    positives: str | None = None,
    negatives: str | Sequence[str] | None = None,
    source: str = "given rows",
) -> Corpus:
    """Make a corpus of rows in memory: anchor, positive and hard negatives, cleaned and checked as `load` does.

    Args:
        rows: Tuples of texts; or a table: a ``datasets.Dataset``, a ``DataFrame``, a list of dictionaries.
        limit: At most so many of them, drawn with ``seed``; None takes all.
        seed: Seed of the draw.
        column: The table's column of anchors; without any column all of text are taken in their order.
        positives: Its column of positives.
        negatives: Its columns of hard negatives.
        source: What to call them.

    Raises:
        HncseError: Rows of different lengths, something that is no text, columns that are not there.
    """
    _check(limit, seed)
    notes, named = Tally(), any(value is not None for value in (column, positives, negatives))
    columns = Columns.of(column, positives, negatives, not named)
    if readers.is_table(rows):
        return _corpus(
            readers.read_table(rows, columns, notes), source, limit, seed, True, notes, columns.has_positive()
        )
    if named:
        raise HncseError("column, positives and negatives name columns of a table; tuples have none, only their order")
    return _corpus(readers.read_tuples(rows), source, limit, seed, True, notes, True)


def _check(limit: int | None, seed: int) -> None:
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 2):
        raise HncseError(f"limit is {limit!r}; it must be a whole number of at least 2, or None for all sentences")
    if type(seed) is not int or seed < 0:
        raise HncseError(f"seed is {seed!r}; it must be a whole number of at least 0")


def _is_named(name: str) -> bool:
    return name in SOURCES or name.startswith("hf:")


def _rows(name: str, columns: Columns, limit: int | None, seed: int, notes: Tally) -> Rows:
    """Open a source; what its rows hold is not looked at yet."""
    if not _is_named(name):
        path = _existing(name)
        names: Sequence[str | None] = columns.names
        if columns.in_order:
            names = columns.named(*readers.head(path), str(path), notes)
        return readers.read_columns(path, names, notes)
    if name.startswith("hf:"):
        return _hugging_face(name, columns, limit, seed, notes)
    if asked := [column for column in columns.names if column is not None]:
        raise HncseError(f"source {name!r} takes no column (got {asked[-1]!r}); only files of your own do")
    if columns.in_order and name not in _TRIPLETS:
        raise HncseError(
            f"source {name!r} holds sentences, no pairs; of the named sources {' and '.join(_TRIPLETS)} do"
        )
    sources: dict[str, Callable[[], Rows]] = {
        "docstrings": lambda: _numbered(docstrings.harvest(seed)),
        "minimal-pairs": lambda: _numbered(sentence for _, sentence in minimal_pairs.sentences(limit, seed)),
        "wikipedia": _wikipedia,
        "wiki1m": lambda: _published("wikipedia", _WIKI1M, [None], _WIKI1M_LINES, 1_000_000, "lines"),
        "nli": lambda: _published("nli", _NLI, _NLI_COLUMNS, _NLI_LINES, 275_601, "triplets"),
        "cad-nli": _counterfactual,
    }
    return sources[name]()


def _numbered(sentences: Iterable[str]) -> Rows:
    return ((number, (sentence,)) for number, sentence in enumerate(sentences, 1))


def _corpus(
    rows: Rows, source: str, limit: int | None, seed: int, draw: bool, notes: Tally, paired: bool = False
) -> Corpus:
    """Keep the good rows, all of them or a sample: the first ``limit``, or a draw that keeps their order."""
    skipped = Tally()
    kept = list(islice(_cleaned(rows, skipped, paired), None if draw else limit))
    if limit is not None and len(kept) > limit:
        chosen = np.random.default_rng(seed).choice(len(kept), limit, replace=False)
        kept = [kept[place] for place in sorted(chosen.tolist())]
    _check_distinct([row[0] for row in kept], source, skipped, notes)
    _warn(source, skipped, notes)
    digest = hashlib.sha256()
    for row in kept:
        digest.update("\t".join(row).encode() + b"\n")
    facts = digest.hexdigest(), dict(skipped.counts), skipped.first
    positives = [row[1] for row in kept] if paired else None
    negatives = [row[1 + paired :] for row in kept] if len(kept[0]) > 1 + paired else None
    return Corpus([row[0] for row in kept], source, *facts, positives, negatives, notes.lines())


def _warn(source: str, skipped: Tally, notes: Tally) -> None:
    """Say on stderr what was left out, blank lines aside, and every note."""
    if loud := {reason: count for reason, count in skipped.counts.items() if reason != "blank"}:
        _LOG.warning("%s: left out %s", source, _listed(loud, skipped.first))
    for line in notes.lines():
        _LOG.warning("%s: %s", source, line)


def _cleaned(rows: Rows, skipped: Tally, paired: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield the rows that hold nothing but sentences; count the rest by reason."""
    for number, values in rows:
        row = tuple(map(_sentence, values))
        bad = [value for value in row if isinstance(value, Bad)]
        if bad:
            gap = bad[0].reason == "blank" and len(bad) < len(row)
            skipped.add("with a blank text in the row" if gap else bad[0].reason, number)
        elif paired and {readers.plain(str(n)) for n in row[2:]} & {readers.plain(str(text)) for text in row[:2]}:
            skipped.add("with a hard negative that is the anchor or the positive", number)
        else:
            yield row  # type: ignore[misc]


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


def _published(folder: str, filename: str, columns: Sequence[str | None], lines: range, right: int, what: str) -> Rows:
    """Read a file that SimCSE's authors published; fetch it first where it is not there yet."""
    path = data.home() / folder / filename
    if not path.is_file():
        _fetch(path, columns, lines, right, what)
    count = 0
    for row in readers.read_columns(path, columns):
        count += 1
        yield row
    if count not in lines:
        raise HncseError(
            f"{path} has {count:,} {what}, SimCSE's file has {right:,}: it is cut off or another "
            "one. Remove it to fetch it again, or load it by its path"
        )


def _fetch(path: Path, columns: Sequence[str | None], lines: range, right: int, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with remote.work_folder(path.parent) as work:
            fresh = remote.download(path.name, work)
            count = sum(1 for _ in readers.read_columns(fresh, columns))
            if count not in lines:
                raise remote.Unavailable(f"the file at {files.hub()} has {count:,} {what} instead of {right:,}")
            fresh.replace(path)
    except remote.Unavailable as error:
        raise HncseError(
            f"{path.name} is not in {path.parent}, and {error}. Two ways to get it: run this again with a network (it "
            f"is fetched once, from {remote.REPOSITORY}), or put the file there yourself (HNCSE_DATA names another "
            f"data folder). Without it: {_INSTEAD[path.name]}"
        ) from error
    except OSError as error:
        raise HncseError(f"{path} could not be written: {error.strerror or error}") from error


def _counterfactual() -> Rows:
    """Make triplets of the training split of counterfactually augmented NLI (Kaushik et al., arXiv:1909.12434)."""
    path = data.home() / "hard_negatives" / "cad-nli" / "train.tsv"
    if not path.is_file():
        raise HncseError(
            f"there is no file {path}. Get it from github.com/acmi-lab/counterfactually-augmented-data, "
            "NLI/all_combined/train.tsv, and put it there; HNCSE_DATA names the data folder"
        )
    rows = readers.read_columns(path, ["sentence1", "sentence2", "gold_label"])
    texts = ((str(premise), str(hypothesis), str(label)) for _, (premise, hypothesis, label) in rows)
    return enumerate(readers.nli_triplets(texts), 1)


def _hugging_face(source: str, columns: Columns, limit: int | None, seed: int, notes: Tally) -> Rows:
    """Read ``hf:<dataset>:<column>``; with a limit it is streamed in a shuffled order, not downloaded whole."""
    name, colon, column = source.removeprefix("hf:").rpartition(":")
    asked = columns.names[0]
    if not colon and (columns.in_order or asked is not None):
        name, column = column, asked or "in order"
    if not name or not column or (colon and columns.in_order):
        raise HncseError(
            f"source {source!r} must read hf:<dataset>:<column>, for example hf:stanfordnlp/sst2:sentence; with "
            "pairs=True, which takes all columns of text in their order, hf:<dataset>"
        )
    if colon and asked not in (None, "anchor", column):
        raise HncseError(f"source {source!r} names its column itself; leave column {asked!r} out")
    if not columns.in_order:
        columns = replace(columns, names=(column, *columns.names[1:]))
    keys: list[str] = []
    for number, row in enumerate(remote.rows(name, streamed=limit is not None, seed=seed), 1):
        keys = keys or columns.named(list(row), row, f"dataset {name}", notes)
        values = [row.get(key) for key in keys]
        yield number, tuple(value if isinstance(value, str) else Bad("no text in the record") for value in values)


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
