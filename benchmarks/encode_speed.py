"""Encoding throughput: against `SentenceTransformer.encode` on one saved encoder, and against MiniLM's architecture."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loss_share, text
from benchmarks.measure import interleaved, markdown, ratio, spread
from hncse.encoder import SentenceEncoder

__all__ = ["measure", "measure_library", "measure_size"]

BATCH = 64


def measure(n: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Measure the kit's `encode` against the peer library's, and the kit's encoder against a larger architecture."""
    records, table = measure_library(n, rounds)
    more, second = measure_size(n, rounds)
    return records + more, table + "\n" + second


def measure_library(n: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Encode n sentences with both libraries, without and with copies among them."""
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


def measure_size(n: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Encode n sentences with the kit's encoder and with one of all-MiniLM-L6-v2's architecture, random weights.

    Both cut sentences with the kit's tokenizer, so they see the same word pieces: the ratio is that of the networks.
    """
    kit = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
    large = loss_share.encoder("MiniLM-sized").eval()
    large.pooling, large.max_length = "mean", kit.max_length
    sentences, source = _sts(n)
    times = interleaved(
        {
            "kit": lambda: kit.encode(sentences, BATCH, show_progress=False),
            "large": lambda: large.encode(sentences, BATCH, show_progress=False),
        },
        rounds,
    )
    r = ratio(times["large"], times["kit"])
    speed = {name: len(sentences) / statistics.median(seconds) for name, seconds in times.items()}
    record = {"sentences": source, "compared": "MiniLM-sized, random weights", "per_second": speed, "ratio": r}
    c = large.backbone.config
    shape = f"{c.num_hidden_layers} × {c.hidden_size}, {c.num_attention_heads} heads, {c.vocab_size:,} word pieces"
    pieces = float(np.mean([len(ids) for ids in kit.tokenize(sentences)]))
    note = (
        f"all-MiniLM-L6-v2's architecture ({shape}, intermediate {c.intermediate_size:,}) with random weights. Mean "
        f"pooling, batch {BATCH}, fp32, a mean of {pieces:.1f} word pieces a sentence, special ones included; {rounds} "
        "interleaved rounds."
    )
    row = [f"{len(sentences):,} ({source})", f"{speed['kit']:,.0f}", f"{speed['large']:,.0f}", spread(r)]
    header = ("sentences", "the kit, a second", "MiniLM-sized, a second", "times MiniLM-sized")
    return [record], markdown("Encoding throughput and size", header, [row], note)


def _sts(n: int) -> tuple[list[str], str]:
    """Draw n distinct sentences of the seven STS tasks where their files are, else what `text.sentences` gives."""
    from hncse.data import senteval

    if not senteval.sts_present():
        return text.sentences(n)
    subsets = [subset for task in senteval.STS_TASKS for subset in senteval.load_sts(task)]
    distinct = list(dict.fromkeys(s for subset in subsets for s in (*subset.first, *subset.second)))
    chosen = np.random.default_rng(0).choice(len(distinct), min(n, len(distinct)), replace=False)
    return [distinct[i] for i in chosen], "STS"
