"""Parts of the corpus miner: text overlap, streamed corpora, the report, triplets and files, the command line."""

from __future__ import annotations

import gc
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hncse import HncseError, mining
from hncse.mining import GUARDS, Guards, MinedCorpus, load, mine, neighbours
from hncse.mining.corpus import Listed, Spooled, pool, stream
from hncse.mining.overlap import character_grams, jaccard, normalised, overlapping, sketches, words
from hncse.mining.search import pair_similarity, unit_rows
from tests import tiny
from tests.oracles import mining_oracle as oracle
from tests.test_mining import Circle, Fake, rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "cache"))


# Text overlap

texts = st.lists(st.text(alphabet="aAb, é!", min_size=1, max_size=14).filter(str.strip), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(left=texts, right=texts, threshold=st.floats(0.05, 1.0), feature=st.sampled_from(["word", "gram"]))
def test_overlap_by_sketches_is_overlap_by_sets(left, right, threshold: float, feature: str) -> None:
    i, j = (a.ravel() for a in np.indices((len(left), len(right))))
    pairs = lambda at: [(left[i[p]], right[j[p]]) for p in at]  # noqa: E731
    got = overlapping(feature, threshold, (sketches([left]), i), (sketches([right[:3], right[3:]]), j), pairs)
    split = (lambda t: oracle.plain(t).split()) if feature == "word" else (lambda t: oracle.grams(oracle.plain(t)))
    assert got.tolist() == [
        oracle.overlap(split(left[a]), split(right[b])) >= threshold for a, b in zip(i, j, strict=True)
    ]


def test_sketches_spare_almost_every_comparison() -> None:
    left, right = tiny.sentences(200, seed=1), tiny.sentences(200, seed=2)
    asked = []

    def pairs(at: np.ndarray) -> list[tuple[str, str]]:
        asked.extend(at.tolist())
        return [(left[p], right[p]) for p in at]

    each = np.arange(200)
    overlapping("gram", 0.8, (sketches([left]), each), (sketches([right]), each), pairs)
    assert len(asked) < 5


def test_overlap_known_by_eye() -> None:
    assert normalised("The  DOG, bit — the man!") == "the dog bit the man"
    assert normalised(" ?! ") == "?!"  # no words: the text itself
    dog, man = normalised("the dog bit the man"), normalised("The man bit the dog.")
    assert jaccard(words(dog), words(man)) == 1.0  # words alone do not see who bit whom
    assert jaccard(character_grams(dog), character_grams(man)) < 0.6
    assert character_grams("abcdef") == {"abcde", "bcdef"} and character_grams("abc") == {"abc"}


def test_text_guards_remove_what_they_say() -> None:
    class Same:
        def encode(self, sentences: list[str]) -> np.ndarray:
            return np.ones((len(sentences), 2)) + np.arange(len(sentences))[:, None] * [0, 0.001]

    corpus = ["the dog bit the man", "The dog bit the man!", "the man bit the dog", "the dog bit the mane", "it rains"]

    def names(guards: Guards) -> list[str]:
        codes = mine(Same(), corpus[:1], corpus[1:], guards=guards).removed_by[0]
        return [GUARDS[c - 1] if c else "kept" for c in codes]

    assert names(Guards(same_text=False)) == ["kept"] * 4
    assert names(Guards()) == ["same_text", "kept", "kept", "kept"]
    assert names(Guards(word_overlap=1.0)) == ["same_text", "word_overlap", "kept", "kept"]
    assert names(Guards(word_overlap=0.6)) == ["same_text", "word_overlap", "word_overlap", "kept"]
    assert names(Guards(character_overlap=0.8)) == ["same_text", "kept", "character_overlap", "kept"]


# Search


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 60), d=st.integers(1, 70))
def test_a_pair_has_one_similarity_wherever_it_stands(seed: int, n: int, d: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = (unit_rows(draw.standard_normal((n, d), dtype=np.float32)) for _ in range(2))
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, rtol=1e-6)
    together = pair_similarity(a, np.arange(n), b, np.arange(n))
    np.testing.assert_allclose(together, (a.astype(float) * b).sum(1), atol=1e-6)
    one = int(draw.integers(n))
    shifted = np.concatenate([np.zeros((1, d), np.float32), b])
    assert pair_similarity(a, np.array([one]), shifted, np.array([one + 1]))[0] == together[one]


