"""The repository holds together: versions, pins, notebooks, links, what a wheel carries, what an import costs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import hncse
from tests import installed_wheel

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HEAVY = tuple("torch transformers datasets sentence_transformers matplotlib umap faiss sklearn scipy".split())


def tracked() -> list[Path]:
    """Files that are in git or would be added, and still exist."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0")
    if done.returncode != 0:  # an unpacked archive, or a checkout that belongs to another user
        folders = ("hncse", "tests", "benchmarks", "notebooks")
        inside = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
        names = [path.relative_to(ROOT).as_posix() for path in [*inside, *ROOT.glob("*.*")]]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def pins(name: str = "constraints.txt") -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({canonicalize_name(r.name) for r in requirements}) == len(requirements), "a name is pinned twice"
    return {canonicalize_name(r.name): r for r in requirements}


def asked_for() -> list[Requirement]:
    """Every dependency pyproject.toml names, extras included, without the package's own extras."""
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    return [r for r in map(Requirement, texts) if r.name != PROJECT["name"]]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh process, from the root, as a user would."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


# Versions


def test_every_dependency_has_an_exact_pin_within_its_bounds():
    pinned = pins()
    for requirement in asked_for():
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no pin in constraints.txt"
        (exact,) = pin.specifier
        assert exact.operator == "==", f"{pin} is no exact pin"
        assert requirement.specifier.contains(exact.version), f"{pin} does not satisfy {requirement}"


def test_the_lowest_declared_versions_are_those_that_are_tested():
    lowest = pins("constraints-lowest.txt")
    for requirement in asked_for():
        (bound,) = (Version(s.version) for s in requirement.specifier if s.operator in (">=", "=="))
        (tested,) = lowest[canonicalize_name(requirement.name)].specifier
        assert Version(tested.version) == bound, f"{requirement}, but constraints-lowest.txt has {tested}"


def test_on_colab_nothing_is_replaced_and_little_added():
    colab = pins("tests/colab-freeze.txt")
    core = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
    assert core.keys() - colab.keys() == {"faiss-cpu"}, "each is a download at every start of a session"
    for name in core.keys() & colab.keys():
        (exact,) = colab[name].specifier
        assert core[name].specifier.contains(exact.version), f"{core[name]}, but Colab has {exact.version}"


def test_pins_name_no_build():
    both = [*pins().values(), *pins("constraints-lowest.txt").values()]
    local = [str(pin) for pin in both if "+" in str(pin.specifier)]
    assert not local, f"{local} exist on one machine's index only"


