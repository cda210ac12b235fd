"""The probe's card: what it holds, whether its grades are shared, what words alone would score, whether it leaks.

``python -m tools.probe_card`` prints it; ``--show N`` adds N groups to be read aloud.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean

from hncse.data import probe
from hncse.data.probe import PHENOMENA, ROLES, TOPICS, Group, jaccard, load, word_list
from hncse.errors import HncseError, command

SECOND = Path(probe.__file__).with_name("probe_second.jsonl")


def lexical_baseline(groups: Sequence[Group]) -> dict[str, float]:
    """How well word overlap alone tells paraphrases from hard negatives: ``close``, ``far``, ``both``, 0 to 1.

    Share of (paraphrase, hard negative) pairs in which the paraphrase has the higher `jaccard` with the anchor; a tie
    counts half, so a coin scores 0.5.
    """
    scores: dict[str, list[float]] = {"close": [], "far": []}
    for group in groups:
        negatives = [jaccard(group.anchor, s.text) for s in group.negatives]
        for name, paraphrase in (("close", group.close), ("far", group.far)):
            overlap = jaccard(group.anchor, paraphrase.text)
            scores[name] += [float(overlap > n) + 0.5 * float(overlap == n) for n in negatives]
    scores["both"] = scores["close"] + scores["far"]
    return {name: sum(values) / len(values) for name, values in scores.items()}


def length_baseline(groups: Sequence[Group]) -> dict[str, float]:
    """How often a ``close`` or ``far`` paraphrase is longer than a hard negative, 0 to 1; a tie counts half."""
    scores: dict[str, list[float]] = {"close": [], "far": []}
    for group in groups:
        for name, paraphrase in (("close", group.close), ("far", group.far)):
            gaps = [len(word_list(paraphrase.text)) - len(word_list(s.text)) for s in group.negatives]
            scores[name] += [float(gap > 0) + 0.5 * float(gap == 0) for gap in gaps]
    return {name: sum(values) / len(values) for name, values in scores.items()}


def second_pass(groups: Sequence[Group], path: Path | None = None) -> dict[str, list[float]]:
    """Read the grades of the second, blind pass: anchor and sentences in shuffled order, no role or grade shown.

    The JSONL file has ``id`` and ``grades``, a line a group. Returns group → grades of its sentences after the anchor.
    """
    sizes = {group.id: len(group.others) for group in groups}
    grades: dict[str, list[float]] = {}
    path = path or SECOND
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        record = json.loads(line)
        if sizes.get(record["id"]) != len(record["grades"]):
            raise HncseError(
                f"{path.name} line {number}: {len(record['grades'])} grades for {record['id']}, which has "
                f"{sizes.get(record['id'], 'no place')} sentences in the probe"
            )
        grades[record["id"]] = [float(grade) for grade in record["grades"]]
    return grades


def agreement(groups: Sequence[Group], second: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Compare the probe's grades with those of a `second_pass`.

    Returns:
        ``"all"`` and each of `ROLES` → ``n`` sentences, ``difference`` (mean absolute), ``half`` (share at most half a
        step apart), ``spearman`` (NaN where one side has a single grade).
    """
    from scipy.stats import spearmanr

    pairs = [
        (s.role, s.grade, other)
        for group in groups
        if group.id in second
        for s, other in zip(group.others, second[group.id], strict=True)
    ]
    summary = {}
    for role in ("all", *ROLES):
        first, other = zip(*[(a, b) for r, a, b in pairs if role in ("all", r)], strict=True)
        gaps = [abs(a - b) for a, b in zip(first, other, strict=True)]
        varied = len(set(first)) > 1 and len(set(other)) > 1
        summary[role] = {
            "n": len(gaps),
            "difference": mean(gaps),
            "half": mean(float(gap <= 0.5) for gap in gaps),
            "spearman": float(spearmanr(first, other).statistic) if varied else float("nan"),
        }
    return summary


def _words(sentence: str) -> set[str]:
    return set(word_list(sentence))


def _grams(sentence: str) -> set[str]:
    text = " ".join(re.findall(r"[^\W_]+", sentence.lower()))
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def leaks(groups: Sequence[Group], corpus: Iterable[str], threshold: float = 0.8) -> list[tuple[str, str, float]]:
    """Find probe sentences that stand, exactly or nearly, in other data.

    Two sentences are near when the Jaccard overlap of their words, or of their character 5-grams, reaches `threshold`.

    Returns:
        (probe sentence, corpus sentence, the higher overlap), best first; an exact match has overlap 1.
    """
    if not 0 < threshold <= 1:
        raise HncseError(f"threshold is {threshold}, should be above 0 and at most 1")
    texts = [s.text for g in groups for s in g.sentences]
    overlaps: dict[tuple[str, str], float] = {}
    pool = sorted(set(corpus))
    for features in (_words, _grams):
        for i, sentence, overlap in _similar([features(t) for t in texts], pool, features, threshold):
            overlaps[texts[i], sentence] = max(overlap, overlaps.get((texts[i], sentence), 0.0))
    return [(a, b, score) for (a, b), score in sorted(overlaps.items(), key=lambda item: -item[1])]


