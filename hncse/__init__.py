"""HNCSE study kit: sentence embeddings learned with hard negatives (arXiv:2411.12156).

The core is three modules: `hncse.encoder` (sentences → embeddings), `hncse.miner` (which negatives are hard) and
`hncse.losses` (two dropout views → a loss). Importing this package imports none of them; names load when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hncse.errors import HncseError

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder
    from hncse.runs import Run
    from hncse.training import TrainingConfig, train

__version__ = "0.1.0"
_HOME = {
    "SentenceEncoder": "hncse.encoder",
    "Run": "hncse.runs",
    "TrainingConfig": "hncse.training",
    "train": "hncse.training",
}
_MODULES = ("data", "encoder", "evaluation", "losses", "miner", "mining", "presets", "runs", "training", "visual")
__all__ = ["HncseError", "Run", "SentenceEncoder", "TrainingConfig", "__version__"]
__all__ += ["losses", "miner", "mining", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:  # hncse.losses.build(…) without an import of its own
        return importlib.import_module(f"hncse.{name}")
    raise AttributeError(f"module 'hncse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
