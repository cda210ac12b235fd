"""Model cards, pushing to a hub, ONNX: what an encoder is to others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml
from transformers import AutoTokenizer

from hncse import HncseError, SentenceEncoder, runs
from hncse.data import probe as data_probe
from hncse.encoder import POOLINGS, card, onnx
from hncse.evaluation import export
from tests import tiny
from tests.hub import Hub

TEXTS = ["the cat sat on the mat", "a dog ran", "", "the big old house under the tree was not very small"]
NAME = "a|b <i>`x` 7"


def front_matter(text: str) -> dict:
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A run folder as training and judging leave it, with a tiny encoder in it."""
    run = runs.Run(tmp_path_factory.mktemp("runs") / NAME)
    tiny.encoder("mean").save(run.encoder_path)
    corpus = "/srv/somebody/private/my|notes.txt"
    run.write("config", {
        "key": "0", "pooling": "mean", "seed": 7, "selection": "last", "versions": {"hncse": "0.1.0", "torch": "2"},
        "data": {"source": corpus, "sentences": 640, "fingerprint": "f" * 32},
        "parameters": {"loss": "hnm-no-replacement", "loss_options": {"k": 5}, "encoder": "kit", "corpus": corpus,
                       "column": "`rm -rf`\n```", "seed": 7, "head": False, "limit": None, "learning_rate": 1e-3,
                       "temperature": 0.1, "name": "x", "output": "/srv/somebody"},
    })  # fmt: skip
    run.write("result", {"steps": 10, "kept_step": 5, "device": "cpu"})
    tasks = {"STSB": {"all": 61.234, "interval": [60.0, 62.5]}}
    run.write("sts", {"split": "test", "tasks": tasks, "avg": None, "avg_interval": None})
    run.write("transfer", {"split": "test", "tasks": {"MR": {"acc": 70.5, "interval": [69.0, 72.0]}}, "avg": None})
    overall = {"overall": {"value": 18.5, "interval": [17.0, 20.0]}}
    probe = {"spearman": 35.1, "spearman_interval": None, "triplet_accuracy": overall}
    run.write("probe", probe)
    run.write("baseline", {"poolings": {"mean": {"probe": probe | {"spearman": 33.2}}}})
    return run


def test_a_runs_card_says_what_it_is_and_what_it_scores(run: runs.Run, tmp_path: Path) -> None:
    text = (run.load_encoder().save(tmp_path / "e") / "README.md").read_text(encoding="utf-8")
    head = front_matter(text)
    assert head["library_name"] == "sentence-transformers" and head["pipeline_tag"] == "sentence-similarity"
    assert "base_model" not in head and "from\n`kit`" in text  # nothing on the hub is called so
    assert head["license"] == "cc-by-sa-3.0" and "hnm-no-replacement" in head["tags"]
    (model,) = head["model-index"]
    assert model["name"] == NAME
    scores = {r["dataset"]["name"]: (r["dataset"]["split"], r["metrics"][0]) for r in model["results"]}
    assert set(scores) == {"STS STSB", "transfer MR", "probe grades", "probe hard negatives outranked"}
    split, metric = scores["STS STSB"]
    assert split == "test" and (metric["type"], metric["value"]) == ("spearman", 61.234)
    assert metric["args"] == {"pooling": "mean", "seed": 7, "interval": [60.0, 62.5]}
    assert "interval" not in scores["probe grades"][1]["args"]
    row = next(line for line in text.splitlines() if "| grades" in line)
    assert "35.10" in row and "33.20" in row
    assert "arXiv:2411.12156" in text and "arXiv:2104.08821" in text


def test_a_card_tells_no_paths_and_is_broken_by_no_name(run: runs.Run, tmp_path: Path) -> None:
    text = (run.load_encoder().save(tmp_path / "e") / "README.md").read_text(encoding="utf-8")
    assert "somebody" not in text and "private" not in text and "my\\|notes.txt" in text
    assert "# a\\|b &lt;i>\\`x\\` 7" in text and text.count("\n```") == 4  # two blocks of code, and no more
    (command,) = (line for line in text.splitlines() if line.startswith("hncse train"))
    assert "--loss hnm-no-replacement --loss-options k=5" in command and "--seed 7" in command
    assert "--limit None" in command and "--output" not in command and "--head" not in command


