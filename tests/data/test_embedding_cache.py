"""The embedding cache: the same numbers as without it, one encoding a sentence, and no way to a stale file."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hncse import HncseError
from hncse.data import embedding_cache
from hncse.data.embedding_cache import cached_encode, folder, key, limit_bytes
from tests import tiny


class Fake:
    """Vectors made of the text; counts what it was asked for."""

    def __init__(self, mark: str = "weights") -> None:
        self.mark, self.asked, self.batch_sizes = mark, [], []

    def encode(self, sentences: list[str], batch_size: int = 7) -> np.ndarray:
        self.asked += sentences
        self.batch_sizes.append(batch_size)
        return np.array([[len(s), sum(map(ord, s)), len(self.mark)] for s in sentences], dtype=np.float64)


class Marked(Fake):
    def fingerprint(self) -> str:
        return self.mark


class Gives(Marked):
    """Gives the same thing whatever it is asked for."""

    def __init__(self, embeddings: object) -> None:
        super().__init__()
        self.embeddings = embeddings

    def encode(self, sentences: list[str]) -> object:
        return self.embeddings


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HNCSE_CACHE_GB", raising=False)
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.is_dir() else []


def test_the_second_time_nothing_is_encoded_and_the_numbers_are_the_same(cache: Path) -> None:
    encoder, texts = Marked(), ["one", "two", "one", "", "three"]
    first = cached_encode(encoder, texts)
    assert encoder.asked == ["one", "two", "", "three"]  # each distinct sentence once
    assert first.dtype == np.float32 and first.shape == (5, 3)
    np.testing.assert_array_equal(first, Fake().encode(texts))
    mapped = cached_encode(encoder, ["one", "two", "", "three"])
    np.testing.assert_array_equal(mapped, first[[0, 1, 3, 4]])
    mapped[:] = -2  # the caller's copy only
    np.testing.assert_array_equal(cached_encode(encoder, texts), first)
    assert len(encoder.asked) == 4
    assert [path.name for path in files(cache)] == [f"{key(encoder, ['one', 'two', '', 'three'])}.npy"]


def test_one_changed_weight_makes_a_stale_file_impossible() -> None:
    encoder, texts = tiny.encoder(), tiny.sentences(20)
    before, old = cached_encode(encoder, texts).copy(), key(encoder, texts)
    with torch.no_grad():
        encoder.backbone.get_input_embeddings().weight[7, 3] += 0.5  # one number of one word's vector
    after = cached_encode(encoder, texts)
    assert key(encoder, texts) != old
    np.testing.assert_allclose(after, encoder.encode(texts), atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_everything_that_decides_an_embedding_is_in_the_key_and_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, encoder, same = tiny.sentences(5), tiny.encoder(), tiny.encoder()
    same.name, same.backbone.config._name_or_path = "there", "elsewhere"
    assert key(encoder, texts) == key(same, texts)
    short, relu = tiny.encoder(), tiny.encoder()
    short.max_length = 5
    relu.backbone.config.hidden_act = "relu"  # no weight differs

    class Other(type(encoder)):  # the same weights, another encode
        pass

    others = (tiny.encoder("mean"), tiny.encoder(seed=1), short, relu, Other(encoder.backbone, encoder.tokenizer))
    keys = {key(one, texts) for one in (encoder, *others)}
    monkeypatch.setattr("hncse.__version__", "99.0")
    keys.add(key(encoder, texts))
    monkeypatch.setattr(embedding_cache, "source_hash", lambda *modules: "the kit's encoder, edited")
    assert len(keys | {key(encoder, texts)}) == 8


def test_an_edited_encoder_of_the_readers_own_makes_another_key(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for row in ("len(s)", "-len(s)"):  # the same module, class and fingerprint
        code = f"class Mine:\n    fingerprint = lambda self: 'x'\n    def encode(self, s): return {row}\n"
        (tmp_path / "mine.py").write_text(code)
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        keys.append(key(importlib.import_module("mine").Mine(), ["a"]))
        typed: dict = {"__name__": "typed_in"}  # into an interpreter
        exec(code, typed)
        keys.append(key(typed["Mine"](), ["a"]))
    monkeypatch.delitem(sys.modules, "mine")
    assert len(set(keys)) == 4


lists = st.lists(st.text(alphabet="ab\x00\n", max_size=4), max_size=5)


@settings(max_examples=50, deadline=None)
@given(lists, lists)
def test_two_lists_of_texts_hash_alike_only_if_they_are_equal(one: list[str], two: list[str]) -> None:
    assert (key(Marked(), one) == key(Marked(), two)) == (one == two)


@pytest.mark.parametrize("off", ["argument", "limit", "fingerprint"])
def test_where_nothing_is_cached(off: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if off == "limit":
        monkeypatch.setenv("HNCSE_CACHE_GB", "0")
    encoder = Fake() if off == "fingerprint" else Marked()
    for _ in range(2):
        cached_encode(encoder, ["a", "b", "a"], cache=off != "argument")
    assert encoder.asked == ["a", "b"] * 2 and files(cache) == []


def test_batch_size_reaches_the_encoder_only_when_given() -> None:
    encoder = Fake()
    cached_encode(encoder, ["a"])
    cached_encode(encoder, ["a"], batch_size=3)
    assert encoder.batch_sizes == [7, 3]


def test_chunks_are_put_together_in_order_and_a_failure_leaves_nothing(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(embedding_cache, "_CHUNK", 4)

    class Failing(Marked):
        def encode(self, sentences: list[str], batch_size: int = 1) -> np.ndarray:
            if "sentence 9" in sentences:
                raise KeyboardInterrupt
            return super().encode(sentences)

    texts = [f"sentence {i}" for i in range(11)]
    with pytest.raises(KeyboardInterrupt):
        cached_encode(Failing(), texts)
    assert files(cache) == []
    np.testing.assert_array_equal(cached_encode(Marked(), texts), Fake().encode(texts))


def test_a_damaged_file_is_made_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Marked()
    expected = cached_encode(encoder, ["a", "b"]).copy()
    (path,) = files(cache)
    for content in (b"", b"no array at all", path.read_bytes()[:-4]):
        path.unlink()
        path.write_bytes(content)
        caplog.clear()
        np.testing.assert_array_equal(cached_encode(encoder, ["a", "b"]), expected)
        assert "is made again" in caplog.text
    assert len(encoder.asked) == 8


def test_what_was_not_used_for_longest_goes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Marked()
    one = 128 + 10 * 3 * 4  # bytes of a file: the header, ten rows
    monkeypatch.setenv("HNCSE_CACHE_GB", str(2.5 * one / 1e9))
    lists = [[f"{name}{i}" for i in range(10)] for name in "xyz"]
    names = [f"{key(encoder, texts)}.npy" for texts in lists]
    for age, texts, name in zip((300, 200), lists, names, strict=False):
        cached_encode(encoder, texts)
        os.utime(cache / name, (1e9 - age, 1e9 - age))
    cached_encode(encoder, lists[0])  # x is older, but used now
    cached_encode(encoder, lists[2])
    assert {path.name for path in files(cache)} == {names[0], names[2]}
    monkeypatch.setenv("HNCSE_CACHE_GB", "0.000000050")  # larger than the limit: not written
    np.testing.assert_array_equal(cached_encode(encoder, list("abcdef")), Fake().encode(list("abcdef")))
    assert {path.name for path in files(cache)} == {names[0], names[2]}


def test_only_files_of_ours_are_ever_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    theirs = ["my-vectors.npy", "0" * 64 + ".npy", "." + "0" * 64 + ".npy", ".hidden-abcd1234", "notes.txt"]
    for name in theirs:
        with (cache / name).open("wb") as file:
            np.save(file, np.zeros((50, 50), dtype=np.float32))
        os.utime(cache / name, (1e9 - 1e6, 1e9 - 1e6))
    (cache / "folder.npy").mkdir()
    leftover = cache / f".{'1' * 64}.npy-0123abcd"  # of a process that was killed long ago, and of one that writes
    for path, age in ((leftover, 1e6), (cache / f".{'2' * 64}.npy-0123abcd", 0)):
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    monkeypatch.setenv("HNCSE_CACHE_GB", "0.0000003")
    for name in "abc":
        cached_encode(Marked(), [f"{name}{i}" for i in range(10)])
    left = {path.name for path in files(cache)}
    assert left > {*theirs, "folder.npy", f".{'2' * 64}.npy-0123abcd"} and leftover.name not in left
    assert len(left) == len(theirs) + 3  # and the newest of ours


def test_files_are_for_whom_the_umask_lets(cache: Path) -> None:
    before = os.umask(0o027)
    try:
        cached_encode(Marked(), ["a"])
    finally:
        os.umask(before)
    assert files(cache)[0].stat().st_mode & 0o777 == 0o640


def test_without_a_place_to_write_it_warns_and_works(tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "file" / "cache"))
    np.testing.assert_array_equal(cached_encode(Marked(), ["a", "b"]), Fake().encode(["a", "b"]))
    assert "not cached" in caplog.text


@pytest.mark.parametrize(
    ("sentences", "message"),
    [("one string", "put it in a list"), (["a", 3], r"sentence 1 is 3 \(int\)"), ([], "no sentences")],
)
def test_bad_sentences(sentences, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        cached_encode(Marked(), sentences)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("listed", [False, True])
def test_tensors_become_float32_rows(dtype: torch.dtype, listed: bool) -> None:
    z = torch.tensor([[0.5, 2.0], [1.25, -3.0], [0.0, 8.0]], dtype=dtype, requires_grad=True)
    rows = cached_encode(Gives(list(z) if listed else z * 1), ["a", "b", "c"])
    assert rows.dtype == np.float32 and rows.tolist() == [[0.5, 2.0], [1.25, -3.0], [0.0, 8.0]]


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((2, 3), dtype=np.int8), "int8 values; embeddings must be floating-point"),
        (torch.ones(2, 3, dtype=torch.int64), "int64 values"),
        (np.ones(2), r"shape \(2,\) for 2 sentences"),
        (torch.ones(2, 3, 1), r"shape \(2, 3, 1\) for 2 sentences; it must be \(n, d\)"),
        ([[1.0, 2.0], [1.0]], r"no \(n, d\) array"),
        (None, r"shape \(\) for 2 sentences"),
        (np.array([[1e300, 1.0], [1.0, 1.0]]), "1 of 2 embeddings hold NaN or infinity, the first that of 'a'"),
        (np.array([[1.0, 1.0], [np.nan, 1.0]]), "1 of 2 embeddings hold NaN or infinity, the first that of 'b'"),
    ],
)
def test_what_is_no_table_of_finite_floats_is_named_and_never_cached(embeddings, message: str, cache: Path) -> None:
    with pytest.raises(HncseError, match=message):
        cached_encode(Gives(embeddings), ["a", "b"])
    assert files(cache) == []


def test_the_folder_is_the_users_or_the_one_that_is_named(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(HncseError, match="HNCSE_CACHE is .*file.* a file"):
        cached_encode(Marked(), ["a"])
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HNCSE_CACHE", "~/cache")
    assert folder() == tmp_path / "cache"
    monkeypatch.setenv("HNCSE_CACHE", "~nobody-of-that-name/x")
    with pytest.raises(HncseError, match="home folder"):
        folder()
    monkeypatch.delenv("HNCSE_CACHE")
    assert folder().parts[-2:] == ("hncse", "embeddings")


def test_the_limit_is_four_gigabytes_or_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_bytes() == 4_000_000_000
    for value in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("HNCSE_CACHE_GB", value)
        with pytest.raises(HncseError, match=f"HNCSE_CACHE_GB is '{value}'"):
            limit_bytes()
