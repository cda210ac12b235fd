"""Wrong variants of every exercise's solution, and whether the exercise's check refuses them.

    python -m tools.exercise_mutants             # counts, exercise by exercise
    python -m tools.exercise_mutants 07.5 --show   # and what each variant is, with the check's words

A variant is the solution with one thing done otherwise: an operator, comparison, index, constant or bound is another
one, two arguments change places, a parameter is not used, a step (normalising, sorting, a filter, a mask) is left out,
a branch is always or never taken. What stops on every input is not counted: no learner would hand it in. What agrees
with the solution on 200 further inputs is counted as the same function.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import itertools
import math
import random
import re
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hncse import exercises
from hncse.exercises.compare import compare
from hncse.exercises.core import Exercise
from hncse.exercises.grading import Case, Outcome, differs, outcome

FURTHER = 200  # inputs, other than those of the check, on which a variant that is the same function agrees
_OPERATORS: dict[type, list[type]] = {
    ast.Add: [ast.Sub, ast.Mult], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add], ast.Div: [ast.Mult, ast.FloorDiv],
    ast.FloorDiv: [ast.Div], ast.Mod: [ast.FloorDiv], ast.Pow: [ast.Mult], ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}  # fmt: skip
_COMPARISONS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.GtE], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.In: [ast.NotIn], ast.NotIn: [ast.In],
}  # fmt: skip
_NAMES = {
    "max": ["min"], "min": ["max"], "argmax": ["argmin"], "argmin": ["argmax"], "sum": ["max"],
    "mean": ["sum", "max"], "ceil": ["floor", "round"], "stdev": ["pstdev"], "log": ["log2", "log10"],
    "combinations": ["permutations", "combinations_with_replacement"], "cos": ["sin"], "sin": ["cos"],
    "exp": ["expm1"], "acos": ["asin"], "all": ["any"], "any": ["all"], "softmax": ["log_softmax"],
    "degrees": ["radians"], "radians": ["degrees"], "int": ["round"], "sorted": ["list"],
}  # fmt: skip
#: What may be done to an argument before anything else, and to the result after everything: by their names.
_BEFORE = (
    "{0} = 1", "{0} = 0", "{0} = 0.5", "{0} = -{0}", "{0} = 2 * {0}", "{0} = abs({0})", "{0} = {0}[::-1]",
    "{0} = {0}[1:]", "{0} = {0}[:-1]", "{0} = sorted({0})", "{0} = {0}.T", "{0} = {0}.flip(0)", "{0} = {0}.detach()",
    "{0} = {1}", "{0}, {1} = {1}, {0}", "{0} = {0}.eval()", "{0} = {0} + 1", "{0} = {0}[0]",
    "{0} = dict(reversed({0}.items()))", "{0} = dict(sorted({0}.items()))",
    "{0} = {{k: v[::-1] for k, v in {0}.items()}}", "{0} = dict(list({0}.items())[1:])",
)  # fmt: skip
_AFTER = (
    "-({0})", "2 * ({0})", "({0}) + 1", "({0}) - 1", "({0}) / 2", "abs({0})", "round({0})", "({0})[::-1]",
    "sorted({0})",
    "({0})[:-1]", "({0})[1:]", "({0}).detach()", "({0}) / 100", "1 - ({0})", "set({0})", "not ({0})", "str({0})",
)  # fmt: skip


@dataclass
class Report:
    """What came of the variants of one exercise.

    ``refused``: source of each variant that its check calls wrong → the check's words; ``same``: those that are the
    same function; ``accepted``: those that are not, and pass: the check has a hole; ``stopped``: how many stop on every
    input.
    """

    name: str
    refused: dict[str, str] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    stopped: int = 0


def names() -> list[str]:
    """All exercises, in order."""
    return [name for module in exercises.modules() for name in exercises.lesson(module)]


def report(name: str, enough: int | None = None, further: int = FURTHER) -> Report:
    """Judge every variant of an exercise's solution, or variants of all kinds until so many are refused."""
    exercise, result = exercises.find(name), Report(name)
    more: list[tuple[Case, Outcome | Exception]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, function in variants(exercise, shuffled=enough is not None):
            if enough is not None and len(result.refused) >= enough:
                break
            if all(isinstance(_attempt(exercise, function, case), Exception) for case, _ in exercise.expected()[:8]):
                result.stopped += 1
                continue
            verdict = exercise.grade(function)
            if verdict.state == "wrong":
                result.refused[what] = verdict.message
                continue
            more = more or [(c, _attempt(exercise, exercise.solution, c)) for c in exercise.drawn(further, 1)]
            if all(_agrees(exercise, function, case, right) for case, right in more):
                result.same.append(what)
            else:
                result.accepted.append(what)
    return result


def variants(exercise: Exercise, shuffled: bool = False) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every variant of an exercise's solution: its source, and the function."""
    source = "def " + exercise.solution_source.partition("def ")[2]
    original = ast.parse(source)
    module = inspect.getmodule(exercise.solution)
    assert module is not None
    space = {**vars(statistics), **vars(math), **vars(itertools), **vars(module)}
    before = {ast.unparse(original)}
    words = re.findall(r'"([\w ]+)"', exercise.task)
    trees: Any = _trees(original, words)
    if shuffled:
        trees = random.Random(0).sample(everything := list(trees), len(everything))
    for tree in trees:
        text = ast.unparse(ast.fix_missing_locations(tree))
        if text in before:
            continue
        before.add(text)
        scope = dict(space)
        exec(compile("from __future__ import annotations\n" + text, "variant", "exec", dont_inherit=True), scope)
        yield text, scope[exercise.solution.__name__]


def _attempt(exercise: Exercise, function: Callable[..., Any], case: Case) -> Outcome | Exception:
    try:
        return outcome(exercise, function, case)
    except Exception as error:
        return error


def _agrees(exercise: Exercise, function: Callable[..., Any], case: Case, ours: Outcome | Exception) -> bool:
    """Whether a variant does exactly what the solution does, float rounding aside."""
    theirs = _attempt(exercise, function, case)
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        return isinstance(ours, Exception) and isinstance(theirs, Exception)
    same = compare(theirs.value, ours.value, 1e-6) == "same" and theirs.changed == ours.changed
    return same and not differs(theirs.gradient, ours.gradient)


def _trees(original: ast.Module, words: list[str]) -> Iterator[ast.Module]:
    """The syntax with one thing changed, each on a copy; ``words`` are names that the task has in quotes."""
    function = original.body[0]
    assert isinstance(function, ast.FunctionDef)
    parameters = [argument.arg for argument in function.args.args]
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names = [*parameters, *dict.fromkeys(stored)]
    for place, node in enumerate(ast.walk(original)):
        for change in _changes(node, names, words):
            tree = copy.deepcopy(original)
            change(list(ast.walk(tree))[place], tree)
            yield tree
    for first, second in itertools.product(parameters, parameters):
        for before in _BEFORE:
            if "{1}" in before or first == second:
                tree = copy.deepcopy(original)
                tree.body[0].body[:0] = ast.parse(before.format(first, second)).body  # type: ignore[attr-defined]
                yield tree
    for after in _AFTER:
        tree = copy.deepcopy(original)
        last = tree.body[0].body[-1]  # type: ignore[attr-defined]
        last.value = ast.parse(after.format(ast.unparse(last.value)), mode="eval").body
        yield tree


Change = Callable[[Any, ast.Module], None]


def _changes(node: ast.AST, names: list[str], words: list[str]) -> Iterator[Change]:
    """What may be done otherwise at one place."""
    if isinstance(node, ast.Constant):
        yield from _other_constants(node.value, words)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for other in [*_NAMES.get(node.id, []), *(names if node.id in names else [])]:
            yield _put("id", other)
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
        return
    for kind, changes in _KINDS.items():
        if isinstance(node, kind):
            yield from changes(node)


def _put(name: str, value: Any, inside: str = "") -> Change:
    """Another value of an attribute."""
    return lambda node, _: setattr(getattr(node, inside) if inside else node, name, value)


def _drop(name: str, place: int) -> Change:
    """One entry of a list left out."""
    return lambda node, _: getattr(node, name).pop(place)


def _take(name: str, place: int) -> Change:
    """One entry of a list in place of the whole."""
    return lambda node, tree: _replace(tree, node, getattr(node, name)[place])


def _operators(node: ast.BinOp) -> Iterator[Change]:
    for operator in _OPERATORS.get(type(node.op), []):
        yield _put("op", operator())
    yield lambda n, t: _replace(t, n, n.left)
    yield lambda n, t: _replace(t, n, n.right)
    if isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.MatMult):
        yield _swap_sides


