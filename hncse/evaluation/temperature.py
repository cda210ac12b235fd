"""At which temperature does SimCSE pull as another loss does? Hard negatives as a colder softmax.

The softmax weighs negatives by exp(similarity/τ): the colder, the more the hardest count. HNM brings hard negatives of
its own, so that its gradient at one τ resembles SimCSE's at a lower one. `matches` measures at which.

found = matches(batches(encoder, sentences), "hnm-no-replacement", TAUS)
print([(m.temperature, m.alike) for m in found])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from hncse.evaluation.defects import gradient, raw_views

__all__ = ["CANDIDATES", "TAUS", "Match", "batches", "directions", "matches"]

#: Temperatures of the baseline that are tried, 0.02 to 2.3, each 9 % above the one before.
CANDIDATES: tuple[float, ...] = tuple(round(float(t), 4) for t in 0.04 * 15 ** (np.arange(-8, 49) / 32))

#: Temperatures of the notebook's picture.
TAUS = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class Match:
    """A loss at one temperature beside the baseline at all of them.

    Attributes:
        preset: The loss.
        temperature: Its τ.
        candidates: (C,) τ of the baseline.
        cosines: (C,) cosine of the two gradients, mean over batches.
        alike: τ at which the baseline's gradient is nearest, mean over batches of the best candidate.
        spread: Standard deviation of that over batches; NaN for one batch.
        length: Of its gradient, in units of the baseline's at the same τ, mean over batches.
    """

    preset: str
    temperature: float
    candidates: NDArray[np.float64]
    cosines: NDArray[np.float64]
    alike: float
    spread: float
    length: float


def batches(
    encoder: SentenceEncoder, sentences: Sequence[str], size: int = 64, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Two dropout views (size, d) of each full batch of sentences, in their order; the rest is dropped.

    Args:
        encoder: Its mode is put back afterwards.
        sentences: At least ``size`` of them.
        size: N, as in training.
        seed: Of dropout; each batch has its own.

    Raises:
        HncseError: A size below 2.
    """
    if size < 2:
        raise HncseError(f"size is {size}; a batch has negatives from two sentences on")
    starts = range(0, len(sentences) - size + 1, size)
    return [raw_views(encoder, sentences[at : at + size], seed + i) for i, at in enumerate(starts)]


def directions(
    views: Sequence[tuple[Tensor, Tensor]], baseline: str = "simcse", candidates: Sequence[float] = CANDIDATES
) -> list[NDArray[np.float64]]:
    """The baseline's gradients of unit length (C, 2·N·d) of each batch, for several `matches` on the same views."""
    return [np.stack([_unit(_pull(pair, baseline, t)) for t in candidates]) for pair in views]


def matches(
    views: Sequence[tuple[Tensor, Tensor]],
    preset: str,
    temperatures: Sequence[float],
    baseline: str = "simcse",
    candidates: Sequence[float] = CANDIDATES,
    guides: Sequence[Tensor] | None = None,
    beside: Sequence[NDArray[np.float64]] | None = None,
) -> list[Match]:
    """Compare gradients over both views of a batch, direction only: an optimiser like Adam divides the length out.

    Args:
        views: (N, d), (N, d) of each batch, from `batches`.
        preset: Name of a loss of two views.
        temperatures: Its τ, each above 0.
        baseline: What it is compared with.
        candidates: τ of the baseline.
        guides: (N, d') of each batch, for a preset that asks a guide.
        beside: `directions` of the same views, baseline and candidates; None computes them.

    Returns:
        One match for each of ``temperatures``.

    Raises:
        HncseError: There is no batch, or no candidate.
    """
    if not views or not len(candidates):
        raise HncseError(f"{len(views)} batches and {len(candidates)} candidates compare nothing; give some of both")
    tried = np.asarray(candidates, dtype=np.float64)  # (C,)
    beside = directions(views, baseline, candidates) if beside is None else beside
    found = []
    for t in temperatures:
        pulls = [_pull(pair, preset, t, guides[i] if guides else None) for i, pair in enumerate(views)]
        cosines = np.stack([rows @ _unit(pull) for rows, pull in zip(beside, pulls, strict=True)])  # (B, C)
        best = tried[cosines.argmax(axis=1)]  # (B,)
        spread = float(best.std(ddof=1)) * bool(np.ptp(best)) if len(best) > 1 else float("nan")  # equal: 0 exactly
        plain = [np.linalg.norm(_pull(pair, baseline, t)) for pair in views]
        length = float(np.mean([np.linalg.norm(pull) / one for pull, one in zip(pulls, plain, strict=True)]))
        found.append(Match(preset, t, tried, cosines.mean(axis=0), float(best.mean()), spread, length))
    return found


def _pull(
    pair: tuple[Tensor, Tensor], preset: str, temperature: float, guide: Tensor | None = None
) -> NDArray[np.float64]:
    z1, z2 = (z.double() for z in pair)  # at a low τ nearly all weights are far below float32's last digit
    return gradient(z1, z2, preset, {"temperature": temperature}, guide)[1].numpy()


def _unit(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    return flat / max(float(np.linalg.norm(flat)), 1e-300)
