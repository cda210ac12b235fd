"""Paper against code: what the released code's defects change, each computed on a batch or on the probe.

`table` is the list, each with its place in the released code; notebook 07b shows it. Nothing here is copied from the
released repository: each function is the plainest thing that has the defect, beside the plainest that has not.

Where the equations come from: the code that HNCSE's authors released (github.com/Rcrossmeister/HNCSE, commit d334c6d),
read line by line. It is a year older than the paper (arXiv:2411.12156), whose own equations and result tables were not
available for this kit, so the two may differ. In case C of positive mixing they do, as far as one public review of the
paper quotes it: there the mix begins "(d1-d2)/d1 · s1+ + (d1-d", where the quotation is cut, under conditions in d1 and
d2. The released code, and this kit, mix p/(p+n) · z2 + n/(p+n) · z2*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hncse import demonstrations, losses
from hncse.data.text import Markup
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from hncse.evaluation.geometry import normalised, uniformity

__all__ = [
    "ELSEWHERE", "PRESETS", "RELEASED", "STRENGTHS", "Comparison", "compare", "distinct_mixes", "elsewhere",
    "first_last", "gradient", "label_alignments", "mask_of_zero", "masks_of_zero", "own_positive_among_hardest",
    "raw_views", "search_terms", "shift", "table",
]  # fmt: skip

#: How much of a common part the notebook's pictures give all vectors.
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
#: Presets that stand beside each other there.
PRESETS = ("pm-intended", "pm-as-released", "hnm-as-released", "hnm-no-replacement")
_BATCH = 64  # of the released code
#: The released code, at the commit that was read.
RELEASED = "https://github.com/Rcrossmeister/HNCSE/blob/d334c6dc72cd3180bce488078c4feb5b654f5827"
#: Of two relatives, MixCSE and DCLR, likewise.
ELSEWHERE = {
    "MixCSE": "https://github.com/BDBC-KG-NLP/MixCSE_AAAI2022/blob/884145e24a5258c044fedb658df9999f012df875",
    "DCLR": "https://github.com/RUCAIBox/DCLR/blob/e2c3430c9ad17146cea4b0aea21ecbc76c6f5885",
}

Floats = NDArray[np.float64]


def raw_views(encoder: SentenceEncoder, sentences: Sequence[str], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two dropout views (N, d) of a batch as `hncse.demonstrations.raw_views` makes them, 32 tokens at most.

    Raises:
        HncseError: Fewer than two sentences.
    """
    if len(sentences) < 2:
        raise HncseError(f"a batch of {len(sentences)} sentences has no negatives; give two or more")
    z1, z2 = demonstrations.raw_views(encoder, sentences, seed=seed, max_length=32)
    return z1, z2


