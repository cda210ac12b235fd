"""Alignment and uniformity, against plain loops and against angles on a circle."""

from math import cos, exp, log, pi, sin

import numpy as np
import pytest

from hncse.errors import HncseError
from hncse.evaluation import geometry


def on_circle(*degrees):
    return np.array([[cos(d * pi / 180), sin(d * pi / 180)] for d in degrees])


def squared(a, b):
    length = [sum(v * v for v in row) ** 0.5 for row in (a, b)]
    return sum((u / length[0] - v / length[1]) ** 2 for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("chunk", [1 << 22, 24, 1])
def test_equal_to_plain_loops_in_any_number_of_pieces(monkeypatch, chunk):
    monkeypatch.setattr(geometry, "_CHUNK", chunk)
    x, y = np.random.default_rng(1).normal(size=(2, 11, 3))
    assert geometry.alignment(x, y) == pytest.approx(sum(map(squared, x, y)) / 11, abs=1e-12)
    pairs = [(a, b) for i, a in enumerate(x) for b in x[i + 1 :]]
    for t in (1, 2):
        plain = log(sum(exp(-t * squared(a, b)) for a, b in pairs) / len(pairs))
        assert geometry.uniformity(x, t) == pytest.approx(plain, abs=1e-12)
    assert geometry.uniformity(x) == geometry.uniformity(x, 2)


def test_by_eye():
    assert geometry.alignment(on_circle(0, 90), on_circle(0, 90)) == 0
    assert geometry.alignment(on_circle(0), on_circle(180)) == pytest.approx(4)
    assert geometry.alignment(10 * on_circle(0), 0.1 * on_circle(60)) == pytest.approx(1), "length does not count"
    assert geometry.uniformity(np.ones((5, 3))) == pytest.approx(0)
    assert geometry.uniformity(on_circle(0, 180)) == pytest.approx(-8)
    assert geometry.uniformity(on_circle(0, 120, 240)) < geometry.uniformity(on_circle(0, 10, 20))
    many = np.random.default_rng(2).normal(size=(400, 512))
    assert geometry.uniformity(many) == pytest.approx(-4, abs=0.05)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: geometry.uniformity(np.ones((1, 3))), "two are needed"),
        (lambda: geometry.uniformity(np.zeros((3, 3))), "row 0 has no direction"),
        (lambda: geometry.alignment(np.ones((2, 3)), np.ones((3, 3))), r"\(2, 3\) and \(3, 3\)"),
        (lambda: geometry.alignment(np.ones(3), np.ones(3)), "two axes"),
        (lambda: geometry.alignment(np.empty((0, 3)), np.empty((0, 3))), "no rows"),
        (lambda: geometry.uniformity([[1.0, float("nan")], [1.0, 1.0]]), "row 0"),
    ],
)
def test_what_cannot_be_measured_is_said(call, words):
    with pytest.raises(HncseError, match=words):
        call()
