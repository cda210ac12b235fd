"""An encoder and sentences → hard negatives out of a corpus, with guards against false ones and a report.

mined = mine(encoder, sentences)                                         # each sentence's nearest other one
mined = mine(encoder, questions, answers)                                # of pairs: no answer of its own among them
mined = mine(encoder, sentences, guards=Guards(calibrated=0.05))         # no nearer than a paraphrase would be
mined = mine(encoder, questions, answers, guide=better, guards=Guards(relative_margin=0.05))  # which a guide judges
print(mined.report); mined.triplets()                                    # datasets.Dataset: anchor, positive, negative

A neighbour is near the anchor because it says something similar, and may say the same. Every guard is a cheap guess at
which do (`hncse.mining.guards`). The search is exact (`hncse.mining.search`). The in-batch miner of training is
`hncse.miner`.

Taught in notebooks/02_hard_negatives.ipynb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError, command, unknown
from hncse.files import expand, somebody_watches, whole_file, write_json
from hncse.mining.guards import GUARDS, KEPT, Calibration, Guards, Neighbours, Report, apply, calibrate, plain, report
from hncse.mining.search import Floats, Integers, Nearest, Pool, pair_similarity, unit_rows

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["GUARDS", "SAMPLINGS", "Calibration", "Guards", "MinedCorpus", "calibrate", "load", "main", "mine"]

SAMPLINGS = ("top", "random")
LAYOUTS = ("triplet", "n-tuple")
FORMATS = (".parquet", ".jsonl", ".csv")

_K = 50  # neighbours looked at where no number is asked for
_SAMPLE = 1_000  # texts asked about whether the encoder can read them
_LONG = 2_000_000_000  # similarities to compute from which on a progress bar shows: some seconds


@dataclass(frozen=True)
class MinedCorpus:
    """Hard negatives out of a corpus, a row for every anchor given.

    Attributes:
        anchors: The n anchors.
        positives: Their positives; None where an anchor is its own.
        index: (n, m) int64 positions of the negatives in the corpus, most similar first; -1 where one is missing.
        similarity: (n, m) float32 cosines to the anchor; NaN where one is missing.
        positive_similarity: (n,) float32 cosines of anchors and positives; 1 where an anchor is its own.
        neighbours: (n, k) int64 positions of the nearest k, before any guard; -1 where the corpus has no more.
        neighbour_similarity: (n, k) float32; NaN where there is none.
        guide_similarity: (n, k) float32 by the guide, NaN where there is no neighbour; None without a guide.
        removed_by: (n, k) int8: 0 kept, -1 no neighbour, else 1 + the position in `GUARDS` of the guard that removed
            it.
        report: What to know about it; print it.
        pool: The corpus; `texts` reads from it.
    """

    anchors: list[str]
    positives: list[str] | None
    index: Integers
    similarity: Floats
    positive_similarity: Floats
    neighbours: Integers
    neighbour_similarity: Floats
    guide_similarity: Floats | None
    removed_by: NDArray[np.int8]
    report: Report
    pool: Pool = field(repr=False)
    _near: Neighbours = field(repr=False)
    _each: Any = field(repr=False)  # what makes of `_near`'s rows one for each anchor

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.anchors)

    def texts(self, index: Integers | list[int]) -> list[str]:
        """Sentences of the corpus at positions (p,), such as a row of ``index`` without its -1."""
        index = np.asarray(index, dtype=np.int64)
        if len(index) and (index.min() < 0 or index.max() >= self.pool.total):
            raise HncseError(
                f"positions reach from {index.min()} to {index.max()}; the corpus has 0 to {self.pool.total - 1} "
                "(-1 stands for a missing negative)"
            )
        return self.pool.texts(index)

    def under(self, guards: Guards, threshold: float | None = None) -> NDArray[np.bool_]:
        """Say which neighbours other guards would keep, (n, k), without searching again; positives stay removed.

        ``threshold`` is what the guard ``calibrated`` removes at and above; without it, that guard is not looked at.
        """
        guards = guards if threshold is None else replace(guards, calibrated=0.0)
        return (apply(guards, self._near, threshold) == KEPT)[self._each]

    def triplets(self, layout: str = "triplet", *, similarities: bool = True) -> Dataset:
        """The negatives as a table to train on, in the anchors' order, most similar negative first.

        Args:
            layout: ``"triplet"``: a row for every negative, columns anchor, positive, negative. ``"n-tuple"``: a row
                for every anchor that has all m, columns anchor, positive, negative_1 … negative_m.
            similarities: Add float32 columns positive_similarity and negative_similarity (negative_1_similarity …).
        """
        import pyarrow  # type: ignore[import-untyped]
        from datasets import Dataset

        if layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        filled = self.index >= 0  # (n, m)
        if layout == "triplet":
            row, column = np.nonzero(filled)
            negatives = {"negative": (row, column)}
        else:
            row = np.flatnonzero(filled.all(axis=1))
            negatives = {f"negative_{i + 1}": (row, np.full_like(row, i)) for i in range(filled.shape[1])}
        positives = self.anchors if self.positives is None else self.positives
        texts = {"anchor": [self.anchors[i] for i in row.tolist()], "positive": [positives[i] for i in row.tolist()]}
        texts |= {name: self.pool.texts(self.index[cells]) for name, cells in negatives.items()}
        columns = {name: pyarrow.array(values, pyarrow.string()) for name, values in texts.items()}
        if similarities:
            columns["positive_similarity"] = self.positive_similarity[row]
            columns |= {f"{name}_similarity": self.similarity[cells] for name, cells in negatives.items()}
        return Dataset(pyarrow.table(columns))

    def save(self, path: str | Path, layout: str = "triplet", *, similarities: bool = False) -> Path:
        """Write the triplets as .parquet, .jsonl or .csv, whole or not at all; `load` reads them.

        The columns are texts alone, in the order that ``TrainingConfig(corpus=path, pairs=True)`` and
        SentenceTransformerTrainer train on; with ``similarities`` figures follow, which the latter takes for texts.
        """
        from pyarrow import parquet

        path = _table_path(path)
        table = self.triplets(layout, similarities=similarities).data.table
        with whole_file(path, "wb") as file:
            if path.suffix == ".parquet":
                parquet.write_table(table, file)
            elif path.suffix == ".csv":
                table.to_pandas().to_csv(file, index=False)
            else:
                table.to_pandas().to_json(file, orient="records", lines=True, force_ascii=False)
        return path


def load(path: str | Path) -> Dataset:
    """Read triplets that `MinedCorpus.save` wrote; an `HncseError` says what is not as its name says."""
    import pandas
    import pyarrow.json  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    path = _table_path(path)
    try:
        if path.suffix == ".csv":
            frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
            figures = {name: "float32" for name in frame if name.endswith("_similarity")}
            table = pyarrow.Table.from_pandas(frame.astype(figures), preserve_index=False)
        else:
            read = pyarrow.parquet.read_table if path.suffix == ".parquet" else pyarrow.json.read_json
            table = read(path)
    except FileNotFoundError as error:
        raise HncseError(f"there is no file {path}") from error
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise HncseError(f"{path} cannot be read as triplets: {error}") from error
    if missing := [name for name in ("anchor", "positive") if name not in table.column_names]:
        raise HncseError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return Dataset(table)


def _table_path(path: str | Path) -> Path:
    path = expand(path)
    if path.suffix not in FORMATS:
        raise HncseError(f"{path.name!r} ends in {path.suffix or 'nothing'!r}; it must end in {' or '.join(FORMATS)}")
    return path


def mine(
    encoder: Encoder,
    anchors: Sequence[str],
    positives: Sequence[str] | None = None,
    corpus: Iterable[str] | str | Path | None = None,
    *,
    k: int | None = None,
    guards: Guards | None = None,
    guide: Any = None,
    negatives: int = 1,
    sampling: str = "top",
    seed: int = 0,
    batch_size: int | None = None,
    cache: bool = True,
    limit: int | None = None,
    column: str | None = None,
    block: int = 131_072,
    backend: str | None = None,
    show_progress: bool | None = None,
) -> MinedCorpus:
    """Mine every anchor's hard negatives: its nearest k in the corpus, less what guards remove, m of the rest.

    A neighbour is never the anchor's own text; equal sentences of the corpus count once; a positive among the
    neighbours is removed as one. The result is that of sentence-transformers' ``mine_hard_negatives`` with sampling
    "top", where ``k`` is its range_max + the most positives an anchor has, ``skip`` its range_min, margins and limits
    are the same, ``same_text=False``, and the corpus holds the positives and no anchor.

    Args:
        encoder: Anything with `encode`; cosine is the similarity.
        anchors: n sentences. One that stands there several times has several positives: all of them are kept out of
            its negatives, and margins read against the least similar.
        positives: n sentences, the right answer of each anchor; None: an anchor is its own positive, seen again under
            dropout (SimCSE), similarity 1.
        corpus: What to search. None: the positives, or without them the anchors. A list. An iterator, a file or a
            source of `hncse.data.corpora` by name: read once, block by block, never in memory as a whole.
        k: Neighbours to look at; None: 50, or all where there are fewer.
        guards: Against false negatives; None: `Guards()`, which removes equal texts alone.
        guide: Another encoder, or a cross-encoder (anything with ``predict`` of pairs, as sentence-transformers'), that
            judges the neighbours which ``encoder`` proposes: margins, limits and calibration read its similarity. The
            order stays the encoder's.
        negatives: m, wanted for every anchor.
        sampling: ``"top"`` takes the most similar m that are left, ``"random"`` draws m.
        seed: Of that draw; batch and block sizes do not change it.
        batch_size: Passed on to ``encode``.
        cache: Whether embeddings may be read from and written to `hncse.data.embedding_cache`.
        limit: Of the corpus, the first so many sentences.
        column: Of a corpus that is a file.
        block: Sentences of the corpus searched at a time; bounds the memory of what is streamed.
        backend: ``"faiss"`` or ``"torch"``; None takes torch where it has a CUDA device.
        show_progress: A bar; None shows one on long work.

    Returns:
        The negatives, what was removed and why, and a report.

    Raises:
        HncseError: Too few sentences for k, blank or missing ones among anchors or positives, embeddings with NaN, an
            impossible setting. The message says what would be right.
    """
    guards = guards or Guards()
    _check(k, guards, negatives, sampling, seed, block)
    given = _sentences(anchors, "anchor")
    answers = None if positives is None else _sentences(positives, "positive")
    texts, row, partner, references = _number(given, answers)
    pool = _pool(corpus if corpus is not None else answers or given, limit, column)
    options: dict[str, Any] = {"cache": cache, "batch_size": batch_size}
    calibration = None
    if guards.calibrated is not None:
        if guide is not None and not hasattr(guide, "encode"):
            raise HncseError(
                "the guard calibrated needs embeddings, and the guide is a cross-encoder; set max_similarity"
            )
        calibration = calibrate(guide or encoder, guards.calibrated, on=guards.calibrated_on, **options)
    search = _Search(encoder, options, block, backend, show_progress)
    rows, similarity, index = search.run(texts, len(references), pool, k or max(_K, guards.skip + negatives))
    if k is not None and k > index.shape[1]:
        raise _too_small(k, index.shape[1], pool)
    positive = np.ones(len(row), dtype=np.float32) if answers is None else pair_similarity(rows, row, rows, partner)
    near = Neighbours(texts, references, _least(len(references), row, positive), similarity, index, pool)
    if guide is not None:
        guided, theirs = _judge(replace(search, encoder=guide), near, row, None if answers is None else partner)
        near = replace(near, guided=guided, guided_positive=_least(len(references), row, theirs))
    removed = apply(guards, near, calibration.threshold if calibration else None)  # (u, k)
    chosen = _choose(removed == KEPT, negatives, sampling, seed)  # (u, m), -1 takes the column added here
    cosines = np.where(index < 0, np.float32(np.nan), similarity)  # (u, k)
    judged = None if near.guided is None else np.where(index < 0, np.float32(np.nan), near.guided)
    end = ((0, 0), (0, 1))
    hard = np.take_along_axis(np.pad(index, end, constant_values=-1), chosen, axis=1)  # (u, m)
    hardness = np.take_along_axis(np.pad(cosines, end, constant_values=np.nan), chosen, axis=1)
    settings = {
        "encoder": _encoder_name(encoder), "pooling": getattr(encoder, "pooling", None),
        "positive": "itself" if answers is None else "given", "k": index.shape[1], "negatives": negatives,
        "sampling": sampling, "seed": seed,
        **({} if guide is None else {"guide": _encoder_name(guide)}),
        "guards": ({} if answers is None else {"positive": True}) | guards.settings(),
        "calibrated_on": guards.calibrated_on, "calibration": str(calibration) if calibration else None,
    }  # fmt: skip
    each: Any = row if len(references) < len(row) else slice(None)  # where no anchor repeats, nothing is copied
    return MinedCorpus(
        given, answers, hard[each], hardness[each], positive, index[each], cosines[each],
        None if judged is None else judged[each], removed[each],
        report(settings, len(row), near, removed, hardness), pool, near, each,
    )  # fmt: skip


def _check(k: int | None, guards: Guards, negatives: int, sampling: str, seed: int, block: int) -> None:
    """Complain about settings that cannot work, before anything is encoded."""
    for name, value, least in (("k", k, 1), ("negatives", negatives, 1), ("seed", seed, 0), ("block", block, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise HncseError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if sampling not in SAMPLINGS:
        raise unknown("sampling", sampling, SAMPLINGS)
    if k is not None and k < guards.skip + negatives:
        raise HncseError(
            f"k is {k}, but {guards.skip} neighbours are skipped and {negatives} wanted as negatives; k must be at "
            f"least {guards.skip + negatives}"
        )


def _pool(corpus: Iterable[str] | str | Path, limit: int | None, column: str | None) -> Pool:
    """Take whatever was given as a corpus."""
    if limit is not None and limit < 1:
        raise HncseError(f"limit is {limit}; it must be at least 1, or None for the whole corpus")
    if isinstance(corpus, str | Path):
        from hncse.data import corpora

        return Pool(corpora.stream(corpus, limit=limit, column=column))
    if column is not None:
        raise HncseError(f"column is {column!r}, but the corpus is sentences and no file; leave column out")
    corpus = getattr(corpus, "sentences", corpus)  # a hncse.data.corpora.Corpus
    return Pool(corpus[:limit] if isinstance(corpus, Sequence) else islice(corpus, limit))


def _sentences(texts: Sequence[str], what: str) -> list[str]:
    """Return sentences as a list, or say which is missing, no string, or blank."""
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


def _number(anchors: list[str], positives: list[str] | None) -> tuple[list[str], Integers, Integers, Integers]:
    """Number different texts.

    Returns the t different texts, the u different anchors first; places in them of every anchor (n,) and positive
    (n,); and, of each different anchor, its own and its positives', (u, 1+p), padded with -1.
    """
    if positives is not None and len(positives) != len(anchors):
        raise HncseError(
            f"there are {len(anchors)} anchors and {len(positives)} positives; every anchor needs its own (leave "
            "positives out to take each anchor for its own positive)"
        )
    place = {text: i for i, text in enumerate(dict.fromkeys([*anchors, *(positives or [])]))}
    row, partner = (np.array([place[text] for text in texts]) for texts in (anchors, positives or anchors))
    u = row.max() + 1
    if positives is None:
        return list(place), row, partner, np.arange(u)[:, None]
    pairs = np.unique(np.stack([row, partner], axis=1), axis=0)  # (q, 2), rising
    rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])  # of a positive among its anchor's
    references = np.full((u, 2 + rank.max()), -1)
    references[:, 0] = np.arange(u)
    references[pairs[:, 0], 1 + rank] = pairs[:, 1]
    return list(place), row, partner, references


@dataclass(frozen=True)
class _Search:
    """How to encode and to search; the arguments of `mine`."""

    encoder: Any
    options: dict[str, Any]
    block: int
    backend: str | None
    show_progress: bool | None

    def run(self, texts: list[str], u: int, pool: Pool, k: int) -> tuple[Floats, Floats, Integers]:
        """Search the pool, in memory at once or as a stream block by block, for the first u of t texts.

        Returns unit rows (t, d) of all texts; similarities and positions of the nearest of each of the u, (u, k) or
        fewer columns where nobody has so many.
        """
        self._check_readable(texts)
        blocks: Iterable[tuple[list[str], Integers]] = pool.blocks(self.block)
        encode: Callable[[list[str]], Floats] = self._encode
        size, total = self.block, None
        if pool.in_memory:
            blocks = list(blocks)
            sentences = [text for some, _ in blocks for text in some]
            self._check_readable(sentences)
            encode, size, total = self._encode_once([*texts, *sentences]), len(sentences), u * len(blocks)
            k = min(k, size)
        rows = encode(texts)
        place = {text: i for i, text in enumerate(texts[:u])}
        with self._bar(total, u * size > _LONG) as bar:
            nearest = Nearest(rows[:u], k, self.backend, bar.update)
            for number, (some, index) in enumerate(blocks):
                if number == 0 and not pool.in_memory:  # a stream is judged by how it begins
                    self._check_readable(some)
                nearest.add(encode(some), index, np.array([place.get(text, -1) for text in some]))
        depth = int((nearest.index >= 0).sum(axis=1).max())  # columns behind it nobody filled
        if depth == 0:
            raise HncseError(
                f"the corpus of {pool.total} sentences ({pool.copies} copies, {pool.blank} blank) holds nothing but "
                "the anchor's own text; give a larger one"
            )
        return rows, nearest.similarity[:, :depth], nearest.index[:, :depth]

    def _encode(self, texts: list[str]) -> Floats:
        return unit_rows(cached_encode(self.encoder, texts, **self.options))

    def _encode_once(self, texts: list[str]) -> Callable[[list[str]], Floats]:
        """Encode all texts together; returns a function that gives some their rows, as a view where they adjoin."""
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        table = self._encode(list(place))

        def rows(some: list[str]) -> Floats:
            at = np.array([place[text] for text in some])
            return table[at[0] : at[-1] + 1] if (np.diff(at) == 1).all() else table[at]

        return rows

    def _check_readable(self, texts: list[str]) -> None:
        """Refuse texts that differ and are one and the same to the encoder's tokenizer, where it can be asked."""
        if hasattr(self.encoder, "check_readable"):  # a SentenceEncoder
            sample = {plain(text): text for text in texts[:: max(1, len(texts) // _SAMPLE)]}
            self.encoder.check_readable(self.encoder.tokenize(list(sample.values())))

    def _bar(self, total: int | None, long: bool) -> Any:
        from tqdm.auto import tqdm

        shown = long and somebody_watches() if self.show_progress is None else self.show_progress
        return tqdm(total=total, desc="search", unit=" anchors", disable=not shown)


def _least(u: int, row: Integers, positive: Floats) -> Floats:
    """Of each of u different anchors the similarity of its least similar positive."""
    least = np.full(u, np.inf, dtype=np.float32)
    np.minimum.at(least, row, positive)
    return least


def _judge(search: _Search, near: Neighbours, row: Integers, partner: Integers | None) -> tuple[Floats, Floats]:
    """Similarities by a guide: of u anchors and their neighbours (u, k), of the given anchors and positives (n,)."""
    who, column = np.nonzero(near.index >= 0)
    positions, place = np.unique(near.index[who, column], return_inverse=True)
    others, partner = near.pool.texts(positions), row if partner is None else partner
    guide = search.encoder
    if hasattr(guide, "encode"):
        encode = search._encode_once([*near.texts, *others])
        rows, theirs = encode(near.texts), encode(others)
        values, positive = pair_similarity(rows, who, theirs, place), pair_similarity(rows, row, rows, partner)
    else:
        pairs = [(near.texts[i], others[j]) for i, j in zip(who.tolist(), place.tolist(), strict=True)]
        pairs += [(near.texts[i], near.texts[j]) for i, j in zip(row.tolist(), partner.tolist(), strict=True)]
        scores = np.asarray(guide.predict(pairs), dtype=np.float32).reshape(len(pairs), -1)
        if scores.shape[1] != 1 or not np.isfinite(scores).all():
            raise HncseError(f"the guide gives {scores.shape[1]} scores a pair, or NaN; it must give one number each")
        values, positive = scores[: len(who), 0], scores[len(who) :, 0]
    guided = np.full(near.index.shape, -np.inf, dtype=np.float32)
    guided[who, column] = values
    return guided, positive


def _too_small(k: int, most: int, pool: Pool) -> HncseError:
    left_out = f", {pool.copies} copies and {pool.blank} blank left out" if pool.copies + pool.blank else ""
    return HncseError(
        f"k is {k}, but no anchor can have more than {most} neighbours in a corpus of {pool.total} sentences"
        f"{left_out}; ask for at most {most}, or leave k out"
    )


def _choose(kept: NDArray[np.bool_], m: int, sampling: str, seed: int) -> Integers:
    """Columns (u, m) of the neighbours to use, rising; -1 where fewer are kept (u, k)."""
    u, k = kept.shape
    order: NDArray[Any] = np.broadcast_to(np.arange(k), (u, k))
    if sampling == "random":  # one number for every neighbour, however the work was cut
        order = np.random.default_rng(seed).random((u, k), dtype=np.float32)
    chosen = np.argsort(np.where(kept, order, np.inf), axis=1, kind="stable")[:, :m]
    chosen = np.sort(np.where(np.take_along_axis(kept, chosen, axis=1), chosen, k), axis=1)
    chosen = np.pad(chosen, ((0, 0), (0, m - chosen.shape[1])), constant_values=k)
    return np.where(chosen < k, chosen, -1)


def _encoder_name(encoder: Encoder) -> str:
    """An encoder's name without the place it was loaded from: of a run's, the run."""
    parts = Path(getattr(encoder, "name", "") or type(encoder).__name__).parts
    return parts[-2] if len(parts) > 1 and parts[-1] == "encoder" else parts[-1] if parts[0] == "/" else "/".join(parts)


_GUARD_HELP = {
    "word_overlap": "remove where the Jaccard coefficient of words reaches X",
    "character_overlap": "remove where that of character 5-grams reaches X",
    "margin": "keep up to the positive's similarity minus X",
    "relative_margin": "keep up to the positive's similarity times 1 - X",
    "max_similarity": "keep up to X",
    "calibrated": "keep below the similarity under which a share X of the probe's paraphrases falls",
    "min_similarity": "keep from X on",
    "skip": "remove the first X of what is left",
}


def _parser() -> argparse.ArgumentParser:
    from hncse.evaluation import add_pooling

    parser = argparse.ArgumentParser(
        prog="hncse mine", description="Mine hard negatives out of a corpus; print a report, write triplets."
    )
    source = "wikipedia, wiki1m, docstrings, a file, or hf:<dataset>:<column>"
    add = parser.add_argument
    add("--encoder", default="kit", help="a run's name or folder, 'latest', 'kit', or an encoder's name (default kit)")
    add("--guide", metavar="NAME", help="an encoder, or cross-encoder:NAME, whose similarity margins and limits read")
    add_pooling(parser)
    add("--corpus", help=f"what to search: {source} (default: the positives, without them docstrings)")
    add("--limit", type=int, help="at most so many of its sentences")
    add("--column", help="column of a corpus that is a .csv, .tsv, .jsonl or .parquet file")
    add("--anchors", help=f"sentences that want negatives, from {source}; default: the corpus itself")
    add("--anchor-limit", type=int, help="at most so many of them")
    add("--anchor-column", help="column of anchors that are a file")
    add("--positives", metavar="COLUMN", help="column of the anchors' file with the right answer of each anchor")
    add("--k", type=int, help="neighbours to look at (default 50)")
    add("--negatives", type=int, default=1, help="negatives wanted for every anchor (default 1)")
    add("--sampling", default="top", help="top: the most similar; random: a seeded draw (default top)")
    add("--seed", type=int, default=0, help="seed of that draw, and of samples from a source (default 0)")
    guards = parser.add_argument_group("guards against false negatives, tried in this order")
    guards.add_argument("--keep-same-text", action="store_true", help="keep texts equal but for case and punctuation")
    for name, text in _GUARD_HELP.items():
        kind: type = int if name == "skip" else float
        guards.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text, metavar="X")
    guards.add_argument("--calibrated-on", default="both", help="paraphrases: close, far or both (default both)")
    add("--batch-size", type=int, help="sentences in a forward pass; default: the encoder's own")
    add("--no-cache", action="store_true", help="neither read nor write the cache of embeddings")
    add("--layout", help=f"{' or '.join(LAYOUTS)} (default: triplet for one negative an anchor, n-tuple for several)")
    add(
        "--out", help=f"write the triplets there, a file ending in {', '.join(FORMATS)}; `hncse train --pairs` reads it"
    )
    add("--similarities", action="store_true", help="write similarities beside the texts")
    add("--json", help="write the report's figures there")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    settings = {name: value for name in _GUARD_HELP if (value := getattr(options, name)) is not None}
    guards = Guards(same_text=not options.keep_same_text, calibrated_on=options.calibrated_on, **settings)
    _check(options.k, guards, options.negatives, options.sampling, options.seed, 1)
    layout = options.layout or LAYOUTS[options.negatives > 1]
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if options.out:
        _table_path(options.out)
    anchors, positives, corpus = _sources(options)
    from hncse.evaluation import open_encoder

    encoder, _ = open_encoder(options.encoder, options.pooling)
    mined = mine(
        encoder, anchors, positives, corpus, k=options.k, guards=guards, guide=_guide(options.guide),
        negatives=options.negatives, sampling=options.sampling, seed=options.seed, batch_size=options.batch_size,
        cache=not options.no_cache,
        limit=options.limit if corpus else None, column=options.column if corpus else None,
    )  # fmt: skip
    sys.stdout.write(f"{mined.report}\n")
    if options.json:
        write_json(options.json, mined.report.to_dict())
    if options.out:
        path = mined.save(options.out, layout, similarities=options.similarities)
        lacking = int((mined.index < 0).any(axis=1).sum())
        left_out = f"; {lacking:,} anchors without all {options.negatives} left out" if lacking else ""
        sys.stdout.write(f"wrote {path}{left_out if layout == 'n-tuple' else ''}\n")
    return 0


def _guide(name: str | None) -> Any:
    """Open a guide by its name: an encoder, or one of sentence-transformers' cross-encoders."""
    from hncse.evaluation import open_encoder

    kind, _, model = (name or "").partition(":")
    if kind != "cross-encoder":
        return None if name is None else open_encoder(name, None)[0]
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise HncseError("a cross-encoder needs the package: pip install 'hncse[sentence-transformers]'") from error
    try:
        return CrossEncoder(model)
    except Exception as error:  # of many types, by version
        raise HncseError(f"cross-encoder {model!r} could not be loaded: {str(error).splitlines()[0]}") from error


def _sources(options: argparse.Namespace) -> tuple[list[str], list[str] | None, str | None]:
    """Anchors, their positives, and the corpus to stream; None where what is there is searched itself."""
    from hncse.data import corpora

    if options.anchors is None:
        if options.positives is not None:
            raise HncseError(
                f"--positives is {options.positives!r}, a column of the anchors' file, but --anchors names none"
            )
        source = options.corpus or "docstrings"
        return corpora.load(source, limit=options.limit, seed=options.seed, column=options.column).sentences, None, None
    sample = {"limit": options.anchor_limit, "seed": options.seed, "column": options.anchor_column}
    if options.positives is not None:
        pairs = corpora.load(options.anchors, positives=options.positives, **sample)
        return pairs.sentences, pairs.positives, options.corpus
    same = options.corpus is not None and expand(options.anchors).resolve() == expand(options.corpus).resolve()
    if same and options.anchor_column != options.column:
        sys.stderr.write(
            f"note: anchors are column {options.anchor_column!r} and the corpus is column {options.column!r} of the "
            f"same table; if its rows are pairs, --positives {options.column} keeps each anchor's own row out of its "
            "negatives\n"
        )
    anchors = corpora.load(options.anchors, **sample)
    return anchors.sentences, None, options.corpus or "docstrings"
