"""The book as a reader meets it: every page, by mouse, by keyboard, without a network. Needs the site: `make book`."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.browser.conftest import ROOT, WINDOW

pytestmark = pytest.mark.browser
SITE = Path(os.environ.get("BOOK") or ROOT / "out" / "book" / "html")
RUNS = Path(os.environ.get("BOOK_RUNS") or ROOT / "runs")  # where the book's two runs are
AXE = ROOT / "book" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 390, "height": 844}
PAGES = sorted(path.name for path in SITE.glob("*.html") if path.name not in ("genindex.html", "search.html"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site():
    if not PAGES:
        pytest.fail(f"there is no book in {SITE}; `make book` builds it")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def open_page(browser, site, name, viewport=WINDOW, scheme="light"):
    """A tab, and what went wrong in it: errors, and requests to anybody else."""
    wrong = []
    tab = browser.new_page(viewport=viewport, color_scheme=scheme)
    tab.set_default_timeout(60_000)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((site, "data:", "blob:")) else None)
    tab.goto(f"{site}/{name}", wait_until="networkidle")
    return tab, wrong


@pytest.fixture(scope="module")
def typed(browser, site):
    tab, wrong = open_page(browser, site, "type.html")
    tab.wait_for_selector(".answer table")
    yield tab
    tab.close()
    assert not wrong


AXE_RUN = "() => axe.run({preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_reads_and_fits(browser, site, name):
    """No error, no other host, every picture with its words, nothing for axe in light and dark, fit for a phone."""
    tab, wrong = open_page(browser, site, name)
    for image in tab.locator("article img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("async i => { await i.decode(); return i.naturalWidth > 0 && i.alt.length > 10; }")
    assert not tab.locator("[data-latex], .katex-error").count() and "](" not in " ".join(
        tab.locator("article p").all_inner_texts()
    )
    if name == "type.html":
        tab.wait_for_selector(".answer table")
    tab.add_script_tag(path=AXE)
    tab.add_style_tag(content="* { transition: none !important }")  # no colour is looked at halfway to the next
    found = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_selector(f"html[data-theme={scheme}]")
        found += [
            (scheme, v["impact"], v["id"], v["nodes"][0]["html"][:200]) for v in tab.evaluate(AXE_RUN)["violations"]
        ]
    tab.set_viewport_size(PHONE)
    wide = tab.evaluate("() => document.documentElement.scrollWidth")
    tab.close()
    assert (wrong, found, max(wide, PHONE["width"] + 1)) == ([], [], PHONE["width"] + 1)


def test_a_thousand_vectors_equal_those_of_python(typed):
    from hncse import SentenceEncoder, runs
    from hncse.data import corpora

    models = typed.evaluate("() => document.getElementById('type').tools.models")
    encoders = {loss: runs.find(str(RUNS / name)).load_encoder() for loss, name in models.items()}
    encoders["untrained"] = SentenceEncoder.from_pretrained("kit")

    sentences = [s for source in ("docstrings", "minimal-pairs") for s in corpora.load(source, limit=500).sentences]
    for name, encoder in encoders.items():
        vectors = typed.evaluate(
            """([name, sentences]) => {
                const { tokenizer, encoders } = document.getElementById("type").tools;
                return sentences.map((text) => Array.from(encoders[name].encode(tokenizer.encode(text))));
            }""",
            [name, sentences],
        )
        page = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
        largest = np.abs(page - encoder.encode(sentences, normalize=True)).max()
        print(f"{name}: largest difference {largest:.1e} over {len(sentences)} sentences")
        assert largest < 1e-3
    times = typed.evaluate("() => document.getElementById('type').dataset")
    print(f"first answer after {times['first']} ms, then {times['each']} ms a sentence by {len(encoders)} encoders")


def test_case_and_mixes_are_those_of_the_kit(typed):
    from hncse.presets import resolve
    from hncse.visual.study import mix

    random = np.random.default_rng(5)
    for wide in (0.2, 0.6, 2.0):
        anchor = random.normal(size=16)
        positive, others = anchor + wide * random.normal(size=16), anchor + random.normal(size=(5, 16))
        page = typed.evaluate(
            "([a, p, c]) => import(new URL('_static/type.js', location)).then((m) => m.judge(a, p, c))",
            [anchor.tolist(), positive.tolist(), others.tolist()],
        )
        kit = mix(anchor, positive, others, resolve("pm-fixed", hard_negative_mixing=True, replacement=False))
        assert page["case"] == kit.case and abs(page["pm"] - kit.positive.cosine) < 1e-9
        assert np.allclose(sorted(m["cos"] for m in page["hnm"]), sorted(m.cosine for m in kit.negatives), atol=1e-9)


def test_typing_works_offline_and_by_keyboard_alone(typed):
    typed.context.set_offline(True)
    typed.evaluate("() => document.querySelector('#type select').focus()")
    before = typed.locator(".answer").inner_text()
    typed.keyboard.press("ArrowDown")
    typed.keyboard.press("Tab")
    typed.keyboard.type("Nobody has seen the grey cat.")
    typed.wait_for_timeout(1_500)
    after = typed.locator(".answer").inner_text()
    typed.context.set_offline(False)
    assert before != after and "Case" in after
    assert typed.locator("#type input[name=anchor]").input_value() == "Nobody has seen the grey cat."


def test_the_page_says_what_it_cannot_read(typed):
    typed.fill("#type input[name=anchor]", "日本語 日本語 日本語 日本語 日本語 日本語 日本語 日本語 ελληνικά")
    typed.wait_for_function("() => document.querySelector('.status').textContent.includes('unknown')")


def test_a_table_is_sorted_and_filtered_by_keyboard(browser, site):
    tab, wrong = open_page(browser, site, "results_sts.html")
    tab.locator("thead button", has_text="avg").focus()
    tab.keyboard.press("Enter")
    rows = tab.locator("tbody").last.locator("tr:has(td)")
    scores = [float(text.split()[0]) for text in rows.locator("td:nth-last-child(2)").all_inner_texts()]
    assert len(scores) > 90 and scores == sorted(scores)
    tab.keyboard.press("Enter")
    assert float(rows.first.locator("td:nth-last-child(2)").inner_text().split()[0]) == max(scores)
    tab.locator(".filter input").first.fill("roberta simcse")
    shown = tab.locator("tbody tr:has(td):visible")
    assert 0 < shown.count() < 30 and all("roberta" in text for text in shown.all_inner_texts())
    tab.close()
    assert not wrong


def test_a_reader_finds_a_word_and_folds_out_a_hint(browser, site):
    tab, wrong = open_page(browser, site, "search.html?q=temperature")
    tab.wait_for_selector("#search-results li a")
    hits = tab.locator("#search-results li a").all_inner_texts()
    tab.goto(f"{site}/04_decision_boundary.html")
    hint = tab.locator("details", has_text="Hint").first
    assert not hint.evaluate("d => d.open")
    hint.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert hint.evaluate("d => d.open")
    tab.close()
    assert len(hits) > 3 and not wrong


def test_explorer_and_circle_follow_the_keyboard(browser, site):
    tab, wrong = open_page(browser, site, "explorer.html")
    says = tab.locator(".hncse .says")
    says.wait_for()
    seen = [says.inner_text()]
    for control, key in (
        ("input[type=range]", "End"),
        ("select[aria-label=run]", "ArrowDown"),
        (".explorer select", "ArrowDown"),
    ):
        tab.locator(control).first.focus()
        tab.keyboard.press(key)
        tab.wait_for_timeout(1_500)
        seen.append(says.inner_text() + tab.locator(".hncse .dot").first.evaluate("d => d.style.transform"))
    tab.goto(f"{site}/circle.html", wait_until="networkidle")
    words = tab.locator(".hncse-circle [aria-live]")
    before = words.inner_text()
    tab.locator(".hncse-circle [role=slider]").first.focus()
    tab.keyboard.press("Shift+ArrowLeft")
    assert len(set(seen)) == 4 and words.inner_text() != before
    tab.close()
    assert not wrong


def test_a_film_of_the_page_is_the_kits(typed):
    from hncse import runs
    from hncse.visual import explorer
    from hncse.visual.study import Study

    (name, run), *_ = typed.evaluate("() => Object.entries(document.getElementById('type').tools.models)")
    anchor, page = typed.evaluate(
        """async (name) => {
            const [[anchor]] = await (await fetch("_static/films/anchors.json")).json();
            const { scenes } = await import(new URL("_static/anchors.js", location));
            const answer = await fetch(`_static/films/${anchor}.bin`);
            const film = await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).json();
            return [anchor, scenes(film)[name]];
        }""",
        name,
    )
    kit = explorer.scenes(Study({name: runs.find(str(RUNS / run))}).film(anchor))[name]
    assert [scene["says"] for scene in page] == [scene["says"] for scene in kit]
    for shown, scene in zip(page, kit, strict=True):
        own = [{p["id"]: (p["tip"], p["angle"]) for p in s["points"] if p["id"][0] == "s"} for s in (shown, scene)]
        both = own[0].keys() & own[1].keys()
        assert len(both) > 20 and all(own[0][i][0] == own[1][i][0] for i in both)
        assert max(abs(own[0][i][1] - own[1][i][1]) for i in both) < 1e-3


def test_screenshots(browser, site):
    """Pictures to look at, beside the site: a laptop, a phone, and dark."""
    folder = SITE.parent / "screenshots"
    folder.mkdir(exist_ok=True)
    for name in (
        "index",
        "type",
        "explorer",
        "circle",
        "results_sts",
        "results_forest",
        "04_decision_boundary",
        "GLOSSARY",
    ):
        for label, viewport, scheme in (("1366", WINDOW, "light"), ("390", PHONE, "light"), ("dark", WINDOW, "dark")):
            tab, _ = open_page(browser, site, f"{name}.html", viewport, scheme)
            tab.screenshot(path=folder / f"{name}-{label}.png")
            tab.close()
    assert len(json.dumps([path.name for path in folder.iterdir()])) > 100
