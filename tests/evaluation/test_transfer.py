"""Transfer: SentEval's numbers fit by fit, the convex problem against scikit-learn, no number where none is defined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hncse import cli
from hncse.data.senteval import TRANSFER_TASKS, TransferTask
from hncse.errors import HncseError
from hncse.evaluation import report, results, solvers, tables, transfer
from hncse.evaluation.solvers import Fit
from hncse.runs import Run
from tests import random_state, tiny
from tests.data import benchmark
from tests.evaluation.test_tables import probe
from tests.oracles import transfer_oracle as oracle


def data(n: int, d: int = 6, classes: int = 2, seed: int = 0, noise: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Noisy Gaussian classes, not centred: (n, d) float32, (n,)."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = draw.normal(size=(classes, d))[y] + noise * draw.normal(size=(n, d)) + 0.5
    return x.astype(np.float32), y.astype(np.int64)


def task(y: np.ndarray, parts: str = "nested", name: str = "toy") -> TransferTask:
    n = len(y)
    test = None if parts == "nested" else slice(n - n // 4, n)
    dev = slice(n // 2, n - n // 4) if parts == "split" else None
    train = slice(0, (dev or test or slice(n, n)).start)
    return TransferTask(name, [f"s{i}" for i in range(n)], None, y, train, dev, test)


@pytest.fixture
def four_folds(monkeypatch):
    monkeypatch.setattr(solvers, "FOLDS", 4)
    monkeypatch.setattr(oracle, "FOLDS", 4)


# --- the senteval solver


@pytest.mark.parametrize(("classes", "held"), [(2, True), (3, False)])
def test_many_classifiers_in_step_equal_each_alone(classes, held):
    x, y = data(160, classes=classes)
    rows = np.random.default_rng(1).permutation(160)
    sizes = [90, 91, 90]  # different permutations, and a batch more or less
    fits = [Fit(np.sort(rows[:size]), rows[100:130] if held else None, rows[130:]) for size in sizes]
    strengths = np.array([[1e-5, 1e-2], [1e-3, 1e-1], [1e-4, 1.0]])
    seen = solvers.senteval_accuracies(x, y, classes, fits, strengths)
    for i, fit in enumerate(fits):
        for j, strength in enumerate(strengths[i]):
            dev = (x[fit.dev], y[fit.dev]) if held else None
            model, _ = oracle.fit(x[fit.train], y[fit.train], classes, strength, dev)
            assert seen[i, j] == oracle.score(model, x[fit.score], y[fit.score])


@pytest.mark.parametrize("parts", ["nested", "kfold", "split"])
def test_protocols_equal_senteval_written_plainly(parts, four_folds):
    x, y = data(96, classes=3 if parts == "kfold" else 2)
    result = transfer.classify(x, task(y, parts), "senteval")
    places = {"train": task(y, parts).train, "dev": task(y, parts).dev, "test": task(y, parts).test}
    part = {name: (x[place], y[place]) for name, place in places.items() if place}
    if parts == "nested":
        expected = oracle.nested(x, y)
    elif parts == "kfold":
        expected = oracle.kfold(part["train"], part["test"], 3)
    else:
        expected = oracle.split(part["train"], part["dev"], part["test"])
    assert (result["dev"], result["acc"]) == expected
    assert result["protocol"] == {"kfold": "folds"}.get(parts, parts)


def test_the_callers_randomness_and_threads_are_left_alone():
    x, y = data(60)
    threads = torch.get_num_threads()
    with random_state.unchanged():
        solvers.senteval_accuracies(x, y, 2, [Fit(np.arange(40), None, np.arange(40, 60))], np.array([[1e-3]]))
    assert threads == torch.get_num_threads()


# --- the fast solver


@pytest.mark.parametrize("classes", [2, 4])
def test_solutions_equal_scikit_learns(classes):
    from sklearn.linear_model import LogisticRegression

    x, y = data(200, d=10, classes=classes)
    ones = np.hstack([x, np.ones((200, 1), np.float32)])
    turned, spectrum = solvers._rotated(torch.from_numpy(ones))
    problems = [(rows, strength) for rows in (slice(0, 150), slice(0, 200, 3)) for strength in (1e-3, 1e-1, 1.0)]
    weight = torch.zeros(len(problems), 200)
    for row, (rows, _) in zip(weight, problems, strict=True):
        row[rows] = 1 / len(y[rows])
    strengths = torch.tensor([strength for _, strength in problems])
    found = solvers.solve(turned, torch.from_numpy(y), classes, weight, strengths, spectrum)
    for w, (rows, strength) in zip(found, problems, strict=True):
        # its two-class form has one logit w1 - w0, whose ridge is half of that of w1 and w0 together
        c = 1 / (len(y[rows]) * strength * (0.5 if classes == 2 else 1))
        peer = LogisticRegression(C=c, fit_intercept=False, tol=1e-8, max_iter=5000).fit(ones[rows], y[rows])
        z = turned @ w.mT
        ours = z.softmax(1) if classes > 2 else torch.hstack([1 - z.sigmoid(), z.sigmoid()])
        assert np.abs(ours.numpy() - peer.predict_proba(ones)).max() < 0.02
        best = objective(ones[rows], y[rows], strength, peer.coef_)
        assert objective(turned.numpy()[rows], y[rows], strength, w.numpy()) <= best + solvers.TOLERANCE + 1e-6


def objective(x, y, strength, w):
    """Mean cross-entropy plus λ/2 ‖W‖², in float64; two classes as w1 = -w0 = w/2."""
    w = np.vstack([-w / 2, w / 2]) if len(w) == 1 else w
    z = x.astype(np.float64) @ w.T
    z -= z.max(1, keepdims=True)
    entropy = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
    return entropy.mean() + strength / 2 * (w**2).sum()


@pytest.mark.parametrize(("scale", "parts"), [(1e-3, "nested"), (30.0, "folds"), (1e3, "split")])
def test_a_rescaled_encoder_scores_the_same(scale, parts):
    x, y = data(80, d=5, noise=1.0)
    toy = task(y, parts)
    assert transfer.classify(x, toy, "fast")["acc"] == transfer.classify(x * np.float32(scale), toy, "fast")["acc"]


def test_batches_of_problems_change_nothing(monkeypatch):
    x, y = data(60)
    whole = transfer.classify(x, task(y, "folds"), "fast")
    monkeypatch.setattr(solvers, "_CELLS", 13 * len(x))  # thirteen problems at a time
    parts = transfer.classify(x, task(y, "folds"), "fast")
    assert {k: v for k, v in whole.items() if k != "seconds"} == {k: v for k, v in parts.items() if k != "seconds"}


def test_separable_classes_and_flat_features_are_no_trouble():
    y = np.arange(80) % 2
    x = np.zeros((80, 4), np.float32)
    x[:, 0] = 10.0 * y  # all other features say nothing
    assert transfer.classify(x, task(y, "folds"), "fast")["acc"] == 100.0


# --- the protocol


def test_no_test_row_is_learned_from_or_chosen_by():
    _, y = data(120)
    for parts in ("nested", "folds", "split"):
        plan = solvers.choices(task(y, parts))
        scored = np.concatenate([choice.final.score for choice in plan])
        assert len(scored) == len(set(scored))
        assert len(scored) == (120 if parts == "nested" else 30)
        for choice in plan:
            held = set(choice.final.score)
            for fit in [*choice.search, choice.final]:
                assert not held & set(fit.train)
                assert fit.dev is None or not held & set(fit.dev)
            for fit in choice.search:
                assert not set(fit.train) & set(fit.score)


def test_pairs_become_difference_and_product():
    toy = TransferTask("pairs", ["a", "b"], ["c", "d"], np.array([0, 1]), slice(0, 2))
    z = np.array([[1, 2], [3, 4], [5, 1], [0, -1]], np.float32)
    assert transfer.features(toy, z).tolist() == [[4, 1, 5, 2], [3, 5, 0, -4]]
    with pytest.raises(HncseError, match="pairs: 3 embeddings for 4 sentences"):
        transfer.features(toy, z[:3])


def test_intervals_and_majority_by_hand():
    y = (np.arange(80) % 4 == 0).astype(np.int64)
    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    result = transfer.classify(x, task(y), "fast")
    assert result["majority"] == 75.0 and result["rows"] == 80
    low, high = result["interval"]
    p, n, z = result["acc"] / 100, 80, 1.959963984540054  # Wilson's formula
    centre, half = (p + z * z / (2 * n)), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert [low, high] == pytest.approx([100 * (centre + s * half) / (1 + z * z / n) for s in (-1, 1)], abs=0.006)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (np.where(np.arange(80)[:, None] == 3, np.nan, x), y), "toy: 1 of 80 rows hold NaN or infinity"),
        (lambda x, y: (x[:79], y), r"features of shape \(79, 6\) for 80 rows"),
        (lambda x, y: (x[:, 0], y), r"features of shape \(80,\) for 80 rows"),
        (lambda x, y: (x, np.ones_like(y)), "every training label is 1; a classifier needs two classes"),
        (lambda x, y: (x, y - 1), "a label is -1; classes are numbered from 0"),
        (lambda x, y: (x, (np.arange(80) < 5).astype(int)), "need two classes with 10 rows each; there are 75"),
    ],
)
def test_bad_input_is_named(change, says):
    x, y = change(*data(80))
    with pytest.raises(HncseError, match=says):
        transfer.classify(x, task(y))


# --- encoders and files


class Fake:
    """Vectors from a sentence's letters; remembers what it was asked for."""

    pooling = "letters"

    def __init__(self, change=lambda z: z) -> None:
        self.asked: list[str] = []
        self.change = change

    def encode(self, sentences: list[str]) -> np.ndarray:
        self.asked += sentences
        z = [[s.count(c) for c in "abcdefghilnorstuwy"] for s in sentences]
        return self.change(np.array(z, dtype=np.float32) / 4)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HNCSE_OTHER_BENCHMARKS", "1")  # what is scored here is made up
    benchmark.shrink(monkeypatch)
    benchmark.write(tmp_path / "data")
    return benchmark.write_transfer(tmp_path / "data")


