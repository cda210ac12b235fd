"""Build the book: ``python -m book`` (`make book`) runs the notebooks, then writes one site into out/book/html.

    python -m book                       # everything: notebooks, four short trainings, all anchors of the explorer
    python -m book --draft               # notebooks as they are, without outputs, and few anchors: for looking at pages

MyST's own site builder takes its theme from a server that must be reached while building; Sphinx with MyST-NB reads
the same Markdown, comes whole from PyPI, and its pages ask no other host for anything.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat

from book import notebooks
from hncse import runs
from hncse.errors import HncseError, command
from hncse.presets import PRESETS
from tools import notebook_files, runner
from tools.notebook_files import CHECKOUT

HERE = Path(__file__).parent
TYPED = ("simcse", "hnm-no-replacement")  # whose encoders "Type a sentence" has
LOSSES = (*TYPED, "pm-intended", "pm+hnm")  # whose trainings the explorer has
_TITLES = {"Notebooks": "notebooks", "In this page": "touch", "Results": "results", "Methods": "methods"}


def trained() -> list[runs.Run]:
    """The short runs behind the pages: notebook 03's values with each of `LOSSES`; finished ones are opened at once."""
    from hncse.notebook import read_defaults
    from hncse.training import TrainingConfig, train

    (path,) = notebook_files.find(["03_train"])
    (cell,) = [c for c in notebook_files.read(path).cells if "parameters" in c.metadata.get("tags", [])]
    values = {p.name: p.default for p in read_defaults(cell.source)}
    fields = {name: value for name, value in values.items() if name in TrainingConfig.__dataclass_fields__}
    return [train(TrainingConfig.from_dict(fields | {"loss": loss})) for loss in LOSSES]


