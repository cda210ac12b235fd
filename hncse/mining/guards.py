"""Guards: cheap guesses at which neighbours say the same as the anchor, and a report on what they removed.

Their order is fixed, and a neighbour counts for the first guard that removes it.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError, unknown
from hncse.mining.search import Floats, Integers, Pool, pair_similarity, unit_rows

if TYPE_CHECKING:
    from hncse.data.probe import Group

__all__ = [
    "GUARDS", "KEPT", "MISSING", "PARAPHRASES", "Calibration", "Guards", "Neighbours", "Report", "apply", "calibrate",
    "plain", "report",
]  # fmt: skip

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
_PERCENTILES = {"min": 0, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100}
_STARVED = 0.01  # share of anchors without a negative from which on the report says so
_NEAR_COPY = 0.95  # similarity at which a negative deserves a look
_LOOSEN = {
    "positive": "give a larger corpus", "same_text": "clean the corpus of repeated sentences",
    "word_overlap": "raise it", "character_overlap": "raise it", "margin": "lower it", "relative_margin": "lower it",
    "max_similarity": "raise it", "calibrated": "raise its share", "min_similarity": "lower it", "skip": "lower it",
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

    Returns (u, k) int8: `KEPT`, `MISSING`, or 1 + the position in `GUARDS` of the first guard that removed it.
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
        similarity: Kind of sentence (the probe's roles, and ``paraphrase`` for close and far together) → (n,) float32
            similarities to their anchors, rising.
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


@dataclass(frozen=True)
class Report:
    """Figures of one mining; ``str(report)`` is a table.

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
        advice = self.advice or ["nothing stands out; read some triplets all the same"]
        tables = [*self._head(), "", *self._similarities(), "", *self._guards(), ""]
        return "\n".join([*tables, "what to turn", *(f"- {line}" for line in advice)])

    def _head(self) -> Iterator[str]:
        s, c = self.settings, self.counts
        order = "the nearest" if s["sampling"] == "top" else f"drawn with seed {s['seed']}"
        plural = "s" * (s["negatives"] > 1)
        yield f"{s['negatives']} negative{plural} an anchor, {order} of what the guards leave of its {s['k']} nearest"
        yield f"encoder {s['encoder']}, pooling {s['pooling'] or 'its own'}"
        if s.get("guide"):
            yield f"guide {s['guide']}: margins and limits read its similarity"
        different = f", {c['distinct_anchors']:,} of them different" if c["distinct_anchors"] < c["anchors"] else ""
        yield f"anchors {c['anchors']:,}{different}"
        left_out = ", ".join(f"{c[name]:,} {name}" for name in ("copies", "blank") if c[name])
        yield f"corpus {c['corpus']:,} sentences" + (f", without {left_out}" if left_out else "")
        filled = {"with all": c["full"], "with fewer": c["short"], "with none": c["without"]}
        yield "anchors " + ", ".join(f"{k} {n:,} ({_share(n, c['distinct_anchors'])})" for k, n in filled.items())

    def _similarities(self) -> Iterator[str]:
        names = ("mean", *_PERCENTILES)
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


def report(
    settings: dict[str, Any], anchors: int, near: Neighbours, removed: NDArray[np.int8], negatives: Floats
) -> Report:
    """Count and summarise the neighbours of the u different anchors, of ``anchors`` that were given.

    ``removed`` (u, k) is as `hncse.mining.guards.apply` left it, ``negatives`` (u, m) similarities, NaN for none.
    """
    chosen = np.isfinite(negatives)  # (u, m)
    existing, kept = removed != MISSING, removed == KEPT  # (u, k)
    each, m = chosen.sum(axis=1), negatives.shape[1]  # (u,)
    figures = {
        "positive": _summary(near.positive),
        "nearest": _summary(near.similarity[:, 0][existing[:, 0]]),
        "neighbours": _summary(near.similarity[existing]),
        "kept": _summary(near.similarity[kept]),
        "negatives": _summary(negatives[chosen]),
    }
    if near.guided is not None:
        figures["guide"] = _summary(near.guided[existing])
    counts = {
        "anchors": anchors, "distinct_anchors": len(removed),
        "corpus": near.pool.total, "copies": near.pool.copies, "blank": near.pool.blank,
        "neighbours": int(existing.sum()), "kept": int(kept.sum()), "negatives": int(chosen.sum()),
        "full": int((each == m).sum()), "short": int(((each > 0) & (each < m)).sum()),
        "without": int((each == 0).sum()),
    }  # fmt: skip
    by_name = _by_guard(removed)
    guards, reached = {}, counts["neighbours"]
    for name, setting in settings["guards"].items():
        shares = {"share": by_name[name] / max(reached, 1), "of_all": by_name[name] / max(counts["neighbours"], 1)}
        guards[name] = {"setting": "on" if setting is True else setting, "removed": by_name[name], **shares}
        reached -= by_name[name]
    facts = Report(settings, counts, figures, guards, [])
    above = float((negatives > near.positive[:, None])[chosen].mean()) if chosen.any() else 0.0
    facts.advice.extend(_advise(facts, _by_guard(removed[each == 0]), above))
    return facts


def _by_guard(removed: NDArray[np.int8]) -> dict[str, int]:
    return {name: int((removed == code).sum()) for code, name in enumerate(GUARDS, 1)}


def _summary(values: Floats) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0}
    percentiles = np.percentile(values, list(_PERCENTILES.values())).tolist()
    mean = float(values.mean(dtype=np.float64))
    return {"count": len(values), "mean": mean, **dict(zip(_PERCENTILES, percentiles, strict=True))}


def _advise(facts: Report, starved: dict[str, int], above: float) -> Iterator[str]:
    """Say which knob to turn; ``above``: the share of negatives nearer than the positive."""
    settings, counts, figures = facts.settings, facts.counts, facts.similarity
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
    if not set(facts.guards) & {"margin", "relative_margin", "max_similarity", "calibrated", "skip"}:
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
    for name, row in facts.guards.items():
        if row["removed"] == 0 and name not in ("same_text", "skip"):
            seen = figures.get("guide", figures["neighbours"])
            yield f"{name}={row['setting']} removed nothing: {_tighten(name, seen)}"


def _starving(settings: dict[str, Any], starved: dict[str, int]) -> str:
    """Say which guard took most from the anchors that were left with nothing."""
    name = max(starved, key=lambda name: starved[name])
    if not starved[name]:
        return "the corpus has nothing but their own text; give a larger one"
    setting = settings["guards"][name]
    guard = name if setting is True else f"{name}={setting}"
    other = ', set calibrated_on="close"' if name == "calibrated" and settings["calibrated_on"] != "close" else ""
    return (
        f"{guard} took {starved[name] / sum(starved.values()):.0%} of their neighbours; {_LOOSEN[name]}{other}, or "
        f"raise k ({settings['k']}) to look farther down"
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
