"""The training run itself: our loss inside `transformers.Trainer`, and the run folder it writes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from accelerate.utils import broadcast_object_list
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainingArguments
from transformers.integrations import TensorBoardCallback

from hncse import losses
from hncse.encoder import SentenceEncoder
from hncse.encoder.blocks import TableRows, quick_dropout
from hncse.errors import HncseError
from hncse.files import somebody_watches, whole_file
from hncse.runs import Run
from hncse.training import checkpoints, lora
from hncse.training.batches import Families, Neighbours
from hncse.training.config import listed

if TYPE_CHECKING:
    from hncse.data.corpora import Corpus
    from hncse.training import TrainingConfig
    from hncse.training.own_loss import OwnLoss

__all__ = ["Contrastive", "ContrastiveTrainer", "Progress", "Sentences", "Watch", "fit"]

_TOKENISE = 50_000  # sentences tokenised at a time, so that a large corpus never stands in memory as Python lists


class Sentences(Dataset):
    """A tokenised corpus, held as one flat array: four bytes a token.

    Attributes:
        ids: (tokens,) int32, all sentences one after the other.
        start: (n+1,) int64, where each begins.
        group: (n,) int64, equal where two sentences have the same tokens.
        rows: Training examples, by their anchors; sentence rows + i is the positive of example i, where there are
            positives, and its hard negatives stand in the blocks of rows behind.
        paired: Whether there are positives.
        mined: m, the hard negatives of each example.
        guide: (n, d) float32, a guide's vectors of all sentences; None where the loss asks none.
    """

    guide: Tensor | None = None

    def __init__(
        self,
        encoder: SentenceEncoder,
        sentences: list[str],
        max_length: int,
        negatives: list[tuple[str, ...]] | None = None,
        positives: list[str] | None = None,
    ) -> None:
        """Tokenise sentences, their positives and m hard negatives of each, if any, cut at ``max_length`` tokens."""
        self.rows, self.paired, self.mined = (
            len(sentences),
            positives is not None,
            len(negatives[0]) if negatives else 0,
        )
        sentences = _texts(sentences, negatives, positives)
        parts, lengths = [], []
        for begin in range(0, len(sentences), _TOKENISE):
            rows = encoder.tokenize(sentences[begin : begin + _TOKENISE], max_length)
            lengths += [len(row) for row in rows]
            parts.append(np.fromiter((token for row in rows for token in row), dtype=np.int32))
        self.ids = np.concatenate(parts)
        self.start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        first: dict[bytes, int] = {}
        self.group = np.array([first.setdefault(self[i][1].tobytes(), i) for i in range(len(lengths))])

    def __len__(self) -> int:
        """Number of training examples."""
        return self.rows

    def __getitem__(self, i: int) -> tuple[int, np.ndarray]:
        """Position and token ids of one sentence."""
        return i, self.ids[self.start[i] : self.start[i + 1]]

    def collate(self, encoder: SentenceEncoder, rows: list[tuple[int, np.ndarray]]) -> dict[str, Tensor]:
        """Pad a batch: what `Contrastive.forward` takes."""
        places = np.array([i for i, _ in rows])
        batch = encoder.pad([ids for _, ids in rows]) | {"groups": torch.from_numpy(self.group[places])}
        if self.paired:
            batch |= self._padded(encoder, "positive", places + self.rows)
        if self.mined:
            first = self.rows * (1 + self.paired)
            batch |= self._padded(encoder, "negative", places[:, None] + first + self.rows * np.arange(self.mined))
        if self.guide is not None:
            batch["guide"] = self.guide[places]
        return batch

    def _padded(self, encoder: SentenceEncoder, name: str, places: np.ndarray) -> dict[str, Tensor]:
        """Ids, mask and groups of the sentences at ``places``, (B,) or (B, m), their names with a prefix."""
        padded = encoder.pad([self[i][1] for i in places.ravel()])
        batch = {f"{name}_{key}": tensor.unflatten(0, places.shape) for key, tensor in padded.items()}
        batch[f"{name}_groups"] = torch.from_numpy(self.group[places])
        return batch if self.guide is None else batch | {f"{name}_guide": self.guide[places]}


def _texts(sentences: list[str], negatives: list[tuple[str, ...]] | None, positives: list[str] | None) -> list[str]:
    """Texts of a corpus in the order of `Sentences`: anchors, positives, then each one's first negative, its second."""
    return [*sentences, *(positives or []), *itertools.chain.from_iterable(zip(*(negatives or []), strict=True))]


