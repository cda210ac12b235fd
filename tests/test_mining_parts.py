"""Parts of the corpus miner: text overlap, streamed corpora, the report, triplets and files, the command line."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hncse import HncseError, mining
from hncse.mining import GUARDS, Guards, MinedCorpus, load, mine
from hncse.mining.search import Pool, pair_similarity, unit_rows
from tests import tiny
from tests.oracles import mining_oracle as oracle
from tests.test_mining import Circle, Fake, rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "cache"))


# Text overlap


class Same:
    """Every text has nearly the same vector, so that all are neighbours of all."""

    def encode(self, sentences: list[str]) -> np.ndarray:
        return np.ones((len(sentences), 2)) + np.arange(len(sentences))[:, None] * [0, 0.001]


def guard_names(guards: Guards, anchors: list[str], positives: list[str] | None, corpus: list[str]) -> dict[str, str]:
    """Corpus text → the guard that removed it from the first anchor's neighbours, or "kept"."""
    mined = mine(Same(), anchors, positives, corpus, guards=guards)
    names = [GUARDS[code - 1] if code else "kept" for code in mined.removed_by[0].tolist()]
    return dict(zip(mined.texts(mined.neighbours[0]), names, strict=True))


texts = st.lists(st.text(alphabet="aAb, é!", min_size=1, max_size=14).filter(str.strip), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    own=texts, corpus=texts, limit=st.floats(0.05, 1.0), guard=st.sampled_from(["word_overlap", "character_overlap"])
)
def test_overlap_is_that_of_sets_with_the_anchor_or_any_positive(own, corpus, limit: float, guard: str) -> None:
    guards = Guards(same_text=False, **{guard: limit})
    anchor, *positives = own
    given_positives = positives or None
    searched = [text for text in corpus if text != anchor and text not in positives]
    if not searched:
        return
    got = guard_names(guards, [anchor] * max(1, len(positives)), given_positives, searched)
    for text, name in got.items():
        expected = oracle.removed_by(guards, own, text, 0.0, 1.0, None)
        assert name == (expected or "kept")


def test_overlap_known_by_eye() -> None:
    dog, man = "The  DOG, bit — the man!", "the man bit the dog"
    assert guard_names(Guards(word_overlap=1.0), [dog], None, [man, "it rains"])[man] == "word_overlap"
    assert guard_names(Guards(character_overlap=0.6), [dog], None, [man, "it rains"])[man] == "kept"
    assert guard_names(Guards(), [dog], None, ["the dog bit the man", "?!"])["the dog bit the man"] == "same_text"
    assert guard_names(Guards(), ["?!"], None, ["?!?", "?! "]) == {"?!?": "kept", "?! ": "same_text"}  # no words
    assert guard_names(Guards(character_overlap=1.0, same_text=False), ["abc"], None, ["ABC", "abd"]) == {
        "ABC": "character_overlap", "abd": "kept",
    }  # fmt: skip


@pytest.mark.parametrize(
    "copy",
    [
        "PARIS IS BIG",
        "  paris   is big ",
        "Paris is big",
        "Paris\u00a0is big!",
        "Ｐａｒｉｓ is big",
        "Pa\u00adris is big",
    ],
)
@pytest.mark.parametrize("others", [[], ["Paris has size.", "It is Paris."]])
def test_a_positive_in_other_dress_is_no_negative(copy: str, others: list[str]) -> None:
    positives = [*others, "Paris is big."]
    anchors = ["What is big?"] * len(positives)
    mined = mine(Same(), anchors, positives, [*positives, copy, "Rome is old."], negatives=9)
    assert set(mined.triplets()["negative"]) == {"Rome is old."}
    assert mined.report.guards["same_text"]["removed"] == 1
    assert mined.report.guards["positive"]["removed"] == len(positives)


def test_composed_and_decomposed_letters_are_the_same_and_vowel_signs_are_not() -> None:
    got = guard_names(Guards(), ["café"], ["Straße"], ["CAFE\u0301", "cafe", "STRASSE"])
    assert got == {"CAFE\u0301": "same_text", "cafe": "kept", "STRASSE": "same_text"}
    assert guard_names(Guards(), ["कि"], None, ["के", "कि।"]) == {"के": "kept", "कि।": "same_text"}


def test_overlap_with_a_positive_removes_too() -> None:
    anchor, positive, near = "Who?", "the old dog slept on the mat", "the old dog slept on a mat"
    assert guard_names(Guards(), [anchor], [positive], [near, "rain"])[near] == "kept"
    assert guard_names(Guards(word_overlap=0.7), [anchor], [positive], [near, "rain"])[near] == "word_overlap"
    got = guard_names(Guards(character_overlap=0.5), [anchor], [positive], [near, "rain"])
    assert got == {near: "character_overlap", "rain": "kept"}


def test_pairs_among_themselves_leave_no_copy_of_a_positive() -> None:
    mined = mine(Same(), ["What is big?", "What is red?"], ["Paris is big.", "PARIS IS BIG"])
    assert len(mined.triplets()) == 0 and mined.triplets().features["negative"].dtype == "string"
    assert mined.report.guards["same_text"]["removed"] == 2 and "same_text" in str(mined.report)


