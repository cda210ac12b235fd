"""README's table of speed, from results.json: ``python -m benchmarks.readme README.md`` writes it in its place.

The place is what stands between ``<!-- speed -->`` and ``<!-- end speed -->``; without a file it is printed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import spread
from hncse.errors import HncseError, command
from hncse.files import write_text

__all__ = ["filled", "main", "table"]

RESULTS = Path(__file__).with_name("results.json")
_PLACE = re.compile(r"(<!-- speed -->\n).*?(<!-- end speed -->)", re.DOTALL)
_Row = tuple[str, str, str]


def table(results: dict[str, Any]) -> str:
    """Write what is there of the topics as a Markdown table: what, against, ratio of times."""
    rows = [row for topic in results for row in _rows(topic, results[topic])]
    dates = sorted(set(results.get("dates", {}).values()))
    head = ["| what | against | times as quick |", "|---|---|---|"]
    place = f"{results['machine']['processor']}, encoder {results['kit']['fingerprint']}"
    when = " to ".join(dict.fromkeys([*dates[:1], *dates[-1:]]))
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows), "", f"Measured on {place}, {when}."])


def _rows(topic: str, records: Any) -> Iterator[_Row]:
    name, _, threads = topic.partition(" (")
    threads = f", {threads.rstrip(')')}" if threads else ""
    for r in records if name in _READERS else []:
        if name in ("training", "encoding") and not {"what", "compared"} & r.keys():
            continue  # measured before its precision was recorded
        for what, against, ratio in _READERS[name](r):
            yield what + threads, against, spread(ratio)


def _loss_step(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if r["n"] == 64 and r["loss"] in ("hnm-as-released", "pm-intended, 2,000 candidates"):
        for form in r["against"]:
            yield f"loss, {r['loss']}, forward + backward, N = 64, d = 768", form["form"], form["ratio"]


def _training(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    what = r["what"].replace("auto", f"auto ({r['auto']})")
    speed = f"{r['per_second']:,.1f} sentences/s, {r['utilisation']:.0%} of a matrix product"
    yield f"training, {r['encoder']}, {what} ({speed})", r["against"], r["ratio"]


def _encoding(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if "compared" in r:  # with a larger architecture
        yield f"encoding {r['sentences']} sentences, kit", r["compared"], r["ratio"]
    else:
        what = r["what"].replace("auto", f"auto ({r['auto']})")
        text = f"encoding {r['sentences']} sentences, {r['encoder']}, {what} ({r['per_second']:,.0f} sentences/s)"
        yield text, r["against"], r["ratio"]


def _transfer(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if "fits" in r:
        yield f"SentEval's classifiers, CR-sized, {r['width']} wide", "one classifier at a time", r["ratio"]


def _transfer_encoding(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield f"encoding the transfer tasks, {r['sentences']:,} sentences", "task by task, in the files' order", r["ratio"]


def _mining(r: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    if r["measured"] == "time":
        what, _, against = r["what"].partition(", against ")
        turned = {"median": 1 / r["ratio"]["median"], "q1": 1 / r["ratio"]["q3"], "q3": 1 / r["ratio"]["q1"]}
        yield what, against, turned


_READERS = {
    "loss-step": _loss_step, "training": _training, "encoding": _encoding, "transfer": _transfer,
    "transfer-encoding": _transfer_encoding, "mining": _mining,
}  # fmt: skip


def filled(text: str, results: dict[str, Any]) -> str:
    """Put the table into its place in a Markdown text.

    Raises:
        HncseError: There is no such place, or more than one.
    """
    if len(_PLACE.findall(text)) != 1:
        raise HncseError("there is no one place <!-- speed --> … <!-- end speed --> for the table")
    return _PLACE.sub(lambda place: f"{place[1]}{table(results)}\n{place[2]}", text)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    names = sys.argv[1:] if arguments is None else arguments
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in names:
        write_text(name, filled(Path(name).read_text(encoding="utf-8"), results))
    if not names:
        sys.stdout.write(table(results) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
