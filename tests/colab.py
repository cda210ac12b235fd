"""What happens in Colab, in an environment of our own: ``make colab``; needs PyPI and some minutes.

    python -m tests.colab --resolve     # what an installation would add to Colab's packages, and that it replaces none
    python -m tests.colab               # then all notebooks, in a fresh environment
    python -m tests.colab 03_train      # or some

A fresh environment holds what Colab brings (colab-freeze.txt) and uv, on Python 3.13 where uv finds or fetches one. An
empty folder holds the notebooks and nothing else. The setup cell of the first installs the package from the address in
``[project.urls]``, at the tag of this version; git is told that a repository made of this working tree stands at that
address. Each notebook runs to its end as for somebody who watches, with widgets, on few sentences. What was installed
before must be the same files after.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from hncse.notebook import read_defaults
from tools import notebook_files

ROOT = Path(__file__).resolve().parents[1]
FREEZE = Path(__file__).with_name("colab-freeze.txt")
PYTHON = "3.13"
#: Values at which a notebook shows what it shows sooner; its defaults are for `make notebooks`.
SMALL = {"limit": 400, "steps": 3, "epochs": 1.0, "tokens": 20_000, "vocabulary": 512, "minutes": 0.1, "network": False}
_TORCHS_OWN = ("nvidia-", "cuda-", "triton")  # what a build of torch for GPUs needs; Colab's build has its own
_MARKS = """
import hashlib, importlib.metadata as m, json
def mark(d):
    record = next((f.locate() for f in d.files or () if f.name == "RECORD"), None)
    return [d.version, record and [hashlib.sha256(record.read_bytes()).hexdigest()[:16], record.stat().st_mtime_ns]]
print(json.dumps({d.name: mark(d) for d in m.distributions()}))
"""


def say(line: str) -> None:
    print(line, flush=True)


def call(command: Sequence[object], **options: Any) -> str:
    """Run a command to its end; what it printed, or an exit with what it complained of."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:5]))} … failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def pins(text: str) -> dict[str, str]:
    """Versions by normalised name."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def resolve(uv: Path) -> list[str]:
    """What uv would add to Colab's packages; stops where it would replace one."""
    words = ["--python-version", PYTHON, "--no-annotate", "--no-header", "--quiet"]
    known = pins(FREEZE.read_text(encoding="utf-8"))
    answer = pins(call([uv, "pip", "compile", ROOT / "pyproject.toml", "-c", FREEZE, *words]))
    replaced = [
        f"{name} {known[name]} by {answer[name]}" for name in answer if known.get(name, answer[name]) != answer[name]
    ]
    assert not replaced, f"replaced: {', '.join(replaced)}"
    added = [f"{name} {v}" for name, v in answer.items() if name not in known and not name.startswith(_TORCHS_OWN)]
    say(f"resolver     Python {PYTHON}, {len(known)} pins of Colab's: none replaced; added: {', '.join(added)}")
    return added


def repository(folder: Path) -> Path:
    """A git repository of the working tree: what is in git or would be added."""
    listed = call(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "-q", "-b", "main"], ["add", "-A"], [*author, "commit", "-q", "-m", "working tree"],
        ["tag", f"v{notebook_files.version()}"], ["config", "uploadpack.allowFilter", "true"],
    ):  # fmt: skip
        call(["git", *command], cwd=folder)
    return folder


