"""An encoder in the making, stage by stage: what each scores, which words it listens to, what its words are near.

Behind notebooks/A1_pretrain_encoder.ipynb; every function takes encoders or vectors at hand and returns plain results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import senteval
from hncse.errors import HncseError
from hncse.evaluation import probe, sts
from hncse.pretraining import vectors as word_vectors

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["attention_by_frequency", "entropy", "judge", "neighbours"]

_BATCH = 64


def judge(encoders: Mapping[str, SentenceEncoder], bootstrap: int = 500) -> list[dict[str, Any]]:
    """Score encoders (name → encoder) on the probe and, where its file is, on STS-B dev.

    Returns:
        A row each: ``name``, ``pooling``, ``probe`` (Spearman × 100) with ``probe_interval``, ``accuracy`` (% of
        paraphrase and hard-negative pairs told apart) with ``accuracy_interval``, ``stsb_dev`` (Spearman × 100, or
        None).
    """
    rows = []
    for name, encoder in encoders.items():
        found = probe.evaluate(encoder, bootstrap=bootstrap)
        told = found["triplet_accuracy"]["overall"]
        dev = sts.evaluate(encoder, ["STSB"], split="dev")["STSB"] if senteval.present("STSB", "dev") else None
        rows.append({
            "name": name, "pooling": encoder.pooling, "probe": found["spearman"],
            "probe_interval": found["spearman_interval"], "accuracy": told["value"],
            "accuracy_interval": told["interval"], "stsb_dev": dev,
        })  # fmt: skip
    return rows


def attention_by_frequency(
    encoder: SentenceEncoder, sentences: Sequence[str], bins: int = 8
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how much attention a word piece receives, by how often it occurs in the sentences themselves.

    Args:
        encoder: A BERT; its attention is computed in the plain form that keeps the weights.
        sentences: A few thousand; [CLS] and [SEP] give and receive attention but have no place in the result.
        bins: Groups of occurrences, about equally many in each, from rare pieces to frequent ones.

    Returns:
        Occurrences a thousand pieces and attention received, (b,) each with b ≤ ``bins``. Attention is averaged over
        layers, heads and the sentence's positions, times its length: 1 is an equal share.
    """
    ids, weight = _received(encoder, sentences)
    if not len(ids):
        raise HncseError(f"{len(sentences)} sentences hold no word pieces to measure attention on")
    counts = np.bincount(ids)
    often = 1000 * counts[ids] / len(ids)  # (M,)
    order = np.argsort(often, kind="stable")
    edges = np.unique(np.searchsorted(often[order], np.quantile(often, np.linspace(0, 1, bins + 1)[:-1])))
    groups = np.split(order, edges[1:])  # equal frequencies stay together
    middle = [np.exp(np.log(often[group]).mean()) for group in groups]
    return np.array(middle), np.array([weight[group].mean() for group in groups])


def _received(encoder: SentenceEncoder, sentences: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids of all ordinary word pieces, (M,), and the share of attention each received, (M,)."""
    import torch

    ids, weight = [np.zeros(0, np.int64)], [np.zeros(0)]
    special = torch.tensor(encoder.tokenizer.all_special_ids)
    before = encoder.backbone.config._attn_implementation
    encoder.backbone.set_attn_implementation("eager")  # the fused form never writes the weights down
    try:
        rows = encoder.tokenize(sentences)
        for start in range(0, len(rows), _BATCH):
            batch = {name: t.to(encoder.device) for name, t in encoder.pad(rows[start : start + _BATCH]).items()}
            with torch.inference_mode():
                layers = torch.stack(encoder.backbone(**batch, output_attentions=True).attentions)  # (l, B, h, L, L)
            real = batch["attention_mask"].double()  # (B, L)
            from_each = (layers.double().mean(dim=(0, 2)) * real[:, :, None]).sum(dim=1)  # (B, L), over real queries
            kept = (real > 0) & ~torch.isin(batch["input_ids"].cpu(), special).to(encoder.device)
            ids.append(batch["input_ids"][kept].cpu().numpy())
            weight.append(from_each[kept].cpu().numpy())
    finally:
        encoder.backbone.set_attn_implementation(before)
    return np.concatenate(ids), np.concatenate(weight)


def entropy(probability: NDArray[np.float64]) -> float:
    """Loss, in nats, of a model that knows nothing but how often each word piece occurs, (V,)."""
    return float(-(probability * np.log(probability)).sum())


def neighbours(
    words: Sequence[str], vocabulary: Sequence[str], vectors: NDArray[np.floating], probability: NDArray[np.float64],
    k: int = 6, rarest: float = 2e-5,
) -> dict[str, list[tuple[str, float]]]:  # fmt: skip
    """Name the k nearest word pieces of each word, lowered, with their cosines; none for a word of several pieces.

    ``vectors`` (V, m) and ``probability`` (V,) follow the vocabulary; ``rarest`` as in
    `hncse.pretraining.vectors.nearest`.
    """
    place = {piece: i for i, piece in enumerate(vocabulary)}
    known = [word for word in words if word.lower() in place]
    rows = [place[word.lower()] for word in known]
    ids, cosines = word_vectors.nearest(vectors, probability, rows, k, rarest)
    found = {
        word: [(vocabulary[i], float(c)) for i, c in zip(*pair, strict=True)]
        for word, pair in zip(known, zip(ids, cosines, strict=True), strict=True)
    }
    return {word: found.get(word, []) for word in words}
