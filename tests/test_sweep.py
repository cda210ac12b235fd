"""The sweep: what its words mean, finished runs kept, processes and clusters that share a folder, one table."""

from __future__ import annotations

import functools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
from safetensors.numpy import load_file

from hncse import sweep, training
from hncse.data import senteval
from hncse.errors import HncseError
from hncse.evaluation import probe, report
from hncse.evaluation.tables import STS
from hncse.runs import Run
from tests import processes, tiny


@pytest.fixture
def arguments(tmp_path):
    """Words for a sweep of one preset and three seeds, two steps each."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(tiny.sentences(40)), encoding="utf-8")
    return ["--losses", "simcse", "--seeds", "1-3", "--encoder", str(tiny.folder(tmp_path)), "--corpus", str(corpus),
            "--limit", "None", "--set", "batch_size=16", "snapshots=0", f"output={tmp_path / 'runs'}",
            "eval_every=1000"]  # fmt: skip


def jobs(arguments: list[str]) -> list[sweep.Job]:
    o = sweep._parser().parse_args(arguments)
    return sweep.locate(sweep.configurations(o.losses, sweep.parse_seeds(o.seeds), o.corpora, sweep._grid(o)))


def weights(run: Run) -> dict[str, bytes]:
    tensors = load_file(run.encoder_path / "model.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


@pytest.fixture
def quick(monkeypatch):
    """Scores by hand: 10 × seed on every task."""

    def judge(run: Run, *_: object, **__: object) -> Run:
        score = 10.0 * run.config["seed"]
        run.write("sts", {"tasks": {task: {"all": score} for task in STS}, "avg": score, "split": "test"})
        return run

    monkeypatch.setattr(report, "judge", judge)
    monkeypatch.setattr(report, "judged", lambda run, **_: run.finished and run.has("sts"))
    monkeypatch.setattr(senteval, "fetch", lambda transfer: None)
    monkeypatch.setattr(probe, "evaluate", lambda encoder, **_: {"spearman": 0.0})


# Words


def test_seeds_are_numbers_and_ranges():
    assert sweep.parse_seeds(["0-3", "7", "2", "9,11"]) == [0, 1, 2, 3, 7, 9, 11]
    for word in ("3-1", "a", "-1", "1-", "²", ","):
        with pytest.raises(HncseError, match="seed"):
            sweep.parse_seeds([word])


def test_options_are_crossed_where_they_change_something_seed_by_seed():
    grid = sweep.parse_grid(["k=3,10", "temperature=0.05,0.1"])
    assert grid == {"k": [3, 10], "temperature": [0.05, 0.1]}
    made = sweep.configurations(["simcse", "hnm-no-replacement"], [4, 3], ["docstrings"], grid | {"limit": [100]})
    assert [c.seed for c in made] == [4] * 6 + [3] * 6 and all(c.limit == 100 for c in made)
    assert {(c.loss, c.temperature, c.loss_options.get("k")) for c in made} == {
        ("simcse", 0.05, None),
        ("simcse", 0.1, None),
        ("hnm-no-replacement", 0.05, 3),
        ("hnm-no-replacement", 0.1, 3),
        ("hnm-no-replacement", 0.05, None),  # k = 10 is the preset's own
        ("hnm-no-replacement", 0.1, None),
    }
    made = sweep.configurations(["hnm-as-released"], [0], ["a.txt", "b.txt"], {"alpha": ["uniform", 0.3]})
    assert [(c.corpus, c.loss_options) for c in made] == [
        (corpus, {"alpha": alpha}) for corpus in ("a.txt", "b.txt") for alpha in ("uniform", 0.3)
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("kk=3", "Did you mean 'k'"),
        ("k", "write NAME=VALUE"),
        ("k=", "write NAME=VALUE"),
        ("seed=5", "give it with --seeds"),
        ("loss=simcse", "give it with --losses"),
        ("corpus=a.txt", "give it with --corpora"),
        ("name=mine", "every run has a name of its own"),
        ('loss_options={"k":3}', "by its own name"),
        ("head=no", "head is 'no'; it must be true or false"),
        ("head=0", "must be true or false"),
        ("replacement=no", "must be true or false"),
        ("detach_negatives=None", "must be true or false"),
    ],
)
@pytest.mark.parametrize("flag", ["--grid", "--set"])
def test_a_word_that_would_be_ignored_or_misread_is_refused(flag, word, message, capsys):
    assert sweep.main(["--no-test", "--corpus", "docstrings", flag, word]) == 2
    assert message.lower() in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "encoder=minilm"], "give it with --encoder"),
        (["--set", "limit=10"], "give it with --limit"),
        (["--set", "k=3", "k=5"], "k stands twice"),
        (["--grid", "k=3,5", "--set", "k=3"], "leave out one"),
        (["--grid", "encoder=kit,minilm", "--encoder", "kit"], "leave out one"),
        (["--grid", "k=3,,5"], "write NAME=VALUE"),
        (["--losses", "simsce"], "Did you mean 'simcse'"),
        (["--grid", "k=0"], "k is 0"),  # refused for simcse, where it would change nothing
        (["--transfer"], "leave out one"),  # reads test rows
        (["--workers", "0"], "at least 1"),
        (["--workers", "100000"], "memory"),
    ],
)
def test_contradictions_are_refused(words, message, capsys):
    assert sweep.main(["--losses", "simcse", "--corpus", "docstrings", "--no-test", *words]) == 2
    assert message in capsys.readouterr().err


def test_values_are_read_exactly():
    assert sweep.parse_grid(["head=true,False,None", "replacement=false", "limit=None,10"]) == {
        "head": [True, False, None],
        "replacement": [False],
        "limit": [None, 10],
    }
    (crossed,) = [sweep._grid(sweep._parser().parse_args(["--grid", "encoder=kit,minilm"]))]
    assert crossed == {"precision": ["fp32"], "encoder": ["kit", "minilm"], "limit": [6400]}


def test_without_benchmark_files_nothing_is_trained(capsys):
    assert sweep.main(["--corpus", "docstrings"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "senteval.tar" in err


# One process


@pytest.mark.usefixtures("quick")
def test_a_sweep_trains_judges_and_prints_a_table(arguments, tmp_path, monkeypatch, capsys):
    arguments += ["--csv", str(tmp_path / "tau_0.1.csv")]
    assert sweep.main(arguments) == 0
    out = capsys.readouterr().out
    assert "20.00 ± 24.84" in out and "95 % t-interval over seeds" in out  # t(2) = 4.303, sd 10, n 3
    assert (tmp_path / "tau_0.1.csv").read_text().count("\n") == 2
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained a finished run again"))
    assert sweep.main(arguments) == 0
    assert "3 of 3 runs are done" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_run_that_fails_is_reported_and_the_others_are_made(arguments, monkeypatch, capsys):
    train = training.train

    def short_of_memory(config: training.TrainingConfig) -> Run:
        if config.seed == 2:
            raise RuntimeError("out of memory")
        return train(config)

    monkeypatch.setattr(training, "train", short_of_memory)
    assert sweep.main(arguments) == 1
    seen = capsys.readouterr()
    assert "RuntimeError: out of memory" in seen.err and "2 of 3 runs are done" in seen.err
    assert "1 failed" in seen.err and "20.00 ±" in seen.out


@pytest.mark.usefixtures("quick")
def test_a_run_that_another_process_owns_is_left_to_it(arguments, capsys):
    first, second, _ = jobs(arguments)
    hold = "import sys; from hncse.runs import Run\nwith Run(sys.argv[1]).lock(): print('mine', flush=True), input()"
    command = [sys.executable, "-c", hold, str(first.run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "mine\n"
        assert sweep.main([*arguments, "--dry-run"]) == 0
        listed = capsys.readouterr().out
        assert f"made by process {other.pid}" in listed and "1 made elsewhere, 2 to do" in listed
        assert sweep.main(arguments) == 0
        assert "2 of 3 runs are done" in (err := capsys.readouterr().err) and "1 still being made elsewhere" in err
        assert second.run.finished and not first.run.finished
        other.kill()  # a dead process owns nothing
    assert sweep.main(arguments) == 0 and first.run.finished


@pytest.mark.usefixtures("quick")
def test_a_run_goes_where_training_puts_it(arguments):
    job, *_ = jobs(arguments)
    judging = sweep.Judging()
    assert sweep.state(job.run, judging) == "to do" and not job.run.path.exists()
    assert training.train(job.config).path == job.run.path
    assert sweep.state(job.run, judging) == "trained"
    (job.run.path / "result.json").unlink()
    assert sweep.state(job.run, judging) == "interrupted"


def test_transfer_is_measured_with_the_solver_asked_for(monkeypatch, tmp_path):
    asked: list[object] = []
    job = sweep.Job(training.TrainingConfig(), Run(tmp_path / "run"))
    monkeypatch.setattr(training, "train", lambda config: job.run)
    monkeypatch.setattr(report, "judge", lambda run, mode, **_: asked.append(mode))
    monkeypatch.setattr(report, "judge_transfer", lambda run, solver: asked.append(solver))
    for words in (["--transfer"], ["--transfer", "--solver", "fast"]):
        o = sweep._parser().parse_args(words)
        (outcome,) = sweep.sweep([job], sweep.Judging(transfer=o.transfer, solver=o.solver))
        assert outcome.state == "done"
    assert asked == ["auto", "senteval", "auto", "fast"]


# Many processes


class Breaking(ThreadPoolExecutor):
    """An executor whose process is ended at the first job it is handed."""

    def submit(self, *args, **kwargs):
        future = super().submit(lambda: None)
        future.result()
        future = type(future)()
        future.set_exception(BrokenProcessPool("a child process was ended"))
        return future


def test_jobs_of_a_process_that_was_ended_are_tried_in_a_new_one(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "_make_there", lambda job, judging: sweep.Outcome(job, "done"))
    job = sweep.Job(training.TrainingConfig(), Run(tmp_path / "run"))
    one = sweep.Job(training.TrainingConfig(seed=1), Run(tmp_path / "one"))
    pools: list[Executor] = [ThreadPoolExecutor(1), Breaking(1)]

    class HalfBroken(Breaking):
        def submit(self, function, job, judging):
            there = super().submit if job.run.name == "run" else functools.partial(ThreadPoolExecutor.submit, self)
            return there(function, job, judging)

    pools[1] = HalfBroken(1)
    outcomes = list(sweep.sweep([job, one], sweep.Judging(), lambda: pools.pop()))
    assert [(o.job.run.name, o.state) for o in outcomes] == [("one", "done"), ("run", "done")]
    (lost,) = sweep.sweep([job], sweep.Judging(), lambda: Breaking(1))
    assert lost.state == "failed" and "memory" in lost.why


@pytest.fixture
def quick_processes(monkeypatch, small_probe):
    """Processes of a sweep that begin at once, and a probe of few groups here and there."""
    context = processes.context()
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)
    monkeypatch.setattr(sweep, "_use_threads", processes.begin)


def lines_of(stderr: str) -> list[str]:
    """Names of the runs that a sweep's progress says it made itself."""
    return re.findall(r"^\d+ of \d+: (\S+) done$", stderr, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_processes")
def test_processes_and_threads_share_a_folder_and_train_nothing_twice(arguments, tmp_path, capsys):
    assert len(jobs(arguments)) == 3  # sources are read now: Python 3.11 parses them in one thread at a time
    codes: list[int] = []
    other = threading.Thread(target=lambda: codes.append(sweep.main([*arguments, "--no-test"])))
    other.start()
    assert sweep.main([*arguments, "--no-test", "--workers", "2"]) == 0
    other.join(timeout=600)
    err = capsys.readouterr().err
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert codes == [0] and sorted(lines_of(err)) == sorted(names) and len(names) == 3
    assert "3 of 3 runs are done" in err
    for name in names:
        run = Run(tmp_path / "runs" / name)
        assert run.has("probe") and not run.has("sts")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_processes")
def test_a_cluster_trains_nothing_twice_and_resumes_what_a_killed_worker_left(arguments, tmp_path, capsys):
    from distributed import LocalCluster

    arguments = [word.replace("snapshots=0", "snapshots=2").replace("=1000", "=10") for word in arguments]
    arguments += ["epochs=30", "--no-test", "--seeds", "1-2"]  # 60 steps each, a checkpoint after every 10
    ours = [job.run for job in jobs(arguments)]
    codes: list[int] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, preload="tests.processes") as cluster:
        where = ["--cluster", cluster.scheduler_address]
        thread = threading.Thread(target=lambda: codes.append(sweep.main([*arguments, *where])))
        thread.start()
        run = killed_in_the_middle(ours, thread)
        first = (run.path / "snapshots" / "step-000000.safetensors").stat()
        thread.join(timeout=1800)
        names = lines_of(capsys.readouterr().err)
        # by the same workers: the last bits are a matter of threads and libraries, and this process may have others
        other = [word.replace("/runs", "/unbroken") for word in arguments] + ["--seeds", str(run.config["seed"])]
        codes.append(sweep.main([*other, *where]))
    assert codes == [0, 0]
    assert sorted(names) == sorted(run.name for run in ours)
    again = (run.path / "snapshots" / "step-000000.safetensors").stat()
    assert again.st_mtime_ns == first.st_mtime_ns, "begun anew and not resumed"
    whole = Run(tmp_path / "unbroken" / run.name)
    assert run.result["threads"] == whole.result["threads"] and weights(run) == weights(whole)
    assert [line["step"] for line in run.history] == [line["step"] for line in whole.history]


def killed_in_the_middle(runs: list[Run], thread: threading.Thread) -> Run:
    """Kill the process that owns a run, once that has a checkpoint."""
    while thread.is_alive():
        for run in runs:
            owner = re.match(r"process (\d+) ", run.owner())
            if owner and list(run.path.glob("checkpoints/checkpoint-*/trainer_state.json")) and not run.finished:
                os.kill(int(owner[1]), signal.SIGKILL)
                return run
        time.sleep(0.01)
    raise AssertionError("the sweep ended before anything could be killed")


def test_a_worker_that_would_make_another_run_makes_none(arguments, tmp_path):
    job, *_ = jobs(arguments)
    other = sweep.Job(job.config, Run(tmp_path / "elsewhere" / job.run.name))
    (outcome,) = sweep.sweep([other], sweep.Judging(test=False), lambda: ThreadPoolExecutor(1))
    assert outcome.state == "failed" and str(other.run.path) in outcome.why and not other.run.path.exists()


def test_a_scheduler_that_is_not_there_is_named(capsys, arguments):
    assert sweep.main([*arguments, "--no-test", "--cluster", "tcp:/nowhere"]) == 2
    assert "no Dask scheduler answers at 'tcp:/nowhere'" in capsys.readouterr().err
