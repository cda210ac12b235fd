"""Encoders from a hub: a local server stands in for it, a fresh process asks (the client reads HF_ENDPOINT once)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.hub import Hub

NAME = "somebody/tiny-bert"
ASK = f"""
import sys, numpy as np
from hncse import HncseError, SentenceEncoder
try:
    pooling = sys.argv[2] if len(sys.argv) > 2 else None
    z = SentenceEncoder.from_pretrained({NAME!r}, pooling).encode(["a cat sat", "the dog"])
    np.save(sys.argv[1], z)
except HncseError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a model repository holds: no settings of ours, nothing of sentence-transformers'."""
    folder = tiny.folder(tmp_path_factory.mktemp("model"), "mean")
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return {name: (folder / name).read_bytes() for name in names}


def ask(hub: Hub, tmp_path: Path, *pooling: str) -> tuple[str, Path]:
    out = tmp_path / "z.npy"
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"),
                        "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(out), *pooling], env=env, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, out


def test_an_encoder_is_fetched_and_the_second_time_cached(files: dict[str, bytes], tmp_path: Path) -> None:
    with Hub({NAME: files}) as hub:
        said, out = ask(hub, tmp_path, "mean")
        assert said == ""
        np.testing.assert_allclose(np.load(out), tiny.encoder("mean").encode(["a cat sat", "the dog"]), atol=1e-6)
        weights = f"GET {NAME}/model.safetensors"
        assert hub.asked.count(weights) == 1
        out.unlink()
        ask(hub, tmp_path, "mean")
        assert out.exists() and hub.asked.count(weights) == 1
    out.unlink()
    said, out = ask(hub, tmp_path, "mean")  # the hub is gone: the cache is enough
    assert out.exists() and said == ""


@pytest.mark.parametrize("fault", ["cut", "failing"])
def test_a_bad_transfer_is_an_error_and_leaves_nothing_believed(
    fault: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    with Hub({NAME: files}, fault=fault) as hub:
        said, out = ask(hub, tmp_path, "mean")
    assert f"encoder '{NAME}' is no folder here and could not be fetched from {hub.url}" in said
    assert not out.exists()
    with Hub({NAME: files}) as hub:  # and a good hub then serves it
        assert ask(hub, tmp_path, "mean")[1].exists()


def test_only_pickled_weights_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    pickled = {name: data for name, data in files.items() if name != "model.safetensors"}
    with Hub({NAME: pickled | {"pytorch_model.bin": b"\x80\x04."}}) as hub:
        said, out = ask(hub, tmp_path, "mean")
        assert not any("pytorch_model.bin" in line and line.startswith("GET") for line in hub.asked)
    assert "could not be fetched" in said and not out.exists()


def test_a_sentence_transformers_model_pools_as_its_files_say(tmp_path: Path) -> None:
    encoder = tiny.encoder("mean")
    encoder.prompt = "the bird : "
    folder = encoder.save(tmp_path / "st")
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "hncse.json"]
    files = {name: (folder / name).read_bytes() for name in names}
    expected = encoder.encode(["a cat sat", "the dog"])
    with Hub({NAME: files}) as hub:
        said, out = ask(hub, tmp_path)
        assert said == ""
        np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
        out.unlink()
    ask(hub, tmp_path)  # from the cache
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)


@pytest.mark.parametrize("fault", ["a module", "weights", "tokenizer"])
def test_names_are_checked_as_folders_are(fault: str, files: dict[str, bytes], tmp_path: Path) -> None:
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
    with Hub({NAME: files}) as hub:
        said, out = ask(hub, tmp_path, "mean")
    assert {"a module": "modules Dense", "weights": "lacks weights", "tokenizer": "oken"}[fault] in said
    assert not out.exists()
