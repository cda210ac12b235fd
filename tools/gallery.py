"""Draw figures/: the pictures that notebooks and README embed as what one should see.

python -m tools.gallery latest      # from a run of notebook 03 with its default values

figures/index.json says of every picture what it shows, the command that made it, and the run behind it.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hncse import files, runs
from hncse.errors import HncseError, command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

FOLDER = Path(__file__).resolve().parent.parent / "figures"
_MADE_BY = "python -m tools.gallery"
#: Pictures that no run stands behind, by the beginnings of their names, and the notebook that shows them.
_NOTEBOOKS = {
    "sts_table": "05_sts_table", "transfer_table": "06_transfer_table", "contrastive_": "01_contrastive_learning",
    "own_text_": "08_your_own_text", "schematic_denominator": "03_train", "schematic_mix": "04_decision_boundary",
    "schematic_": "01_contrastive_learning",
    "luck_": "07a_luck_and_verdicts", "verdicts": "07a_luck_and_verdicts", "anisotropy": "07b_paper_against_code",
    "search_terms": "07b_paper_against_code", "mask_of_zero": "07b_paper_against_code", "": "07c_the_sweep",
}  # fmt: skip
#: Parameters of the run behind a picture that the index names.
PARAMETERS = ("loss", "encoder", "corpus", "limit", "epochs", "batch_size", "batches", "learning_rate", "seed")


def draw(run: runs.Run, folder: Path | None = None) -> list[Path]:
    """Draw every picture of the gallery, and its index, from a run finished and judged as notebook 03 leaves it."""
    from hncse.visual import figures, luck, relatives, schematics

    if not run.finished:
        raise HncseError(f"run {run.name!r} is not finished; the gallery is drawn from a whole run")
    target = folder or FOLDER
    parameters = {name: value for name, value in run.config["parameters"].items() if name in PARAMETERS}
    behind = {"notebook": "03_train", "run": run.name, "key": run.config["key"], "parameters": parameters}
    path = target / "index.json"
    written, index = [], other_entries(path, _MADE_BY)
    drawn = {name: picture() for name, picture in schematics.GALLERY.items()}
    drawn |= luck.gallery_figures() | relatives.gallery_figures()
    of_run, others = _of_run(run), _of_literature() | contrastive_figures() | drawn
    for name, picture in {**of_run, **others}.items():
        written += figures.save(picture, target / name)
        about = behind if name in of_run else {"notebook": _notebook_of(name), "run": None}
        index[name] = {"alt": picture.get_label(), "made_by": f"{_MADE_BY} RUN"} | about
    files.write_json(path, {"figures": index})
    return [*written, path]


def _notebook_of(name: str) -> str:
    return next(notebook for beginning, notebook in _NOTEBOOKS.items() if name.startswith(beginning))


def other_entries(index: Path, made_by: str) -> dict[str, Any]:
    """Entries of an index.json whose pictures another command than ``made_by`` makes: they stay."""
    known = json.loads(index.read_text(encoding="utf-8"))["figures"] if index.is_file() else {}
    return {name: entry for name, entry in known.items() if not entry["made_by"].startswith(made_by)}


def _of_run(run: runs.Run) -> dict[str, Figure]:
    from hncse.data import corpora
    from hncse.evaluation import audit, probe, report
    from hncse.visual import figures

    planes = report.planes(run)
    trained = run.load_encoder()
    scores = {name: probe.evaluate(e) for name, e in report.before_and_after(run).items()}
    guards = audit.audit(trained, corpora.load("docstrings", limit=4000).sentences)
    return {
        "phenomena": figures.phenomena(scores),
        "guard_curves": figures.guard_curves(guards),
        "training_curve": figures.training_curve(run),
        "case_fractions": figures.case_fractions(run),
        "margins": figures.margins(*planes),
        "similarity_plane": figures.similarity_plane(*planes, band=run.loss_options.band),
    }


def _of_literature() -> dict[str, Figure]:
    """Figures of notebooks 05 and 06 where there are no runs yet."""
    from hncse.evaluation import literature, results, tables
    from hncse.visual import figures

    nobody = results.from_runs([])
    seeds = literature.load("seed_runs").query("backbone == 'bert-base-uncased'")["avg"]
    sts = figures.sts_figure(tables.landmarks(tables.sts_table(nobody, backbone="bert-base")), list(seeds))
    transfer = figures.transfer_figure(tables.transfer_table(nobody, backbone="bert-base"))
    return {"sts_table": sts, "transfer_table": transfer}


def contrastive_figures(**settings: Any) -> dict[str, Figure]:
    """Draw what notebooks 01 and 08 show, by name, from the embedded encoder and what is on this machine.

    The same machine draws the same pictures: seeds are fixed, nothing is downloaded, no run folder is needed.
    ``settings`` of `hncse.demonstrations.train_briefly` replace the notebooks'.
    """
    return {**_of_notebook_01(settings), **_of_notebook_08({"steps": 16} | settings)}


def _of_notebook_01(settings: dict[str, Any]) -> dict[str, Figure]:
    from hncse import demonstrations as demo
    from hncse.encoder import SentenceEncoder
    from hncse.training import TrainingConfig
    from hncse.visual import contrastive

    tau = TrainingConfig(encoder="kit").temperature or 0.05
    model = SentenceEncoder.from_pretrained("kit", device="cpu")
    z1, z2 = demo.unit_views(model, demo.EIGHT)
    cosine = (z1 @ z2.T).numpy()
    views = demo.dropout_views("kit", demo.EIGHT, demo.PROBABILITIES)
    traces = {name: demo.push_or_pull("kit", name, temperature=tau, **settings) for name in demo.OBJECTIVES}
    return {
        "contrastive_similarity": contrastive.similarity_matrix(cosine, demo.EIGHT, tau),
        "contrastive_temperature": contrastive.temperature_curves(cosine[3], 3, demo.EIGHT, tau),
        "contrastive_dropout": contrastive.dropout_cloud(*contrastive.dropout_parts(views, demo.EIGHT)),
        "contrastive_plane": contrastive.alignment_uniformity(
            {name: (t.series("alignment"), t.series("uniformity")) for name, t in traces.items()}
        ),
        "contrastive_anisotropy": contrastive.anisotropy(
            demo.spreads({"before training": model} | demo.encoders(traces))
        ),
    }


def _decoupled(z1: Tensor, z2: Tensor, tau: float) -> Tensor:
    """The loss written in notebook 08."""
    import torch
    import torch.nn.functional as F

    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / tau  # (N, N)
    positive = torch.eye(len(logits), dtype=torch.bool)
    return (logits.masked_fill(positive, -torch.inf).logsumexp(dim=1) - logits.diagonal()).mean()


def _of_notebook_08(settings: dict[str, Any]) -> dict[str, Figure]:
    from hncse import demonstrations as demo
    from hncse.data import corpora
    from hncse.demonstrations import Loss, objective
    from hncse.encoder import SentenceEncoder
    from hncse.training import TrainingConfig
    from hncse.visual import contrastive

    sentences = corpora.load("docstrings", limit=1000).sentences
    model = SentenceEncoder.from_pretrained("kit", device="cpu")
    tau = TrainingConfig(encoder="kit").temperature or 0.05
    losses: dict[str, Loss] = {"SimCSE": objective("InfoNCE", tau), "DCL": functools.partial(_decoupled, tau=tau)}
    traces = demo.side_by_side("kit", sentences, losses, **settings)
    return {
        "own_text_lengths": contrastive.corpus_lengths([len(row) for row in model.tokenize(sentences)], 32),
        "own_text_losses": contrastive.losses_compared(
            {name: trace.loss for name, trace in traces.items()},
            {name: trace.steps for name, trace in traces.items()},
            {name: trace.series("spearman") for name, trace in traces.items()},
            {name: (trace.seen[-1]["low"], trace.seen[-1]["high"]) for name, trace in traces.items()},
        ),
    }


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.gallery", description="Draw figures/ from a run.")
    parser.add_argument("run", nargs="?", default="latest", help="a run's name or folder; default: latest")
    parser.add_argument("--out", type=Path, help="folder to draw into (default: figures/ of the checkout)")
    options = parser.parse_args(arguments)
    written = draw(runs.find(options.run), options.out)
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
