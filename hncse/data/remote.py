"""Datasets on the Hugging Face hub: one file, checked, whole or not at all; or rows. Quick to say what is wrong.

Nothing waits for ever: a server that does not answer, answers a byte at a time, or asks for an hour's patience is
given up with a sentence.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hncse import files
from hncse.errors import HncseError

__all__ = ["REPOSITORY", "Unavailable", "download", "rows", "work_folder"]

#: Where SimCSE's authors keep the benchmark files and the training sentences.
REPOSITORY = "princeton-nlp/datasets-for-simcse"

_SILENCE = 10.0  # seconds without a byte, after which a transfer is taken up again
_ATTEMPTS = 3  # times that it is, without a new byte in between
_FLOOR, _WINDOW = 1_000, 30.0  # bytes a second, seconds: a transfer slower than that for so long is given up
_LONGEST_WAIT = 60  # seconds that a busy server may ask for
_LEFTOVER = 86_400  # seconds after which a folder of an interrupted download is nobody's
_PATIENCE = 5.0  # seconds for the first answer; the library's own retries take half a minute to say "no network"
_BUFFER = 10_000  # rows of a streamed dataset among which the next one is drawn


class Unavailable(HncseError):
    """A file could not be had from the hub; the message says why, callers add what to do instead."""


def download(filename: str, folder: Path, repository: str = REPOSITORY) -> Path:
    """Download one dataset file into a folder, with a progress bar, and check it against the hub's own hash.

    A dropped connection is taken up again where it broke, a few times.

    Raises:
        Unavailable: No network, no such file, a transfer that broke off or arrived damaged.
        HncseError: The folder cannot be written, or the disk is full.
    """
    from huggingface_hub.utils import tqdm

    facts = _look_up(repository, filename)
    if facts is None:
        raise Unavailable(f"{files.hub()}: dataset {repository} has no file {filename!r}")
    path = folder / Path(filename).name
    failures = 0
    with tqdm(total=facts.size, unit="B", unit_scale=True, desc=path.name) as bar:
        while True:
            before = bar.n
            try:
                _receive(_url(repository, filename), path, bar)
                break
            except HncseError:
                raise
            except OSError as error:
                raise HncseError(f"{folder} could not be written: {error.strerror or error}") from error
            except Exception as error:  # the types of the client's errors changed with every major version
                failures = failures + 1 if bar.n <= before else 0
                if failures >= _ATTEMPTS:
                    raise Unavailable(f"{filename} did not arrive from {files.hub()} ({_reason(error)})") from error
                time.sleep(1)
    if facts.size is not None and path.stat().st_size != facts.size:
        size = f"{path.stat().st_size:,} of {facts.size:,} bytes"
        raise Unavailable(f"{filename} did not arrive whole from {files.hub()} ({size})")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if re.fullmatch("[0-9a-f]{64}", facts.etag or "") and digest != facts.etag:
        raise Unavailable(f"{filename} arrived damaged from {files.hub()}: its sha256 is not {facts.etag[:12]}…")
    return path


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Give a folder beside a download's destination, gone afterwards; one that a kill left a day ago goes as well."""
    for old in parent.glob(".fetch-*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _LEFTOVER:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".fetch-") as work:
        yield Path(work)


def rows(name: str, *, streamed: bool, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Read the training split of a dataset on the hub, or in a local folder, with the ``datasets`` library.

    Args:
        name: ``<dataset>``, or ``<dataset>@<configuration>``.
        streamed: Read row by row, drawn from a buffer in an order that ``seed`` decides, instead of downloading all.
        seed: Seed of that order.

    Raises:
        HncseError: No network, no such dataset, no training split, a transfer that broke off.
    """
    import datasets
    from huggingface_hub import constants

    path, _, configuration = name.partition("@")
    path = str(Path(path).expanduser()) if path.startswith("~") else path
    with _impatient():
        try:
            if not Path(path).exists() and not constants.HF_HUB_OFFLINE:
                _look_up(path, "README.md", token=None)  # the library needs half a minute to see there is no network
            splits = datasets.load_dataset(path, configuration or None, streaming=streamed)
        except Exception as error:  # a dozen types, by version
            raise HncseError(f"dataset {name!r} could not be loaded: {_reason(error)}") from error
        if "train" not in splits:
            raise HncseError(f"dataset {name!r} has no split 'train'; it has: {', '.join(splits)}")
        train = splits["train"].shuffle(seed=seed, buffer_size=_BUFFER) if streamed else splits["train"]
        try:
            yield from train
        except Exception as error:  # from a dropped connection to a damaged shard
            raise HncseError(f"dataset {name!r} could not be read to its end: {_reason(error)}") from error


def _url(repository: str, filename: str) -> str:
    import huggingface_hub

    return huggingface_hub.hf_hub_url(repository, filename, repo_type="dataset", endpoint=files.hub())


def _look_up(repository: str, filename: str, token: bool | None = False) -> Any:
    """Size and hash of a dataset's file, asked once and briefly; None where it is not there; token None: the user's."""
    import huggingface_hub
    from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError

    try:
        return huggingface_hub.get_hf_file_metadata(_url(repository, filename), timeout=_PATIENCE, token=token)
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise Unavailable(f"{files.hub()} has no public dataset {repository!r}") from error
    except Exception as error:  # the library's network errors changed their types with every major version
        if (response := getattr(error, "response", None)) is not None:
            _refuse_long_waits(response)
        raise Unavailable(f"{files.hub()} cannot be reached ({_reason(error)})") from error


def _receive(url: str, path: Path, bar: Any) -> None:
    """Take up one transfer where the file ends, and read it to its end."""
    from huggingface_hub.utils import get_session

    have = path.stat().st_size if path.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with get_session().stream("GET", url, headers=headers, timeout=_SILENCE, follow_redirects=True) as response:
        _refuse_long_waits(response)
        response.raise_for_status()
        resumed = response.status_code == 206
        bar.n = have if resumed else 0
        began, received = time.monotonic(), 0
        with path.open("ab" if resumed else "wb") as file:
            for block in response.iter_raw():
                file.write(block)
                bar.update(len(block))
                received += len(block)
                if (seconds := time.monotonic() - began) < _WINDOW:
                    continue
                if received < _FLOOR * seconds:
                    raise Unavailable(
                        f"{files.hub()} sent {received:,} bytes of {path.name} in {seconds:.0f} seconds, which would "
                        "take for ever: given up"
                    )
                began, received = time.monotonic(), 0


def _refuse_long_waits(response: Any) -> None:
    wait = response.headers.get("Retry-After", "")
    too_long = int(wait) > _LONGEST_WAIT if wait.isdigit() else response.status_code == 429
    if response.status_code in (429, 503) and too_long:
        when = f"in {int(wait):,} seconds" if wait.isdigit() else "later"
        raise Unavailable(f"{files.hub()} is busy (status {response.status_code}) and asks to come back {when}")


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let the hub's client, whoever calls it, give up on a server that keeps silent or asks for a long wait."""
    from huggingface_hub.utils import get_session

    session = get_session()
    send, timeouts = session.send, 0

    def sending(*arguments: Any, **options: Any) -> Any:
        nonlocal timeouts
        try:
            response = send(*arguments, **options)
        except Exception as error:
            timeouts += "Timeout" in type(error).__name__
            if timeouts >= _ATTEMPTS:
                raise Unavailable(f"{files.hub()} does not answer ({_ATTEMPTS} times in a row)") from error
            raise
        timeouts = 0
        _refuse_long_waits(response)
        return response

    session.send = sending  # type: ignore[method-assign]
    try:
        yield
    finally:
        session.send = send  # type: ignore[method-assign]


def _reason(error: BaseException) -> str:
    """Return an error's first line, or its type's name where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
