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


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOT_READ = ("setuptools",)  # its version follows what else is installed
_FILTERS = 2  # part of the cache's key: raised whenever a filter below changes
_SKIPPED_FOLDERS = _words("__pycache__ .. _vendor bin test testing tests")
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

_FUNCTION_WORDS = _words(
    """a about after all also an and any are as at be because been before being between both but by can could
    do does each either every for from had has have he her his however if in into is it its may might more most
    must neither no not of on one only or other our over same she should since so some such than that the their
    them then there these they this those through to two under until was we were what when where which while who
    whose will with would you your"""
)
_FINITE = _words(
    """is are was were has have had can could may might must will would should do does did cannot isn't aren't
    doesn't don't won't can't didn't wasn't let's it's that's you're we're there's accepts adds allows applies
    assumes avoids becomes behaves belongs comes computes consists contains converts corresponds creates defines
    depends describes determines ensures exists expects fails generates gets gives goes happens helps holds
    implements includes indicates keeps lets lies looks makes means needs occurs performs prevents produces
    provides raises refers relies remains removes replaces represents requires returns runs seems shows specifies
    starts supports takes tells tries uses wants works yields"""
)
_IMPERATIVES = _words(
    """add allow append apply assert assign attach avoid build calculate call change check choose clean clear close
    combine compare compute concatenate construct consume convert copy count create decide decode decompose define
    delete describe determine disable display divide do draw emit enable encode ensure enter estimate evaluate
    examine execute exit expand extract fetch fill filter find fit flatten follow format free generate get give
    handle help hide identify ignore import initialize insert inspect invoke iterate join keep let list load look
    make map mark match merge modify move multiply normalize note notify obtain open parse pass perform pick plot
    prepare print process produce provide push put raise read rebuild receive record reduce register release reload
    remove rename render replace report request reset resize resolve restore retrieve return reverse run sample
    save scale search see select send serialize set show shuffle simplify skip solve sort specify split start stop
    store strip subtract switch take tell test toggle transform translate traverse try turn unpack update upload
    use validate verify visit wait walk wrap write yield"""
)
_IMPERATIVE_FORMS = _IMPERATIVES | {verb + "s" for verb in _IMPERATIVES} | {verb + "es" for verb in _IMPERATIVES}
# A sentence that opens like this is a fragment: "Whether the array is sorted.", "Must be positive."
_FRAGMENT_OPENINGS = _words(
    """whether must can should may will might could is are was were has have had true false default defaults
    optional either can't cannot"""
)
_SUBORDINATORS = _words("that which where when who whose if whether while until as because than how once")


def harvest(seed: int = 0) -> list[str]:
    """Collect the distinct English sentences of the installed docstrings, 5 to 40 words each.

    The result depends on nothing but the versions of the packages in `distributions`. It is kept in the user's cache
    folder under a key of those versions; where that cannot be written, it is made each time.

    Args:
        seed: Orders the sentences: sorted by a hash of seed and sentence, so that the first N are a sample.

    Returns:
        The sentences, without markup, each of them once.
    """
    cache = _cache_path()
    sentences = _read_cache(cache)
    if sentences is None:
        _LOG.info("collecting sentences from docstrings; done once for these package versions")
        sentences = _collect()
        _write_cache(cache, sentences)
    salt = f"{seed}\n".encode()
    return sorted(sentences, key=lambda text: hashlib.blake2b(salt + text.encode(), digest_size=8).digest())


def distributions() -> dict[str, str]:
    """List the packages that are read: all that this kit needs to run, and all that those need, without extras.

    Requirements that hold on some systems or Pythons only are left out, so that the list is the same everywhere.

    Returns:
        Name → installed version, sorted by name.
    """
    found: dict[str, str] = {}
    todo, met = _requirements(), set()  # type: list[str], set[tuple[str, str]]
    while todo:
        needed = Requirement(todo.pop())
        name = canonicalize_name(needed.name)
        for extra in ("", *sorted(needed.extras)):
            if (name, extra) in met or name in _NOT_READ:
                continue
            met.add((name, extra))
            try:
                package = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue
            found[name] = package.version
            todo += [line for line in package.requires or () if _holds_everywhere(line, extra)]
    return dict(sorted(found.items()))


