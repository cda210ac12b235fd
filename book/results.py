"""Pages of results: the kit's own tables, whole, with every published row, and a page for each method.

Tables come from `hncse.evaluation.tables`, figures from `hncse.visual`; nothing is computed here. ``static/tables.js``
sorts and filters them in the page.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hncse import miner, mixing
from hncse.data.text import html, markdown
from hncse.evaluation import results, tables
from hncse.losses import guide, relatives
from hncse.presets import DESCRIPTIONS, PRESETS, LossOptions
from tools.notebook_files import CHECKOUT, repository

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EQUATIONS", "page_of", "write"]

#: Begins a page that needs the whole width.
WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n"
#: What each preset minimises, LaTeX.
EQUATIONS: dict[str, str] = {
    name: equation
    for names, equation in tomllib.loads((Path(__file__).parent / "equations.toml").read_text("utf-8")).items()
    for name in names.split()
}
#: Option that a preset changes → the code that acts on it, and the module it stands in.
_CODE: dict[str, tuple[Any, ModuleType]] = {
    "positive_mixing": (mixing.mixing_weights, mixing),
    "hard_negative_mixing": (mixing.hard_negative_mixes, mixing),
    "mixed_negative": (relatives.neighbour_mix, relatives),
    **dict.fromkeys(("anchor_mixes", "extrapolations"), (relatives.anchor_mixes, relatives)),
    "noise": (relatives.noise_negatives, relatives),
    "mixes_of": (relatives.all_mixes, relatives),
    **dict.fromkeys(("guide_above", "guide_margin"), (guide.false_negatives, guide)),
    **dict.fromkeys(
        ("hardness", "focal", "angular_margin", "orthogonality", "denominator"), (relatives.objective, relatives)
    ),
}
_INTRODUCTIONS = {
    "sts": "Seven tasks, Spearman × 100. Ours first, then the same encoders untrained, then every published row.",
    "transfer": "Seven tasks, accuracy × 100 of a linear classifier on frozen embeddings.",
    "probe": "The kit's own probe: does a paraphrase outrank hard negatives?",
    "dev": "For choosing, not for reporting: the split by which weights and temperatures are picked.",
    "tuned": "Each method at its own best temperature, chosen on dev and then read on test.",
}
_NAMES = {
    "sts": "STS", "transfer": "Transfer", "probe": "The probe", "dev": "Development scores", "tuned": "At their best",
}  # fmt: skip


def write(folder: Path, shown: Path) -> list[str]:
    """Write the pages of results and of methods.

    Args:
        folder: Of the pages.
        shown: Of the pictures that pages show.

    Returns:
        Names of the pages of results, then those of methods, without ending.
    """
    frames = {name: results.recorded(name) for name in results.RECORDED}
    made = tables.everything(frames["sweep"], published="all")
    pages = {f"results_{t.name}": _page(t, _NAMES[t.name], _INTRODUCTIONS[t.name]) for t in made}
    pages["results_forest"] = _forest(frames, shown)
    ours = {name: tables.everything(frame, published="none") for name, frame in frames.items()}
    pages |= {page_of(name): _method(name, ours) for name in PRESETS}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return list(pages)


def _page(table: tables.Table, name: str, introduction: str) -> str:
    """A table with its caption as a paragraph: beside a wide table it would run out of sight."""
    shown = dataclasses.replace(table, caption=name)
    rows = f"[`sweep.csv`]({repository()}/blob/main/hncse/data/results/sweep.csv)"
    ours = (
        f"Ours: {rows}, printed by `hncse tables --csv sweep.csv`. A published row's number leads to its source: "
        "a paper, a repository or an issue, with the commit that was read."
    )
    return f"{WIDE}# {name}\n\n{introduction} {ours}\n\n{_html(shown)}\n{markdown(table.caption)}\n"


def _html(table: tables.Table) -> str:
    """A table of the kit as raw HTML, the number of a source linked to it; Markdown inside stays as it is."""
    text = re.sub(r"<sup>(\d+)</sup>", rf'<sup><a href="#{table.name}-source-\1">\1</a></sup>', table.to_html())
    count = itertools.count(1)
    text = re.sub("<li>", lambda _: f'<li id="{table.name}-source-{next(count)}">', text)
    return f"```{{raw}} html\n<div class='scores' tabindex='0'>\n{text}</div>\n```\n"


def _forest(frames: Mapping[str, pd.DataFrame], shown: Path) -> str:
    """Differences from SimCSE with their intervals, of every file of recorded runs that has some."""
    from hncse.visual import differences, style

    parts = [
        WIDE + "# Differences from SimCSE",
        "Paired by seed, with 95 % intervals and verdicts after Holm's correction.",
    ]
    for name, frame in frames.items():
        effects = differences.effects(frame, measures=("sts", "transfer", "probe", "stsb-dev"))
        if not len(effects):
            continue
        picture = differences.forest(effects)
        style.save(picture, shown / f"forest_{name}")
        (shown / f"forest_{name}.png").unlink()
        rows = f"<a href='{repository()}/blob/main/hncse/data/results/{name}.csv'>{name}.csv</a>"
        image = f"<img loading='lazy' src='_static/forest_{name}.svg' alt=\"{html(picture.get_label())}\">"
        caption = f"<figcaption>{len(effects)} differences; the rows are {rows}.</figcaption>"
        drawn = f"<figure class='forest' tabindex='0'>{image}{caption}</figure>"
        parts.append(f"## Runs of `{name}.csv`\n\n```{{raw}} html\n{drawn}\n```")
    return "\n\n".join(parts) + "\n"


def page_of(preset: str) -> str:
    """Name of a preset's page, without ending."""
    return "method_" + preset.replace("+", "-and-")


