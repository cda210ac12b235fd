"""A guide, another encoder's vectors of the same sentences, says which negatives are false (DCLR, GISTEmbed)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hncse.errors import HncseError
from hncse.mixing import EPS
from hncse.presets import LossOptions

__all__ = ["check", "false_negatives", "masks"]


def check(o: LossOptions, n: int, m: int, given: dict[str, Tensor | None]) -> None:
    """Refuse a guide that is missing, not asked, not finite or of another batch.

    Args:
        o: Of the loss.
        n: Anchors.
        m: Mined negatives of each.
        given: ``guide``, ``positive_guide`` and ``negative_guide``, each a tensor or None.

    Raises:
        HncseError: As said, with the shape that would be right.
    """
    if o.needs_guide and given["guide"] is None:
        raise HncseError(
            "this loss leaves out negatives that a guide takes for positives, and none was given: guide= takes (N, d) "
            "vectors of the sentences by another encoder (in training, guide='minilm' or a folder)"
        )
    named = {name: v for name, v in given.items() if v is not None}
    if named and not o.needs_guide:
        raise HncseError(f"{', '.join(named)} was given, and this loss asks none; set guide_above or guide_margin")
    for name, v in named.items():
        right = [(n,)] if name != "negative_guide" else [(n, m), (n,)][: 1 + (m == 1)]
        if tuple(v.shape[:-1]) not in right or 0 in v.shape:
            raise HncseError(f"{name} has shape {tuple(v.shape)}; it must be {right[0]} and then the guide's width")
        if not bool(torch.isfinite(v).all()):
            raise HncseError(f"{name} holds NaN or infinity")


def masks(
    o: LossOptions, guide: Tensor | None, positive: Tensor | None, mined: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Mark false negatives of the batch (N, N), and of mined negatives (N, N·m); None where there is no guide of them.

    Args:
        o: Of the loss.
        guide: (N, d) the guide's vectors of the anchors.
        positive: (N, d) of the positives; None: the same sentences.
        mined: (N, d) or (N, m, d) of the mined negatives.
    """
    if guide is None:
        return None, None
    own = guide if positive is None else positive
    theirs = None if mined is None else false_negatives(guide, mined.flatten(0, -2), own, o)
    return false_negatives(guide, own, own, o), theirs


def false_negatives(guide: Tensor, candidates: Tensor, own: Tensor, o: LossOptions) -> Tensor:
    """Mark the candidates that the guide takes for the anchor's positive.

    Args:
        guide: (N, d) the guide's vectors of the anchors.
        candidates: (M, d) its vectors of the candidates.
        own: (N, d) its vectors of the positives.
        o: ``guide_above`` and ``guide_margin``; where both are given, either is enough.

    Returns:
        (N, M) bool.
    """
    with torch.no_grad():
        guide, candidates, own = (F.normalize(v.float(), dim=1, eps=EPS) for v in (guide, candidates, own))
        cosine = guide @ candidates.T  # (N, M)
        false = torch.zeros_like(cosine, dtype=torch.bool)
        if o.guide_above is not None:
            false |= cosine > o.guide_above
        if o.guide_margin is not None:
            false |= cosine > (guide * own).sum(dim=1, keepdim=True) - o.guide_margin
    return false
