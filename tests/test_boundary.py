"""Sides, mixes and pictures of a decision boundary: toy geometry, the equations, and the losses' own code."""

import dataclasses
import io
import json
import re
from itertools import combinations
from math import cos, pi, sin

import numpy as np
import pytest
import torch
from PIL import Image

from hncse import files, losses, miner, mixing, runs
from hncse.data import probe
from hncse.errors import HncseError
from hncse.visual import boundary, explorer, projection
from hncse.visual.film import KINDS, copies, mix
from hncse.visual.study import Study, by_loss
from tests import random_state
from tests.oracles import loss_oracle
from tools import film


def on_circle(*degrees):
    return np.array([[cos(d * pi / 180), sin(d * pi / 180)] for d in degrees])


def toy_groups(n=6):
    def sentences(i):
        rows = [
            ("anchor", 5, None), ("paraphrase_close", 5, None), ("paraphrase_far", 4, None),
            ("hard_negative", 2, "negation"), ("hard_negative", 2, "number"), ("hard_negative", 3, "entity"),
            ("same_topic", 1, None), ("unrelated", 0, None),
        ]  # fmt: skip
        return tuple(probe.Sentence(f"toy {i} {role} {j}", role, g, p) for j, (role, g, p) in enumerate(rows))

    return [probe.Group(f"toy-{i}", "sport", sentences(i)) for i in range(n)]


def toy_run(path, shift, loss="simcse", steps=(0, 5, 10), groups=6, **settings):
    """A finished run whose snapshots are made: the positive nears the anchor, one hard negative leaves it."""
    from safetensors.numpy import save_file

    (path / "snapshots").mkdir(parents=True)
    rng = np.random.default_rng(0)
    centre = np.repeat(np.eye(groups, 16), 8, axis=0)
    noise = rng.normal(size=centre.shape)
    far = np.tile([0, 0.5, 1.6, 0.3, 0.4, 0.6, 1.5, 2.5], groups)[:, None]
    for step in steps:
        spread = far.copy()
        spread[1::8] -= shift * step
        spread[3::8] += shift * step
        z = centre + 0.25 * spread * noise
        save_file({"embeddings": z.astype(np.float16)}, path / "snapshots" / f"step-{step:06d}.safetensors")
    parameters = dict.fromkeys(("encoder", "corpus"), "toy") | {"loss": loss, "limit": 1, "epochs": 1.0}
    parameters |= {"batch_size": 2, "learning_rate": 0.1, "seed": 0, "temperature": 0.1, "loss_options": {}} | settings
    (path / "config.json").write_text(json.dumps({"key": "0", "parameters": parameters}))
    (path / "history.jsonl").write_text("")
    (path / "result.json").write_text("{}")
    return runs.Run(path)


def quick_layout(reference, *, neighbours=12, min_dist=0.99, seed=0):
    """In place of UMAP, which takes long to compile (tests/test_projection.py has it): a seeded, linear one."""
    flat = np.asarray(reference) @ np.random.default_rng(seed + neighbours).normal(size=(len(reference[0]), 2))
    return (flat - flat.mean(axis=0)) / np.abs(flat).max()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(projection, "fit", quick_layout)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    opened = {name: toy_run(home / name, shift, name) for name, shift in (("simcse", 0.02), ("pm-intended", 0.04))}
    return Study(opened, neighbours=12, groups=toy_groups())


@pytest.mark.parametrize(
    ("degrees", "case"),
    [((0, 40, 50, 60, 80, 100, 120), "B"), ((0, 40, 42, 60, 80, 100, 120), "A"), ((0, 40, 20, 60, 80, 100, 120), "C")],
)
def test_mixes_equal_the_equations_and_the_losses(degrees, case):
    z = on_circle(*degrees) * np.linspace(1, 2, len(degrees))[:, None]  # lengths differ, as in training
    made = mix(z[0], z[1], z[2:], k=3)
    assert made.case == case
    first, second = torch.from_numpy(z[[0, *range(2, len(z))]]), torch.from_numpy(z[1:])
    # the equations, one anchor at a time
    w1, w2 = made.positive.weights
    z3 = loss_oracle.mixed_positive(first, second, 0, w1, w2, 0.1).numpy()
    assert np.allclose(np.abs(made.positive.cosine), abs(float(loss_oracle.cos(first[0], torch.from_numpy(z3)))))
    # the losses' own code, which never builds a mix
    g, excluded = mixing.gram(first, second, mixes=True), miner.excluded_pairs(len(first))
    mined = miner.mine_in_batch(g.cosine, excluded)
    a, b = mixing.mixing_weights(mined, made.positive.weights, detach=True)
    assert made.positive.cosine == pytest.approx(float(mixing.mixed_positives(g, mined.index, a, b)[0, 0]), abs=1e-10)
    pairs = mixing.draw_pairs(
        g.cosine, excluded, torch.Generator().manual_seed(0), k=3, s=99, alpha=0.5, replacement=False
    )
    drawn = mixing.hard_negative_mixes(g, pairs)
    assert np.allclose(sorted(m.cosine for m in made.negatives), sorted(drawn[0].tolist()), atol=1e-10)


