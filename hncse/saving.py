"""Writing an encoder so that transformers, sentence-transformers and this kit can load it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from hncse._loading import has_own_pooler, layer_weights, quiet
from hncse.errors import HncseError
from hncse.files import expand

if TYPE_CHECKING:
    from hncse.encoder import SentenceEncoder

__all__ = ["save"]

SETTINGS = "hncse.json"  # pooling, length and the list of files that `save` wrote; only those it may replace
# what hncse <= 0.1 wrote beside its hncse.json, which held no list
_BEFORE_LISTS = [
    SETTINGS, "config.json", "model.safetensors", "modules.json", "sentence_bert_config.json",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "1_Pooling/config.json",
    "2_WeightedLayerPooling/config.json", "2_WeightedLayerPooling/model.safetensors",
]  # fmt: skip
_MODULES = "sentence_transformers.models"  # the name every version of sentence-transformers resolves


def save(encoder: SentenceEncoder, path: str | Path) -> Path:
    """Write ``encoder`` to the folder ``path``; see `hncse.SentenceEncoder.save`."""
    folder = expand(path)
    real = Path(os.path.realpath(folder))  # a link to a folder stays a link
    if getattr(encoder.backbone, "peft_config", None):
        raise HncseError(
            "the backbone carries LoRA adapters, which this format does not hold; merge them first: "
            "encoder.backbone = peft_model.merge_and_unload()"
        )
    if real.exists() and not real.is_dir():
        raise HncseError(f"{path} is a file; give a folder to save the encoder in")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        whole = not real.exists() or (_holds_only(real, _written(real)) and _can_move(real))
        beside = real.parent if whole else real  # a folder of its own, or a mount: write inside it
        with tempfile.TemporaryDirectory(prefix=f".{real.name[:40]}-", dir=beside) as work:
            fresh = Path(work) / "encoder"
            _write(encoder, fresh)
            if whole:
                _swap(fresh, real, Path(work) / "old")
            else:
                _merge(fresh, real)
    except Exception as error:
        if not isinstance(error, OSError) and "os error" not in str(error):  # what Rust's libraries say of a full disk
            raise
        reason = getattr(error, "strerror", None) or error
        raise HncseError(f"the encoder could not be written to {path}: {reason}") from error
    return folder


def _swap(fresh: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        shutil.copymode(folder, fresh)
        folder.replace(old)
    try:
        fresh.replace(folder)
    except BaseException:
        if old.exists():
            old.replace(folder)
        raise


def _merge(fresh: Path, folder: Path) -> None:
    """Move files one by one into a folder that holds others, which stay; files of an earlier save go."""
    ours, new = _written(folder), _files(fresh)
    for name in new:
        place = folder / name
        if os.path.lexists(place) and name not in ours:
            raise HncseError(
                f"{place} is there and was not written by an earlier save; nothing was changed. "
                "Give an empty or a new folder, or move that file away"
            )
        for parent in list(place.relative_to(folder).parents)[:-1]:
            if os.path.lexists(folder / parent) and ((folder / parent).is_symlink() or not (folder / parent).is_dir()):
                raise HncseError(f"{folder / parent} is there and is no folder; nothing was changed")
    settings = json.loads((fresh / SETTINGS).read_text(encoding="utf-8"))
    unfinished = fresh / "unfinished.json"
    _json(unfinished, {"unfinished": True, "files": sorted({*ours, *new})})
    unfinished.replace(folder / SETTINGS)  # a save that breaks off here is known as one, and can be repeated
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name != SETTINGS:
            (fresh / name).replace(folder / name)
    for name in ours - set(new):
        (folder / name).unlink(missing_ok=True)
        for parent in list((folder / name).relative_to(folder).parents)[:-1]:
            if (folder / parent).is_dir() and not any((folder / parent).iterdir()):
                (folder / parent).rmdir()
    _json(fresh / SETTINGS, settings)
    (fresh / SETTINGS).replace(folder / SETTINGS)


def _written(folder: Path) -> set[str]:
    """Names of the files that an earlier save listed, without those that lead out of the folder or through a link."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    names = settings.get("files", _BEFORE_LISTS) if isinstance(settings, dict) else []
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    inside = [n for n in listed if n and not PurePosixPath(n).is_absolute() and ".." not in PurePosixPath(n).parts]
    straight = [n for n in inside if not any((folder / p).is_symlink() for p in list(PurePosixPath(n).parents)[:-1])]
    return {n for n in straight if _is_file(folder / n) or not os.path.lexists(folder / n)}


