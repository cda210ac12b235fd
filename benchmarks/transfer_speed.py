"""The transfer suite: SentEval's classifiers one at a time against ours in step, both solvers whole, and the encoding.

python -m benchmarks.transfer_speed fast 768     # one solver in a process of its own, for its peak memory
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Ratio, interleaved, markdown, ratio, spread
from hncse.data.senteval import TRANSFER_TASKS, TransferTask, load_task, transfer_present
from hncse.evaluation import transfer
from hncse.evaluation.solvers import choices, senteval_accuracies

__all__ = ["measure", "measure_encoding"]

_ROWS = {  # rows of each class in training, development and test, as SentEval's files have them
    "MR": ((5331, 5331),), "CR": ((1368, 2407),), "SUBJ": ((5000, 5000),), "MPQA": ((7294, 3312),),
    "SST2": ((29780, 37569), (428, 444), (912, 909)),
    "TREC": ((86, 1162, 1250, 1223, 835, 896), (9, 138, 94, 65, 81, 113)),
    "MRPC": ((1323, 2753), (578, 1147)),
}  # fmt: skip

Rows = NDArray[np.float32]


def measure(widths: tuple[int, ...], rounds: int, whole: bool) -> tuple[list[dict[str, Any]], str]:
    """Time the senteval solver against one classifier at a time and, if ``whole``, both solvers on all seven tasks."""
    records: list[dict[str, Any]] = []
    rows = []
    for width in widths:
        r, look = _against_one_at_a_time(width, rounds)
        records.append({"what": "one at a time / in step", "width": width, "ratio": r} | look)
        rows.append([f"CR-sized, {width} wide, {look['fits']} fits", spread(r)])
    text = markdown(
        "Transfer: SentEval's classifiers",
        ("fits", "one at a time / in step"),
        rows,
        f"Equal accuracies fit by fit; {rounds} interleaved rounds, CPU seconds, one thread; made-up embeddings.",
    )
    if whole:
        made, table = _both_solvers(widths)
        records, text = records + made, text + "\n" + table
    return records, text


def measure_encoding(every: int) -> tuple[list[dict[str, Any]], str]:
    """Encode all tasks' distinct sentences at once against task by task in the files' order; needs the real files.

    Args:
        every: Of each task's sentences take one in this many.
    """
    if not transfer_present():
        return [], "Transfer encoding: not measured, the files are not in HNCSE_DATA\n"
    from hncse.encoder import SentenceEncoder

    encoder = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
    tasks = [load_task(name) for name in TRANSFER_TASKS]
    order = [np.random.default_rng(0).permutation(len(task.sentences))[::every] for task in tasks]
    lists = [[task.sentences[i] for i in places] for task, places in zip(tasks, order, strict=True)]
    distinct = list(dict.fromkeys(s for sentences in lists for s in sentences))
    times = interleaved(
        {
            "task by task": lambda: [_in_order(encoder, sentences) for sentences in lists],
            "at once": lambda: encoder.encode(distinct, show_progress=False),
        },
        2,
    )
    r = ratio(times["task by task"], times["at once"])
    total = sum(map(len, lists))
    record = {"sentences": total, "distinct": len(distinct), "ratio": r}
    row = [f"{total:,}, of them {len(distinct):,} distinct", spread(r)]
    note = (
        "The kit's encoder; files' own order is drawn anew, since readers sort; batches of 64, padded to their longest."
    )
    return [record], markdown("Transfer: encoding", ("sentences", "task by task / at once"), [row], note)


def _in_order(encoder: Any, sentences: list[str]) -> None:
    import torch

    with torch.inference_mode():
        for start in range(0, len(sentences), 64):
            encoder(**encoder.pad(encoder.tokenize(sentences[start : start + 64])))


def _against_one_at_a_time(width: int, rounds: int) -> tuple[Ratio, dict[str, Any]]:
    """CPU seconds of one outer fold's search: all of it in step against a few of its fits, scaled to all."""
    from tests.oracles import transfer_oracle as oracle

    x, task = _made_up("CR", width)
    fits = choices(task)[0].search
    strengths = np.tile(np.array(transfer.STRENGTHS["senteval"]), (len(fits), 1))
    few = [(fits[0], s) for s in (1e-5, 1e-3)]

    def alone() -> list[float]:
        made = []
        for fit, strength in few:
            train, dev = (x[fit.train], task.labels[fit.train]), (x[fit.score], task.labels[fit.score])
            made.append(oracle.fit(*train, task.classes, strength, dev)[1])
        return made

    ours = senteval_accuracies(x, task.labels, task.classes, fits, strengths)
    if [ours[0, 0], ours[0, 2]] != alone():
        raise RuntimeError("the two forms disagree; their times cannot be compared")
    times = interleaved(
        {"alone": alone, "step": lambda: senteval_accuracies(x, task.labels, task.classes, fits, strengths)}, rounds
    )
    scaled = [t * strengths.size / len(few) for t in times["alone"]]
    return ratio(scaled, times["step"]), {"fits": strengths.size, "sampled": len(few)}


