"""Datasets on the Hugging Face hub: one file, checked, whole or not at all; or rows. Quick to say what is wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hncse import hub
from hncse.errors import HncseError

__all__ = ["REPOSITORY", "Unavailable", "download", "look_up", "rows"]

#: Where SimCSE's authors keep the benchmark files and the training sentences.
REPOSITORY = "princeton-nlp/datasets-for-simcse"

_PATIENCE = 5.0  # seconds for the first answer; the library's own retries take half a minute to say "no network"
_BUFFER = 10_000  # rows of a streamed dataset among which the next one is drawn
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Unavailable(HncseError):
    """A file could not be had from the hub; the message says why, callers add what to do instead."""


def look_up(repository: str, filename: str, token: bool | None = False) -> Any:
    """Ask the hub for a dataset file's size and hash, once and briefly.

    Args:
        repository: Dataset repository, ``owner/name``.
        filename: Path of the file inside it.
        token: False asks without the user's login; None with it, which private datasets need.

    Returns:
        The library's ``HfFileMetadata`` (``etag``, ``size``, ``location``); None where the repository is there
        and the file is not.

    Raises:
        Unavailable: No network, no such repository, or an answer that no hub gives.
    """
    import huggingface_hub
    from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError

    url = huggingface_hub.hf_hub_url(repository, filename, repo_type="dataset", endpoint=hub.endpoint())
    try:
        return huggingface_hub.get_hf_file_metadata(url, timeout=_PATIENCE, token=token)
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise Unavailable(f"{hub.endpoint()} has no public dataset {repository!r}") from error
    except Exception as error:  # the library's network errors changed their types with every major version
        raise Unavailable(f"{hub.endpoint()} cannot be reached ({_reason(error)})") from error


def download(filename: str, folder: Path, repository: str = REPOSITORY) -> Path:
    """Download one dataset file into a folder, with a progress bar, and check it against the hub's own hash.

    A dropped connection is taken up again where it broke, a few times.

    Args:
        filename: Path of the file inside the repository.
        folder: An existing folder, best a temporary one: the library leaves a ``.cache`` folder in it.
        repository: Dataset repository, ``owner/name``.

    Returns:
        Path of the whole, checked file.

    Raises:
        Unavailable: No network, no such file, a transfer that broke off or arrived damaged.
        HncseError: The folder cannot be written, or the disk is full.
    """
    import huggingface_hub

    facts = look_up(repository, filename)
    if facts is None:
        raise Unavailable(f"{hub.endpoint()}: dataset {repository} has no file {filename!r}")
    try:
        path = Path(
            huggingface_hub.hf_hub_download(
                repository, filename, repo_type="dataset", local_dir=folder, endpoint=hub.endpoint(), token=False
            )
        )
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError):
            raise HncseError(f"{folder} could not be written: {error.strerror or error}") from error
        raise Unavailable(f"{filename} did not arrive whole from {hub.endpoint()} ({_reason(error)})") from error
    except Exception as error:  # as above
        raise Unavailable(f"{filename} did not arrive from {hub.endpoint()} ({_reason(error)})") from error
    if facts.etag and _SHA256.fullmatch(facts.etag) and _sha256(path) != facts.etag:
        raise Unavailable(f"{filename} arrived damaged from {hub.endpoint()}: its sha256 is not {facts.etag[:12]}…")
    return path


def rows(name: str, *, streamed: bool, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Read the training split of a dataset on the hub, or in a local folder, with the ``datasets`` library.

    Args:
        name: ``<dataset>``, or ``<dataset>@<configuration>``.
        streamed: Read row by row, drawn from a buffer in an order that ``seed`` decides, instead of downloading all.
        seed: Seed of that order.

    Yields:
        Rows, column name → value.

    Raises:
        HncseError: No network, no such dataset, no training split, a transfer that broke off.
    """
    import datasets
    from huggingface_hub import constants

    path, _, configuration = name.partition("@")
    try:
        if not Path(path).exists() and not constants.HF_HUB_OFFLINE:
            look_up(
                path, "README.md", token=None
            )  # the library takes half a minute to find out that there is no network
        found = datasets.load_dataset(path, configuration or None, streaming=streamed)
    except Exception as error:  # a dozen types, by version
        raise HncseError(f"dataset {name!r} could not be loaded: {_reason(error)}") from error
    if "train" not in found:
        raise HncseError(f"dataset {name!r} has no split 'train'; it has: {', '.join(found)}")
    train = found["train"].shuffle(seed=seed, buffer_size=_BUFFER) if streamed else found["train"]
    try:
        yield from train
    except Exception as error:  # from a dropped connection to a damaged shard
        raise HncseError(f"dataset {name!r} could not be read to its end: {_reason(error)}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    """Return an error's first line, or its type's name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
