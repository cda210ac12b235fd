"""What more compute buys: what is shared, skipped and drawn; the line beyond the data against one worked by hand."""

from __future__ import annotations

import json
import types

import numpy as np
import pandas as pd
import pytest

from benchmarks import encoder_scaling, encoder_shapes
from benchmarks import scaling_figure as scaling
from hncse import pretraining
from hncse.data import corpora, senteval
from hncse.encoder import SentenceEncoder
from hncse.errors import HncseError
from tests.test_pretraining import toy_config, toy_sentences


def rows(axis, amount, raw, scores):
    return [
        {"axis": axis, "amount": amount, "seed": seed, "seconds": 1.0, "raw": raw, "simcse": score, "kept_step": 10,
         "trained": 20, "available": 1000} for seed, score in enumerate(scores)
    ]  # fmt: skip


def table(means=(70.0, 71.0, 72.0)):
    text = [row for i, m in enumerate(means) for row in rows("text", 10 ** (i + 1), m - 10, [m - 1, m, m + 1])]
    last = text[-3:]
    modelling = [row | {"axis": "modelling", "amount": 0} for row in last]
    return pd.DataFrame(text + modelling + rows("modelling", 500, 66.0, [71.5, 72.5, 73.5]))


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The command on toy sentences and a toy shape, with scores that need no benchmark files; gives what was made."""
    made = {"encoders": [], "tables": 0, "scored": []}
    pretrain, count = pretraining.pretrain, pretraining.count

    def spy(config, *arguments, **options):
        made["encoders"].append((config.limit, config.tokens))
        return pretrain(config, *arguments, **options)

    def counted(*arguments):
        made["tables"] += 1
        return count(*arguments)

    def score(folder, sentences, seed, runs):
        made["scored"].append((folder.parent.name, len(sentences), seed))
        return {"simcse": 70.0 + seed, "kept_step": 10}

    monkeypatch.setattr(encoder_scaling, "TEXT", (100, 200, 100_000))
    monkeypatch.setattr(encoder_scaling, "MODELLING", (0, 2_000))
    monkeypatch.setattr(
        encoder_scaling, "config",
        lambda counted, tokens, out: toy_config(out, vocabulary=50, limit=counted, tokens=tokens),
    )  # fmt: skip
    monkeypatch.setattr(pretraining, "pretrain", spy)
    monkeypatch.setattr(pretraining, "count", counted)
    monkeypatch.setattr(corpora, "load", lambda source, limit: types.SimpleNamespace(sentences=toy_sentences(limit)))
    monkeypatch.setattr(senteval, "fetch", lambda: None)
    monkeypatch.setattr(encoder_shapes, "raw_score", lambda folder: 60.0)
    monkeypatch.setattr(encoder_shapes, "trained_score", score)
    arguments = ["--limit", "300", "--trained", "20", "--csv", str(tmp_path / "s.csv"), "--work", str(tmp_path / "w")]
    return made, arguments


def test_the_kits_settings_differ_in_text_and_modelling_alone(tmp_path):
    made = encoder_scaling.config(1_000, 250_000, tmp_path)
    kept = {"limit": 1_000, "tokens": 250_000, "out": str(tmp_path), "source": "wikipedia"}
    assert made == pretraining.PretrainingConfig(**kept)


def test_points_go_up_to_all_there_is():
    found = encoder_scaling.points(300_000)
    assert [p for p in found if p[2] == 0 and p[0] == "text"] == [
        ("text", 30_000, 0), ("text", 100_000, 0), ("text", 300_000, 0),
    ]  # fmt: skip
    assert len(found) == 3 * (3 + len(encoder_scaling.MODELLING)) == len(set(found))


def test_the_whole_command_makes_each_encoder_once_and_goes_on_where_it_stopped(toy, tmp_path, capsys):
    made, arguments = toy
    assert encoder_scaling.main(arguments) == 0
    assert made["encoders"] == [(100, 0), (200, 0), (300, 0), (300, 2_000)], "the last of text is modelling's 0"
    assert made["tables"] == 3, "a table an amount of text"
    assert made["scored"][-1] == ("300-2000", 20, 2)
    done = pd.read_csv(tmp_path / "s.csv")
    assert len(done) == 15 and set(done["available"]) == {300}
    alike = [list(done.query(f"axis == {axis!r} and amount == {n}")["seconds"]) for axis, n in
             (("text", 300), ("modelling", 0))]  # fmt: skip
    assert alike[0] == alike[1]
    notes = sorted((tmp_path / "w").glob("*/seconds.json"))
    assert len(notes) == 7 and min(json.loads(note.read_text()) for note in notes) > 0
    encoder = SentenceEncoder.from_pretrained(tmp_path / "w" / "300-2000" / "encoder")
    assert encoder.encode(["the red house"]).shape == (1, 16)
    assert "Ten times the text adds +0.00" in capsys.readouterr().out
    assert {p.suffix for p in tmp_path.glob("s.*")} == {".csv", ".png", ".svg"}

    done[done["seed"] != 1].to_csv(tmp_path / "s.csv", index=False)
    before = dict(made, encoders=list(made["encoders"]))
    made["scored"].clear()
    assert encoder_scaling.main(arguments) == 0
    assert made["encoders"] == before["encoders"] and made["tables"] == 3
    assert {seed for *_, seed in made["scored"]} == {1} and len(made["scored"]) == 5
    assert pd.read_csv(tmp_path / "s.csv").equals(done)


def test_an_encoder_half_made_is_made_anew(toy, tmp_path):
    made, arguments = toy
    assert encoder_scaling.main(arguments) == 0
    (tmp_path / "w" / "300-2000" / "seconds.json").unlink()
    (tmp_path / "s.csv").unlink()
    assert encoder_scaling.main(arguments) == 0
    assert made["encoders"][4:] == [(300, 2_000)]


def test_errors_say_what_would_be_right(toy, tmp_path, capsys, monkeypatch):
    _, arguments = toy
    assert encoder_scaling.main(["--draw", "--csv", str(tmp_path / "none.csv")]) == 2
    assert "run this without --draw first" in capsys.readouterr().err
    table().to_csv(tmp_path / "s.csv", index=False)
    assert encoder_scaling.main([*arguments, "--trained", "21"]) == 2
    assert "rows with trained = 20, this run has 21; give another --csv" in capsys.readouterr().err
    assert encoder_scaling.main(arguments) == 2
    assert "rows with available = 1000, this run has 300" in capsys.readouterr().err
    (tmp_path / "s.csv").unlink()
    monkeypatch.setattr(encoder_scaling, "config", lambda counted, tokens, out: toy_config(out, vocabulary=5_000))
    assert encoder_scaling.main(arguments) == 2
    assert "100 sentences give" in capsys.readouterr().err


def test_the_line_and_its_intervals_are_those_worked_by_hand():
    # x = 1, 2, 3, 4; means 1, 3, 2, 4: slope 0.8, intercept 0.5, residuals -0.3, 0.9, -0.9, 0.3, so s² = 1.8 / 2
    means = {10: 1.0, 100: 3.0, 1_000: 2.0, 10_000: 4.0}
    amounts = [a for a in means for _ in range(2)]
    line = scaling.fit(amounts, [m + d for m in means.values() for d in (-0.5, 0.5)])
    assert line.amounts == tuple(map(float, means)) and line.means == pytest.approx(tuple(means.values()))
    assert (line.slope, line.intercept, line.error) == pytest.approx((0.8, 0.5, 0.9**0.5))
    t = 4.302652730  # 97.5 %, 2 degrees of freedom
    half = t * (0.9 * (1 + 1 / 4 + 2.5**2 / 5)) ** 0.5  # at x = 5, mean 2.5, squares 5
    assert line.at(100_000) == pytest.approx((4.5, 4.5 - half, 4.5 + half))
    half = t * (0.9 / 5) ** 0.5
    assert line.slope_interval() == pytest.approx((0.8 - half, 0.8 + half))


def test_more_seeds_of_the_same_encoders_do_not_narrow_the_line():
    few, many = scaling.fit([1, 10, 100], [1, 3, 2]), scaling.fit([1, 10, 100] * 4, [1, 3, 2] * 4)
    assert few.at(1_000) == pytest.approx(many.at(1_000))


def test_the_interval_holds_the_next_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        means = 70 + 0.3 * np.arange(6) + rng.normal(0, 0.2, 6)
        _, low, high = scaling.fit(10.0 ** np.arange(5), means[:5]).at(1e5)
        held.append(low <= means[5] <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_a_line_needs_three_amounts():
    with pytest.raises(HncseError, match="three amounts or more, there are 2"):
        scaling.fit([1, 10, 10], [1, 2, 3])


def test_the_words_name_the_forecast_and_compare_seed_by_seed():
    text, modelling = encoder_scaling.conclusion(table())
    assert "10,000 sentences would give 73.00, 95 % interval 73.00 to 73.00" in text
    assert "Ten times the text adds +1.00 (+1.00 to +1.00): told apart from none." in text
    assert "500 word pieces change raw by +4.00, and after SimCSE by +0.50 ± 0.00 (3 seeds, paired)" in modelling
    assert "not told apart from none" in encoder_scaling.conclusion(table((70, 71.5, 69)))[0]
    with pytest.raises(HncseError, match="no language modelling"):
        encoder_scaling.conclusion(table().query("amount != 500"))


def test_the_figure_holds_the_means_their_intervals_and_the_forecast():
    given = table()
    made = scaling.scaling_figure(given)
    text, modelling = made.axes
    lines = [line.get_xydata().tolist() for line in text.lines]
    assert [[1, 70], [2, 71], [3, 72]] in lines and [[1, 60], [2, 61], [3, 62]] in lines
    half = 4.302652730 / 3**0.5  # of three seeds a point apart
    bars = [line for line in lines if len(line) == 2 and line[0][0] == line[1][0] == 1]
    assert np.allclose(bars, [[[1, 70 - half], [1, 70 + half]]])
    assert any(np.allclose([line[0], line[-1]], [[3, 72], [4, 73]]) for line in lines), "a decade beyond the data"
    stars = [line.get_xydata().tolist() for line in text.lines if line.get_marker() == "*"]
    assert stars == [[[3, 72]], [[3, 62]]]
    assert any("extrapolated" in note.get_text() for note in text.texts)
    assert [label.get_text() for label in text.get_xticklabels()] == ["10", "100", "1 k", "10 k"]
    assert [label.get_text() for label in modelling.get_xticklabels()] == ["0", "500"]
    to_none = [line for line in modelling.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata().tolist() for line in to_none] == [[72, 72.5], [62, 66]], "0 is not on a log scale"
    assert "1,000 sentences: 62.00 raw, 72.00 after SimCSE" in made.get_label()
    assert "Extrapolated, 10,000 sentences: 73.00" in made.get_label()
    with pytest.raises(HncseError, match="no rows of the axis 'modelling'"):
        scaling.scaling_figure(given[given["axis"] == "text"])
