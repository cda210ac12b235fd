"""Pictures hold the data they were given: axes are read, not pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hncse.errors import HncseError
from hncse.evaluation import tables
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
    table = tables.landmarks(tables.sts_table(runs, backbone="bert-base"))
    made = figures.sts_figure(table, seeds=[74.0, 75.0, 76.0])
    (axes,) = made.axes
    xs = [list(drawn.get_xdata()) for drawn in axes.lines]
    mean, half = tables.t_interval([60.0, 62.0])
    assert [mean - half, mean + half] in xs and [mean] in xs and [50.0] in xs and [74.0, 75.0, 76.0] in xs
    assert [76.25] in xs and xs.count([40.0]) == 2
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert "hnm-no-replacement, kit, cls, 2 seeds" in labels and "simcse, kit, cls, 1 seed" in labels
    assert "unsupervised SimCSE, bert-base, 3 seeds" in labels
    assert labels.count("kit, cls") == 1 and labels.count("kit, mean") == 1  # under the heading "Untrained"
    assert "Ours: simcse 50.00, hnm-no-replacement 61.00" in made.get_label()
    (single,) = (drawn for drawn in axes.lines if list(drawn.get_xdata()) == [50.0])
    assert single.get_markerfacecolor() == "white"  # one seed: hollow


def test_sts_figure_of_nothing():
    with pytest.raises(HncseError, match="no rows"):
        figures.sts_figure(tables.sts_table([], published=False))


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
    table = tables.transfer_table([], backbone="bert-base")
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
