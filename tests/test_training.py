"""Training: what a run writes, that it resumes, that it repeats, and what bad input says."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hncse import SentenceEncoder, cli, files, presets, runs, training
from hncse.data import corpora, probe
from hncse.encoder import blocks, precision
from hncse.errors import HncseError
from hncse.evaluation import probe as measure
from hncse.training import TrainingConfig, train, trainer
from tests import processes, tiny

TEXTS = tiny.sentences(96)
SCORES = trainer.Watch._scores
SETTINGS = {
    "loss": "simcse", "name": "one", "batch_size": 16, "learning_rate": 1e-3, "log_every": 1, "eval_every": 3,
    "snapshots": 3, "max_length": 16, "seed": 7,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A probe of few sentences, which training looks at before, between and after its six steps."""
    groups = probe.load()[:4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "load", lambda *_: groups)
        patch.setattr(trainer.Watch, "_scores", lambda self: {"probe": 0.0})
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.folder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def make(tmp_path, model):
    """Makes configurations of six steps."""
    base = SETTINGS | {"encoder": str(model), "output": str(tmp_path / "runs")}
    return lambda **changes: TrainingConfig.from_dict(base | changes)


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """A finished run that tests read or copy."""
    output = str(tmp_path_factory.mktemp("finished"))
    return train(TrainingConfig(**SETTINGS | {"encoder": str(model), "output": output, "eval_every": 2}), TEXTS)


@pytest.fixture
def again(finished, tmp_path, make):
    """A copy of it, and what it was made with."""
    shutil.copytree(finished.path, tmp_path / "runs" / "one")
    return runs.Run(tmp_path / "runs" / "one"), make(eval_every=2)


def weights(run: runs.Run) -> dict[str, torch.Tensor]:
    return load_file(run.encoder_path / "model.safetensors")


@pytest.mark.parametrize("loss", [*presets.OWN_PRESETS, "mochi"])
def test_every_preset_trains_and_writes_a_whole_run(loss, make):
    run = train(make(loss=loss), TEXTS)
    assert run.finished and run.result["steps"] == 6 and run.result["kept_step"] == 6
    lines = [line for line in run.history if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert line["case_a"] + line["case_b"] + line["case_c"] == pytest.approx(1, abs=1e-4)
        assert ("mix_hardness" in line) == (loss == "mochi" or "hnm" in loss) and ("mix_angle" in line) == (
            "pm" in loss
        )
        assert {"learning_rate", "positive_similarity", "hardest_negative_similarity", "margin_p50"} <= set(line)
    assert [line["step"] for line in run.history if "probe" in line] == [0, 3, 6]
    assert [step for step, _ in run.snapshots()] == [0, 3, 6]
    assert run.config["parameters"]["loss"] == loss and run.config["data"]["sentences"] == 96
    assert not run.checkpoints.exists()
    trained = SentenceEncoder.from_pretrained(run.encoder_path)
    assert np.abs(trained.encode(TEXTS[:4]) - tiny.encoder().encode(TEXTS[:4])).max() > 1e-3  # it learned something


def test_a_guide_reads_the_corpus_and_is_part_of_what_a_run_is(make, tmp_path):
    mined = tmp_path / "mined.tsv"
    mined.write_text("a\tn\n" + "\n".join(f"{a}\t{n}" for a, n in zip(TEXTS[:48], TEXTS[48:], strict=True)))
    z = tiny.encoder(seed=1).encode(TEXTS, show_progress=False)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    c = make(
        loss="dclr", loss_options={"guide_above": float(np.median(z @ z.T))}, guide=str(tiny.folder(tmp_path, seed=1)),
        corpus=str(mined), column="a", negatives="n", limit=None,
    )  # fmt: skip
    masked = [line["masked"] for line in train(c).history if "loss" in line]
    assert len(masked) == 3 and 0.2 < min(masked) <= max(masked) < 0.8
    corpus, encoder = training.load_corpus(c), tiny.encoder()
    one, other = (training.facts(each, corpus, encoder) for each in (c, dataclasses.replace(c, guide=c.encoder)))
    assert one["key"] != other["key"]
    for changes, text in (({"loss": "gist"}, "asks a guide"), ({"guide": c.guide}, "asks none")):
        with pytest.raises(HncseError, match=text):
            make(**changes)


def test_the_probe_is_scored_while_training(finished, monkeypatch):
    watch = trainer.Watch(TrainingConfig(), tiny.encoder(), finished, False)
    monkeypatch.setattr(measure, "evaluate", lambda encoder, bootstrap: {"spearman": 12.34567})
    assert SCORES(watch) == {"probe": 12.3457}


def test_a_run_is_known_by_its_content(again, make, monkeypatch):
    run, c = again
    repeated = weights(train(dataclasses.replace(c, name="again"), TEXTS))
    assert all(torch.equal(tensor, repeated[name]) for name, tensor in weights(run).items())
    other = weights(train(dataclasses.replace(c, seed=8, name="other"), TEXTS))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in weights(run).items())
    with pytest.raises(HncseError, match=r"holds another run: learning_rate was 0.001, now 0.002"):
        train(dataclasses.replace(c, learning_rate=2e-3), TEXTS)
    monkeypatch.setattr(trainer, "fit", lambda c, corpus, encoder, run, *_: names.append(run.name))
    names: list[str] = []
    assert train(c, TEXTS).path == run.path and not names  # finished: returned as it is
    for changes, texts in (({}, TEXTS), ({"learning_rate": 2e-3}, TEXTS), ({}, TEXTS[:80])):
        train(make(name=None, **changes), texts)
    assert len(set(names)) == 3  # keyed by content, not by name


