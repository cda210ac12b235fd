"""The corpus miner against a slow oracle and sentence-transformers, on toy geometry, at its edges, and as a command."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import math
import re
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hncse import HncseError, mining
from hncse.data import corpora
from hncse.mining import GUARDS, Guards, MinedCorpus, calibrate, load, mine
from tests import tiny
from tests.oracles import mining_oracle as oracle

TEXTS = [f"text {i} {'abc'[i % 3]}" for i in range(60)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Fake:
    """A vector for every text, random around a centre for its last letter, so that there are near and far ones."""

    name = "fake"

    def __init__(self, seed: int = 0, d: int = 6) -> None:
        self.seed, self.d, self.asked = seed, d, []

    def vector(self, text: str) -> np.ndarray:
        draw = np.random.default_rng([self.seed, *text.encode()])
        centre = np.random.default_rng([self.seed, ord(text[-1])]).standard_normal(self.d)
        return (centre + 0.8 * draw.standard_normal(self.d)).astype(np.float32)

    def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
        self.asked.append(len(sentences))
        return np.array([self.vector(s) for s in sentences])


class Circle:
    """Texts are angles in degrees; what follows a blank does not count, so that texts can share a vector."""

    def encode(self, sentences: list[str]) -> np.ndarray:
        angle = np.radians([float(s.split()[0]) for s in sentences])
        return 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


class Same:
    """Every text has nearly the same vector, so that all are neighbours of all."""

    def encode(self, sentences: list[str]) -> np.ndarray:
        return np.ones((len(sentences), 2)) + np.arange(len(sentences))[:, None] * [0, 0.001]


def names(row: np.ndarray) -> list[str]:
    return [GUARDS[code - 1] if code > 0 else "kept" for code in row.tolist()]


def rows(mined) -> list[list[int]]:
    return [[j for j in row if j >= 0] for row in mined.index.tolist()]


# Against the oracle

unit = st.floats(0.0, 1.0)
guards_drawn = st.builds(
    Guards,
    same_text=st.booleans(),
    word_overlap=st.none() | st.floats(0.2, 1.0),
    character_overlap=st.none() | st.floats(0.2, 1.0),
    margin=st.none() | st.floats(-0.5, 1.0),
    relative_margin=st.none() | unit,
    max_similarity=st.none() | unit,
    min_similarity=st.none() | st.floats(-1.0, 0.0),
    skip=st.integers(0, 3),
)


# The same examples every time: among others' random ones, some would be tied within float32.
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    guards=guards_drawn,
    k=st.integers(4, 20),
    block=st.sampled_from([1, 7, 1000]),
    backend=st.sampled_from(["faiss", "torch"]),
    how=st.sampled_from(["itself", "corpus", "positives", "both", "streamed"]),
)
def test_mine_is_the_oracle(seed: int, guards: Guards, k: int, block: int, backend: str, how: str) -> None:
    draw = np.random.default_rng(seed)
    pick = lambda n: [TEXTS[i] for i in draw.integers(len(TEXTS), size=n)]  # noqa: E731  copies among them
    anchors = pick(12)
    positives = pick(12) if how in ("positives", "both", "streamed") else None
    corpus = [*pick(50), "  ", TEXTS[0].upper() + "!"] if how in ("corpus", "both", "streamed") else None
    searched = corpus or positives or anchors
    k = min(k, len(set(searched) - {" "}) - 1)
    if k < guards.skip + 2:
        return
    encoder = Fake(seed)
    given_corpus = iter(corpus) if how == "streamed" else corpus
    mined = mine(
        encoder, anchors, positives, given_corpus, k=None if k > 15 else k, guards=guards, negatives=2, block=block,
        backend=backend,
    )  # fmt: skip
    z = {text: encoder.vector(text) for text in {*anchors, *searched, *(positives or [])}}
    for anchor in anchors:
        assume(np.diff(sorted(oracle.cosine(z[anchor], z[text]) for text in {*searched})).min() > 1e-6)
    expected = oracle.mine(z, anchors, searched, positives, 50 if k > 15 else k, guards, 2)
    assert rows(mined) == [negatives for _, negatives in expected]
    for i, (near, _) in enumerate(expected):
        assert [j for j in mined.neighbours[i].tolist() if j >= 0] == [j for j, _ in near]
        codes = mined.removed_by[i].tolist()
        assert [GUARDS[c - 1] if c > 0 else None for c in codes if c >= 0] == [name for _, name in near]


class Peer(Fake):
    """What sentence-transformers' miner asks of a model."""

    device = torch.device("cpu")

    def encode_query(self, sentences: list[str], **_: object) -> np.ndarray:
        z = self.encode(sentences)
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    encode_document = encode_query

    def similarity(self, a, b) -> torch.Tensor:
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b) -> torch.Tensor:
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(1)

    def get_embedding_dimension(self) -> int:
        return self.d


def peers_triplets(pairs, model, **options):
    from sentence_transformers.util import mine_hard_negatives

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return mine_hard_negatives(pairs, model, verbose=False, **options)


ALL = {"margin": 0.05, "relative_margin": 0.1, "max_similarity": 0.8, "min_similarity": -0.1, "skip": 2}
THEIRS = {
    "margin": "absolute_margin",
    "max_similarity": "max_score",
    "min_similarity": "min_score",
    "skip": "range_min",
}


