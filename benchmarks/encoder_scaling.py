"""What more compute buys: the kit's encoder from more text, and with more language modelling, trained alike.

    python -m benchmarks.encoder_scaling                # needs HNCSE_DATA; 25 minutes of one core, resumes
    python -m benchmarks.encoder_scaling --draw         # only picture and words, from the CSV

The kit's shape at every point; raw mean pooling on STS-B dev, then SimCSE with the kit's recipe for three seeds.
Along ``text``, word vectors are counted on more and more Wikipedia sentences, each with its own vocabulary.
Along ``modelling``, the vectors of the most text get more and more masked language modelling before SimCSE.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import encoder_shapes as shapes
from hncse.errors import HncseError, command

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from hncse.pretraining import PretrainingConfig, Text

__all__ = ["MODELLING", "SEEDS", "TEXT", "conclusion", "measure", "points"]

#: Sentences counted; all there are come on top.
TEXT: tuple[int, ...] = (30_000, 100_000, 300_000, 1_000_000)
#: Word pieces of masked language modelling on the vectors of all sentences.
MODELLING: tuple[int, ...] = (0, 250_000, 1_000_000)
#: Of SimCSE.
SEEDS: tuple[int, ...] = (0, 1, 2)
FIGURES = Path(__file__).resolve().parent.parent / "figures"
_COLUMNS = ("axis", "amount", "seed")
Point = tuple[str, int, int]  # axis, amount (sentences or word pieces), seed


def points(available: int, modelling: Sequence[int] = MODELLING) -> list[Point]:
    """List what is measured, in the order in which encoders share most.

    Args:
        available: Sentences in the corpus; larger amounts of `TEXT` are left out.
        modelling: Word pieces of language modelling; 0 is always among them.

    Returns:
        Axis (``text`` or ``modelling``), amount (sentences, or word pieces) and seed.
    """
    counted = [*(n for n in TEXT if n < available), available]
    amounts = [("text", n) for n in counted] + [("modelling", n) for n in sorted({0, *modelling})]
    return [(axis, amount, seed) for axis, amount in amounts for seed in SEEDS]


def config(counted: int, tokens: int, out: Path) -> PretrainingConfig:
    """Settings of one encoder: the defaults of pretraining, which are the kit's, but for text and modelling."""
    from hncse.pretraining import PretrainingConfig

    return PretrainingConfig(source="wikipedia", limit=counted, tokens=tokens, out=str(out))


def measure(wanted: Sequence[Point], sentences: list[str], trained: int, work: Path) -> Iterator[dict[str, Any]]:
    """Make and judge encoders, one after the other.

    Args:
        wanted: From `points`, in its order.
        sentences: The whole corpus.
        trained: How many of its first sentences SimCSE trains on.
        work: Keeps word pieces, encoders and training runs.

    Yields:
        A row of figures/encoder_scaling.csv for each point: ``seconds`` of CPU from text to encoder, without SimCSE;
        ``raw`` and ``simcse`` on STS-B dev, Spearman × 100; ``available`` sentences in the corpus.

    Raises:
        HncseError: So few sentences that they do not fill the vocabulary.
    """
    maker = _Maker(sentences, work)
    for (axis, amount), group in groupby(wanted, key=lambda point: point[:2]):
        counted, tokens = (amount, 0) if axis == "text" else (len(sentences), amount)
        folder, seconds = maker.encoder(counted, tokens)
        raw = shapes.raw_score(folder)
        for _, _, seed in group:
            yield {
                "axis": axis, "amount": amount, "seed": seed, "seconds": round(seconds, 1), "raw": raw,
                **shapes.trained_score(folder, sentences[:trained], seed, work / "runs"), "trained": trained,
                "available": len(sentences),
            }  # fmt: skip


class _Maker:
    """Makes encoders; those of the same sentences share word pieces and the table of counts."""

    def __init__(self, sentences: list[str], work: Path) -> None:
        self.sentences, self.work = sentences, work
        self.counted, self.shared = 0, None  # type: int, tuple[Text, Tensor, float] | None

    def encoder(self, counted: int, tokens: int) -> tuple[Path, float]:
        """Folder of an encoder, and the CPU seconds it took when it was made."""
        from hncse import pretraining

        out = self.work / f"{counted}-{tokens}"
        note = out / "seconds.json"
        if note.is_file():  # written last
            return out / "encoder", json.loads(note.read_text(encoding="utf-8"))
        shapes.say(f"{counted:,} sentences, {tokens:,} word pieces of language modelling: making it")
        settings = config(counted, tokens, out)
        (out / "checkpoint.safetensors").unlink(missing_ok=True)  # half made: its seconds are not known
        if self.counted != counted or self.shared is None:
            self.counted, self.shared = counted, self._counts(settings, counted)
        text, table, before = self.shared
        began = time.process_time()
        folder = pretraining.pretrain(settings, self.sentences[:counted], shapes.say, text=text, table=table)
        return folder, _noted(note, before + time.process_time() - began)

    def _counts(self, settings: PretrainingConfig, counted: int) -> tuple[Text, Tensor, float]:
        from hncse import pretraining

        folder = self.work / f"text-{counted}"
        note = folder / "seconds.json"
        began = time.process_time()
        text = pretraining.prepare(settings, self.sentences[:counted], folder, shapes.say)
        if len(text[0]) < settings.vocabulary:
            raise HncseError(
                f"{counted:,} sentences give {len(text[0]):,} word pieces of {settings.vocabulary:,}; take more"
            )
        took = time.process_time() - began
        took = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else _noted(note, took)
        began = time.process_time()
        table = pretraining.count(settings, text[1], len(text[0]))
        return text, table, took + time.process_time() - began


