"""Training throughput: the kit against sentence-transformers' trainer, and the kit's length groups."""

from __future__ import annotations

import contextlib
import logging
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import text
from benchmarks.loss_share import BATCH, LENGTH, encoder, training_step
from benchmarks.measure import ceiling, clock, interleaved, markdown, ratio, spread
from hncse import losses
from hncse.encoder import SentenceEncoder
from hncse.training import TrainingConfig, train, trainer

__all__ = ["linear", "measure", "measure_groups", "ours", "theirs"]

_GROUPS = (1, 2, 4, 8)
_STEPS = {"kit": (20, BATCH), "MiniLM-sized": (4, BATCH), "BERT-base-sized": (3, 16)}  # steps, batch
_DEFAULT = "sentence-transformers at its defaults"
_HALF = "sentence-transformers in bf16"
Job = Callable[[], float]


def ours(folder: str, sentences: list[str], batch: int, preset: str = "simcse", precision: str = "auto") -> Job:
    """Train by the kit for one epoch, without its evaluations; returns the seconds of the steps alone."""

    def run() -> float:
        spent: list[float] = []
        with _quiet(), tempfile.TemporaryDirectory() as output:
            config = TrainingConfig(
                loss=preset, encoder=folder, limit=None, batch_size=batch, max_length=LENGTH, head=False,
                precision=precision, eval_every=10**9, snapshots=0, selection="last", output=output,
            )  # fmt: skip
            steps = _timed(trainer.ContrastiveTrainer.train, spent)
            with (
                mock.patch.object(trainer.Watch, "_look"),
                mock.patch.object(trainer.ContrastiveTrainer, "train", steps),
            ):
                train(config, sentences)
        return spent[0]

    return run


def theirs(folder: str, sentences: list[str], batch: int, *, bf16: bool = False) -> Job:
    """The same by sentence-transformers: (sentence, sentence) pairs, MultipleNegativesRankingLoss of scale 20."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments

    try:
        from sentence_transformers.sentence_transformer import losses as st_losses
    except ImportError:  # before 5.5
        from sentence_transformers import losses as st_losses

    def run() -> float:
        spent: list[float] = []
        with _quiet(), tempfile.TemporaryDirectory() as output:
            model = SentenceTransformer(folder, device="cpu")
            model.max_seq_length = LENGTH
            model.model_card_data.widget = [{"text": ""}]  # else examples are made first: no part of training
            arguments = Arguments(
                output_dir=output, num_train_epochs=1, per_device_train_batch_size=batch, learning_rate=3e-5,
                save_strategy="no", seed=42, dataloader_drop_last=True, report_to="none", disable_tqdm=True,
                use_cpu=True, bf16=bf16,
            )  # fmt: skip
            peer = SentenceTransformerTrainer(
                model=model,
                args=arguments,
                train_dataset=Dataset.from_dict({"anchor": sentences, "positive": sentences}),
                loss=st_losses.MultipleNegativesRankingLoss(model, scale=20.0),
            )
            _timed(peer.train, spent)()
        return spent[0]

    return run


def _timed(action: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> None:
        began = clock()
        action(*args, **kwargs)
        spent.append(clock() - began)

    return run


def measure(names: tuple[str, ...], rounds: int) -> tuple[list[dict[str, Any]], str]:
    """Compare both trainers on encoders of several sizes, at their defaults and at equal precision.

    A record is a job of the kit against one of sentence-transformers: ``per_second`` sentences of the kit's, ``ratio``
    of times, and ``utilisation``, the share of a matrix product's operations a second, in that precision and that run,
    at which the linear layers' would be done in the whole step (6 a weight and token, two views, no padding counted).
    """
    tables = [_of_encoder(name, rounds) for name in names]
    records = [record for made, _ in tables for record in made]
    rows = [row for _, made in tables for row in made]
    source, small = text.sentences(1)[1], _STEPS["BERT-base-sized"][1]
    note = (
        f"Steps alone, without loading and saving: batch {BATCH} (BERT-base-sized: {small}), up to {LENGTH} tokens "
        f"({source}), AdamW, two dropout views; {rounds} interleaved rounds. The kit's default is precision='auto', "
        "sentence-transformers' float32. Of the ceiling: linear layers' operations against a matrix product's in the "
        "same precision."
    )
    header = ("encoder", "the kit", "against", "sentences a second", "times the other", "of the ceiling")
    return records, markdown("Training throughput", header, rows, note)


def _of_encoder(name: str, rounds: int) -> tuple[list[dict[str, Any]], list[list[str]]]:
    steps, batch = _STEPS[name]
    sentences, _ = text.sentences(steps * batch)
    with tempfile.TemporaryDirectory() as work:
        folder = str(encoder(name).save(Path(work) / "encoder"))
        jobs: dict[str, Job] = {
            "simcse, auto": ours(folder, sentences, batch),
            "hnm-no-replacement, auto": ours(folder, sentences, batch, "hnm-no-replacement"),
            "simcse, fp32": ours(folder, sentences, batch, precision="fp32"),
            "simcse, bf16": ours(folder, sentences, batch, precision="bf16"),
            _DEFAULT: theirs(folder, sentences, batch),
            _HALF: theirs(folder, sentences, batch, bf16=True),
        }
        times = interleaved(jobs, rounds)
        operations = 12 * linear(name) * sum(map(len, encoder(name).tokenize(sentences, LENGTH)))
        auto, why = _auto(folder)
    most = {dtype: ceiling(getattr(torch, dtype)) for dtype in ("float32", "bfloat16")}
    against = {job: _HALF if job.endswith("bf16") else _DEFAULT for job in jobs if job not in (_DEFAULT, _HALF)}
    records, rows = [], []
    for job, other in [*against.items(), ("simcse, auto", _HALF)]:
        seconds = statistics.median(times[job])
        half = job.endswith("bf16") or (job.endswith("auto") and auto == "bf16")
        record = {
            "encoder": name, "what": job, "against": other, "per_second": len(sentences) / seconds,
            "ratio": ratio(times[other], times[job]), "auto": auto, "why": why,
            "utilisation": operations / seconds / most["bfloat16" if half else "float32"], "ceiling": most,
        }  # fmt: skip
        records.append(record)
        shown = job.replace("auto", f"auto ({auto})")
        rows.append(
            [
                name, shown, other, f"{record['per_second']:,.1f}", spread(record["ratio"]),
                f"{record['utilisation']:.0%}",
            ]
        )  # fmt: skip
    return records, rows


def linear(name: str) -> int:
    """Weights of the linear layers."""
    return sum(m.weight.numel() for m in encoder(name).backbone.encoder.modules() if isinstance(m, torch.nn.Linear))


def _auto(folder: str) -> tuple[str, str]:
    from hncse.encoder import precision

    return precision.choose(SentenceEncoder.from_pretrained(folder, device="cpu"), "auto", training=True)


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