def _method(name: str, ours: Mapping[str, list[tables.Table]]) -> str:
    """A method's page: what it minimises, the options that make it, the code behind them, its recorded runs."""
    options = PRESETS[name].changed()
    parts = [
        f"# {name}",
        DESCRIPTIONS[name][0].upper() + DESCRIPTIONS[name][1:] + ".",
        "## Equation",
        f"$$\n{EQUATIONS[name]}\n$$" if name in EQUATIONS else "",
    ]
    parts.append("Signs: the [glossary](GLOSSARY.md).")
    described = {f.name: f.metadata["help"] for f in dataclasses.fields(LossOptions)}
    rows = [f"| `{option}` | `{value!r}` | {described[option]} |" for option, value in options.items()]
    parts += [
        "## Options",
        "\n".join(["| option | value | meaning |", "|---|---|---|", *rows]) if rows else "All at their defaults.",
    ]
    parts += [f'```python\nloss = hncse.losses.build("{name}")\n```', "## Code", *_code(options)]
    return "\n\n".join([*parts, "## Runs", *_runs(name, ours)]) + "\n"


def _code(options: Iterable[str]) -> list[str]:
    """The functions that act on these options, each with its place."""
    found: dict[Callable[..., Any], ModuleType] = dict(_CODE[o] for o in options if o in _CODE)
    parts = []
    for function, module in (found or {miner.mine_in_batch: miner}).items():
        lines, start = inspect.getsourcelines(function)
        path = Path(inspect.getfile(module)).relative_to(CHECKOUT).as_posix()
        parts.append(f"[`{path}`]({repository()}/blob/main/{path}#L{start})\n\n```python\n{''.join(lines)}```")
    return parts


def _runs(name: str, ours: Mapping[str, list[tables.Table]]) -> list[str]:
    """Its rows in the tables of every file of recorded runs."""
    parts = []
    for of, made in ours.items():
        for table in made:
            rows = [row for row in table.rows if row.get("loss") == name]
            if rows and table.name in ("sts", "transfer", "probe", "dev"):
                title = _NAMES[table.name]
                few = dataclasses.replace(table, rows=rows, name=f"{table.name}-{of}", notes=[], caption=title)
                parts.append(f"### {title}, `{of}.csv`\n\n{markdown(table.caption)}\n\n{_html(few)}")
    guided = " --guide minilm" if PRESETS[name].needs_guide else ""
    return parts or [f"No run of ours is recorded here yet: train one with `hncse train --loss {name}{guided}`."]
