"""How good is a guard? The probe, hidden among corpus sentences, and what each guard lets through of it.

Every probe anchor looks for its k nearest in a corpus that also holds the probe's other sentences. Of a neighbour from
the anchor's own group we know what it is: a paraphrase (a false negative, were it used), a true hard negative, a
sentence of the same topic. Everything else is nobody's paraphrase. So for every guard, and every setting of it:

    safe     share of what it keeps that is no paraphrase
    yield    share of the true hard negatives among the k nearest that it keeps

``hncse audit RUN_OR_ENCODER --corpus wikipedia`` prints the table, writes audit.json into a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data import probe
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import add_encoder, open_encoder

if TYPE_CHECKING:
    from hncse.mining import MinedCorpus

__all__ = ["GRID", "KINDS", "audit", "table"]

#: What a neighbour can be. "other": a sentence of the corpus, or of another group.
KINDS = ("other", "paraphrase", "hard_negative", "same_topic", "unrelated")
#: Settings tried of each guard, from lax to strict.
GRID: dict[str, tuple[Any, ...]] = {
    "max_similarity": tuple(round(1 - 0.025 * i, 3) for i in range(1, 25)),
    "word_overlap": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    "character_overlap": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    "skip": (1, 2, 3, 4, 5, 6, 8),
    "min_similarity": tuple(round(0.5 + 0.025 * i, 3) for i in range(20)),
    "calibrated": (0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02),
}
SAFE, YIELD = 0.95, 0.5  # what a good guard reaches (issue: at least 95 % no paraphrase, half of the hard negatives)


def audit(
    encoder: Any, corpus: Sequence[str], groups: Sequence[probe.Group] | None = None, *, k: int = 10,
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure guards on an encoder.

    Args:
        encoder: Anything `hncse.mining.mine` takes.
        corpus: Sentences among which the probe is hidden; those equal to one of the probe's count as the probe's.
        groups: Of a probe, four at least; None takes the embedded one. ``calibrated`` reads its threshold off the close
            paraphrases of half of them; all guards are measured on the other half.
        k: Neighbours of every anchor.
        grid: Guard → settings; None: `GRID`.

    Returns:
        JSON-able: ``found`` (of each kind, how many stand among the k nearest without guards; and how many there are),
        ``guards`` (guard → rows: ``setting``, ``kept``, ``safe``, ``yield``, each kind's count), ``best`` (of the
        settings that are safe enough the one with the highest yield, or None), ``k``, ``anchors``, ``corpus``,
        ``pooling``.
    """
    from hncse.mining import GUARDS, Guards, calibrate, mine

    groups = list(probe.load() if groups is None else groups)
    if len(groups) < 4:
        raise HncseError(f"there are {len(groups)} groups; at least 4 are needed, half of them to calibrate on")
    grid = GRID if grid is None else grid
    for name in grid:
        if name not in GUARDS[1:]:
            raise unknown("guard", name, GUARDS[1:])
    aside, judged = groups[::2], groups[1::2]
    hidden = [s.text for group in groups for s in group.sentences]
    mined = mine(encoder, [g.anchor for g in judged], corpus=[*hidden, *corpus], k=k, guards=Guards(same_text=False))
    kind = _kinds(mined, judged)  # (n, k)
    rows: dict[str, list[dict[str, Any]]] = {"none": [_row(None, kind >= 0, kind)]}
    for name, settings in grid.items():
        rows[name] = []
        for setting in settings:
            if name == "calibrated":
                threshold = calibrate(encoder, setting, on="close", groups=aside).threshold
                kept = mined.under(Guards(same_text=False), threshold)
            else:
                kept = mined.under(Guards(**{"same_text": False, name: setting}))
            rows[name].append(_row(setting, kept, kind))
    total = dict.fromkeys(KINDS[1:], 0)
    for group in judged:
        for s in group.others:
            total[_kind(s.role)] += 1
    good = [{"guard": name} | row for name, each in rows.items() for row in each if row["safe"] >= SAFE]
    return {
        "found": {"nearest": rows["none"][0], "in_probe": total}, "guards": rows,
        "best": max(good, key=lambda row: row["yield"], default=None),
        "k": k, "anchors": len(judged), "corpus": mined.pool.total,
        "calibrated_on": "close", "pooling": getattr(encoder, "pooling", None),
    }  # fmt: skip


def _kind(role: str) -> str:
    return "paraphrase" if role.startswith("paraphrase") else role


