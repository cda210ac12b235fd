"""A BERT small enough to build in a moment: two layers, sixteen wide, random weights, a word-level vocabulary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hncse.encoder import SentenceEncoder

WORDS = (
    "the a cat dog bird sat slept ran on under over mat log tree red blue small big old new not very one two "
    "three river house door window rain sun wind is was were likes sees and or . ,"
).split()


def tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=24, **names)


def encoder(pooling: str = "cls", layers: int = 2, seed: int = 0) -> SentenceEncoder:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=5 + len(WORDS), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():  # BERT's own start (0.02) gives nearly equal embeddings; spread them
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return SentenceEncoder(model, tokenizer(), pooling, name="tiny").eval()


def folder(path: Path, pooling: str = "cls", seed: int = 0) -> Path:
    return encoder(pooling, seed=seed).save(path / "tiny")


def sentences(n: int, seed: int = 0, longest: int = 14) -> list[str]:
    """Distinct random sentences over the vocabulary."""
    g = torch.Generator().manual_seed(seed)
    made: dict[str, None] = {}
    while len(made) < n:
        length = int(torch.randint(3, longest, (1,), generator=g))
        words = [WORDS[int(i)] for i in torch.randint(len(WORDS), (length,), generator=g)]
        made[" ".join(words)] = None
    return list(made)


@contextlib.contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """Lose the power when step ``at`` of the training inside is over."""
    from hncse.training import trainer

    look = trainer.Watch._look

    def cut(self: trainer.Watch, step: int, last: bool = False) -> None:
        if step == at:
            raise KeyboardInterrupt
        look(self, step, last)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Watch, "_look", cut)
        yield
