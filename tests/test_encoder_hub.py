"""Encoders from a hub: a local server stands in for it, a fresh process asks (the client reads HF_ENDPOINT once)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.hub import Hub

# Asks for one encoder a line: its name, where to write two embeddings, the pooling; answers with what it was told.
ASKER = """
import json, sys, time
import numpy as np
time.sleep = lambda seconds: None  # the client waits longer and longer between its tries
from hncse import HncseError, SentenceEncoder
for line in sys.stdin:
    name, out, pooling = json.loads(line)
    said = ""
    try:
        np.save(out, SentenceEncoder.from_pretrained(name, pooling).encode(["a cat sat", "the dog"]))
    except HncseError as error:
        said = str(error)
    print(json.dumps(said), flush=True)
"""
Files = dict[str, bytes]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def port() -> int:
    """A port that is free: the hub's, whenever there is one."""
    with Hub({}) as hub:
        return int(hub.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def asker(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    env = os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                        "HF_HOME": str(tmp_path_factory.mktemp("hub"))}  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", ASKER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def name() -> str:
    """A repository that nobody has asked for yet."""
    return f"somebody/tiny-{next(_numbers)}"


@pytest.fixture
def ask(asker: subprocess.Popen[str], name: str, tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    def asked(pooling: str | None = None) -> tuple[str, Path]:
        assert asker.stdin is not None and asker.stdout is not None
        asker.stdin.write(json.dumps([name, str(tmp_path / "z.npy"), pooling]) + "\n")
        asker.stdin.flush()
        return json.loads(asker.stdout.readline()), tmp_path / "z.npy"

    return asked


@pytest.fixture
def hub(port: int, name: str) -> Callable[..., Hub]:
    return lambda files, fault="none": Hub({name: files}, fault, port)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What a model repository holds: no settings of ours, nothing of sentence-transformers'."""
    folder = tiny.folder(tmp_path_factory.mktemp("model"), "mean")
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return {name: (folder / name).read_bytes() for name in names}


def test_an_encoder_is_fetched_and_the_second_time_cached(files: Files, name, hub, ask) -> None:
    with hub(files) as there:
        said, out = ask("mean")
        assert said == ""
        np.testing.assert_allclose(np.load(out), tiny.encoder("mean").encode(["a cat sat", "the dog"]), atol=1e-6)
        weights = f"GET {name}/model.safetensors"
        assert there.asked.count(weights) == 1
        out.unlink()
        ask("mean")
        assert out.exists() and there.asked.count(weights) == 1
    out.unlink()
    said, out = ask("mean")  # the hub is gone: the cache is enough
    assert out.exists() and said == ""


@pytest.mark.parametrize("fault", ["cut", "failing"])
def test_a_bad_transfer_is_an_error_and_leaves_nothing_believed(fault: str, files: Files, name, port, hub, ask) -> None:
    with hub(files, fault):
        said, out = ask("mean")
    assert f"encoder '{name}' is no folder here and could not be fetched from http://127.0.0.1:{port}" in said
    assert not out.exists()
    with hub(files):  # and a good hub then serves it
        assert ask("mean")[1].exists()


def test_only_pickled_weights_are_refused(files: Files, hub, ask) -> None:
    pickled = {name: data for name, data in files.items() if name != "model.safetensors"}
    with hub(pickled | {"pytorch_model.bin": b"\x80\x04."}) as there:
        said, out = ask("mean")
        assert not any("pytorch_model.bin" in line and line.startswith("GET") for line in there.asked)
    assert "could not be fetched" in said and not out.exists()


def test_a_sentence_transformers_model_pools_as_its_files_say(hub, ask, tmp_path: Path) -> None:
    encoder = tiny.encoder("mean")
    encoder.prompt = "the bird : "
    folder = encoder.save(tmp_path / "st")
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "hncse.json"]
    files = {name: (folder / name).read_bytes() for name in names}
    expected = encoder.encode(["a cat sat", "the dog"])
    with hub(files):
        said, out = ask()
        assert said == ""
        np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
        out.unlink()
    ask()  # from the cache
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)


@pytest.mark.parametrize("fault", ["a module", "weights", "tokenizer"])
def test_names_are_checked_as_folders_are(fault: str, files: Files, hub, ask) -> None:
    if fault == "a module":
        modules = [
            {"type": f"sentence_transformers.models.{m}", "path": m} for m in ("Transformer", "Pooling", "Dense")
        ]
        files = files | {"modules.json": json.dumps(modules).encode()}
    elif fault == "weights":
        files = files | {
            "config.json": files["config.json"].replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": 3')
        }
    else:
        files = {name: data for name, data in files.items() if "tokenizer" not in name}
    with hub(files):
        said, out = ask("mean")
    assert {"a module": "modules Dense", "weights": "lacks weights", "tokenizer": "oken"}[fault] in said
    assert not out.exists()
