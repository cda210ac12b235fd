"""Tables from run folders, against arithmetic done by hand."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hncse.data import probe as data_probe
from hncse.errors import HncseError
from hncse.evaluation import literature, results, statistics, tables
from hncse.runs import Run

ROOT = Path(__file__).resolve().parent.parent.parent
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
    mean, half = statistics.t_interval([60.0, 62.0, 67.0])
    assert mean == 63.0
    sd = math.sqrt((9 + 1 + 16) / 2)
    assert half == pytest.approx(4.302652729911275 * sd / math.sqrt(3))  # t(0.975, 2)
    assert statistics.t_interval([60.0])[0] == 60.0 and math.isnan(statistics.t_interval([60.0])[1])


def test_seeds_are_averaged_and_other_settings_are_not(tmp_path):
    runs = [fake_run(tmp_path / f"a{seed}", seed=seed, score=60.0 + 2 * seed) for seed in range(3)]
    runs.append(fake_run(tmp_path / "b", score=50.0, loss="simcse"))
    table = tables.sts_table(results.from_runs(runs), published=False)
    assert list(table.columns) == list(tables.COLUMNS)
    assert table["method"].tolist() == ["simcse", "hnm-no-replacement"]
    ours = table.iloc[1]
    assert (ours["seeds"], ours["avg"], ours["STS12"], ours["SICKR"]) == (3, 62.0, 59.0, 65.0)
    assert ours["half"] == pytest.approx(4.302652729911275 * 2 / math.sqrt(3))
    assert table.iloc[0]["seeds"] == 1 and math.isnan(table.iloc[0]["half"])


def test_a_repeated_seed_counts_once_and_the_younger_run_stands(tmp_path):
    old, new = fake_run(tmp_path / "old", score=50.0), fake_run(tmp_path / "new", score=60.0)
    (row,) = tables.sts_table(results.from_runs([old, new]), published=False).to_dict("records")
    assert (row["seeds"], row["avg"]) == (1, 60.0)


@pytest.mark.parametrize(
    ("change", "shown"),
    [({"learning_rate": 1e-4}, "learning_rate=0.0001"), ({"fingerprint": "otherdata"}, "data otherd"),
     ({"selection": "stsb-dev"}, "stsb-dev")],
)  # fmt: skip
def test_rows_that_would_read_alike_say_how_they_differ(tmp_path, change, shown):
    runs = [fake_run(tmp_path / "a"), fake_run(tmp_path / "b", **change)]
    table = tables.sts_table(results.from_runs(runs), published=False)
    assert len(table) == 2 and len(set(table["method"])) == 2
    assert any(shown in method for method in table["method"])


def test_loss_options_stand_in_the_name(tmp_path):
    table = tables.sts_table(results.from_runs([fake_run(tmp_path / "a", loss_options={"k": 5})]), published=False)
    assert table["method"].tolist() == ["hnm-no-replacement (k=5)"]


def test_untrained_and_published_rows_are_kept_apart(tmp_path):
    run = fake_run(tmp_path / "a", baseline=40.0)
    unscored = fake_run(tmp_path / "b", score=None)
    table = tables.sts_table(results.from_runs([run, unscored]))
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
    assert tables.sts_table(results.from_runs(runs), published=False, encoder="minilm")["encoder"].tolist() == [
        "minilm"
    ]
    assert set(tables.sts_table(results.from_runs([]), backbone="roberta-base")["encoder"]) == {"roberta-base"}
    empty = tables.sts_table(results.from_runs([]), published=False)
    assert len(empty) == 0
    assert "No run of ours" in tables.sts(results.from_runs([]), published="none").to_markdown()


def test_landmarks_keep_one_row_each_and_all_of_ours(tmp_path):
    table = tables.sts_table(results.from_runs([fake_run(tmp_path / "a")]), backbone="bert-base")
    kept = tables.landmarks(table)
    published = kept[kept["kind"] == "published"]["method"].tolist()
    assert published.count("SimCSE (unsup)") == 1
    assert not any("reproduced" in method for method in published)
    assert 8 <= len(published) <= len(tables.LANDMARKS)
    assert (kept["kind"] == "ours").sum() == 1


def test_markdown_says_what_its_numbers_are(tmp_path):
    runs = [fake_run(tmp_path / f"a{seed}", seed=seed, score=60.0 + 2 * seed, baseline=40.0) for seed in range(2)]
    runs.append(fake_run(tmp_path / "b", loss="simcse"))
    text = tables.sts(results.from_runs(runs), backbone="bert-base").to_markdown()
    first = text.splitlines()[0]
    for words in ("test split", "Spearman", '"all" aggregation', "mean over seeds (1 or 2)", "t-interval", "one seed"):
        assert words in first
    assert text.index("**Ours**") < text.index("untrained**") < text.index("**Published")
    assert "61.00 ± 12.71" in text  # t(0.975, 1) = 12.706, sd √2, n 2
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    of = {row[0]: row for row in rows}
    assert of["simcse"][-2:] == ["60.00", "baseline"]
    assert of["hnm-no-replacement"][1:6] == ["kit", "cls", "wikipedia", "1,000", "2"]
    assert {row[1] for row in rows if row[0].endswith("]")} == {"bert-base"}


def test_markdown_columns_line_up():
    lines = tables.markdown(["a", "b"], [["long name", "1.0"], ["x", "22.25"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| --------- | ----: |" and lines[3] == "| x         | 22.25 |"


# Tables with verdicts


GAINS = (1.0, 1.2, 1.1)


def with_transfer(run: Run, score: float, solver: str = "senteval") -> Run:
    accuracies = {task: {"acc": score, "dev": 0.0} for task in tables.TRANSFER}
    run.write("transfer", {"split": "test", "solver": solver, "tasks": accuracies, "avg": score})
    return run


@pytest.fixture
def runs(tmp_path):
    made = []
    for seed, gain in enumerate(GAINS):
        common = {"seed": seed, "baseline": 40.0}
        made.append(fake_run(tmp_path / f"a{seed}", loss="simcse", score=60.0 + 3 * seed, **common))
        made.append(fake_run(tmp_path / f"b{seed}", loss="pm-fixed", score=60.0 + 3 * seed + gain, **common))
    return [with_transfer(run, 80.0 + run.config["seed"]) for run in made]


def ours(table: tables.Table) -> dict[str, dict]:
    return {row["method"]: row for row in table.blocks["Ours"]}


def test_a_method_stands_against_the_baseline_trained_alike(tmp_path, runs):
    for seed in range(2):  # another training, with a baseline and a method of its own
        for loss, score in (("simcse", 50.0 + seed), ("pm-fixed", 49.0 + 1.5 * seed)):
            runs.append(fake_run(tmp_path / f"{loss}{seed}", seed=seed, loss=loss, score=score, batch_size=128))
    frame = results.from_runs(runs)
    found = statistics.against(frame, "sts")
    methods = found.set_index(["method", "n"])
    assert methods.loc[("pm-fixed", 3), "value"] == pytest.approx(1.1)
    assert methods.loc[("pm-fixed", 3), "verdict"] == "better"
    assert methods.loc[("simcse", 3), "verdict"] == "baseline"
    assert methods.loc[("pm-fixed", 2), "value"] == pytest.approx(-0.75)
    assert methods.loc[("pm-fixed", 2), "verdict"] == "not told apart"
    words = [text for text, _ in results.trainings(frame).values()]
    assert len(words) == 2 and words[1].endswith("batch_size=128")
    none = statistics.against(frame, "sts", "three-view")
    assert set(none["gap"]) == {"no three-view trained alike"} and none["value"].isna().all()


def test_the_sts_table_holds_ours_untrained_and_published(runs):
    table = tables.sts(results.from_runs(runs))
    assert list(table.blocks) == ["Ours", "The same encoders, untrained", "Published, as printed there"]
    row = ours(table)
    assert row["pm-fixed"]["against simcse"].startswith("+1.10 [")
    assert row["pm-fixed"]["against simcse"].endswith("better") and row["simcse"]["against simcse"] == "baseline"
    assert row["simcse"]["avg"] == "63.00 ± 7.45"  # t(2) 4.303, sd 3, n 3
    assert [row["simcse"][name] for name in table.head[1:6]] == ["kit", "cls", "wikipedia", "1,000", "3"]
    for words in ("test split", "Spearman", "t-interval over seeds", "Holm", "trained alike"):
        assert words in table.caption
    assert all(row["note"] for row in table.blocks["Published, as printed there"])
    assert "arXiv" in " ".join(table.notes)
    assert list(tables.sts(results.from_runs(runs), published="none").blocks) == list(table.blocks)[:2]


def test_only_tables_with_results_of_ours_are_made(runs):
    assert [table.name for table in tables.everything(results.from_runs(runs))] == ["sts", "transfer", "probe", "dev"]
    assert tables.everything(results.from_runs([])) == []


def test_published_transfer_rows_stand_beside_sentevals_solver_alone(tmp_path, runs):
    frame = results.from_runs(runs)
    table = tables.transfer(frame)
    assert "Published, as printed there" in table.blocks and "solver senteval" in table.caption
    quick = results.from_runs([with_transfer(run, 81.0 + run.config["seed"], "fast") for run in runs])
    table = tables.transfer(quick)
    assert list(table.blocks) == ["Ours"] and "solver fast" in table.caption
    assert "Published rows are of SentEval's solver" in table.caption
    assert ours(table)["simcse"]["avg"] == "82.00 ± 2.48"
    with pytest.raises(HncseError, match="published rows were made by SentEval's own solver"):
        tables.transfer_table(quick, solver="fast")
    assert tables.transfer_table(quick, published=False)["kind"].tolist() == []  # none of senteval's
    assert tables.transfer_table(quick, False, solver="fast")["avg"].tolist() == [82.0, 82.0]
    with pytest.raises(HncseError, match="unknown solver 'adam'"):
        tables.transfer_table(frame, solver="adam")


def test_gaps_are_said_in_their_rows(tmp_path, runs):
    (runs[-1].path / "baseline.json").unlink()  # what `hncse.evaluation.probe RUN` leaves
    runs[-1].write("result", runs[-1].result | {"stsb_dev": None})
    runs.append(fake_run(tmp_path / "alone", loss="three-view", batch_size=128, baseline=40.0))
    frame = results.from_runs(runs)
    probe = ours(tables.probe(frame))
    assert (
        probe["pm-fixed"]["seeds"] == "3" and probe["pm-fixed"]["against simcse"] == "+0.00, the same with every seed"
    )
    assert ours(tables.sts(frame))["three-view"]["against simcse"] == "no simcse trained alike"
    dev = ours(tables.dev(frame))
    assert dev["pm-fixed, batch_size=64"]["STS-B dev"] == "61.50 ± 0.00 (2 of 3 seeds)"
    assert dev["pm-fixed, batch_size=64"]["dev against simcse"] == "+0.00, the same with every seed"


def test_the_dev_table_shows_cases_and_what_sets_trainings_apart(tmp_path):
    runs = [
        fake_run(tmp_path / f"{loss}{size}", loss=loss, batch_size=size)
        for loss in ("simcse", "pm-fixed") for size in (64, 128)
    ]  # fmt: skip
    for run in runs:
        run.log({"step": 1, "case_a": 0.25, "case_b": 0.75, "case_c": 0.0})
    frame = results.from_runs(runs)
    table = tables.dev(frame)
    assert [row["method"] for row in table.rows] == [
        "simcse, batch_size=64", "pm-fixed, batch_size=64", "simcse, batch_size=128", "pm-fixed, batch_size=128",
    ]  # fmt: skip
    cells = [table.rows[0][name] for name in table.head[6:]]
    assert cells == ["25.0", "75.0", "0.0", "61.50", "baseline", "45.00", "baseline"]
    assert [table.rows[1][name] for name in table.head if "against" in name] == ["+0.00, not tested"] * 2
    cases = tables.cases(frame)
    assert [cases.rows[0][name] for name in cases.head[4:7]] == ["25.00", "75.00", "0.00"]
    assert len({row["method"] for row in cases.rows}) == 4


def test_of_many_settings_only_the_unusual_are_named(tmp_path):
    unusual = [{}, {}, {"batch_size": 128}, {"temperature": 0.2}, {"epochs": 3.0, "temperature": 0.2}]
    usual = {"batch_size": 64, "temperature": 0.1, "epochs": 1.0}
    runs = [
        fake_run(tmp_path / str(i), loss="simcse", seed=i, **(usual | changed)) for i, changed in enumerate(unusual)
    ]
    table = tables.dev(results.from_runs(runs))
    assert {row["method"] for row in table.rows} == {
        "simcse", "simcse, batch_size=128", "simcse, temperature=0.2", "simcse, temperature=0.2, epochs=3.0",
    } or {row["method"] for row in table.rows} == {
        "simcse", "simcse, batch_size=128", "simcse, temperature=0.2", "simcse, epochs=3.0, temperature=0.2",
    }  # fmt: skip
    (where,) = (part for part in table.caption.split(". ") if part.startswith("Where not named"))
    assert all(f"{name}={value}" in where for name, value in usual.items())


def test_each_method_at_its_own_best_is_chosen_on_dev_and_read_on_test(tmp_path, runs):
    assert tables.tuned(results.from_runs(runs)).rows == []  # one setting each: nothing to choose
    for seed in range(3):  # hotter: the method is better on dev and worse on test, the baseline worse on dev
        for loss, dev, score in (("simcse", 60.0, 70.0), ("pm-fixed", 63.0, 59.5 + 2.9 * seed)):
            run = fake_run(tmp_path / f"hot{loss}{seed}", seed=seed, loss=loss, score=score, temperature=0.2)
            run.write("result", run.result | {"stsb_dev": dev})
            runs.append(run)
    frame = results.from_runs(runs)
    chosen = frame[frame["group"].isin(statistics.tuned(frame)) & (frame["kind"] == "trained")]
    assert sorted(chosen["run"].unique()) == ["a0", "a1", "a2", *(f"hotpm-fixed{seed}" for seed in range(3))]
    table = tables.tuned(frame)
    rows = {row["loss"]: row for row in table.rows}
    assert rows["pm-fixed"]["method"] == "pm-fixed, temperature=0.2" and rows["simcse"]["STS-B dev"] == "61.50 ± 0.00"
    assert rows["pm-fixed"]["STS"] == "62.40 ± 7.20" and rows["pm-fixed"]["STS against simcse"].startswith("-0.60 [")
    assert rows["simcse"]["STS"] == "63.00 ± 7.45" and rows["simcse"]["STS against simcse"] == "baseline"
    assert rows["pm-fixed"]["transfer"] == "" and rows["simcse"]["transfer against simcse"] == "baseline"
    assert "scores best on STS-B dev" in table.caption and "Holm" in table.caption


TABLE = tables.Table(
    "name", "50 % & more: ± τ", ["a_b", "n"],
    [{"a_b": "x|y", "n": "", "block": "One", "note": 2}, {"a_b": "z < 3", "n": "−1", "block": "One"}], 1, ["s", "t_1"],
)  # fmt: skip


def test_markdown_latex_and_html_say_the_same():
    text = TABLE.to_markdown()
    assert r"| x\|y [2] |" in text and "|   – |" in text and "[2] t_1" in text
    tex = TABLE.to_latex()
    assert r"\caption{50 \% \& more: $\pm$ $\tau$}" in tex and r"x|y\textsuperscript{2} & -- \\" in tex
    assert r"z \textless{} 3 & $-$1 \\" in tex and tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert tex.count("{") == tex.count("}") and r"\begin{tabular}{lr}" in tex
    tree = ElementTree.fromstring(f"<div>{TABLE.to_html()}</div>")
    cells = ["".join(cell.itertext()) for cell in tree.iter() if cell.tag in ("td", "th")]
    assert cells == ["a_b", "n", "One", "x|y2", "–", "z < 3", "−1"]
    assert [item.text for item in tree.iter("li")] == ["s", "t_1"]


def test_one_command_writes_tables_from_folders_and_from_a_csv(tmp_path, runs, capsys):
    out = tmp_path / "out"
    assert tables.main(["--runs", str(tmp_path), "--out", str(out), "--format", "md", "tex"]) == 0
    printed = {line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()}
    expected = {f"{name}.{ending}" for name in ("sts", "transfer", "probe", "dev") for ending in ("md", "tex")}
    expected |= {"verdicts.md", "results.csv"}
    assert printed == expected == {path.name for path in out.iterdir()}
    again = tmp_path / "again"
    written = [str(out / "results.csv"), "--out", str(again), "--format", "md"]
    assert tables.main(["--csv", *written]) == 0
    for name in ("sts.md", "transfer.md", "probe.md"):
        assert (again / name).read_text() == (out / name).read_text()
    assert "better than simcse: +1.10" in (out / "verdicts.md").read_text()
    assert tables.main(["--runs", str(tmp_path / "none"), "--out", str(again)]) == 2


def test_the_packages_tables_are_the_committed_ones():
    frame = results.recorded("sweep")
    made = {table.name: table for table in tables.everything(frame)}
    for name, table in made.items():
        for ending, write in tables.FORMATS.items():
            assert write(table) == (ROOT / "figures" / "tables" / f"{name}.{ending}").read_text(encoding="utf-8")
    committed = (ROOT / "figures" / "tables" / "verdicts.md").read_text(encoding="utf-8")
    assert tables.verdicts(frame) == committed


# One option at a time


def test_a_curve_is_made_of_runs_that_differ_in_one_option(tmp_path):
    def made(name, dev, seed=0, **settings):
        run = fake_run(tmp_path / name, seed=seed, **settings)
        run.write("result", run.result | {"stsb_dev": dev})
        return run

    runs = [made(f"d{s}", 70.0 + s, s) for s in range(3)]
    runs += [made(f"k{s}", 72.0 + 2 * s, s, loss_options={"k": 3}) for s in range(3)]
    runs += [made("u", 69.0, loss_options={"alpha": "uniform"})]
    runs += [made("both", 10.0, loss_options={"k": 3, "s": 5})]  # differs in two: on no curve
    runs += [made("t", 65.0, learning_rate=1e-4)]
    runs += [made(f"s{s}", 68.0, s, loss="simcse") for s in range(3)]
    runs += [made("st", 60.0, loss="simcse", learning_rate=1e-4)]
    frame = results.from_runs(runs)
    curves = statistics.curves(frame, "stsb-dev")
    found = {option: part.to_dict("list") for option, part in curves.groupby("option")}
    assert set(found) == {"k", "alpha", "learning_rate"}
    k = found["k"]
    assert (k["value"], k["mean"], k["seeds"], k["default"]) == ([3, 10], [74.0, 71.0], [3, 3], [False, True])
    assert k["half"][0] == pytest.approx(4.302652729911275 * 2 / 3**0.5)
    assert found["alpha"]["value"] == [0.5, "uniform"]
    assert k["baseline_mean"] == [68.0, 68.0] and found["learning_rate"]["baseline_mean"] == [68.0, 60.0]
    table = tables.ablation(frame)
    cells = [[row[name] for name in table.head] for row in table.rows]
    assert len(table.head) == 7
    assert ["hnm-no-replacement", "k", "10 (default)", "3", "71.00", "2.48", "68.00"] in cells


def test_the_default_of_an_option_is_the_presets_and_not_the_commonest(tmp_path):
    runs = [fake_run(tmp_path / f"w{s}", seed=s, loss="pm-intended", loss_options={"band": 0.5}) for s in range(3)]
    runs.append(fake_run(tmp_path / "n", loss="pm-intended"))
    values = [row["value"] for row in tables.ablation(results.from_runs(runs)).rows]
    assert values == ["0.1 (default)", "0.5"]


# The probe


def scores(value: float) -> dict:
    rate = {"value": value, "interval": None, "n": 9}
    shares = dict.fromkeys(("close", "far", "overall", "both"), rate)
    return probe(value + 1) | {"triplet_accuracy": shares, "phenomena": {"negation": shares}}


def probed(tmp_path, name: str, value: float, **settings):
    run = fake_run(tmp_path / name, baseline=40.0, **settings)
    run.write("probe", scores(value))
    baseline = run.read("baseline")
    baseline["poolings"]["cls"]["probe"] = scores(20.0)
    run.write("baseline", baseline)
    return run


def test_the_probe_over_seeds_and_the_row_before(tmp_path, capsys):
    runs = [probed(tmp_path, f"a{seed}", 50.0 + 3 * seed, seed=seed) for seed in range(3)]
    runs.append(probed(tmp_path, "b", 45.0, loss="simcse"))
    frame = results.from_runs(runs)
    table = tables.probe(frame)
    assert [row["method"] for row in table.rows] == ["simcse", "hnm-no-replacement", "before training"]
    of = {row["method"]: row for row in table.rows}
    assert of["before training"]["close"] == "20.0" and of["before training"]["spearman"] == "21.0"
    mean, half = statistics.t_interval([50.0, 53.0, 56.0])
    assert of["hnm-no-replacement"]["close"] == f"{mean:.1f} ± {half:.1f}" and of["hnm-no-replacement"]["seeds"] == "3"
    assert "53.0 ± 7.5" in table.to_markdown() and of["simcse"]["close"] == "45.0"
    narrow = tables.probe(frame, phenomenon="negation")
    assert "spearman" not in narrow.head and {row["method"]: row["far"] for row in narrow.rows}["simcse"] == "45.0"
    with pytest.raises(HncseError, match="Did you mean 'negation'"):
        tables.probe(frame, phenomenon="negations")
    assert tables.main(["--runs", str(tmp_path), "--out", str(tmp_path / "out"), "--phenomena"]) == 0
    assert "negation. Probe" in capsys.readouterr().out


def test_methods_that_differ_in_training_alone_are_told_apart(tmp_path):
    runs = [probed(tmp_path, f"t{t}", 50.0 + t, temperature=t) for t in (0.1, 0.2)]
    runs.append(probed(tmp_path, "b", 45.0, loss="simcse", temperature=0.1))
    names = [row["method"] for row in tables.probe(results.from_runs(runs)).blocks["Ours"]]
    assert names == ["simcse", "hnm-no-replacement, temperature=0.1", "hnm-no-replacement, temperature=0.2"]


def test_results_on_another_probe_are_left_out(tmp_path):
    run = probed(tmp_path, "a", 50.0)
    run.write("probe", scores(50.0) | {"fingerprint": "another"})
    assert "Ours" not in tables.probe(results.from_runs([run])).blocks
    run.write("probe", scores(50.0))
    assert f"Probe, {len(data_probe.load())} groups" in tables.probe(results.from_runs([run])).to_markdown()
