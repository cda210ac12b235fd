"""Tables inside a Markdown file, kept true to the results they come from.

    <!-- table sts hncse/data/results/sweep.csv -->
    …replaced by the table…
    <!-- end table -->

``python -m tools.readme_tables README.md`` writes every such table anew; with ``--check`` it only says whether they
match, and the exit code is 1 where they do not. A path is relative to the Markdown file, ``one.csv+two.csv`` two
files of one folder; ``methods=simcse,pm+hnm`` behind it chooses losses.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse.data.text import Markup, markdown, table
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import relatives, results, tables
from hncse.files import write_text
from hncse.presets import PRESETS

if TYPE_CHECKING:
    import pandas as pd

#: Tables there are, by the name a file asks for.
TABLES: dict[str, Callable[[pd.DataFrame], tables.Table]] = {
    "sts": lambda frame: tables.sts(frame, published="none"),
    "transfer": lambda frame: tables.transfer(frame, published="none"), "probe": tables.probe, "dev": tables.dev,
    "tuned": tables.tuned, "cases": tables.cases,
}  # fmt: skip
_PLACE = re.compile(r"(<!-- table (\w+) (\S+)((?: \S+=\S+)*) -->\n).*?(<!-- end table -->)", re.DOTALL)
_FACTS = ("backbone", "corpus", "sentences")  # the same in all rows of such a table: the text around it says them
_SIGNS = {"temperature=": "τ = ", "alpha=": "α = ", "ratio=": "w2/w1 = "}


def filled(text: str, folder: Path) -> str:
    """Put every table that a Markdown text of a folder asks for into its place.

    Raises:
        HncseError: A table there is none of, results that are not there, or a place that has no end.
    """
    if text.count("<!-- table ") != len(_PLACE.findall(text)):
        raise HncseError("a place for a table is not <!-- table NAME FILE.csv --> … <!-- end table -->; see the others")

    def fill(place: re.Match[str]) -> str:
        start, name, path, options, end = place.groups()
        return f"{start}{_table(name, folder / path, dict(word.split('=', 1) for word in options.split()))}\n{end}"

    return _PLACE.sub(fill, text)


def _table(name: str, path: Path, options: Mapping[str, str]) -> str:
    if name in _WHOLE:
        return _WHOLE[name](path)
    if name not in TABLES:
        raise unknown("table", name, [*TABLES, *_WHOLE])
    for option in options:
        if option != "methods":
            raise unknown("option of a table", option, ["methods"])
    made = TABLES[name](results.load(tables=[path.parent / part for part in path.name.split("+")]))
    wanted = options["methods"].split(",") if "methods" in options else list(PRESETS)
    trained = [row for row in made.rows if row.get("loss") in wanted]
    if not trained:
        raise HncseError(f"{path} has no row for the table {name!r} of {', '.join(wanted)}")
    # One training after the other, in each the presets in their order; a method of one training stands in the first.
    first = min((row["setting"] for row in trained if row["setting"]), default="")
    trained.sort(key=lambda row: (row["setting"] or first, list(PRESETS).index(row["loss"]), row["method"]))
    cells = {column: [row[column] for row in trained if row[column]] for column in made.head}
    given = [c for c, column in cells.items() if len(column) > 1 or len(column) == len(trained)]  # not: one cell
    head = [column for column in given if column not in _FACTS]
    untrained = [row for row in made.rows if not row.get("loss")]
    body = [[_name(row), *(_cell(row, column) for column in head[1:])] for row in [*untrained, *trained]]
    return table(head, body, left=sum(column in ("method", "pooling") for column in head))


def _references(path: Path) -> str:
    """Encoders of others beside the kit's, as `benchmarks.references` measured them."""
    import pandas as pd

    if not path.is_file():
        raise HncseError(f"there is no file {path}; python -m benchmarks.references writes it")
    head = ["encoder", "MB", "labels", "pooling", "seeds", *results.STS, "avg", "probe"]
    body = []
    for row in pd.read_csv(path).to_dict("records"):
        seeds = "" if pd.isna(row["seeds"]) else f"{row['seeds']:.0f}"
        spans = [f"{row[m]:.2f} [{row[f'{m}_low']:.2f}, {row[f'{m}_high']:.2f}]" for m in ("avg", "probe")]
        scores = [f"{row[task]:.2f}" for task in results.STS]
        size = f"{row['megabytes']:.1f}"
        body.append([row["encoder"], size, row["supervised"], row["pooling"], seeds, *scores, *spans])
    return table(head, body)


def _gradients(_path: Path) -> str:
    """HNM's relatives beside the SimCSE that each one's gradient is most like."""
    head = ["preset at τ = 0.1", "like SimCSE at τ", "cosine", "after one epoch", "cosine", "length"]
    body = [
        [Markup(f"`{preset}`"), *(f"{row[c]:.2f}" for c in ("alike", "cosine", "alike_after", "cosine_after")),
         f"{row['length']:.2g}"]
        for preset, row in relatives.nearest().iterrows()
    ]  # fmt: skip
    return table(head, body, left=1)


#: Tables of other files than results.
_WHOLE: dict[str, Callable[[Path], str]] = {"references": _references, "gradients": _gradients}


def _name(row: Mapping[str, Any]) -> str:
    """The loss as code, its options, and the setting with the glossary's sign."""
    if not row.get("loss"):
        return row["method"]
    setting = row["setting"].replace("=", " = ")
    for name, sign in _SIGNS.items():
        setting = setting.replace(f", {name.replace('=', ' = ')}", f", {sign}")
    options = f" ({row['options']})" if row["options"] else ""
    return Markup(f"`{row['loss']}`{markdown(options + setting)}")


def _cell(row: Mapping[str, Any], column: str) -> str:
    return row[column] if column == "pooling" else row[column].replace("-", "−")


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.readme_tables", description="Write the tables inside Markdown files anew."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Markdown files")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files' tables do not match")
    options = parser.parse_args(arguments)
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
