"""Run, check, sync or clean the notebooks.

python -m tools.notebooks run [NAME …]   # execute with papermill, check, print a table
python -m tools.notebooks check          # the contract every notebook keeps
python -m tools.notebooks sync           # make the cells of exercises from hncse.exercises
python -m tools.notebooks clean          # remove outputs, keep tags
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hncse.errors import command
from tools import contract, exercise_cells, runner
from tools.notebook_files import SETUP, Say, find, read, setup_source, store, strip


def clean(paths: Sequence[Path], say: Say) -> None:
    """Remove outputs, counters and programs' metadata; keep tags."""
    for path in paths:
        say(f"{path.stem:24} {'cleaned' if store(path, strip(read(path))) else 'was clean'}")


def sync(paths: Sequence[Path], say: Say) -> None:
    """Make the setup cell, cells to write predictions in, and those of the exercises from `hncse.exercises`."""
    for path in paths:
        notebook = exercise_cells.with_guesses(exercise_cells.sync(read(path), path.stem))
        if [cell.cell_type for cell in notebook.cells[1:2]] == ["code"] and SETUP in notebook.cells[1].source:
            notebook.cells[1].source = setup_source()  # the version is the package's
        changed = store(path, notebook)
        count = sum((cell.get("id") or "").endswith("-task") for cell in notebook.cells)
        say(f"{path.stem:24} {count} exercises, {'written' if changed else 'as they were'}")
        for problem in exercise_cells.drift(notebook, path.stem):
            say(f"    {problem}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks", description="Run, check, sync or clean the notebooks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | check | sync | clean")
    texts = {
        "run": "execute with papermill and their default parameters; print a table",
        "check": "check the contract: title, setup, parameters, questions, exercises, no outputs",
        "sync": "make the cells of exercises from hncse.exercises, where <!-- exercise 02.1 --> stands",
        "clean": "remove outputs and counters, keep tags",
    }
    for action, text in texts.items():
        sub = commands.add_parser(action, help=text, description=text)
        sub.add_argument("names", nargs="*", help="for example 03_train; default: every notebook")
        if action == "run":
            sub.add_argument("--out", type=Path, help="folder of the executed notebooks (default: notebooks/ of runs)")
            sub.add_argument("--timeout", type=int, default=600, help="longest a cell may take, seconds (default 600)")
            sub.add_argument("--strict", action="store_true", help="fail over two minutes a notebook, twelve in all")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0, 1 for notebooks that fail, 2 for a wrong request."""
    options = _parser().parse_args(arguments)
    paths = find(options.names)
    if options.command == "run":
        return 0 if runner.run(paths, _say, options.out, options.timeout, options.strict) else 1
    if options.command == "check":
        return 0 if contract.check(paths, _say) else 1
    (sync if options.command == "sync" else clean)(paths, _say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a table that grows while notebooks run


if __name__ == "__main__":
    sys.exit(main())