def shift(z1: Tensor, z2: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Move all vectors the same way, so that all cosines rise: a batch as anisotropic as raw BERT's, from ours.

    Args:
        z1: (N, d) first views.
        z2: (N, d) second views.
        strength: Length of the common part, in mean lengths of the rows; 0 changes nothing.
    """
    direction = F.normalize(torch.linspace(-1, 1, z1.shape[1]).cos(), dim=0)  # (d,)
    common = strength * z1.norm(dim=1).mean() * direction  # (d,)
    return z1 + common, z2 + common


@dataclass(frozen=True)
class Comparison:
    """One preset on one batch.

    Attributes:
        preset: Its name.
        loss: Of the batch.
        cases: Shares of anchors in A, B, C.
        angle: Degrees between its gradient and SimCSE's, all views' gradients taken together.
        mix_angle: PM: atan2(w2, w1) in degrees, 0 is no mixing; NaN without PM.
        mix_hardness: HNM: mean cosine of anchors and mixes; NaN without HNM.
    """

    preset: str
    loss: float
    cases: tuple[float, float, float]
    angle: float
    mix_angle: float
    mix_hardness: float


def compare(
    z1: Tensor, z2: Tensor, presets: Sequence[str], options: Mapping[str, Any] | None = None
) -> list[Comparison]:
    """Compute presets on one batch: loss, cases, and how far each one's gradient points from SimCSE's.

    Args:
        z1: (N, d) first views.
        z2: (N, d) second views.
        presets: Names of `hncse.presets.PRESETS`, of two views.
        options: Changes to all of them, such as temperature or band.
    """
    options = dict(options or {})
    plain = {name: value for name, value in options.items() if name in ("temperature", "band")}
    reference = gradient(z1, z2, "simcse", plain)[1]
    rows = []
    for preset in presets:
        out, pull = gradient(z1, z2, preset, options)
        angle = math.degrees(math.acos(float(F.cosine_similarity(pull, reference, dim=0).clamp(-1, 1))))
        d = {name: float(value) for name, value in out.diagnostics.items()}
        cases = (d["case_a"], d["case_b"], d["case_c"])
        mixes = d.get("mix_angle", math.nan), d.get("mix_hardness", math.nan)
        rows.append(Comparison(preset, float(out.loss.detach()), cases, angle, *mixes))
    return rows


def gradient(
    z1: Tensor, z2: Tensor, preset: str, options: Mapping[str, Any] | None = None, guide: Tensor | None = None
) -> tuple[losses.LossOutput, Tensor]:
    """Compute a preset's loss on a batch and its gradient over both views.

    Args:
        z1: (N, d) first views.
        z2: (N, d) second views.
        preset: Name of a loss of two views.
        options: Of that preset, such as temperature.
        guide: (N, d') a guide's vectors, for a preset that asks one; others leave it alone.

    Returns:
        What the loss gives, and the gradient, (2·N·d,).
    """
    a, b = z1.detach().clone().requires_grad_(), z2.detach().clone().requires_grad_()
    loss = losses.build(preset, **dict(options or {}))
    out = loss(a, b, guide=guide if loss.options.needs_guide else None)
    return out, torch.cat([part.flatten() for part in torch.autograd.grad(out.loss, [a, b])])


def search_terms(z1: Tensor, z2: Tensor, temperature: float = 0.05, steps: int = 31) -> dict[str, Floats]:
    """Defect 4: the two terms that the released search adds up, against the angle of (w1, w2).

    Every positive is mixed with its anchor's hardest negative, as in case A.

    Returns:
        ``angle`` (T,) in degrees; ``gap``, mean of (positive less the mean negative) / τ; ``rank``, mean rank of the
        positive in its row, from 1; ``loss``, the cross-entropy of the mixed batch.

    Raises:
        HncseError: Fewer than two rows, a τ that is not above 0, or fewer than two angles.
    """
    n = len(z1)
    if n < 2 or not temperature > 0 or steps < 2:
        raise HncseError(
            f"{n} rows, temperature {temperature} and {steps} angles; the search needs two rows or more, a "
            "temperature above 0 and two angles or more"
        )
    x1, x2 = F.normalize(z1, dim=1), F.normalize(z2, dim=1)  # (N, d)
    own = torch.eye(n, dtype=torch.bool)
    hardest = (x1 @ x2.T).masked_fill(own, -torch.inf).argmax(dim=1)  # (N,)
    angles = np.linspace(0, 90, steps)
    rows = []
    for theta in np.radians(angles):
        mixed = F.normalize(math.cos(theta) * z2 + math.sin(theta) * z2[hardest], dim=1)  # (N, d)
        c = x1 @ mixed.T  # (N, N)
        positive = c.diagonal()  # (N,)
        negatives = (c.sum(dim=1) - positive) / (n - 1)  # (N,)
        gap = float((positive - negatives).mean()) / temperature
        rank = 1 + float(((c > positive[:, None]) & ~own).sum(dim=1).double().mean())
        rows.append((gap, rank, float(F.cross_entropy(c / temperature, torch.arange(n)))))
    return {"angle": angles} | dict(zip(("gap", "rank", "loss"), np.array(rows).T, strict=True))


def own_positive_among_hardest(similarity: Tensor, k: int = 10) -> float:
    """Defect 5: share of anchors whose own positive lands among "the k hardest negatives" of a row (N, N).

    The positive is masked by a very low value and the k largest of the row are taken, as code does that takes k for
    granted. With k > N - 1 there are too few others, and the masked positive itself is the last of the k.

    Raises:
        HncseError: k > N: the row has no k entries at all; or k below 1.
    """
    n = len(similarity)
    if k < 1:
        raise HncseError(f"k is {k}; at least one negative is taken")
    if k > n:
        raise HncseError(f"k is {k}, a row of {n} has no {k} largest entries: the released code crashes here")
    taken = similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices  # (N, k)
    return float((taken == torch.arange(n)[:, None]).any(dim=1).double().mean())


def distinct_mixes(k: int = 10, s: int = 40, anchors: int = 2000, seed: int = 0) -> NDArray[np.int64]:
    """Defect 6: how many different pairs s draws with replacement hold, for each of many anchors (anchors,).

    Raises:
        HncseError: k below 2: there is no pair.
    """
    if k < 2:
        raise HncseError(f"k is {k}; a pair needs two negatives")
    drawn = np.sort(np.random.default_rng(seed).integers(k * (k - 1) // 2, size=(anchors, s)), axis=1)
    return 1 + np.count_nonzero(np.diff(drawn, axis=1), axis=1)


def first_last(encoder: SentenceEncoder) -> dict[str, float]:
    """Defect 9: Spearman × 100 on the probe of "the mean of the first and the last layer", by either meaning of first.

    Returns:
        ``hidden_states[0]`` (the embedding layer) and ``hidden_states[1]`` (the first layer), each averaged with the
        last.
    """
    from hncse.data import probe as data
    from hncse.evaluation import probe

    sentences = list(dict.fromkeys(s.text for group in data.load() for s in group.sentences))
    scores = {}
    for first, rows in enumerate(_early_and_last(encoder, sentences)):
        known = SimpleNamespace(encode=lambda _, rows=rows: rows)
        scores[f"hidden_states[{first}]"] = float(probe.evaluate(known, bootstrap=0)["spearman"])
    return scores


@torch.no_grad()
def _early_and_last(encoder: SentenceEncoder, sentences: Sequence[str]) -> NDArray[np.float32]:
    """Mean-pooled average of hidden state 0, and of 1, with the last: (2, n, d)."""
    training, parts = encoder.training, []
    encoder.eval()
    try:
        for begin in range(0, len(sentences), 256):
            ids = encoder.tokenize(sentences[begin : begin + 256])
            batch = {name: tensor.to(encoder.device) for name, tensor in encoder.pad(ids).items()}
            states = encoder.backbone(**batch, output_hidden_states=True).hidden_states
            weight = batch["attention_mask"].unsqueeze(-1).to(states[0].dtype)  # (B, L, 1)
            zero, one, last = ((states[i] * weight).sum(1) / weight.sum(1) for i in (0, 1, -1))  # (B, d)
            parts.append(torch.stack([(zero + last) / 2, (one + last) / 2]).float().cpu())
    finally:
        encoder.train(training)
    return torch.cat(parts, dim=1).numpy()


def label_alignments(encoder: SentenceEncoder) -> dict[str, float]:
    """Defect 11: alignment on the probe by grades as they are, cut to whole numbers, and appended twice a batch.

    Alignment is the mean squared distance of pairs graded above 4. Appended twice, from the second batch of 64 pairs on
    the labels of batch b // 2 stand beside the pairs of batch b.
    """
    from hncse.data import probe

    pairs = [(g.anchor, s.text, s.grade) for g in probe.load() for s in g.sentences if s.text != g.anchor]
    texts = list(dict.fromkeys(text for pair in pairs for text in pair[:2]))
    z = dict(zip(texts, normalised(encoder.encode(texts, show_progress=False)), strict=True))
    order = np.random.default_rng(0).permutation(len(pairs))
    distance = np.array([2 - 2 * float(z[a] @ z[b]) for a, b, _ in pairs])[order]
    grade = np.array([score for *_, score in pairs])[order]
    batch, place = np.divmod(np.arange(len(grade)), _BATCH)
    twice = grade[batch // 2 * _BATCH + place]
    labels = {"as they are": grade, "cut to whole numbers": np.floor(grade), "twice": twice}
    return {name: float(distance[read > 4].mean()) for name, read in labels.items()}


def mask_of_zero(z1: Tensor, z2: Tensor, temperature: float = 0.05, masked: float = 0.01) -> dict[str, float]:
    """Share of an anchor's denominator that negatives hold which were to be masked and got logit 0 in place of -∞.

    Args:
        z1: (N, d) first views.
        z2: (N, d) second views.
        temperature: τ.
        masked: Share of the batch's pairs that DCLR's guide, here the views themselves, takes for false negatives.

    Returns:
        ``MixCSE`` and ``DCLR``, each between 0 and 1, mean over anchors: 1 - e^-(loss as released - loss as meant).
    """
    own = torch.eye(len(z1), dtype=torch.bool)
    cosine = (F.normalize(z1, dim=1) @ F.normalize(z1, dim=1).T)[~own]
    guided = {"guide_above": min(1.0, max(-1.0, float(cosine.quantile(1 - masked))))}
    shares = {}
    for name, preset, options, given in (
        ("MixCSE", "mixcse-as-released", {}, {}), ("DCLR", "simcse", guided, {"guide": z1}),
    ):  # fmt: skip
        released, meant = (
            losses.build(preset, temperature=temperature, masked_logit=mask, **options)(z1, z2, **given).loss.double()
            for mask in ("zero", "-inf")
        )
        shares[name] = -math.expm1(-max(0.0, float((released - meant).detach())))
    return shares


def masks_of_zero(
    z1: Tensor, z2: Tensor, temperatures: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0)
) -> dict[float, dict[str, float]]:
    """`mask_of_zero` in float64 at several temperatures."""
    return {t: mask_of_zero(z1.double(), z2.double(), t) for t in temperatures}


def elsewhere(z1: Tensor, z2: Tensor) -> list[tuple[str, ...]]:
    """Defects of MixCSE's and DCLR's released code, in the columns of `table`; figures are computed here.

    Args:
        z1: (N, d) first views of a batch.
        z2: (N, d) second views.
    """
    z1, z2 = z1.double(), z2.double()
    shares, hot = (mask_of_zero(z1, z2, temperature) for temperature in (0.05, 1.0))
    options = {"temperature": 0.05, "guide_above": 1.0, "noise": 0.0}
    cells, softmax = (gradient(z1, z2, "dclr", options | {"denominator": d}, z1)[1] for d in ("binary", "softmax"))
    alike, length = float(F.cosine_similarity(cells, softmax, dim=0)), float(cells.norm() / softmax.norm())
    cosine = F.normalize(z1, dim=1) @ F.normalize(z1, dim=1).T
    above = int((cosine > 0.9).sum()) - len(z1)
    words = {
        name: f"logit 0: {100 * shares[name]:.2g} % of the denominator at τ = 0.05, {100 * hot[name]:.2g} % at 1"
        for name in shares
    }
    rows = [
        ("MixCSE", "a mix that is nearly the positive is masked by 0, in both directions",
         "mixcse/models_mix.py#L233-L236", "loss", words["MixCSE"], "-∞: 0 %"),
        ("MixCSE", "mixes of all rows, in both directions, where the paper has an anchor's own",
         "mixcse/models_mix.py#L219-L271", "loss, gradient", f"{2 * len(z1)} more columns", "1 more column"),
        ("DCLR", "a false negative is masked by 0", "simcse/models.py#L705-L708", "loss", words["DCLR"], "-∞: 0 %"),
        ("DCLR", "φ is multiplied by 20, which is 1/τ at τ = 0.05 alone", "simcse/models.py#L705", "the mask",
         "at τ = 0.1, a cosine above 1.8: masks nothing", f"a cosine above 0.9: {above} pairs of this batch"),
        ("DCLR", "each cell is a yes or no of its own, mean over N × 2N cells", "simcse/models.py#L709-L710",
         "gradient", f"{length:.3f} of the softmax's length, cosine {alike:.3f}", "one choice an anchor"),
    ]  # fmt: skip
    return [(*row[:2], Markup(f"[{_short(row[2])}]({ELSEWHERE[row[0]]}/{row[2]})"), *row[3:]) for row in rows]


def table(encoder: SentenceEncoder, sentences: Sequence[str], temperature: float = 0.05) -> list[tuple[str, ...]]:
    """All twelve defects: number, what, where (a link), what it changes, as released, as meant; figures are computed.

    Args:
        encoder: For those that need one.
        sentences: A batch of at least 64.
        temperature: τ.

    Raises:
        HncseError: Fewer than 64 sentences.
    """
    from hncse.evaluation import transfer

    if len(sentences) < _BATCH:
        raise HncseError(f"there are {len(sentences)} sentences; the table needs a batch of {_BATCH}")
    batch, options = list(sentences[:_BATCH]), {"temperature": temperature}
    z1, z2 = shift(*raw_views(encoder, batch), strength=3.0)
    meant, *_ = compare(z1, z2, ["pm-intended"], options)
    draws = [compare(z1, z2, ["pm-as-released"], options | {"seed": seed})[0] for seed in range(50)]
    angles, drawn = [draw.mix_angle for draw in draws], [draw.loss for draw in draws]
    terms = search_terms(z1, z2, temperature)
    cosine = F.normalize(z1[:10], dim=1) @ F.normalize(z2[:10], dim=1).T
    mixes, layers, pairs = distinct_mixes(), first_last(encoder), label_alignments(encoder)
    vectors = encoder.encode(batch, show_progress=False)
    topics = transfer.evaluate_full(encoder, [transfer.topics()], "fast")["tasks"]["topics"]
    rows = [
        ("1", "PM does not parse, and imports a name that does not exist", "model/method1_models.py#L98",
         "nothing runs", "no loss", "a loss"),
        ("2", "the last trial's weights train, not the best", "model/method1_models.py#L225-L228", "loss, gradient",
         f"{min(angles):.0f}° to {max(angles):.0f}°, by chance", f"{meant.mix_angle:.0f}°, the best"),
        ("3", "the search has no seed", "model/method1_models.py#L222-L223", "loss",
         f"{min(drawn):.2f} to {max(drawn):.2f} on one batch", f"{meant.loss:.2f}, every time"),
        ("4", "the search adds two terms of different scale", "model/method1_models.py#L219", "the search's choice",
         f"the gap, 0 to {1 / temperature:.0f}, moves by {np.ptp(terms['gap']):.2f}; the rank, 1 to 64, by "
         f"{np.ptp(terms['rank']):.2f}", "one scale"),
        ("5", "k may exceed N - 1", "model/method2_models.py#L189", "loss", "N = 10, k = 10: "
         f"{100 * own_positive_among_hardest(cosine):.0f} % of anchors push their own positive away; N < 10 crashes",
         "at most N - 1 negatives"),
        ("6", "pairs are drawn with replacement", "model/method2_models.py#L181", "loss",
         f"{mixes.mean():.1f} different mixes of 40", "40 of 40"),
        ("7", "width 768 and batch size 64 are written into the code", "model/method3_models.py#L114", "nothing runs",
         "other widths and batch sizes crash", "any"),
        ("8", "the last, short batch is kept", "run_unsup_example.sh#L6-L24", "nothing runs",
         f"1,000,001 rows: a last batch of {1_000_001 % _BATCH}, a crash", "dropped"),
        ("9", "\"first layer\" means the embeddings in one file, layer 1 in the next",
         "model/method1_models.py#L74", "score", f"probe {layers['hidden_states[0]']:.2f}",
         f"probe {layers['hidden_states[1]']:.2f}"),
        ("10", "dev accuracy is printed as test", "evaluation.py#L318", "score", f"topics {topics['dev']:.2f}",
         f"topics {topics['acc']:.2f}"),
        ("11", "uniformity lacks the factor 2 in its exponent", "evaluation.py#L137", "score",
         f"{uniformity(vectors, 1.0):.2f}", f"{uniformity(vectors):.2f}"),
        ("11", "grades are cut to whole numbers", "evaluation.py#L42", "score",
         f"alignment {pairs['cut to whole numbers']:.3f}", f"alignment {pairs['as they are']:.3f}"),
        ("11", "every batch's labels are appended twice", "evaluation.py#L112-L116", "score",
         f"alignment {pairs['twice']:.3f}", f"alignment {pairs['as they are']:.3f}"),
        ("12", "the training script that is called, data and models were not released", "run_unsup_example.sh#L6",
         "all figures", "none can be checked", "this kit"),
    ]  # fmt: skip
    return [(*row[:2], Markup(f"[{_short(row[2])}]({RELEASED}/{row[2]})"), *row[3:]) for row in rows]


def _short(place: str) -> str:
    """``method1_models.py:98`` of a place in the released code."""
    name, _, lines = place.rpartition("/")[2].partition("#L")
    return f"{name}:{lines.replace('-L', '-')}"
