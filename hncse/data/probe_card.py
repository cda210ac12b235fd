"""The probe's card: what it holds, what word overlap alone would score on it, and whether it leaks from STS.

``python -m hncse.data.probe`` prints it; ``--show N`` adds N groups to be read aloud.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from hncse.data.probe import PHENOMENA, ROLES, TOPICS, Group, load
from hncse.errors import HncseError, command

__all__ = ["jaccard", "leaks", "lexical_baseline", "main", "sts_sentences", "word_list"]


def word_list(sentence: str) -> list[str]:
    """Lower-cased words of a sentence in order, without punctuation: the unit of length and overlap."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", sentence.lower())


def jaccard(a: str, b: str) -> float:
    """Word overlap of two sentences: shared words over all words, 0 to 1."""
    first, second = set(word_list(a)), set(word_list(b))
    return len(first & second) / max(1, len(first | second))


def lexical_baseline(groups: Sequence[Group]) -> dict[str, float]:
    """How well word overlap alone tells paraphrases from hard negatives.

    Args:
        groups: Groups of a probe.

    Returns:
        ``close``, ``far`` and ``both``: share of (paraphrase, hard negative) pairs in which the paraphrase has the
        higher `jaccard` with the anchor, 0 to 1. A tie counts half, so a coin scores 0.5.
    """
    scores: dict[str, list[float]] = {"close": [], "far": []}
    for group in groups:
        negatives = [jaccard(group.anchor, s.text) for s in group.negatives]
        for name, paraphrase in (("close", group.close), ("far", group.far)):
            overlap = jaccard(group.anchor, paraphrase.text)
            scores[name] += [float(overlap > n) + 0.5 * float(overlap == n) for n in negatives]
    scores["both"] = scores["close"] + scores["far"]
    return {name: sum(values) / len(values) for name, values in scores.items()}


def _words(sentence: str) -> set[str]:
    return set(word_list(sentence))


def _grams(sentence: str) -> set[str]:
    text = " ".join(re.findall(r"[^\W_]+", sentence.lower()))
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def leaks(groups: Sequence[Group], corpus: Iterable[str], threshold: float = 0.8) -> list[tuple[str, str, float]]:
    """Find probe sentences that stand, exactly or nearly, in other data.

    Two sentences are near when the Jaccard overlap of their words, or of their character 5-grams, reaches `threshold`.

    Args:
        groups: Groups of a probe.
        corpus: Sentences that the probe must not hold.
        threshold: 0 < threshold ≤ 1.

    Returns:
        (probe sentence, corpus sentence, the higher overlap), best first; an exact match has overlap 1.
    """
    if not 0 < threshold <= 1:
        raise HncseError(f"threshold is {threshold}, should be above 0 and at most 1")
    texts = [s.text for g in groups for s in g.sentences]
    found: dict[tuple[str, str], float] = {}
    pool = sorted(set(corpus))
    for features in (_words, _grams):
        for i, sentence, overlap in _similar([features(t) for t in texts], pool, features, threshold):
            found[texts[i], sentence] = max(overlap, found.get((texts[i], sentence), 0.0))
    return [(a, b, score) for (a, b), score in sorted(found.items(), key=lambda item: -item[1])]


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
    yield "\nword overlap alone ranks the paraphrase above the hard negative (ties half, a coin: 50 %):"
    yield f"close paraphrase {baseline['close']}, far paraphrase {baseline['far']}, both {baseline['both']}"


def _leakage(groups: Sequence[Group]) -> Iterator[str]:
    from hncse.data import home

    downstream = home() / "senteval" / "downstream"
    corpus = set(sts_sentences(downstream))
    if not corpus:
        yield f"\nleakage: not checked, no STS files under {downstream}"
        return
    found = leaks(groups, corpus)
    yield f"\nleakage: {len(found)} exact or near matches among {len(corpus)} STS and SICK sentences"
    yield from (f"  {score:.2f}  {ours!r} ~ {theirs!r}" for ours, theirs, score in found)


def _show(groups: Sequence[Group], n: int, seed: int) -> Iterator[str]:
    for group in random.Random(seed).sample(groups, min(n, len(groups))):
        yield f"\n{group.id}: {group.anchor}"
        yield from (f"  {s.grade:<3g} {s.phenomenon or s.role:20} {s.text}" for s in group.others)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code (1: the probe leaks)."""
    parser = argparse.ArgumentParser(prog="python -m hncse.data.probe", description="Print the probe's card.")
    parser.add_argument("file", nargs="?", help="a probe file; default: the embedded probe")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N random groups as well")
    parser.add_argument("--seed", type=int, default=0, help="which groups --show draws")
    options = parser.parse_args(arguments)
    if options.show < 0:
        raise HncseError(f"--show is {options.show}, should be 0 or more")
    groups = load(options.file)
    leakage = list(_leakage(groups))
    for line in (*card(groups), *leakage, *_show(groups, options.show, options.seed)):
        sys.stdout.write(line + "\n")
    return int(len(leakage) > 1)


if __name__ == "__main__":
    sys.exit(main())
