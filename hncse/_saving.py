"""Writing an encoder so that transformers, sentence-transformers and this kit can load it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from hncse._loading import quiet
from hncse.errors import HncseError

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["save"]

_MODULES = "sentence_transformers.models"  # the name every version of sentence-transformers resolves


def save(encoder: SentenceEncoder, path: Path) -> Path:
    """Write ``encoder`` to the folder ``path``; see `hncse.SentenceEncoder.save`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as work:
            fresh = Path(work) / "encoder"
            _write(encoder, fresh)
            old = Path(work) / "old"
            if path.exists():
                path.replace(old)
            fresh.replace(path)
    except OSError as error:
        raise HncseError(f"the encoder could not be written to {path}: {error.strerror or error}") from error
    return path


def _write(encoder: SentenceEncoder, folder: Path) -> None:
    layered = encoder.pooling in ("first_last", "last_two")
    config = encoder.backbone.config
    before = config.output_hidden_states
    config.output_hidden_states = layered  # sentence-transformers' layer pooling reads this
    try:
        with quiet():
            encoder.backbone.save_pretrained(folder)
    finally:
        config.output_hidden_states = before
    encoder.tokenizer.save_pretrained(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.Transformer"}]
    if layered:
        modules.append(_layer_pooling(encoder, folder))
    modules.append({"idx": len(modules), "name": str(len(modules)), "path": "1_Pooling", "type": f"{_MODULES}.Pooling"})
    cls = encoder.pooling == "cls"
    pooling = {
        "word_embedding_dimension": encoder.dimension,
        "pooling_mode_cls_token": cls,
        "pooling_mode_mean_tokens": not cls,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    _json(folder / "modules.json", modules)
    _json(folder / "1_Pooling" / "config.json", pooling)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": encoder.max_length, "do_lower_case": False})
    _json(folder / "hncse.json", {"pooling": encoder.pooling, "max_length": encoder.max_length})
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _layer_pooling(encoder: SentenceEncoder, folder: Path) -> dict[str, Any]:
    """Express "average two layers" as a weighted mean over all hidden states."""
    from hncse.encoder import _pooled_layers

    n = encoder.backbone.config.num_hidden_layers
    weights = torch.zeros(n + 1)
    for layer in _pooled_layers(encoder.pooling, n):
        weights[layer] += 1
    name = "2_WeightedLayerPooling"
    settings = {"word_embedding_dimension": encoder.dimension, "layer_start": 0, "num_hidden_layers": n}
    _json(folder / name / "config.json", settings)
    save_file({"layer_weights": weights}, folder / name / "model.safetensors")
    return {"idx": 1, "name": "1", "path": name, "type": f"{_MODULES}.WeightedLayerPooling"}


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
