"""The probe: labelled groups of sentences that tell a paraphrase from a hard negative.

A group is an anchor, two paraphrases (one close, one with almost no shared words), three or more hard negatives named
by what makes them one, a sentence of the same topic and an unrelated one, each graded 0 to 5 against the anchor. It is
embedded in the package, so there is a real evaluation with nothing downloaded. PROBE.md says how it was written.

``python -m tools.probe_card`` prints its card (made by `tools.probe_card`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hncse.errors import HncseError, unknown

__all__ = [
    "PHENOMENA", "ROLES", "TOPICS", "Group", "Sentence", "fingerprint", "jaccard", "load", "parse", "word_list",
]  # fmt: skip

TOPICS = ("everyday", "news", "science", "sport", "cooking", "travel", "law", "health", "software", "history")
PHENOMENA = (
    "negation", "antonym", "role_swap", "number", "quantifier", "entity", "time_order", "cause_reversed",
    "comparison_reversed", "place_preposition", "modality", "hypernym_narrowing",
)  # fmt: skip
SINGLE_ROLES = ("paraphrase_close", "paraphrase_far", "same_topic", "unrelated")  # exactly one a group
ROLES = ("paraphrase_close", "paraphrase_far", "hard_negative", "same_topic", "unrelated")
MIN_NEGATIVES = 3
FILE = Path(__file__).with_name("probe.jsonl")


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it is to its group's anchor.

    Attributes:
        text: The sentence.
        role: ``"anchor"`` or one of `ROLES`.
        grade: Similarity to the anchor in STS-B's sense: 0 another subject … 5 the same meaning (the anchor itself: 5).
        phenomenon: One of `PHENOMENA` for a hard negative, None for the rest.
    """

    text: str
    role: str
    grade: float
    phenomenon: str | None = None


@dataclass(frozen=True)
class Group:
    """An anchor and the sentences judged against it: ``id`` (``<topic>-<number>``), topic, the anchor first."""

    id: str
    topic: str
    sentences: tuple[Sentence, ...]

    @property
    def anchor(self) -> str:
        """The anchor's text."""
        return self.sentences[0].text

    @property
    def others(self) -> tuple[Sentence, ...]:
        """Every sentence but the anchor."""
        return self.sentences[1:]

    @property
    def close(self) -> Sentence:
        """The paraphrase in nearly the anchor's own words."""
        return self._only("paraphrase_close")

    @property
    def far(self) -> Sentence:
        """The paraphrase in other words: the false-negative trap."""
        return self._only("paraphrase_far")

    @property
    def negatives(self) -> tuple[Sentence, ...]:
        """The hard negatives."""
        return tuple(s for s in self.sentences if s.role == "hard_negative")

    def _only(self, role: str) -> Sentence:
        return next(s for s in self.sentences if s.role == role)


def load(path: str | Path | None = None) -> list[Group]:
    """Read and check a probe file, one group a line (PROBE.md shows the fields); None reads the embedded probe.

    Raises:
        HncseError: The file is missing, empty or breaks the schema; the message names the line and what is right.
    """
    path = Path(path) if path is not None else FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HncseError(f"{path} cannot be read as a probe: {error}") from error
    groups = [parse(text, f"{path.name} line {n}") for n, text in enumerate(lines, 1) if text.strip()]
    if not groups:
        raise HncseError(f"{path} holds no groups; a probe has one JSON object a line")
    _check_distinct("id", (g.id for g in groups), path)
    _check_distinct("sentence", (s.text.casefold() for g in groups for s in g.sentences), path)
    return groups


def fingerprint(groups: Sequence[Group]) -> str:
    """Hash a probe's sentences and labels: scores of two encoders compare only where these are equal."""
    digest = hashlib.sha256()
    for group in groups:
        for s in group.sentences:
            digest.update(f"{group.id}\t{s.role}\t{s.phenomenon}\t{s.grade}\t{s.text}\n".encode())
    return digest.hexdigest()[:16]


