"""What holds for every test: no network, no file of the user's, one thread a process, real data only where marked."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before torch or huggingface_hub is imported, which read these once. Processes that tests start (and pytest-xdist's
# workers) inherit it, so that all share one empty data folder, and what is cached there is made once.
_REAL, _SCRATCH = "HNCSE_TESTS_REAL_DATA", "HNCSE_TESTS_SCRATCH"
_OWNER = _SCRATCH not in os.environ
sys.dont_write_bytecode = False  # the many processes that tests start read what this one has compiled
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if _OWNER:
    os.environ[_REAL] = os.environ.get("HNCSE_DATA", "")
    os.environ[_SCRATCH] = tempfile.mkdtemp(prefix="hncse-tests-")
    for name in ("data", "runs", "hub"):
        (Path(os.environ[_SCRATCH]) / name).mkdir()
    os.environ.update(
        HNCSE_DATA=f"{os.environ[_SCRATCH]}/data",
        HNCSE_RUNS=f"{os.environ[_SCRATCH]}/runs",
        HNCSE_CACHE=f"{os.environ[_SCRATCH]}/embeddings",
        HF_HOME=f"{os.environ[_SCRATCH]}/hub",
        HF_HUB_OFFLINE="1",  # a call that should not be made fails at once
        HF_ENDPOINT="http://127.0.0.1:9",  # and where a test lifts that, it meets a closed port
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        OMP_NUM_THREADS="1",
        ONEDNN_MAX_CPU_ISA="AVX512_CORE",  # precision="auto" is float32, on every machine
        MPLBACKEND="Agg",
    )


# Their tests share what is costly, UMAP's compilation or a process to fork from: first of all, they fall to one worker.
_COSTLY = ("boundary", "explorer", "mteb", "own_pictures", "pairs", "projection", "recipes", "sweep", "training")
_TOGETHER = {f"test_{name}.py" for name in _COSTLY}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _TOGETHER)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the collector what was imported: every training of accelerate's calls it, for a third of a small one."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OWNER:
        shutil.rmtree(os.environ[_SCRATCH], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Point HNCSE_DATA at the real files for tests marked real, at an empty folder for all others; draw coarsely."""
    if style := sys.modules.get("hncse.visual.style"):
        style._DPI = 50
    if item.get_closest_marker("real") is None:
        os.environ["HNCSE_DATA"] = f"{os.environ[_SCRATCH]}/data"
        return
    if not Path(os.environ[_REAL] or "/nonexistent").is_dir():
        pytest.fail(
            f"this test needs real benchmark files: set HNCSE_DATA (now {os.environ[_REAL]!r}) to their folder, or "
            "leave such tests out with `make test` (-m 'not real')",
            pytrace=False,
        )
    os.environ["HNCSE_DATA"] = str(Path(os.environ[_REAL]).resolve())


@pytest.fixture
def small_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of twelve groups, where what it measures is not the question."""
    from tests import processes

    processes.shrink(monkeypatch.setattr)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Settings of a training of seconds: a tiny encoder, every step logged, scores that nothing computes."""
    from hncse.training import trainer
    from tests import processes, tiny

    folder = tmp_path_factory.mktemp("quick")
    with pytest.MonkeyPatch.context() as patch:
        processes.shrink(patch.setattr)
        patch.setattr(trainer.Watch, "_scores", lambda self: {"probe": 50.0})
        yield {
            "encoder": str(tiny.folder(folder)), "output": str(folder / "runs"), "batch_size": 16, "log_every": 1,
            "eval_every": 2, "snapshots": 0, "seed": 7, "selection": "last", "max_length": 16,
        }  # fmt: skip


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client make calls; HF_ENDPOINT decides whom it meets (a closed port unless `serve` is called)."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def kit():
    """The embedded encoder, untrained by any test; tests that change it load their own."""
    from hncse import SentenceEncoder

    return SentenceEncoder.from_pretrained("kit", device="cpu")