def without_times(result: dict) -> dict:
    kept = {name: value for name, value in result.items() if name != "seconds"}
    return {name: without_times(value) if isinstance(value, dict) else value for name, value in kept.items()}


def test_every_distinct_sentence_is_encoded_once(base):
    encoder = Fake()
    result = transfer.evaluate_full(encoder, solver="fast")
    assert len(encoder.asked) == len(set(encoder.asked)) == result["sentences"]
    assert list(result["tasks"]) == list(TRANSFER_TASKS)
    scores = [entry["acc"] for entry in result["tasks"].values()]
    assert result["avg"] == pytest.approx(sum(scores) / 7, abs=0.006)
    assert result["tasks"]["CR"]["empty"] == 2
    assert without_times(transfer.evaluate_full(Fake(), solver="fast")) == without_times(result)
    json.dumps(result)


def test_embeddings_are_kept_by_content(monkeypatch):
    encoder = tiny.encoder("mean")
    mine = TransferTask("mine", tiny.sentences(60), None, np.arange(60) % 2, slice(0, 45), None, slice(45, 60))
    calls: list[int] = []
    plain = type(encoder).encode
    monkeypatch.setattr(type(encoder), "encode", lambda self, s, **k: (calls.append(len(s)), plain(self, s, **k))[1])
    first = transfer.evaluate(encoder, [mine], "fast")
    assert transfer.evaluate(encoder, [mine], "fast") == first and len(calls) == 1
    transfer.evaluate(tiny.encoder("cls"), [mine], "fast")  # another pooling, other embeddings
    assert len(calls) == 2
    transfer.evaluate_full(encoder, [mine], "fast", cache=False)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"change": lambda z: z * 0}, "embeddings are equal, so nothing can be told apart"),
        ({"change": lambda z: z[:-1]}, "shape"),
        ({"tasks": ["SST-2"]}, "Did you mean 'SST2'"),
        ({"solver": "adam"}, "unknown solver 'adam'"),
        ({"tasks": ["CR", "CR"]}, "task CR is named twice"),
        ({"tasks": []}, "tasks is empty"),
        (
            {"tasks": ["TREC"]},
            "TREC cannot be read: there is no .*TREC_10.label, and senteval.tar is not in .*Two ways",
        ),
    ],
)
def test_what_cannot_be_scored_is_said(arguments, says, base):
    (base / "TREC/TREC_10.label").unlink()
    with pytest.raises(HncseError, match=says):
        transfer.evaluate(Fake(arguments.pop("change", lambda z: z)), **{"tasks": ["CR"]} | arguments)


