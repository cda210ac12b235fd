"""Mine a corpus: what is asked for, how the parts are put together, and the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.embedding_cache import Encoder
from hncse.errors import HncseError, command, unknown
from hncse.mining import guards as guarding
from hncse.mining import report as reporting
from hncse.mining.calibration import calibrate
from hncse.mining.corpus import Pool, pool
from hncse.mining.guards import GUARDS, KEPT, Guards, Neighbours
from hncse.mining.neighbours import Given, Search
from hncse.mining.result import FORMATS, LAYOUTS, MinedCorpus

__all__ = ["SAMPLINGS", "main", "mine"]

SAMPLINGS = ("top", "random")
_K = 50  # neighbours looked at where no number is asked for

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def mine(
    encoder: Encoder,
    anchors: Sequence[str],
    corpus: Iterable[str] | str | Path | None = None,
    positives: Sequence[str] | None = None,
    *,
    k: int | None = None,
    guards: Guards | None = None,
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

    A neighbour is never the anchor's own text; equal sentences of the corpus count once; a positive found among the
    neighbours is removed as one. The result is that of sentence-transformers' ``mine_hard_negatives`` with sampling
    "top", where ``k`` is its range_max + the most positives an anchor has, ``skip`` its range_min, margins and limits
    are the same, ``same_text=False``, and the corpus holds the positives and no anchor.

    Args:
        encoder: Anything with `encode`; cosine is the similarity.
        anchors: n sentences. One that stands there several times has several positives: all of them are kept out of
            its negatives, and margins read against the least similar.
        corpus: What to search. None: the positives, or without them the anchors. A list. An iterator, a file or a
            source of `hncse.data.corpora` by name: read once, block by block, never in memory as a whole.
        positives: n sentences; None: an anchor is its own positive, seen again under dropout (SimCSE), similarity 1.
        k: Neighbours to look at; None: 50, or all where there are fewer.
        guards: Against false negatives; None: `Guards()`, which removes equal texts alone.
        negatives: m, wanted for every anchor.
        sampling: ``"top"`` takes the most similar m that are left, ``"random"`` draws m.
        seed: Of that draw; batch and block sizes do not change it.
        batch_size: Passed on to ``encode``.
        cache: Whether embeddings may be read from and written to `hncse.embedding_cache`.
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
    given = Given.read(anchors, positives)
    source = corpus if corpus is not None else given.positives if given.positives is not None else given.anchors
    searched = pool(source, limit, column)
    options: dict[str, Any] = {"cache": cache, "batch_size": batch_size}
    calibration = (
        None if guards.calibrated is None else calibrate(encoder, guards.calibrated, on=guards.calibrated_on, **options)
    )
    depth = k or max(_K, guards.skip + negatives)
    found, positive = Search(encoder, depth, k is not None, options, block, backend, show_progress).run(given, searched)
    removed = guarding.apply(guards, found, calibration.threshold if calibration else None)  # (u, k)
    chosen = _chosen(removed == KEPT, negatives, sampling, seed)  # (u, m)
    settings = {
        "encoder": _shown_name(encoder),
        "pooling": getattr(encoder, "pooling", None),
        "positive": "itself" if positives is None else "given",
        "k": found.index.shape[1],
        "negatives": negatives,
        "sampling": sampling,
        "seed": seed,
        "guards": ({} if positives is None else {"positive": True}) | guards.settings(),
        "calibrated_on": guards.calibrated_on,
        "calibration": str(calibration) if calibration else None,
    }
    return _result(given, searched, found, positive, removed, chosen, settings)


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


def _shown_name(encoder: Encoder) -> str:
    """An encoder's name without the place it was loaded from: of a run's, the run."""
    parts = Path(getattr(encoder, "name", "") or type(encoder).__name__).parts
    return parts[-2] if len(parts) > 1 and parts[-1] == "encoder" else parts[-1] if parts[0] == "/" else "/".join(parts)


def _chosen(kept: NDArray[np.bool_], m: int, sampling: str, seed: int) -> Integers:
    """Columns (u, m) of the neighbours to use, rising; -1 where fewer are kept (u, k)."""
    u, k = kept.shape
    if sampling == "random":  # one number for every neighbour, however the work was cut
        draw = np.random.default_rng(seed).random((u, k), dtype=np.float32)
        draw[~kept] = np.inf
        order = np.argsort(draw, axis=1, kind="stable")[:, :m]
    else:
        order = np.argsort(~kept, axis=1, kind="stable")[:, :m]  # those kept first, in their order
    order = np.sort(np.where(np.take_along_axis(kept, order, axis=1), order, k), axis=1)
    out = np.full((u, m), -1, dtype=np.int64)
    out[:, : order.shape[1]] = np.where(order < k, order, -1)
    return out


def _result(
    given: Given,
    searched: Pool,
    found: Neighbours,
    positive: Floats,
    removed: NDArray[np.int8],
    chosen: Integers,
    settings: dict[str, Any],
) -> MinedCorpus:
    """Put together what was found for the different anchors, a row for every given one."""
    there = chosen >= 0  # (u, m)
    index = np.where(there, np.take_along_axis(found.index, chosen.clip(0), axis=1), -1)
    similarity = np.where(there, np.take_along_axis(found.similarity, chosen.clip(0), axis=1), np.float32(np.nan))
    seen = np.where(found.index >= 0, found.similarity, np.float32(np.nan))  # (u, k)
    counts = {
        "anchors": len(given.anchors),
        "distinct_anchors": given.distinct,
        "corpus": searched.total,
        "copies": searched.copies,
        "blank": searched.blank,
    }
    report = reporting.make(settings, counts, found.positive, seen, removed, similarity)

    def each(table: NDArray[Any]) -> NDArray[Any]:
        return table if given.distinct == len(given.row) else table[given.row]

    return MinedCorpus(
        given.anchors, given.positives, each(index), each(similarity), positive, each(found.index), each(seen),
        each(removed), report, searched,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.mining",
        description="Mine hard negatives out of a corpus; print a report, write triplets.",
    )
    source = "wikipedia, wiki1m, docstrings, a file, or hf:<dataset>:<column>"
    add = parser.add_argument
    add("--encoder", default="kit", help="a run's name or folder, 'latest', 'kit', or an encoder's name (default kit)")
    add("--pooling", help="cls, mean, first_last, last_two, last; default: as the encoder was saved")
    add("--corpus", default="docstrings", help=f"what to search: {source} (default docstrings)")
    add("--limit", type=int, help="at most so many of its sentences")
    add("--column", help="column of a corpus that is a .csv, .tsv, .jsonl or .parquet file")
    add("--anchors", help=f"sentences that want negatives, from {source}; default: the corpus itself")
    add("--anchor-limit", type=int, help="at most so many of them")
    add("--anchor-column", help="column of anchors that are a file")
    add("--k", type=int, help="neighbours to look at (default 50)")
    add("--negatives", type=int, default=1, help="negatives wanted for every anchor (default 1)")
    add("--sampling", default="top", help="top: the most similar; random: a seeded draw (default top)")
    add("--seed", type=int, default=0, help="seed of that draw, and of samples from a source (default 0)")
    guards = parser.add_argument_group("guards against false negatives, tried in this order")
    guards.add_argument("--keep-same-text", action="store_true", help="keep texts equal but for case and punctuation")
    for name in GUARDS[2:]:
        kind: type = int if name == "skip" else float
        guards.add_argument(f"--{name.replace('_', '-')}", type=kind, help=_GUARD_HELP[name], metavar="X")
    guards.add_argument("--calibrated-on", default="both", help="paraphrases: close, far or both (default both)")
    add("--batch-size", type=int, help="sentences in a forward pass; default: the encoder's own")
    add("--no-cache", action="store_true", help="neither read nor write the cache of embeddings")
    add("--layout", default="triplet", help=f"{' or '.join(LAYOUTS)} (default triplet)")
    add("--out", help=f"write the triplets there, a file ending in {' or '.join(FORMATS)}")
    add("--json", help="write the report's figures there")
    return parser


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


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    settings = {name: value for name in GUARDS[2:] if (value := getattr(options, name)) is not None}
    guards = Guards(same_text=not options.keep_same_text, calibrated_on=options.calibrated_on, **settings)
    _check(options.k, guards, options.negatives, options.sampling, options.seed, 1)
    if options.layout not in LAYOUTS:
        raise unknown("layout", options.layout, LAYOUTS)
    if options.out and Path(options.out).suffix not in FORMATS:
        raise HncseError(f"--out is {options.out!r}; it must end in {' or '.join(FORMATS)}")
    anchors, corpus = _sentences(options)
    from hncse.evaluation import open_encoder

    encoder, _ = open_encoder(options.encoder, options.pooling)
    mined = mine(
        encoder, anchors, corpus, k=options.k, guards=guards, negatives=options.negatives, sampling=options.sampling,
        seed=options.seed, batch_size=options.batch_size, cache=not options.no_cache,
        limit=options.limit if corpus else None, column=options.column if corpus else None,
    )  # fmt: skip
    sys.stdout.write(f"{mined.report}\n")
    if options.json:
        from hncse.files import write_json

        write_json(Path(options.json), mined.report.to_dict())
    if options.out:
        sys.stdout.write(f"wrote {mined.save(options.out, options.layout)}\n")
    return 0


def _sentences(options: argparse.Namespace) -> tuple[list[str], str | None]:
    """Anchors, and the corpus to stream; None where the anchors are searched themselves."""
    from hncse.data import corpora

    if options.anchors is None:
        corpus = corpora.load(options.corpus, limit=options.limit, seed=options.seed, column=options.column)
        return corpus.sentences, None
    anchors = corpora.load(options.anchors, limit=options.anchor_limit, seed=options.seed, column=options.anchor_column)
    return anchors.sentences, options.corpus


if __name__ == "__main__":
    sys.exit(main())
