"""The decision boundary in motion: a GIF, and a page with slider, hover and a choice of runs that needs no kernel.

python -m tools.film                                # the runs of notebook 04, into figures/ of the checkout
python -m tools.film RUN OTHER --anchor sport-10 --out figures

Frames between two snapshots mix their embeddings in proportion; all else in a frame is computed from those.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import files, runs
from hncse.errors import HncseError, command
from tools.gallery import FOLDER, PARAMETERS, other_entries

if TYPE_CHECKING:
    from hncse.visual.film import Film

MADE_BY = "python -m tools.film"
_NAME = "decision_boundary"
_TRAINING = ("encoder", "corpus", "limit", "epochs", "batch_size", "seed", "snapshots")  # notebook 04's parameters
_DPI = 100
_HOLD = 8  # frames the first and the last picture stand


def gif(film: Film, name: str, *, frames: int = 40, milliseconds: int = 110) -> bytes:
    """Draw a film of a run as a GIF that runs in a loop, with one palette for all frames, so that they compress.

    ``frames`` are different pictures, the first and the last step included; those two are shown eight times as long.
    """
    import numpy as np
    from PIL import Image

    from hncse.visual import boundary, style

    moments = film.moments[name]
    pictures = []
    for step in np.linspace(moments[0].step, moments[-1].step, frames):
        at = film.between(name, float(step))
        drawing = boundary.picture(film, at)
        file = io.BytesIO()
        with style.styled():
            drawing.savefig(file, format="png", dpi=_DPI, facecolor="white")
        pictures.append(Image.open(file).convert("RGB"))
    palette = pictures[0].quantize(64, dither=Image.Dither.NONE)
    few = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    times = [milliseconds * (_HOLD if i in (0, frames - 1) else 1) for i in range(frames)]
    out = io.BytesIO()
    few[0].save(out, format="GIF", save_all=True, append_images=few[1:], duration=times, loop=0, optimize=True)
    return out.getvalue()


def page(film: Film) -> str:
    """An HTML page that holds everything: script, every moment of every run; nothing is fetched."""
    from hncse.visual import explorer

    return explorer.page(explorer.scenes(film), "The decision boundary while training", "run")


def draw(opened: Sequence[runs.Run], anchor: str | None, folder: Path) -> list[Path]:
    """Write decision_boundary.png, .svg, .gif and .html, and their entries of index.json; other entries stay.

    Of finished runs with snapshots strip and GIF show the first, the page all; ``anchor`` of None is
    `Study.example_group`.
    """
    from hncse.visual import boundary, style
    from hncse.visual.study import Study, by_loss

    study = Study(by_loss(opened))
    film = study.film(anchor or study.example_group())
    name = next(iter(study.runs))
    still = boundary.strip(film, name)
    written = style.save(still, folder / _NAME)
    with files.whole_file(folder / f"{_NAME}.gif", "wb") as file:
        file.write(gif(film, name))
    files.write_text(folder / f"{_NAME}.html", page(film))
    behind: dict[str, Any] = {
        "made_by": f"{MADE_BY} {' '.join(['RUN'] * len(opened))} --anchor {film.group.id}",
        "notebook": "04_decision_boundary",
        "run": opened[0].name,
        "key": opened[0].config["key"],
        "parameters": {key: value for key, value in opened[0].config["parameters"].items() if key in PARAMETERS},
    }
    words = still.get_label()
    beside = {f"{_NAME}.gif": "The same as an animation.", f"{_NAME}.html": "The same with a slider and hover."}
    entries = {_NAME: {"alt": words, "beside": beside} | behind}
    index = folder / "index.json"
    files.write_json(index, {"figures": other_entries(index, MADE_BY) | entries})
    return [*written, folder / f"{_NAME}.gif", folder / f"{_NAME}.html", index]


def _of_the_notebook() -> list[runs.Run]:
    """The runs of notebook 04 with its defaults: finished ones are opened, others trained."""
    from hncse.notebook import read_defaults
    from hncse.training import TrainingConfig, train
    from tools import notebook_files

    (path,) = notebook_files.find(["04_decision_boundary"])
    (cell,) = [c for c in notebook_files.read(path).cells if "parameters" in c.metadata.get("tags", [])]
    defaults = {p.name: p.default for p in read_defaults(cell.source)}
    shared = {name: defaults[name] for name in _TRAINING} | {"eval_every": 10_000}
    return [train(TrainingConfig(loss=loss, **shared)) for loss in defaults["losses"]]


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog=MADE_BY, description="Draw one anchor's decision boundary while training.")
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="names or folders; default: the two runs that notebook 04 trains"
    )
    parser.add_argument("--anchor", help="id of a probe group, for example sport-10; default: a telling one")
    parser.add_argument("--out", type=Path, help="folder to draw into (default: figures/ of the checkout)")
    options = parser.parse_args(arguments)
    opened = [runs.find(name) for name in options.runs] or _of_the_notebook()
    if unfinished := [run.name for run in opened if not run.finished]:
        raise HncseError(f"run {unfinished[0]!r} is not finished; train it to its end")
    sys.stdout.writelines(f"{path}\n" for path in draw(opened, options.anchor, options.out or FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main())