def pages(source: Path, executed: Path | None) -> None:
    """Write every page: the notebooks (executed ones from a folder, or as they are), texts, results, weights."""
    from book import results  # torch takes seconds, and --help none of it

    files = notebook_files.find()
    texts = ("GLOSSARY", "READING")
    names = {f"notebooks/{path.name}": path.name for path in files}
    names |= {f"notebooks/{name}.md": f"{name}.md" for name in texts}
    site = notebooks.Site(CHECKOUT, source, names | {
        "README.md": "index.md", "figures/decision_boundary.html": "explorer.md", "figures/circle.html": "circle.md",
    })  # fmt: skip
    glossary, reading = (
        site.links((CHECKOUT / "notebooks" / f"{name}.md").read_text(encoding="utf-8"), "notebooks") for name in texts
    )
    text, terms = notebooks.glossary(glossary)
    terms |= {f"`{name}`": f"{results.page_of(name)}.md" for name in PRESETS}
    (source / "GLOSSARY.md").write_text(results.WIDE + text, encoding="utf-8")
    (source / "READING.md").write_text(reading, encoding="utf-8")
    (source / "ideas.md").write_text(results.WIDE + _ideas(site, glossary, terms, files), encoding="utf-8")
    site.place("figures/decision_boundary.png")  # the first page shows it
    (source / "downloads").mkdir()
    for path in files:
        shutil.copyfile(path, source / "downloads" / path.name)
        copy = executed / path.name if executed else path
        if not copy.is_file():
            raise HncseError(f"{copy} is not there; `python -m tools.notebooks run` executes the notebooks")
        text = copy.read_text(encoding="utf-8").replace(str(runs.root()), "runs")  # no place on this machine is printed
        shown = notebooks.page(nbformat.reads(text, as_version=4), path.stem, site, terms)
        (source / path.name).write_text(nbformat.writes(shown), encoding="utf-8")
    made = results.write(source, source / "_shown")
    groups = {
        "notebooks": [*(path.stem for path in files), "GLOSSARY", "ideas", "READING"],
        "touch": [path.stem for path in sorted((HERE / "pages").glob("*.md")) if path.stem != "index"],
        "results": [name for name in made if name.startswith("results_")],
        "methods": [name for name in made if name.startswith("method_")],
    }
    for path in (HERE / "pages").glob("*.md"):
        shutil.copyfile(path, source / path.name)
    trees = [
        f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n" + "\n".join(groups[group]) + "\n```"
        for title, group in _TITLES.items()
    ]
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write("\n\n" + "\n\n".join(trees) + "\n")


def _ideas(site: notebooks.Site, glossary: str, terms: dict[str, str], files: Sequence[Path]) -> str:
    """README's table of ideas as a page: its words, names of code and lessons are links."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## (Paper ↔ code.*?)(?=^## )", readme, re.DOTALL | re.MULTILINE)
    if found is None:
        raise HncseError("README.md has no section 'Paper ↔ code ↔ notebook', which is a page of the book")
    names = notebooks.code_links(glossary) | {name: terms[f"`{name}`"] for name in PRESETS}

    def code(match: re.Match[str]) -> str:
        places = [names[part] for part in reversed(re.findall(r"[\w-]+", match.group())) if part in names]
        return f"[{match.group()}]({places[0]})" if places else match.group()

    def lesson(match: re.Match[str]) -> str:
        (path,) = (path for path in files if path.name.startswith(f"{match.group()}_"))
        return f"[{match.group()}]({path.name})"

    text = re.sub(r"(?<!\[)`[^`\n]+`(?!\])", code, site.links(found.group(1), ""))
    text = re.sub(r"\b(?:0\d[a-c]?|A1)\b(?=[^|\n]*\|$)", lesson, text, flags=re.MULTILINE)
    return "# " + notebooks.linked(text, terms, set())


def assets(source: Path, kept: Path, opened: Sequence[runs.Run], anchors: int | None) -> None:
    """Put beside the pages what they load: the equations' style and fonts, weights of the encoder, explorer.js."""
    from book import films, weights
    from hncse import SentenceEncoder
    from hncse.visual import circle, explorer
    from hncse.visual.study import by_loss

    dist = HERE / "node_modules" / "katex" / "dist"
    if not dist.is_dir():
        raise HncseError(f"{dist} is not there: npm ci --prefix book (needs Node.js)")
    shown = source / "_shown"
    (shown / "katex" / "fonts").mkdir(parents=True)
    shutil.copyfile(dist / "katex.min.css", shown / "katex" / "katex.min.css")
    for font in (dist / "fonts").glob("*.woff2"):
        shutil.copyfile(font, shown / "katex" / "fonts" / font.name)
    for script in (explorer.SCRIPT, circle.SCRIPT):
        shutil.copyfile(script, shown / script.name)
    weights.write(
        SentenceEncoder.from_pretrained("kit"),
        {loss: (run.name, run.load_encoder()) for loss, run in by_loss(opened).items() if loss in TYPED},
        shown / "encoder",
    )
    films.write(opened, kept, shown / "films", anchors)


def build(out: Path, executed: Path | None, opened: Sequence[runs.Run], anchors: int | None = None) -> Path:
    """Write the pages and turn them into HTML; returns the folder of the site.

    Args:
        out: Folder for the pages' sources, the films and the site.
        executed: Folder of executed notebooks; None takes them as they are.
        opened: Runs to touch, SimCSE's and HNM's among them, SimCSE's first.
        anchors: Of the explorer, at most.

    Raises:
        HncseError: A broken link inside the book, or anything else that Sphinx warns of; a folder that holds other
            things than a book.
    """
    source, site, ours = out / "source", out / "html", out / ".book"
    if out.is_dir() and any(out.iterdir()) and not ours.is_file():
        raise HncseError(f"{out} holds other things than a book; give an empty or new folder, or an earlier book's")
    out.mkdir(parents=True, exist_ok=True)
    ours.touch()
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "static", source / "_shown")
    shutil.copyfile(HERE / "conf.py", source / "conf.py")
    pages(source, executed)
    assets(source, out / "films", opened, anchors)
    sphinx = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        "-E",
        "-d",
        str(out / "doctrees"),
    ]
    if subprocess.run([*sphinx, str(source), str(site)], check=False).returncode:
        raise HncseError("the book has broken links or pages (the warnings above)")
    if subprocess.run(["node", str(HERE / "equations.mjs"), *map(str, site.glob("*.html"))], check=False).returncode:
        raise HncseError("the book has equations that KaTeX cannot read (the lines above)")
    for path in site.rglob("*.map"):  # of the theme's scripts, for who debugs them
        path.unlink()
    return site


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m book", description="Build the book into one site.")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "out" / "book", help="folder (default out/book)")
    parser.add_argument("--notebooks", type=Path, metavar="FOLDER", help="of notebooks that were executed already")
    parser.add_argument(
        "--runs", nargs="+", default=[], help="finished ones to touch, SimCSE's and HNM's among them (default: trained)"
    )
    parser.add_argument("--anchors", type=int, help="of the explorer, at most (default: all; a second and a half each)")
    parser.add_argument("--draft", action="store_true", help="notebooks without outputs, few anchors in the explorer")
    options = parser.parse_args(arguments)
    began, executed = time.monotonic(), options.notebooks
    if executed is None and not options.draft:
        executed = runs.root() / "notebooks"
        if not runner.run(notebook_files.find(), lambda line: print(line, flush=True)):  # noqa: T201
            raise HncseError("a notebook failed (the table above)")
    opened = [runs.find(name) for name in options.runs] or trained()
    site = build(options.out, executed, opened, 4 if options.draft and options.anchors is None else options.anchors)
    files = [path for path in site.rglob("*") if path.is_file()]
    largest = max((path for path in files if path.suffix == ".html"), key=lambda path: path.stat().st_size)
    sys.stdout.write(
        f"{site}: {len(list(site.glob('*.html')))} pages, {sum(p.stat().st_size for p in files) / 1e6:.1f} MB; largest "
        f"{largest.name}, {largest.stat().st_size / 1e6:.2f} MB; {(time.monotonic() - began) / 60:.1f} minutes\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
