"""Which shape for 12 MB: encoders of eight shapes, each counted and then trained alike, against their size.

    python -m benchmarks.encoder_shapes                 # needs HNCSE_DATA; half an hour on one core, resumes
    python -m benchmarks.encoder_shapes --draw          # only the picture, from the CSV

Every shape: `hncse.pretraining` with ``--tokens 0`` (counted vectors, no language modelling), raw mean pooling on
STS-B dev, then SimCSE with the kit's recipe, best STS-B dev. One seed: shapes half a point apart are not told apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hncse.errors import HncseError, command, unknown

if TYPE_CHECKING:
    import pandas as pd

    from hncse.pretraining import PretrainingConfig

__all__ = ["SHAPES", "add", "measure", "missing", "raw_score", "say", "trained_score"]

Key = TypeVar("Key", bound=tuple[Any, ...])

#: (vocabulary, width, layers). A vocabulary's shapes stand together: they share its word pieces and its counts.
SHAPES: tuple[tuple[int, int, int], ...] = (
    (8_192, 384, 1),  # the kit's
    (8_192, 256, 1),
    (8_192, 512, 1),
    (12_288, 384, 1),
    (16_384, 320, 1),
    (16_384, 256, 1),
    (16_384, 256, 2),
    (20_480, 256, 1),
)
FIGURES = Path(__file__).resolve().parent.parent / "figures"
_HEAD = 64  # coordinates of an attention head, as the kit's encoder has them
_SETTINGS = ("counted", "trained", "seed")
_COLUMNS = ("vocabulary", "width", "layers")


def config(shape: tuple[int, int, int], counted: int, out: Path) -> PretrainingConfig:
    """Settings that make one shape: a narrow feed-forward, as the kit's encoder has; twice as wide for two layers."""
    from hncse.pretraining import PretrainingConfig

    vocabulary, width, layers = shape
    return PretrainingConfig(
        source="wikipedia", limit=counted, vocabulary=vocabulary, width=width, layers=layers, heads=width // _HEAD,
        intermediate=_HEAD * layers, tokens=0, out=str(out),
    )  # fmt: skip


def measure(
    shapes: Sequence[tuple[int, int, int]], counted: int, trained: int, seed: int, work: Path
) -> Iterator[dict[str, Any]]:
    """Make and judge encoders, one after the other.

    Args:
        shapes: Of `SHAPES`; those of one vocabulary side by side.
        counted: Wikipedia sentences behind vocabulary and counts.
        trained: Wikipedia sentences of SimCSE.
        seed: Of SimCSE.
        work: Keeps word pieces, encoders and training runs.

    Yields:
        A row of figures/encoder_shapes.csv for each shape.
    """
    from hncse import pretraining
    from hncse.data import corpora

    sentences = corpora.load("wikipedia", limit=counted).sentences
    for vocabulary, group in groupby(shapes, key=lambda shape: shape[0]):
        shared = work / f"text-{vocabulary}"
        table = None
        for shape in group:
            say(f"{_name(shape)}: making it")
            settings = config(shape, counted, work / _name(shape))
            listing, tokens = pretraining.prepare(settings, sentences, shared, say)
            if len(listing) < vocabulary:
                raise HncseError(
                    f"{counted:,} sentences give {len(listing):,} word pieces of {vocabulary:,}; take more"
                )
            table = pretraining.count(settings, tokens, len(listing)) if table is None else table
            folder = pretraining.pretrain(settings, sentences, say, text=(listing, tokens), table=table)
            yield {
                "vocabulary": vocabulary, "width": shape[1], "layers": shape[2],
                "intermediate": settings.intermediate, "bytes": (folder / "model.safetensors").stat().st_size,
                **_judged(folder, sentences[:trained], seed, work / "runs"), "counted": counted, "trained": trained,
                "seed": seed,
            }  # fmt: skip


def _judged(folder: Path, sentences: list[str], seed: int, runs: Path) -> dict[str, Any]:
    """STS-B dev of an encoder as it is, and after SimCSE."""
    return {"raw": raw_score(folder), **trained_score(folder, sentences, seed, runs)}


def raw_score(folder: Path) -> float:
    """STS-B dev of an encoder as it is, mean pooling; Spearman × 100."""
    from hncse.encoder import SentenceEncoder
    from hncse.evaluation import sts

    return round(sts.evaluate(SentenceEncoder.from_pretrained(folder, "mean"), ["STSB"], split="dev")["STSB"], 2)


