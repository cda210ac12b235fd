"""Fixtures of the data tests: an empty data folder, and a hub on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hub import Hub


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HNCSE_DATA", str(folder))
    return folder


@pytest.fixture
def serve(online: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hub]]:
    """Start a hub with some files of SimCSE's dataset repository: serve({"senteval.tar": b"..."}, fault="cut")."""
    from hncse.data.remote import REPOSITORY

    with ExitStack() as stack:

        def start(files: dict[str, bytes], fault: str = "none") -> Hub:
            hub = stack.enter_context(Hub({REPOSITORY: files}, fault))
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            return hub

        yield start
