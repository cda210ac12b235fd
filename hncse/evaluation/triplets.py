"""Triplet accuracy on data we did not write: how often the positive is nearer to the anchor than its minimal edit is.

    cad-nli      counterfactually augmented NLI (Kaushik et al. 2020, arXiv:1909.12434): a sentence was edited by hand
                 until its label changed. Anchor: the unedited side; positive: the side it stands in entailment with;
                 negative: the same side edited into contradiction or neutrality.
    sugarcrepe   SugarCrepe (Hsieh et al. 2023, arXiv:2306.14610): captions and their hard negatives, something added,
                 replaced or swapped. Anchor: another caption of the same image; positive: the caption; negative: its
                 edit. Images with one caption give none.

Files lie in
``home()/hard_negatives/<name>`` as their authors publish them: cad-nli's ``{train,dev,test}.tsv``, SugarCrepe's JSON.

The measure is that of `hncse.evaluation.probe`, with intervals over clusters (a premise, an image) and the share that
word overlap alone would reach beside it. ``hncse triplets RUN_OR_ENCODER`` prints the table and writes triplets.json
into a run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hncse import data
from hncse.data.embedding_cache import Encoder
from hncse.data.probe import jaccard
from hncse.errors import HncseError, command, unknown
from hncse.evaluation import check_resampling, deliver, embed, measure_parser, open_encoder, percent, unit_rows, wins
from hncse.evaluation.resampling import draw_groups, rate

__all__ = ["TRIPLET_SETS", "Triplet", "evaluate", "folder", "load_triplets", "table", "triplets_present"]


TRIPLET_SETS = ("cad-nli", "sugarcrepe")
_LABELS = ("entailment", "neutral", "contradiction")
_KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
_SOURCES = {
    "cad-nli": "github.com/acmi-lab/counterfactually-augmented-data, NLI/all_combined/{train,dev,test}.tsv",
    "sugarcrepe": "github.com/RAIVNLab/sugar-crepe, data/*.json",
}
_MOST_CLUSTERS = 10_000


@dataclass(frozen=True)
class Triplet:
    """One question: is the positive nearer to the anchor than the negative, a minimal edit of the positive?

    ``kind`` says what was edited (``hypothesis to neutral``, ``swap_obj``, …). Triplets of one ``cluster`` share a text
    or an image; intervals resample clusters.
    """

    anchor: str
    positive: str
    negative: str
    kind: str
    cluster: int


def folder(name: str) -> Path:
    """Where a set's files lie; HncseError names the nearest set."""
    if name not in TRIPLET_SETS:
        raise unknown("set of triplets", name, TRIPLET_SETS)
    return data.home() / "hard_negatives" / name


def triplets_present(name: str) -> bool:
    """Say whether a set's files are there."""
    return all(path.is_file() for path in _files(name, "test"))


def load_triplets(name: str, split: str = "test") -> list[Triplet]:
    """Read distinct triplets of one of `TRIPLET_SETS`, in the files' order; sugarcrepe is a test set as a whole.

    Raises:
        HncseError: Unknown set or split; a file that is missing or not what its name says.
    """
    files = _files(name, split)
    triplets = list(dict.fromkeys(_counterfactual(files[0]) if name == "cad-nli" else _captions(files)))
    if not triplets:
        raise HncseError(f"{files[0].parent} holds no triplet: its files are cut or other ones ({_SOURCES[name]})")
    return triplets


