"""The real benchmark and corpus files: counts, and a known encoder at its known level."""

from __future__ import annotations

import numpy as np
import pytest

from hncse.data import corpora, senteval
from hncse.evaluation import sts
from tests.oracles import sts_oracle

pytestmark = pytest.mark.real

CASES = [(task, split) for task in senteval.STS_TASKS for split in senteval.splits(task)]
PAIRS = {
    ("STS12", "test"): 3108, ("STS13", "test"): 1500, ("STS14", "test"): 3750, ("STS15", "test"): 3000,
    ("STS16", "test"): 1186, ("STSB", "train"): 5749, ("STSB", "dev"): 1500, ("STSB", "test"): 1379,
    ("SICKR", "train"): 4500, ("SICKR", "dev"): 500, ("SICKR", "test"): 4927,
}  # fmt: skip
SUBSETS = {
    "STS12": [750, 750, 459, 750, 399], "STS13": [189, 750, 561], "STS14": [450, 300, 750, 750, 750, 750],
    "STS15": [375, 750, 375, 750, 750], "STS16": [254, 249, 230, 244, 209],
}  # fmt: skip


def test_all_files_are_there():
    assert senteval.sts_present()


@pytest.mark.parametrize(("task", "split"), CASES)
def test_counts_and_sentences_are_those_of_the_plain_reader(task, split):
    subsets = senteval.load_sts(task, split)
    assert sum(len(subset.gold) for subset in subsets) == PAIRS[task, split]
    if task in SUBSETS:
        assert [len(subset.gold) for subset in subsets] == SUBSETS[task]
    expected = sts_oracle.read(senteval.downstream(), task, split)
    for subset in subsets:
        assert list(zip(subset.first, subset.second, subset.gold.tolist(), strict=True)) == expected[subset.name]
        assert all(subset.first) and all(subset.second)
        assert np.ptp(subset.gold) >= 3
        assert subset.release == senteval.KNOWN


def test_minilm_scores_what_it_is_known_to_score():
    """all-MiniLM-L6-v2 has 82.03 on the STS-B test set on its public record."""
    from hncse import SentenceEncoder

    full = sts.evaluate_full(SentenceEncoder.from_pretrained("minilm"), ["STSB"], bootstrap=200)
    entry = full["tasks"]["STSB"]
    assert entry["all"] == pytest.approx(82.03, abs=0.05)
    assert entry["interval"][0] < entry["all"] < entry["interval"][1]
    assert full["pooling"] == "mean"


def test_a_sample_of_wikipedia_is_real_text():
    corpus = corpora.load("wikipedia", limit=20_000)
    assert len(set(corpus.sentences)) == 20_000
    assert corpus.skipped == {}
    lengths = [len(sentence.split()) for sentence in corpus.sentences]
    assert 15 < np.mean(lengths) < 30
    assert corpus.fingerprint == corpora.load("wikipedia", limit=20_000, seed=5).fingerprint
