"""An encoder and sentences → hard negatives out of a corpus, with guards against false ones and a report.

mined = mine(encoder, sentences)                                         # each sentence's nearest other one
mined = mine(encoder, questions, answers)                                # of pairs: no answer of its own among them
mined = mine(encoder, sentences, guards=Guards(calibrated=0.05))         # no nearer than a paraphrase would be
print(mined.report); mined.triplets()                                    # datasets.Dataset: anchor, positive, negative

A neighbour is near the anchor because it says something similar, and may say the same. Every guard is a cheap guess at
which do; their order is fixed, and a neighbour counts for the first guard that removes it. The search is exact
(`hncse.mining.search`). The in-batch miner of training is `hncse.miner`.

Taught in notebooks/02_hard_negatives.ipynb.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import math
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError, command, unknown
from hncse.files import expand, somebody_watches, whole_file, write_json
from hncse.mining.search import Nearest, Pool, pair_similarity, unit_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from hncse.data.probe import Group

__all__ = ["GUARDS", "SAMPLINGS", "Calibration", "Guards", "MinedCorpus", "calibrate", "load", "main", "mine", "save"]

#: The guards in the order they are tried; ``removed_by`` holds 1 for the first, 2 for the second, …
GUARDS: tuple[str, ...] = (
    "positive", "same_text", "word_overlap", "character_overlap", "margin", "relative_margin", "max_similarity",
    "calibrated", "min_similarity", "skip",
)  # fmt: skip
_TEXT_GUARDS = GUARDS[1:4]
SAMPLINGS = ("top", "random")
LAYOUTS = ("triplet", "n-tuple")
FORMATS = (".parquet", ".jsonl")
#: Which paraphrases of the probe a threshold may be read off, and what they are called in `Calibration.similarity`.
PARAPHRASES = {"both": "paraphrase", "close": "paraphrase_close", "far": "paraphrase_far"}
QUANTILES = (5, 25, 50, 75, 95)

_KEPT, _MISSING = 0, -1  # other values of removed_by: no guard removed it; there is no such neighbour
_K = 50  # neighbours looked at where no number is asked for
_SAMPLE = 1_000  # texts asked about whether the encoder can read them
_LONG = 2_000_000_000  # similarities to compute from which on a progress bar shows: some seconds
_RANGES = {  # guard → lowest, highest, whether the lowest itself is allowed
    "word_overlap": (0.0, 1.0, False), "character_overlap": (0.0, 1.0, False), "margin": (-2.0, 2.0, True),
    "relative_margin": (0.0, 1.0, True), "max_similarity": (-1.0, 1.0, True), "calibrated": (0.0, 1.0, True),
    "min_similarity": (-1.0, 1.0, True),
}  # fmt: skip

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


# --- guards


@dataclass(frozen=True)
class Guards:
    """Which guards are on; None (0 for ``skip``, False for ``same_text``) turns one off.

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
        """Check the values.

        Raises:
            HncseError: One that cannot mean anything; the message names it and its range.
        """
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
        return {name: getattr(self, name) for name in GUARDS[1:] if self.is_on(name)}

    def is_on(self, name: str) -> bool:
        """Whether a guard is turned on; ``positive`` always is."""
        value = getattr(self, name, True)
        return bool(value) if name in ("same_text", "skip") else value is not None


@dataclass(frozen=True)
class _Neighbours:
    """The nearest k of n anchors, before any guard.

    Attributes:
        labels: Different texts of anchors and positives.
        references: (n, 1+p) labels of each anchor and of its positives, padded with -1.
        positives: (n, p) positions of each anchor's positives in the pool; -2 for one that is not there.
        positive: (n,) float32, similarity of the anchor and its least similar positive.
        similarity: (n, k) float32, falling along a row; ``-inf`` where there is no neighbour.
        index: (n, k) int64 positions in the pool; -1 where there is none.
        pool: Where the neighbours' texts are.
    """

    labels: list[str]
    references: Integers
    positives: Integers
    positive: Floats
    similarity: Floats
    index: Integers
    pool: Pool


def _apply(guards: Guards, near: _Neighbours, threshold: float | None) -> NDArray[np.int8]:
    """Try every guard on every neighbour; ``calibrated`` removes at ``threshold`` and above.

    Returns:
        (n, k) int8: `_KEPT`, `_MISSING`, or 1 + the position in `GUARDS` of the first guard that removed it.
    """
    removed = np.where(near.index < 0, _MISSING, _KEPT).astype(np.int8)  # (n, k)
    s, p = near.similarity, near.positive[:, None]  # (n, k), (n, 1)
    one = np.float32  # a Python float would turn the table into float64 under numpy 1
    tests: dict[str, Callable[[], Mask]] = {
        "positive": lambda: _is_positive(near),
        "margin": lambda: s + one(guards.margin or 0.0) > p,
        "relative_margin": lambda: s > p - np.abs(p) * one(guards.relative_margin or 0.0),
        "max_similarity": lambda: s > one(guards.max_similarity or 0.0),
        "calibrated": lambda: s >= one(np.inf if threshold is None else threshold),
        "min_similarity": lambda: s < one(guards.min_similarity or 0.0),
        "skip": lambda: np.cumsum(removed == _KEPT, axis=1) <= guards.skip,
    }
    if any(map(guards.is_on, _TEXT_GUARDS)):
        texts = _Texts(near, guards)
        tests |= {name: lambda name=name: texts.table(name, removed == _KEPT) for name in _TEXT_GUARDS}  # type: ignore[misc]
    for code, name in enumerate(GUARDS, 1):
        if guards.is_on(name):
            removed[(removed == _KEPT) & tests[name]()] = code
    return removed


def _is_positive(near: _Neighbours) -> Mask:
    """Where a neighbour is one of the anchor's positives, (n, k)."""
    out = np.zeros(near.index.shape, dtype=bool)
    for place in near.positives.T:
        out |= near.index == place[:, None]
    return out


# --- text

_GRAM = 5  # characters
_BITS = 512  # of a sketch; a sentence has about 20 words and 110 grams
_PART = 8_192  # texts sketched, and pairs compared, at a time