class Contrastive(nn.Module):
    """Encoder and loss as one module, so that one forward call (DDP allows one) is one training step."""

    def __init__(self, encoder: SentenceEncoder, loss: losses.ContrastiveLoss, length_groups: int) -> None:
        """Keep the parts."""
        super().__init__()
        self.encoder, self.loss, self.length_groups = encoder, loss, length_groups

    def forward(self, input_ids: Tensor, attention_mask: Tensor, groups: Tensor, **more: Tensor) -> dict[str, Any]:
        """Embed a batch and compute the loss.

        Args:
            input_ids: (B, L) of the anchors; two views of each, or as many as the loss takes, without positives.
            attention_mask: (B, L).
            groups: (B,), see `losses.ContrastiveLoss`.
            **more: ``positive_input_ids``, ``positive_attention_mask`` (B, L') and ``positive_groups`` (B,); the same
                of ``negative_``, (B, m, L'') and (B, m); a guide's vectors, ``guide`` (B, d') and of either.
        """
        given: dict[str, Tensor] = {name: more[name] for name in more if name.endswith(("_groups", "guide"))}
        if "positive_groups" in more:
            z1, z2 = self._embed(input_ids, attention_mask), self._embed(*_of("positive", more))
            z: tuple[Tensor, ...] = (z1, z2)
        else:
            z = self.encoder.views(input_ids, attention_mask, n=self.loss.views, length_groups=self.length_groups)
        if "negative_groups" in more:
            ids, mask = _of("negative", more)
            given["negatives"] = self._embed(ids.flatten(0, 1), mask.flatten(0, 1)).unflatten(0, ids.shape[:2])
        out = self.loss(*z, groups=groups, **given)
        return {"loss": out.loss, "diagnostics": out.diagnostics}

    def _embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embed sentences once, (B, L) → (B, d)."""
        return self.encoder.views(ids, mask, n=1, length_groups=self.length_groups)[0]


def _of(name: str, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch[f"{name}_input_ids"], batch[f"{name}_attention_mask"]


class ContrastiveTrainer(Trainer):
    """`Trainer` that logs the loss's diagnostics, averaged over the logged steps, into history.jsonl.

    What it has summed up since the last line goes into every checkpoint, so that a resumed run logs the same line.
    """

    def __init__(self, watch: Watch, sampler: Sampler | None = None, **kwargs: Any) -> None:
        """Keep the watch and the order of the sentences; everything else is for `Trainer`."""
        super().__init__(callbacks=[watch], **kwargs)
        self.run, self.watch, self.sampler = watch.run, watch, sampler
        self.model_accepts_loss_kwargs = False
        self.progress = Progress(processes=self.args.world_size)
        self._began = time.perf_counter()

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        return self.sampler or super()._get_train_sampler(train_dataset)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """Run one batch and add up its diagnostics."""
        out = model(**inputs)
        sums = self.progress.sums
        for name, value in out["diagnostics"].items():
            sums[name] = sums.get(name, 0) + value.detach()
        self.progress.batches += 1
        return (out["loss"], out) if return_outputs else out["loss"]

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Train on one batch and add up its loss, as `Trainer` does, which forgets its sum between two checkpoints."""
        loss = super().training_step(*args, **kwargs)
        self.progress.loss = self.progress.loss + loss
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Write a line of the history."""
        p, step = self.progress, self.state.global_step
        if "loss" in logs and p.batches:
            logs = logs | {"loss": float(p.loss) / (step - p.logged_step)}
            logs |= {name: round(float(total) / p.batches, 6) for name, total in p.sums.items()}
            p.sums, p.batches, p.loss, p.logged_step = {}, 0, torch.tensor(0.0, device=self.args.device), step
            if self.is_world_process_zero():
                self.run.log({"step": step} | logs)
                self.watch.tell(self.run)
        super().log(logs, *args, **kwargs)

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included, those after its last checkpoint not."""
        return self.progress.seconds + time.perf_counter() - self._began

    def resume(self, progress: dict[str, Any]) -> None:
        """Go on where a checkpoint's `Progress` ends."""
        self.progress = Progress(**progress | {"sums": dict(progress["sums"])})
        self.watch.seconds = self.progress.seconds_evaluating

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        p = self.progress
        pairs = [(name, float(total)) for name, total in p.sums.items()]  # the file sorts names, a list keeps its order
        numbers = {"loss": float(p.loss), "sums": pairs}
        clock = {"seconds": self.seconds(), "seconds_evaluating": self.watch.seconds}
        self.state.stateful_callbacks[checkpoints.PROGRESS] = dataclasses.asdict(p) | numbers | clock
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            checkpoints.keep_two(self.run)


