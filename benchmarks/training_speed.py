"""Training throughput: the kit against sentence-transformers' trainer, and the kit's length groups."""

from __future__ import annotations

import contextlib
import logging
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import text
from benchmarks.loss_share import BATCH, LENGTH, encoder, training_step
from benchmarks.measure import Action, interleaved, markdown, ratio, spread
from hncse import losses
from hncse.encoder.loading import KIT
from hncse.training import TrainingConfig, train, trainer

__all__ = ["measure", "measure_groups", "ours", "theirs"]

_GROUPS = (1, 2, 4, 8)


def ours(sentences: list[str], preset: str = "simcse", length_groups: int | None = None) -> Action:
    """A whole training job by the kit, without its evaluations: load, tokenise, train one epoch, save."""

    def run() -> None:
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            config = TrainingConfig(
                loss=preset, encoder="kit", limit=None, batch_size=BATCH, max_length=LENGTH,
                precision="fp32", eval_every=10**9, snapshots=0, selection="last", length_groups=length_groups,
                output=folder,
            )  # fmt: skip
            with mock.patch.object(trainer.Watch, "_look"):
                train(config, sentences)

    return run


def theirs(sentences: list[str], pooling: str) -> Action:
    """The same job by sentence-transformers: (sentence, sentence) pairs, MultipleNegativesRankingLoss of scale 20."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments

    try:
        from sentence_transformers.sentence_transformer import losses as st_losses
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError:  # before 5.5
        from sentence_transformers import losses as st_losses
        from sentence_transformers.models import Pooling, Transformer

    def run() -> None:
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            backbone = Transformer(
                str(KIT), model_kwargs={"dtype": torch.float32}
            )  # not the half precision it is stored in
            backbone.max_seq_length = LENGTH
            size = backbone.auto_model.config.hidden_size
            model = SentenceTransformer(modules=[backbone, Pooling(size, pooling)], device="cpu")
            model.model_card_data.widget = [{"text": ""}]  # else examples are made first: no part of training
            arguments = Arguments(
                output_dir=folder, num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=3e-5,
                lr_scheduler_type="linear", weight_decay=0.0, max_grad_norm=1.0, logging_steps=10, save_strategy="no",
                seed=42, dataloader_drop_last=True, dataloader_pin_memory=False, report_to="none", disable_tqdm=True,
                use_cpu=True,
            )  # fmt: skip
            trainer = SentenceTransformerTrainer(
                model=model,
                args=arguments,
                train_dataset=Dataset.from_dict({"anchor": sentences, "positive": sentences}),
                loss=st_losses.MultipleNegativesRankingLoss(model, scale=20.0),
            )
            trainer.train()
            model.save_pretrained(str(Path(folder) / "encoder"), create_model_card=False)

    return run


def measure(steps: int, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Compare whole training jobs of ``steps`` steps with the kit's encoder, in sentences a second."""
    sentences, source = text.sentences(steps * BATCH)
    name = "sentence-transformers, MultipleNegativesRankingLoss"
    pooling = encoder("kit").pooling  # the same on both sides
    actions = {"the kit, simcse": ours(sentences), "the kit, hnm-no-replacement": ours(sentences, "hnm-no-replacement")}
    times = interleaved(actions | {name: theirs(sentences, pooling)}, rounds)
    records = [
        {
            "job": job,
            "sentences_per_second": len(sentences) / statistics.median(seconds),
            "ratio": ratio(times[name], seconds),
        }
        for job, seconds in times.items()
    ]
    rows = [[r["job"], f"{r['sentences_per_second']:,.0f}", spread(r["ratio"])] for r in records]
    note = (
        f"The kit's encoder, {pooling} pooling, {len(sentences):,} sentences ({source}), batch {BATCH}, up to {LENGTH} "
        f"tokens, fp32, AdamW, one epoch, two dropout views; whole jobs: load, tokenise, train, save. {rounds} "
        "interleaved rounds."
    )
    header = ("job", "sentences a second", "times sentence-transformers")
    return records, markdown("Training throughput", header, rows, note)


def measure_groups(names: tuple[str, ...], rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Compare the settings of ``length_groups`` on one training step."""
    sentences, source = text.sentences(BATCH)
    records, rows = [], []
    for name in names:
        steps = {
            str(n): training_step(
                trainer.Contrastive(encoder(name).add_head(), losses.build("hnm-no-replacement"), n), sentences
            )
            for n in _GROUPS
        }
        times = interleaved(steps, rounds)
        for groups, seconds in times.items():
            r = ratio(times["1"], seconds)
            milliseconds = 1000 * statistics.median(seconds)
            records.append({"encoder": name, "length_groups": int(groups), "milliseconds": milliseconds, "ratio": r})
            rows.append([name, groups, f"{milliseconds:,.1f}", spread(r)])
    header = ("encoder", "length_groups", "step, ms", "times one group")
    note = f"One training step, batch {BATCH} ({source}), up to {LENGTH} tokens."
    return records, markdown("Length groups", header, rows, note)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep both trainers' log lines out of the tables."""
    from transformers.trainer_callback import PrinterCallback

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with mock.patch.object(PrinterCallback, "on_log", return_value=None):
            yield
    finally:
        logging.disable(level)
