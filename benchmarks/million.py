"""Mine the hard negatives of a million sentences on one machine: minutes with their split, memory, and what is missed.

    HNCSE_DATA=… python -m benchmarks.million                       # Wikipedia, every sentence its own positive
    python -m benchmarks.million --sentences 20000                  # a trial

Embedding in bf16 where this machine is quicker with it; neighbours are proposed by faiss's inverted lists, block by
block (131,072 rows), and scored exactly by the miner. What the lists miss is counted on a sample searched exactly.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.errors import command
from hncse.files import write_json

__all__ = ["InvertedLists", "main", "measure"]

_SAMPLE = 500  # anchors whose neighbours are looked for exactly as well
Rows = NDArray[np.float32]


class InvertedLists:
    """A backend of the miner's search: a block's rows in lists around their means, of which a few are looked into."""

    def __init__(self, lists: int, probe: int) -> None:
        """Take how many lists a block has, and how many are looked into."""
        self.lists, self.probe, self.place, self.seconds = lists, probe, (-1, -1), 0.0

    def __call__(self, anchors: Rows, rows: Rows, width: int) -> tuple[Rows, NDArray[np.int64]]:
        """Propose the nearest rows of anchors (q, d): similarities, falling, and rows, (q, width)."""
        import faiss

        began = time.perf_counter()
        place = (rows.__array_interface__["data"][0], len(rows))
        if place != self.place:
            lists = max(1, min(self.lists, len(rows) // 40))
            self.index = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT
            )
            self.index.cp.min_points_per_centroid = 1
            self.index.train(rows[:: max(1, len(rows) // (40 * lists))])
            self.index.add(rows)
            self.index.nprobe, self.place = self.probe, place
        similarity, column = self.index.search(np.ascontiguousarray(anchors), width)
        self.seconds += time.perf_counter() - began
        return np.where(column < 0, -np.inf, similarity).astype(np.float32), np.maximum(column, 0)


def measure(encoder: Any, sentences: list[str], k: int, lists: InvertedLists) -> dict[str, Any]:
    """Mine sentences for themselves; seconds of encoding, of proposals and of all, peak memory and recall."""
    from hncse import mining
    from hncse.encoder import precision
    from hncse.mining import search

    used, why = precision.choose(encoder, "auto")
    spent = [0.0]

    class Timed:
        fingerprint = encoder.fingerprint

        def encode(self, some: list[str]) -> Rows:
            began = time.perf_counter()
            out = encoder.encode(some, precision=used, show_progress=False)
            spent[0] += time.perf_counter() - began
            return out

    search.BACKENDS["lists"] = lists
    began = time.perf_counter()
    mined = mining.mine(Timed(), sentences, k=k, cache=False, backend="lists")
    whole = time.perf_counter() - began
    sample = np.random.default_rng(0).choice(len(sentences), min(_SAMPLE, len(sentences)), replace=False)
    vectors = search.unit_rows(encoder.encode([sentences[i] for i in sample], precision=used))
    best = search.Nearest(vectors, 1, "faiss")
    place = {sentences[i]: n for n, i in enumerate(sample)}
    for start in range(0, len(sentences), 131_072):
        some = sentences[start : start + 131_072]
        rows = search.unit_rows(encoder.encode(some, precision=used, show_progress=False))
        best.add(rows, np.arange(start, start + len(some)), np.array([place.get(text, -1) for text in some]))
    table = mined.triplets()
    negative = dict(zip(table["anchor"], table["negative"], strict=True))
    hit = [negative.get(sentences[i]) == sentences[j] for i, j in zip(sample, best.index[:, 0], strict=True)]
    return {
        "sentences": len(sentences), "k": k, "precision": used, "why": why, "lists": lists.lists, "probe": lists.probe,
        "minutes": round(whole / 60, 2), "minutes_encoding": round(spent[0] / 60, 2),
        "minutes_proposing": round(lists.seconds / 60, 2), "peak_gigabytes": _peak(),
        "nearest_found": round(float(np.mean(hit)), 4), "sampled": len(sample),
    }  # fmt: skip


def _peak() -> float | None:
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.is_file() else None
    return round(int(found[1]) * 1024 / 1e9, 2) if found else None


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__.split("\n")[0])
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--encoder", default="kit")
    parser.add_argument("--k", type=int, default=10, help="neighbours looked at (default 10)")
    parser.add_argument("--lists", type=int, default=1024, help="of a block (default 1024)")
    parser.add_argument("--probe", type=int, default=16, help="lists looked into (default 16)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("million.json"))
    options = parser.parse_args(arguments)
    import torch

    from hncse.data import corpora
    from hncse.encoder import SentenceEncoder

    sentences = list(dict.fromkeys(corpora.load("wikipedia", limit=options.sentences).sentences))
    encoder = SentenceEncoder.from_pretrained(options.encoder, "mean", device="cpu")
    found = measure(encoder, sentences, options.k, InvertedLists(options.lists, options.probe))
    found |= {"encoder": encoder.fingerprint()[:12], "threads": torch.get_num_threads()}
    write_json(options.output, found)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
