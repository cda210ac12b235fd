"""The corpus miner, slowly: every similarity, a full sort, one guard after the other, one anchor at a time."""

from __future__ import annotations

import re
import unicodedata

import numpy as np


def neighbours(z: dict[str, np.ndarray], anchor: str, corpus: list[str], k: int) -> list[int]:
    """Positions of the k nearest: not the anchor's text, not blank, not a copy of an earlier one; ties by position."""
    able = [
        j for j, text in enumerate(corpus) if text.strip() and text != anchor and text not in corpus[:j]
    ]  # fmt: skip
    return sorted(able, key=lambda j: (-cosine(z[anchor], z[corpus[j]]), j))[:k]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def overlap(a: list[str], b: list[str]) -> float:
    return len(set(a) & set(b)) / len(set(a) | set(b))


def grams(text: str) -> list[str]:
    return [text[i : i + 5] for i in range(len(text) - 4)] if len(text) >= 5 else [text]


def removed_by(guards, own: list[str], text: str, s: float, p: float, threshold: float | None) -> str | None:
    """Name of the first guard that removes a neighbour; ``own``: the anchor and its positives; skip is not asked."""
    near, b = [plain(one) for one in own], plain(text)
    if guards.same_text and b in near:
        return "same_text"
    if guards.word_overlap is not None and max(overlap(a.split(), b.split()) for a in near) >= guards.word_overlap:
        return "word_overlap"
    if guards.character_overlap is not None and max(overlap(grams(a), grams(b)) for a in near) >= (
        guards.character_overlap
    ):
        return "character_overlap"
    if guards.margin is not None and not s <= p - guards.margin:
        return "margin"
    if guards.relative_margin is not None and not s <= p - abs(p) * guards.relative_margin:
        return "relative_margin"
    if guards.max_similarity is not None and not s <= guards.max_similarity:
        return "max_similarity"
    if threshold is not None and not s < threshold:
        return "calibrated"
    if guards.min_similarity is not None and not s >= guards.min_similarity:
        return "min_similarity"
    return None


def mine(z, anchors, corpus, positives, k, guards, negatives, threshold=None):
    """Top sampling. Returns a list an anchor: its neighbours as (position, guard or None), and its negatives."""
    found = []
    for anchor in anchors:
        own = [positives[i] for i, other in enumerate(anchors) if other == anchor] if positives else []
        p = min([cosine(z[anchor], z[text]) for text in own], default=1.0)
        near, kept, skipped = [], [], 0
        for j in neighbours(z, anchor, corpus, k):
            guard = "positive" if corpus[j] in own else None
            similarity = cosine(z[anchor], z[corpus[j]])
            guard = guard or removed_by(guards, [anchor, *own], corpus[j], similarity, p, threshold)
            if guard is None and skipped < guards.skip:
                guard, skipped = "skip", skipped + 1
            near.append((j, guard))
            if guard is None:
                kept.append(j)
        found.append((near, kept[:negatives]))
    return found
