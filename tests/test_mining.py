"""The corpus miner against a slow oracle and sentence-transformers, on toy geometry, and at its edges."""

from __future__ import annotations

import ast
import contextlib
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hncse import HncseError, miner
from hncse.mining import GUARDS, Guards, calibrate, mine
from tests import tiny
from tests.oracles import mining_oracle as oracle

TEXTS = [f"text {i} {'abc'[i % 3]}" for i in range(60)]


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
@settings(max_examples=120, deadline=None, derandomize=True)
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


PAIRED = [
    ({}, {}),
    ({"range_min": 3}, {"skip": 3}),
    ({"max_score": 0.6}, {"max_similarity": 0.6}),
    ({"min_score": 0.2}, {"min_similarity": 0.2}),
    ({"absolute_margin": 0.1}, {"margin": 0.1}),
    ({"absolute_margin": 0}, {"margin": 0.0}),
    ({"relative_margin": 0.1}, {"relative_margin": 0.1}),
    (
        {"absolute_margin": 0.05, "relative_margin": 0.1, "max_score": 0.8, "min_score": -0.1, "range_min": 2},
        {"margin": 0.05, "relative_margin": 0.1, "max_similarity": 0.8, "min_similarity": -0.1, "skip": 2},
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), PAIRED, ids=lambda value: "+".join(value) or "none")
@pytest.mark.parametrize("window", [160, 20])  # everything, and one that often runs short
def test_equal_to_sentence_transformers(theirs: dict, ours: dict, window: int) -> None:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    anchors, positives = [f"anchor {i}" for i in range(60)], [f"positive {i}" for i in range(60)]
    anchors[7] = anchors[9] = anchors[3]  # an anchor with three positives
    corpus = [f"corpus {i}" for i in range(100)]
    pairs = Dataset.from_dict({"anchor": anchors, "positive": positives})
    for seed in range(3):
        model = Peer(seed)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            expected = mine_hard_negatives(
                pairs, model, corpus=corpus, range_max=window, num_negatives=3, output_scores=True, verbose=False,
                **theirs,
            )  # fmt: skip
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
    from sentence_transformers.util import mine_hard_negatives

    encoder = tiny.encoder("mean")
    texts = tiny.sentences(80)
    pairs = Dataset.from_dict({"anchor": texts[:30], "positive": texts[30:60]})
    model = SentenceTransformer(str(encoder.save(tmp_path / "tiny")), device="cpu")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        expected = mine_hard_negatives(
            pairs, model, corpus=texts[60:], range_max=20, num_negatives=2, relative_margin=0.02, verbose=False
        )
    mined = mine(
        encoder, texts[:30], texts[30:60], texts[60:] + texts[30:60], k=21, negatives=2, cache=False,
        guards=Guards(same_text=False, relative_margin=0.02),
    )  # fmt: skip
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


def test_ties_go_to_the_first_in_the_corpus_however_the_work_is_cut() -> None:
    corpus = [f"{angle} {name}" for name in "abc" for angle in (5, -5, 40)]
    whole = mine(Circle(), ["0 anchor"], corpus=corpus, negatives=9)
    assert rows(whole) == [[0, 1, 3, 4, 6, 7, 2, 5, 8]]
    for block in (1, 2, 5):
        for backend in ("faiss", "torch"):
            cut = mine(Circle(), ["0 anchor"], corpus=corpus, negatives=9, block=block, backend=backend)
            np.testing.assert_array_equal(cut.index, whole.index)
            np.testing.assert_array_equal(cut.similarity, whole.similarity)


def test_copies_blanks_and_the_anchors_own_text_are_no_neighbours() -> None:
    corpus = ["0", "10", "10", " ", "20", "", "10", "0"]
    mined = mine(Circle(), ["0", "20"], corpus=[*corpus[:3], "30", "20", "30"], negatives=3)
    assert rows(mined)[0] == [1, 4, 3] and sorted(rows(mined)[1]) == [0, 1, 3]
    assert mined.report.counts["copies"] == 2
    with pytest.raises(IndexError):  # Circle cannot read a blank text: the miner must not ask for one
        Circle().encode([" "])
    mined = mine(Circle(), ["0"], corpus=corpus, negatives=2)
    assert rows(mined) == [[1, 4]]
    assert (mined.report.counts["copies"], mined.report.counts["blank"]) == (3, 2)


