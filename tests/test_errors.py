"""Command lines end in one sentence and a known exit code, whatever terminal, disk or reader they meet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hncse.errors import HncseError, unknown

SCRIPT = """
import sys
from pathlib import Path
from hncse.errors import HncseError, command

@command
def main(arguments):
    {body}
    return 0

sys.exit(main(sys.argv[1:]))
"""
WORDS = "print('τ = 0.05 ± 0.01 … ✓ − 語 \\udcff')"


def start(body: str, *arguments: str, env: dict[str, str] | None = None, **options) -> subprocess.Popen:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": os.environ | (env or {})} | options
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8", delete=False) as script:
        script.write(SCRIPT.format(body=body))
    return subprocess.Popen([sys.executable, script.name, *arguments], **options)


def end(body: str, *arguments: str, **options) -> tuple[int, bytes, list[str]]:
    process = start(body, *arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out or b"", err.decode(errors="replace").splitlines()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "ascii:surrogateescape", "utf-8"])
def test_every_encoding_of_the_terminal_is_written_to(encoding):
    code, out, err = end(WORDS, env={"PYTHONIOENCODING": encoding})
    assert (code, err) == (0, []) and b"= 0.05" in out
    code, _, err = end("raise HncseError('τ is 0')", env={"PYTHONIOENCODING": encoding})
    assert code == 2 and len(err) == 1 and err[0].endswith("is 0")


def test_a_posix_locale_is_written_to():
    code, out, err = end(WORDS, env={"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert (code, err) == (0, []) and b"? = 0.05 ? 0.01" in out


@pytest.mark.parametrize("body", ["print('one')", "print('many ' * 100_000)", "sys.stdout.write('x'); sys.exit(0)"])
def test_a_full_standard_output_is_one_sentence(body):
    with Path("/dev/full").open("w") as full:
        code, _, err = end(body, stdout=full)
    assert code == 1 and len(err) == 1 and err[0].endswith("No space left on device")


def test_a_closed_pipe_ends_quietly():
    process = start("print('many ' * 1_000_000)")
    process.stdout.close()
    assert process.wait(60) == 0 and process.stderr.read() == b""


def test_ctrl_c_is_one_line_with_what_a_room_adds():
    body = """
    signal = __import__("signal")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    try:
        print("ready", flush=True)
        __import__("time").sleep(60)
    except KeyboardInterrupt as stop:
        stop.add_note("the same command goes on from step 40")
        raise"""
    process = start(body)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode() == "interrupted; the same command goes on from step 40\n"


@pytest.mark.parametrize(
    "body",
    [
        "Path(arguments[0]).read_text()", "Path(arguments[0]).is_file()", "Path(arguments[0]).mkdir(parents=True)",
        "raise MemoryError", "raise OSError(28, 'No space left on device', 'weights')",
        "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried to allocate 9 bytes')",
        "raise RuntimeError('[enforce fail at inline_container.cc:664]')",
    ],
)  # fmt: skip
def test_what_the_machine_refuses_is_one_sentence(body):
    code, _, err = end(body, "n" * 5000)
    assert code == 1 and len(err) == 1 and err[0].startswith("error: ") and len(err[0]) < 300


def test_a_mistake_in_the_code_keeps_its_traceback():
    code, _, err = end("raise RuntimeError('a defect')")
    assert code == 1 and err[0].startswith("Traceback") and err[-1] == "RuntimeError: a defect"


def test_an_unknown_name_is_answered_with_the_nearest():
    error = unknown("loss preset", "simsce", ["simcse", "three-view"])
    assert isinstance(error, HncseError) and "'simcse'?" in str(error) and "three-view" in str(error)
    assert "Did you mean" not in str(unknown("loss preset", "zzzz", ["simcse"]))
