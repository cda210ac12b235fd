"""The in-batch miner on toy geometry and at its edges."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import torch

from hncse import miner
from hncse.miner import CASE_A, CASE_B, CASE_C, cases, excluded_pairs, hardest_k, mine_in_batch


def similarity(a: list[float], b: list[float]) -> torch.Tensor:
    """Cosines of unit vectors at angles ``a`` (anchors) and ``b`` (second views), degrees."""
    rows, columns = torch.deg2rad(torch.tensor(a).double()), torch.deg2rad(torch.tensor(b).double())
    return torch.cos(rows[:, None] - columns[None, :])


def test_hardest_negative_is_the_nearest_other_second_view() -> None:
    mined = mine_in_batch(similarity([0, 100, 200, 290], [1, 95, 180, 300]))
    assert mined.index.tolist() == [3, 2, 3, 0]
    expected = [max(math.cos(math.radians(a - b)) for j, b in enumerate([1, 95, 180, 300]) if j != i)
                for i, a in enumerate([0, 100, 200, 290])]  # fmt: skip
    torch.testing.assert_close(mined.hardest, torch.tensor(expected).double())
    torch.testing.assert_close(mined.positive, torch.cos(torch.deg2rad(torch.tensor([1, 5, 20, 10]).double())))


@pytest.mark.parametrize(
    ("p", "n", "expected"),
    [
        (0.9, 0.85, CASE_A),
        (0.9, 0.80, CASE_B),
        (0.5, 0.45, CASE_A),  # (p-n)/p is exactly the band, up to rounding on the near side
        (0.9, 0.9, CASE_C),
        (0.3, 0.6, CASE_C),
        (-0.2, -0.5, CASE_A),  # the released code divides by a negative p: a negative ratio is below any band
        (0.0, -0.5, CASE_B),
        (-0.0, -0.5, CASE_B),  # the cosine of a zero embedding may carry a sign
        (0.0, 0.0, CASE_C),
        (0.4, -math.inf, CASE_B),  # no negatives at all
    ],
)
def test_cases(p: float, n: float, expected: int) -> None:
    got = cases(torch.tensor([p], dtype=torch.float64), torch.tensor([n], dtype=torch.float64), band=0.1 + 1e-12)
    assert got.tolist() == [expected]


def test_a_wider_band_moves_anchors_from_b_to_a() -> None:
    p, n = torch.tensor([0.9, 0.9]), torch.tensor([0.85, 0.5])
    assert cases(p, n, 0.1).tolist() == [CASE_A, CASE_B]
    assert cases(p, n, 0.5).tolist() == [CASE_A, CASE_A]
    assert cases(p, n, 0.0).tolist() == [CASE_B, CASE_B]


def test_copies_of_a_sentence_are_excluded() -> None:
    excluded = excluded_pairs(4, torch.tensor([7, 1, 7, 2]))
    assert excluded.nonzero().tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 2], [3, 3]]
    mined = mine_in_batch(similarity([0, 50, 1, 90], [0, 50, 1, 90]), excluded)
    assert mined.index.tolist() == [1, 3, 1, 1]


def test_an_anchor_without_negatives_points_at_itself() -> None:
    mined = mine_in_batch(similarity([0, 90, 91], [0, 90, 91]), excluded_pairs(3, torch.tensor([0, 0, 0])))
    assert mined.index.tolist() == [0, 1, 2]
    assert mined.hardest.isneginf().all()
    assert mined.case.tolist() == [CASE_B] * 3


def test_hardest_k_is_sorted_cut_to_what_exists_and_never_the_positive() -> None:
    table = similarity([0, 30, 70, 120, 180], [0, 30, 70, 120, 180])
    columns, valid = hardest_k(table, excluded_pairs(5), 3)
    assert columns[0].tolist() == [1, 2, 3] and columns[2].tolist() == [1, 3, 0]
    assert valid.all()
    columns, valid = hardest_k(table, excluded_pairs(5), 10)
    assert columns.shape == (5, 4)
    assert all(i not in row for i, row in enumerate(columns.tolist()))
    _, valid = hardest_k(table, excluded_pairs(5, torch.tensor([0, 0, 0, 1, 2])), 4)
    assert valid.sum(1).tolist() == [2, 2, 2, 4, 4]


def test_the_in_batch_miner_imports_nothing_but_torch() -> None:
    top = ast.parse(Path(miner.__file__).read_text(encoding="utf-8")).body
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
    assert names == {"__future__", "dataclasses", "torch"}