def trained_score(folder: Path, sentences: list[str], seed: int, runs: Path) -> dict[str, Any]:
    """STS-B dev of an encoder after SimCSE with the kit's recipe.

    Args:
        folder: The encoder.
        sentences: What SimCSE trains on, one epoch.
        seed: Of SimCSE.
        runs: Keeps the training run; one that is finished there is read, not repeated.

    Returns:
        ``simcse``, Spearman × 100, and ``kept_step``.
    """
    from hncse.training import RECIPES, TrainingConfig, train

    recipe = TrainingConfig(
        loss="simcse", encoder=str(folder), pooling="mean", seed=seed, selection="stsb-dev", snapshots=0,
        limit=len(sentences), output=str(runs), precision="fp32", **RECIPES["kit"],
    )  # fmt: skip
    result = train(recipe, sentences).result
    return {"simcse": round(result["stsb_dev"], 2), "kept_step": result["kept_step"]}


def missing(
    wanted: Sequence[Key], path: Path, settings: dict[str, Any], columns: Sequence[str] = _COLUMNS
) -> list[Key]:
    """What has no row in a CSV yet.

    Args:
        wanted: Values of ``columns``, a tuple a row.
        path: The CSV; it need not be there.
        settings: Columns that must hold these values in every row.
        columns: What names a row.

    Raises:
        HncseError: The CSV holds rows of other settings.
    """
    if not path.is_file():
        return list(wanted)
    import pandas as pd

    table = pd.read_csv(path)
    for name, value in settings.items():
        if (others := sorted(set(table[name]) - {value})) != []:
            raise HncseError(f"{path} holds rows with {name} = {others[0]}, this run has {value}; give another --csv")
    have = set(zip(*(table[name] for name in columns), strict=True))
    return [key for key in wanted if key not in have]


def add(row: dict[str, Any], path: Path, order: Sequence[str] = ("bytes",)) -> pd.DataFrame:
    """Append a row to a CSV, which is written whole, sorted by the columns of ``order``; returns its table."""
    import pandas as pd

    from hncse.files import write_text

    before = [pd.read_csv(path)] if path.is_file() else []
    table = pd.concat([*before, pd.DataFrame([row])]).sort_values(list(order), ignore_index=True)
    write_text(path, table.to_csv(index=False))
    return table


def _name(shape: tuple[int, int, int]) -> str:
    return "{}x{}".format(*shape) + ("" if shape[2] == 1 else f"-{shape[2]}layers")


def say(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(line + "\n")


def _draw(path: Path, target: Path) -> list[Path]:
    import pandas as pd

    from benchmarks import shapes_figure as shapes
    from hncse.visual import style

    if not path.is_file():
        raise HncseError(f"there is no {path} to draw from; run this without --draw first")
    return style.save(shapes.shapes_figure(pd.read_csv(path), ours=SHAPES[0]), target)


def _parser() -> argparse.ArgumentParser:
    known = ", ".join(map(_name, SHAPES))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encoder_shapes", description="STS-B dev against bytes for encoders of eight shapes."
    )
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"any of {known} (default: all)")
    parser.add_argument("--counted", type=int, default=1_000_000, help="sentences behind the vectors (default 1000000)")
    parser.add_argument("--trained", type=int, default=6_400, help="sentences of SimCSE (default 6400)")
    parser.add_argument("--seed", type=int, default=0, help="of SimCSE (default 0)")
    parser.add_argument("--csv", type=Path, default=FIGURES / "encoder_shapes.csv", help="rows; those there are kept")
    parser.add_argument("--work", type=Path, help="folder of encoders (default: encoder-shapes/ among the runs)")
    parser.add_argument("--draw", action="store_true", help="only draw the picture, beside the CSV")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    by_name = {_name(shape): shape for shape in SHAPES}
    for name in options.shapes:
        if name not in by_name:
            raise unknown("shape", name, by_name)
    wanted = [shape for name, shape in by_name.items() if not options.shapes or name in options.shapes]
    if not options.draw:
        from hncse import runs
        from hncse.data import senteval

        settings = {name: getattr(options, name) for name in _SETTINGS}
        lacking = missing(wanted, options.csv, settings)
        senteval.fetch()  # where files are missing; or an error now, not after the first encoder
        work = options.work or runs.root() / "encoder-shapes"
        for row in measure(lacking, **settings, work=work) if lacking else ():
            add(row, options.csv)
            sys.stdout.write("  ".join(f"{name} {value}" for name, value in row.items()) + "\n")
            sys.stdout.flush()
    sys.stdout.writelines(
        f"{path}\n" for path in _draw(options.csv, options.csv.with_name(options.csv.name.removesuffix(".csv")))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