def _comparisons(node: ast.Compare) -> Iterator[Change]:
    for comparison in _COMPARISONS.get(type(node.ops[0]), []):
        yield _put("ops", [comparison()])


def _truths(node: ast.BoolOp) -> Iterator[Change]:
    yield lambda n, _: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And())
    for side in range(len(node.values)):
        yield _take("values", side)


def _signs(_: ast.UnaryOp) -> Iterator[Change]:
    yield lambda n, t: _replace(t, n, n.operand)


def _branches(_: ast.AST) -> Iterator[Change]:
    yield _put("test", ast.Constant(True))
    yield _put("test", ast.Constant(False))


def _filters(node: ast.comprehension) -> Iterator[Change]:
    for condition in range(len(node.ifs)):
        yield _drop("ifs", condition)


def _attributes(node: ast.Attribute) -> Iterator[Change]:
    if node.attr in ("T", "values", "indices"):
        yield lambda n, t: _replace(t, n, n.value)


def _slices(_: ast.Slice) -> Iterator[Change]:
    yield lambda n, _: setattr(n, "lower", _plus_one(n.lower))
    yield _put("upper", None)


def _tuples(node: ast.Tuple) -> Iterator[Change]:
    yield lambda n, _: n.elts.reverse()
    for place in range(len(node.elts)):
        yield _drop("elts", place)


