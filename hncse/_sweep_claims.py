"""Claims: how processes and machines that share a folder of runs agree on who trains which run.

    with claim(folder, "simcse-seed0-1a2b3c4d") as mine:
        if mine is not None: …            # None: somebody else is at it

A claim is a small file beside the run folder, ``<run>.claim-0``, made with O_EXCL: one of many succeeds. Its holder
touches it every few seconds. A claim that nobody touches any more is stale, and the run goes to whoever makes
``<run>.claim-1`` first, and so on; the highest number holds the run. Numbers only rise, so two processes that see the
same stale claim cannot both win, as they could if the old file were removed and made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hncse.errors import HncseError

__all__ = ["STALE_AFTER", "Claim", "ClaimLost", "claim", "holder"]

STALE_AFTER = 300.0  # seconds without a touch
_MARK = ".claim-"


class ClaimLost(Exception):
    """Somebody took this claim over: this process was silent for too long, and must leave the run alone."""


@dataclass
class Claim:
    """A claim this process holds.

    Attributes:
        path: Its file.
    """

    path: Path

    def check(self) -> None:
        """Raise `ClaimLost` if the run went to somebody else."""
        if _files(self.path.parent, _run_of(self.path))[-1:] != [self.path]:
            raise ClaimLost(f"{_run_of(self.path)} was taken over by another process")


@contextlib.contextmanager
def claim(folder: Path, run: str, stale_after: float = STALE_AFTER) -> Iterator[Claim | None]:
    """Claim a run for as long as the block lasts.

    Args:
        folder: Folder of runs.
        run: Name of the run.
        stale_after: Seconds without a touch after which another's claim counts for nothing.

    Yields:
        The claim; None where another process holds the run.

    Raises:
        HncseError: The folder cannot be written.
    """
    held = _files(folder, run)
    path = folder / f"{run}{_MARK}{_number(held[-1]) + 1 if held else 0}"
    free = not held or holder(folder, run, stale_after) is None
    if not (free and _create(path)):
        yield None
        return
    over = threading.Event()
    beat = threading.Thread(target=_touch, args=(path, min(stale_after / 5, 20.0), over), daemon=True)
    beat.start()
    mine = Claim(path)
    try:
        yield mine
    finally:
        over.set()
        beat.join()
        for old in _files(folder, run):
            if _number(old) <= _number(path):  # those it took over, lowest first, and its own
                old.unlink(missing_ok=True)


def holder(folder: Path, run: str, stale_after: float = STALE_AFTER) -> dict[str, Any] | None:
    """Who holds a run.

    Returns:
        ``host``, ``pid``, ``since`` and ``quiet`` (seconds since its last touch); None if nobody does: there is no
        claim, its process has ended on this very machine, or it is stale.
    """
    held = _files(folder, run)
    if not held:
        return None
    try:
        quiet = _now(folder) - held[-1].stat().st_mtime
        who = json.loads(held[-1].read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None  # given back this moment
    except json.JSONDecodeError:
        who = {"host": "unknown", "machine": "", "pid": -1, "since": ""}  # being written, or cut off by a full disk
    if quiet > stale_after or (who["machine"] == _machine() and not _alive(who["pid"])):
        return None
    return who | {"quiet": max(0.0, quiet)}


def _create(path: Path) -> bool:
    """Make the claim's file, unless somebody was quicker."""
    who = {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "since": _date()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # O_CREAT | O_EXCL
            file.write(json.dumps(who) + "\n")
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            return False
        raise HncseError(f"{path} could not be written: {error.strerror or error}") from error
    return True


def _touch(path: Path, every: float, over: threading.Event) -> None:
    while not over.wait(every):
        with contextlib.suppress(OSError):  # a share that is away for a moment
            os.utime(path)


def _files(folder: Path, run: str) -> list[Path]:
    """Claims of a run, lowest number first."""
    found = [path for path in folder.glob(f"{run}{_MARK}*") if path.name.rpartition(_MARK)[2].isdigit()]
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    return int(path.name.rpartition(_MARK)[2])


def _run_of(path: Path) -> str:
    return path.name.rpartition(_MARK)[0]


def _now(folder: Path) -> float:
    """The clock that dates files in this folder: a file server's may differ from ours."""
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
        return Path(file.name).stat().st_mtime
    return time.time()


def _machine() -> str:
    """What makes a process number mean something: the host, its boot and, in containers, the namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _date() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
