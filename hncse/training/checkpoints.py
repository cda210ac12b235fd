"""What an interrupted run resumes from: the last whole checkpoint of two; and one sentence for a disk that refuses."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from hncse.errors import HncseError
from hncse.runs import Run

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["BEST", "PROGRESS", "disk_troubles", "keep_two", "last", "progress"]

_LOG = logging.getLogger(__name__)
_STATE = "trainer_state.json"
#: File of the best weights on STS-B dev, and our entry in `Trainer`'s state.
BEST, PROGRESS = "best.safetensors", "hncse"
_DISK_WORDS = ("os error", "inline_container", "iostream error")  # safetensors', then torch's, of a disk that refuses


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _folders(run: Run) -> list[Path]:
    """Folders of checkpoints, the newest first."""
    return sorted(run.checkpoints.glob("checkpoint-*"), key=_step, reverse=True)


def keep_two(run: Run) -> None:
    """See the newest checkpoint onto the disk and remove all but one other, for the day the newest is damaged."""
    newest, *others = _folders(run)
    for path in newest.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for older in others[1:]:
        shutil.rmtree(older)


def last(run: Run, processes: int, select: bool) -> str | None:
    """Folder of the last whole checkpoint; what is damaged is removed, what was logged after it is forgotten.

    Args:
        run: The run.
        processes: That will share a batch.
        select: Whether the best weights so far must be there as well.

    Raises:
        HncseError: It was made by another number of processes, whose random numbers would differ.
    """
    whole = None
    for folder in _folders(run):
        damage = _damage(folder, processes)
        if damage is None:
            whole = folder
            break
        if (folder / _STATE).exists():  # written last: the checkpoint was whole once
            _LOG.warning("%s is damaged (%s); going back to an older one", folder, damage)
        shutil.rmtree(folder)
    best = run.checkpoints / BEST
    if whole and select and (reason := _unreadable(best)):
        _LOG.warning("%s is damaged (%s); training from the beginning", best, reason)
        shutil.rmtree(run.checkpoints)
        whole = None
    if whole is None:
        best.unlink(missing_ok=True)
    run.rewind(_step(whole) if whole else -1)
    run.checkpoints.mkdir(exist_ok=True)
    return str(whole) if whole else None


def _damage(folder: Path, processes: int) -> str | None:
    """Why a checkpoint cannot be resumed from; None: it can."""
    try:
        before = progress(folder)["processes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_STATE}: {error}"
    if before != processes:
        raise HncseError(
            f"{folder} was made with {before} processes, now with {processes}: order and dropout would differ from "
            f"there on. Resume with {before}, or remove {folder.parent} to train from the beginning"
        )
    ranks = [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    for name in ("optimizer.pt", "scheduler.pt", *ranks):
        try:
            with zipfile.ZipFile(folder / name) as file:
                broken = file.testzip()
        except (OSError, zipfile.BadZipFile) as error:
            return f"{name}: {error}"
        if broken:
            return f"{name}: {broken} does not fit its checksum"
    return _unreadable(folder / "model.safetensors")


def progress(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint knows beyond `Trainer`'s own state."""
    state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    return dict(state["stateful_callbacks"][PROGRESS])


def _unreadable(path: Path) -> str | None:
    try:
        with safe_open(path, "pt") as file:
            file.keys()
    except (OSError, SafetensorError) as error:
        return f"{path.name}: {error}"
    return None


@contextlib.contextmanager
def disk_troubles(run: Run, encoder: SentenceEncoder) -> Iterator[None]:
    """Say in one sentence what the disk refused, whichever library was writing."""
    try:
        yield
    except (HncseError, OSError, RuntimeError, SafetensorError) as error:
        text = str(error)
        if isinstance(error, HncseError):
            disk = "written" in text
        else:
            disk = isinstance(error, OSError) or any(words in text for words in _DISK_WORDS)
        if not disk:
            raise
        free = 0
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(run.path).free
        need = 3 * sum(p.numel() * p.element_size() for p in encoder.parameters())  # weights and AdamW's two moments
        reason = getattr(error, "strerror", None) or text.splitlines()[0]
        raise HncseError(
            f"run folder {run.path}: {reason}. {free:,} bytes are free there, and each of two checkpoints takes about "
            f"{need:,}; with more room the same command resumes the run"
        ) from error
