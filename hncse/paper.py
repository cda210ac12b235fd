"""The paper's whole setting on one machine: its presets × seeds, STS and transfer, and the table beside published rows.

    hncse paper --backbone bert-base-uncased --seeds 0-2 --price 2.5
    hncse paper --backbone bert-base-uncased --dry-run          # what it would take, measured here, and nothing else

Before anything is trained each preset is timed for a few steps, and the minutes and the cost of all that is left are
said. It is a sweep (`hncse.sweep`): finished runs are kept, an interrupted one resumes, machines that share the folder
of runs share the work. HNCSE's own results are not among the published rows: they were not available to us.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hncse.errors import HncseError, command, unknown
from hncse.files import expand
from hncse.sweep import Job, Judging, configurations, locate, make, parse_grid, parse_seeds
from hncse.training.config import PAPER

__all__ = ["BACKBONES", "PRESETS", "expectation", "plan", "seconds_per_run", "setting", "tables"]

#: The methods of the paper and of its released code; SimCSE is what they are compared with.
PRESETS = ("simcse", "pm-intended", "pm-as-released", "hnm-as-released", "hnm-no-replacement", "three-view")
#: SimCSE's Table A.1, which HNCSE's released script follows for BERT-base: backbone → batch size, learning rate.
BACKBONES = {
    "bert-base-uncased": (64, 3e-5), "bert-large-uncased": (64, 1e-5), "roberta-base": (512, 1e-5),
    "roberta-large": (512, 3e-5),
}  # fmt: skip
_ALL = PAPER | {"pooling": "cls", "max_length": 32, "eval_every": 125, "epochs": 1.0}
_STS_SENTENCES = 2 * 18_850  # of the seven test sets
_TRANSFER_SENTENCES = 122_639  # of the seven tasks, both sides of MRPC
_SOLVER_SECONDS = 180  # SentEval's solver, seven tasks, one core (README)
_DEV_SENTENCES = 2 * 1_500


def setting(backbone: str) -> dict[str, Any]:
    """Training parameters of the paper's runs for a backbone; a folder's are those of BERT-base."""
    if backbone not in BACKBONES and not expand(backbone).is_dir():
        raise unknown("backbone", backbone, BACKBONES)
    batch_size, learning_rate = BACKBONES.get(backbone, BACKBONES["bert-base-uncased"])
    return _ALL | {"encoder": backbone, "batch_size": batch_size, "learning_rate": learning_rate}


def plan(
    backbone: str, seeds: Sequence[int] = (0, 1, 2), presets: Sequence[str] = PRESETS, corpus: str = "wiki1m",
    limit: int | None = None, changes: Mapping[str, Any] | None = None,
) -> list[Job]:  # fmt: skip
    """Every run of the paper's setting and its folder, seeds outermost, the same seeds for all presets.

    ``backbone`` is one of `BACKBONES` or a folder; ``changes`` are training parameters other than the paper's.
    """
    grid = {name: [value] for name, value in {**setting(backbone), "limit": limit, **(changes or {})}.items()}
    return locate(configurations(presets, seeds, [corpus], grid))


def seconds_per_run(jobs: Sequence[Job], judging: Judging, steps: int) -> dict[str, float]:
    """Time each preset for a few ``steps`` here: preset → seconds that a whole run of it takes with its evaluations.

    The first steps are slow, so the answer is an upper one.
    """
    from hncse import training
    from hncse.data import probe

    first: dict[str, training.TrainingConfig] = {}
    for job in jobs:
        first.setdefault(job.config.loss, job.config)
    example = next(iter(first.values()))
    sentences = training.load_corpus(example).sentences
    encoder = training.load_encoder(example)
    sample = sentences[:256]
    encoder.encode(sample[:64], show_progress=False)  # the first call starts the device
    began = time.perf_counter()
    encoder.encode(sample, show_progress=False)
    per_sentence = (time.perf_counter() - began) / len(sample)
    probed = sum(len(group.sentences) for group in probe.load())
    judged = 2 * probed + 2 * _STS_SENTENCES * judging.test + _TRANSFER_SENTENCES * judging.transfer
    seconds = {}
    for loss, config in first.items():
        total = math.ceil(config.epochs * (len(sentences) // config.batch_size))
        looks = total // config.eval_every + 1
        with tempfile.TemporaryDirectory() as folder:
            short = dataclasses.replace(
                config, output=folder, name=None, limit=None, column=None, epochs=1.0, eval_every=2**31 - 1,
                snapshots=0, selection="last",
            )  # fmt: skip
            few = sentences[: min(steps, total) * config.batch_size]
            speed = training.train(short, few).result["sentences_per_second"]
        looking = looks * (probed + _DEV_SENTENCES * judging.test) * per_sentence
        judging_seconds = judged * per_sentence + _SOLVER_SECONDS * judging.transfer
        seconds[loss] = total * config.batch_size / speed + looking + judging_seconds
    return seconds


def expectation(runs: int, left: Sequence[Job], seconds: Mapping[str, float], price: float) -> str:
    """Say what there is to do, how many minutes a run and all that is left will take here, and what that costs."""
    if not left:
        return f"{runs} runs, {runs} of them done: nothing is left to train\n"
    lines = [f"{runs} runs, {runs - len(left)} of them done; measured here, minutes a run:"]
    lines += [f"  {loss:20} {value / 60:8.1f}" for loss, value in seconds.items()]
    hours = sum(seconds[job.config.loss] for job in left) / 3600
    lines.append(f"expected for what is left: {60 * hours:.0f} minutes ({hours:.1f} hours)")
    lines.append(
        f"cost at {price:g} an hour (--price): {hours * price:.2f}; stop whenever you like, it goes on from there"
    )
    return "\n".join(lines) + "\n"


def tables(jobs: Sequence[Job], judging: Judging) -> str:
    """The runs' STS and transfer tables beside published rows of the same backbone, and the verdicts, as Markdown."""
    from hncse.evaluation import literature, results
    from hncse.evaluation import tables as made

    frame = results.from_runs([job.run for job in jobs if judging.complete(job.run)])
    backbone = jobs[0].config.encoder.removesuffix("-uncased")
    known = set(literature.load("sts")["backbone"])
    shown: dict[str, Any] = {"published": "all" if backbone in known else "landmarks"}
    shown["backbone"] = backbone if backbone in known else "bert-base"
    parts = [made.sts(frame, **shown).to_markdown()] if judging.test else []
    if judging.transfer:
        parts.append(made.transfer(frame, **shown, solver=judging.solver).to_markdown())
    parts += [made.probe(frame).to_markdown(), made.verdicts(frame)]
    parts.append("HNCSE's own values are not among the published rows: they were not available to us.")
    return "\n".join(part for part in parts if part) + "\n"


