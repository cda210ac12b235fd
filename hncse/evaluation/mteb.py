"""MTEB's tasks, NanoBEIR among them, through the package mteb: an extra, ``pip install 'hncse[mteb]'``.

    hncse mteb ENCODER --tasks STSBenchmark NanoBEIR          # tasks and benchmarks by their names there

MTEB is another protocol than `hncse.evaluation.sts`. Where a task's pairs are the same, the scores are (a test compares
the two on one task). SICK-R's are not: MTEB scores its training and dev pairs as well, SimCSE and this kit the 4,927 of
the test split. Its average is over other tasks. No number of one stands in a column of the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError, command
from hncse.evaluation import add_encoder, open_encoder

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["evaluate", "table"]


def evaluate(encoder: SentenceEncoder, tasks: Sequence[Any], batch_size: int = 64) -> list[dict[str, Any]]:
    """Score an encoder on tasks of MTEB; their data come from the Hugging Face hub or its cache.

    Args:
        encoder: A copy of it is scored as a `sentence_transformers.SentenceTransformer`.
        tasks: Names of tasks or of benchmarks, or tasks of your own (``mteb.abstasks``).
        batch_size: Sentences in a forward pass.

    Returns:
        A row a task, split and subset: ``task``, ``split``, ``subset``, ``measure`` (the task's main score, such as
        ``ndcg_at_10``), ``score`` (×100, unrounded), ``pooling``, ``mteb`` (its version).

    Raises:
        HncseError: mteb is not installed, a name it does not know (its nearest is told), data that cannot be fetched.
    """
    mteb = _mteb()
    chosen = [each for task in tasks for each in _named(mteb, task)]
    if not chosen:
        raise HncseError("tasks is empty; give names of tasks such as STSBenchmark, or of a benchmark such as NanoBEIR")
    model = encoder.as_sentence_transformer()
    rows: list[dict[str, Any]] = []
    for task in chosen:
        rows += _rows(mteb, model, task, batch_size)
    return [row | {"pooling": encoder.pooling, "mteb": mteb.__version__} for row in rows]


def table(rows: list[dict[str, Any]], name: str = "encoder") -> Iterator[str]:
    """Lines of a readable table of what `evaluate` returned."""
    yield f"MTEB {rows[0]['mteb']}: {name}, pooling {rows[0]['pooling']}, each task's main score × 100; no interval"
    width = max(len(row["task"]) for row in rows)
    for row in rows:
        subset = "" if row["subset"] == "default" else row["subset"]
        yield f"{row['task']:{width}}  {row['split']:6}{subset:10}{row['measure']:18}{row['score']:8.2f}"
    if len(rows) > 1 and len({row["measure"] for row in rows}) == 1:
        yield f"{'mean':{width}}  {'':16}{rows[0]['measure']:18}{sum(row['score'] for row in rows) / len(rows):8.2f}"


def _mteb() -> Any:
    try:
        import mteb
    except ImportError as error:
        raise HncseError("MTEB's tasks need an optional package: pip install 'hncse[mteb]'") from error
    return mteb


def _named(mteb: Any, task: Any) -> list[Any]:
    if not isinstance(task, str):
        return [task]
    if task in {benchmark.name for benchmark in mteb.get_benchmarks()}:
        return list(mteb.get_benchmark(task).tasks)
    try:
        return [mteb.get_task(task)]
    except KeyError as error:
        raise HncseError(f"mteb knows no task or benchmark {task!r}: {str(error).strip(chr(34))}") from error


def _rows(mteb: Any, model: Any, task: Any, batch_size: int) -> Iterator[dict[str, Any]]:
    settings = {"batch_size": batch_size, "show_progress_bar": False}
    try:
        result = mteb.evaluate(model, [task], cache=None, encode_kwargs=settings, show_progress_bar=False)
    except (OSError, ConnectionError) as error:  # the hub's errors are of these kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HncseError(f"the data of {task.metadata.name} could not be fetched: {reason[:200]}") from error
    for done in result.task_results:
        for split, subsets in done.scores.items():
            for scores in subsets:
                yield {
                    "task": task.metadata.name, "split": split, "subset": scores["hf_subset"],
                    "measure": task.metadata.main_score, "score": 100 * float(scores["main_score"]),
                }  # fmt: skip


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="hncse mteb", description="Score an encoder on tasks of MTEB.")
    add = parser.add_argument
    add_encoder(parser)
    add("--tasks", nargs="+", required=True, metavar="NAME", help="tasks or benchmarks: STSBenchmark, NanoBEIR, …")
    add("--batch-size", type=int, default=64, help="sentences in a forward pass (default 64)")
    add("--json", type=Path, help="write the rows there as well")
    options = parser.parse_args(arguments)
    encoder, run = open_encoder(options.encoder, options.pooling)
    rows = evaluate(encoder, options.tasks, options.batch_size)
    if options.json:
        from hncse.files import write_json

        write_json(options.json, rows)
    sys.stdout.writelines(line + "\n" for line in table(rows, run.name if run else options.encoder))
    return 0