def edit(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Make training believe that somebody edited a module."""
    real = files.source_hash
    monkeypatch.setattr(training, "source_hash", lambda *names: real(*names, *(["errors"] if module in names else [])))


@pytest.mark.parametrize("module", ["losses", "training"])
def test_edited_code_gives_another_run_and_says_so(module, again, monkeypatch, caplog):
    first, c = again
    edit(monkeypatch, module)
    with pytest.raises(HncseError, match=f"another run: .*hncse.{module}"):
        train(c, TEXTS)
    caplog.clear()
    other = train(dataclasses.replace(c, name=None), TEXTS)
    assert other.config["key"] == first.config["key"] and other.config["code"] != first.config["code"]
    assert first.name in caplog.text and f"hncse.{module}" in caplog.text
    caplog.clear()
    assert train(dataclasses.replace(c, name=None), TEXTS).path == other.path and not caplog.text


def train_elsewhere(folder: Path) -> None:
    """Train with the package that lies in a folder, in a process that has imported this one."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "hncse"]:
        del sys.modules[name]
    import hncse

    run = hncse.train(
        hncse.TrainingConfig(
            encoder="tiny", loss="simcse", output="runs", batch_size=2, snapshots=0, log_every=1, eval_every=100,
            selection="last",
        ),
        ["the cat sat", "a dog ran"],
    )  # fmt: skip
    losses = [line["loss"] for line in run.history if "loss" in line]
    (folder / "said.json").write_text(json.dumps([hncse.__file__, run.name, losses]))


def test_edited_losses_are_new_code(model, tmp_path):
    """The whole way, in a copy of the package: edit the losses, train, and see the new loss."""
    package = Path(training.__file__).parents[1]
    shutil.copytree(package, tmp_path / "hncse", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(model, tmp_path / "tiny")
    with (tmp_path / "hncse" / "losses" / "__init__.py").open("a") as file:
        file.write(
            "\n\n_forward = ContrastiveLoss.forward\n"
            "def _seven(self, *z, **more):\n"
            "    out = _forward(self, *z, **more)\n"
            "    return LossOutput(out.loss * 0 + 7.0, out.diagnostics)\n"
            "ContrastiveLoss.forward = _seven\n"
        )
    process = processes.context().Process(target=train_elsewhere, args=(tmp_path,))
    process.start()
    process.join()
    place, name, losses = json.loads((tmp_path / "said.json").read_text())
    assert Path(place).parent == tmp_path / "hncse" and losses == [7.0] and name.startswith("simcse-seed42-")


# Fingerprints of the corpus and encoder of the recorded sweep, which itself holds their first 16 digits; the test
# marked real makes them from the files.
WIKIPEDIA_6400 = "948166b960c6514b6906a2cd1b0b9cf43d0f9947aeb190e64c110fb1cae28211"
KIT = "10f783ccf329a6c4e24ffd9f010bea6a450cbbe3910f8010b965edfcb3afc3e9"


def recorded() -> list[tuple[TrainingConfig, dict[str, str]]]:
    path = Path(training.__file__).parents[1] / "data" / "results" / "sweep.csv"
    rows = [row for row in csv.DictReader(path.open(encoding="utf-8")) if row["kind"] == "trained"]
    configs = []
    for row in rows:
        values = {name: row[name] for name in ("loss", "encoder", "corpus")} | json.loads(row["parameters"])
        values |= {"limit": int(row["limit"]), "seed": int(row["seed"])}
        values |= {"loss_options": json.loads(row["loss_options"] or "{}")}
        configs.append(TrainingConfig.from_dict(values))
    return list(zip(configs, rows, strict=True))


def test_keys_of_the_recorded_runs_are_todays(monkeypatch):
    monkeypatch.setattr(training, "selects_on_dev", lambda config: True)
    encoder = types.SimpleNamespace(
        device=torch.device("cpu"), pooling="mean", causal=False, fingerprint=lambda: KIT, unusual_dropout=dict
    )
    corpus = corpora.Corpus([""] * 6400, "wikipedia", WIKIPEDIA_6400)
    assert len(recorded()) == 108
    for c, row in recorded():
        assert (row["data"], row["weights"]) == (WIKIPEDIA_6400[:16], KIT[:16]) and row["selection"] == "stsb-dev"
        monkeypatch.setattr(training, "__version__", row["hncse"])
        assert training.facts(c, corpus, encoder)["key"] == row["key"], row["run"]


@pytest.mark.real
def test_the_key_of_a_recorded_run_is_made_from_its_files(kit):
    c, row = recorded()[0]
    corpus = corpora.load("wikipedia", limit=6400)
    assert (corpus.fingerprint, kit.fingerprint()) == (WIKIPEDIA_6400, KIT)
    assert training.facts(c, corpus, kit)["key"] == row["key"]


def test_a_younger_setting_changes_no_key_at_its_default():
    assert "negatives" not in TrainingConfig().deciding()
    assert TrainingConfig(negatives="n").deciding()["negatives"] == "n"

    @dataclasses.dataclass(frozen=True)
    class Tomorrow(TrainingConfig):
        news: int = 3

    assert Tomorrow().deciding() == TrainingConfig().deciding()
    assert Tomorrow(news=4).deciding() == TrainingConfig().deciding() | {"news": 4}


def cut(monkeypatch: pytest.MonkeyPatch, at: int, c: TrainingConfig) -> runs.Run:
    """Train, and lose the power when step ``at`` is over."""
    with tiny.power_cut(monkeypatch, at):
        train(c, TEXTS)
    return runs.Run(Path(str(c.output)) / str(c.name))


def everything(run: runs.Run) -> dict[str, bytes]:
    """Every file of a run, less what holds seconds and its name."""
    files = {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name not in ("result.json", "config.json")}


@pytest.mark.parametrize(("loss", "log_every", "at"), [("simcse", 4, 5), ("hnm-as-released", 5, 6)])
def test_an_interrupted_run_resumes_to_the_same_bytes(loss, log_every, at, make, monkeypatch):
    settings = {"loss": loss, "log_every": log_every, "eval_every": 2}
    whole = train(make(name="whole", **settings), TEXTS)
    run = cut(monkeypatch, at, make(name="cut", **settings))
    assert not run.finished and len(list(run.checkpoints.glob("checkpoint-*"))) == 2
    for leftover in (".result.json-0a1b2c3d", ".history.jsonl-abc_9xyz", ".encoder-abcd1234/model.safetensors"):
        (run.path / leftover).parent.mkdir(exist_ok=True)
        (run.path / leftover).write_text("half")
    resumed = train(make(name="cut", **settings), TEXTS)
    assert resumed.finished and everything(resumed) == everything(whole)
    result, other = dict(resumed.result), dict(whole.result)
    for name in ("seconds", "seconds_evaluating", "sentences_per_second"):
        assert result.pop(name) >= 0 and other.pop(name) >= 0
    assert result == other
    steps = [line["step"] for line in resumed.history]
    assert steps == sorted(steps)


def change_progress(run: runs.Run, **values: float) -> None:
    path = run.checkpoints / "checkpoint-4" / "trainer_state.json"
    state = json.loads(path.read_text())
    state["stateful_callbacks"]["hncse"] |= values
    path.write_text(json.dumps(state))


@pytest.fixture(scope="module")
def interrupted(model, tmp_path_factory):
    """The finished run, cut off after its fifth step."""
    output = str(tmp_path_factory.mktemp("cut"))
    with pytest.MonkeyPatch.context() as patch:
        return cut(patch, 5, TrainingConfig(**SETTINGS | {"encoder": str(model), "output": output, "eval_every": 2}))


@pytest.fixture
def broken_off(interrupted, tmp_path, make):
    """A copy of it, and what it was made with."""
    shutil.copytree(interrupted.path, tmp_path / "runs" / "one")
    return runs.Run(tmp_path / "runs" / "one"), make(eval_every=2)


def test_seconds_before_an_interruption_count(broken_off):
    run, c = broken_off
    change_progress(run, seconds=1000.0, seconds_evaluating=800.0)
    result = train(c, TEXTS).result
    assert result["seconds"] > 1000 and result["seconds_evaluating"] >= 800
    assert result["sentences_per_second"] < 96 / 100


@pytest.mark.parametrize(
    ("file", "damage"),
    [("trainer_state.json", "gone"), ("trainer_state.json", "empty"), ("model.safetensors", "half"),
     ("optimizer.pt", "half"), ("rng_state.pth", "gone")],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(file, damage, broken_off, finished, caplog):
    run, c = broken_off
    path = run.checkpoints / "checkpoint-4" / file
    content = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(content[: len(content) // 2 if damage == "half" else 0])
    resumed = train(c, TEXTS)
    assert ("checkpoint-4 is damaged" in caplog.text) == ((file, damage) != ("trainer_state.json", "gone"))
    assert everything(resumed) == everything(finished)


def test_a_checkpoint_of_other_processes_is_refused(broken_off):
    run, c = broken_off
    change_progress(run, processes=2)
    before = everything(run)
    with pytest.raises(HncseError, match="with 2 processes, now with 1"):
        train(c, TEXTS)
    assert everything(run) == before


def test_a_finished_run_loses_its_checkpoints_and_a_cut_result_is_made_again(again):
    run, c = again
    whole = everything(run)
    (run.checkpoints / "checkpoint-6").mkdir(parents=True)
    assert train(c, TEXTS).path == run.path and not run.checkpoints.exists()
    (run.path / "result.json").write_text("")  # a power cut: the name is there, its bytes are not
    assert not run.finished
    before = os.umask(0o002)
    try:
        assert train(c, TEXTS).finished and everything(run) == whole
    finally:
        os.umask(before)
    modes = {oct(path.stat().st_mode & 0o777) for path in run.encoder_path.iterdir() if path.is_file()}
    assert modes == {"0o664"}, "files have the mode of the umask"


def test_history_is_json_without_nan(tmp_path):
    run = runs.Run(tmp_path)
    run.log({"step": 1, "loss": 2.0, "margin": float("nan"), "other": float("inf")})
    assert (tmp_path / "history.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'


def test_dev_selection_keeps_the_best_step(make, monkeypatch):
    scores = iter([40.0, 30.0, 20.0])  # step 0 is the untrained encoder: shown, never kept
    monkeypatch.setattr(training, "selects_on_dev", lambda c: True)
    monkeypatch.setattr(trainer.Watch, "_scores", lambda self: {"stsb_dev": next(scores), "probe": 0.0})
    run = train(make(snapshots=7), TEXTS)
    assert run.result["kept_step"] == 3 and run.result["stsb_dev"] == 30.0
    texts = [s.text for g in probe.load() for s in g.sentences]
    kept = torch.from_numpy(run.load_encoder().encode(texts)).half()
    at = {step: load_file(path)["embeddings"] for step, path in run.snapshots()}
    torch.testing.assert_close(kept, at[3])
    assert not torch.allclose(kept, at[6])


def test_copies_share_a_group_mined_negatives_included():
    encoder = tiny.encoder()
    data = trainer.Sentences(encoder, ["a cat", "a dog", "A  cat", "the tree"], 16)
    assert data.group.tolist() == [0, 1, 0, 3]
    assert [list(data[i][1]) for i in (0, 2)] == [list(data[0][1])] * 2
    data = trainer.Sentences(encoder, TEXTS[:4], 16, [(TEXTS[i],) for i in (2, 9, 2, 0)])
    assert len(data) == 4
    batch = data.collate(encoder, [data[i] for i in (0, 2, 3)])
    assert batch["groups"].tolist() == [0, 2, 3]
    assert batch["negative_groups"].tolist() == [[2], [2], [0]]
    assert len(batch["negative_input_ids"]) == 3


def test_mined_negatives_of_a_file_train(tmp_path, make):
    path = tmp_path / "mined.jsonl"
    rows = [{"anchor": a, "negative": b, "score": 0.5} for a, b in zip(TEXTS[:48], TEXTS[48:], strict=True)]
    rows.insert(7, {"anchor": TEXTS[0], "negative": "  "})  # no negative: the row is left out
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"corpus": str(path), "column": "anchor", "loss_options": {"hard_negative_weight": 1.0}}
    run = train(make(negatives="negative", **given))
    assert run.result["steps"] == 3 and run.config["data"]["sentences"] == 48
    lines = [line for line in run.history if "loss" in line]
    assert all(-1 <= line["mined_similarity"] <= 1 for line in lines)
    plain = train(make(name="plain", **given))
    assert all("mined_similarity" not in line for line in plain.history)
    assert plain.config["key"] != run.config["key"]
    assert lines[0]["loss"] > next(line["loss"] for line in plain.history if "loss" in line)
    with pytest.raises(HncseError, match="unknown column of .*'negativ'. Did you mean 'negative'"):
        train(make(name="c", negatives="negativ", **given))
    with pytest.raises(HncseError, match="sentences given as a list have none"):
        train(make(name="d", negatives="negative"), TEXTS)
    with pytest.raises(HncseError, match="source 'docstrings' takes no column"):
        train(make(name="e", negatives="negative"))


def test_the_same_weights_under_other_dropout_are_another_run(model, tmp_path, make):
    noisy = tmp_path / "noisy"
    shutil.copytree(model, noisy)
    settings = json.loads((noisy / "config.json").read_text())
    (noisy / "config.json").write_text(json.dumps(settings | {"attention_probs_dropout_prob": 0.3}))
    corpus = corpora.from_sentences(TEXTS)

    def key(folder: Path, dropout: float | None) -> str:
        c = make(encoder=str(folder), dropout=dropout)
        return training.facts(c, corpus, training.load_encoder(c))["key"]

    assert len({key(model, None), key(noisy, None), key(model, 0.2), key(noisy, 0.3)}) == 4


def test_accumulation_and_last_short_batch(make):
    run = train(make(accumulate=2, epochs=2.0), [*TEXTS, "a cat sat"])  # 97 = 6 batches and one row
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
        ({"weight_decay": -1}, "0 or more"),
        ({"weight_decay": float("inf")}, "0 or more"),
        ({"epochs": 1e308}, "never end"),
        ({"seed": 2**32}, "4294967295"),
        ({"seed": -1}, "from 0"),
        ({"batch_size": 10**30}, "whole number"),
        ({"head": "false"}, "True, False or None"),
        ({"head": "False"}, "True, False or None"),
        ({"head": 1}, "True, False or None"),
        ({"encoder": 5}, "must be a text"),
        ({"corpus": None}, "must be a text"),
        ({"output": 3}, "must be a text"),
        ({"pooling": True}, "must be a text"),
        ({"loss_options": {1: 2}}, "dictionary"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(HncseError, match=message):
        TrainingConfig.from_dict(changes)


def test_names_that_leave_their_folder_or_cannot_be():
    for name in ("", ".", "..", "a/b", "../x", "/tmp/x", "~", "~/x", ".hidden", "a\\b", "a\0b", "a\nb", " x", "x ",
                 "latest", "x" * 300, "ü" * 150, "\udcff"):  # fmt: skip
        with pytest.raises(HncseError, match="name"):
            TrainingConfig(name=name)
    assert TrainingConfig(name="tau_0.1 größer").name == "tau_0.1 größer"


def test_numbers_out_of_arrays_and_paths_are_taken(tmp_path):
    c = TrainingConfig(
        seed=np.int64(3), temperature=np.float32(0.5), head=np.bool_(True), output=tmp_path, encoder=tmp_path / "x"
    )
    assert (c.seed, c.temperature, c.head, c.output, c.encoder) == (3, 0.5, True, str(tmp_path), str(tmp_path / "x"))
    json.dumps(c.deciding())


def test_what_depends_on_the_encoder_is_filled_in():
    paper = TrainingConfig(encoder="bert-base-uncased")
    assert (paper.temperature, paper.learning_rate, paper.head) == (0.05, 3e-5, True)
    kit = TrainingConfig(encoder="kit", learning_rate=2e-4)
    assert kit.learning_rate == 2e-4 and kit.temperature == training.RECIPES["kit"]["temperature"]
    assert kit.deciding()["head"] is training.RECIPES["kit"]["head"]  # what the run folder will say


def test_a_corpus_smaller_than_a_batch(make, tmp_path):
    with pytest.raises(HncseError, match="the corpus has 10 sentences, batch_size is 16"):
        train(make(), TEXTS[:10])
    assert not (tmp_path / "runs").exists()  # nothing half-written


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_with_room(make, tmp_path, capfd):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    c = make(selection="last")
    for largest in (100, 1_000, 2_000, 40_000):  # stops at config, history, snapshot, checkpoint
        with capfd.disabled(), pytest.raises(HncseError) as refused:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
            try:
                train(c, TEXTS)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        said = str(refused.value)
        assert str(tmp_path / "runs" / "one") in said and "bytes are free" in said and "\n" not in said
    run = train(c, TEXTS)
    assert run.finished and [line["step"] for line in run.history if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_a_run_folder_that_cannot_be_made(make, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HncseError, match="Not a directory"):
        train(make(output=str(tmp_path / "file")), TEXTS)
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "file"))
    with pytest.raises(HncseError, match="HNCSE_RUNS .* is a file"):
        train(make(output=None), TEXTS)
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize(
    "foreign",
    [
        {"checkpoints/mine.pt": "1", "encoder/weights.bin": "2", "history.jsonl": "3"},
        {"config.json": '{"model_type": "bert"}', "checkpoints/checkpoint-5/model.safetensors": "1"},
        {"config.json": "", "notes.md": "mine"},
        {"config.json": "[1, 2]"},
        {".git/HEAD": "ref"},
    ],
)
def test_a_folder_that_is_no_run_is_left_as_it_is(foreign, make, tmp_path):
    folder = tmp_path / "runs" / "one"
    for name, text in foreign.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(HncseError, match="one"):
        train(make(), TEXTS)
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()} == foreign


def test_home_is_expanded_everywhere(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(finished.path, tmp_path / "runs" / "one")
    c = TrainingConfig(encoder="~/tiny", output="~/runs")
    assert (c.encoder, c.output) == (str(tmp_path / "tiny"), str(tmp_path / "runs"))
    monkeypatch.setenv("HNCSE_RUNS", "~/runs")
    assert runs.root() == tmp_path / "runs" and runs.find("~/runs/one").path == tmp_path / "runs" / "one"
    assert runs.Run("~/runs/one").finished and not Path("~").exists()


# --- sentences ----------------------------------------------------------------------------------------------------


def test_sentences_given_by_hand_are_used_whole_unless_a_limit_was_given(make, monkeypatch):
    sizes: list[int] = []
    monkeypatch.setattr(trainer, "fit", lambda c, corpus, *_: sizes.append(len(corpus.sentences)))
    many = [f"{a} {b} {c}" for a in tiny.WORDS[:20] for b in tiny.WORDS[:20] for c in tiny.WORDS[:17]]  # 6,800
    for c in (make(), make(limit=6400), dataclasses.replace(make(), name="again")):
        train(c, many)
    assert sizes == [6800, 6400, 6800]
    assert TrainingConfig().limit == 6400 and TrainingConfig().deciding()["limit"] == 6400


@pytest.mark.parametrize(
    "texts", [["xyzzy plugh foo"] * 8 + ["bar baz qux"] * 8, [f"the cat sat on {i}" for i in range(16)]]
)
def test_sentences_that_are_all_the_same_to_the_encoder_are_refused(texts, make, tmp_path):
    with pytest.raises(HncseError, match="have the same tokens"):
        train(make(max_length=5), texts)
    assert not (tmp_path / "runs").exists()


def test_unknown_tokens_are_said(make, caplog):
    train(make(name="foreign", snapshots=0), [f"{text} 机 器 学 习" for text in TEXTS])
    assert "of the tokens are unknown to" in caplog.text


def test_equal_views_are_refused_unless_asked_for(model, tmp_path, make):
    folder = tmp_path / "still"
    shutil.copytree(model, folder)
    settings = json.loads((folder / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(settings | none))
    c = make(encoder=str(folder), snapshots=0)
    with pytest.raises(HncseError, match="dropout=0"):
        train(c, TEXTS)
    assert not (tmp_path / "runs").exists()
    assert train(dataclasses.replace(c, dropout=0, name="asked"), TEXTS).history[-1]["positive_similarity"] == 1
    assert train(dataclasses.replace(c, dropout=0.1, name="given"), TEXTS).history[-1]["positive_similarity"] < 1


def test_a_precision_that_would_not_run_is_refused(make, tmp_path):
    with pytest.raises(HncseError, match="CPU"):
        train(make(precision="fp16"), TEXTS)
    assert not (tmp_path / "runs").exists()
    result = train(make(precision="bf16", snapshots=0), TEXTS).result
    assert (result["precision"], result["precision_why"]) == ("bf16", "asked for")


def test_auto_takes_bf16_where_a_trial_is_quicker_and_says_so(make, monkeypatch):
    corpus, keys = corpora.from_sentences(TEXTS), {}
    for quicker in (1.6, 1.0):
        monkeypatch.setattr(precision, "native", lambda: True)
        monkeypatch.setattr(precision, "_measured", lambda *_, value=quicker: value)
        monkeypatch.setattr(precision, "processor", lambda name=f"a CPU of {quicker}": name)
        c = make(precision="auto", name=f"auto-{quicker}", snapshots=0)
        run = train(c, TEXTS)
        assert run.result["precision"] == ("bf16" if quicker > 1.1 else "fp32")
        assert f"{quicker:.2f} times" in run.result["precision_why"]
        keys[run.result["precision"]] = run.config["key"]
        monkeypatch.setattr(precision, "_measured", lambda *_: pytest.fail("tried again"))  # it was written down
        assert training.facts(c, corpus, training.load_encoder(c))["precision"]["used"] == run.result["precision"]
    assert keys["bf16"] != keys["fp32"]
    c = make(precision="fp32", snapshots=0, limit=None)  # recorded runs are float32, and say auto
    assert training.facts(c, corpus, training.load_encoder(c))["key"] == keys["fp32"]


def test_rows_of_the_corpus_alone_train_to_what_the_whole_table_does(make, monkeypatch):
    texts = [text.replace("river", "cat") for text in TEXTS]  # one word less than the vocabulary
    weights = []
    for rows in (True, False):
        monkeypatch.setattr(blocks.TableRows, "pays", lambda *_, value=rows, **__: value)
        run = train(make(name=f"rows-{rows}", clip=0.01), texts)
        weights.append(load_file(run.encoder_path / "model.safetensors"))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=1e-6, rtol=1e-5)
    table = weights[0]["embeddings.word_embeddings.weight"]
    before = load_file(Path(make().encoder) / "model.safetensors")["embeddings.word_embeddings.weight"]
    river = tiny.tokenizer().convert_tokens_to_ids("river")
    assert torch.equal(table[river], before[river]) and not torch.equal(table, before)


def test_rows_of_the_corpus_alone_resume_to_the_same_bytes(make, monkeypatch):
    monkeypatch.setattr(blocks.TableRows, "pays", lambda *_, **__: True)
    settings = {"loss": "simcse", "eval_every": 2}
    whole = train(make(name="whole-rows", **settings), TEXTS)
    run = cut(monkeypatch, 5, make(name="cut-rows", **settings))
    assert not run.finished
    assert everything(train(make(name="cut-rows", **settings), TEXTS)) == everything(whole)


def test_a_small_table_and_one_that_is_needed_whole_are_trained_as_they_are():
    table = torch.nn.Embedding(100, 8)
    assert blocks.TableRows.pays(table, 50, least=800)
    assert not blocks.TableRows.pays(table, 51, least=800) and not blocks.TableRows.pays(table, 50)
    table.weight.requires_grad_(False)
    assert not blocks.TableRows.pays(table, 50, least=800)


def test_a_trial_leaves_encoder_and_random_states_as_they_were():
    encoder = tiny.encoder().train()
    state = torch.get_rng_state()
    assert precision._measured(encoder, training=True) > 0
    assert encoder.training and all(p.grad is None for p in encoder.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_onednn_can_be_kept_from_bf16(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags : fpu avx512_bf16 amx_tile")
    monkeypatch.setattr(Path, "is_file", lambda *_: True)
    for isa, there in (("AVX512_CORE", False), ("avx512_core_amx", True), ("ALL", True)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
        assert precision.native() is there
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags : fpu avx512f")
    assert not precision.native()


# --- owners -------------------------------------------------------------------------------------------------------

COMMAND = [
    "--encoder", "tiny", "--corpus", "corpus.txt", "--batch-size", "16", "--name", "one", "--output", "runs",
    "--log-every", "1", "--eval-every", "6", "--selection", "last", "--snapshots", "3", "--epochs", "3", "--no-head",
    "--loss", "simcse",
]  # fmt: skip


def hncse_train(folder: Path, number: int) -> None:
    """What a process of its own does; looking at the probe takes it a while, in which it can be ended."""
    os.chdir(folder)
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{name}-{number}", os.O_WRONLY | os.O_CREAT), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    processes.shrink()
    measure.evaluate = lambda *_, **__: time.sleep(0.5) or {"spearman": 0.0}
    sys.exit(cli.main(["train", *COMMAND]))


class Started:
    """Such a process, its output in files."""

    def __init__(self, folder: Path, number: int):
        self.folder, self.number = folder, number
        self.process = processes.context().Process(target=hncse_train, args=(folder, number), daemon=True)
        self.process.start()

    def said(self, name: str = "err") -> str:
        path = self.folder / f"{name}-{self.number}"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def until(self, words: str) -> None:
        while words not in self.said():
            assert self.process.is_alive(), f"it ended without {words!r}: {self.said()}"
            time.sleep(0.005)

    def end(self, *signals: signal.Signals) -> int | None:
        for number in signals:
            os.kill(self.process.pid, number)
        self.process.join()
        return self.process.exitcode


def test_ctrl_c_kill_and_two_at_once_leave_one_whole_run(model, tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    shutil.copytree(model, tmp_path / "tiny")
    first = Started(tmp_path, 1)
    first.until("step 7 ")
    assert first.end(signal.SIGINT) == 130 and not first.said("out") and "Traceback" not in first.said()
    assert "same command resumes" in first.said().splitlines()[-1]
    run = runs.Run(tmp_path / "runs" / "one")
    with run.lock():
        pair = [Started(tmp_path, 2), Started(tmp_path, 3)]
        for waiting in pair:
            waiting.until("waiting for process")
    while (owner := re.match(r"process (\d+) ", run.owner())) is None or run.history[-1]["step"] < 13:
        time.sleep(0.005)
    pair.sort(key=lambda started: started.process.pid != int(owner[1]))
    killed, other = pair
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert other.end() == 0 and other.said("out") == "runs/one\n"
    assert [line["step"] for line in run.history if "loss" in line] == list(range(1, 19))
    assert [line["step"] for line in run.history if "probe" in line] == [0, 6, 12, 18]
    assert [line["step"] for line in run.history] == sorted(line["step"] for line in run.history)
    assert sorted(path.name for path in run.path.iterdir()) == [
        ".lock", "config.json", "encoder", "history.jsonl", "result.json", "snapshots",
    ]  # fmt: skip


def test_who_waited_opens_the_finished_run(again, monkeypatch):
    whole, c = again
    before = everything(whole)
    result = (whole.path / "result.json").read_bytes()
    (whole.path / "result.json").unlink()
    real = runs.Run.lock

    @contextlib.contextmanager
    def lock(self: runs.Run, wait: bool | float = True) -> Iterator[None]:
        with real(self, wait):
            (self.path / "result.json").write_bytes(result)  # by whoever had the lock until now
            yield

    monkeypatch.setattr(runs.Run, "lock", lock)
    monkeypatch.setattr(trainer, "_train", lambda *_: pytest.fail("trained again"))
    assert train(c, TEXTS).finished and everything(whole) == before


# --- the command line -------------------------------------------------------------------------------------------


def test_command_line_trains(model, tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS[:32]), encoding="utf-8")
    arguments = ["--encoder", str(model), "--corpus", str(corpus), "--batch-size", "16",
                 "--name", "cli", "--output", str(tmp_path / "runs"), "--loss", "hnm-no-replacement",
                 "--loss-options", "k=4", "s=5", "--no-head", "--snapshots", "0", "--limit", "None"]  # fmt: skip
    assert training.main(arguments) == 0
    run = runs.Run(capsys.readouterr().out.strip())
    assert run.config["parameters"]["loss_options"] == {"k": 4, "s": 5}
    assert run.config["parameters"]["head"] is False and run.config["parameters"]["limit"] is None
    assert runs.main([str(run.path)]) == 0


def test_command_line_errors_are_one_line(capsys):
    assert training.main(["--loss", "simsce"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: unknown loss preset 'simsce'. Did you mean 'simcse'?") and err.count("\n") == 1
    assert training.main(["--batch-size", "many"]) == 2
    assert "batch_size is 'many'" in capsys.readouterr().err


# --- run folders ------------------------------------------------------------------------------------------------


def test_a_cut_history_line_is_left_out(tmp_path):
    run = runs.Run(tmp_path)
    run.log({"step": 1, "loss": 2.0})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.history == [{"step": 1, "loss": 2.0}]


def test_writing_fails_whole(tmp_path, monkeypatch):
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


def test_one_process_owns_a_run_and_a_killed_one_no_more(tmp_path, capsys):
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


def test_finding_runs(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "none"))
    with pytest.raises(HncseError, match="no runs yet"):
        runs.find("latest")
    for name in ("first", "second"):
        made = runs.Run(tmp_path / "runs" / name)
        made.path.mkdir(parents=True)
        made.write("config", {"parameters": {}})
    monkeypatch.setenv("HNCSE_RUNS", str(tmp_path / "runs"))
    for name, text in {"empty": "", "cut": '{"parameters": ', "list": "[]"}.items():
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "config.json").write_text(text)
        with pytest.raises(HncseError, match=f"{name}.*damaged"):
            runs.find(name)
    (tmp_path / "runs" / "foreign").mkdir()
    (tmp_path / "runs" / "foreign" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(HncseError, match="unknown run"):
        runs.find("x" * 300)
    assert len(runs.list_runs()) == len(runs.list_runs()) == 2
    assert all(caplog.text.count(f"{name}/config.json") == 1 for name in ("empty", "cut", "list"))
    assert runs.main([]) == 0
    assert runs.find("second").name == "second"
    assert {run.name for run in runs.list_runs()} == {"first", "second"}
    with pytest.raises(HncseError, match="Did you mean 'first'"):
        runs.find("frist")
    with pytest.raises(HncseError, match=r"has no sts.json"):
        runs.find("first").read("sts")
    (tmp_path / "runs" / "first" / "sts.json").write_text(json.dumps({"a": 1})[:-2])
    with pytest.raises(HncseError, match="damaged"):
        runs.find("first").read("sts")
