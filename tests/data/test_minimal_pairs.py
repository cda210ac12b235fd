"""The generated corpus: the same everywhere, plain English, and nothing of the probe."""

from __future__ import annotations

import hashlib
import re

import pytest

from hncse.data import corpora, minimal_pairs, probe
from hncse.errors import HncseError

#: Of the 6,400 sentences of the default: another hash is another corpus, and recorded runs are of this one.
DEFAULT = "fbf7b69df8b865563adfad6bfac35c56ec769879d3871d8aa793be3836e9a024"


@pytest.fixture(scope="module")
def everything() -> list[str]:
    return [text for _, text in minimal_pairs.sentences()]


def test_the_same_sentences_on_every_machine(everything):
    corpus = corpora.load("minimal-pairs", limit=6_400)
    assert hashlib.sha256("\n".join(corpus.sentences).encode()).hexdigest() == DEFAULT
    assert everything[:6_400] == corpus.sentences
    assert corpora.load("minimal-pairs", limit=6_400, seed=1).sentences != corpus.sentences


def test_there_are_many_and_each_is_there_once(everything):
    assert len(everything) == len(set(everything)) == minimal_pairs.AVAILABLE >= 50_000
    assert len(corpora.load("minimal-pairs", limit=10**6)) == minimal_pairs.AVAILABLE
    with pytest.raises(HncseError, match="100,000 sentences, 100,001 were asked for"):
        minimal_pairs.families(100_001)


def test_no_sentence_of_the_probe_comes_out(everything):
    def plain(text: str) -> str:
        return " ".join(re.findall(r"[a-z0-9']+", text.lower()))

    theirs = {plain(sentence.text) for group in probe.load() for sentence in group.sentences}
    assert len(theirs) > 2_000
    assert theirs.isdisjoint(map(plain, everything))


def test_sentences_read_as_english(everything):
    for text in everything[::7]:
        assert re.fullmatch(r"[A-Z][A-Za-zé',; ]+\.", text) and "  " not in text, text
        assert 3 <= len(text.split()) <= 24, text
        assert not re.search(r"\b(a [aeiou]|an [^aeiou]|(\w+) \2)\b", text, re.IGNORECASE), text


def test_a_family_is_a_base_and_near_neighbours_of_it():
    families = minimal_pairs.families(6_400, seed=3)
    assert len(minimal_pairs.phenomena()) >= 12
    seen = {phenomenon for family in families for phenomenon, _ in family.variants}
    assert seen == set(minimal_pairs.phenomena())
    shared = []
    for family in families:
        base = set(family.base.lower().strip(".").split())
        for _, text in family.variants:
            words = set(text.lower().strip(".").split())
            shared.append(len(base & words) / len(base | words))
    assert sorted(shared)[len(shared) // 2] > 0.6


def test_role_swaps_keep_their_words_and_change_their_order():
    swap = next(f for f in minimal_pairs.families(2_000) if f.base.endswith("grandsons."))
    (text,) = [text for phenomenon, text in swap.variants if phenomenon == "binding"]
    assert sorted(text.split()) == sorted(swap.base.split()) and text != swap.base


def test_the_corpus_knows_its_families():
    corpus = corpora.load("minimal-pairs", limit=300)
    assert corpus.families is not None and len(corpus.families) == 300
    sizes = {corpus.families.count(number) for number in set(corpus.families[:-8])}
    assert min(sizes) >= 4
    assert corpora.from_sentences(["One.", "Two."]).families is None
