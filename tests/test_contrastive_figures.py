"""Pictures of notebooks 00, 01 and 08: axes hold the data they were given; the whole gallery is drawn once."""

from __future__ import annotations

import numpy as np
import pytest

from hncse import demonstrations as demo
from hncse.data import corpora, probe
from hncse.errors import HncseError
from hncse.evaluation import probe as evaluation_probe
from hncse.visual import contrastive, style
from tests import random_state
from tools import gallery as tools_gallery

ROW = [0.9, 0.3, 0.6, -0.2]


@pytest.fixture(scope="module")
def gallery():
    groups = probe.load()
    sentences = corpora.from_sentences([s.text for group in groups for s in group.sentences][:400])
    with random_state.unchanged(), pytest.MonkeyPatch.context() as patch:  # though it trains
        patch.setattr(probe, "load", lambda: groups[:100])
        patch.setattr(evaluation_probe, "load", lambda: groups[:100])
        patch.setattr(corpora, "load", lambda *_, **__: sentences)
        return tools_gallery.contrastive_figures(steps=3, batch_size=16, looks=1)


def test_gallery_has_what_the_notebooks_embed(gallery):
    assert set(gallery) == {
        "contrastive_similarity", "contrastive_temperature", "contrastive_dropout", "contrastive_plane",
        "contrastive_anisotropy", "own_text_lengths", "own_text_losses",
    }  # fmt: skip
    for name, picture in gallery.items():
        assert len(picture.get_label().split()) > 10, name
        assert style.png(picture).startswith(b"\x89PNG")


def test_gallery_shows_that_pull_alone_collapses(gallery):
    paths = {line.get_label(): line.get_data() for line in gallery["contrastive_plane"].axes[0].lines}
    across, up = paths["pull only"]
    assert across[-1] > -2.5 and up[-1] < 0.6 * up[0]  # on the way to one place, all of it, after three steps
    assert paths["InfoNCE"][0][-1] < across[-1] - 1


def test_matrix_writes_every_cosine_and_boxes_the_hardest_negatives():
    table = np.array([[0.9, 0.1, 0.45], [0.2, 0.8, -0.3], [0.6, 0.5, 1.0]])
    made = contrastive.similarity_matrix(
        table, ["one", "two", "a sentence that is far too long for the margin of it"], 0.5
    )
    left, right = made.axes
    assert np.array_equal(left.images[0].get_array(), table)
    assert np.allclose(right.images[0].get_array().sum(axis=1), 1)
    assert [t.get_text() for t in left.texts] == [".90", ".10", ".45", ".20", ".80", "-.30", ".60", ".50", "1.0"]
    boxes = {(round(p.get_x() + 0.44), round(p.get_y() + 0.44)) for p in left.patches}
    assert boxes == {(2, 0), (0, 1), (0, 2)}  # column, row
    assert left.get_yticklabels()[2].get_text().endswith("…  3")
    assert "1→3 (0.45), 2→1 (0.20), 3→1 (0.60)" in made.get_label()


def test_temperature_curves_have_the_right_limits():
    made = contrastive.temperature_curves(ROW, 0, ["own", "b", "c", "d"], 0.1)
    top, bottom = made.axes
    lines = {line.get_label(): line.get_ydata() for line in top.lines}
    assert lines["c  (0.60)"][0] == pytest.approx(100, abs=1e-6)  # cold: the hardest takes all
    assert lines["b  (0.30)"][0] == pytest.approx(0, abs=1e-6)
    total = sum(y for name, y in lines.items() if not name.startswith("_"))
    assert np.allclose(total, 100)
    loss = bottom.lines[0].get_ydata()
    assert loss[0] == pytest.approx(0, abs=1e-9) and 0 < loss[-1] < np.log(4)
    assert np.all(np.diff(loss) > 0)


def test_temperature_curves_with_a_positive_that_is_not_the_nearest():
    made = contrastive.temperature_curves(ROW, 1)
    assert made.axes[1].lines[0].get_ydata()[0] == pytest.approx(0.6 / 0.01)  # (n - p) / τ
    assert len(made.axes[0].lines) == 4  # three negatives and the equal share


def test_dropout_cloud_draws_each_sentence_in_one_frame_for_all():
    rng = np.random.default_rng(0)
    clouds = {0.1: rng.normal(size=(6, 2, 2)), 0.5: 3 * rng.normal(size=(6, 2, 2))}
    curve = {"probability": [0.1, 0.5], "p": [0.9, 0.5], "n": [0.4, 0.3]}
    made = contrastive.dropout_cloud(clouds, ["one", "two"], curve)
    first, second, below = made.axes
    assert first.get_xlim() == second.get_xlim() and first.get_ylim() == second.get_ylim()
    assert np.array_equal(second.collections[1].get_offsets(), clouds[0.5][:, 1])
    assert list(below.lines[0].get_ydata()) == [0.9, 0.5] and list(below.lines[1].get_ydata()) == [0.4, 0.3]


def test_dropout_parts_picks_panels_and_falls_back():
    z = np.eye(4)[None].repeat(4, axis=0)
    found = [demo.DropoutViews(x, z, 1 - x, 0.1) for x in (0.0, 0.1, 0.2, 0.3)]
    clouds, names, curve = contrastive.dropout_parts(found, list("abcd"), shown=3)
    assert list(clouds) == [0.1, 0.3] and names == ["a", "b", "c"] and clouds[0.1].shape == (4, 3, 2)
    assert curve["p"] == [1.0, 0.9, 0.8, 0.7]
    assert list(contrastive.dropout_parts(found[:1] + found[2:3], list("abcd"))[0]) == [0.2]


def test_plane_and_histograms():
    made = contrastive.alignment_uniformity({"a": ([0.5, 0.1], [-3, -1]), "b": ([0.5, 0.4], [-3, -3.5])})
    assert [list(line.get_ydata()) for line in made.axes[0].lines[:2]] == [[0.5, 0.1], [0.5, 0.4]]
    assert "a: alignment 0.50 to 0.10, uniformity -3.00 to -1.00" in made.get_label()
    made = contrastive.anisotropy({"x": ([0.1, 0.3], [0.8, 0.9]), "y": ([0.9, 0.9], [1.0, 1.0])})
    assert "x: 0.20 against 0.85; y: 0.90 against 1.00" in made.get_label()
    for panel in made.axes:
        assert sum(patch.get_data().values.sum() for patch in panel.patches) == pytest.approx(200)


def test_lengths_are_counted_and_cut():
    made = contrastive.corpus_lengths([5, 5, 7, 40], 32)
    heights = [bar.get_height() for bar in made.axes[0].patches]
    assert sum(heights) == pytest.approx(100) and sorted(heights)[-3:] == [25, 25, 50]
    assert "25.0 % are longer than 32" in made.get_label()
    with pytest.raises(HncseError, match="no sentences"):
        contrastive.corpus_lengths([], 32)


def test_losses_have_scales_of_their_own():
    made = contrastive.losses_compared(
        {"a": [3.0, 1.0], "b": [-4.0, -5.0]}, {"a": [0, 2], "b": [0, 2]}, {"a": [30, 31], "b": [30, 29]}
    )
    right, *left = made.axes
    assert [list(line.get_ydata()) for line in right.lines] == [[30, 31], [30, 29]]
    assert [list(panel.lines[0].get_ydata()) for panel in left] == [[3, 1], [-4, -5]]
    assert left[0].get_ylim()[0] > left[1].get_ylim()[1]
