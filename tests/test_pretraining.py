"""Pretraining: masks, order, resuming, and a toy run from text to a loadable encoder."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from hncse import pretraining
from hncse.errors import HncseError
from hncse.pretraining import loop, text
from hncse.pretraining import vectors as static_vectors

COLOURS = ["red", "green", "blue", "white", "black"]
THINGS = ["house", "garden", "river", "mountain", "street", "window"]
DOES = ["stands", "grows", "shines", "waits", "sleeps"]


def toy_sentences(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return [
        f"The {rng.choice(COLOURS)} {rng.choice(THINGS)} {rng.choice(DOES)} near the {rng.choice(COLOURS)} "
        f"{rng.choice(THINGS)}" + " at night" * int(rng.integers(3)) + "."
        for _ in range(n)
    ]


def toy_config(folder, **changes):
    small = {
        "source": "toy", "out": str(folder), "vocabulary": 120, "width": 16, "heads": 2, "intermediate": 16,
        "tokens": 40_000, "batch_tokens": 512, "max_length": 24, "learning_rate": 5e-3, "embedding_rate": 1.0,
        "device": "cpu",
    }  # fmt: skip
    return pretraining.PretrainingConfig(**{**small, **changes})


@pytest.fixture(scope="module")
def tokens():
    sentences = toy_sentences()
    return text.tokenise(sentences, text.learn_vocabulary(sentences, 40))  # so few that words have several pieces


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    lines = []
    encoder = pretraining.pretrain(toy_config(folder), toy_sentences(), lines.append)
    return encoder, lines


def test_vocabulary_starts_with_the_special_pieces_and_is_lower_case():
    vocabulary = text.learn_vocabulary(toy_sentences(), 120)
    assert tuple(vocabulary[:5]) == text.SPECIAL
    assert len(vocabulary) == len(set(vocabulary)) <= 120
    assert all(piece == piece.lower() for piece in vocabulary[5:])


def test_the_same_text_gives_the_same_vocabulary():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 8))) for _ in range(600)]
    sentences = [" ".join(rng.choice(words, 8)) for _ in range(400)]  # many pieces are as frequent as others
    first = text.learn_vocabulary(sentences, 300)
    assert len(first) == 300 and all(text.learn_vocabulary(sentences, 300) == first for _ in range(4))


def test_masks_hide_whole_words_and_nothing_special(tokens):
    assert tokens.inside.any(), "the toy vocabulary must split some words for this test to mean anything"
    rows = np.arange(64)
    ids = text.assemble(tokens, tokens.starts, rows, 64)
    shown, targets = text.mask(ids, tokens.inside, 0.3, len(tokens.inside), np.random.default_rng(0))
    chosen = targets != text.IGNORE
    assert 0.2 < chosen[ids > text.MASK].mean() < 0.4
    assert not chosen[(ids == text.PAD) | (ids == text.CLS) | (ids == text.SEP)].any()
    assert np.array_equal(targets[chosen], ids[chosen])
    assert np.array_equal(shown[~chosen], ids[~chosen])
    assert 0.7 < (shown[chosen] == text.MASK).mean() < 0.9
    for row in range(len(ids)):  # a piece that continues a word shares its fate
        for i in np.flatnonzero(tokens.inside[ids[row]]):
            assert chosen[row, i] == chosen[row, i - 1]


def test_a_batch_never_goes_without_a_target(tokens):
    ids = text.assemble(tokens, tokens.starts, np.arange(2), 64)
    for seed in range(20):
        _, targets = text.mask(ids, tokens.inside, 1e-9, len(tokens.inside), np.random.default_rng(seed))
        assert (targets != text.IGNORE).sum() == 1


def test_order_is_deterministic_covers_the_corpus_and_keeps_the_budget(tokens):
    first = text.batches(tokens, 256, 20, seed=3, epoch=0)
    again = text.batches(tokens, 256, 20, seed=3, epoch=0)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert sorted(np.concatenate(first).tolist()) == list(range(len(tokens.lengths)))
    other = text.batches(tokens, 256, 20, seed=3, epoch=1)
    assert not np.array_equal(np.concatenate(first), np.concatenate(other))
    for rows in first:
        assert text.assemble(tokens, tokens.starts, rows, 20).size <= 256


def test_assembled_sentences_are_framed_and_cut(tokens):
    longest = int(np.argmax(tokens.lengths))
    row = text.assemble(tokens, tokens.starts, np.array([longest]), 8)[0]
    assert row[0] == text.CLS and row[-1] == text.SEP and len(row) == 8
    start = tokens.starts[longest]
    assert np.array_equal(row[1:-1], tokens.ids[start : start + 6])


def test_loss_is_that_of_the_masked_positions_only(tmp_path, tokens):
    vocabulary = [f"w{i}" for i in range(len(tokens.inside))]
    trainer = loop.Trainer(toy_config(tmp_path), vocabulary, tokens)
    ids = text.assemble(tokens, tokens.starts, np.arange(8), 24)
    shown, targets = text.mask(ids, tokens.inside, 0.3, len(vocabulary), np.random.default_rng(1))
    with torch.no_grad():
        seen = torch.from_numpy(shown)
        states = trainer.model(input_ids=seen, attention_mask=(seen != text.PAD).long()).last_hidden_state
        words = trainer.model.embeddings.word_embeddings.weight
        logits = trainer.head(states) * trainer.scale @ words.T + trainer.bias  # every position, the slow way
        by_hand = [
            -torch.log_softmax(logits[i, j], dim=0)[targets[i, j]]
            for i, j in zip(*np.nonzero(targets != text.IGNORE), strict=True)
        ]
        assert trainer.loss(shown, targets).item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_toy_run_lowers_its_loss_and_transformers_loads_the_result(toy_run):
    from transformers import AutoModel, AutoTokenizer

    encoder, lines = toy_run
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss " in line]
    assert losses[-1] < losses[0] - 0.3
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModel.from_pretrained(encoder)
    assert model.dtype == torch.float32
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.1
    assert tokenizer.tokenize("The RED House") == ["the", "red", "house"]
    batch = tokenizer(["The red house"], return_tensors="pt")
    assert batch["input_ids"][0, 0] == text.CLS and batch["input_ids"][0, -1] == text.SEP
    assert torch.isfinite(model(**batch).last_hidden_state).all()
    assert "Encoder made by" in (encoder / "README.md").read_text(encoding="utf-8")


def test_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    sentences = toy_sentences(200)
    whole = pretraining.pretrain(toy_config(tmp_path / "whole", tokens=12_000), sentences)
    update = loop.Trainer._update

    def interrupted(trainer, rows, share):
        if trainer.step == 9:
            raise KeyboardInterrupt
        return update(trainer, rows, share)

    config = toy_config(tmp_path / "parts", tokens=12_000, checkpoint_minutes=0.0)
    monkeypatch.setattr(loop.Trainer, "_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(config, sentences)
    monkeypatch.setattr(loop.Trainer, "_update", update)
    lines = []
    parts = pretraining.pretrain(config, sentences, lines.append)
    assert not any("vocabulary" in line for line in lines)  # read back, not made anew
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_other_settings_do_not_continue_a_run(tmp_path):
    pretraining.pretrain(toy_config(tmp_path, tokens=1000), toy_sentences(50))
    with pytest.raises(HncseError, match="other settings"):
        pretraining.pretrain(toy_config(tmp_path, tokens=2000), toy_sentences(50))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"heads": 3}, "multiple"),
        ({"mask": 20}, "share"),
        ({"vocabulary": 5}, "vocabulary"),
        ({"max_length": 200}, "128"),
        ({"width": 0}, "width is 0; it must be a whole number of at least 4"),
        ({"heads": 0}, "heads is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"layers": -1}, "layers is -1"),
        ({"layers": 1.5}, "layers is 1.5"),
        ({"layers": True}, "layers is True"),
        ({"seed": -1}, "seed is -1"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
        ({"window": 0}, "window is 0"),
        ({"limit": 1}, "limit is 1"),
        ({"learning_rate": math.nan}, "learning_rate is nan; it must be a number"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be above 0"),
        ({"smoothing": math.nan}, "smoothing is nan"),
        ({"power": math.inf}, "power is inf"),
        ({"minutes": 0}, "minutes is 0"),
        ({"checkpoint_minutes": -1}, "checkpoint_minutes is -1"),
        ({"mask": "much"}, "mask is 'much'"),
        ({"out": " "}, "out is ' '"),
    ],
)
def test_impossible_settings_are_refused_at_once(tmp_path, changes, complaint):
    with pytest.raises(HncseError, match=complaint):
        toy_config(tmp_path, **changes)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "gpu", "meta-physical"])
def test_a_device_that_is_not_here_is_refused_before_anything_is_written(device, tmp_path):
    with pytest.raises(HncseError, match=f"device is '{device}', which is not on this machine; it has cpu"):
        pretraining.pretrain(toy_config(tmp_path / "run", device=device), toy_sentences(50))
    assert not (tmp_path / "run").exists()


def test_an_output_that_can_be_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (str(tmp_path / "file"), str(tmp_path / "file" / "below"), str(tmp_path / ("x" * 300))):
        with pytest.raises(HncseError, match="can be no folder"):
            pretraining.pretrain(toy_config(out), toy_sentences(50))
        assert pretraining.main(["--out", out, "--source", "docstrings"]) == 2
        assert capsys.readouterr().err.startswith("error: out is")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["settings.json", "curve.json", "checkpoint.safetensors", "encoder/config.json", "vocab.txt", "text.json"]
)
def test_files_that_no_pretraining_wrote_stay(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"mine": 1}')
    with pytest.raises(HncseError, match="which no pretraining wrote"):
        pretraining.pretrain(toy_config(tmp_path, tokens=1000), toy_sentences(50))
    assert path.read_text() == '{"mine": 1}'
    (tmp_path / "beside.txt").write_text("mine")


def test_other_files_in_the_folder_stay_and_a_home_folder_expands(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.md").write_text("mine")
    encoder = pretraining.pretrain(toy_config("~/run", tokens=1000), toy_sentences(50))
    assert encoder == tmp_path / "run" / "encoder"
    assert (tmp_path / "run" / "notes.md").read_text() == "mine"


def test_damaged_text_is_made_again_and_a_damaged_checkpoint_is_named(tmp_path):
    config = toy_config(tmp_path, tokens=1000)
    first = pretraining.prepare(config, toy_sentences(50), tmp_path)
    (tmp_path / "tokens.npz").write_bytes(b"cut")
    again = pretraining.prepare(config, toy_sentences(50), tmp_path)
    assert again[0] == first[0] and np.array_equal(again[1].ids, first[1].ids)
    pretraining.pretrain(config, toy_sentences(50))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"cut")
    with pytest.raises(HncseError, match="checkpoint.safetensors is cut off or damaged"):
        pretraining.pretrain(config, toy_sentences(50))


def test_command_line_reports_a_bad_value_without_a_traceback(capsys):
    assert pretraining.main(["--heads", "5"]) == 2
    assert capsys.readouterr().err.startswith("error: width 384 is not a multiple of heads 5")


def test_cooccurrence_is_the_plain_double_loop():
    rng = np.random.default_rng(0)
    lengths = np.array([5, 1, 7, 2, 9])
    ids = rng.integers(0, 6, lengths.sum())
    by_hand = np.zeros((6, 6))
    for start, n in zip(np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths, strict=True):
        for i in range(n):
            for j in range(n):
                if i != j and abs(i - j) <= 3:
                    by_hand[ids[start + i], ids[start + j]] += 1 / abs(i - j)
    for chunk in (3, 1000):
        table = static_vectors.cooccurrence(ids, lengths, 6, window=3, chunk=chunk)
        assert np.allclose(table.numpy(), by_hand, atol=1e-5)


def test_ppmi_of_independent_words_is_zero_and_of_a_fixed_pair_its_information():
    share = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert static_vectors.ppmi(torch.outer(share, share)).abs().max() < 1e-5
    pairs = torch.block_diag(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert static_vectors.ppmi(pairs)[0, 1].item() == pytest.approx(math.log(4))


def test_factors_rebuild_a_low_rank_matrix():
    rng = torch.Generator().manual_seed(0)
    half = torch.randn(60, 4, generator=rng)
    matrix = half @ half.T
    vectors = torch.from_numpy(static_vectors.factorise(matrix, 4, power=0.5))
    assert torch.allclose(vectors @ vectors.T, matrix, atol=1e-3)
    with pytest.raises(HncseError, match="61 columns"):
        static_vectors.factorise(matrix, 61)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_installed_bert_starts_as_a_mean_of_word_vectors(weight):
    from transformers import BertConfig, BertModel

    rng = np.random.default_rng(0)
    shape = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    probability = rng.dirichlet(np.ones(30))
    vectors = rng.normal(size=(30, 13))
    model = BertModel(shape, add_pooling_layer=False).eval()
    for layer in model.encoder.layer:  # leave only what `install` sets in queries and keys
        layer.attention.self.query.weight.data.zero_()
        layer.attention.self.key.weight.data.zero_()
    static_vectors.install(model, vectors, probability, [0, 2, 3, 4], frequency_weight=weight)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = unit - probability @ unit
    words = [7, 12, 7, 29]
    sif = (1e-4 / (1e-4 + probability)) ** weight
    meant = (sif[words, None] * unit[words]).sum(axis=0)
    with torch.no_grad():
        got = model(torch.tensor([[2, *words, 3]])).last_hidden_state[0, 0, :13].double().numpy()
    meant, got = meant - meant.mean(), got - got.mean()  # LayerNorm takes out the mean over coordinates
    assert meant @ got / np.linalg.norm(meant) / np.linalg.norm(got) > 0.95


def test_settings_file_names_every_option(toy_run):
    encoder, _ = toy_run
    settings = json.loads((encoder.parent / "settings.json").read_text(encoding="utf-8"))
    assert {field.name for field in dataclasses.fields(pretraining.PretrainingConfig)} < set(settings)
