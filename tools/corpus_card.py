"""The numbers of MINIMAL_PAIRS.md: phenomena, lengths, and what the corpus shares with the probe.

``python -m tools.corpus_card`` prints them; ``--show N`` adds N families to be read aloud.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from statistics import mean, median

from hncse.data import minimal_pairs, probe
from hncse.data.probe import jaccard, word_list
from hncse.errors import command
from tools.probe_card import leaks


def card(count: int) -> str:
    """Count a corpus of ``count`` sentences and compare it with the probe."""
    families = minimal_pairs.families(count)
    texts = [text for _, text in minimal_pairs.sentences(count)]
    groups = probe.load()
    theirs = Counter(word for group in groups for s in group.sentences for word in word_list(s.text))
    mine = Counter(word for text in texts for word in word_list(text))
    shared = theirs.keys() & mine.keys()
    near = leaks(groups, texts)
    patterns, made = minimal_pairs.phenomena(), Counter(name for family in families for name, _ in family.variants)
    overlap = median(jaccard(family.base, text) for family in families for _, text in family.variants)
    lines = [
        f"{len(texts):,} sentences in {len(families):,} families, {mean(len(word_list(t)) for t in texts):.1f} words "
        f"each, {len(mine):,} different words; available: {minimal_pairs.AVAILABLE:,}",
        f"a variant shares {overlap:.2f} of its words with its base (median of the Jaccard overlap)",
        f"the probe's {len(theirs):,} different words: {len(shared) / len(theirs):.0%} are in the corpus; of its words "
        f"in running text: {sum(theirs[word] for word in shared) / theirs.total():.0%}",
        f"the corpus's words: {len(shared) / len(mine):.0%} are in the probe",
        f"sentences of the probe with an overlap of 0.8 in words or 5-grams: {len(near)}"
        + "".join(f"\n  {n}" for n in near),
        "phenomenon, patterns, variants, groups' hard negatives of that name in the probe:",
    ]
    probes = Counter(s.phenomenon for group in groups for s in group.negatives)
    lines += [f"  {name:<20} {patterns[name]:>4} {made[name]:>6} {probes[name]:>5}" for name in patterns]
    return "\n".join(lines)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.corpus_card", description="Numbers of MINIMAL_PAIRS.md.")
    parser.add_argument("--limit", type=int, default=6_400, help="sentences (default 6400)")
    parser.add_argument("--show", type=int, default=0, help="families to print")
    options = parser.parse_args(arguments)
    sys.stdout.write(card(options.limit) + "\n")
    for family in minimal_pairs.families(options.limit)[: options.show]:
        sys.stdout.write(f"\n{family.base}\n" + "".join(f"  {name:<20} {text}\n" for name, text in family.variants))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
