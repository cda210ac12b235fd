"""Published figures: complete, plausible, and with where each was read."""

from __future__ import annotations

import numpy as np
import pytest

from hncse.data.senteval import STS_TASKS
from hncse.errors import HncseError
from hncse.evaluation import literature

TRANSFER = ["MR", "CR", "SUBJ", "MPQA", "SST2", "TREC", "MRPC"]
TASKS = {"sts": list(STS_TASKS), "transfer": TRANSFER, "seed_runs": list(STS_TASKS)}
ROWS = {"sts": 97, "transfer": 27, "seed_runs": 200}


@pytest.mark.parametrize("name", literature.TABLES)
def test_tables_are_whole_and_averages_agree(name):
    table = literature.load(name)
    assert len(table) == ROWS[name]
    tasks = table[TASKS[name]].to_numpy(dtype=float)
    known = ~np.isnan(tasks).any(axis=1)
    assert known.sum() >= ROWS[name] - 1
    assert ((tasks[known] > 10) & (tasks[known] < 100)).all()
    # some sources average unrounded figures, some print one decimal
    assert np.abs(tasks[known].mean(axis=1) - table["avg"][known]).max() < 0.05


@pytest.mark.parametrize("name", ["sts", "transfer"])
def test_every_figure_has_a_source(name):
    table = literature.load(name)
    assert table["source"].str.len().min() > 10
    assert table["backbone"].notna().all()


def test_figures_the_kit_speaks_of():
    table = literature.load("sts")
    simcse = table[(table["method"] == "SimCSE (unsup)") & (table["backbone"] == "bert-base")]
    assert simcse["avg"].tolist() == [76.25]
    runs = literature.load("seed_runs")
    bert = runs[runs["backbone"] == "bert-base-uncased"]["avg"]
    assert (len(bert), round(bert.mean(), 2), round(bert.std(), 2)) == (50, 75.11, 0.84)
    assert (bert.min(), bert.max()) == (73.16, 76.70)


def test_no_row_has_the_columns_of_stsb_and_sickr_swapped():
    table = literature.load("sts")
    (row,) = table[table["method"].str.startswith("VaSCL")].to_dict("records")
    assert (row["backbone"], row["STSB"], row["SICKR"]) == ("roberta-base", 80.52, 69.40)
    contrastive = table[(table["STSB"] > 75) | (table["SICKR"] > 75)]  # sentence encoders trained without labels
    unlabelled = contrastive[contrastive["method"].str.contains("unsup")]
    assert len(unlabelled) > 30 and (unlabelled["STSB"] > unlabelled["SICKR"]).all()


def test_dev_rows_say_so():
    table = literature.load("transfer")
    dev = table[table["source"].str.contains("devacc")]
    assert len(dev) == 3
    assert dev["method"].str.startswith("DEV-SET").all()


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(HncseError, match="Did you mean 'transfer'"):
        literature.load("transfers")
