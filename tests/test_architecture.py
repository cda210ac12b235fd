"""The house: who may import whom, imports inside functions included."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hncse"
#: Encoder (with loading and saving), miner, mixing, presets, losses, errors, files: they know nothing else of the kit.
CORE = {
    "encoder", "encoder.blocks", "encoder.card", "encoder.folders", "encoder.hub", "encoder.loading", "encoder.onnx",
    "encoder.precision",
    "errors", "files", "losses", "losses.guide", "losses.relatives", "losses.sentence_transformers", "miner", "mixing",
    "presets",
}  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def in_type_checking(tree: ast.Module) -> set[ast.AST]:
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


@functools.cache
def imports(name: str) -> set[str]:
    """Modules of this repository that a module imports anywhere in its source, for use and not for types alone."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    skipped = in_type_checking(tree)
    targets: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            targets |= {full if full in MODULES else str(node.module) for full in inside}
    return {target for target in targets if target.split(".")[0] in ("hncse", "tools", "tests", "benchmarks")}


GRAPH = networkx.DiGraph([(name, target) for name in MODULES for target in imports(name) if target in MODULES])
# A package's __init__ that hands on what lies beside it is no user of it: `hncse` itself imports by name when asked.


def test_the_core_knows_nothing_else() -> None:
    allowed = {"hncse", *(f"hncse.{name}" for name in CORE)}
    beyond = {f"{name} → {target}" for name in allowed - {"hncse"} for target in imports(name) - allowed}
    assert not beyond


def test_there_is_no_circle() -> None:
    circles = [sorted(part) for part in networkx.strongly_connected_components(GRAPH) if len(part) > 1]
    assert circles == []


@pytest.mark.parametrize(
    ("room", "closed"),
    [
        ("hncse.data", ("hncse.evaluation", "hncse.visual", "hncse.training", "hncse.notebook")),
        ("hncse.evaluation", ("hncse.visual", "hncse.notebook", "hncse.exercises")),
        ("hncse.mining", ("hncse.visual", "hncse.notebook")),
        ("hncse", ("tools", "tests", "benchmarks")),
    ],
)
def test_arrows_point_one_way(room: str, closed: tuple[str, ...]) -> None:
    members = [name for name in MODULES if name == room or name.startswith(f"{room}.")]
    wrong = {f"{name} → {target}" for name in members for target in imports(name) if target.startswith(closed)}
    assert not wrong


def test_modules_are_not_hidden_behind_a_twin() -> None:
    twins = [p for p in PACKAGE.rglob("_*.py") if p.with_name(p.name.lstrip("_")).is_file() and p.stem != "__init__"]
    assert twins == []
