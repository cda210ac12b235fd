"""The book: what becomes of notebooks' links and pictures, of weights, of tables. No browser, no Sphinx."""

from __future__ import annotations

import base64
import gzip
import json

import nbformat
import numpy as np
import pytest

from book import films, notebooks, results, weights
from hncse import SentenceEncoder
from hncse.errors import HncseError
from hncse.evaluation import literature
from hncse.evaluation import results as recorded
from hncse.presets import OWN_PRESETS, PRESETS
from tools.notebook_files import CHECKOUT, badge, find, read

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def site(tmp_path):
    (tmp_path / "_shown").mkdir()
    return notebooks.Site(CHECKOUT, tmp_path, {"notebooks/03_train.ipynb": "03_train.ipynb"})


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[`mixes`](../hncse/mixing.py#L9)", "[`mixes`](https://github.com/hncse-study-kit/hncse/blob/main/hncse/mixing.py#L9)"),
        ("[three](03_train.ipynb#x) [there](#here)", "[three](03_train.ipynb#x) [there](#here)"),
        ("![a [b] c](../figures/margins.png)", "![a [b] c](pictures/margins.png)"),
        ("[x](https://example.org/a)", "[x](https://example.org/a)"),
    ],
)  # fmt: skip
def test_links_of_the_repository_become_links_of_the_book(site, text, becomes):
    assert site.links(text, "notebooks") == becomes
    assert ("pictures" not in becomes) or (site.source / "pictures" / "margins.png").is_file()


def test_a_link_to_nowhere_is_an_error(site):
    with pytest.raises(HncseError, match=r"hncse/mixin\.py"):
        site.links("[x](../hncse/mixin.py)", "notebooks")


def test_every_link_of_every_notebook_and_of_the_readme_leads_somewhere(tmp_path):
    names = {f"notebooks/{path.name}": path.name for path in find()} | {"notebooks/GLOSSARY.md": "GLOSSARY.md"}
    site = notebooks.Site(CHECKOUT, tmp_path, names)
    for path in find():
        words = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        assert "](../" not in site.links(words, "notebooks")
    site.links((CHECKOUT / "README.md").read_text(encoding="utf-8"), "")