@pytest.mark.parametrize("window", [160, 20])  # everything, and one that often runs short
@pytest.mark.parametrize(
    "ours",
    [{}, {"skip": 3}, {"max_similarity": 0.6}, {"min_similarity": 0.2}, {"margin": 0.0}, {"relative_margin": 0.1}, ALL],
    ids=lambda value: "+".join(value) or "none",
)
def test_equal_to_sentence_transformers(ours: dict, window: int) -> None:
    from datasets import Dataset

    anchors, positives = [f"anchor {i}" for i in range(60)], [f"positive {i}" for i in range(60)]
    anchors[7] = anchors[9] = anchors[3]  # an anchor with three positives
    corpus = [f"corpus {i}" for i in range(100)]
    pairs = Dataset.from_dict({"anchor": anchors, "positive": positives})
    model = Peer(len(ours) + window)
    theirs = {THEIRS.get(name, name): value for name, value in ours.items()}
    expected = peers_triplets(
        pairs, model, corpus=corpus, range_max=window, num_negatives=3, output_scores=True, **theirs
    )
    got = mine(
        model, anchors, positives, corpus + positives, k=min(window + 3, 160), negatives=3, block=37,
        guards=Guards(same_text=False, **ours),
    ).triplets()  # fmt: skip
    key = lambda t: [*zip(t["anchor"], t["positive"], t["negative"], strict=True)]  # noqa: E731
    scores = dict(zip(key(expected), expected["scores"], strict=True))
    assert sorted(key(got)) == sorted(key(expected)) and len(got) > 0
    pairs_of_scores = zip(got["positive_similarity"], got["negative_similarity"], strict=True)
    np.testing.assert_allclose(list(pairs_of_scores), [scores[triple] for triple in key(got)], atol=1e-5)


