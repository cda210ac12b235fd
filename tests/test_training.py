"""Training: what a run writes, that it resumes, that it repeats, and what bad input says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hncse import SentenceEncoder, _trainer, presets, runs, training
from hncse.errors import HncseError
from hncse.training import TrainingConfig, train
from tests import tiny

TEXTS = tiny.sentences(96)


def config(tmp_path: Path, **changes: object) -> TrainingConfig:
    base = {
        "encoder": str(tiny.folder(tmp_path)), "loss": "simcse", "output": str(tmp_path / "runs"), "name": "one",
        "batch_size": 16, "learning_rate": 1e-3, "log_every": 1, "eval_every": 3, "snapshots": 3, "max_length": 16,
        "seed": 7,
    }  # fmt: skip
    return TrainingConfig.from_dict(base | changes)


def weights(run: runs.Run) -> dict[str, torch.Tensor]:
    return load_file(run.encoder_path / "model.safetensors")


@pytest.mark.parametrize("loss", presets.PRESETS)
def test_every_preset_trains_and_writes_a_whole_run(loss: str, tmp_path: Path) -> None:
    run = train(config(tmp_path, loss=loss), TEXTS)
    assert run.finished and run.result["steps"] == 6 and run.result["kept_step"] == 6
    lines = [line for line in run.history if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert line["case_a"] + line["case_b"] + line["case_c"] == pytest.approx(1, abs=1e-4)
        assert ("mix_hardness" in line) == ("hnm" in loss) and ("mix_angle" in line) == ("pm" in loss)
        assert {"learning_rate", "positive_similarity", "hardest_negative_similarity", "margin_p50"} <= set(line)
    assert [line["step"] for line in run.history if "probe" in line] == [0, 3, 6]
    assert [step for step, _ in run.snapshots()] == [0, 3, 6]
    assert run.config["parameters"]["loss"] == loss and run.config["data"]["sentences"] == 96
    assert not (run.path / "checkpoints").exists()
    again = SentenceEncoder.from_pretrained(run.encoder_path)
    assert np.abs(again.encode(TEXTS[:4]) - tiny.encoder().encode(TEXTS[:4])).max() > 1e-3  # it learned something


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    first = weights(train(config(tmp_path, name="a"), TEXTS))
    second = weights(train(config(tmp_path, name="b"), TEXTS))
    third = weights(train(config(tmp_path, name="c", seed=8), TEXTS))
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c = config(tmp_path, name=None)
    run = train(c, TEXTS)
    monkeypatch.setattr(_trainer, "fit", lambda *_: pytest.fail("trained again"))
    assert train(c, TEXTS).path == run.path
    monkeypatch.undo()
    assert train(config(tmp_path, name=None, learning_rate=2e-3), TEXTS).path != run.path
    assert train(c, TEXTS[:80]).path != run.path  # keyed by content, not by name


def test_another_run_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    train(config(tmp_path), TEXTS)
    with pytest.raises(HncseError, match=r"holds another run: learning_rate was 0.001, now 0.002"):
        train(config(tmp_path, learning_rate=2e-3), TEXTS)


@pytest.mark.parametrize("loss", ["simcse", "hnm-as-released"])
def test_an_interrupted_run_resumes_to_the_same_weights(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(tmp_path, name="whole", loss=loss), TEXTS)
    look = _trainer._Watch._look

    def power_cut(self: object, step: int, last: bool = False) -> None:
        if step == 5:
            raise KeyboardInterrupt
        look(self, step, last)

    monkeypatch.setattr(_trainer._Watch, "_look", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, name="cut", loss=loss), TEXTS)
    cut = runs.Run(tmp_path / "runs" / "cut")
    assert not cut.finished and (cut.path / "checkpoints" / "checkpoint-3").is_dir()
    monkeypatch.undo()
    resumed = train(config(tmp_path, name="cut", loss=loss), TEXTS)
    assert resumed.finished
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    steps = [line["step"] for line in resumed.history if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]  # nothing twice, nothing lost
    a, b = ([line["loss"] for line in run.history if "loss" in line] for run in (whole, resumed))
    assert a == b


def test_dev_selection_keeps_the_best_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([40.0, 30.0, 20.0])  # step 0 is the untrained encoder: shown, never kept
    monkeypatch.setattr(_trainer, "_selects_on_dev", lambda c: True)
    monkeypatch.setattr(_trainer._Watch, "_scores", lambda self: {"stsb_dev": next(scores), "probe": 0.0})
    run = train(config(tmp_path, snapshots=7), TEXTS)
    assert run.result["kept_step"] == 3 and run.result["stsb_dev"] == 30.0
    from hncse.data import probe

    texts = [s.text for g in probe.load() for s in g.sentences]
    kept = torch.from_numpy(run.load_encoder().encode(texts)).half()
    at = {step: load_file(path)["embeddings"] for step, path in run.snapshots()}
    torch.testing.assert_close(kept, at[3])
    assert not torch.allclose(kept, at[6])


def test_copies_in_the_corpus_share_a_group(tmp_path: Path) -> None:
    data = _trainer.Sentences(tiny.encoder(), ["a cat", "a dog", "A  cat", "the tree"], 16)
    assert data.group.tolist() == [0, 1, 0, 3]
    assert [list(data[i][1]) for i in (0, 2)] == [list(data[0][1])] * 2


def test_mined_negatives_of_a_file_train(tmp_path: Path) -> None:
    import json

    path = tmp_path / "mined.jsonl"
    rows = [{"anchor": a, "negative": b, "score": 0.5} for a, b in zip(TEXTS[:48], TEXTS[48:], strict=True)]
    rows.insert(7, {"anchor": TEXTS[0], "negative": "  "})  # no negative: the row is left out
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"corpus": str(path), "column": "anchor", "loss_options": {"hard_negative_weight": 1.0}}
    run = train(config(tmp_path, negatives="negative", **given))
    assert run.result["steps"] == 3 and run.config["data"]["sentences"] == 48
    lines = [line for line in run.history if "loss" in line]
    assert all(-1 <= line["mined_similarity"] <= 1 for line in lines)
    plain = train(config(tmp_path, name="plain", **given))
    assert all("mined_similarity" not in line for line in plain.history)
    assert plain.config["key"] != run.config["key"]
    assert lines[0]["loss"] > next(line["loss"] for line in plain.history if "loss" in line)
    with pytest.raises(HncseError, match="unknown column of .*'negativ'. Did you mean 'negative'"):
        train(config(tmp_path, name="c", negatives="negativ", **given))
    with pytest.raises(HncseError, match="sentences given as a list have none"):
        train(config(tmp_path, name="d", negatives="negative"), TEXTS)
    with pytest.raises(HncseError, match="source 'docstrings' takes no column"):
        train(config(tmp_path, name="e", negatives="negative"))


def test_a_mined_negative_that_is_the_anchor_shares_its_group(tmp_path: Path) -> None:
    from hncse._trainer import Sentences

    encoder = tiny.encoder()
    data = Sentences(encoder, TEXTS[:4], 16, [TEXTS[2], TEXTS[9], TEXTS[2], TEXTS[0]])
    assert len(data) == 4
    batch = data.collate(encoder, [data[i] for i in (0, 2, 3)])
    assert batch["groups"].tolist() == [0, 2, 3]
    assert batch["negative_groups"].tolist() == [2, 2, 0]
    assert len(batch["negative_input_ids"]) == 3


def test_runs_without_mined_negatives_keep_their_key(tmp_path: Path) -> None:
    assert "negatives" not in config(tmp_path).deciding()
    assert config(tmp_path, negatives="n").deciding()["negatives"] == "n"


def test_the_same_weights_under_other_dropout_are_another_run(tmp_path: Path) -> None:
    usual = tiny.folder(tmp_path)
    noisy = tmp_path / "noisy"
    shutil.copytree(usual, noisy)
    settings = json.loads((noisy / "config.json").read_text())
    (noisy / "config.json").write_text(json.dumps(settings | {"attention_probs_dropout_prob": 0.3}))

    def key(folder: Path, dropout: float | None) -> str:
        return str(train(config(tmp_path, name=None, encoder=str(folder), dropout=dropout), TEXTS).config["key"])

    assert len({key(usual, None), key(noisy, None), key(usual, 0.2), key(noisy, 0.3)}) == 4


def test_accumulation_and_last_short_batch(tmp_path: Path) -> None:
    run = train(config(tmp_path, accumulate=2, epochs=2.0), [*TEXTS, "a cat sat"])  # 97 = 6 batches and one row
    assert run.result["steps"] == 6


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 1}, "Did you mean 'epochs'"),
        ({"batch_size": 1}, "at least 2"),
        ({"batch_size": 16.0}, "whole number"),
        ({"temperature": 0}, "above 0"),
        ({"temperature": -0.05}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"epochs": 0}, "above 0"),
        ({"loss": "hmn-as-released"}, "Did you mean 'hnm-as-released'"),
        ({"loss": "hnm-as-released", "loss_options": {"k": 0}}, "at least 1"),
        ({"loss_options": {"kk": 3}}, "unknown loss option"),
        ({"loss_options": 3}, "dictionary"),
        ({"pooling": "clss"}, "Did you mean 'cls'"),
        ({"precision": "fp8"}, "unknown precision"),
        ({"selection": "best"}, "unknown selection"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"warmup": 1.5}, "share of the steps"),
        ({"limit": 1}, "at least 2"),
        ({"max_length": 2}, "at least 3"),
        ({"name": "a/b"}, "no slashes"),
        ({"weight_decay": -1}, "0 or more"),
    ],
)
def test_bad_parameters(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(HncseError, match=message):
        config(tmp_path, **changes)


def test_what_depends_on_the_encoder_is_filled_in() -> None:
    paper = TrainingConfig(encoder="bert-base-uncased")
    assert (paper.temperature, paper.learning_rate, paper.head) == (0.05, 3e-5, True)
    kit = TrainingConfig(encoder="kit", learning_rate=2e-4)
    assert kit.learning_rate == 2e-4 and kit.temperature == training.RECIPES["kit"]["temperature"]
    assert kit.deciding()["head"] is training.RECIPES["kit"]["head"]  # what the run folder will say


def test_a_corpus_smaller_than_a_batch(tmp_path: Path) -> None:
    with pytest.raises(HncseError, match="the corpus has 10 sentences, batch_size is 16"):
        train(config(tmp_path), TEXTS[:10])
    assert not (tmp_path / "runs").exists()  # nothing half-written


def test_a_full_disk_is_told_and_the_run_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_trainer, "save_file", full)
    with pytest.raises(HncseError, match="No space left on device; training can be resumed"):
        train(config(tmp_path), TEXTS)
    monkeypatch.undo()
    assert train(config(tmp_path), TEXTS).finished


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HncseError, match="Not a directory"):
        train(config(tmp_path, output=str(tmp_path / "file")), TEXTS)


# --- the command line -------------------------------------------------------------------------------------------


def test_command_line_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = ["--encoder", str(tiny.folder(tmp_path)), "--corpus", str(corpus), "--batch-size", "16",
                 "--name", "cli", "--output", str(tmp_path / "runs"), "--loss", "hnm-no-replacement",
                 "--loss-options", "k=4", "s=5", "--no-head", "--snapshots", "0", "--limit", "None"]  # fmt: skip
    assert training.main(arguments) == 0
    run = runs.Run(capsys.readouterr().out.strip())
    assert run.config["parameters"]["loss_options"] == {"k": 4, "s": 5}
    assert run.config["parameters"]["head"] is False and run.config["parameters"]["limit"] is None
    assert runs.main([str(run.path)]) == 0


def test_command_line_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--loss", "simsce"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: unknown loss preset 'simsce'. Did you mean 'simcse'?") and err.count("\n") == 1
    assert training.main(["--batch-size", "many"]) == 2
    assert "batch_size is 'many'" in capsys.readouterr().err


# --- run folders ------------------------------------------------------------------------------------------------


def test_a_cut_history_line_is_left_out(tmp_path: Path) -> None:
    run = runs.Run(tmp_path)
    run.log({"step": 1, "loss": 2.0})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.history == [{"step": 1, "loss": 2.0}]


def test_writing_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs.Run(tmp_path)
    run.write("sts", {"avg": 1})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HncseError, match=r"sts.json could not be written: No space left"):
        run.write("sts", {"avg": 2})
    monkeypatch.undo()
    assert run.read("sts") == {"avg": 1} and [p.name for p in tmp_path.iterdir()] == ["sts.json"]


OWNER = """
import sys, time
from hncse.runs import Run
with Run(sys.argv[1]).lock():
    print("mine", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_one_process_owns_a_run_and_a_killed_one_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs.Run(tmp_path / "one")

    def owner(seconds: float) -> subprocess.Popen[bytes]:
        other = subprocess.Popen([sys.executable, "-c", OWNER, str(run.path), str(seconds)], stdout=subprocess.PIPE)
        assert other.stdout is not None and other.stdout.readline()
        return other

    other = owner(600)
    for wait in (False, 0.2):
        with pytest.raises(runs.RunBusyError, match=str(other.pid)), run.lock(wait):
            pass
    assert f"waiting for process {other.pid} " in capsys.readouterr().err
    other.kill()
    other.wait()
    with run.lock(False), run.lock(False), ThreadPoolExecutor(1) as pool:  # whoever has it may take it again
        assert isinstance(pool.submit(lambda: run.lock(False).__enter__()).exception(), runs.RunBusyError)
    other = owner(0.5)
    with run.lock():
        assert other.wait(timeout=60) == 0


def test_finding_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "none"))
    with pytest.raises(HncseError, match="no runs yet"):
        runs.find("latest")
    for name in ("first", "second"):
        made = runs.Run(tmp_path / "runs" / name)
        made.path.mkdir(parents=True)
        made.write("config", {"parameters": {}})
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    assert runs.find("second").name == "second"
    assert {run.name for run in runs.list_runs()} == {"first", "second"}
    with pytest.raises(HncseError, match="Did you mean 'first'"):
        runs.find("frist")
    with pytest.raises(HncseError, match=r"has no sts.json"):
        runs.find("first").read("sts")
    (tmp_path / "runs" / "first" / "sts.json").write_text(json.dumps({"a": 1})[:-2])
    with pytest.raises(HncseError, match="damaged"):
        runs.find("first").read("sts")
