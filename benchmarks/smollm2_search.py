"""The recipe of ``encoder="smollm2"``: each setting tried, one row each; a row that is there is not made again.

    HNCSE_DATA=… python -m benchmarks.smollm2_search [SECONDS]

With a GPU, all layers and the paper's schedule (untried here):

    hncse train --encoder smollm2 --layers 30 --corpus wiki1m --limit None --learning-rate 3e-5 --precision bf16

STS-B dev and the probe are read, no test split. ``steps`` 0 is the encoder before training. ``centred`` is the dev
score after the mean vector of its sentences is subtracted.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hncse import SentenceEncoder, TrainingConfig, train
from hncse.data import senteval
from hncse.evaluation import probe, sts

TABLE = Path(__file__).parents[1] / "hncse" / "data" / "results" / "smollm2_search.csv"
COLUMNS = ("setting", "steps", "stsb_dev", "centred", "probe", "case_a_first", "case_a_last", "seconds", "threads")
# the setting of the first trials; `TrainingConfig`'s recipe is another
BASE: dict[str, Any] = {"layers": 1, "learning_rate": 3e-5, "temperature": 0.05, "limit": 1600}


def settings() -> Iterator[tuple[dict[str, Any], bool]]:
    """Settings in the order of their worth for the time they take, and whether to train."""
    yield {"layers": 1}, False
    yield {}, True
    yield {"learning_rate": 1e-4}, True
    yield {"layers": 2}, False
    yield {"temperature": 0.1}, True
    yield {"layers": 11}, False
    yield {"learning_rate": 3e-4}, True
    yield {"limit": 6400, "learning_rate": 1e-4}, True
    yield {"learning_rate": 3e-4, "dropout": 0.2}, True
    yield {"layers": 11, "limit": 3200, "precision": "bf16"}, True
    yield {"layers": 2, "learning_rate": 1e-4}, True
    yield {"layers": 19, "pooling": "last"}, False
    yield {"limit": 6400}, True
    yield {"dropout": 0.2}, True
    yield {"learning_rate": 1e-4, "bidirectional": True}, True
    yield {"layers": 1, "bidirectional": True}, False
    yield {"layers": 1, "pooling": "mean"}, False
    yield {"layers": 11, "limit": 3200, "precision": "bf16", "learning_rate": 1e-4}, True
    yield {"layers": 6}, False
    yield {"learning_rate": 1e-4, "temperature": 0.1}, True
    yield {"layers": 30}, False
    yield {"limit": 6400, "learning_rate": 1e-5}, True
    yield {"limit": 25600}, True


def centred(encoder: SentenceEncoder) -> float:
    """STS-B dev with the mean vector of its sentences subtracted."""
    from scipy.stats import spearmanr

    (subset,) = senteval.load_sts("STSB", "dev")
    n = len(subset.gold)
    z = encoder.encode([*subset.first, *subset.second], show_progress=False)
    z -= z.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True).clip(1e-12)
    return 100 * float(spearmanr((z[:n] * z[n:]).sum(1), subset.gold).statistic)


def measure(changes: dict[str, Any], trains: bool, folder: str) -> dict[str, Any]:
    """Score one setting."""
    import torch

    start, row = time.monotonic(), {"steps": 0}
    if trains:
        config = TrainingConfig(
            encoder="smollm2", loss="simcse", corpus="wikipedia", selection="last", snapshots=0, log_every=1,
            eval_every=1000, seed=0, output=folder, **({"precision": "fp32"} | BASE | changes),
        )  # fmt: skip
        run = train(config)
        encoder = run.load_encoder()
        case = [line["case_a"] for line in run.history if "case_a" in line]
        row |= {"steps": run.result["steps"]} | (
            {"case_a_first": round(case[0], 4), "case_a_last": round(case[-1], 4)} if case else {}
        )
    else:
        encoder = SentenceEncoder.from_pretrained("smollm2", **changes)
    row |= {
        "stsb_dev": round(sts.evaluate(encoder, ["STSB"], "dev", cache=False)["STSB"], 4),
        "centred": round(centred(encoder), 4),
        "probe": round(probe.evaluate(encoder, bootstrap=0)["spearman"], 4),
    }
    return row | {"seconds": round(time.monotonic() - start, 1), "threads": torch.get_num_threads()}


def main() -> None:
    """Measure until the seconds given are over."""
    until = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else "inf")
    done = list(csv.DictReader(TABLE.open(encoding="utf-8"))) if TABLE.exists() else []
    known = {(row["setting"], row["steps"] != "0") for row in done}
    with tempfile.TemporaryDirectory(dir=os.environ.get("HNCSE_RUNS")) as folder:
        for changes, trains in settings():
            setting = json.dumps((BASE | changes) if trains else changes)
            if (setting, trains) in known or time.monotonic() > until:
                continue
            row = {"setting": setting} | measure(changes, trains, folder)
            with TABLE.open("a", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
