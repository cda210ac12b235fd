"""Tables from run folders, against arithmetic done by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hncse.data import probe as data_probe
from hncse.errors import HncseError
from hncse.evaluation import literature, report, summary, tables
from hncse.runs import Run
from tests import tiny

TASKS = tables.STS


def sts(score: float) -> dict:
    """An sts.json whose seven tasks score -3, -2, … +3 around ``score``."""
    scores = {task: score + i - 3 for i, task in enumerate(TASKS)}
    return {
        "split": "test",
        "pooling": "cls",
        "tasks": {task: {"all": s, "mean": s + 0.5, "wmean": s + 0.25, "pairs": 10} for task, s in scores.items()},
        "avg": score,
        "avg_interval": [score - 1, score + 1],
    }


def probe(spearman: float) -> dict:
    rate = {"value": 50.0, "interval": [40.0, 60.0], "n": 10}
    return {
        "fingerprint": data_probe.fingerprint(data_probe.load()),
        "spearman": spearman, "spearman_interval": [spearman - 2, spearman + 2], "groups": 3, "sentences": 21,
        "triplet_accuracy": {"overall": rate, "close": rate, "far": rate},
    }  # fmt: skip


def fake_run(
    path: Path, *, seed=0, score=60.0, baseline=None, fingerprint="data", selection="last", **parameters
) -> Run:
    run = Run(path)
    given = {
        "loss": "hnm-no-replacement", "loss_options": {}, "encoder": "kit", "corpus": "wikipedia", "limit": 1000,
        "learning_rate": 3e-5, "seed": seed, "name": path.name, "output": None, "log_every": 10,
    }  # fmt: skip
    run.path.mkdir(parents=True)
    run.write(
        "config",
        {
            "parameters": given | parameters,
            "pooling": "cls",
            "seed": seed,
            "data": {"source": "wikipedia", "sentences": 1000, "fingerprint": fingerprint},
            "encoder_fingerprint": "weights",
            "selection": selection,
        },
    )
    run.write("result", {"steps": 15, "kept_step": 10, "seconds": 3.2, "device": "cpu", "stsb_dev": 61.5})
    if score is not None:
        run.write("sts", sts(score))
    run.write("probe", probe(45.0))
    if baseline is not None:
        scores = {"probe": probe(30.0), "sts": sts(baseline)}
        run.write("baseline", {"encoder": "kit", "poolings": {"cls": scores, "mean": scores}})
    return run


def test_t_interval_by_hand():
    mean, half = tables.t_interval([60.0, 62.0, 67.0])
    assert mean == 63.0
    sd = math.sqrt((9 + 1 + 16) / 2)
    assert half == pytest.approx(4.302652729911275 * sd / math.sqrt(3))  # t(0.975, 2)
    assert tables.t_interval([60.0])[0] == 60.0 and math.isnan(tables.t_interval([60.0])[1])


def test_seeds_are_averaged_and_other_settings_are_not(tmp_path):
    runs = [fake_run(tmp_path / f"a{seed}", seed=seed, score=60.0 + 2 * seed) for seed in range(3)]
    runs.append(fake_run(tmp_path / "b", score=50.0, loss="simcse"))
    table = tables.sts_table(runs, published=False)
    assert list(table.columns) == list(tables.COLUMNS)
    assert table["method"].tolist() == ["simcse", "hnm-no-replacement"]
    ours = table.iloc[1]
    assert (ours["seeds"], ours["avg"], ours["STS12"], ours["SICKR"]) == (3, 62.0, 59.0, 65.0)
    assert ours["half"] == pytest.approx(4.302652729911275 * 2 / math.sqrt(3))
    assert table.iloc[0]["seeds"] == 1 and math.isnan(table.iloc[0]["half"])


def test_a_repeated_seed_counts_once_and_the_younger_run_stands(tmp_path):
    old, new = fake_run(tmp_path / "old", score=50.0), fake_run(tmp_path / "new", score=60.0)
    (row,) = tables.sts_table([old, new], published=False).to_dict("records")
    assert (row["seeds"], row["avg"], row["source"]) == (1, 60.0, "new")


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"learning_rate": 1e-4}, "learning_rate=0.0001"), ({"fingerprint": "otherdata"}, "data otherd"),
     ({"selection": "stsb-dev"}, "stsb-dev")],
)  # fmt: skip
def test_rows_that_would_read_alike_say_how_they_differ(tmp_path, change, shown):
    runs = [fake_run(tmp_path / "a"), fake_run(tmp_path / "b", **change)]
    table = tables.sts_table(runs, published=False)
    assert len(table) == 2 and len(set(table["method"])) == 2
    assert any(shown in method for method in table["method"])


def test_loss_options_stand_in_the_name(tmp_path):
    table = tables.sts_table([fake_run(tmp_path / "a", loss_options={"k": 5})], published=False)
    assert table["method"].tolist() == ["hnm-no-replacement (k=5)"]


def test_untrained_and_published_rows_are_kept_apart(tmp_path):
    run = fake_run(tmp_path / "a", baseline=40.0)
    unscored = fake_run(tmp_path / "b", score=None)
    table = tables.sts_table([run, unscored])
    assert (table["kind"] == "ours").sum() == 1
    raw = table[table["kind"] == "untrained"]
    assert raw["pooling"].tolist() == ["cls", "mean"] and set(raw["avg"]) == {40.0}
    published = table[table["kind"] == "published"]
    assert len(published) == len(literature.load("sts"))
    assert published["source"].str.len().min() > 0
    simcse = published[(published["method"] == "SimCSE (unsup)") & (published["encoder"] == "bert-base")]
    assert simcse["avg"].tolist() == [76.25]


def test_filters_and_an_empty_folder(tmp_path):
    runs = [fake_run(tmp_path / "a"), fake_run(tmp_path / "b", encoder="minilm", seed=1)]
    assert tables.sts_table(runs, published=False, encoder="minilm")["encoder"].tolist() == ["minilm"]
    assert set(tables.sts_table([], backbone="roberta-base")["encoder"]) == {"roberta-base"}
    empty = tables.sts_table([], published=False)
    assert len(empty) == 0 and "No run of ours" in tables.to_markdown(empty)


def test_landmarks_keep_one_row_each_and_all_of_ours(tmp_path):
    table = tables.sts_table([fake_run(tmp_path / "a")], backbone="bert-base")
    kept = tables.landmarks(table)
    published = kept[kept["kind"] == "published"]["method"].tolist()
    assert published.count("SimCSE (unsup)") == 1
    assert not any("reproduced" in method for method in published)
    assert 8 <= len(published) <= len(tables.LANDMARKS)
    assert (kept["kind"] == "ours").sum() == 1


def test_markdown_says_what_its_numbers_are(tmp_path):
    runs = [fake_run(tmp_path / f"a{seed}", seed=seed, score=60.0 + 2 * seed, baseline=40.0) for seed in range(2)]
    text = tables.to_markdown(tables.sts_table([*runs, fake_run(tmp_path / "b", loss="simcse")], backbone="bert-base"))
    first = text.splitlines()[0]
    for words in ("test split", "Spearman", '"all" aggregation', "mean over seeds (1 or 2)", "t-interval", "one seed"):
        assert words in first
    assert text.index("**Ours**") < text.index("untrained**") < text.index("**Published")
    assert "61.00 ± 12.71" in text  # t(0.975, 1) = 12.706, sd √2, n 2
    assert "60.00 (1 seed)" in text
    (row,) = (line for line in text.splitlines() if "12.71" in line)
    assert [cell.strip() for cell in row.split("|")][1:7] == [
        "hnm-no-replacement",
        "kit",
        "cls",
        "wikipedia",
        "1,000",
        "2",
    ]


def test_markdown_columns_line_up():
    lines = tables.markdown(["a", "b"], [["long name", "1.0"], ["x", "22.25"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| --------- | ----: |" and lines[3] == "| x         | 22.25 |"


def test_summary_puts_before_beside_after(tmp_path):
    text = summary.run_summary(fake_run(tmp_path / "a", score=61.0, baseline=40.0))
    assert "hnm-no-replacement on kit, pooling cls, 1,000 sentences from wikipedia, seed 0" in text
    assert "step 10 kept (best STS-B dev: 61.50)" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    probe_rows, sts_rows = lines[2:5], lines[7:10]
    assert probe_rows[0] == ["before training", "mean", "30.0 [28.0, 32.0]", "50.0 [40.0, 60.0]", "50.0 [40.0, 60.0]"]
    assert probe_rows[-1][:3] == ["after training", "cls", "45.0 [43.0, 47.0]"]
    assert sts_rows[0][-1] == "40.00" and sts_rows[-1][2] == "58.00" and sts_rows[-1][-1] == "61.00"
    assert "[60.00, 62.00]" in text and "one seed" in text


def test_summary_without_sts_says_how_to_get_it(tmp_path):
    run = fake_run(tmp_path / "a", score=None, baseline=40.0)
    text = summary.run_summary(run)
    assert "-p evaluate fetch" in text and "STS12" not in text


def test_both_raw_poolings_come_from_one_pass_and_equal_their_own():
    import numpy as np

    from hncse.encoder import SentenceEncoder
    from tests import tiny

    encoder, sentences = tiny.encoder(), tiny.sentences(20)
    both = report._Both(encoder.backbone, encoder.tokenizer, max_length=encoder.max_length).eval()
    known: dict = {}
    for pooling in ("cls", "mean"):
        half = report._Half(report._Shown(both, False), pooling, known)
        own = SentenceEncoder(encoder.backbone, encoder.tokenizer, pooling).eval().encode(sentences)
        np.testing.assert_allclose(half.encode(sentences), own, atol=1e-6)
    assert len(known) == 1


def test_a_baseline_is_taken_from_a_run_that_began_with_the_same_encoder(tmp_path):
    first = fake_run(tmp_path / "a", baseline=40.0)
    second = fake_run(tmp_path / "b", seed=1)
    report.judge(second, "probe")
    assert second.read("baseline")["poolings"] == first.read("baseline")["poolings"]
    assert "after training" in (second.path / "summary.md").read_text()


def test_a_baseline_of_another_run_completes_and_never_replaces(tmp_path):
    transfer = {"avg": 77.0, "tasks": {"MR": {"acc": 71.5}}}
    fake_run(tmp_path / "a", baseline=40.0)
    second = fake_run(tmp_path / "b", seed=1)
    mine = {"encoder": "kit", "encoder_fingerprint": "weights"}
    second.write("baseline", mine | {"poolings": {"cls": {"transfer": transfer, "sts": sts(41.0)}}})
    report.judge(second, "probe")
    poolings = second.read("baseline")["poolings"]
    assert poolings["cls"]["transfer"] == transfer and poolings["cls"]["sts"]["avg"] == 41.0  # its own
    assert poolings["cls"]["probe"]["spearman"] == 30.0 and poolings["mean"]["sts"]["avg"] == 40.0  # the other's
    report.judge(second, "probe")
    assert second.read("baseline")["poolings"] == poolings


def test_an_encoder_that_changed_under_its_name_is_not_compared(tmp_path):
    run = fake_run(tmp_path / "a")  # its fingerprint, "weights", is nobody's
    with pytest.raises(HncseError, match="began with another 'kit' than the one here now"):
        report.judge(run, "probe")
    with pytest.raises(HncseError, match="unknown value of evaluate 'prob'. Did you mean 'probe'"):
        report.judge(run, "prob")


def test_results_of_another_probe_are_measured_again_and_sts_is_not(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "a", baseline=40.0)
    stale = run.read("probe") | {"fingerprint": "of an older probe"}
    run.write("probe", stale)
    baseline = run.read("baseline")
    baseline["poolings"]["mean"]["probe"] = stale
    run.write("baseline", baseline | {"encoder_fingerprint": "weights"})
    measured = []
    monkeypatch.setattr(report.probe, "evaluate", lambda encoder: measured.append(encoder.pooling) or probe(12.0))
    monkeypatch.setattr(report.sts, "evaluate_full", lambda *_, **__: pytest.fail("STS was measured again"))
    monkeypatch.setattr(Run, "load_encoder", lambda self: tiny.encoder())
    monkeypatch.setattr(report, "_untrained", lambda run: tiny.encoder())
    monkeypatch.setattr(report.senteval, "sts_present", lambda: True)
    report.judge(run, show_progress=False)
    assert measured == ["cls", "mean"]  # the trained encoder, and of the baseline the stale half alone
    assert run.read("probe")["spearman"] == 12.0 and run.read("sts")["avg"] == 60.0
    assert run.read("baseline")["poolings"]["mean"]["probe"]["spearman"] == 12.0
    assert run.read("baseline")["poolings"]["cls"]["probe"]["spearman"] == 30.0
