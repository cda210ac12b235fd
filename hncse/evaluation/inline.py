"""Tables inside a Markdown file, kept true to the results they come from.

    <!-- table sts figures/sweep.csv -->
    …replaced by the table…
    <!-- end table -->

``python -m hncse.evaluation.inline README.md`` writes every such table anew; with ``--check`` it only says whether they
match, and the exit code is 1 where they do not. A path is relative to the Markdown file; ``methods=simcse,pm+hnm``
behind it chooses rows.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hncse.errors import HncseError, command, unknown
from hncse.evaluation import sheets
from hncse.evaluation.table_formats import Sheet
from hncse.files import write_text
from hncse.presets import PRESETS
from hncse.runs import Run
from hncse.text import Markup, markdown, table

__all__ = ["SHEETS", "filled"]

#: Tables there are, by the name a file asks for.
SHEETS: dict[str, Callable[[Sequence[Run]], Sheet]] = {
    "sts": lambda runs: sheets.sts_sheet(runs, published="none"),
    "transfer": lambda runs: sheets.transfer_sheet(runs, published="none"),
    "probe": sheets.probe_sheet,
    "dev": sheets.dev_sheet,
    "tuned": sheets.tuned_sheet,
    "cases": sheets.cases_sheet,
}
_PLACE = re.compile(r"(<!-- table (\w+) (\S+)((?: \S+=\S+)*) -->\n).*?(<!-- end table -->)", re.DOTALL)
_FACTS = ("backbone", "corpus", "sentences")  # the same in all rows of such a table: the text around it says them
_SETTING = re.compile(r", (\w+)=([^,]+)")
_SIGNS = {"temperature": "τ", "alpha": "α", "ratio": "w2/w1"}


def filled(text: str, folder: Path) -> str:
    """Put every table that a text asks for into its place.

    Args:
        text: Of a Markdown file.
        folder: Where that file lies.

    Raises:
        HncseError: A table there is none of, results that are not there, or a place that has no end.
    """
    if text.count("<!-- table ") != len(_PLACE.findall(text)):
        raise HncseError("a place for a table is not <!-- table NAME FILE.csv --> … <!-- end table -->; see the others")

    def made(place: re.Match[str]) -> str:
        start, name, path, options, end = place.groups()
        return f"{start}{_table(name, folder / path, dict(word.split('=', 1) for word in options.split()))}{end}"

    return _PLACE.sub(made, text)


def _table(name: str, path: Path, options: dict[str, str]) -> str:
    from hncse.evaluation.results import read

    if name not in SHEETS:
        raise unknown("table", name, SHEETS)
    for option in options:
        if option != "methods":
            raise unknown("option of a table", option, ["methods"])
    sheet = SHEETS[name](read(path))
    kept = [i for i, column in enumerate(sheet.head) if column not in _FACTS]
    ours, rest = sheet.blocks[:1], sheet.blocks[1:]
    wanted = options["methods"].split(",") if "methods" in options else list(PRESETS)
    rows = [row for block in rest for row in block.rows]  # untrained encoders first
    trained = [row for block in ours for row in block.rows if _loss(row) in wanted]
    if not trained:
        raise HncseError(f"{path} has no row for the table {name!r} of {', '.join(wanted)}")
    first = min(filter(None, map(_setting, trained)), default="")
    rows += sorted(trained, key=lambda row: (_setting(row) or first, list(PRESETS).index(_loss(row)), row[0]))
    body = [[_named(row[0]), *(row[i].replace("-", "−") if i > 1 else row[i] for i in kept[1:])] for row in rows]
    head = [sheet.head[i] for i in kept]
    text = sum(sheet.head[i] in ("method", "pooling") for i in kept)
    return table(head, body, left=text).rstrip("\n") + "\n"


def _loss(row: Sequence[str]) -> str:
    return re.split(r"[, (]", row[0])[0]


def _setting(row: Sequence[str]) -> str:
    """What sets a row's training apart; "" where its method has one training only."""
    return "".join(found[0] for found in _SETTING.finditer(row[0].rpartition(")")[2]))


def _named(method: str) -> str:
    """`simcse, temperature=0.2` → `simcse` as code, and the setting with the glossary's sign."""
    loss = _loss([method])
    rest = _SETTING.sub(lambda m: f", {_SIGNS.get(m[1], m[1])} = {m[2]}", method[len(loss) :])
    return Markup(f"`{loss}`{markdown(rest)}") if loss in PRESETS else method


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hncse.evaluation.inline", description="Write the tables inside Markdown files anew."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Markdown files")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files' tables do not match")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    stale = 0
    for path in options.files:
        if not path.is_file():
            raise HncseError(f"there is no file {path}")
        before = path.read_text(encoding="utf-8")
        after = filled(before, path.parent)
        stale += after != before
        if after != before and not options.check:
            write_text(path, after)
        state = "as it must be" if after == before else "does not match its results" if options.check else "written"
        sys.stdout.write(f"{path}: {state}\n")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
