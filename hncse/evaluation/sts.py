"""Semantic textual similarity: seven tasks, SimCSE's protocol, every distinct sentence encoded once.

A pair's similarity is the cosine of its embeddings. A task's score is the "all" aggregation of every published table:
the cosines and gold scores of all its subsets in one Spearman correlation, ×100. "mean" and "wmean" (of the subsets'
own correlations, plain and weighted by pairs) are other numbers and stand beside it in the JSON. The average is over
the seven tasks, each first rounded to two decimals.

``hncse sts RUN_OR_ENCODER`` prints the table and writes sts.json into a run; with ``--pairs FILE`` it scores pairs of
your own (`evaluate_pairs`). Taught in notebooks/05_sts_table.ipynb.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import scored_pairs, senteval
from hncse.data.embedding_cache import Encoder
from hncse.data.senteval import STS_TASKS, StsSubset
from hncse.errors import HncseError, command
from hncse.evaluation import TIE, check_resampling, deliver, embed, measure_parser, open_encoder, percent, span
from hncse.evaluation.resampling import draw_groups, interval, spearman

__all__ = ["evaluate", "evaluate_full", "evaluate_pairs", "pairs_table", "similarities", "table"]

Floats = NDArray[np.float64]
Subsets = list[tuple[StsSubset, Floats]]  # of a task, each with the cosines (n,) of its pairs
_MOST_PAIRS = 5_000  # about as many as the largest task has


def evaluate(
    encoder: Encoder,
    tasks: Sequence[str] | None = None,
    split: str = "test",
    batch_size: int | None = None,
    *,
    allow_other_files: bool | None = None,
    cache: bool = True,
) -> dict[str, float]:
    """Score an encoder; benchmark files that are missing are fetched once.

    Args:
        encoder: Its ``encode`` meets every distinct sentence of all tasks once.
        tasks: Among STS12 STS13 STS14 STS15 STS16 STSB SICKR; None takes all that have the split.
        split: ``test``; ``dev`` and ``train`` exist for STSB and SICKR.
        batch_size: Passed on to ``encode``; None leaves its default.
        allow_other_files: Score files whose rows are not the known release's too; None asks
            ``HNCSE_OTHER_BENCHMARKS`` (1 allows them).
        cache: Whether embeddings are read from and kept on disk (`hncse.data.embedding_cache`).

    Returns:
        Task → Spearman ×100, "all" aggregation. With all seven tasks also ``avg``.

    Raises:
        HncseError: Unknown task or split, files missing or not the benchmark's, embeddings of a wrong shape, with NaN
            or infinity, or all equal but for rounding (no correlation is defined then).
    """
    compared, _ = _compared(encoder, tasks, split, batch_size, allow_other_files, cache)
    scores = {task: _spearman(*_together(subsets), task) for task, subsets in compared.items()}
    average = _average(scores)
    return scores if average is None else scores | {"avg": average}


def evaluate_full(
    encoder: Encoder,
    tasks: Sequence[str] | None = None,
    split: str = "test",
    batch_size: int | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    allow_other_files: bool | None = None,
    cache: bool = True,
) -> dict[str, Any]:
    """Score an encoder with everything a table or a report may need; arguments and errors as in `evaluate`.

    Besides, ``bootstrap`` resamples of sentence pairs, drawn with ``seed``, give each interval; 0 leaves them None.
    They say how far the benchmark's choice of pairs decides a score, not how far the training seed does (that takes
    several runs).

    Returns:
        JSON-able: ``tasks`` (task → ``all``, its 95 % ``interval``, ``mean``, ``wmean``, ``pairs``, and ``subsets``:
        name → ``spearman``, ``pearson``, ``n``), ``avg`` and ``avg_interval`` (None unless all seven tasks are there),
        ``split``, ``pooling`` (None where the encoder does not say), ``sentences`` (distinct ones, each encoded once),
        ``bootstrap``, ``files`` (``known release`` or ``other``). Correlations ×100.
    """
    check_resampling(bootstrap, seed, _MOST_PAIRS)
    compared, sentences = _compared(encoder, tasks, split, batch_size, allow_other_files, cache)
    resampled = [
        _resampled(*_together(subsets), bootstrap, seed + place) for place, subsets in enumerate(compared.values())
    ]
    details = {
        task: _details(task, subsets, draws) for (task, subsets), draws in zip(compared.items(), resampled, strict=True)
    }
    average = _average({task: entry["all"] for task, entry in details.items()})
    return {
        "split": split,
        "pooling": getattr(encoder, "pooling", None),
        "metric": "Spearman x100 of cosine similarity, 'all' aggregation",
        "tasks": details,
        "avg": average,
        "avg_interval": None if average is None else interval(np.mean(resampled, axis=0)),
        "sentences": sentences,
        "files": senteval.together(subset.release for subsets in compared.values() for subset, _ in subsets),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "level": 0.95, "over": "sentence pairs"},
    }


def similarities(
    encoder: Encoder, tasks: Sequence[str] | None = None, split: str = "test"
) -> dict[str, tuple[Floats, Floats]]:
    """Cosines and gold scores (P,) of each task's pairs; arguments and errors as in `evaluate`."""
    compared, _ = _compared(encoder, tasks, split, None, None, True)
    return {task: _together(subsets) for task, subsets in compared.items()}


