"""English sentences out of the docstrings of this kit's dependencies: real text on every machine, no download.

The harvest reads the source files of the packages that the kit needs to run, takes the strings that stand alone on a
line (docstrings), and keeps what reads as an English sentence: prose paragraphs only, markup removed, no code, no
tables, no lists of parameters. Nothing is imported or executed. The same versions give the same sentences, whatever
else is installed: extras, tools for testing, and what only some systems or Pythons need are not read.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import platformdirs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hncse.errors import HncseError
from hncse.files import write_text

__all__ = ["distributions", "harvest", "prose_sentences"]

_LOG = logging.getLogger(__name__)


_NOT_READ = ("setuptools",)  # its version follows what else is installed
_FILTERS = 2  # part of the cache's key: raised whenever a filter below changes
_SKIPPED_FOLDERS = {"__pycache__", "..", "_vendor", "bin", "test", "testing", "tests"}
# The model folders of transformers repeat one another's docstrings a few hundred times over.
_SKIPPED_PATH = ("transformers", "models")

_MIN_WORDS, _MAX_WORDS = 5, 40
_MIN_FUNCTION_WORDS = 0.25  # share of a sentence; running English has 0.35 to 0.6, labels and code far less

_TICKED = re.compile(r"(?::[a-z]+)*:?`{1,2}([A-Za-z][a-z]*(?: [a-z]+)*)`{1,2}")  # ``word``, `word`, :term:`word`
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([A-Za-z][A-Za-z -]*)\*{1,2}(?![\w*])")  # *word*, **word**
_BREAK = re.compile(r"(?<=[a-z0-9)\"`*][.!?])\s+(?=[A-Z\"(`*])")
_NOT_LETTERS = re.compile(r"[^a-z]+")
_SHAPE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\"()%.-]*[a-z0-9)\"][.!?]")
_WORD = re.compile(
    r"""\(?"?(?:[A-Za-z]?[a-z]+(?:[-'][A-Za-z]?[a-z]+)*'?|[A-Z]{2,5}s?|[0-9]{1,4}(?:\.[0-9]+)?%?|A|I"""
    r"""|e\.g\.|i\.e\.)"?\)?[,;:]?"?\)?|-|--"""
)
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "al.", "Fig.", "Eq.", "No.", "resp.", "approx.", "Sec.")

_ENGLISH = {
    kind: frozenset(words.split())
    for kind, words in tomllib.loads(Path(__file__).with_name("english.toml").read_text(encoding="utf-8")).items()
}
_IMPERATIVES = frozenset(verb + ending for verb in _ENGLISH["imperatives"] for ending in ("", "s", "es"))


def harvest(seed: int = 0) -> list[str]:
    """Collect the distinct English sentences of the docstrings of the packages in `distributions`, 5 to 40 words each.

    They are kept in the user's cache folder under a key of those packages' versions.

    Args:
        seed: Orders the sentences: sorted by a hash of seed and sentence, so that the first N are a sample.
    """
    packages = distributions()
    facts = [f"filters {_FILTERS}", *(f"{name} {version}" for name, version in packages.items())]
    cache = platformdirs.user_cache_path("hncse") / f"docstrings-{_sha256(chr(10).join(facts))[:16]}.txt"
    try:
        digest, _, text = cache.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        digest, text = "", ""
    if digest != _sha256(text):  # none yet, or not what was written
        _LOG.info("collecting sentences from docstrings; done once for these package versions")
        text = "\n".join(_collected(packages))
        try:
            write_text(cache, f"{_sha256(text)}\n{text}")
        except HncseError as error:
            _LOG.info("docstring sentences are not kept: %s", error)
    salt = f"{seed}\n".encode()
    return sorted(text.split("\n"), key=lambda line: hashlib.blake2b(salt + line.encode(), digest_size=8).digest())


def distributions() -> dict[str, str]:
    """Name → version of all packages this kit needs to run, and those need, sorted by name.

    Extras, and requirements that hold on some systems or Pythons only, are left out: the list is the same everywhere.
    """
    versions: dict[str, str] = {}
    todo, met = [Requirement(line) for line in _requirements()], set()  # type: list[Requirement], set[tuple[str, str]]
    while todo:
        needed = todo.pop()
        name = canonicalize_name(needed.name)
        for extra in {"", *needed.extras}:
            if (name, extra) in met or name in _NOT_READ:
                continue
            met.add((name, extra))
            try:
                package = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue
            versions[name] = package.version
            todo += _needs(package.requires or (), extra)
    return dict(sorted(versions.items()))


def _needs(lines: Iterable[str], extra: str = "") -> list[Requirement]:
    """Requirements that hold everywhere, with an extra or without."""
    marker = f'extra == "{extra}"' if extra else ""
    return [needed for needed in map(Requirement, lines) if str(needed.marker or "") == marker]