def _noted(path: Path, seconds: float) -> float:
    from hncse.files import write_json

    write_json(path, seconds)
    return seconds


def conclusion(table: pd.DataFrame) -> list[str]:
    """Say what ten times the text would give, and what language modelling changed.

    Args:
        table: Rows of figures/encoder_scaling.csv.

    Raises:
        HncseError: Fewer than three amounts of text, or no language modelling.
    """
    from benchmarks import scaling_figure as scaling
    from hncse.evaluation.statistics import t_interval

    line = scaling.text_trend(table)
    most, further = line.amounts[-1], line.amounts[-1] * scaling.AHEAD
    score, low, high = line.at(further)
    ends = line.slope_interval()
    flat = "not told apart from none" if ends[0] <= 0 <= ends[1] else "told apart from none"
    said = [
        f"Text: {most:,.0f} sentences give {line.means[-1]:.2f} after SimCSE. Extrapolated over log10 of "
        f"{len(line.amounts)} amounts, {further:,.0f} sentences would give {score:.2f}, 95 % interval {low:.2f} to "
        f"{high:.2f}. Ten times the text adds {line.slope:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f}): {flat}."
    ]
    rows = table[table["axis"] == "modelling"]
    scores = rows.pivot_table(index="seed", columns="amount", values=["raw", "simcse"]).dropna()
    if len(amounts := sorted(set(rows["amount"]))) < 2:
        raise HncseError("the table has no language modelling to compare with none")
    for amount in amounts[1:]:
        raw, _ = t_interval(scores["raw"][amount] - scores["raw"][0])
        mean, half = t_interval(scores["simcse"][amount] - scores["simcse"][0])
        said.append(
            f"Modelling: {amount:,} word pieces change raw by {raw:+.2f}, and after SimCSE by {mean:+.2f} ± {half:.2f} "
            f"({len(scores)} seeds, paired)."
        )
    return said


def _draw(path: Path) -> list[str]:
    import pandas as pd

    from benchmarks import scaling_figure as scaling
    from hncse.visual import style

    if not path.is_file():
        raise HncseError(f"there is no {path} to draw from; run this without --draw first")
    table = pd.read_csv(path)
    return [
        *map(str, style.save(scaling.scaling_figure(table), path.with_name(path.name.removesuffix(".csv")))),
        *conclusion(table),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encoder_scaling",
        description="STS-B dev of the kit's encoder against text counted and word pieces of language modelling.",
    )
    parser.add_argument(
        "--modelling", type=int, nargs="*", default=MODELLING, metavar="PIECES",
        help=f"word pieces of language modelling, about 9,000 a second (default: {' '.join(map(str, MODELLING))})",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="sentences taken from the corpus (default: all)")
    parser.add_argument("--trained", type=int, default=6_400, help="sentences of SimCSE (default 6400)")
    parser.add_argument("--csv", type=Path, default=FIGURES / "encoder_scaling.csv", help="rows; those there are kept")
    parser.add_argument("--work", type=Path, help="folder of encoders (default: encoder-scaling/ among the runs)")
    parser.add_argument("--draw", action="store_true", help="only draw the picture, beside the CSV")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    if not options.draw:
        _run(options)
    sys.stdout.writelines(f"{line}\n" for line in _draw(options.csv))
    return 0


def _run(options: argparse.Namespace) -> None:
    from hncse import runs
    from hncse.data import corpora, senteval

    sentences = corpora.load("wikipedia", limit=options.limit).sentences
    settings = {"trained": options.trained, "available": len(sentences)}
    lacking = shapes.missing(points(len(sentences), options.modelling), options.csv, settings, _COLUMNS)
    senteval.fetch()  # where files are missing; or an error now, not after the first encoder
    work = options.work or runs.root() / "encoder-scaling"
    for row in measure(lacking, sentences, options.trained, work):
        shapes.add(row, options.csv, _COLUMNS)
        sys.stdout.write("  ".join(f"{name} {value}" for name, value in row.items()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
