"""Notebooks executed in this process: the same cells in the same order as papermill's, without a kernel to start."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from tools import notebook_files


class Shown:
    """What a notebook left: ``text`` that it printed or showed as Markdown, and the data of its ``pictures``."""

    def __init__(self) -> None:
        self.text = ""
        self.pictures: list[dict[str, Any]] = []

    def add(self, captured: Any) -> None:
        self.text += captured.stdout
        for output in captured.outputs:
            self.text += output.data.get("text/markdown", "")
            self.pictures += [output.data] if "image/png" in output.data else []


@contextmanager
def shell(folder) -> Iterator[Any]:
    """An IPython shell that keeps nothing of the user's and leaves nothing behind."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config, ipython_dir=str(folder / "ipython"))
    try:
        yield made
    finally:
        InteractiveShell.clear_instance()


def run_notebook(notebook: str, folder, /, *, without: Collection[str] = (), **parameters: Any) -> Shown:
    """Run a notebook of the repository from top to bottom but for some cells; an error in a cell is raised here."""
    from IPython.utils.capture import capture_output

    (path,) = notebook_files.find([notebook])
    sources = [
        cell.source for cell in notebook_files.read(path).cells if cell.cell_type == "code" and cell.id not in without
    ]
    given = "\n".join(["# Parameters", *(f"{key} = {value!r}" for key, value in parameters.items())])
    shown = Shown()
    with shell(folder) as made:
        for source in [*sources[:2], given, *sources[2:]]:
            with capture_output() as captured:
                result = made.run_cell(source, store_history=True)
            result.raise_error()
            shown.add(captured)
    return shown