def evaluate_pairs(
    encoder: Encoder,
    first: Sequence[str],
    second: Sequence[str],
    scores: Sequence[float],
    batch_size: int | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    cache: bool = True,
) -> dict[str, Any]:
    """Score an encoder on your own pairs, as `evaluate_full` does a task; `hncse.data.scored_pairs.read` reads a file.

    Args:
        encoder: Its ``encode`` meets every distinct sentence once.
        first: n sentences.
        second: Their partners.
        scores: How alike people found each pair, on any scale.
        batch_size: Passed on to ``encode``; None leaves its default.
        bootstrap: Resamples of pairs behind the interval; 0 leaves it None.
        seed: Of their draw.
        cache: Whether embeddings are read from and kept on disk.

    Returns:
        JSON-able: ``spearman`` (×100) and its 95 % ``interval``, ``pearson`` (×100), ``n``, ``sentences`` (distinct
        ones), ``pooling``, ``bootstrap``.

    Raises:
        HncseError: Lists of unequal lengths, scores that are no numbers or all equal, or as in `evaluate`.
    """
    from scipy.stats import pearsonr

    gold = np.asarray(scores, dtype=np.float64)  # (n,)
    if not len(first) == len(second) == len(gold):
        raise HncseError(f"there are {len(first)} first sentences, {len(second)} second ones and {len(gold)} scores")
    if len(gold) < 3 or not np.isfinite(gold).all() or np.ptp(gold) == 0:
        raise HncseError(
            f"scores {gold[:3].tolist()} … ({len(gold)}) give no rank correlation: three or more, not equal"
        )
    check_resampling(bootstrap, seed, len(gold))
    texts = [*first, *second]
    own = StsSubset("own pairs", list(first), list(second), gold)
    cosine = _cosines(own, embed(encoder, texts, batch_size, cache=cache))
    return {
        "spearman": _spearman(cosine, gold, "own pairs"),
        "interval": interval(_resampled(cosine, gold, bootstrap, seed)),
        "pearson": 100 * float(pearsonr(cosine, gold).statistic),
        "n": len(gold),
        "sentences": len(set(texts)),
        "pooling": getattr(encoder, "pooling", None),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "level": 0.95, "over": "sentence pairs"},
    }