def test_a_positive_is_seen_and_never_used_whoever_else_uses_it() -> None:
    mined = mine(Circle(), ["0", "0", "50"], ["2", "6", "51"], ["2", "4", "6", "51"], negatives=2)
    assert rows(mined) == [[1, 3], [1, 3], [2, 1]]
    assert [GUARDS[c - 1] if c > 0 else "kept" for c in mined.removed_by[0]] == ["positive", "kept", "positive", "kept"]
    assert mined.positive_similarity[1] == pytest.approx(math.cos(math.radians(6)))
    table = mined.triplets()
    assert table["positive"][:4] == ["2", "2", "6", "6"]  # the rows as they were given
    margin = mine(Circle(), ["0", "0", "50"], ["2", "6", "51"], ["2", "4", "6", "51"], guards=Guards(margin=0.0))
    assert rows(margin)[0] == rows(margin)[1] == [3]  # 4° is nearer than the farther of both positives


def test_without_positives_margins_read_against_one() -> None:
    mined = mine(Circle(), ["0"], corpus=["10", "30", "60"], guards=Guards(relative_margin=0.1))
    assert rows(mined) == [[1]]  # cos 10° = 0.985 > 0.9 > cos 30°
    assert rows(mine(Circle(), ["0"], corpus=["10", "30", "60"], guards=Guards(margin=0.2))) == [[2]]


def test_relative_margin_of_a_negative_positive_is_below_it() -> None:
    anchors, positives, corpus = ["0"], ["100"], ["95", "100.5", "150"]  # the positive's cosine is -0.17
    mined = mine(Circle(), anchors, positives, corpus, guards=Guards(relative_margin=0.1))
    assert rows(mined) == [[2]]  # p - |p|/10, not p × 0.9, which 100.5° would pass


# Sampling


def test_random_sampling_is_seeded_fair_and_does_not_depend_on_blocks() -> None:
    encoder, anchors, corpus = Fake(1), [f"a{i}" for i in range(300)], [f"c{i}" for i in range(60)]
    options = {"k": 10, "negatives": 3, "sampling": "random", "guards": Guards(skip=2)}
    one = mine(encoder, anchors, corpus=corpus, seed=4, **options)
    np.testing.assert_array_equal(
        mine(encoder, anchors, corpus=corpus, seed=4, block=7, batch_size=2, **options).index, one.index
    )
    assert (mine(encoder, anchors, corpus=corpus, seed=5, **options).index != one.index).any()
    assert (np.diff(one.similarity, axis=1) <= 0).all()  # most similar first
    ranks = np.array([np.flatnonzero(np.isin(near, row)) for near, row in zip(one.neighbours, one.index, strict=True)])
    counts = np.bincount(ranks.ravel(), minlength=10)
    assert counts[:2].tolist() == [0, 0]  # skipped
    assert counts[2:].min() > 70 and counts[2:].sum() == 900  # 112.5 expected for each of the eight


def test_fewer_left_than_wanted() -> None:
    for sampling in ("top", "random"):
        mined = mine(
            Circle(), ["0", "170"], corpus=["10", "20", "175"], negatives=3, sampling=sampling,
            guards=Guards(min_similarity=0.5),
        )  # fmt: skip
        assert mined.index.tolist() == [[0, 1, -1], [2, -1, -1]]
        assert np.isnan(mined.similarity).tolist() == [[False, False, True], [False, True, True]]


# Calibration


def test_the_calibrated_threshold_lets_at_most_a_share_of_paraphrases_below() -> None:
    from hncse.data import probe

    groups = probe.load()[:40]
    encoder = Fake(3)
    cosine = lambda a, b: oracle.cosine(encoder.vector(a), encoder.vector(b))  # noqa: E731
    values = sorted(cosine(g.anchor, s.text) for g in groups for s in (g.close, g.far))
    for share in (0.0, 0.05, 0.5, 1.0):
        found = calibrate(encoder, share, groups=groups)
        below = sum(v < found.threshold - 1e-6 for v in values)
        assert below <= share * len(values)
        if share < 1:  # and no higher threshold would do
            assert found.threshold == pytest.approx(values[below], abs=1e-6) and below == int(share * len(values))
        assert found.below(found.threshold)["paraphrase"] == pytest.approx(below / len(values))
    close = calibrate(encoder, 0.1, on="close", groups=groups)
    assert close.threshold == pytest.approx(sorted(cosine(g.anchor, g.close.text) for g in groups)[4], abs=1e-6)


