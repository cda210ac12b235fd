"""The embedding cache: the same numbers as without it, one encoding a sentence, and no way to a stale file."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
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


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HNCSE_CACHE_GB", raising=False)
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.is_dir() else []


def test_the_second_time_nothing_is_encoded_and_the_numbers_are_the_same(cache: Path) -> None:
    encoder = Marked()
    texts = ["one", "two", "one", "", "three"]
    first = cached_encode(encoder, texts)
    assert encoder.asked == ["one", "two", "", "three"]  # each distinct sentence once
    assert first.dtype == np.float32 and first.shape == (5, 3)
    np.testing.assert_array_equal(first, Fake().encode(texts))
    np.testing.assert_array_equal(cached_encode(encoder, texts), first)
    np.testing.assert_array_equal(cached_encode(encoder, ["one", "two", "", "three"]), first[[0, 1, 3, 4]])
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
    with torch.no_grad():
        encoder.backbone.get_input_embeddings().weight[7, 3] -= 0.5
    if key(encoder, texts) == old:  # where the sum rounds back, so does the key
        np.testing.assert_array_equal(cached_encode(encoder, texts), before)


def test_everything_that_decides_an_embedding_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = tiny.sentences(5)
    encoder = tiny.encoder()
    keys = {key(encoder, texts), key(tiny.encoder("mean"), texts), key(tiny.encoder(seed=1), texts)}
    short = tiny.encoder()
    short.max_length = 5
    gelu = tiny.encoder()
    gelu.backbone.config.hidden_act = "relu"  # no weight differs

    class Other(type(encoder)):  # the same weights, another encode
        pass

    other = Other(encoder.backbone, encoder.tokenizer)
    keys |= {key(short, texts), key(gelu, texts), key(other, texts)}
    monkeypatch.setattr("hncse.__version__", "99.0")
    assert len(keys | {key(encoder, texts)}) == 7


def test_a_name_is_not_in_the_key() -> None:
    one, two = tiny.encoder(), tiny.encoder()
    one.name, two.name = "here", "there"
    one.backbone.config._name_or_path = "elsewhere"
    assert key(one, ["a cat"]) == key(two, ["a cat"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(
    st.lists(st.text(alphabet="ab\x00\n", max_size=4), max_size=5),
    st.lists(st.text(alphabet="ab\x00\n", max_size=4), max_size=5),
)
def test_two_lists_of_texts_hash_alike_only_if_they_are_equal(one: list[str], two: list[str]) -> None:
    assert (key(Marked(), one) == key(Marked(), two)) == (one == two)


def test_an_encoder_without_a_fingerprint_is_not_cached(cache: Path) -> None:
    encoder = Fake()
    cached_encode(encoder, ["a", "b", "a"])
    cached_encode(encoder, ["a", "b"])
    assert encoder.asked == ["a", "b"] * 2
    assert key(encoder, ["a"]) is None and files(cache) == []


@pytest.mark.parametrize("off", ["argument", "limit"])
def test_the_cache_can_be_turned_off(off: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if off == "limit":
        monkeypatch.setenv("HNCSE_CACHE_GB", "0")
    encoder = Marked()
    for _ in range(2):
        cached_encode(encoder, ["a", "b"], cache=off != "argument")
    assert encoder.asked == ["a", "b"] * 2 and files(cache) == []


def test_batch_size_reaches_the_encoder_only_when_given() -> None:
    encoder = Fake()
    cached_encode(encoder, ["a"])
    cached_encode(encoder, ["a"], batch_size=3)
    assert encoder.batch_sizes == [7, 3]


@pytest.mark.parametrize("caching", [True, False])
def test_chunks_are_put_together_in_order(caching: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "_CHUNK", 4)
    texts = [f"sentence {i}" for i in range(11)]
    np.testing.assert_array_equal(cached_encode(Marked(), texts, cache=caching), Fake().encode(texts))


def test_writing_into_the_result_does_not_reach_the_file() -> None:
    encoder = Marked()
    cached_encode(encoder, ["a", "b"])[:] = -1
    mapped = cached_encode(encoder, ["a", "b"])
    mapped[:] = -2
    np.testing.assert_array_equal(cached_encode(encoder, ["a", "b"]), Fake().encode(["a", "b"]))


def test_a_damaged_file_is_made_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Marked()
    expected = cached_encode(encoder, ["a", "b"]).copy()
    (path,) = files(cache)
    for content in (b"", b"no array at all", path.read_bytes()[:-4]):
        path.unlink()
        path.write_bytes(content)
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


def test_only_files_of_ours_are_ever_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    theirs = ["my-vectors.npy", "0" * 64 + ".npy", "." + "0" * 64 + ".npy", ".hidden-abcd1234", "notes.txt"]
    for name in theirs:
        np.save(cache / "x.npy", np.zeros((50, 50), dtype=np.float32))
        (cache / "x.npy").rename(cache / name)
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


def test_an_edited_encoder_makes_another_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encoder, texts = tiny.encoder(), ["a cat"]
    before = key(encoder, texts)
    monkeypatch.setattr(embedding_cache, "source_hash", lambda *modules: "the kit's encoder, edited")
    assert key(encoder, texts) != before
    keys = []
    for row in ("len(s)", "-len(s)"):  # a module of the reader's own: same class, same fingerprint
        (tmp_path / "mine.py").write_text(
            "import numpy as np\nclass Mine:\n    def fingerprint(self):\n        return 'x'\n"
            f"    def encode(self, sentences):\n        return np.array([[{row}, 1.0] for s in sentences])\n"
        )
        place = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
        module = importlib.util.module_from_spec(place)
        sys.modules["mine"] = module
        place.loader.exec_module(module)
        keys.append(key(module.Mine(), ["a"]))
        typed: dict = {"__name__": "typed_in"}
        exec(f"class Mine:\n    fingerprint = lambda self: 'x'\n    def encode(self, s): return {row}", typed)
        keys.append(key(typed["Mine"](), ["a"]))
    del sys.modules["mine"]
    assert len(set(keys)) == 4


def test_what_is_larger_than_the_limit_is_not_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_CACHE_GB", "0.000000050")
    np.testing.assert_array_equal(cached_encode(Marked(), list("abcdef")), Fake().encode(list("abcdef")))
    assert files(cache) == []


def test_a_failure_while_encoding_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "_CHUNK", 2)

    class Failing(Marked):
        def encode(self, sentences: list[str], batch_size: int = 1) -> np.ndarray:
            if "c" in sentences:
                raise KeyboardInterrupt
            return super().encode(sentences)

    with pytest.raises(KeyboardInterrupt):
        cached_encode(Failing(), list("abcd"))
    assert files(cache) == []


def test_without_a_place_to_write_it_warns_and_works(tmp_path, monkeypatch, caplog) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "file" / "cache"))
    np.testing.assert_array_equal(cached_encode(Marked(), ["a", "b"]), Fake().encode(["a", "b"]))
    assert "not cached" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_embeddings_are_an_error_and_never_cached(value: float, cache: Path) -> None:
    class Broken(Marked):
        def encode(self, sentences: list[str]) -> np.ndarray:
            rows = super().encode(sentences)
            rows[1, 0] = value
            return rows

    with pytest.raises(HncseError, match=r"1 of 3 embeddings hold NaN or infinity, the first that of 'b'"):
        cached_encode(Broken(), ["a", "b", "c"])
    assert files(cache) == []


@pytest.mark.parametrize(
    ("sentences", "message"),
    [("one string", "put it in a list"), (["a", 3], r"sentence 1 is 3 \(int\)"), ([], "no sentences")],
)
def test_bad_sentences(sentences, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        cached_encode(Marked(), sentences)


def test_embeddings_of_the_wrong_shape() -> None:
    class Flat(Fake):
        def encode(self, sentences: list[str]) -> np.ndarray:
            return super().encode(sentences)[:, 0]

    with pytest.raises(HncseError, match=r"shape \(2,\) for 2 sentences"):
        cached_encode(Flat(), ["a", "b"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("listed", [False, True])
def test_tensors_become_float32_rows(dtype: torch.dtype, listed: bool) -> None:
    z = torch.tensor([[0.5, 2.0], [1.25, -3.0], [0.0, 8.0]], dtype=dtype, requires_grad=True)

    class Torch:
        def encode(self, sentences: list[str]):
            return list(z) if listed else z * 1

    rows = cached_encode(Torch(), ["a", "b", "c"])
    assert rows.dtype == np.float32 and rows.tolist() == [[0.5, 2.0], [1.25, -3.0], [0.0, 8.0]]


@pytest.mark.parametrize(
    ("given_rows", "says"),
    [
        (np.ones((2, 3), dtype=np.int8), "int8 values; embeddings must be floating-point"),
        (torch.ones(2, 3, dtype=torch.int64), "int64 values"),
        (torch.ones(2, 3, 1), r"shape \(2, 3, 1\) for 2 sentences; it must be \(n, d\)"),
        ([[1.0, 2.0], [1.0]], r"no \(n, d\) array"),
        (None, r"shape \(\) for 2 sentences"),
        (np.array([[1e300, 1.0], [1.0, 1.0]]), "1 of 2 embeddings hold NaN or infinity, the first that of 'a'"),
    ],
)
def test_what_is_no_table_of_floats_is_named(given_rows, says: str) -> None:
    class Odd:
        def encode(self, sentences: list[str]):
            return given_rows

    with pytest.raises(HncseError, match=says):
        cached_encode(Odd(), ["a", "b"])


def test_a_folder_that_is_a_file_is_named_and_home_is_expanded(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("HNCSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(HncseError, match="HNCSE_CACHE is .*file.* a file"):
        cached_encode(Marked(), ["a"])
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HNCSE_CACHE", "~/kept")
    cached_encode(Marked(), ["a"])
    assert len(files(tmp_path / "kept")) == 1
    monkeypatch.setenv("HNCSE_CACHE", "~nobody-of-that-name/x")
    with pytest.raises(HncseError, match="home folder"):
        folder()


@pytest.mark.parametrize("value", ["much", "-1", "inf", "nan"])
def test_bad_limits_are_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_CACHE_GB", value)
    with pytest.raises(HncseError, match=f"HNCSE_CACHE_GB is '{value}'"):
        limit_bytes()


def test_the_folder_is_the_users_cache_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_bytes() == 4_000_000_000
    monkeypatch.delenv("HNCSE_CACHE")
    assert folder().parts[-2:] == ("hncse", "embeddings")