def _holds_everywhere(line: str, extra: str) -> bool:
    marker = Requirement(line).marker
    return str(marker or "") == (f'extra == "{extra}"' if extra else "")


def _requirements() -> list[str]:
    """What the kit needs to run: from the checkout's pyproject.toml, else from the installed package."""
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if project.is_file():
        facts = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if facts.get("name") == "hncse":
            return list(facts["dependencies"])
    lines = importlib.metadata.requires("hncse") or []
    return [line for line in lines if _holds_everywhere(line, "")]


def prose_sentences(docstring: str) -> Iterator[str]:
    """Find the English sentences of one docstring's prose.

    Args:
        docstring: The text between the quotes, indented as it stands in the file.

    Returns:
        Sentences in order, possibly with repeats, without quotes or roles around single words.
    """
    return filter(_is_english, _candidates(docstring))


def _candidates(docstring: str) -> Iterator[str]:
    """Yield what stands between full stops in a docstring's prose, markup around single words removed."""
    for paragraph in _paragraphs(docstring):
        if "`" in paragraph:
            paragraph = _TICKED.sub(r"\1", paragraph)
        if "*" in paragraph:
            paragraph = _EMPHASIS.sub(r"\1", paragraph)
        yield from _BREAK.split(paragraph)


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
    if sum(word in _FUNCTION_WORDS for word in words) < _MIN_FUNCTION_WORDS * count:
        return False
    return _has_main_verb(sentence, words)


def _has_main_verb(sentence: str, words: list[str]) -> bool:
    """Tell sentences from labels: "The order is fixed." has a main verb, "The order that is used." has none."""
    first = words[0]
    if sentence.split(" ", 1)[0].endswith(":") or (words[-1].isdigit() and ": " in sentence[-6:]):
        return False  # a heading in front, or the number of a list's first item behind
    if first in _FRAGMENT_OPENINGS:
        return sentence.endswith("?")
    if first in _IMPERATIVE_FORMS:
        return words[1] != "of"  # "List of names." is a label
    verbs = [place for place, word in enumerate(words) if word in _FINITE]
    if first in _SUBORDINATORS:  # "If it is empty, nothing happens.": the main verb stands behind a comma
        behind = sentence.partition(",")[2].strip(" .").split(" ")
        return any(word in _FINITE or word in _IMPERATIVE_FORMS for word in behind)
    if not verbs:
        return False
    clauses = [place for place, word in enumerate(words) if word in _SUBORDINATORS]
    return not clauses or verbs[0] < clauses[0] or len(verbs) > len(clauses)


def _collect() -> list[str]:
    """Read every source file once; of sentences that differ in case, digits or marks only, keep the first."""
    kept: dict[str, str] = {}
    seen: set[str] = set()
    for path in _source_files(distributions()):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # an unreadable file among readable ones: the corpus is what can be read
        for docstring in _docstrings(text):
            for sentence in _candidates(docstring):
                if sentence in seen:
                    continue
                seen.add(sentence)
                if _is_english(sentence):
                    kept.setdefault(_NOT_LETTERS.sub(" ", sentence.lower()), sentence)
    return sorted(kept.values())


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


def _cache_path() -> Path:
    """Name the cache file after everything the harvest depends on."""
    parts = [f"filters {_FILTERS}", *(f"{name} {version}" for name, version in distributions().items())]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("hncse") / f"docstrings-{key}.txt"


def _read_cache(path: Path) -> list[str] | None:
    """Return the cached sentences, or None where there are none or the file is not what was written."""
    try:
        digest, _, body = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if digest != hashlib.sha256(body.encode()).hexdigest():
        return None
    return body.split("\n")


def _write_cache(path: Path, sentences: list[str]) -> None:
    """Keep the sentences for next time; a folder that cannot be written only costs that time again."""
    body = "\n".join(sentences)
    try:
        write_text(path, f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}")
    except HncseError as error:
        _LOG.info("docstring sentences are not kept: %s", error)
