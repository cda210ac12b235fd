"""Run the notebooks on an installed wheel, in an empty folder, as somebody without a checkout does.

    python -m tests.installed_wheel                  # all of them, beside this environment's other packages
    python -m tests.installed_wheel --fresh 07c_the_sweep     # in a new environment: the wheel's requirements suffice

What each shows must be as much as in a checkout: no cell fails, and recorded results are there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
#: Pictures that a notebook shows at least, where recorded results are to be there.
PICTURES = {"07a_luck_and_verdicts": 5, "07b_paper_against_code": 3, "07c_the_sweep": 3}

WHERE = "import hncse; print(hncse.__file__)"


def build(folder: Path) -> Path:
    """Build the wheel from a copy of the sources, so that no old build/ can help, and give its file."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, source)
    copytree(ROOT / "hncse", source / "hncse", ignore=ignore_patterns("__pycache__"))
    pip([sys.executable], "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("hncse-*.whl")
    return wheel


def pip(python: list[str], *words: object) -> None:
    command = [*python, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check", *map(str, words[1:])]
    done = subprocess.run(command, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def install(wheel: Path, work: Path, fresh: bool) -> tuple[str, dict[str, str]]:
    """Install the wheel; give the Python to run and its environment variables."""
    foreign = ("HNCSE_", "PYTHON", "VIRTUAL_ENV", "JUPYTER_", "IPYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {
        "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(work / "ipython"),
        "HNCSE_DATA": "/nonexistent", "HNCSE_HEADLESS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    if fresh:
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
        python = str(work / "venv" / "bin" / "python")
        pip([python], "install", "--no-compile", "-c", ROOT / "constraints.txt", f"{wheel}[notebooks]")
        return python, env
    target = work / "installed"
    pip([sys.executable], "install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    return sys.executable, env | {"PYTHONPATH": str(target)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.installed_wheel", description="Notebooks without a checkout."
    )
    parser.add_argument("notebooks", nargs="*", choices=[*NOTEBOOKS, []], help="names; default: all")
    parser.add_argument("--fresh", action="store_true", help="install into a new environment, with all requirements")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hncse-wheel-") as folder:
        work = Path(folder)
        python, env = install(build(work / "wheel"), work, options.fresh)
        empty = work / "empty"
        empty.mkdir()
        place = subprocess.run([python, "-c", WHERE], cwd=empty, env=env, capture_output=True, text=True, check=True)
        assert place.stdout.startswith(str(work)), f"hncse comes from {place.stdout.strip()}, not from the wheel"
        broken = [name for name in options.notebooks or NOTEBOOKS if not run(name, python, env, empty)]
    print(f"failed: {', '.join(broken)}" if broken else "all ran on the installed wheel", flush=True)
    return 1 if broken else 0


def run(name: str, python: str, env: dict[str, str], empty: Path) -> bool:
    """Execute a notebook as papermill does, and say what it showed."""
    copy(ROOT / "notebooks" / f"{name}.ipynb", empty)
    out, began = empty / f"{name}-out.ipynb", time.perf_counter()
    words = ["--kernel", "python3", "--no-progress-bar", "--log-level", "ERROR", "--execution-timeout", "3600"]
    done = subprocess.run(
        [python, "-m", "papermill", f"{name}.ipynb", out, *words],
        cwd=empty, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{name}: failed\n{done.stdout[-2000:]}{done.stderr[-3000:]}", flush=True)
        return False
    cells = nbformat.read(out, as_version=4).cells
    pictures = sum("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))
    print(f"{name:24} {time.perf_counter() - began:6.1f} s {pictures:4d} pictures", flush=True)
    if pictures < PICTURES.get(name, 1):
        print(f"{name}: shows {pictures} pictures, in a checkout at least {PICTURES.get(name, 1)}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
