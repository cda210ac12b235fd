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

__all__ = ["CANDIDATES", "TAUS", "Match", "batches", "matches"]

#: Temperatures of the baseline that are tried, each 9 % above the one before.
CANDIDATES: tuple[float, ...] = tuple(round(float(t), 4) for t in np.geomspace(0.04, 0.6, 33))

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
    """

    preset: str
    temperature: float
    candidates: NDArray[np.float64]
    cosines: NDArray[np.float64]
    alike: float
    spread: float


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


def matches(
    views: Sequence[tuple[Tensor, Tensor]],
    preset: str,
    temperatures: Sequence[float],
    baseline: str = "simcse",
    candidates: Sequence[float] = CANDIDATES,
    guides: Sequence[Tensor] | None = None,
) -> list[Match]:
    """Compare gradients over both views of a batch, direction only: an optimiser like Adam divides the length out.

    Args:
        views: (N, d), (N, d) of each batch, from `batches`.
        preset: Name of a loss of two views.
        temperatures: Its τ, each above 0.
        baseline: What it is compared with.
        candidates: τ of the baseline.
        guides: (N, d') of each batch, for a preset that asks a guide.

    Returns:
        One match for each of ``temperatures``.

    Raises:
        HncseError: There is no batch, or no candidate.
    """
    if not views or not len(candidates):
        raise HncseError(f"{len(views)} batches and {len(candidates)} candidates compare nothing; give some of both")
    tried = np.asarray(candidates, dtype=np.float64)  # (C,)
    baselines = [np.stack([_direction(pair, baseline, t) for t in tried]) for pair in views]  # B times (C, 2·N·d)
    results = []
    for temperature in temperatures:
        cosines = np.stack(
            [
                rows @ _direction(pair, preset, temperature, guides[i] if guides else None)
                for i, (pair, rows) in enumerate(zip(views, baselines, strict=True))
            ]
        )  # (B, C)
        best = tried[cosines.argmax(axis=1)]  # (B,)
        spread = float(best.std(ddof=1)) if len(best) > 1 else float("nan")
        results.append(Match(preset, temperature, tried, cosines.mean(axis=0), float(best.mean()), spread))
    return results


def _direction(
    pair: tuple[Tensor, Tensor], preset: str, temperature: float, guide: Tensor | None = None
) -> NDArray[np.float64]:
    z1, z2 = (z.double() for z in pair)  # at a low τ nearly all weights are far below float32's last digit
    flat = gradient(z1, z2, preset, {"temperature": temperature}, guide)[1].numpy()
    return flat / max(float(np.linalg.norm(flat)), 1e-300)