class _Characters(dict[int, str]):
    """What becomes of a character in a normalised text: letters, digits and their marks stay, the rest are blanks."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        stays = chr(code).isalnum() or chr(code) == "_" or category[0] == "M"
        self[code] = chr(code) if stays else "" if category == "Cf" else " "  # Cf: joiners, which nobody sees
        return self[code]


_CHARACTERS = _Characters()


def _normalise(text: str) -> str:
    """Case-folded words joined by single blanks, without punctuation; the text itself where it has no words."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.translate(_CHARACTERS).split()) or text.strip()


def _words(text: str) -> set[str]:
    """Different words of a normalised text."""
    return set(text.split())


def _grams(text: str) -> set[str]:
    """Different runs of `_GRAM` characters of a normalised text; a shorter text is its own only gram."""
    return {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)} or {text}


class _Texts:
    """Texts of anchors and positives beside those of their neighbours, read once.

    Overlap is the Jaccard coefficient |A ∩ B| / |A ∪ B| of sets of words or grams, exact and quick over millions of
    pairs: a sketch of 512 bits bounds it from above, and only pairs that pass are compared as sets.
    """

    def __init__(self, near: _Neighbours, guards: Guards) -> None:
        self._near = near
        self._overlaps = {
            name: (features, getattr(guards, name))
            for name, features in (("word_overlap", _words), ("character_overlap", _grams))
            if guards.is_on(name)
        }
        present = np.zeros(near.pool.total + 1, dtype=bool)  # the last one takes the -1 of a missing neighbour
        present[near.index] = True
        places = np.flatnonzero(present[:-1])
        self._row = np.cumsum(present) - 1 + len(near.labels)  # (total+1,) a sentence's row, behind the labels'
        parts = [near.labels[i : i + _PART] for i in range(0, len(near.labels), _PART)]
        rest = (near.pool.texts(places[i : i + _PART]) for i in range(0, len(places), _PART))
        columns = zip(*(self._sketch(part) for part in (*parts, *rest)), strict=True)
        self._digest, *sketches = (np.concatenate(column) for column in columns)
        self._sketches = dict(zip(self._overlaps, zip(sketches[::2], sketches[1::2], strict=True), strict=True))

    def _sketch(self, texts: list[str]) -> list[NDArray[Any]]:
        """A hash of every text (n,), and of every overlap that is asked for bits (n, 8) and sizes of the sets (n,)."""
        plain = [_normalise(text) for text in texts]
        hashes = b"".join(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=8).digest() for t in plain)
        columns: list[NDArray[Any]] = [np.frombuffer(hashes, dtype=np.uint64)]
        for features, _ in self._overlaps.values():
            bits, sizes = np.zeros((len(plain), _BITS), dtype=bool), np.zeros(len(plain), dtype=np.int64)
            for row, text in enumerate(plain):
                each = features(text)  # Python's hash differs between processes; what is decided does not
                bits[row, [hash(feature) % _BITS for feature in each]] = True
                sizes[row] = len(each)
            columns += [np.packbits(bits, axis=1).view(np.uint64), sizes]
        return columns

    def table(self, guard: str, asked: Mask) -> Mask:
        """Where a guard removes one of the neighbours asked for, (n, k): for its anchor's sake or a positive's."""
        out = np.zeros(asked.shape, dtype=bool)
        for start in range(0, len(out), _PART):
            row, column = np.nonzero(asked[start : start + _PART])  # (p,)
            row += start
            for label in self._near.references[row].T:  # (p,)
                there = label >= 0
                i, j = row[there], column[there]
                pairs = label[there], self._near.index[i, j]
                out[i, j] |= self._equal(*pairs) if guard == "same_text" else self._overlap(guard, *pairs)
        return out

    def _equal(self, label: Integers, place: Integers) -> Mask:
        return self._digest[label] == self._digest[self._row[place]]  # (p,)

    def _overlap(self, guard: str, label: Integers, place: Integers) -> Mask:
        """Say of p pairs whether their overlap reaches the guard's limit."""
        features, limit = self._overlaps[guard]
        sets = functools.lru_cache(_PART)(lambda text: features(_normalise(text)))
        near = np.flatnonzero(self._may_overlap(guard, limit, label, self._row[place]))
        out = np.zeros(len(label), dtype=bool)
        for start in range(0, len(near), _PART):
            part = near[start : start + _PART]
            for at, mine, other in zip(part, label[part], self._near.pool.texts(place[part]), strict=True):
                a, b = sets(self._near.labels[mine]), sets(other)
                shared = len(a & b)
                out[at] = shared / (len(a) + len(b) - shared) >= limit
        return out

    def _may_overlap(self, guard: str, limit: float, left: Integers, right: Integers) -> Mask:
        """False where the sketches prove that a pair overlaps less.

        With s = |A| + |B| and x = |A Δ B| the Jaccard coefficient is (s - x) / (s + x). Every bit in which the sketches
        differ takes an element of A Δ B, so x is at least their number.
        """
        bits, sizes = self._sketches[guard]
        out = np.empty(len(left), dtype=bool)
        for start in range(0, len(out), _PART):
            i, j = left[start : start + _PART], right[start : start + _PART]
            x, s = _ones(bits[i] ^ bits[j]), sizes[i] + sizes[j]  # (c,)
            out[start : start + _PART] = s - x >= limit * (s + x) - 1e-9
        return out


def _ones(rows: NDArray[np.uint64]) -> Integers:
    """Bits set in each row of (c, w) words."""
    return np.bitwise_count(rows).sum(axis=1, dtype=np.int64)


# --- a threshold read off labelled sentences


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
        steps = np.unique(np.concatenate(list(self.similarity.values())))  # (t,)
        steps = np.append(steps, np.nextafter(steps[-1], np.float32(np.inf)))  # above everything
        shares = {kind: np.searchsorted(s, steps) / len(s) for kind, s in self.similarity.items()}
        return {"threshold": steps.astype(np.float64), **shares}

    def __str__(self) -> str:
        """Say the threshold and what it keeps."""
        kept = ", ".join(f"{kind} {value:.1%}" for kind, value in self.below(self.threshold).items())
        which = PARAPHRASES[self.on]
        return f"below {self.threshold:.4f} lies at most {self.share:.1%} of {which}; of the probe it keeps {kept}"


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
    texts = [sentence.text for sentence in sentences]
    rows = unit_rows(cached_encode(encoder, texts, cache=cache, batch_size=batch_size))  # (n, d)
    sizes = np.array([len(group.sentences) for group in groups])
    anchors = np.repeat(np.cumsum(sizes) - sizes, sizes)  # (n,) the row of each sentence's anchor
    similarity = pair_similarity(rows, anchors, rows, np.arange(len(rows)))  # (n,)
    role = np.array([sentence.role for sentence in sentences])
    by_kind = {"paraphrase": np.sort(similarity[np.char.startswith(role, "paraphrase")])}
    by_kind |= {kind: np.sort(similarity[role == kind]) for kind in dict.fromkeys(role.tolist()) if kind != "anchor"}
    paraphrases = by_kind[PARAPHRASES[on]]  # (p,), rising
    allowed = int(share * len(paraphrases) + 1e-9)
    threshold = float(paraphrases[allowed]) if allowed < len(paraphrases) else float("inf")
    return Calibration(threshold, share, on, by_kind)