@pytest.mark.parametrize("backend", ["faiss", "torch"])
@pytest.mark.parametrize("block", [1000, 150, 30])
def test_of_hundreds_that_are_tied_the_first_are_taken(backend: str, block: int) -> None:
    corpus = [f"{40 if i % 7 else 200} {i}" for i in range(700)] + ["39"]
    mined = mine(Circle(), ["0", "41", "40 3"], corpus, k=5, negatives=5, block=block, backend=backend)
    first = [i for i in range(20) if i % 7]
    assert rows(mined) == [[700, *first[:4]], first[:5], [i for i in first if i != 3][:5]]


# Corpora

CORPUS = [f"text {i}" for i in range(40)] + ["text 3", "  ", "text 5"]


def test_a_stream_gives_what_a_list_gives_and_holds_one_block_of_embeddings() -> None:
    encoder = Fake()
    listed = mine(Fake(), CORPUS[:10], CORPUS, k=9, negatives=3, guards=Guards(character_overlap=0.9, skip=1))
    streamed = mine(
        encoder, CORPUS[:10], (text for text in CORPUS), k=9, negatives=3, block=8,
        guards=Guards(character_overlap=0.9, skip=1),
    )  # fmt: skip
    for name in ("index", "similarity", "neighbours", "removed_by", "positive_similarity"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(listed, name))
    assert streamed.triplets().to_dict() == listed.triplets().to_dict()
    assert encoder.asked == [10, 8, 8, 8, 8, 8]  # the anchors, then a block at a time
    assert listed.report.counts == streamed.report.counts
    assert (streamed.report.counts["copies"], streamed.report.counts["blank"]) == (2, 1)


def test_a_stream_is_not_read_ahead_of_its_block() -> None:
    reached = 0

    def sentences() -> Iterator[str]:
        nonlocal reached
        for reached in range(1, 101):
            yield f"text {reached}"

    class Watching(Fake):
        def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
            seen.append(reached)
            return super().encode(sentences)

    seen: list[int] = []
    mine(Watching(), ["a", "b"], sentences(), block=10)
    assert seen == [0, *range(10, 101, 10)]


def test_texts_of_a_stream_are_found_again() -> None:
    spooled = Spooled(iter(["a", "", "bé\n\x00", "a", "日本"]))
    assert [(texts, places.tolist()) for texts, places in spooled.blocks(2)] == [
        (["a", "bé\n\x00"], [0, 2]), (["日本"], [4]),
    ]  # fmt: skip
    assert spooled.texts(np.array([4, 0, 2, 4, 3])) == ["日本", "a", "bé\n\x00", "日本", "a"]
    file = spooled._file
    del spooled
    gc.collect()
    assert file.closed or file is not None  # an unnamed file: nothing is left in the folder


def test_a_file_is_streamed_and_cleaned_as_a_corpus_is(tmp_path: Path) -> None:
    from hncse.data import corpora

    path = tmp_path / "corpus.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("one  sentence\n\n two \tsentences\nthree\n")
    assert list(stream(path)) == corpora.load(path).sentences == ["one sentence", "two sentences", "three"]
    assert list(stream(path, limit=2)) == ["one sentence", "two sentences"]
    (tmp_path / "t.csv").write_text("a,b\nx,y\nv,w\n")
    assert list(stream(tmp_path / "t.csv", column="b")) == ["y", "w"]
    assert rows(mine(Fake(), ["one sentence", "four"], str(path), negatives=3))[0] in ([1, 2], [2, 1])
    with pytest.raises(HncseError, match="takes no column"):
        stream("wikipedia", column="a")


def test_wikipedia_is_streamed_in_its_files_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    (tmp_path / "wikipedia").mkdir()
    for name in "ba":
        (tmp_path / "wikipedia" / f"{name}.txt").write_text(f"{name} one\n{name} two\n")
    assert list(stream("wikipedia", limit=3)) == ["a one", "a two", "b one"]


