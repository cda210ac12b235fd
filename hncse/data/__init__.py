"""Where sentences and benchmark files come from."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home"]


def home() -> Path:
    """Return the data folder: ``$HNCSE_DATA``, else the user's cache folder of this kit. It need not exist yet.

    Holds ``senteval/downstream/…`` exactly as SimCSE's ``senteval.tar`` unpacks, and ``wikipedia/*.txt(.xz)``.
    """
    if given := os.environ.get("HNCSE_DATA"):
        return Path(given).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("hncse")
