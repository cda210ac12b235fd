"""What is changed in a backbone before it is used: how many layers, and where dropout acts."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from hncse.errors import HncseError

__all__ = [
    "LAYER", "RESIDUAL", "as_published", "drop_final_norm", "dropout_fields", "keep_lower", "set_direction",
    "set_dropout", "wire_dropout",
]  # fmt: skip

#: Field of config.json that says the hidden dropout of an architecture that has none of its own (LLaMA, Qwen, …).
RESIDUAL = "residual_dropout"
#: Field of config.json: the layer whose output is embedded, where the file holds one layer more; see `as_published`.
LAYER = "embedded_layer"
_ELSEWHERE = re.compile(r"classif|layer_?drop|drop_?path|summary|qa_|cls_|pooler|lm_head")


def dropout_fields(config: Any) -> dict[str, float]:
    """Dropout probabilities of a configuration that act on embeddings (no head's, pooler's or layer dropping's)."""
    fields = {name: value for name, value in vars(config).items() if "drop" in name and not _ELSEWHERE.search(name)}
    return {n: v for n, v in fields.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def set_dropout(config: Any, probability: float) -> None:
    """Set every dropout of a configuration; one without hidden dropout, only attention's, is given `RESIDUAL`."""
    fields = dropout_fields(config)
    for name in fields:
        setattr(config, name, probability)
    if all("att" in name for name in fields):
        setattr(config, RESIDUAL, probability)


def wire_dropout(model: Any) -> None:
    """Where the configuration says `RESIDUAL`, drop parts of what each layer reads first and adds to its stream.

    As BERT does: behind the word embeddings, attention and the feed-forward part. The weights' names stay as they are.
    """
    config = model.config
    if not getattr(config, RESIDUAL, 0) or hasattr(type(config)(), RESIDUAL):
        return

    def drop(module: nn.Module, tensor: Tensor) -> Tensor:
        return nn.functional.dropout(tensor, getattr(config, RESIDUAL), module.training)

    def behind(module: nn.Module, _: Any, out: Any) -> Any:
        return (drop(module, out[0]), *out[1:]) if isinstance(out, tuple) else drop(module, out)

    blocks = _blocks(model)
    if blocks:
        blocks[0].register_forward_pre_hook(lambda module, given: (drop(module, given[0]), *given[1:]))
    for block in blocks:
        for part in block.children():
            if any(isinstance(inner, nn.Linear) for inner in part.modules()):
                part.register_forward_hook(behind)


def _blocks(model: Any) -> list[nn.Module]:
    """The transformer layers: the list with as many entries as config.json has layers."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == model.config.num_hidden_layers]
    return list(lists[0]) if lists else []


def keep_lower(name: str, config: Any, layers: int | None) -> bool:
    """Cut a configuration to its lower layers (None: to those an earlier cut left); say whether any are left out."""
    written = getattr(config, "num_hidden_layers", None)
    most = getattr(config, LAYER, written)
    layers = most if layers is None else layers
    if layers is None:
        return False
    if not isinstance(layers, int) or isinstance(layers, bool) or not 1 <= layers <= (most or 0):
        raise HncseError(f"layers is {layers!r}; encoder {name!r} has {most}: give a whole number from 1 to {most}")
    config.num_hidden_layers = layers
    for field, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == written and field.startswith("layer"):
            setattr(config, field, value[:layers])  # what kind each layer is
    return layers != written


def drop_final_norm(model: Any) -> None:
    """Leave out the norm behind the last layer of a language model that was cut: it was learned for another layer.

    Models without such a norm (BERT and its like) stay as they are.
    """
    for name in ("norm", "ln_f", "final_layer_norm"):
        norm = getattr(model, name, None)
        if isinstance(norm, nn.Module):
            nothing = nn.Identity()
            for weight, tensor in norm.state_dict().items():  # files must hold them
                nothing.register_buffer(weight, tensor)
            setattr(model, name, nothing)
            setattr(model.config, LAYER, model.config.num_hidden_layers)


def as_published(model: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fields of config.json and weights with which transformers computes what a cut model embeds.

    transformers always applies a norm after the last layer. So one more layer, of zeros, is written behind those that
    were kept, and the output of layer `LAYER` is ``hidden_states[LAYER]`` there.
    """
    weights, layer = model.state_dict(), getattr(model.config, LAYER, None)
    if layer is None:
        return {}, weights
    last = [name for name in weights if re.search(rf"\.{layer - 1}\.", f".{name}")]
    weights |= {
        re.sub(rf"\b{layer - 1}\b", str(layer), name, count=1): torch.zeros_like(weights[name]) for name in last
    }
    lists = {
        name: [*value, value[-1]]
        for name, value in vars(model.config).items()
        if isinstance(value, list) and len(value) == layer and name.startswith("layer")
    }
    return lists | {"num_hidden_layers": layer + 1}, weights


def set_direction(config: Any, bidirectional: bool) -> None:
    """Let the tokens of a causal architecture read those after them, or everything be as the architecture has it."""
    if bidirectional:
        config.is_causal = False
    else:  # the field at True would cut what BERT reads in a batch without padding
        vars(config).pop("is_causal", None)