def test_a_list_stays_a_list_and_may_be_cut() -> None:
    from hncse.data import corpora

    assert isinstance(pool(CORPUS), Listed) and isinstance(pool(corpora.from_sentences(CORPUS)), Listed)
    assert [texts for texts, _ in pool(CORPUS, limit=3).blocks(2)] == [CORPUS[:2], CORPUS[2:3]]
    assert [texts for texts, _ in pool(iter(CORPUS), limit=3).blocks(2)] == [CORPUS[:2], CORPUS[2:3]]


# The report


def test_the_report_counts_what_the_arrays_say() -> None:
    guards = Guards(margin=0.1, max_similarity=0.8, min_similarity=0.2, skip=1)
    mined = mine(Fake(2), CORPUS[:20], CORPUS[10:], CORPUS[20:40], k=12, negatives=2, guards=guards)
    report = mined.report
    there = mined.removed_by >= 0
    reached = int(there.sum())
    assert list(report.guards) == ["positive", "same_text", "margin", "max_similarity", "min_similarity", "skip"]
    for name, row in report.guards.items():
        n = int((mined.removed_by == 1 + GUARDS.index(name)).sum())
        assert row["removed"] == n
        assert row["share"] == pytest.approx(n / reached) and row["of_all"] == pytest.approx(n / there.sum())
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
    shown = str(report)
    assert all(name in shown for name in [*report.guards, "positive", "what to turn", "encoder fake"])
    assert max(map(len, shown.splitlines()[: -len(report.advice)])) <= 120


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
    import re

    options = {"corpus": [f"other {i}" for i in range(40)], **options}
    assert re.search(advice, str(mine(Fake(), CORPUS[:20], **options).report))


def test_near_copies_are_pointed_out() -> None:
    mined = mine(Circle(), ["0", "1", "90", "91"])
    assert any("one negative in twenty is above 0.95" in line for line in mined.report.advice)


# Triplets and files


@pytest.fixture(scope="module")
def mined() -> MinedCorpus:
    return mine(Circle(), ["0", "170", "0"], ["10", "20", "175"], negatives=2, guards=Guards(min_similarity=0.5))


def test_triplets_are_a_row_for_every_negative(mined: MinedCorpus) -> None:
    table = mined.triplets()
    assert table.column_names == ["anchor", "positive", "negative", "positive_similarity", "negative_similarity"]
    assert table["anchor"][:] == ["0", "0", "170", "0", "0"] == table["positive"][:]
    assert table["negative"][:] == ["10", "20", "175", "10", "20"]
    assert table.features["negative_similarity"].dtype == "float32"
    assert table["negative_similarity"][1] == pytest.approx(np.cos(np.radians(20)), abs=1e-6)
    assert len(mined) == 3 and mined.texts([2, 0]) == ["175", "10"]
    with pytest.raises(HncseError, match="-1 stands for a missing negative"):
        mined.texts([0, -1])


def test_tuples_are_a_row_for_every_anchor_that_has_all(mined: MinedCorpus) -> None:
    table = mined.triplets("n-tuple")
    assert table.column_names[:4] == ["anchor", "positive", "negative_1", "negative_2"]
    assert table.column_names[4:] == ["positive_similarity", "negative_1_similarity", "negative_2_similarity"]
    assert table["anchor"][:] == ["0", "0"] and table["negative_2"][:] == ["20", "20"]
    with pytest.raises(HncseError, match="Did you mean 'triplet'"):
        mined.triplets("triplets")


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_files_give_back_what_was_written(name: str, mined: MinedCorpus, tmp_path: Path) -> None:
    path = mined.save(tmp_path / "deeper" / name)
    back = load(path).to_dict()
    for column, values in mined.triplets().to_dict().items():
        assert back[column] == (values if isinstance(values[0], str) else pytest.approx(values))
    assert [p.name for p in path.parent.iterdir()] == [name]
    before = path.read_bytes()
    mined.save(path)
    assert path.read_bytes() == before


