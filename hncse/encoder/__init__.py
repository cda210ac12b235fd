"""Sentences → embeddings: a Hugging Face backbone, a pooling, and SimCSE's head while training.

encoder = SentenceEncoder.from_pretrained("kit")            # embedded; "minilm"; "smollm2"; or any name or folder
encoder.encode(["A sentence.", "Another one."])             # (2, d) float32
encoder.save("my-encoder")                                  # for transformers and for sentence-transformers

Views and dropout: notebooks/01_contrastive_learning.ipynb. Export: notebooks/08_your_own_text.ipynb.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hncse.encoder import blocks, card, folders, loading
from hncse.encoder import precision as precisions
from hncse.errors import HncseError, unknown
from hncse.files import somebody_watches

__all__ = ["POOLINGS", "UNKNOWN_SHARE", "SentenceEncoder", "pick_device"]

POOLINGS = folders.POOLINGS
#: Share of unknown tokens above which an encoder says that it cannot read a text.
UNKNOWN_SHARE = 0.2
_LOG = logging.getLogger(__name__)
_SORT_WINDOW = 100_000  # sentences tokenised and sorted by length at a time; bounds memory on large corpora


class SentenceEncoder(nn.Module):
    """A backbone, its tokenizer and a pooling.

    Poolings: ``cls`` (last layer at [CLS]), ``mean`` (last layer), ``first_last`` (first and last layer's mean) and
    ``last_two``, the last three averaged over the sentence's tokens. "First" is the first transformer layer,
    hidden_states[1]; SimCSE issue #285 tells what hidden_states[0] does instead. ``last`` (last layer at the last
    token) is for causal models, in which only that position has read the whole sentence; ``cls`` is refused there.
    ``mean_no_first`` leaves the first token out of the mean: in causal models it is an attention sink, alike for all
    sentences. Where the tokenizer adds no start token, one is put before every sentence, so that no word is left out.

    Attributes:
        backbone: The Hugging Face model, without its own pooler.
        tokenizer: Its fast tokenizer.
        pooling: One of `POOLINGS`.
        head: SimCSE's Linear + tanh (None outside training); `views` applies it, `encode` never does.
        rows: While training on a large vocabulary, the word embeddings that `views` takes in the backbone's place.
        max_length: Longest input in tokens, special tokens included; longer sentences are cut.
        name: What it was loaded from; for reports only.
        prompt: Text put before every sentence, as the default prompt of a sentence-transformers model is.
        prompts: That model's prompts by name, kept for `save`.
        card: Writes the README.md that `save` adds, from the encoder and a name; `hncse.Run.load_encoder` sets it, and
            an encoder from a folder with a card has that one.
    """

    def __init__(
        self, backbone: Any, tokenizer: Any, pooling: str = "cls", max_length: int | None = None, name: str = ""
    ) -> None:
        """Put the parts together; see `from_pretrained` for the usual way.

        Raises:
            HncseError: An unknown pooling (the nearest is named), ``cls`` of a causal model, a length below what the
                tokenizer itself adds or beyond the backbone's positions.
        """
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if pooling == "cls" and _is_causal(backbone):
            raise HncseError(
                f"pooling 'cls' takes the first token, which in a causal model ({backbone.config.model_type}) has read "
                "nothing but itself: pass pooling='last' or pooling='mean'"
            )
        self.backbone, self.tokenizer, self.pooling = backbone, tokenizer, pooling
        self.head: nn.Module | None = None
        self.rows: blocks.TableRows | None = None
        self.max_length = _length(max_length, backbone, tokenizer)
        self.name = name
        self.prompt = _start(tokenizer) if pooling == "mean_no_first" else ""
        self.prompts: dict[str, str] = {}
        self.card: Callable[[SentenceEncoder, str], str | None] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "kit",
        pooling: str | None = None,
        *,
        max_length: int | None = None,
        layers: int | None = None,
        bidirectional: bool | None = None,
        dropout: float | None = None,
        device: str | torch.device | None = None,
    ) -> SentenceEncoder:
        """Load an encoder.

        Args:
            name_or_path: ``"kit"`` (embedded), ``"minilm"`` (all-MiniLM-L6-v2, supervised; optional extra),
                ``"smollm2"`` (SmolLM2-135M, a causal language model never trained on sentence pairs; optional extra),
                a folder written by `save`, or any Hugging Face name or folder with safetensors weights.
            pooling: One of `POOLINGS`; None takes what was saved with the encoder (here or by sentence-transformers),
                else ``"cls"``, for a causal model ``"last"``.
            max_length: Longest input in tokens; None takes what was saved, else the backbone's limit.
            layers: How many of the lower layers to keep; None keeps all.
            bidirectional: True lets every token of a causal model read those after it too; None leaves attention as
                it is.
            dropout: Dropout probability while training, of every dropout there is, and in an architecture without any
                on its hidden states of those as well; None keeps the backbone's.
            device: For example ``"cuda"``; None picks CUDA, then MPS, then CPU.

        Raises:
            HncseError: Nothing loadable under that name, no network, weights that are not safetensors or do not fit
                config.json, a tokenizer of another model, a sentence-transformers model with modules beyond
                Transformer, Pooling and Normalize, a dropout that the backbone cannot have, a device that is not
                here, a bad value.
        """
        place = pick_device(device)
        backbone, tokenizer, saved = loading.load(str(name_or_path), dropout, pooling, layers, bidirectional)
        if bidirectional is not None and _is_causal(backbone) == bidirectional:
            raise HncseError(
                f"bidirectional={bidirectional} was asked for, and {backbone.config.model_type} stays as it is with "
                "this version of transformers; leave it out, or take another encoder (LLaMA, Qwen and their like, with "
                "transformers 5.2 or newer)"
            )
        if pooling is None:
            pooling = saved.get("pooling") or ("last" if _is_causal(backbone) else "cls")
        if max_length is None and "max_length" in saved:
            max_length = min(saved["max_length"], _positions(backbone) or saved["max_length"])
        encoder = cls(backbone, tokenizer, pooling, max_length, name=str(name_or_path))
        whole = saved.get("pooling") == pooling and "prompt" in saved  # a start token is part of it already
        encoder.prompt = saved["prompt"] if whole else encoder.prompt + saved.get("prompt", "")
        encoder.prompts = saved.get("prompts", {})
        readme = Path(saved["source"], card.FILE).absolute()
        if readme.is_file():
            encoder.card = functools.partial(card.kept, readme.parent)
        encoder.to(place).eval()
        rare = dropout is not None and 0 < dropout < 0.001  # too rare to show in one batch
        if dropout is not None and not rare and encoder.views_differ() != (dropout > 0):
            raise HncseError(
                f"dropout={dropout} was asked for and two views of a sentence "
                + ("are equal: this architecture has no dropout to set" if dropout else "differ: some dropout stays")
                + f" ({backbone.config.model_type}); leave dropout out or take another encoder"
            )
        return encoder

    @property
    def dimension(self) -> int:
        """Width d of an embedding."""
        return int(self.backbone.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def causal(self) -> bool:
        """Whether a token reads nothing after it, found out by trying."""
        return _is_causal(self.backbone)

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
        return self.pool(
            self.token_embeddings(input_ids, attention_mask, token_type_ids, inputs_embeds), attention_mask
        )

    def token_embeddings(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """What is pooled, (B, L, d): the last layer, or the mean of two; arguments as in `forward`."""
        layers = self.pooling in ("first_last", "last_two")
        inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds}
        inputs = {name: value for name, value in inputs.items() if value is not None}
        out = self.backbone(attention_mask=attention_mask, output_hidden_states=layers, return_dict=True, **inputs)
        if not layers:
            return out.last_hidden_state
        first, last = folders.pooled_layers(self.pooling, len(out.hidden_states) - 1)
        return (out.hidden_states[first] + out.hidden_states[last]) / 2

    def pool(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Pool tokens (B, L, d) under a mask (B, L) to sentences (B, d)."""
        if self.pooling == "cls":
            return tokens[:, 0]  # (B, d)
        if self.pooling == "last":
            last_token = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1)  # (B,)
            return tokens.gather(1, last_token[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]
        weight = attention_mask.unsqueeze(-1).to(tokens.dtype)  # (B, L, 1)
        if self.pooling == "mean_no_first":
            weight = torch.cat([torch.zeros_like(weight[:, :1]), weight[:, 1:]], dim=1)
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)

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
        words = (self.rows or self.backbone.get_input_embeddings())(
            input_ids
        )  # (B, L, d), once: its gradient is its table's size
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

    def views_differ(self) -> bool:
        """Whether two views of one sentence differ while training: whether there is any dropout.

        Where they are equal, SimCSE's two views are one, and nothing is learned from the positive pair. Random states
        and the mode are left as they were.
        """
        training = self.training
        rows = self.backbone.get_input_embeddings().weight.shape[0]
        width = min(16, self.max_length)
        ids = torch.arange(32 * width, device=self.device).reshape(32, width) % rows
        cuda = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.no_grad(), torch.random.fork_rng(cuda):
                one, other = self.train().views(ids, torch.ones_like(ids))
        finally:
            self.train(training)
        return bool((one - other).abs().max() > 1e-5 * one.abs().max())  # one pass rounds its rows differently

    def check_readable(self, ids: Sequence[Sequence[int] | NDArray[np.int32]]) -> float:
        """Check that this encoder can read a text, before it is trained or mined on.

        Args:
            ids: Token ids of sentences that differ, from `tokenize`.

        Returns:
            The share of unknown tokens, special tokens left out; a share above `UNKNOWN_SHARE` is logged as a warning.

        Raises:
            HncseError: There are two sentences or more, and all have the same tokens.
        """
        if len(ids) > 1 and all(np.array_equal(row, ids[0]) for row in ids[1:]):
            raise HncseError(
                f"{len(ids):,} different sentences have the same tokens for {self.name or 'this encoder'} "
                f"({self.tokenizer.convert_ids_to_tokens(list(ids[0])[:8])}): it cannot read them, or max_length "
                f"({self.max_length}) cuts them where they are still alike; take an encoder made for that language"
            )
        some = ids[:: max(1, len(ids) // 20_000)]
        counts = [self._count_unknown(np.asarray(row), len(row), 1) for row in some]
        unknown_tokens, tokens = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
        return self._warn_unknown(unknown_tokens, tokens)

    def encode(
        self,
        sentences: Iterable[str],
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
            sentences: Any number of strings: a list, a column, a generator.
            batch_size: Sentences in a forward pass.
            normalize: Scale rows to length 1.
            precision: ``"fp32"``, ``"bf16"`` or ``"fp16"`` (autocast; the result is float32 either way), or ``"auto"``:
                bf16 where it is quicker here (`hncse.encoder.precision`); ``python -m benchmarks encoding`` says how
                far that moves a coordinate.
            show_progress: A progress bar; None shows one on long work.

        Returns:
            (n, d) float32.

        Raises:
            HncseError: One string instead of a list, an entry that is no string or holds half a character (a lone
                surrogate), a bad batch size or precision.

        Text that the encoder cannot read (more than `UNKNOWN_SHARE` of its tokens unknown) is logged as a warning.
        """
        sentences = _check_request(sentences, batch_size)
        dtype = precisions.PRECISIONS[precisions.choose(self, precision)[0]]
        index: dict[str, int] = {}
        position = np.array([index.setdefault(s, len(index)) for s in sentences], dtype=np.int64)  # (n,)
        distinct = list(index)
        out = np.empty((len(distinct), self.dimension), dtype=np.float32)
        training = self.training
        self.eval()
        from tqdm.auto import tqdm

        show = show_progress if show_progress is not None else len(distinct) > 20_000 and somebody_watches()
        try:
            with (
                torch.inference_mode(),
                nullcontext() if dtype is None else torch.autocast(self.device.type, dtype),
                tqdm(total=len(distinct), desc="encode", unit=" sentences", disable=not show) as bar,
            ):
                unread = np.zeros(2, dtype=np.int64)  # unknown tokens, tokens
                for start in range(0, len(distinct), _SORT_WINDOW):
                    unread += self._encode_window(distinct[start : start + _SORT_WINDOW], batch_size, out[start:], bar)
        finally:
            self.train(training)
        self._warn_unknown(*unread.tolist())
        if normalize:
            out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-12)
        return out[position]

    def tokenize(self, sentences: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Turn sentences into token ids, special tokens included, cut at ``max_length``, without padding.

        The prompt, if there is one, comes first. A sentence without any token, as the empty one is for a tokenizer
        that adds none, becomes one end (or start, padding, unknown) token.

        Raises:
            HncseError: A length below 1; a sentence that holds a lone surrogate.
        """
        if not sentences:
            return []
        if max_length is not None and max_length < 1:
            raise HncseError(f"max_length is {max_length!r}; it must be at least 1")
        limit = min(max_length or self.max_length, self.max_length)
        texts = [self.prompt + sentence for sentence in sentences] if self.prompt else list(sentences)
        try:
            ids = self.tokenizer(
                texts, truncation=True, max_length=limit, return_attention_mask=False, return_token_type_ids=False
            )["input_ids"]
        except (UnicodeError, TypeError) as error:
            for text in sentences:
                _check_unicode(text)
            raise HncseError(f"the tokenizer cannot read these sentences: {error}") from error
        if self.tokenizer.num_special_tokens_to_add() == 0:
            t = self.tokenizer
            tokens = (t.eos_token_id, t.bos_token_id, t.pad_token_id, t.unk_token_id, 0)
            stand_in = next(token for token in tokens if token is not None)
            ids = [row or [stand_in] for row in ids]
        return ids

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
        The encoder of a run gets a model card, README.md, unless a README.md of yours stands there, which stays.

        Returns:
            The folder.

        Raises:
            HncseError: A file in the folder's place, a file of somebody else's under a name this writes (nothing is
                changed then), no room or no permission, LoRA adapters that were not merged, a pooling that
                sentence-transformers cannot do with this tokenizer.
        """
        return folders.save(self, path)

    def export(self, path: str | Path, format: str = "onnx", int8: bool = False, *, repo: str = "") -> Path:
        """Write what `save` writes and, in ``onnx/``, the encoder for onnxruntime and transformers.js.

        ``onnx/model.onnx`` (and with ``int8`` ``onnx/model_quantized.onnx``, weights in 8 bits) takes ``input_ids`` and
        ``attention_mask`` and gives ``last_hidden_state`` and ``sentence_embedding``, pooled as here. A prompt is not
        in the graph: put it before the text. ``hncse export`` also prints the scores of each format. ``repo`` is the
        repository on the hub that the folder will be sent to, whose name its card then bears.

        Returns:
            The folder.

        Raises:
            HncseError: As `save`; another format, onnx or onnxruntime not installed, an encoder beyond 2 GB or of an
                architecture that cannot be traced, or a graph whose embeddings differ.
        """
        from hncse.encoder import onnx

        if format not in ("onnx",):
            raise unknown("export format", format, ["onnx"])
        cards = (self.card, card.plain) if repo else None
        return folders.save(self, path, lambda folder: onnx.write(self, folder, int8), name=repo, cards=cards)

    def push_to_hub(
        self, repo: str, *, private: bool | None = None, token: str | None = None, message: str = ""
    ) -> str:
        """Save into a model repository of the Hugging Face hub, in one commit; it is made if it is not there.

        Files of an earlier push that are not written any more are removed, others stay, and so does a README.md that
        this kit did not write; without one the encoder gets a card.

        Args:
            repo: ``"owner/name"``, or a name among your own.
            private: Whether only you may see it; None leaves it as it is, or as your account makes new ones.
            token: One with permission to write; None takes that of ``hf auth login``.
            message: Of the commit.

        Returns:
            The repository's address.

        Raises:
            HncseError: As `save`; no network, no permission, no such name, or a repository that is public where
                ``private`` was asked for, or the other way round. Nothing is sent then.
        """
        from hncse.encoder import hub

        with tempfile.TemporaryDirectory() as work:
            folder = folders.save(self, Path(work) / "encoder", name=repo, cards=(self.card, card.plain))
            return hub.upload(folder, repo, private, token, message)

    def as_sentence_transformer(self) -> Any:
        """A copy as `sentence_transformers.SentenceTransformer`: for its evaluators, its trainer, or mteb.

        Raises:
            HncseError: As `save`; sentence-transformers is not installed.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise HncseError("this needs an optional package: pip install 'hncse[sentence-transformers]'") from error
        with tempfile.TemporaryDirectory() as work, folders.quiet():
            folder = folders.save(self, Path(work) / "encoder", cards=())
            return SentenceTransformer(str(folder), device=str(self.device))

    def fingerprint(self) -> str:
        """Hash weights, tokenizer, pooling, length limit and prompt: equal keys mean equal embeddings."""
        digest = hashlib.sha256(f"{self.pooling} {self.max_length}".encode())
        digest.update(self.prompt.encode())
        if getattr(self.backbone.config, "is_causal", True) is False:
            digest.update(b"bidirectional")
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
        return {n: v for n, v in blocks.dropout_fields(config).items() if v != getattr(usual, n, None)}

    def _encode_window(self, sentences: list[str], batch_size: int, out: NDArray[np.float32], bar: Any) -> Any:
        ids = self.tokenize(sentences)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)  # longest first: memory peaks at once
        unread = np.zeros(2, dtype=np.int64)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.pad([ids[i] for i in rows])
            unread += self._count_unknown(batch["input_ids"].numpy(), int(batch["attention_mask"].sum()), len(rows))
            out[rows] = self(**{k: t.to(self.device) for k, t in batch.items()}).float().cpu().numpy()
            bar.update(len(rows))
        return unread

    def _count_unknown(self, ids: NDArray[np.int64], tokens: int, rows: int) -> tuple[int, int]:
        """Unknown tokens among ``tokens`` of ``rows`` sentences, and those tokens, both without the special ones."""
        t = self.tokenizer
        if t.unk_token_id is None or t.unk_token_id in (t.pad_token_id, t.eos_token_id, t.bos_token_id):
            return 0, 0  # a tokenizer that knows every byte
        return int((ids == t.unk_token_id).sum()), max(0, tokens - rows * t.num_special_tokens_to_add())

    def _warn_unknown(self, unread: int, tokens: int) -> float:
        share = unread / max(tokens, 1)
        if share > UNKNOWN_SHARE:
            _LOG.warning(
                "%.0f %% of the tokens are unknown to %s: embeddings of this text mean little; take an encoder made "
                "for its language or script, for example a multilingual one",
                100 * share,
                repr(self.name) if self.name else "this encoder",
            )
        return share


def _tokenizer_text(tokenizer: Any) -> str:
    """A tokenizer as JSON, without the truncation and padding that its last call happened to leave set."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain.to_str()


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Check a device, or choose CUDA, then MPS, then the CPU.

    Raises:
        HncseError: No such device, here or at all.
    """
    gpus, mps = torch.cuda.device_count() if torch.cuda.is_available() else 0, torch.backends.mps.is_available()
    if name is None or name == "":
        return torch.device("cuda" if gpus else "mps" if mps else "cpu")
    here = ["cpu", *(["cuda"] if gpus else []), *([f"cuda:{i}" for i in range(gpus)]), *(["mps"] if mps else [])]
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise unknown("device", name, here) from error
    gone = device.type == "cuda" and (device.index or 0) >= gpus
    if gone or (device.type == "mps" and not mps) or device.type == "meta":
        raise HncseError(f"device {str(name)!r} is not here; here are: {', '.join(here)}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HncseError(f"device {str(name)!r} cannot be used here; here are: {', '.join(here)}") from error
    return device


def _is_causal(backbone: Any) -> bool:
    """Whether the first position stays as it is when the last token changes: whether it reads nothing after it."""
    weight = backbone.get_input_embeddings().weight
    ids = torch.arange(5, device=weight.device).unsqueeze(0) + weight.shape[0] // 2
    ids = ids % weight.shape[0]  # (1, 5)
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            one, other = (
                backbone(input_ids=x, attention_mask=torch.ones_like(x)) for x in (ids[:, :4], ids[:, [0, 1, 2, 4]])
            )
    finally:
        backbone.train(training)
    return torch.equal(one.last_hidden_state[:, 0], other.last_hidden_state[:, 0])


def _start(tokenizer: Any) -> str:
    """What to put before a sentence so that it begins with a token of no meaning; nothing where the tokenizer does."""
    t = tokenizer
    if t("a")["input_ids"][0] in t.all_special_ids:
        return ""
    return next(token for token in (t.bos_token, t.eos_token, t.pad_token, t.unk_token, "\n") if token is not None)


def _positions(backbone: Any) -> int | None:
    """Tokens that the backbone has positions for; None where they are relative and have no end.

    RoBERTa and its like count positions from their padding index on, so a table of 514 holds 512 tokens.
    """
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings - module.padding_idx - 1)
    positions = getattr(backbone.config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def _length(max_length: int | None, backbone: Any, tokenizer: Any) -> int:
    positions, special = _positions(backbone), tokenizer.num_special_tokens_to_add()
    if max_length is None:
        return int(min(tokenizer.model_max_length, positions or 512))
    if not isinstance(max_length, (int, np.integer)) or isinstance(max_length, bool) or max_length <= special:
        raise HncseError(f"max_length is {max_length!r}; give a whole number above the {special} special tokens")
    if positions is not None and max_length > positions:
        raise HncseError(f"max_length is {max_length}; this encoder has positions for {positions} tokens")
    return int(max_length)


def _check_request(sentences: Iterable[str], batch_size: int) -> list[str]:
    if isinstance(sentences, str):
        raise HncseError(f"encode takes a list of sentences, got one string {sentences[:40]!r}; put it in a list")
    if isinstance(sentences, (bytes, Mapping)) or not isinstance(sentences, Iterable):
        raise HncseError(f"encode takes a list of sentences, got {str(sentences)[:40]} ({type(sentences).__name__})")
    try:
        listed = list(sentences)
    except TypeError as error:  # an array of no dimensions
        raise HncseError(f"encode takes a list of sentences, got {str(sentences)[:40]}: {error}") from error
    for i, sentence in enumerate(listed):
        if not isinstance(sentence, str):
            raise HncseError(
                f"sentence {i} is {repr(sentence)[:60]} ({type(sentence).__name__}); every sentence must be a str"
            )
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise HncseError(f"batch_size is {batch_size!r}; it must be at least 1")
    return listed


def _check_unicode(sentence: str) -> None:
    try:
        sentence.encode()
    except UnicodeEncodeError as error:
        raise HncseError(
            f"sentence {ascii(sentence)[:80]} holds half a character at {error.start} (a lone surrogate, no text): "
            "decode the file it comes from with its own encoding, or leave the sentence out"
        ) from error