def notebook_with(outputs):
    cells = [
        nbformat.v4.new_markdown_cell(f"# T\n\n{badge('03_train')}\n\nA **mix** and a **mix**."),
        nbformat.v4.new_code_cell("1"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.cells[1].outputs = outputs
    return notebook


def test_pictures_become_files_with_their_words_and_size(site):
    html = f'<figure><img src="data:image/png;base64,{PIXEL}" alt="Four &lt;points&gt;."/></figure>'
    shown = nbformat.v4.new_output("display_data", {"text/html": html, "image/png": PIXEL})
    noise = nbformat.v4.new_output("stream", name="stderr", text="a bar")
    page = notebooks.page(notebook_with([shown, noise]), "03_train", site, {"mix": "GLOSSARY.md#term-mix"})
    (output,) = page.cells[1].outputs
    assert list(output.data) == ["text/html"] and "base64" not in output.data["text/html"]
    assert (
        'alt="Four &lt;points&gt;."' in output.data["text/html"] and 'width="1" height="1"' in output.data["text/html"]
    )
    (file,) = (site.source / "_shown").iterdir()
    assert file.read_bytes() != base64.b64decode(PIXEL) and file.name in output.data["text/html"]
    words = page.cells[0].source
    assert (
        "colab-badge" not in words and "[Open in Colab](https://colab" in words and "downloads/03_train.ipynb" in words
    )
    assert words.endswith("A [**mix**](GLOSSARY.md#term-mix) and a **mix**.")


def test_a_notebook_that_failed_is_no_page(site):
    failed = nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[])
    with pytest.raises(HncseError, match="03_train: a cell ended in KeyError"):
        notebooks.page(notebook_with([failed]), "03_train", site, {})


def test_every_word_of_the_glossary_can_be_linked():
    text, terms = notebooks.glossary((CHECKOUT / "notebooks" / "GLOSSARY.md").read_text(encoding="utf-8"))
    anchors = [link.removeprefix("GLOSSARY.md#") for link in terms.values()]
    assert {"anchor", "decision boundary", "hard negative", "pooling"} <= set(terms) and not {"word", "sign"} & set(
        terms
    )
    assert len(set(anchors)) == len(anchors) and all(text.count(f"{{#{anchor}}}") == 1 for anchor in anchors)


def test_words_are_linked_once_and_only_in_running_text():
    source = "# Margin\n\n`margin` $margin$ [margin](x) <b title='margin'> Margins, **margin**, `simcse`, `simcse`"
    links = {"margin": "G.md#m", "`simcse`": "method_simcse.md"}
    assert notebooks.linked(source, links, set()) == source.replace("> Margins", "> [Margins](G.md#m)").replace(
        "`simcse`", "[`simcse`](method_simcse.md)", 1
    )


def test_a_trained_encoder_is_written_as_its_difference(tmp_path):
    before = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    after = before.copy()
    after[[1, 3]] += [[0.5, -0.25, 0, 1], [1e-6, 0, 0, 0]]
    written = weights.difference(before, after)
    assert np.frombuffer(written, "<u2", 3).tolist() == [2, 1, 3]
    scale = np.frombuffer(written, "<f4", 2, 6)
    delta = scale[:, None] * np.frombuffer(written, "<i2", 8, 14).reshape(2, 4)
    assert np.abs(before[[1, 3]] + delta - after[[1, 3]]).max() < 2e-5 and len(written) == 30
    kit = SentenceEncoder.from_pretrained("kit")
    paths = {
        path.stem: gzip.decompress(path.read_bytes()) for path in weights.write(kit, {"same": ("run", kit)}, tmp_path)
    }
    head = json.loads(paths["encoder"])
    assert len(head["vocabulary"]) == 8192 and head["models"] == {"same": "run"}
    assert len(paths["untrained"]) == 2 * sum(t["rows"] * t["columns"] for t in head["tensors"])
    assert paths["same"] == b"\0\0" * len(head["tensors"])
    kit.pooling = "cls"
    with pytest.raises(HncseError, match="pooling cls"):
        weights.write(kit, {}, tmp_path)


def test_results_stand_beside_every_published_row_and_each_method_has_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "RECORDED", ("sweep",))
    (tmp_path / "_shown").mkdir()
    names = results.write(tmp_path, tmp_path / "_shown")
    sts = (tmp_path / "results_sts.md").read_text(encoding="utf-8")
    published = literature.load("sts")
    assert sts.count('<th scope="row">') > len(published) and "better or worse where p" in sts
    assert all(source.replace("&", "&amp;") in sts for source in published["source"].unique())
    assert {f"method_{name.replace('+', '-and-')}" for name in PRESETS} <= set(names)
    assert set(OWN_PRESETS) < set(results.EQUATIONS) <= set(PRESETS)
    hnm = (tmp_path / "method_hnm-no-replacement.md").read_text(encoding="utf-8")
    frame = recorded.recorded("sweep")
    mean = frame[(frame["loss"] == "hnm-no-replacement") & (frame["measure"] == "sts")].groupby("group")["value"].mean()
    assert all(f"{value:.2f} ±" in hnm for value in mean) and "def hard_negative_mixes" in hnm


def test_a_film_is_written_point_by_point():
    def point(name, angle, tip, **more):
        return {
            "id": name,
            "look": "hard",
            "angle": angle,
            "row": 0.25,
            "tip": tip,
            "onmap": True,
            "x": 0,
            "y": angle,
        } | more

    far = "similarity 0.500, farther than the positive by 0.207"
    first = [point("a", 60.0, ["x", far]), point("c", 10.0, ["y"], onmap=False)]
    second = [
        point("a", 60.00004, ["x", far]),
        point("b", 60.0, ["x", far.replace("207", "300")]),
        point("c", 10.0, ["y"]),
    ]
    written = films.compact({"run": [{"tie": 45.0, "points": first}, {"tie": 45.0, "points": second}]})
    assert written["runs"] == {"run": [{"tie": 45.0}, {"tie": 45.0}]}
    assert [name for name, *_ in written["points"]] == ["a", "b", "c"]
    _, _, angles, bearings, _, tips = written["points"][0]
    assert angles == (60.0, 60.0) and bearings == (90.0, 90.0)
    assert written["tips"][tips[1]] == ("x", "similarity ~, farther than the positive by ~")
    _, _, angles, _, _, tips = written["points"][1]
    assert angles == (None, 60.0) and written["tips"][tips[1]][1].endswith("by 0.300")  # said otherwise: kept as it is
    assert written["points"][2][3] == (None, 90.0)
