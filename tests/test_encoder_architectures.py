"""Encoders of many architectures, tiny and random: sentence-transformers' vectors, or a sentence that says why not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as T
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from hncse import SentenceEncoder
from hncse.errors import HncseError
from tests import tiny

WORDS = 5 + len(tiny.WORDS)
TEXTS = [
    "The cat sat on the mat.",
    "A dog.",
    "",
    "the old bird sees the river and the house , not the tree .",
    "cat " * 60,
]
LIKE_BERT = {
    "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "pad_token_id": 0,
}  # fmt: skip
LIKE_T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
LIKE_BART = {
    "vocab_size": WORDS, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
BIDIRECTIONAL: dict[str, Callable[[], Any]] = {
    "bert": lambda: T.BertModel(T.BertConfig(**LIKE_BERT)),
    "roberta": lambda: T.RobertaModel(T.RobertaConfig(**LIKE_BERT, max_position_embeddings=34)),
    "xlm-roberta": lambda: T.XLMRobertaModel(T.XLMRobertaConfig(**LIKE_BERT, max_position_embeddings=34)),
    "distilbert": lambda: T.DistilBertModel(
        T.DistilBertConfig(vocab_size=WORDS, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    ),
    "electra": lambda: T.ElectraModel(T.ElectraConfig(**LIKE_BERT, embedding_size=16)),
    "albert": lambda: T.AlbertModel(T.AlbertConfig(**LIKE_BERT, embedding_size=16)),
    "mpnet": lambda: T.MPNetModel(T.MPNetConfig(**LIKE_BERT | {"pad_token_id": 1}, max_position_embeddings=34)),
    "deberta-v2": lambda: T.DebertaV2Model(T.DebertaV2Config(**LIKE_BERT)),
    "modernbert": lambda: T.ModernBertModel(T.ModernBertConfig(**LIKE_BERT, cls_token_id=2, sep_token_id=3)),
    "t5 encoder": lambda: T.T5EncoderModel(T.T5Config(**LIKE_T5)),
    "t5": lambda: T.T5Model(T.T5Config(**LIKE_T5)),
}
CAUSAL: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: T.GPT2Model(T.GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=2, n_positions=32)),
    "llama": lambda: T.LlamaModel(T.LlamaConfig(**LIKE_BERT, max_position_embeddings=32)),
    "qwen3": lambda: T.Qwen3Model(
        T.Qwen3Config(**LIKE_BERT, max_position_embeddings=32, head_dim=16, num_key_value_heads=1)
    ),
    "mistral": lambda: T.MistralModel(T.MistralConfig(**LIKE_BERT, num_key_value_heads=1)),
    "opt": lambda: T.OPTModel(T.OPTConfig(
        vocab_size=WORDS, hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=2, num_attention_heads=2,
        ffn_dim=48, max_position_embeddings=32,
    )),
    "bloom": lambda: T.BloomModel(T.BloomConfig(vocab_size=WORDS, hidden_size=32, n_layer=2, n_head=2)),
}  # fmt: skip


def bare_tokenizer(**names: str) -> T.PreTrainedTokenizerFast:
    """A tokenizer that adds no special tokens, as those of many causal models, and has no padding token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    inner = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["<eos>", "<unk>", *tiny.WORDS])}, unk_token="<unk>")
    )
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    return T.PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=24, padding_side="left", **{"eos_token": "<eos>"} | names
    )


def folder(path: Path, name: str, bare: bool = False) -> Path:
    """A folder as transformers writes it, weights spread so that embeddings differ."""
    torch.manual_seed(0)
    model = (BIDIRECTIONAL | CAUSAL)[name]()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(path / name)
    (bare_tokenizer() if bare else tiny.tokenizer()).save_pretrained(path / name)
    return path / name


@pytest.mark.parametrize("name", [*BIDIRECTIONAL, *CAUSAL])
def test_vectors_are_sentence_transformers_and_views_are_encodings(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path, name)
    default = SentenceEncoder.from_pretrained(source, device="cpu")
    assert default.pooling == ("last" if name in CAUSAL else "cls")
    for pooling in (default.pooling, "mean", "first_last"):
        encoder = SentenceEncoder.from_pretrained(source, pooling, device="cpu")
        z = encoder.encode(TEXTS)
        assert np.isfinite(z).all() and np.abs(z[0] - z[1]).max() > 1e-3
        saved = encoder.save(tmp_path / pooling)
        np.testing.assert_allclose(SentenceTransformer(str(saved), device="cpu").encode(TEXTS), z, atol=2e-5)
        again = SentenceEncoder.from_pretrained(saved, device="cpu")
        assert again.pooling == pooling and again.fingerprint() == encoder.fingerprint()
        np.testing.assert_allclose(again.encode(TEXTS), z, atol=1e-6)
        views = encoder.views(**encoder.pad(encoder.tokenize(TEXTS)), length_groups=2)
        np.testing.assert_allclose(views[0].detach(), z, atol=2e-5)