def pairs_table(result: dict[str, Any], name: str, file: str) -> Iterator[str]:
    """Yield the lines of a readable table of what `evaluate_pairs` returned."""
    boot = result["bootstrap"]
    yield (
        f"STS: {name} on {file}, {result['n']:,} pairs, pooling {result['pooling'] or 'its own'}, "
        f"{result['sentences']:,} distinct sentences"
    )
    if boot["resamples"]:
        yield f"95 % interval from {boot['resamples']} bootstrap resamples of the pairs, seed {boot['seed']}"
    yield f"Spearman x100 of cosine similarity and score: {percent(result['spearman'], result['interval'])}"
    yield f"Pearson x100: {result['pearson']:.1f}"


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Yield the lines of a readable table of what `evaluate_full` returned."""
    boot = result["bootstrap"]
    yield (
        f"STS: {name}, split {result['split']}, pooling {result['pooling'] or 'its own'}, "
        f"{result['sentences']:,} distinct sentences"
    )
    yield "Spearman x100 of cosine similarity, subsets of a task together ('all')"
    if result.get("files", senteval.KNOWN) != senteval.KNOWN:
        yield "the benchmark files are not the known release's: no number here stands beside a published one"
    if boot["resamples"]:
        yield f"95 % intervals from {boot['resamples']} bootstrap resamples of the pairs, seed {boot['seed']}; one run"
    columns = {task: (entry["all"], entry["interval"]) for task, entry in result["tasks"].items()}
    if result["avg"] is not None:
        columns["avg"] = (result["avg"], result["avg_interval"])
    yield "".join(f"{task:>14}" for task in columns)
    yield "".join(f"{score:14.2f}" for score, _ in columns.values())
    if boot["resamples"]:
        yield "".join(f"{span(interval):>14}" for _, interval in columns.values() if interval)


def _compared(
    encoder: Encoder, tasks: Sequence[str] | None, split: str, batch_size: int | None, others: bool | None, cache: bool
) -> tuple[dict[str, Subsets], int]:
    """Every pair of some tasks, and how many distinct sentences there were."""
    loaded = {task: _load(task, split, others) for task in chosen(tasks, split)}
    every = [subset for subsets in loaded.values() for subset in subsets]
    texts = [text for subset in every for text in (*subset.first, *subset.second)]
    z = embed(encoder, texts, batch_size, cache=cache)  # (2·pairs, d)
    parts = iter(np.split(z, np.cumsum([2 * len(subset.gold) for subset in every])))
    compared = {
        task: [(subset, _cosines(subset, next(parts))) for subset in subsets] for task, subsets in loaded.items()
    }
    return compared, len(set(texts))


def chosen(tasks: Sequence[str] | None, split: str) -> list[str]:
    """Names of tasks, each once: None is all that have the split."""
    if tasks is None:
        chosen = [task for task in STS_TASKS if split in senteval.splits(task)]
        if not chosen:
            raise HncseError(f"no STS task has a split {split!r}; it must be test, dev or train")
        return chosen
    chosen = [tasks] if isinstance(tasks, str) else list(dict.fromkeys(tasks))
    if not chosen:
        raise HncseError(f"tasks is empty; give some of {', '.join(STS_TASKS)}, or None for all")
    return chosen


def _load(task: str, split: str, others: bool | None) -> list[StsSubset]:
    if not senteval.present(task, split):
        senteval.fetch(allow_other_files=others)
    return senteval.load_sts(task, split, allow_other_files=others)


def _cosines(subset: StsSubset, z: NDArray[np.floating]) -> Floats:
    """Cosines (n,) from embeddings (2n, d) of a subset's sentences, as in SimCSE: 0 where an embedding is zero.

    Rounding cannot tell a sentence from itself.
    """
    a, b = np.split(z.astype(np.float64), 2)  # (n, d) each
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)  # (n,)
    cosine = np.divide(np.einsum("nd,nd->n", a, b), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.where([s == t for s, t in zip(subset.first, subset.second, strict=True)], 1.0, cosine)


def _together(subsets: list[tuple[StsSubset, Floats]]) -> tuple[Floats, Floats]:
    """Cosines and gold scores of all of a task's pairs."""
    return np.concatenate([cosine for _, cosine in subsets]), np.concatenate([subset.gold for subset, _ in subsets])


def _spearman(cosine: Floats, gold: Floats, what: str) -> float:
    from scipy.stats import spearmanr

    if np.ptp(cosine) <= TIE:
        raise HncseError(f"{what}: every pair has cosine {cosine[0]:.6f}, so no correlation is defined")
    return 100 * float(spearmanr(cosine, gold).statistic)