def test_text_guards_remove_what_they_say() -> None:
    corpus = ["the dog bit the man", "The dog bit the man!", "the man bit the dog", "the dog bit the mane", "it rains"]

    def names(guards: Guards) -> list[str]:
        codes = mine(Same(), corpus[:1], corpus=corpus[1:], guards=guards).removed_by[0]
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
    mined = mine(Circle(), ["0", "41", "40 3"], corpus=corpus, k=5, negatives=5, block=block, backend=backend)
    first = [i for i in range(20) if i % 7]
    assert rows(mined) == [[700, *first[:4]], first[:5], [i for i in first if i != 3][:5]]


# Corpora

CORPUS = [f"text {i}" for i in range(40)] + ["text 3", "  ", "text 5"]


def test_a_stream_gives_what_a_list_gives_and_holds_one_block_of_embeddings() -> None:
    encoder = Fake()
    listed = mine(Fake(), CORPUS[:10], corpus=CORPUS, k=9, negatives=3, guards=Guards(character_overlap=0.9, skip=1))
    streamed = mine(
        encoder, CORPUS[:10], None, (text for text in CORPUS), k=9, negatives=3, block=8,
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
    mine(Watching(), ["a", "b"], corpus=sentences(), block=10)
    assert seen == [0, *range(10, 101, 10)]


def test_texts_of_a_stream_are_found_again() -> None:
    pool = Pool(iter(["a", "", "bé\n\x00", "a", "日本"]))
    assert [(texts, places.tolist()) for texts, places in pool.blocks(2)] == [
        (["a", "bé\n\x00"], [0, 2]), (["日本"], [4]),
    ]  # fmt: skip
    assert pool.texts(np.array([4, 0, 2, 4, 3])) == ["日本", "a", "bé\n\x00", "日本", "a"]


def test_a_file_is_streamed_and_cleaned_as_a_corpus_is(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("one  sentence\n\n two \tsentences\nthree\n")
    mined = mine(Fake(), ["one sentence", "four"], corpus=str(path), negatives=3)
    assert rows(mined)[0] in ([1, 2], [2, 1]) and mined.texts([0, 1]) == ["one sentence", "two sentences"]
    (tmp_path / "t.csv").write_text("a,b\nx,y\nv,w\n")
    assert mine(Fake(), ["four"], corpus=tmp_path / "t.csv", column="b").texts([0, 1]) == ["y", "w"]
    with pytest.raises(HncseError, match="takes no column"):
        mine(Fake(), ["four"], corpus="wikipedia", column="a")


def test_a_list_stays_a_list_and_any_corpus_may_be_cut() -> None:
    from hncse.data import corpora

    for corpus in (CORPUS, corpora.from_sentences(CORPUS), iter(CORPUS)):
        mined = mine(Fake(), ["a"], corpus=corpus, limit=3, negatives=9)
        assert mined.report.counts["corpus"] == 3 and sorted(rows(mined)[0]) == [0, 1, 2]
    assert Pool(CORPUS).in_memory and not Pool(iter(CORPUS)).in_memory


# The report


def test_the_report_counts_what_the_arrays_say() -> None:
    guards = Guards(margin=0.1, max_similarity=0.8, min_similarity=0.2, skip=1)
    mined = mine(Fake(2), CORPUS[:20], CORPUS[20:40], CORPUS[10:], k=12, negatives=2, guards=guards)
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


# Other guards, without another search


@settings(max_examples=30, deadline=None)
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


QA = [("Who wrote it?", "A poet wrote it."), ("Who sang it?", "A singer sang it."), ("Where?", "In the old house.")]


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "qa.csv"
    path.write_text("query,passage\n" + "".join(f"{query},{passage}\n" for query, passage in [*QA, *QA[:1]]))
    return str(path)


def test_the_command_mines_pairs(pairs: str, files, tmp_path: Path, capsys) -> None:
    out = tmp_path / "m.jsonl"
    asked = ["--encoder", files["encoder"], "--anchors", pairs, "--anchor-column", "query", "--positives", "passage"]
    for corpus in ([], ["--corpus", pairs, "--column", "passage"]):
        assert mining.main([*asked, *corpus, "--negatives", "2", "--out", str(out)]) == 0
        table = load(out)
        assert list(zip(table["anchor"], table["positive"], strict=True))[::2] == [*QA, QA[0]]
        assert set(table["negative"]) == {passage for _, passage in QA}
        assert all(row["negative"] != row["positive"] for row in table)
        assert "note:" not in capsys.readouterr().err


def test_the_command_says_when_two_columns_of_a_table_may_be_pairs(pairs: str, files, capsys) -> None:
    asked = ["--encoder", files["encoder"], "--anchors", pairs, "--corpus", pairs]
    assert mining.main([*asked, "--anchor-column", "query", "--column", "passage"]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert len([line for line in notes if line.startswith("note:") and "--positives passage" in line]) == 1
    assert mining.main([*asked, "--anchor-column", "query", "--column", "query"]) == 0
    assert "--positives" not in capsys.readouterr().err
    assert mining.main(["--encoder", files["encoder"], "--positives", "passage"]) == 2
    assert "--anchors names none" in capsys.readouterr().err


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
    assert capsys.readouterr().err == "" and mining._LONG > 1e9
