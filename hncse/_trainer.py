"""The training run itself: our loss inside `transformers.Trainer`, and the run folder it writes."""

from __future__ import annotations

import dataclasses
import functools
import platform
import shutil
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from hncse import __version__, losses
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from hncse.files import somebody_watches
from hncse.runs import Run

if TYPE_CHECKING:
    from hncse.data.corpora import Corpus
    from hncse.training import TrainingConfig

__all__ = ["Contrastive", "Sentences", "facts", "fit"]

_TOKENISE = 50_000  # sentences tokenised at a time, so that a large corpus never stands in memory as Python lists


class Sentences(Dataset):
    """A tokenised corpus, held as one flat array: four bytes a token.

    Attributes:
        ids: (tokens,) int32, all sentences one after the other.
        start: (n+1,) int64, where each begins.
        group: (n,) int64, equal where two sentences have the same tokens.
        rows: Training examples; where there are mined negatives, sentence rows + i is that of example i.
    """

    def __init__(
        self, encoder: SentenceEncoder, sentences: list[str], max_length: int, negatives: list[str] | None = None
    ) -> None:
        """Tokenise ``sentences`` and a mined negative of each, if there are any, cut at ``max_length`` tokens."""
        self.rows, self.mined = len(sentences), negatives is not None
        sentences = [*sentences, *negatives] if negatives is not None else sentences
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        for begin in range(0, len(sentences), _TOKENISE):
            rows = encoder.tokenize(sentences[begin : begin + _TOKENISE], max_length)
            lengths.extend(len(row) for row in rows)
            parts.append(np.fromiter((token for row in rows for token in row), dtype=np.int32))
        self.ids = np.concatenate(parts)
        self.start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        seen: dict[bytes, int] = {}
        self.group = np.array([seen.setdefault(self[i][1].tobytes(), i) for i in range(len(lengths))])

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, i: int) -> tuple[int, np.ndarray]:
        """Position and token ids of one sentence."""
        return i, self.ids[self.start[i] : self.start[i + 1]]

    def collate(self, encoder: SentenceEncoder, rows: list[tuple[int, np.ndarray]]) -> dict[str, Tensor]:
        """Pad a batch: what `Contrastive.forward` takes."""
        places = np.array([i for i, _ in rows])
        batch = encoder.pad([ids for _, ids in rows]) | {"groups": torch.from_numpy(self.group[places])}
        if self.mined:
            padded = encoder.pad([self[self.rows + i][1] for i in places])
            batch |= {f"negative_{name}": tensor for name, tensor in padded.items()}
            batch["negative_groups"] = torch.from_numpy(self.group[self.rows + places])
        return batch


class Contrastive(nn.Module):
    """Encoder and loss as one module, so that one forward call (DDP allows one) is one training step."""

    def __init__(self, encoder: SentenceEncoder, loss: losses.ContrastiveLoss, length_groups: int) -> None:
        """Keep the parts."""
        super().__init__()
        self.encoder, self.loss, self.length_groups = encoder, loss, length_groups

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        groups: Tensor,
        negative_input_ids: Tensor | None = None,
        negative_attention_mask: Tensor | None = None,
        negative_groups: Tensor | None = None,
    ) -> dict[str, Any]:
        """Embed the views of a batch (B, L), its mined negatives (B, L') if it has any, and compute the loss."""
        z = self.encoder.views(input_ids, attention_mask, n=self.loss.views, length_groups=self.length_groups)
        negatives = None
        if negative_input_ids is not None and negative_attention_mask is not None:
            negatives = self.encoder.views(
                negative_input_ids, negative_attention_mask, n=1, length_groups=self.length_groups
            )[0]
        out = self.loss(*z, groups=groups, negatives=negatives, negative_groups=negative_groups)
        return {"loss": out.loss, "diagnostics": out.diagnostics}