def test_files_of_another_origin_are_scored_only_when_asked_for_and_the_result_says_so(base, monkeypatch):
    monkeypatch.delenv("HNCSE_OTHER_BENCHMARKS")
    with pytest.raises(HncseError, match="known release"):
        transfer.evaluate(Fake(), ["MRPC"])
    result = transfer.evaluate_full(Fake(), ["MRPC"], "fast", allow_other_files=True)
    assert result["files"] == "other" and "not the known release's" in "\n".join(transfer.table(result))


def test_your_own_task_needs_no_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HNCSE_DATA", str(tmp_path))
    sentences = [f"{'bbb' if i % 2 else 'aaa'} {'c' * (i % 7)}" for i in range(60)]
    mine = TransferTask("mine", sentences, None, np.arange(60) % 2, slice(0, 60))
    assert transfer.evaluate(Fake(), [mine], "fast") == {"mine": 100.0}


# --- runs, tables, command line


def finished(path: Path) -> Run:
    run = Run(path)
    encoder = tiny.encoder("mean", seed=1)
    encoder.save(run.path / "encoder")
    before = tiny.folder(path.parent / "before", "mean")
    from hncse import SentenceEncoder

    fingerprint = SentenceEncoder.from_pretrained(str(before)).fingerprint()
    parameters = {"encoder": str(before), "loss": "simcse", "loss_options": {}}
    facts = {"data": {"source": "x", "sentences": 5, "fingerprint": "d"}, "selection": "last", "seed": 0}
    run.write("config", {"parameters": parameters, "pooling": "mean", "encoder_fingerprint": fingerprint} | facts)
    run.write("result", {"steps": 1, "kept_step": 1, "seconds": 1.0, "device": "cpu", "stsb_dev": None})
    return run


