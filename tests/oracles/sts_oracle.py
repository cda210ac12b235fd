"""SimCSE's STS protocol in plain loops, from the benchmark files to the score. Slow and obviously right."""

from __future__ import annotations

import math
from pathlib import Path

SUBSETS = {
    "STS12": ["MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"],
    "STS13": ["FNWN", "headlines", "OnWN"],
    "STS14": ["deft-forum", "deft-news", "headlines", "images", "OnWN", "tweet-news"],
    "STS15": ["answers-forums", "answers-students", "belief", "headlines", "images"],
    "STS16": ["answer-answer", "headlines", "plagiarism", "postediting", "question-question"],
}
STSB = {split: f"STS/STSBenchmark/sts-{split}.csv" for split in ("train", "dev", "test")}
SICKR = {"train": "SICK/SICK_train.txt", "dev": "SICK/SICK_trial.txt", "test": "SICK/SICK_test_annotated.txt"}


def read(downstream: Path, task: str, split: str = "test") -> dict[str, list[tuple[str, str, float]]]:
    """Subset → (first, second, gold)."""
    if task == "STSB":
        lines = (downstream / STSB[split]).read_text(encoding="utf-8").splitlines()
        rows = [line.strip().split("\t") for line in lines]
        return {split: [(tidy(row[5]), tidy(row[6]), float(row[4])) for row in rows]}
    if task == "SICKR":
        lines = (downstream / SICKR[split]).read_text(encoding="utf-8").splitlines()
        rows = [line.strip().split("\t") for line in lines[1:]]
        return {split: [(tidy(row[1]), tidy(row[2]), float(row[3])) for row in rows]}
    found = {}
    for name in SUBSETS[task]:
        place = downstream / "STS" / f"{task}-en-test"
        inputs = (place / f"STS.input.{name}.txt").read_text(encoding="utf-8").splitlines()
        golds = (place / f"STS.gs.{name}.txt").read_text(encoding="utf-8").splitlines()
        pairs = []
        for line, gold in zip(inputs, golds, strict=True):
            if gold != "":
                first, second = line.split("\t")
                pairs.append((tidy(first), tidy(second), float(gold)))
        found[name] = pairs
    return found


def tidy(sentence: str) -> str:
    return " ".join(sentence.split())


def cosine(u, v) -> float:
    product = sum(float(a) * float(b) for a, b in zip(u, v, strict=True))
    lengths = math.sqrt(sum(float(a) ** 2 for a in u)) * math.sqrt(sum(float(b) ** 2 for b in v))
    return product / lengths if lengths else 0.0


def ranks(values: list[float]) -> list[float]:
    """Rank from 1; equal values share the mean of theirs."""
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    bottom = math.sqrt(sum((a - mean_x) ** 2 for a in x)) * math.sqrt(sum((b - mean_y) ** 2 for b in y))
    return top / bottom


def spearman(x: list[float], y: list[float]) -> float:
    return pearson(ranks(x), ranks(y))


def score(embed, downstream: Path, task: str, split: str = "test") -> dict[str, object]:
    """Score a function from one sentence to its vector; correlations ×100."""
    per_subset, all_cosines, all_golds = {}, [], []
    for name, pairs in read(downstream, task, split).items():
        cosines = [1.0 if first == second else cosine(embed(first), embed(second)) for first, second, _ in pairs]
        golds = [gold for _, _, gold in pairs]
        per_subset[name] = {
            "spearman": 100 * spearman(cosines, golds), "pearson": 100 * pearson(cosines, golds), "n": len(pairs)
        }  # fmt: skip
        all_cosines += cosines
        all_golds += golds
    scores = [subset["spearman"] for subset in per_subset.values()]
    sizes = [subset["n"] for subset in per_subset.values()]
    return {
        "all": 100 * spearman(all_cosines, all_golds),
        "mean": sum(scores) / len(scores),
        "wmean": sum(s * n for s, n in zip(scores, sizes, strict=True)) / sum(sizes),
        "pairs": sum(sizes),
        "subsets": per_subset,
    }
