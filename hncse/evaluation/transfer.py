"""Transfer: seven classification tasks on frozen embeddings, SentEval's protocol, every distinct sentence encoded once.

A linear classifier learns from each task's embeddings; its strength of regularisation is chosen on development folds,
its accuracy ×100 on test rows is the score (`hncse.evaluation.solvers` lays the protocol out). Two solvers:

    fast      for choosing: all folds and strengths as one convex problem, solved to a tolerance;
              strengths are relative to the embeddings' variance, so that a rescaled encoder scores the same
    senteval  SentEval's own schedule of Adam steps, its strengths 1e-5 to 1e-2, equal to it fit by fit:
              the default, and the only one whose scores stand beside published rows

Each result carries ``dev`` beside ``acc``: the accuracy by which the strength was chosen. It is no result; the released
code of HNCSE prints it as one.

``hncse transfer RUN_OR_ENCODER`` prints the table and writes transfer.json into a run. Taught
in notebooks/06_transfer_table.ipynb.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import senteval
from hncse.data.senteval import TRANSFER_TASKS, TransferTask
from hncse.errors import HncseError, unknown
from hncse.evaluation import Encoder, embed, span
from hncse.evaluation.results import SOLVERS

if TYPE_CHECKING:
    import torch

    from hncse.evaluation.solvers import Fit

__all__ = ["SOLVERS", "STRENGTHS", "classify", "evaluate", "evaluate_full", "features", "table", "topics"]

#: l2 strengths tried. ``fast`` first divides features by the root of their mean variance, ``senteval`` does not.
STRENGTHS = {"fast": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), "senteval": (1e-5, 1e-4, 1e-3, 1e-2)}

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]


def evaluate(
    encoder: Encoder, tasks: Sequence[str | TransferTask] | None = None, solver: str = "senteval",
    batch_size: int | None = None, *, allow_other_files: bool | None = None,
) -> dict[str, float]:  # fmt: skip
    """Score an encoder; benchmark files that are missing are fetched once.

    Args:
        encoder: Its ``encode`` meets every distinct sentence of all tasks once; embeddings are kept on disk
            (`hncse.data.embedding_cache`) where the encoder can be told from others by its content.
        tasks: Among MR CR SUBJ MPQA SST2 TREC MRPC, or tasks of your own; None takes the seven.
        solver: ``"senteval"``, or ``"fast"`` for choosing among encoders; its scores (higher by 0.8 on average, by
            2 on TREC) never stand beside published ones. Tasks of your own with a few hundred rows want ``"fast"``:
            SentEval's schedule stops after some dozen small steps there.
        batch_size: Passed on to ``encode``; None leaves its default.
        allow_other_files: Score files whose rows are not the known release's too; None asks
            ``HNCSE_OTHER_BENCHMARKS`` (1 allows them).

    Returns:
        Task → accuracy ×100 on test rows. With all seven tasks also ``avg``.

    Raises:
        HncseError: Unknown task or solver, files missing or not the benchmark's, labels of one class, embeddings of a
            wrong shape, with NaN or infinity, or all equal.
    """
    result = evaluate_full(encoder, tasks, solver, batch_size, allow_other_files=allow_other_files)
    scores = {name: entry["acc"] for name, entry in result["tasks"].items()}
    return scores if result["avg"] is None else scores | {"avg": result["avg"]}


def evaluate_full(
    encoder: Encoder, tasks: Sequence[str | TransferTask] | None = None, solver: str = "senteval",
    batch_size: int | None = None, *, cache: bool = True, device: torch.device | str | None = None,
    on_task: Callable[[str], None] | None = None, allow_other_files: bool | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score an encoder with everything a table or a report may need; arguments and errors as in `evaluate`.

    Besides, ``cache`` says whether embeddings are read from and kept on disk, ``device`` where the solver computes
    (None: the CPU), and ``on_task`` is told each task's name before its classifiers are trained.

    Returns:
        JSON-able: ``tasks`` (task → what `classify` returns), ``avg`` and ``avg_dev`` (None unless the seven tasks are
        there), ``avg_interval``, ``solver``, ``split``, ``pooling`` (None where the encoder does not say), ``folds``,
        ``seed``, ``files`` (``known release``, or ``other`` with files or tasks of another origin), ``sentences``
        (distinct ones, each encoded once), ``seconds`` (``encode``, ``solve``).
    """
    from hncse.evaluation import solvers

    _check_solver(solver)
    loaded = _loaded(tasks, allow_other_files)
    began = time.perf_counter()
    texts = [sentence for task in loaded for sentence in task.sentences]
    z = embed(encoder, texts, batch_size, cache=cache)  # (n, d)
    encoded = time.perf_counter()
    results = {}
    for task, rows in zip(loaded, np.split(z, np.cumsum([len(task.sentences) for task in loaded[:-1]])), strict=True):
        if on_task is not None:
            on_task(task.name)
        results[task.name] = classify(features(task, rows), task, solver, device=device)
    seven = set(results) == set(TRANSFER_TASKS)
    return {
        "split": "test", "solver": solver, "metric": "accuracy x100 of a linear classifier on frozen embeddings",
        "pooling": getattr(encoder, "pooling", None), "folds": solvers.FOLDS, "seed": solvers.SEED, "tasks": results,
        "avg": _mean(results, "acc") if seven else None,
        "avg_interval": _average_interval(results) if seven else None,
        "avg_dev": _mean(results, "dev") if seven else None,
        "files": senteval.together(task.release for task in loaded), "sentences": len(set(texts)),
        "seconds": {"encode": round(encoded - began, 2), "solve": round(time.perf_counter() - encoded, 2)},
    }  # fmt: skip


