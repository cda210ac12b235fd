"""An encoder's folder: what its small files say, and writing one that transformers and sentence-transformers load too.

hncse.json (pooling, length, the files that `save` wrote) is this kit's; modules.json, 1_Pooling/,
2_WeightedLayerPooling/, sentence_bert_config.json and config_sentence_transformers.json are sentence-transformers'.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hncse.encoder import blocks, card
from hncse.encoder.card import FILE as README
from hncse.errors import HncseError, unknown
from hncse.files import expand

__all__ = ["POOLINGS", "Settings", "has_own_pooler", "pooled_layers", "quiet", "save"]

POOLINGS = ("cls", "mean", "first_last", "last_two", "last", "mean_no_first")
_LOG = logging.getLogger(__name__)

SETTINGS = "hncse.json"  # pooling, length and the list of files that `save` wrote; only those it may replace
# what hncse <= 0.1 wrote beside its hncse.json, which held no list
_BEFORE_LISTS = [
    SETTINGS, "config.json", "model.safetensors", "modules.json", "sentence_bert_config.json",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "1_Pooling/config.json",
    "2_WeightedLayerPooling/config.json", "2_WeightedLayerPooling/model.safetensors",
]  # fmt: skip
_MODULES = "sentence_transformers.models"  # the name every version of sentence-transformers resolves
_APPLIED = ("Transformer", "WeightedLayerPooling", "Pooling", "Normalize")  # sentence-transformers' that are applied
_OLD_NAMES = tuple(f"sentence_{kind}_config.json" for kind in
                   ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))  # fmt: skip
_FLAGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "last"}


@dataclass(frozen=True)
class Settings:
    """The small files of a folder (``local``) or of a name on the hub; ``offline``: only its cache is asked."""

    source: str
    local: bool
    offline: bool

    def read(self, pooling: str | None) -> dict[str, Any]:
        """Read pooling, length limit, prompts, subfolder of the weights and lower-casing; only what the files say."""
        if self.path("adapter_config.json"):
            raise HncseError(
                f"{self.source} holds LoRA adapters, no whole encoder; load them with peft, merge_and_unload() them, "
                "and save the result"
            )
        ours = self.json(SETTINGS, dict) or {}
        if ours.get("unfinished"):
            raise HncseError(f"saving to {self.source} broke off; save it again")
        self._check_ours(ours)
        modules = self.json("modules.json", list)
        if modules is None:
            config = self.json("1_Pooling/config.json", dict)
            theirs = {"pooling": [self._mode(config, pooling, "")]} if config is not None else {}
        else:
            theirs = self._modules(modules, pooling)
        poolings = theirs.pop("pooling", None)
        if poolings and "pooling" in ours and ours["pooling"] not in poolings:
            raise HncseError(
                f"{self.source}: hncse.json says pooling {ours['pooling']!r}, sentence-transformers' files say "
                f"{poolings[0]!r}; remove the one that is out of date"
            )
        settings = theirs | ({"pooling": poolings[0]} if poolings and poolings[0] else {})
        return settings | {key: ours[key] for key in ("pooling", "max_length") if key in ours}

    def path(self, name: str) -> Path | None:
        """Find one file; None where there is none."""
        if self.local:
            path = Path(self.source) / name
            return path if path.is_file() else None
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(huggingface_hub.hf_hub_download(self.source, name, local_files_only=self.offline))
        except LocalEntryNotFoundError:
            if not self.offline:
                raise
            if name == "modules.json" and huggingface_hub.try_to_load_from_cache(self.source, name) is None:
                _LOG.warning(
                    "%s comes from the cache, which does not say whether it is a sentence-transformers model; if it "
                    "is, load it once with a network, or name its pooling",
                    self.source,
                )
            return None
        except EntryNotFoundError:
            return None

    def json(self, name: str, kind: type) -> Any:
        """Read one file as a JSON object or list; None where there is none."""
        path = self.path(name)
        if path is None:
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise HncseError(f"{name} of {self.source} is no JSON: {error}") from error
        if not isinstance(content, kind):
            wanted = "an object" if kind is dict else "a list"
            raise HncseError(f"{name} of {self.source} holds {str(content)[:40]!r}, not {wanted}")
        return content

    def _check_ours(self, ours: dict[str, Any]) -> None:
        if "pooling" in ours and ours["pooling"] not in POOLINGS:
            raise unknown(f"pooling in hncse.json of {self.source}", ours["pooling"], POOLINGS)
        self._check_length(SETTINGS, ours.get("max_length"))

    def _check_length(self, name: str, length: Any) -> None:
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise HncseError(f"{name} of {self.source} limits sentences to {length!r} tokens; give a whole number >= 1")

    def _modules(self, modules: list[Any], asked: str | None) -> dict[str, Any]:
        """Read a sentence-transformers model; one whose modules this kit cannot apply is refused by their names."""
        steps = []
        for module in modules:
            kind, path = (module.get(key) for key in ("type", "path")) if isinstance(module, dict) else (None, None)
            if not isinstance(kind, str) or not isinstance(path, str):
                raise HncseError(
                    f"modules.json of {self.source} holds {str(module)[:60]}, no module with type and path"
                )
            package, _, last = kind.rpartition(".")
            steps.append((last if package.split(".")[0] == "sentence_transformers" else kind, path))
        kinds = [kind for kind, _ in steps]
        foreign = [kind for kind in kinds if kind not in _APPLIED]
        if foreign or kinds[:1] != ["Transformer"] or kinds.count("Transformer") != 1 or kinds.count("Pooling") != 1:
            what = f"modules {', '.join(foreign)}" if foreign else f"the sequence [{', '.join(kinds)}]"
            raise HncseError(
                f"{self.source} is a sentence-transformers model with {what} in modules.json, which this kit does not "
                "apply; use SentenceTransformer itself (hncse.evaluation takes it), or a folder of Transformer and "
                "Pooling alone"
            )
        paths = dict(steps)
        settings = self._transformer(paths["Transformer"]) | self._prompts()
        name = f"{paths['Pooling']}/config.json".lstrip("/")
        config = self.json(name, dict)
        if config is None:
            raise HncseError(f"{self.source} has no {name}, which modules.json names")
        mode = self._mode(config, asked, settings.get("prompt", ""))
        layered = "WeightedLayerPooling" in paths
        return settings | {"pooling": self._layers(paths["WeightedLayerPooling"], mode) if layered else [mode]}

    def _transformer(self, path: str) -> dict[str, Any]:
        settings: dict[str, Any] = {"subfolder": path} if path else {}
        for name in ("sentence_bert_config.json", *(_OLD_NAMES if self.local else ())):
            config = self.json(f"{path}/{name}".lstrip("/"), dict)
            if config is None:
                continue
            length = config.get("max_seq_length")
            self._check_length(name, length)
            return settings | ({"max_length": length} if length else {}) | {"lower": bool(config.get("do_lower_case"))}
        return settings

    def _prompts(self) -> dict[str, Any]:
        name = "config_sentence_transformers.json"
        config = self.json(name, dict) or {}
        prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
        if not isinstance(prompts, dict) or not all(isinstance(v, (str, type(None))) for v in prompts.values()):
            raise HncseError(f"{name} of {self.source} holds prompts that are no texts: {str(prompts)[:60]}")
        if default is not None and default not in prompts:
            raise HncseError(
                f"{name} of {self.source} names a default prompt {default!r} that is not among its prompts"
            )
        prompts = {key: value for key, value in prompts.items() if value}
        return ({"prompts": prompts} if prompts else {}) | ({"prompt": prompts[default]} if default in prompts else {})

    def _mode(self, config: dict[str, Any], asked: str | None, prompt: str) -> str | None:
        flags = [name for name in config if name.startswith("pooling_mode_")]
        mode = config.get("pooling_mode", None if flags else "mean")
        on = [name for name in flags if config[name]]
        if "pooling_mode" not in config and flags:
            mode = _FLAGS.get(on[0], on[0]) if len(on) == 1 else on
        if isinstance(mode, list) and len(mode) == 1:
            mode = mode[0]
        if prompt and config.get("include_prompt") is False:
            if mode == "mean" and (self.json(SETTINGS, dict) or {}).get("pooling") == "mean_no_first":
                return "mean_no_first"
            raise HncseError(
                f"{self.source} leaves its prompt {prompt!r} out of the pooling, which this kit does not do"
            )
        mode = "last" if mode == "lasttoken" else mode
        if mode not in ("cls", "mean", "last") and asked is None:
            raise HncseError(f"{self.source} asks for pooling {mode!r}; pass pooling= to choose one this kit has")
        return mode if isinstance(mode, str) and mode in POOLINGS else None

    def _layers(self, path: str, mode: str | None) -> list[str]:
        """Which of our poolings a weighted mean over layers and the pooling after it are."""
        from safetensors.torch import load_file

        config = self.json(f"{path}/config.json", dict) or {}
        weights = self.path(f"{path}/model.safetensors")
        n, start = config.get("num_hidden_layers"), config.get("layer_start", 4)
        if weights is not None and isinstance(n, int) and isinstance(start, int) and mode is not None:
            layer = (self.json("config.json", dict) or {}).get(blocks.LAYER, n)
            given = load_file(weights).get("layer_weights")
            names = [mode, *(("first_last", "last_two") if mode == "mean" else ())]
            for_ours = {name: layer_weights(name, layer, n)[start:] for name in names}
            fits = [
                name
                for name, wanted in for_ours.items()
                if given is not None
                and given.shape == wanted.shape
                and (given / given.sum() - wanted).abs().max() < 1e-6
                and abs(wanted.sum() - 1) < 1e-6
            ]
            if fits:
                return fits
        raise HncseError(
            f"{self.source} averages layers in a way this kit does not (WeightedLayerPooling); it has the mean of "
            "first and last layer and the mean of the last two"
        )


def save(
    encoder: Any,
    path: str | Path,
    more: Callable[[Path], None] | None = None,
    name: str = "",
    cards: Sequence[Callable[[Any, str], str | None] | None] | None = None,
) -> Path:
    """Write ``encoder`` to the folder ``path``; see `hncse.SentenceEncoder.save`.

    Args:
        encoder: A `hncse.SentenceEncoder`.
        path: The folder.
        more: Writes further files into the folder it is given, before the whole is moved to its place.
        name: What the card calls it; else the folder's name.
        cards: Write its card from encoder and name, the first that has one to give; None: the encoder's own.
    """
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
            _add_card(encoder, fresh, real, name or real.name, [encoder.card] if cards is None else cards)
            if more is not None:
                more(fresh)
            _list(encoder, fresh)
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
        if os.path.lexists(place) and name not in ours and name != README:  # which was looked at already
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
    there = {n for n in straight if _is_file(folder / n) or not os.path.lexists(folder / n)}
    return there - ({README} if not _our_card(folder) else set())


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
    here = Path.cwd()  # whoever works inside a folder would be left in the old one
    return os.access(folder.parent, os.W_OK) and not folder.is_mount() and folder not in (here, *here.parents)


def _files(folder: Path) -> list[str]:
    return sorted(place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_file())


def _write(encoder: Any, folder: Path) -> None:
    config = encoder.backbone.config
    changes, weights = blocks.as_published(encoder.backbone)
    layered = bool(changes) or encoder.pooling in ("first_last", "last_two")
    changes["output_hidden_states"] = layered  # sentence-transformers' layer pooling reads this
    before = {name: getattr(config, name) for name in changes}
    _set(config, changes)
    try:
        with quiet():
            encoder.backbone.save_pretrained(folder, state_dict=weights)
    finally:
        _set(config, before)
    tokenizer = _tokenizer(encoder)
    tokenizer.save_pretrained(folder)
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
    if encoder.pooling == "mean_no_first":
        pooling["include_prompt"] = False
    transformer = {"max_seq_length": encoder.max_length, "do_lower_case": False}
    if has_own_pooler(config):  # or it is made at random and reported as missing on every load
        transformer["model_args"] = {"add_pooling_layer": False}
    if encoder.prompts or encoder.prompt:
        _json(folder / "config_sentence_transformers.json", _prompts(encoder))
    _json(folder / "modules.json", modules)
    _json(folder / "1_Pooling" / "config.json", pooling)
    _json(folder / "sentence_bert_config.json", transformer)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _set(config: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(config, name, value)  # by whatever name the architecture stores it


def _add_card(encoder: Any, folder: Path, goal: Path, name: str, cards: Sequence[Any]) -> None:
    """Write README.md into ``folder``, unless one that is not ours stands at its ``goal``."""
    cards = [write for write in cards if write is not None]
    if cards and os.path.lexists(goal / README) and not _our_card(goal):
        _LOG.warning("%s is yours and stays; no model card is written", goal / README)
        return
    if text := next((text for write in cards if (text := write(encoder, name)) is not None), None):
        (folder / README).write_text(text, encoding="utf-8")


def _our_card(folder: Path) -> bool:
    try:
        return not (folder / README).is_symlink() and card.ours((folder / README).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _list(encoder: Any, folder: Path) -> None:
    """Write the list of the files, then put all of them on the disk."""
    settings = {"pooling": encoder.pooling, "max_length": encoder.max_length}
    _json(folder / SETTINGS, settings | {"files": sorted([*_files(folder), SETTINGS])})
    mode = (folder / SETTINGS).stat().st_mode  # the umask's; the library writes weights for their owner alone
    for name in _files(folder):
        (folder / name).chmod(mode)
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def _tokenizer(encoder: Any) -> Any:
    """The tokenizer as others should have it: no limit left over from a call, padding on the right and possible."""
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.padding_side = "right"  # as `SentenceEncoder.pad`; positions count from the left
    if tokenizer.pad_token is None:  # padding is masked: which token it is changes no embedding
        names = ("eos_token", "bos_token", "unk_token", "sep_token", "cls_token")
        tokenizer.pad_token = next((t for t in (getattr(tokenizer, name) for name in names) if t is not None), None)
    if encoder.pooling == "mean_no_first":
        _leave_out_start(encoder, tokenizer)
    return tokenizer


def _leave_out_start(encoder: Any, tokenizer: Any) -> None:
    """Make sure that "leave the prompt out of the mean" leaves out one token: there it must be no special one."""
    if tokenizer.bos_token == encoder.prompt:
        tokenizer.bos_token = None
    start = tokenizer(encoder.prompt)["input_ids"] if encoder.prompt else []
    if len(start) != 1 or start[0] in tokenizer.all_special_ids:
        raise HncseError(
            f"an encoder with pooling 'mean_no_first' and this tokenizer (it begins with {start or 'its own token'}) "
            "cannot be written so that sentence-transformers embeds equally: it can leave out a prompt of ordinary "
            "tokens alone. Save it with pooling 'mean' or 'last'"
        )


def _prompts(encoder: Any) -> dict[str, Any]:
    names = [name for name, text in encoder.prompts.items() if text == encoder.prompt]
    default = (names or ["default"])[0] if encoder.prompt else None
    prompts = encoder.prompts | ({default: encoder.prompt} if default else {})
    return {"prompts": prompts, "default_prompt_name": default}


def _layer_pooling(encoder: Any, folder: Path) -> dict[str, Any]:
    """Express "average two layers", or "the last layer but one", as a weighted mean over all hidden states."""
    from safetensors.torch import save_file

    layer = encoder.backbone.config.num_hidden_layers
    n = layer + hasattr(encoder.backbone.config, blocks.LAYER)
    weights = layer_weights(encoder.pooling, layer, n)
    name = "2_WeightedLayerPooling"
    settings = {"word_embedding_dimension": encoder.dimension, "layer_start": 0, "num_hidden_layers": n}
    _json(folder / name / "config.json", settings)
    save_file({"layer_weights": weights}, folder / name / "model.safetensors")
    return {"idx": 1, "name": "1", "path": name, "type": f"{_MODULES}.WeightedLayerPooling"}


def layer_weights(pooling: str, layer: int, n_layers: int) -> Any:
    """Weights (n_layers + 1,) over hidden_states, of which 0 is the embedding layer, for a pooling up to ``layer``."""
    import torch

    weights, layers = torch.zeros(n_layers + 1), pooled_layers(pooling, layer)
    for index in layers:
        weights[index] += 1 / len(layers)
    return weights


def pooled_layers(pooling: str, n_layers: int) -> tuple[int, ...]:
    """Indices into hidden_states, of which 0 is the embedding layer."""
    return {"first_last": (1, n_layers), "last_two": (n_layers - 1, n_layers)}.get(pooling, (n_layers,))


def has_own_pooler(config: Any) -> bool:
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


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
