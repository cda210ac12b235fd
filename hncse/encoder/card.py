"""README.md of an encoder's folder: its front matter, how the encoder is used, and whether this kit wrote it.

The last line holds a hash of what stands above it. A card that people have changed, or written themselves, has none
that fits, and is never replaced.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

from hncse.errors import HncseError

__all__ = ["FILE", "compose", "kept", "ours", "plain", "unchanged"]

FILE = "README.md"
_LOG = logging.getLogger(__name__)
_NAMED = re.compile(r"(SentenceTransformer|from_pretrained)\(['\"].*?['\"]\)(\.encode|`)")
_SEAL = re.compile(r"(.*\n)<!-- hncse ([0-9a-f]{16}): a card that was changed is not written again -->\n*", re.DOTALL)


def compose(encoder: Any, name: str, text: str, **fields: Any) -> str:
    """Write a model card: front matter, ``text``, how the encoder is used, the hash.

    Args:
        encoder: A `hncse.SentenceEncoder`.
        name: Its folder or its repository on the hub.
        text: Markdown that begins with the title, everything from users in it escaped.
        **fields: Of the front matter, as `huggingface_hub.ModelCardData` takes them; ``tags`` are added to the usual.
    """
    from huggingface_hub import ModelCardData

    tags = ["sentence-transformers", "sentence-similarity", "feature-extraction", "hncse", *fields.pop("tags", ())]
    data = ModelCardData(
        library_name="sentence-transformers", pipeline_tag="sentence-similarity", tags=tags, **fields
    )  # fmt: skip
    prompt = f" Its prompt {encoder.prompt!r} is put before every sentence." if encoder.prompt.strip() else ""
    body = f"""---
{data.to_yaml()}
---

{text.strip()}

## Use

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer({name!r}).encode(["A sentence.", "Another one."])  # (2, {encoder.dimension})
```

or, with the study kit that trained it, `hncse.SentenceEncoder.from_pretrained({name!r})`. Pooling `{encoder.pooling}`,
at most {encoder.max_length} tokens, cosine similarity.{prompt.replace("`", "'")}
"""
    return _sealed(body)


def kept(folder: Path, encoder: Any, name: str) -> str | None:
    """The card of the folder an encoder was loaded from, under its new name; None where either has changed since."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return None
    match = _SEAL.fullmatch(text)
    if match is None or not ours(text) or not unchanged(encoder, folder):
        return None
    return _sealed(_NAMED.sub(lambda call: f"{call[1]}({name!r}){call[2]}", match[1]))


def unchanged(encoder: Any, folder: Path) -> bool:
    """Whether an encoder still embeds as the one in its folder does; a warning says that it does not."""
    try:
        same = encoder.fingerprint() == type(encoder).from_pretrained(folder, device="cpu").fingerprint()
    except HncseError:
        same = False
    if not same:
        _LOG.warning("the encoder is not that of %s any more (weights, pooling or length): it gets no card", folder)
    return same


def plain(encoder: Any, name: str) -> str:
    """The card of an encoder of which nothing else is known: no score, no licence."""
    return compose(
        encoder, name, "# Sentence encoder\n\nWritten by the HNCSE study kit; how it was trained it does not say."
    )


def ours(text: str) -> bool:
    """Whether a README.md is a card as `compose` wrote it, unchanged but for the ends of its lines."""
    match = _SEAL.fullmatch(text.replace("\r\n", "\n"))
    return match is not None and match[2] == _hash(match[1])


def _sealed(body: str) -> str:
    return f"{body}<!-- hncse {_hash(body)}: a card that was changed is not written again -->\n"


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
