"""The STS score: equal to plain loops, every sentence encoded once, and no number where none is defined."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hncse.data import senteval
from hncse.data.senteval import StsSubset
from hncse.errors import HncseError
from hncse.evaluation import sts
from hncse.runs import Run
from tests import tiny
from tests.data import benchmark
from tests.oracles import sts_oracle


class Fake:
    """An encoder whose vectors depend on nothing but the sentence; it writes down what it was given."""

    pooling = "cls"

    def __init__(self, change=lambda z: z):
        self.change = change
        self.given: list[list[str]] = []

    def one(self, sentence: str) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(sentence.encode())).normal(size=6).astype(np.float32)

    def encode(self, sentences, batch_size=None):
        self.given.append(list(sentences))
        self.batch_size = batch_size
        return self.change(np.stack([self.one(sentence) for sentence in sentences]))


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small benchmark's senteval/downstream."""
    benchmark.shrink(monkeypatch)
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")  # what is scored here is made up
    return benchmark.write(tmp_path, seed=1)


def close(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return set(a) == set(b) and all(close(a[key], b[key]) for key in a)
    return a == pytest.approx(b, abs=1e-9)


def test_equals_the_plain_loops(base):
    for split in ("test", "dev", "train"):
        full = sts.evaluate_full(Fake(), split=split, bootstrap=0)
        assert list(full["tasks"]) == [task for task in senteval.STS_TASKS if split in senteval.splits(task)]
        for task, entry in full["tasks"].items():
            assert entry.pop("interval") is None
            assert close(entry, sts_oracle.score(Fake().one, base, task, split))
            assert (
                sts.evaluate(Fake(), [task, task], split) == sts.evaluate(Fake(), task, split) == {task: entry["all"]}
            )
    entry = sts.evaluate_full(Fake(), ["STS14"], bootstrap=0)["tasks"]["STS14"]
    assert len({round(entry[name], 3) for name in ("all", "mean", "wmean")}) == 3


def test_the_average_is_of_seven_scores_rounded_first(base, monkeypatch):
    scores = sts.evaluate(Fake())
    assert list(scores) == [*senteval.STS_TASKS, "avg"]
    assert scores["avg"] == pytest.approx(np.mean([float(f"{scores[task]:.2f}") for task in senteval.STS_TASKS]))
    assert "avg" not in sts.evaluate(Fake(), list(senteval.STS_TASKS[:6]))
    assert sts.evaluate_full(Fake(), ["STSB"], bootstrap=0)["avg"] is None
    given = iter([70.006, *[70.004] * 6])
    monkeypatch.setattr(sts, "_spearman", lambda *_: next(given))
    assert sts.evaluate(Fake())["avg"] == pytest.approx(70 + 0.01 / 7)


def test_every_distinct_sentence_of_all_tasks_is_encoded_once(base):
    encoder = Fake()
    full = sts.evaluate_full(encoder, bootstrap=0, batch_size=17)
    pairs = [p for task in senteval.STS_TASKS for rows in sts_oracle.read(base, task).values() for p in rows]
    wanted = {sentence for first, second, _ in pairs for sentence in (first, second)}
    assert len(encoder.given) == 1 and sorted(encoder.given[0]) == sorted(wanted)
    assert full["sentences"] == len(wanted) and encoder.batch_size == 17
    sts.evaluate(encoder, ["STSB"], split="dev")
    assert len(encoder.given[1]) <= 2 * benchmark.size("STSB", "dev") and encoder.batch_size is None


def test_neither_scale_nor_the_kind_of_array_matters(base):
    plain = sts.evaluate(Fake(), ["STSB"])
    assert close(sts.evaluate(Fake(lambda z: z * 1e-20), ["STSB"]), plain)
    assert close(sts.evaluate(Fake(lambda z: z * (1 + np.arange(len(z))[:, None])), ["STSB"]), plain)
    half = sts.evaluate(Fake(lambda z: torch.tensor(z, requires_grad=True).bfloat16()), ["STSB"])
    assert half["STSB"] == pytest.approx(plain["STSB"], abs=3)


def test_a_sentence_equals_itself_exactly_and_a_zero_embedding_is_like_nothing():
    z = np.random.default_rng(0).normal(size=(6, 33)).astype(np.float32)
    z[1] = 0
    pairs = StsSubset("x", ["a", "b", "c"], ["a", "c", "b"], np.zeros(3))
    cosines = sts._cosines(pairs, np.concatenate([z[:3], z[[0, 2, 1]]]))
    assert cosines.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: np.where(np.arange(len(z))[:, None] == 3, np.nan, z), "1 of .* embeddings hold NaN or infinity"),
        (lambda z: z[:-1], r"gave an array of shape \(\d+, 6\) for \d+ sentences"),
        (lambda z: z.astype(int), "embeddings must be floating-point numbers"),
        (lambda z: np.ones_like(z) + np.float32(2e-7) * z, "nothing can be told apart|no correlation is defined"),
        (lambda z: (1 + np.arange(len(z))[:, None]) * (1 + np.float32(2e-7) * z), "no correlation is defined"),
        (lambda z: np.abs(z[:, :1]), "every pair has cosine 1.0+, so no correlation is defined"),
    ],
)
def test_embeddings_that_cannot_be_scored(change, says, base):
    with pytest.raises(HncseError, match=says):
        sts.evaluate(Fake(change), ["STSB"])


