"""Rows of anchor, positive and hard negatives: read from anywhere, trained on, resumed, shared among processes."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from hncse import losses, runs
from hncse.data import corpora, readers
from hncse.errors import HncseError
from hncse.training import TrainingConfig, load_corpus, main, train, trainer
from tests import processes, tiny

TEXTS = tiny.sentences(96)
ROWS = [(TEXTS[i], TEXTS[24 + i], TEXTS[48 + i], TEXTS[72 + i]) for i in range(24)]
NAMES = ("anchor", "positive", "negative_1", "negative_2")


def write(path: Path, rows: list[tuple], names: tuple[str, ...] = NAMES, **more: list) -> Path:
    frame = pd.DataFrame(rows, columns=list(names)).assign(**more)
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def read(corpus: corpora.Corpus) -> list[tuple]:
    positives = corpus.positives or [None] * len(corpus)
    return [
        (a, p, *n) for a, p, n in zip(corpus.sentences, positives, corpus.negatives or [()] * len(corpus), strict=True)
    ]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_by_name_or_in_their_order(ending, tmp_path):
    path = write(tmp_path / f"rows{ending}", ROWS, label=[1.0] * 24, negative_1_similarity=[0.5] * 24)
    named = corpora.load(path, column="anchor", positives="positive", negatives=NAMES[2:])
    ordered = corpora.load(path, pairs=True)
    assert read(named) == read(ordered) == ROWS and named.fingerprint == ordered.fingerprint
    assert named.notes == [] and "anchor 'anchor', positive 'positive', negative 'negative_1'" in ordered.notes[0]
    assert "column 'label' is not used: it holds no text" in ordered.notes
    swapped = corpora.load(path, column="positive", positives="anchor")
    assert read(swapped) == [(row[1], row[0]) for row in ROWS]
    assert swapped.notes == [f"column {name!r} is not used" for name in NAMES[2:]] or ending != ".csv"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_numbers_are_no_anchors_whatever_the_file(ending, tmp_path):
    rows = [(i, *row[:3], i / 3, None) for i, row in enumerate([("1984", "A year.", "no year"), *ROWS])]
    path = write(tmp_path / f"rows{ending}", rows, ("", *NAMES[:3], "rank", "nothing"))
    corpus = corpora.load(path, pairs=True)
    assert read(corpus)[:2] == [("1984", "A year.", "no year"), ROWS[0][:3]]
    assert "column '' is not used: it holds no text" in corpus.notes


def test_rows_are_left_out_whole_counted_and_said(tmp_path, caplog):
    bad = [
        ("A cat.", " a  CAT.", "A dog."), ("A tree.", "Wood.", "WOOD."), ("Caf\u00e9", "x", "Cafe\u0301"),
        ("a", "", "b"), ("a", None, "b"), ("", "", ""), ("the dog", "a dog", "the  Dog"),
    ]  # fmt: skip
    corpus = corpora.load(write(tmp_path / "r.jsonl", [row[:3] for row in ROWS] + bad, NAMES[:3]), pairs=True)
    assert read(corpus) == [row[:3] for row in ROWS] + [("A cat.", "a CAT.", "A dog.")]
    assert corpus.skipped == {
        "with a hard negative that is the anchor or the positive": 3, "with a blank text in the row": 1,
        "no text in the record": 1, "blank": 1,
    }  # fmt: skip
    assert "left out 3 with a hard negative" in caplog.text and "blank text in the row (first at 28)" in caplog.text
    assert "25 pairs with 1 hard negative(s) each" in corpus.describe()


def test_rows_in_memory_are_the_rows_of_a_file(tmp_path):
    table = datasets.Dataset.from_dict(
        {name: list(column) for name, column in zip(NAMES, zip(*ROWS, strict=True), strict=True)}
    )
    given = [
        ROWS, [list(row) for row in ROWS], table, table.to_pandas(), table.to_list(),
        table.add_column("label", [0] * 24).add_column("negative_1_similarity", np.ones(24)),
    ]  # fmt: skip
    prints = {corpora.from_rows(rows).fingerprint for rows in given}
    assert prints == {corpora.load(write(tmp_path / "r.csv", ROWS), pairs=True).fingerprint}
    some = corpora.from_rows(table, column="negative_2", positives="anchor")
    assert read(some) == [(row[3], row[0]) for row in ROWS]
    table.save_to_disk(str(tmp_path / "folder"))
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train.parquet", ROWS)
    hub = f"hf:{tmp_path / 'data'}"
    assert read(corpora.load(hub, pairs=True)) == ROWS
    assert read(corpora.load(f"{hub}:anchor", positives="negative_1")) == [(row[0], row[2]) for row in ROWS]
    assert read(corpora.load(hub, column="positive", positives="anchor")) == [(row[1], row[0]) for row in ROWS]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([("a", "b"), ("a", "b", "c")], {}, "row 2 .* has 3 texts; every row must have 2"),
        ([("a",), ("b",)], {}, "two at least"), ([("a", "b"), "ab"], {}, "row 2 .* a str"),
        ([("a", 3), ("b", "c")], {}, "int"), (ROWS, {"positives": "positive"}, "tuples have none"),
        (datasets.DatasetDict(train=datasets.Dataset.from_dict({"a": ["b"]})), {}, "splits train"),
        (pd.DataFrame({"a": ["b", "c"], "label": [1, 2]}), {}, "1 column.s. of text .a, label."),
        (pd.DataFrame(ROWS, columns=list(NAMES)), {"positives": "positiv"}, "Did you mean 'positive'"),
        (pd.DataFrame(ROWS, columns=list(NAMES)), {"positives": "anchor"}, "named twice"),
    ],
)  # fmt: skip
def test_rows_that_are_none_are_refused(rows, options, said):
    with pytest.raises(HncseError, match=said):
        corpora.from_rows(rows, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pairs": True, "column": "anchor"}, "leave 'anchor' out"), ({}, "pairs=True"),
        ({"positives": "positve"}, "Did you mean 'positive'"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_told_are_refused(options, said, tmp_path):
    with pytest.raises(HncseError, match=said):
        corpora.load(write(tmp_path / "r.csv", ROWS), **options)
    for source, right in (("docstrings", "cad-nli"), (str(tmp_path / "x.txt"), "text file")):
        (tmp_path / "x.txt").write_text("a\nb\n")
        with pytest.raises(HncseError, match=right):
            corpora.load(source, pairs=True)


def test_triplets_of_inference_are_simcses():
    rows = [
        ("p", "e1", "entailment"), ("p", "n", "neutral"), ("q", "c", "contradiction"), ("p", "c1", "contradiction"),
        ("p", "e2", "entailment"), ("p", "c2", "contradiction"), ("p", "e3", "entailment"), ("r", "e", "entailment"),
    ]  # fmt: skip
    assert list(readers.nli_triplets(rows)) == [("p", "e1", "c1"), ("p", "e2", "c2"), ("p", "e3", "c1")]


@pytest.fixture(scope="module")
def base(quick):
    return quick | {"loss": "simcse", "batch_size": 8, "eval_every": 1}


def logged(run: runs.Run) -> list[float]:
    return [line["loss"] for line in run.history if "loss" in line]


@pytest.mark.parametrize("in_batch", [True, False])
def test_the_first_step_is_equation_5(in_batch, base, tmp_path):
    base = base | {"dropout": 0.0, "head": False, "temperature": 0.1, "limit": 8}
    options = {"loss_options": {"hard_negative_weight": 0.7}, "in_batch_negatives": in_batch}
    file = write(tmp_path / "r.jsonl", ROWS[:8])
    run = train(TrainingConfig(**base, **options, corpus=str(file), pairs=True))
    z = torch.from_numpy(tiny.SentenceEncoder.from_pretrained(base["encoder"]).encode(
        [text for row in ROWS[:8] for text in row], normalize=True, show_progress=False
    )).unflatten(0, (8, 4))  # fmt: skip
    expected = []
    for i in range(8):
        positives = [(z[i, 0] @ z[j, 1]) / 0.1 for j in range(8) if in_batch or i == j]
        hard = [(z[i, 0] @ z[j, m]) / 0.1 + 0.7 * (i == j) for j in range(8) for m in (2, 3) if in_batch or i == j]
        expected.append(torch.logsumexp(torch.stack([*positives, *hard]), 0) - (z[i, 0] @ z[i, 1]) / 0.1)
    assert logged(run)[0] == pytest.approx(float(torch.stack(expected).mean()), abs=1e-4)
    changed = {"hard_negative_weight": 0.7, "in_batch_negatives": in_batch}
    assert run.config["parameters"]["loss_options"] == changed  # tables name it as any other option
    assert run.loss_options.in_batch_negatives is in_batch
    if in_batch:
        assert logged(train(TrainingConfig(**base | {"name": "given"}, **options), ROWS[:8])) == logged(run)


def test_an_interrupted_run_on_triplets_ends_in_the_same_bytes(base, monkeypatch):
    settings = base | {"loss": "hnm-no-replacement", "loss_options": {"k": 3, "s": 3}, "epochs": 2}
    whole = train(TrainingConfig(**settings, name="whole"), ROWS)
    assert whole.result["steps"] == 6 and all("mined_similarity" in line for line in whole.history if "loss" in line)
    with tiny.power_cut(monkeypatch, 4):
        train(TrainingConfig(**settings, name="again"), ROWS)
    again = train(TrainingConfig(**settings, name="again"), ROWS)
    name = "encoder/model.safetensors"
    assert (again.path / name).read_bytes() == (whole.path / name).read_bytes() and again.history == whole.history


def test_two_processes_share_the_batch_of_triplets_that_one_has():
    encoder = tiny.encoder()
    columns = list(zip(*ROWS, strict=True))
    hard = [row[2:] for row in ROWS]
    data = trainer.Sentences(encoder, list(columns[0]), 16, hard, [columns[1][0], *columns[1][1:]])
    assert (len(data), data.mined, len(data.group)) == (24, 2, 96)
    model = trainer.Contrastive(encoder, losses.build("simcse"), 1)
    rows = [data[i] for i in range(8)]
    whole, parts = data.collate(encoder, rows), [data.collate(encoder, rows[i : i + 4]) for i in (0, 4)]
    assert whole["negative_input_ids"].shape[:2] == (8, 2) and whole["negative_groups"].shape == (8, 2)
    seen = []
    model.loss.register_forward_pre_hook(lambda _, args, named: seen.append((args, named)), with_kwargs=True)
    with torch.no_grad():
        for batch in (whole, *parts):
            model(**batch)
    for name in ("groups", "positive_groups", "negative_groups", "negatives"):
        joined = torch.cat([seen[1][1][name], seen[2][1][name]])
        torch.testing.assert_close(joined, seen[0][1][name], atol=1e-5, rtol=0)  # padding of either makes no difference
    for view in (0, 1):
        joined = torch.cat([seen[1][0][view], seen[2][0][view]])
        torch.testing.assert_close(joined, seen[0][0][view], atol=1e-5, rtol=0)


def half(settings: dict, rendezvous: str, rank: int) -> None:
    """One of two processes as torchrun starts them, which meet in a file."""
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    processes.shrink()
    train(TrainingConfig(**settings), ROWS)
    torch.distributed.destroy_process_group()


def test_two_processes_train_on_triplets_as_one_does(base, tmp_path):
    settings = base | {"loss": "hnm-no-replacement", "loss_options": {"k": 3}, "dropout": 0.0, "head": False}
    one = train(TrainingConfig(**settings, name="one"), ROWS)
    settings |= {"name": "two"}
    both = [processes.context().Process(target=half, args=(settings, str(tmp_path / "r"), rank)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    two = runs.Run(one.path.with_name("two"))
    assert [process.exitcode for process in both] == [0, 0] and two.result["processes"] == 2
    assert len(logged(two)) == 3 and logged(two) == pytest.approx(logged(one), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "rows", "said"),
    [
        ({"in_batch_negatives": False}, [row[:2] for row in ROWS], "no hard negatives"),
        ({"in_batch_negatives": False, "loss": "hnm-no-replacement"}, ROWS, "nothing to mix"),
        ({"loss": "three-view"}, ROWS, "three views"), ({"positives": "positive"}, ROWS, "as a list have none"),
        ({"pairs": True}, TEXTS, "row 1"), ({"negatives": 3}, ROWS, "list of names"),
        ({"pairs": 1}, ROWS, "True or False"), ({"batch_size": 25}, ROWS, "24 sentences"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_written(changes, rows, said, base, tmp_path):
    with pytest.raises(HncseError, match=said):
        train(TrainingConfig.from_dict(base | {"output": str(tmp_path / "runs")} | changes), rows)
    assert not (tmp_path / "runs").exists()


def test_the_supervised_recipe_goes_by_its_name(tmp_path, capsys):
    c = TrainingConfig.from_recipe("supervised", encoder="bert-base-uncased")
    assert (c.loss, c.corpus, c.pairs, c.limit, c.epochs) == ("simcse", "nli", True, None, 3.0)
    assert (c.batch_size, c.learning_rate, c.temperature, c.loss_options) == (512, 5e-5, 0.05, {})
    assert TrainingConfig.from_dict({"recipe": "supervised"}).learning_rate == 1e-3  # the kit encoder's own
    assert TrainingConfig.from_recipe("supervised", corpus="x.csv", negatives="hard", epochs=1).pairs is False
    with pytest.raises(HncseError, match="Did you mean 'supervised'"):
        TrainingConfig.from_recipe("supervized")
    file = write(tmp_path / "r.csv", ROWS)
    words = ["--recipe", "supervised", "--corpus", str(file), "--encoder", str(tiny.folder(tmp_path))]
    words += ["--output", str(tmp_path / "runs"), "--selection", "last", "--snapshots", "0", "--batch-size", "8"]
    assert main(words) == 0
    run = runs.Run(capsys.readouterr().out.strip())
    assert run.config["parameters"]["pairs"] is True and run.config["data"]["sentences"] == 24
    assert main([*words[:4], "--column", "anchor", "--negatives", "negative_1", "negative_2", *words[4:]]) == 0
    other = runs.Run(capsys.readouterr().out.strip())
    assert other.config["parameters"]["negatives"] == ["negative_1", "negative_2"]


def test_a_sample_has_a_seed_of_its_own():
    drawn = [load_corpus(TrainingConfig(limit=16, sample_seed=seed), TEXTS).sentences for seed in (None, 0, 5)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert "sample_seed" not in TrainingConfig().deciding() and TrainingConfig(sample_seed=5).deciding()["sample_seed"]
    assert TrainingConfig(negatives=["a"]).negatives == "a"
