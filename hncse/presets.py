"""Loss presets by name, and every option as one typed dataclass. Torch-free, so that ``--help`` is quick.

Where the equations come from: the code that HNCSE's authors released (github.com/Rcrossmeister/HNCSE, commit d334c6d,
a year older than the paper), checked line by line, and SimCSE (arXiv:2104.08821). The paper's own equations
(arXiv:2411.12156) were not available in full; a public review of it quotes PM's third case otherwise (notebook 07,
"paper against code"). Presets "as released" repeat what that code does; "intended" ones do what it set out to do.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from hncse.errors import HncseError, unknown

__all__ = ["DESCRIPTIONS", "OPTION_NAMES", "PRESETS", "LossOptions", "describe", "resolve", "with_options"]


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class LossOptions:
    """Every option of a loss; the defaults are SimCSE's. What each means: ``hncse train --help``, or `describe`.

    Raises:
        HncseError: A value out of range.
    """

    temperature: float = _option(0.05, "τ: cosines are divided by it before the softmax")
    positive_mixing: Literal["search", "random", "study", "fixed"] | None = _option(
        None, "PM: where w1, w2 come from; None (off), 'search', 'random' (uniform), 'study' or 'fixed'"
    )
    ratio: float = _option(0.2, "w2/w1 of positive_mixing='fixed'")
    objective: Literal["released", "cross-entropy", "margin"] = _option(
        "released", "what the search minimises: 'released', 'cross-entropy' or 'margin'"
    )
    candidates: int = _option(
        65, "number of ratios the search tries, equally spaced angles from 0 to 90°, ends included"
    )
    columns: Literal["replace", "diagonal"] = _option(
        "replace", "'replace': mixed positives in every column; 'diagonal': each anchor's own only"
    )
    band: float = _option(0.1, "an anchor is near the boundary (case A) when (p-n)/p is at most this")
    detach_coefficients: bool = _option(False, "no gradient through the coefficients p/(p+n), n/(p+n) of case C")
    hard_negative_mixing: bool = _option(False, "HNM: add mixes of the hardest negatives to each anchor's denominator")
    k: int = _option(10, "HNM: how many hardest negatives are mixed with each other")
    s: int = _option(40, "HNM: how many mixes an anchor receives")
    alpha: float | Literal["uniform"] = _option(
        0.5, "HNM: weight of the first of two mixed negatives, or 'uniform' to draw it"
    )
    replacement: bool = _option(True, "HNM: draw pairs with replacement (as released) or without")
    detach_negatives: bool = _option(False, "no gradient through the negatives inside mixes")
    views: Literal[2, 3] = _option(2, "dropout views: 2, or 3 for CE(z1,z2) + CE(z2,z3)")
    hard_negative_weight: float = _option(
        0.0, "added to the logit of an anchor's own mined negative (SimCSE's; needs negatives, see --negatives)"
    )
    in_batch_negatives: bool = _option(
        True, "whether other rows of the batch are negatives; False leaves an anchor its own mined ones alone"
    )
    seed: int = _option(0, "seed of the random draws (HNM's pairs, PM's random weights)")

    def __post_init__(self) -> None:
        """Check every value."""
        _check(self)

    def changed(self) -> dict[str, Any]:
        """Options that differ from SimCSE's, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


def _check(o: LossOptions) -> None:
    kinds = get_type_hints(LossOptions)
    for name in ("positive_mixing", "objective", "columns", "views"):
        _check_choice(name, getattr(o, name), kinds[name])
    for name in ("k", "s", "candidates"):
        if not _whole(getattr(o, name)) or getattr(o, name) < 1:
            raise HncseError(f"loss option {name} is {getattr(o, name)!r}; it must be a whole number of at least 1")
    if not _whole(o.seed):
        raise HncseError(f"loss option seed is {o.seed!r}; it must be a whole number")
    for name in (
        "detach_coefficients",
        "hard_negative_mixing",
        "replacement",
        "detach_negatives",
        "in_batch_negatives",
    ):
        if not isinstance(getattr(o, name), bool):
            raise HncseError(f"loss option {name} is {getattr(o, name)!r}; it must be True or False")
    _check_numbers(o)
    if o.views == 3 and (o.positive_mixing or o.hard_negative_mixing):
        raise HncseError(
            "views=3 is the three-view loss; it has no mixing: leave positive_mixing and "
            "hard_negative_mixing off, or use views=2"
        )

    if not o.in_batch_negatives and (o.positive_mixing or o.hard_negative_mixing or o.views == 3):
        raise HncseError(
            "in_batch_negatives=False leaves nothing to mix: positive_mixing, hard_negative_mixing and views=3 need "
            "the negatives of the batch"
        )


