"""Word vectors by counting, and a BERT that starts from them.

A small BERT learns what words mean slowly; counting which words stand near each other tells most of it in minutes.
Three steps: counts of neighbours → positive pointwise mutual information → truncated SVD (Levy and Goldberg 2014;
Levy, Goldberg and Dagan 2015). `install` then writes the vectors into a `BertModel` so that, before any gradient
step, its [CLS] output is the mean of the sentence's vectors and masked language modelling starts as CBOW.

counts = cooccurrence(ids, lengths, n_types=16384)
vectors = factorise(ppmi(counts), dimension=317)
install(model, vectors, unigram(ids, 16384), special=[0, 2, 3, 4])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hncse.errors import HncseError

__all__ = ["cooccurrence", "factorise", "install", "nearest", "ppmi", "semantic_width", "unigram"]

_RESERVED = 3  # coordinates beside the meaning: one for frequency, two that keep every row's norm equal
# How loudly every position asks for the frequency coordinate; with its key at 0, attention is uniform. The louder, the
# sooner training finds the weighting, before it moves anything else: 256 ended a point above 64 on STS-B dev.
_QUERY = 256.0


def unigram(ids: NDArray[np.integer], n_types: int) -> NDArray[np.float64]:
    """Share of each of V word pieces among ``ids`` (M,): (V,), one count added to each so that none is zero."""
    counts = np.bincount(ids, minlength=n_types).astype(np.float64) + 1
    return counts / counts.sum()


def cooccurrence(
    ids: NDArray[np.integer], lengths: NDArray[np.integer], n_types: int, window: int = 10, chunk: int = 1 << 22
) -> Tensor:
    """Count neighbours within sentences; a pair k word pieces apart counts 1/k (GloVe's weighting).

    Args:
        ids: (M,) word-piece ids of all sentences, one after the other, no special tokens.
        lengths: (n,) word pieces a sentence, in the same order.
        n_types: Size of the vocabulary V; the table is dense, 4·V² bytes (1.1 GB at 16,384).
        window: Farthest neighbour counted, in word pieces.
        chunk: Positions handled at once; bounds the extra memory.

    Returns:
        (V, V) float32, symmetric.
    """
    table = torch.zeros(n_types * n_types)
    sentence = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)  # (M,)
    for start in range(0, len(ids), chunk):
        for k in range(1, window + 1):
            end = max(start, min(start + chunk, len(ids) - k))
            same = sentence[start:end] == sentence[start + k : end + k]
            left = ids[start:end][same].astype(np.int64)
            right = ids[start + k : end + k][same].astype(np.int64)
            cell = torch.from_numpy(left * n_types + right)
            table.scatter_add_(0, cell, torch.full((len(cell),), 1.0 / k))
    table = table.view(n_types, n_types)
    blocks = [slice(i, i + 2048) for i in range(0, n_types, 2048)]
    for a, b in itertools.combinations_with_replacement(blocks, 2):  # in place: a second table would double the memory
        table[a, b] += table[b, a].T.clone()
        table[b, a] = table[a, b].T.clone()
    return table


def ppmi(counts: Tensor, smoothing: float = 1.0) -> Tensor:
    """Turn counts (V, V) into positive pointwise mutual information, max(0, log p(i, j) / (p(i) p(j))), in place.

    ``smoothing`` is an exponent on the context's frequency: below 1 rare contexts count less (word2vec's 0.75), above 1
    common ones do.
    """
    word = counts.sum(dim=1, keepdim=True).clamp_(min=1e-9)  # (V, 1)
    context = counts.sum(dim=0).clamp_(min=1e-9) ** smoothing
    context = context / context.sum()  # (V,)
    return counts.div_(word).div_(context).clamp_(min=1e-9).log_().clamp_(min=0)


def factorise(
    matrix: Tensor, dimension: int, power: float = -0.25, rounds: int = 2, oversample: int = 32, seed: int = 0
) -> NDArray[np.float32]:
    """Truncated SVD of a (V, V) float32 matrix by random projection (Halko, Martinsson and Tropp 2011).

    Args:
        matrix: (V, V) float32.
        dimension: Columns d to keep, at most V.
        power: Exponent on the singular values; 1 is the SVD itself, 0 weighs all directions alike. Below 0.5 is
            usual for word vectors (Levy et al. 2015, "eigenvalue weighting").
        rounds: Power iterations; two are enough for the vectors' purpose.
        oversample: Extra random directions, dropped at the end.
        seed: Of the random directions.

    Returns:
        (V, d) float32.
    """
    if not 0 < dimension <= len(matrix):
        raise HncseError(f"cannot keep {dimension} columns of a {len(matrix)} × {len(matrix)} matrix")
    width = min(dimension + oversample, len(matrix))
    basis = torch.randn(len(matrix), width, generator=torch.Generator().manual_seed(seed))
    for _ in range(rounds):
        basis = torch.linalg.qr(matrix @ basis)[0]
        basis = torch.linalg.qr(matrix.T @ basis)[0]
    left, values, _ = torch.linalg.svd(matrix @ basis, full_matrices=False)  # (V, width), (width,)
    kept = values[:dimension].clamp(min=1e-6 * float(values[0]))
    return (left[:, :dimension] * kept**power).numpy()


def nearest(
    vectors: NDArray[np.floating],
    probability: NDArray[np.float64],
    rows: Sequence[int],
    k: int = 8,
    rarest: float = 0.0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the word pieces whose vectors point the same way, as `install` will write them.

    Args:
        vectors: (V, m), from `factorise`.
        probability: (V,) unigram probabilities, from `unigram`.
        rows: n ids to ask about.
        k: Neighbours each, itself not among them.
        rarest: Pieces with a lower probability are no neighbours: too few sentences stand behind their counts.

    Returns:
        Ids and cosines, (n, k) each, nearest first.
    """
    allowed = probability >= rarest  # (V,)
    if not 0 < k < allowed.sum():
        raise HncseError(f"cannot name {k} neighbours among {int(allowed.sum())} word pieces; lower k or rarest")
    unit = _centred(vectors, probability)  # (V, m)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    asked = np.asarray(rows, dtype=np.int64)  # (n,)
    cosine = np.where(allowed, unit[asked] @ unit.T, -np.inf)  # (n, V)
    cosine[np.arange(len(asked)), asked] = -np.inf
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]  # (n, k)
    return order, np.take_along_axis(cosine, order, axis=1).astype(np.float64)


