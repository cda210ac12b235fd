"""The circle: circle.js, its Python twin and the kit's loss give the same numbers; its page and its errors.

circle.js runs in Node where there is one; where there is none, the same test is one of `make browser`.
"""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from hncse import losses
from hncse.errors import HncseError
from hncse.visual import circle

in_javascript = pytest.mark.filterwarnings("default") if shutil.which("node") else pytest.mark.browser
ASKED = """
const sum = (rows) => rows.reduce((a, b) => a.map((half, h) => half.map((x, j) => x + b[h][j])));
const answer = (state) => {
  const first = [state.anchor, ...state.negatives], second = [state.positive, ...state.negatives], n = first.length;
  const choice = choose(first, second, state), all = [...first.keys()];
  return { ...measure(state), batch: all.reduce((t, i) => t + loss(i, first, second, state, choice), 0) / n,
    slopes: sum(all.map((i) => gradient(i, first, second, state, choice))).map((half) => half.map((x) => x / n)) };
};
"""


def states(count=40):
    rng = np.random.default_rng(5)
    for i in range(count):
        yield circle.checked(
            anchor=float(rng.uniform(0, 360)), positive=float(rng.uniform(0, 360)),
            negatives=rng.uniform(0, 360, rng.integers(2, 9)).tolist(), tau=float(rng.uniform(0.05, 1)),
            k=int(rng.integers(2, 9)), band=float(rng.choice([0, 0.1, 0.5, 2])), alpha=float(rng.choice([0.3, 0.5])),
            ratio=float(rng.uniform(0, 1)), loss=list(circle.LOSSES)[i % 4],
        )  # fmt: skip


def javascript(given, folder):
    """What circle.js says of states, each with the whole batch's loss and slopes."""
    program = circle.SCRIPT.read_text(encoding="utf-8") + ASKED
    if node := shutil.which("node"):
        (folder / "circle.mjs").write_text(f"{program}\nconsole.log(JSON.stringify({json.dumps(given)}.map(answer)));")
        return json.loads(subprocess.run([node, folder / "circle.mjs"], capture_output=True, check=True).stdout)
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import FLAGS

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        page.add_script_tag(type="module", content=f"{program}\nwindow.answer = answer;")
        page.wait_for_function("window.answer")
        return page.evaluate("(given) => given.map(window.answer)", given)


@in_javascript
def test_the_script_gives_the_kits_loss_and_gradients(tmp_path):
    given = list(states())
    for state, told in zip(given, javascript(given, tmp_path), strict=True):
        ours = circle.measure(**state)
        assert (told["case"], told["star"]) == (ours["case"], ours["star"])
        n = 1 + len(state["negatives"])
        mixes = {tuple(pair): i for i, pair in enumerate(told["pairs"])}  # the kit draws them in another order
        order = [*range(n), *(n + mixes[pair] for pair in ours["pairs"] if len(ours["shares"]) > n)]
        assert np.allclose([told["shares"][i] for i in order], ours["shares"], atol=1e-6)
        turned = np.radians([told["mixes"][mixes[pair]] for pair in ours["pairs"]] + [told["z3"]])
        assert np.allclose(np.exp(1j * turned), np.exp(1j * np.radians([*ours["mixes"], ours["z3"]])), atol=1e-6)
        for key in ("p", "n", "loss", "gradient"):
            assert np.allclose(told[key], ours[key], rtol=1e-6, atol=1e-6), key
        angles = [[state["anchor"], *state["negatives"]], [state["positive"], *state["negatives"]]]
        views = torch.tensor(angles, dtype=torch.float64).deg2rad().requires_grad_()
        kit = losses.ContrastiveLoss(dataclasses.replace(circle.options(state)))
        loss = kit(*torch.stack([views.cos(), views.sin()], dim=2)).loss
        (slopes,) = torch.autograd.grad(loss, views)
        assert told["batch"] == pytest.approx(loss.item(), abs=1e-6)
        assert np.allclose(told["slopes"], slopes.numpy(), rtol=1e-6, atol=1e-6)


def test_the_anchors_loss_is_a_row_of_the_batchs_loss():
    for state in states(12):
        if "PM" not in state["loss"]:  # there the others' rows are the same whoever is the anchor
            ends = [(state["anchor"], state["positive"], state["negatives"])]
            ends += [
                (each, each, [state["positive"], *(other for other in state["negatives"] if other != each)])
                for each in state["negatives"]
            ]
            rows = [circle.measure(**state | {"anchor": a, "positive": b, "negatives": c})["loss"] for a, b, c in ends]
            angles = [[state["anchor"], *state["negatives"]], [state["positive"], *state["negatives"]]]
            views = torch.tensor(angles, dtype=torch.float64).deg2rad()
            kit = losses.ContrastiveLoss(circle.options(state))
            assert np.mean(rows) == pytest.approx(float(kit(*torch.stack([views.cos(), views.sin()], dim=2)).loss))


def test_cases_by_eye_and_what_descent_does():
    assert [circle.measure(positive=p, negatives=[n, 270.0])["case"] for p, n in ((50, 20), (50, 132), (50, 80))] == [
        *"BAC"
    ]
    pulled = circle.measure(loss="SimCSE")["gradient"]
    assert pulled[1] < 0, "descent turns the positive left, towards the anchor"
    assert pulled[2] < 0, "and the hardest negative, on the other side, farther left"


def test_the_twin_says_what_it_shows_and_the_page_holds_its_state():
    words = circle.picture(loss="PM + HNM", positive=30.0, negatives=[100.0, 20.0]).get_label()
    assert "case C" in words and "PM + HNM" in words
    text = circle.page(tau=0.25)
    assert '"tau":0.25' in text and "export default widget" in text and "src=" not in text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"temperature": 0.1}, "unknown field of the circle 'temperature'"),
        ({"loss": "hnm"}, "unknown loss 'hnm'. Valid: HNM"),
        ({"negatives": [1.0]}, "2 to 8 angles"),
        ({"negatives": [1.0, float("nan")]}, "no angle"),
        ({"tau": 0}, "above 0"),
    ],
)
def test_a_wrong_state_is_said(state, words):
    with pytest.raises(HncseError, match=words):
        circle.show(**state)


def test_headless_shows_nothing_and_else_the_widget_holds_the_state(monkeypatch):
    monkeypatch.setenv("HNCSE_HEADLESS", "1")
    assert circle.show() is None
    monkeypatch.setenv("HNCSE_HEADLESS", "0")
    widget = circle.show(tau=0.3)
    assert widget.tau == 0.3 and widget.negatives == circle.DEFAULTS["negatives"]