@pytest.mark.parametrize("name", [*BIDIRECTIONAL, *CAUSAL])
def test_dropout_reaches_every_architecture(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path, name)
    spread = {}
    for dropout in (0.0, 0.1, 0.5):
        encoder = SentenceEncoder.from_pretrained(source, "mean", dropout=dropout, device="cpu").train()
        assert encoder.views_differ() == (dropout > 0)
        torch.manual_seed(0)
        one, other = encoder.views(**encoder.pad(encoder.tokenize(tiny.sentences(64))))
        spread[dropout] = float((one - other).detach().abs().mean())
        assert encoder.encode(TEXTS).tolist() == encoder.encode(TEXTS).tolist(), "encoding is without"
        written = json.loads((encoder.save(tmp_path / f"d{dropout}") / "config.json").read_text())
        unused = ("classif", "summary", "layerdrop", "qa_", "pooler")
        stated = {v for k, v in written.items() if "drop" in k and not any(part in k for part in unused)}
        assert stated == {dropout}
        reloaded = SentenceEncoder.from_pretrained(tmp_path / f"d{dropout}", device="cpu")
        assert reloaded.views_differ() == (dropout > 0)
    assert spread[0.0] < 1e-6 < spread[0.1] < spread[0.5]


@pytest.mark.parametrize("name", CAUSAL)
def test_the_first_token_of_a_causal_model_is_refused(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path, name)
    with pytest.raises(HncseError, match="'last'.*'mean'"):
        SentenceEncoder.from_pretrained(source, "cls", device="cpu")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_tokenizer_without_special_tokens(name: str, tmp_path: Path) -> None:
    source = folder(tmp_path, name, bare=True)
    for pooling in ("last", "mean", "first_last"):
        encoder = SentenceEncoder.from_pretrained(source, pooling, device="cpu")
        assert np.isfinite(encoder.encode([""])).all()
        np.testing.assert_allclose(encoder.encode([""]), encoder.encode(["", "the cat"])[:1], atol=1e-6)
        texts = [text for text in TEXTS if text]
        other = SentenceTransformer(str(encoder.save(tmp_path / pooling)), device="cpu")
        np.testing.assert_allclose(other.encode(texts), encoder.encode(texts), atol=2e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: T.BartModel(T.BartConfig(**LIKE_BART)), "encoder and decoder"),
        (lambda: T.XLNetModel(T.XLNetConfig(vocab_size=WORDS, d_model=32, n_layer=2, n_head=2, d_inner=48)), "xlnet"),
    ],
    ids=["bart", "xlnet"],
)
def test_architectures_that_cannot_be_applied_are_refused(model: Any, message: str, tmp_path: Path) -> None:
    model().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    for pooling in (None, "mean", "first_last"):
        with pytest.raises(HncseError, match=message):
            SentenceEncoder.from_pretrained(tmp_path, pooling)


def test_no_dropout_to_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("modernbert", "llama"):
        source = folder(tmp_path, name)
        assert not SentenceEncoder.from_pretrained(source).views_differ(), "their own dropout is 0"
    monkeypatch.setattr("hncse.encoder.blocks.set_dropout", lambda config, probability: None)
    with pytest.raises(HncseError, match="no dropout to set"):
        SentenceEncoder.from_pretrained(source, dropout=0.1)


def test_views_differ_leaves_mode_and_random_numbers() -> None:
    encoder = tiny.encoder()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert encoder.views_differ() and not encoder.training
    assert torch.equal(torch.random.get_rng_state(), before)


# --- weights that do not fit ------------------------------------------------------------------------------------------


def change(path: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    weights = load_file(path / "model.safetensors")
    save_file(edit(weights), path / "model.safetensors", metadata={"format": "pt"})


def configure(path: Path, **fields: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | fields))