@dataclass
class Progress:
    """What a checkpoint must know beyond weights, optimiser and random state.

    Attributes:
        processes: Processes that share a batch.
        seconds: Of training, before this start.
        seconds_evaluating: Of them, spent on evaluations and snapshots.
        logged_step: Step of the last line of the history.
        batches: Batches since then.
        loss: Sum of their losses, each divided by the batches of its step.
        sums: Sums of their diagnostics, by name.
    """

    processes: int
    seconds: float = 0.0
    seconds_evaluating: float = 0.0
    logged_step: int = 0
    batches: int = 0
    loss: float | Tensor = 0.0
    sums: dict[str, float | Tensor] = field(default_factory=dict)


class Watch(TrainerCallback):
    """Between steps: evaluate, keep the best weights, take snapshots; only process 0 does."""

    loss: losses.ContrastiveLoss  # told the step that a resumed run begins with

    def __init__(
        self,
        config: TrainingConfig,
        encoder: SentenceEncoder,
        run: Run,
        select: bool,
        on_log: Callable[[Run], None] | None = None,
    ) -> None:
        """Keep what is watched; ``select`` says whether the best weights on STS-B dev are kept."""
        self.config, self.encoder, self.run, self.select = config, encoder, run, select
        self.tell = on_log or (lambda run: None)
        self.report: Callable[[dict[str, float]], Any] = lambda scores: None  # to those who read the logs besides
        self.adapted: Any = None  # peft's model, where adapters are trained
        self.moments: set[int] = set()
        self.seconds = 0.0  # spent looking, not training

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Plan the snapshots; look at the untrained encoder."""
        self.loss.step = state.global_step * args.gradient_accumulation_steps
        if n := min(self.config.snapshots, state.max_steps + 1):
            self.moments = set(np.linspace(0, state.max_steps, max(2, n)).astype(int).tolist())
        if state.is_world_process_zero and state.global_step == 0:
            self._look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look, where it is time to; stop in every process, where nothing has become better for long enough."""
        if self.encoder.rows is not None:
            self.encoder.rows.write_back()
        if state.is_world_process_zero:
            self._look(state.global_step, last=state.global_step == state.max_steps)
        if self.config.patience is not None and state.global_step % self.config.eval_every == 0:
            waited = (state.global_step - max(self._best()[1], 0)) // self.config.eval_every
            (control.should_training_stop,) = broadcast_object_list([waited >= self.config.patience])
            if control.should_training_stop and state.is_world_process_zero and self.moments:
                self._snapshot(state.global_step)

    def _look(self, step: int, last: bool = False) -> None:
        began = time.perf_counter()
        if step in self.moments:
            self._snapshot(step)
        if step % self.config.eval_every == 0 or last:
            scores = self._scores()
            self.run.log({"step": step} | scores)
            self.tell(self.run)
            self.report(scores)
            if self.select and step > 0 and scores["stsb_dev"] > self._best()[0]:
                notes = {"stsb_dev": repr(scores["stsb_dev"]), "step": str(step)}
                _write_tensors(self.run.checkpoints / checkpoints.BEST, self.encoder.backbone.state_dict(), notes)
        self.seconds += time.perf_counter() - began

    def _scores(self) -> dict[str, float]:
        from hncse.data import senteval
        from hncse.evaluation import probe

        scores = {"probe": round(float(probe.evaluate(self.encoder, bootstrap=0)["spearman"]), 4)}
        if senteval.sts_present():
            from hncse.evaluation import sts

            scores["stsb_dev"] = round(float(sts.evaluate(self.encoder, ["STSB"], split="dev", cache=False)["STSB"]), 4)
        return scores

    def _best(self) -> tuple[float, int]:
        """STS-B dev score and step of the best weights so far; -1 is the step where there are none."""
        path = self.run.checkpoints / checkpoints.BEST
        if not path.is_file():
            return float("-inf"), -1
        with safe_open(path, "pt") as file:
            notes = file.metadata()
        return float(notes["stsb_dev"]), int(notes["step"])

    def restore_best(self) -> tuple[int, float] | None:
        """Put the best weights back into the encoder; returns their step and STS-B dev score."""
        score, step = self._best()
        if not self.select or step < 0:
            return None
        self.encoder.backbone.load_state_dict(load_file(self.run.checkpoints / checkpoints.BEST))
        return step, score

    def _snapshot(self, step: int) -> None:
        from hncse.data import probe

        texts = [s.text for group in probe.load() for s in group.sentences]
        z = torch.from_numpy(self.encoder.encode(texts, show_progress=False)).half()  # (n, d)
        path = self.run.path / "snapshots" / f"step-{step:06d}.safetensors"
        _write_tensors(path, {"embeddings": z}, {"step": str(step)})