def test_the_curve_rises_from_nothing_to_everything() -> None:
    curve = calibrate(Fake(3)).curve
    assert set(curve) >= {"threshold", "paraphrase", "hard_negative", "same_topic", "unrelated"}
    assert (np.diff(curve["threshold"]) > 0).all()
    for kind in set(curve) - {"threshold"}:
        assert curve[kind][-1] == 1 and (np.diff(curve[kind]) >= 0).all()
    assert min(curve[kind][0] for kind in curve if kind != "threshold") == 0


def test_the_calibrated_guard_removes_from_the_threshold_on() -> None:
    encoder = Fake(3)
    threshold = calibrate(encoder, 0.6).threshold
    mined = mine(encoder, TEXTS, negatives=1, guards=Guards(calibrated=0.6))
    removed = mined.removed_by == 1 + GUARDS.index("calibrated")
    np.testing.assert_array_equal(removed, mined.neighbour_similarity >= np.float32(threshold))
    assert removed.any() and f"{threshold:.4f}" in str(mined.report)


# The cache


def test_a_stale_cache_is_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path))
    encoder, texts = tiny.encoder(), tiny.sentences(40)
    before = mine(encoder, texts, negatives=3)
    assert len(list(tmp_path.glob("*.npy"))) == 1
    np.testing.assert_array_equal(mine(encoder, texts, negatives=3).similarity, before.similarity)
    with torch.no_grad():
        encoder.backbone.get_input_embeddings().weight[9, 3] += 1  # one number
    after = mine(encoder, texts, negatives=3)
    fresh = mine(encoder, texts, negatives=3, cache=False)
    np.testing.assert_array_equal(after.similarity, fresh.similarity)
    assert (after.similarity != before.similarity).any()


def test_every_different_sentence_is_encoded_once() -> None:
    encoder = Fake()
    mine(encoder, ["a", "b", "a"], ["c", "a", "b"], ["b", "c", "c", "d"])
    assert encoder.asked == [4]


# Bad input


class Broken(Fake):
    def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
        return np.where(np.arange(len(sentences))[:, None] == 2, np.nan, super().encode(sentences))


ABC = ["aa", "bb", "cc", "dd"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((ABC,), {"k": 4}, r"k is 4, .* more than 3 neighbours in a corpus of 4 sentences; ask for at most 3"),
        ((ABC,), {"k": 50}, r"k is 50, .* more than 3 neighbours"),
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
    ],
)
def test_bad_input_is_named(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        mine(Fake(), *arguments, **options)


def test_nan_vectors_are_named() -> None:
    with pytest.raises(HncseError, match=r"1 of 4 embeddings hold NaN or infinity, the first that of 'cc'"):
        mine(Broken(), ABC)


def test_text_that_the_encoder_cannot_read_is_refused() -> None:
    encoder = tiny.encoder("mean")
    chinese = ["机器学习模型", "我喜欢学习很", "他在看书吗呢"]
    for arguments in ({"anchors": chinese}, {"anchors": ["a cat sat", "the dog"], "corpus": chinese}):
        with pytest.raises(HncseError, match="same tokens"):
            mine(encoder, cache=False, **arguments)
        with pytest.raises(HncseError, match="same tokens"):
            mine(encoder, cache=False, **arguments | {"corpus": iter(chinese)})
    capitals = mine(encoder, ["a cat sat", "the dog"], ["The house.", "THE HOUSE"], cache=False)  # one text, not unread
    assert len(capitals.triplets()) == 0
    assert len(mine(Fake(), chinese, cache=False)) == 3  # a foreign encoder is asked nothing


def test_a_vector_of_zeros_is_like_nothing() -> None:
    class Zero(Fake):
        def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
            return super().encode(sentences) * (np.array(sentences) != "bb")[:, None]

    mined = mine(Zero(), ABC, negatives=3)
    assert mined.similarity[1].tolist() == [0, 0, 0] and rows(mined)[1] == [0, 2, 3]


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


def test_bad_calibrations_are_named() -> None:
    with pytest.raises(HncseError, match="share is 5"):
        calibrate(Fake(), 5)
    with pytest.raises(HncseError, match="no probe groups"):
        calibrate(Fake(), groups=[])
    with pytest.raises(HncseError, match="Did you mean 'close'"):
        calibrate(Fake(), on="closer")


# The contract of hncse.miner


def test_the_in_batch_miner_imports_nothing_but_torch() -> None:
    top = ast.parse(Path(miner.__file__).read_text(encoding="utf-8")).body
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "dataclasses", "torch"}