def test_conda_environment_installs_the_same_with_the_same_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[dev]"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert "pip" in conda
    (python,) = [entry.partition("=")[2] for entry in conda if entry.startswith("python")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^CONSTRAINTS \?= constraints\.txt$", makefile, flags=re.MULTILINE)
    assert re.search(r"^INSTALL := pip install .*-c \$\(CONSTRAINTS\)$", makefile, flags=re.MULTILINE)
    assert '$(INSTALL) -e ".[dev]"' in makefile, "make setup installs something else than environment.yml"


def test_makefile_accepts_the_pythons_the_package_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    low, high = (f"3.{minor}" for minor in re.search(r"\(3, (\d+)\) <= .* <= \(3, (\d+)\)", makefile).groups())
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={low}")
    assert f"Python {low} to {high} is needed" in makefile
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    tried = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert tried == [f"3.{minor}" for minor in range(int(low[2:]), int(high[2:]) + 1)]


def test_the_workflow_runs_every_step_of_ci_run():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    steps = set(re.findall(r"^(?:step|real) ([a-z-]+) ", script, flags=re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    asked = [line["run"].removeprefix(".ci/run ") for job in jobs.values() for line in job["steps"] if "run" in line]
    asked += jobs["once"]["strategy"]["matrix"]["steps"]
    words = {word for text in asked for word in text.split() if word in steps}
    assert words == steps - {"test-real", "tables"}, "real data files are not there"
    unknown = subprocess.run([ROOT / ".ci/run", "tset"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2 and "tset" in unknown.stderr


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert hncse.__version__ == PROJECT["version"] == citation["version"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]


# Files


def test_no_file_names_a_place_on_one_machine():
    place = re.compile(r"(?<![\w./$}-])/(?:work|root|home|Users|tmp/venv)/[\w.-]")
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # weights and pictures
        found += [
            f"{path.relative_to(ROOT)}:{n}: {line.strip()[:90]}"
            for n, line in enumerate(lines, 1)
            if place.search(line)
        ]
    assert not found


def test_links_between_documents_lead_somewhere():
    # Pages of the book lie beside the notebooks' pages when it is built; Sphinx follows their links then.
    documents = [path for path in tracked() if path.suffix == ".md" and ROOT / "book" not in path.parents]
    assert ROOT / "CONTRIBUTING.md" in documents
    missing = []
    for document in documents:
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
        for target in targets:
            if not re.match(r"[a-z]+:|#", target) and not (document.parent / target.partition("#")[0]).exists():
                missing.append(f"{document.relative_to(ROOT)} → {target}")
    assert not missing


def test_nothing_that_unpickles_is_shipped():
    pickles = [path.name for path in tracked() if path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt"}]
    assert not pickles


def test_make_help_names_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.findall(r"^make ([a-z-]+) +\S", shown, flags=re.MULTILINE) == phony.split()


# Notebooks


def notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_notebooks_make_train_and_the_table_are_there():
    assert {"03_train.ipynb", "05_sts_table.ipynb"} <= {path.name for path in NOTEBOOKS}


def test_each_notebook_has_one_cell_tagged_parameters():
    for path in NOTEBOOKS:
        cells = notebook(path)["cells"]
        tagged = [i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1, f"{path.name}: cells {tagged} are tagged parameters; papermill needs exactly one"
        assert cells[tagged[0]]["cell_type"] == "code", path.name


def test_notebooks_store_no_outputs_and_no_widget_state():
    for path in NOTEBOOKS:
        content = notebook(path)
        code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        stored = [i for i, cell in enumerate(code) if cell["outputs"] or cell["execution_count"] is not None]
        assert not stored, (
            f"{path.name}: code cells {stored} hold outputs; `python -m tools.notebooks clean` removes them"
        )
        assert "widgets" not in content["metadata"], f"{path.name}: GitHub calls this an invalid notebook"


def test_notebooks_begin_with_a_title_and_a_badge_to_this_repository():
    slug = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    for path in NOTEBOOKS:
        first, second = notebook(path)["cells"][:2]
        title = "".join(first["source"])
        assert first["cell_type"] == "markdown" and title.startswith("# "), f"{path.name}: the title comes first"
        assert f"colab.research.google.com/github/{slug}/blob/main/notebooks/{path.name}" in title, path.name
        assert second["cell_type"] == "code", f"{path.name}: the setup line comes second"


# Imports and commands


def test_importing_the_package_imports_nothing_heavy():
    done = run(f"import sys, hncse; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout == "[]\n", done.stdout + done.stderr


def imported_names(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of our own, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def test_every_import_of_our_own_names_something_that_is_there():
    sources = {path.name: path.read_text(encoding="utf-8") for path in tracked() if path.suffix == ".py"}
    for path in NOTEBOOKS:
        cells = [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]
        code = "\n".join("".join(cell["source"]) for cell in cells)
        sources[path.name] = re.sub(r"^(\s*)[!%].*$", r"\1pass", code, flags=re.MULTILINE)
    wanted = {pair: place for place, source in sources.items() for pair in imported_names(source)}
    missing = []
    for (module, name), place in sorted(wanted.items()):
        if module.split(".")[0] in ("hncse", "tools", "benchmarks", "tests"):
            try:
                there = not name or hasattr(importlib.import_module(module), name)
                there = there or importlib.util.find_spec(f"{module}.{name}") is not None
            except ModuleNotFoundError:
                there = False
            if not there:
                missing.append(f"{place}: {module} {name}")
    assert missing == []


@pytest.mark.parametrize("module", ["benchmarks", "book"])  # the subcommands of `hncse`: tests/test_cli.py
def test_help_of_a_command_is_cheap(module):
    runner = (
        "import runpy, sys\n"
        "module, *sys.argv[1:] = sys.argv[1:]\n"
        "try:\n"
        "    runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        f"sys.stderr.write(repr((code, [name for name in {HEAVY} if name in sys.modules])))\n"
    )
    done = run(runner, module, "--help")
    assert done.stderr.splitlines()[-1] == "(0, [])", f"exit code and heavy imports: {done.stderr[-2000:]}"
    assert done.stdout.startswith("usage: ")


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from the files of the repository."""
    return installed_wheel.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def carried(wheel) -> list[str]:
    """Names inside the wheel."""
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_carries_every_file_of_the_package(carried):
    package = {path.relative_to(ROOT).as_posix() for path in tracked() if path.is_relative_to(ROOT / "hncse")}
    assert {"hncse/py.typed", "hncse/data/probe.jsonl", "hncse/kit/encoder/model.safetensors"} <= package
    package -= {"hncse/data/PROBE.md", "hncse/data/MINIMAL_PAIRS.md"}  # pages for readers of the repository
    assert package <= set(carried), f"pyproject.toml's package-data lacks {sorted(package - set(carried))}"


def test_the_wheel_carries_nothing_else(carried):
    assert {name.split("/")[0] for name in carried} == {"hncse", f"hncse-{hncse.__version__}.dist-info"}


USE_THE_WHEEL = """
import json, os, socket, sys
from pathlib import Path

target, checkout = map(Path, sys.argv[1:])
sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != checkout]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]

def refused(*_):
    raise AssertionError("something asked for the network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
import hncse
from hncse.data import probe
from hncse.evaluation import literature

z = hncse.SentenceEncoder.from_pretrained("kit", device="cpu").encode(["A cat sat on the mat.", "It rained."])
modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "hncse"]
strangers = [m.__file__ for m in modules if not Path(m.__file__).resolve().is_relative_to(target.resolve())]
found = {"strangers": strangers, "modules": len(modules), "embeddings": z.tolist(), "dtype": str(z.dtype)}
found |= {"probe": probe.fingerprint(probe.load()), "here": os.listdir()}
found |= {"literature": {name: len(literature.load(name)) for name in literature.TABLES}}
print(json.dumps(found))
"""


def test_the_wheel_works_from_an_empty_folder_without_network_or_checkout(wheel, kit, tmp_path):
    import numpy as np

    from hncse.data import probe
    from hncse.evaluation import literature

    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(target)  # what installing a wheel of Python alone is
    environment = {**os.environ, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USE_THE_WHEEL, str(target), str(ROOT)],
        cwd=empty, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["strangers"] == [] and found["modules"] > 5, "modules came from the checkout, not from the wheel"
    expected = kit.encode(["A cat sat on the mat.", "It rained."])
    assert found["dtype"] == "float32" and np.allclose(found["embeddings"], expected, atol=1e-6)
    assert found["probe"] == probe.fingerprint(probe.load())
    assert found["literature"] == {name: len(literature.load(name)) for name in literature.TABLES}
    assert found["here"] == [], "using the package wrote into the working folder"
