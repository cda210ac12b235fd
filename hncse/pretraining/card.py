"""The card of a pretrained encoder: what made it, from what, in how long."""

from __future__ import annotations

import dataclasses
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["card"]


def card(config: Any, facts: dict[str, Any], curve: list[tuple[int, float]]) -> str:
    """Write a card.

    Args:
        config: The `PretrainingConfig`.
        facts: ``sentences``, ``pieces``, ``vocabulary``, ``bytes``, ``seen``, ``steps``, ``minutes`` (of masked
            language modelling), ``hardware``.
        curve: Word pieces seen and loss, in order.

    Returns:
        Markdown.
    """
    c = config
    changed = [f for f in dataclasses.fields(c) if getattr(c, f.name) != f.default and f.name != "out"]
    flags = "".join(_flag(f.name, getattr(c, f.name)) for f in changed)
    first, last = (curve[0][1], curve[-1][1]) if curve else (math.nan, math.nan)
    start = f"counted vectors: window {c.window}, PPMI, SVD" if c.static else "random weights"
    shape = f"{c.layers} × {c.width}, {c.heads} heads, feed-forward {c.intermediate}"
    rows = [
        ("command", f"`hncse pretrain{flags}`"),
        ("data", f"`{c.source}`: {facts['sentences']:,} sentences, {facts['pieces']:,} word pieces"),
        ("shape", f"{shape}, {facts['vocabulary']:,} word pieces; {facts['bytes']:,} bytes in half precision"),
        ("start", start),
        ("masked language modelling", f"{facts['seen']:,} word pieces in {facts['steps']:,} steps"),
        ("loss", f"{first:.3f} at the first step, {last:.3f} at the last" if curve else "none"),
        ("time of modelling", f"{facts['minutes']:.1f} minutes"),
        ("hardware", facts["hardware"]),
        ("revision", _revision()),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"# Encoder made by hncse.pretraining\n\n| | |\n|---|---|\n{table}\n\nLoss by word pieces: {_sparse(curve)}\n"
    )


def _sparse(curve: list[tuple[int, float]], points: int = 12) -> str:
    """At most ``points`` means over equal stretches of the loss curve, for the card."""
    if not curve:
        return "none (no masked language modelling)"
    parts = np.array_split(np.array(curve), min(points, len(curve)))
    return ", ".join(f"{part[-1, 0] / 1e6:.2f} M: {part[:, 1].mean():.2f}" for part in parts)


def _flag(name: str, value: Any) -> str:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return f" --{name}" if value else f" --no-{name}"
    return "" if value is None else f" --{name} {value}"


def _revision() -> str:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
    return done.stdout.strip()
