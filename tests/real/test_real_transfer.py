"""The real transfer tasks: counts, SentEval's numbers fit by fit on real embeddings, and both solvers side by side."""

from __future__ import annotations

import numpy as np
import pytest

from hncse.data.senteval import TRANSFER_TASKS, load_task
from hncse.evaluation import transfer
from hncse.evaluation.solvers import choices, senteval_accuracies
from tests.oracles import transfer_oracle as oracle

pytestmark = pytest.mark.real


def test_counts_and_known_traps():
    tasks = {name: load_task(name) for name in TRANSFER_TASKS}
    assert {task.release for task in tasks.values()} == {"known release"}
    sizes = {name: np.bincount(task.labels).tolist() for name, task in tasks.items()}
    assert sizes["MR"] == [5331, 5331] and sizes["CR"] == [1368, 2407] and sizes["SUBJ"] == [5000, 5000]
    assert sizes["MPQA"] == [7294, 3312]
    assert [len(tasks[name].labels) for name in ("SST2", "TREC", "MRPC")] == [70042, 5952, 5801]
    empty = {name: sum(not s for s in task.sentences) for name, task in tasks.items()}
    assert {name: n for name, n in empty.items() if n} == {"CR": 4, "MPQA": 3}
    assert tasks["MRPC"].labels[tasks["MRPC"].test].mean() == pytest.approx(0.6649, abs=1e-4)  # its majority class


def test_classifiers_in_step_equal_sentevals_on_real_embeddings(kit):
    task = load_task("CR")
    z = transfer.features(task, kit.encode(task.sentences, show_progress=False))
    choice = choices(task)[0]
    fits, strengths = choice.search[:3], np.array([[1e-5, 1e-3, 1e-2]] * 3)
    seen = senteval_accuracies(z, task.labels, 2, fits, strengths)
    fit = fits[1]
    dev = z[fit.score], task.labels[fit.score]
    for place, strength in enumerate(strengths[1]):
        assert abs(seen[1, place] - oracle.fit(z[fit.train], task.labels[fit.train], 2, strength, dev)[1]) <= 0.006
    final = senteval_accuracies(z, task.labels, 2, [choice.final], np.array([[1e-3]]))[0, 0]
    model, _ = oracle.fit(z[choice.final.train], task.labels[choice.final.train], 2, 1e-3)
    alone = oracle.score(model, z[choice.final.score], task.labels[choice.final.score])
    assert abs(final - alone) <= 0.006  # rounding may move two of 378 rows


def test_both_solvers_stand_close_together_on_trec(kit):
    task = load_task("TREC")
    z = transfer.features(task, kit.encode(task.sentences, show_progress=False))
    senteval, fast = (transfer.classify(z, task, solver) for solver in transfer.SOLVERS)
    assert abs(fast["acc"] - senteval["acc"]) < 2.5
    assert fast["acc"] > fast["majority"] + 40
