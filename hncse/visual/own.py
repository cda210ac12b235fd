"""Pictures of anybody's sentences: the explorer, the similarity plane, boundaries, and a map of a whole corpus.

    from hncse.visual.own import atlas, plot
    plot(encoder, "my.csv", "folder")            # hncse plot my.csv --encoder FOLDER --out folder
    atlas(encoder, "corpus.txt", "map.parquet")  # hncse plot corpus.txt --encoder FOLDER --out folder --atlas

The file (.csv, .tsv, .jsonl or .parquet) has columns ``text`` and ``role``, and perhaps ``anchor``: the text of the
sentence's anchor. Where that is empty or missing, a row belongs to the row of role ``anchor`` above it. Roles are
``anchor``, ``positive`` (one an anchor: the boundary goes through it), ``hard``, ``false`` (it means what the anchor
means, so it is no negative), ``topic``, ``other``, the probe's names for these, and any other name: such a role is a
negative with a look and a row of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import files
from hncse.errors import HncseError, command

if TYPE_CHECKING:
    from hncse.data.probe import Group
    from hncse.visual.study import Study

__all__ = ["atlas", "main", "plot", "read", "study"]

#: What a role may be called → the probe's name of it.
ROLES = {
    "positive": "paraphrase_close", "hard": "hard_negative", "negative": "hard_negative", "false": "paraphrase_far",
    "false_negative": "paraphrase_far", "topic": "same_topic", "other": "unrelated",
}  # fmt: skip
_MOST = 12  # boundaries drawn as pictures; the page has all
_NEIGHBOURS = 15  # of a sentence in an atlas


def read(path: str | Path) -> list[Group]:
    """Read anchors and their sentences from a table; see the module for its columns and roles.

    Raises:
        HncseError: A missing column, a row without text, role or anchor, an anchor without exactly one positive or
            without a negative. The message names the line.
    """
    from hncse.data.probe import Group, Sentence

    groups: dict[str, list[Sentence]] = {}
    last = None
    for line, text, role, anchor in _rows(Path(path)):
        if role == "anchor":
            last = text
            if groups.setdefault(text, []):
                raise HncseError(f"{path}, line {line}: the anchor {text[:60]!r} stands there twice; give it once")
        name = text if role == "anchor" else anchor or last
        if name is None:
            raise HncseError(
                f"{path}, line {line}: {text[:60]!r} belongs to no anchor: no row of role anchor stands above it, and "
                "it names none in a column anchor"
            )
        members = groups.setdefault(name, [])
        if not members:
            members.append(Sentence(name, "anchor", None))  # type: ignore[arg-type]  # nobody graded it
        if role != "anchor":
            members.append(Sentence(text, ROLES.get(role, role), None))  # type: ignore[arg-type]
    if not groups:
        raise HncseError(f"{path} holds no sentences")
    for name, members in groups.items():
        _check(Path(path), name, [member.role for member in members])
    return [Group(f"{i}", "own", tuple(members)) for i, members in enumerate(groups.values(), 1)]


def _rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Line, text, role and anchor (empty where there is none) of every row that is not blank."""
    from hncse.data.readers import Bad, Tally, head, read_columns

    notes, columns = Tally(), ["text", "role", *(["anchor"] if "anchor" in head(path)[0] else [])]
    rows = list(read_columns(path, columns, notes))
    sys.stderr.writelines(f"{path}: {remark}\n" for remark in notes.lines())
    parsed = []
    for line, cells in rows:
        if bad := [str(cell) for cell in cells if isinstance(cell, (Bad, bytes))]:
            raise HncseError(f"{path}, line {line} cannot be read: {bad[0]}")
        text, role, anchor = (" ".join(str(cell).split()) for cell in (*cells, "")[:3])
        if not text and not role:
            continue
        if not text or not role:
            raise HncseError(f"{path}, line {line} has no {'role' if text else 'text'}; every row needs both")
        parsed.append((line, text, role.casefold().replace(" ", "_").replace("-", "_"), anchor))
    return parsed


def _check(path: Path, anchor: str, roles: list[str]) -> None:
    positives = roles.count("paraphrase_close")
    if positives != 1:
        raise HncseError(
            f"{path}: the anchor {anchor[:60]!r} has {positives} rows of role positive; the boundary goes through one. "
            + ("Call the others false, or by a name of your own" if positives else "Which sentence says the same?")
        )
    if not set(roles) - {"anchor", "paraphrase_close", "paraphrase_far", "same_topic", "unrelated"}:
        raise HncseError(
            f"{path}: the anchor {anchor[:60]!r} has no negative: a row of role hard, or of a name of your own"
        )


def study(encoder: Any, path: str | Path, *, neighbours: int = 32) -> Study:
    """Open a file's sentences as notebook 04 opens a run's; each anchor with ``neighbours`` sentences of other anchors.

    Raises:
        HncseError: As `read`; embeddings that are not finite; fewer than two sentences that are no positive.
    """
    import numpy as np

    from hncse.visual.study import Snapshots, Study

    groups = read(path)
    texts = [sentence.text for group in groups for sentence in group.sentences]
    if len(texts) < 4:
        raise HncseError(f"{path} holds {len(texts)} sentences; a picture needs an anchor, a positive and two more")
    z = np.asarray(encoder.encode(texts), dtype=np.float64)
    return Study({"encoder": Snapshots([0], [z])}, groups=groups, neighbours=neighbours)


