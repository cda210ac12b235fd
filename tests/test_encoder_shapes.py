"""The search over shapes: what is shared, skipped and drawn; and the encoding speed beside a larger network."""

from __future__ import annotations

import types
from itertools import pairwise

import pandas as pd
import pytest

from benchmarks import encode_speed, encoder_shapes
from benchmarks import shapes_figure as shapes
from hncse import pretraining
from hncse.data import corpora
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from tests.test_pretraining import toy_sentences

SETTINGS = {"counted": 600, "trained": 20, "seed": 0}


def row(vocabulary=100, width=64, layers=1, size=4_000_000, raw=60.0, simcse=70.0):
    return {
        "vocabulary": vocabulary, "width": width, "layers": layers, "intermediate": width, "bytes": size, "raw": raw,
        "simcse": simcse, "kept_step": 10, **SETTINGS,
    }  # fmt: skip


@pytest.fixture
def toy(monkeypatch):
    """A corpus of toy sentences, and scores that need no benchmark files; gives how often was counted."""
    monkeypatch.setattr(encoder_shapes, "_HEAD", 8)
    calls = []
    count = pretraining.count

    def counted(*arguments):
        calls.append(arguments)
        return count(*arguments)

    monkeypatch.setattr(pretraining, "count", counted)
    monkeypatch.setattr(corpora, "load", lambda source, limit: types.SimpleNamespace(sentences=toy_sentences(limit)))
    scores = {"raw": 1.0, "simcse": 2.0, "kept_step": 3}
    monkeypatch.setattr(encoder_shapes, "_judged", lambda folder, sentences, seed, runs: scores)
    return calls


def test_the_kits_shape_comes_first_and_vocabularies_stand_together():
    assert encoder_shapes.SHAPES[0] == (8_192, 384, 1)
    vocabularies = [shape[0] for shape in encoder_shapes.SHAPES]
    assert len(set(vocabularies)) == 1 + sum(a != b for a, b in pairwise(vocabularies))
    assert len(set(encoder_shapes.SHAPES)) == 8


def test_shapes_of_one_vocabulary_share_their_counts_and_differ_in_shape(toy, tmp_path):
    wanted = [(60, 16, 1), (60, 32, 1), (60, 16, 2), (50, 16, 1)]
    rows = list(encoder_shapes.measure(wanted, **SETTINGS, work=tmp_path))
    assert len(toy) == 2, "one count a vocabulary"
    assert [(r["vocabulary"], r["width"], r["layers"]) for r in rows] == wanted
    assert [r["intermediate"] for r in rows] == [8, 8, 16, 8]
    for name, entry in zip(("60x16", "60x32", "60x16-2layers", "50x16"), rows, strict=True):
        folder = tmp_path / name / "encoder"
        assert entry["bytes"] == (folder / "model.safetensors").stat().st_size
        made = SentenceEncoder.from_pretrained(folder).backbone.config
        assert (made.vocab_size, made.hidden_size, made.num_hidden_layers) == tuple(entry.values())[:3]


def test_too_small_a_corpus_for_a_vocabulary_is_refused(toy, tmp_path):
    with pytest.raises(HncseError, match="word pieces of 5,000; take more"):
        list(encoder_shapes.measure([(5_000, 64, 1)], **SETTINGS, work=tmp_path))


def test_rows_are_kept_in_order_of_size_and_their_shapes_skipped(tmp_path):
    path = tmp_path / "shapes.csv"
    assert encoder_shapes.missing([(100, 64, 1)], path, SETTINGS) == [(100, 64, 1)]
    encoder_shapes.add(row(size=5_000_000), path)
    table = encoder_shapes.add(row(width=32, size=3_000_000), path)
    assert table["bytes"].tolist() == [3_000_000, 5_000_000]
    assert pd.read_csv(path).equals(table)
    assert encoder_shapes.missing([(100, 64, 1), (100, 64, 2), (100, 32, 1)], path, SETTINGS) == [(100, 64, 2)]
    with pytest.raises(HncseError, match="rows with seed = 0, this run has 1"):
        encoder_shapes.missing([(100, 64, 1)], path, SETTINGS | {"seed": 1})


def test_the_command_draws_from_the_csv_and_names_the_nearest_shape(tmp_path, capsys):
    path = tmp_path / "shapes.csv"
    assert encoder_shapes.main(["--draw", "--csv", str(path)]) == 2
    assert "run this without --draw first" in capsys.readouterr().err
    encoder_shapes.add(row(8_192, 384, 1), path)
    assert encoder_shapes.main(["--draw", "--csv", str(path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"shapes.csv", "shapes.png", "shapes.svg"}
    assert encoder_shapes.main(["8192x265"]) == 2
    assert "Did you mean '8192x256'?" in capsys.readouterr().err


def test_the_figure_holds_every_shape_the_limit_and_a_star_for_ours():
    table = pd.DataFrame([row(), row(width=128, size=8_000_000, raw=61.0, simcse=72.0), row(layers=2, size=8_100_000)])
    made = shapes.shapes_figure(table, ours=(100, 128, 1))
    for axes, column in zip(made.axes, ("simcse", "raw"), strict=True):
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [
            (size / 1e6, value) for size, value in zip(table["bytes"], table[column], strict=True)
        ]
        assert [p.get_marker() for p in points] == ["o", "*", "s"]
        (limit,) = [line for line in axes.lines if len(line.get_xdata()) == 2]
        assert set(limit.get_xdata()) == {12.0}
        assert {"100 × 64", "100 × 128", "100 × 64, 2 layers"} <= {text.get_text() for text in axes.texts}
    assert "100 × 128 (the kit): 8.0 MB, 61.00 raw, 72.00 after SimCSE" in made.get_label()
    with pytest.raises(HncseError, match="no shapes"):
        shapes.shapes_figure(table[:0], ours=(100, 128, 1))


def test_names_in_the_figure_do_not_cover_each_other():
    table = pd.DataFrame([row(width=64 + i, size=5_000_000 + 40_000 * i, simcse=70 + 0.1 * i) for i in range(4)])
    made = shapes.shapes_figure(table, ours=(100, 64, 1))
    made.draw_without_rendering()
    boxes = [text.get_window_extent() for text in made.axes[0].texts if "×" in text.get_text()]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_speed_is_measured_beside_minilms_architecture(monkeypatch):
    made = []
    build = encode_speed.loss_share.encoder
    monkeypatch.setattr(encode_speed.loss_share, "encoder", lambda name: made.append(build(name)) or made[-1])
    monkeypatch.setenv("HNCSE_DATA", "/nonexistent")
    (record,), table = encode_speed.measure_size(4, 2)
    c = made[0].backbone.config
    assert (c.num_hidden_layers, c.hidden_size, c.num_attention_heads) == (6, 384, 12)
    assert (c.intermediate_size, c.vocab_size) == (1536, 30_522)
    assert record["sentences"] == "pseudo-sentences" and record["ratio"]["median"] > 0
    assert set(record["per_second"]) == {"kit", "large"}
    assert "| 4 (pseudo-sentences) |" in table
