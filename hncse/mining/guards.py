"""Guards: cheap guesses at which neighbours say the same as the anchor and would be false negatives.

Their order is fixed, and a neighbour counts for the first guard that removes it.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError, unknown
from hncse.mining.search import Floats, Integers, Pool, pair_similarity, unit_rows

if TYPE_CHECKING:
    from hncse.data.probe import Group

__all__ = [
    "GUARDS",
    "KEPT",
    "MISSING",
    "PARAPHRASES",
    "Calibration",
    "Guards",
    "Neighbours",
    "apply",
    "calibrate",
    "plain",
]

#: The guards in the order they are tried; ``removed_by`` holds 1 for the first, 2 for the second, …
GUARDS: tuple[str, ...] = (
    "positive", "same_text", "word_overlap", "character_overlap", "margin", "relative_margin", "max_similarity",
    "calibrated", "min_similarity", "skip",
)  # fmt: skip
KEPT, MISSING = 0, -1  # other values of removed_by: no guard removed it; there is no such neighbour
#: Which paraphrases of the probe a threshold may be read off, and what they are called in `Calibration.similarity`.
PARAPHRASES = {"both": "paraphrase", "close": "paraphrase_close", "far": "paraphrase_far"}

_RANGES = {  # guard → lowest, highest, whether the lowest itself is allowed
    "word_overlap": (0, 1, False), "character_overlap": (0, 1, False), "margin": (-2, 2, True),
    "relative_margin": (0, 1, True), "max_similarity": (-1, 1, True), "calibrated": (0, 1, True),
    "min_similarity": (-1, 1, True),
}  # fmt: skip
_GRAM = 5  # characters
_PART = 8_192  # texts read, and pairs compared, at a time


@dataclass(frozen=True)
class Guards:
    """Which guards are on; None (0 for ``skip``, False for ``same_text``) turns one off.

    A positive itself is always removed.
    The guards that read text (``same_text`` and both overlaps) compare a neighbour with the anchor and with each of
    its positives.

    Attributes:
        same_text: Remove a neighbour whose text is the anchor's or a positive's but for case, punctuation, spacing
            and the way its characters are composed (Unicode NFKC).
        word_overlap: Remove it where the Jaccard coefficient of both sets of words reaches this, in (0, 1]. A sentence
            with two words swapped has the same words: 1.0 removes true hard negatives too.
        character_overlap: Likewise, of both sets of character 5-grams; these see something of the order of words.
        margin: Keep it where its similarity is at most the positive's minus this.
        relative_margin: Keep it where its similarity is at most p - |p| × this, p being the positive's.
        max_similarity: Keep it where its similarity is at most this.
        calibrated: Keep it where its similarity is below the threshold under which at most this share of the embedded
            probe's paraphrases falls; see `calibrate`.
        calibrated_on: Whose share: of the probe's ``"close"`` paraphrases, of the ``"far"`` ones (other words), or of
            ``"both"``. An encoder that goes by words puts far paraphrases among the unrelated: no threshold holds them
            back and leaves anything.
        min_similarity: Keep it where its similarity is at least this: what is farther is no hard negative.
        skip: Of what the guards above leave an anchor, remove the first so many.

    Raises:
        HncseError: A value that cannot mean anything; the message names it and its range.
    """

    same_text: bool = True
    word_overlap: float | None = None
    character_overlap: float | None = None
    margin: float | None = None
    relative_margin: float | None = None
    max_similarity: float | None = None
    calibrated: float | None = None
    calibrated_on: str = "both"
    min_similarity: float | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, (low, high, closed) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not (low <= value if closed else low < value) or value > high:
                raise HncseError(
                    f"guard {name} is {value!r}; it must be a number {'from' if closed else 'above'} {low:g} up to "
                    f"{high:g}, or None to turn it off"
                )
        if not isinstance(self.same_text, bool):
            raise HncseError(f"guard same_text is {self.same_text!r}; it must be True or False")
        if isinstance(self.skip, bool) or not isinstance(self.skip, int) or self.skip < 0:
            raise HncseError(f"guard skip is {self.skip!r}; it must be a whole number, 0 to turn it off")
        floor, ceiling = self.min_similarity, self.max_similarity
        if floor is not None and ceiling is not None and floor > ceiling:
            raise HncseError(f"min_similarity {floor} is above max_similarity {ceiling}: nothing could stay")
        if self.calibrated_on not in PARAPHRASES:
            raise unknown("value of calibrated_on", self.calibrated_on, PARAPHRASES)

    def settings(self) -> dict[str, Any]:
        """The guards that are on, in order, with their values; ``positive`` is no choice and not among them."""
        values = {name: getattr(self, name) for name in GUARDS[1:]}
        off = {"same_text": False, "skip": 0}
        return {name: value for name, value in values.items() if value != off.get(name)}


@dataclass(frozen=True)
class Neighbours:
    """The nearest k of u different anchors, before any guard.

    Attributes:
        texts: t different texts, of anchors and positives; the first u are the anchors'.
        references: (u, 1+p) places in ``texts`` of each anchor and of its positives, padded with -1.
        positive: (u,) float32, similarity of the anchor and its least similar positive; 1 without positives.
        similarity: (u, k) float32, falling along a row; ``-inf`` where there is no neighbour.
        index: (u, k) int64 positions in the pool; -1 where there is none.
        pool: Where the neighbours' texts are.
        guided: (u, k) float32, similarity by a guide, which margins and limits then read; None: ``similarity``.
        guided_positive: (u,) float32, of ``positive``, by the guide.
    """

    texts: list[str]
    references: Integers
    positive: Floats
    similarity: Floats
    index: Integers
    pool: Pool
    guided: Floats | None = None
    guided_positive: Floats | None = None

    def measure(self, number: Callable[[str], int]) -> Integers:
        """A number of every neighbour's text, each text read once, (u, k); without meaning where there is none."""
        positions = np.unique(self.index.clip(0))
        parts = [positions[start : start + _PART] for start in range(0, len(positions), _PART)]
        numbers = np.array([number(text) for part in parts for text in self.pool.texts(part)], dtype=np.int64)
        return numbers[np.searchsorted(positions, self.index.clip(0))]


