"""Two dropout views of a batch → the loss to minimise, and what the batch looked like.

    loss = hncse.losses.build("hnm-no-replacement", k=10)
    out = loss(z1, z2)
    out.loss.backward()
    out.diagnostics["case_a"]

    loss = hncse.losses.for_sentence_transformers(model, "hnm-no-replacement")  # for SentenceTransformerTrainer

One class computes every preset of `hncse.presets`: SimCSE's cross-entropy over an N × (N+s) matrix of cosines, of
which PM rewrites the N positive columns and HNM adds the s synthetic ones. See `hncse.mixing` for how.

Taught in notebooks/01_contrastive_learning.ipynb (built by hand) and notebooks/03_train.ipynb (one step, slowly).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from hncse import presets
from hncse.errors import HncseError
from hncse.losses import guide as guides
from hncse.losses import relatives
from hncse.losses.sentence_transformers import SentenceTransformersLoss
from hncse.miner import Mined, excluded_pairs, mine_in_batch
from hncse.mixing import (
    EPS,
    Gram,
    draw_pairs,
    gram,
    hard_negative_mixes,
    mixed_positives,
    mixing_weights,
    search_weights,
    study_weights,
)
from hncse.presets import PRESETS, LossOptions

__all__ = [
    "PRESETS",
    "ContrastiveLoss",
    "LossOutput",
    "SentenceTransformersLoss",
    "build",
    "for_sentence_transformers",
    "gather_batch",
]


@dataclass(frozen=True)
class LossOutput:
    """A loss and what the batch looked like.

    Attributes:
        loss: 0-dimensional, differentiable, float32 (float64 for float64 input).
        diagnostics: Name → 0-dimensional tensor without gradient: ``positive_similarity``,
            ``hardest_negative_similarity``, ``margin_p10``/``_p50``/``_p90`` (quantiles of p-n), ``case_a``/``_b``/
            ``_c`` (fractions of anchors), ``ranked_first`` (share of anchors with p > n); with HNM
            ``mix_hardness`` (mean cosine of anchors and mixes); with mined negatives ``mined_similarity`` (mean cosine
            of anchors and their own); with PM ``mix_angle`` (atan2(w2, w1), degrees).
    """

    loss: Tensor
    diagnostics: dict[str, Tensor]


@presets.with_options
def build(preset: str, **options: Any) -> ContrastiveLoss:
    """Build a loss by name.

    Args:
        preset: One of `PRESETS`.
        **options: Changes to the preset, fields of `hncse.presets.LossOptions`; what is not named stays the preset's.

    Raises:
        HncseError: Unknown name (the nearest is given) or a value out of range.
    """
    return ContrastiveLoss(presets.resolve(preset, **options))


def for_sentence_transformers(
    model: nn.Module,
    preset: str = "hnm-no-replacement",
    *,
    mini_batch_size: int | None = None,
    guide: Any = None,
    **options: Any,
) -> SentenceTransformersLoss:
    """Build a loss for sentence-transformers' trainer.

    Args:
        model: A ``SentenceTransformer``.
        preset: One of `PRESETS`.
        mini_batch_size: Sentences embedded at a time; each part's activations are computed again in the backward
            pass, so that memory holds one part however large the batch (gradient caching). None: all at once.
        guide: Another ``SentenceTransformer``, for a preset that asks which negatives are false (dclr, gist).
        **options: Changes to the preset, fields of `hncse.presets.LossOptions`.

    Raises:
        HncseError: Unknown name (the nearest is given) or a value out of range.
    """
    if mini_batch_size is not None and mini_batch_size < 1:
        raise HncseError(f"mini_batch_size is {mini_batch_size!r}; it must be at least 1, or None")
    loss = build(preset, **options)
    if loss.options.needs_guide != (guide is not None):
        raise HncseError(
            f"{preset!r} asks {'a guide: give guide=, another' if guide is None else 'no'} SentenceTransformer"
        )
    return SentenceTransformersLoss(model, preset, loss, mini_batch_size, guide)


class ContrastiveLoss(nn.Module):
    """InfoNCE over two dropout views, with HNCSE's positive and hard-negative mixing where asked.

    Inputs: z1, z2 (N, d), one row a sentence, any float dtype; computed in float32 (float64 stays) also under
    autocast. Only directions matter to plain columns; HNM and PM mix unnormalised vectors, as released. Under
    ``torch.distributed`` every process computes the loss of the whole gathered batch, and gradients averaged over
    processes (what DDP does) equal those of one process with the whole batch.

    Relations: SimCSE is MultipleNegativesRankingLoss with two dropout views and scale 1/τ. PM equals SimCSE when
    every anchor is in case B. HNM with s mixes of equal negatives adds log((N-1+s)/(N-1)) to each denominator.

    Citation: HNCSE, arXiv:2411.12156; SimCSE, arXiv:2104.08821, equation 4.
    """

    def __init__(self, options: LossOptions | None = None) -> None:
        """Take the options; None takes SimCSE's."""
        super().__init__()
        self.options = options or LossOptions()
        self.views: int = self.options.views
        self.step = 0  # random draws depend on (seed, step) alone, so a resumed run draws as an unbroken one

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        z3: Tensor | None = None,
        *,
        groups: Tensor | None = None,
        positive_groups: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_groups: Tensor | None = None,
        guide: Tensor | None = None,
        positive_guide: Tensor | None = None,
        negative_guide: Tensor | None = None,
    ) -> LossOutput:
        """Compute the loss.

        Args:
            z1: (N, d) first view, the anchors.
            z2: (N, d) second view, the positives; z2_j is a negative of anchor i ≠ j.
            z3: (N, d) third view, for ``views=3`` only.
            groups: (N,) integers, equal where rows hold the same sentence: copies are no negatives of each other.
            positive_groups: (N,) as ``groups``, of z2, where the positives are sentences of their own: a copy of an
                anchor or of its positive is no negative of it. None: z2 holds the anchors' own sentences.
            negatives: (N, d) or (N, m, d), one or m mined hard negatives of each anchor; every anchor has all N·m of
                them in its denominator, its own with ``hard_negative_weight`` added to their logits (SimCSE's
                supervised form, equation 5).
            negative_groups: (N,) or (N, m) as ``groups``, of the mined negatives: one that is an anchor's own sentence
                or its positive leaves that anchor's denominator.
            guide: (N, d') vectors of the anchors' sentences by another encoder, for a loss that asks a guide which
                negatives are false.
            positive_guide: (N, d') as ``guide``, of the positives, where these are sentences of their own.
            negative_guide: (N, d') or (N, m, d') as ``guide``, of the mined negatives; None: none of them is false.

        Raises:
            HncseError: Shapes that do not fit, an empty batch, NaN or infinite embeddings, no mined negatives where
                in-batch ones are switched off, no guide where the loss asks one.
        """
        if negatives is not None and isinstance(negatives, Tensor) and negatives.ndim == 2:
            negatives = negatives[:, None]  # (N, 1, d)
        views = self._check([z1, z2] if z3 is None else [z1, z2, z3], negatives)
        _check_groups(groups, positive_groups, negative_groups, views[0], negatives)
        given = {"guide": guide, "positive_guide": positive_guide, "negative_guide": negative_guide}
        guides.check(self.options, len(z1), 0 if negatives is None else negatives.shape[1], given)
        with torch.autocast(z1.device.type, enabled=False):
            full = [gather_batch(_exact(z)) for z in views]  # (N, d) each
            groups, positive_groups, negative_groups = (
                None if g is None else gather_batch(g) for g in (groups, positive_groups, negative_groups)
            )
            excluded = excluded_pairs(len(full[0]), groups, full[0].device, positive_groups)  # (N, N)
            false, false_mined = guides.masks(
                self.options, *(g if g is None else gather_batch(g) for g in given.values())
            )
            mined = None
            if negatives is not None:
                negatives = gather_batch(_exact(negatives))
                mined = self._mined_columns(full[0], negatives, (groups, positive_groups), negative_groups)  # (N, N·m)
                if false_mined is not None:
                    mined = mined.masked_fill(false_mined & mined.isfinite(), self.options.masked)
            out = self._loss(full[0], full[1], excluded, mined, false)
            if self.views == 3:
                second = self._loss(full[1], full[2], excluded, None, false)
                out = LossOutput(out.loss + second.loss, out.diagnostics)
        self.step += 1
        return out

    def extra_repr(self) -> str:
        """Show the options that differ from SimCSE's."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.changed().items()) or "simcse"

    def _loss(
        self, z1: Tensor, z2: Tensor, excluded: Tensor, extra: Tensor | None = None, false: Tensor | None = None
    ) -> LossOutput:
        o = self.options
        own = torch.eye(len(z1), dtype=torch.bool, device=z1.device)
        if false is not None and o.masked < 0:  # as copies are: neither negatives nor mined nor mixed
            excluded = excluded | false
        pm, hnm = o.positive_mixing, o.hard_negative_mixing
        if o.unit_mixes:
            z1, z2 = (F.normalize(z, dim=1, eps=EPS) for z in (z1, z2))
        g = gram(z1, z2, mixes=bool(pm or hnm or o.mixed_negative is not None), detach_negatives=o.detach_negatives)
        similarity = g.cosine  # (N, N)
        mined = mine_in_batch(similarity if pm else similarity.detach(), excluded, o.band)
        diagnostics = _diagnose(mined)
        logits = similarity
        if pm:
            w = self.pair_weights(g, mined, excluded)
            logits = self._mix_positives(g, mined, w, similarity)
            diagnostics["mix_angle"] = torch.rad2deg(torch.atan2(w[1], w[0]))
        logits = self._hide(logits, excluded, own)
        mixes = self._synthetic(z1, z2, g, logits, excluded)
        if false is not None:
            diagnostics["masked"] = (false & ~own).sum() / (~own).sum()
            if o.masked == 0:
                logits = logits.masked_fill(false & ~excluded & logits.isfinite(), 0.0)
        if mixes:
            diagnostics["mix_hardness"] = _finite_mean(torch.cat(mixes, dim=1).detach())
            logits = torch.cat([logits, *mixes], dim=1)  # (N, N+s)
        own_mined = None
        if extra is not None:
            own_mined = own.repeat_interleave(extra.shape[1] // len(z1), dim=1)  # (N, N·m) an anchor's own
            diagnostics["mined_similarity"] = _finite_mean(extra.detach()[own_mined])
            if not relatives.needed(o):  # logits are cosines / τ, so the weight is τ times itself in cosines
                extra = extra + float(o.hard_negative_weight) * float(o.temperature) * own_mined.to(extra.dtype)
            logits = torch.cat([logits, extra], dim=1)  # (N, N+N·m) or (N, N+s+N·m)
        if relatives.needed(o):
            return LossOutput(relatives.objective(logits, own_mined, o, z1.shape[1]), diagnostics)
        label = torch.arange(len(z1), device=z1.device)
        return LossOutput(F.cross_entropy(logits / o.temperature, label), diagnostics)

    def _hide(self, logits: Tensor, excluded: Tensor, own: Tensor) -> Tensor:
        """Take out of the denominator what is no negative: copies, or all of the batch where it is switched off."""
        if not self.options.in_batch_negatives:
            return logits.masked_fill(~own, -torch.inf)
        return logits.masked_fill(excluded & ~own, -torch.inf) if int(excluded.sum()) > len(own) else logits

    def _synthetic(self, z1: Tensor, z2: Tensor, g: Gram, logits: Tensor, excluded: Tensor) -> list[Tensor]:
        """Cosines of anchors with negatives made for them, (N, ·) each; none where the options ask for none."""
        o, parts, generator = self.options, [], self.generator()
        if o.hard_negative_mixing:
            pairs = draw_pairs(g.cosine, excluded, generator, k=o.k, s=o.s, alpha=o.alpha, replacement=o.replacement)
            parts.append(hard_negative_mixes(g, pairs))  # (N, s)
        if o.mixed_negative is not None and o.mixes_of == "all":
            parts.append(relatives.all_mixes(z1, z2, excluded, o))  # (N, 2N)
        elif o.mixed_negative is not None:
            parts.append(relatives.neighbour_mix(g, excluded, float(o.mixed_negative)))  # (N, 1)
        if o.anchor_mixes or o.extrapolations:
            still = gram(z1, z2.detach(), mixes=False).cosine  # (N, N): gradient through the anchor alone
            parts.append(relatives.anchor_mixes(still, excluded, generator, o))  # (N, a+e)
        if o.noise:
            parts.append(relatives.noise_negatives(z1, logits.detach(), generator, o))  # (N, noise · N)
        return parts

    def _mined_columns(
        self, z1: Tensor, negatives: Tensor, groups: tuple[Tensor | None, Tensor | None], negative_groups: Tensor | None
    ) -> Tensor:
        """Cosines of anchors and mined negatives (N, N·m), -inf for copies of an anchor or of its positive."""
        m = negatives.shape[1]
        cosine = F.normalize(z1, dim=1, eps=EPS) @ F.normalize(negatives.flatten(0, 1), dim=1, eps=EPS).T  # (N, N·m)
        own = torch.eye(len(z1), dtype=torch.bool, device=z1.device).repeat_interleave(m, dim=1)
        hidden = torch.zeros_like(own) if self.options.in_batch_negatives else ~own
        if negative_groups is not None:
            for theirs in groups:
                if theirs is not None:
                    hidden = hidden | (theirs[:, None] == negative_groups.flatten()[None, :])
        return cosine.masked_fill(hidden, -torch.inf)

    def _mix_positives(self, g: Gram, mined: Mined, w: tuple[Tensor, Tensor], similarity: Tensor) -> Tensor:
        a, b = mixing_weights(mined, w, detach=self.options.detach_coefficients)
        mixed = mixed_positives(g, mined.index, a, b)  # (N, N)
        if self.options.columns == "replace":
            return mixed
        own = torch.eye(len(mixed), dtype=torch.bool, device=mixed.device)
        return torch.where(own, mixed, similarity)

    def pair_weights(self, g: Gram, mined: Mined, excluded: Tensor) -> tuple[Tensor, Tensor]:
        """PM: (w1, w2) of case A in this step, 0-dimensional, searched or drawn as the options say."""
        o = self.options
        how = o.positive_mixing
        like = g.norm1.detach()
        settings: dict[str, Any] = {"objective": o.objective, "candidates": o.candidates, "temperature": o.temperature}
        if how == "search":
            return search_weights(g, mined, excluded, **settings)
        if how == "study":
            return study_weights(g, mined, excluded, self.generator(), **settings)
        if how == "random":  # one pair a batch, uniform on [0, 2]²
            w = (2 * torch.rand(2, generator=self.generator())).to(like)
            return w[0], w[1]
        return like.new_tensor(1.0), like.new_tensor(float(o.ratio))

    def generator(self) -> torch.Generator:
        """Source of this step's draws: the same for the same seed and step."""
        return torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)

    def _check(self, views: list[Tensor], negatives: Tensor | None) -> list[Tensor]:
        if len(views) != self.views:
            raise HncseError(f"this loss takes {self.views} views, {len(views)} were given")
        if negatives is not None and self.views == 3:
            raise HncseError("the three-view loss takes no mined negatives; use views=2")
        if negatives is None and not self.options.in_batch_negatives:
            raise HncseError("in_batch_negatives=False leaves no negatives at all: give mined ones (negatives=)")
        shape = tuple(getattr(views[0], "shape", ()))
        named = dict(zip(("z1", "z2", "z3"), views, strict=False))
        if negatives is not None:
            named["negatives"] = negatives
        for name, z in named.items():
            if not isinstance(z, Tensor):
                raise HncseError(
                    f"{name} is a {type(z).__name__}; a loss takes torch tensors of shape (N, d): use torch.as_tensor"
                )
            size = (*z.shape[:1], *z.shape[2:]) if name == "negatives" else tuple(z.shape)
            if z.ndim != 2 + (name == "negatives") or size != shape or 0 in z.shape:
                raise HncseError(
                    f"{name} has shape {tuple(z.shape)}; every view must be (N, d) with N, d ≥ 1, mined negatives "
                    f"(N, d) or (N, m, d); z1 is {shape}"
                )
        if not math.isfinite(sum(z.detach().sum() for z in named.values())):  # one quick look; rows only if it is bad
            _refuse_bad_rows(named)
        return views


