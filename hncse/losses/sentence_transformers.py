"""Our losses inside sentence-transformers' trainer: `for_sentence_transformers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from hncse.losses import ContrastiveLoss

__all__ = ["SentenceTransformersLoss", "sentence_groups"]

CITATION = """@article{hncse,
    title = {HNCSE: Advancing Sentence Embeddings via Hybrid Contrastive Learning with Hard Negatives},
    eprint = {2411.12156},
    archivePrefix = {arXiv},
    url = {https://arxiv.org/abs/2411.12156},
}
"""


class SentenceTransformersLoss(nn.Module):
    """`ContrastiveLoss` on the columns of a data set as ``SentenceTransformerTrainer`` hands them over.

    One column: each sentence is its own positive, told apart by dropout (unsupervised SimCSE). Two: anchor, positive.
    More: anchor, positive, and the anchor's hard negatives. Copies of a sentence are no negatives of each other.
    """

    citation = CITATION

    def __init__(
        self, model: nn.Module, preset: str, loss: ContrastiveLoss, mini_batch_size: int | None, guide: Any = None
    ) -> None:
        """Keep the parts; `for_sentence_transformers` makes them."""
        super().__init__()
        self.model, self.preset, self.loss, self.mini_batch_size = model, preset, loss, mini_batch_size
        self._guide = (guide,)  # in a tuple, so that it is no submodule that is trained or saved

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Embed every column and compute the loss; ``labels`` are not used.

        Raises:
            HncseError: One column with a model in which dropout is off, or columns that do not fit the preset.
        """
        columns = [dict(column) for column in sentence_features]
        groups = [sentence_groups(column) for column in columns]
        guides = self._guides(columns)
        if len(columns) == 1:
            columns = columns * self.loss.views
        z = [self._embed(column) for column in columns]
        more: dict[str, Any] = dict(zip(("guide", "positive_guide"), guides, strict=False))
        if len(groups) == 1:
            return self.loss(*z, groups=groups[0], **more).loss
        if len(z) > 2:
            more |= {"negatives": torch.stack(z[2:], dim=1), "negative_groups": torch.stack(groups[2:], dim=1)}
            more |= {"negative_guide": torch.stack(guides[2:], dim=1)} if guides else {}
        return self.loss(z[0], z[1], groups=groups[0], positive_groups=groups[1], **more).loss

    def _guides(self, columns: list[dict[str, Any]]) -> list[Tensor]:
        """The guide's (B, d') vectors of each column's texts, which are read back from their tokens; [] without one."""
        (guide,) = self._guide
        if guide is None:
            return []
        texts, tokenizer = [], cast("Any", self.model).tokenizer
        for column in columns:
            ids = column["input_ids"]
            rows = ids.tensor_split(column["offsets"][1:].cpu()) if "offsets" in column else ids
            texts += [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        vectors = torch.as_tensor(guide.encode(texts, show_progress_bar=False)).to(ids.device)
        return list(vectors.chunk(len(columns)))

    def _embed(self, column: dict[str, Any]) -> Tensor:
        """(B, d): one column, in parts that the backward pass computes again where that was asked for."""

        def embed(part: dict[str, Any]) -> Tensor:
            return self.model(dict(part))["sentence_embedding"]

        if self.mini_batch_size is None or "offsets" in column:  # a table of static vectors has no activations
            return embed(column)
        rows = len(column["input_ids"])
        parts = []
        for start in range(0, rows, self.mini_batch_size):
            part = {
                name: value[start : start + self.mini_batch_size] if isinstance(value, Tensor) and value.ndim else value
                for name, value in column.items()
            }
            parts.append(checkpoint(embed, part, use_reentrant=False))
        return torch.cat(parts)

    def get_config_dict(self) -> dict[str, Any]:
        """What sentence-transformers writes into the model card: the preset and every option that is not SimCSE's."""
        parts = {"mini_batch_size": self.mini_batch_size} if self.mini_batch_size is not None else {}
        return {
            "preset": self.preset,
            "temperature": self.loss.options.temperature,
            **self.loss.options.changed(),
            **parts,
        }


def sentence_groups(column: dict[str, Tensor]) -> Tensor:
    """(B,) int64, equal where two rows have the same tokens, in other columns and on other processes too."""
    ids = column["input_ids"]
    mask = column.get("attention_mask", torch.ones_like(ids))
    if "offsets" in column:  # of static vectors: all tokens in one row, and where each sentence begins
        ids, mask = (pad_sequence(list(rows.tensor_split(column["offsets"][1:].cpu())), True) for rows in (ids, mask))
    position = (mask.cumsum(dim=1) - 1).clamp_min(0)  # padding on either side counts for nothing
    draws = torch.randint(1, 2**62, (ids.shape[1],), generator=torch.Generator().manual_seed(0)).to(ids.device)
    return ((ids.long() + 1) * draws[position] * mask.long()).sum(dim=1)  # int64 arithmetic wraps around, as a hash may
