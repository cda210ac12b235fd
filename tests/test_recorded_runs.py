"""Runs that come with the kit: complete for the pictures, small, of no machine; and the tool that makes them."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hncse import runs
from hncse.data import probe
from hncse.errors import HncseError
from hncse.evaluation.geometry import normalised
from hncse.visual import figures
from hncse.visual.study import Study, by_loss
from tools import record_run

NAMES = sorted(path.name for path in runs.RECORDED.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_run_is_ready_for_every_picture(name: str) -> None:
    run = runs.find(name)
    study = Study({name: run})
    before, after = study.planes(name)
    assert len(study.groups) == 100 and before["positive"].shape == after["positive"].shape == (100,)
    assert study.film(study.example_group()).moments[name][0].step == 0
    assert figures.training_curve(run).get_label() and figures.case_fractions(run).get_label()
    assert run.has("probe") and run.has("sts")
    for file in run.path.rglob("*.*"):
        assert file.stat().st_size < 600_000
        assert file.suffix == ".safetensors" or not re.search(
            r"(?<![\w.])/(home|root|tmp|work)/", file.read_text("utf-8")
        )


def test_positive_mixing_acts_on_a_raw_language_model() -> None:
    """Near all anchors begin in case A and end in B, and the three losses take different ways."""
    opened = by_loss([runs.find(name) for name in NAMES if name.startswith("smollm2-")])
    middle = {}
    for loss, run in opened.items():
        cases = [line for line in run.history if line.get("case_a") is not None]
        assert cases[0]["case_a"] > 0.8 > 0.2 > cases[-1]["case_a"]
        middle[loss] = next(line["case_b"] for line in cases if line["step"] == 50)
    assert len(opened) == 3 and max(middle.values()) - min(middle.values()) > 0.05


def test_a_copy_keeps_angles_and_every_nth_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RECORDED", tmp_path / "recorded")
    run = runs.Run(tmp_path / "mine")
    (run.path / "snapshots").mkdir(parents=True)
    run.write("config", {"parameters": {"loss": "simcse", "output": "/somewhere", "name": "mine"}})
    groups = probe.load()
    rows = np.random.default_rng(0).normal(1.0, 1.0, (sum(len(g.sentences) for g in groups), 64)).astype(np.float16)
    for step in (0, 3, 9):
        save_file({"embeddings": rows + np.float16(step)}, run.path / "snapshots" / f"step-{step:06d}.safetensors")
    copy = record_run.record(run, "small", moments=2, every=50)
    assert [step for step, _ in copy.snapshots()] == [0, 9] and runs.find("small").config["parameters"][
        "output"
    ] is None
    kept = np.repeat(np.arange(len(groups)) % 50 == 0, [len(g.sentences) for g in groups])
    ours, theirs = (normalised(z) for z in (copy.embeddings(copy.snapshots()[0][1]), rows[kept].astype(float)))
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 0.004
    both = Study({"small": copy, "whole": run})  # the whole run is thinned with it
    assert len(both.groups) == 10 and np.allclose(
        both.planes("small")[0]["positive"], both.planes("whole")[0]["positive"], atol=0.004
    )
    with pytest.raises(HncseError, match="small"):
        runs.find("smal")


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_a_copy_never_lands_or_deletes_elsewhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RECORDED", tmp_path / "recorded")
    (tmp_path / "recorded" / "mine").mkdir(parents=True)
    for refused in (name, "mine"):
        with pytest.raises(HncseError):
            record_run.record(runs.Run(tmp_path), refused, 2, 5)
    assert (tmp_path / "recorded" / "mine").is_dir()


def test_a_copy_has_no_weights_and_says_so() -> None:
    with pytest.raises(HncseError, match="without its weights"):
        runs.find(NAMES[0]).load_encoder()


def test_readme_says_of_recorded_runs_what_they_hold() -> None:
    text = " ".join((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split())
    simcse, pm, hnm = (runs.find(f"smollm2-{loss}") for loss in ("simcse", "pm-intended", "hnm-no-replacement"))
    averages = [f"{run.read('sts')['avg']:.2f}" for run in (simcse, pm, hnm)]
    assert "SimCSE {}, PM {}, HNM {} on STS".format(*averages) in text
    probes = [f"{run.read('probe')['spearman']:.1f}" for run in (simcse, pm, hnm)]
    assert "to {}, {} and {}".format(*probes) in text
    cases = [[line for line in run.history if line.get("case_a") is not None] for run in (simcse, pm, hnm)]
    assert {f"{100 * lines[0]['case_a']:.0f}" for lines in cases} == {"89"} and "89 % of anchors" in text
    assert min(lines[-1]["case_b"] for lines in cases) > 0.985
