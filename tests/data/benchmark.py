"""A made-up benchmark, STS and transfer, in SimCSE's file layout, traps included, as large as its counts say."""

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
SMALL_OPINIONS = {"MR": (31, 29), "CR": (25, 28), "SUBJ": (24, 26), "MPQA": (23, 33)}
SMALL_SPLITS = {"SST2": {"train": 60, "dev": 30, "test": 40}, "TREC": {"train": 140, "test": 30}}
SMALL_SPLITS["MRPC"] = {"train": 60, "test": 30}
_WORDS = "a dog cat man woman runs eats plays the red blue ball guitar on in field street bread quickly slowly".split()


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package expect the small benchmark's counts."""
    monkeypatch.setattr(senteval, "STS_PAIRS", SMALL)
    tables = {
        task: {split: (path, SMALL_TABLES[task][split]) for split, (path, _) in splits.items()}
        for task, splits in senteval._TABLES.items()
    }
    monkeypatch.setattr(senteval, "_TABLES", tables)
    opinions = {
        task: (pos, SMALL_OPINIONS[task][0], neg, SMALL_OPINIONS[task][1])
        for task, (pos, _, neg, _) in senteval._OPINIONS.items()
    }
    parts = {
        task: {part: (path, SMALL_SPLITS[task][part]) for part, (path, _) in files.items()}
        for task, files in senteval._SPLITS.items()
    }
    monkeypatch.setattr(senteval, "_OPINIONS", opinions)
    monkeypatch.setattr(senteval, "_SPLITS", parts)


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


def write_transfer(folder: Path, seed: int = 0) -> Path:
    """Write the transfer tasks' files the package now expects below a data folder; returns senteval/downstream."""
    draw = random.Random(seed)
    base = folder / "senteval" / "downstream"
    for task, (positive, n, negative, m) in senteval._OPINIONS.items():
        for path, lines in ((positive, n), (negative, m)):
            rows = [sentence(draw).replace("\N{LATIN SMALL LETTER E WITH ACUTE}", "\xe8") for _ in range(lines)]
            if task in ("CR", "MPQA"):
                rows[-1] = " "  # the real files have blank lines
            save(base / path, "\n".join(rows) + "\n", "latin-1")
    for task, parts in senteval._SPLITS.items():
        for path, lines in parts.values():
            rows = [transfer_row(task, number, draw) for number in range(lines)]
            if task == "MRPC":
                rows.insert(0, "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String")
            save(base / path, "\n".join(rows) + "\n", "latin-1" if task == "TREC" else "utf-8")
    return base


def transfer_row(task: str, number: int, draw: random.Random) -> str:
    if task == "SST2":
        return f"{sentence(draw)}\t{number % 2}"
    if task == "TREC":
        return f"{senteval._QUESTIONS[number % 6]}:{draw.choice(('exp', 'other'))} {sentence(draw).strip()} ?"
    return f"{int(number % 3 > 0)}\t{number}\t{number + 1}\t{sentence(draw)}\t{sentence(draw)}"


def save(path: Path, text: str, encoding: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


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