def _requirements() -> list[str]:
    """What the kit needs to run: from the checkout's pyproject.toml, else from the installed package."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        facts = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if facts.get("name") == "hncse":
            return list(facts["dependencies"])
    return list(map(str, _needs(importlib.metadata.requires("hncse") or ())))


def prose_sentences(docstring: str) -> Iterator[str]:
    """The English sentences of one docstring's prose, in order, without quotes or roles around single words."""
    return filter(_is_english, _candidates(docstring))


def _candidates(docstring: str) -> Iterator[str]:
    """Yield what stands between full stops in a docstring's prose, markup around single words removed."""
    for paragraph in _paragraphs(docstring):
        if "`" in paragraph:
            paragraph = _TICKED.sub(r"\1", paragraph)
        yield from _BREAK.split(_EMPHASIS.sub(r"\1", paragraph) if "*" in paragraph else paragraph)


def _paragraphs(docstring: str) -> Iterator[str]:
    """Yield runs of prose lines of equal indent, joined; doctests, fields, lists, tables and headings end a run."""
    run: list[str] = []
    indent: int | None = None  # None: not fixed yet (the first line of a docstring follows the quotes)
    for number, line in enumerate(docstring.split("\n")):
        text = line.strip()
        prose = bool(text) and (text[0].isalpha() or text[0] in "(\"'`*0123456789")
        here = len(line) - len(line.lstrip())
        if run and (not prose or (indent is not None and here != indent)):
            yield " ".join(run)
            run = []
        if not prose:
            continue
        run.append(text)
        indent = None if number == 0 else here
    if run:
        yield " ".join(run)


def _is_english(sentence: str) -> bool:
    """Say whether a piece of prose reads as one whole English sentence without code in it."""
    count = sentence.count(" ") + 1
    if not _MIN_WORDS <= count <= _MAX_WORDS or not _SHAPE.fullmatch(sentence):
        return False
    if sentence.endswith(_ABBREVIATIONS) or sentence.count('"') % 2:
        return False
    if sentence.count("(") != sentence.count(")") or not all(map(_WORD.fullmatch, sentence[:-1].split(" "))):
        return False
    words = [word.strip("(),;:\"'") for word in sentence[:-1].lower().split(" ")]
    if sum(word in _ENGLISH["function_words"] for word in words) < _MIN_FUNCTION_WORDS * count:
        return False
    return _has_main_verb(sentence, words)


def _has_main_verb(sentence: str, words: list[str]) -> bool:
    """Tell sentences from labels: "The order is fixed." has a main verb, "The order that is used." has none."""
    first = words[0]
    if sentence.split(" ", 1)[0].endswith(":") or (words[-1].isdigit() and ": " in sentence[-6:]):
        return False  # a heading in front, or the number of a list's first item behind
    if first in _ENGLISH["fragment_openings"]:
        return sentence.endswith("?")
    if first in _IMPERATIVES:
        return words[1] != "of"  # "List of names." is a label
    verbs = [place for place, word in enumerate(words) if word in _ENGLISH["finite"]]
    if first in _ENGLISH["subordinators"]:  # "If it is empty, nothing happens.": the main verb stands behind a comma
        behind = sentence.partition(",")[2].strip(" .").split(" ")
        return any(word in _ENGLISH["finite"] or word in _IMPERATIVES for word in behind)
    if not verbs:
        return False
    clauses = [place for place, word in enumerate(words) if word in _ENGLISH["subordinators"]]
    return not clauses or verbs[0] < clauses[0] or len(verbs) > len(clauses)


def _collected(packages: Iterable[str]) -> list[str]:
    """Read every source file once; of sentences that differ in case, digits or marks only, keep the first."""
    distinct: dict[str, str] = {}
    candidates: dict[str, None] = {}
    for path in _source_files(packages):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # an unreadable file among readable ones: the corpus is what can be read
        for docstring in _docstrings(text):
            candidates |= dict.fromkeys(_candidates(docstring))
    for sentence in filter(_is_english, candidates):
        distinct.setdefault(_NOT_LETTERS.sub(" ", sentence.lower()), sentence)
    return sorted(distinct.values())


def _docstrings(source: str) -> Iterator[str]:
    """Yield triple-quoted strings that open a line; splitting on the quotes takes a fraction of parsing's time."""
    for quotes in ('"""', "'''"):
        parts = source.split(quotes)
        for before, inside in zip(parts[0:-1:2], parts[1::2], strict=False):
            if before[before.rfind("\n") + 1 :].strip() in {"", "r", "R", "u", "U"}:
                yield inside


def _source_files(names: Iterable[str]) -> Iterator[Path]:
    """Yield the Python files of some packages as their installers recorded them, in a fixed order."""
    for name in names:
        for file in sorted(importlib.metadata.files(name) or (), key=str):
            parts = file.parts
            if file.suffix == ".py" and not _SKIPPED_FOLDERS.intersection(parts) and parts[:2] != _SKIPPED_PATH:
                yield Path(str(file.locate()))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
