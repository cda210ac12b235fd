"""Measuring: interleaved CPU seconds, ratios with their spread, peak memory, and facts about the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any

import torch

from hncse.encoder.precision import processor

__all__ = ["Ratio", "ceiling", "clock", "facts", "interleaved", "markdown", "peak_bytes", "ratio", "spread"]

Action = Callable[[], object]
Ratio = dict[str, float]


def interleaved(actions: dict[str, Action], rounds: int, calls: dict[str, int] | None = None) -> dict[str, list[float]]:
    """Time actions in turn, round by round, so that a change in the machine's mood meets all of them.

    Every other round runs backwards (A B, B A, …); `clock` says which seconds.

    Args:
        actions: Name → what to run. Each runs once before the first round, untimed. One that returns a float has
            timed itself: its own seconds count.
        rounds: How many rounds.
        calls: How often an action runs within a round; 1 where missing.

    Returns:
        Name → seconds a call, one entry a round.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for turn in range(rounds):
        for name in list(actions)[:: 1 if turn % 2 == 0 else -1]:
            n = (calls or {}).get(name, 1)
            began = clock()
            own = [spent for _ in range(n) if isinstance(spent := actions[name](), float)]
            times[name].append((sum(own) if own else clock() - began) / n)
    return times


def clock() -> float:
    """CPU seconds of this process with one thread, where other people's processes do not count; else a stopwatch's."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def ceiling(dtype: torch.dtype, width: int = 768) -> float:
    """Floating point operations a second of a matrix product of a feed-forward layer's shape, the best of seven."""
    a, b = torch.randn(1600, width, dtype=dtype), torch.randn(width, 4 * width, dtype=dtype)
    seconds = min(interleaved({"product": lambda: a @ b}, 7, {"product": 3})["product"])
    return 2 * a.numel() * b.shape[1] / seconds


def ratio(slow: list[float], fast: list[float]) -> Ratio:
    """Median and quartiles of slow / fast over rounds: how many times quicker the second is."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    q1, median, q3 = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return {"median": median, "q1": q1, "q3": q3, "rounds": len(each)}


def peak_bytes(action: Action) -> int:
    """Most bytes of tensors alive at once that ``action`` allocated, from PyTorch's allocator events.

    Exact and repeatable: a running sum over every allocation and release the profiler reports. What was there before
    (the embeddings) is not counted, nor is scratch memory inside the BLAS library.
    """
    action()
    with (
        _no_messages(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        action()
    result = profiler.profiler.kineto_results
    changes = sorted((e.start_ns(), i, e.nbytes()) for i, e in enumerate(result.events()) if e.name() == "[memory]")
    now = peak = 0
    for _, _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def facts() -> dict[str, Any]:
    """What a reader needs to judge the figures: processor, threads, versions. No names of machines, no paths."""
    packages = ("hncse", "torch", "transformers", "sentence-transformers", "tokenizers", "numpy")
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "threads": torch.get_num_threads(),
        "clock": "CPU seconds of the process" if torch.get_num_threads() == 1 else "seconds",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages if _installed(name)},
    }


def markdown(title: str, header: Iterable[str], rows: Iterable[Iterable[object]], note: str = "") -> str:
    """Write a table as Markdown, under a heading, over a note."""
    header = list(header)
    lines = [f"## {title}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([*lines, "", note, ""] if note else [*lines, ""])


def spread(r: Ratio, unit: str = "×") -> str:
    """Show a ratio as ``median× (q1 to q3)``."""
    digits = 0 if r["median"] >= 100 else 1 if r["median"] >= 10 else 2
    return f"{r['median']:,.{digits}f}{unit} ({r['q1']:,.{digits}f} to {r['q3']:,.{digits}f})"


@contextlib.contextmanager
def _no_messages() -> Iterator[None]:
    """Silence what the profiler's library writes to file descriptor 2 whenever it starts and stops."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
