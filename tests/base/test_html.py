"The page: whatever names hold, it is text; nothing is fetched and nothing runs."

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccf_batch.base.html import Sheet, render, show


class Reader(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.cells, self.attributes, self.cell = set(), [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.cell = tag == "td"
        if self.cell:
            self.cells.append("")

    def handle_endtag(self, tag):
        self.cell = False

    def handle_data(self, data):
        if self.cell:
            self.cells[-1] += data


TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "p", "div", "table", "caption"}
TAGS |= {"thead", "tbody", "tr", "th", "td"}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&lt;b&gt;"]
)


@pytest.mark.quick
@given(st.lists(TEXT, min_size=5, max_size=5))
def test_text_stays_text_and_is_all_there(texts):
    title, note, caption, column, cell = texts
    page = render(title, [note], [Sheet(caption, [column, ">n"], [[cell, 7]])]).decode()
    found = Reader(page)
    assert found.cells == [cell, "7"]
    assert found.tags <= TAGS
    names = {name for name, _ in found.attributes}
    assert names <= {"lang", "charset", "http-equiv", "content", "name", "class", "scope"}


def test_a_page_asks_nothing_of_anyone():
    page = render("t", [], [Sheet("s", ["a", ">b"], [["x", 1]])]).decode()
    for word in ("<script", "http://", "https://", "src=", "url(", "@import"):
        assert word not in page
    assert "default-src 'none'" in page and page.count('class="right"') == 2


def test_what_utf_8_cannot_hold_does_not_stop_it():
    assert b"?" in render("\udcff", [], [])


def test_the_same_sheets_go_to_the_terminal(capsys):
    show([Sheet("Title", ["a", ">b"], [["[red]x", 1]])])
    out = capsys.readouterr().out
    assert "Title" in out and "[red]x" in out
