"""Pictures hold the data they were given: axes are read, not pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hncse.errors import HncseError
from hncse.evaluation import results, statistics, tables
from hncse.runs import Run
from hncse.visual import figures, style
from tests.evaluation.test_tables import fake_run


def history(path, n=4, stsb=True, loss=True) -> Run:
    run = Run(path)
    run.path.mkdir(parents=True)
    for i in range(n + 1):
        scores = {"probe": 40.0 + i} | ({"stsb_dev": 60.0 + i} if stsb else {})
        run.log({"step": 10 * i} | scores)
        if i and loss:
            run.log({"step": 10 * i, "loss": 5.0 / i, "case_a": 0.5, "case_b": 0.1 * i, "case_c": 0.5 - 0.1 * i})
    return run


def line(axes, index=0):
    return [list(values) for values in axes.lines[index].get_data()]


def plane(positive, hardest):
    return {"positive": np.array(positive), "hardest_negative": np.array(hardest)}


BEFORE = plane([0.90, 0.95, 0.90, 0.92], [0.95, 0.94, 0.95, 0.93])
AFTER = plane([0.80, 0.70, 0.60, 0.90], [0.40, 0.69, 0.80, 0.10])


def test_training_curve_draws_loss_and_scores(tmp_path):
    made = figures.training_curve(history(tmp_path / "r"))
    loss, scores = made.axes
    assert line(loss) == [[10, 20, 30, 40], [5.0, 2.5, pytest.approx(5 / 3), 1.25]]
    assert line(scores, 0) == [[0, 10, 20, 30, 40], [40, 41, 42, 43, 44]]
    assert line(scores, 1) == [[0, 10, 20, 30, 40], [60, 61, 62, 63, 64]]
    assert {text.get_text() for text in scores.texts} == {"probe", "STS-B dev"}
    assert "Loss: 5 at step 10, 1.25 at step 40" in made.get_label()


def test_training_curve_marks_the_step_that_was_kept(tmp_path):
    run = history(tmp_path / "r", stsb=False)
    run.write("result", {"kept_step": 20})
    scores = figures.training_curve(run).axes[1]
    assert any("step 20" in text.get_text() for text in scores.texts)
    assert "STS-B dev" not in {text.get_text() for text in scores.texts}


def test_training_curve_of_a_run_that_has_just_begun(tmp_path):
    run = Run(tmp_path / "r")
    with pytest.raises(HncseError, match="no logged steps"):
        figures.training_curve(run)
    run.path.mkdir()
    run.log({"step": 0, "probe": 30.0})
    assert line(figures.training_curve(run).axes[1]) == [[0], [30.0]]
    run.log({"step": 10, "loss": float("nan")})
    style.png(figures.training_curve(run))  # a diverged run still has a picture


@pytest.mark.parametrize("n", [1, 4])
def test_case_fractions_stack_to_a_hundred(tmp_path, n):
    made = figures.case_fractions(history(tmp_path / "r", n=n))
    (axes,) = made.axes
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in axes.collections]
    assert tops[-1] == pytest.approx(100)
    assert tops[0] == pytest.approx(40)  # C at its largest, at the bottom
    assert {text.get_text()[0] for text in axes.texts} == {"A", "B", "C"}
    assert "C: on the wrong side 40 % to" in made.get_label()


def test_case_fractions_need_cases(tmp_path):
    with pytest.raises(HncseError, match="logged no cases"):
        figures.case_fractions(history(tmp_path / "r", loss=False))


def test_similarity_plane_draws_every_group_in_its_case():
    made = figures.similarity_plane(BEFORE, AFTER)
    for axes, given in zip(made.axes, (BEFORE, AFTER), strict=True):
        points = {c.get_label(): c.get_offsets().tolist() for c in axes.collections if c.get_label() in "ABC"}
        expected = {"A": [], "B": [], "C": []}
        for p, n in zip(given["positive"], given["hardest_negative"], strict=True):
            expected["C" if p <= n else "A" if (p - n) / p <= 0.1 else "B"].append([n, p])
        assert points == expected
        x, y = line(axes)
        assert x == y  # the decision boundary
    assert made.axes[0].get_xlim() == made.axes[1].get_xlim() == made.axes[0].get_ylim()
    assert "After, A, near the boundary (shaded): 25 %,  B: 50 %,  C: 25 %" in made.get_label()


@pytest.mark.parametrize("band", [0.0, 0.5, 1.0, 2.0])
def test_similarity_plane_takes_the_runs_band(band):
    given = plane([0.9, 0.8, 0.6, 0.5, 0.4], [0.95, 0.79, 0.4, -0.1, -0.7])
    made = figures.similarity_plane(given, given, band)
    expected = ["C" if p <= n else "A" if (p - n) / p <= band else "B" for p, n in zip(*given.values(), strict=True)]
    for axes in made.axes:
        points = {c.get_label(): len(c.get_offsets()) for c in axes.collections if c.get_label() in "ABC"}
        assert points == {case: expected.count(case) for case in "BAC"}
        shaded = [c for c in axes.collections if c.get_label() not in "ABC"]
        for p, n, case in zip(*given.values(), expected, strict=True):
            assert (case == "A") == any(area.get_paths()[0].contains_point((n, p)) for area in shaded)


def test_margins_put_zero_on_an_edge_and_count_every_group():
    made = figures.margins(BEFORE, AFTER)
    for axes, ahead in zip(made.axes, (25, 75), strict=True):
        bars = axes.patches
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        right = sum(bar.get_height() for bar in bars if bar.get_x() >= -1e-9)
        assert right == pytest.approx(ahead)
        assert not any(bar.get_x() < -1e-9 < 1e-9 < bar.get_x() + bar.get_width() for bar in bars)


def test_cases_agree_with_the_miner_on_odd_values():
    p, n = np.array([0.5, -0.1, 0.0, 0.5, 0.5]), np.array([0.5, -0.2, -0.1, 0.45, 0.449])
    assert figures.cases(p, n).tolist() == ["C", "A", "B", "A", "B"]


def test_sts_figure_draws_dots_intervals_and_seeds(tmp_path):
    runs = [fake_run(tmp_path / f"a{seed}", seed=seed, score=60.0 + 2 * seed, baseline=40.0) for seed in range(2)]
    runs.append(fake_run(tmp_path / "b", loss="simcse", score=50.0))
    table = tables.landmarks(tables.sts_table(results.from_runs(runs), backbone="bert-base"))
    made = figures.sts_figure(table, seeds=[74.0, 75.0, 76.0])
    (axes,) = made.axes
    xs = [list(drawn.get_xdata()) for drawn in axes.lines]
    mean, half = statistics.t_interval([60.0, 62.0])
    assert [mean - half, mean + half] in xs and [mean] in xs and [50.0] in xs and [74.0, 75.0, 76.0] in xs
    assert [76.25] in xs and xs.count([40.0]) == 2
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert "hnm-no-replacement, kit, cls, 2 seeds" in labels and "simcse, kit, cls, 1 seed" in labels
    assert "unsupervised SimCSE, bert-base, 3 seeds" in labels
    assert labels.count("kit, cls") == 1 and labels.count("kit, mean") == 1  # under the heading "Untrained"
    assert "Yours: simcse 50.00, hnm-no-replacement 61.00" in made.get_label()
    (single,) = (drawn for drawn in axes.lines if list(drawn.get_xdata()) == [50.0])
    assert single.get_markerfacecolor() == "white"  # one seed: hollow


def test_sts_figure_of_nothing():
    with pytest.raises(HncseError, match="no rows"):
        figures.sts_figure(tables.sts_table(results.from_runs([]), published=False))


def test_labels_never_overlap():
    placed = style.spread([1.0, 1.05, 1.1, 9.9], gap=1.0, low=0.0, high=10.0)
    assert np.diff(sorted(placed)).min() >= 1.0 - 1e-9 and placed[3] == 9.9
    tight = style.spread([10.0, 10.0, 10.0], gap=1.0, low=0.0, high=10.0)
    assert sorted(tight) == [8.0, 9.0, 10.0]


def test_saving_is_whole_and_repeatable(tmp_path):
    paths = figures.save(figures.margins(BEFORE, AFTER), tmp_path / "figures" / "m")
    assert [path.name for path in paths] == ["m.png", "m.svg"]
    first = [path.read_bytes() for path in paths]
    assert first == [p.read_bytes() for p in figures.save(figures.margins(BEFORE, AFTER), tmp_path / "figures" / "m")]
    assert first[0].startswith(b"\x89PNG") and sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "m.png",
        "m.svg",
    ]
    (tmp_path / "file").write_text("")
    with pytest.raises(HncseError, match="could not be written"):
        figures.save(figures.margins(BEFORE, AFTER), tmp_path / "file" / "m")


def test_file_names_keep_their_dots(tmp_path):
    pictures = figures.margins(BEFORE, AFTER), figures.margins(AFTER, BEFORE)
    for name, picture in zip(("tau_0.1", "tau_0.2"), pictures, strict=True):
        figures.save(picture, tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {"tau_0.1.png", "tau_0.1.svg", "tau_0.2.png", "tau_0.2.svg"}
    assert (tmp_path / "tau_0.1.png").read_bytes() != (tmp_path / "tau_0.2.png").read_bytes()
    assert [p.name for p in style.save(pictures[0], tmp_path / "v1.2" / "a.png")] == ["a.png", "a.svg"]


@pytest.mark.parametrize("name", ["../stray", "deep/er", "..", "", "C:\\x"])
def test_a_picture_stays_in_its_runs_folder(tmp_path, name):
    run = history(tmp_path / "runs" / "r")
    with pytest.raises(HncseError, match="plain file name"):
        style.show(figures.margins(BEFORE, AFTER), name, "alt", "caption", run=run)
    assert not list(tmp_path.rglob("*.png"))


#: A name that mathtext cannot parse, that would end a comment and begin a script, with two lines and half a character.
HOSTILE = "$\\frac{ $x_1$ --><script>alert(1)</script>\n\udc80 &amp;"


def _hostile_pictures():
    from hncse.demonstrations import DropoutViews
    from hncse.evaluation.defects import Comparison
    from hncse.evaluation.temperature import Match
    from hncse.visual import contrastive, defects, pretraining

    two, cloud = np.array([[0.9, 0.2], [0.1, 0.8]]), np.random.default_rng(0).normal(size=(4, 2, 8))
    views = [DropoutViews(q, cloud, 0.9, 0.2) for q in (0.1, 0.3)]
    entry = {"value": 60.0, "interval": None}
    row = {"name": HOSTILE, "probe": 30.0, "probe_interval": [29.0, 31.0], "stsb_dev": None}
    match = Match(HOSTILE, 0.1, np.array([0.1, 0.2]), np.array([0.9, 0.8]), 0.1, 0.0, 1.0)
    yield contrastive.similarity_matrix(two, [HOSTILE, "b"], 0.1)
    yield contrastive.temperature_curves([0.9, 0.2, 0.1], 0, [HOSTILE] * 3, 0.1)
    yield contrastive.dropout_cloud(*contrastive.dropout_parts(views, [HOSTILE, "b"], shown=2))
    yield contrastive.alignment_uniformity({HOSTILE: ([0.5, 0.1], [-3, -1])})
    yield contrastive.anisotropy({HOSTILE: ([0.1, 0.3], [0.8, 0.9])})
    yield contrastive.losses_compared({HOSTILE: [3.0, 1.0]}, {HOSTILE: [0, 2]}, {HOSTILE: [30, 31]})
    yield pretraining.loss_curves({HOSTILE: np.array([[0.0, 5], [10, 3]])}, 6.0)
    yield pretraining.attention_curves({HOSTILE: (np.array([0.1, 9]), np.array([1.0, 2]))})
    yield pretraining.stages_figure([row])
    yield defects.anisotropy_figure([0.0, 1.0], [[Comparison(HOSTILE, 1.0, (0, 1, 0), 1.0, 1.0, 1.0)]] * 2)
    yield defects.colder_figure([match])
    yield figures.phenomena(
        {HOSTILE: {"phenomena": {"negation": {"close": entry}}, "triplet_accuracy": {"close": entry}}}
    )


def test_names_and_sentences_are_drawn_as_they_are_never_as_formulas_or_markup(tmp_path):
    for i, picture in enumerate(_hostile_pictures()):
        _, svg = style.save(picture, tmp_path / str(i))
        text = svg.read_text(encoding="utf-8")
        assert "<script" not in text and "alert(1)<" not in text, i
        drawn = "".join(text.get_text() for text in picture.findobj(lambda artist: hasattr(artist, "get_text")))
        assert "frac" in drawn, i


def test_plain_text_is_one_line():
    assert style.one_line("a\tb\nc\x00d\u2028e \udc80") == "a b cd e ?"
    assert style.one_line("abcdef", 4) == "abc…" and style.one_line("abcd", 4) == "abcd"


def test_logarithmic_axes_have_plain_numbers(tmp_path):
    from hncse.visual import defects

    made = defects.presets_figure({"a": history(tmp_path / "a"), "b": history(tmp_path / "b", n=9)})
    made.draw_without_rendering()
    labels = [t.get_text() for t in (*made.axes[0].get_yticklabels("both"),) if t.get_text()]
    assert labels and all(float(label) > 0 for label in labels)


def _refused():
    from hncse.visual import contrastive, defects, pretraining

    nan, runs = float("nan"), {f"r{i}": None for i in range(9)}
    yield lambda: figures.similarity_plane(plane([], []), plane([], []))
    yield lambda: figures.similarity_plane(BEFORE, plane([0.5, nan], [0.1, 0.2]))
    yield lambda: figures.margins(plane([], []), AFTER)
    yield lambda: figures.margins(plane([nan], [0.1]), plane([0.1], [0.1]))
    yield lambda: contrastive.similarity_matrix([[1.0]], ["one"], 0.1)
    yield lambda: contrastive.similarity_matrix([[1.0, nan], [0.1, 1.0]], ["one", "two"], 0.1)
    yield lambda: contrastive.similarity_matrix(np.eye(3), ["one", "two"], 0.1)
    yield lambda: contrastive.similarity_matrix(np.eye(2), ["one", "two"], 0.0)
    yield lambda: contrastive.similarity_matrix([], [], 0.1)
    yield lambda: contrastive.temperature_curves([0.9], 0)
    yield lambda: contrastive.temperature_curves([0.9, 0.1], 2)
    yield lambda: contrastive.temperature_curves([0.9, nan], 0)
    yield lambda: contrastive.dropout_cloud({}, ["a"], {"probability": [0.1], "p": [1], "n": [0]})
    yield lambda: contrastive.dropout_cloud({0.1: np.zeros((2, 8, 2))}, list("abcdefgh"), {})
    yield lambda: contrastive.alignment_uniformity({})
    yield lambda: contrastive.alignment_uniformity({str(i): ([0.5], [-1.0]) for i in range(8)})
    yield lambda: contrastive.alignment_uniformity({"a": ([nan], [-1.0])})
    yield lambda: contrastive.anisotropy({})
    yield lambda: contrastive.anisotropy({"a": ([], [])})
    yield lambda: contrastive.losses_compared({}, {}, {})
    yield lambda: contrastive.losses_compared({"a": [nan]}, {"a": [0]}, {"a": [1.0]})
    yield lambda: contrastive.losses_compared(*({str(i): [1.0] for i in range(8)},) * 3)
    yield lambda: pretraining.loss_curves({}, 6.0)
    yield lambda: pretraining.loss_curves({str(i): np.ones((2, 2)) for i in range(5)}, 6.0)
    yield lambda: pretraining.attention_curves({})
    yield lambda: defects.anisotropy_figure([], [])
    yield lambda: defects.presets_figure(runs)


@pytest.mark.parametrize("draw", _refused())
def test_what_cannot_be_drawn_whole_is_refused_in_a_sentence(draw):
    with pytest.raises(HncseError) as error:
        draw()
    assert len(str(error.value).split()) > 5


def test_show_gives_words_to_those_who_cannot_see(tmp_path, monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    run = history(tmp_path / "r")
    figures.show(figures.margins(BEFORE, AFTER), "margins", alt='shares "before" & after', caption="Look.", run=run)
    assert 'alt="shares &quot;before&quot; &amp; after"' in shown[0]["text/html"]
    assert shown[0]["text/plain"] == 'shares "before" & after Look.'
    assert (run.path / "figures" / "margins.png").is_file()


def test_readers_own_settings_stay():
    import matplotlib as mpl

    before = mpl.rcParams["axes.titlesize"], mpl.rcParams["font.size"]
    style.png(figures.margins(BEFORE, AFTER))
    assert (mpl.rcParams["axes.titlesize"], mpl.rcParams["font.size"]) == before


def test_transfer_figure_and_dev_beside_test():
    table = tables.transfer_table(results.from_runs([]), backbone="bert-base")
    made = figures.transfer_figure(table)
    (axes,) = made.axes
    assert "seven transfer tasks, accuracy" in axes.get_xlabel()
    assert "SimCSE (unsup) 85.81" in made.get_label() and "DEV" not in made.get_label()
    entry = {"acc": 80.0, "interval": [78.0, 82.0], "dev": 81.5}
    made = figures.dev_and_test({"tasks": {"MR": entry, "TREC": entry | {"dev": 75.0}}})
    (axes,) = made.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MR", "TREC"]
    points = [tuple(line.get_xdata()) for line in axes.lines]
    assert points == [(78.0, 82.0), (80.0,), (81.5,), (78.0, 82.0), (80.0,), (75.0,)]
    assert "TREC test 80.00, dev 75.00" in made.get_label()