def _both_solvers(widths: tuple[int, ...]) -> tuple[list[dict[str, Any]], str]:
    records, rows = [], []
    kinds: list[str] = ["kit"] if transfer_present() else []
    for kind in [*kinds, str(max(widths))]:
        for solver in transfer.SOLVERS if kind == "kit" else transfer.SOLVERS[:1]:  # senteval: the table above
            command = [sys.executable, "-m", "benchmarks.transfer_speed", solver, kind]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            records.append({"what": "whole suite", "solver": solver, "embeddings": kind} | found)
            shown = [f"{score:.2f}" for score in found["acc"].values()] if kind == "kit" else [""] * 7
            average = f"{found['avg']:.2f}" if kind == "kit" else ""
            name = "kit, real tasks" if kind == "kit" else f"made up, {kind} wide"
            rows.append([name, solver, *shown, average, f"{found['cpu_seconds']:.0f}", f"{found['peak_gb']:.2f}"])
    note = (
        "Whole suite from embeddings at hand; CPU seconds; peak memory of a process of its own, embeddings included. "
        " Made-up embeddings have the tasks' sizes; their accuracies mean nothing and are not shown."
    )
    header = ("embeddings", "solver", *TRANSFER_TASKS, "avg", "CPU s", "peak GB")
    return records, markdown("Transfer: both solvers", header, rows, note)


def _made_up(name: str, width: int) -> tuple[Rows, TransferTask]:
    """Overlapping Gaussian classes with a task's counts; features (n, width)."""
    draw = np.random.default_rng(len(name) + width)
    parts = [np.repeat(np.arange(len(counts)), counts) for counts in _ROWS[name]]
    y = np.concatenate([draw.permutation(part) for part in parts]).astype(np.int64)
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    places = [slice(a, b) for a, b in pairwise(ends)]
    train, dev, test = places[0], places[1] if len(places) == 3 else None, places[-1] if len(places) > 1 else None
    scale = 1 / np.sqrt(np.arange(1, width + 1))  # some directions carry more than others, as in real embeddings
    x = 0.15 * draw.normal(size=(int(y.max()) + 1, width))[y] + draw.normal(size=(len(y), width))
    return (x * scale).astype(np.float32), TransferTask(name, [""] * len(y), None, y, train, dev, test)


def _one(solver: str, kind: str) -> dict[str, Any]:
    """Run one solver over the suite and say what it took."""
    if kind == "kit":
        from hncse.data.embedding_cache import cached_encode
        from hncse.encoder import SentenceEncoder

        tasks = [load_task(name) for name in TRANSFER_TASKS]
        encoder = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
        known = dict.fromkeys(s for task in tasks for s in task.sentences)
        z = cached_encode(encoder, list(known))
        at = {s: i for i, s in enumerate(known)}
        pairs = [(transfer.features(task, z[[at[s] for s in task.sentences]]), task) for task in tasks]
    else:
        width = int(kind)
        pairs = [_made_up(name, 2 * width if name == "MRPC" else width) for name in TRANSFER_TASKS]
    began, clock = time.process_time(), time.perf_counter()
    results = {task.name: transfer.classify(x, task, solver) for x, task in pairs}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "acc": {name: entry["acc"] for name, entry in results.items()},
        "seconds": {name: entry["seconds"] for name, entry in results.items()},
        "avg": round(float(np.mean([entry["acc"] for entry in results.values()])), 2),
        "cpu_seconds": round(time.process_time() - began, 1),
        "wall_seconds": round(time.perf_counter() - clock, 1),
        "peak_gb": round(peak / 1e9, 2),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_one(*sys.argv[1:3])) + "\n")
