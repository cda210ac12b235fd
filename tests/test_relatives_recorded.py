"""The relatives' recorded rows, their table and their pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from hncse.errors import HncseError
from hncse.evaluation import doubt, relatives, results
from hncse.presets import OWN_PRESETS
from hncse.visual import relatives as drawn


def test_every_relative_is_paired_with_simcse_at_its_own_best_temperature() -> None:
    frame = relatives.recorded()
    seeds = frame[frame["measure"] == "sts"].groupby("loss")["seed"].agg(set)
    own = seeds["simcse"]
    others = {loss: chosen for loss, chosen in seeds.items() if loss not in OWN_PRESETS}
    assert "hardness" in others and all(len(chosen & own) >= 6 for chosen in others.values())
    assert frame.groupby("loss")["group"].nunique().eq(1).all()  # one temperature each
    rows = {row["loss"]: row for row in relatives.trained().rows}
    hardness = rows["hardness"]
    assert hardness["seeds"] == "6" and "equal within ±0.5" in hardness["STS against simcse"]
    sweep = frame[frame["run"].isin(results.recorded("sweep")["run"])]
    alike = frame[frame["loss"] == "hardness"]["parameters"].iloc[0] | {"temperature": 0.1}
    simcse = sweep[sweep["loss"] == "simcse"]["parameters"].iloc[0]
    ignored = (*results.IGNORED, "loss", "loss_options")
    assert {k: v for k, v in alike.items() if k not in ignored} == {k: v for k, v in simcse.items() if k not in ignored}


def test_the_pictures_name_every_preset_and_refuse_nothing_to_draw() -> None:
    words = drawn.only_colder().get_label()
    assert all(preset in words for preset in ("hardness", "mochi", "gist", "hnm-no-replacement"))
    table = doubt.improvement(relatives.recorded(), resamples=50)
    assert "hardness" in drawn.chance(table).get_label()
    for draw in (drawn.only_colder, drawn.chance):
        with pytest.raises(HncseError):
            draw(pd.DataFrame())


def test_where_each_is_most_alike_is_recorded_along_its_own_training() -> None:
    rows = relatives.along()
    assert set(rows["stage"]) == {"start", "middle", "end"}
    assert rows["cosine"].between(0, 1.0001).all() and (rows["alike"] > 0).all()


def test_the_readme_says_of_each_relative_what_its_row_says() -> None:
    text = " ".join((Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8").split())
    said = {
        "equal": "Shown to be equal to SimCSE on STS, within half a point:", "worse": "Worse:",
        "neither": "Neither told apart nor shown to be equal:",
    }  # fmt: skip
    listed = {kind: set(re.findall(r"`([^`]+)`", text.split(words)[1].split(".")[0])) for kind, words in said.items()}
    rows = {row["loss"]: row["STS against simcse"] for row in relatives.trained().rows}
    cells = {loss: cell for loss, cell in rows.items() if loss not in OWN_PRESETS}
    worse = {loss for loss, cell in cells.items() if "worse" in cell}
    equal = {loss for loss, cell in cells.items() if "equal within" in cell}
    assert listed == {"equal": equal, "worse": worse, "neither": set(cells) - equal - worse}
    assert not any("better" in cell for cell in rows.values())
    probed = {row["loss"]: row["probe against simcse"] for row in relatives.trained().rows}
    assert {loss for loss, cell in probed.items() if "better" in cell} == {"dclr"}
    alike = relatives.along().query("stage == 'end'").set_index("preset")["alike"]
    assert set(alike[alike.between(0.09, 0.21)].index) == equal | listed["neither"] | {"dclr-as-released"}
    for preset, at in (
        ("hardness", "0.14"),
        ("hcl", "0.10"),
        ("mochi", "0.20"),
        ("focal", "0.05"),
        ("debiased", "0.44"),
    ):
        assert f"{alike[preset]:.2f}" == at and preset in text and at in text
