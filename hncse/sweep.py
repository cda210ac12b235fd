"""A grid of runs, presets × seeds × corpora × options: each trained and judged, then one table.

    hncse sweep --losses simcse pm-intended hnm-no-replacement --seeds 0-11 --transfer
    hncse sweep --losses simcse hnm-no-replacement --grid k=3,5,10 --limit 5000 --no-test
    hncse sweep --seeds 0-11 --cluster tcp://scheduler:8786     # needs: pip install "hncse[cluster]"

Finished runs are found by their key and not made again, and an interrupted one resumes from its checkpoint: start a
sweep that was cut off once more. Start it as often as you like, on as many machines as share the folder of runs
(HNCSE_RUNS): a run has one owner at a time (`hncse.runs.Run.lock`), and a process that finds one taken goes on with the
next and comes back.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import re
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import presets, runs
from hncse.errors import HncseError, command, unknown
from hncse.runs import Run, RunBusyError

if TYPE_CHECKING:
    from hncse.training import TrainingConfig

__all__ = [
    "Job", "Judging", "Outcome", "configurations", "locate", "make", "parse_grid", "parse_seeds", "state", "sweep",
]  # fmt: skip

LOSSES = ("simcse", "pm-intended", "hnm-no-replacement")
_ELSEWHERE = {
    "loss": "give it with --losses", "seed": "give it with --seeds", "corpus": "give it with --corpora",
    "name": "every run has a name of its own", "loss_options": "give each loss option by its own name",
}  # fmt: skip
_FLAGS_OF_ALL = {"encoder": "give it with --encoder", "limit": "give it with --limit"}
_WORKER_BYTES = 3 << 29  # 1.5 GiB: PyTorch, the kit encoder, its optimiser and the benchmark files
#: Options that change nothing unless another has one of these values; runs without it are made once, not once a value.
_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("k", "s", "alpha", "replacement"), ("hard_negative_mixing", (True,))),
    **dict.fromkeys(("objective", "candidates"), ("positive_mixing", ("search", "study"))),
    **dict.fromkeys(
        ("columns", "band", "detach_coefficients"), ("positive_mixing", ("search", "random", "study", "fixed"))
    ),
    "ratio": ("positive_mixing", ("fixed",)),
}
_ONE_AT_A_TIME = threading.Lock()  # within a process: seeds and default devices are the process's


@dataclass(frozen=True)
class Job:
    """A run to be made: what, and the folder it will lie in."""

    config: TrainingConfig
    run: Run


@dataclass(frozen=True)
class Judging:
    """What a run is judged on besides the probe: the STS test splits, and the transfer tasks with a solver."""

    test: bool = True
    transfer: bool = False
    solver: str = "senteval"

    def complete(self, run: Run) -> bool:
        """Whether everything wanted is in the run's folder."""
        from hncse.evaluation import report

        return report.judged(run, test=self.test, transfer=self.transfer, solver=self.solver)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: "done" now, "done before", "elsewhere" (another process owns it) or "failed", with why."""

    job: Job
    state: str
    why: str = ""


def parse_seeds(words: Iterable[str]) -> list[int]:
    """Read seeds: numbers, ranges with both ends (``0-11``), separated by spaces or commas; each counts once."""
    seeds: list[int] = []
    for word in (part for text in words for part in str(text).split(",") if part):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", word)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise HncseError(f"seeds {word!r} are no whole number and no range such as 0-11")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not seeds:
        raise HncseError("--seeds names no seed; give numbers and ranges such as 0-11")
    return list(dict.fromkeys(seeds))


def parse_grid(words: Iterable[str], flag: str = "--grid") -> dict[str, list[Any]]:
    """Read ``NAME=VALUE,VALUE,…``; a name is a training parameter or a loss option. For "--set" it has one value.

    Raises:
        HncseError: No such name, one that has a flag of its own or stands there twice, no value, or a word where
            true or false is meant.
    """
    grid: dict[str, list[Any]] = {}
    elsewhere = _ELSEWHERE | (_FLAGS_OF_ALL if flag == "--set" else {})
    for word in words:
        name, equals, text = word.partition("=")
        values = [text] if flag == "--set" else text.split(",")
        if not equals or not all(values):
            raise HncseError(f"{word!r} gives no value; write NAME=VALUE, for example batch_size=128")
        if name in elsewhere:
            raise HncseError(f"{name} is no word of {flag}: {elsewhere[name]}")
        if name in grid:
            raise HncseError(f"{name} stands twice in {flag}")
        grid[name] = [_value(name, value) for value in values]
    return grid


def _value(name: str, text: str) -> Any:
    from hncse.training import TrainingConfig, parse_value

    types = {field.name: str(field.type) for field in dataclasses.fields(TrainingConfig)}
    if name not in types and name not in presets.OPTION_NAMES:
        raise unknown("parameter or loss option", name, [*types, *presets.OPTION_NAMES])
    value = parse_value(name, text)
    boolean = types.get(name, "").startswith("bool")  # a loss option's is checked by the presets
    if boolean and not isinstance(value, bool) and not (value is None and "None" in types[name]):
        raise HncseError(f"{name} is {text!r}; it must be true or false")
    return value


def configurations(
    losses: Sequence[str],
    seeds: Sequence[int],
    corpora: Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    vary_sample: bool = False,
) -> list[TrainingConfig]:
    """Every combination once, seeds outermost, so that an unfinished sweep still compares everything.

    ``grid`` maps a training parameter or loss option to its values; with ``vary_sample`` the seed decides which
    sentences are taken as well. A bad name or value is an `HncseError` before anything is trained.
    """
    from sklearn.model_selection import ParameterGrid

    axes = {**grid, "loss": losses, "seed": seeds, "corpus": corpora}
    points = sorted(
        ParameterGrid({name: list(dict.fromkeys(values)) for name, values in axes.items()}),
        key=lambda point: (seeds.index(point["seed"]), corpora.index(point["corpus"])),
    )
    if vary_sample:
        points = [point | {"sample_seed": point["seed"]} for point in points]
    return list({repr(config): config for config in map(_configuration, points)}.values())


def _configuration(point: dict[str, Any]) -> TrainingConfig:
    from hncse.training import TrainingConfig

    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    options = {name: value for name, value in point.items() if name not in fields}
    resolved = presets.resolve(point["loss"], **options)  # a bad value is refused also where it would change nothing
    plain = presets.resolve(point["loss"])

    def matters(name: str) -> bool:
        other, values = _NEEDS.get(name, (name, (options[name],)))
        return options[name] != getattr(plain, name) and getattr(resolved, other) in values

    changes = {name: value for name, value in options.items() if matters(name)}
    chosen = {name: value for name, value in point.items() if name in fields}
    if not resolved.needs_guide:  # of the presets of a sweep, only some ask one
        chosen.pop("guide", None)
    return TrainingConfig.from_dict({**chosen, "loss_options": changes})


def locate(configs: Sequence[TrainingConfig]) -> list[Job]:
    """Find the folder of each run, which its key names, as `hncse.training.train` does; it need not exist yet."""
    from hncse import training

    corpora: dict[Any, Any] = {}
    encoders: dict[Any, Any] = {}
    guides: dict[Any, Any] = {}
    jobs = []
    for c in configs:
        text = (c.corpus, c.limit, c.column, c.positives, str(c.negatives), c.pairs, c.sample_seed)
        weights = (c.encoder, c.pooling, c.layers, c.bidirectional, c.dropout)
        if text not in corpora:
            corpora[text] = training.load_corpus(c)
        if weights not in encoders:
            encoders[weights] = training.load_encoder(c)
            fingerprint = encoders[weights].fingerprint()  # of all weights: once an encoder, not once a run
            encoders[weights].fingerprint = lambda known=fingerprint: known
        if c.guide not in guides:
            guides[c.guide] = None if c.guide is None else type(encoders[weights]).from_pretrained(c.guide)
        key = training.facts(c, corpora[text], encoders[weights], guide=guides[c.guide])["key"]
        jobs.append(Job(c, training.run_folder(c, key)))
    return jobs


def state(run: Run, judging: Judging) -> str:
    """Say how far a run is: "done", "trained" (not judged), "interrupted", "to do", or who is making it."""
    if judging.complete(run):
        return "done"
    if (run.path / ".lock").exists():
        try:
            with run.lock(wait=False):
                pass
        except RunBusyError:
            return f"made by {run.owner()}"
    return "trained" if run.finished else "interrupted" if run.has("config") else "to do"


def sweep(jobs: Sequence[Job], judging: Judging, executor: Callable[[], Executor] | None = None) -> Iterator[Outcome]:
    """Train and judge every job that is not done, leaving out what other processes own; yields outcomes as they come.

    ``executor`` makes what jobs are handed to, one anew after a process of it was ended; None makes them here, one
    after the other. Jobs that others own are tried again as long as others of ours end.
    """
    waiting = list(jobs)
    again: list[Outcome] = []
    while waiting:
        again = []
        for outcome in _round(waiting, judging, executor):
            if outcome.state in ("elsewhere", "killed"):
                again.append(outcome)
            else:
                yield outcome
        if len(again) == len(waiting):
            break
        waiting = [outcome.job for outcome in again]
    yield from (dataclasses.replace(o, state=o.state.replace("killed", "failed")) for o in again)


def make(jobs: Sequence[Job], judging: Judging, executor: Callable[[], Executor] | None = None) -> Counter[str]:
    """Do a `sweep` with a line on standard error for each run; returns how many ended in each state."""
    counts: Counter[str] = Counter()
    for outcome in sweep(jobs, judging, executor):
        counts[outcome.state] += 1
        line = f"{counts.total()} of {len(jobs)}: {outcome.job.run.name} {outcome.state} {outcome.why}"
        sys.stderr.write(line.rstrip() + "\n")
    return counts


def _round(jobs: list[Job], judging: Judging, executor: Callable[[], Executor] | None) -> Iterator[Outcome]:
    if executor is None:
        yield from (_make(job, judging) for job in jobs)
        return
    with executor() as pool:
        futures = {pool.submit(_make_there, job, judging): job for job in jobs}
        for future in as_completed(futures):
            try:
                yield dataclasses.replace(future.result(), job=futures[future])
            except BrokenExecutor:
                yield Outcome(futures[future], "killed", "its process was ended, perhaps for want of memory")
            except Exception as error:  # a worker was lost again and again, or cannot import hncse
                yield Outcome(futures[future], "failed", _reason(error))


def _make_there(job: Job, judging: Judging) -> Outcome:
    """Make a job in a worker, if it would make the same run there: it may have other data, weights or code."""
    with _ONE_AT_A_TIME:
        if judging.complete(job.run):
            return Outcome(job, "done before")
        try:
            (here,) = locate([job.config])
        except Exception as error:
            return Outcome(job, "failed", _reason(error))
        if here.run.path.absolute() != job.run.path.absolute():
            why = "its HNCSE_RUNS, its HNCSE_DATA or its code is another"
            return Outcome(job, "failed", f"a worker would make {here.run.path} of it and not {job.run.path}: {why}")
        return _make(job, judging)


def _make(job: Job, judging: Judging) -> Outcome:
    from hncse.evaluation import report
    from hncse.training import train

    run = job.run
    try:
        if judging.complete(run):
            return Outcome(job, "done before")
        with run.lock(wait=False):
            if judging.complete(run):  # by whoever owned it a moment ago
                return Outcome(job, "done before")
            train(job.config)
            report.judge(run, "auto" if judging.test else "probe", show_progress=False)
            if judging.transfer:
                report.judge_transfer(run, judging.solver)
    except RunBusyError:
        return Outcome(job, "elsewhere")
    except Exception as error:  # one run's trouble, out of memory for example, is not the sweep's
        return Outcome(job, "failed", _reason(error))
    finally:
        gc.collect()  # gives memory back before the next run
        if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
            torch.cuda.empty_cache()
    return Outcome(job, "done")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, HncseError) else "".join(traceback.format_exception(error)).rstrip()


def processes(workers: int) -> Callable[[], Executor] | None:
    """Make executors of so many processes on this machine, which divide its cores and memory; None for one."""
    import multiprocessing

    import psutil  # type: ignore[import-untyped]

    if workers < 1:
        raise HncseError(f"--workers is {workers}; it must be at least 1")
    if workers == 1:
        return None
    free = psutil.virtual_memory().available
    if workers * _WORKER_BYTES > free:
        raise HncseError(
            f"--workers is {workers}, and {free / 2**30:.1f} GiB of memory are free; a worker takes about "
            f"{_WORKER_BYTES / 2**30:.1f}, so take at most {max(1, free // _WORKER_BYTES)}"
        )
    threads = max(1, (os.cpu_count() or 1) // workers)
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads
    return lambda: ProcessPoolExecutor(workers, mp_context=spawn, initializer=_use_threads, initargs=(threads,))


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(min(count, torch.get_num_threads()))


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Callable[[], Executor]]:
    """Hand jobs to the workers of a Dask scheduler at ``tcp://…`` (``dask worker --nthreads 1 ADDRESS`` on each).

    Raises:
        HncseError: Dask is not installed, or nobody answers there, or no worker is there within a minute.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise HncseError('--cluster needs Dask: pip install "hncse[cluster]"') from error
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HncseError(f"no Dask scheduler answers at {address!r}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=60)
        except TimeoutError as error:
            raise HncseError(f"the scheduler at {address} has no worker; start some: dask worker {address}") from error
        yield lambda: client.get_executor(pure=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hncse sweep",
        description="Train presets × seeds × corpora × options, judge them, print one table with intervals. Any number "
        "of processes and machines may share a folder of runs (HNCSE_RUNS); finished runs are kept.",
    )
    add = parser.add_argument
    add("--losses", nargs="+", default=list(LOSSES), metavar="PRESET", help=f"default {' '.join(LOSSES)}")
    add("--seeds", nargs="+", default=["0-2"], metavar="N", help="numbers and ranges, such as 0-11 (default 0-2)")
    add("--encoder", help="default kit")
    add("--corpora", "--corpus", nargs="+", default=["wikipedia"], metavar="CORPUS", help="default wikipedia")
    add("--limit", help="sentences, or None (default 6400)")
    add("--grid", nargs="+", default=[], metavar="NAME=V,V", help="values to cross: loss options, training parameters")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="the same for all runs: what --grid takes")
    add("--vary-sample", action="store_true", help="let the seed decide which sentences are taken, too")
    add("--transfer", action="store_true", help="measure the seven transfer tasks as well")
    add("--solver", choices=("senteval", "fast"), default="senteval", help="of the transfer tasks: senteval for tables "
        "(default), fast while choosing")  # fmt: skip
    add("--no-test", action="store_true", help="read no test split: STS-B dev and the probe only, for choosing")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (default 1)")
    where.add_argument("--cluster", metavar="ADDRESS", help="a Dask scheduler, such as tcp://10.0.0.1:8786, whose "
                       "workers see this folder of runs")  # fmt: skip
    add("--csv", help="write the table there as well (transfer: with -transfer in its name)")
    add("--dry-run", action="store_true", help="list the runs and how far they are; make none")
    return parser


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 1 if a run failed."""
    options = _parser().parse_args(arguments)
    from hncse.data import senteval

    if options.no_test and options.transfer:
        raise HncseError("--transfer reads test rows; leave out one of --no-test and --transfer")
    judging = Judging(not options.no_test, options.transfer, options.solver)
    seeds, grid = parse_seeds(options.seeds), _grid(options)
    configs = configurations(options.losses, seeds, options.corpora, grid, options.vary_sample)
    if judging.test and not options.dry_run:
        senteval.fetch(options.transfer)  # where files are missing; or an error now, not after the first training
    jobs = locate(configs)
    if options.dry_run:
        return _dry_run(jobs, judging)
    here = contextlib.nullcontext(processes(options.workers))
    with cluster(options.cluster) if options.cluster else here as executor:
        counts = make(jobs, judging, executor)
    done = [job.run for job in jobs if judging.complete(job.run)]
    _print_tables(done, judging, options.csv)
    texts = {"elsewhere": "still being made elsewhere", "failed": "failed"}
    left = "".join(f"; {counts[name]} {text}" for name, text in texts.items() if counts[name])
    sys.stderr.write(f"{len(done)} of {len(jobs)} runs are done in {jobs[0].run.path.parent}{left}\n")
    return 1 if counts["failed"] else 0


def _grid(options: argparse.Namespace) -> dict[str, list[Any]]:
    """Cross --grid's values with those that are the same for all; a name may stand in one place alone.

    On a CPU all is float32 unless another precision is given: recorded runs are, and seeds are paired with theirs.
    """
    from hncse.encoder import pick_device

    grid, same = parse_grid(options.grid), parse_grid(options.set, "--set")
    for name, plain in (("encoder", "kit"), ("limit", "6400")):
        given = getattr(options, name)
        if given is not None or name not in grid:
            same[name] = [_value(name, plain if given is None else given)]
    if twice := sorted(grid.keys() & same.keys()):
        raise HncseError(f"{twice[0]} stands in --grid and has one value for all runs as well; leave out one")
    return {"precision": ["fp32" if pick_device().type == "cpu" else "auto"]} | grid | same


def _dry_run(jobs: Iterable[Job], judging: Judging) -> int:
    from hncse.evaluation.results import method_name

    counts: Counter[str] = Counter()
    for job in jobs:
        how_far = state(job.run, judging)
        counts["made elsewhere" if how_far.startswith("made") else how_far] += 1
        config = job.config
        what = method_name({"loss": config.loss, "loss_options": config.loss_options})
        sys.stdout.write(f"{job.run.name:40} {how_far:12} {what}, seed {config.seed}, {config.corpus}\n")
    sys.stdout.write(", ".join(f"{count} {name}" for name, count in counts.items()) + f": {runs.root()}\n")
    return 0


def _print_tables(done: Sequence[Run], judging: Judging, csv: str | None) -> None:
    from hncse.evaluation import results, tables
    from hncse.files import write_text

    if not done:
        return
    frame, solver = results.from_runs(done), judging.solver
    sys.stdout.write(tables.probe(frame).to_markdown() + "\n")
    printable = {}
    if judging.test:
        printable[""] = tables.sts(frame, published="none"), tables.sts_table(frame, False)
    if judging.transfer:
        numbers = tables.transfer_table(frame, False, solver=solver)
        printable["-transfer"] = tables.transfer(frame, published="none", solver=solver), numbers
    for suffix, (printed, numbers) in printable.items():
        sys.stdout.write(printed.to_markdown() + "\n")
        if csv:
            path = Path(csv)
            write_text(path.with_name(path.stem + suffix + path.suffix), numbers.to_csv(index=False))
