"""Saving: nothing that save did not write is replaced or removed, and what it writes is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hncse import SentenceEncoder
from hncse.errors import HncseError
from tests import tiny

TEXTS = ["The cat sat on the mat.", "A dog.", ""]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_saving_again_replaces_the_encoder_and_leaves_no_temporary_folder(tmp_path: Path) -> None:
    folder = tiny.encoder("first_last", seed=0).save(tmp_path / "e")
    tiny.encoder("mean", seed=1).save(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["e"]
    assert not (folder / "2_WeightedLayerPooling").exists()
    assert contents(folder) == contents(tiny.encoder("mean", seed=1).save(tmp_path / "fresh"))
    np.testing.assert_allclose(
        SentenceEncoder.from_pretrained(folder).encode(TEXTS), tiny.encoder("mean", seed=1).encode(TEXTS), atol=1e-6
    )


@pytest.mark.parametrize(
    "others",
    [
        ["results.csv"],
        ["notes/thesis.tex", "data/a.csv", "1_Pooling/mine.txt", "2_WeightedLayerPooling/mine.txt"],
        [".git/HEAD", ".git/objects/ab/cd", "README.md", ".gitattributes"],
        ["simcse-seed0-0123/config.json", "simcse-seed0-0123/encoder/model.safetensors", "hnm-seed0/history.jsonl"],
    ],
    ids=["a file", "folders", "a repository", "a runs root"],
)
def test_saving_into_a_folder_of_other_things_leaves_them(others: list[str], tmp_path: Path) -> None:
    for name in others:
        (tmp_path / "e" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "e" / name).write_text(name)
    (tmp_path / "e" / "nothing-in-it").mkdir()
    before = contents(tmp_path / "e")
    for pooling in ("first_last", "mean", "mean"):
        encoder = tiny.encoder(pooling)
        folder = encoder.save(tmp_path / "e")
        now = contents(folder)
        assert {name: now[name] for name in before} == before
        alone = contents(encoder.save(tmp_path / "alone"))
        assert {name: data for name, data in now.items() if name not in before} == alone
        assert (folder / "nothing-in-it").is_dir() and not list(folder.glob(".e-*"))
        assert SentenceEncoder.from_pretrained(folder).pooling == pooling


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "modules.json", "hncse.json", "1_Pooling"])
def test_a_file_that_save_did_not_write_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.jsonl").write_text("hours of work")
    (tmp_path / "run" / name).write_text('"of a run"')
    before = contents(tmp_path / "run")
    with pytest.raises(HncseError, match=name):
        tiny.encoder().save(tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_only_names_inside_the_folder_count_as_written_by_save(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    folder = tiny.encoder().save(tmp_path / "e")
    settings = json.loads((folder / "hncse.json").read_text())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    settings["files"] += ["../thesis.tex", str(tmp_path / "thesis.tex"), "link/a.txt", "link", 3, None]
    (folder / "hncse.json").write_text(json.dumps(settings))
    tiny.encoder("mean").save(folder)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "elsewhere" / "a.txt").read_text() == "mine" and (folder / "link").is_symlink()
    assert SentenceEncoder.from_pretrained(folder).pooling == "mean"


def test_an_encoder_saved_before_lists_were_kept_can_be_replaced(tmp_path: Path) -> None:
    folder = tiny.encoder("first_last").save(tmp_path / "e")
    (folder / "hncse.json").write_text('{"pooling": "first_last", "max_length": 24}')
    tiny.encoder("cls").save(folder)
    assert contents(folder) == contents(tiny.encoder("cls").save(tmp_path / "fresh"))


def test_files_links_and_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "notes.md"
    file.write_text("notes")
    (tmp_path / "to-notes").symlink_to(file)
    for place in (file, tmp_path / "to-notes", file / "below", tmp_path / "a\0b", "~nobody-of-that-name/e"):
        with pytest.raises(HncseError):
            tiny.encoder().save(place)
    assert file.read_text() == "notes"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        tiny.encoder().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "model.safetensors").is_file()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tiny.encoder().save("~/a/b/e") == tmp_path / "a" / "b" / "e"
    assert SentenceEncoder.from_pretrained("~/a/b/e").pooling == "cls"


def test_the_working_folder_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.encoder("first_last").save(tmp_path / "e")
    monkeypatch.chdir(folder)
    tiny.encoder("mean").save(".")
    assert contents(Path()) == contents(folder) == contents(tiny.encoder("mean").save(tmp_path / "fresh"))


@pytest.mark.parametrize("place", ["new", "with others"])
def test_everything_written_has_the_umasks_mode(place: str, tmp_path: Path) -> None:
    if place == "with others":
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "other").touch()
    before = os.umask(0o027)
    try:
        folder = tiny.encoder("first_last").save(tmp_path / "e")
    finally:
        os.umask(before)
    written = [p for p in folder.rglob("*") if p.name != "other"]
    assert {oct(p.stat().st_mode & 0o777) for p in written if p.is_file()} == {"0o640"}
    assert {oct(p.stat().st_mode & 0o777) for p in written if p.is_dir()} == {"0o750"}


def test_a_save_that_broke_off_is_not_loaded_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "other").touch()
    replace, calls = Path.replace, []

    def breaks(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(HncseError, match="No space left"):
        tiny.encoder().save(tmp_path / "e")
    monkeypatch.undo()
    with pytest.raises(HncseError, match="save it again"):
        SentenceEncoder.from_pretrained(tmp_path / "e")
    folder = tiny.encoder().save(tmp_path / "e")
    np.testing.assert_array_equal(SentenceEncoder.from_pretrained(folder).encode(TEXTS), tiny.encoder().encode(TEXTS))


def test_the_saved_tokenizer_does_not_cut_at_the_last_calls_length(tmp_path: Path) -> None:
    encoder = tiny.encoder()
    fresh = (encoder.save(tmp_path / "a") / "tokenizer.json").read_bytes()
    encoder.tokenize(["the cat sat on the mat"], 4)
    assert (encoder.save(tmp_path / "b") / "tokenizer.json").read_bytes() == fresh
    assert json.loads(fresh)["truncation"] is None and json.loads(fresh)["padding"] is None


def test_lora_adapters_are_refused(tmp_path: Path) -> None:
    encoder = tiny.encoder()
    encoder.backbone.peft_config = {"default": object()}
    with pytest.raises(HncseError, match="merge"):
        encoder.save(tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.encoder(seed=0).save(tmp_path / "e")
    encoder = tiny.encoder(seed=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoder.tokenizer, "save_pretrained", full)
    with pytest.raises(HncseError, match="No space left on device"):
        encoder.save(folder)
    np.testing.assert_allclose(
        SentenceEncoder.from_pretrained(folder).encode(TEXTS), tiny.encoder(seed=0).encode(TEXTS), atol=1e-6
    )