def test_equal_to_sentence_transformers_with_a_real_model(tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    encoder, texts = tiny.encoder("mean"), tiny.sentences(80)
    pairs = Dataset.from_dict({"anchor": texts[:30], "positive": texts[30:60]})
    model = SentenceTransformer(str(encoder.save(tmp_path / "tiny")), device="cpu")
    expected = peers_triplets(pairs, model, corpus=texts[60:], range_max=20, num_negatives=2, relative_margin=0.02)
    guards = Guards(same_text=False, relative_margin=0.02)
    mined = mine(encoder, texts[:30], texts[30:60], texts[60:] + texts[30:60], k=21, negatives=2, guards=guards)
    got = mined.triplets(similarities=False)
    assert got.column_names == ["anchor", "positive", "negative"]
    assert sorted(map(tuple, (row.values() for row in got))) == sorted(map(tuple, (row.values() for row in expected)))


# Known by eye


def test_nearest_on_a_circle() -> None:
    mined = mine(Circle(), ["0", "10", "25", "90", "180"], negatives=2)
    assert rows(mined) == [[1, 2], [0, 2], [1, 0], [2, 1], [3, 2]]
    assert mined.similarity[0, 0] == pytest.approx(math.cos(math.radians(10)))
    assert mined.neighbours.shape == (5, 4)  # k falls to what there is
    assert mined.positive_similarity.tolist() == [1] * 5


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_ties_go_to_the_first_in_the_corpus_however_the_work_is_cut(backend: str) -> None:
    corpus = [f"{angle} {name}" for name in "abc" for angle in (5, -5, 40)]
    whole = mine(Circle(), ["0 anchor"], corpus=corpus, negatives=9)
    assert rows(whole) == [[0, 1, 3, 4, 6, 7, 2, 5, 8]]
    many = [f"{40 if i % 7 else 200} {i}" for i in range(700)] + ["39"]  # hundreds that are tied
    first = [i for i in range(20) if i % 7]
    for block in (1, 5, 30, 150, 1000):
        cut = mine(Circle(), ["0 anchor"], corpus=corpus, negatives=9, block=block, backend=backend)
        np.testing.assert_array_equal(cut.index, whole.index)
        np.testing.assert_array_equal(cut.similarity, whole.similarity)  # a pair has one similarity
        if block > 5:
            mined = mine(Circle(), ["0", "41", "40 3"], corpus=many, k=5, negatives=5, block=block, backend=backend)
            assert rows(mined) == [[700, *first[:4]], first[:5], [i for i in first if i != 3][:5]]


def test_copies_blanks_and_the_anchors_own_text_are_no_neighbours() -> None:
    corpus = ["0", "10", "10", " ", "20", "", "10", "0"]  # Circle cannot read a blank text: nobody asks it to
    mined = mine(Circle(), ["0"], corpus=corpus, negatives=2)
    assert rows(mined) == [[1, 4]]
    assert (mined.report.counts["copies"], mined.report.counts["blank"]) == (3, 2)
    assert rows(mine(Circle(), ["0", "20"], corpus=corpus, negatives=2))[1] == [1, 0]


def test_a_positive_is_seen_and_never_used_whoever_else_uses_it() -> None:
    pairs = ["0", "0", "50"], ["2", "6", "51"], ["2", "4", "6", "51"]
    mined = mine(Circle(), *pairs, negatives=2)
    assert rows(mined) == [[1, 3], [1, 3], [2, 1]]
    assert names(mined.removed_by[0]) == ["positive", "kept", "positive", "kept"]
    assert mined.positive_similarity[1] == pytest.approx(math.cos(math.radians(6)))
    assert mined.triplets()["positive"][:4] == ["2", "2", "6", "6"]  # the rows as they were given
    margin = mine(Circle(), *pairs, guards=Guards(margin=0.0))
    assert rows(margin)[0] == rows(margin)[1] == [3]  # 4° is nearer than the farther of both positives


def test_margins_read_against_the_positive_or_one() -> None:
    corpus = ["10", "30", "60"]
    assert rows(mine(Circle(), ["0"], corpus=corpus, guards=Guards(relative_margin=0.1))) == [[1]]  # cos 30° < 0.9
    assert rows(mine(Circle(), ["0"], corpus=corpus, guards=Guards(margin=0.2))) == [[2]]
    below = mine(Circle(), ["0"], ["100"], ["95", "100.5", "150"], guards=Guards(relative_margin=0.1))
    assert rows(below) == [[2]]  # p is -0.17: p - |p|/10, not p × 0.9, which 100.5° would pass


def test_random_sampling_is_seeded_fair_and_does_not_depend_on_blocks() -> None:
    encoder, anchors, corpus = Fake(1), [f"a{i}" for i in range(300)], [f"c{i}" for i in range(60)]
    options = {"k": 10, "negatives": 3, "sampling": "random", "guards": Guards(skip=2)}
    one = mine(encoder, anchors, corpus=corpus, seed=4, **options)
    again = mine(encoder, anchors, corpus=corpus, seed=4, block=7, batch_size=2, **options)
    np.testing.assert_array_equal(again.index, one.index)
    assert (mine(encoder, anchors, corpus=corpus, seed=5, **options).index != one.index).any()
    assert (np.diff(one.similarity, axis=1) <= 0).all()  # most similar first
    ranks = np.array([np.flatnonzero(np.isin(near, row)) for near, row in zip(one.neighbours, one.index, strict=True)])
    counts = np.bincount(ranks.ravel(), minlength=10)
    assert counts[:2].tolist() == [0, 0]  # skipped
    assert counts[2:].min() > 70 and counts[2:].sum() == 900  # 112.5 expected for each of the eight


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_fewer_left_than_wanted(sampling: str) -> None:
    guards = Guards(min_similarity=0.5)
    mined = mine(Circle(), ["0", "170"], None, ["10", "20", "175"], negatives=3, sampling=sampling, guards=guards)
    assert mined.index.tolist() == [[0, 1, -1], [2, -1, -1]]
    assert np.isnan(mined.similarity).tolist() == [[False, False, True], [False, True, True]]


def test_a_vector_of_zeros_is_like_nothing() -> None:
    class Zero(Fake):
        def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
            return super().encode(sentences) * (np.array(sentences) != "bb")[:, None]

    mined = mine(Zero(), ABC, negatives=3)
    assert mined.similarity[1].tolist() == [0, 0, 0] and rows(mined)[1] == [0, 2, 3]


# Text guards


def guard_names(guards: Guards, anchor: str, positives: list[str], corpus: list[str]) -> dict[str, str]:
    """Corpus text → the guard that removed it from the anchor's neighbours, or "kept"."""
    mined = mine(Same(), [anchor] * max(1, len(positives)), positives or None, corpus, guards=guards)
    return dict(zip(mined.texts(mined.neighbours[0]), names(mined.removed_by[0]), strict=True))


texts = st.lists(st.text(alphabet="aAb, é!", min_size=1, max_size=14).filter(str.strip), min_size=1, max_size=8)


@settings(max_examples=120, deadline=None)
@given(
    own=texts, corpus=texts, limit=st.floats(0.05, 1.0), guard=st.sampled_from(["word_overlap", "character_overlap"])
)
def test_overlap_is_that_of_sets_with_the_anchor_or_any_positive(own, corpus, limit: float, guard: str) -> None:
    guards = Guards(same_text=False, **{guard: limit})
    searched = [text for text in corpus if text not in own]
    if searched:
        for text, name in guard_names(guards, own[0], own[1:], searched).items():
            assert name == (oracle.removed_by(guards, own, text, 0.0, 1.0, None) or "kept")


DOG = "The  DOG, bit — the man!"
SLEPT = "the old dog slept on the mat"


@pytest.mark.parametrize(
    ("guards", "own", "expected"),
    [
        ({"word_overlap": 1.0}, [DOG], {"the man bit the dog": "word_overlap", "it rains": "kept"}),
        ({"character_overlap": 0.6}, [DOG], {"the man bit the dog": "kept", "the dog bit a man": "kept"}),
        ({"character_overlap": 0.8}, [DOG], {"the dog bit the mane": "character_overlap", "it rains": "kept"}),
        ({"word_overlap": 0.6}, [DOG], {"the dog bit the man": "same_text", "the dog bit the mane": "word_overlap"}),
        ({}, [DOG], {"the dog bit the man": "same_text", "the man bit the dog": "kept"}),
        ({"same_text": False}, [DOG], {"the dog bit the man": "kept", "it rains": "kept"}),
        ({}, ["?!"], {"?!?": "kept", "?! ": "same_text"}),  # no words
        ({"character_overlap": 1.0, "same_text": False}, ["abc"], {"ABC": "character_overlap", "abd": "kept"}),
        ({}, ["café", "Straße"], {"CAFE\u0301": "same_text", "cafe": "kept", "STRASSE": "same_text"}),
        ({}, ["कि"], {"के": "kept", "कि।": "same_text"}),  # vowel signs are letters' own
        ({}, ["Who?", SLEPT], {"the old dog slept on a mat": "kept"}),
        ({"word_overlap": 0.7}, ["Who?", SLEPT], {"the old dog slept on a mat": "word_overlap", "rain": "kept"}),
        ({"character_overlap": 0.5}, ["Who?", SLEPT], {"the old dog slept on a mat": "character_overlap"}),
    ],
)  # fmt: skip
def test_text_guards_known_by_eye(guards: dict, own: list[str], expected: dict[str, str]) -> None:
    assert guard_names(Guards(**guards), own[0], own[1:], list(expected)) == expected


@pytest.mark.parametrize("others", [[], ["Paris has size.", "It is Paris."]])
def test_a_positive_in_other_dress_is_no_negative(others: list[str]) -> None:
    copies = [
        "PARIS IS BIG",
        "  paris   is big ",
        "Paris is big",
        "Paris\u00a0is big!",
        "Ｐａｒｉｓ is big",
        "Pa\u00adris is big",
    ]
    positives = [*others, "Paris is big."]
    mined = mine(Same(), ["What is big?"] * len(positives), positives, [*positives, *copies, "Rome."], negatives=9)
    assert set(mined.triplets()["negative"]) == {"Rome."}
    assert mined.report.guards["same_text"]["removed"] == len(copies)
    assert mined.report.guards["positive"]["removed"] == len(positives)


def test_pairs_among_themselves_leave_no_copy_of_a_positive() -> None:
    mined = mine(Same(), ["What is big?", "What is red?"], ["Paris is big.", "PARIS IS BIG"])
    assert len(mined.triplets()) == 0 and mined.triplets().features["negative"].dtype == "string"
    assert mined.report.guards["same_text"]["removed"] == 2 and "same_text" in str(mined.report)


# Calibration


def test_the_calibrated_threshold_lets_at_most_a_share_of_paraphrases_below() -> None:
    from hncse.data import probe

    groups, encoder = probe.load()[:40], Fake(3)
    cosine = lambda a, b: oracle.cosine(encoder.vector(a), encoder.vector(b))  # noqa: E731
    values = sorted(cosine(g.anchor, s.text) for g in groups for s in (g.close, g.far))
    for share in (0.0, 0.05, 0.5, 1.0):
        calibration = calibrate(encoder, share, groups=groups)
        below = sum(v < calibration.threshold - 1e-6 for v in values)
        assert below == int(share * len(values))
        if share < 1:  # and no higher threshold would do
            assert calibration.threshold == pytest.approx(values[below], abs=1e-6)
        assert calibration.below(calibration.threshold)["paraphrase"] == pytest.approx(below / len(values))
    close = calibrate(encoder, 0.1, on="close", groups=groups)
    assert close.threshold == pytest.approx(sorted(cosine(g.anchor, g.close.text) for g in groups)[4], abs=1e-6)
    curve = close.curve
    assert (np.diff(curve.pop("threshold")) > 0).all() and set(curve) > {"paraphrase", "hard_negative", "same_topic"}
    assert all((np.diff(shares) >= 0).all() and shares[-1] == 1 for shares in curve.values())
    assert min(shares[0] for shares in curve.values()) == 0


def test_the_calibrated_guard_removes_from_the_threshold_on() -> None:
    encoder = Fake(3)
    threshold = calibrate(encoder, 0.6).threshold
    mined = mine(encoder, TEXTS, guards=Guards(calibrated=0.6))
    removed = mined.removed_by == 1 + GUARDS.index("calibrated")
    np.testing.assert_array_equal(removed, mined.neighbour_similarity >= np.float32(threshold))
    assert removed.any() and f"{threshold:.4f}" in str(mined.report)


# Encoding


def test_a_stale_cache_is_impossible(cache: Path) -> None:
    encoder, sentences = tiny.encoder(), tiny.sentences(40)
    before = mine(encoder, sentences, negatives=3)
    assert len(list(cache.glob("*.npy"))) == 1
    np.testing.assert_array_equal(mine(encoder, sentences, negatives=3).similarity, before.similarity)
    with torch.no_grad():
        encoder.backbone.get_input_embeddings().weight[9, 3] += 1  # one number
    after = mine(encoder, sentences, negatives=3)
    fresh = mine(encoder, sentences, negatives=3, cache=False)
    np.testing.assert_array_equal(after.similarity, fresh.similarity)
    assert (after.similarity != before.similarity).any()


def test_every_different_sentence_is_encoded_once() -> None:
    encoder = Fake()
    mine(encoder, ["a", "b", "a"], ["c", "a", "b"], ["b", "c", "c", "d"])
    assert encoder.asked == [4]


def test_text_that_the_encoder_cannot_read_is_refused() -> None:
    encoder = tiny.encoder("mean")
    chinese = ["机器学习模型", "我喜欢学习很", "他在看书吗呢"]
    for arguments in ((chinese,), (chinese, None, iter(chinese)), (["a cat sat", "the dog"], None, chinese)):
        with pytest.raises(HncseError, match="same tokens"):
            mine(encoder, *arguments, cache=False)
    capitals = mine(encoder, ["a cat sat", "the dog"], ["The house.", "THE HOUSE"], cache=False)  # one text, not unread
    assert len(capitals.triplets()) == 0
    assert len(mine(Fake(), chinese, cache=False)) == 3  # a foreign encoder is asked nothing


# Bad input

ABC = ["aa", "bb", "cc", "dd"]


class Broken(Fake):
    def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
        return np.where(np.arange(len(sentences))[:, None] == 2, np.nan, super().encode(sentences))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((ABC,), {"k": 4}, r"k is 4, .* more than 3 neighbours in a corpus of 4 sentences; ask for at most 3"),
        ((ABC, None, [*ABC, "aa", ""]), {"k": 5}, r"1 copies and 1 blank left out"),
        ((ABC, None, iter(["xx", "yy"])), {"k": 3}, r"k is 3, .* more than 2"),
        ((["aa", "aa"],), {}, r"nothing but the anchor's own text"),
        ((["aa"], None, []), {}, r"nothing but the anchor's own text"),
        ((["aa", " "],), {}, r"anchor 1 is ' ', a blank sentence"),
        (([],), {}, r"there are no anchors"),
        (("aa",), {}, r"anchors is one string 'aa'"),
        (([3],), {}, r"anchor 0 is 3 \(int\)"),
        ((ABC, ["x", None, "y", "z"]), {}, r"positive 1 is None"),
        ((ABC, ["x", "y"]), {}, r"4 anchors and 2 positives"),
        ((ABC, None, ["x", 7]), {}, r"sentence 1 of the corpus is 7"),
        ((ABC,), {"negatives": 0}, r"negatives is 0"),
        ((ABC,), {"k": 3, "negatives": 2, "guards": Guards(skip=2)}, r"k must be at least 4"),
        ((ABC,), {"sampling": "topp"}, r"Did you mean 'top'"),
        ((ABC,), {"backend": "fais"}, r"Did you mean 'faiss'"),
        ((ABC,), {"block": 0}, r"block is 0"),
        ((ABC,), {"limit": 0}, r"limit is 0"),
        ((ABC,), {"column": "text"}, r"leave column out"),
        ((ABC, None, "nowhere.txt"), {}, r"there is no file nowhere.txt"),
        ((ABC, None, "wikipedja"), {}, r"Did you mean 'wikipedia'"),
        ((ABC, None, "wikipedia"), {"column": "a"}, r"takes no column"),
    ],
)
def test_bad_input_is_named(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        mine(Fake(), *arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_similarity": 1.2}, "max_similarity is 1.2; it must be a number from -1 up to 1"),
        ({"word_overlap": 0}, "word_overlap is 0; it must be a number above 0 up to 1"),
        ({"relative_margin": -0.1}, "relative_margin is -0.1"),
        ({"calibrated": float("nan")}, "calibrated is nan"),
        ({"calibrated_on": "near"}, "unknown value of calibrated_on 'near'"),
        ({"margin": "0.1"}, "margin is '0.1'"),
        ({"skip": 1.5}, "skip is 1.5"),
        ({"skip": -1}, "skip is -1"),
        ({"same_text": 1}, "same_text is 1"),
        ({"min_similarity": 0.5, "max_similarity": 0.4}, "nothing could stay"),
    ],
)
def test_bad_guards_are_named(options: dict, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        Guards(**options)


def test_bad_vectors_and_calibrations_are_named() -> None:
    with pytest.raises(HncseError, match=r"1 of 4 embeddings hold NaN or infinity, the first that of 'cc'"):
        mine(Broken(), ABC)
    for options, message in (
        ({"share": 5}, "share is 5"), ({"groups": []}, "no probe groups"), ({"on": "closer"}, "Did you mean 'close'"),
    ):  # fmt: skip
        with pytest.raises(HncseError, match=message):
            calibrate(Fake(), **options)


# Corpora

CORPUS = [f"text {i}" for i in range(40)] + ["text 3", "  ", "text 5", "bé\n\x00", "日本"]


def test_a_stream_gives_what_a_list_gives_block_by_block() -> None:
    reached: list[int] = []
    place = 0

    class Watching(Fake):
        def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
            reached.append(place)
            return super().encode(sentences)

    def stream() -> Iterator[str]:
        nonlocal place
        for text in CORPUS:
            place += 1
            yield text

    encoder, options = Watching(), {"k": 9, "negatives": 3, "guards": Guards(character_overlap=0.9, skip=1)}
    listed = mine(Fake(), CORPUS[:10], corpus=CORPUS, **options)
    streamed = mine(encoder, CORPUS[:10], None, stream(), block=8, **options)
    for name in ("index", "similarity", "neighbours", "removed_by", "positive_similarity"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(listed, name))
    assert streamed.triplets().to_dict() == listed.triplets().to_dict()
    assert streamed.texts([44, 0, 43, 40, 44, 41]) == ["日本", "text 0", "bé\n\x00", "text 3", "日本", "  "]
    assert encoder.asked == [10, 8, 8, 8, 8, 8, 2]  # the anchors, then a block at a time
    assert reached == [0, 8, 16, 24, 32, 40, 45]  # no further than the block
    assert listed.report.counts == streamed.report.counts
    assert (streamed.report.counts["copies"], streamed.report.counts["blank"]) == (2, 1)


def test_a_file_is_streamed_and_cleaned_as_a_corpus_is(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("one  sentence\n\n two \tsentences\nthree\n")
    mined = mine(Fake(), ["one sentence", "four"], corpus=str(path), negatives=3)
    assert rows(mined)[0] in ([1, 2], [2, 1]) and mined.texts([0, 1]) == ["one sentence", "two sentences"]
    (tmp_path / "t.csv").write_text("a,b\nx,y\nv,w\n")
    assert mine(Fake(), ["four"], corpus=tmp_path / "t.csv", column="b").texts([0, 1]) == ["y", "w"]


def test_any_corpus_may_be_cut() -> None:
    from hncse.data import corpora

    for corpus in (CORPUS, corpora.from_sentences(CORPUS), iter(CORPUS)):
        mined = mine(Fake(), ["a"], corpus=corpus, limit=3, negatives=9)
        assert mined.report.counts["corpus"] == 3 and sorted(rows(mined)[0]) == [0, 1, 2]


# The report


def test_the_report_counts_what_the_arrays_say() -> None:
    guards = Guards(margin=0.1, max_similarity=0.8, min_similarity=0.2, skip=1)
    mined = mine(Fake(2), CORPUS[:20], CORPUS[20:40], CORPUS[10:43], k=12, negatives=2, guards=guards)
    report, existing = mined.report, mined.removed_by >= 0
    reached = int(existing.sum())
    assert list(report.guards) == ["positive", "same_text", "margin", "max_similarity", "min_similarity", "skip"]
    for name, row in report.guards.items():
        n = int((mined.removed_by == 1 + GUARDS.index(name)).sum())
        assert row["removed"] == n
        assert row["share"] == pytest.approx(n / reached) and row["of_all"] == pytest.approx(n / existing.sum())
        reached -= n
    assert report.counts["kept"] == reached == (mined.removed_by == 0).sum()
    each = (mined.index >= 0).sum(axis=1)
    expected = {"full": 2, "short": 1, "without": 0}
    assert {name: report.counts[name] for name in expected} == {n: (each == m).sum() for n, m in expected.items()}
    kept = mined.neighbour_similarity[mined.removed_by == 0]
    assert report.similarity["kept"]["p50"] == pytest.approx(np.median(kept))
    assert report.similarity["nearest"]["mean"] == pytest.approx(mined.neighbour_similarity[:, 0].mean())
    assert report.similarity["positive"]["max"] == pytest.approx(mined.positive_similarity.max())
    json.dumps(report.to_dict(), allow_nan=False)
    text = str(report)
    assert all(name in text for name in [*report.guards, "positive", "what to turn", "encoder fake"])
    assert max(map(len, text.splitlines()[: -len(report.advice)])) <= 120


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "no guard looks at how similar a neighbour is"),
        ({"guards": Guards(max_similarity=-1.0)}, "100.0% of anchors have no negative: max_similarity=-1.0 took 100%"),
        ({"guards": Guards(skip=1), "k": 2, "negatives": 1}, "nothing stands out"),
        ({"guards": Guards(max_similarity=1.0)}, r"max_similarity=1.0 removed nothing: the neighbours end at 0.\d+"),
        ({"guards": Guards(min_similarity=-1.0)}, r"min_similarity=-1.0 removed nothing: the neighbours begin at -0"),
        ({"guards": Guards(character_overlap=1.0)}, "character_overlap=1.0 removed nothing: no neighbour shares that"),
        ({"k": 4, "negatives": 3, "guards": Guards(min_similarity=0.6)}, r"have fewer than 3 negatives: raise k \(4\)"),
        ({"positives": CORPUS[20:40]}, r"[\d.]+% of the negatives are nearer to the anchor than its positive"),
    ],
)  # fmt: skip
def test_advice_names_the_knob(options: dict, advice: str) -> None:
    options = {"corpus": [f"other {i}" for i in range(40)], **options}
    assert re.search(advice, str(mine(Fake(), CORPUS[:20], **options).report))


