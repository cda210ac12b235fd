"""Evaluate an encoder on the embedded probe: does it tell a paraphrase from a hard negative?

Three figures, each with a 95 % bootstrap interval over groups:

    spearman            rank correlation of cosine and grade over every (anchor, sentence) pair, as STS measures it
    triplet accuracy    share of (paraphrase, hard negative) pairs with the paraphrase nearer to the anchor
    both above          share of hard negatives that both of the group's paraphrases outrank; per phenomenon as well

``hncse probe RUN_OR_ENCODER`` prints them and writes probe.json into a run. Taught in
notebooks/02_hard_negatives.ipynb.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.data.probe import PHENOMENA, Group, fingerprint, load
from hncse.errors import HncseError, command
from hncse.evaluation import TIE, check_resampling, deliver, measure_parser, open_encoder, percent, unit_rows, wins
from hncse.evaluation.resampling import draw_groups, interval, rate, spearman

__all__ = ["Encoder", "evaluate", "plane_of_embeddings", "similarity_plane", "table"]

Floats = NDArray[np.float64]
QUANTILES = (5, 10, 25, 50, 75, 90, 95)


@dataclass(frozen=True)
class _Cosines:
    """Cosines to the anchor; P (anchor, sentence) pairs, M hard negatives, G groups."""

    group: NDArray[np.int64]  # (P,)
    pair: Floats  # (P,)
    grade: Floats  # (P,)
    close: Floats  # (G,)
    far: Floats  # (G,)
    negative: Floats  # (M,)
    negative_group: NDArray[np.int64]  # (M,)
    phenomenon: NDArray[np.str_]  # (M,)


def evaluate(
    encoder: Encoder, *, groups: Sequence[Group] | None = None, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Score an encoder on the probe.

    Args:
        encoder: Its `encode` is called once, with every distinct sentence once.
        groups: Groups of a probe; None takes the embedded one.
        bootstrap: Resamples of groups behind each interval; 0 leaves the intervals None.
        seed: Seed of the resampling.

    Returns:
        JSON-able. ``spearman`` (×100; 0 where every cosine is equal) and ``spearman_interval``. ``triplet_accuracy``:
        ``overall`` and for the ``close`` and the ``far`` paraphrase alone, the share of hard negatives the paraphrase
        outranks (a tie counts half); ``both``: the share that both outrank (a tie counts nothing); each
        ``{"value", "interval", "n"}`` in percent. ``phenomena``: the same four for each phenomenon's hard negatives.
        ``margins`` of ``close`` and ``far``: quantiles over groups of similarity(paraphrase) - similarity(hardest hard
        negative). ``fingerprint`` of the probe, ``groups``, ``pairs``, ``sentences``, ``pooling``, ``bootstrap``.

    Raises:
        HncseError: No groups, a `bootstrap` or `seed` that cannot be, or embeddings of the wrong shape or with NaN.
    """
    groups = _groups(groups)
    check_resampling(bootstrap, seed, len(groups))
    c = _cosines(_encode(encoder, groups), groups)
    counts = draw_groups(len(groups), bootstrap, seed)  # (B, G)
    rho, resampled = (100 * spearman(c.pair, c.grade, c.group, drawn) for drawn in (np.ones((1, len(groups))), counts))
    hardest = c.negative[_hardest(c)]  # (G,)
    return {
        "spearman": float(rho[0]), "spearman_interval": interval(resampled),
        "triplet_accuracy": _accuracies(c, np.ones(len(c.negative), bool), counts),
        "phenomena": {name: _accuracies(c, c.phenomenon == name, counts) for name in PHENOMENA if name in c.phenomenon},
        "margins": {name: _quantiles(like - hardest) for name, like in (("close", c.close), ("far", c.far))},
        "fingerprint": fingerprint(groups), "groups": len(groups), "pairs": len(c.grade),
        "sentences": len({s.text for g in groups for s in g.sentences}),
        "pooling": getattr(encoder, "pooling", None),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "level": 0.95},
    }  # fmt: skip


def similarity_plane(encoder: Encoder, groups: Sequence[Group] | None = None) -> dict[str, NDArray[Any]]:
    """Where every group stands in the plane of hardest negative (x) and positive (y); y = x is the decision boundary.

    Arguments and errors as in `evaluate`.

    Returns:
        Arrays over groups, (G,): cosines to the anchor ``positive`` (the close paraphrase), ``far`` (the other one) and
        ``hardest_negative``; ``phenomenon`` of that negative; ``id``; ``topic``.
    """
    groups = _groups(groups)
    return plane_of_embeddings(_encode(encoder, groups), groups)


def plane_of_embeddings(
    embeddings: NDArray[np.floating], groups: Sequence[Group] | None = None
) -> dict[str, NDArray[Any]]:
    """The same from embeddings (n, d) at hand, such as a run's snapshot: a row a sentence, in the groups' order."""
    groups = _groups(groups)
    c = _cosines(embeddings, groups)
    hardest = _hardest(c)
    return {
        "positive": c.close, "far": c.far, "hardest_negative": c.negative[hardest],
        "phenomenon": c.phenomenon[hardest], "id": np.array([g.id for g in groups]),
        "topic": np.array([g.topic for g in groups]),
    }  # fmt: skip


