"""Notebooks driven as a reader does: run all, type a solution, drag and search; pictures change, nothing fails."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.browser.conftest import ROOT

pytestmark = pytest.mark.browser
SCREENSHOTS = ROOT / "figures" / "screenshots"

_READY = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget;
  return panel?.sessionContext?.session?.kernel?.status === "idle" && panel.content?.widgets?.length > 3;
}"""
_RUN_ALL = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
_SOURCES = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
  cell => [cell.model.id, cell.model.sharedModel.getSource()])"""
_OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map((cell, i) => ({
  cell: i, code: cell.model.type === "code", count: cell.model.executionCount,
  outputs: cell.model.outputs ? cell.model.outputs.toJSON() : [],
}))"""


def run_all(page, lab, name, typed=None):
    """Open a notebook, type into its cells, run every cell, and return what the cells hold afterwards.

    Args:
        typed: A cell's id → what turns its source into the one that is typed over it.
    """
    page.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?reset")
    page.wait_for_function(_READY, timeout=400_000)  # a kernel takes minutes on a busy machine
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    sources = page.evaluate(_SOURCES) if typed else []
    for place, (identity, source) in enumerate(sources):
        if identity in typed:
            page.locator(".jp-Notebook .jp-Cell").nth(place).locator(".cm-content").click()
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(typed[identity](source))
    page.evaluate(_RUN_ALL)
    page.wait_for_timeout(1_500)
    return page.evaluate(_OUTPUTS)