def test_mixes_by_eye():
    made = mix(on_circle(0)[0], on_circle(40)[0], on_circle(60, -60, 120), k=2)
    (only,) = made.negatives
    assert only.cosine == pytest.approx(1), "the mix of 60° and -60° points at the anchor itself"
    assert made.case == "B"
    assert made.positive.weights == (1.0, 0.0)
    wrong = mix(on_circle(0)[0], on_circle(60)[0], on_circle(-30, 170))
    assert wrong.case == "C"
    assert wrong.p < wrong.positive.cosine, "in case C the mixed positive is nearer than the positive"
    p, n = cos(pi / 3), cos(pi / 6)
    assert wrong.positive.weights[1] / wrong.positive.weights[0] == pytest.approx(n / p)
    assert [m.parents for m in mix(np.ones(2), np.ones(2), on_circle(1, 2, 3)).negatives] == list(
        combinations((2, 1, 0), 2)
    )


def test_mixing_needs_two_negatives_and_finite_numbers():
    with pytest.raises(HncseError, match="two candidates"):
        mix(np.ones(2), np.ones(2), np.ones((1, 2)))
    with pytest.raises(HncseError, match="no copies"):
        mix(np.ones(2), np.ones(2), on_circle(1, 2), groups=[0, 0, 1])
    with pytest.raises(HncseError, match="NaN"):
        mix(np.ones(2), np.full(2, np.nan), on_circle(1, 2))


OPTIONS = [
    {"loss": "pm-intended", "temperature": 0.05},
    {"loss": "pm-intended", "temperature": 0.5},
    {"loss": "pm+hnm", "loss_options": {"band": 0.9, "k": 3, "s": 2, "alpha": 0.8, "objective": "cross-entropy"}},
    {"loss": "hnm-as-released", "loss_options": {"k": 4, "s": 9}, "seed": 3},
    {"loss": "hnm-no-replacement", "loss_options": {"alpha": "uniform", "seed": 5, "s": 3}, "accumulate": 2},
    {"loss": "pm-as-released", "loss_options": {"band": 2.0}, "seed": 1},
    {"loss": "pm-fixed", "loss_options": {"ratio": 0.7, "band": 5.0, "candidates": 3}},
    {"loss": "three-view", "loss_options": {"candidates": 3, "band": 3.0}},
]


@pytest.mark.parametrize("settings", OPTIONS)
def test_a_films_mixes_are_those_of_a_training_with_the_runs_own_options(tmp_path, settings):
    run = toy_run(tmp_path / "run", 0.02, **settings)
    study = Study({"run": run}, neighbours=5, groups=toy_groups())
    o = run.loss_options
    given = {"temperature": 0.1, "seed": 0} | settings | settings.get("loss_options", {})
    assert all(getattr(o, name) == value for name, value in given.items() if hasattr(o, name))
    film = study.film("toy-1")
    for moment in film.moments["run"]:
        z = torch.from_numpy(moment.embeddings)
        first, second = z[[0, *range(2, len(z))]], z[1:]
        views = {"views": 2} if o.views == 3 else {}
        loss = losses.build(
            "simcse", **dataclasses.asdict(o) | views | {"positive_mixing": o.positive_mixing or "search"}
        )
        loss.step = moment.step * settings.get("accumulate", 1)
        g, excluded = mixing.gram(first, second, mixes=True), miner.excluded_pairs(len(first))
        mined = miner.mine_in_batch(g.cosine, excluded, o.band)
        assert moment.mixes.case == "ABC"[int(mined.case[0])]
        out = loss(first, second).diagnostics
        a, b = moment.mixes.positive.weights
        if moment.mixes.case == "A":
            assert np.degrees(np.arctan2(b, a)) == pytest.approx(float(out["mix_angle"]), abs=1e-5)
        loss.step = moment.step * settings.get("accumulate", 1)
        pairs = mixing.draw_pairs(
            g.cosine, excluded, loss.generator(), k=o.k, s=o.s, alpha=o.alpha, replacement=o.replacement
        )
        drawn = mixing.hard_negative_mixes(g, pairs)
        assert np.allclose(sorted(m.cosine for m in moment.mixes.negatives), sorted(drawn[0].tolist()), atol=1e-10)
    between = film.between("run", 5.0)
    assert [m.weights for m in between.synthetic] == [m.weights for m in film.at("run", 5).synthetic]


