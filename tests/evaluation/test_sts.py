"""The STS score: equal to plain loops, every sentence encoded once, and no number where none is defined."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from hncse import evaluation
from hncse.data import senteval
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


CASES = [(task, split) for task in senteval.STS_TASKS for split in senteval.splits(task)]


@pytest.mark.parametrize(("task", "split"), CASES)
def test_equals_the_plain_loops(task, split, base):
    expected = sts_oracle.score(Fake().one, base, task, split)
    found = sts.evaluate_full(Fake(), [task], split, bootstrap=0)["tasks"][task]
    assert found.pop("interval") is None
    assert close(found, expected)
    assert sts.evaluate(Fake(), [task], split) == {task: found["all"]}


def test_all_mean_and_wmean_are_three_numbers(base):
    found = sts.evaluate_full(Fake(), ["STS14"], bootstrap=0)["tasks"]["STS14"]
    assert len({round(found[name], 3) for name in ("all", "mean", "wmean")}) == 3


def test_the_average_is_of_seven_scores_rounded_first(base):
    scores = sts.evaluate(Fake())
    assert list(scores) == [*senteval.STS_TASKS, "avg"]
    assert scores["avg"] == pytest.approx(np.mean([float(f"{scores[task]:.2f}") for task in senteval.STS_TASKS]))
    assert scores["avg"] == sts.evaluate_full(Fake(), bootstrap=0)["avg"]
    rounded = dict.fromkeys(senteval.STS_TASKS, 70.004) | {"STS12": 70.006}
    assert sts._average(rounded)["avg"] == pytest.approx(70 + 0.01 / 7)


def test_fewer_tasks_have_no_average(base):
    assert "avg" not in sts.evaluate(Fake(), list(senteval.STS_TASKS[:6]))
    assert sts.evaluate_full(Fake(), ["STSB"], bootstrap=0)["avg"] is None


def test_every_distinct_sentence_of_all_tasks_is_encoded_once(base):
    encoder = Fake()
    full = sts.evaluate_full(encoder, bootstrap=0)
    pairs = [p for task in senteval.STS_TASKS for rows in sts_oracle.read(base, task).values() for p in rows]
    wanted = {sentence for first, second, _ in pairs for sentence in (first, second)}
    assert len(encoder.given) == 1
    assert sorted(encoder.given[0]) == sorted(wanted)
    assert full["sentences"] == len(wanted)


def test_batch_size_is_passed_on_only_when_given(base):
    encoder = Fake()
    sts.evaluate(encoder, ["STSB"])
    assert encoder.batch_size is None
    sts.evaluate(encoder, ["STSB"], batch_size=17)
    assert encoder.batch_size == 17


def test_dev_alone(base):
    encoder = Fake()
    assert list(sts.evaluate(encoder, ["STSB"], split="dev")) == ["STSB"]
    assert len(encoder.given[0]) <= 2 * benchmark.size("STSB", "dev")
    assert list(sts.evaluate(Fake(), split="dev")) == ["STSB", "SICKR"]
    assert sts.evaluate(Fake(), "STSB", split="dev") == sts.evaluate(Fake(), ["STSB", "STSB"], split="dev")


def test_scale_of_embeddings_does_not_matter(base):
    assert close(sts.evaluate(Fake(lambda z: z * 1e-20)), sts.evaluate(Fake()))
    stretched = sts.evaluate(Fake(lambda z: z * (1 + np.arange(len(z))[:, None])))
    assert close(stretched, sts.evaluate(Fake()))


def test_a_sentence_equals_itself_exactly_and_a_zero_embedding_is_like_nothing():
    z = np.random.default_rng(0).normal(size=(50, 33)).astype(np.float32)
    z[7] = 0
    cosines = sts._cosines(z, list(range(50)), list(range(50)))
    assert (cosines == 1).all()
    assert sts._cosines(z, [7, 7, 3], [3, 8, 7]).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z: np.where(np.arange(len(z))[:, None] == 3, np.nan, z), "1 of .* embeddings hold NaN or infinity"),
        (lambda z: z + np.inf, "embeddings hold NaN or infinity"),
        (lambda z: z[:-1], r"gave an array of shape \(\d+, 6\) for \d+ sentences"),
        (lambda z: z[:, 0], r"must be \(n, d\)"),
        (lambda z: z[:, :0], r"must be \(n, d\)"),
        (lambda z: z[:, :, None], r"must be \(n, d\)"),
        (lambda z: np.ones_like(z), "embeddings are equal, so nothing can be told apart"),
        (lambda z: z.astype(int), "embeddings must be floating-point numbers"),
        (lambda z: np.abs(z[:, :1]), "every pair has cosine 1.0+, so no correlation is defined"),
    ],
)
def test_embeddings_that_cannot_be_scored(change, says, base):
    with pytest.raises(HncseError, match=says):
        sts.evaluate(Fake(change))


def test_a_collapsed_encoder_is_refused_whatever_its_rounding(base):
    for noise in (0, 1e-8, 2e-7):
        with pytest.raises(HncseError, match="nothing can be told apart|no correlation is defined"):
            sts.evaluate(Fake(lambda z, noise=noise: np.ones_like(z) + np.float32(noise) * z))
        scales = lambda z, noise=noise: (1 + np.arange(len(z))[:, None]) * (1 + np.float32(noise) * z)  # noqa: E731
        with pytest.raises(HncseError, match="no correlation is defined"):
            sts.evaluate(Fake(scales))
    assert np.isfinite(sts.evaluate(Fake(lambda z: np.ones_like(z) + np.float32(0.05) * z))["avg"])


def test_embeddings_are_kept_by_content_and_tensors_are_taken(base, monkeypatch):
    encoder = tiny.encoder("mean")
    calls: list[int] = []
    plain = type(encoder).encode
    monkeypatch.setattr(type(encoder), "encode", lambda self, s, **k: (calls.append(len(s)), plain(self, s, **k))[1])
    first = sts.evaluate(encoder, ["STSB"])
    assert sts.evaluate(encoder, ["STSB"]) == first and len(calls) == 1
    assert sts.evaluate(encoder, ["STSB"], cache=False) == first and len(calls) == 2
    half = sts.evaluate(Fake(lambda z: torch.tensor(z, requires_grad=True).bfloat16()), ["STSB"])
    assert half["STSB"] == pytest.approx(sts.evaluate(Fake(), ["STSB"])["STSB"], abs=3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bootstrap": -1}, "bootstrap is -1"),
        ({"bootstrap": 1_000_000_000}, "bootstrap is 1000000000; it must be at most"),
        ({"bootstrap": 10.5}, "bootstrap is 10.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_bootstrap_that_cannot_be_is_refused_before_anything_is_encoded(options, says, base, capsys):
    encoder = Fake()
    with pytest.raises(HncseError, match=says):
        sts.evaluate_full(encoder, **options)
    assert encoder.given == []
    if not isinstance(options.get("bootstrap"), float):
        assert sts.main(["kit", *(f"--{name}={value}" for name, value in options.items())]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tasks", "split", "says"),
    [
        (["STS17"], "test", "unknown STS task 'STS17'. Did you mean"),
        (["STSB", "STS12"], "dev", "STS12 has no split 'dev'"),
        (None, "validation", "no STS task has a split 'validation'; it must be test, dev or train"),
        ([], "test", "tasks is empty"),
    ],
)
def test_tasks_and_splits_that_do_not_exist(tasks, split, says, base):
    encoder = Fake()
    with pytest.raises(HncseError, match=says):
        sts.evaluate(encoder, tasks, split)
    assert encoder.given == []


def test_a_cut_file_is_an_error_before_anything_is_encoded(base):
    path = base / "STS/STS16-en-test/STS.gs.headlines.txt"
    path.write_text("\n".join(path.read_text().split("\n")[:-3]))
    encoder = Fake()
    with pytest.raises(HncseError, match="headlines.txt"):
        sts.evaluate(encoder)
    assert encoder.given == []


def test_without_files_it_tries_to_fetch_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    with pytest.raises(HncseError, match="Two ways to get it"):
        sts.evaluate(Fake())


# --- intervals


def test_the_interval_is_that_of_copied_rows(base):
    subset = senteval.load_sts("STSB")[0]
    draw = np.random.default_rng(5)
    cosine = draw.normal(size=len(subset.gold)).round(1)  # ties too
    counts = np.random.default_rng(3).multinomial(len(cosine), np.full(len(cosine), 1 / len(cosine)), 200)
    scores = []
    for row in counts:
        rows = np.repeat(np.arange(len(cosine)), row)
        scores.append(100 * sts_oracle.spearman(cosine[rows].tolist(), subset.gold[rows].tolist()))
    expected = np.percentile(scores, (2.5, 97.5))
    assert sts.bootstrap_interval(cosine, subset.gold, 200, seed=3) == pytest.approx(expected.tolist(), abs=1e-9)


def test_an_interval_narrows_with_the_root_of_the_pairs_and_holds_the_score():
    draw = np.random.default_rng(0)
    widths = []
    for pairs in (200, 3200):
        gold = draw.uniform(0, 5, pairs)
        cosine = gold + draw.normal(size=pairs) * 2
        low, high = sts.bootstrap_interval(cosine, gold)
        assert low < sts._spearman(cosine, gold, "x") < high
        widths.append(high - low)
    assert 3 < widths[0] / widths[1] < 5.5  # 4 in expectation


def test_full_result_has_intervals_and_goes_through_json(base):
    full = sts.evaluate_full(Fake(), bootstrap=50, seed=4)
    assert json.loads(json.dumps(full)) == full
    assert full["split"] == "test" and full["pooling"] == "cls"
    assert full["bootstrap"]["resamples"] == 50
    for entry in full["tasks"].values():
        low, high = entry["interval"]
        assert low < high
    low, high = full["avg_interval"]
    assert high - low < np.mean([np.ptp(entry["interval"]) for entry in full["tasks"].values()])
    assert full == sts.evaluate_full(Fake(), bootstrap=50, seed=4)
    with pytest.raises(HncseError, match="bootstrap is -1"):
        sts.evaluate_full(Fake(), bootstrap=-1)


# --- command line


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, base: Path, tmp_path: Path) -> Run:
    """A run whose encoder is the fake one."""
    run = Run(tmp_path / "runs" / "mine")
    (run.path / "encoder").mkdir(parents=True)
    monkeypatch.setattr(Run, "load_encoder", lambda self: Fake())
    return run


def test_command_line_writes_the_runs_table(opened, capsys):
    assert sts.main([str(opened.path), "--bootstrap", "20"]) == 0
    out = capsys.readouterr().out
    assert "STS: mine, split test, pooling cls" in out
    assert opened.read("sts") == sts.evaluate_full(Fake(), bootstrap=20)
    assert f"{opened.read('sts')['avg']:.2f}" in out


def test_command_line_writes_no_partial_table_into_the_run(opened, capsys, tmp_path):
    report = tmp_path / "out" / "dev.json"
    arguments = [str(opened.path), "--split", "dev", "--tasks", "STSB", "--bootstrap", "0", "--json", str(report)]
    assert sts.main(arguments) == 0
    out = capsys.readouterr().out
    assert "split dev" in out and "avg" not in out
    assert not opened.has("sts")
    assert list(json.loads(report.read_text())["tasks"]) == ["STSB"]


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


def test_command_line_errors_are_one_line(opened, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "open_encoder", lambda *_: pytest.fail("loaded an encoder"))
    assert sts.main([str(opened.path), "--tasks", "STSBB"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown STS task 'STSBB'. Did you mean 'STSB'?")
    assert "Traceback" not in error