def fit(
    config: TrainingConfig,
    corpus: Corpus,
    encoder: SentenceEncoder,
    run: Run,
    described: dict[str, Any],
    on_log: Callable[[Run], None] | None = None,
    own: OwnLoss | None = None,
    guide: SentenceEncoder | None = None,
) -> None:
    """Train into ``run``, resuming from its last checkpoint; where another process trains it, wait until it has.

    Args:
        config: The settings.
        corpus: What to train on.
        encoder: Trained in place.
        run: The folder to write; nothing is written before settings, sentences and encoder were found to fit.
        described: What config.json will hold.
        on_log: Called with the run after every line of its history.
        own: A loss in place of the one that the configuration names.
        guide: The encoder that says which negatives are false, where the loss asks one.

    Raises:
        HncseError: The batch does not divide among the processes, the sentences are all the same to the encoder, its
            two views are equal, the checkpoint is of another number of processes, or the disk refuses.
    """
    arguments = _arguments(config, run, encoder.device.type, described["precision"]["used"])
    encoder.to(arguments.device)
    data = Sentences(encoder, corpus.sentences, config.max_length, corpus.negatives, corpus.positives)
    encoder.check_readable([data[i][1] for i in range(data.rows * (1 + data.paired))])
    if not data.paired and config.dropout != 0 and not encoder.views_differ():
        raise HncseError(
            f"{config.encoder!r} has no dropout, so the two views of a sentence are equal and teach nothing; give "
            "dropout=0.1, as SimCSE has it, or dropout=0 to train without all the same"
        )
    if own is not None:
        own.try_out(config.batch_size, encoder.dimension, data.mined, arguments.device)
    select, first = described["selection"] == "stsb-dev", arguments.process_index == 0
    _check_options(config, encoder, select)
    with run.lock() if first else contextlib.nullcontext(), checkpoints.disk_troubles(run, encoder):
        last = None
        if first:
            run.tidy()
            if not (over := run.finished):  # trained by whoever had it until now
                run.write("config", described)
                last = checkpoints.last(run, arguments.world_size, select)
        over, last = broadcast_object_list([first and over, last])
        if not over:
            if guide is not None:
                from hncse.data.embedding_cache import cached_encode

                texts = _texts(corpus.sentences, corpus.negatives, corpus.positives)
                vectors = cached_encode(guide, texts) if first else None
                data.guide = torch.from_numpy(np.array(broadcast_object_list([vectors])[0]))
            sampler = _sampler(config, corpus, encoder, first)  # before a checkpoint's weights are loaded
            watch = Watch(config, encoder, run, select, on_log)
            watch.loss = own or losses.build(config.loss, **config.all_loss_options())
            _train(data, sampler, watch, arguments, last)


def _check_options(config: TrainingConfig, encoder: SentenceEncoder, select: bool) -> None:
    """Refuse what this encoder or this machine does not have, before anything is written."""
    if config.patience is not None and not select:
        raise HncseError("patience waits for a better STS-B dev score, and its file is not here: selection='stsb-dev'")
    if config.gradient_checkpointing and not getattr(encoder.backbone, "supports_gradient_checkpointing", False):
        raise HncseError(f"{config.encoder!r} cannot compute its activations again: leave gradient_checkpointing out")
    if config.lora is not None:
        lora.check(encoder, config.lora_targets)


