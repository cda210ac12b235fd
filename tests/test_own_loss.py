"""`train(config, loss=f)`: the training of the preset of the same equation, known by its source, named in tables."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hncse import losses, runs
from hncse.errors import HncseError
from hncse.evaluation import results, statistics, tables
from hncse.training import TrainingConfig, own_loss, train
from tests import tiny

TEXTS = tiny.sentences(64)
SCALE = 20.0


def cosines(z1, z2):
    return F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T


def my_loss(z1, z2, scale=None):
    return F.cross_entropy(cosines(z1, z2) * (scale or SCALE), torch.arange(len(z1)))


class Learned(torch.nn.Module):
    """A loss with a weight of its own and draws of its own."""

    def __init__(self):
        super().__init__()
        self.scale, self.step = torch.nn.Parameter(torch.tensor(3.0)), 0

    def forward(self, z1, z2):
        noise = torch.rand((), generator=torch.Generator().manual_seed(self.step))
        out = my_loss(z1, z2, self.scale.exp()) + noise
        return losses.LossOutput(out, {"scale": self.scale.exp().detach()})


@pytest.fixture(scope="module")
def base(quick):
    return quick | {"temperature": 0.05}


def logged(run: runs.Run) -> list[float]:
    return [line["loss"] for line in run.history if "loss" in line]


def test_the_same_equation_gives_the_presets_training_and_a_row_of_its_own(base, monkeypatch, tmp_path):
    simcse = train(TrainingConfig(**base, loss="simcse"), TEXTS)
    mine = train(TrainingConfig(**base), TEXTS, loss=my_loss)
    assert logged(mine) == pytest.approx(logged(simcse), rel=1e-5)
    assert [line["case_a"] for line in mine.history if "loss" in line] == pytest.approx(
        [line["case_a"] for line in simcse.history if "loss" in line], abs=0.07
    )
    assert mine.name.startswith("my-loss-seed7-") and mine.config["parameters"]["loss"] == "my_loss"
    assert train(TrainingConfig(**base, loss="hcl"), TEXTS, loss=my_loss).path == mine.path  # not looked at
    assert mine.loss_options.temperature == 0.05 and mine.loss_options.positive_mixing is None
    monkeypatch.setitem(my_loss.__globals__, "SCALE", 10.0)
    hot = train(TrainingConfig(**base), TEXTS, loss=my_loss)
    assert hot.path != mine.path
    with pytest.raises(HncseError, match="loss's source differs"):
        train(TrainingConfig(**base, name=mine.name), TEXTS, loss=my_loss)

    (tmp_path / "results.csv").write_text(results.to_csv(results.from_runs([simcse, mine, hot])))
    frame = results.from_csv(tmp_path / "results.csv")
    groups = frame.drop_duplicates("group")
    assert groups["loss"].tolist() == ["my_loss", "my_loss", "simcse"] and groups["training"].nunique() == 1
    both = {f"my_loss [{run.config['parameters']['loss_source'][:8]}]" for run in (mine, hot)}
    assert {row["method"] for row in tables.cases(frame).rows} == {"simcse", *both}
    assert results.from_runs([simcse, mine])["method"].unique().tolist() == ["simcse", "my_loss"]
    assert statistics.curves(frame, "steps").empty  # it has no options, and breaks no table of them


@pytest.mark.parametrize("changes", [{}, {"negatives": "negative", "column": "anchor"}])
def test_an_interrupted_run_with_a_loss_of_ones_own_ends_in_the_same_bytes(changes, base, monkeypatch, tmp_path):
    rows = zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)
    file = tmp_path / "mined.csv"
    file.write_text("anchor,negative\n" + "".join(f"{a},{n}\n" for a, n in rows))
    base = base | {"corpus": str(file), "column": "anchor", "limit": None, **changes}
    hard = []

    def mine(z1, z2, excluded, negatives, temperature):
        hard.append(negatives)
        own = (z1[:, None] * negatives).sum(2) if negatives is not None else z1[:, :0]
        return F.cross_entropy(torch.cat([cosines(z1, z2), own], 1) / temperature, torch.arange(len(z1)))

    loss = mine if changes else Learned()
    monkeypatch.setattr(own_loss, "fingerprint", lambda function: "0" * 16)  # its closure grows while it is called
    whole = train(TrainingConfig(**base, name=f"whole{len(changes)}"), loss=loss)
    again = TrainingConfig(**base, name=f"again{len(changes)}")
    with tiny.power_cut(monkeypatch, 3):
        train(again, loss=loss)
    resumed = train(again, loss=loss)
    assert resumed.history == whole.history
    name = "encoder/model.safetensors"
    assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert {None if h is None else tuple(h.shape) for h in hard} == ({(16, 1, 16)} if changes else set())
    assert changes or len({line["scale"] for line in whole.history if "loss" in line}) > 1  # its weight is trained


def module(path: Path, text: str):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


WRITTEN = """
import torch.nn.functional as F
from hncse.exercises.lesson_01 import *
RATIO, WORDS, part = 0.5, {"a": (1, 2)}, F.normalize

