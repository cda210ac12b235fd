"""Every relative of HNM trained at its own best temperature, beside the recorded runs of SimCSE and HNM.

    HNCSE_DATA=… python -m benchmarks.relatives_training            # three hours of one core; cut off, it goes on

The setting is that of hncse/data/results/sweep.csv (6,400 Wikipedia sentences, one epoch, the better of steps 50 and
100 on STS-B dev), so that rows are paired with its SimCSE by seed. For each preset: τ is doubled or halved from 0.1 and
0.2 as long as STS-B dev of one seed rises; at the best τ six seeds are trained and read on test. Two files in
hncse/data/results: relatives_training.csv, a row a run, those that only chose τ included (they have no test scores);
relatives_along.csv, the SimCSE temperature whose gradient is nearest at the start, in the middle (step 50) and at the
end (the weights kept) of the chosen τ's first seed, as `benchmarks.relatives` measures it.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from benchmarks.relatives import COLUMNS, compare
from hncse import TrainingConfig, train
from hncse.data import probe
from hncse.encoder import SentenceEncoder
from hncse.evaluation import results, temperature
from hncse.files import whole_file, write_text
from hncse.runs import Run, list_runs
from hncse.sweep import Job, Judging, locate, sweep
from hncse.training.checkpoints import BEST

__all__ = ["ORDER", "SEEDS", "along", "best_temperature", "main"]

#: Presets, the most telling first.
ORDER = (
    "hardness", "hcl", "mochi", "mixcse", "focal", "decoupled", "gor", "arccon", "synco-extrapolated", "debiased",
)  # fmt: skip
SEEDS = range(6)
_START = (0.1, 0.2)
_RANGE = (0.0125, 1.6)  # τ beyond which nobody looks
_RESULTS = Path(__file__).resolve().parents[1] / "hncse" / "data" / "results"
_MIDDLE = "middle.safetensors"


def _job(preset: str, tau: float, seed: int) -> Job:
    config = TrainingConfig(
        loss=preset, corpus="wikipedia", limit=6400, temperature=tau, seed=seed, snapshots=0, eval_every=50
    )
    return locate([config])[0]


def _train(job: Job) -> Run:
    """Train, and keep the weights of the middle: at the line after the first evaluation they are the best so far."""

    def keep(run: Run) -> None:
        if run.history[-1]["step"] == job.config.eval_every + job.config.log_every:
            shutil.copy(run.checkpoints / BEST, run.path / _MIDDLE)

    return train(job.config, on_log=keep)


def best_temperature(preset: str) -> float:
    """Walk from τ = 0.1 and 0.2 in factors of two to where STS-B dev of seed 0 is highest."""
    scores: dict[float, float] = {}

    def measure(tau: float) -> float:
        scores[tau] = float(_train(_job(preset, tau, SEEDS[0])).result["stsb_dev"])
        _say(f"{preset}, temperature {tau:g}: STS-B dev {scores[tau]:.2f}")
        return scores[tau]

    colder, hotter = map(measure, _START)
    factor, best = (2.0, _START[1]) if hotter > colder else (0.5, _START[0])
    while _RANGE[0] <= best * factor <= _RANGE[1] and measure(best * factor) > scores[best]:
        best *= factor
    return best


def along(preset: str, tau: float) -> list[dict[str, str]]:
    """Compare the preset's gradient with SimCSE's before, in the middle of and after its own training."""
    run = _job(preset, tau, SEEDS[0]).run
    encoders = {"start": SentenceEncoder.from_pretrained("kit", device="cpu")}
    if (run.path / _MIDDLE).is_file():
        encoders["middle"] = SentenceEncoder.from_pretrained("kit", device="cpu")
        encoders["middle"].backbone.load_state_dict(load_file(run.path / _MIDDLE))
    encoders["end"] = run.load_encoder()
    sentences = [group.anchor for group in probe.load()]
    return [
        row
        for stage, encoder in encoders.items()
        for row in compare(temperature.batches(encoder, sentences), stage, preset, (tau,))
    ]


def _record(path: Path, presets: set[str]) -> None:
    """Write the runs of these presets; recorded rows whose run is not in the folder of runs stay."""
    frame = results.from_runs(run for run in list_runs() if run.config["parameters"]["loss"] in presets)
    if path.is_file():
        before = results.from_csv(path)
        frame = pd.concat([before[~before["run"].isin(frame["run"])], frame], ignore_index=True)
    write_text(path, results.to_csv(frame))


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relatives_training", description=__doc__)
    parser.add_argument("--presets", nargs="+", default=list(ORDER), help="which, in this order")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder of the two files")
    options = parser.parse_args(arguments)
    table = options.output / "relatives_along.csv"
    lines: dict[str, list[dict[str, str]]] = {}
    if table.is_file():
        with table.open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                lines.setdefault(line["preset"], []).append(line)
    for preset in options.presets:
        tau = best_temperature(preset)
        jobs = [_job(preset, tau, seed) for seed in SEEDS]
        for outcome in sweep(jobs, Judging(test=True)):
            _say(f"{outcome.job.run.name} {outcome.state} {outcome.why}")
        _record(options.output / "relatives_training.csv", {*ORDER, *options.presets})
        if preset not in lines or float(lines[preset][0]["tau"]) != tau:
            lines[preset] = along(preset, tau)
        with whole_file(table) as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(line for rows in lines.values() for line in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