def plot(encoder: Any, path: str | Path, out: str | Path) -> list[Path]:
    """Write explorer.html with every anchor, similarity_plane.png, and boundary-01.png … of the first 12 anchors.

    PNG has an SVG beside it. Texts are escaped; nothing is fetched by the page; files of these names in the folder are
    replaced. Errors as `study`; returns the files.
    """
    from hncse.visual import boundary, explorer, figures, style

    opened, folder = study(encoder, path), Path(out)
    films = [opened.film(group.id) for group in opened.groups]
    scenes = {
        f"{film.group.id}. {style.one_line(film.group.anchor, 90)}": [explorer.scene(film, film.at("encoder", 0))]
        for film in films
    }
    page = folder / "explorer.html"
    files.write_text(page, explorer.page(scenes, f"Decision boundaries: {Path(path).name}", "anchor"))
    plane = figures.similarity_plane(opened.planes("encoder")[0], band=opened.runs["encoder"].options.band)
    written = [page, *style.save(plane, folder / "similarity_plane")]
    for film in films[:_MOST]:
        picture = boundary.moment(film, "encoder", 0)
        written += style.save(picture, folder / f"boundary-{int(film.group.id):02}")
    return written


def atlas(encoder: Any, source: str | Path, out: str | Path, *, limit: int | None = None, seed: int = 0) -> Path:
    """Write a map of all sentences as a parquet that Embedding Atlas opens.

    Columns: ``x``, ``y`` (UMAP, cosine), ``text``, ``role`` (empty where there is none), ``neighbours``: rows from 0
    and cosine distances, as its option ``--neighbors`` takes them. ``source`` is a table with ``text`` and ``role``, or
    what `hncse.data.corpora.load` takes, at most ``limit`` sentences of it; ``seed`` is that of layout and sample.
    """
    import numpy as np
    import pandas as pd

    from hncse.mining.search import Nearest, unit_rows
    from hncse.visual import projection

    texts, roles = _all(source, limit, seed)
    if len(texts) < 4:
        raise HncseError(f"{source} holds {len(texts)} sentences; a map needs at least 4")
    rows = unit_rows(np.asarray(encoder.encode(texts), dtype=np.float32))
    who = np.arange(len(rows))
    near = Nearest(rows, min(_NEIGHBOURS, len(rows) - 1))
    near.add(rows, who, who)
    distance = np.maximum(1 - near.similarity, 0)
    first = np.column_stack([0 * distance[:, :1], distance]), np.column_stack([who, near.index])  # UMAP counts oneself
    flat = projection.layout(rows, *first, min_dist=0.1, seed=seed)
    neighbours = [
        {"ids": ids, "distances": apart} for ids, apart in zip(near.index.tolist(), distance.tolist(), strict=True)
    ]
    table = pd.DataFrame({"x": flat[:, 0], "y": flat[:, 1], "text": texts, "role": roles, "neighbours": neighbours})
    with files.whole_file(Path(out), "wb") as file:
        table.to_parquet(file, index=False)
    return Path(out)


def _all(source: str | Path, limit: int | None, seed: int) -> tuple[list[str], list[str]]:
    """Texts and roles; a source without a column of roles is a corpus."""
    from hncse.data import corpora, readers

    table = Path(source).is_file() and readers.format_of(Path(source)) not in (None, ".txt")
    if table and "role" in readers.head(Path(source))[0]:
        rows = _rows(Path(source))[:limit]
        return [text for _, text, _, _ in rows], [role for _, _, role, _ in rows]
    sentences = corpora.load(source, limit=limit, seed=seed).sentences
    return sentences, [""] * len(sentences)


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    from hncse.evaluation import add_pooling

    parser = argparse.ArgumentParser(
        prog="hncse plot",
        description="Draw your own sentences: an explorer page, the similarity plane, and the decision boundary.",
        epilog="FILE has columns text, role and perhaps anchor. Roles: anchor, positive (one an anchor), hard, false, "
        "topic, other, or any name of your own, which is a negative with a look of its own.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="a .csv, .tsv, .jsonl or .parquet; with --atlas any corpus")
    add("--encoder", default="kit", help="a run, 'latest', kit (default), minilm, a folder, or a Hugging Face name")
    add_pooling(parser)
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    add("--atlas", action="store_true", help="write atlas.parquet instead, a map of all sentences for Embedding Atlas")
    add("--limit", type=int, help="with --atlas: sentences of a corpus at most")
    options = parser.parse_args(arguments)
    if not options.atlas:
        groups = read(options.file)  # what is wrong with the file is said before an encoder is loaded
    from hncse.evaluation import open_encoder

    encoder, _ = open_encoder(options.encoder, options.pooling)
    if options.atlas:
        path = atlas(encoder, options.file, options.out / "atlas.parquet", limit=options.limit)
        line = f"embedding-atlas {path} --text text --x x --y y --neighbors neighbours"
        sys.stdout.write(f"{path}\nopen it with: {line}\n")
        return 0
    sys.stdout.writelines(f"{path}\n" for path in plot(encoder, options.file, options.out))
    if len(groups) > _MOST:
        sys.stdout.write(f"pictures of the first {_MOST} of {len(groups)} anchors; explorer.html has all\n")
    return 0
