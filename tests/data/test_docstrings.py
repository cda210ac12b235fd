"""Sentences out of docstrings: prose only, the same each time, kept between runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from hncse.data import corpora, docstrings, home
from hncse.errors import HncseError

NUMPYDOC = """Sort an array of numbers in place.

    The **order** of equal elements is kept, see :func:`other.function`. This uses ``merge`` sort, which is
    stable by design.

    Parameters
    ----------
    values : array_like
        The values that are sorted by this function.
    x_max : int, optional
        Must be larger than zero or nothing happens.

    .. note:: This directive is not read as a sentence.

    - This list item is not read as a sentence.

    >>> print("This is code and not a sentence.")

    =====  =====
    This is a row of a table and not a sentence.
    =====  =====

    If there are no values, nothing is done. Whether this is a sentence or not. The value to be returned.
    Call sort_all(x) to do the same. It is faster than foo.bar is. This is cut off at the end
    """


def test_prose_is_found_and_the_rest_is_not():
    assert list(docstrings.prose_sentences(NUMPYDOC)) == [
        "Sort an array of numbers in place.",
        "This uses merge sort, which is stable by design.",
        "This is a row of a table and not a sentence.",
        "If there are no values, nothing is done.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Too short to be.",
        "the first letter is a small one.",
        "There is no full stop at the end",
        "The name of the_variable is not English.",
        "This calls the camelCase function of the module.",
        "This opens a bracket (and it never is closed.",
        "Weights biases layers units tensors shapes dtypes is.",
        "The array that is used for the result.",
        "Must be one of the names that are given.",
        "If the name is one of these, those, or others.",
        "List of the names that are in use.",
        "There is one more piece to this: 1.",
        "This is used for the first one, etc.",
        "It is " + "very " * 40 + "long.",
    ],
)
def test_what_is_not_an_english_sentence(text):
    assert list(docstrings.prose_sentences(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "The array is sorted before it is returned.",
        "Return a new list with the same elements.",
        'This is known as the "bias" of an estimator.',
        "Isn't this what you would expect from it?",
        "When no name is given, the first one is used.",
        "In 95% of the cases (e.g. here), it's correct.",
    ],
)
def test_what_is_an_english_sentence(text):
    assert list(docstrings.prose_sentences(text)) == [text]


def install(
    site: Path, name: str, version: str = "1.0", needs: tuple[str, ...] = (), modules: tuple[str, ...] = ()
) -> None:
    """Write what an installer leaves: metadata, and a record of the files."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    (info / "RECORD").write_text("".join(f"{module},,\n" for module in modules))
    importlib.invalidate_caches()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of four modules in place of everything that the kit needs, and an empty cache folder."""
    site = tmp_path / "site"
    root = site / "package"
    (root / "tests").mkdir(parents=True)
    (root / "b.py").write_text('def f():\n    r"""The second module has one sentence."""\n')
    (root / "a.py").write_text(
        '"""This module has two of them. The other one is this one."""\n'
        'x = """This string is no docstring of anything."""\n'
        "class A:\n    '''The second Module has one sentence!'''\n"
    )
    (root / "tests" / "c.py").write_text('"""This folder of tests is not read."""')
    (root / "d.py").write_bytes(
        b'"""This file is in latin-1 but it can be read: caf\xe9 one. This sentence is fine too."""'
    )
    (root / "e.py").write_text('"""This file was not put there by the installer."""')
    modules = tuple(f"package/{name}.py" for name in ("b", "tests/c", "gone", "a", "d"))
    install(site, "package", modules=modules)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(docstrings, "_requirements", lambda: ["package>=0.1"])
    monkeypatch.setattr(docstrings.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    return site


EXPECTED = {
    "This module has two of them.", "The other one is this one.", "The second Module has one sentence!",
    "This sentence is fine too.",
}  # fmt: skip


def test_harvest_reads_each_sentence_once_in_an_order_of_the_seed_alone(package):
    orders = {seed: docstrings.harvest(seed) for seed in range(20)}
    assert all(set(order) == EXPECTED and len(order) == len(EXPECTED) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) > 5
    assert corpora.load("docstrings", limit=3, seed=3).sentences == orders[3][:3]


def cache_files(package: Path) -> list[Path]:
    return list((package.parent / "cache").glob("*"))


def test_the_harvest_is_kept_under_a_key_of_versions(package, monkeypatch):
    first = docstrings.harvest()
    (kept,) = cache_files(package)
    monkeypatch.setattr(docstrings, "_collected", lambda _: pytest.fail("read again"))
    assert docstrings.harvest() == first
    monkeypatch.setattr(docstrings, "_collected", lambda _: ["Another version says something else."])
    (package / "package-1.0.dist-info").rename(package / "package-2.0.dist-info")
    install(package, "package", "2.0", modules=("package/a.py",))
    assert docstrings.harvest() == ["Another version says something else."]
    assert len(cache_files(package)) == 2 and kept.is_file()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", None])
def test_a_damaged_cache_is_made_again(damage, package):
    first = docstrings.harvest()
    (kept,) = cache_files(package)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-5] if damage is None else damage)
    assert docstrings.harvest() == first and kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(package):
    (package.parent / "cache").write_text("a file in the way")
    assert set(docstrings.harvest()) == EXPECTED


def test_the_installed_packages_give_a_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(docstrings, "_requirements", lambda: ["numpy", "no-such-package-here", "platformdirs>=4"])
    monkeypatch.setattr(docstrings.platformdirs, "user_cache_path", lambda _: tmp_path)
    sentences = docstrings.harvest()
    assert len(sentences) > 2_000
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert 5 <= len(sentence.split()) <= 40
        assert sentence[0].isupper() and sentence[-1] in ".!?"
        assert not set(sentence) & set("`_*=<>[]{}\\/|#@~^$&+\n")


def test_what_is_read_does_not_depend_on_what_else_is_installed(package, monkeypatch):
    """Extras, tools for testing, and what some systems need are not read, installed or not."""
    needs = ("base", "fast[speed]>=2", 'only-linux; sys_platform == "linux"', 'extra-one; extra == "more"')
    install(package, "package", needs=needs)
    install(package, "base", needs=("package",))  # circles end
    install(package, "fast", needs=('c-code; extra == "speed"', 'gpu; extra == "cuda"'))
    install(package, "c_code")
    small = docstrings.distributions()
    assert list(small) == ["base", "c-code", "fast", "package"]
    for name in ("only-linux", "extra-one", "gpu", "pytest", "sentence-transformers", "setuptools"):
        install(package, name)
    install(package, "package", needs=(*needs, "setuptools"))
    assert docstrings.distributions() == small


def test_the_kits_own_list_holds_its_dependencies_and_no_extras():
    names = set(docstrings.distributions())
    assert {"numpy", "torch", "transformers", "packaging"} <= names
    assert not names & {"pytest", "hypothesis", "sentence-transformers", "mypy", "distributed", "hncse"}


def test_home_is_the_variable_or_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HNCSE_DATA", "relative")
    assert home() == tmp_path / "relative"
    monkeypatch.delenv("HNCSE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert home().name == "hncse"
    assert home().is_absolute()


def test_a_data_folder_that_is_none(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    for value in (str(tmp_path / "file"), "x" * 5000, "~no-such-user/data"):
        monkeypatch.setenv("HNCSE_DATA", value)
        with pytest.raises(HncseError, match="HNCSE_DATA is"):
            home()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HNCSE_DATA", "~/data")
    assert home() == tmp_path / "data"
