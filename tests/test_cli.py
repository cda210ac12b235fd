"""The console command: what it lists, what it answers to a wrong word, and its own subcommand `encode`."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from hncse import cli
from hncse.encoder import SentenceEncoder
from tests import tiny

HEAVY = ["torch", "transformers", "sentence_transformers", "datasets", "matplotlib", "pandas", "sklearn", "faiss"]
HEAVY += ["peft", "onnx", "onnxruntime", "mteb"]
HELP = f"""
import sys
from hncse import cli
for name in cli.COMMANDS:
    try:
        code = cli.main([name, "--help"])
    except SystemExit as end:
        code = end.code
    print("\\0", name, code, [module for module in {HEAVY} if module in sys.modules], end="\\0")
"""


def test_help_is_cheap_and_needs_no_docstrings():
    done = subprocess.run([sys.executable, "-OO", "-c", HELP], capture_output=True, text=True, check=True)
    helps = done.stdout.split("\0")[:-1]
    assert [text.strip() for text in helps[1::2]] == [f"{name} 0 []" for name in cli.COMMANDS]
    for name, text in zip(cli.COMMANDS, helps[::2], strict=True):
        assert text.startswith(f"usage: hncse {name} ")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "hncse"], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in cli.COMMANDS)
    wrong = subprocess.run([sys.executable, "-m", "hncse", "trian"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and wrong.stdout == "" and "'train'?" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hncse 0.")


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_encode_writes_a_row_a_line_in_order(ending, tmp_path, capsys):
    sentences = [*tiny.sentences(5), "", tiny.sentences(1)[0], " a dog "]
    (tmp_path / "text.txt").write_text("\n".join(sentences) + "\n")
    folder = tiny.folder(tmp_path)
    out = tmp_path / f"vectors.{ending}"
    words = ["encode", str(folder), str(tmp_path / "text.txt"), "--out", str(out), "--normalize"]
    assert cli.main(words) == 0 and "8 × 16" in capsys.readouterr().out
    expected = SentenceEncoder.from_pretrained(folder).encode(sentences, normalize=True)
    if ending == "npy":
        got = np.load(out)
    else:
        from pyarrow import parquet

        table = parquet.read_table(out)
        assert table["sentence"].to_pylist() == sentences
        got = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_encode_reads_standard_input_and_columns(tmp_path, monkeypatch):
    folder = tiny.folder(tmp_path)
    stdin = io.TextIOWrapper(io.BytesIO(b"a cat\r\nthe dog ran"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["encode", str(folder), "--out", str(tmp_path / "a.npy")]) == 0
    (tmp_path / "t.csv").write_text("id,words\n1,a cat\n2,the dog ran\n")
    assert cli.main(
        ["encode", str(folder), str(tmp_path / "t.csv"), "--column", "words", "--out", str(tmp_path / "b.npy")]
    ) == 0  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert np.load(tmp_path / "a.npy").shape == (2, 16)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (b"a cat\n", ["--out", "x.csv"], ".npy or .parquet"),
        (b"", ["--out", "x.npy"], "no sentences"),
        (b"a cat\n\xff\n", ["--out", "x.npy"], "line 2"),
        (b"a cat\n", ["--out", "x.npy", "--column", "text"], "no column"),
    ],
)
def test_encode_refuses_what_it_cannot_write_whole(text, words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_bytes(text)
    assert cli.main(["encode", "kit", "in.txt", *words]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.glob("x.*"))