def test_cases_are_the_miners_with_the_runs_band_also_where_p_is_nought(tmp_path):
    opened = {str(band): toy_run(tmp_path / str(band), 0.02, loss_options={"band": band}) for band in (0.0, 0.3, 5.0)}
    study = Study(opened, groups=toy_groups())
    for name in opened:
        for moment in (0, -1):
            plane = study.planes(name)[moment]
            p, n = (torch.from_numpy(plane[key]) for key in ("positive", "hardest_negative"))
            expected = ["ABC"[int(case)] for case in miner.cases(p, n, float(name))]
            assert list(study.cases(name, moment).values()) == expected
    assert len({tuple(study.cases(name).values()) for name in opened}) > 1
    z = np.concatenate([on_circle(0, 90, 10, 120, 130, 140, 0, 0)] * 6)
    z[1::8] = [0.0, 1.0]  # p is 0 to the last digit
    study.runs["0.3"] = dataclasses.replace(study.runs["0.3"], embeddings=[z, z])
    assert set(study.cases("0.3").values()) == {"B"}
    with pytest.raises(HncseError, match="unknown run"):
        study.cases("0.4")


def test_copies_of_the_anchors_sentence_are_no_negatives(tmp_path):
    groups = toy_groups()
    copy = groups[2].sentences[0].text
    rows = list(groups[3].sentences)
    rows[7] = dataclasses.replace(rows[7], text=copy)
    groups[3] = dataclasses.replace(groups[3], sentences=tuple(rows))
    film = Study({"simcse": toy_run(tmp_path / "run", 0.02)}, neighbours=40, groups=groups).film("toy-2")
    (at,) = [i for i, point in enumerate(film.points) if point.text == copy and i]
    assert copies(film.points)[at - 1] == 0
    for moment in film.moments["simcse"]:
        assert at - 2 not in {parent for m in moment.synthetic for parent in m.parents}
        assert moment.mixes.n == pytest.approx(np.delete(moment.cosine, [0, 1, at]).max())


def test_runs_of_one_loss_keep_their_names_apart(tmp_path):
    one, two, other = (
        toy_run(tmp_path / name, 0.02, loss) for name, loss in (("a", "simcse"), ("b", "simcse"), ("c", "pm+hnm"))
    )
    assert by_loss([one, other]) == {"simcse": one, "pm+hnm": other}
    assert by_loss([one, two, other]) == {"simcse (a)": one, "simcse (b)": two, "pm+hnm": other}
    with pytest.raises(HncseError, match="each run once"):
        by_loss([one, one])


def test_the_callers_random_state_is_untouched(tmp_path):
    import sklearn.manifold  # noqa: F401  some library draws while it is imported

    run = toy_run(tmp_path / "run", 0.02, "pm-as-released")
    with random_state.unchanged():
        study = Study({"run": run}, neighbours=5, groups=toy_groups())
        film = study.film("toy-0")
        boundary.strip(film, "run")
        boundary.caution(film, film.moments["run"][0])
        explorer.Explorer(study).scene()


def test_a_film_holds_the_group_first_and_exact_cosines(study):
    made = study.film("toy-2")
    assert [p.kind for p in made.points[:8]] == [
        "anchor",
        "positive",
        "hard",
        "hard",
        "hard",
        "false",
        "topic",
        "other",
    ]
    assert len(made.points) == 8 + 12
    assert all(not p.own and p.grade is None and not p.text.startswith("toy 2") for p in made.points[8:])
    for name, run in study.runs.items():
        for step, stored, moment in zip(run.steps, run.embeddings, made.moments[name], strict=True):
            z = stored[[p.row for p in made.points]]
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            assert moment.step == step
            assert np.allclose(moment.cosine, z @ z[0])
            assert moment.p == pytest.approx(moment.cosine[1])
            assert moment.mixes.n == pytest.approx(moment.cosine[2:].max())
    assert study.film("toy-2") is made


def test_runs_that_start_alike_share_their_first_map(study):
    made = study.film("toy-1")
    first, other = (made.moments[name][0] for name in study.runs)
    assert np.allclose(first.places, other.places)
    assert not np.allclose(made.moments["simcse"][-1].places, made.moments["pm-intended"][-1].places)


