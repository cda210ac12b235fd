"""The judge of an answer: it must do what the solution does, on inputs chosen by hand and on many drawn at random.

What is wrong is told in the words of the exercise where there are some: those of a mistake that people make, if the
answer behaves like it on every input; else those written beside the input. Always with the input, the value that was
returned and the right one.
"""

from __future__ import annotations

import copy
import functools
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hncse.exercises.compare import Relation, compare, plain, show

if TYPE_CHECKING:
    from hncse.exercises.core import Exercise

__all__ = ["Case", "Outcome", "Verdict", "differs", "judge", "outcome"]

_LIKE = 15  # drawn inputs on which an answer must do what a mistake does, beside those chosen by hand


@dataclass(frozen=True)
class Case:
    """One input of an exercise.

    Attributes:
        arguments: What the function is called with.
        words: For the learner who is wrong here, with ``{seen}`` and ``{right}`` to fill in; empty for drawn ones.
    """

    arguments: tuple[Any, ...]
    words: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came of an answer.

    Attributes:
        state: ``"right"``, ``"wrong"`` or ``"open"`` (the stub, or nothing returned).
        message: For the learner.
    """

    state: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What a function made of an input.

    Attributes:
        value: What is compared, in Python's own types.
        raw: What it returned.
        gradient: By every floating-point tensor of the input, where the exercise asks for one; None: it has none.
        changed: Whether the input is another one now.
    """

    value: Any
    raw: Any
    gradient: Any = None
    changed: bool = False


def outcome(exercise: Exercise, function: Callable[..., Any], case: Case) -> Outcome:
    """Call a function on a copy of an input, from the same random state every time."""
    given, gradient = _copy(case.arguments), None
    torch = sys.modules.get("torch")
    if torch is None or not any(isinstance(a, torch.Tensor | torch.nn.Module) for a in given):
        raw = function(*given)
    else:
        floats = [a for a in given if isinstance(a, torch.Tensor) and a.is_floating_point()]
        leaves = [a.requires_grad_() for a in floats] if exercise.gradient else []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            raw = function(*given)
        if leaves and isinstance(raw, torch.Tensor) and raw.requires_grad and raw.numel() == 1:
            slopes = torch.autograd.grad(raw.sum(), leaves, allow_unused=True)
            gradient = [torch.zeros_like(z) if g is None else g for z, g in zip(leaves, slopes, strict=True)]
    changed = exercise.pure and _differ(given, case.arguments)
    return Outcome(plain(exercise.compared(raw, given)), raw, gradient, changed)


