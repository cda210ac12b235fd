"""The one console command: ``hncse train …``; ``hncse --help`` lists the rest, ``python -m hncse`` is the same.

Each subcommand is the ``main`` of a module, which is imported when it is called for: help is quick.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError, command, unknown

if TYPE_CHECKING:
    from hncse.runs import Run

__all__ = ["COMMANDS", "encode", "main"]

#: Subcommand → what it does, and the module and function behind it.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train an encoder and write a run folder", "hncse.training:main"),
    "encode": ("write the embeddings of a file of sentences", "hncse.cli:encode"),
    "sts": ("score an encoder on the STS tasks", "hncse.evaluation.sts:main"),
    "transfer": ("score an encoder on SentEval's transfer tasks", "hncse.cli:transfer"),
    "probe": ("score an encoder on the embedded probe", "hncse.evaluation.probe:main"),
    "export": ("write an encoder as ONNX and score each format", "hncse.evaluation.export:main"),
    "mteb": ("score an encoder on tasks of MTEB, NanoBEIR among them", "hncse.evaluation.mteb:main"),
    "triplets": ("score an encoder on counterfactual NLI and image captions", "hncse.evaluation.triplets:main"),
    "audit": ("measure guards against false negatives on the probe", "hncse.evaluation.audit:main"),
    "mine": ("mine hard negatives from a corpus", "hncse.mining:main"),
    "sweep": ("train and judge a grid of losses, seeds and options", "hncse.sweep:main"),
    "paper": ("run the whole setting of the paper on a GPU, and print its tables", "hncse.paper:main"),
    "runs": ("list runs, or print one run's summary", "hncse.runs:main"),
    "results": ("write the results of finished runs as one CSV", "hncse.evaluation.results:main"),
    "statistics": ("print verdicts: differences with their intervals", "hncse.evaluation.statistics:main"),
    "tables": ("write every table and figure of a set of runs", "hncse.cli:tables"),
    "plot": ("draw your own sentences: explorer, similarity plane, decision boundary", "hncse.visual.own:main"),
    "benchmark-files": ("fetch and count the files of STS and of the transfer tasks", "hncse.data.senteval:main"),
    "pretrain": ("make an encoder from plain text, as the embedded one was", "hncse.pretraining:main"),
    "doctor": ("say what is on this machine, and what that means", "hncse.doctor:main"),
}  # fmt: skip


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        sys.stdout.writelines(line + "\n" for line in _overview())
        return 0
    if name == "--version":
        sys.stdout.write(f"hncse {metadata.version('hncse')}\n")
        return 0
    if name not in COMMANDS:
        raise unknown("subcommand", name, COMMANDS)
    module, _, function = COMMANDS[name][1].partition(":")
    return getattr(importlib.import_module(module), function)(words[1:])


def _overview() -> Iterator[str]:
    yield "usage: hncse [--help | --version] SUBCOMMAND …"
    yield "\nA study kit for sentence embeddings learned with hard negatives.\n"
    width = max(map(len, COMMANDS))
    yield from (f"  {name:{width}}  {text}" for name, (text, _) in COMMANDS.items())
    yield "\n`hncse SUBCOMMAND --help` explains each."


@command
def transfer(arguments: list[str] | None = None) -> int:
    """Score an encoder, or a run and the encoder it began with, on the transfer tasks; returns the exit code."""
    from hncse.data import senteval
    from hncse.evaluation import open_encoder
    from hncse.evaluation import transfer as tasks

    options = _transfer_parser(senteval.TRANSFER_TASKS, senteval.OTHER_FILES_HELP).parse_args(arguments)
    if options.solver not in tasks.SOLVERS:
        raise unknown("solver", options.solver, tasks.SOLVERS)
    for task in options.tasks or ():  # a typo is an error before anything is loaded
        senteval.transfer_present(task)
    encoder, run = open_encoder(options.encoder, options.pooling)
    settings = {
        "batch_size": options.batch_size,
        "cache": not options.no_cache,
        "device": options.device,
        "on_task": lambda task: sys.stderr.write(f"{task} ") and sys.stderr.flush(),
        "allow_other_files": options.allow_other_files,
    }
    if run is not None and options.pooling is None and options.tasks is None:  # else not the run's own table
        scores = _transfer_of_run(run, options.solver, settings)
    else:
        name = run.name if run else options.encoder
        scores = {name: tasks.evaluate_full(encoder, options.tasks, options.solver, **settings)}
    sys.stderr.write("\n")
    sys.stdout.write("\n\n".join("\n".join(tasks.table(result, name)) for name, result in scores.items()) + "\n")
    if options.json:
        from hncse.files import write_json

        write_json(options.json, next(iter(scores.values())))
    return 0


def _transfer_parser(tasks: tuple[str, ...], other_files: str) -> argparse.ArgumentParser:
    from hncse.evaluation import add_encoder

    parser = argparse.ArgumentParser(
        prog="hncse transfer",
        description="Score an encoder on SentEval's seven transfer tasks: linear classifiers on frozen embeddings.",
    )
    add = parser.add_argument
    add_encoder(parser)
    add("--solver", default="senteval", help="senteval (default): its Adam schedule to the letter; or fast")
    add("--tasks", nargs="+", metavar="TASK", help=f"some of {' '.join(tasks)}; default: all")
    add("--batch-size", type=int, help="sentences in a forward pass")
    add("--device", help="where classifiers are trained, for example cuda (default cpu)")
    add("--no-cache", action="store_true", help="neither read nor keep embeddings on disk")
    add("--json", type=Path, help="write the result there as well")
    add("--allow-other-files", action="store_true", default=None, help=other_files)
    return parser


def _transfer_of_run(run: Run, solver: str, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A run's scores, written into it, and those of the encoder it began with."""
    from hncse.evaluation import report, results

    report.judge_transfer(run, solver, **settings)
    after = report.transfer_of(results.transfer_results(run), solver)
    before = report.transfer_of(run.read("baseline")["poolings"][run.config["pooling"]], solver)
    return {run.name: after or {}, f"{run.config['parameters']['encoder']} before training": before or {}}


