"""What mixing adds to a training step: the loss's share, on the kit's encoder and on one of BERT-base's size."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel

from benchmarks import text
from benchmarks.measure import Action, interleaved, markdown
from hncse import losses
from hncse.encoder import SentenceEncoder
from hncse.encoder.loading import KIT
from hncse.training.trainer import Contrastive

__all__ = ["encoder", "measure", "training_step"]

BATCH, LENGTH = 64, 32
PRESETS = ("simcse", "pm-intended", "hnm-as-released", "hnm-no-replacement", "pm+hnm")
SIZES: dict[str, dict[str, int]] = {  # random weights: only the size matters to time
    "BERT-base-sized": {},
    "MiniLM-sized": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}


def encoder(name: str) -> SentenceEncoder:
    """Load the kit's encoder ("kit", with its own pooling), or build a random one of a named size ([CLS])."""
    if name == "kit":
        return SentenceEncoder.from_pretrained("kit", device="cpu")
    backbone = BertModel(BertConfig(**SIZES[name]), add_pooling_layer=False)
    tokenizer = AutoTokenizer.from_pretrained(KIT)
    rows = range(backbone.config.vocab_size - len(tokenizer))
    tokenizer.add_tokens([f"[unused{i}]" for i in rows])  # or it would not be this model's
    return SentenceEncoder(backbone, tokenizer, "cls", LENGTH)


def training_step(model: Contrastive, sentences: list[str]) -> Action:
    """One whole step on one batch: pad, both views, loss, backward, clip, AdamW."""
    ids = model.encoder.tokenize(sentences, LENGTH)
    groups = torch.arange(len(ids))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-7, fused=True)  # as `Trainer` has it
    model.train()

    def run() -> None:
        model(**model.encoder.pad(ids), groups=groups)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return run


def measure(names: tuple[str, ...], rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Measure each encoder's SimCSE step, and every loss alone on its embeddings.

    The difference of two whole steps drowns in noise, so what a loss adds is measured on the loss alone (forward and
    backward, minus SimCSE's) and set against the whole SimCSE step.
    """
    records, rows = [], []
    sentences, _ = text.sentences(BATCH)
    for name in names:
        times = _losses_alone(name, sentences, rounds)
        step = statistics.median(times.pop("step"))
        for preset, seconds in times.items():
            added = [100 * (a - b) / step for a, b in zip(seconds, times["simcse"], strict=True)]
            q1, q2, q3 = statistics.quantiles(added, n=4, method="inclusive")
            alone = 1000 * statistics.median(seconds)
            record = {"encoder": name, "loss": preset, "step_milliseconds": 1000 * step, "loss_milliseconds": alone}
            records.append(record | {"added_percent": {"median": q2, "q1": q1, "q3": q3}})
            shown = "" if preset == "simcse" else f"{q2:.2f} % ({q1:.2f} to {q3:.2f})"
            rows.append([name, preset, f"{1000 * step:,.1f}", f"{alone:.2f}", shown])
    header = ("encoder", "loss", "SimCSE step, ms", "loss alone, ms", "adds to the step")
    note = (
        f"Batch {BATCH}, up to {LENGTH} tokens, two views, AdamW. Adds: (loss alone - SimCSE's loss alone) / SimCSE's "
        "whole step; median and quartiles over rounds of the loss alone (the BERT-base-sized step is timed once)."
    )
    return records, markdown("Share of the loss in a training step", header, rows, note)


def _losses_alone(name: str, sentences: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of a whole SimCSE step ("step", first) and of each loss on the encoder's own embeddings."""
    model = Contrastive(encoder(name).add_head(), losses.build("simcse"), length_groups=4)
    step = training_step(model, sentences)
    with torch.no_grad():
        batch = model.encoder.pad(model.encoder.tokenize(sentences, LENGTH))
        z = [view.detach().requires_grad_() for view in model.encoder.views(**batch)]
    large = name == "BERT-base-sized"  # half a minute a step: two are enough
    out = interleaved({"step": step}, 1 if large else rounds)
    calls = dict.fromkeys(PRESETS, 10)
    return out | interleaved({preset: _alone(preset, z) for preset in PRESETS}, max(rounds, 7), calls)


def _alone(preset: str, z: list[Tensor]) -> Action:
    loss, groups = losses.build(preset), torch.arange(len(z[0]))

    def run() -> None:
        loss(*z, groups=groups).loss.backward()
        for view in z:
            view.grad = None

    return run
