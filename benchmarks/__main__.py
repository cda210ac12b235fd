"""Run the benchmarks: prints Markdown tables of ratios and writes results.json beside this file.

Topics measured before stay in results.json while they are of this processor, this embedded encoder and these versions.
With two threads a topic stands there as "training (2 threads)". README's table: ``python -m benchmarks.readme``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOPICS = ("loss-step", "loss-share", "training", "length-groups", "encoding", "transfer", "transfer-encoding", "mining")
#: The module that measures a topic names it as well.
MODULES = {
    "loss_step": "loss-step", "loss_share": "loss-share", "training_speed": "training", "encode_speed": "encoding",
    "transfer_speed": "transfer",
}  # fmt: skip


def _topics(quick: bool) -> dict[str, Callable[[], tuple[list[dict[str, Any]], str]]]:
    from benchmarks import encode_speed, loss_share, loss_step, mining, training_speed, transfer_speed

    sizes = (64,) if quick else (64, 128, 256, 512, 1024)
    rounds = 3 if quick else 7
    encoders = ("kit",) if quick else ("kit", "MiniLM-sized", "BERT-base-sized")
    grouped = ("kit",) if quick else ("kit", "MiniLM-sized")
    return {
        "loss-step": lambda: loss_step.measure(sizes, 3 if quick else 5),
        "loss-share": lambda: loss_share.measure(encoders[::2], rounds),
        "training": lambda: training_speed.measure(encoders, 1 if quick else 5),
        "length-groups": lambda: training_speed.measure_groups(grouped, 3),
        "encoding": lambda: encode_speed.measure(500 if quick else 2000, rounds, encoders[:2]),
        "transfer": lambda: transfer_speed.measure((64,) if quick else (320, 768), 1 if quick else 3, not quick),
        "mining": lambda: mining.measure(*((20_000, 1_000, 1, 20_000) if quick else (100_000, 10_000, 3, 1_000_000))),
        "transfer-encoding": lambda: transfer_speed.measure_encoding(20 if quick else 1),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"any of {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer sizes and rounds")
    parser.add_argument("--threads", type=int, default=1, help="threads of each library (default 1)")
    parser.add_argument("--output", default=str(Path(__file__).with_name("results.json")), help="where figures go")
    options = parser.parse_args(arguments)
    topics = [MODULES.get(topic, topic) for topic in options.topics]
    for topic in topics:
        if topic not in TOPICS:
            sys.stderr.write(f"error: unknown topic {topic!r}; valid topics are {', '.join(TOPICS)}\n")
            return 2
    _prepare(options.threads)
    from benchmarks.measure import facts

    now = {"machine": facts(), "kit": _kit(), "quick": options.quick}
    results: dict[str, Any] = now | _earlier(Path(options.output), now)
    suffix = "" if options.threads == 1 else f" ({options.threads} threads)"
    print(
        "# Benchmarks\n\n"
        + ", ".join(f"{k}: {v}" for k, v in (results["machine"] | {"kit": results["kit"]}).items())
        + "\n",
        flush=True,
    )
    for name, run in _topics(options.quick).items():
        if not topics or name in topics:
            results[name + suffix], table = run()
            results["dates"][name + suffix] = datetime.date.today().isoformat()
            print(table, flush=True)
            _write(Path(options.output), results)
    return 0


def _earlier(path: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Topics of a results.json and their dates, where processor, versions and encoder are today's."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same = before["kit"] == now["kit"] and before["quick"] == now["quick"]
        same = same and all(before["machine"][name] == now["machine"][name] for name in ("processor", "versions"))
    except (OSError, ValueError, KeyError):
        same = False
    return {"dates": {}} | ({name: before[name] for name in before if name not in now} if same else {})


def _kit() -> dict[str, Any]:
    """Which embedded encoder was measured: figures of another one do not compare."""
    from benchmarks.loss_share import encoder

    kit = encoder("kit")
    sizes = {name: getattr(kit.backbone.config, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size")}
    return sizes | {"pooling": kit.pooling, "fingerprint": kit.fingerprint()[:12]}


def _prepare(threads: int) -> None:
    """Settings that must stand before the libraries are imported."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(threads)
    import datasets
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _write(path: Path, results: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=1, default=float) + "\n", encoding="utf-8")
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
