"""Every relative of HNM trained at its own best temperature, beside the recorded runs of SimCSE and HNM.

    HNCSE_DATA=… python -m benchmarks.relatives_training            # four hours of one core; cut off, it goes on
    HNCSE_DATA=… python -m benchmarks.relatives_training --presets simcse gist hcl --transfer
    HNCSE_DATA=… python -m benchmarks.relatives_training --encoder smollm2 --presets simcse hardness mochi --seeds 5

The setting is that of hncse/data/results/sweep.csv (6,400 Wikipedia sentences, one epoch, the better of steps 50 and
100 on STS-B dev), so that rows are paired with its SimCSE by seed; with ``--encoder`` that of minilm.csv or
smollm2.csv. MiniLM is the guide of the presets that ask one. For each preset: τ is doubled or halved from two values
as long as STS-B dev of seed 0 rises; at the best τ all seeds are trained and read on test. ``--transfer`` judges them
on the transfer tasks too, with the solver ``fast`` (45 seconds a run where SentEval's takes minutes; its scores compare
with each other alone, so name simcse among the presets). Two files in hncse/data/results: relatives_training.csv, a row
a run, those that only chose τ included (they have no test scores); relatives_along.csv, the SimCSE temperature whose
gradient is nearest at the start, in the middle (step 50) and at the end (the weights kept) of the chosen τ's first
seed, as `benchmarks.relatives` measures it. Other encoders' are relatives_training_minilm.csv and so on.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file

from benchmarks.relatives import COLUMNS, anchors, compare, guide_vectors
from hncse import TrainingConfig, train
from hncse.evaluation import results, temperature
from hncse.files import whole_file, write_text
from hncse.presets import PRESETS
from hncse.runs import Run, list_runs
from hncse.sweep import Job, Judging, locate, sweep
from hncse.training import load_encoder
from hncse.training.checkpoints import BEST

__all__ = ["ORDER", "SEEDS", "SETTINGS", "along", "best_temperature", "main"]

#: Presets, the most telling first; the last four are the slowest or ask a guide.
ORDER = (
    "hardness", "hcl", "mochi", "mixcse", "focal", "decoupled", "gor", "arccon", "synco-extrapolated", "debiased",
    "dclr", "dclr-as-released", "gist", "mixcse-as-released",
)  # fmt: skip
SEEDS = range(6)
#: Of each encoder: its recorded sweep's setting, and the two τ where the walk begins.
SETTINGS: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    "kit": ({"limit": 6400, "eval_every": 50}, (0.1, 0.2)),
    "minilm": ({"limit": 2048, "pooling": "mean"}, (0.05, 0.1)),
    "smollm2": ({"limit": 1600, "eval_every": 1000, "selection": "last"}, (0.05, 0.1)),
}
_RANGE = (0.0125, 1.6)  # τ beyond which nobody looks
_RESULTS = Path(__file__).resolve().parents[1] / "hncse" / "data" / "results"
_MIDDLE = "middle.safetensors"


def _job(preset: str, tau: float, seed: int, encoder: str = "kit") -> Job:
    guide = "minilm" if PRESETS[preset].needs_guide else None
    config = TrainingConfig(
        loss=preset, corpus="wikipedia", temperature=tau, seed=seed, snapshots=0, encoder=encoder, guide=guide,
        precision="fp32", **SETTINGS[encoder][0],
    )  # fmt: skip
    return locate([config])[0]


def _train(job: Job) -> Run:
    """Train, and keep the weights of the middle: at the line after the first evaluation they are the best so far."""

    def keep(run: Run) -> None:
        if run.history[-1]["step"] == job.config.eval_every + job.config.log_every:
            shutil.copy(run.checkpoints / BEST, run.path / _MIDDLE)

    return train(job.config, on_log=keep)


def best_temperature(preset: str, encoder: str = "kit") -> float:
    """Walk from an encoder's two first τ in factors of two to where STS-B dev of seed 0 is highest."""
    scores: dict[float, float] = {}

    def measure(tau: float) -> float:
        scores[tau] = float(_train(_job(preset, tau, SEEDS[0], encoder)).result["stsb_dev"])
        _say(f"{preset}, temperature {tau:g}: STS-B dev {scores[tau]:.2f}")
        return scores[tau]

    start = SETTINGS[encoder][1]
    colder, hotter = map(measure, start)
    factor, best = (2.0, start[1]) if hotter > colder else (0.5, start[0])
    while _RANGE[0] <= best * factor <= _RANGE[1] and measure(best * factor) > scores[best]:
        best *= factor
    return best


def along(preset: str, tau: float, encoder: str = "kit") -> list[dict[str, str]]:
    """Compare the preset's gradient with SimCSE's before, in the middle of and after its own training."""
    job = _job(preset, tau, SEEDS[0], encoder)
    encoders = {"start": load_encoder(job.config)}
    if (middle := job.run.path / _MIDDLE).is_file():
        encoders["middle"] = load_encoder(job.config)
        encoders["middle"].backbone.load_state_dict(load_file(middle))
    encoders["end"] = job.run.load_encoder()
    guides = guide_vectors() if PRESETS[preset].needs_guide else None
    return [
        row
        for stage, seen in encoders.items()
        for row in compare(temperature.batches(seen, anchors()), stage, {preset: (tau,)}, guides)
    ]


def _record(path: Path, presets: set[str], encoder: str) -> None:
    """Write the runs of these presets; recorded rows whose run is not in the folder of runs stay."""
    wanted = [run.config["parameters"] | {"run": run} for run in list_runs()]
    frame = results.from_runs(c["run"] for c in wanted if c["loss"] in presets and c["encoder"] == encoder)
    if path.is_file():
        before = results.from_csv(path)
        frame = pd.concat([before[~before["run"].isin(frame["run"])], frame], ignore_index=True)
    write_text(path, results.to_csv(frame))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relatives_training", description=__doc__)
    add = parser.add_argument
    add("--presets", nargs="+", default=list(ORDER), choices=[*PRESETS], metavar="PRESET", help="which, in this order")
    add("--encoder", default="kit", choices=list(SETTINGS), help="default kit")
    add("--seeds", type=int, default=len(SEEDS), help="how many, from 0 on (default 6)")
    add("--transfer", action="store_true", help="judge on the transfer tasks too, with the solver fast")
    add("--output", type=Path, default=_RESULTS, help="folder of the two files")
    options = parser.parse_args(arguments)
    encoder, suffix = options.encoder, "" if options.encoder == "kit" else f"_{options.encoder}"
    judging = Judging(test=True, transfer=options.transfer, solver="fast")
    table = options.output / f"relatives_along{suffix}.csv"
    lines: dict[str, list[dict[str, str]]] = {}
    if table.is_file():
        with table.open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                lines.setdefault(line["preset"], []).append(line)
    for preset in options.presets:
        tau = best_temperature(preset, encoder)
        jobs = [_job(preset, tau, seed, encoder) for seed in range(options.seeds)]
        for outcome in sweep(jobs, judging):
            _say(f"{outcome.job.run.name} {outcome.state} {outcome.why}")
        _record(options.output / f"relatives_training{suffix}.csv", {*ORDER, *options.presets}, encoder)
        if preset not in lines or float(lines[preset][0]["tau"]) != tau:
            lines[preset] = along(preset, tau, encoder)
        with whole_file(table) as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(line for rows in lines.values() for line in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
