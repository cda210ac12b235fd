"""The encoder: poolings, order, views, saving for others, and what bad input says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hncse import SentenceEncoder
from hncse.encoder import POOLINGS, blocks, loading
from hncse.errors import HncseError
from tests import tiny

TEXTS = [
    "The cat sat on the mat.",
    "A dog.",
    "the old bird sees the river and the house , not the tree .",
    "",
    "A dog.",
]


def by_hand(encoder: SentenceEncoder, text: str) -> np.ndarray:
    """One sentence at a time, without padding, pooling written out token by token."""
    ids = torch.tensor([encoder.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        hidden = encoder.backbone(ids, output_hidden_states=True).hidden_states
    layers = {"first_last": [1, -1], "last_two": [-2, -1]}.get(encoder.pooling, [-1])
    states = sum(hidden[i][0] for i in layers) / len(layers)  # (L, d)
    rows = {"cls": [states[0]], "last": [states[-1]]}.get(encoder.pooling, list(states))
    rows = rows[1:] if encoder.pooling == "mean_no_first" else rows
    return (sum(rows) / len(rows)).numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_encode_equals_one_sentence_at_a_time(pooling: str) -> None:
    encoder = tiny.encoder(pooling, layers=3)
    z = encoder.encode(TEXTS, batch_size=2)
    assert z.shape == (5, 16) and z.dtype == np.float32
    for row, text in zip(z, TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(encoder, text), atol=2e-6)


def test_encode_runs_each_distinct_sentence_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = tiny.encoder(), []
    inner = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda **kw: seen.append(len(kw["input_ids"])) or inner(**kw))
    texts = tiny.sentences(7) * 3
    z = encoder.encode(texts, batch_size=4)
    assert sum(seen) == 7
    np.testing.assert_array_equal(z[:7], z[14:])


def test_encode_sorts_by_length_so_that_little_is_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, cells, real = tiny.encoder(), 0, 0
    inner = encoder.forward

    def spy(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        nonlocal cells, real
        cells, real = cells + input_ids.numel(), real + int(attention_mask.sum())
        return inner(input_ids, attention_mask)

    monkeypatch.setattr(encoder, "forward", spy)
    encoder.encode(tiny.sentences(400), batch_size=20)
    assert real / cells > 0.97


def test_encode_leaves_the_training_mode_and_ignores_the_head() -> None:
    encoder = tiny.encoder()
    before = encoder.encode(TEXTS)
    encoder.add_head().train()
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)
    assert encoder.training


def test_encode_normalizes_and_takes_half_precision() -> None:
    encoder = tiny.encoder()
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(TEXTS, normalize=True), axis=1), 1, atol=1e-6)
    half = encoder.encode(TEXTS, precision="bf16")
    assert half.dtype == np.float32
    exact = encoder.encode(TEXTS)
    assert 0 < np.abs(half - exact).max() < 0.1 * np.abs(exact).max()


def test_quick_dropout_keeps_the_mean_its_share_and_the_gradient_of_what_stays() -> None:
    layer = torch.nn.Sequential(torch.nn.Dropout(0.3))
    x = torch.ones(100_000, requires_grad=True)
    with blocks.quick_dropout(layer):
        torch.manual_seed(3)
        y = layer(x)
        torch.manual_seed(3)
        assert torch.equal(layer(x), y) and not torch.equal(layer(x), y)
        assert torch.equal(layer.eval()(x), x)
    assert type(layer[0]) is torch.nn.Dropout
    assert abs(float((y == 0).float().mean()) - 0.3) < 5 * (0.3 * 0.7 / 1e5) ** 0.5
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    both = (y[1:] == 0) & (y[:-1] == 0)  # neighbours are independent
    assert abs(float(both.float().mean()) - 0.09) < 5 * (0.09 * 0.91 / 1e5) ** 0.5


def test_encode_of_nothing_is_empty() -> None:
    assert tiny.encoder().encode([]).shape == (0, 16)
    assert tiny.encoder().encode(iter(())).shape == (0, 16)


def test_encode_takes_generators_columns_and_arrays() -> None:
    import pandas as pd

    encoder = tiny.encoder()
    expected = encoder.encode(TEXTS)
    for given in ((t for t in TEXTS), iter(TEXTS), tuple(TEXTS), np.array(TEXTS), pd.Series(TEXTS, index=range(9, 14))):
        np.testing.assert_array_equal(encoder.encode(given), expected)


def test_text_of_unknown_tokens_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    encoder = SentenceEncoder.from_pretrained("kit")
    chinese = ["机器学习模型", "我喜欢学习很", "他在看书吗呢"]
    assert np.isfinite(encoder.encode(chinese, batch_size=1)).all()
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "100 %" in record.getMessage() and "'kit'" in record.getMessage()
    caplog.clear()
    encoder.encode(["A cat sat on the mat.", "Two dogs ran 学 away.", ""])
    assert not caplog.records
    with pytest.raises(HncseError, match="same tokens"):
        encoder.check_readable(encoder.tokenize(chinese))
    with pytest.raises(HncseError, match="same tokens"):  # cut where they are still alike
        encoder.check_readable([np.array(row) for row in encoder.tokenize(["the cat sat", "the cat ran"], 4)])
    mixed = encoder.tokenize(["学 习 a cat", "a dog"])
    assert encoder.check_readable(mixed) == pytest.approx(2 / 6) and len(caplog.records) == 1
    assert encoder.check_readable(encoder.tokenize(["a cat", "a dog"])) == 0 and len(caplog.records) == 1
    assert encoder.check_readable([]) == encoder.check_readable(mixed[1:]) == 0


def test_a_long_line_is_cut_at_max_length() -> None:
    encoder = tiny.encoder("mean")
    long = "cat " * 10_000
    np.testing.assert_allclose(encoder.encode([long])[0], encoder.encode(["cat " * 22])[0], atol=1e-6)
    assert len(encoder.tokenize([long], 8)[0]) == 8
    assert len(encoder.tokenize([long], 999)[0]) == 24  # never above the backbone's positions


@pytest.mark.parametrize("pooling", POOLINGS)
def test_views_in_length_groups_equal_one_padded_pass(pooling: str) -> None:
    encoder = tiny.encoder(pooling).add_head()
    batch = encoder.pad(encoder.tokenize(tiny.sentences(13)))
    whole = encoder.views(**batch)
    for groups in (2, 4, 13, 50):
        split = encoder.views(**batch, length_groups=groups)
        for a, b in zip(whole, split, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_views_in_length_groups_have_one_padded_pass_gradients() -> None:
    grads = []
    for groups in (1, 4):
        encoder = tiny.encoder("mean").double()
        batch = encoder.pad(encoder.tokenize(tiny.sentences(13)))
        sum(z.pow(2).sum() for z in encoder.views(**batch, length_groups=groups)).backward()
        grads.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys() and len(grads[0]) > 30
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=1e-10, rtol=1e-10)


def test_views_of_a_roberta_like_backbone_equal_encode() -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=len(tiny.WORDS) + 5, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=26, pad_token_id=0,
    )  # fmt: skip
    encoder = SentenceEncoder(RobertaModel(config, add_pooling_layer=False), tiny.tokenizer(), "mean").eval()
    texts = tiny.sentences(9)
    views = encoder.views(**encoder.pad(encoder.tokenize(texts)), length_groups=3)
    np.testing.assert_allclose(views[0].detach().numpy(), encoder.encode(texts), atol=1e-6)


def test_views_differ_by_dropout_only_while_training() -> None:
    encoder = tiny.encoder()
    batch = encoder.pad(encoder.tokenize(tiny.sentences(6)))
    z1, z2 = encoder.views(**batch)
    torch.testing.assert_close(z1, z2)
    encoder.train()
    z1, z2, z3 = encoder.views(**batch, n=3)
    assert z1.shape == (6, 16)
    assert (z1 - z2).abs().max() > 1e-3 and (z2 - z3).abs().max() > 1e-3


def test_the_head_is_linear_then_tanh_and_seeded() -> None:
    encoder = tiny.encoder()
    batch = encoder.pad(encoder.tokenize(tiny.sentences(3)))
    plain = encoder.views(**batch, n=1)[0]
    linear = encoder.add_head(seed=3).head[0]
    torch.testing.assert_close(encoder.views(**batch, n=1)[0], torch.tanh(plain @ linear.weight.T + linear.bias))
    torch.testing.assert_close(tiny.encoder().add_head(seed=3).head[0].weight, linear.weight)


@pytest.mark.parametrize("pooling", [p for p in POOLINGS if p != "mean_no_first"])  # test_encoder_causal's
def test_saved_encoders_load_elsewhere_with_the_same_vectors(pooling: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    encoder = tiny.encoder(pooling)
    folder = encoder.add_head().save(tmp_path / "saved")
    expected = encoder.encode(TEXTS)
    again = SentenceEncoder.from_pretrained(folder)
    assert again.pooling == pooling and again.head is None
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)
    other = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(other, expected, atol=1e-5)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        hidden = model.eval()(**tokenizer(TEXTS[:1], return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(
        {"cls": hidden[0], "last": hidden[-1]}.get(pooling, hidden.mean(0)).numpy(),
        expected[0] if pooling in ("cls", "mean", "last") else tiny.encoder("mean").encode(TEXTS)[0],
        atol=1e-5,
    )
    assert not list(folder.rglob("*.bin")) and not list(folder.rglob("*.pt"))


def test_fingerprint_knows_weights_pooling_and_tokenizer() -> None:
    one = tiny.encoder()
    key = one.fingerprint()
    assert tiny.encoder().fingerprint() == key
    one.encode(["the cat", "a dog slept"])  # leaves truncation set in the tokenizer
    assert one.fingerprint() == key
    assert tiny.encoder("mean").fingerprint() != key
    with torch.no_grad():
        one.backbone.embeddings.word_embeddings.weight[9, 3] += 1e-4
    assert one.fingerprint() != key


def test_dropout_can_be_set(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path)
    encoder = SentenceEncoder.from_pretrained(folder, dropout=0.0).train()
    batch = encoder.pad(encoder.tokenize(tiny.sentences(4)))
    z1, z2 = encoder.views(**batch)
    torch.testing.assert_close(z1, z2)


def test_the_embedded_encoder_tells_topics_apart() -> None:
    encoder = SentenceEncoder.from_pretrained("kit", "mean")
    z = encoder.encode(
        ["The river flooded the village.", "Water covered the town after the river rose.", "He bought a new guitar."],
        normalize=True,
    )
    assert z[0] @ z[1] > z[0] @ z[2] + 0.05


def test_a_sentence_transformers_folder_keeps_its_pooling(tmp_path: Path) -> None:
    folder = tiny.encoder("mean").save(tmp_path / "e")
    (folder / "hncse.json").unlink()
    assert SentenceEncoder.from_pretrained(folder).pooling == "mean"
    config = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**config, "pooling_mode_mean_tokens": False}))
    with pytest.raises(HncseError, match="pass pooling="):
        SentenceEncoder.from_pretrained(folder)


def test_unusual_dropout_is_a_departure_from_the_architectures_own() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    assert SentenceEncoder.from_pretrained("kit").unusual_dropout() == {}
    assert SentenceEncoder.from_pretrained("kit", dropout=0.1).unusual_dropout() == {}
    both = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    assert SentenceEncoder.from_pretrained("kit", dropout=0.3).unusual_dropout() == both
    config = DistilBertConfig(vocab_size=60, dim=16, n_layers=1, n_heads=2, hidden_dim=16, attention_dropout=0.4)
    encoder = SentenceEncoder(DistilBertModel(config), tiny.tokenizer())
    assert encoder.unusual_dropout() == {"attention_dropout": 0.4}


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kitt", "Did you mean 'kit'"),
        ("miniml", "Did you mean 'minilm'"),
        ("./nowhere", "no encoder folder"),
        ("", "no encoder folder"),
    ],
)
def test_unknown_encoders(name: str, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        SentenceEncoder.from_pretrained(name)


def test_no_network_says_so_and_what_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HncseError, match="could not be fetched .*'kit', 'minilm'"):
        SentenceEncoder.from_pretrained("bert-base-uncased")


def test_a_folder_without_weights_or_with_cut_ones(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HncseError, match="could not be loaded.*intact model.safetensors"):
        SentenceEncoder.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(HncseError, match="could not be loaded"):
        SentenceEncoder.from_pretrained(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path)
    torch.save(tiny.encoder().backbone.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(HncseError, match="pickled weights are refused"):
        SentenceEncoder.from_pretrained(folder)


def test_minilm_is_refused_when_it_is_not_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MINILM_SHA256", "0" * 64)
    with pytest.raises(HncseError, match="not the published one"):
        SentenceEncoder.from_pretrained("minilm")
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HncseError, match="pip install"):
        SentenceEncoder.from_pretrained("minilm")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode("one sentence"), "takes a list"),
        (lambda e: e.encode(["a", None]), "sentence 1 is None"),
        (lambda e: e.encode(["a"], batch_size=0), "at least 1"),
        (lambda e: e.encode(["a"], precision="fp8"), "unknown precision"),
        (lambda e: e.encode(["a", b"b"]), "sentence 1 is b'b' .bytes"),
        (lambda e: e.encode(torch.ones(3, 2)), "sentence 0 is tensor"),
        (lambda e: e.encode(np.ones((3, 2))), "sentence 0 is array"),
        (lambda e: e.encode(np.array("a cat")), "takes a list"),
        (lambda e: e.encode(None), "takes a list"),
        (lambda e: e.encode({"a": 1}), "takes a list"),
        (lambda e: e.encode(["the cat", "a \ud800 dog"]), "surrogate"),
        (lambda e: e.tokenize(["a \udfff dog"]), "surrogate"),
        (lambda e: e.tokenize(["a dog"], 0), "max_length is 0"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, "men"), "Did you mean 'mean'"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, max_length=25), "positions for 24 tokens"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, max_length=2), "above the 2 special"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, max_length=0), "max_length is 0"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, max_length=-5), "max_length is -5"),
        (lambda e: SentenceEncoder(e.backbone, e.tokenizer, max_length=3.5), "max_length is 3.5"),
    ],
)
def test_bad_requests(call: object, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        call(tiny.encoder())


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:7", "mps", "cuda:x", "meta", "abacus", "cpu,cuda", 3.5])
def test_devices_that_are_not_here(device: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(HncseError, match="cpu"):
        SentenceEncoder.from_pretrained("kit", device=device)


def test_bad_dropout_and_a_file_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(HncseError, match="dropout is 1.5"):
        SentenceEncoder.from_pretrained("kit", dropout=1.5)
    file = tmp_path / "weights.safetensors"
    shutil.copy(loading.KIT / "model.safetensors", file)
    with pytest.raises(HncseError, match="is a file"):
        SentenceEncoder.from_pretrained(file)
