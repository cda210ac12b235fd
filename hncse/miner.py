"""Which negatives are hard: mining inside a batch, from a similarity matrix alone.

Notation (README, glossary): ``p_i = cos(z1_i, z2_i)`` is an anchor's similarity to its positive,
``n_i = max_{j≠i} cos(z1_i, z2_j)`` to its hardest in-batch negative, reached at ``j*``. The decision boundary is
``p = n``. HNCSE's positive mixing tells three cases apart (method of the released code):

    A  p > n and (p-n)/p ≤ band    near the boundary
    B  p > n and (p-n)/p > band    safe
    C  p ≤ n                       on the wrong side

Hard negatives out of a whole corpus: `hncse.mining`.

Taught in notebooks/02_hard_negatives.ipynb; the boundary is drawn in notebooks/04_decision_boundary.ipynb.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CASE_A", "CASE_B", "CASE_C", "Mined", "cases", "excluded_pairs", "hardest_k", "mine_in_batch"]

CASE_A, CASE_B, CASE_C = 0, 1, 2


@dataclass(frozen=True)
class Mined:
    """What the in-batch miner found, one entry an anchor.

    Attributes:
        positive: (N,) similarity to the positive, p.
        hardest: (N,) similarity to the hardest negative, n; ``-inf`` for an anchor that has none.
        index: (N,) int64, the column j* of the hardest negative; the anchor's own column where it has none.
        case: (N,) int64, `CASE_A`, `CASE_B` or `CASE_C`.
    """

    positive: Tensor
    hardest: Tensor
    index: Tensor
    case: Tensor


def excluded_pairs(
    n: int,
    groups: Tensor | None = None,
    device: torch.device | None = None,
    positive_groups: Tensor | None = None,
) -> Tensor:
    """Mark the pairs that are not negatives: an anchor's own column, other copies of its sentence or its positive.

    Args:
        n: Batch size N.
        groups: (N,) integers, equal where two rows hold the same sentence; None if all differ.
        device: Where to put the mask.
        positive_groups: (N,) as ``groups``, of the positives, where these are other sentences than the anchors.

    Returns:
        (N, N) bool, True where column j is no negative of anchor i.
    """
    if groups is None:
        return torch.eye(n, dtype=torch.bool, device=device)
    groups = groups.to(device)
    same = groups[:, None] == groups[None, :]  # (N, N)
    if positive_groups is not None:
        theirs = positive_groups.to(device)
        same = same | (theirs[:, None] == theirs[None, :]) | (groups[:, None] == theirs[None, :])
    return same


def cases(positive: Tensor, hardest: Tensor, band: float = 0.1) -> Tensor:
    """Sort anchors into HNCSE's cases A, B and C.

    Args:
        positive: (N,) similarities to the positive.
        hardest: (N,) similarities to the hardest negative.
        band: Largest relative margin (p-n)/p that still counts as near the boundary.

    Returns:
        (N,) int64 of `CASE_A`, `CASE_B`, `CASE_C`. The division is the released code's, so p = 0 > n is B (p = -0.0,
        a zero embedding's, too) and 0 > p > n is A.
    """
    near = (positive - hardest) / (positive + 0.0) <= band  # (N,); -0.0 + 0.0 is 0.0
    case = near.logical_not().long()  # CASE_A where near, else CASE_B
    return case.masked_fill_((positive > hardest).logical_not(), CASE_C)


def mine_in_batch(similarity: Tensor, excluded: Tensor | None = None, band: float = 0.1) -> Mined:
    """Find every anchor's hardest in-batch negative and its case. No gradient flows through the choice.

    Args:
        similarity: (N, N) cosines, anchors by row, second views by column.
        excluded: (N, N) bool from `excluded_pairs`; the diagonal alone if None.
        band: Width of case A.

    Returns:
        The mined batch; ``positive`` and ``hardest`` carry the gradient of the similarities they name.
    """
    n = similarity.shape[0]
    if excluded is None:
        excluded = excluded_pairs(n, device=similarity.device)
    positive = similarity.diagonal()  # (N,)
    hardest, index = similarity.masked_fill(excluded, -torch.inf).max(dim=1)  # (N,)
    index = torch.where(hardest > -torch.inf, index, torch.arange(n, device=similarity.device))
    return Mined(positive, hardest, index, cases(positive.detach(), hardest.detach(), band))


def hardest_k(similarity: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find every anchor's k hardest in-batch negatives, hardest first.

    Args:
        similarity: (N, N) cosines.
        excluded: (N, N) bool, pairs that are no negatives.
        k: How many; cut to N-1, so an anchor's positive is never among them (the released code lets it in).

    Returns:
        Columns (N, k') and a mask (N, k') that is False where an anchor has fewer negatives than k'.
    """
    k = min(k, similarity.shape[0] - 1)
    with torch.no_grad():
        values, columns = similarity.masked_fill(excluded, -torch.inf).topk(k, dim=1)  # (N, k')
    return columns, values > -torch.inf