def _check_choice(name: str, value: object, kind: Any) -> None:
    valid = [v for part in (get_args(kind) or (kind,)) for v in (get_args(part) or (part,))]
    valid = [None if v is type(None) else v for v in valid]
    if isinstance(value, bool) or value not in valid:
        shown = ", ".join(repr(v) for v in valid)
        raise HncseError(f"loss option {name} is {value!r}; valid values are {shown}")


def _check_numbers(o: LossOptions) -> None:
    if not _number(o.temperature) or o.temperature <= 0:
        raise HncseError(f"temperature is {o.temperature!r}; it must be above 0 (SimCSE uses 0.05)")
    for name in ("ratio", "band"):
        if not _number(getattr(o, name)) or getattr(o, name) < 0:
            raise HncseError(f"loss option {name} is {getattr(o, name)!r}; it must be 0 or more")
    if not _number(o.hard_negative_weight):
        raise HncseError(
            f"hard_negative_weight is {o.hard_negative_weight!r}; it must be a number: 0 treats an anchor's "
            "mined negative as any other, log(w) counts it w times"
        )
    if o.alpha != "uniform" and not (_number(o.alpha) and 0 <= float(o.alpha) <= 1):
        raise HncseError(f"loss option alpha is {o.alpha!r}; it must lie in [0, 1] or be 'uniform'")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


#: Names of the options, in the order of `LossOptions`.
OPTION_NAMES: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(LossOptions))

PRESETS: dict[str, LossOptions] = {
    "simcse": LossOptions(),
    "pm-intended": LossOptions(positive_mixing="search"),
    "pm-as-released": LossOptions(positive_mixing="random"),
    "pm-fixed": LossOptions(positive_mixing="fixed"),
    "hnm-as-released": LossOptions(hard_negative_mixing=True),
    "hnm-no-replacement": LossOptions(hard_negative_mixing=True, replacement=False),
    "three-view": LossOptions(views=3),
    "pm+hnm": LossOptions(positive_mixing="search", hard_negative_mixing=True, replacement=False),
}

DESCRIPTIONS: dict[str, str] = {
    "simcse": "unsupervised SimCSE: two dropout views, in-batch negatives",
    "pm-intended": "positive mixing, w1 and w2 from a search whose best candidate is used",
    "pm-as-released": "positive mixing, w1 and w2 drawn from [0,2]² as the released study's first trials are; its "
    "last, which trains there, is near the search's optimum half of the time: positive_mixing='study' draws so",
    "pm-fixed": "positive mixing with a given ratio w2/w1",
    "hnm-as-released": "hard-negative mixing, 40 of 45 pairs drawn with replacement",
    "hnm-no-replacement": "hard-negative mixing, 40 distinct pairs",
    "three-view": "three dropout views, CE(z1,z2) + CE(z2,z3)",
    "pm+hnm": "positive and hard-negative mixing together (ours; no released file combines them)",
}


def resolve(preset: str, **options: Any) -> LossOptions:
    """Complete a preset to a full, checked set of options.

    Args:
        preset: One of `PRESETS`.
        **options: Changes to it, fields of `LossOptions`.

    Raises:
        HncseError: An unknown preset or option (the nearest name is given), or a value out of range.
    """
    if preset not in PRESETS:
        raise unknown("loss preset", preset, PRESETS)
    for name in options:
        if name not in OPTION_NAMES:
            raise unknown("loss option", name, OPTION_NAMES)
    return dataclasses.replace(PRESETS[preset], **options)


def with_options(function: Any) -> Any:
    """Decorator: let a function that ends in ``**options`` show the fields of `LossOptions` as its arguments."""
    own = inspect.signature(function)
    first = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kinds = get_type_hints(LossOptions)
    more = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name])
        for f in dataclasses.fields(LossOptions)
    ]
    function.__signature__ = own.replace(parameters=[*first, *more])
    return function


def describe() -> str:
    """List presets and options as text, for ``--help`` and the notebooks."""
    presets = [f"  {name:20} {DESCRIPTIONS[name]}" for name in PRESETS]
    options = [f"  {f.name:20} {f.metadata['help']} (default {f.default!r})" for f in dataclasses.fields(LossOptions)]
    return "\n".join(["presets:", *presets, "options:", *options])
