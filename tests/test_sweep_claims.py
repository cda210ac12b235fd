"""Claims: one of many processes gets a run, the dead and the silent lose theirs, and nobody else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hncse import _sweep_claims as claims
from hncse.errors import HncseError


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def by_another(folder: Path, quiet: float, pid: int = 1, machine: str = "elsewhere", number: int = 0) -> Path:
    """A claim as another process would have left it, last touched ``quiet`` seconds ago."""
    path = folder / f"run.claim-{number}"
    path.write_text(json.dumps({"host": "far", "machine": machine, "pid": pid, "since": "2026-01-01"}))
    then = path.stat().st_mtime - quiet
    os.utime(path, (then, then))
    return path


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_claim_is_held_by_one_and_given_back(tmp_path: Path) -> None:
    with claims.claim(tmp_path, "run") as mine:
        assert mine is not None
        mine.check()
        with claims.claim(tmp_path, "run") as second, claims.claim(tmp_path, "other") as other:
            assert second is None and other is not None
        who = claims.holder(tmp_path, "run")
        assert who is not None and who["pid"] == os.getpid() and who["quiet"] < 60
        assert left(tmp_path) == ["run.claim-0"]
    assert left(tmp_path) == [] and claims.holder(tmp_path, "run") is None


def test_a_claim_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claims.claim(tmp_path, "run"):
        raise RuntimeError
    assert left(tmp_path) == []


def test_a_silent_claim_is_taken_over_and_a_touched_one_is_not(tmp_path: Path) -> None:
    by_another(tmp_path, quiet=90)
    with claims.claim(tmp_path, "run", stale_after=100) as mine:
        assert mine is None
    assert claims.holder(tmp_path, "run", 80) is None
    with claims.claim(tmp_path, "run", stale_after=80) as mine:
        assert mine is not None and left(tmp_path) == ["run.claim-0", "run.claim-1"]
        with claims.claim(tmp_path, "run", stale_after=80) as second:
            assert second is None
    assert left(tmp_path) == []


def test_a_process_that_ended_on_this_machine_holds_nothing(tmp_path: Path) -> None:
    path = by_another(tmp_path, quiet=0, pid=ended(), machine=claims._machine())
    assert claims.holder(tmp_path, "run") is None
    path.unlink()
    by_another(tmp_path, quiet=0, pid=ended())  # of another machine: its numbers mean nothing here
    assert claims.holder(tmp_path, "run") is not None


def test_of_many_that_see_a_stale_claim_one_takes_it_over(tmp_path: Path) -> None:
    by_another(tmp_path, quiet=1000)
    start, finish, won = threading.Barrier(12), threading.Barrier(12), []

    def contend() -> None:
        start.wait()
        with claims.claim(tmp_path, "run", stale_after=60) as mine:
            won.append(mine is not None)
            finish.wait()

    threads = [threading.Thread(target=contend) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1 and left(tmp_path) == []


def test_who_was_silent_too_long_notices_that_the_run_is_lost(tmp_path: Path) -> None:
    with claims.claim(tmp_path, "run") as mine:
        assert mine is not None
        taken = by_another(tmp_path, quiet=0, number=1)
        with pytest.raises(claims.ClaimLost, match="run was taken over"):
            mine.check()
    assert left(tmp_path) == [taken.name]  # the other's stays


def test_a_holder_touches_its_claim(tmp_path: Path) -> None:
    with claims.claim(tmp_path, "run", stale_after=0.05) as mine:
        assert mine is not None
        os.utime(mine.path, (0, 0))
        done = threading.Event()
        for _ in range(1000):
            if mine.path.stat().st_mtime > 0 or done.wait(0.01):
                break
        assert mine.path.stat().st_mtime > 0


def test_a_half_written_claim_counts_until_it_is_stale(tmp_path: Path) -> None:
    (tmp_path / "run.claim-0").write_text("")
    assert claims.holder(tmp_path, "run") is not None
    os.utime(tmp_path / "run.claim-0", (0, 0))
    assert claims.holder(tmp_path, "run") is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HncseError, match="claim-0 could not be written"), claims.claim(tmp_path / "file", "run"):
        pass
