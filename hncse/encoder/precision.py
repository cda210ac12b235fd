"""Which precision passes run in: bf16 where the processor has it and it is quicker for this encoder, else float32.

used, why = precision.choose(encoder, "auto")               # ("bf16", "a trial pass was 1.62 times quicker in bf16 …")

bf16 is autocast's: weights, optimiser, losses and results stay float32, matrix products take 8 bits of mantissa.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hncse.encoder import blocks
from hncse.errors import HncseError, unknown
from hncse.files import cache_folder, write_json

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["FILE", "GAIN", "PRECISIONS", "choose", "gain", "native", "processor"]

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
#: How many times quicker a trial must be in bf16 before it is taken; below, its rounding buys nothing.
GAIN = 1.1
#: Trials of this machine, in ``HNCSE_CACHE``.
FILE = "precision.json"
_ROWS, _LARGE, _LENGTH = 64, 16, 24  # of a trial's batch; an encoder beyond 30 million weights gets fewer rows
_SECONDS, _ROUNDS = 1.5, 2  # it ends with the round in which it has taken so long and been tried so often
_TRIED: dict[str, float] = {}  # of this process: where the cache cannot be written, one run still has one precision
_FLAGS = re.compile(r"^(?:flags|Features)\s*:.*\b(?:avx512_bf16|amx_bf16|bf16)\b", re.MULTILINE)


def choose(encoder: SentenceEncoder, wanted: str, *, training: bool = False) -> tuple[str, str]:
    """Say which precision runs, and why.

    Args:
        encoder: Where it lies decides; on a CPU with bf16 of its own, a trial with its weights.
        wanted: ``"auto"``, or one of `PRECISIONS`, which is taken as it is.
        training: Whether there is a backward pass.

    Returns:
        One of `PRECISIONS`, and a sentence for result.json.

    Raises:
        HncseError: No such precision, or one that this device does not have.
    """
    device = encoder.device.type
    if wanted not in ("auto", *PRECISIONS):
        raise unknown("precision", wanted, ["auto", *PRECISIONS])
    if wanted == "fp16" and device == "cpu" and training:
        raise HncseError("precision is 'fp16', which a CPU does not train in; take 'fp32' or 'bf16', or a GPU")
    if wanted == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise HncseError("precision is 'bf16', which this GPU does not have; take 'fp16' or 'fp32'")
    if wanted != "auto":
        return wanted, "asked for"
    if device == "cuda":
        has = torch.cuda.is_bf16_supported()
        return ("bf16", "this GPU has it") if has else ("fp32", "this GPU has no bf16")
    if device != "cpu" or not native():
        return "fp32", "no bf16 arithmetic here"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "fp32", "processes on CPUs must agree, and each would try for itself"
    times = gain(encoder, training)
    return ("bf16" if times >= GAIN else "fp32"), f"a trial pass was {times:.2f} times as quick in bf16 as in float32"


def native() -> bool:
    """Whether this CPU has bf16 arithmetic (avx512_bf16, AMX, or ARM's), by Linux's list of its features.

    oneDNN computes the products, and ``ONEDNN_MAX_CPU_ISA=AVX512_CORE``, say, keeps it from bf16's instructions.
    """
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if isa not in ("ALL", "DEFAULT") and not re.search("BF16|FP16|AMX|AVX10", isa):
        return False
    table = Path("/proc/cpuinfo")
    return table.is_file() and _FLAGS.search(table.read_text(encoding="utf-8")) is not None


def processor() -> str:
    """Name of the CPU."""
    table = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.*)$", table.read_text(encoding="utf-8"), re.M) if table.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()


def gain(encoder: SentenceEncoder, training: bool) -> float:
    """Time of a float32 pass over that of a bf16 one; measured once for an architecture, a CPU and its threads."""
    sizes = sorted((n, v) for n, v in vars(encoder.backbone.config).items() if n in _SIZES or n == "model_type")
    key = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, " + (
        f"{'training' if training else 'encoding'}, " + " ".join(f"{name}={value}" for name, value in sizes)
    )
    if key in _TRIED:
        return _TRIED[key]
    path = cache_folder() / FILE
    known = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(known.get(key), float):
        known[key] = round(_measured(encoder, training), 3)
        with contextlib.suppress(OSError, HncseError):
            write_json(path, known)
    _TRIED[key] = known[key]
    return _TRIED[key]


_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


def _measured(encoder: SentenceEncoder, training: bool) -> float:
    """Least seconds of either over rounds in turn; random states, mode and gradients stay."""
    rows = _ROWS if sum(p.numel() for p in encoder.parameters()) < 3e7 else _LARGE
    width = min(_LENGTH, encoder.max_length)
    table = encoder.backbone.get_input_embeddings().weight
    ids = torch.arange(rows * width).reshape(rows, width) % table.shape[0]
    weights = [p for p in encoder.parameters() if p.requires_grad]
    mode = encoder.training
    encoder.train(training)  # dropout costs as well, and attention takes another way with it
    one = functools.partial(_seconds, encoder, ids, weights if training else [])
    try:
        one(torch.bfloat16)
        one(None)
        best = [float("inf")] * 2
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < _SECONDS or rounds < _ROUNDS:
            rounds += 1
            best = [min(a, one(dtype)) for a, dtype in zip(best, (None, torch.bfloat16), strict=True)]
    finally:
        encoder.train(mode)
    return best[0] / best[1]


def _seconds(
    encoder: SentenceEncoder, ids: torch.Tensor, weights: list[torch.nn.Parameter], dtype: torch.dtype | None
) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter  # not other programs'
    began = clock()
    with (
        torch.random.fork_rng([]),
        blocks.quick_dropout(encoder, dtype is not None),
        torch.set_grad_enabled(bool(weights)),
    ):
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            z = encoder(ids, torch.ones_like(ids))  # (rows, d)
        if weights:
            torch.autograd.grad(z.float().square().sum(), weights, allow_unused=True)
    return clock() - began
