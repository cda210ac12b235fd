"""What is changed in a backbone before it is used: how many layers, and where dropout acts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hncse.errors import HncseError

__all__ = [
    "LAYER", "RESIDUAL", "QuickDropout", "TableRows", "as_published", "drop_final_norm", "dropout_fields", "keep_lower",
    "quick_dropout", "set_direction", "set_dropout", "wire_dropout",
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


class QuickDropout(nn.Dropout):
    """`nn.Dropout` with masks of 16 random bits an element: the chance of a zero is p within 1e-5.

    PyTorch draws 32 bits an element on a CPU, which weighs more beside bf16's quick products. The bits are another
    stream, seeded at every call from PyTorch's, so runs repeat and resume; float32 training keeps PyTorch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop, of any shape; nothing outside training."""
        cut = round(self.p * 2**16)
        if not self.training or cut == 0:
            return x
        seed = int(torch.randint(2**62, ()))
        words = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.uint16)[: x.numel()]
        kept = torch.from_numpy(words >= cut).view(x.shape)
        return _Masked.apply(x, kept, 1 / (1 - self.p))


class _Masked(torch.autograd.Function):
    """x · mask · scale; the mask is stored as bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return x.mul(kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.mul(ctx.saved_tensors[0]).mul_(ctx.scale), None, None


@contextlib.contextmanager
def quick_dropout(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Let the `nn.Dropout` modules of a model on a CPU draw `QuickDropout`'s masks, if ``wanted``."""
    modules = [module for module in model.modules() if type(module) is nn.Dropout] if wanted else []
    for module in modules:
        module.__class__ = QuickDropout
    try:
        yield
    finally:
        for module in modules:
            module.__class__ = nn.Dropout


class TableRows(nn.Module):
    """The rows of a table of word embeddings that a corpus has, as a parameter of their own while training.

    A step of the optimiser, clipping and the gradient cost the rows, not the table. Without weight decay AdamW leaves
    the other rows, whose gradient is 0, as they are, so the result is the table's but for rounding of the gradient's
    norm.
    """

    place: Tensor
    rows: Tensor

    def __init__(self, table: nn.Embedding, tokens: Tensor) -> None:
        """Take the rows of ``tokens`` (n,), and of padding, out of a table (V, d), which is frozen."""
        super().__init__()
        padding = table.padding_idx
        rows = tokens if padding is None else torch.cat([tokens, tokens.new_tensor([padding])]).unique()
        place = torch.zeros(len(table.weight), dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        self.register_buffer("rows", rows.to(table.weight.device), persistent=False)
        self.register_buffer("place", place.to(table.weight.device), persistent=False)
        self.weight = nn.Parameter(table.weight.detach()[self.rows])
        self.padding = None if padding is None else int(place[padding])
        table.weight.requires_grad_(False)
        self._table = [table]  # in a list it is no part of this module

    @staticmethod
    def pays(table: Any, tokens: int, least: int = 2**24) -> bool:
        """Whether a table is plain, trained, of ``least`` numbers or more, and mostly of other tokens."""
        plain = type(table) is nn.Embedding and table.max_norm is None and table.weight.requires_grad
        return plain and table.weight.numel() >= least and 2 * tokens <= table.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        """Embed ids (…) that are among the rows, (…, d)."""
        return nn.functional.embedding(self.place[ids], self.weight, self.padding)

    @torch.no_grad()
    def write_back(self) -> None:
        """Put the rows into the table, from which everything but training reads."""
        self._table[0].weight[self.rows] = self.weight

    def end(self) -> None:
        """Write back, and let the table be trained again."""
        self.write_back()
        self._table[0].weight.requires_grad_(True)
