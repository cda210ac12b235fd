"""The explorer's state, without a browser: search finds, slider and switches change what is drawn."""

import dataclasses
import json

import pytest

from hncse.errors import HncseError
from hncse.visual import explorer
from hncse.visual.explorer import Explorer
from hncse.visual.study import Study
from tests.test_boundary import quick, study, toy_groups, toy_run  # noqa: F401  the same toy runs


@pytest.fixture
def state(study):  # noqa: F811
    return Explorer(study, "toy-2")


def by_id(scene):
    return {point["id"]: point for point in scene["points"]}


def test_search_finds_words_in_any_order_and_ids(state):
    assert [name for _, name in state.options("ANCHOR 4")] == ["toy-4"]
    assert [name for _, name in state.options("toy-5")] == ["toy-5"]
    assert state.options("no such word") == []
    assert len(state.options()) == 6
    assert state.options()[0][1] == "toy-2", "what is shown stands first"


def test_search_finds_whole_words_phenomena_cases_and_who_changed_sides(tmp_path):
    groups = toy_groups(4)
    texts = ("It was noticed.", "It was not.", "Why-not asks.", "Nothing.")
    for i, text in enumerate(texts):
        rows = [dataclasses.replace(groups[i].sentences[0], text=text), *groups[i].sentences[1:]]
        if i == 3:
            rows[3] = dataclasses.replace(rows[3], phenomenon="time_order")
        groups[i] = dataclasses.replace(groups[i], sentences=tuple(rows))
    run = toy_run(tmp_path / "run", 0.02, groups=4)
    opened = Study({"simcse": run}, groups=groups, neighbours=3)
    asked = ("not", "NOTICED was", "negation", "time order", "time_order", "case A", "case b", "changed sides")
    found = {words: [g.id for g in opened.search(words)] for words in asked}
    assert found["not"] == ["toy-1"] and found["NOTICED was"] == ["toy-0"]
    assert found["negation"] == ["toy-0", "toy-1", "toy-2"]
    assert found["time order"] == found["time_order"] == ["toy-3"]
    cases = opened.cases("simcse")
    assert found["case A"] == [g for g, case in cases.items() if case == "A"]
    assert found["case b"] == [g for g, case in cases.items() if case == "B"]
    crossed = []
    for group in groups:
        film = opened.film(group.id)
        hard = [point.kind == "hard" for point in film.points]
        first, last = ((m.cosine > m.p)[hard] for m in (film.moments["simcse"][0], film.moments["simcse"][-1]))
        crossed += [group.id] if (first != last).any() else []
    assert found["changed sides"] == crossed != []
    assert [g.id for g in opened.search("changed sides it")] == [g for g in crossed if g in ("toy-0", "toy-1")]


def test_the_slider_changes_places_angles_and_the_line(state):
    before = state.scene()
    state.move(10)
    after = state.scene()
    assert (before["step"], after["step"]) == (0, 10)
    assert before["tie"] > after["tie"], "the positive came nearer"
    assert before["reach"] == after["reach"], "the map's frame stays"
    for scene in (before, after):
        for point in scene["points"]:
            assert (point["x"] ** 2 + point["y"] ** 2) ** 0.5 == pytest.approx(point["angle"], abs=2e-4)
    sentences = [i for i in by_id(before) if i.startswith("s")]
    moved = [i for i in sentences if by_id(before)[i]["angle"] != by_id(after)[i]["angle"]]
    assert len(moved) > 3
    assert any(by_id(before)[i]["x"] != by_id(after)[i]["x"] for i in moved)


def test_another_run_keeps_the_step_and_another_anchor_changes_the_sentences(state):
    state.move(10)
    first = state.scene()
    state.choose_run("pm-intended")
    second = state.scene()
    assert state.step == 10
    assert first["tie"] != second["tie"]
    assert {p["tip"][1] for p in first["points"] if p["id"][0] == "s"} == {
        p["tip"][1] for p in second["points"] if p["id"][0] == "s"
    }
    state.choose_anchor("toy-0")
    assert state.scene()["anchor"] == "toy-0"
    assert "toy 0 anchor" in state.scene()["says"]


def test_every_point_tells_sentence_role_grade_and_similarity(state):
    scene = state.scene()
    tips = {p["look"]: p["tip"] for p in scene["points"]}
    assert tips["positive"][0].startswith("positive")
    assert "toy 2 paraphrase_close" in tips["positive"][1]
    assert tips["hard:negation"][0] == "hard negative: negation"
    assert tips["hard:negation"][2] == "grade 2 of 5"
    assert tips["hard:negation"][3].startswith("similarity 0.")
    assert tips["HNM"][0].endswith("(synthetic)")
    assert all(p["look"] in scene["looks"] for p in scene["points"])
    assert scene["points"][-1]["look"] == "anchor", "drawn last, so on top"
    json.dumps(scene)


def test_mixes_can_be_hidden(state):
    assert {p["id"][0] for p in state.scene()["points"]} == {"s", "m"}
    state.mixes = False
    assert {p["id"][0] for p in state.scene()["points"]} == {"s"}


def test_what_does_not_exist_is_named(state):
    with pytest.raises(HncseError, match="unknown run 'simcsee'"):
        state.choose_run("simcsee")
    with pytest.raises(HncseError, match="unknown anchor 'toy-9'"):
        state.choose_anchor("toy-9")


def test_the_widgets_are_wired(state):
    box = explorer._widgets(state)
    above, below, picture = box.children
    (find, found, pick), (run, mixes, step) = above.children, below.children
    seen = [picture.scene]

    def changed():
        seen.append(picture.scene)
        return seen[-1] != seen[-2]

    step.value = 10
    assert changed()
    run.value = "pm-intended"
    assert changed()
    mixes.value = False
    assert changed()
    pick.value = "toy-1"
    assert changed()
    find.value = "toy-4"
    assert changed()
    assert picture.scene["anchor"] == "toy-4"
    assert (pick.value, found.value) == ("toy-4", "1 found")
    assert (step.value, run.value) == (10, "pm-intended")
    find.value = "nothing at all"
    assert picture.scene["anchor"] == "toy-4", "a search that finds nothing changes nothing"


def test_headless_shows_nothing(study, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    assert explorer.show(study) is None
    film = study.film("toy-0")
    assert explorer.knobs(film, film.moments["simcse"][0]) is None


def test_the_free_maps_knobs_draw_it_again(study, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HNCSE_HEADLESS", "0")
    film = study.film("toy-0")
    above, picture = explorer.knobs(film, film.moments["simcse"][0]).children
    before = picture.value
    above.children[2].value = 3
    assert picture.value != before and "of the mixes are on the wrong side" in before.partition("alt=")[2]
