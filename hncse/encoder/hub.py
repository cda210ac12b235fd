"""An encoder's folder to the Hugging Face hub, in one commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hncse import files
from hncse.encoder import card, folders
from hncse.errors import HncseError

__all__ = ["upload"]


def upload(folder: Path, repo: str, private: bool | None = None, token: str | None = None, message: str = "") -> str:
    """Make a model repository hold what `hncse.SentenceEncoder.save` wrote; see `SentenceEncoder.push_to_hub`."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    where = files.hub()
    if not files.hub_answers():
        raise HncseError(
            f"the hub at {where} cannot be reached (HF_HUB_OFFLINE, no network?); nothing was sent. save() writes the "
            "same files as a folder"
        )
    api = HfApi(endpoint=where, token=token)
    try:
        repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
        there = api.model_info(repo)
        if private is not None and bool(there.private) != private:
            is_, asked = ("private", "public") if there.private else ("public", "private")
            raise HncseError(f"{repo} is there and {is_}, {asked} was asked for; nothing was sent. Change it in its "
                             "settings on the hub, or give another name")  # fmt: skip
        names = {sibling.rfilename for sibling in there.siblings or ()}
        new = json.loads((folder / folders.SETTINGS).read_text(encoding="utf-8"))["files"]
        if card.FILE in names and not card.ours(_read(api, repo, card.FILE)):
            new = [name for name in new if name != card.FILE]
        old = json.loads(_read(api, repo, folders.SETTINGS)).get("files", []) if folders.SETTINGS in names else []
        gone = [CommitOperationDelete(name) for name in sorted(names & {*old} - {*new, card.FILE})]
        changes: list[Any] = [*gone, *(CommitOperationAdd(name, str(folder / name)) for name in new)]
        api.create_commit(repo, changes, commit_message=message or "An encoder of the HNCSE study kit")
    except HFValidationError as error:
        raise HncseError(f"repo is {repo!r}; it must be 'owner/name', letters, digits, - _ and . alone") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        raise HncseError(f"{repo} could not be written on {where}: {_reason(error)}") from error
    return f"{where}/{repo}"


def _read(api: Any, repo: str, name: str) -> str:
    return Path(api.hf_hub_download(repo, name)).read_text(encoding="utf-8")


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (f"it does not let you ({status}); log in with `hf auth login`, or pass token= of an account that may "
                "write there")  # fmt: skip
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
