"""The Hugging Face hub: where it is, and whether anybody answers there."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

__all__ = ["endpoint", "reachable"]


def endpoint() -> str:
    """Address of the hub: ``$HF_ENDPOINT`` or the public one."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def reachable(timeout: float = 3.0) -> bool:
    """Whether the hub can be asked at all, known in seconds.

    The hub's own client retries for half a minute before it gives up; without a network the cache is all there is.

    Args:
        timeout: Longest wait for a connection, seconds.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True  # only the proxy can tell
    parts = urlsplit(endpoint())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=timeout):
            return True
    except OSError:
        return False