def test_between_snapshots_the_ends_are_the_snapshots(study):
    made = study.film("toy-0")
    first, second = made.moments["simcse"][:2]
    for at, known in ((0, first), (5, second)):
        assert np.allclose(made.between("simcse", at).places, known.places)
        assert np.allclose(made.between("simcse", at).cosine, known.cosine)
    assert made.between("simcse", 2.5).p != pytest.approx(first.p)
    assert made.at("simcse", 6).step == 5
    with pytest.raises(HncseError, match=r"unknown run 'simcs'. Did you mean 'simcse'"):
        made.at("simcs", 0)


@pytest.mark.parametrize("group", range(6))
def test_on_the_map_inside_means_nearer_than_the_positive_for_every_sentence_and_mix(study, group):
    film = study.film(f"toy-{group}")
    for moments in film.moments.values():
        for at in moments:
            radius = np.hypot(*np.concatenate([at.places, at.mix_places]).T)
            tie = boundary.angle(at.p)
            assert radius[1] == pytest.approx(tie, abs=1e-9), "the positive is on the line"
            assert at.places[1, 0] == pytest.approx(0, abs=1e-9), "straight above the anchor"
            rest = np.abs(at.all_cosines - at.p) > 1e-12
            assert np.array_equal((radius < tie)[rest], (at.all_cosines > at.p)[rest])


def test_the_drawn_circle_goes_through_the_drawn_positive(study):
    film = study.film("toy-3")
    at = film.moments["simcse"][-1]
    axes = boundary.picture(film, at).axes[0]
    circles = {round(patch.radius, 6): patch for patch in axes.patches}
    (positive,) = [line for line in axes.lines if line.get_color() == boundary.LOOKS["positive"][0]
                   and line.get_marker() == "o"]  # fmt: skip
    assert round(float(np.hypot(*positive.get_xydata()[0])), 6) in circles
    assert axes.get_aspect() == 1


def test_the_free_maps_error_is_told_for_sentences_and_mixes_apart(study):
    film = study.film("toy-3")
    at = film.moments["simcse"][-1]
    free = boundary.free_map(film, at, neighbours=5, seed=1)
    guess, m = free.surface(free.places) < boundary.angle(at.p), len(film.points)
    other = np.ones(len(guess), bool)
    other[[1, m]] = False  # the positive is on the line, and z³ may be the positive
    assert np.array_equal(free.wrong[other], (guess != (at.all_cosines > at.p))[other]) and not free.wrong[1]
    assert (free.wrong_points, free.wrong_mixes) == (free.wrong[:m].mean(), free.wrong[m:].mean())
    said = boundary.caution(film, at, free).get_label()
    assert f"{100 * free.wrong_mixes:.0f} % of the mixes" in said
    assert not np.allclose(free.places, boundary.free_map(film, at, neighbours=5, seed=2).places), "the knobs turn it"


def test_the_map_shows_what_lies_inside_its_frame(study):
    film = study.film("toy-3")
    for at in film.moments["simcse"]:
        for mixes in (True, False):
            shows = boundary.visible(film, at, mixes)
            near = boundary.angle(at.all_cosines) <= film.reach
            assert np.array_equal(shows, near & boundary.drawable(film, at, mixes))
            assert all(show for show, point in zip(shows, film.points, strict=False) if point.kind in ("hard", "false"))


def test_ruler_rows_keep_kinds_apart_and_lift_what_would_overlap():
    rows = boundary.ruler_rows(
        dict.fromkeys(("hard", "other")), ["anchor", "hard", "hard", "hard", "other"], np.array([0.0, 30, 31, 60, 30])
    )
    assert rows[0] == min(rows)
    assert len({round(r, 6) for r in rows[1:4]}) == 3, "two near ones part, the third stays in the middle"
    assert rows[4] > max(rows[1:4])


def test_pictures_say_what_they_show(study, tmp_path):
    made = study.film(study.example_group())
    last = made.moments["simcse"][-1]
    pictures = {
        "moment": boundary.moment(made, "simcse", 10),
        "strip": boundary.strip(made, "simcse", [0, 5, 10]),
        "rulers": boundary.rulers([(name, made, found[-1]) for name, found in made.moments.items()]),
        "caution": boundary.caution(made, last),
    }
    for name, picture in pictures.items():
        assert len(picture.get_label()) > 60, name
        picture.savefig(tmp_path / f"{name}.png")
    assert f"{last.p:.2f}" in pictures["moment"].get_label()
    free = boundary.free_map(made, last)
    lines = boundary.report(made, last, free)
    assert f"{100 * free.wrong_mixes:.1f} %" in lines and "trustworthiness" in lines and -1 <= free.order <= 1


