"""The pictures of figures/: drawn from a run, indexed, and each named in the committed index."""

from __future__ import annotations

import json

import pytest

from hncse.data import corpora
from hncse.encoder import SentenceEncoder
from hncse.visual import luck, style
from tests import tiny
from tests.evaluation.test_tables import fake_run
from tools import gallery
from tools.notebook_files import CHECKOUT


@pytest.mark.usefixtures("small_probe")
def test_gallery_is_drawn_from_a_run_and_refuses_an_unfinished_one(tmp_path, capsys, monkeypatch):
    """Pictures without a run have tests of their own, and `make figures` draws them all: one of each stands here."""
    sentences = corpora.from_sentences(tiny.sentences(80))
    monkeypatch.setattr(corpora, "load", lambda *_, **__: sentences)
    for module, attribute, name in (
        (gallery, "contrastive_figures", "contrastive_plane"), (luck, "gallery_figures", "luck_seeds"),
    ):  # fmt: skip
        with style.styled():
            picture, _ = style.figure(2, 2)
        picture.set_label("A square.")
        monkeypatch.setattr(module, attribute, lambda name=name, picture=picture: {name: picture})
    settings = {"epochs": 1.0, "batch_size": 8, "batches": "shuffled"}
    run = fake_run(tmp_path / "runs" / "a", encoder=str(tiny.folder(tmp_path)), **settings)
    run.write("result", run.result | {"kept_step": 2})
    tiny.encoder().save(run.encoder_path)
    config = run.config | {
        "key": "abc",
        "encoder_fingerprint": SentenceEncoder.from_pretrained(run.encoder_path).fingerprint(),
    }
    run.write("config", config)
    for step in (1, 2):
        run.log({"step": step, "loss": 1.0 / step, "case_a": 0.5, "case_b": 0.25, "case_c": 0.25, "probe": 30.0})
    assert gallery.main([str(run.path), "--out", str(tmp_path / "figures")]) == 0
    index = json.loads((tmp_path / "figures" / "index.json").read_text())["figures"]
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == set(index)
    assert {"luck_seeds", "contrastive_plane", "margins", "guard_curves", "transfer_table"} < set(index)
    assert index["luck_seeds"] == {
        "alt": "A square.", "made_by": "python -m tools.gallery RUN", "notebook": "07a_luck_and_verdicts", "run": None,
    }  # fmt: skip
    assert index["contrastive_plane"]["notebook"] == "01_contrastive_learning"
    assert index["margins"]["key"] == "abc" and index["margins"]["parameters"]["seed"] == 0
    assert "76.25" in index["sts_table"]["alt"]
    (run.path / "result.json").unlink()
    assert gallery.main([str(run.path)]) == 2
    assert "is not finished" in capsys.readouterr().err


def test_gallery_index_names_every_picture():
    folder = CHECKOUT / "figures"
    index = json.loads((folder / "index.json").read_text())
    assert {path.stem for path in folder.glob("*.png")} == set(index["figures"])
    for entry in index["figures"].values():
        assert entry["alt"] and entry["made_by"]