@pytest.mark.parametrize(
    "prefix", "module. module.bert. _orig_mod. module._orig_mod. model. encoder. backbone. 0.auto_model. bert.".split()
)
def test_a_wrappers_prefix_is_stripped_exactly(prefix: str, tmp_path: Path) -> None:
    source = folder(tmp_path, "bert")
    right = SentenceEncoder.from_pretrained(source, "mean")
    heads = {"cls.predictions.bias": torch.ones(3), "mlp.dense.weight": torch.ones(2, 2)}
    change(
        source, lambda weights: {prefix + k: v for k, v in weights.items()} | {f"x.{k}": v for k, v in heads.items()}
    )
    encoder = SentenceEncoder.from_pretrained(source, "mean")
    np.testing.assert_array_equal(encoder.encode(TEXTS), right.encode(TEXTS))
    saved = encoder.save(tmp_path / "saved")
    assert "embeddings.word_embeddings.weight" in load_file(saved / "model.safetensors")
    np.testing.assert_array_equal(SentenceEncoder.from_pretrained(saved).encode(TEXTS), right.encode(TEXTS))


def test_heads_that_are_not_used_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    T.BertForMaskedLM(T.BertConfig(**LIKE_BERT)).save_pretrained(tmp_path / "mlm")
    tiny.tokenizer().save_pretrained(tmp_path / "mlm")
    encoder = SentenceEncoder.from_pretrained(tmp_path / "mlm")
    weights = load_file(tmp_path / "mlm" / "model.safetensors")
    assert any(k.startswith("cls.") for k in weights)
    for key, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, weights[f"bert.{key}"])
    # SimCSE's own: BertForCL with the head beside, and the pooler of a plain BERT
    more = {"mlp.dense.weight": torch.ones(32, 32), "bert.pooler.dense.weight": torch.ones(32, 32)}
    change(tmp_path / "mlm", lambda w: w | more)
    configure(tmp_path / "mlm", architectures=["BertForCL"])
    again = SentenceEncoder.from_pretrained(tmp_path / "mlm")
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def without(path: Path, part: str) -> None:
    change(path, lambda weights: {k: v for k, v in weights.items() if part not in k})


def renamed(path: Path, *prefixes: str) -> None:
    change(path, lambda weights: {f"{p}{k}": v.clone() for p in prefixes for k, v in weights.items()})


DISTANCES = "encoder.layer.0.attention.self.distance_embedding.weight"
HEADS = {
    "bert": "BertForMaskedLM BertForPreTraining BertForSequenceClassification BertForTokenClassification",
    "roberta": "RobertaForMaskedLM RobertaForSequenceClassification", "xlm-roberta": "XLMRobertaForMaskedLM",
    "distilbert": "DistilBertForMaskedLM", "electra": "ElectraForPreTraining ElectraForMaskedLM",
    "albert": "AlbertForMaskedLM", "mpnet": "MPNetForMaskedLM", "deberta-v2": "DebertaV2ForMaskedLM",
    "modernbert": "ModernBertForMaskedLM", "t5": "T5ForConditionalGeneration", "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "opt": "OPTForCausalLM", "bloom": "BloomForCausalLM",
}  # fmt: skip


@pytest.mark.parametrize(("name", "head"), [(name, head) for name, heads in HEADS.items() for head in heads.split()])
def test_a_checkpoint_of_any_task_gives_its_own_body(name: str, head: str, tmp_path: Path) -> None:
    model = getattr(T, head)((BIDIRECTIONAL | CAUSAL)[name]().config).eval()
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    encoder = SentenceEncoder.from_pretrained(tmp_path, "mean", device="cpu")
    body = model.base_model.encoder if name == "t5" else model.base_model
    ids = encoder.pad(encoder.tokenize(TEXTS[:1]))
    with torch.no_grad():
        expected = body(**ids).last_hidden_state.mean(1)
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), expected, atol=1e-6)


