"""LoRA through peft: small adapters are trained beside frozen weights, saved, loaded, and merged for the export.

hncse train --encoder smollm2 --lora 8            # run/adapters holds them, run/encoder the merged encoder
encoder = lora.load(SentenceEncoder.from_pretrained("smollm2", layers=2), run.path / "adapters")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError, unknown
from hncse.training.config import listed

__all__ = ["add", "check", "load", "merge"]


def add(
    encoder: SentenceEncoder, rank: int, alpha: float | None = None, targets: str | Sequence[str] | None = None
) -> Any:
    """Put adapters into an encoder and freeze everything else of its backbone.

    Args:
        encoder: Changed in place; it embeds as before until its adapters are trained.
        rank: r, of the two factors of each adapter.
        alpha: Adapters are scaled by alpha / rank; None: 2.
        targets: Ends of the names of the layers that get one, such as ``query``; None: every linear layer.

    Returns:
        The ``peft.PeftModel`` around the backbone, for `merge`.
    """
    peft = _peft()
    alpha = 2 * rank if alpha is None else alpha
    settings = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=listed(targets) or "all-linear")
    return peft.get_peft_model(encoder.backbone, settings)


def check(encoder: SentenceEncoder, targets: str | Sequence[str] | None) -> None:
    """Make sure that adapters can be added, before anything is written.

    Raises:
        HncseError: peft is not installed, or no linear layer is called so.
    """
    _peft()
    linear = {name.rpartition(".")[2] for name, part in encoder.backbone.named_modules() if isinstance(part, nn.Linear)}
    for target in listed(targets):
        if target.rpartition(".")[2] not in linear:
            raise unknown("layer for lora_targets", target, linear)


def merge(encoder: SentenceEncoder, adapted: Any, folder: Path | None = None) -> None:
    """Add the adapters to the weights they stand beside, after writing them to ``folder``, if it is given."""
    if folder is not None:
        adapted.save_pretrained(str(folder), save_embedding_layers=False)
    encoder.backbone = adapted.merge_and_unload()
    encoder.backbone.requires_grad_(True)


def load(encoder: SentenceEncoder, folder: str | Path) -> SentenceEncoder:
    """Merge the adapters of a run into the encoder that they were trained beside; changed in place and returned.

    Raises:
        HncseError: peft is not installed, no adapters there, or those of another encoder.
    """
    peft = _peft()
    if not (Path(folder) / "adapter_config.json").is_file():
        raise HncseError(f"{folder} holds no adapters (adapter_config.json); a run with lora writes them to adapters/")
    try:
        adapted = peft.PeftModel.from_pretrained(encoder.backbone, str(folder))
        theirs = set(load_file(Path(folder) / "adapter_model.safetensors"))
    except (OSError, RuntimeError, ValueError) as error:
        raise HncseError(f"the adapters in {folder} do not fit: {str(error).splitlines()[0]}") from error
    if strange := theirs ^ set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)):
        raise HncseError(
            f"the adapters in {folder} are of another encoder: {len(strange)} do not fit, {min(strange)} say"
        )
    merge(encoder, adapted)
    return encoder.eval()


def _peft() -> Any:
    """Return the package, or say how to install it."""
    try:
        import peft
    except ImportError as error:
        raise HncseError("LoRA needs the package peft: pip install 'hncse[lora]', or pip install peft") from error
    return peft