def parse(text: str, where: str) -> Group:
    """Read one line of a probe file into a group; `where` stands in front of every error message."""
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise HncseError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    _check_keys(record, {"id", "topic", "anchor", "sentences"}, set(), where)
    if not isinstance(record["id"], str) or not record["id"].strip():
        raise HncseError(f"{where}: id is {record['id']!r}, should be a name such as 'sport-01'")
    where = f"{where} ({record['id']})"
    if record["topic"] not in TOPICS:
        raise HncseError(f"{where}: {unknown('topic', record['topic'], TOPICS)}")
    if not isinstance(record["sentences"], list):
        raise HncseError(f"{where}: sentences is {type(record['sentences']).__name__}, should be a list of objects")
    anchor = Sentence(_text(record["anchor"], f"{where}: anchor"), "anchor", 5.0)
    others = [_sentence(item, f"{where}: sentence {n}") for n, item in enumerate(record["sentences"], 1)]
    _check_roles(others, where)
    return Group(record["id"], record["topic"], (anchor, *others))


def _sentence(item: Any, where: str) -> Sentence:
    _check_keys(item, {"role", "grade", "text"}, {"phenomenon"}, where)
    role, grade, phenomenon = item["role"], item["grade"], item.get("phenomenon")
    if role not in ROLES:
        raise HncseError(f"{where}: {unknown('role', role, ROLES)}")
    if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 <= grade <= 5:
        raise HncseError(f"{where}: grade is {grade!r}, should be a number from 0 to 5")
    if role == "hard_negative" and phenomenon not in PHENOMENA:
        raise HncseError(f"{where}: {unknown('phenomenon', phenomenon, PHENOMENA)}")
    if role != "hard_negative" and phenomenon is not None:
        raise HncseError(f"{where}: phenomenon {phenomenon!r} on a {role}; only a hard_negative has one")
    return Sentence(_text(item["text"], f"{where}: text"), role, float(grade), phenomenon)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise HncseError(f"{where} is {value!r}, should be a sentence without blanks around it")
    return value


def _check_keys(record: Any, needed: set[str], allowed: set[str], where: str) -> None:
    if not isinstance(record, dict):
        raise HncseError(f"{where}: a {type(record).__name__}, should be an object with {', '.join(sorted(needed))}")
    if missing := sorted(needed - record.keys()):
        raise HncseError(f"{where}: lacks {', '.join(missing)}")
    if extra := sorted(record.keys() - needed - allowed):
        raise HncseError(f"{where}: {unknown('field', extra[0], needed | allowed)}")


def _check_roles(others: Sequence[Sentence], where: str) -> None:
    counts = Counter(s.role for s in others)
    for role in SINGLE_ROLES:
        if counts[role] != 1:
            raise HncseError(f"{where}: {counts[role]} sentences with role {role}, should be exactly 1")
    if counts["hard_negative"] < MIN_NEGATIVES:
        raise HncseError(f"{where}: {counts['hard_negative']} hard negatives, should be at least {MIN_NEGATIVES}")
    lowest = min(s.grade for s in others if s.role.startswith("paraphrase"))
    highest = max(s.grade for s in others if not s.role.startswith("paraphrase"))
    if highest >= lowest:  # the labels would contradict each other
        raise HncseError(f"{where}: a paraphrase is graded {lowest:g}, not above another sentence's {highest:g}")


def _check_distinct(what: str, values: Iterable[str], path: Path) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise HncseError(f"{path}: {what} {repeated[0]!r} stands there more than once; each must be its own")


def word_list(sentence: str) -> list[str]:
    """Lower-cased words of a sentence in order, without punctuation: the unit of length and overlap."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", sentence.lower())


def jaccard(a: str, b: str) -> float:
    """Word overlap of two sentences: shared words over all words, 0 to 1."""
    first, second = set(word_list(a)), set(word_list(b))
    return len(first & second) / max(1, len(first | second))