def _statements(node: ast.FunctionDef | ast.For | ast.If) -> Iterator[Change]:
    for place, statement in enumerate(node.body):
        if isinstance(statement, ast.Expr | ast.AugAssign | ast.Assign) and len(node.body) > 1:
            yield _drop("body", place)


def _other_constants(value: Any, words: list[str]) -> Iterator[Change]:
    others: list[Any] = []
    if isinstance(value, str):
        others = words
    elif isinstance(value, bool):
        others = [not value]
    elif isinstance(value, int | float):
        others = [value + 1, value - 1, 2 * value]
    for other in others:
        yield _put("value", other)


def _other_calls(node: ast.Call) -> Iterator[Change]:
    """Another function of its kind, arguments swapped or left out, or the call left out and its argument taken."""
    if isinstance(node.func, ast.Attribute):
        for other in _NAMES.get(node.func.attr, []):
            yield _put("attr", other, "func")
        yield lambda n, t: _replace(t, n, n.func.value)
    if node.args and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
        yield lambda n, t: _replace(t, n, n.args[0])
    if len(node.args) == 2:
        yield lambda n, _: n.args.reverse()
        yield lambda n, _: n.args.pop()
    if len(node.args) == 3:
        yield lambda n, _: n.args.pop()
        yield lambda n, _: setattr(n, "args", [n.args[0], n.args[2], n.args[1]])
    for place in range(len(node.keywords)):
        yield _drop("keywords", place)


def _swap_sides(node: Any, _: ast.Module) -> None:
    node.left, node.right = node.right, node.left


def _plus_one(expression: ast.expr | None) -> ast.expr:
    return ast.BinOp(expression or ast.Constant(0), ast.Add(), ast.Constant(1))


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    """Put another expression in the place of one."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if entry is old else entry for entry in value]


_KINDS: dict[Any, Callable[[Any], Iterator[Change]]] = {
    ast.BinOp: _operators, ast.Compare: _comparisons, ast.BoolOp: _truths, ast.UnaryOp: _signs, ast.IfExp: _branches,
    ast.If: _branches, ast.comprehension: _filters, ast.Call: _other_calls, ast.Attribute: _attributes,
    ast.Slice: _slices, ast.Tuple: _tuples, ast.FunctionDef: _statements, ast.For: _statements,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print the counts; returns 1 where a variant passes, or an exercise has too few."""
    parser = argparse.ArgumentParser(prog="python -m tools.exercise_mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="exercises, such as 07.5; none: all")
    parser.add_argument("--show", action="store_true", help="show every variant, and what the check says of it")
    given = parser.parse_args(arguments)
    say = sys.stdout.write
    say(f"{'exercise':36} {'refused':>8} {'the same':>9} {'stop':>5} {'ACCEPTED':>9}\n")
    reports = []
    for name in given.names or names():
        reports.append(of := report(name))
        title = f"{of.name} {exercises.find(of.name).title}"
        say(f"{title[:36]:36} {len(of.refused):8} {len(of.same):9} {of.stopped:5} {len(of.accepted):9}\n")
        for kind, sources in {"ACCEPTED": of.accepted, "the same": of.same if given.show else []}.items():
            say("".join(f"--- {kind}\n{source}\n" for source in sources))
        if given.show:
            say("".join(f"--- refused: {words}\n{source}\n" for source, words in of.refused.items()))
    say(f"{len(reports)} exercises, {sum(len(of.refused) for of in reports)} wrong variants refused\n")
    return int(any(of.accepted or len(of.refused) < 15 for of in reports))


if __name__ == "__main__":
    sys.exit(main())