def _device(cpu: bool) -> int:
    """How many steps to time here; HncseError where there is no GPU, and nobody said that none is meant."""
    import torch

    if torch.cuda.is_available():
        return 50
    if not cpu:
        raise HncseError(
            "there is no GPU here, and on a CPU a run of BERT-base on a million sentences takes days; --dry-run --cpu "
            "measures how many, --cpu trains all the same, `hncse doctor` says what PyTorch sees"
        )
    return 5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse paper",
        description="Run the paper's whole setting: its presets, several seeds, STS and transfer, then the tables "
        "beside published rows. Says first how many minutes it will take here, and what they cost. Finished runs are "
        "kept.",
    )
    add = parser.add_argument
    add("--backbone", default="bert-base-uncased", help=f"{', '.join(BACKBONES)}, or a folder")
    add("--presets", nargs="+", default=list(PRESETS), metavar="PRESET", help=f"default {' '.join(PRESETS)}")
    add("--seeds", nargs="+", default=["0-2"], metavar="N", help="numbers and ranges (default 0-2; a verdict on one "
        "point takes about a dozen)")  # fmt: skip
    add("--corpus", default="wiki1m", help="default wiki1m, the paper's")
    add("--limit", type=int, help="sentences; default: all")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other training parameters than the paper's")
    add("--no-transfer", action="store_true", help="leave out the seven transfer tasks")
    add("--price", type=float, default=2.5, help="of an hour of this machine, for the cost that is said (default 2.5)")
    add("--cpu", action="store_true", help="train without a GPU")
    add("--dry-run", action="store_true", help="say what it would take, and train nothing")
    add("--out", type=Path, help="write the tables there, Markdown, as well")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 1 if a run failed."""
    options = _parser().parse_args(arguments)
    if not options.price >= 0:
        raise HncseError(f"--price is {options.price}; it is the price of an hour, 0 or more")
    setting(options.backbone)  # a typo is an error before anything is imported or downloaded
    steps, judging = _device(options.cpu), Judging(transfer=not options.no_transfer)
    changes = {name: value for name, (value,) in parse_grid(options.set, "--set").items()}
    from hncse.data import senteval

    senteval.fetch(judging.transfer)
    jobs = plan(
        options.backbone, parse_seeds(options.seeds), options.presets, options.corpus, options.limit, changes
    )  # fmt: skip
    left = [job for job in jobs if not judging.complete(job.run)]
    seconds = seconds_per_run(left, judging, steps) if left else {}
    sys.stderr.write(expectation(len(jobs), left, seconds, options.price))
    if options.dry_run:
        return 0
    failed = make(jobs, judging)["failed"]
    text = tables(jobs, judging)
    sys.stdout.write(text)
    if options.out:
        from hncse.files import write_text

        write_text(options.out, text)
    return 1 if failed else 0