def test_embeddings_are_kept_by_content(base, monkeypatch):
    encoder = tiny.encoder("mean")
    calls: list[int] = []
    plain = type(encoder).encode
    monkeypatch.setattr(type(encoder), "encode", lambda self, s, **k: (calls.append(len(s)), plain(self, s, **k))[1])
    first = sts.evaluate(encoder, ["STSB"])
    assert sts.evaluate(encoder, ["STSB"]) == first and len(calls) == 1
    assert sts.evaluate(encoder, ["STSB"], cache=False) == first and len(calls) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bootstrap": -1}, "bootstrap is -1"),
        ({"bootstrap": 1_000_000_000}, "bootstrap is 1000000000; it must be at most"),
        ({"bootstrap": 10.5}, "bootstrap is 10.5"),
        ({"seed": -1}, "seed is -1"),
        ({"tasks": ["STS17"]}, "unknown STS task 'STS17'. Did you mean"),
        ({"tasks": ["STSB", "STS12"], "split": "dev"}, "STS12 has no split 'dev'"),
        ({"split": "validation"}, "no STS task has a split 'validation'; it must be test, dev or train"),
        ({"tasks": []}, "tasks is empty"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_encoded(arguments, says, base):
    encoder = Fake()
    with pytest.raises(HncseError, match=says):
        sts.evaluate_full(encoder, **arguments)
    assert encoder.given == []


def test_cut_and_missing_files_are_errors_before_anything_is_encoded(base, tmp_path, monkeypatch):
    path = base / "STS/STS16-en-test/STS.gs.headlines.txt"
    path.write_text("\n".join(path.read_text().split("\n")[:-3]))
    encoder = Fake()
    with pytest.raises(HncseError, match="headlines.txt"):
        sts.evaluate(encoder)
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path / "empty"))
    with pytest.raises(HncseError, match="Two ways to get it"):
        sts.evaluate(encoder)
    assert encoder.given == []


def test_an_interval_is_that_of_copied_rows(base):
    full = sts.evaluate_full(Fake(), ["STSB"], bootstrap=200, seed=3)
    subset = senteval.load_sts("STSB")[0]
    vector = Fake().one
    pairs = zip(subset.first, subset.second, strict=True)
    cosine = [1.0 if a == b else sts_oracle.cosine(vector(a), vector(b)) for a, b in pairs]
    n = len(cosine)
    scores = []
    for row in np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), 200):
        rows = np.repeat(np.arange(n), row)
        scores.append(100 * sts_oracle.spearman(np.array(cosine)[rows].tolist(), subset.gold[rows].tolist()))
    assert full["tasks"]["STSB"]["interval"] == pytest.approx(np.percentile(scores, (2.5, 97.5)).tolist(), abs=1e-6)


def test_full_result_has_intervals_and_goes_through_json(base):
    full = sts.evaluate_full(Fake(), bootstrap=50, seed=4)
    assert json.loads(json.dumps(full)) == full == sts.evaluate_full(Fake(), bootstrap=50, seed=4)
    assert full["split"] == "test" and full["pooling"] == "cls" and full["bootstrap"]["resamples"] == 50
    widths = [np.ptp(entry["interval"]) for entry in full["tasks"].values()]
    assert min(widths) > 0 and np.ptp(full["avg_interval"]) < np.mean(widths)


# --- command line


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, base: Path, tmp_path: Path) -> Run:
    """A run whose encoder is the fake one."""
    run = Run(tmp_path / "runs" / "mine")
    (run.path / "encoder").mkdir(parents=True)
    monkeypatch.setattr(Run, "load_encoder", lambda self: Fake())
    return run


def test_command_line_writes_the_runs_table_but_no_partial_one(opened, capsys, tmp_path):
    report = tmp_path / "out" / "dev.json"
    arguments = [str(opened.path), "--split", "dev", "--tasks", "STSB", "--bootstrap", "0", "--json", str(report)]
    assert sts.main(arguments) == 0
    out = capsys.readouterr().out
    assert "split dev" in out and "avg" not in out and not opened.has("sts")
    assert list(json.loads(report.read_text())["tasks"]) == ["STSB"]
    assert sts.main([str(opened.path), "--bootstrap", "20"]) == 0
    out = capsys.readouterr().out
    assert "STS: mine, split test, pooling cls" in out and f"{opened.read('sts')['avg']:.2f}" in out
    assert opened.read("sts") == sts.evaluate_full(Fake(), bootstrap=20)


def test_files_of_another_origin_are_scored_only_when_asked_for_and_the_result_says_so(opened, capsys, monkeypatch):
    monkeypatch.delenv("HNCSE_OTHER_BENCHMARKS")
    with pytest.raises(HncseError, match="known release"):
        sts.evaluate(Fake(), ["STSB"])
    assert sts.evaluate(Fake(), ["STSB"], allow_other_files=True)
    assert sts.evaluate_full(Fake(), ["STSB"], bootstrap=0, allow_other_files=True)["files"] == "other"
    assert sts.main([str(opened.path), "--tasks", "STSB", "--bootstrap", "0"]) == 2
    assert "known release" in capsys.readouterr().err
    assert sts.main([str(opened.path), "--tasks", "STSB", "--bootstrap", "0", "--allow-other-files"]) == 0
    assert "not the known release's" in capsys.readouterr().out


def test_command_line_errors_are_one_line_before_an_encoder_is_loaded(opened, capsys, monkeypatch):
    monkeypatch.setattr(sts, "open_encoder", lambda *_: pytest.fail("loaded an encoder"))
    for option, says in (
        (["--tasks", "STSBB"], "error: unknown STS task 'STSBB'. Did you mean 'STSB'?"),
        (["--bootstrap=-1"], "error: bootstrap is -1"),
    ):
        assert sts.main([str(opened.path), *option]) == 2
        error = capsys.readouterr().err
        assert error.startswith(says) and "Traceback" not in error