def _details(task: str, subsets: list[tuple[StsSubset, Floats]], resampled: Floats) -> dict[str, Any]:
    from scipy.stats import pearsonr

    parts = {
        subset.name: {
            "spearman": _spearman(cosine, subset.gold, f"{task} {subset.name}"),
            "pearson": 100 * float(pearsonr(cosine, subset.gold).statistic),
            "n": len(cosine),
        }
        for subset, cosine in subsets
    }
    own = [part["spearman"] for part in parts.values()]
    sizes = [part["n"] for part in parts.values()]
    return {
        "all": _spearman(*_together(subsets), task),
        "interval": interval(resampled),
        "mean": float(np.mean(own)),
        "wmean": float(np.average(own, weights=sizes)),
        "pairs": int(sum(sizes)),
        "subsets": parts,
    }


def _average(scores: dict[str, float]) -> float | None:
    """Average seven tasks as printed tables do; fewer have no average that could be compared with theirs."""
    if set(scores) != set(STS_TASKS):
        return None
    return sum(round(score, 2) for score in scores.values()) / len(scores)


def _resampled(cosine: Floats, gold: Floats, resamples: int, seed: int) -> Floats:
    counts = draw_groups(len(cosine), resamples, seed)  # (B, n): each pair is a group of its own
    return 100 * spearman(cosine, gold, np.arange(len(cosine)), counts)


def _score_own(options: argparse.Namespace) -> int:
    for flag in ("tasks", "split", "allow_other_files"):
        if getattr(options, flag):
            raise HncseError(
                f"--{flag.replace('_', '-')} is about the benchmark's files, --pairs about yours; give one"
            )
    own = scored_pairs.read(options.pairs, options.columns)
    encoder, run = open_encoder(options.encoder, options.pooling)
    boot = {"bootstrap": options.bootstrap, "seed": options.seed}
    result = evaluate_pairs(encoder, *own, options.batch_size, **boot, cache=not options.no_cache)
    lines = pairs_table(result, run.name if run else options.encoder, options.pairs)
    return deliver("sts", result, lines, options, None)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = measure_parser("sts", "Score an encoder on the STS tasks, by SimCSE's protocol.", resamples=1000)
    add = parser.add_argument
    add("--split", help="test (default), dev or train; the latter for STSB and SICKR")
    add("--tasks", nargs="+", metavar="TASK", help=f"some of {' '.join(STS_TASKS)}; default: all")
    add("--pairs", metavar="FILE", help="score your own pairs instead: .tsv, .csv, .jsonl or .parquet, two sentences "
        "and a score each")  # fmt: skip
    add("--columns", nargs=3, metavar="COLUMN", help="with --pairs: names, or numbers from 1, of the two sentences' "
        "columns and the score's; default: sentence1 sentence2 score, else the only three")  # fmt: skip
    add("--batch-size", type=int, help="sentences in a forward pass")
    add("--no-cache", action="store_true", help="neither read nor keep embeddings on disk")
    add("--allow-other-files", action="store_true", default=None, help=senteval.OTHER_FILES_HELP)
    options = parser.parse_args(arguments)
    if options.pairs:
        return _score_own(options)
    if options.columns:
        raise HncseError("--columns are those of a file given with --pairs")
    options.split = options.split or "test"
    check_resampling(options.bootstrap, options.seed, _MOST_PAIRS)
    for task in chosen(options.tasks, options.split):  # a typo is an error before anything is loaded
        senteval.present(task, options.split)
    encoder, run = open_encoder(options.encoder, options.pooling)
    result = evaluate_full(
        encoder, options.tasks, options.split, options.batch_size, bootstrap=options.bootstrap, seed=options.seed,
        allow_other_files=options.allow_other_files, cache=not options.no_cache,
    )  # fmt: skip
    lines = table(result, run.name if run else options.encoder)
    return deliver("sts", result, lines, options, run if result["avg"] is not None else None)
