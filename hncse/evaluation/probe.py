"""Evaluate an encoder on the embedded probe: does it tell a paraphrase from a hard negative?

Three figures, each with a 95 % bootstrap interval over groups:

    spearman            rank correlation of cosine and grade over every (anchor, sentence) pair, as STS measures it
    triplet accuracy    share of (paraphrase, hard negative) pairs with the paraphrase nearer to the anchor
    both above          share of hard negatives that both of the group's paraphrases outrank; per phenomenon as well

``hncse probe RUN_OR_ENCODER`` prints them and writes probe.json into a run. Taught in
notebooks/02_hard_negatives.ipynb.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.embedding_cache import Encoder, cached_encode
from hncse.data.probe import PHENOMENA, Group, fingerprint, load
from hncse.errors import HncseError, command
from hncse.evaluation import TIE, check_resampling, open_encoder
from hncse.evaluation.resampling import draw_groups, interval, rate, spearman

__all__ = ["Encoder", "evaluate", "plane_of_embeddings", "similarity_plane", "table"]

Floats = NDArray[np.float64]
QUANTILES = (5, 10, 25, 50, 75, 90, 95)


@dataclass(frozen=True)
class _Scored:
    """Similarities of a probe; P (anchor, sentence) pairs, M hard negatives, G groups."""

    group: NDArray[np.int64]  # (P,)
    similarity: Floats  # (P,)
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
    scored = _score(_encode(encoder, groups), groups)
    counts = draw_groups(len(groups), bootstrap, seed)  # (B, G)
    once = np.ones((1, len(groups)))
    rho = [100 * spearman(scored.similarity, scored.grade, scored.group, c) for c in (once, counts)]
    return {
        "spearman": float(rho[0][0]),
        "spearman_interval": interval(rho[1]),
        "triplet_accuracy": _accuracies(scored, np.ones(len(scored.negative), bool), counts),
        "phenomena": {
            name: _accuracies(scored, scored.phenomenon == name, counts)
            for name in PHENOMENA
            if name in scored.phenomenon
        },
        "margins": {name: _quantiles(margin) for name, margin in _margins(scored).items()},
        "fingerprint": fingerprint(groups),
        "groups": len(groups),
        "pairs": len(scored.grade),
        "sentences": len({s.text for g in groups for s in g.sentences}),
        "pooling": getattr(encoder, "pooling", None),
        "bootstrap": {"resamples": bootstrap, "seed": seed, "level": 0.95},
    }


def similarity_plane(encoder: Encoder, groups: Sequence[Group] | None = None) -> dict[str, NDArray[Any]]:
    """Where every group stands in the plane of hardest negative (x) and positive (y); y = x is the decision boundary.

    Args:
        encoder: As in `evaluate`.
        groups: Groups of a probe; None takes the embedded one.

    Returns:
        Arrays over groups, (G,): cosines to the anchor ``positive`` (the close paraphrase), ``far`` (the other one) and
        ``hardest_negative`` (the nearest of the group's hard negatives); ``phenomenon`` of that negative; ``id``;
        ``topic``.

    Raises:
        HncseError: As in `evaluate`.
    """
    groups = _groups(groups)
    return plane_of_embeddings(_encode(encoder, groups), groups)


def plane_of_embeddings(
    embeddings: NDArray[np.floating], groups: Sequence[Group] | None = None
) -> dict[str, NDArray[Any]]:
    """The same from embeddings at hand, such as a run's snapshot.

    Args:
        embeddings: (n, d), a row for every sentence of every group in order, the anchor first in its group.
        groups: Groups of a probe; None takes the embedded one.

    Raises:
        HncseError: The embeddings do not fit the groups, or hold NaN.
    """
    groups = _groups(groups)
    scored = _score(embeddings, groups)
    starts = np.flatnonzero(np.diff(scored.negative_group, prepend=-1))
    bounds = zip(starts, [*starts[1:], len(scored.negative)], strict=True)
    hardest = np.array([a + int(scored.negative[a:b].argmax()) for a, b in bounds])  # (G,)
    return {
        "positive": scored.close,
        "far": scored.far,
        "hardest_negative": scored.negative[hardest],
        "phenomenon": scored.phenomenon[hardest],
        "id": np.array([g.id for g in groups]),
        "topic": np.array([g.topic for g in groups]),
    }


def _groups(groups: Sequence[Group] | None) -> Sequence[Group]:
    groups = load() if groups is None else groups
    if not groups:
        raise HncseError("no groups to evaluate on; load() gives the embedded probe's")
    return groups


def _encode(encoder: Encoder, groups: Sequence[Group]) -> NDArray[np.floating]:
    return cached_encode(encoder, [s.text for g in groups for s in g.sentences], cache=False)


def _score(embeddings: NDArray[np.floating], groups: Sequence[Group]) -> _Scored:
    z = np.asarray(embeddings, dtype=np.float64)  # (n, d)
    sizes = np.array([len(g.sentences) for g in groups])
    if z.ndim != 2 or len(z) != sizes.sum():
        raise HncseError(f"embeddings of shape {z.shape} for a probe of {sizes.sum()} sentences, should be (n, d)")
    if broken := int((~np.isfinite(z)).any(axis=1).sum()):
        raise HncseError(f"{broken} of {len(z)} embeddings hold NaN or infinity; has the training diverged?")
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    group = np.repeat(np.arange(len(groups)), sizes)  # (n,)
    anchors = np.cumsum(sizes) - sizes  # (G,)
    similarity = np.einsum("nd,nd->n", z, z[anchors[group]])
    if np.ptp(similarity) <= TIE:  # a collapsed encoder: rounding says nothing about order
        similarity = np.full_like(similarity, similarity[0])
    role = np.array([s.role for g in groups for s in g.sentences])
    grade = np.array([s.grade for g in groups for s in g.sentences])
    phenomenon = np.array([s.phenomenon or "" for g in groups for s in g.sentences])
    pair, negative = role != "anchor", role == "hard_negative"
    return _Scored(
        group=group[pair],
        similarity=similarity[pair],
        grade=grade[pair],
        close=similarity[role == "paraphrase_close"],
        far=similarity[role == "paraphrase_far"],
        negative=similarity[negative],
        negative_group=group[negative],
        phenomenon=phenomenon[negative],
    )


def _win(paraphrase: Floats, negative: Floats) -> Floats:
    gap = paraphrase - negative
    return np.where(np.abs(gap) <= TIE, 0.5, (gap > 0).astype(np.float64))


def _accuracies(scored: _Scored, chosen: NDArray[np.bool_], counts: Floats) -> dict[str, Any]:
    group, negative = scored.negative_group[chosen], scored.negative[chosen]  # (m,)
    close, far = scored.close[group], scored.far[group]  # (m,)
    wins = {"close": _win(close, negative), "far": _win(far, negative)}
    overall = rate((wins["close"] + wins["far"]) / 2, group, counts) | {"n": 2 * len(negative)}
    both = (np.minimum(close, far) > negative + TIE).astype(np.float64)
    shares = {name: rate(hits, group, counts) for name, hits in (wins | {"both": both}).items()}
    return {"overall": overall} | shares


def _margins(scored: _Scored) -> dict[str, Floats]:
    hardest = np.full(len(scored.close), -np.inf)
    np.maximum.at(hardest, scored.negative_group, scored.negative)
    return {"close": scored.close - hardest, "far": scored.far - hardest}


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
    score = _shown(result["spearman"], result["spearman_interval"])
    yield f"Spearman ×100 over {result['pairs']} graded pairs: {score}"
    yield "\nhow often a paraphrase is nearer to the anchor than a hard negative is, %"
    columns = ("close", "far", "overall", "both")
    yield f"{'hard negatives':21}{'n':>5}" + "".join(f"{name:>20}" for name in (*columns[:3], "both above"))
    for label, entry in ({"all": result["triplet_accuracy"]} | result["phenomena"]).items():
        cells = "".join(f"{_shown(entry[c]['value'], entry[c]['interval']):>20}" for c in columns)
        yield f"{label:21}{entry['both']['n']:5d}{cells}"
    yield "\nmargin over groups: similarity of the paraphrase - similarity of the hardest hard negative"
    for which, margin in result["margins"].items():
        yield f"{which:6}" + "".join(f"  {q} {value:+.3f}" for q, value in margin.items())


def _shown(value: float, span: list[float] | None) -> str:
    return f"{value:.1f}" if span is None else f"{value:.1f} [{span[0]:.1f}, {span[1]:.1f}]"


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="hncse probe", description="Score on the probe.")
    parser.add_argument("encoder", help="a run's name or folder, 'latest', 'kit', 'minilm', or a Hugging Face encoder")
    parser.add_argument("--pooling", help="cls, mean, first_last, last_two, last; default: as the encoder was saved")
    parser.add_argument("--probe", help="a probe file of your own; default: the embedded probe")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples behind each interval (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--json", help="write the result there as well")
    options = parser.parse_args(arguments)
    groups = load(options.probe)
    check_resampling(options.bootstrap, options.seed, len(groups))
    encoder, run = open_encoder(options.encoder, options.pooling)
    result = evaluate(encoder, groups=groups, bootstrap=options.bootstrap, seed=options.seed)
    if options.json:
        from hncse.files import write_json

        write_json(Path(options.json), result)
    if run is not None and options.pooling is None and options.probe is None:  # else it is not the run's own score
        run.write("probe", result)
    sys.stdout.writelines(line + "\n" for line in table(result, run.name if run else options.encoder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
