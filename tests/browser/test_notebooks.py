"""Run all, move the slider, change run and anchor, search: the picture changes and nothing reports an error."""

from __future__ import annotations

import hashlib

import pytest

from tests.browser.conftest import ROOT

pytestmark = pytest.mark.browser
SCREENSHOTS = ROOT / "figures" / "screenshots"

_READY = """() => {
  const panel = window.jupyterapp?.shell?.currentWidget;
  return panel?.sessionContext?.session?.kernel?.status === "idle" && panel.content?.widgets?.length > 3;
}"""
_RUN_ALL = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
_OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map((cell, i) => ({
  cell: i, code: cell.model.type === "code", count: cell.model.executionCount,
  outputs: cell.model.outputs ? cell.model.outputs.toJSON() : [],
}))"""


def run_all(page, lab, name):
    """Open a notebook, run every cell, and return what the cells hold afterwards."""
    page.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?reset")
    page.wait_for_function(_READY, timeout=120_000)
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate(_RUN_ALL)
    page.wait_for_timeout(1_500)
    return page.evaluate(_OUTPUTS)


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
