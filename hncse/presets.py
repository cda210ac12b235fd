"""Loss presets by name, and what every option means. Torch-free, so that ``--help`` is quick.

Sources: HNCSE (arXiv:2411.12156) and its released code; SimCSE (arXiv:2104.08821). "As released" presets repeat
what the released training code does; "intended" ones do what it set out to do. README, "paper ↔ code ↔ notebook".
"""

from __future__ import annotations

from typing import Any

from hncse.errors import HncseError, unknown

__all__ = ["OPTIONS", "PRESETS", "describe", "resolve"]

# Every option with its default; a preset changes some of them and the caller may change any.
OPTIONS: dict[str, tuple[Any, str]] = {
    "temperature": (0.05, "τ: cosines are divided by it before the softmax"),
    "positive_mixing": (None, "PM: None (off), 'search', 'random' or 'fixed': where w1, w2 come from"),
    "ratio": (0.2, "w2/w1 of positive_mixing='fixed'"),
    "objective": ("released", "what the search minimises: 'released', 'cross-entropy' or 'margin'"),
    "candidates": (
        65,
        "number of ratios the search tries, equally spaced angles from 0 to 90°, ends included",
    ),
    "columns": ("replace", "'replace': mixed positives in every column; 'diagonal': each anchor's own only"),
    "band": (0.1, "an anchor is near the boundary (case A) when (p-n)/p is at most this"),
    "detach_coefficients": (False, "no gradient through the coefficients p/(p+n), n/(p+n) of case C"),
    "hard_negative_mixing": (False, "HNM: add mixes of the hardest negatives to each anchor's denominator"),
    "k": (10, "HNM: how many hardest negatives are mixed with each other"),
    "s": (40, "HNM: how many mixes an anchor receives"),
    "alpha": (0.5, "HNM: weight of the first of two mixed negatives, or 'uniform' to draw it"),
    "replacement": (True, "HNM: draw pairs with replacement (as released) or without"),
    "detach_negatives": (False, "no gradient through the negatives inside mixes"),
    "views": (2, "dropout views: 2, or 3 for CE(z1,z2) + CE(z2,z3)"),
    "hard_negative_weight": (
        0.0,
        "added to the logit of an anchor's own mined negative (SimCSE's; needs negatives, see --negatives)",
    ),
    "seed": (0, "seed of the random draws (HNM's pairs, PM's random weights)"),
}

PRESETS: dict[str, dict[str, Any]] = {
    "simcse": {},
    "pm-intended": {"positive_mixing": "search"},
    "pm-as-released": {"positive_mixing": "random"},
    "pm-fixed": {"positive_mixing": "fixed"},
    "hnm-as-released": {"hard_negative_mixing": True},
    "hnm-no-replacement": {"hard_negative_mixing": True, "replacement": False},
    "three-view": {"views": 3},
    "pm+hnm": {"positive_mixing": "search", "hard_negative_mixing": True, "replacement": False},
}

DESCRIPTIONS: dict[str, str] = {
    "simcse": "unsupervised SimCSE: two dropout views, in-batch negatives",
    "pm-intended": "positive mixing, w1 and w2 from a search whose best candidate is used",
    "pm-as-released": "positive mixing, w1 and w2 drawn from [0,2]², as the released study's last trial trains",
    "pm-fixed": "positive mixing with a given ratio w2/w1",
    "hnm-as-released": "hard-negative mixing, 40 of 45 pairs drawn with replacement",
    "hnm-no-replacement": "hard-negative mixing, 40 distinct pairs",
    "three-view": "three dropout views, CE(z1,z2) + CE(z2,z3)",
    "pm+hnm": "positive and hard-negative mixing together (ours; no released file combines them)",
}

_CHOICES: dict[str, tuple[Any, ...]] = {
    "positive_mixing": (None, "search", "random", "fixed"),
    "objective": ("released", "cross-entropy", "margin"),
    "columns": ("replace", "diagonal"),
    "views": (2, 3),
}


def resolve(preset: str, **options: Any) -> dict[str, Any]:
    """Complete a preset to a full, checked set of options.

    Args:
        preset: One of `PRESETS`.
        **options: Changes to it; the names and meanings stand in `OPTIONS`.

    Returns:
        Every option with its value.

    Raises:
        HncseError: An unknown preset or option (the nearest name is given), or a value out of range.
    """
    if preset not in PRESETS:
        raise unknown("loss preset", preset, PRESETS)
    for name in options:
        if name not in OPTIONS:
            raise unknown("loss option", name, OPTIONS)
    full = {name: default for name, (default, _) in OPTIONS.items()} | PRESETS[preset] | options
    _check(full)
    return full


def describe() -> str:
    """List presets and options as text, for ``--help`` and the notebooks."""
    presets = [f"  {name:20} {DESCRIPTIONS[name]}" for name in PRESETS]
    options = [f"  {name:20} {text} (default {value!r})" for name, (value, text) in OPTIONS.items()]
    return "\n".join(["presets:", *presets, "options:", *options])


def _check(full: dict[str, Any]) -> None:
    for name, valid in _CHOICES.items():
        if full[name] not in valid:
            shown = ", ".join(repr(value) for value in valid)
            raise HncseError(f"loss option {name} is {full[name]!r}; valid values are {shown}")
    for name in ("k", "s", "candidates"):
        value = full[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise HncseError(f"loss option {name} is {value!r}; it must be a whole number of at least 1")
    if not _positive(full["temperature"]):
        raise HncseError(f"temperature is {full['temperature']!r}; it must be above 0 (SimCSE uses 0.05)")
    _check_numbers(full)
    alpha = full["alpha"]
    if alpha != "uniform" and not (_number(alpha) and 0 <= alpha <= 1):
        raise HncseError(f"loss option alpha is {alpha!r}; it must lie in [0, 1] or be 'uniform'")
    if full["views"] == 3 and (full["positive_mixing"] or full["hard_negative_mixing"]):
        raise HncseError(
            "views=3 is the three-view loss; it has no mixing: leave positive_mixing and "
            "hard_negative_mixing off, or use views=2"
        )


def _check_numbers(full: dict[str, Any]) -> None:
    for name in ("ratio", "band"):
        if not _number(full[name]) or full[name] < 0:
            raise HncseError(f"loss option {name} is {full[name]!r}; it must be 0 or more")
    if not _number(full["hard_negative_weight"]) or abs(full["hard_negative_weight"]) == float("inf"):
        raise HncseError(
            f"hard_negative_weight is {full['hard_negative_weight']!r}; it must be a number: 0 treats an anchor's "
            "mined negative as any other, log(w) counts it w times"
        )


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _positive(value: object) -> bool:
    return _number(value) and 0 < value < float("inf")  # type: ignore[operator]
