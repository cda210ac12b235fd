"""The embedded encoder for the page "Type a sentence": its weights before and after training, compact, for encoder.js.

Four gzip files: ``encoder.bin`` (JSON: shape, names of tensors, vocabulary, trained models), ``untrained.bin``
(float16, in which the embedded weights are stored anyway: nothing is lost) and one for each run, what training added:
of every tensor the rows that moved, int16 with a scale for each row.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.errors import HncseError
from hncse.files import whole_file

if TYPE_CHECKING:
    from hncse import SentenceEncoder

__all__ = ["TENSORS", "difference", "write"]

_LAYER = "encoder.layer.0."
#: Name in the page: name in the backbone.
TENSORS = {
    "words": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "types": "embeddings.token_type_embeddings.weight",
    **{
        f"{name}.{kind}": f"{place}.{kind}"
        for name, place in (
            ("norm", "embeddings.LayerNorm"),
            ("query", f"{_LAYER}attention.self.query"),
            ("key", f"{_LAYER}attention.self.key"),
            ("value", f"{_LAYER}attention.self.value"),
            ("attention", f"{_LAYER}attention.output.dense"),
            ("attention.norm", f"{_LAYER}attention.output.LayerNorm"),
            ("inner", f"{_LAYER}intermediate.dense"),
            ("outer", f"{_LAYER}output.dense"),
            ("outer.norm", f"{_LAYER}output.LayerNorm"),
        )
        for kind in ("weight", "bias")
    },
}


def write(start: SentenceEncoder, trained: Mapping[str, tuple[str, SentenceEncoder]], folder: Path) -> list[Path]:
    """Write the encoder before training, and what each training made of it.

    Args:
        start: The embedded encoder.
        trained: Loss → name of a run that began there, and its encoder.
        folder: Where to.

    Raises:
        HncseError: An encoder that encoder.js does not compute: more layers, another pooling, another tokenizer.
    """
    for name, encoder in [("the start", start), *trained.values()]:
        config = encoder.backbone.config
        if (config.model_type, config.num_hidden_layers, encoder.pooling) != ("bert", 1, "mean"):
            raise HncseError(
                f"{name} is {config.model_type} of {config.num_hidden_layers} layers, pooling {encoder.pooling}; "
                "the page computes BERT of one layer, pooling mean"
            )
        if encoder.tokenizer.get_vocab() != start.tokenizer.get_vocab():
            raise HncseError(f"{name} has another vocabulary than the encoder before training")
    before = _tensors(start)
    config = start.backbone.config
    vocabulary = start.tokenizer.get_vocab()
    head = {
        "shape": {
            "wide": config.hidden_size, "heads": config.num_attention_heads, "epsilon": config.layer_norm_eps,
            "maxLength": start.max_length,
        },
        "tensors": [{"name": n, "rows": len(t), "columns": t.shape[1]} for n, t in before.items()],
        "vocabulary": sorted(vocabulary, key=vocabulary.__getitem__),
        "models": {loss: name for loss, (name, _) in trained.items()},
    }  # fmt: skip
    halves = {name: tensor.astype(np.float16) for name, tensor in before.items()}
    if lossy := [name for name, tensor in before.items() if not np.array_equal(halves[name], tensor)]:
        raise HncseError(f"float16 does not hold {', '.join(lossy)} of the encoder before training")
    files = {"encoder": json.dumps(head).encode(), "untrained": b"".join(t.tobytes() for t in halves.values())}
    for loss, (_, encoder) in trained.items():
        files[loss] = b"".join(difference(before[n], t) for n, t in _tensors(encoder).items())
    for name, content in files.items():
        with whole_file(folder / f"{name}.bin", "wb") as file:
            file.write(gzip.compress(content, 9, mtime=0))
    return [folder / f"{name}.bin" for name in files]


def difference(before: NDArray[np.float32], after: NDArray[np.float32]) -> bytes:
    """What was added to (r, c) values: how many rows moved, which (uint16), a float32 scale each, int16 values."""
    moved = np.flatnonzero((before != after).any(axis=1))
    delta = (after - before)[moved]  # (m, c)
    scale = (np.abs(delta).max(axis=1, initial=0) / 32767).astype("<f4")  # (m,)
    values = np.rint(delta / scale[:, None]).astype("<i2")
    return np.array([len(moved), *moved], dtype="<u2").tobytes() + scale.tobytes() + values.tobytes()


def _tensors(encoder: SentenceEncoder) -> dict[str, NDArray[Any]]:
    """Every tensor as (rows, columns) float32; a vector is one column, so that its numbers are written exactly."""
    state = encoder.backbone.state_dict()
    arrays = {name: state[place].detach().cpu().float().numpy() for name, place in TENSORS.items()}
    return {name: a.reshape(len(a), -1) for name, a in arrays.items()}