def evaluate(
    encoder: Encoder, sets: Sequence[str] | None = None, *, triplets: Sequence[Triplet] | None = None,
    bootstrap: int = 2000, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Score an encoder on ``sets`` (None: those whose files are there) or on ``triplets`` of your own, named ``own``.

    Returns:
        JSON-able: set → ``accuracy`` (percent; a tie counts half; ``{"value", "interval", "n"}``), ``kinds`` (the same
        for each kind of edit), ``word_overlap`` (percent that Jaccard overlap of words alone reaches); and
        ``pooling``, ``bootstrap``.
    """
    check_resampling(bootstrap, seed, _MOST_CLUSTERS)
    if triplets is not None:
        loaded = {"own": list(triplets)}
    else:
        names = [name for name in TRIPLET_SETS if triplets_present(name)] if sets is None else list(sets)
        loaded = {name: load_triplets(name) for name in names or TRIPLET_SETS[:1]}  # none there: its error says how
    about = {"resamples": bootstrap, "seed": seed, "level": 0.95, "over": "clusters of triplets"}
    scores = {name: _score(encoder, each, bootstrap, seed) for name, each in loaded.items()}
    return {"sets": scores, "pooling": getattr(encoder, "pooling", None), "bootstrap": about}


def _score(encoder: Encoder, triplets: list[Triplet], bootstrap: int, seed: int) -> dict[str, Any]:
    if not triplets:
        raise HncseError("there are no triplets to evaluate on")
    z = unit_rows(embed(encoder, [text for t in triplets for text in (t.anchor, t.positive, t.negative)]))
    anchor, positive, negative = np.moveaxis(z.reshape(len(triplets), 3, -1), 1, 0)  # (T, d) each
    hits = wins(np.einsum("td,td->t", anchor, positive), np.einsum("td,td->t", anchor, negative))
    overlap = np.array([[jaccard(t.anchor, t.positive), jaccard(t.anchor, t.negative)] for t in triplets])
    _, cluster = np.unique([t.cluster for t in triplets], return_inverse=True)
    counts = draw_groups(int(cluster.max()) + 1, bootstrap, seed)  # (B, clusters)
    kinds = np.array([t.kind for t in triplets])
    return {
        "accuracy": rate(hits, cluster, counts),
        "kinds": {str(k): rate(hits[kinds == k], cluster[kinds == k], counts) for k in np.unique(kinds)},
        "word_overlap": 100 * float(wins(*overlap.T).mean()),
    }


def table(result: dict[str, Any], name: str = "encoder") -> Iterator[str]:
    """Yield the lines of a readable table of what `evaluate` returned."""
    boot = result["bootstrap"]
    yield f"triplets: {name}, pooling {result['pooling'] or 'its own'}: positive nearer to the anchor than its edit, %"
    yield f"95 % intervals from {boot['resamples']} bootstrap resamples over {boot['over']}, seed {boot['seed']}"
    for each, scores in result["sets"].items():
        yield f"\n{each}, test (word overlap alone: {scores['word_overlap']:.1f})"
        for kind, entry in ({"all": scores["accuracy"]} | scores["kinds"]).items():
            yield f"  {kind:28}{entry['n']:6,}{percent(entry['value'], entry['interval']):>20}"


def _files(name: str, split: str) -> list[Path]:
    splits = ("train", "dev", "test") if name == "cad-nli" else ("test",)
    place = folder(name)
    if split not in splits:
        raise HncseError(f"{name} has no split {split!r}; it has: {', '.join(splits)}")
    return [place / f"{split}.tsv"] if name == "cad-nli" else [place / f"{kind}.json" for kind in _KINDS]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        source = _SOURCES[path.parent.name]
        raise HncseError(
            f"there is no file {path}. Get it from {source}, and put it there; HNCSE_DATA names the data folder"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise HncseError(f"{path} could not be read: {error}") from error


def _counterfactual(path: Path) -> Iterator[Triplet]:
    """Pair, for every premise, an entailed hypothesis with each other one; and the same the other way round."""
    sides: dict[str, dict[str, dict[str, list[str]]]]  # what was edited → the text kept → label → texts beside it
    sides = {"hypothesis": defaultdict(dict), "premise": defaultdict(dict)}
    for number, line in enumerate(_read(path).rstrip("\n").split("\n")[1:], 2):
        cells = line.split("\t")
        if len(cells) != 3 or cells[2] not in _LABELS:
            raise HncseError(
                f"{path}, line {number}: {line[:60]!r}; it must be premise, hypothesis and one of {', '.join(_LABELS)}"
            )
        premise, hypothesis, label = cells
        sides["hypothesis"][premise].setdefault(label, []).append(hypothesis)
        sides["premise"][hypothesis].setdefault(label, []).append(premise)
    texts = [(edited, anchor, others) for edited, side in sides.items() for anchor, others in side.items()]
    for cluster, (edited, anchor, others) in enumerate(texts, 1):
        for label in ("neutral", "contradiction"):
            for positive in others.get("entailment", ()):
                for negative in others.get(label, ()):
                    yield Triplet(anchor, positive, negative, f"{edited} to {label}", cluster)


def _captions(files: list[Path]) -> Iterator[Triplet]:
    images: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(dict)  # image → caption → (kind, edit)
    for path in files:
        try:
            for entry in json.loads(_read(path)).values():
                caption = " ".join(entry["caption"].split())
                edit = (path.stem, " ".join(entry["negative_caption"].split()))
                images[entry["filename"]].setdefault(caption, []).append(edit)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise HncseError(
                f"{path} is not SugarCrepe's: {error!r}; its entries have filename, caption and negative_caption"
            ) from error
    for cluster, captions in enumerate(images.values()):
        if len(captions) > 1:  # the next caption of the image, so that every caption serves as anchor
            known = list(captions)
            for i, (caption, edits) in enumerate(captions.items()):
                others = known[:i] + known[i + 1 :]
                anchor = others[i % len(others)]
                yield from (Triplet(anchor, caption, negative, kind, cluster) for kind, negative in edits)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = measure_parser("triplets", "Score on counterfactual NLI and SugarCrepe captions.", resamples=2000)
    parser.add_argument("--sets", nargs="+", metavar="SET", help=f"some of {' '.join(TRIPLET_SETS)}; default: all here")
    options = parser.parse_args(arguments)
    check_resampling(options.bootstrap, options.seed, _MOST_CLUSTERS)
    for name in options.sets or ():
        triplets_present(name)  # a typo is an error before anything is loaded
    encoder, run = open_encoder(options.encoder, options.pooling)
    result = evaluate(encoder, options.sets, bootstrap=options.bootstrap, seed=options.seed)
    lines = table(result, run.name if run else options.encoder)
    return deliver("triplets", result, lines, options, run if options.sets is None else None)
