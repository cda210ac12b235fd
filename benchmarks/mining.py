"""The corpus miner: its search against faiss's IndexFlatIP, all of it against sentence-transformers' miner."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import text
from benchmarks.measure import Ratio, interleaved, markdown, ratio, spread
from hncse.encoder import SentenceEncoder
from hncse.mining import Guards, mine
from hncse.mining.search import Nearest

__all__ = ["agreement", "measure", "peak_memory"]

WIDTH, K = 256, 10  # of the search
SKIP, NEGATIVES, CEILING = 5, 5, 0.9  # of the comparison with sentence-transformers


def measure(n: int, pairs: int, rounds: int, large: int) -> tuple[list[dict[str, Any]], str]:
    """Time the search over n rows, both miners over pairs, and weigh the miner's memory over ``large`` sentences."""
    records = [_search(n, rounds), *_peers(pairs, rounds)]
    memory = {"measured": "memory", "sentences": large, "peak_gigabytes": peak_memory(large)}
    rows = [[r["what"], f"{r['ours']:.2f}", f"{r['other']:.2f}", spread(r["ratio"]), r["output"]] for r in records]
    note = (
        f"Search: random unit rows, width {WIDTH}, top {K}; the ratio to faiss is at most 1.2 where the goal is met. "
        f"Miners: {NEGATIVES} nearest negatives of {pairs:,} pairs after skipping {SKIP}, none above {CEILING}, with "
        "encoding, without caches. Triplets that differ are ties of float32 rounding: the largest difference stands "
        f"beside. {rounds} interleaved rounds. Peak memory of mining {large:,} sentences for themselves at width 320, "
        f"k = {K}: {memory['peak_gigabytes']:.1f} GB, with random proposals in place of faiss's (which take no memory "
        "of their own and nearly all the time)."
    )
    header = ("what", "the kit, s", "the other, s", "kit / other", "same output")
    return [*records, memory], markdown("Mining hard negatives", header, rows, note)


def _search(n: int, rounds: int) -> dict[str, Any]:
    """Top-k of n rows among themselves: the miner's search, with self left out, and IndexFlatIP's add and search."""
    import faiss

    rows = np.random.default_rng(0).standard_normal((n, WIDTH), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    every = np.arange(n)

    def ours() -> Nearest:
        nearest = Nearest(rows, K, "faiss")
        nearest.add(rows, every, every)
        return nearest

    def other() -> tuple[np.ndarray, np.ndarray]:
        index = faiss.IndexFlatIP(WIDTH)
        index.add(rows)
        return index.search(rows, K)

    times = interleaved({"ours": ours, "other": other}, rounds)
    _, found = other()
    same = np.mean([set(a[: K - 1]) == set(b[1:]) for a, b in zip(ours().index[:1000], found[:1000], strict=True)])
    return _record(f"search, {n:,} × {WIDTH}, top {K}, against faiss IndexFlatIP", times, f"{same:.1%} of rows")


def _peers(pairs: int, rounds: int) -> list[dict[str, Any]]:
    """Both miners on the kit's encoder: encoding, search, guards and the data set of triplets."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    sentences, source = text.sentences(2 * pairs)
    anchors, positives = sentences[:pairs], sentences[pairs:]
    table = Dataset.from_dict({"anchor": anchors, "positive": positives})
    encoder = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        peer = SentenceTransformer(str(encoder.save(Path(folder) / "encoder")), device="cpu")
    guards = Guards(same_text=False, max_similarity=CEILING, skip=SKIP)
    depth = SKIP + 10 * NEGATIVES + 1  # what the other takes by default

    def ours() -> Any:
        mined = mine(encoder, anchors, positives, k=depth + 1, guards=guards, negatives=NEGATIVES, cache=False)
        return mined.triplets()

    def other(use_faiss: bool) -> Any:
        with contextlib.redirect_stderr(io.StringIO()):
            return mine_hard_negatives(
                table, peer, range_min=SKIP, range_max=depth, max_score=CEILING, num_negatives=NEGATIVES,
                use_faiss=use_faiss, batch_size=64, verbose=False, output_scores=True,
            )  # fmt: skip

    records = []
    for use_faiss in (True, False):
        times = interleaved({"ours": ours, "other": lambda f=use_faiss: other(f)}, rounds)  # type: ignore[misc]
        how = "with faiss" if use_faiss else "as it comes"
        what = f"mining {pairs:,} pairs ({source}), against sentence-transformers {how}"
        share, gap = agreement(ours(), other(use_faiss))
        records.append(_record(what, times, f"{share:.2%} of triplets, similarities within {gap:.0e}"))
    return records


def agreement(ours: Any, other: Any) -> tuple[float, float]:
    """Compare both miners' tables.

    Returns:
        The share of triplets that both hold, of all that either holds; and the largest difference between the
        similarities of a pair's first, second, … negative (infinite where one has fewer).
    """
    tables = [(ours, ours["negative_similarity"]), (other, [scores[1] for scores in other["scores"]])]
    triplets, ranked = [], []
    for table, values in tables:
        pairs = list(zip(table["anchor"], table["positive"], strict=True))
        triplets.append(set(zip(pairs, table["negative"], strict=True)))
        ranked.append({})
        for pair, value in zip(pairs, values, strict=True):
            ranked[-1].setdefault(pair, []).append(value)
    (a, b), (x, y) = triplets, ranked
    lengths = [{pair: len(values) for pair, values in of.items()} for of in (x, y)]
    gap = np.inf if lengths[0] != lengths[1] else max(np.abs(np.subtract(x[p], y[p])).max() for p in x)
    return len(a & b) / len(a | b), float(gap)


def _record(what: str, times: dict[str, list[float]], output: str) -> dict[str, Any]:
    r: Ratio = ratio(times["ours"], times["other"])
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {"measured": "time", "what": what, **medians, "ratio": r, "output": output}


def peak_memory(n: int) -> float:
    """Gigabytes a fresh process needs to mine n sentences for themselves, the interpreter and libraries included.

    Linux only: getrusage would also count what the parent process held when it started the child.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(n), str(K)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return float(done.stdout.split()[-1]) * 1024 / 1e9


_MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from hncse import mining
from hncse.mining import search

n, k = map(int, sys.argv[1:])

class Random:
    def encode(self, sentences):
        draw = np.random.default_rng(int(sentences[0].split()[0]))
        return draw.standard_normal((len(sentences), 320), dtype=np.float32)

def proposals(anchors, rows, width):
    draw = np.random.default_rng(0)
    column = (draw.integers(len(rows), size=(len(anchors), 1)) + np.arange(width)) % len(rows)
    return np.tile(np.linspace(0.9, 0.8, width, dtype=np.float32), (len(anchors), 1)), column

search.BACKENDS["faiss"] = proposals
rest = " words of a sentence of the usual length, about a hundred and twenty letters long, with this and that"
mined = mining.mine(Random(), [str(i) + rest for i in range(n)], k=k, cache=False)
mined.triplets()
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
