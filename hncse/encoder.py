"""Sentences → embeddings: a Hugging Face backbone, a pooling, and SimCSE's head while training.

encoder = SentenceEncoder.from_pretrained("kit")            # embedded; "minilm"; or any BERT-like name or folder
encoder.encode(["A sentence.", "Another one."])             # (2, d) float32
encoder.save("my-encoder")                                  # for transformers and for sentence-transformers

Views and dropout: notebooks/01_contrastive_learning.ipynb. Export: notebooks/08_your_own_text.ipynb.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hncse.errors import HncseError, unknown

__all__ = ["POOLINGS", "SentenceEncoder", "pick_device"]

POOLINGS = ("cls", "mean", "first_last", "last_two")
_SORT_WINDOW = 100_000  # sentences tokenised and sorted by length at a time; bounds memory on large corpora
_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class SentenceEncoder(nn.Module):
    """A backbone, its tokenizer and a pooling.

    Poolings: ``cls`` (last layer at [CLS]), ``mean`` (last layer), ``first_last`` (first and last layer's mean) and
    ``last_two``, the last three averaged over the sentence's tokens. "First" is the first transformer layer,
    hidden_states[1]; SimCSE issue #285 tells what hidden_states[0] does instead.

    Attributes:
        backbone: The Hugging Face model, without its own pooler.
        tokenizer: Its fast tokenizer.
        pooling: One of `POOLINGS`.
        head: SimCSE's Linear + tanh (None outside training); `views` applies it, `encode` never does.
        max_length: Longest input in tokens, special tokens included; longer sentences are cut.
        name: What it was loaded from; for reports only.
    """

    def __init__(
        self, backbone: Any, tokenizer: Any, pooling: str = "cls", max_length: int | None = None, name: str = ""
    ) -> None:
        """Put the parts together; see `from_pretrained` for the usual way.

        Raises:
            HncseError: An unknown pooling (the nearest is named).
        """
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        self.backbone, self.tokenizer, self.pooling = backbone, tokenizer, pooling
        self.head: nn.Module | None = None
        self.max_length = max_length or _longest(backbone.config, tokenizer)
        self.name = name

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "kit",
        pooling: str | None = None,
        *,
        max_length: int | None = None,
        dropout: float | None = None,
        device: str | torch.device | None = None,
    ) -> SentenceEncoder:
        """Load an encoder.

        Args:
            name_or_path: ``"kit"`` (embedded), ``"minilm"`` (all-MiniLM-L6-v2, supervised; optional extra), a folder
                written by `save`, or any Hugging Face name or folder with safetensors weights.
            pooling: One of `POOLINGS`; None takes what was saved with the encoder, else ``"cls"``.
            max_length: Longest input in tokens; None takes the backbone's limit.
            dropout: Dropout probability of hidden states and attention while training; None keeps the backbone's.
            device: For example ``"cuda"``; None picks CUDA, then MPS, then CPU.

        Raises:
            HncseError: Nothing loadable under that name, no network, weights that are not safetensors, a bad value.
        """
        from hncse import _loading

        backbone, tokenizer, saved = _loading.load(str(name_or_path), dropout)
        encoder = cls(
            backbone,
            tokenizer,
            pooling or saved.get("pooling", "cls"),
            max_length or saved.get("max_length"),
            name=str(name_or_path),
        )
        return encoder.to(device or pick_device()).eval()

    @property
    def dimension(self) -> int:
        """Width d of an embedding."""
        return int(self.backbone.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def add_head(self, seed: int = 0) -> SentenceEncoder:
        """Attach SimCSE's training head, Linear(d, d) + tanh, freshly initialised as BERT initialises a layer."""
        linear = nn.Linear(self.dimension, self.dimension)
        std = getattr(self.backbone.config, "initializer_range", 0.02)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            linear.weight.copy_(std * torch.randn(linear.weight.shape, generator=generator))
            linear.bias.zero_()
        self.head = nn.Sequential(linear, nn.Tanh()).to(self.device)
        return self

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embed a padded batch, without the head.

        Args:
            input_ids: (B, L) int64; None where ``inputs_embeds`` is given.
            attention_mask: (B, L), 1 for tokens and 0 for padding.
            token_type_ids: (B, L) or None.
            inputs_embeds: (B, L, d) word embeddings in place of ids.

        Returns:
            (B, d) in the backbone's dtype.
        """
        layers = self.pooling in ("first_last", "last_two")
        inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds}
        inputs = {name: value for name, value in inputs.items() if value is not None}
        out = self.backbone(attention_mask=attention_mask, output_hidden_states=layers, return_dict=True, **inputs)
        if self.pooling == "cls":
            return out.last_hidden_state[:, 0]  # (B, d)
        tokens = out.last_hidden_state  # (B, L, d)
        if layers:
            first, last = _pooled_layers(self.pooling, len(out.hidden_states) - 1)
            tokens = (out.hidden_states[first] + out.hidden_states[last]) / 2
        weight = attention_mask.unsqueeze(-1).to(tokens.dtype)  # (B, L, 1)
        return (tokens * weight).sum(1) / weight.sum(1)

    def views(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        n: int = 2,
        length_groups: int = 1,
    ) -> tuple[Tensor, ...]:
        """Embed a batch n times under different dropout masks, all views in one pass, head included.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, L).
            token_type_ids: (B, L) or None.
            n: Number of views.
            length_groups: Split the pass into this many groups of similar length, each padded to its own longest
                sentence. The same embeddings (padding is masked), less work on a CPU; the batch stays one batch.

        Returns:
            n tensors (B, d), rows in the caller's order.
        """
        lengths = attention_mask.sum(1)  # (B,)
        order = lengths.argsort(stable=True)
        words = self.backbone.get_input_embeddings()(
            input_ids
        )  # (B, L, d), once: its gradient is as large as its table
        parts = []
        for rows in order.tensor_split(min(length_groups, len(order))):
            width = int(lengths[rows[-1]])
            mask = attention_mask[rows, :width].repeat(n, 1)  # (nB', L')
            types = None if token_type_ids is None else token_type_ids[rows, :width].repeat(n, 1)
            embeds = words[rows, :width].repeat(n, 1, 1)  # (nB', L', d)
            parts.append(self(None, mask, types, embeds).unflatten(0, (n, len(rows))))  # (n, B', d)
        z = torch.cat(parts, dim=1)[:, order.argsort()]  # (n, B, d)
        if self.head is not None:
            z = self.head(z)
        return z.unbind(0)

    def encode(
        self,
        sentences: Sequence[str],
        batch_size: int = 64,
        *,
        normalize: bool = False,
        precision: str = "fp32",
        show_progress: bool | None = None,
    ) -> NDArray[np.float32]:
        """Embed sentences, without dropout and without the training head.

        Equal sentences are embedded once; batches hold sentences of similar length; the result keeps the caller's
        order.

        Args:
            sentences: Any number of strings.
            batch_size: Sentences in a forward pass.
            normalize: Scale rows to length 1.
            precision: ``"fp32"``, ``"bf16"`` or ``"fp16"`` (autocast; the result is float32 either way).
            show_progress: A progress bar; None shows one on long work.

        Returns:
            (n, d) float32.

        Raises:
            HncseError: One string instead of a list, an entry that is no string, a bad batch size or precision.
        """
        _check_request(sentences, batch_size, precision)
        index: dict[str, int] = {}
        position = np.array([index.setdefault(s, len(index)) for s in sentences], dtype=np.int64)  # (n,)
        distinct = list(index)
        out = np.empty((len(distinct), self.dimension), dtype=np.float32)
        training = self.training
        self.eval()
        from tqdm.auto import tqdm

        show = show_progress if show_progress is not None else len(distinct) > 20_000 and _somebody_watches()
        try:
            with (
                torch.inference_mode(),
                self._autocast(precision),
                tqdm(total=len(distinct), desc="encode", unit=" sentences", disable=not show) as bar,
            ):
                for start in range(0, len(distinct), _SORT_WINDOW):
                    self._encode_window(distinct[start : start + _SORT_WINDOW], batch_size, out[start:], bar)
        finally:
            self.train(training)
        if normalize:
            out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-12)
        return out[position]

    def tokenize(self, sentences: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Turn sentences into token ids, special tokens included, cut at ``max_length``, without padding."""
        if not sentences:
            return []
        limit = min(max_length or self.max_length, self.max_length)
        encoded = self.tokenizer(
            list(sentences), truncation=True, max_length=limit, return_attention_mask=False, return_token_type_ids=False
        )
        return encoded["input_ids"]

    def pad(self, ids: Sequence[Sequence[int] | NDArray[np.int32]]) -> dict[str, Tensor]:
        """Pad token ids to the longest: ``input_ids`` and ``attention_mask``, (B, L) int64 each."""
        width = max(len(row) for row in ids)
        pad = self.tokenizer.pad_token_id or 0
        table = np.full((len(ids), width), pad, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for r, row in enumerate(ids):
            table[r, : len(row)] = row
            mask[r, : len(row)] = 1
        return {"input_ids": torch.from_numpy(table), "attention_mask": torch.from_numpy(mask)}

    def save(self, path: str | Path) -> Path:
        """Write the encoder (not the head) as a folder that transformers, sentence-transformers and we can load.

        A new folder, or one that holds nothing but an earlier save, is complete or as it was: it is written beside
        its place and then moved. In a folder that holds other things the files are written one by one and the others
        stay; ``hncse.json`` lists what `save` wrote, and only that is ever replaced or removed. ``~`` is your home.

        Returns:
            The folder.

        Raises:
            HncseError: A file in the folder's place, a file of somebody else's under a name this writes (nothing is
                changed then), no room or no permission, LoRA adapters that were not merged.
        """
        from hncse import _saving

        return _saving.save(self, Path(path))

    def fingerprint(self) -> str:
        """Hash weights, tokenizer, pooling and length limit: equal keys mean equal embeddings."""
        digest = hashlib.sha256(f"{self.pooling} {self.max_length}".encode())
        digest.update(_tokenizer_text(self.tokenizer.backend_tokenizer).encode())
        state: Mapping[str, Tensor] = self.backbone.state_dict()
        for name in sorted(state):
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
        return digest.hexdigest()

    def unusual_dropout(self) -> dict[str, float]:
        """Dropout probabilities in which the backbone's configuration departs from its architecture's default.

        They decide what training makes of the weights, and `fingerprint`, which is about embeddings, leaves them out.
        """
        config = self.backbone.config
        usual = type(config)()
        fields = {name: value for name, value in vars(config).items() if "drop" in name and "classif" not in name}
        return {name: value for name, value in fields.items() if value != getattr(usual, name, None)}

    def _encode_window(self, sentences: list[str], batch_size: int, out: NDArray[np.float32], bar: Any) -> None:
        ids = self.tokenize(sentences)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)  # longest first: memory peaks at once
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.pad([ids[i] for i in rows])
            out[rows] = self(**{k: t.to(self.device) for k, t in batch.items()}).float().cpu().numpy()
            bar.update(len(rows))

    def _autocast(self, precision: str) -> AbstractContextManager[Any]:
        dtype = _PRECISIONS[precision]
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)