def apply(guards: Guards, near: Neighbours, threshold: float | None) -> NDArray[np.int8]:
    """Try every guard on every neighbour; ``calibrated`` removes at ``threshold`` and above.

    Returns:
        (u, k) int8: `KEPT`, `MISSING`, or 1 + the position in `GUARDS` of the first guard that removed it.
    """
    removed = np.where(near.index < 0, MISSING, KEPT).astype(np.int8)
    s, p = near.similarity, near.positive[:, None]  # (u, k), (u, 1)
    if near.guided is not None and near.guided_positive is not None:
        s, p = near.guided, near.guided_positive[:, None]
    removes: dict[str, Callable[[Any], NDArray[np.bool_]]] = {
        "positive": lambda _: _equal(near, near.references[:, 1:], str),
        "same_text": lambda _: _equal(near, near.references, plain),
        "word_overlap": lambda limit: _overlap(near, _words, limit),
        "character_overlap": lambda limit: _overlap(near, _grams, limit),
        "margin": lambda margin: s + np.float32(margin) > p,
        "relative_margin": lambda margin: s > p - np.abs(p) * np.float32(margin),
        "max_similarity": lambda ceiling: s > np.float32(ceiling),
        "calibrated": lambda _: s >= np.float32(np.inf if threshold is None else threshold),
        "min_similarity": lambda floor: s < np.float32(floor),
        "skip": lambda n: np.cumsum(removed == KEPT, axis=1) <= n,
    }
    for name, value in ({"positive": True} | guards.settings()).items():
        removed[(removed == KEPT) & removes[name](value)] = 1 + GUARDS.index(name)
    return removed


@functools.cache
def _character(character: str) -> str:
    """What becomes of a character in a plain text: letters, digits and their marks stay, the rest are blanks."""
    category = unicodedata.category(character)
    if character.isalnum() or character == "_" or category[0] == "M":
        return character
    return "" if category == "Cf" else " "  # Cf: joiners, which nobody sees


def plain(text: str) -> str:
    """Case-folded words joined by single blanks, without punctuation; the text itself where it has no words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(map(_character, folded)).split()) or text.strip()


def _words(text: str) -> set[str]:
    return set(plain(text).split())


def _grams(text: str) -> set[str]:
    """Different runs of `_GRAM` characters of a plain text; a shorter text is its own only gram."""
    text = plain(text)
    return {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)} or {text}


def _equal(near: Neighbours, references: Integers, form: Callable[[str], str]) -> NDArray[np.bool_]:
    """Where the form of a neighbour's text is that of a reference, (u, k)."""
    forms: dict[str, int] = {}
    given = [forms.setdefault(form(text), len(forms)) for text in near.texts]
    known = np.array([*given, -2])  # (t+1,) the last for the -1 of a missing reference: equal to nothing
    number = near.measure(lambda text: forms.get(form(text), -1)) if references.size else near.index
    out = np.zeros(near.index.shape, dtype=bool)
    for column in references.T:
        out |= number == known[column][:, None]
    return out