def environment(stands_at: Path, uv: Path, work: Path) -> dict[str, str]:
    """The variables of a machine that knows nothing of this checkout, and has the repository in a folder."""
    foreign = ("HNCSE_", "PYTHON", "VIRTUAL_ENV", "JUPYTER_", "IPYTHON", "GIT_", "UV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{stands_at.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": notebook_files.repository(), "PATH": f"{uv.parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(work / "jupyter"), "IPYTHONDIR": str(work / "ipython"), "HNCSE_HEADLESS": "0",
        "HNCSE_DATA": "/nonexistent", "HNCSE_RUNS": str(work / "content" / "runs"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def interpreter(uv: Path, work: Path) -> Path:
    """A fresh environment with Colab's packages, and a kernel called ``colab`` in it."""
    folder, python = work / "venv", work / "venv" / "bin" / "python"
    made = [uv, "venv", "-q", "--seed", folder, "--python"]
    if subprocess.run([*map(str, made), PYTHON], capture_output=True, check=False).returncode:
        call([*made, sys.executable])
    given = FREEZE.read_text(encoding="utf-8")
    here = call([python, "-c", "import platform; print(platform.python_version())"]).strip()
    if not here.startswith(f"{PYTHON}."):  # nor is Colab's torch to be had for it without its packages for GPUs
        (torch,) = re.findall(r"^torch==\S+", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
        say(f"environment  no Python {PYTHON} could be had: Python {here}, and {torch} in place of Colab's")
        given = re.sub(r"^(torch|setuptools)==.*", "", given, flags=re.M)  # it wants a younger setuptools
        call([python, "-m", "pip", "install", "-q", torch])
    (work / "given.txt").write_text(given, encoding="utf-8")
    call([uv, "pip", "install", "-q", "--python", python, "-r", work / "given.txt"])
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Colab"}
    (work / "jupyter" / "kernels" / "colab").mkdir(parents=True)
    (work / "jupyter" / "kernels" / "colab" / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    return python


def marks(python: Path) -> dict[str, Any]:
    """Version, hash and age of every package's installation record."""
    return json.loads(call([python, "-I", "-c", _MARKS]))


def execute(notebook: Path, env: dict[str, str], parameters: dict[str, Any] | None = None) -> tuple[float, int]:
    """Run a notebook as papermill does, in its folder; returns seconds and the number of pictures."""
    out, began = notebook.with_name(f"{notebook.stem}-out.ipynb"), time.perf_counter()
    words = ["--kernel", "colab", "--no-progress-bar", "--log-level", "ERROR", "--execution-timeout", "3600"]
    given = [word for name, value in (parameters or {}).items() for word in ("-p", name, value)]
    call([sys.executable, "-m", "papermill", notebook.name, out, *words, *given], cwd=notebook.parent, env=env)
    cells = nbformat.read(out, as_version=4).cells
    pictures = sum("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))
    return time.perf_counter() - began, pictures


def small(notebook: Path) -> dict[str, Any]:
    """The notebook's parameters among `SMALL`."""
    cells = notebook_files.read(notebook).cells
    defaults = read_defaults(next(c.source for c in cells if "parameters" in c.metadata.get("tags", [])))
    return {p.name: SMALL[p.name] for p in defaults if p.name in SMALL}


def only_setup(notebook: Path, folder: Path) -> Path:
    """A copy of a notebook up to its setup cell."""
    short = notebook_files.read(notebook)
    del short.cells[2:]
    nbformat.write(short, folder / "setup.ipynb")
    return folder / "setup.ipynb"


def prove(work: Path, uv: Path, notebooks: Sequence[Path]) -> None:
    """Run it all in an empty folder; stops at the first thing that is not as it must be."""
    for notebook in notebooks:
        assert notebook_files.read(notebook).cells[1].source == notebook_files.setup_source(), notebook.name
    say(f"setup cell   the same in all: {notebook_files.setup_source().splitlines()[-1].strip()}")
    env = environment(repository(work / "repository"), uv, work)
    python = interpreter(uv, work)
    before = marks(python)
    say(f"environment  fresh; {len(before)} packages, as Colab brings them")
    content = work / "content"
    content.mkdir()
    setup = only_setup(notebooks[0], content)
    without = env | {"PATH": os.environ["PATH"]}
    for tool, variables in (("pip, no uv being there", without), ("uv", env)):
        seconds, _ = execute(setup, variables)
        after = marks(python)
        changed = [name for name, mark in before.items() if after.get(name) != mark]
        assert not changed, f"touched by {tool}: {', '.join(changed)}"
        added = [f"{name} {mark[0]}" for name, mark in after.items() if name not in before]
        assert any(name.startswith("hncse ") for name in added), f"{tool} did not install it"
        say(f"setup cell   {seconds:.0f} s, by {tool}; nothing touched; added {', '.join(added)}")
        if tool != "uv":
            call([uv, "pip", "uninstall", "-q", "--python", python, *(name.split()[0] for name in added)])
    for notebook in notebooks:
        shutil.copy(notebook, content)
        seconds, pictures = execute(content / notebook.name, env, small(notebook))
        say(f"  {notebook.stem:24} {seconds:5.0f} s {pictures:3d} pictures")
        assert pictures and marks(python) == after, f"{notebook.stem} shows nothing, or installed something"
    say("all as it must be")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.colab", description="Prove the notebooks' setup in Colab.")
    parser.add_argument("notebooks", nargs="*", help="names; default: all")
    parser.add_argument("--resolve", action="store_true", help="only ask uv what an installation would add")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hncse-colab-") as folder:
        work = Path(folder)
        call([sys.executable, "-m", "venv", work / "uv"])
        call([work / "uv" / "bin" / "python", "-m", "pip", "install", "-q", "uv"])
        uv = work / "uv" / "bin" / "uv"
        resolve(uv)
        if not options.resolve:
            prove(work, uv, notebook_files.find(options.notebooks))


if __name__ == "__main__":
    main()
