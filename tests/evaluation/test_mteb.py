"""Our encoder where others judge: MTEB on a small task made here, sentence-transformers' evaluators."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from scipy.stats import spearmanr
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)

from hncse import HncseError
from hncse.evaluation import mteb, sts
from tests import tiny

FIRST, SECOND = tiny.sentences(12, seed=1), tiny.sentences(12, seed=2)
SCORES = [float(i * 7 % 12) for i in range(12)]


def own_task(load=None):
    from mteb.abstasks import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    unknown = dict.fromkeys(("reference", "date", "domains", "task_subtypes", "license", "annotations_creators",
                             "dialect", "sample_creation", "bibtex_citation"))  # fmt: skip

    class OwnPairs(AbsTaskSTS):
        metadata = TaskMetadata(
            name="OwnPairs", dataset={"path": "nobody/none", "revision": "1"}, description="made here", type="STS",
            category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
            main_score="cosine_spearman", **unknown,
        )  # fmt: skip
        min_score, max_score = 0, 12

        def load_data(self, **_: object) -> None:
            if load:
                load()
            data = {"sentence1": FIRST, "sentence2": SECOND, "score": SCORES}
            self.dataset, self.data_loaded = DatasetDict({"test": Dataset.from_dict(data)}), True

    return OwnPairs()


def test_an_own_task_scores_as_our_own_protocol(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    encoder = tiny.encoder("first_last")
    (row,) = rows = mteb.evaluate(encoder, [own_task()])
    ours = sts.evaluate_pairs(encoder, FIRST, SECOND, SCORES, bootstrap=0)["spearman"]
    assert row["score"] == pytest.approx(ours, abs=1e-3)
    assert (row["task"], row["split"], row["measure"]) == ("OwnPairs", "test", "cosine_spearman")
    assert f"{ours:.2f}" in "\n".join(mteb.table(rows)) and "first_last" in next(mteb.table(rows))

    def no_network() -> None:
        raise ConnectionError("no route to the hub\nmore")

    with pytest.raises(HncseError, match="OwnPairs could not be fetched: no route to the hub$"):
        mteb.evaluate(encoder, [own_task(no_network)])
    folder = str(encoder.save(tmp_path / "e"))
    assert mteb.main([folder, "--tasks", "STSBenchmrk"]) == 2
    assert "STSBenchmark" in capsys.readouterr().err


def test_a_benchmark_is_its_tasks() -> None:
    names = [task.metadata.name for task in mteb._named(mteb._mteb(), "NanoBEIR")]
    assert len(names) == 13 and "NanoNQRetrieval" in names


def test_evaluators_of_sentence_transformers_take_our_encoder() -> None:
    encoder = tiny.encoder("mean")
    model = encoder.as_sentence_transformer()
    scores = EmbeddingSimilarityEvaluator(FIRST, SECOND, SCORES, main_similarity="cosine")(model)
    a, b = encoder.encode(FIRST, normalize=True), encoder.encode(SECOND, normalize=True)
    assert scores["spearman_cosine"] == pytest.approx(spearmanr((a * b).sum(1), SCORES).statistic, abs=1e-6)
    corpus = {str(i): text for i, text in enumerate(SECOND)}
    nearest = (a @ b.T).argmax(1)
    relevant = {str(i): {str(j)} for i, j in enumerate(nearest)}
    found = InformationRetrievalEvaluator(dict(zip(relevant, FIRST, strict=True)), corpus, relevant)(model)
    assert found["cosine_accuracy@1"] == 1