def test_a_readme_of_somebody_elses_stays(run: runs.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, edited, again = (tmp_path / name for name in ("mine", "edited", "again"))
    mine.mkdir()
    (mine / "README.md").write_text("my words")
    run.load_encoder().save(mine)
    assert (mine / "README.md").read_text() == "my words" and "README.md" in caplog.text
    run.load_encoder().save(edited)
    changed = (edited / "README.md").read_text().replace("# a", "# My own a")
    (edited / "README.md").write_text(changed)
    for encoder in (run.load_encoder(), tiny.encoder()):
        assert SentenceEncoder.from_pretrained(encoder.save(edited)).pooling == encoder.pooling
        assert (edited / "README.md").read_text() == changed
    run.load_encoder().save(again)
    (again / "README.md").write_bytes((again / "README.md").read_bytes().replace(b"\n", b"\r\n"))  # git on Windows
    tiny.encoder().save(again)
    assert not (again / "README.md").exists()  # another encoder: the run's scores are not its


def test_a_card_goes_along_from_folder_to_folder(run: runs.Run, tmp_path: Path) -> None:
    first = run.load_encoder().save(tmp_path / "a")
    second = SentenceEncoder.from_pretrained(first).export(tmp_path / "b")
    texts = [(folder / "README.md").read_text(encoding="utf-8") for folder in (first, second)]
    assert front_matter(texts[1]) == front_matter(texts[0]) and card.ours(texts[1])
    assert texts[1].count("('b')") == 2 and "('a')" not in texts[1]
    SentenceEncoder.from_pretrained(first).export(first)
    assert (first / "README.md").read_text(encoding="utf-8") == texts[0]
    other = SentenceEncoder.from_pretrained(first, "cls")
    assert not (other.save(tmp_path / "c") / "README.md").exists()


def test_an_encoder_that_changed_gets_no_card(run: runs.Run, tmp_path: Path, caplog) -> None:
    encoder = run.load_encoder()
    encoder.backbone.embeddings.word_embeddings.weight.data[7] += 1
    assert not (encoder.save(tmp_path / "e") / "README.md").exists() and "gets no card" in caplog.text


@pytest.fixture
def pushed_to(online: None, monkeypatch: pytest.MonkeyPatch):
    """A hub to push to, in this process."""
    with Hub({}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_pushing_again_replaces_what_was_pushed_and_nothing_else(pushed_to: Hub, run: runs.Run, tmp_path: Path) -> None:
    address = tiny.encoder("first_last").push_to_hub("me/e", private=True, token="may write")
    files = pushed_to.datasets["me/e"]
    assert address == f"{pushed_to.url}/me/e" and pushed_to.private == {"me/e"}
    assert card.ours(files["README.md"].decode()) and "2_WeightedLayerPooling/config.json" in files
    files["notes.txt"] = b"mine"
    run.load_encoder().push_to_hub("me/e", token="may write", message="trained")
    assert pushed_to.commits[-1] == "trained" and files["notes.txt"] == b"mine"
    assert not any(name.startswith("2_") for name in files) and b"model-index" in files["README.md"]
    files["README.md"] += b"and my own words"
    tiny.encoder("mean", seed=1).push_to_hub("me/e", token="may write")
    assert files["README.md"].endswith(b"my own words")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(content)
    got = SentenceEncoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(got.encode(TEXTS), tiny.encoder("mean", seed=1).encode(TEXTS))


def test_what_may_not_be_pushed_is_said_and_not_sent(pushed_to: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny.encoder()
    with pytest.raises(HncseError, match="hf auth login"):
        encoder.push_to_hub("me/e", token="another")
    with pytest.raises(HncseError, match="owner/name"):
        encoder.push_to_hub("me//e", token="may write")
    pushed_to.datasets["me/public"] = {}
    with pytest.raises(HncseError, match="is there and public"):
        encoder.push_to_hub("me/public", private=True, token="may write")
    assert not pushed_to.commits and not pushed_to.datasets["me/public"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HncseError, match="cannot be reached"):
        encoder.push_to_hub("me/e", token="may write")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_the_same_in_onnx(pooling: str, tmp_path: Path) -> None:
    encoder = tiny.encoder(pooling)
    folder = encoder.export(tmp_path / "e") if pooling != "mean_no_first" else tmp_path
    if pooling == "mean_no_first":  # this tokenizer cannot be saved with it
        onnx.write(encoder, folder, False)
    exported = onnx.OnnxEncoder(encoder, folder / onnx.FILES["onnx"])
    for texts in (TEXTS, TEXTS[:1]):
        np.testing.assert_allclose(exported.encode(texts), encoder.encode(texts), atol=1e-5)
    assert not (folder / onnx.FILES["int8"]).exists()


def test_the_folder_is_laid_out_for_transformers_js(tmp_path: Path) -> None:
    encoder = tiny.encoder("mean")
    folder = encoder.export(tmp_path / "e", int8=True)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="np")
    given = {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    for file, tolerance in (("model.onnx", 1e-5), ("model_quantized.onnx", 0.2)):
        session = onnxruntime.InferenceSession(folder / "onnx" / file, providers=["CPUExecutionProvider"])
        tokens_, pooled = session.run(["last_hidden_state", "sentence_embedding"], given)
        mask = given["attention_mask"][..., None]
        np.testing.assert_allclose((tokens_ * mask).sum(1) / mask.sum(1), pooled, atol=1e-5)
        assert 0 <= np.abs(pooled - encoder.encode(TEXTS)).max() < tolerance
    assert onnx.FILES["int8"] in json.loads((folder / "hncse.json").read_text())["files"]
    tiny.encoder("mean", seed=1).save(folder)
    assert not (folder / "onnx").exists()  # of other weights


def test_what_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HncseError, match="'onnx'"):
        tiny.encoder().export(tmp_path / "e", "onx")
    monkeypatch.setattr(onnx, "_MOST", 10)
    with pytest.raises(HncseError, match="fewer layers"):
        tiny.encoder().export(tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_the_command_exports_in_place_and_compares(run: runs.Run, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    groups = data_probe.load()[:20]
    monkeypatch.setattr(export.data_probe, "load", lambda: groups)
    tiny.encoder("mean").save("e")
    assert export.main(["e", "--int8"]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "e" / "onnx" / "model_quantized.onnx").is_file() and "probe" in said
    rows = [line.split() for line in said.splitlines()[2:-1]]
    assert [row[0] for row in rows] == ["original", "onnx", "int8"]
    assert float(rows[1][2]) < 1e-5 < float(rows[2][2])
    assert float(rows[1][3]) == pytest.approx(float(rows[0][2]), abs=0.5)  # random weights: rounding breaks ties
    assert export.main([str(run.path)]) == 0
    assert (run.path / "export" / "README.md").is_file() and (run.path / "export" / "onnx" / "model.onnx").is_file()
    capsys.readouterr()
    assert export.main(["e", "--format", "onx"]) == 2 and "onnx" in capsys.readouterr().err


def test_sentence_transformers_takes_a_copy() -> None:
    encoder = tiny.encoder("first_last")
    np.testing.assert_allclose(encoder.as_sentence_transformer().encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
