"""The polar map on toy geometry, and one small UMAP."""

from math import cos, pi, sin

import numpy as np
import pytest

from hncse.errors import HncseError
from hncse.visual import projection
from tests import random_state


def on_circle(*degrees):
    return np.array([[cos(d * pi / 180), sin(d * pi / 180)] for d in degrees])


def rotation(d, seed=0):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return q * np.sign(np.diag(r))


@pytest.fixture(scope="module")
def cloud():
    """Three bundles of ten directions."""
    rng = np.random.default_rng(3)
    centres = np.eye(3, 8)
    return np.concatenate([c + 0.15 * rng.normal(size=(10, 8)) for c in centres])


@pytest.fixture(scope="module")
def layout(cloud):
    return projection.fit(cloud)


def test_a_rotation_of_everything_moves_nothing(cloud, layout):
    turned = projection.turn_onto(cloud @ rotation(8), cloud)
    assert np.allclose(turned, cloud)
    side = projection.sideways([cloud])
    assert np.allclose(projection.polar(turned, side)[0], projection.polar(cloud, side)[0])


def test_in_the_polar_map_distance_is_the_exact_angle_and_the_positive_is_above(cloud):
    places, held = projection.polar(cloud, projection.sideways([cloud]))
    unit = cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
    assert np.allclose(np.hypot(*places.T), np.degrees(np.arccos(np.clip(unit @ unit[0], -1, 1))))
    assert places[1, 0] == 0 < places[1, 1]
    assert held[1:].min() > 0 and held.max() <= 1 and held[1] == pytest.approx(1)


def test_in_three_dimensions_the_polar_map_loses_nothing():
    """A globe seen from its pole: longitude is the direction, a mix lies between its parents."""
    latitude, longitude = np.radians([0, 30, 50, 60, 80]), np.radians([0, 90, 0, 160, -45])  # from the pole; 90: up
    z = np.stack([np.sin(latitude) * np.cos(longitude), np.sin(latitude) * np.sin(longitude), np.cos(latitude)], axis=1)
    z = np.concatenate([z, [z[2] + z[3]]])
    places, held = projection.polar(z, projection.sideways([z[:5]]))
    turned = np.degrees(np.arctan2(places[2:, 1], places[2:, 0]))
    assert np.allclose(held[1:], 1)
    expected = np.degrees(longitude[2:])
    assert np.allclose(turned[:3], expected) or np.allclose(turned[:3], 180 - expected - 360 * (expected < 0))
    assert min(turned[0], turned[1]) < turned[3] < max(turned[0], turned[1])


def test_moving_one_sentence_moves_no_other_in_the_polar_map(cloud):
    moved, side = cloud.copy(), projection.sideways([cloud])
    moved[4] = cloud[25]
    before, after = (projection.polar(z, side)[0] for z in (cloud, moved))
    assert np.array_equal(np.delete(before, 4, axis=0), np.delete(after, 4, axis=0))
    assert np.allclose(after[4], before[25])


def test_copies_of_the_anchor_and_of_the_positive_have_a_place():
    z = np.array([[1.0, 0], [1, 0], [-1, 0], [0, 1]])
    places, _ = projection.polar(z, projection.sideways([z]))
    assert np.allclose(np.hypot(*places.T), [0, 0, 180, 90])


def test_turning_keeps_lengths_and_cosines(cloud):
    rng = np.random.default_rng(1)
    later = 3 * (cloud + 0.1 * rng.normal(size=cloud.shape)) @ rotation(8, 5)
    turned = projection.turn_onto(later, cloud)
    assert np.allclose(turned @ turned.T, later @ later.T)
    assert np.linalg.norm(turned / 3 - cloud) < np.linalg.norm(later / 3 - cloud)


def test_the_same_embeddings_give_the_same_map(cloud, layout):
    assert np.array_equal(projection.fit(cloud), layout)
    assert np.allclose(np.linalg.norm(layout, axis=1).max(), 1)
    assert np.allclose(layout.mean(axis=0), 0, atol=1e-12)


