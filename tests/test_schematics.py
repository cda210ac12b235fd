"""Schematics: what they draw is where the equations put it."""

import numpy as np
import pytest

from hncse.visual import film, schematics


def marks(axes, marker):
    return [np.array(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == marker]


def cosine(place):
    return place[1] / np.linalg.norm(place)  # the anchor is on top


def test_each_is_drawn_and_says_in_words_what_it_shows():
    words = set()
    for draw in schematics.GALLERY.values():
        picture = draw()
        picture.draw_without_rendering()  # a formula that cannot be set raises here
        words.add(picture.get_label())
    assert len(words) == 4 and "z3 in place of z2 in every one" in "".join(words)


@pytest.mark.parametrize("number, case", [(0, "B"), (1, "A"), (2, "C")])
def test_a_case_is_drawn_where_the_miner_sees_it(number, case):
    axes = schematics.cases().axes[number]
    (positive,), (hardest,) = marks(axes, "o"), marks(axes, "^")
    p, n = cosine(positive), cosine(hardest)
    assert axes.get_title(loc="center").startswith(case)
    assert film.cases([p], [n]).tolist() == [case]
    if case == "C":
        (z3,) = marks(axes, "P")
        expected = p * positive + n * hardest
        assert np.allclose(z3, expected / np.linalg.norm(expected)) and cosine(z3) > p


def test_a_mix_is_harder_than_both_on_two_sides_and_not_on_one():
    for axes, harder in zip(schematics.mix_on_sphere().axes, (True, False), strict=True):
        a, b = marks(axes, "^")
        (g,) = marks(axes, "X")
        assert np.allclose(g, (a + b) / np.linalg.norm(a + b))
        assert bool(cosine(g) > max(cosine(a), cosine(b))) == harder
