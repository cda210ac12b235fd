"""Processes that tests start: forked from one that has imported this and all that training needs, each begins at once.

They see a probe of few groups where they begin with `begin` (a sweep's) or preload this module (a Dask worker).
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

from hncse import sweep
from hncse.data import probe as data_probe
from hncse.evaluation import probe, report
from hncse.training import trainer
from tests import tiny

__all__ = ["GROUPS", "begin", "context", "dask_setup", "few", "report", "shrink", "tiny", "trainer"]

GROUPS = data_probe.load()[:12]
_use_threads = sweep._use_threads
gc.freeze()  # as `tests.conftest` does for the tests' own process


def context() -> ForkServerContext:
    """As `multiprocessing`'s, for one ``Process`` after the other."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    forkserver.ensure_running()
    return made


def few(*_: Any) -> list[data_probe.Group]:
    return GROUPS


def shrink(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make the probe one of few groups; ``change`` may be a monkeypatch's."""
    for module in (data_probe, probe):
        change(module, "load", few)


def begin(threads: int) -> None:
    """In place of `hncse.sweep._use_threads`: what a process of a sweep begins with."""
    _use_threads(threads)
    shrink()


def dask_setup(worker: Any) -> None:
    """What a Dask worker calls that was told to preload this module."""
    shrink()
