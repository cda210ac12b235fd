"""Triplets from data we did not write: anchor, a sentence that fits it, and a minimal edit of that one that does not.

    cad-nli      counterfactually augmented NLI (Kaushik et al. 2020, arXiv:1909.12434): a sentence was edited by hand
                 until its label changed. Anchor: the unedited side; positive: the side it stands in entailment with;
                 negative: the same side edited into contradiction or neutrality.
    sugarcrepe   SugarCrepe (Hsieh et al. 2023, arXiv:2306.14610): captions and their hard negatives, something added,
                 replaced or swapped. Anchor: another caption of the same image; positive: the caption; negative: its
                 edit. Images with one caption give none.

Files lie in
``home()/hard_negatives/<name>`` as their authors publish them: cad-nli's ``{train,dev,test}.tsv``, SugarCrepe's JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hncse import data
from hncse.errors import HncseError, unknown

__all__ = ["TRIPLET_SETS", "Triplet", "folder", "load_triplets", "triplets_present"]

TRIPLET_SETS = ("cad-nli", "sugarcrepe")
_LABELS = ("entailment", "neutral", "contradiction")
_KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
_SOURCES = {
    "cad-nli": "github.com/acmi-lab/counterfactually-augmented-data, NLI/all_combined/{train,dev,test}.tsv",
    "sugarcrepe": "github.com/RAIVNLab/sugar-crepe, data/*.json",
}


@dataclass(frozen=True)
class Triplet:
    """One question: is the positive nearer to the anchor than the negative is?

    Attributes:
        anchor: The sentence compared with.
        positive: It fits the anchor.
        negative: A minimal edit of the positive that does not.
        kind: What was edited: ``hypothesis to neutral``, ``swap_obj``, …
        cluster: Triplets with one cluster share a text or an image; intervals resample clusters.
    """

    anchor: str
    positive: str
    negative: str
    kind: str
    cluster: int


def folder(name: str) -> Path:
    """Return where a set's files lie.

    Raises:
        HncseError: There is no such set; the nearest is named.
    """
    if name not in TRIPLET_SETS:
        raise unknown("set of triplets", name, TRIPLET_SETS)
    return data.home() / "hard_negatives" / name


def triplets_present(name: str) -> bool:
    """Say whether a set's files are there."""
    return all(path.is_file() for path in _files(name, "test"))


def load_triplets(name: str, split: str = "test") -> list[Triplet]:
    """Read a set.

    Args:
        name: One of `TRIPLET_SETS`.
        split: train, dev or test of cad-nli; sugarcrepe is a test set as a whole.

    Returns:
        Distinct triplets, in the files' order.

    Raises:
        HncseError: Unknown set or split; a file that is missing or not what its name says.
    """
    files = _files(name, split)
    found = _counterfactual(files[0]) if name == "cad-nli" else _captions(files)
    triplets = list(dict.fromkeys(found))
    if not triplets:
        raise HncseError(f"{files[0].parent} holds no triplet: its files are cut or other ones ({_SOURCES[name]})")
    return triplets


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
    by_side: tuple[dict[str, dict[str, list[str]]], ...] = (defaultdict(dict), defaultdict(dict))
    for number, line in enumerate(_read(path).rstrip("\n").split("\n")[1:], 2):
        cells = line.split("\t")
        if len(cells) != 3 or cells[2] not in _LABELS:
            raise HncseError(
                f"{path}, line {number}: {line[:60]!r}; it must be premise, hypothesis and one of {', '.join(_LABELS)}"
            )
        for own, other, side in ((cells[0], cells[1], by_side[0]), (cells[1], cells[0], by_side[1])):
            side[own].setdefault(cells[2], []).append(other)
    cluster = 0
    for edited, side in zip(("hypothesis", "premise"), by_side, strict=True):
        for anchor, others in side.items():
            cluster += 1
            for label in ("neutral", "contradiction"):
                for positive in others.get("entailment", ()):
                    for negative in others.get(label, ()):
                        yield Triplet(anchor, positive, negative, f"{edited} to {label}", cluster)


def _captions(files: list[Path]) -> Iterator[Triplet]:
    images: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(dict)  # image → caption → (kind, edit)
    for path in files:
        try:
            entries = json.loads(_read(path)).values()
            for entry in entries:
                caption = " ".join(entry["caption"].split())
                edit = (path.stem, " ".join(entry["negative_caption"].split()))
                images[entry["filename"]].setdefault(caption, []).append(edit)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise HncseError(
                f"{path} is not SugarCrepe's: {error!r}; its entries have filename, caption and negative_caption"
            ) from error
    for cluster, captions in enumerate(images.values()):
        known = list(captions)
        for caption, edits in captions.items():
            others = [other for other in known if other != caption]
            for kind, negative in edits:
                if others:  # the next caption of the image, so that every caption serves as anchor
                    anchor = others[known.index(caption) % len(others)]
                    yield Triplet(anchor, caption, negative, kind, cluster)