@command
def tables(arguments: list[str] | None = None) -> int:
    """Write the tables of a set of runs, then draw their pictures beside them; returns the exit code."""
    from hncse.evaluation import tables as printed

    code = printed.main(arguments)
    if code == 0:
        from hncse.evaluation import results
        from hncse.visual import leaderboard

        options = printed.parser().parse_args(arguments)
        drawn = leaderboard.draw(results.load(options.runs, options.csv), options.out, options.baseline)
        sys.stdout.writelines(f"{path}\n" for path in drawn)
    return code


@command
def encode(arguments: list[str] | None = None) -> int:
    """Embed the sentences of a file or of standard input, a row each, in their order; returns the exit code."""
    from hncse.evaluation import add_encoder

    parser = argparse.ArgumentParser(
        prog="hncse encode",
        description="Embed sentences, a row each, in their order. Nothing is left out: a line that is no text is an "
        "error.",
    )
    add_encoder(parser)
    parser.add_argument("file", nargs="?", default="-", help="text, csv, tsv, jsonl, parquet; default: standard input")
    parser.add_argument("--out", type=Path, required=True, help="vectors.npy, or vectors.parquet with the sentences")
    parser.add_argument("--column", help="column of a file that has several")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences in a forward pass (default 64)")
    parser.add_argument("--normalize", action="store_true", help="scale every row to length 1")
    text = "fp32 (default); bf16 or fp16; auto: bf16 where this machine is quicker with it. The rows are float32 always"
    parser.add_argument("--precision", default="fp32", help=text)
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".npy", ".parquet"):
        raise HncseError(f"--out is {str(options.out)!r}; its name must end in .npy or .parquet")
    sentences = list(_sentences(options.file, options.column))
    if not sentences:
        raise HncseError(f"{'standard input' if options.file == '-' else options.file} holds no sentences")
    from hncse.evaluation import open_encoder

    encoder, _ = open_encoder(options.encoder, options.pooling)
    vectors = encoder.encode(sentences, options.batch_size, normalize=options.normalize, precision=options.precision)
    _write_vectors(options.out, sentences, vectors)
    sys.stdout.write(f"{options.out}: {vectors.shape[0]:,} × {vectors.shape[1]} float32\n")
    return 0


def _sentences(file: str, column: str | None) -> Iterator[str]:
    """The lines of standard input, or a file's column."""
    from hncse.data import readers
    from hncse.files import expand

    if file == "-" and column is not None:
        raise HncseError(f"--column is {column!r}; only a file has columns")
    rows = enumerate(sys.stdin.buffer, 1) if file == "-" else readers.read(expand(file), column)
    for number, value in rows:
        if isinstance(value, readers.Bad):
            raise HncseError(f"{file} line {number}: {value.reason}")
        try:
            text = value.decode() if isinstance(value, bytes) else value
            text.encode()
        except UnicodeError as error:
            raise HncseError(f"{file} line {number} is not UTF-8") from error
        yield text.rstrip("\r\n")


def _write_vectors(path: Path, sentences: list[str], vectors: Any) -> None:
    """Write (n, d) vectors, whole or not at all; a parquet file has the columns ``sentence`` and ``embedding``."""
    import numpy as np

    from hncse.files import whole_file

    with whole_file(path, "wb") as file:
        if path.suffix == ".npy":
            np.save(file, vectors)
            return
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet

        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        parquet.write_table(pa.table({"sentence": sentences, "embedding": rows}), file)
