"""Encoding throughput: against `SentenceTransformer.encode` on one saved encoder, and against MiniLM's architecture."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loss_share, text
from benchmarks.measure import interleaved, markdown, ratio, spread
from hncse.encoder import SentenceEncoder, precision

__all__ = ["measure", "measure_library", "measure_size"]

BATCH = 64


def measure(n: int, rounds: int, names: tuple[str, ...] = ("kit",)) -> tuple[list[dict[str, Any]], str]:
    """Measure the kit's `encode` against the peer library's, and the kit's encoder against a larger architecture."""
    parts = [measure_library(name, n if name == "kit" else n // 5, rounds) for name in names]
    parts.append(measure_size(n, rounds))
    return [record for records, _ in parts for record in records], "\n".join(table for _, table in parts)


def measure_library(name: str, n: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Encode n sentences with both libraries: STS and Wikipedia, distinct and with copies, in either precision."""
    from sentence_transformers import SentenceTransformer

    encoder = loss_share.encoder(name).eval()
    encoder.pooling = "mean"
    with tempfile.TemporaryDirectory() as folder:
        other = SentenceTransformer(str(encoder.save(Path(folder) / "encoder")), device="cpu")
    used, why = precision.choose(encoder, "auto")
    records, rows = [], []
    kinds = {"STS": _sts(n), "distinct": text.sentences(n), "a third copies": text.repeated(n)}
    for kind, (sentences, source) in kinds.items() if name == "kit" else [("STS", kinds["STS"])]:
        jobs = {"fp32": "fp32", "auto": "auto"}
        z = {job: encoder.encode(sentences[:256], precision=job) for job in jobs}
        gaps = {"fp32": other.encode(sentences[:256]), "auto": z["fp32"]}
        actions = {
            job: lambda s=sentences, p=job: encoder.encode(s, precision=p, show_progress=False)  # type: ignore[misc]
            for job in jobs
        }
        actions["other"] = lambda s=sentences: other.encode(s, show_progress_bar=False)  # type: ignore[misc]
        times = interleaved(actions, rounds)
        speed = {job: len(sentences) / statistics.median(seconds) for job, seconds in times.items()}
        for job in jobs:
            r, gap = ratio(times["other"], times[job]), float(np.abs(z[job] - gaps[job]).max())
            records.append({
                "encoder": name, "sentences": kind, "source": source, "what": job, "auto": used, "why": why,
                "against": "sentence-transformers at its defaults", "per_second": speed[job], "ratio": r,
                "other_per_second": speed["other"], "largest_difference": gap,
            })  # fmt: skip
            shown = f"auto ({used})" if job == "auto" else job
            cells = f"{speed[job]:,.0f}", f"{speed['other']:,.0f}", spread(r), f"{gap:.0e}"
            rows.append([f"{len(sentences):,} ({source}), {kind}", shown, *cells])
    header = ("sentences", "the kit in", "a second", "the other, a second", "times the other", "largest difference")
    note = (
        f"{name}, mean pooling, both libraries' default batches, sentence-transformers in float32; {rounds} "
        "interleaved rounds. Largest difference: of a coordinate, fp32 to sentence-transformers, auto to fp32."
    )
    return records, markdown(f"Encoding throughput, {name}", header, rows, note)


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