def test_a_run_is_scored_before_and_after_and_tables_and_summary_show_both(base, tmp_path, capsys, monkeypatch):
    run = finished(tmp_path / "runs" / "one")
    assert cli.main(["transfer", str(run.path), "--solver", "fast"]) == 0
    out = capsys.readouterr().out
    assert "Transfer: one, split test, pooling mean, solver fast" in out and "before training" in out
    assert "CR: 2 empty lines count as sentences" in out
    before, after = run.read("baseline")["poolings"]["mean"]["transfer"], run.read("transfer")
    assert after["avg"] is not None and before["tasks"] != after["tasks"]

    frame = results.from_runs([run])
    rows = tables.transfer_table(frame, False, solver="fast").set_index("kind")
    assert set(rows.index) == {"ours", "untrained"} and rows.loc["untrained", "avg"] == before["avg"]
    assert rows.loc["ours", "avg"] == after["avg"] and rows.loc["ours", "MRPC"] == after["tasks"]["MRPC"]["acc"]
    assert not tables.transfer_table(results.from_runs([]))["method"].str.contains("DEV").any()
    text = tables.transfer(frame, solver="fast").to_markdown()
    assert "accuracy × 100" in text and "one seed has no interval" in text and "| MRPC" in text.replace("  ", " ")

    run.write("probe", probe(40.0))
    baseline = run.read("baseline")
    baseline["poolings"]["mean"]["probe"] = probe(30.0)
    run.write("baseline", baseline)
    lines = [
        line for line in report.run_summary(run).split("Transfer, test rows")[1].splitlines() if "training" in line
    ]
    assert [line.split("|")[-2].strip() for line in lines] == [f"{scores['avg']:.2f}" for scores in (before, after)]

    # what this run measured before training is not measured again for another run
    monkeypatch.setattr(report, "_untrained", lambda run: pytest.fail("measured again"))
    two = report.judge_transfer(finished(tmp_path / "runs" / "two"), "fast")
    assert "transfer" in two.read("baseline")["poolings"]["mean"]


def test_solvers_have_results_of_their_own(base, tmp_path, monkeypatch):
    monkeypatch.setattr(solvers, "MAX_EPOCH", 0)
    run = report.judge_transfer(finished(tmp_path / "runs" / "one"))
    assert run.read("transfer")["solver"] == "senteval"
    frame = results.from_runs([run])
    assert len(tables.transfer_table(frame, published=False, solver="fast")) == 0
    assert len(tables.transfer_table(frame, published=False)) == 2


def test_command_line_of_an_encoder(base, tmp_path, capsys):
    folder = str(tiny.folder(tmp_path).rename(tmp_path / "mine"))
    options = ["--solver", "fast", "--tasks", "MRPC", "SST2", "--json", str(tmp_path / "r.json")]
    assert cli.main(["transfer", folder, *options]) == 0
    assert "avg" not in capsys.readouterr().out
    assert set(json.loads((tmp_path / "r.json").read_text())["tasks"]) == {"MRPC", "SST2"}
    assert cli.main(["transfer", folder, "--tasks", "RC"]) == 2
    assert "unknown transfer task 'RC'" in capsys.readouterr().err