def helper(z, power=2):
    return z ** power

def factory(k):
    def inner(z1, z2):
        return [helper(z1) for _ in range(k)], RATIO, part
    return inner

class Base:
    def weight(self): return 1

class Loss(Base):
    def __init__(self, tau): self.tau = tau
    @property
    def hot(self): return self.tau
    def __call__(self, z1, z2): return super().weight() * self.hot * WORDS["a"][0]
    __name__ = "loss"

f, g = factory(2), Loss(0.1)
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("power=2", "power=3", "f"), ("z ** power", "z + power", "f"), ("factory(2)", "factory(3)", "f"),
        ("RATIO, WORDS, part = 0.5", "RATIO, WORDS, part = 0.6", "f"), ("F.normalize\n", "F.relu\n", "f"),
        ("Loss(0.1)", "Loss(0.2)", "g"), ("return 1", "return 2", "g"), ("return self.tau", "return 3", "g"),
        ("(1, 2)", "(1, 3)", "g"), ("    return z", "    # why\n    return  z", ""), ("RATIO, part", "RATIO,part", ""),
        ("def helper(z, power=2):", "OTHER = 3\ndef helper(z, power=2):\n    'Say.'", ""),
    ],
)  # fmt: skip
def test_a_fingerprint_is_that_of_what_the_function_does(old, new, changed, tmp_path):
    assert WRITTEN.count(old) == 1
    first, second = (module(tmp_path / f"{name}.py", text) for name, text in
                     (("one", WRITTEN), ("two", WRITTEN.replace(old, new))))  # fmt: skip
    for name in "fg":
        alike = own_loss.fingerprint(getattr(first, name)) == own_loss.fingerprint(getattr(second, name))
        assert alike == (name != changed)


def test_a_readers_own_module_counts_by_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for factor in (1, 2):
        (tmp_path / "my_parts.py").write_text(f"def core(z1, z2):\n    return {factor} * (z1 - z2).square().mean()\n")
        monkeypatch.delitem(sys.modules, "my_parts", raising=False)
        text = "import my_parts\ndef loss(z1, z2):\n    return my_parts.core(z1, z2)\n"
        prints.append(own_loss.fingerprint(module(tmp_path / "losses.py", text).loss))
    assert prints[0] != prints[1]


def test_partials_and_tensors_count():
    def weighted(z1, z2, weight):
        return (z1 * weight).sum()

    prints = {own_loss.fingerprint(functools.partial(weighted, weight=torch.full((2,), w))) for w in (1.0, 2.0, 1.0)}
    assert len(prints) == 2
    kinds = [torch.ones(2), torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.float64)]
    assert len({own_loss.fingerprint(functools.partial(weighted, weight=weight)) for weight in kinds}) == 3


def simcse(z1, z2):
    return my_loss(z1, z2)


def unlike(z1, z2, other):
    return my_loss(z1, z2)


exec(typed := "def typed(z1, z2):\n    return z1.mean()")


GENERATOR = torch.Generator()


def drawn(z1, z2):
    return my_loss(z1, z2) + torch.rand((), generator=GENERATOR)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("simcse", "TrainingConfig"), (lambda z1, z2: z1, "lambda"), (simcse, "preset"), (unlike, "'other'"),
        (typed, "cannot be read"), (lambda: 0, "lambda"), (drawn, "Generator"), (losses.build("simcse"), "kit's"),
    ],
)  # fmt: skip
def test_what_is_no_loss_is_refused_before_anything_is_written(loss, said, base, tmp_path):
    with pytest.raises(HncseError, match=said):
        train(TrainingConfig(**base | {"output": str(tmp_path / "runs")}), TEXTS, loss=loss)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return cosines(z1, z2)", "one number"), ("return 3.0", "float"), ("return z1.detach().mean()", "gradient"),
        ("return losses.LossOutput(z1.mean(1), {})", "one number"),
    ],
)  # fmt: skip
def test_what_returns_no_loss_is_refused_before_anything_is_written(body, said, base, tmp_path):
    written = "from hncse import losses\nfrom tests.test_own_loss import cosines\ndef bad(z1, z2):\n    " + body
    with pytest.raises(HncseError, match=said):
        train(
            TrainingConfig(**base | {"output": str(tmp_path / "runs")}), TEXTS,
            loss=module(tmp_path / "bad.py", written).bad,
        )  # fmt: skip
    assert not list(tmp_path.glob("runs/*"))


def test_options_and_negatives_that_it_does_not_take_are_refused(base, tmp_path):
    with pytest.raises(HncseError, match="loss_options"):
        train(TrainingConfig(**base, loss_options={"k": 3}), TEXTS, loss=my_loss)
    (tmp_path / "m.csv").write_text("anchor,negative\n" + "".join(f"{t},{t} not\n" for t in TEXTS))
    c = TrainingConfig(**base | {"corpus": str(tmp_path / "m.csv"), "column": "anchor", "negatives": "negative"})
    with pytest.raises(HncseError, match="argument called negatives"):
        train(c, loss=my_loss)
