"""The probe and the generated corpus hold no sentence of the STS and SICK files."""

from __future__ import annotations

import pytest

from hncse.data import home, minimal_pairs, probe
from tools import probe_card


@pytest.mark.real
def test_no_probe_sentence_stands_in_the_sts_files():
    corpus = set(probe_card.sts_sentences(home() / "senteval" / "downstream"))
    assert len(corpus) > 40_000
    known = sorted(corpus)[20_000]
    assert probe_card.leaks(probe.load()[:1], [known]) == []
    assert probe_card.leaks(probe.load(), corpus) == []


@pytest.mark.real
def test_no_generated_sentence_stands_in_the_sts_files():
    def plain(text: str) -> str:
        return " ".join(text.lower().replace(",", " ").rstrip(". ").split())

    theirs = set(map(plain, probe_card.sts_sentences(home() / "senteval" / "downstream")))
    assert theirs.isdisjoint(plain(text) for _, text in minimal_pairs.sentences())