def _holds_only(folder: Path, ours: set[str]) -> bool:
    """Whether a folder holds an earlier save and nothing else: no other file, link or folder."""
    folders = {str(parent) for name in ours for parent in PurePosixPath(name).parents}
    for place in folder.rglob("*"):
        name = place.relative_to(folder).as_posix()
        if not (name in ours and _is_file(place)) and not (name in folders and place.is_dir()):
            return False
    return bool(ours)


def _is_file(place: Path) -> bool:
    return place.is_file() and not place.is_symlink()


def _can_move(folder: Path) -> bool:
    return os.access(folder.parent, os.W_OK) and not folder.is_mount()


def _files(folder: Path) -> list[str]:
    return sorted(place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_file())


def _write(encoder: SentenceEncoder, folder: Path) -> None:
    layered = encoder.pooling in ("first_last", "last_two")
    config = encoder.backbone.config
    before = config.output_hidden_states
    config.output_hidden_states = layered  # sentence-transformers' layer pooling reads this
    try:
        with quiet():
            encoder.backbone.save_pretrained(folder)
    finally:
        config.output_hidden_states = before
    _tokenizer(encoder).save_pretrained(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.Transformer"}]
    if layered:
        modules.append(_layer_pooling(encoder, folder))
    modules.append({"idx": len(modules), "name": str(len(modules)), "path": "1_Pooling", "type": f"{_MODULES}.Pooling"})
    at = encoder.pooling if encoder.pooling in ("cls", "last") else "mean"
    pooling = {
        "word_embedding_dimension": encoder.dimension,
        "pooling_mode_cls_token": at == "cls",
        "pooling_mode_mean_tokens": at == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    } | ({"pooling_mode_lasttoken": True} if at == "last" else {})
    transformer = {"max_seq_length": encoder.max_length, "do_lower_case": False}
    if has_own_pooler(config):  # or it is made at random and reported as missing on every load
        transformer["model_args"] = {"add_pooling_layer": False}
    if encoder.prompts or encoder.prompt:
        _json(folder / "config_sentence_transformers.json", _prompts(encoder))
    _json(folder / "modules.json", modules)
    _json(folder / "1_Pooling" / "config.json", pooling)
    _json(folder / "sentence_bert_config.json", transformer)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    settings = {"pooling": encoder.pooling, "max_length": encoder.max_length}
    _json(folder / SETTINGS, settings | {"files": sorted([*_files(folder), SETTINGS])})
    mode = (folder / SETTINGS).stat().st_mode  # the umask's; the library writes weights for their owner alone
    for name in _files(folder):
        (folder / name).chmod(mode)
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def _tokenizer(encoder: SentenceEncoder) -> Any:
    """The tokenizer as others should have it: no limit left over from a call, padding on the right and possible."""
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.padding_side = "right"  # as `SentenceEncoder.pad`; positions count from the left
    if tokenizer.pad_token is None:  # padding is masked: which token it is changes no embedding
        names = ("eos_token", "bos_token", "unk_token", "sep_token", "cls_token")
        tokenizer.pad_token = next((t for t in (getattr(tokenizer, name) for name in names) if t is not None), None)
    return tokenizer


def _prompts(encoder: SentenceEncoder) -> dict[str, Any]:
    names = [name for name, text in encoder.prompts.items() if text == encoder.prompt]
    default = (names or ["default"])[0] if encoder.prompt else None
    prompts = encoder.prompts | ({default: encoder.prompt} if default else {})
    return {"prompts": prompts, "default_prompt_name": default}


def _layer_pooling(encoder: SentenceEncoder, folder: Path) -> dict[str, Any]:
    """Express "average two layers" as a weighted mean over all hidden states."""
    n = encoder.backbone.config.num_hidden_layers
    weights = layer_weights(encoder.pooling, n)
    name = "2_WeightedLayerPooling"
    settings = {"word_embedding_dimension": encoder.dimension, "layer_start": 0, "num_hidden_layers": n}
    _json(folder / name / "config.json", settings)
    save_file({"layer_weights": weights}, folder / name / "model.safetensors")
    return {"idx": 1, "name": "1", "path": name, "type": f"{_MODULES}.WeightedLayerPooling"}


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
