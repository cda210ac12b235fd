"""Text from outside on a page: it reads as it is, and nothing of it acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from hncse.data import text
from hncse.evaluation import tables

HOSTILE = (
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "a | b", "$x$", r"$\href{javascript:alert(1)}{x}$",
    "[a](javascript:alert(1))", "![a](javascript:alert(1))", "<javascript:alert(1)>", "`code`", r"\input{/etc/passwd}",
    "a\n\n<b>b</b>\n| c |", "&lt;b&gt;", "**a** __b__ ~~c~~", r"\<b>", "]( [a][b] [a]: x", "\x00<\x08b>", "\ud800",
)  # fmt: skip


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attributes if name != "style"]

    def handle_data(self, data):
        self.text += data


def read(hostile: str) -> str:
    """What a reader should see: one line, without control characters."""
    return " ".join(re.sub(r"[\x00-\x08]", "", hostile).replace("\ud800", "?").split())


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_text_in_a_markdown_table(hostile):
    page = Page(markdown2html_mistune(tables.markdown(["sentence", "cosine"], [[hostile, "0.5"]])))
    assert set(page.tags) == {"table", "thead", "tbody", "tr", "th", "td"} and page.attributes == []
    assert page.tags.count("td") == 2
    cell = page.text.split("cosine")[1].strip().removesuffix("0.5")
    assert " ".join(cell.replace("\\$", "$").split()) == read(hostile)  # Jupyter's formulas are told by \\$


@given(st.text(alphabet="<>/aimg=[]()!`|$\\*_~&;#:\n \x00", max_size=30))
def test_no_text_becomes_a_tag_or_a_link(hostile):
    page = Page(markdown2html_mistune(text.markdown("x" + hostile)))
    assert set(page.tags) <= {"p"} and page.attributes == []


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_text_in_every_format(hostile):
    row = {"method": hostile, hostile: hostile, "block": hostile, "note": 1}
    made = tables.Table("n", hostile, ["method", hostile], [row], 1, [hostile])
    page = Page(made.to_html())
    ours = {"table", "caption", "thead", "tbody", "tr", "th", "td", "sup", "ol", "li"}
    assert set(page.tags) <= ours and set(page.attributes) <= {"id", "scope", "colspan"}
    tex = made.to_latex()
    commands = set(re.findall(r"\\([a-zA-Z]+)", tex))
    assert not commands & {"input", "href"} and not re.search(r"(?<!\\)\$(?!\\)[^-]", tex)
    page = Page(markdown2html_mistune(made.to_markdown()))
    assert set(page.tags) <= ours | {"p", "strong", "br"}


def test_numbers_names_and_intervals_stay_readable():
    for plain in ("+0.10 [+0.02, +0.18], better", "RankCSE_listMLE (unsup)", "batch_size=64", "30 > 20", "50 %"):
        assert text.markdown(plain) == plain
    assert text.markdown(text.Markup("`simcse` <0.001")) == "`simcse` <0.001"
    assert text.picture("costs $5 or $x$\n(\\frac{)") == "costs $5 or $x$ (\\frac{)"