def test_the_map_keeps_bundles_apart_and_trust_says_so(cloud, layout):
    nearest = np.argsort(np.linalg.norm(layout[:, None] - layout[None], axis=2), axis=1)[:, 1]
    assert np.array_equal(nearest // 10, np.arange(30) // 10)
    shuffled = layout[np.random.default_rng(0).permutation(30)]
    assert projection.trust(cloud, layout) > 0.8 > projection.trust(cloud, shuffled)


def test_moving_one_point_moves_no_other(cloud, layout):
    moved = cloud.copy()
    moved[4] = cloud[25]
    before, after = (projection.place(z, cloud, layout) for z in (cloud, moved))
    assert np.array_equal(np.delete(before, 4, axis=0), np.delete(after, 4, axis=0))
    assert np.allclose(after[4], layout[25])


def test_a_mapped_point_gets_its_own_place_and_others_lie_between():
    reference, places = on_circle(0, 90, 180), np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    assert np.allclose(projection.place(5 * reference, reference, places), places, atol=1e-9)
    middle = projection.place(on_circle(45), reference, places, k=2)
    assert np.allclose(middle, [[0.5, 0]])
    near = projection.place(on_circle(30), reference, places, k=2)
    weight = [1 / (2 - 2 * cos(pi / 6)), 1 / (2 - 2 * cos(pi / 3))]
    assert np.allclose(near, [[weight[1] / sum(weight), 0]]), "1/distance², with the distance through the sphere"


def test_a_surface_goes_through_what_is_known_and_its_contour_parts_the_sides():
    xy = np.array([[x, y] for x in np.linspace(-1, 1, 7) for y in np.linspace(-1, 1, 7)])
    distance = np.linalg.norm(xy, axis=1)
    surface = projection.Surface(xy, 60 * distance)
    assert np.abs(surface(xy) - 60 * distance).max() < 2
    x, y, value = surface.grid((-1, 1, -1, 1), n=21)
    assert value.shape == (21, 21)
    assert value[10, 10] < 30 < value[10, 20]
    assert value[0, 10] == pytest.approx(surface([[x[10], y[0]]])[0]), "rows go with y"


def test_copies_of_one_sentence_have_a_map_and_a_surface():
    z = np.repeat(np.eye(4, 6), 4, axis=0)
    flat = projection.fit(z)
    assert np.isfinite(flat).all() and np.isfinite(projection.Surface(flat, np.arange(16.0))(flat)).all()


def test_the_callers_random_state_is_untouched(cloud):
    with random_state.unchanged():
        projection.fit(cloud[:12])
        projection.trust(cloud[:12], cloud[:12, :2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: projection.fit(np.ones((3, 2))), "at least 4 points"),
        (lambda: projection.turn_onto(np.ones((3, 2)), np.ones((4, 2))), "same sentences"),
        (lambda: projection.place(np.ones((1, 2)), np.ones((4, 2)), np.ones((3, 2))), "one for each"),
        (lambda: projection.fit(np.array([[1.0], [-1.0], [2.0], [3.0], [1.0]])), "width of 2"),
        (lambda: projection.fit(np.full((5, 3), np.nan)), "no direction"),
        (lambda: projection.fit(np.eye(5), neighbours=1), "2 or more"),
        (lambda: projection.fit(np.eye(5), min_dist=1.5), "0 to 1"),
        (lambda: projection.place(np.ones((1, 3)), np.ones((4, 2)), np.ones((4, 2))), "widths must be equal"),
        (lambda: projection.trust(np.eye(2), np.eye(2)), "three rows"),
        (lambda: projection.Surface([[0.0, 0.0], [1.0, 1.0]], [1.0, 2.0]), "three finite points"),
        (lambda: projection.Surface(np.ones((4, 2)), [1.0, 2.0, np.nan, 3.0]), "three finite points"),
    ],
)
def test_what_cannot_be_mapped_is_said(call, words):
    with pytest.raises(HncseError, match=words):
        call()
