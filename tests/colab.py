"""What happens in Colab, in an environment of our own: ``make colab``, a few minutes, needs PyPI.

An empty folder holds one notebook and nothing else. A fresh environment holds what Colab brings: torch, numpy, Jupyter.
The notebook's setup cell, as it is committed, installs the package from the address in ``[project.urls]``; git is told
that a repository made of this working tree stands at that address. Then the notebook runs to its end, twice: the second
time there is nothing to install. torch and numpy must be the same files before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat

from tools import notebook_files

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "03_train"
PARAMETERS = {"limit": 400, "eval_every": 5}
KEPT = ("torch", "numpy")
# Older than the newest, as in Colab: an installation that upgrades what the running kernel stands on would show.
GIVEN = ("numpy==2.0.2", "pandas==2.2.2", "ipykernel==6.17.1", "ipython==7.34.0", "ipywidgets==7.7.1", "papermill")
_VERSIONS = """
import importlib.metadata as m, json
print(json.dumps({d.name: d.version for d in m.distributions()}))
"""
_MARKS = """
import hashlib, importlib.metadata as m, json, pathlib, sys
def mark(name):
    record = next(f for f in m.files(name) if f.name == "RECORD").locate()
    text = pathlib.Path(record).read_bytes()
    return {"version": m.version(name), "record": hashlib.sha256(text).hexdigest()[:16],
            "written": pathlib.Path(record).stat().st_mtime_ns}
print(json.dumps({name: mark(name) for name in sys.argv[1:]}))
"""


def say(line: str) -> None:
    print(line, flush=True)


def repository(folder: Path) -> Path:
    """A git repository of the working tree: what is in git or would be added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*author, "commit", "-q", "-m", "working tree"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    subprocess.run(["git", "tag", f"v{notebook_files.version()}"], cwd=folder, check=True)
    subprocess.run(["git", "config", "uploadpack.allowFilter", "true"], cwd=folder, check=True)
    return folder


def environment(address: str, stands_at: Path, work: Path) -> dict[str, str]:
    """The variables of a machine that knows nothing of this checkout, and finds ``address`` at a folder."""
    foreign = ("HNCSE_", "PYTHON", "VIRTUAL_ENV", "JUPYTER_", "IPYTHON", "GIT_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    instead = f"url.{stands_at.as_uri()}.insteadOf"
    return kept | {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": instead, "GIT_CONFIG_VALUE_0": address,
        "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(work / "ipython"),
        "HNCSE_DATA": "/nonexistent", "HNCSE_RUNS": str(work / "content" / "runs"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def marks(python: Path, *names: str) -> dict[str, Any]:
    """Version, hash and age of packages' installation records."""
    done = subprocess.run([python, "-I", "-c", _MARKS, *names], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def versions(python: Path) -> dict[str, str]:
    """Every installed package with its version."""
    done = subprocess.run([python, "-I", "-c", _VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def execute(python: Path, content: Path, env: dict[str, str], out: str) -> tuple[float, Any]:
    """Run the notebook as papermill does; returns seconds and the executed notebook."""
    given = [word for name, value in PARAMETERS.items() for word in ("-p", name, str(value))]
    command = [python, "-m", "papermill", "--kernel", "python3", "--no-progress-bar", "--log-level", "ERROR"]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, f"{NOTEBOOK}.ipynb", out, *given], cwd=content, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"the notebook failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - began, nbformat.read(content / out, as_version=4)


def prove(work: Path) -> None:
    """Run it all in an empty folder; stops at the first thing that is not as it must be."""
    notebook = notebook_files.read(ROOT / "notebooks" / f"{NOTEBOOK}.ipynb")
    address = notebook_files.repository()
    assert notebook.cells[1].source == notebook_files.setup_source()
    say(f"setup cell   {notebook.cells[1].source.splitlines()[-1].strip()}")
    copy = repository(work / "repository")
    say(f"git          {address} stands for a repository of the working tree")

    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    torch = re.search(r"^torch==\S+", pins, re.M)
    assert torch is not None, "constraints.txt pins no torch"
    subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    python = work / "venv" / "bin" / "python"
    env = environment(address, copy, work)
    subprocess.run([python, "-m", "pip", "install", "-qq", torch[0], *GIVEN], env=env, check=True)
    before, known = marks(python, *KEPT), versions(python)
    say("environment  fresh; holds " + ", ".join(f"{name} {mark['version']}" for name, mark in before.items()))

    content = work / "content"
    content.mkdir()
    shutil.copy(ROOT / "notebooks" / f"{NOTEBOOK}.ipynb", content)
    say(f"folder       {', '.join(p.name for p in content.iterdir())}, nothing else")
    seconds, _ = execute(python, content, env, "first.ipynb")
    say(f"first run    {seconds:.0f} s with the installation, {PARAMETERS}")
    after = marks(python, *KEPT)
    for name in KEPT:
        assert before[name] == after[name], f"{name} was touched: {before[name]} became {after[name]}"
        say(f"  {name:10} {after[name]['version']}, untouched (record {after[name]['record']}, same bytes, same age)")
    now = versions(python)
    moved = [f"{name} {old} to {now.get(name)}" for name, old in known.items() if now.get(name) != old]
    say(f"  others     {len(now) - len(known)} packages added, replaced: {', '.join(moved) or 'none'}")
    installed = marks(python, "hncse")
    say(f"  {'hncse':10} {installed['hncse']['version']}, installed from git into the kernel's own environment")

    seconds, executed = execute(python, content, env, "second.ipynb")
    assert marks(python, "hncse", *KEPT) == installed | before, "the second run installed something"
    say(f"second run   {seconds:.0f} s, nothing installed, the finished run opened again")
    shown = [o for c in executed.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    (run,) = (content / "runs").glob("*/result.json")
    stored = sorted(p.name for p in (run.parent / "figures").glob("*.png"))
    assert len(shown) >= 4 and len(stored) >= 4
    say(f"left behind  {len(shown)} pictures in the notebook; {', '.join(stored)} in the run folder")
    say("all as it must be")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.colab", description="Prove the setup line of the notebooks.")
    parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hncse-colab-") as folder:
        prove(Path(folder))


if __name__ == "__main__":
    main()