def test_near_copies_are_pointed_out() -> None:
    mined = mine(Circle(), ["0", "1", "90", "91"])
    assert any("one negative in twenty is above 0.95" in line for line in mined.report.advice)


def test_a_bar_is_shown_on_request(capsys) -> None:
    mine(Fake(), CORPUS[:5], show_progress=True)
    assert "search: 100%" in capsys.readouterr().err
    mine(Fake(), CORPUS[:5])
    assert capsys.readouterr().err == ""


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), skip=st.integers(0, 2), overlap=st.none() | st.floats(0.3, 1.0))
def test_other_guards_keep_what_a_search_with_them_keeps(seed: int, skip: int, overlap: float | None) -> None:
    draw = np.random.default_rng(seed)
    pick = lambda n: [CORPUS[i] for i in draw.integers(40, size=n)]  # noqa: E731  copies among them
    anchors, positives = pick(9), pick(9)
    other = Guards(margin=0.1, character_overlap=overlap, skip=skip)
    lax = mine(Fake(seed), anchors, positives, CORPUS, k=20, guards=Guards(same_text=False))
    strict = mine(Fake(seed), anchors, positives, CORPUS, k=20, guards=other)
    np.testing.assert_array_equal(lax.under(other), strict.removed_by == 0)


# Triplets and files