def semantic_width(hidden: int) -> int:
    """Coordinates of a hidden size that `install` leaves for meaning."""
    return hidden - _RESERVED


def install(
    model: Any, vectors: NDArray[np.floating], probability: NDArray[np.float64], special: Sequence[int],
    attention_scale: float = 12.0, frequency_weight: float = 0.0, half_point: float = 1e-3,
) -> Any:  # fmt: skip
    """Write static vectors into a fresh `BertModel`, in place, and return it.

    BERT's LayerNorm makes all token norms equal, so a frequency weight cannot live in a norm. It gets a place of its
    own: one coordinate holds the standardised log of SIF's weight a/(a + p) (Arora et al. 2017), which the first
    layer's attention can read as a key and no later step sees; two coordinates ±c make the norm of all rows equal,
    so that LayerNorm is the identity at the start, and the last LayerNorm's gain drops all three. Value and output
    projection of the first layer start as the identity, feed-forward outputs and further layers' outputs at zero.

    Args:
        model: A `transformers.BertModel` with at least one layer.
        vectors: (V, m) with m = `semantic_width` of the model's hidden size.
        probability: (V,) unigram probabilities, from `unigram`.
        special: Ids without a meaning of their own ([PAD], [CLS], [SEP], [MASK]); their vectors become zero.
        attention_scale: Size of the attention's output beside the token's own vector.
        frequency_weight: How much of SIF's log weight the attention applies at the start. 0 is a plain mean: the
            weighting is left for training to find.
        half_point: SIF's a: a word with this probability gets half the weight of the rarest.
    """
    hidden = model.config.hidden_size
    meant = (model.config.vocab_size, semantic_width(hidden))
    if vectors.shape != meant:
        raise HncseError(f"vectors of shape {vectors.shape} do not fit the model, which takes {meant}")
    rows, per_unit = _equal_norm_rows(vectors, probability, list(special), half_point)
    m = vectors.shape[1]
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.copy_(torch.from_numpy(rows))
        model.embeddings.position_embeddings.weight.zero_()
        model.embeddings.token_type_embeddings.weight.zero_()
        for layer in model.encoder.layer:
            for part in (layer.attention.output.dense, layer.output.dense):
                part.weight.zero_()
                part.bias.zero_()
        first = model.encoder.layer[0].attention
        value, output = first.self.value.weight, first.output.dense.weight
        value.zero_()
        value[:m, :m] = torch.eye(m)
        output[:m, :m] = torch.eye(m) * attention_scale
        size = hidden // model.config.num_attention_heads
        for start in range(0, hidden, size):  # one row a head asks for the frequency coordinate
            first.self.query.bias[start] = _QUERY
            first.self.key.weight[start] = 0
            first.self.key.weight[start, m] = frequency_weight * per_unit * math.sqrt(size) / _QUERY
        model.encoder.layer[-1].output.LayerNorm.weight[m:] = 0
    return model


def _equal_norm_rows(
    vectors: NDArray[np.floating], probability: NDArray[np.float64], special: list[int], half_point: float
) -> tuple[NDArray[np.float32], float]:
    """Rows (V, m + 3): centred unit vectors, a frequency coordinate, and two that give all rows mean 0 and variance 1.

    The second value is the log-weight difference that one unit of the frequency coordinate stands for.
    """
    unit = _centred(vectors, probability)  # (V, m)
    unit[special] = 0
    log_weight = np.log(half_point / (half_point + probability))  # (V,)
    middle, half_range = log_weight.min() / 2, max(-log_weight.min() / 2, 1e-9)
    size = math.sqrt(vectors.shape[1])
    frequency = 0.3 * size * (log_weight - middle) / half_range  # (V,) in ±0.3·sqrt(m)
    frequency[special] = 0
    body = np.concatenate([size * unit, frequency[:, None]], axis=1)  # (V, m + 1)
    total, square = body.sum(axis=1), (body**2).sum(axis=1)
    norm = float((square + total**2 / 2).max()) * 1.05  # of every finished row, squared
    centre, spread = -total / 2, np.sqrt((norm - square - total**2 / 2) / 2)
    rows = np.concatenate([body, (centre + spread)[:, None], (centre - spread)[:, None]], axis=1)
    scale = math.sqrt(rows.shape[1] / norm)
    return (rows * scale).astype(np.float32), half_range / (0.3 * size * scale)


def _centred(vectors: NDArray[np.floating], probability: NDArray[np.float64]) -> NDArray[np.floating]:
    """Unit vectors less their mean over the corpus, which says nothing about a sentence (Mu and Viswanath 2018)."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)  # (V, m)
    return unit - probability @ unit
