"""Triplet accuracy on data we did not write: how often the positive is nearer to the anchor than its minimal edit is.

The measure of `hncse.evaluation.probe` on the sets of `hncse.data.triplets`, with intervals over clusters (a premise,
an image) and the share that word overlap alone would reach beside it.

``python -m hncse.evaluation.triplets RUN_OR_ENCODER`` prints the table and writes triplets.json into a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hncse.data.probe import jaccard
from hncse.data.triplets import TRIPLET_SETS, Triplet, load_triplets, triplets_present
from hncse.errors import HncseError, command
from hncse.evaluation import open_encoder
from hncse.evaluation._encoding import Encoder, encode_once
from hncse.evaluation.resampling import draw_groups, rate

__all__ = ["evaluate", "table"]

TIE = 1e-6  # float32 rounding, as in the probe


def evaluate(
    encoder: Encoder,
    sets: Sequence[str] | None = None,
    *,
    triplets: Sequence[Triplet] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score an encoder on triplets.

    Args:
        encoder: Its ``encode`` is called once a set, with every distinct sentence once.
        sets: Among `TRIPLET_SETS`; None takes those whose files are there.
        triplets: Your own, in place of sets; named ``own`` in the result.
        bootstrap: Resamples of clusters behind each interval; 0 leaves the intervals None.
        seed: Seed of the resampling.

    Returns:
        JSON-able: set → ``accuracy`` (percent; a tie counts half; ``{"value", "interval", "n"}``), ``kinds`` (the same
        for each kind of edit), ``word_overlap`` (percent that Jaccard overlap of words alone reaches); and
        ``pooling``, ``bootstrap``.

    Raises:
        HncseError: No files of any set, unknown sets, a negative ``bootstrap``, broken embeddings.
    """
    if bootstrap < 0:
        raise HncseError(f"bootstrap is {bootstrap}, should be 0 (no intervals) or a number of resamples such as 2000")
    if triplets is not None:
        loaded = {"own": list(triplets)}
    else:
        names = [name for name in TRIPLET_SETS if triplets_present(name)] if sets is None else list(sets)
        loaded = {name: load_triplets(name) for name in names or TRIPLET_SETS[:1]}  # none there: its error says how
    scores = {name: _score(encoder, found, bootstrap, seed) for name, found in loaded.items()}
    about = {"resamples": bootstrap, "seed": seed, "level": 0.95, "over": "clusters of triplets"}
    return {"sets": scores, "pooling": getattr(encoder, "pooling", None), "bootstrap": about}


def _score(encoder: Encoder, triplets: list[Triplet], bootstrap: int, seed: int) -> dict[str, Any]:
    if not triplets:
        raise HncseError("there are no triplets to evaluate on")
    place: dict[str, int] = {}
    index = np.array(
        [[place.setdefault(s, len(place)) for s in (t.anchor, t.positive, t.negative)] for t in triplets]
    )  # (T, 3)
    z = encode_once(encoder, list(place)).astype(np.float64)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    anchor, positive, negative = (z[index[:, c]] for c in range(3))  # (T, d) each
    wins = _wins(np.einsum("td,td->t", anchor, positive), np.einsum("td,td->t", anchor, negative))
    overlap = [[jaccard(t.anchor, t.positive), jaccard(t.anchor, t.negative)] for t in triplets]
    _, cluster = np.unique([t.cluster for t in triplets], return_inverse=True)
    counts = draw_groups(int(cluster.max()) + 1, bootstrap, seed)  # (B, clusters)
    kinds = np.array([t.kind for t in triplets])
    return {
        "accuracy": rate(wins, cluster, counts),
        "kinds": {str(k): rate(wins[kinds == k], cluster[kinds == k], counts) for k in np.unique(kinds)},
        "word_overlap": 100 * float(_wins(*np.array(overlap).T).mean()),
    }


def _wins(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    gap = positive - negative
    return np.where(np.abs(gap) <= TIE, 0.5, (gap > 0).astype(np.float64))


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Yield the lines of a readable table of what `evaluate` returned."""
    boot = result["bootstrap"]
    yield f"triplets: {name}, pooling {result['pooling'] or 'its own'}: positive nearer to the anchor than its edit, %"
    yield f"95 % intervals from {boot['resamples']} bootstrap resamples over {boot['over']}, seed {boot['seed']}"
    for each, scores in result["sets"].items():
        yield f"\n{each}, test (word overlap alone: {scores['word_overlap']:.1f})"
        for kind, entry in ({"all": scores["accuracy"]} | scores["kinds"]).items():
            span = entry["interval"]
            shown = f"{entry['value']:.1f}" + (f" [{span[0]:.1f}, {span[1]:.1f}]" if span else "")
            yield f"  {kind:28}{entry['n']:6,}{shown:>20}"


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hncse.evaluation.triplets", description="Score on counterfactual NLI and SugarCrepe captions."
    )
    parser.add_argument("encoder", help="a run's name or folder, 'latest', 'kit', 'minilm', or a Hugging Face encoder")
    parser.add_argument("--pooling", help="cls, mean, first_last, last_two, last; default: as the encoder was saved")
    parser.add_argument("--sets", nargs="+", metavar="SET", help=f"some of {' '.join(TRIPLET_SETS)}; default: all here")
    parser.add_argument("--bootstrap", type=int, default=2000, help="resamples behind each interval (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    options = parser.parse_args(arguments)
    for name in options.sets or ():
        triplets_present(name)  # a typo is an error before anything is loaded
    encoder, run = open_encoder(options.encoder, options.pooling)
    result = evaluate(encoder, options.sets, bootstrap=options.bootstrap, seed=options.seed)
    if run is not None and options.pooling is None and options.sets is None:
        run.write("triplets", result)
    sys.stdout.writelines(line + "\n" for line in table(result, run.name if run else options.encoder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
