"""Notebooks as files: found, read, written, and what the first cells of each must be."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hncse import files
from hncse.errors import HncseError, unknown

Say = Callable[[str], None]
SETUP = 'find_spec("hncse") is None'
CHECKOUT = Path(__file__).resolve().parent.parent
_KEPT = ("tags", "jupyter")  # of a cell's metadata; the rest is left behind by programs


def find(names: Sequence[str] = ()) -> list[Path]:
    """Paths of notebooks: all of the checkout's in order, or those named (``03_train``, ``03``, or any path)."""
    known = {path.stem: path for path in sorted((CHECKOUT / "notebooks").glob("*.ipynb"))}
    if not known and not names:
        raise HncseError(f"{CHECKOUT / 'notebooks'} holds no notebooks; run this in a checkout of the repository")
    paths = []
    for name in names or known:
        if Path(name).is_file():
            paths.append(Path(name))
        elif matches := [path for stem, path in known.items() if Path(name).stem in _names(stem)]:
            paths += matches
        else:
            raise unknown("notebook", name, known)
    return paths


def _names(stem: str) -> set[str]:
    """What a notebook may be called: ``07a_luck_and_verdicts``, ``07a``, and ``07`` with the other parts of 07."""
    return {stem, stem.partition("_")[0], lesson_number(stem)}


def lesson_number(stem: str) -> str:
    """``"02"`` of ``02_hard_negatives``, ``"07"`` of ``07a_luck_and_verdicts``, ``"A1"`` of ``A1_pretrain_encoder``."""
    return re.sub(r"(?<=\d)[a-z]$", "", stem.partition("_")[0])


def repository() -> str:
    """Address of the repository, from ``[project.urls]`` of pyproject.toml: the only place it is written."""
    path = CHECKOUT / "pyproject.toml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    urls = re.search(r"^\[project\.urls\](.*?)(?=^\[|\Z)", text, re.M | re.S)
    address = re.search(r'"(https://github\.com/[^/"]+/[^/"#]+)', urls.group(1)) if urls else None
    if address is None:
        raise HncseError(f"{path} has no GitHub address under [project.urls]; badge and setup line come from there")
    return address.group(1).removesuffix(".git")


def version() -> str:
    """Version of the package, from pyproject.toml; the tag of that name is what the setup cells install."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]["version"]


def badge(name: str) -> str:
    """The Colab badge of a notebook, Markdown."""
    place = repository().removeprefix("https://")
    target = place.replace("github.com", "https://colab.research.google.com/github", 1)
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({target}/blob/main/notebooks/{name}.ipynb)"


def setup_source() -> str:
    """Source of the setup cell: where the package is missing (Colab), uv, or else pip, installs this version's tag."""
    return (
        "import importlib.util\n"
        "import sys\n\n"
        'if importlib.util.find_spec("hncse") is None:\n'
        f'    kit, python = "hncse @ git+{repository()}@v{version()}", sys.executable\n'
        '    !uv pip install -q --python "{python}" "{kit}" || "{python}" -m pip install -q "{kit}"'
    )


def store(path: Path, notebook: Any) -> bool:
    """Write a notebook where it differs from the file; returns whether it did."""
    import nbformat

    after = nbformat.writes(notebook) + "\n"
    if after == path.read_text(encoding="utf-8"):
        return False
    files.write_text(path, after)
    return True


def parse(source: str) -> ast.Module:
    """Syntax tree of a code cell; a line of IPython's own (``%pip …``, ``!ls``) counts as ``pass``."""
    return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M))


def strip(notebook: Any) -> Any:
    """Take everything out of a notebook that running or editing left there; returns the same object."""
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in _KEPT if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def read(path: Path) -> Any:
    """Read a notebook."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat has a type of its own for every way a file can be wrong
        raise HncseError(f"{path} is no notebook: {error}") from error