def _overlap(near: Neighbours, features: Callable[[str], set[str]], limit: float) -> NDArray[np.bool_]:
    """Where |A ∩ B| / |A ∪ B| of a neighbour's features and a reference's reaches a limit, (u, k).

    The sizes of both sets bound it from above; only pairs that pass are compared as sets.
    """
    sets = functools.lru_cache(_PART)(features)
    known = np.array([len(features(text)) for text in near.texts])  # (t,)
    size = near.measure(lambda text: len(features(text)))  # (u, k)
    out = near.index < 0
    for column in near.references.T:
        own = known[column][:, None]
        able = (column >= 0)[:, None] & ~out & (np.minimum(own, size) / np.maximum(own, size) >= limit)
        rows, columns = np.nonzero(able)
        for start in range(0, len(rows), _PART):
            i, j = rows[start : start + _PART], columns[start : start + _PART]
            references = [near.texts[place] for place in column[i].tolist()]
            pairs = zip(references, near.pool.texts(near.index[i, j]), strict=True)
            shares = [len(a & b) / len(a | b) for a, b in ((sets(one), sets(other)) for one, other in pairs)]
            out[i, j] = np.array(shares) >= limit
    return out


@dataclass(frozen=True)
class Calibration:
    """How near a neighbour may be before it may be a paraphrase, and what lies below that threshold and any other.

    Attributes:
        threshold: Neighbours at or above it are taken for paraphrases; ``inf`` where ``share`` allows all below.
        share: The share of paraphrases that was allowed to fall below.
        on: Of which paraphrases, a key of `PARAPHRASES`.
        similarity: Kind of sentence → (n,) float32 similarities to their anchors, rising. Kinds: the probe's roles,
            and ``paraphrase`` for close and far together.
    """

    threshold: float
    share: float
    on: str
    similarity: dict[str, Floats]

    def below(self, threshold: float) -> dict[str, float]:
        """Share of each kind strictly below a threshold, which is what a guard at that threshold keeps."""
        return {kind: float(np.searchsorted(s, np.float32(threshold)) / len(s)) for kind, s in self.similarity.items()}

    @property
    def curve(self) -> dict[str, NDArray[np.float64]]:
        """The whole trade: ``threshold`` (t,), rising, and for each kind the share (t,) kept below it."""
        steps = np.unique(np.concatenate(list(self.similarity.values())))
        steps = np.append(steps, np.nextafter(steps[-1], np.float32(np.inf)))  # above everything
        shares = {kind: np.searchsorted(s, steps) / len(s) for kind, s in self.similarity.items()}
        return {"threshold": steps.astype(np.float64), **shares}

    def __str__(self) -> str:
        """Say the threshold and what it keeps."""
        shares = ", ".join(f"{kind} {value:.1%}" for kind, value in self.below(self.threshold).items())
        which = PARAPHRASES[self.on]
        return f"below {self.threshold:.4f} lies at most {self.share:.1%} of {which}; of the probe it keeps {shares}"


def calibrate(
    encoder: Encoder,
    share: float = 0.05,
    *,
    on: str = "both",
    groups: Sequence[Group] | None = None,
    cache: bool = True,
    batch_size: int | None = None,
) -> Calibration:
    """Choose the highest threshold under which at most ``share`` of the probe's paraphrases fall.

    Args:
        encoder: Anything with `encode`.
        share: Of paraphrases, 0 to 1; they would be used as negatives.
        on: Which paraphrases: ``"close"``, ``"far"`` or ``"both"``.
        groups: Groups of a probe; None takes the embedded one.
        cache: Whether embeddings may be read from and written to `hncse.data.embedding_cache`.
        batch_size: Passed on to ``encode``.

    Raises:
        HncseError: A share outside 0 … 1, another ``on``, no groups, or embeddings with NaN.
    """
    if on not in PARAPHRASES:
        raise unknown("kind of paraphrases", on, PARAPHRASES)
    if not 0 <= share <= 1:
        raise HncseError(f"share is {share!r}; it must be a share of the paraphrases, from 0 to 1, such as 0.05")
    if groups is None:
        from hncse.data import probe

        groups = probe.load()
    if not groups:
        raise HncseError("there are no probe groups to calibrate on; groups=None takes the embedded ones")
    sentences = [sentence for group in groups for sentence in group.sentences]
    rows = unit_rows(cached_encode(encoder, [s.text for s in sentences], cache=cache, batch_size=batch_size))  # (n, d)
    sizes = np.array([len(group.sentences) for group in groups])
    anchors = np.repeat(np.cumsum(sizes) - sizes, sizes)  # (n,) the row of each sentence's anchor
    similarity = pair_similarity(rows, anchors, rows, np.arange(len(rows)))  # (n,)
    role = np.array([sentence.role for sentence in sentences])
    kinds = {"paraphrase": np.char.startswith(role, "paraphrase")}
    kinds |= {kind: role == kind for kind in dict.fromkeys(role.tolist()) if kind != "anchor"}
    by_kind = {kind: np.sort(similarity[mask]) for kind, mask in kinds.items()}
    paraphrases = by_kind[PARAPHRASES[on]]  # (p,), rising
    allowed = int(share * len(paraphrases) + 1e-9)
    threshold = float(paraphrases[allowed]) if allowed < len(paraphrases) else float("inf")
    return Calibration(threshold, share, on, by_kind)
