"""Encoding throughput: `SentenceEncoder.encode` against `SentenceTransformer.encode` on the same saved encoder."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import text
from benchmarks.measure import interleaved, markdown, ratio, spread
from hncse.encoder import SentenceEncoder

__all__ = ["measure"]

BATCH = 64


def measure(n: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Encode n sentences with both, without and with copies among them."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        other = SentenceTransformer(str(encoder.save(Path(folder) / "encoder")), device="cpu")
    records, rows = [], []
    for kind, (sentences, source) in {"distinct": text.sentences(n), "a third copies": text.repeated(n)}.items():
        gap = float(np.abs(encoder.encode(sentences[:256]) - other.encode(sentences[:256])).max())
        times = interleaved(
            {
                "kit": lambda s=sentences: encoder.encode(s, BATCH, show_progress=False),  # type: ignore[misc]
                "other": lambda s=sentences: other.encode(s, batch_size=BATCH, show_progress_bar=False),  # type: ignore[misc]
            },
            rounds,
        )
        r = ratio(times["other"], times["kit"])
        speed = {name: n / statistics.median(seconds) for name, seconds in times.items()}
        records.append({"sentences": kind, "per_second": speed, "ratio": r, "largest_difference": gap})
        rows.append([f"{n:,} ({source}), {kind}", f"{speed['kit']:,.0f}", f"{speed['other']:,.0f}", spread(r)])
    header = ("sentences", "the kit, a second", "sentence-transformers, a second", "times sentence-transformers")
    largest = max(r["largest_difference"] for r in records)
    note = (
        f"The kit's encoder, mean pooling, batch {BATCH}, fp32; {rounds} interleaved rounds. Largest difference "
        f"between the two libraries' embeddings: {largest:.0e}."
    )
    return records, markdown("Encoding throughput", header, rows, note)