@pytest.fixture(scope="module")
def mined() -> MinedCorpus:
    return mine(Circle(), ["0", "170", "0"], corpus=["10", "20", "175"], negatives=2, guards=Guards(min_similarity=0.5))


def test_triplets_are_a_row_for_every_negative_or_for_every_anchor_that_has_all(mined: MinedCorpus) -> None:
    table = mined.triplets()
    assert table.column_names == ["anchor", "positive", "negative", "positive_similarity", "negative_similarity"]
    assert table["anchor"][:] == ["0", "0", "170", "0", "0"] == table["positive"][:]
    assert table["negative"][:] == ["10", "20", "175", "10", "20"]
    assert table.features["negative_similarity"].dtype == "float32"
    assert table["negative_similarity"][1] == pytest.approx(np.cos(np.radians(20)), abs=1e-6)
    table = mined.triplets("n-tuple")
    assert table.column_names[:4] == ["anchor", "positive", "negative_1", "negative_2"]
    assert table.column_names[4:] == ["positive_similarity", "negative_1_similarity", "negative_2_similarity"]
    assert table["anchor"][:] == ["0", "0"] and table["negative_2"][:] == ["20", "20"]
    with pytest.raises(HncseError, match="Did you mean 'triplet'"):
        mined.triplets("triplets")
    assert len(mined) == 3 and mined.texts([2, 0]) == ["175", "10"]
    with pytest.raises(HncseError, match="-1 stands for a missing negative"):
        mined.texts([0, -1])


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.csv"])
def test_files_give_back_what_was_written(name: str, mined: MinedCorpus, tmp_path: Path) -> None:
    path = mined.save(tmp_path / "deeper" / name, "n-tuple")
    assert load(path).column_names == ["anchor", "positive", "negative_1", "negative_2"]  # what trainers take
    back = load(mined.save(path, similarities=True)).to_dict()
    for column, values in mined.triplets().to_dict().items():
        assert back[column] == (values if isinstance(values[0], str) else pytest.approx(values))
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_a_file_is_written_whole_or_not_at_all(mined: MinedCorpus, tmp_path: Path, monkeypatch) -> None:
    path = mined.save(tmp_path / "t.parquet")
    before = path.read_bytes()

    def full(table, file) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(HncseError, match=r"t\.parquet could not be written: No space left"):
        mined.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_bad_files_are_named(mined: MinedCorpus, tmp_path: Path) -> None:
    for act in (mined.save, load):
        with pytest.raises(HncseError, match=r"must end in \.parquet or \.jsonl or \.csv"):
            act(tmp_path / "t.tsv")
    with pytest.raises(HncseError, match="there is no file"):
        load(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(HncseError, match="cannot be read as triplets"):
        load(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(HncseError, match="no column 'anchor'; it has text"):
        load(tmp_path / "t.jsonl")


def opposite(pairs: list[tuple[str, str]]) -> np.ndarray:
    """A cross-encoder to which what is far is near."""
    return np.array([-math.cos(math.radians(float(a) - float(b))) for a, b in pairs])


@pytest.mark.parametrize("cross", [False, True])
def test_a_guide_decides_margins_and_limits_and_not_the_order(cross: bool) -> None:
    angles = ["0", "10", "30", "50", "80"]
    if cross:
        guide = types.SimpleNamespace(predict=opposite)
        kept = mine(Circle(), ["0"], corpus=angles, guide=guide, negatives=4, guards=Guards(max_similarity=-0.5))
        assert kept.texts(kept.index[0][:3]) == ["10", "30", "50"] and kept.index[0][3] == -1
        assert kept.guide_similarity[0, 0] == pytest.approx(-np.cos(np.radians(10)), abs=1e-6)
        with pytest.raises(HncseError, match="cross-encoder"):
            mine(Circle(), ["0"], corpus=angles, guide=guide, guards=Guards(calibrated=0.1))
        return

    class Doubled(Circle):
        def encode(self, sentences: list[str]) -> np.ndarray:
            return super().encode([str(2 * float(text)) for text in sentences])

    settings = {"corpus": angles, "negatives": 2, "guards": Guards(margin=0.6)}
    with_guide = mine(Circle(), ["0"], ["20"], guide=Doubled(), **settings)  # margin below cos 40 by the guide: 0.166
    assert with_guide.texts(with_guide.index[0][:1]) == ["50"] and "guide Doubled" in str(with_guide.report)
    alone = mine(Circle(), ["0"], ["20"], **settings)  # below cos 20 - 0.6 = 0.34
    assert alone.texts(alone.index[0][:1]) == ["80"]
    assert with_guide.under(Guards(margin=0.6)).sum() == 2


# The command line

QA = [("Who wrote it?", "A poet wrote it."), ("Who sang it?", "A singer sang it."), ("Where?", "In the old house.")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mining")
    (folder / "corpus.txt").write_text("\n".join(tiny.sentences(30)), encoding="utf-8")
    (folder / "anchors.txt").write_text("\n".join(tiny.sentences(5, seed=9)), encoding="utf-8")
    (folder / "qa.csv").write_text("query,passage\n" + "".join(f"{q},{a}\n" for q, a in [*QA, *QA[:1]]))
    names = {"corpus": "corpus.txt", "anchors": "anchors.txt", "pairs": "qa.csv"}
    return {"encoder": str(tiny.folder(folder, "mean")), **{key: str(folder / name) for key, name in names.items()}}


def test_the_command_prints_the_report_and_writes_triplets(files, tmp_path: Path, capsys) -> None:
    out, figures = tmp_path / "m.jsonl", tmp_path / "m.json"
    asked = f"--encoder {files['encoder']} --corpus {files['corpus']} --k 6 --negatives 2 --relative-margin 0.01"
    assert mining.main([*asked.split(), "--skip", "1", "--out", str(out), "--json", str(figures)]) == 0
    text = capsys.readouterr().out
    guards = Guards(relative_margin=0.01, skip=1)
    expected = mine(tiny.encoder("mean"), tiny.sentences(30), k=6, negatives=2, guards=guards)
    assert "relative_margin" in text and f"wrote {out}" in text and "corpus 30 sentences" in text
    assert load(out)["negative_2"][:] == expected.triplets("n-tuple")["negative_2"][:]
    assert json.loads(figures.read_text())["counts"] == expected.report.counts


def test_the_command_streams_a_corpus_for_anchors_of_their_own(files, tmp_path: Path, capsys) -> None:
    out = tmp_path / "m.parquet"
    asked = ["--encoder", files["encoder"], "--corpus", files["corpus"], "--anchors", files["anchors"]]
    assert mining.main([*asked, "--limit", "20", "--anchor-limit", "4", "--no-cache", "--out", str(out)]) == 0
    assert "corpus 20 sentences" in capsys.readouterr().out
    table = load(out)
    assert len(table) == 4 and set(table["negative"]) <= set(tiny.sentences(30)[:20])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--k 100", "k is 100"),
        ("--max-similarity 2", "max_similarity is 2.0"),
        ("--sampling tops", "Did you mean 'top'"),
        ("--layout ntuple", "Did you mean 'n-tuple'"),
        ("--out mined.tsv", "must end in .parquet or .jsonl or .csv"),
        ("--calibrated 0.1 --calibrated-on nearby", "unknown value of calibrated_on"),
        ("--positives passage", "--anchors names none"),
    ],
)
def test_the_command_names_what_is_wrong(arguments: str, message: str, files, capsys) -> None:
    assert mining.main(["--encoder", files["encoder"], "--corpus", files["corpus"], *arguments.split()]) == 2
    text = capsys.readouterr().err
    assert message in text and text.startswith("error: ") and len(text.splitlines()) == 1


@pytest.mark.parametrize("corpus", [[], ["--corpus", "pairs", "--column", "passage"]])
def test_the_command_mines_pairs(corpus: list[str], files, tmp_path: Path, capsys) -> None:
    out = tmp_path / "m.jsonl"
    asked = "--encoder encoder --anchors pairs --anchor-column query --positives passage --guide encoder --margin -2"
    words = [files.get(word, word) for word in [*asked.split(), *corpus]]
    assert mining.main([*words, "--negatives", "2", "--out", str(out)]) == 0
    table = load(out)
    assert table.column_names == ["anchor", "positive", "negative_1", "negative_2"]  # as trainers take them
    assert list(zip(table["anchor"], table["positive"], strict=True)) == [*QA, QA[0]]
    for row in table:
        assert {row["positive"], row["negative_1"], row["negative_2"]} == {passage for _, passage in QA}
    rows = corpora.load(out, pairs=True)
    assert rows.positives == table["positive"][:] and rows.negatives[0] == tuple(table[0].values())[2:]
    assert "note:" not in capsys.readouterr().err


def test_the_command_says_when_two_columns_of_a_table_may_be_pairs(files, capsys) -> None:
    asked = ["--encoder", files["encoder"], "--anchors", files["pairs"], "--corpus", files["pairs"]]
    for column, notes in (("passage", 1), ("query", 0)):
        assert mining.main([*asked, "--anchor-column", "query", "--column", column]) == 0
        assert capsys.readouterr().err.count("--positives passage keeps each anchor's own row out") == notes


def test_the_benchmark_compares_what_is_equal() -> None:
    from datasets import Dataset

    from benchmarks import mining as benchmark

    assert benchmark._search(300, 1)["output"] == "100.0% of rows"
    triplets = {"anchor": ["a", "a"], "positive": ["p", "p"], "negative": ["x", "y"]}
    ours = Dataset.from_dict(triplets | {"negative_similarity": [0.5, 0.4]})
    same = Dataset.from_dict(triplets | {"scores": [[0.9, 0.5], [0.9, 0.4]]})
    other = Dataset.from_dict(triplets | {"negative": ["x", "z"], "scores": [[0.9, 0.5], [0.9, 0.3]]})
    assert benchmark.agreement(ours, same) == (1.0, 0.0)
    assert benchmark.agreement(ours, other) == (pytest.approx(1 / 3), pytest.approx(0.1))
    assert benchmark.agreement(ours, other.select([0]))[1] == np.inf
