"""SimCSE's supervised recipe by its name, on triplets made of counterfactually augmented NLI."""

from __future__ import annotations

import pytest

from hncse.data import corpora
from hncse.training import TrainingConfig, train

pytestmark = pytest.mark.real


def test_triplets_of_inference_train_by_the_recipes_name(tmp_path):
    rows = corpora.load("cad-nli")
    assert len(rows) == len(rows.positives) == 1_674 and {len(negatives) for negatives in rows.negatives} == {1}
    assert rows.skipped == {"with a hard negative that is the anchor or the positive": 3}
    assert rows.positives[0] == "A man rides his motorcycle with a child."
    assert rows.negatives[0] == ("A man rides his car with his son.",)
    settings = {"corpus": "cad-nli", "limit": 256, "batch_size": 64, "epochs": 1.0, "selection": "last", "snapshots": 0}
    run = train(TrainingConfig.from_recipe("supervised", **settings, log_every=1, output=str(tmp_path)))
    lines = [line for line in run.history if "loss" in line]
    assert run.result["steps"] == len(lines) == 4 and run.config["data"]["sentences"] == 256
    assert all(-1 <= line["mined_similarity"] <= 1 for line in lines)
