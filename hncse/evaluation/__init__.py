"""Judging encoders: STS, the probe, transfer tasks, geometry, and the tables made from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder
    from hncse.runs import Run

__all__ = ["open_encoder"]


def open_encoder(name: str, pooling: str | None = None) -> tuple[SentenceEncoder, Run | None]:
    """Load what an evaluation's command line names.

    Args:
        name: A run's name or folder, ``latest``, or an encoder as `hncse.SentenceEncoder.from_pretrained` takes it.
        pooling: In place of the pooling the encoder was saved with.

    Returns:
        The encoder, and the run it belongs to, if any.

    Raises:
        HncseError: There is no such run or encoder.
    """
    from hncse import runs
    from hncse.encoder import SentenceEncoder

    run = None
    if (Path(name) / "encoder").is_dir():
        run = runs.Run(name)
    elif name == "latest" or (Path(name).name == name and (runs.root() / name / "config.json").is_file()):
        run = runs.find(name)
    if run is None:
        return SentenceEncoder.from_pretrained(name, pooling), None
    return (run.load_encoder() if pooling is None else SentenceEncoder.from_pretrained(run.encoder_path, pooling)), run