def _train(
    data: Sentences, sampler: Sampler | None, watch: Watch, arguments: TrainingArguments, checkpoint: str | None
) -> None:
    config, encoder = watch.config, watch.encoder
    transformers.set_seed(config.seed)
    if config.head:
        encoder.add_head(config.seed)
    if config.lora is not None:
        watch.adapted = lora.add(encoder, config.lora, config.lora_alpha, config.lora_targets)
    if config.gradient_checkpointing:
        _checkpointing(encoder.backbone, "enable", {"use_reentrant": False})
    table, tokens = encoder.backbone.get_input_embeddings(), np.union1d(data.ids, [encoder.tokenizer.pad_token_id or 0])
    if config.weight_decay == 0 and TableRows.pays(table, len(tokens)):
        encoder.rows = TableRows(table, torch.from_numpy(tokens.astype(np.int64)))
    groups = config.length_groups or (4 if arguments.device.type == "cpu" else 1)
    trainer = ContrastiveTrainer(
        watch,
        sampler,
        model=Contrastive(encoder, watch.loss, groups),
        args=arguments,
        train_dataset=data,
        data_collator=functools.partial(data.collate, encoder),
    )
    trainer.remove_callback(PrinterCallback)  # stdout is the caller's
    if config.report_to is not None:
        _report(trainer, watch)
    if checkpoint:
        trainer.resume(checkpoints.progress(Path(checkpoint)))
    with quick_dropout(encoder, arguments.bf16 and arguments.device.type == "cpu"):
        trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.is_world_process_zero():
        _finish(trainer, watch)
    trainer.accelerator.wait_for_everyone()


def _sampler(config: TrainingConfig, corpus: Corpus, encoder: SentenceEncoder, first: bool) -> Sampler | None:
    """The order of the sentences, the same in every process; None where they are shuffled."""
    if config.batches == "families" and corpus.families is not None:
        return Families(corpus.families, config.seed)
    if config.batches == "neighbours":
        embeddings = encoder.encode(corpus.sentences, show_progress=False) if first else None
        return Neighbours(broadcast_object_list([embeddings])[0], config.batch_size, config.seed)
    return None


def _finish(trainer: ContrastiveTrainer, watch: Watch) -> None:
    seconds, steps, run = trainer.seconds(), trainer.state.global_step, watch.run
    if watch.encoder.rows is not None:
        watch.encoder.rows.end()
    best = watch.restore_best()
    watch.encoder.head = watch.encoder.card = watch.encoder.rows = None  # a run's card is made of its scores
    if watch.config.gradient_checkpointing:
        _checkpointing(watch.encoder.backbone, "disable")
    if watch.adapted is not None:
        lora.merge(watch.encoder, watch.adapted, run.path / "adapters")
    watch.encoder.save(run.encoder_path)
    device, sentences = trainer.args.device, steps * watch.config.batch_size * watch.config.accumulate
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
    run.write("result", {
        "steps": steps,
        **({"planned_steps": trainer.state.max_steps} if steps < trainer.state.max_steps else {}),  # stopped early
        "kept_step": best[0] if best else steps,
        "selection": "stsb-dev" if best else "last",
        "stsb_dev": best[1] if best else None,
        "seconds": round(seconds, 1),
        "seconds_evaluating": round(watch.seconds, 1),
        "sentences_per_second": round(sentences / max(seconds - watch.seconds, 1e-9), 1),
        "device": hardware,
        "processes": trainer.args.world_size,
        "threads": torch.get_num_threads(),
        "precision": {"no": "fp32"}.get(trainer.accelerator.mixed_precision, trainer.accelerator.mixed_precision),
        "precision_why": run.config["precision"]["why"],
    })  # fmt: skip
    run.tidy()


def _arguments(config: TrainingConfig, run: Run, device: str, precision: str) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints),
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
        seed=config.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        dataloader_drop_last=True,  # a short last batch has fewer negatives, and one row has none
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        report_to=[name for name in listed(config.report_to) if name != "tensorboard"],
        run_name=run.name,
        dataloader_num_workers=config.num_workers,
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


def _checkpointing(backbone: Any, what: str, *arguments: Any) -> None:
    """Switch gradient checkpointing, which transformers 5.2x calls activation checkpointing."""
    old, new = f"gradient_checkpointing_{what}", f"activation_checkpointing_{what}"
    getattr(backbone, new if hasattr(backbone, new) else old)(*arguments)


def _report(trainer: ContrastiveTrainer, watch: Watch) -> None:
    """Let TensorBoard's files lie in the run's folder; whoever reads the logs is told the evaluations as well."""
    if "tensorboard" in listed(watch.config.report_to):
        board = TensorBoardCallback()
        board.logging_dir = board.logging_dir or str(watch.run.path / "tensorboard")
        trainer.add_callback(board)
    handler = trainer.callback_handler  # it forgets that a line is due, so it is given a control of its own
    watch.report = lambda scores: handler.on_log(trainer.args, trainer.state, TrainerControl(), dict(scores))


def _write_tensors(path: Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path, "wb") as file:
        file.write(save(on_cpu, metadata=notes))