def _groups(groups: Sequence[Group] | None) -> Sequence[Group]:
    groups = load() if groups is None else groups
    if not groups:
        raise HncseError("no groups to evaluate on; load() gives the embedded probe's")
    return groups


def _encode(encoder: Encoder, groups: Sequence[Group]) -> NDArray[np.floating]:
    return cached_encode(encoder, [s.text for g in groups for s in g.sentences], cache=False)


def _cosines(embeddings: NDArray[np.floating], groups: Sequence[Group]) -> _Cosines:
    z = np.asarray(embeddings, dtype=np.float64)  # (n, d)
    sentences = [s for g in groups for s in g.sentences]
    if z.ndim != 2 or len(z) != len(sentences):
        raise HncseError(f"embeddings of shape {z.shape} for a probe of {len(sentences)} sentences, should be (n, d)")
    if broken := int((~np.isfinite(z)).any(axis=1).sum()):
        raise HncseError(f"{broken} of {len(z)} embeddings hold NaN or infinity; has the training diverged?")
    z = unit_rows(z)
    role = np.array([s.role for s in sentences])
    group = np.cumsum(role == "anchor") - 1  # (n,)
    cosine = np.einsum("nd,nd->n", z, z[role == "anchor"][group])
    if np.ptp(cosine) <= TIE:  # a collapsed encoder: rounding says nothing about order
        cosine = np.full_like(cosine, cosine[0])
    pair, negative = role != "anchor", role == "hard_negative"
    return _Cosines(
        group=group[pair], pair=cosine[pair], grade=np.array([s.grade for s in sentences])[pair],
        close=cosine[role == "paraphrase_close"], far=cosine[role == "paraphrase_far"], negative=cosine[negative],
        negative_group=group[negative], phenomenon=np.array([s.phenomenon or "" for s in sentences])[negative],
    )  # fmt: skip


def _hardest(c: _Cosines) -> NDArray[np.int64]:
    """Place of each group's hardest negative, the first of equals, (G,)."""
    order = np.lexsort((-c.negative, c.negative_group))  # stable
    return order[np.flatnonzero(np.diff(c.negative_group[order], prepend=-1))]


def _accuracies(c: _Cosines, chosen: NDArray[np.bool_], counts: Floats) -> dict[str, Any]:
    group, negative = c.negative_group[chosen], c.negative[chosen]  # (m,)
    close, far = c.close[group], c.far[group]  # (m,)
    hits = {"close": wins(close, negative), "far": wins(far, negative)}
    overall = rate((hits["close"] + hits["far"]) / 2, group, counts) | {"n": 2 * len(negative)}
    hits["both"] = (np.minimum(close, far) > negative + TIE).astype(np.float64)
    return {"overall": overall} | {name: rate(each, group, counts) for name, each in hits.items()}


def _quantiles(margin: Floats) -> dict[str, float]:
    return {f"p{q}": float(value) for q, value in zip(QUANTILES, np.percentile(margin, QUANTILES), strict=True)}


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Lines of a readable table of what `evaluate` returned."""
    boot = result["bootstrap"]
    yield (
        f"probe: {name}, pooling {result['pooling'] or 'its own'}, {result['groups']} groups, "
        f"{result['sentences']} sentences"
    )
    yield f"95 % intervals from {boot['resamples']} bootstrap resamples over groups, seed {boot['seed']}"
    score = percent(result["spearman"], result["spearman_interval"])
    yield f"Spearman ×100 over {result['pairs']} graded pairs: {score}"
    yield "\nhow often a paraphrase is nearer to the anchor than a hard negative is, %"
    columns = {"close": "close", "far": "far", "overall": "overall", "both": "both above"}
    yield f"{'hard negatives':21}{'n':>5}" + "".join(f"{title:>20}" for title in columns.values())
    for label, entry in ({"all": result["triplet_accuracy"]} | result["phenomena"]).items():
        cells = "".join(f"{percent(entry[c]['value'], entry[c]['interval']):>20}" for c in columns)
        yield f"{label:21}{entry['both']['n']:5d}{cells}"
    yield "\nmargin over groups: similarity of the paraphrase - similarity of the hardest hard negative"
    for which, margin in result["margins"].items():
        yield f"{which:6}" + "".join(f"  {q} {value:+.3f}" for q, value in margin.items())


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = measure_parser("probe", "Score on the probe.", resamples=2000)
    parser.add_argument("--probe", help="a probe file of your own; default: the embedded probe")
    options = parser.parse_args(arguments)
    groups = load(options.probe)
    check_resampling(options.bootstrap, options.seed, len(groups))
    encoder, run = open_encoder(options.encoder, options.pooling)
    result = evaluate(encoder, groups=groups, bootstrap=options.bootstrap, seed=options.seed)
    lines = table(result, run.name if run else options.encoder)
    return deliver("probe", result, lines, options, run if options.probe is None else None)