def _exact(z: Tensor) -> Tensor:
    """Float64 stays, everything else becomes float32."""
    return z if z.dtype == torch.float64 else z.float()


def _check_groups(
    groups: Tensor | None,
    positive_groups: Tensor | None,
    negative_groups: Tensor | None,
    z1: Tensor,
    negatives: Tensor | None,
) -> None:
    one, many = [(len(z1),)], [] if negatives is None else [tuple(negatives.shape[:2])]
    if many and many[0][1] == 1:
        many += one
    for name, given, shapes in (
        ("groups", groups, one), ("positive_groups", positive_groups, one), ("negative_groups", negative_groups, many),
    ):  # fmt: skip
        if given is not None and tuple(given.shape) not in shapes:
            right = f"it must be {shapes[0]}, one entry a sentence" if shapes else "there are no mined negatives"
            raise HncseError(f"{name} has shape {tuple(given.shape)}; {right}")
    if positive_groups is not None and groups is None:
        raise HncseError("positive_groups came without groups; copies are told by both: give the anchors' too")


def _refuse_bad_rows(named: dict[str, Tensor]) -> None:
    for name, z in named.items():
        bad = ~torch.isfinite(z.detach()).flatten(1).all(dim=1)  # (N,)
        if bool(bad.any()):
            raise HncseError(
                f"{int(bad.sum())} of {len(z)} rows of {name} hold NaN or infinity, first row "
                f"{int(bad.nonzero()[0])}: lower the learning rate, or train in bf16 or fp32"
            )