def judge(exercise: Exercise, answer: Callable[..., Any]) -> Verdict:
    """Compare an answer with the solution on every input of the exercise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _judge(exercise, answer)


def _judge(exercise: Exercise, answer: Callable[..., Any]) -> Verdict:
    rounding = ""
    for case, right in exercise.expected():
        call = functools.partial(_call, answer, case)
        try:
            seen = outcome(exercise, answer, case)
        except Exception as error:  # theirs to read, in words and without our frames
            return Verdict("wrong", f"{call()} stopped{_place(error, answer)} with {type(error).__name__}: {error}")
        relation = compare(seen.value, right.value, exercise.tolerance)
        if relation in ("other", "kind"):
            return Verdict("wrong", _explain(exercise, answer, case, seen, right, relation))
        if relation == "near":
            texts = show(right.value, exact=True), show(seen.value, exact=True)
            rounding = rounding or "rounding? {} is {}, and you return {}: keep all digits.".format(call(), *texts)
        elif exercise.gradient and differs(seen.gradient, right.gradient):
            return Verdict("wrong", _mistake(exercise, answer) + _explain_gradient(call(), seen, right))
        elif seen.changed:
            return Verdict("wrong", f"{call()} changes what it was given. Work on a copy: others still need it.")
    if rounding:
        return Verdict("wrong", _mistake(exercise, answer) + rounding)
    return Verdict("right", exercise.praise)


def _explain(
    exercise: Exercise, answer: Callable[..., Any], case: Case, seen: Outcome, right: Outcome, relation: Relation
) -> str:
    pair = (right.value, seen.value) if isinstance(seen.value, dict) else (right.raw, seen.raw)
    call, texts = _call(answer, case), [show(value) for value in pair]
    if texts[0] == texts[1]:
        texts = [show(value, exact=True) for value in pair]
    if seen.value is None:
        return f"{call} returned None; is a `return` missing?"
    if relation == "kind":
        return (
            f"{call} returned {show(seen.raw)}, which is not the kind of result that the task asks for; here it is "
            f"{texts[0]}"
        )
    plainly = f"{call} is {texts[0]}; you return {texts[1]}."
    if words := _mistake(exercise, answer):
        return words + plainly
    try:
        return case.words.format(seen=seen.value, right=right.value) if case.words else plainly
    except (TypeError, ValueError, IndexError):  # the words were written for another kind of number
        return plainly


def _explain_gradient(call: str, seen: Outcome, right: Outcome) -> str:
    if seen.gradient is None:
        return f"{call} is right, but it has no gradient: return a number with one, tensors from beginning to end."
    first, meant = (show(of.gradient[0]) for of in (seen, right))
    return (
        f"{call} is right, {show(seen.value)}, and its gradient is not: by the first argument it is {meant}, yours is "
        f"{first}. Is something detached that should not be, or the other way round?"
    )


def _mistake(exercise: Exercise, answer: Callable[..., Any]) -> str:
    """What to say of the mistake that an answer is, if it is one of those known, and a blank."""
    return next((f"{words} " for words, known in exercise.mistakes.items() if _alike(exercise, answer, known)), "")


def _alike(exercise: Exercise, answer: Callable[..., Any], mistake: Callable[..., Any]) -> bool:
    """Whether an answer does what a mistake does, on the inputs chosen by hand and the first drawn ones."""
    try:
        for case in _first(exercise):
            ours, theirs = outcome(exercise, answer, case), outcome(exercise, mistake, case)
            if compare(ours.value, theirs.value, exercise.tolerance) != "same" or differs(
                ours.gradient, theirs.gradient
            ):
                return False
    except Exception:  # either of them stops somewhere: then they are not alike
        return False
    return True


def _first(exercise: Exercise) -> Iterator[Case]:
    drawn = 0
    for case, _ in exercise.expected():
        drawn += not case.words
        if drawn > _LIKE:
            return
        yield case


def differs(seen: Any, right: Any) -> bool:
    """Whether gradients differ by more than a thousandth of the largest entry."""
    if seen is None or right is None:
        return (seen is None) != (right is None)
    return any(
        float((a - b).abs().max()) > 1e-3 * float(b.abs().max()) + 1e-6 for a, b in zip(seen, right, strict=True)
    )


def _copy(value: Any) -> Any:
    """`copy.deepcopy`, quickly."""
    if isinstance(value, list | tuple):
        return type(value)(map(_copy, value))
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    if isinstance(value, str | float | int) or (callable(value) and not hasattr(value, "parameters")):
        return value
    return value.clone() if hasattr(value, "detach") else copy.deepcopy(value)


def _differ(now: Any, before: Any) -> bool:
    if isinstance(now, list | tuple):
        return len(now) != len(before) or any(map(_differ, now, before))
    if hasattr(now, "shape"):
        return now.shape != before.shape or not bool((now == before).all())
    return bool(now != before)


def _call(answer: Callable[..., Any], case: Case) -> str:
    """The call as one would type it."""
    return f"{getattr(answer, '__name__', 'your function')}({', '.join(map(show, case.arguments))})"


def _place(error: BaseException, answer: Callable[..., Any]) -> str:
    """Where in the learner's function an error arose, counted from its ``def``."""
    code = getattr(answer, "__code__", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    return f" in line {lines[-1] - code.co_firstlineno + 1}" if code and lines else ""
