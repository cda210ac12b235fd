"""A made-up benchmark, STS and transfer, in SimCSE's file layout, traps included, as large as its counts say."""

from __future__ import annotations

import io
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from hncse.data import senteval

# Rows of the small benchmark's parts: few enough for plain loops, different for each; the rest have 5 to 9.
SMALL = {
    ("STSB", "train"): [9], ("STSB", "dev"): [7], ("STSB", "test"): [8],
    ("SICKR", "train"): [6], ("SICKR", "dev"): [5], ("SICKR", "test"): [9],
    ("MR", "train"): [31, 29], ("CR", "train"): [25, 28], ("SUBJ", "train"): [24, 26], ("MPQA", "train"): [23, 33],
    ("SST2", "train"): [60], ("SST2", "dev"): [30], ("SST2", "test"): [40],
    ("TREC", "train"): [140], ("TREC", "test"): [30], ("MRPC", "train"): [60], ("MRPC", "test"): [30],
}  # fmt: skip
_HEADERS = {
    "SICKR": "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment",
    "MRPC": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
}
_WORDS = "a dog cat man woman runs eats plays the red blue ball guitar on in field street bread quickly slowly".split()


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package expect the small benchmark's counts."""
    parts = [
        replace(part, rows=SMALL.get((part.task, part.name), [5 + number % 5]))
        for number, part in enumerate(senteval._PARTS)
    ]
    monkeypatch.setattr(senteval, "_PARTS", parts)


def size(task: str, name: str) -> int:
    """Labelled rows of a part, as the package now expects them."""
    return next(sum(part.rows) for part in senteval._PARTS if (part.task, part.name) == (task, name))


def write(folder: Path, seed: int = 0) -> Path:
    """Write the STS files the package now expects below a data folder; returns senteval/downstream."""
    draw = random.Random(seed)
    base = folder / "senteval" / "downstream"
    for part in senteval._PARTS:
        if part.task not in senteval.STS_TASKS:
            continue
        if len(part.files) == 1:
            end = "\r\n" if part.files[0].endswith("SICK_test_annotated.txt") else "\n"
            rows = [row(part.task, number, draw) for number in range(part.rows[0])]
            save(base / part.files[0], part.task, rows, end=end)
            continue
        unlabelled = part.rows[0] if part.task in ("STS15", "STS16") else 0  # as in the real ones: no gold score
        labels = ["x"] * part.rows[0] + [""] * unlabelled
        draw.shuffle(labels)
        save(base / part.files[0], part.task, [f"{sentence(draw)}\t{sentence(draw)}" for _ in labels])
        save(base / part.files[1], part.task, [score(draw) if label else "" for label in labels])
    return base


def write_transfer(folder: Path, seed: int = 0) -> Path:
    """Write the transfer tasks' files the package now expects below a data folder; returns senteval/downstream."""
    draw = random.Random(seed)
    base = folder / "senteval" / "downstream"
    for part in senteval._PARTS:
        if part.task not in senteval.TRANSFER_TASKS:
            continue
        for name, count in zip(part.files, part.rows, strict=True):
            rows = [row(part.task, number, draw) for number in range(count)]
            if part.task in ("CR", "MPQA"):
                rows[-1] = " "  # the real files have blank lines
            save(base / name, part.task, rows, "utf-8" if part.task in ("SST2", "MRPC") else "latin-1")
    return base


def row(task: str, number: int, draw: random.Random) -> str:
    """A line of a task's file."""
    if task == "SICKR":
        return f"{number}\t{sentence(draw)}\t{sentence(draw)}\t{score(draw)}\tNEUTRAL"
    if task == "STSB":
        extra = ("", "\thttp://a", "\thttp://a\thttp://b")[number % 3]  # 7 to 9 fields, as the real files have
        return f'main-news\tMSRpar\t2012test\t{number:04}\t{score(draw)}\t"{sentence(draw)}\t{sentence(draw)}{extra}'
    if task == "SST2":
        return f"{sentence(draw)}\t{number % 2}"
    if task == "TREC":
        label = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")[number % 6]
        return f"{label}:{draw.choice(('exp', 'other'))} {sentence(draw).strip()} ?"
    if task == "MRPC":
        return f"{int(number % 3 > 0)}\t{number}\t{number + 1}\t{sentence(draw)}\t{sentence(draw)}"
    return sentence(draw)


def save(path: Path, task: str, rows: list[str], encoding: str = "utf-8", end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = [_HEADERS[task]] if task in _HEADERS else []
    path.write_bytes("".join(line + end for line in [*head, *rows]).encode(encoding))


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
