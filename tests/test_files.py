"""Files written whole or not at all, paths with ~, and the hash of the kit's source."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hncse import files
from hncse.errors import HncseError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "new" / "a.json"
    files.write_json(path, {"ä": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": [1, None]}
    with pytest.raises(RuntimeError), files.whole_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": [1, None]}
    assert names(path.parent) == ["a.json"]


def test_no_number_that_json_cannot_say_is_written(tmp_path):
    with pytest.raises(HncseError, match="NaN"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_have_the_mode_of_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        files.write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~mask


def test_a_link_stays_a_link_and_a_folder_stays_a_folder(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    (tmp_path / "folder").mkdir()
    with pytest.raises(HncseError, match="folder"):
        files.write_text(tmp_path / "folder", "text")
    assert (tmp_path / "folder").is_dir()


def test_a_disk_that_refuses_is_a_sentence(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    code = (
        "import sys; from hncse import files\n"
        "try: files.write_text(sys.argv[1], 'x' * 100_000)\n"
        "except files.HncseError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.txt")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert str(tmp_path / "a.txt") in result.stdout and "File too large" in result.stdout, result.stderr
    assert (tmp_path / "a.txt").read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_only_leftovers_of_an_interrupted_write_are_swept(tmp_path):
    code = (
        "import os, sys; from hncse import files\n"
        "with files.whole_file(sys.argv[1]) as file:\n    file.write('half'); file.flush(); os._exit(9)"
    )
    target = tmp_path / "encoder" / "result.json"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(names(target.parent)) == 1 and not target.exists()
    mine = [".lock", ".gitignore", "notes-2024abcd", ".cache-deadbeef.txt", ".my-own-notes", ".venv-deadbeefs"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    swept = files.sweep(tmp_path)
    assert len(swept) == 1 and swept[0].parent == target.parent
    assert names(tmp_path) == sorted([*mine, "encoder"])


def test_home_folders_are_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.expand("~/runs") == tmp_path / "runs" and files.expand(Path("~")) == tmp_path
    assert files.expand("a/~b") == Path("a/~b")
    for wrong in ("", "~nobody-of-that-name/x", "a\0b"):
        with pytest.raises(HncseError):
            files.expand(wrong)


def test_the_source_hash_changes_with_code_only(tmp_path, monkeypatch):
    module = tmp_path / "hncse" / "toy.py"
    (tmp_path / "hncse" / "parts").mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "hncse" / "files.py"))
    module.write_text('"""What."""\n\ndef f(x):\n    """Double."""\n    return 2 * x  # twice\n')
    (tmp_path / "hncse" / "parts" / "one.py").write_text("A = 1\n")
    first = files.source_hash("toy", "parts")
    module.write_text("def f(x):\n    '''Twice as much.'''\n\n    return (2 *\n            x)\n")
    assert files.source_hash("toy", "parts") == first
    module.write_text("def f(x):\n    return 3 * x\n")
    other = files.source_hash("toy", "parts")
    (tmp_path / "hncse" / "parts" / "one.py").write_text("A = 2.0\n")
    assert len({first, other, files.source_hash("toy", "parts"), files.source_hash("parts")}) == 4
    with pytest.raises(HncseError, match="nothing"):
        files.source_hash("nothing")


def test_the_source_hash_imports_nothing():
    code = "import sys; from hncse import files; files.source_hash('losses', 'data'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
