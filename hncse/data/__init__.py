"""Where sentences and benchmark files come from."""

from __future__ import annotations

import os
from pathlib import Path

from hncse.errors import HncseError

__all__ = ["home"]


def home() -> Path:
    """Return the data folder: ``$HNCSE_DATA``, else the user's cache folder of this kit. It need not exist yet.

    Holds ``senteval/downstream/…`` exactly as SimCSE's ``senteval.tar`` unpacks, and ``wikipedia/*.txt(.xz)``.

    Raises:
        HncseError: ``HNCSE_DATA`` names a file, or nothing that can be a folder.
    """
    if given := os.environ.get("HNCSE_DATA"):
        try:
            folder = Path(given).expanduser().absolute()
            usable = folder.is_dir() or not folder.exists()
        except (OSError, RuntimeError) as error:  # a name that is too long, a user's home that is not known
            raise HncseError(f"HNCSE_DATA is {given[:80]!r}, no folder's name: {error}") from error
        if not usable:
            raise HncseError(f"HNCSE_DATA is {given!r}, which is a file; it names the folder that holds senteval/")
        return folder
    import platformdirs

    return platformdirs.user_cache_path("hncse")