def _kinds(mined: MinedCorpus, groups: Sequence[probe.Group]) -> NDArray[np.int8]:
    """What every neighbour is to its anchor: places in `KINDS` (n, k), -1 where there is no neighbour."""
    out = np.zeros(mined.neighbours.shape, dtype=np.int8)
    for row, group in enumerate(groups):
        known = {s.text: KINDS.index(_kind(s.role)) for s in group.others}
        there = np.flatnonzero(mined.neighbours[row] >= 0)
        out[row, mined.neighbours[row] < 0] = -1
        out[row, there] = [known.get(text, 0) for text in mined.texts(mined.neighbours[row, there])]
    return out


def _row(setting: Any, kept: NDArray[np.bool_], kind: NDArray[np.int8]) -> dict[str, Any]:
    counts = {name: int((kind[kept] == place).sum()) for place, name in enumerate(KINDS)}
    hard = int((kind == KINDS.index("hard_negative")).sum())
    total = sum(counts.values())
    safe = 1 - counts["paraphrase"] / total if total else 1.0
    return {"setting": setting, "kept": total, "safe": safe, "yield": counts["hard_negative"] / max(hard, 1)} | counts


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Yield the lines of a readable table of what `audit` returned."""
    found = result["found"]
    yield (
        f"audit: {name}, pooling {result['pooling'] or 'its own'}, {result['anchors']} probe anchors, the nearest "
        f"{result['k']} of {result['corpus']:,} sentences"
    )
    there = ", ".join(f"{found['nearest'][kind]} of {n} {kind}" for kind, n in found["in_probe"].items())
    yield f"among them, without guards: {there}; {found['nearest']['other']} others"
    yield "safe: share of what is kept that is no paraphrase; yield: share of those hard negatives that is kept, %"
    heads = ("kept", "safe", "yield", "paraphrase", "hard negative", "other")
    yield f"{'guard':18}{'setting':>9}" + "".join(f"{head:>{max(8, len(head) + 2)}}" for head in heads)
    for guard, rows in result["guards"].items():
        for row in _telling(rows):
            setting = "" if row["setting"] is None else f"{row['setting']:g}"
            yield (
                f"{guard:18}{setting:>9}{row['kept']:8,}{100 * row['safe']:8.1f}{100 * row['yield']:8.1f}"
                f"{row['paraphrase']:12,}{row['hard_negative']:15,}{row['other']:8,}"
            )
    best = result["best"]
    if best is None:
        yield f"no setting keeps {100 * SAFE:.0f} % free of paraphrases"
    else:
        enough = "reaches" if best["yield"] >= YIELD else "does not reach"
        setting = "" if best["setting"] is None else f"={best['setting']:g}"
        yield (
            f"best of those at least {100 * SAFE:.0f} % safe: {best['guard']}{setting}, yield "
            f"{100 * best['yield']:.1f} %: {enough} {100 * YIELD:.0f} %"
        )


def _telling(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most five rows of a guard, spread over its settings, the best safe one among them."""
    if len(rows) <= 5:
        return rows
    places = set(np.linspace(0, len(rows) - 1, 4).round().astype(int).tolist())
    safe = [i for i, row in enumerate(rows) if row["safe"] >= SAFE]
    if safe:
        places.add(max(safe, key=lambda i: rows[i]["yield"]))
    return [rows[i] for i in sorted(places)]


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="hncse audit", description="Measure guards against false negatives on the probe."
    )
    add_encoder(parser)
    parser.add_argument("--corpus", default="docstrings", help="source of sentences to hide it in (default docstrings)")
    parser.add_argument("--limit", type=int, default=100_000, help="sentences taken from it (default 100000)")
    parser.add_argument("--k", type=int, default=10, help="neighbours of every anchor (default 10)")
    parser.add_argument("--json", help="write the result there as well")
    options = parser.parse_args(arguments)
    from hncse.data import corpora

    encoder, run = open_encoder(options.encoder, options.pooling)
    corpus = corpora.load(options.corpus, limit=options.limit)
    result = audit(encoder, corpus.sentences, k=options.k) | {"source": corpus.source}
    if options.json:
        from hncse.files import write_json

        write_json(Path(options.json), result)
    if run is not None and options.pooling is None:
        run.write("audit", result)
    sys.stdout.writelines(line + "\n" for line in table(result, run.name if run else options.encoder))
    return 0