class _Gather(torch.autograd.Function):
    """All processes' rows, in rank order; the backward pass sums what every process sends back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = rows.shape[0]
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.rows
        return grad[start : start + ctx.rows]


def gather_batch(rows: Tensor) -> Tensor:
    """Join the batches of all processes, differentiably.

    Each process then computes the same full-batch loss. Summing gradients in the backward pass and averaging
    parameters' gradients afterwards (DDP) gives exactly the gradient of one process holding the whole batch.

    Args:
        rows: (B, …), the same B on every process (drop the last, short batch).

    Returns:
        (B · world size, …); ``rows`` itself where there is one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows)


@torch.no_grad()
def _diagnose(mined: Mined) -> dict[str, Tensor]:
    p, n = mined.positive.detach(), mined.hardest.detach()
    p10, p50, p90 = _quantiles(p - n, (0.1, 0.5, 0.9))  # of (N,); +inf for an anchor without negatives
    kinds = torch.arange(3, device=p.device)[:, None]  # CASE_A, CASE_B, CASE_C
    case_a, case_b, case_c = (mined.case == kinds).to(p.dtype).mean(dim=1).unbind()
    return {
        "positive_similarity": p.mean(),
        "hardest_negative_similarity": _finite_mean(n),
        "margin_p10": p10,
        "margin_p50": p50,
        "margin_p90": p90,
        "case_a": case_a,
        "case_b": case_b,
        "case_c": case_c,
        "ranked_first": 1 - case_c,  # case C is p ≤ n
    }


def _quantiles(x: Tensor, levels: tuple[float, ...]) -> list[Tensor]:
    """`torch.quantile` (linear interpolation), several times quicker on a short vector."""
    ordered, last = x.sort().values, len(x) - 1
    return [torch.lerp(ordered[int(last * q)], ordered[min(int(last * q) + 1, last)], last * q % 1) for q in levels]


def _finite_mean(x: Tensor) -> Tensor:
    """Mean over entries above -inf; NaN if there are none (an anchor alone has no negatives)."""
    return x.nan_to_num(neginf=0.0).sum() / (x > -torch.inf).sum()
