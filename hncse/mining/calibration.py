"""A similarity threshold read off labelled sentences: how near may a neighbour be before it may be a paraphrase?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hncse.embedding_cache import Encoder, cached_encode
from hncse.errors import HncseError, unknown
from hncse.mining.search import pair_similarity, unit_rows

if TYPE_CHECKING:
    from hncse.data.probe import Group

__all__ = ["PARAPHRASES", "Calibration", "calibrate"]

#: Which paraphrases of the probe a threshold may be read off, and what they are called in `Calibration.similarity`.
PARAPHRASES = {"both": "paraphrase", "close": "paraphrase_close", "far": "paraphrase_far"}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """A threshold, and what lies below it and any other.

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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: threshold (None for none), share, and what is kept below it."""
        threshold = self.threshold if np.isfinite(self.threshold) else None
        return {"threshold": threshold, "share": self.share, "on": self.on, "kept": self.below(self.threshold)}

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
        cache: Whether embeddings may be read from and written to `hncse.embedding_cache`.
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
    similarity = _by_kind(encoder, groups, cache, batch_size)
    paraphrases = similarity[PARAPHRASES[on]]  # (p,), rising
    allowed = int(share * len(paraphrases) + 1e-9)
    threshold = float(paraphrases[allowed]) if allowed < len(paraphrases) else float("inf")
    return Calibration(threshold, share, on, similarity)


def _by_kind(encoder: Encoder, groups: Sequence[Group], cache: bool, batch_size: int | None) -> dict[str, Floats]:
    texts = [sentence.text for group in groups for sentence in group.sentences]
    rows = unit_rows(cached_encode(encoder, texts, cache=cache, batch_size=batch_size))  # (n, d)
    sizes = np.array([len(group.sentences) for group in groups])
    anchors = np.repeat(np.cumsum(sizes) - sizes, sizes)  # (n,) the row of each sentence's anchor
    similarity = pair_similarity(rows, anchors, rows, np.arange(len(rows)))  # (n,)
    role = np.array([sentence.role for group in groups for sentence in group.sentences])
    both = {"paraphrase": np.sort(similarity[np.char.startswith(role, "paraphrase")])}
    kinds = [kind for kind in dict.fromkeys(role.tolist()) if kind != "anchor"]
    return both | {kind: np.sort(similarity[role == kind]) for kind in kinds}
