"""Which hard-negative losses are only a colder softmax: every preset's gradient beside SimCSE's at 57 temperatures.

    python -m benchmarks.relatives            # five minutes of one core; writes hncse/data/results/relatives.csv

Seven batches of 64 probe sentences, dropout on, the embedded encoder as it is, after a quarter of an epoch and after a
whole one of SimCSE (docstrings, defaults). A row: the preset at τ, the SimCSE temperature whose gradient is nearest
(``alike``, mean over batches, with its standard deviation), the cosine of the two gradients there, and the gradient's
length in units of SimCSE's at the same τ (with Adam, a length says little). The guide of dclr and gist is MiniLM.
"""

from __future__ import annotations

import argparse
import csv
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hncse import TrainingConfig, presets, train
from hncse.data import probe
from hncse.encoder import SentenceEncoder
from hncse.evaluation import temperature
from hncse.files import whole_file

__all__ = ["COLUMNS", "TAUS", "anchors", "compare", "guide_vectors", "main", "rows"]

TAUS = (0.05, 0.1, 0.2)
COLUMNS = ("stage", "preset", "tau", "alike", "alike_sd", "cosine", "length")
_LEFT_OUT = ("simcse", "three-view")
_OUTPUT = Path(__file__).resolve().parents[1] / "hncse" / "data" / "results" / "relatives.csv"


def anchors() -> list[str]:
    """The probe's anchors, of which each seven times 64 are a batch."""
    return [group.anchor for group in probe.load()]


@functools.cache
def guide_vectors() -> list[Tensor]:
    """MiniLM's vectors (64, d) of each batch of `anchors`."""
    return list(torch.from_numpy(SentenceEncoder.from_pretrained("minilm").encode(anchors())).split(64))


def rows(encoder: SentenceEncoder, stage: str, taus: tuple[float, ...] = TAUS) -> list[dict[str, str]]:
    """Compare every preset of two views with SimCSE, as `compare` does, on an encoder's two dropout views."""
    views = temperature.batches(encoder, anchors())
    compared = [preset for preset in presets.PRESETS if preset not in _LEFT_OUT]
    return compare(views, stage, dict.fromkeys(compared, taus), guide_vectors())


def compare(
    views: Sequence[tuple[Tensor, Tensor]],
    stage: str,
    taus: Mapping[str, Sequence[float]],
    guides: Sequence[Tensor] | None = None,
) -> list[dict[str, str]]:
    """Compare presets' gradients with SimCSE's.

    Args:
        views: From `hncse.evaluation.temperature.batches`.
        stage: What to call the encoder they are of.
        taus: A loss of two views → its temperatures.
        guides: A guide's vectors of each batch, for presets that ask one.

    Returns:
        A row for each τ, with `COLUMNS`.
    """
    beside, out = temperature.directions(views), []
    for preset, own in taus.items():
        for m in temperature.matches(views, preset, own, guides=guides, beside=beside):
            numbers = (m.alike, m.spread, float(m.cosines.max()), m.length)
            named = dict(zip(COLUMNS[3:], (f"{value:.4g}" for value in numbers), strict=True))
            out.append({"stage": stage, "preset": preset, "tau": f"{m.temperature:g}"} | named)
    return out


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relatives", description=__doc__)
    parser.add_argument("--output", default=str(_OUTPUT), help="where the rows go")
    options = parser.parse_args(arguments)
    table = rows(SentenceEncoder.from_pretrained("kit", device="cpu"), "untrained")
    for stage, epochs in (("a quarter of an epoch", 0.25), ("one epoch", 1.0)):
        run = train(TrainingConfig(loss="simcse", corpus="docstrings", epochs=epochs, snapshots=0, precision="fp32"))
        table += rows(run.load_encoder(), stage)
    with whole_file(options.output) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    csv.writer(sys.stdout).writerows(row.values() for row in table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