# --- the report

_STARVED = 0.01  # share of anchors without a negative from which on the report says so
_NEAR_COPY = 0.95  # similarity at which a negative deserves a look
_LOOSEN = {
    "positive": "give a larger corpus",
    "same_text": "clean the corpus of repeated sentences",
    "word_overlap": "raise it",
    "character_overlap": "raise it",
    "margin": "lower it",
    "relative_margin": "lower it",
    "max_similarity": "raise it",
    "calibrated": "raise its share",
    "min_similarity": "lower it",
    "skip": "lower it",
}


@dataclass(frozen=True)
class Report:
    """Figures of one mining: how similar, what each guard removed, which knob to turn; ``str(report)`` is a table.

    Attributes:
        settings: What was asked for.
        counts: ``anchors`` (given), ``distinct_anchors``, ``corpus``, ``copies`` and ``blank`` (left out of it),
            ``neighbours`` (looked at), ``kept`` (by the guards), ``negatives``, and anchors ``full`` (all the negatives
            asked for), ``short`` (fewer) and ``without``.
        similarity: ``positive``, ``nearest`` (the single nearest), ``neighbours``, ``kept`` and ``negatives``, each
            with count, mean, min, max and the quantiles p5 … p95.
        guards: Name → ``setting``, ``removed``, ``share`` of the neighbours that reached it, ``of_all``.
        advice: Sentences that say which knob to turn, and why.
    """

    settings: dict[str, Any]
    counts: dict[str, int]
    similarity: dict[str, dict[str, float | int]]
    guards: dict[str, dict[str, Any]]
    advice: list[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able figures."""
        return asdict(self)

    def __str__(self) -> str:
        """The report as a table."""
        return "\n".join([*self._head(), "", *self._similarities(), "", *self._guards(), "", *self._advice()])

    def _head(self) -> Iterator[str]:
        s, c = self.settings, self.counts
        left_out = ", ".join(f"{c[name]:,} {name}" for name in ("copies", "blank") if c[name])
        yield (
            f"{s['negatives']} negative{'s' * (s['negatives'] > 1)} an anchor, "
            + ("the nearest" if s["sampling"] == "top" else f"drawn with seed {s['seed']}")
            + f" of what the guards leave of its {s['k']} nearest"
        )
        yield f"encoder {s['encoder']}, pooling {s['pooling'] or 'its own'}"
        yield f"anchors {c['anchors']:,}" + (
            f", {c['distinct_anchors']:,} of them different" if c["distinct_anchors"] < c["anchors"] else ""
        )
        yield f"corpus {c['corpus']:,} sentences" + (f", without {left_out}" if left_out else "")
        filled = [(c[n], text) for n, text in (("full", "with all"), ("short", "with fewer"), ("without", "with none"))]
        yield "anchors " + ", ".join(f"{text} {n:,} ({_share(n, c['distinct_anchors'])})" for n, text in filled)

    def _similarities(self) -> Iterator[str]:
        names = ("mean", "min", *(f"p{q}" for q in QUANTILES), "max")
        yield f"{'similarity':12}{'count':>12}" + "".join(f"{name:>9}" for name in names)
        for kind, row in self.similarity.items():
            yield f"{kind:12}{row['count']:12,}" + "".join(f"{row[n]:9.4f}" if n in row else f"{'-':>9}" for n in names)
        if self.settings["positive"] == "itself":
            yield "positive: the anchor itself, seen again; 1 by definition"

    def _guards(self) -> Iterator[str]:
        yield f"{'guard':18}{'setting':>12}{'removed':>12}{'of those it saw':>18}{'of all':>10}"
        for name, row in self.guards.items():
            setting = row["setting"] if isinstance(row["setting"], str) else f"{row['setting']:g}"
            yield f"{name:18}{setting:>12}{row['removed']:12,}{row['share']:18.2%}{row['of_all']:10.2%}"
        if "calibrated" in self.guards:
            yield f"calibrated: {self.settings['calibration']}"

    def _advice(self) -> Iterator[str]:
        yield "what to turn"
        yield from (f"- {line}" for line in self.advice or ["nothing stands out; read some triplets all the same"])


def _report(
    settings: dict[str, Any],
    counts: dict[str, int],
    positive: Floats,
    neighbours: Floats,
    removed: NDArray[np.int8],
    negatives: Floats,
) -> Report:
    """Make a report of positives (n,), neighbours (n, k) as `_apply` left them, and negatives (n, m), NaN for none."""
    chosen = np.isfinite(negatives)  # (n, m)
    there, kept = removed != _MISSING, removed == _KEPT  # (n, k)
    each = chosen.sum(axis=1)  # (n,)
    figures = {
        "positive": _summary(positive),
        "nearest": _summary(neighbours[:, 0][there[:, 0]]),
        "neighbours": _summary(neighbours[there]),
        "kept": _summary(neighbours[kept]),
        "negatives": _summary(negatives[chosen]),
    }
    counts = counts | {
        "neighbours": int(there.sum()),
        "kept": int(kept.sum()),
        "negatives": int(chosen.sum()),
        "full": int((each == negatives.shape[1]).sum()),
        "short": int(((each > 0) & (each < negatives.shape[1])).sum()),
        "without": int((each == 0).sum()),
    }
    by_code = np.bincount(removed[removed > 0], minlength=len(GUARDS) + 1)
    guards, reached = {}, counts["neighbours"]
    for name, setting in settings["guards"].items():
        n = int(by_code[GUARDS.index(name) + 1])
        guards[name] = {
            "setting": "on" if setting is True else setting,
            "removed": n,
            "share": n / max(reached, 1),
            "of_all": n / max(counts["neighbours"], 1),
        }
        reached -= n
    above = float((negatives > positive[:, None])[chosen].mean()) if chosen.any() else 0.0
    advice = list(_advise(settings, counts, figures, guards, removed[each == 0], above))
    return Report(settings, counts, figures, guards, advice)


def _summary(values: Floats) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0}
    quantiles = np.percentile(values, QUANTILES)
    return {
        "count": len(values),
        "mean": float(values.mean(dtype=np.float64)),
        "min": float(values.min()),
        **{f"p{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "max": float(values.max()),
    }


def _advise(
    settings: dict[str, Any],
    counts: dict[str, int],
    figures: dict[str, dict[str, float | int]],
    guards: dict[str, dict[str, Any]],
    starved: NDArray[np.int8],
    above: float,
) -> Iterator[str]:
    anchors = counts["distinct_anchors"]
    if counts["without"] > _STARVED * anchors:
        yield f"{_share(counts['without'], anchors)} of anchors have no negative: {_starving(settings, starved)}"
    elif counts["short"] > _STARVED * anchors:
        yield (
            f"{_share(counts['short'], anchors)} of anchors have fewer than {settings['negatives']} negatives: raise k "
            f"({settings['k']}), or lower negatives"
        )
    if above > 0 and settings["positive"] == "given":
        yield (
            f"{above:.2%} of the negatives are nearer to the anchor than its positive: many of those will be "
            "paraphrases; margin=0 removes them, relative_margin=0.05 leaves a distance"
        )
    if not set(guards) & {"margin", "relative_margin", "max_similarity", "calibrated", "skip"}:
        yield (
            "no guard looks at how similar a neighbour is, so paraphrases stay: calibrated=0.05 sets a ceiling from "
            'the probe (a milder one with calibrated_on="close"), relative_margin=0.05 one from each positive, and '
            "skip=5 drops the nearest few"
        )
    if figures["negatives"].get("p95", 0) > _NEAR_COPY:
        yield (
            f"one negative in twenty is above {_NEAR_COPY} ({figures['negatives']['p95']:.3f} and more): read some; "
            "character_overlap=0.8 removes near-copies, max_similarity sets a ceiling"
        )
    for name, row in guards.items():
        if row["removed"] == 0 and name not in ("same_text", "skip"):
            yield f"{name}={row['setting']} removed nothing: {_tighten(name, figures['neighbours'])}"


def _starving(settings: dict[str, Any], removed: NDArray[np.int8]) -> str:
    """Say which guard took most from the anchors that were left with nothing."""
    by_code = np.bincount(removed[removed > 0], minlength=len(GUARDS) + 1)
    if not by_code.any():
        return "the corpus has nothing but their own text; give a larger one"
    name = GUARDS[int(by_code.argmax()) - 1]
    setting = settings["guards"][name]
    guard = name if setting is True else f"{name}={setting}"
    part = by_code.max() / by_code.sum()
    other = ', set calibrated_on="close"' if name == "calibrated" and settings["calibrated_on"] != "close" else ""
    return (
        f"{guard} took {part:.0%} of their neighbours; {_LOOSEN[name]}{other}, or raise k ({settings['k']}) to look "
        "farther down"
    )


def _tighten(name: str, neighbours: dict[str, float | int]) -> str:
    if not neighbours["count"]:
        return "there was no neighbour to remove"
    if name == "min_similarity":
        return f"the neighbours begin at {neighbours['min']:.3f}; above that it has an effect"
    if name.endswith("overlap"):
        return "no neighbour shares that much text; lower it, or leave it out"
    return f"the neighbours end at {neighbours['max']:.3f} (p95 {neighbours['p95']:.3f}); set it so that it lies below"


def _share(n: int, total: int) -> str:
    return f"{n / max(total, 1):.1%}"


# --- the result


@dataclass(frozen=True)
class MinedCorpus:
    """Hard negatives out of a corpus, a row for every anchor given.

    Attributes:
        anchors: The n anchors.
        positives: Their positives; None where an anchor is its own.
        index: (n, m) int64 positions of the negatives in the corpus, most similar first; -1 where one is missing.
        similarity: (n, m) float32 cosines to the anchor; NaN where one is missing.
        positive_similarity: (n,) float32 cosines of anchors and positives; 1 where an anchor is its own.
        neighbours: (n, k) int64 positions of the nearest k, before any guard; -1 where the corpus has no more.
        neighbour_similarity: (n, k) float32; NaN where there is none.
        removed_by: (n, k) int8: 0 kept, -1 no neighbour, else 1 + the position in `GUARDS` of the guard that removed
            it.
        report: What to know about it; print it.
        pool: The corpus; `texts` reads from it.
    """

    anchors: list[str]
    positives: list[str] | None
    index: Integers
    similarity: Floats
    positive_similarity: Floats
    neighbours: Integers
    neighbour_similarity: Floats
    removed_by: NDArray[np.int8]
    report: Report
    pool: Pool = field(repr=False)

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.anchors)

    def texts(self, index: Integers | list[int]) -> list[str]:
        """Sentences of the corpus at positions (p,), such as a row of ``index`` without its -1."""
        index = np.asarray(index, dtype=np.int64)
        if len(index) and (index.min() < 0 or index.max() >= self.pool.total):
            raise HncseError(
                f"positions reach from {index.min()} to {index.max()}; the corpus has 0 to {self.pool.total - 1} "
                "(-1 stands for a missing negative)"
            )
        return self.pool.texts(index)

    def under(self, guards: Guards, threshold: float | None = None) -> Mask:
        """Say which neighbours other guards would keep, (n, k), without searching again.

        Args:
            guards: In place of those the corpus was mined with; positives stay removed.
            threshold: What the guard ``calibrated`` removes at and above; without it, that guard is not looked at.
        """
        pairs = _Pairs.read(self.anchors, self.positives)
        similarity = np.where(np.isnan(self.neighbour_similarity), np.float32(-np.inf), self.neighbour_similarity)
        nobody = np.empty((len(self), 0), dtype=np.int64)  # of positives: removed_by knows them
        least = pairs.least(self.positive_similarity)[pairs.row]
        references = pairs.references[pairs.row]
        near = _Neighbours(pairs.texts, references, nobody, least, similarity, self.neighbours, self.pool)
        if threshold is not None:
            guards = replace(guards, calibrated=0.0)
        positive = self.removed_by == 1 + GUARDS.index("positive")
        return (_apply(guards, near, threshold) == _KEPT) & ~positive

    def triplets(self, layout: str = "triplet", *, similarities: bool = True) -> Dataset:
        """Return the negatives as a table to train on.

        Args:
            layout: ``"triplet"``: a row for every negative, columns anchor, positive, negative. ``"n-tuple"``: a row
                for every anchor that has all m, columns anchor, positive, negative_1 … negative_m.
            similarities: Add float32 columns positive_similarity and negative_similarity (negative_1_similarity …).

        Returns:
            Rows in the anchors' order, most similar negative first.

        Raises:
            HncseError: An unknown layout.
        """
        from datasets import Dataset, Features, Value

        if layout not in LAYOUTS:
            raise unknown("layout", layout, LAYOUTS)
        there = self.index >= 0  # (n, m)
        if layout == "triplet":
            row, column = np.nonzero(there)
            negatives = {"negative": (self.index[row, column], self.similarity[row, column])}
        else:
            row = np.flatnonzero(there.all(axis=1))
            negatives = {
                f"negative_{i + 1}": (self.index[row, i], self.similarity[row, i]) for i in range(there.shape[1])
            }
        positives = self.anchors if self.positives is None else self.positives
        columns: dict[str, Any] = {
            "anchor": [self.anchors[i] for i in row.tolist()],
            "positive": [positives[i] for i in row.tolist()],
            **{name: self.pool.texts(index) for name, (index, _) in negatives.items()},
        }
        features = dict.fromkeys(columns, Value("string"))
        if similarities:
            columns["positive_similarity"] = self.positive_similarity[row]
            columns |= {f"{name}_similarity": values for name, (_, values) in negatives.items()}
            features |= dict.fromkeys(columns.keys() - features.keys(), Value("float32"))
        return Dataset.from_dict(columns, Features({name: features[name] for name in columns}))

    def save(self, path: str | Path, layout: str = "triplet") -> Path:
        """Write the triplets as .parquet or .jsonl, whole or not at all; `load` reads them.

        Raises:
            HncseError: Another ending, an unknown layout, or a place that cannot be written.
        """
        return save(self.triplets(layout), path)


def save(triplets: Dataset, path: str | Path) -> Path:
    """Write a table as .parquet or .jsonl, whole or not at all.

    Raises:
        HncseError: Another ending, or a place that cannot be written; an old file is then untouched.
    """
    path = _table_path(path)
    with whole_file(path, "wb") as file, _no_bars():
        if path.suffix == ".parquet":
            triplets.to_parquet(file)
        else:
            triplets.to_json(file, lines=True, force_ascii=False)
    return path


def load(path: str | Path) -> Dataset:
    """Read triplets that `MinedCorpus.save` wrote.

    Raises:
        HncseError: No such file, another ending, or not what its name says.
    """
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.json  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    path = _table_path(path)
    try:
        table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.json.read_json(path)
    except FileNotFoundError as error:
        raise HncseError(f"there is no file {path}") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise HncseError(f"{path} cannot be read as triplets: {error}") from error
    if missing := [name for name in ("anchor", "positive") if name not in table.column_names]:
        raise HncseError(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    return Dataset(table)


def _table_path(path: str | Path) -> Path:
    path = expand(path)
    if path.suffix not in FORMATS:
        raise HncseError(f"{path.name!r} ends in {path.suffix or 'nothing'!r}; it must end in {' or '.join(FORMATS)}")
    return path


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep datasets from drawing a bar into a log file."""
    import datasets

    on = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if on:
            datasets.enable_progress_bars()


# --- mining


def mine(
    encoder: Encoder,
    anchors: Sequence[str],
    positives: Sequence[str] | None = None,
    corpus: Iterable[str] | str | Path | None = None,
    *,
    k: int | None = None,
    guards: Guards | None = None,
    negatives: int = 1,
    sampling: str = "top",
    seed: int = 0,
    batch_size: int | None = None,
    cache: bool = True,
    limit: int | None = None,
    column: str | None = None,
    block: int = 131_072,
    backend: str | None = None,
    show_progress: bool | None = None,
) -> MinedCorpus:
    """Mine every anchor's hard negatives: its nearest k in the corpus, less what guards remove, m of the rest.

    A neighbour is never the anchor's own text; equal sentences of the corpus count once; a positive among the
    neighbours is removed as one. The result is that of sentence-transformers' ``mine_hard_negatives`` with sampling
    "top", where ``k`` is its range_max + the most positives an anchor has, ``skip`` its range_min, margins and limits
    are the same, ``same_text=False``, and the corpus holds the positives and no anchor.

    Args:
        encoder: Anything with `encode`; cosine is the similarity.
        anchors: n sentences. One that stands there several times has several positives: all of them are kept out of
            its negatives, and margins read against the least similar.
        positives: n sentences, the right answer of each anchor; None: an anchor is its own positive, seen again under
            dropout (SimCSE), similarity 1.
        corpus: What to search. None: the positives, or without them the anchors. A list. An iterator, a file or a
            source of `hncse.data.corpora` by name: read once, block by block, never in memory as a whole.
        k: Neighbours to look at; None: 50, or all where there are fewer.
        guards: Against false negatives; None: `Guards()`, which removes equal texts alone.
        negatives: m, wanted for every anchor.
        sampling: ``"top"`` takes the most similar m that are left, ``"random"`` draws m.
        seed: Of that draw; batch and block sizes do not change it.
        batch_size: Passed on to ``encode``.
        cache: Whether embeddings may be read from and written to `hncse.data.embedding_cache`.
        limit: Of the corpus, the first so many sentences.
        column: Of a corpus that is a file.
        block: Sentences of the corpus searched at a time; bounds the memory of what is streamed.
        backend: ``"faiss"`` or ``"torch"``; None takes torch where it has a CUDA device.
        show_progress: A bar; None shows one on long work.

    Returns:
        The negatives, what was removed and why, and a report.

    Raises:
        HncseError: Too few sentences for k, blank or missing ones among anchors or positives, embeddings with NaN, an
            impossible setting. The message says what would be right.
    """
    guards = guards or Guards()
    _check(k, guards, negatives, sampling, seed, block)
    pairs = _Pairs.read(anchors, positives)
    source = corpus if corpus is not None else pairs.positives if pairs.positives is not None else pairs.anchors
    pool = _pool(source, limit, column)
    options: dict[str, Any] = {"cache": cache, "batch_size": batch_size}
    calibration = (
        None if guards.calibrated is None else calibrate(encoder, guards.calibrated, on=guards.calibrated_on, **options)
    )
    depth = k or max(_K, guards.skip + negatives)
    search = _Search(encoder, depth, k is not None, options, block, backend, show_progress)
    near, similarity = search.run(pairs, pool)
    removed = _apply(guards, near, calibration.threshold if calibration else None)  # (u, k)
    settings = {
        "encoder": _encoder_name(encoder),
        "pooling": getattr(encoder, "pooling", None),
        "positive": "itself" if positives is None else "given",
        "k": near.index.shape[1],
        "negatives": negatives,
        "sampling": sampling,
        "seed": seed,
        "guards": ({} if positives is None else {"positive": True}) | guards.settings(),
        "calibrated_on": guards.calibrated_on,
        "calibration": str(calibration) if calibration else None,
    }
    return _result(pairs, near, similarity, removed, _choose(removed == _KEPT, negatives, sampling, seed), settings)


def _check(k: int | None, guards: Guards, negatives: int, sampling: str, seed: int, block: int) -> None:
    """Complain about settings that cannot work, before anything is encoded."""
    for name, value, least in (("k", k, 1), ("negatives", negatives, 1), ("seed", seed, 0), ("block", block, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise HncseError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if sampling not in SAMPLINGS:
        raise unknown("sampling", sampling, SAMPLINGS)
    if k is not None and k < guards.skip + negatives:
        raise HncseError(
            f"k is {k}, but {guards.skip} neighbours are skipped and {negatives} wanted as negatives; k must be at "
            f"least {guards.skip + negatives}"
        )


def _pool(corpus: Iterable[str] | str | Path, limit: int | None, column: str | None) -> Pool:
    """Take whatever was given as a corpus."""
    if limit is not None and limit < 1:
        raise HncseError(f"limit is {limit}; it must be at least 1, or None for the whole corpus")
    if isinstance(corpus, str | Path):
        from hncse.data import corpora

        return Pool(corpora.stream(corpus, limit=limit, column=column))
    if column is not None:
        raise HncseError(f"column is {column!r}, but the corpus is sentences and no file; leave column out")
    corpus = getattr(corpus, "sentences", corpus)  # a hncse.data.corpora.Corpus
    if limit is None:
        return Pool(corpus)
    return Pool(corpus[:limit] if isinstance(corpus, Sequence) else islice(corpus, limit))


def _encoder_name(encoder: Encoder) -> str:
    """An encoder's name without the place it was loaded from: of a run's, the run."""
    parts = Path(getattr(encoder, "name", "") or type(encoder).__name__).parts
    return parts[-2] if len(parts) > 1 and parts[-1] == "encoder" else parts[-1] if parts[0] == "/" else "/".join(parts)


@dataclass(frozen=True)
class _Pairs:
    """Anchors and positives, checked and numbered.

    Attributes:
        anchors: n texts.
        positives: n texts, or None where an anchor is its own positive.
        labels: Text → label: 0 … u-1 are the u different anchors in order of appearance, positives follow.
        row: (n,) label of each anchor.
        references: (u, 1+p) label of each different anchor and of its positives, padded with -1; p is 0 where
            positives is None.
    """

    anchors: list[str]
    positives: list[str] | None
    labels: dict[str, int]
    row: Integers
    references: Integers

    @property
    def distinct(self) -> int:
        """Number u of different anchors."""
        return len(self.references)

    @property
    def texts(self) -> list[str]:
        """Text of every label."""
        return list(self.labels)

    @classmethod
    def read(cls, anchors: Sequence[str], positives: Sequence[str] | None) -> _Pairs:
        """Check and number the texts.

        Raises:
            HncseError: No anchors, one that is blank or no string, positives that are missing or too many.
        """
        texts = _sentences(anchors, "anchor")
        answers = None if positives is None else _sentences(positives, "positive")
        if answers is not None and len(answers) != len(texts):
            raise HncseError(
                f"there are {len(texts)} anchors and {len(answers)} positives; every anchor needs its own (leave "
                "positives out to take each anchor for its own positive)"
            )
        labels: dict[str, int] = {}
        row = np.array([labels.setdefault(text, len(labels)) for text in texts], dtype=np.int64)
        each: list[dict[int, None]] = [{} for _ in labels]  # dictionaries for their order
        for label, text in zip(row.tolist(), answers or [], strict=False):
            each[label][labels.setdefault(text, len(labels))] = None
        references = np.full((len(each), 1 + max(map(len, each))), -1, dtype=np.int64)
        for label, own in enumerate(each):
            references[label, : 1 + len(own)] = [label, *own]
        return cls(texts, answers, labels, row, references)

    def similarity(self, rows: Floats) -> Floats:
        """Similarity of every given pair, (n,), from the labels' unit rows; 1 where an anchor is its own positive."""
        if self.positives is None:
            return np.ones(len(self.row), dtype=np.float32)
        partner = np.array([self.labels[text] for text in self.positives], dtype=np.int64)
        return pair_similarity(rows, self.row, rows, partner)

    def least(self, similarity: Floats) -> Floats:
        """Of every given pair's similarity (n,) the least of each different anchor, (u,)."""
        out = np.full(self.distinct, np.inf, dtype=np.float32)
        np.minimum.at(out, self.row, similarity)
        return out


def _sentences(texts: Sequence[str], what: str) -> list[str]:
    """Return sentences as a list.

    Raises:
        HncseError: One string, none, one that is missing, no string, or blank.
    """
    if isinstance(texts, str):
        raise HncseError(f"{what}s is one string {texts[:40]!r}; put it in a list")
    texts = list(getattr(texts, "sentences", texts))  # a hncse.data.corpora.Corpus
    if not texts:
        raise HncseError(f"there are no {what}s; give at least one sentence")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise HncseError(f"{what} {i} is {text!r} ({type(text).__name__}); every {what} must be a sentence")
        if not text.strip():
            raise HncseError(f"{what} {i} is {text!r}, a blank sentence; leave it out (corpora.load does)")
    return texts


@dataclass(frozen=True)
class _Search:
    """How to look for neighbours: k of them, an error where nobody has so many and ``exact``; else as in `mine`."""

    encoder: Encoder
    k: int
    exact: bool
    options: dict[str, Any]
    block: int
    backend: str | None
    show_progress: bool | None

    def run(self, pairs: _Pairs, pool: Pool) -> tuple[_Neighbours, Floats]:
        """Return the different anchors' neighbours, and (n,) the similarity of every given pair.

        Raises:
            HncseError: The corpus is too small for k, or holds nothing an anchor may have.
        """
        blocks, rows, size = self._listed(pairs, pool) if pool.in_memory else self._streamed(pairs, pool)
        nearest = Nearest(rows[: pairs.distinct], self.k if size is None else min(self.k, size), self.backend)
        places = np.full(len(pairs.labels) + 1, -2, dtype=np.int64)  # label → position in the corpus; the last: none
        with self._bar(pairs.distinct, size) as bar:
            for texts, index, block_rows in blocks:
                labels = np.array([pairs.labels.get(text, -1) for text in texts], dtype=np.int64)  # (m,)
                places[labels[labels >= 0]] = index[labels >= 0]
                for done in nearest.add(block_rows, index, np.where(labels < pairs.distinct, labels, -1)):
                    bar.update(done)
        depth = int((nearest.index >= 0).sum(axis=1).max())  # columns behind it nobody filled
        if depth == 0:
            raise HncseError(
                f"the corpus of {pool.total} sentences ({pool.copies} copies, {pool.blank} blank) holds nothing but "
                "the anchor's own text; give a larger one"
            )
        if self.exact and depth < self.k:
            raise _too_small(self.k, depth, pool)
        similarity = pairs.similarity(rows)
        near = _Neighbours(
            pairs.texts, pairs.references, places[pairs.references[:, 1:]], pairs.least(similarity),
            nearest.similarity[:, :depth], nearest.index[:, :depth], pool,
        )  # fmt: skip
        return near, similarity

    def _listed(self, pairs: _Pairs, pool: Pool) -> tuple[Iterator[tuple[list[str], Integers, Floats]], Floats, int]:
        """Blocks with their unit rows, unit rows of labels (and of the corpus), and how many sentences there are."""
        blocks = list(pool.blocks(self.block))
        self._check_readable(pairs.texts)
        self._check_readable([text for texts, _ in blocks for text in texts])
        size = sum(len(texts) for texts, _ in blocks)
        if self.exact and self.k > size:
            raise _too_small(self.k, size, pool)
        place = dict(pairs.labels)  # text → row; every different text is encoded once
        for texts, _ in blocks:
            for text in texts:
                place.setdefault(text, len(place))
        rows = self._unit(list(place))  # (t, d)

        def with_rows() -> Iterator[tuple[list[str], Integers, Floats]]:
            for texts, index in blocks:
                at = np.array([place[text] for text in texts], dtype=np.int64)  # (m,)
                together = (np.diff(at) == 1).all()  # as where the anchors are the corpus: no copy
                yield texts, index, rows[at[0] : at[-1] + 1] if together else rows[at]

        return with_rows(), rows, size

    def _streamed(self, pairs: _Pairs, pool: Pool) -> tuple[Iterator[tuple[list[str], Integers, Floats]], Floats, None]:
        self._check_readable(pairs.texts)

        def with_rows() -> Iterator[tuple[list[str], Integers, Floats]]:
            for number, (texts, index) in enumerate(pool.blocks(self.block)):
                if number == 0:
                    self._check_readable(texts)
                yield texts, index, self._unit(texts)

        return with_rows(), self._unit(pairs.texts), None

    def _unit(self, texts: list[str]) -> Floats:
        return unit_rows(cached_encode(self.encoder, texts, **self.options))

    def _check_readable(self, texts: list[str]) -> None:
        """Refuse texts that differ and are one and the same to the encoder's tokenizer, where it can be asked."""
        encoder: Any = self.encoder
        if hasattr(encoder, "check_readable"):  # a SentenceEncoder
            sample = {_normalise(text): text for text in texts[:: max(1, len(texts) // _SAMPLE)]}
            encoder.check_readable(encoder.tokenize(list(sample.values())))

    def _bar(self, anchors: int, size: int | None) -> Any:
        from tqdm.auto import tqdm

        long = anchors * (size or self.block) > _LONG
        show = self.show_progress if self.show_progress is not None else long and somebody_watches()
        steps = None if size is None else anchors * -(-size // self.block)
        return tqdm(total=steps, desc="search", unit=" anchors", disable=not show)


def _too_small(k: int, there: int, pool: Pool) -> HncseError:
    left_out = f", {pool.copies} copies and {pool.blank} blank left out" if pool.copies + pool.blank else ""
    return HncseError(
        f"k is {k}, but no anchor can have more than {there} neighbours in a corpus of {pool.total} sentences"
        f"{left_out}; ask for at most {there}, or leave k out"
    )


def _choose(kept: Mask, m: int, sampling: str, seed: int) -> Integers:
    """Columns (u, m) of the neighbours to use, rising; -1 where fewer are kept (u, k)."""
    u, k = kept.shape
    if sampling == "random":  # one number for every neighbour, however the work was cut
        draw = np.random.default_rng(seed).random((u, k), dtype=np.float32)
        draw[~kept] = np.inf
        order = np.argsort(draw, axis=1, kind="stable")[:, :m]
    else:
        order = np.argsort(~kept, axis=1, kind="stable")[:, :m]  # those kept first, in their order
    order = np.sort(np.where(np.take_along_axis(kept, order, axis=1), order, k), axis=1)
    out = np.full((u, m), -1, dtype=np.int64)
    out[:, : order.shape[1]] = np.where(order < k, order, -1)
    return out


def _result(
    pairs: _Pairs,
    near: _Neighbours,
    positive: Floats,
    removed: NDArray[np.int8],
    chosen: Integers,
    settings: dict[str, Any],
) -> MinedCorpus:
    """Put together what holds of the different anchors, a row for every given one."""
    there = chosen >= 0  # (u, m)
    index = np.where(there, np.take_along_axis(near.index, chosen.clip(0), axis=1), -1)
    similarity = np.where(there, np.take_along_axis(near.similarity, chosen.clip(0), axis=1), np.float32(np.nan))
    neighbours = np.where(near.index >= 0, near.similarity, np.float32(np.nan))  # (u, k)
    counts = {
        "anchors": len(pairs.anchors),
        "distinct_anchors": pairs.distinct,
        "corpus": near.pool.total,
        "copies": near.pool.copies,
        "blank": near.pool.blank,
    }
    report = _report(settings, counts, near.positive, neighbours, removed, similarity)

    def each(table: NDArray[Any]) -> NDArray[Any]:
        return table if pairs.distinct == len(pairs.row) else table[pairs.row]

    return MinedCorpus(
        pairs.anchors, pairs.positives, each(index), each(similarity), positive, each(near.index), each(neighbours),
        each(removed), report, near.pool,
    )  # fmt: skip


# --- the command line

_GUARD_HELP = {
    "word_overlap": "remove where the Jaccard coefficient of words reaches X",
    "character_overlap": "remove where that of character 5-grams reaches X",
    "margin": "keep up to the positive's similarity minus X",
    "relative_margin": "keep up to the positive's similarity times 1 - X",
    "max_similarity": "keep up to X",
    "calibrated": "keep below the similarity under which a share X of the probe's paraphrases falls",
    "min_similarity": "keep from X on",
    "skip": "remove the first X of what is left",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse mine", description="Mine hard negatives out of a corpus; print a report, write triplets."
    )
    source = "wikipedia, wiki1m, docstrings, a file, or hf:<dataset>:<column>"
    add = parser.add_argument
    add("--encoder", default="kit", help="a run's name or folder, 'latest', 'kit', or an encoder's name (default kit)")
    add("--pooling", help="cls, mean, first_last, last_two, last; default: as the encoder was saved")
    add("--corpus", help=f"what to search: {source} (default: the positives, without them docstrings)")
    add("--limit", type=int, help="at most so many of its sentences")
    add("--column", help="column of a corpus that is a .csv, .tsv, .jsonl or .parquet file")
    add("--anchors", help=f"sentences that want negatives, from {source}; default: the corpus itself")
    add("--anchor-limit", type=int, help="at most so many of them")
    add("--anchor-column", help="column of anchors that are a file")
    add("--positives", metavar="COLUMN", help="column of the anchors' file with the right answer of each anchor")
    add("--k", type=int, help="neighbours to look at (default 50)")
    add("--negatives", type=int, default=1, help="negatives wanted for every anchor (default 1)")
    add("--sampling", default="top", help="top: the most similar; random: a seeded draw (default top)")
    add("--seed", type=int, default=0, help="seed of that draw, and of samples from a source (default 0)")
    guards = parser.add_argument_group("guards against false negatives, tried in this order")
    guards.add_argument("--keep-same-text", action="store_true", help="keep texts equal but for case and punctuation")
    for name in GUARDS[2:]:
        kind: type = int if name == "skip" else float
        guards.add_argument(f"--{name.replace('_', '-')}", type=kind, help=_GUARD_HELP[name], metavar="X")
    guards.add_argument("--calibrated-on", default="both", help="paraphrases: close, far or both (default both)")
    add("--batch-size", type=int, help="sentences in a forward pass; default: the encoder's own")
    add("--no-cache", action="store_true", help="neither read nor write the cache of embeddings")
    add("--layout", default="triplet", help=f"{' or '.join(LAYOUTS)} (default triplet)")
    add("--out", help=f"write the triplets there, a file ending in {' or '.join(FORMATS)}")
    add("--json", help="write the report's figures there")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    options = _parser().parse_args(arguments)
    settings = {name: value for name in GUARDS[2:] if (value := getattr(options, name)) is not None}
    guards = Guards(same_text=not options.keep_same_text, calibrated_on=options.calibrated_on, **settings)
    _check(options.k, guards, options.negatives, options.sampling, options.seed, 1)
    if options.layout not in LAYOUTS:
        raise unknown("layout", options.layout, LAYOUTS)
    if options.out:
        _table_path(options.out)
    anchors, positives, corpus = _asked_for(options)
    from hncse.evaluation import open_encoder

    encoder, _ = open_encoder(options.encoder, options.pooling)
    mined = mine(
        encoder, anchors, positives, corpus, k=options.k, guards=guards, negatives=options.negatives,
        sampling=options.sampling, seed=options.seed, batch_size=options.batch_size, cache=not options.no_cache,
        limit=options.limit if corpus else None, column=options.column if corpus else None,
    )  # fmt: skip
    sys.stdout.write(f"{mined.report}\n")
    if options.json:
        write_json(options.json, mined.report.to_dict())
    if options.out:
        sys.stdout.write(f"wrote {mined.save(options.out, options.layout)}\n")
    return 0


def _asked_for(options: argparse.Namespace) -> tuple[list[str], list[str] | None, str | None]:
    """Anchors, their positives, and the corpus to stream; None where what is there is searched itself."""
    from hncse.data import corpora

    if options.anchors is None:
        if options.positives is not None:
            raise HncseError(
                f"--positives is {options.positives!r}, a column of the anchors' file, but --anchors names none"
            )
        source = options.corpus or "docstrings"
        return corpora.load(source, limit=options.limit, seed=options.seed, column=options.column).sentences, None, None
    sample = {"limit": options.anchor_limit, "seed": options.seed, "column": options.anchor_column}
    if options.positives is not None:
        pairs = corpora.load(options.anchors, negatives=options.positives, **sample)  # two columns, row by row
        return pairs.sentences, pairs.negatives, options.corpus
    if _same_table(options):
        sys.stderr.write(
            f"note: anchors are column {options.anchor_column!r} and the corpus is column {options.column!r} of the "
            f"same table; if its rows are pairs, --positives {options.column} keeps each anchor's own row out of its "
            "negatives\n"
        )
    anchors = corpora.load(options.anchors, **sample)
    return anchors.sentences, None, options.corpus or "docstrings"


def _same_table(options: argparse.Namespace) -> bool:
    """Whether anchors and corpus are two columns of one file."""
    same = options.corpus is not None and expand(options.anchors).resolve() == expand(options.corpus).resolve()
    return same and options.anchor_column != options.column


if __name__ == "__main__":
    sys.exit(main())
