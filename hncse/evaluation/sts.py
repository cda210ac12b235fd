"""Semantic textual similarity: seven tasks, SimCSE's protocol, every distinct sentence encoded once.

A pair's similarity is the cosine of its embeddings. A task's score is the "all" aggregation of every published table:
the cosines and gold scores of all its subsets in one Spearman correlation, ×100. "mean" and "wmean" (of the subsets'
own correlations, plain and weighted by pairs) are other numbers and stand beside it in the JSON. The average is over
the seven tasks, each first rounded to two decimals.

``hncse sts RUN_OR_ENCODER`` prints the table and writes sts.json into a run. Taught in
notebooks/05_sts_table.ipynb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import senteval
from hncse.data.senteval import STS_TASKS, StsSubset
from hncse.errors import HncseError, command
from hncse.evaluation import TIE, Encoder, check_resampling, embed, open_encoder, resampling

__all__ = ["bootstrap_interval", "evaluate", "evaluate_full", "similarities", "table"]

Floats = NDArray[np.float64]
_MOST_PAIRS = 5_000  # about as many as the largest task has
Similarities = dict[str, list[tuple[StsSubset, Floats]]]  # task → its subsets, each with its cosines (n,)


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
    compared, _ = similarities(encoder, tasks, split, batch_size, allow_other_files, cache=cache)
    scores = {task: _spearman(*_together(subsets), task) for task, subsets in compared.items()}
    return scores | _average(scores)


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
    """Score an encoder with everything a table or a report may need.

    Args:
        encoder: As in `evaluate`.
        tasks: As in `evaluate`.
        split: As in `evaluate`.
        batch_size: As in `evaluate`.
        bootstrap: Resamples of sentence pairs behind each interval; 0 leaves the intervals None. They say how far the
            benchmark's choice of pairs decides a score, not how far the training seed does (that takes several runs).
        seed: Seed of the resampling.
        allow_other_files: As in `evaluate`; ``files`` of the result says what they were.
        cache: As in `evaluate`.

    Returns:
        JSON-able: ``tasks`` (task → ``all``, its 95 % ``interval``, ``mean``, ``wmean``, ``pairs``, and ``subsets``:
        name → ``spearman``, ``pearson``, ``n``), ``avg`` and ``avg_interval`` (None unless all seven tasks are there),
        ``split``, ``pooling`` (None where the encoder does not say), ``sentences`` (distinct ones, each encoded once),
        ``bootstrap``, ``files`` (``known release`` or ``other``). Correlations ×100.

    Raises:
        HncseError: As in `evaluate`; or as in `hncse.evaluation.check_resampling`.
    """
    check_resampling(bootstrap, seed, _MOST_PAIRS)
    compared, sentences = similarities(encoder, tasks, split, batch_size, allow_other_files, cache=cache)
    resampled = {
        task: _resampled(*_together(subsets), bootstrap, seed + place)
        for place, (task, subsets) in enumerate(compared.items())
    }
    details = {task: _details(task, subsets, resampled[task]) for task, subsets in compared.items()}
    average = _average({task: entry["all"] for task, entry in details.items()})
    return {
        "split": split,
        "pooling": getattr(encoder, "pooling", None),
        "metric": "Spearman x100 of cosine similarity, 'all' aggregation",
        "tasks": details,
        "avg": average.get("avg"),
        "avg_interval": resampling.interval(np.mean(list(resampled.values()), axis=0)) if average else None,
        "sentences": sentences,
        "files": senteval.together(subset.release for subsets in compared.values() for subset, _ in subsets),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "level": 0.95, "over": "sentence pairs"},
    }


def similarities(
    encoder: Encoder,
    tasks: Sequence[str] | None = None,
    split: str = "test",
    batch_size: int | None = None,
    allow_other_files: bool | None = None,
    *,
    cache: bool = True,
) -> tuple[Similarities, int]:
    """Compare every pair of some tasks.

    Args:
        encoder: As in `evaluate`.
        tasks: As in `evaluate`.
        split: As in `evaluate`.
        batch_size: As in `evaluate`.
        allow_other_files: As in `evaluate`.
        cache: As in `evaluate`.

    Returns:
        Task → its subsets, each with the cosines (n,) of its pairs, float64; and how many distinct sentences there
        were. A pair of equal sentences has cosine 1, one with a zero embedding 0 (as in SimCSE).

    Raises:
        HncseError: As in `evaluate`.
    """
    loaded = {task: _load(task, split, allow_other_files) for task in _chosen(tasks, split)}
    every = [subset for subsets in loaded.values() for subset in subsets]
    place: dict[str, int] = {}
    for subset in every:
        for sentence in (*subset.first, *subset.second):
            place.setdefault(sentence, len(place))
    z = embed(encoder, list(place), batch_size, cache=cache)  # (n, d)
    compared = {
        task: [(s, _cosines(z, [place[t] for t in s.first], [place[t] for t in s.second])) for s in subsets]
        for task, subsets in loaded.items()
    }
    return compared, len(place)


def bootstrap_interval(cosine: Floats, gold: Floats, resamples: int = 1000, seed: int = 0) -> list[float] | None:
    """95 % interval of one task's score, from resampled sentence pairs.

    Args:
        cosine: (n,) similarities of the pairs.
        gold: (n,) their human scores.
        resamples: How many times n pairs are drawn from the n with replacement.
        seed: Seed of the draws.

    Returns:
        Lower and upper bound, Spearman ×100; None without resamples.
    """
    return resampling.interval(_resampled(cosine, gold, resamples, seed))


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
        yield "".join(f"{f'[{span[0]:.1f}, {span[1]:.1f}]':>14}" for _, span in columns.values() if span)


def _chosen(tasks: Sequence[str] | None, split: str) -> list[str]:
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


def _cosines(z: NDArray[np.floating], first: list[int], second: list[int]) -> Floats:
    """Cosines of pairs of rows of z (n, d), in float64; rounding cannot tell a sentence from itself."""
    a, b = z[first].astype(np.float64), z[second].astype(np.float64)  # (m, d)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)  # (m,)
    cosine = np.divide(np.einsum("md,md->m", a, b), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    cosine[np.array(first) == np.array(second)] = 1.0
    return cosine


def _together(subsets: list[tuple[StsSubset, Floats]]) -> tuple[Floats, Floats]:
    cosines = np.concatenate([cosine for _, cosine in subsets])
    return cosines, np.concatenate([subset.gold for subset, _ in subsets])


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
        "interval": resampling.interval(resampled),
        "mean": float(np.mean(own)),
        "wmean": float(np.average(own, weights=sizes)),
        "pairs": int(sum(sizes)),
        "subsets": parts,
    }


def _average(scores: dict[str, float]) -> dict[str, float]:
    """Average seven tasks as printed tables do; fewer have no average that could be compared with theirs."""
    if set(scores) != set(STS_TASKS):
        return {}
    return {"avg": sum(round(score, 2) for score in scores.values()) / len(scores)}


def _resampled(cosine: Floats, gold: Floats, resamples: int, seed: int) -> Floats:
    counts = resampling.draw_groups(len(cosine), resamples, seed)  # (B, n): each pair is a group of its own
    return 100 * resampling.spearman(cosine, gold, np.arange(len(cosine)), counts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse sts", description="Score an encoder on the STS tasks, by SimCSE's protocol."
    )
    parser.add_argument("encoder", help="a run's name or folder, 'latest', 'kit', 'minilm', or a Hugging Face encoder")
    parser.add_argument("--pooling", help="cls, mean, first_last, last_two, last; default: as the encoder was saved")
    parser.add_argument("--split", default="test", help="test (default), dev or train; the latter for STSB and SICKR")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help=f"some of {' '.join(STS_TASKS)}; default: all")
    parser.add_argument("--batch-size", type=int, help="sentences in a forward pass")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep embeddings on disk")
    parser.add_argument("--json", help="write the result there as well")
    parser.add_argument("--allow-other-files", action="store_true", default=None, help=senteval.OTHER_FILES_HELP)
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    check_resampling(options.bootstrap, options.seed, _MOST_PAIRS)
    for task in _chosen(options.tasks, options.split):  # a typo is an error before anything is loaded
        senteval.present(task, options.split)
    encoder, run = open_encoder(options.encoder, options.pooling)
    settings = {
        "bootstrap": options.bootstrap,
        "seed": options.seed,
        "allow_other_files": options.allow_other_files,
        "cache": not options.no_cache,
    }
    result = evaluate_full(encoder, options.tasks, options.split, options.batch_size, **settings)
    if options.json:
        from hncse.files import write_json

        write_json(Path(options.json), result)
    if run is not None and options.pooling is None and result["avg"] is not None:  # else not the run's own table
        run.write("sts", result)
    sys.stdout.writelines(line + "\n" for line in table(result, run.name if run else options.encoder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