def features(task: TransferTask, embeddings: Rows) -> Rows:
    """What the classifier sees: an embedding, or for pairs [|u-v|, u*v] (SentEval's for MRPC).

    ``embeddings`` are (n, d), or (2n, d) for pairs, of ``task.sentences``; the features (n, d) or (n, 2d) float32.
    """
    z = np.asarray(embeddings, dtype=np.float32)
    if len(z) != len(task.sentences):
        raise HncseError(f"{task.name}: {len(z)} embeddings for {len(task.sentences)} sentences")
    if task.second is None:
        return z
    u, v = np.split(z, 2)
    return np.hstack([np.abs(u - v), u * v])


def classify(
    x: Rows, task: TransferTask, solver: str = "senteval", *, device: torch.device | str | None = None
) -> dict[str, Any]:
    """Train and score one task's classifiers on features (n, D) float32; arguments and errors as in `evaluate`.

    Returns:
        ``acc``: accuracy ×100 on test rows (for nested folds the mean over ten held-out folds), rounded to two
        decimals as SentEval rounds; its 95 % Wilson ``interval`` over the scored rows; ``dev``: the accuracy that
        chose the strength; ``strengths`` chosen, one a choice; ``protocol``, ``rows`` scored, ``classes``,
        ``majority`` (accuracy of always naming the commonest class), ``empty`` sentences, ``seconds``.
    """
    import torch

    from hncse.evaluation import solvers

    _check_solver(solver)
    _check(x, task)
    began = time.perf_counter()
    plan = solvers.choices(task)
    if solver == "fast":
        x = _scaled(x, task.train)
    solve = solvers.fast_accuracies if solver == "fast" else solvers.senteval_accuracies
    on = torch.device(device) if device is not None else None

    def train(fits: list[Fit], each: Floats) -> Floats:
        return 100 * solve(x, task.labels, task.classes, fits, each, on)

    strengths = np.array(STRENGTHS[solver])
    searched = [fit for choice in plan for fit in choice.search]
    seen = train(searched, np.tile(strengths, (len(searched), 1)))  # (F, S)
    means = np.round(seen.reshape(len(plan), -1, len(strengths)).mean(axis=1), 2)  # SentEval compares rounded means
    chosen = means.argmax(axis=1)  # (len(plan),)
    tested = train([choice.final for choice in plan], strengths[chosen][:, None])[:, 0]
    acc = round(float(np.mean(np.round(tested, 2))), 2)
    rows = np.concatenate([choice.final.score for choice in plan])
    return {
        "acc": acc, "interval": _wilson(acc, len(rows)), "dev": round(float(means.max(axis=1).mean()), 2),
        "strengths": [STRENGTHS[solver][place] for place in chosen], "protocol": solvers.protocol(task),
        "rows": len(rows), "classes": task.classes,
        "majority": round(100 * float(np.bincount(task.labels[rows]).max()) / len(rows), 2),
        "empty": sum(not sentence for sentence in task.sentences),
        "seconds": round(time.perf_counter() - began, 2),
    }  # fmt: skip