def words(cells):
    """All that the cells print and show as Markdown."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    return "\n".join("".join(o.get("text") or o.get("data", {}).get("text/markdown") or "") for o in outputs)


def show(page, text, name):
    """Scroll to the first output with these words and keep a picture of it."""
    page.locator(".jp-OutputArea-output", has_text=text).first.evaluate("el => el.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)
    keep(page, name)


def assert_clean(cells):
    """Every code cell ran, and none reported an error."""
    errors = [
        (c["cell"], o.get("ename"), o.get("evalue")) for c in cells for o in c["outputs"] if o["output_type"] == "error"
    ]
    assert not errors
    unrun = [c["cell"] for c in cells if c["code"] and not c["count"]]
    assert not unrun


def keep(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def state(page):
    """What the explorer shows: its words and where its marks are; and a hash of its pixels."""
    page.wait_for_timeout(900)  # marks glide for half a second
    box = page.locator(".hncse").first
    marks = box.evaluate(
        "el => el.querySelector('.says').textContent + "
        "[...el.querySelectorAll('.dot')].map(d => d.style.transform).join()"
    )
    return marks, hashlib.sha256(box.screenshot()).hexdigest()


@pytest.mark.parametrize("name", ["00_start_here", "03_train"])
def test_runs_from_top_to_bottom(page, lab, name):
    assert_clean(run_all(page, lab, name))
    page.locator(".jp-OutputArea-output img").first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    keep(page, name)


OWN = """
    u, v = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    total = 0
    for i in range(len(u)):
        row = u[i] @ v.T  # (N,)
        hard = sorted((j for j in range(len(u)) if j != i), key=lambda j: -float(row[j]))[:k]
        mixes = [z2[a] + z2[b] for place, a in enumerate(hard) for b in hard[place + 1 :]]
        harder = [F.cosine_similarity(z1[i], mix, dim=0) for mix in mixes]
        total = total + torch.logsumexp(torch.stack([*row, *harder]) / tau, 0) - row[i] / tau
    return total / len(u)"""  # one anchor at a time, as somebody writes it who has just read the equation
SMALL = {"limit": 96, "batch_size": 16, "evaluate": '"probe"', "own_seeds": 2}


def small(source):
    """The parameters cell of notebook 03 with small values."""
    for name, value in SMALL.items():
        source = re.sub(rf"^({name}: [^=]*= )\S+", rf"\g<1>{value}", source, flags=re.M)
    return source


def test_a_learner_builds_hnm_trains_with_it_and_finds_the_row(page, lab):
    """Write `hnm` in 03, set `own_seeds`, run all; the row of that loss then stands in 05, 06 and 07a."""
    typed = {
        "03-02": small,
        "ex-03-5-code": lambda source: source.replace("\n    ...  # your code, in place of this line", OWN),
    }
    cells = run_all(page, lab, "03_train", typed)
    assert_clean(cells)
    said = words(cells)
    assert "✓ 03.5" in said and "○ 03.6" in said, "hnm is the learner's own, pm is left open"
    assert "my_hnm" in said and "own_seeds is 0" not in said
    show(page, "✓ 03.5", "03_own_hnm")
    show(page, "my_hnm", "03_own_row")
    for name, found in {
        "05_sts_table": r"my_hnm \| +probe \| +2 \| +[\d.]+ \| +\[",
        "06_transfer_table": r"my-hnm-seed1",
        "07a_luck_and_verdicts": r"my_hnm less simcse, probe, 2 seeds: \[[+-][\d.]+, [+-][\d.]+\] points: \w+",
    }.items():
        cells = run_all(page, lab, name)
        assert_clean(cells)
        row = re.search(found, words(cells))
        assert row, f"{name} has no row of the learner's loss"
        show(page, re.search(r"my[_-]hnm", row[0])[0], f"{name[:3].rstrip('_')}_own_row")


def test_the_explorer_follows_every_control(page, lab):
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    assert_clean(run_all(page, lab, "04_decision_boundary"))
    for i, image in enumerate(page.locator(".jp-OutputArea-output img").all()):
        image.scroll_into_view_if_needed()
        assert image.evaluate("el => el.complete && el.naturalWidth > 600 && el.alt.length > 60")
        if i in (0, 2):
            page.wait_for_timeout(500)
            keep(page, f"04_picture_{i}")
    circle = page.locator(".hncse-circle").first
    before = circle.locator(".side").inner_text()
    circle.locator(".hand").nth(1).focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert circle.locator(".side").inner_text() != before, "the positive did not turn"
    knob = page.locator(".widget-slider [role=slider]").nth(2)
    page.wait_for_function("() => document.querySelectorAll('.widget-html img').length")
    first = page.locator(".widget-html img").first.get_attribute("src")
    knob.focus()
    page.keyboard.press("End")
    page.wait_for_function("first => document.querySelector('.widget-html img').src !== first", arg=first)
    explorer = page.locator(".hncse").first
    controls = page.locator(".jp-OutputArea-output", has=explorer).last
    explorer.evaluate("el => el.scrollIntoView({block: 'end'})")
    seen = [state(page)]
    keep(page, "04_explorer_start")

    def changed(what):
        before = seen[-1]
        for _ in range(120):  # another anchor is another map: a second, or many on a busy machine
            if (now := state(page)) != before and now[0] != before[0]:
                break
        seen.append(now)
        keep(page, f"04_explorer_{what}")
        assert now[0] != before[0], f"{what}: the marks did not move"
        assert now[1] != before[1], f"{what}: the picture did not change"

    controls.locator(".widget-slider .noUi-handle, .jupyter-widgets.widget-slider [role=slider]").first.focus()
    page.keyboard.press("End")
    changed("slider")
    controls.locator(".widget-toggle-buttons button:not(.mod-active)").first.click()
    changed("run")
    controls.locator(".widget-dropdown select").first.select_option(index=4)
    changed("anchor")
    controls.locator(".widget-text input").first.fill("because")
    page.keyboard.press("Enter")
    changed("search")
    mark = explorer.locator(".dot", has=page.locator("path")).last  # the ruler's anchor
    mark.hover(force=True)
    page.wait_for_timeout(300)
    assert explorer.locator(".tip").evaluate("el => getComputedStyle(el).visibility") == "visible"
    assert "anchor" in explorer.locator(".tip").inner_text()
    keep(page, "04_explorer_hover")
    assert not said
    assert_clean(page.evaluate(_OUTPUTS))


def test_the_page_without_a_kernel(page):
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    page.goto((ROOT / "figures" / "decision_boundary.html").as_uri())
    first = state(page)
    slider = page.locator("input[type=range]")
    slider.fill(slider.get_attribute("max"))
    last = state(page)
    assert first[0] != last[0]
    keep(page, "decision_boundary_page")
    assert not said
