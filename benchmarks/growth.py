"""How time and memory grow: with the batch (loss), the length of sentences, and their number; and what that costs.

    HNCSE_DATA=… python -m benchmarks.growth              # about eight quiet minutes of one thread
    python -m benchmarks.growth --small                   # half a minute; for a look
    python -m benchmarks.growth --draw                    # picture and words again, from growth.csv

Writes benchmarks/growth.csv (a row a size) and figures/growth.png and .svg; prints the table of exponents, and what
the paper's run and larger corpora would cost if growth goes on as measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import text
from benchmarks.measure import clock, markdown, peak_bytes
from hncse.errors import HncseError, command
from hncse.files import whole_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["exponent", "extrapolated", "growth_figure", "main", "measure"]

ROOT = Path(__file__).resolve().parent.parent
CSV = Path(__file__).with_name("growth.csv")
#: What grows, and in what: the axis → its unit.
AXES = {
    "HNM loss": "sentences a batch", "encoding by length": "tokens a sentence", "encoding": "sentences",
    "mining, exact": "sentences", "STS": "pairs", "transfer, one task": "sentences",
}  # fmt: skip
_SIZES = {
    "HNM loss": (128, 256, 512, 1024, 2048), "encoding by length": (8, 16, 32, 64, 128),
    "encoding": (1000, 4000, 16_000, 64_000), "mining, exact": (2000, 8000, 32_000, 64_000),
    "STS": (1000, 4000, 16_000), "transfer, one task": (500, 2000, 8000),
}  # fmt: skip
Task = Callable[[], object]


def measure(divide: int = 1) -> Iterator[dict[str, Any]]:
    """Measure every axis at its sizes, divided by ``divide`` from the third on left out.

    Yields:
        A row of growth.csv: ``axis``, ``size``, ``seconds`` (the best of three; of one, where it takes over five
        seconds) and ``megabytes``, the most bytes of tensors at once; 0 where arrays do the work.
    """
    for axis, sizes in _SIZES.items():
        for size in sizes[:: divide or 1][: 3 if divide > 1 else None]:
            action, weighs = _task(axis, size)
            yield {
                "axis": axis, "size": size, "seconds": round(_best(action), 6),
                "megabytes": round(peak_bytes(action) / 1e6, 3) if weighs else 0.0,
            }  # fmt: skip


def _best(action: Task) -> float:
    seconds = []
    while len(seconds) < 3 and sum(seconds) < 5:
        began = clock()
        action()
        seconds.append(clock() - began)
    return min(seconds)


def _task(axis: str, size: int) -> tuple[Task, bool]:
    """What is timed, and whether tensors' memory says anything of it."""
    import torch

    from benchmarks import loss_step
    from hncse import losses, mining
    from hncse.encoder import SentenceEncoder
    from hncse.evaluation import sts
    from hncse.evaluation.solvers import senteval_accuracies

    if axis == "HNM loss":
        z, loss = loss_step.batch(size), losses.build("hnm-no-replacement")
        groups = torch.arange(size)
        return loss_step._step(lambda: loss(*z, groups=groups).loss, z), True
    encoder = SentenceEncoder.from_pretrained("kit", "mean", device="cpu")
    if axis == "encoding by length":
        ids = torch.randint(1000, 8000, (64, size), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(ids)

        def forward() -> None:
            with torch.inference_mode():
                encoder(ids, mask)

        return forward, True
    if axis == "transfer, one task":
        draw = np.random.default_rng(0)
        y = draw.integers(2, size=size)
        x = (draw.normal(size=(size, encoder.dimension)) + 0.2 * y[:, None]).astype(np.float32)
        fits = _choices(y)
        return lambda: senteval_accuracies(x, y, 2, fits, np.full((len(fits), 1), 1e-3)), False
    sentences = text.sentences(2 * size if axis == "STS" else size)[0]
    if axis == "encoding":
        return lambda: encoder.encode(sentences, show_progress=False), False
    rows = dict(
        zip(sentences, np.random.default_rng(0).standard_normal((len(sentences), 384), np.float32), strict=True)
    )
    known = _Known(rows)
    if axis == "mining, exact":
        return lambda: mining.mine(known, sentences, k=10, cache=False, show_progress=False).triplets(), False
    scores = np.random.default_rng(0).random(size).tolist()
    return lambda: sts.evaluate_pairs(known, sentences[:size], sentences[size:], scores), False


class _Known:
    """An encoder that has embedded everything before: what is left is search and statistics."""

    def __init__(self, rows: dict[str, Any]) -> None:
        self.rows = rows

    def encode(self, sentences: list[str], **_: Any) -> Any:
        return np.stack([self.rows[sentence] for sentence in sentences])


def _choices(y: Any) -> Any:
    from hncse.data.senteval import TransferTask
    from hncse.evaluation.solvers import choices

    task = TransferTask("CR", [""] * len(y), None, y, slice(0, len(y)), None, None)
    return choices(task)[0].search


def exponent(table: pd.DataFrame, axis: str, column: str = "seconds") -> tuple[float, float]:
    """Fit column = a · size^b over the last three sizes of an axis.

    Returns:
        b and a.

    Raises:
        HncseError: Fewer than two sizes.
    """
    from scipy.stats import linregress

    rows = table[(table["axis"] == axis) & (table[column] > 0)].sort_values("size").tail(3)
    if len(rows) < 2:
        raise HncseError(f"growth of {axis!r} needs two sizes or more, there are {len(rows)}")
    line = linregress(np.log(rows["size"]), np.log(rows[column]))
    return float(line.slope), float(np.exp(line.intercept))


def extrapolated(table: pd.DataFrame, gpu: float) -> list[str]:
    """Say what larger work would cost if it grows as measured; every number is a calculation, none is measured.

    The paper's run is counted by BERT-base's linear layers, and by the word pieces of the benchmarks' sentences.

    Args:
        table: Of growth.csv.
        gpu: Floating point operations a second that a GPU does in training, all losses counted.
    """
    from benchmarks import loss_share, training_speed

    tokens = sum(map(len, loss_share.encoder("kit").tokenize(text.sentences(2000)[0], 32))) / 2000
    operations = 12 * training_speed.linear("BERT-base-sized") * tokens * 1e6  # forward and backward of two views
    lines = [
        f"The paper's run (BERT-base, a million sentences once): {operations:.1e} operations, "
        f"{operations / gpu / 60:.0f} minutes of one GPU at {gpu:.0e} a second (`torchrun` divides them)."
    ]
    for n in (1e7, 1e8):
        hours = {axis: a * n**b / 3600 for axis in ("encoding", "mining, exact") for b, a in [exponent(table, axis)]}
        vectors = n * 384 * 4 / 1e9
        lines.append(
            f"{n:,.0f} sentences on this thread: encoding {hours['encoding']:,.0f} h, exact search "
            f"{hours['mining, exact']:,.0f} h, {vectors:,.0f} GB of vectors at width 384; both divide by machines "
            "(Dask's workers, blocks of the corpus as faiss shards)."
        )
    return lines


def growth_figure(table: pd.DataFrame) -> Figure:
    """Draw seconds and megabytes over size, both axes logarithmic, a panel an axis, with the fitted exponent."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    from hncse.visual.style import OKABE_ITO, figure, styled

    with styled():
        picture, panels = figure(11, 6.4, rows=2, columns=3)
        words = []
        for panel, (axis, unit) in zip(panels, AXES.items(), strict=True):
            rows = table[table["axis"] == axis].sort_values("size")
            b, a = exponent(table, axis)
            panel.loglog(rows["size"], rows["seconds"], "o", color=OKABE_ITO["blue"], label="seconds")
            panel.loglog(rows["size"], a * rows["size"] ** b, "-", color=OKABE_ITO["blue"], linewidth=1)
            if (rows["megabytes"] > 0).all():
                other = panel.twinx()
                other.loglog(rows["size"], rows["megabytes"], "s--", color=OKABE_ITO["vermillion"])
                other.set_ylabel("peak MB (squares)")
                other.yaxis.set_minor_formatter(NullFormatter())
                other.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.set_title(f"{axis}: size^{b:.2f}")
            panel.set_xlabel(unit)
            panel.set_ylabel("seconds (circles)")
            for way in (panel.xaxis, panel.yaxis):
                way.set_minor_formatter(NullFormatter())
                way.set_major_formatter(StrMethodFormatter("{x:g}"))
            words.append(f"{axis} grows as size to the {b:.2f}")
        picture.set_label("Six panels of seconds over size, both logarithmic. " + "; ".join(words) + ".")
    return picture


def _told(table: pd.DataFrame, gpu: float) -> str:
    rows = []
    for axis, unit in AXES.items():
        part = table[table["axis"] == axis].sort_values("size")
        last = part.iloc[-1]
        memory = f"{last['megabytes']:,.1f}" if last["megabytes"] else ""
        power = f"{exponent(table, axis, 'megabytes')[0]:.2f}" if last["megabytes"] else ""
        rows.append(
            [
                axis, f"{int(last['size']):,} {unit}", f"{last['seconds']:,.3f}", f"{exponent(table, axis)[0]:.2f}",
                memory, power,
            ]
        )  # fmt: skip
    header = ("what", "at", "seconds", "grows as size to the", "peak MB", "memory to the")
    return markdown("Growth", header, rows, "\n\n".join(extrapolated(table, gpu)))


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="three sizes, every second one")
    parser.add_argument("--draw", action="store_true", help="only picture and words, from the table")
    parser.add_argument("--gpu", type=float, default=1e14, help="operations a second of a GPU in training (1e14)")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--figure", type=Path, default=ROOT / "figures" / "growth")
    options = parser.parse_args(arguments)
    import pandas as pd

    from hncse.visual import style

    if not options.draw:
        began = time.perf_counter()
        rows = []
        for row in measure(2 if options.small else 1):
            rows.append(row)
            sys.stderr.write(f"{time.perf_counter() - began:6.0f} s  {row}\n")
        with whole_file(options.csv) as file:
            pd.DataFrame(rows).to_csv(file, index=False)
    if not options.csv.is_file():
        raise HncseError(f"there is no {options.csv} to draw from; run this without --draw first")
    table = pd.read_csv(options.csv)
    for path in style.save(growth_figure(table), options.figure):
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(_told(table, options.gpu) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
