"""Loss step, forward and backward: the kit's losses against the obvious forms, time and peak memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import naive
from benchmarks.measure import Action, interleaved, markdown, peak_bytes, ratio, spread
from hncse import losses

__all__ = ["batch", "measure"]

DIMENSION = 768
_LIMIT = 2 << 30  # bytes; obvious forms that would need more are left out
_COPIES = 6  # arrays of the size of the broadcast that forward and backward hold at once
_TRIALS = 2000
_HAVE_FORMS = ("simcse", "hnm-as-released", "pm-intended, 2,000 candidates")
_LOOPS_UP_TO = 128  # batch size above which row-by-row forms only cost patience


def batch(n: int, d: int = DIMENSION, seed: int = 0) -> list[Tensor]:
    """Two (n, d) views like those of a raw BERT: cosines all high, anchors in cases A and C."""
    draw = torch.Generator().manual_seed(seed)
    common, own = 3 * torch.randn(d, generator=draw), torch.randn(n, d, generator=draw)
    noise = torch.linspace(0.2, 2.5, n)[:, None]
    return [(common + own + noise * torch.randn(n, d, generator=draw)).requires_grad_() for _ in range(2)]


def measure(sizes: tuple[int, ...], rounds: int, trials: int = 20) -> tuple[list[dict[str, Any]], str]:
    """Measure every preset at every batch size.

    Args:
        sizes: Batch sizes N.
        rounds: Interleaved rounds.
        trials: Trials of the sequential search that are run, fewer where N > 64; its time is scaled to 2,000.

    Returns:
        Records for results.json, and a Markdown table.
    """
    records = [record for n in sizes for record in _at(n, rounds, trials)]
    rows = []
    for r in records:
        ours = r["n"], r["loss"], f"{r['milliseconds']:.2f}", _mb(r["peak_bytes"])
        for form in r["against"]:
            theirs = form["form"], f"{form['milliseconds']:,.1f}", _mb(form["peak_bytes"])
            rows.append([*ours, *theirs, spread(form["ratio"])])
        if not r["against"]:
            rows.append([*ours, r["left_out"], "", "", ""])
    header = ("N", "loss", "ms", "peak MB", "against", "ms", "peak MB", "the kit is quicker by")
    note = (
        f"d = {DIMENSION}, float32, forward + backward, medians and quartiles over {rounds} interleaved rounds. Peak: "
        f"most tensor bytes alive at once above the inputs (PyTorch's allocator events). The sequential search is "
        f"timed over {trials} trials (fewer where N > 64) and scaled to {_TRIALS:,}. Batches have anchors in "
        "cases A and C only; where all are in case B nothing is searched."
    )
    return records, markdown("Loss step", header, rows, note)


def _at(n: int, rounds: int, trials: int) -> list[dict[str, Any]]:
    z = batch(n)
    ours = _ours(z)
    theirs = _theirs(z, max(2, trials * 64**2 // max(n, 64) ** 2))
    calls = {name: max(1, 1024 // n) for name in ours}  # against the cold start after a form that fills the cache
    times = interleaved(ours | {f: a for forms in theirs.values() for f, (a, _) in forms.items()}, rounds, calls)
    records = []
    for name, action in ours.items():
        record = _record(n, name, times[name], action)
        record["against"], record["left_out"] = [], _why(n) if name in _HAVE_FORMS else ""
        for form, (act, scale) in theirs.get(name, {}).items():
            scaled = [t * scale for t in times[form]]
            record["against"].append(
                _record(n, name, scaled, act) | {"form": form, "ratio": ratio(scaled, times[name])}
            )
        records.append(record)
    return records


def _ours(z: list[Tensor]) -> dict[str, Action]:
    presets: dict[str, tuple[str, dict[str, Any]]] = {
        "simcse": ("simcse", {}),
        "pm-intended, 65 candidates": ("pm-intended", {}),
        "pm-intended, 2,000 candidates": ("pm-intended", {"candidates": _TRIALS}),
        "hnm-as-released": ("hnm-as-released", {}),
        "hnm-no-replacement": ("hnm-no-replacement", {}),
        "pm+hnm": ("pm+hnm", {}),
    }
    groups = torch.arange(len(z[0]))  # as training calls it

    def action(name: str, options: dict[str, Any]) -> Action:
        loss = losses.build(name, **options)
        return _step(lambda: loss(*z, groups=groups).loss, z)

    return {shown: action(*preset) for shown, preset in presets.items()}


def _theirs(z: list[Tensor], trials: int) -> dict[str, dict[str, tuple[Action, float]]]:
    """Loss → form → its action, and how many times its seconds count."""
    n, scale = len(z[0]), _TRIALS / trials
    if _why(n):
        return {}
    pairs = naive.drawn_pairs(n, 10, 40, replacement=True)
    weights = [(1.0, 2 * t / trials) for t in range(trials)]
    mined = naive.mine(*z) if n <= _LOOPS_UP_TO else None
    forms: dict[str, dict[str, tuple[Action, float]]] = {
        "simcse": {"broadcast cosine": (_step(lambda: naive.simcse(*z), z), 1)},
        "hnm-as-released": {"mixes materialised": (_step(lambda: naive.hnm_materialised(*z, pairs), z), 1)},
    }
    if mined is not None:
        forms["hnm-as-released"]["per-row loop"] = (_step(lambda: naive.hnm_loop(*z, pairs), z), 1)
        forms["pm-intended, 2,000 candidates"] = {
            "2,000 trials, row loops": (lambda: naive.pm_trials(*z, mined, weights, loop=True), scale),
            "2,000 trials, vectorised": (lambda: naive.pm_trials(*z, mined, weights, loop=False), scale),
        }
    return forms


def _why(n: int) -> str:
    return "left out: over 2 GB" if _COPIES * n * n * DIMENSION * 4 > _LIMIT else ""


def _step(loss: Callable[[], Tensor], z: list[Tensor]) -> Action:
    def run() -> None:
        loss().backward()
        for view in z:
            view.grad = None

    return run


def _record(n: int, name: str, times: list[float], action: Action) -> dict[str, Any]:
    middle = sorted(times)[len(times) // 2]
    return {"n": n, "loss": name, "milliseconds": 1000 * middle, "peak_bytes": peak_bytes(action)}


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}"