def topics() -> TransferTask:
    """A task for machines without the benchmark, a row a probe group: which of ten topics is its anchor about?

    Of every five groups three are to learn from, with folds that choose, and two to test: its intervals are wide.
    """
    from hncse.data import probe

    groups = probe.load()
    learned = [group for i, group in enumerate(groups) if i % 5 < 3]
    rows = learned + [group for i, group in enumerate(groups) if i % 5 >= 3]
    labels = np.array([probe.TOPICS.index(group.topic) for group in rows], dtype=np.int64)
    train, test = slice(0, len(learned)), slice(len(learned), len(rows))
    return TransferTask("topics", [group.anchor for group in rows], None, labels, train, None, test)


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Yield the lines of a readable table of what `evaluate_full` returned."""
    tasks = result["tasks"]
    yield (
        f"Transfer: {name}, split {result['split']}, pooling {result['pooling'] or 'its own'}, solver "
        f"{result['solver']}, {result['sentences']:,} distinct sentences"
    )
    yield (
        f"accuracy x100, 95 % intervals over the scored rows, one run; {result['folds']} folds, seed {result['seed']}; "
        f"{result['seconds']['encode']:.1f} s for embeddings, {result['seconds']['solve']:.1f} s for classifiers"
    )
    if result.get("files") == senteval.OTHER and set(tasks) <= set(TRANSFER_TASKS):
        yield "the benchmark files are not the known release's: no number here stands beside a published one"
    columns = dict(tasks)
    if result["avg"] is not None:
        columns["avg"] = {
            "acc": result["avg"], "interval": result["avg_interval"], "dev": result["avg_dev"],
            "majority": _mean(tasks, "majority"),
        }  # fmt: skip
    yield f"{'':9}" + "".join(f"{column:>14}" for column in columns)
    for head, key in (("test", "acc"), ("", "interval"), ("majority", "majority"), ("dev", "dev")):
        cells = [span(entry[key]) if key == "interval" else f"{entry[key]:.2f}" for entry in columns.values()]
        yield f"{head:9}" + "".join(f"{cell:>14}" for cell in cells)
    yield "dev chose the regularisation: it is no result (notebook 06); majority names the commonest class always"
    for task, entry in tasks.items():
        if entry["empty"]:
            yield f"{task}: {entry['empty']} empty lines count as sentences, as in SentEval"


def _scaled(x: Rows, train: slice) -> Rows:
    """Divide features by one number, the root of their mean variance over training rows: scale then decides nothing."""
    spread = float(x[train].var(axis=0, dtype=np.float64).mean()) ** 0.5
    return x / np.float32(spread) if spread > 0 else x


def _loaded(tasks: Sequence[str | TransferTask] | None, others: bool | None) -> list[TransferTask]:
    chosen = list(TRANSFER_TASKS if tasks is None else [tasks] if isinstance(tasks, str) else tasks)
    if not chosen:
        raise HncseError(f"tasks is empty; give some of {', '.join(TRANSFER_TASKS)}, or None for all")
    names = [task if isinstance(task, str) else task.name for task in chosen]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise HncseError(f"task {twice} is named twice; name each once")
    missing = [task for task in chosen if isinstance(task, str) and not senteval.transfer_present(task)]
    if missing:
        try:
            senteval.fetch(transfer=True, allow_other_files=others)
        except HncseError as error:
            absent = senteval.missing_files(senteval.downstream(), missing)[0]
            raise HncseError(f"{', '.join(missing)} cannot be read: there is no {absent}, and {error}") from error
    return [senteval.load_task(task, allow_other_files=others) if isinstance(task, str) else task for task in chosen]


def _check_solver(solver: str) -> None:
    if solver not in SOLVERS:
        raise unknown("solver", solver, SOLVERS)


def _check(x: Rows, task: TransferTask) -> None:
    if x.ndim != 2 or len(x) != len(task.labels):
        raise HncseError(f"{task.name}: features of shape {x.shape} for {len(task.labels)} rows; they must be (n, D)")
    if broken := int((~np.isfinite(x)).any(axis=1).sum()):
        raise HncseError(f"{task.name}: {broken} of {len(x)} rows hold NaN or infinity; has the training diverged?")
    present = np.unique(task.labels[task.train])
    if len(present) < 2:
        raise HncseError(
            f"{task.name}: every training label is {present[0]}; a classifier needs two classes or more to tell apart"
        )
    if task.labels.min() < 0:
        raise HncseError(f"{task.name}: a label is {task.labels.min()}; classes are numbered from 0")


def _mean(results: dict[str, Any], what: str) -> float:
    return round(float(np.mean([entry[what] for entry in results.values()])), 2)


def _wilson(acc: float, n: int) -> list[float]:
    from scipy.stats import binomtest

    low, high = binomtest(round(acc / 100 * n), n).proportion_ci(method="wilson")
    return [round(100 * float(low), 2), round(100 * float(high), 2)]


def _average_interval(results: dict[str, Any]) -> list[float]:
    """95 % interval of the average over tasks: their rows are drawn independently, so variances add."""
    shares = [(entry["acc"] / 100, entry["rows"]) for entry in results.values()]
    spread = sum(p * (1 - p) / n for p, n in shares) ** 0.5 / len(shares)
    average = _mean(results, "acc")
    return [round(average - 196 * spread, 2), round(average + 196 * spread, 2)]
