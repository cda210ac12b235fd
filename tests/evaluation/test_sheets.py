"""Sheets: verdicts beside scores, three formats, and the command that rebuilds everything from run folders."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from hncse.errors import HncseError
from hncse.evaluation import _rebuild, ablation, results, sheets, statistics, table_formats
from hncse.evaluation.table_formats import Block, Sheet
from tests.evaluation.test_results import recordable

GAINS = (1.0, 1.2, 1.1)


@pytest.fixture
def runs(tmp_path):
    made = []
    for seed, gain in enumerate(GAINS):
        common = {"seed": seed, "transfer_score": 80.0 + seed}
        made.append(recordable(tmp_path / f"a{seed}", loss="simcse", score=60.0 + 3 * seed, **common))
        made.append(recordable(tmp_path / f"b{seed}", loss="pm-fixed", score=60.0 + 3 * seed + gain, **common))
    return made


def test_a_method_stands_against_the_baseline_trained_alike(tmp_path, runs):
    for seed in range(2):  # another training, with a baseline and a method of its own
        for loss, score in (("simcse", 50.0 + seed), ("pm-fixed", 49.0 + 1.5 * seed)):
            runs.append(recordable(tmp_path / f"{loss}{seed}", seed=seed, loss=loss, score=score, batch_size=128))
    found = statistics.against(runs, "sts")
    assert found["b0, b1, b2"].difference.value == pytest.approx(1.1)
    assert found["b0, b1, b2"].verdict == "better" and found["a0, a1, a2"].verdict == "baseline"
    assert found["pm-fixed0, pm-fixed1"].difference.value == pytest.approx(-0.75)
    assert found["pm-fixed0, pm-fixed1"].verdict == "not told apart"
    settings = list(statistics.by_training(runs))
    assert len(settings) == 2 and settings[1].endswith("batch_size=128")
    assert statistics.against(runs, "sts", "three-view") == {}


def test_the_sts_sheet_holds_ours_untrained_and_published(runs):
    sheet = sheets.sts_sheet(runs)
    titles = [block.title for block in sheet.blocks]
    assert titles == ["Ours", "The same encoders, untrained", "Published, as printed there"]
    ours = {row[0]: row for row in sheet.blocks[0].rows}
    assert ours["pm-fixed"][-1].startswith("+1.10 [") and ours["pm-fixed"][-1].endswith("better")
    assert ours["simcse"][-1] == "baseline"
    assert ours["simcse"][sheet.head.index("avg")] == "63.00 ± 7.45"  # t(2) 4.303, sd 3, n 3
    assert ours["simcse"][1:6] == ["kit", "cls", "wikipedia", "1,000", "3"]
    for words in ("test split", "Spearman", "t-interval over seeds", "Holm", "trained alike"):
        assert words in sheet.caption
    published = sheet.blocks[2]
    assert all(published.note(i) for i in range(len(published.rows))) and "arXiv" in " ".join(sheet.notes)
    assert [block.title for block in sheets.sts_sheet(runs, published="none").blocks] == titles[:2]


def test_only_sheets_with_results_of_ours_are_made(runs):
    assert [sheet.name for sheet in sheets.sheets(runs)] == ["sts", "transfer", "probe", "dev"]
    assert sheets.sheets([]) == []


def test_the_dev_sheet_shows_cases_and_what_sets_trainings_apart(tmp_path):
    history = [{"step": 1, "case_a": 0.25, "case_b": 0.75, "case_c": 0.0}]
    runs = [
        recordable(tmp_path / f"{loss}{size}", loss=loss, batch_size=size, history=history)
        for loss in ("simcse", "pm-fixed") for size in (64, 128)
    ]  # fmt: skip
    rows = sheets.dev_sheet(runs).blocks[0].rows
    assert [row[0] for row in rows] == [
        "simcse, batch_size=64", "pm-fixed, batch_size=64", "simcse, batch_size=128", "pm-fixed, batch_size=128",
    ]  # fmt: skip
    assert rows[0][6:] == ["25.0", "75.0", "0.0", "61.50", "baseline", "45.00", "baseline"]
    assert rows[1][-1] == rows[1][-3] == "+0.00, not tested"
    (cases, *_) = sheets.cases_sheet(runs).blocks[0].rows
    assert cases[4:7] == ["25.00", "75.00", "0.00"]


def test_of_many_settings_only_the_unusual_are_named(tmp_path):
    unusual = [{}, {}, {"batch_size": 128}, {"temperature": 0.2}, {"epochs": 3.0, "temperature": 0.2}]
    usual = {"batch_size": 64, "temperature": 0.1, "epochs": 1.0}
    runs = [
        recordable(tmp_path / str(i), loss="simcse", seed=i, **(usual | changed)) for i, changed in enumerate(unusual)
    ]
    sheet = sheets.dev_sheet(runs)
    assert [row[0] for row in sheet.blocks[0].rows] == [
        "simcse", "simcse, batch_size=128", "simcse, temperature=0.2", "simcse, temperature=0.2, epochs=3.0",
    ]  # fmt: skip
    assert "Where not named: batch_size=64, temperature=0.1, epochs=1.0." in sheet.caption


def test_each_method_at_its_own_best_is_chosen_on_dev_and_read_on_test(tmp_path, runs):
    assert sheets.tuned_sheet(runs).blocks == []  # one setting each: nothing to choose
    for seed in range(3):  # hotter: the method is better on dev and worse on test, the baseline worse on dev
        for loss, dev, score in (("simcse", 60.0, 70.0), ("pm-fixed", 63.0, 59.5 + 2.9 * seed)):
            run = recordable(tmp_path / f"hot{loss}{seed}", seed=seed, loss=loss, score=score, temperature=0.2)
            run.write("result", run.result | {"stsb_dev": dev})
            runs.append(run)
    chosen = statistics.tuned(runs)
    assert [run.name for run in chosen] == ["a0", "a1", "a2", *(f"hotpm-fixed{seed}" for seed in range(3))]
    sheet = sheets.tuned_sheet(runs)
    rows = {row[0].split(",")[0]: dict(zip(sheet.head, row, strict=True)) for row in sheet.blocks[0].rows}
    assert rows["pm-fixed"]["method"] == "pm-fixed, temperature=0.2" and rows["simcse"]["STS-B dev"] == "61.50 ± 0.00"
    assert rows["pm-fixed"]["STS"] == "62.40 ± 7.20" and rows["pm-fixed"]["STS against simcse"].startswith("-0.60 [")
    assert rows["simcse"]["STS"] == "63.00 ± 7.45" and rows["simcse"]["STS against simcse"] == "baseline"
    assert rows["pm-fixed"]["transfer"] == "" and rows["simcse"]["transfer against simcse"] == "baseline"
    assert "scores best on STS-B dev" in sheet.caption and "Holm" in sheet.caption


SHEET = Sheet(
    "name", "50 % & more: ± τ", ["a_b", "n"], [Block("One", [["x|y", ""], ["z < 3", "−1"]], [2, None])], 1, ["s", "t_1"]
)


def test_markdown_latex_and_html_say_the_same():
    text = table_formats.to_markdown(SHEET)
    assert r"| x\|y [2] |" in text and "|   – |" in text and "[2] t_1" in text
    tex = table_formats.to_latex(SHEET)
    assert r"\caption{50 \% \& more: $\pm$ $\tau$}" in tex and r"x|y\textsuperscript{2} & -- \\" in tex
    assert r"z \textless{} 3 & $-$1 \\" in tex and tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert tex.count("{") == tex.count("}") and r"\begin{tabular}{lr}" in tex
    tree = ElementTree.fromstring(f"<div>{table_formats.to_html(SHEET)}</div>")
    cells = ["".join(cell.itertext()) for cell in tree.iter() if cell.tag in ("td", "th")]
    assert cells == ["a_b", "n", "One", "x|y2", "–", "z < 3", "−1"]
    assert [item.text for item in tree.iter("li")] == ["s", "t_1"]


def test_one_command_rebuilds_tables_and_figures_from_folders_and_from_a_csv(tmp_path, runs, capsys):
    out = tmp_path / "out"
    assert _rebuild.main(["--runs", str(tmp_path), "--out", str(out), "--format", "md", "tex"]) == 0
    printed = {line.rsplit("/", 1)[1] for line in capsys.readouterr().out.splitlines()}
    assert {"sts.md", "sts.tex", "transfer.md", "dev.md", "verdicts.md", "results.csv", "differences.png"} <= printed
    assert "sts.html" not in printed and printed == {path.name for path in out.iterdir()}
    again = tmp_path / "again"
    assert _rebuild.main(["--csv", str(out / "results.csv"), "--out", str(again), "--format", "md"]) == 0
    for name in ("sts.md", "transfer.md", "verdicts.md"):
        assert (again / name).read_text() == (out / name).read_text()
    assert "better than simcse: +1.10" in (out / "verdicts.md").read_text()
    assert _rebuild.main(["--runs", str(tmp_path / "none")]) == 2


def test_nothing_is_rebuilt_from_nothing(tmp_path):
    with pytest.raises(HncseError, match="no finished run"):
        _rebuild.rebuild([], tmp_path)


def test_a_curve_is_made_of_runs_that_differ_in_one_option(tmp_path):
    def made(name, dev, seed=0, **settings):
        run = recordable(tmp_path / name, seed=seed, **settings)
        run.write("result", run.result | {"stsb_dev": dev})
        return run

    runs = [made(f"d{s}", 70.0 + s, s) for s in range(3)]
    runs += [made(f"k{s}", 72.0 + 2 * s, s, loss_options={"k": 3}) for s in range(3)]
    runs += [made("u", 69.0, loss_options={"alpha": "uniform"})]
    runs += [made("both", 10.0, loss_options={"k": 3, "s": 5})]  # differs in two: on no curve
    runs += [made("t", 65.0, learning_rate=1e-4)]
    runs += [made(f"s{s}", 68.0, s, loss="simcse") for s in range(3)] + [
        made("st", 60.0, loss="simcse", learning_rate=1e-4)
    ]
    found = {curve.option: curve for curve in ablation.curves(runs, "stsb-dev")}
    assert set(found) == {"k", "alpha", "learning_rate"}
    assert [(p.value, p.mean, p.seeds, p.default) for p in found["k"].points] == [
        (3, 74.0, 3, False),
        (10, 71.0, 3, True),
    ]
    assert found["k"].points[0].half == pytest.approx(4.302652729911275 * 2 / 3**0.5)
    assert [p.value for p in found["alpha"].points] == [0.5, "uniform"]
    assert [p.mean for p in found["k"].baseline] == [68.0, 68.0]
    assert [p.mean for p in found["learning_rate"].baseline] == [68.0, 60.0]
    head, body = ablation.rows(list(found.values()))
    assert len(head) == 7 and ["hnm-no-replacement", "k", "10 (default)", "3", "71.00", "2.48", "68.00"] in body
    again = ablation.curves(results.read(_csv(tmp_path, runs)), "stsb-dev")
    assert sorted(map(repr, again)) == sorted(map(repr, found.values()))


def _csv(tmp_path, runs):
    path = tmp_path / "r.csv"
    path.write_text(results.to_csv(results.rows(runs)))
    return path
