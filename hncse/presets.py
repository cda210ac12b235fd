"""Loss presets by name, and every option as one typed dataclass. Torch-free, so that ``--help`` is quick.

Where the equations come from: the code that HNCSE's authors released (github.com/Rcrossmeister/HNCSE, commit d334c6d,
a year older than the paper), checked line by line, and SimCSE (arXiv:2104.08821). The paper's own equations
(arXiv:2411.12156) were not available in full; a public review of it quotes PM's third case otherwise (notebook 07b,
"paper against code"). Presets "as released" repeat what that code does; "intended" ones do what it set out to do.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from hncse.errors import HncseError, unknown

__all__ = [
    "DESCRIPTIONS",
    "OPTION_NAMES",
    "OWN_PRESETS",
    "PRESETS",
    "LossOptions",
    "describe",
    "resolve",
    "with_options",
]


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
    unit_mixes: bool = _option(False, "mix unit vectors, not embeddings as they are")
    hardness: float = _option(0.0, "α: a negative's logit grows by α times its own cosine, without gradient")
    hardness_of: Literal["in-batch", "mined", "all"] = _option(
        "in-batch", "whose logits hardness raises: 'in-batch' (all but an anchor's own mined), 'mined' (those) or 'all'"
    )
    denominator: Literal["softmax", "decoupled", "debiased", "hcl", "binary"] = _option(
        "softmax",
        "'softmax'; 'decoupled' leaves the positive out; 'debiased' and 'hcl' estimate the negatives' sum; 'binary': "
        "each cell of the softmax is a yes or no of its own (DCLR as released)",
    )
    beta: float = _option(1.0, "denominator='hcl': how much harder negatives count more")
    prior: float = _option(0.0, "denominator='debiased' or 'hcl': τ⁺, the share of negatives taken to be false")
    focal: float | None = _option(None, "m of Focal-InfoNCE: logits p²/τ and s(s+m)/τ; None: plain")
    angular_margin: float = _option(0.0, "degrees added to the angle of anchor and positive (ArcCSE)")
    orthogonality: float = _option(
        0.0, "weight of the spread-out term: mean² + max(0, second moment - 1/d) of negatives"
    )
    mixed_negative: float | None = _option(
        None, "λ: one more negative λ z2_i + (1-λ) z2_{i+1} an anchor (MixCSE); None: none"
    )
    mixes_of: Literal["own", "all"] = _option(
        "own", "mixed_negative: an anchor's 'own' mix alone, or 'all' rows' mixes, of anchors too (MixCSE as released)"
    )
    anchor_mixes: int = _option(
        0, "how many mixes of anchor and hard negative an anchor receives (MoCHi's second kind)"
    )
    extrapolations: int = _option(
        0, "how many points beyond a hard negative, seen from the anchor, it receives (SynCo)"
    )
    guide_above: float | None = _option(
        None, "φ: what a guide scores above φ is no negative (DCLR); None: no guide is asked"
    )
    guide_margin: float | None = _option(
        None, "what a guide scores above the positive's score less this is no negative (GISTEmbed); None: not asked"
    )
    masked_logit: Literal["-inf", "zero"] = _option(
        "-inf", "what a negative left out gets as its logit: '-inf', or 'zero' as MixCSE and DCLR were released"
    )
    noise: float = _option(0.0, "negatives of noise, so many times the batch, that climb the loss's gradient (DCLR)")
    noise_steps: int = _option(4, "noise: steps it climbs, each 0.001 long")
    seed: int = _option(0, "seed of the random draws (HNM's pairs, PM's random weights, noise)")

    def __post_init__(self) -> None:
        """Check every value."""
        _check(self)

    @property
    def needs_guide(self) -> bool:
        """Whether the loss asks a guide which negatives are false."""
        return self.guide_above is not None or self.guide_margin is not None

    @property
    def masked(self) -> float:
        """Logit of a negative that is left out: -∞, or 0 as MixCSE and DCLR were released."""
        return 0.0 if self.masked_logit == "zero" else -math.inf

    def changed(self) -> dict[str, Any]:
        """Options that differ from SimCSE's, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _from(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: _number(value) and least <= value <= most


_COUNT = (lambda v: _whole(v) and v >= 1, "be a whole number of at least 1")
_COUNT_OR_NONE = (lambda v: _whole(v) and v >= 0, "be a whole number of at least 0")
_NOT_NEGATIVE = (_from(0), "be 0 or more")
#: What a value must be, where its type does not say so.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda v: _number(v) and v > 0, "be above 0 (SimCSE uses 0.05)"),
    **dict.fromkeys(("k", "s", "candidates"), _COUNT),
    **dict.fromkeys(("anchor_mixes", "extrapolations", "noise_steps"), _COUNT_OR_NONE),
    **dict.fromkeys(("ratio", "band", "hardness", "beta", "orthogonality", "noise"), _NOT_NEGATIVE),
    "seed": (_whole, "be a whole number"),
    "alpha": (lambda v: v == "uniform" or _from(0, 1)(v), "lie in [0, 1] or be 'uniform'"),
    "hard_negative_weight": (
        _number,
        "be a number: 0 treats an anchor's mined negative as any other, log(w) counts it w times",
    ),
    "focal": (lambda v: v is None or _number(v), "be a number (the released script's is 0.3) or None"),
    "prior": (lambda v: _number(v) and 0 <= v < 1, "be at least 0 and below 1"),
    "angular_margin": (lambda v: _number(v) and 0 <= v < 90, "be at least 0 and below 90 degrees"),
    "mixed_negative": (lambda v: v is None or _from(0, 1)(v), "lie in [0, 1] or be None"),
    "guide_above": (lambda v: v is None or _from(-1, 1)(v), "be a cosine, from -1 to 1, or None (DCLR's is 0.9)"),
    "guide_margin": (lambda v: v is None or _from(0, 2)(v), "be from 0 to 2, or None"),
}


