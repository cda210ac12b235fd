"""Errors written for the person who reads them."""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable

__all__ = ["HncseError", "command", "unknown"]


class HncseError(ValueError):
    """Something the caller can put right; the message says what was wrong, what was seen, what would be right."""

    def _render_traceback_(self) -> list[str]:
        """Lines a notebook shows; IPython calls this in place of printing its own, long traceback."""
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, name: object, valid: Iterable[str]) -> HncseError:
    """Build the error for a name that does not exist, naming the nearest one that does.

    Args:
        kind: What the name stands for, for example ``"loss preset"``.
        name: The name that was given.
        valid: The names that exist.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return HncseError(f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}.")


def command(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """Make a command line report an `HncseError` as one line on stderr and exit code 2, without a traceback.

    A reader that closes the pipe early, as ``| head`` does, ends the command quietly.

    Args:
        main: Takes the arguments (None: those of the process) and returns the exit code.
    """

    @functools.wraps(main)
    def reporting(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments)
        except HncseError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
            return 0

    return reporting
