"""Errors written for the person who reads them."""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable

__all__ = ["HncseError", "command", "unknown"]

_OUTPUT = "standard output"


class HncseError(ValueError):
    """Something the caller can put right; the message says what was wrong, what was seen, what would be right."""

    def _render_traceback_(self) -> list[str]:
        """Lines a notebook shows; IPython calls this in place of printing its own, long traceback."""
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, name: object, valid: Iterable[str]) -> HncseError:
    """Build the error for a name that does not exist, naming the nearest one that does; ``kind``: "loss preset"."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return HncseError(f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}.")


def command(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Make a function a command line that ends in one sentence, whatever its surroundings do; no traceback.

    | what happens | exit code |
    |---|---|
    | `HncseError` | 2 |
    | a file name that is too long, a full disk, no memory, a standard output that cannot be written | 1 |
    | Ctrl-C | 130 |
    | a reader that closes the pipe, as ``| head`` does | 0, quietly |

    Characters that the terminal's encoding does not have are written as ``?``. A room with something to add to any
    error, Ctrl-C included, adds a note to it (``error.add_note("the same command resumes the run")``).

    Args:
        main: Takes the arguments (None: those of the process) and returns the exit code.
    """

    @functools.wraps(main)
    def reporting(arguments: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # not a notebook's
                stream.reconfigure(errors="replace")
        try:
            try:
                return main(arguments)
            finally:
                _flush()  # what cannot be written fails here, and not when Python exits
        except HncseError as error:
            return _report(f"error: {error}", error, 2)
        except KeyboardInterrupt as error:
            return _report("interrupted", error, 130)
        except BrokenPipeError:
            _discard_output()
            return 0
        except Exception as error:
            sentence = _surroundings(error)
            if sentence is None:
                raise
            return _report(f"error: {sentence}", error, 1)

    return reporting


def _report(sentence: str, error: BaseException, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told where stderr is gone as well
        sys.stderr.write("; ".join([sentence, *getattr(error, "__notes__", ())]) + "\n")
        sys.stderr.flush()
    return code


def _surroundings(error: Exception) -> str | None:
    """Say what the machine refused, where an error is of that kind and not a mistake in the code."""
    if isinstance(error, OSError) and error.strerror:
        name = str(error.filename or "writing failed")
        if error.filename in (None, _OUTPUT):
            _discard_output()
        return f"{name if len(name) < 200 else name[:60] + ' … ' + name[-60:]}: {error.strerror}"
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or re.search("out of memory|allocate memory", first, re.IGNORECASE):
        return f"there is not enough memory; fewer sentences or a smaller batch need less ({first or 'MemoryError'})"
    if re.search("No space left|inline_container", first):  # torch's and safetensors' words for a full disk
        return f"the disk is full or cannot be written ({first})"
    return None


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = _OUTPUT
        raise


def _discard_output() -> None:
    """Let what is still to be written go nowhere, or Python complains of it again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
