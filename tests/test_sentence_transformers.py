"""Our losses in sentence-transformers' trainer: the same numbers as our own step, and a card that names the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor

from hncse import SentenceEncoder, losses
from hncse.errors import HncseError
from hncse.losses.sentence_transformers import sentence_groups

ANCHORS = ["a dog runs in the park", "two men play chess", "rain fell all night", "she reads a long letter"]
POSITIVES = ["a dog is running outside", "people sit at a board game", "it was a wet night", "a woman reads her post"]
NEGATIVES = ["a cat sleeps in the park", "two men play cards", "snow fell all night", "she writes a long letter"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """The embedded encoder as a user of sentence-transformers opens it."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    SentenceEncoder.from_pretrained("kit").save(folder)
    return SentenceTransformer(str(folder), device="cpu")


def columns(model: SentenceTransformer, *texts: list[str]) -> list[dict[str, Tensor]]:
    return [model.preprocess(column) for column in texts]


def embedded(model: SentenceTransformer, texts: list[str]) -> Tensor:
    return model(dict(model.preprocess(texts)))["sentence_embedding"]


def gradients(model: SentenceTransformer, loss: Tensor) -> list[Tensor]:
    weights = [p for p in model.parameters() if p.requires_grad]
    return [g for g in torch.autograd.grad(loss, weights, allow_unused=True) if g is not None]


@pytest.mark.parametrize("preset", ["simcse", "hnm-no-replacement", "pm-fixed"])
def test_columns_give_the_loss_of_our_own_step(model: SentenceTransformer, preset: str) -> None:
    model.eval()
    z = [embedded(model, texts) for texts in (ANCHORS, POSITIVES, NEGATIVES)]
    theirs = losses.for_sentence_transformers(model, preset)(columns(model, ANCHORS, POSITIVES, NEGATIVES), None)
    ours = losses.build(preset)(z[0], z[1], negatives=z[2]).loss
    assert float(theirs) == pytest.approx(float(ours), rel=1e-6)
    pairs = losses.for_sentence_transformers(model, preset)(columns(model, ANCHORS, POSITIVES))
    assert float(pairs) == pytest.approx(float(losses.build(preset)(*z[:2]).loss), rel=1e-6)


def test_simcse_is_their_own_loss(model: SentenceTransformer) -> None:
    model.eval()
    features = columns(model, ANCHORS, POSITIVES, NEGATIVES)
    theirs = MultipleNegativesRankingLoss(model, scale=20.0)([dict(f) for f in features], None)
    assert float(losses.for_sentence_transformers(model, "simcse")(features)) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("texts", [[ANCHORS], [ANCHORS, POSITIVES], [ANCHORS, POSITIVES, NEGATIVES]])
def test_a_guide_reads_the_texts_of_all_columns(model: SentenceTransformer, texts: list[list[str]]) -> None:
    model.eval()
    seen = [torch.as_tensor(model.encode(column)) for column in texts]
    z = [embedded(model, column) for column in texts]
    theirs = losses.for_sentence_transformers(model, "gist", guide=model, guide_margin=0.9, temperature=1.0)(
        columns(model, *texts)
    )
    given = dict(zip(("guide", "positive_guide", "negative_guide"), seen, strict=False))
    given |= {"negatives": z[2]} if len(z) > 2 else {}
    ours = losses.build("gist", guide_margin=0.9, temperature=1.0)(z[0], z[min(1, len(z) - 1)], **given).loss
    assert float(theirs) == pytest.approx(float(ours), rel=1e-5)
    plain = losses.for_sentence_transformers(model, "simcse", temperature=1.0)(columns(model, *texts))
    assert float(theirs) < float(plain)  # something is left out
    for preset, guide in (("gist", None), ("simcse", model)):
        with pytest.raises(HncseError, match="asks"):
            losses.for_sentence_transformers(model, preset, guide=guide)