def _tokenizer_text(tokenizer: Any) -> str:
    """A tokenizer as JSON, without the truncation and padding that its last call happened to leave set."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain.to_str()


def _somebody_watches() -> bool:
    """Whether a progress bar has a reader: a terminal or a notebook; a log file would hold its every frame."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def pick_device() -> torch.device:
    """Choose CUDA, then MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _pooled_layers(pooling: str, n_layers: int) -> tuple[int, int]:
    """Indices into hidden_states, of which 0 is the embedding layer."""
    return (1, n_layers) if pooling == "first_last" else (n_layers - 1, n_layers)


def _longest(config: Any, tokenizer: Any) -> int:
    # RoBERTa counts positions from 2, so its table of 514 holds 512 tokens; its tokenizer knows.
    positions = int(getattr(config, "max_position_embeddings", 512))
    limit = int(min(tokenizer.model_max_length, positions))
    return limit if tokenizer.model_max_length <= positions or config.model_type == "bert" else positions - 2


def _check_request(sentences: Sequence[str], batch_size: int, precision: str) -> None:
    if isinstance(sentences, str):
        raise HncseError(f"encode takes a list of sentences, got one string {sentences[:40]!r}; put it in a list")
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise HncseError(f"sentence {i} is {sentence!r} ({type(sentence).__name__}); every sentence must be a str")
    if batch_size < 1:
        raise HncseError(f"batch_size is {batch_size}; it must be at least 1")
    if precision not in _PRECISIONS:
        raise unknown("precision", precision, _PRECISIONS)