def _check(o: LossOptions) -> None:
    kinds = get_type_hints(LossOptions)
    for name, kind in kinds.items():
        value = getattr(o, name)
        valid, text = _RULES.get(name) or _choices(kind)
        if not valid(value):
            raise HncseError(f"loss option {name} is {value!r}; it must {text}")
    synthetic = ("positive_mixing", "hard_negative_mixing", "mixed_negative", "anchor_mixes", "extrapolations")
    given = {name: getattr(o, name) for name in synthetic}
    mixing = [n for n, v in given.items() if v is not None and (v or n == "mixed_negative")]
    if o.views == 3 and mixing:
        raise HncseError(
            f"views=3 is the three-view loss; it has no mixing: leave {' and '.join(mixing)} off, or views=2"
        )
    if not o.in_batch_negatives and (mixing or o.views == 3):
        raise HncseError(
            "in_batch_negatives=False leaves nothing to mix: " + ", ".join(mixing or ["views=3"]) + " needs the "
            "negatives of the batch"
        )


def _choices(kind: Any) -> tuple[Callable[[Any], bool], str]:
    """The rule of a field whose type lists its values."""
    if kind is bool:
        return (lambda value: isinstance(value, bool)), "be True or False"
    values = [v for part in (get_args(kind) or (kind,)) for v in (get_args(part) or (part,))]
    values = [None if v is type(None) else v for v in values]
    return (lambda v: not isinstance(v, bool) and v in values), f"be one of {', '.join(map(repr, values))}"


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
    "hardness": LossOptions(hardness=9.0),
    "hcl": LossOptions(denominator="hcl"),
    "debiased": LossOptions(denominator="debiased", prior=0.1),
    "decoupled": LossOptions(denominator="decoupled"),
    "focal": LossOptions(focal=0.3),
    "mixcse": LossOptions(mixed_negative=0.2, detach_negatives=True),
    "mixcse-as-released": LossOptions(mixed_negative=0.2, mixes_of="all", masked_logit="zero"),
    "mochi": LossOptions(
        hard_negative_mixing=True, alpha="uniform", anchor_mixes=40, unit_mixes=True, detach_negatives=True
    ),
    "synco-extrapolated": LossOptions(extrapolations=40, unit_mixes=True),
    "arccon": LossOptions(angular_margin=10.0),
    "gor": LossOptions(orthogonality=1.0),
    "dclr": LossOptions(guide_above=0.9, noise=1.0),
    "dclr-as-released": LossOptions(guide_above=0.9, noise=1.0, masked_logit="zero", denominator="binary"),
    "gist": LossOptions(guide_margin=0.1),
}
#: HNCSE's own presets and SimCSE, the ones whose runs are recorded; the others are their relatives in the literature.
OWN_PRESETS: tuple[str, ...] = tuple(PRESETS)[:8]

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
    "hardness": "hardness weighting (LLaVE, arXiv:2503.04812, equation 5; α = 9): nearly SimCSE at τ/(1+ατ)",
    "hcl": "HCL (Robinson et al., arXiv:2010.04592): negatives weighted by e^(βs/τ); the published prior 0.1 is left "
    "out, for it ends the gradient of dropout positives",
    "debiased": "debiased contrastive learning (Chuang et al., arXiv:2007.00224) with its published prior of 0.1",
    "decoupled": "decoupled contrastive learning (Yeh et al., 2022): the positive is not in the denominator",
    "focal": "Focal-InfoNCE (arXiv:2310.06918): logits p²/τ and s(s+m)/τ, m = 0.3",
    "mixcse": "MixCSE (AAAI 2022): one more negative, 0.2 of the positive and 0.8 of the next row's",
    "mixcse-as-released": "MixCSE's code: all rows' mixes in both directions; the two that are nearly the positive are "
    "masked by logit 0, not -∞",
    "mochi": "MoCHi (arXiv:2010.01028), HNM's origin: 40 mixes of hard negatives, 40 of anchor and hard negative",
    "synco-extrapolated": "SynCo (arXiv:2410.02401): 40 points beyond a hard negative, seen from the anchor",
    "arccon": "ArcCSE's angular margin of 10° (Zhang et al., ACL 2022)",
    "gor": "SimCSE and global orthogonal regularisation, the spread-out term of EmbeddingGemma",
    "dclr": "DCLR (arXiv:2205.00656): without negatives that a guide scores above 0.9, and with a batch of noise",
    "dclr-as-released": "DCLR's code: masked negatives get logit 0, not -∞, and each cell is a yes or no of its own",
    "gist": "GISTEmbed (arXiv:2402.16829): without negatives that a guide scores above the positive less 0.1 (its own "
    "margin 0 would mask nothing: to a guide, a sentence and its dropout copy are equal)",
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