def test_every_phenomenon_has_a_shape_of_its_own():
    assert set(boundary.PHENOMENON_MARKERS) == set(probe.PHENOMENA)
    assert len({str(m) for m in boundary.PHENOMENON_MARKERS.values()}) == len(probe.PHENOMENA)
    assert set(KINDS) | set(boundary.MIX_NAMES) == set(boundary.LOOKS)


def test_the_film_loops_and_the_page_needs_nothing_else(study):
    made = study.film("toy-0")
    picture = Image.open(io.BytesIO(film.gif(made, "simcse", frames=3)))
    assert (picture.n_frames, picture.info["loop"]) == (3, 0)
    text = film.page(made)
    assert not re.search(r"(src|href)=", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    steps = {name: [s["step"] for s in found] for name, found in data["scenes"].items()}
    assert steps == {name: list(run.steps) for name, run in study.runs.items()}


def test_no_sentence_gets_out_of_the_page(tmp_path):
    hostile = "</script><script>alert(1)</script><!-- <script> ]]> \u2028 & \udc80 <img src=x onerror=alert(1)>"
    groups = toy_groups()
    for i, group in enumerate(groups):
        rows = [dataclasses.replace(s, text=f"{s.text} {hostile}") for s in group.sentences]
        groups[i] = dataclasses.replace(group, sentences=tuple(rows))
    name = f"simcse {hostile}"
    made = Study({name: toy_run(tmp_path / "run", 0.02)}, neighbours=12, groups=groups).film("toy-0")
    text = film.page(made)
    text.encode("utf-8")
    assert text.count("<script") == text.count("</script") == 2 and "<img" not in text and "<!--" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    data = data["scenes"]
    assert list(data) == [name]
    assert any(hostile in line for point in data[name][0]["points"] for line in point["tip"])


def test_the_script_writes_texts_as_texts():
    script = explorer.SCRIPT.read_text(encoding="utf-8")
    assert not re.search(r"insertAdjacentHTML|outerHTML|document\.write|eval\(", script)
    for markup in re.findall(r"innerHTML = ([^;]*?);\n", script, re.S):  # constants only, save the style sheet's own
        assert re.findall(r"\$\{(\w+)", markup) in ([], ["STYLE"])
        assert markup[0] in '"`'


def test_the_command_keeps_other_entries_of_the_index(tmp_path, monkeypatch, capsys):
    run = toy_run(tmp_path / "run", 0.02, groups=6)
    monkeypatch.setattr(probe, "load", lambda path=None: toy_groups())
    monkeypatch.setattr(film, "gif", lambda made, name: b"GIF89a")
    out = tmp_path / "figures"
    files.write_json(out / "index.json", {"figures": {"other": {"made_by": "python -m else"}}})
    assert film.main([str(run.path), "--out", str(out)]) == 0
    index = json.loads((out / "index.json").read_text())["figures"]
    assert set(index) == {"other", "decision_boundary"}
    beside = index["decision_boundary"]["beside"]
    assert set(beside) == {"decision_boundary.gif", "decision_boundary.html"}
    assert all((out / name).is_file() for name in ("decision_boundary.png", "decision_boundary.svg", *beside))
    assert re.search(r"film RUN --anchor toy-\d", index["decision_boundary"]["made_by"])
    assert "decision_boundary.gif" in capsys.readouterr().out
    (run.path / "result.json").unlink()
    assert film.main([str(run.path), "--out", str(out)]) == 2
    assert "is not finished" in capsys.readouterr().err


def test_a_run_that_cannot_be_shown_says_why(study, tmp_path):
    empty = runs.Run(tmp_path)
    with pytest.raises(HncseError, match="no snapshots"):
        Study({"simcse": empty}, groups=toy_groups())
    with pytest.raises(HncseError, match="another version of the probe"):
        Study({"simcse": study.runs["simcse"]}, groups=toy_groups(4))
    with pytest.raises(HncseError, match="no runs"):
        Study({})
    for neighbours in (-1, 2.5, None, True):
        with pytest.raises(HncseError, match="whole number"):
            Study({"simcse": study.runs["simcse"]}, neighbours=neighbours, groups=toy_groups())


def test_a_run_that_diverged_says_so(tmp_path):
    from safetensors.numpy import load_file, save_file

    run = toy_run(tmp_path / "run", 0.02)
    path = run.snapshots()[1][1]
    z = load_file(path)["embeddings"]
    z[3] = np.nan
    save_file({"embeddings": z}, path)
    with pytest.raises(HncseError, match="step 5: its training diverged"):
        Study({"simcse": run}, groups=toy_groups())
