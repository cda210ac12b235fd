"""Triplets of other people's data: read, paired and counted by hand; accuracy on known geometry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hncse.errors import HncseError
from hncse.evaluation import triplets
from hncse.evaluation.triplets import Triplet

NLI = """sentence1\tsentence2\tgold_label
A man eats.\tSomebody eats.\tentailment
A man eats.\tSomebody sleeps.\tcontradiction
A man eats.\tSomebody eats bread.\tneutral
A man sleeps.\tSomebody eats.\tcontradiction
A dog runs.\tA cat runs.\tcontradiction
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    nli = tmp_path / "hard_negatives" / "cad-nli"
    nli.mkdir(parents=True)
    (nli / "test.tsv").write_text(NLI, encoding="utf-8")
    crepe = tmp_path / "hard_negatives" / "sugarcrepe"
    crepe.mkdir()
    for kind in triplets._KINDS:
        (crepe / f"{kind}.json").write_text("{}", encoding="utf-8")
    entries = [
        ("1.jpg", "A red  cat.", "A blue cat."),
        ("1.jpg", "Some cat sits.", "Some dog sits."),
        ("2.jpg", "X.", "Y."),
    ]
    rows = {str(i): {"filename": f, "caption": c, "negative_caption": n} for i, (f, c, n) in enumerate(entries)}
    (crepe / "replace_att.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def test_counterfactuals_are_paired_from_both_sides(home):
    found = [(t.anchor, t.positive, t.negative, t.kind) for t in triplets.load_triplets("cad-nli")]
    assert found == [
        ("A man eats.", "Somebody eats.", "Somebody eats bread.", "hypothesis to neutral"),
        ("A man eats.", "Somebody eats.", "Somebody sleeps.", "hypothesis to contradiction"),
        ("Somebody eats.", "A man eats.", "A man sleeps.", "premise to contradiction"),
    ]


def test_captions_take_another_caption_of_the_image_as_anchor(home):
    found = [(t.anchor, t.positive, t.negative) for t in triplets.load_triplets("sugarcrepe")]
    assert found == [
        ("Some cat sits.", "A red cat.", "A blue cat."),
        ("A red cat.", "Some cat sits.", "Some dog sits."),
    ]
    assert len({t.cluster for t in triplets.load_triplets("sugarcrepe")}) == 1


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("cad-nli/test.tsv", NLI + "one field\n", "line 7: 'one field'; it must be premise, hypothesis and one of"),
        ("cad-nli/test.tsv", "a\tb\tc\na\tb\tmaybe\n", "line 2: .*entailment, neutral, contradiction"),
        ("cad-nli/test.tsv", "sentence1\tsentence2\tgold_label\na\tb\tneutral\n", "holds no triplet"),
        ("sugarcrepe/swap_obj.json", "[1]", "swap_obj.json is not SugarCrepe's"),
        ("sugarcrepe/swap_obj.json", '{"0": {"filename": "x"}}', "its entries have filename, caption and negative"),
        ("sugarcrepe/swap_obj.json", "{", "swap_obj.json is not SugarCrepe's"),
        ("sugarcrepe/swap_obj.json", None, "there is no file .*SugarCrepe|there is no file .*sugar-crepe"),
    ],
)
def test_a_wrong_file_is_named(file, text, says, home):
    path = home / "hard_negatives" / file
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(HncseError, match=says):
        triplets.load_triplets(file.split("/")[0])


def test_unknown_sets_and_splits(home):
    with pytest.raises(HncseError, match="Did you mean 'cad-nli'"):
        triplets.load_triplets("cadnli")
    with pytest.raises(HncseError, match="sugarcrepe has no split 'dev'; it has: test"):
        triplets.load_triplets("sugarcrepe", "dev")
    assert triplets.triplets_present("cad-nli") and triplets.triplets_present("sugarcrepe")


class Angles:
    """Unit vectors at given degrees."""

    pooling = "angles"

    def __init__(self, degrees: dict[str, float]) -> None:
        self.degrees = degrees

    def encode(self, sentences: list[str]) -> np.ndarray:
        turn = np.radians([self.degrees[s] for s in sentences])
        return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32) * 3


def test_accuracy_on_known_angles():
    degrees = {"a": 0.0, "near": 10.0, "far": 40.0, "b": 90.0, "same": 100.0, "mirror": 80.0}
    known = [
        Triplet("a", "near", "far", "x", 0),
        Triplet("a", "far", "near", "x", 0),
        Triplet("b", "same", "mirror", "y", 1),  # equally far: half
    ]
    result = triplets.evaluate(Angles(degrees), triplets=known, bootstrap=200)
    scores = result["sets"]["own"]
    assert scores["accuracy"]["value"] == pytest.approx(50) and scores["accuracy"]["n"] == 3
    assert scores["kinds"]["x"]["value"] == 50 and scores["kinds"]["y"]["value"] == 50
    text = "\n".join(triplets.table(result, "fake"))
    assert "own, test (word overlap alone: 50.0)" in text and "triplets: fake, pooling angles" in text


def test_bad_requests(home):
    with pytest.raises(HncseError, match="bootstrap is -1"):
        triplets.evaluate(Angles({}), bootstrap=-1)
    with pytest.raises(HncseError, match="no triplets"):
        triplets.evaluate(Angles({}), triplets=[])
    (home / "hard_negatives/cad-nli/test.tsv").unlink()
    (home / "hard_negatives/sugarcrepe/swap_obj.json").unlink()
    with pytest.raises(HncseError, match=r"there is no file .*test.tsv. Get it from github.com/acmi-lab"):
        triplets.evaluate(Angles({}))


def test_command_line(home, capsys):
    assert triplets.main(["kit", "--sets", "cad-nly"]) == 2
    assert "Did you mean 'cad-nli'" in capsys.readouterr().err
    assert triplets.main(["kit", "--sets", "cad-nli", "--bootstrap", "50"]) == 0
    out = capsys.readouterr().out
    assert "hypothesis to contradiction" in out and "sugarcrepe" not in out
