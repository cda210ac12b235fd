"""Files written whole or not at all, paths as people type them, the hub, and a hash of the kit's own source.

Nothing here imports more of the kit than its errors.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from hncse.errors import HncseError

__all__ = [
    "cache_folder", "expand", "hub", "hub_answers", "is_leftover", "somebody_watches", "source_form", "source_hash",
    "sweep", "whole_file", "write_json", "write_text",
]  # fmt: skip

_UNFINISHED = re.compile(r"\..+-[0-9a-f]{8}|\..+\.(?:json|jsonl|md|csv|txt|html)-[a-z0-9_]{8}")


def expand(path: str | Path) -> Path:
    """Turn what a person typed into a path: ``~`` and ``~name`` become home folders."""
    if not str(path) or "\0" in str(path):
        raise HncseError(f"path is {str(path)!r}; it must name a file or folder")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HncseError(f"path {str(path)!r} begins with a home folder that does not exist here") from error


def cache_folder() -> Path:
    """Folder of what can be computed again: ``$HNCSE_CACHE``, else ``embeddings/`` of the kit's own cache folder.

    Raises:
        HncseError: ``HNCSE_CACHE`` names a file.
    """
    if name := os.environ.get("HNCSE_CACHE"):
        path = expand(name).absolute()
        if path.exists() and not path.is_dir():
            raise HncseError(f"HNCSE_CACHE is {name!r}, a file; it must name a folder, there or yet to be made")
        return path
    import platformdirs

    return platformdirs.user_cache_path("hncse") / "embeddings"


@contextlib.contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Give a file to write that stands at ``path`` when the block ends well, and nowhere when it does not.

    The bytes are on the disk before the name is given to them, so a power cut leaves the old file or the new one. A
    link goes on pointing where it did. What another interruption leaves is ``.NAME-XXXXXXXX`` beside it; see `sweep`.

    Args:
        path: Where it goes; its folder is made.
        mode: ``"w"`` (UTF-8) or ``"wb"``.

    Raises:
        HncseError: The disk is full or read-only, or a folder stands there; the old file, if any, is untouched.
    """
    path = expand(path)
    target = Path(os.path.realpath(path))
    temporary = None
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "a folder stands there")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe
            with target.open(mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
            return
        name = f".{target.name.encode()[:200].decode(errors='ignore')}-{secrets.token_hex(4)}"
        # open, not tempfile: its files are for the owner alone, these get the mode that the person's umask gives
        with (target.parent / name).open(mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            temporary = target.parent / name
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise HncseError(f"{path} could not be written: {error.strerror or error}") from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all; see `whole_file`."""
    with whole_file(path) as file:
        file.write(text)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity, which JSON cannot say, are an `HncseError`."""
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise HncseError(f"{path}: {error}; NaN and infinity are no JSON, leave such values out or use null") from error
    write_text(path, text + "\n")


def is_leftover(name: str) -> bool:
    """Whether a file has such a name as an interrupted `whole_file` leaves."""
    return _UNFINISHED.fullmatch(name) is not None


def sweep(folder: Path) -> list[Path]:
    """Remove, and return, what an interrupted `whole_file` left in a folder that no other process writes into."""
    leftovers = [path for path in folder.rglob(".*-????????") if is_leftover(path.name) and path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def source_hash(*modules: str) -> str:
    """Hash what the kit's own code does: the same until somebody changes more than comments, docstrings or layout.

    The files are read, not imported; the hash is the same under every Python the kit runs on.

    Args:
        *modules: Names in `hncse`, such as ``"losses"`` or ``"evaluation.probe"``; a package stands for its modules.

    Returns:
        64 hex digits, SHA-256.
    """
    digest = hashlib.sha256()
    for module in modules:
        place = Path(__file__).parent.joinpath(*module.split("."))
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_name(f"{place.name}.py")]
        for file in files:
            try:
                changed = file.stat()
            except OSError as error:
                raise HncseError(f"the source of hncse.{module} is not there: {file}") from error
            name = file.relative_to(Path(__file__).parent).as_posix()
            digest.update(f"{name} {_hash_of_file(file, changed.st_mtime_ns, changed.st_size)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=512)
def _hash_of_file(path: Path, _changed_ns: int, _size: int) -> str:
    return hashlib.sha256(source_form(ast.parse(path.read_bytes())).encode()).hexdigest()


def source_form(node: Any) -> str:
    """Write a syntax tree down without docstrings and empty fields: `ast.dump` differs from Python to Python."""
    if isinstance(node, list):
        return f"[{','.join(map(source_form, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            fields["body"] = node.body[1:]
    return f"{type(node).__name__}({','.join(f'{name}={source_form(value)}' for name, value in fields.items())})"


def somebody_watches() -> bool:
    """Whether a progress bar has a reader: a terminal or a notebook; a log file would hold its every frame."""
    ipython = sys.modules.get("IPython")
    in_kernel = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    return sys.stderr.isatty() or in_kernel


def hub() -> str:
    """Address of the hub: ``$HF_ENDPOINT`` or the public one."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def hub_answers(timeout: float = 3.0) -> bool:
    """Whether the hub can be asked at all, known in ``timeout`` seconds; its own client retries for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True  # only the proxy can tell
    parts = urlsplit(hub())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=timeout):
            return True
    except OSError:
        return False
