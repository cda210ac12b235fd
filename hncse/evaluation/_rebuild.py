"""``python -m hncse.evaluation.tables``: every table and figure of a set of runs, from their folders alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hncse.errors import HncseError, command
from hncse.files import write_text
from hncse.runs import Run

__all__ = ["main", "rebuild"]


def rebuild(
    runs: Sequence[Run],
    out: Path,
    formats: Sequence[str] = ("md", "tex", "html"),
    baseline: str = "simcse",
    published: str = "landmarks",
    rows: bool = True,
) -> list[Path]:
    """Write all tables and figures that these runs have results for.

    Args:
        runs: Run folders or recorded runs, oldest first.
        out: Folder to write into.
        formats: Of `hncse.evaluation.table_formats.FORMATS`.
        baseline: Method the others are compared with.
        published: "landmarks", "all" or "none".
        rows: Write ``results.csv``, a row a run, as well: the runs themselves stay where they were made.

    Returns:
        The files, written: ``sts``, ``transfer``, ``probe`` and ``dev`` in each format, ``verdicts.md``,
        ``results.csv``, and the figures ``differences``, ``sts_table`` and ``transfer_table`` as PNG and SVG.

    Raises:
        HncseError: No run is finished, or none has a score.
    """
    from hncse.evaluation import results, sheets
    from hncse.evaluation.table_formats import FORMATS

    runs = [run for run in runs if run.finished]
    if not runs:
        raise HncseError("there is no finished run; `python -m hncse.sweep` makes some")
    written = []
    for sheet in sheets.sheets(runs, baseline, published):
        for ending in formats:
            written.append(out / f"{sheet.name}.{ending}")
            write_text(written[-1], FORMATS[ending](sheet))
    for name, text in (
        ("verdicts.md", sheets.verdict_texts(runs, baseline)),
        ("results.csv", results.to_csv(results.rows(runs)) if rows else ""),
    ):
        if text:
            written.append(out / name)
            write_text(written[-1], text)
    return written + _figures(runs, out, baseline)


def _figures(runs: Sequence[Run], out: Path, baseline: str) -> list[Path]:
    from hncse.evaluation import tables
    from hncse.visual import figures, luck

    written = []
    for name, table, draw in (
        ("sts_table", tables.sts_table(runs), figures.sts_figure),
        ("transfer_table", tables.transfer_table(runs), figures.transfer_figure),
    ):
        if (table["kind"] == "ours").any():
            written += figures.save(draw(tables.landmarks(table)), out / name)
    effects = luck.effects(runs, baseline)
    return written + (figures.save(luck.forest(effects), out / "differences") if effects else [])


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    from hncse.evaluation.results import gather
    from hncse.evaluation.table_formats import FORMATS

    parser = argparse.ArgumentParser(
        prog="python -m hncse.evaluation.tables",
        description="Write every table and figure of a set of runs: STS, transfer, probe, STS-B dev, verdicts.",
    )
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs (default: HNCSE_RUNS or runs/)")
    parser.add_argument("--csv", type=Path, nargs="+", help="results of hncse.evaluation.results, in place of folders")
    parser.add_argument("--out", type=Path, default=Path("figures/tables"), help="default figures/tables")
    parser.add_argument("--format", nargs="+", choices=list(FORMATS), default=list(FORMATS), help="default: all")
    parser.add_argument("--baseline", default="simcse", help="method to compare with (default simcse)")
    parser.add_argument("--published", choices=("landmarks", "all", "none"), default="landmarks", help="which rows")
    options = parser.parse_args(arguments)
    if options.csv:
        runs = [run for table in options.csv for run in gather(table=table)]
    else:
        runs = [run for folder in options.runs or [None] for run in gather(folder)]
    written = rebuild(runs, options.out, options.format, options.baseline, options.published, rows=not options.csv)
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0
