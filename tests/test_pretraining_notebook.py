"""An encoder in the making: shared text and counts, curves, neighbours, attention, pictures, and the notebook's run."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from hncse import pretraining
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from hncse.evaluation import stages
from hncse.notebook import read_defaults
from hncse.pretraining import vectors as static_vectors
from hncse.visual import pretraining as pictures
from tests import tiny
from tests.cells import run_notebook
from tests.test_pretraining import toy_config, toy_sentences
from tools import notebook_files


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Text and counts of a toy corpus, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("shared")
    config = toy_config(folder, tokens=6_000, log_every=4)
    text = pretraining.prepare(config, toy_sentences(), folder)
    return config, text, pretraining.count(config, text[1], len(text[0]))


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


# Shared text and counts


def test_an_encoder_from_shared_text_and_counts_is_the_one_made_alone(toy, tmp_path):
    config, text, table = toy
    before = table.clone()
    shared = pretraining.pretrain(
        dataclasses.replace(config, out=str(tmp_path / "a")), toy_sentences(), text=text, table=table
    )
    assert torch.equal(table, before), "a table that several widths share must stay as it is"
    own = pretraining.pretrain(dataclasses.replace(config, out=str(tmp_path / "c")), toy_sentences(), text=text)
    assert all(torch.equal(value, weights(own)[name]) for name, value in weights(shared).items())


def test_text_is_read_back_for_the_same_sentences_and_made_anew_for_others(toy, tmp_path):
    config, _, _ = toy
    lines: list[str] = []
    first = pretraining.prepare(config, toy_sentences(), tmp_path, lines.append)
    told = len(lines)
    again = pretraining.prepare(config, toy_sentences(), tmp_path, lines.append)
    assert told and len(lines) == told
    assert again[0] == first[0] and np.array_equal(again[1].ids, first[1].ids)
    other = pretraining.prepare(config, toy_sentences(seed=1), tmp_path, lines.append)
    assert len(lines) > told and not np.array_equal(other[1].ids, first[1].ids)


def test_a_run_is_not_continued_on_other_sentences(tmp_path):
    pretraining.pretrain(toy_config(tmp_path, tokens=1000), toy_sentences(50))
    with pytest.raises(HncseError, match="other sentences"):
        pretraining.pretrain(toy_config(tmp_path, tokens=1000), toy_sentences(50, seed=1))


def test_the_curve_has_a_point_every_so_many_steps(toy, tmp_path):
    config, text, table = toy
    out = tmp_path / "run"
    folder = pretraining.pretrain(dataclasses.replace(config, out=str(out)), toy_sentences(), text=text, table=table)
    curve = pretraining.read_curve(out)
    steps = int(_card(folder, "masked language modelling").split(" in ")[1].split()[0])
    assert len(curve) == 1 + -(-steps // 4)  # the first step, every fourth, and the last
    assert (np.diff(curve[:, 0]) > 0).all() and np.isfinite(curve).all()
    pretraining.pretrain(dataclasses.replace(config, tokens=0, out=str(tmp_path / "none")), toy_sentences(), text=text)
    assert pretraining.read_curve(tmp_path / "none").shape == (0, 2)
    with pytest.raises(HncseError, match="no finished pretraining run"):
        pretraining.read_curve(tmp_path / "nowhere")


def _card(folder, row):
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"| {row} |")).split("|")[2]


def test_how_often_to_log_decides_no_weights_and_is_checked(tmp_path):
    assert toy_config(tmp_path, log_every=1).key() == toy_config(tmp_path, log_every=50).key()
    with pytest.raises(HncseError, match="log_every is 0"):
        toy_config(tmp_path, log_every=0)


# Neighbours, entropy, attention


def test_nearest_is_the_plain_loop_over_centred_unit_vectors():
    draw = np.random.default_rng(0)
    vectors, probability = draw.normal(size=(12, 4)), draw.dirichlet(np.ones(12))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - sum(p * u for p, u in zip(probability, unit, strict=True))
    for row in range(12):
        by_hand = sorted(
            (
                (centred[row] @ centred[j] / np.linalg.norm(centred[row]) / np.linalg.norm(centred[j]), j)
                for j in range(12)
                if j != row and probability[j] >= 0.05
            ),
            reverse=True,
        )
        ids, cosines = static_vectors.nearest(vectors, probability, [row], k=3, rarest=0.05)
        assert ids[0].tolist() == [j for _, j in by_hand[:3]]
        assert cosines[0] == pytest.approx([c for c, _ in by_hand[:3]])
    with pytest.raises(HncseError, match="cannot name 12 neighbours"):
        static_vectors.nearest(vectors, probability, [0], k=12)


def test_a_word_without_neighbours_in_the_corpus_breaks_nothing():
    vectors = np.vstack([np.zeros(3), np.eye(3)])  # the first piece never stood beside another
    ids, cosines = static_vectors.nearest(vectors, np.full(4, 0.25), [0, 1], k=2)
    assert np.isfinite(cosines).all() and 0 not in ids[0]


def test_counted_neighbours_of_a_colour_are_colours(toy):
    config, (vocabulary, tokens), _ = toy
    close = dataclasses.replace(config, window=1)  # all colours stand between "the" and a thing
    vectors = static_vectors.factorise(pretraining.count(close, tokens, len(vocabulary)), 6, power=1.0)
    share = static_vectors.unigram(tokens.ids, len(vocabulary))
    found = stages.neighbours(["Red", "zebra"], vocabulary, vectors, share, k=3, rarest=1e-3)
    assert list(found) == ["Red", "zebra"]
    assert found["zebra"] == []
    assert {piece for piece, _ in found["Red"]} <= {"green", "blue", "white", "black"}


def test_entropy_is_that_of_a_fair_die():
    assert stages.entropy(np.full(6, 1 / 6)) == pytest.approx(np.log(6))


def _weighting(key: float) -> SentenceEncoder:
    """A BERT whose attention is softmax(key · [piece is "the"]) over the sentence, whatever the query."""
    made = tiny.tokenizer()
    config = BertConfig(
        vocab_size=len(made), hidden_size=16, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=24
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    attention = model.encoder.layer[0].attention.self
    with torch.no_grad():
        for table in (model.embeddings.position_embeddings, model.embeddings.token_type_embeddings):
            table.weight.zero_()
        words = torch.zeros(len(made), 16)
        words[:, 0], words[:, 1] = 1, -1  # every row has mean 0 and norm √2, so LayerNorm scales all alike
        the = made.convert_tokens_to_ids("the")
        words[the, 0], words[the, 2] = 0, 1
        model.embeddings.word_embeddings.weight.copy_(words)
        size = float(model.embeddings.LayerNorm(words[the])[2])
        for part in (attention.query, attention.key):
            part.weight.zero_()
            part.bias.zero_()
        attention.query.bias[0] = 4.0  # √16, which the scaling divides by
        attention.key.weight[0, 2] = key / size
    return SentenceEncoder(model, made, "mean")


def test_attention_by_frequency_is_the_softmax_it_was_built_as():
    sentences = ["the the cat", "the the dog", "the the the the bird"]  # "the" is frequent, the others are rare
    often, received = stages.attention_by_frequency(_weighting(0.0), sentences)
    assert received == pytest.approx(np.ones(len(often)))
    often, received = stages.attention_by_frequency(_weighting(np.log(3.0)), sentences)
    # a sentence of n pieces, [CLS] and [SEP] with them, t of them "the": weights 3 / (3t + n - t) and a third of it
    lengths, thes = np.array([5, 5, 7]), np.array([2, 2, 4])
    total = 3 * thes + (lengths - thes)
    assert often == pytest.approx([1000 / 11, 8000 / 11])
    assert received[0] == pytest.approx((lengths / total).mean())
    assert received[1] == pytest.approx((thes * 3 * lengths / total).sum() / thes.sum())


def test_attention_leaves_the_encoder_as_it_was_and_needs_words():
    encoder = tiny.encoder("mean")
    before, kind = encoder.encode(["the cat sat"]), encoder.backbone.config._attn_implementation
    stages.attention_by_frequency(encoder, tiny.sentences(5))
    assert encoder.backbone.config._attn_implementation == kind
    assert np.array_equal(before, encoder.encode(["the cat sat"]))
    with pytest.raises(HncseError, match="no word pieces"):
        stages.attention_by_frequency(encoder, [])


def test_judging_says_so_where_the_benchmark_is_missing():
    (row,) = stages.judge({"tiny": tiny.encoder("mean")}, bootstrap=20)
    assert row["name"] == "tiny" and row["pooling"] == "mean" and row["stsb_dev"] is None
    assert row["probe_interval"][0] <= row["probe"] <= row["probe_interval"][1]
    assert 0 <= row["accuracy"] <= 100


# Pictures


def test_loss_curves_hold_their_points_and_a_line_of_moving_means():
    curve = np.array([[10.0, 6.0], [20.0, 3.0], [30.0, 3.0]])
    made = pictures.loss_curves({"one": curve}, floor=5.5, window=3)
    points, line, floor = made.axes[0].lines
    assert points.get_ydata().tolist() == [6, 3, 3]
    assert line.get_ydata().tolist() == [4.5, 4, 3]
    assert set(floor.get_ydata()) == {5.5}
    assert "one: 4.50 to 3.00" in made.get_label() and "5.50" in made.get_label()
    with pytest.raises(HncseError, match="'none' has no points"):
        pictures.loss_curves({"none": np.zeros((0, 2))}, 5.0)


def test_attention_curves_hold_their_points():
    made = pictures.attention_curves({"a": (np.array([0.1, 10.0]), np.array([2.0, 0.5]))})
    line = made.axes[0].lines[0]
    assert [list(v) for v in line.get_data()] == [[0.1, 10.0], [2.0, 0.5]]
    assert made.axes[0].get_ylim()[1] > 2 and "2.00 for the rarest" in made.get_label()


def test_the_stages_figure_has_a_panel_for_sts_only_where_it_was_measured():
    row = {"name": "a", "probe": 30.0, "probe_interval": [28.0, 32.0], "stsb_dev": 60.0}
    both = pictures.stages_figure([row, row | {"name": "b"}])
    assert len(both.axes) == 2 and "STS-B dev 60.0" in both.get_label()
    assert [t.get_text() for t in both.axes[0].get_yticklabels()] == ["a", "b"]
    assert both.axes[0].lines[0].get_xdata().tolist() == [28.0, 32.0]
    alone = pictures.stages_figure([row | {"stsb_dev": None}])
    assert len(alone.axes) == 1 and "STS" not in alone.get_label()
    with pytest.raises(HncseError, match="no stages"):
        pictures.stages_figure([])


# The notebook


def test_the_notebook_asks_for_what_pretraining_takes():
    (path,) = notebook_files.find(["A1_pretrain_encoder"])
    cell = next(c for c in notebook_files.read(path).cells if c.metadata.get("tags"))
    given = {p.name: p.default for p in read_defaults(cell.source)}
    fields = {f.name for f in dataclasses.fields(pretraining.PretrainingConfig)}
    assert set(given) - fields == {"corpus", "words"}


@pytest.mark.usefixtures("small_probe")
def test_the_notebook_runs_from_a_file_to_a_loadable_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(toy_sentences(400)), encoding="utf-8")
    small = {"corpus": str(corpus), "vocabulary": 256, "width": 16, "tokens": 30_000, "words": ["red", "zebra"]}
    done = run_notebook("A1_pretrain_encoder", tmp_path, **small)
    assert len(done.pictures) == 3 and all('alt="' in d["text/html"] for d in done.pictures)
    (run,) = (tmp_path / "runs").iterdir()
    drawn = {"pretraining_loss", "pretraining_attention", "pretraining_stages"}
    assert {p.stem for p in (run / "figures").glob("*.png")} == drawn
    made = sorted(p.parent.name for p in run.glob("*/encoder"))
    assert made == ["counted", "counted-then-modelled", "random-start-modelled", "untrained"]
    assert SentenceEncoder.from_pretrained(run / "counted" / "encoder").encode(["the red house"]).shape == (1, 16)
    settings = json.loads((run / "untrained" / "settings.json").read_text(encoding="utf-8"))
    assert settings["static"] is False and settings["tokens"] == 0
    assert "no piece of its own" in done.text and "no file here" in done.text