def test_a_file_is_written_whole_or_not_at_all(mined: MinedCorpus, tmp_path: Path, monkeypatch) -> None:
    from datasets import Dataset

    path = mined.save(tmp_path / "t.parquet")
    before = path.read_bytes()

    def full(self, file, **_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Dataset, "to_parquet", full)
    with pytest.raises(HncseError, match=r"t\.parquet could not be written: No space left"):
        mined.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_bad_files_are_named(mined: MinedCorpus, tmp_path: Path) -> None:
    for act in (mined.save, load):
        with pytest.raises(HncseError, match=r"must end in \.parquet or \.jsonl"):
            act(tmp_path / "t.csv")
    with pytest.raises(HncseError, match="there is no file"):
        load(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(HncseError, match="cannot be read as triplets"):
        load(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(HncseError, match="no column 'anchor'; it has text"):
        load(tmp_path / "t.jsonl")


# The command line


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mining")
    (folder / "corpus.txt").write_text("\n".join(tiny.sentences(30)), encoding="utf-8")
    (folder / "anchors.txt").write_text("\n".join(tiny.sentences(5, seed=9)), encoding="utf-8")
    paths = {"encoder": tiny.folder(folder, "mean"), "corpus": folder / "corpus.txt", "anchors": folder / "anchors.txt"}
    return {name: str(path) for name, path in paths.items()}


def test_the_command_prints_the_report_and_writes_triplets(files, tmp_path: Path, capsys) -> None:
    out, figures = tmp_path / "m.jsonl", tmp_path / "m.json"
    asked = (
        f"--encoder {files['encoder']} --corpus {files['corpus']} --k 6 --negatives 2 --relative-margin 0.01".split()
    )
    assert mining.main([*asked, "--skip", "1", "--out", str(out), "--json", str(figures)]) == 0
    shown = capsys.readouterr().out
    expected = mine(
        tiny.encoder("mean"), tiny.sentences(30), k=6, negatives=2, guards=Guards(relative_margin=0.01, skip=1)
    )
    assert "relative_margin" in shown and f"wrote {out}" in shown and "corpus 30 sentences" in shown
    assert load(out)["negative"][:] == expected.triplets()["negative"][:]
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
        ("--k 2 --skip 2", "k must be at least 3"),
        ("--max-similarity 2", "max_similarity is 2.0"),
        ("--sampling tops", "Did you mean 'top'"),
        ("--layout ntuple", "Did you mean 'n-tuple'"),
        ("--out mined.csv", "must end in .parquet or .jsonl"),
        ("--calibrated 0.1 --calibrated-on nearby", "unknown value of calibrated_on"),
    ],
)
def test_the_command_names_what_is_wrong(arguments: str, message: str, files, capsys) -> None:
    asked = ["--encoder", files["encoder"], "--corpus", files["corpus"], *arguments.split()]
    assert mining.main(asked) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.startswith("error: ") and len(shown.splitlines()) == 1


# The benchmark


def test_the_benchmark_compares_what_is_equal() -> None:
    from datasets import Dataset

    from benchmarks import mining as benchmark

    assert benchmark._search(300, 1)["output"] == "100.0% of rows"
    rows = {"anchor": ["a", "a"], "positive": ["p", "p"], "negative": ["x", "y"]}
    ours = Dataset.from_dict(rows | {"negative_similarity": [0.5, 0.4]})
    same = Dataset.from_dict(rows | {"scores": [[0.9, 0.5], [0.9, 0.4]]})
    other = Dataset.from_dict(rows | {"negative": ["x", "z"], "scores": [[0.9, 0.5], [0.9, 0.3]]})
    assert benchmark.agreement(ours, same) == (1.0, 0.0)
    assert benchmark.agreement(ours, other) == (pytest.approx(1 / 3), pytest.approx(0.1))
    assert benchmark.agreement(ours, other.select([0]))[1] == np.inf


def test_a_bar_is_shown_on_request(capsys) -> None:
    mine(Fake(), CORPUS[:5], show_progress=True)
    assert "search: 100%" in capsys.readouterr().err
    mine(Fake(), CORPUS[:5])
    assert capsys.readouterr().err == "" and neighbours._LONG > 1e9
