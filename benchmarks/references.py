"""What a user would pick instead: small and static encoders beside the kit's, on the kit's own protocol.

    HNCSE_DATA=… python -m benchmarks.references [NAME …]     # writes hncse/data/results/references.csv

A row an encoder: size of its weights at 16 bits a number, STS (seven tasks, test split, Spearman × 100, "all"
aggregation) and the probe (Spearman × 100 with people's grades). Intervals are of 95 % from 1,000 resamples of sentence
pairs or groups; of the trained row, whose scores are `hncse/data/results/sweep.csv`'s means over twelve seeds, they are
t-intervals over seeds.
Rows that are in the file already stay; those named are measured again. The STS files must be there.

WordLlama is no dependency: ``pip install --no-deps --target FOLDER wordllama==0.4.0.post1`` and ``PYTHONPATH=FOLDER``;
its two files are read by hand, since its own loader looks for the tokenizer elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from hncse import HncseError, SentenceEncoder
from hncse.data.senteval import STS_TASKS
from hncse.errors import command, unknown
from hncse.evaluation import probe, results, sts
from hncse.evaluation.statistics import t_interval
from hncse.files import whole_file

__all__ = ["COLUMNS", "ROWS", "StaticTable", "distilled", "main", "wordllama"]

TABLE = Path(__file__).resolve().parents[1] / "hncse" / "data" / "results" / "references.csv"
COLUMNS = (
    "encoder", "megabytes", "dimension", "supervised", "pooling", "seeds", *STS_TASKS, "avg", "avg_low", "avg_high",
    "probe", "probe_low", "probe_high",
)  # fmt: skip
_RESAMPLES = 1000


class StaticTable:
    """A vector a token, whatever stands beside it; a sentence is the mean of its tokens' vectors."""

    pooling = "mean"

    def __init__(self, table: NDArray[np.float32], tokenizer: Tokenizer) -> None:
        """Keep the table (V, d) and the tokenizer that numbers its rows."""
        self.table, self.tokenizer = table, tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()

    def encode(self, sentences: list[str]) -> NDArray[np.float32]:
        """Embed sentences, (n, d) float32; one without tokens is zero."""
        rows = [row.ids for row in self.tokenizer.encode_batch(sentences, add_special_tokens=False)]
        return np.stack([self.table[ids].mean(0) if ids else 0 * self.table[0] for ids in rows])


def distilled(teacher: SentenceEncoder, dimension: int = 256) -> StaticTable:
    """Distil an encoder into a table, as Model2Vec does: each token alone, PCA, weights by Zipf's law; no training.

    Args:
        teacher: Its vocabulary is taken to be sorted by frequency, as BERT's roughly is.
        dimension: Principal components to keep.
    """
    vocabulary = teacher.tokenizer.get_vocab()
    rows = len(vocabulary)
    start_id, end_id = teacher.tokenizer.cls_token_id, teacher.tokenizer.sep_token_id
    table = np.empty((rows, teacher.dimension), np.float32)
    with torch.inference_mode():
        for start in range(0, rows, 1024):
            tokens = range(start, min(start + 1024, rows))
            batch = teacher.pad([[start_id, token, end_id] for token in tokens])
            table[list(tokens)] = teacher(**batch).numpy()
    used = np.array(sorted(i for token, i in vocabulary.items() if not token.startswith("[unused")))
    centred = table - table[used].mean(0)
    _, components = np.linalg.eigh(np.cov(centred[used].T))  # ascending
    table = centred @ components[:, ::-1][:, :dimension].astype(np.float32)
    rank = np.full(rows, len(used))
    rank[used] = np.arange(1, len(used) + 1)
    return StaticTable(table * np.log1p(rank, dtype=np.float32)[:, None], teacher.tokenizer.backend_tokenizer)


def wordllama() -> StaticTable:
    """WordLlama's table of 256 dimensions, out of its wheel."""
    from safetensors.numpy import load_file

    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise HncseError("pip install --no-deps --target FOLDER wordllama==0.4.0.post1, then PYTHONPATH=FOLDER")
    folder = Path(spec.origin).parent
    (table,) = load_file(folder / "weights" / "l2_supercat_256.safetensors").values()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    return StaticTable(table.astype(np.float32), tokenizer)


def _load(name: str, **options: Any) -> SentenceEncoder:
    return SentenceEncoder.from_pretrained(name, device="cpu", **options)


#: Encoder → what taught it which sentences mean the same, and how it is loaded; None: from recorded runs.
ROWS: dict[str, tuple[str, Callable[[], Any] | None]] = {
    "kit": ("no", lambda: _load("kit", pooling="mean")),
    "kit after SimCSE": ("no", None),
    "smollm2, 2 layers": ("no", lambda: _load("smollm2", layers=2)),
    "MiniLM distilled into a table": ("its teacher", lambda: distilled(_load("minilm", pooling="mean"))),
    "WordLlama 256": ("yes", wordllama),
    "MiniLM": ("yes", lambda: _load("minilm", pooling="mean")),
}


def measure(name: str) -> dict[str, Any]:
    """Score one encoder; a row with `COLUMNS`."""
    supervised, load = ROWS[name]
    row = {"encoder": name, "supervised": supervised}
    if load is None:
        kit = _load("kit", pooling="mean")
        return row | _size(kit) | _recorded()
    encoder = load()
    scores = sts.evaluate_full(encoder, bootstrap=_RESAMPLES)
    on_probe = probe.evaluate(encoder, bootstrap=_RESAMPLES)
    row |= _size(encoder) | {task: scores["tasks"][task]["all"] for task in STS_TASKS}
    row |= _with_interval("avg", scores["avg"], scores["avg_interval"])
    return row | _with_interval("probe", on_probe["spearman"], on_probe["spearman_interval"])


def _recorded() -> dict[str, Any]:
    """SimCSE's scores on the embedded encoder at its own τ, as `README.md` prints them."""
    frame = results.recorded("sweep")
    frame = frame[(frame["kind"] == "trained") & (frame["method"] == "simcse")]
    frame = frame[[p.get("temperature") == 0.1 for p in frame["parameters"]]]
    values = {measure: rows["value"].to_numpy() for measure, rows in frame.groupby("measure")}
    row: dict[str, Any] = {"seeds": len(values["sts"])} | {task: values[task].mean() for task in STS_TASKS}
    for name, measure in (("avg", "sts"), ("probe", "probe")):
        mean, half = t_interval(values[measure])
        row |= _with_interval(name, mean, (mean - half, mean + half))
    return row


def _size(encoder: Any) -> dict[str, Any]:
    """Megabytes of the weights at 16 bits a number, width and pooling."""
    table = isinstance(encoder, StaticTable)
    n = encoder.table.size if table else sum(p.numel() for p in encoder.parameters())
    width = encoder.table.shape[1] if table else encoder.dimension
    return {"megabytes": 2 * n / 1e6, "dimension": width, "pooling": encoder.pooling}


def _with_interval(name: str, value: float, interval: Any) -> dict[str, float]:
    return {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure what is named, else what is not in the file yet; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.references", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"default: what is not recorded yet of {', '.join(ROWS)}"
    )
    names = parser.parse_args(arguments).names
    for name in names:
        if name not in ROWS:
            raise unknown("reference", name, ROWS)
    known = {row["encoder"]: row for row in csv.DictReader(TABLE.open(encoding="utf-8"))} if TABLE.exists() else {}
    for name in names or [name for name in ROWS if name not in known]:
        row = {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in measure(name).items()}
        known[name] = row
        print(row, flush=True)
        with whole_file(TABLE) as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(known[name] for name in ROWS if name in known)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
