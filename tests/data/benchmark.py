"""A made-up STS benchmark in SimCSE's file layout, traps included, as large as its counts say."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest

from hncse.data import senteval

# Pairs of the small benchmark: few enough for plain loops, different for each subset.
SMALL = {
    "STS12": {"MSRpar": 7, "MSRvid": 5, "SMTeuroparl": 6, "surprise.OnWN": 8, "surprise.SMTnews": 5},
    "STS13": {"FNWN": 5, "headlines": 9, "OnWN": 6},
    "STS14": {"deft-forum": 5, "deft-news": 6, "headlines": 7, "images": 8, "OnWN": 5, "tweet-news": 6},
    "STS15": {"answers-forums": 6, "answers-students": 7, "belief": 5, "headlines": 8, "images": 6},
    "STS16": {"answer-answer": 5, "headlines": 6, "plagiarism": 7, "postediting": 5, "question-question": 6},
}
SMALL_TABLES = {"STSB": {"train": 9, "dev": 7, "test": 8}, "SICKR": {"train": 6, "dev": 5, "test": 9}}
_WORDS = "a dog cat man woman runs eats plays the red blue ball guitar on in field street bread quickly slowly".split()


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package expect the small benchmark's counts."""
    monkeypatch.setattr(senteval, "STS_PAIRS", SMALL)
    tables = {
        task: {split: (path, SMALL_TABLES[task][split]) for split, (path, _) in splits.items()}
        for task, splits in senteval._TABLES.items()
    }
    monkeypatch.setattr(senteval, "_TABLES", tables)


def write(folder: Path, seed: int = 0) -> Path:
    """Write the benchmark the package now expects below a data folder; returns senteval/downstream."""
    draw = random.Random(seed)
    base = folder / "senteval" / "downstream"
    for task, subsets in senteval.STS_PAIRS.items():
        place = base / "STS" / f"{task}-en-test"
        place.mkdir(parents=True)
        for name, pairs in subsets.items():
            unlabelled = pairs if task in ("STS15", "STS16") else 0  # as in the real ones: rows without a gold score
            labels = ["x"] * pairs + [""] * unlabelled
            draw.shuffle(labels)
            golds = [score(draw) if label else "" for label in labels]
            rows = [f"{sentence(draw)}\t{sentence(draw)}" for _ in labels]
            (place / f"STS.input.{name}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
            (place / f"STS.gs.{name}.txt").write_text("\n".join(golds) + "\n", encoding="utf-8")
    for task, splits in senteval._TABLES.items():
        for path, pairs in splits.values():
            (base / path).parent.mkdir(parents=True, exist_ok=True)
            rows = [row(task, number, draw) for number in range(pairs)]
            if task == "SICKR":
                rows.insert(0, "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment")
            end = "\r\n" if path.endswith("SICK_test_annotated.txt") else "\n"
            (base / path).write_bytes("".join(line + end for line in rows).encode())
    return base


def row(task: str, number: int, draw: random.Random) -> str:
    if task == "SICKR":
        return f"{number}\t{sentence(draw)}\t{sentence(draw)}\t{score(draw)}\tNEUTRAL"
    extra = ("", "\thttp://a", "\thttp://a\thttp://b")[number % 3]  # 7 to 9 fields, as the real files have
    return f'main-news\tMSRpar\t2012test\t{number:04}\t{score(draw)}\t"{sentence(draw)}\t{sentence(draw)}{extra}'


def sentence(draw: random.Random) -> str:
    words = draw.choices(_WORDS, k=draw.randint(2, 9))
    return draw.choice(("", " ")) + draw.choice((" ", "  ")).join(words) + draw.choice(("", " ", " é."))


def score(draw: random.Random) -> str:
    return f"{draw.randint(0, 25) / 5:.3f}"


def archive(downstream: Path) -> bytes:
    """Pack a benchmark as SimCSE's senteval.tar is packed: STS and SICK at its top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for child in sorted(downstream.iterdir()):
            tar.add(child, arcname=child.name)
    return buffer.getvalue()
