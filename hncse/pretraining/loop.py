"""Masked language modelling: model, output layer, optimiser, and a checkpoint that resumes exactly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertConfig, BertModel

from hncse.errors import HncseError
from hncse.files import whole_file
from hncse.pretraining import text, vectors

if TYPE_CHECKING:
    from hncse.pretraining import PretrainingConfig

__all__ = ["Trainer"]


class Trainer:
    """Model, output layer and optimiser of one run, and where it stands."""

    def __init__(
        self, config: PretrainingConfig, vocabulary: Sequence[str], tokens: text.Tokens, device: str = "cpu"
    ) -> None:
        """Build a fresh model for a vocabulary and a corpus in word pieces."""
        torch.manual_seed(config.seed)
        self.config, self.tokens, self.starts = config, tokens, tokens.starts
        self.device = torch.device(device)
        shape = BertConfig(
            vocab_size=len(vocabulary), hidden_size=config.width, num_hidden_layers=config.layers,
            num_attention_heads=config.heads, intermediate_size=config.intermediate,
            max_position_embeddings=text.LONGEST, pad_token_id=text.PAD, dtype="float32",
        )  # fmt: skip
        # no dropout while pretraining: the corpus is seen about once. The saved config has 0.1, SimCSE's noise.
        self.model = BertModel(shape, add_pooling_layer=False).eval()
        self.head = torch.nn.Linear(config.width, config.width)
        self.bias = torch.nn.Parameter(torch.zeros(len(vocabulary)))
        self.scale = torch.nn.Parameter(torch.tensor(config.width**-0.5))
        self.step = self.seen = self.epoch = self.place = 0
        self.seconds, self.curve = 0.0, []  # type: float, list[tuple[int, float]]
        for part in (self.model, self.head):
            part.to(self.device)
        words = self.model.embeddings.word_embeddings.weight
        others = [p for p in self.model.parameters() if p is not words]
        others += [*self.head.parameters(), self.bias, self.scale]
        self.optimiser = torch.optim.AdamW(
            [{"params": [words], "share": config.embedding_rate}, {"params": others, "share": 1.0}],
            lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01,
        )  # fmt: skip

    def initialise(self, say: Callable[[str], object], table: Tensor | None = None) -> None:
        """Set the output bias to the unigram distribution, the word vectors to those counted in ``table`` (V, V)."""
        c, n_types = self.config, len(self.bias)
        probability = vectors.unigram(self.tokens.ids, n_types)
        special = [text.PAD, text.CLS, text.SEP, text.MASK]
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(c.width))
            self.head.bias.zero_()
            self.bias.copy_(torch.from_numpy(np.log(probability)))
        if c.static and table is not None:
            say("factorising")
            words = vectors.factorise(table, vectors.semantic_width(c.width), c.power, seed=c.seed)
            vectors.install(self.model, words, probability, special)

    def loss(self, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> Tensor:
        """Cross-entropy of the hidden word pieces; the output layer is computed at those positions only."""
        shown = torch.from_numpy(ids).to(self.device)  # (B, L)
        wanted = torch.from_numpy(targets).to(self.device)  # (B, L)
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        with half:
            states = self.model(input_ids=shown, attention_mask=(shown != text.PAD).long()).last_hidden_state
            at = wanted != text.IGNORE
            hidden = self.head(states[at]) * self.scale  # (P, d)
            logits = hidden @ self.model.embeddings.word_embeddings.weight.T + self.bias  # (P, V)
        return torch.nn.functional.cross_entropy(logits.float(), wanted[at])

    def run(self, checkpoint: Path, say: Callable[[str], object]) -> None:
        """Train until the word pieces or the minutes are used up; the checkpoint is kept current."""
        c, saved, began, before = self.config, time.time(), time.time(), self.seconds
        for rows in self._remaining():
            share = self._progress()
            if share >= 1:
                break
            value = self._update(rows, share)
            self.seconds = before + time.time() - began
            if self.step % c.log_every == 0 or self.step == 1 or self._progress() >= 1:
                self.curve.append((self.seen, round(value, 4)))
                say(f"step {self.step}  word pieces {self.seen:,}  loss {value:.3f}  {self.seconds:.0f} s")
            if time.time() - saved > 60 * c.checkpoint_minutes:
                self.save(checkpoint)
                saved = time.time()
        self.save(checkpoint)

    def _progress(self) -> float:
        c = self.config
        timed = self.seconds / (60 * c.minutes) if c.minutes else 0.0
        return max(self.seen / c.tokens if c.tokens else 1.0, timed)

    def _remaining(self) -> Iterator[NDArray[np.int64]]:
        c = self.config
        while True:
            order = text.batches(self.tokens, c.batch_tokens, c.max_length, c.seed, self.epoch)
            while self.place < len(order):
                self.place += 1
                yield order[self.place - 1]
            self.epoch, self.place = self.epoch + 1, 0

    def _update(self, rows: NDArray[np.int64], share: float) -> float:
        c = self.config
        ids = text.assemble(self.tokens, self.starts, rows, c.max_length)
        rng = np.random.default_rng([c.seed, 1, self.step])  # masks follow from the step alone: resuming is exact
        shown, targets = text.mask(ids, self.tokens.inside, c.mask, len(self.bias), rng)
        rate = c.learning_rate * min(1.0, share / 0.02 + 1e-3) * (1 - share)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        loss = self.loss(shown, targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 1.0)
        self.optimiser.step()
        self.step += 1
        self.seen += int((ids != text.PAD).sum())
        return float(loss.detach())

    def _tensors(self) -> dict[str, Tensor]:
        named = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        named |= {f"head.{k}": v for k, v in self.head.state_dict().items()}
        named |= {"bias": self.bias.data, "scale": self.scale.data}
        for i, state in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser.{i}.{k}": v for k, v in state.items()}
        return named

    def save(self, path: Path) -> None:
        """Write weights, optimiser state and position, whole or not at all."""
        from safetensors.torch import save

        place = {k: getattr(self, k) for k in ("step", "seen", "epoch", "place", "seconds", "curve")}
        tensors = {k: v.detach().cpu().contiguous() for k, v in self._tensors().items()}
        with whole_file(path, "wb") as file:
            file.write(save(tensors, metadata={"place": json.dumps(place)}))

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint; False where there is none."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            return False
        try:
            with safe_open(path, "pt") as file:
                place = json.loads(file.metadata()["place"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise HncseError(f"{path} is cut off or damaged ({error}); remove it to start over") from error

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(under("model."))
        self.head.load_state_dict(under("head."))
        self.bias.data.copy_(tensors["bias"])
        self.scale.data.copy_(tensors["scale"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in under("optimiser.").items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        for name, value in place.items():
            setattr(self, name, value)
        return True