WRONG: dict[str, tuple[str, Callable[[Path], object]]] = {
    "an unknown prefix": ("begins with 'student.'", lambda p: renamed(p, "student.")),
    "two encoders": ("lacks weights", lambda p: renamed(p, "model.", "ema.")),
    "a layer missing": ("encoder.layer.1", lambda p: without(p, "layer.1.")),
    "words missing": ("word_embeddings", lambda p: without(p, "word_")),
    "more layers in config": ("lacks weights", lambda p: configure(p, num_hidden_layers=4)),
    "fewer layers in config": ("no place for", lambda p: configure(p, num_hidden_layers=1)),
    "wider in config": ("other sizes", lambda p: configure(p, intermediate_size=64)),
    "more words in config": ("other sizes", lambda p: configure(p, vocab_size=WORDS + 3)),
    "roberta in config": ("architectures", lambda p: configure(p, model_type="roberta")),
    "distilbert in config": ("architectures", lambda p: configure(p, model_type="distilbert")),
    "distilbert alone": ("lacks weights", lambda p: configure(p, model_type="distilbert", architectures=None)),
    "parts of a layer": ("no place for", lambda p: change(p, lambda w: w | {DISTANCES: torch.ones(3, 3)})),
    "no tokenizer": ("tokenizer.json is missing", lambda p: [f.unlink() for f in p.glob("*token*")]),
    "adapters": ("LoRA", lambda p: (p / "adapter_config.json").write_text("{}")),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    source = folder(tmp_path, "bert")
    message, spoil = WRONG[case]
    spoil(source)
    with pytest.raises(HncseError, match=message):
        SentenceEncoder.from_pretrained(source)


@pytest.mark.parametrize(("rows", "message"), [(WORDS - 2, "numbers 46 tokens"), (WORDS * 2, "knows 46 tokens")])
def test_a_tokenizer_of_another_size_is_refused(rows: int, message: str, tmp_path: Path) -> None:
    T.BertModel(T.BertConfig(**LIKE_BERT | {"vocab_size": rows})).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(HncseError, match=message):
        SentenceEncoder.from_pretrained(tmp_path)


def test_a_table_padded_to_a_round_number_is_none(tmp_path: Path) -> None:
    T.BertModel(T.BertConfig(**LIKE_BERT | {"vocab_size": 48})).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    assert SentenceEncoder.from_pretrained(tmp_path).encode(TEXTS).shape == (5, 32)


# --- folders of sentence-transformers ---------------------------------------------------------------------------------


def st_folder(path: Path, *more: Any, pooling: Any = "mean", **options: Any) -> Path:
    from sentence_transformers import models

    transformer = models.Transformer(str(folder(path, "bert")), max_seq_length=12)
    st = SentenceTransformer(
        modules=[transformer, models.Pooling(32, pooling_mode=pooling), *more], device="cpu", **options
    )
    st.save(str(path / "st"), create_model_card=False)
    return path / "st"


@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
@pytest.mark.parametrize("prompt", [None, "query"])
def test_a_sentence_transformers_folder_gives_its_vectors(pooling: str, prompt: str | None, tmp_path: Path) -> None:
    from sentence_transformers import models

    prompts = {"query": "the cat sees : ", "passage": "a bird : "}
    source = st_folder(tmp_path, models.Normalize(), pooling=pooling, prompts=prompts, default_prompt_name=prompt)
    expected = SentenceTransformer(str(source), device="cpu").encode(TEXTS)
    encoder = SentenceEncoder.from_pretrained(source, device="cpu")
    assert encoder.max_length == 12 and encoder.pooling == {"lasttoken": "last"}.get(pooling, pooling)
    np.testing.assert_allclose(encoder.encode(TEXTS, normalize=True), expected, atol=2e-6)
    saved = encoder.save(tmp_path / "saved")
    again = SentenceEncoder.from_pretrained(saved, device="cpu")
    assert again.prompts == prompts and again.fingerprint() == encoder.fingerprint()
    np.testing.assert_allclose(again.encode(TEXTS, normalize=True), expected, atol=2e-6)
    other = SentenceTransformer(str(saved), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(other, encoder.encode(TEXTS), atol=2e-5)
    plain = SentenceEncoder.from_pretrained(
        folder(tmp_path, "bert"), device="cpu", max_length=12, pooling=encoder.pooling
    )
    assert (plain.fingerprint() == encoder.fingerprint()) == (prompt is None)


def test_weights_in_a_folder_of_their_own_are_found(tmp_path: Path) -> None:
    source = st_folder(tmp_path, pooling="cls")
    modules = json.loads((source / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"  # as sentence-transformers wrote until 2.0
    (source / "modules.json").write_text(json.dumps(modules))
    (source / "0_Transformer").mkdir()
    for file in (
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"
    ):  # fmt: skip
        (source / file).rename(source / "0_Transformer" / file)
    encoder = SentenceEncoder.from_pretrained(source, device="cpu")
    assert (encoder.pooling, encoder.max_length) == ("cls", 12)
    plain = SentenceEncoder.from_pretrained(folder(tmp_path, "bert"), device="cpu", max_length=12)
    np.testing.assert_array_equal(encoder.encode(TEXTS), plain.encode(TEXTS))


def foreign_modules() -> dict[str, Callable[[], Any]]:
    from sentence_transformers import models

    return {
        "Dense": lambda: models.Dense(32, 32),
        "LayerNorm": lambda: models.LayerNorm(32),
        "Dropout": lambda: models.Dropout(0.1),
    }


@pytest.mark.parametrize("name", foreign_modules())
def test_modules_that_are_not_applied_are_refused_by_name(name: str, tmp_path: Path) -> None:
    source = st_folder(tmp_path, foreign_modules()[name]())
    for pooling in (None, "mean"):
        with pytest.raises(HncseError, match=f"modules {name}"):
            SentenceEncoder.from_pretrained(source, pooling)


@pytest.mark.parametrize("mode", ["max", "weightedmean", "mean_sqrt_len_tokens", ("cls", "mean")])
def test_poolings_this_kit_lacks_are_refused(mode: Any, tmp_path: Path) -> None:
    source = st_folder(tmp_path, pooling=mode)
    with pytest.raises(HncseError, match="pass pooling="):
        SentenceEncoder.from_pretrained(source)
    assert SentenceEncoder.from_pretrained(source, "mean").pooling == "mean"


def test_a_weighted_mean_over_layers_is_read_from_its_weights(tmp_path: Path) -> None:
    source = tiny.encoder("last_two", layers=3).save(tmp_path / "e")
    (source / "hncse.json").unlink()
    assert SentenceEncoder.from_pretrained(source).pooling == "last_two"
    save_file({"layer_weights": torch.ones(4)}, source / "2_WeightedLayerPooling" / "model.safetensors")
    with pytest.raises(HncseError, match="averages layers"):
        SentenceEncoder.from_pretrained(source)


def test_two_files_that_disagree_are_refused(tmp_path: Path) -> None:
    source = tiny.encoder("cls").save(tmp_path / "e")
    other = tiny.encoder("mean").save(tmp_path / "other")
    (source / "1_Pooling" / "config.json").write_bytes((other / "1_Pooling" / "config.json").read_bytes())
    with pytest.raises(HncseError, match=r"hncse\.json says pooling 'cls'"):
        SentenceEncoder.from_pretrained(source)


@pytest.mark.parametrize(
    "name", ["hncse.json", "1_Pooling/config.json", "modules.json", "sentence_bert_config.json", "config.json"]
)
def test_broken_small_files_are_named(name: str, tmp_path: Path) -> None:
    source = tiny.folder(tmp_path)
    for content in ("", "{", "[]", "3", "null", '"mean"', "\x00\xff", "[" * 100_000):
        (source / name).write_text(content, encoding="utf-8")
        with pytest.raises(HncseError, match=name.replace(".", r"\.")):
            SentenceEncoder.from_pretrained(source)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("hncse.json", {"pooling": "max"}),
        ("hncse.json", {"pooling": 3}),
        ("hncse.json", {"pooling": ["cls"]}),
        ("hncse.json", {"max_length": -3}),
        ("hncse.json", {"max_length": "many"}),
        ("sentence_bert_config.json", {"max_seq_length": 0.5}),
        ("sentence_bert_config.json", {"max_seq_length": True}),
    ],
)
def test_wrong_values_in_small_files_are_named(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    source = tiny.folder(tmp_path)
    content = json.loads((source / name).read_text())
    (source / name).write_text(json.dumps(content | fields))
    with pytest.raises(HncseError, match=name.replace(".", r"\.")):
        SentenceEncoder.from_pretrained(source)


def test_lower_casing_is_applied_as_sentence_transformers_does(tmp_path: Path) -> None:
    source = tiny.encoder("mean").save(tmp_path / "e")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": None}))
    config = json.loads((source / "sentence_bert_config.json").read_text())
    (source / "sentence_bert_config.json").write_text(json.dumps(config | {"do_lower_case": True}))
    encoder = SentenceEncoder.from_pretrained(source, device="cpu")
    expected = SentenceTransformer(str(source), device="cpu").encode(["The CAT", "A Dog sat."])
    np.testing.assert_allclose(encoder.encode(["The CAT", "A Dog sat."]), expected, atol=2e-6)
    again = SentenceEncoder.from_pretrained(encoder.save(tmp_path / "again"), device="cpu")
    np.testing.assert_allclose(again.encode(["The CAT", "A Dog sat."]), expected, atol=2e-6)


def test_minilm_runs_as_published() -> None:
    encoder = SentenceEncoder.from_pretrained("minilm")
    assert (encoder.pooling, encoder.max_length, encoder.prompt) == ("mean", 256, "")


def test_threads_load_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers unties weights in a global while it loads; two threads at once would leave it untied."""
    source, inside, most, real = folder(tmp_path, "bert"), [], [], T.AutoModel.from_pretrained

    def slow(*args: Any, **options: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        loaded = real(*args, **options)
        inside.pop()
        return loaded

    monkeypatch.setattr(T.AutoModel, "from_pretrained", slow)
    tie = T.PreTrainedModel.tie_weights
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: SentenceEncoder.from_pretrained(source, device="cpu"), range(4)))
    assert most == [1, 1, 1, 1] and T.PreTrainedModel.tie_weights is tie