class _HncseTrainer(Trainer):
    """`Trainer` that logs the loss's diagnostics, averaged over the logged steps, into history.jsonl."""

    def __init__(self, run: Run, on_log: Callable[[Run], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run, self.on_log = run, on_log
        self.model_accepts_loss_kwargs = False
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        out = model(**inputs)
        for name, value in out["diagnostics"].items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._count += 1
        return (out["loss"], out) if return_outputs else out["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs and self._count:
            logs = logs | {name: round(float(total) / self._count, 6) for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
            if self.is_world_process_zero():
                self.run.log({"step": self.state.global_step} | logs)
                self.on_log(self.run)
        super().log(logs, *args, **kwargs)


class _Watch(TrainerCallback):
    """Between steps: evaluate, keep the best weights, take snapshots; only process 0 does."""

    def __init__(
        self,
        config: TrainingConfig,
        encoder: SentenceEncoder,
        loss: losses.ContrastiveLoss,
        run: Run,
        on_log: Callable[[Run], None],
    ) -> None:
        self.config, self.encoder, self.loss, self.run, self.tell = config, encoder, loss, run, on_log
        self.select = _selects_on_dev(config)
        self.best_path = run.path / "checkpoints" / "best.safetensors"
        self.moments: set[int] = set()
        self.first_step = 0  # above 0 when resumed
        self.seconds = 0.0  # spent looking, not training

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.first_step = state.global_step
        self.loss.step = state.global_step * args.gradient_accumulation_steps
        if self.config.snapshots:
            self.moments = set(np.linspace(0, state.max_steps, max(2, self.config.snapshots)).astype(int).tolist())
        if state.is_world_process_zero and state.global_step == 0:
            self._look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._look(state.global_step, last=state.global_step == state.max_steps)

    def _look(self, step: int, last: bool = False) -> None:
        began = time.perf_counter()
        if step in self.moments:
            self._snapshot(step)
        if step % self.config.eval_every == 0 or last:
            scores = self._scores()
            self.run.log({"step": step} | scores)
            self.tell(self.run)
            if self.select and step > 0 and scores["stsb_dev"] > self._best()[0]:
                state = {k: v.detach().cpu().contiguous() for k, v in self.encoder.backbone.state_dict().items()}
                fresh = self.best_path.with_suffix(".new")
                save_file(state, fresh, metadata={"stsb_dev": repr(scores["stsb_dev"]), "step": str(step)})
                fresh.replace(self.best_path)
        self.seconds += time.perf_counter() - began

    def _scores(self) -> dict[str, float]:
        from hncse.data import senteval
        from hncse.evaluation import probe

        scores = {"probe": round(float(probe.evaluate(self.encoder, bootstrap=0)["spearman"]), 4)}
        if senteval.sts_present():
            from hncse.evaluation import sts

            scores["stsb_dev"] = round(float(sts.evaluate(self.encoder, ["STSB"], split="dev")["STSB"]), 4)
        return scores

    def _best(self) -> tuple[float, int]:
        if not self.best_path.is_file():
            return float("-inf"), -1
        from safetensors import safe_open

        with safe_open(self.best_path, "pt") as file:
            notes = file.metadata()
        return float(notes["stsb_dev"]), int(notes["step"])

    def restore_best(self) -> tuple[int, float] | None:
        """Put the best weights back into the encoder; returns their step and STS-B dev score."""
        score, step = self._best()
        if not self.select or step < 0:
            return None
        self.encoder.backbone.load_state_dict(load_file(self.best_path))
        return step, score

    def _snapshot(self, step: int) -> None:
        from hncse.data import probe

        texts = [s.text for group in probe.load() for s in group.sentences]
        z = torch.from_numpy(self.encoder.encode(texts, show_progress=False)).half()  # (n, d)
        path = self.run.path / "snapshots" / f"step-{step:06d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file({"embeddings": z}, path, metadata={"step": str(step)})


def facts(config: TrainingConfig, corpus: Corpus, encoder: SentenceEncoder) -> dict[str, Any]:
    """Describe a run before it starts: what config.json holds."""
    from hncse.training import key_of

    deciding = config.deciding()
    data = {"source": corpus.source, "sentences": len(corpus.sentences), "fingerprint": corpus.fingerprint}
    weights = encoder.fingerprint()
    selects = _selects_on_dev(config)
    deciding |= {"data": corpus.fingerprint, "encoder": weights, "selects": selects, "hncse": __version__}
    noise = encoder.unusual_dropout() if config.dropout is None else {}  # config.dropout overrides them all
    if noise:
        deciding |= {"encoder_dropout": noise}
    key = key_of(deciding)
    packages = ("torch", "transformers", "accelerate", "tokenizers", "numpy")
    return {
        "key": key,
        "parameters": dataclasses.asdict(config),
        "pooling": encoder.pooling,
        "data": data | {"skipped": corpus.skipped},
        "encoder_fingerprint": weights,
        "selection": "stsb-dev" if selects else "last",
        "seed": config.seed,
        "versions": {"hncse": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
    }


def fit(
    config: TrainingConfig,
    corpus: Corpus,
    encoder: SentenceEncoder,
    run: Run,
    described: dict[str, Any],
    on_log: Callable[[Run], None] | None = None,
) -> None:
    """Train into ``run``, resuming from its last checkpoint if there is one.

    Raises:
        HncseError: The batch does not divide among the processes, or the disk refuses.
    """
    try:
        _fit(config, corpus, encoder, run, described, on_log or (lambda run: None))
    except OSError as error:
        raise HncseError(
            f"run folder {run.path}: {error.strerror or error}; training can be resumed from there"
        ) from error


def _fit(
    config: TrainingConfig,
    corpus: Corpus,
    encoder: SentenceEncoder,
    run: Run,
    described: dict[str, Any],
    on_log: Callable[[Run], None],
) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    arguments = _arguments(config, run, encoder.device.type)
    encoder.to(arguments.device)
    transformers.set_seed(config.seed)
    if config.head:
        encoder.add_head(config.seed)
    loss = losses.build(config.loss, **{"temperature": config.temperature, "seed": config.seed, **config.loss_options})
    groups = config.length_groups or (4 if arguments.device.type == "cpu" else 1)
    watch = _Watch(config, encoder, loss, run, on_log)
    data = Sentences(encoder, corpus.sentences, config.max_length, corpus.negatives)
    trainer = _HncseTrainer(
        run,
        on_log,
        model=Contrastive(encoder, loss, groups),
        args=arguments,
        train_dataset=data,
        data_collator=functools.partial(data.collate, encoder),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # stdout is the caller's
    if trainer.is_world_process_zero():
        run.write("config", described)
    checkpoint = _last_checkpoint(run, trainer.is_world_process_zero())
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    seconds = time.perf_counter() - began
    if trainer.is_world_process_zero():
        _finish(trainer, watch, run, config, seconds)
    trainer.accelerator.wait_for_everyone()


def _finish(trainer: _HncseTrainer, watch: _Watch, run: Run, config: TrainingConfig, seconds: float) -> None:
    best = watch.restore_best()
    encoder, steps = watch.encoder, trainer.state.global_step
    encoder.head = None
    encoder.save(run.encoder_path)
    seen = (steps - watch.first_step) * config.batch_size * config.accumulate
    result = {
        "steps": steps,
        "kept_step": best[0] if best else steps,
        "selection": "stsb-dev" if best else "last",
        "stsb_dev": best[1] if best else None,
        "seconds": round(seconds, 1),
        "seconds_evaluating": round(watch.seconds, 1),
        "sentences_per_second": round(seen / max(seconds - watch.seconds, 1e-9), 1),
        "device": _device_name(trainer.args.device),
        "processes": trainer.args.world_size,
        "threads": torch.get_num_threads(),
        "precision": "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32",
    }
    run.write("result", result)
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)


def _arguments(config: TrainingConfig, run: Run, device: str) -> TrainingArguments:
    precision = _precision(config.precision, device)
    arguments = TrainingArguments(
        output_dir=str(run.path / "checkpoints"),
        num_train_epochs=config.epochs,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        warmup_steps=config.warmup,  # below 1 it is a share of all steps
        logging_steps=config.log_every,
        logging_first_step=True,
        save_steps=config.eval_every,
        save_total_limit=1,
        seed=config.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        dataloader_drop_last=True,  # a short last batch has fewer negatives, and one row has none
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=not somebody_watches(),
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        use_cpu=device == "cpu",
    )
    arguments._n_gpu = min(arguments._n_gpu, 1)  # DataParallel would split the batch and with it the negatives
    if config.batch_size % arguments.world_size:
        raise HncseError(
            f"batch_size is {config.batch_size} over all processes, which {arguments.world_size} processes cannot "
            f"share equally; take a multiple of {arguments.world_size}"
        )
    arguments.per_device_train_batch_size = config.batch_size // arguments.world_size
    return arguments


def _precision(asked: str, device: str) -> str:
    if asked != "auto":
        return asked
    return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def _selects_on_dev(config: TrainingConfig) -> bool:
    from hncse.data import senteval

    if config.selection == "stsb-dev" and not senteval.sts_present():
        senteval.fetch()
    return config.selection == "stsb-dev" or (config.selection == "auto" and senteval.sts_present())


def _last_checkpoint(run: Run, writes: bool) -> str | None:
    """Folder of the last whole checkpoint; what was logged after it is forgotten."""
    folders = [p for p in (run.path / "checkpoints").glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    last = max(folders, key=lambda p: int(p.name.split("-")[1]), default=None)
    if writes:
        run.rewind(int(last.name.split("-")[1]) if last else -1)
        best = run.path / "checkpoints" / "best.safetensors"
        if last is None:
            best.unlink(missing_ok=True)
        best.parent.mkdir(exist_ok=True)
    return str(last) if last else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"