def test_one_column_is_two_dropout_views(model: SentenceTransformer) -> None:
    model.train()
    torch.manual_seed(0)
    loss = losses.for_sentence_transformers(model, "simcse")(columns(model, ANCHORS))
    torch.manual_seed(0)
    z = [embedded(model, ANCHORS) for _ in range(2)]
    assert float(loss) == pytest.approx(float(losses.build("simcse")(*z).loss), rel=1e-6)
    assert not torch.equal(*z)


def test_copies_are_no_negatives_whatever_their_padding(model: SentenceTransformer) -> None:
    model.eval()
    anchors, positives = [*ANCHORS, ANCHORS[0]], [*POSITIVES, "dogs are running"]
    loss = losses.for_sentence_transformers(model, "simcse")(columns(model, anchors, positives))
    z = [embedded(model, texts) for texts in (anchors, positives)]
    groups, others = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([4, 5, 6, 7, 8])
    assert float(loss) == pytest.approx(
        float(losses.build("simcse")(*z, groups=groups, positive_groups=others).loss), rel=1e-6
    )
    # the negative that is another row's positive, padded to another width in its column, is known as a copy too
    negatives = [POSITIVES[1], *NEGATIVES[1:3], "a sentence that is a good deal longer than all of the others here"]
    groups = [sentence_groups(c) for c in columns(model, POSITIVES, negatives)]
    wide = columns(model, [POSITIVES[1], "word " * 60])[0]
    assert sentence_groups(wide)[0] == groups[0][1]
    assert groups[0][1] == groups[1][0] and len(set(torch.cat(groups).tolist())) == 7


def test_gradient_caching_changes_nothing_but_memory(model: SentenceTransformer) -> None:
    model.train()
    results = []
    for size in (None, 4, 3):
        torch.manual_seed(0)
        loss = losses.for_sentence_transformers(model, "hnm-no-replacement", mini_batch_size=size)(
            columns(model, ANCHORS, POSITIVES)
        )
        results.append((float(loss.detach()), gradients(model, loss)))
    assert results[0][0] == results[1][0]  # a part as large as the batch draws the same dropout
    for part in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(*part, rtol=1e-5, atol=1e-6)
    assert results[2][0] > 0 and all(torch.isfinite(g).all() for g in results[2][1])
    with pytest.raises(HncseError, match="mini_batch_size"):
        losses.for_sentence_transformers(model, "simcse", mini_batch_size=0)


def test_their_trainer_trains_with_it_and_the_card_names_the_paper(model: SentenceTransformer, tmp_path: Path) -> None:
    data = Dataset.from_dict({"anchor": ANCHORS * 4, "positive": POSITIVES * 4, "negative": NEGATIVES * 4})
    loss = losses.for_sentence_transformers(model, "hnm-no-replacement", k=3, temperature=0.1)
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "out"), max_steps=4, per_device_train_batch_size=8, report_to="none", disable_tqdm=True,
        learning_rate=1e-3, use_cpu=True, save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    before = embedded(model.eval(), ANCHORS).detach()
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train()
    assert not torch.allclose(before, embedded(model.eval(), ANCHORS), atol=1e-4)
    model.save_pretrained(str(tmp_path / "saved"))
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "2411.12156" in card and '"k": 3' in card and "hnm-no-replacement" in card


def test_static_vectors_train_too() -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = SentenceEncoder.from_pretrained("kit").tokenizer.backend_tokenizer
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu")
    anchors = [*ANCHORS, ANCHORS[0]]
    features = columns(model, anchors, [*POSITIVES, "dogs are running"])
    groups = sentence_groups(features[0])
    assert groups[0] == groups[4] and len(set(groups.tolist())) == 4
    loss = losses.for_sentence_transformers(model, "hnm-no-replacement", mini_batch_size=2)(features)
    loss.backward()
    assert torch.isfinite(loss) and model[0].embedding.weight.grad is not None
