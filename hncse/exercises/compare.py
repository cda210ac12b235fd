"""Whether a result is the right one, whatever it is made of: numbers, lists, strings, arrays, tensors, dictionaries."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

__all__ = ["NEAR", "TOLERANCE", "Relation", "compare", "plain", "show"]

Relation = Literal["same", "near", "other", "kind"]
TOLERANCE = 1e-4  # relative, so that float32 is right; absolute a tenth of it
NEAR = 1e-3  # what differs by less is called rounding
_ORDER: tuple[Relation, ...] = ("same", "near", "other", "kind")
_LONGEST = 600  # characters of a value that is shown


def plain(value: Any) -> Any:
    """The same value in Python's own numbers, strings, lists, dictionaries and sets."""
    if isinstance(value, str | float | int | bool):
        return value.item() if hasattr(value, "item") else value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "tolist"):  # arrays, tensors, their numbers, a column of a table
        return value.tolist()
    if isinstance(value, dict):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | set | frozenset):
        return [plain(entry) for entry in value]
    return value


def compare(seen: Any, right: Any, tolerance: float = TOLERANCE) -> Relation:
    """How a result relates to the right one.

    Args:
        seen: What came out, as `plain` gives it.
        right: What should, likewise.
        tolerance: Largest relative difference of numbers that are the same; whole numbers are counts, and exact.

    Returns:
        ``same``; ``near``, where nothing differs but numbers, and these by less than a thousandth; ``other``; or
        ``kind``, where it is not the kind of thing that was asked for.
    """
    if isinstance(right, bool) or right is None or isinstance(right, str):
        return "kind" if type(seen) is not type(right) else "same" if seen == right else "other"
    if isinstance(right, int | float):
        while isinstance(seen, list) and len(seen) == 1:  # an array that holds one number
            seen = seen[0]
        return _numbers(seen, right, tolerance)
    if isinstance(right, list):
        if not isinstance(seen, list):
            return "kind"
        if len(seen) != len(right):
            return "other"
        return _worst(compare(a, b, tolerance) for a, b in zip(seen, right, strict=True))
    if isinstance(right, dict):
        if not isinstance(seen, dict):
            return "kind"
        if seen.keys() != right.keys():
            return "other"
        return _worst(compare(seen[key], right[key], tolerance) for key in right)
    return "same" if seen == right else "other"


def _numbers(seen: Any, right: float, tolerance: float) -> Relation:
    if isinstance(seen, bool) or not isinstance(seen, int | float):
        return "kind"
    if seen == right or (math.isnan(seen) and math.isnan(right)):
        return "same"
    apart, scale = abs(seen - right), abs(right)
    if math.isinf(scale) or not math.isfinite(apart):
        return "other"
    whole = isinstance(right, int)
    if apart <= (1e-6 if whole else max(tolerance * scale, tolerance / 10)):
        return "same"
    return "near" if apart <= NEAR * (1 if whole else max(1.0, scale)) else "other"


def _worst(relations: Iterable[Relation]) -> Relation:
    return max(relations, key=_ORDER.index, default="same")


def show(value: Any, exact: bool = False) -> str:
    """A value as one would type it, numbers to six digits unless all are asked for, cut where it is very long."""
    text = _text(value, exact)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _text(value: Any, exact: bool) -> str:
    if hasattr(value, "detach"):
        return f"torch.tensor({_text(plain(value), exact)})"
    if type(value).__name__ == "ndarray":
        return f"np.array({_text(value.tolist(), exact)})"
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return repr(value) if exact or value == int(value if math.isfinite(value) else 0) else f"{value:.6g}"
    if isinstance(value, list | tuple):
        inside = ", ".join(_text(entry, exact) for entry in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k, exact)}: {_text(v, exact)}" for k, v in value.items()) + "}"
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)