def _similar(
    sets: Sequence[set[str]], pool: Iterable[str], features: Callable[[str], set[str]], threshold: float
) -> Iterator[tuple[int, str, float]]:
    # An inverted index over each set's rarest features only: a set A can reach Jaccard t with B only if they share
    # at least t·|A| features, hence at least one of A's |A| - ceil(t·|A|) + 1 rarest (prefix filtering).
    frequency = Counter(f for s in sets for f in s)
    index: dict[str, list[int]] = {}
    for i, members in enumerate(sets):
        rarest = sorted(members, key=lambda f: (frequency[f], f))
        needed = max(1, -int(-(threshold * len(members) - 1e-9) // 1))
        for feature in rarest[: len(members) - needed + 1]:
            index.setdefault(feature, []).append(i)
    for sentence in pool:
        other = features(sentence)
        for i in {i for feature in other for i in index.get(feature, ())}:
            overlap = len(sets[i] & other) / len(sets[i] | other)
            if overlap >= threshold:
                yield i, sentence, overlap


def sts_sentences(downstream: Path) -> Iterator[str]:
    """Every sentence of STS12-16, STS-B and SICK below ``senteval/downstream``, all splits, labelled or not."""
    for path in sorted(p for folder in ("STS", "SICK") for p in (downstream / folder).rglob("*") if p.is_file()):
        if path.suffix in {".txt", ".csv"} and "readme" not in path.name.lower():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                yield from (field for field in line.split("\t") if field.count(" ") >= 2)


def card(groups: Sequence[Group]) -> Iterator[str]:
    """Lines of the card: counts, grades, lengths and overlap by role, the lexical baseline."""
    sentences = [s for g in groups for s in g.sentences]
    yield f"{len(groups)} groups, {len(sentences)} sentences, {sum(len(g.negatives) for g in groups)} hard negatives"
    yield f"\n{'role':18}{'count':>6}{'grade':>8}{'words':>8}{'overlap with the anchor (Jaccard)':>36}"
    for role in ("anchor", *ROLES):
        rows = [(g.anchor, s) for g in groups for s in g.sentences if s.role == role]
        length = mean(len(word_list(s.text)) for _, s in rows)
        overlap = mean(jaccard(anchor, s.text) for anchor, s in rows)
        yield f"{role:18}{len(rows):6d}{mean(s.grade for _, s in rows):8.2f}{length:8.1f}{overlap:36.2f}"
    counts = Counter((s.phenomenon, g.topic) for g in groups for s in g.negatives)
    yield f"\n{'hard negatives':22}" + "".join(f"{topic:>9}" for topic in TOPICS) + f"{'all':>6}"
    for phenomenon in PHENOMENA:
        row = [counts[phenomenon, topic] for topic in TOPICS]
        yield f"{phenomenon:22}" + "".join(f"{n:9d}" for n in row) + f"{sum(row):6d}"
    topics = Counter(g.topic for g in groups)
    yield f"{'groups':22}" + "".join(f"{topics[topic]:9d}" for topic in TOPICS) + f"{len(groups):6d}"
    baseline = {name: f"{100 * share:.1f} %" for name, share in lexical_baseline(groups).items()}
    longer = {name: f"{100 * share:.1f} %" for name, share in length_baseline(groups).items()}
    yield "\nword overlap alone ranks the paraphrase above the hard negative (ties half, a coin: 50 %):"
    yield f"close paraphrase {baseline['close']}, far paraphrase {baseline['far']}, both {baseline['both']}"
    yield f"a paraphrase is the longer one (ties half): close {longer['close']}, far {longer['far']} of pairs"


def _agreement(groups: Sequence[Group]) -> Iterator[str]:
    known = second_pass(groups)
    yield f"\nsecond, blind pass over {len(known)} groups"
    yield f"{'role':18}{'sentences':>10}{'mean gap':>10}{'within 0.5':>12}{'Spearman':>10}"
    for role, entry in agreement(groups, known).items():
        rho = "" if entry["spearman"] != entry["spearman"] else f"{entry['spearman']:.3f}"
        yield f"{role:18}{entry['n']:10.0f}{entry['difference']:10.2f}{100 * entry['half']:11.1f}%{rho:>10}"


def _leakage(groups: Sequence[Group]) -> Iterator[str]:
    from hncse.data import home

    downstream = home() / "senteval" / "downstream"
    corpus = set(sts_sentences(downstream))
    if not corpus:
        yield f"\nleakage: not checked, no STS files under {downstream}"
        return
    matches = leaks(groups, corpus)
    yield f"\nleakage: {len(matches)} exact or near matches among {len(corpus)} STS and SICK sentences"
    yield from (f"  {score:.2f}  {ours!r} ~ {theirs!r}" for ours, theirs, score in matches)


def _show(groups: Sequence[Group], n: int, seed: int) -> Iterator[str]:
    for group in random.Random(seed).sample(groups, min(n, len(groups))):
        yield f"\n{group.id}: {group.anchor}"
        yield from (f"  {s.grade:<3g} {s.phenomenon or s.role:20} {s.text}" for s in group.others)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code (1: the probe leaks)."""
    parser = argparse.ArgumentParser(prog="python -m tools.probe_card", description="Print the probe's card.")
    parser.add_argument("file", nargs="?", help="a probe file; default: the embedded probe")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N random groups as well")
    parser.add_argument("--seed", type=int, default=0, help="which groups --show draws")
    options = parser.parse_args(arguments)
    if options.show < 0:
        raise HncseError(f"--show is {options.show}, should be 0 or more")
    groups = load(options.file)
    leakage = list(_leakage(groups))
    shared = [] if options.file else list(_agreement(groups))
    for line in (*card(groups), *shared, *leakage, *_show(groups, options.show, options.seed)):
        sys.stdout.write(line + "\n")
    return int(len(leakage) > 1)


if __name__ == "__main__":
    sys.exit(main())
