"""The page shows the sections that have something to show, each picture where its item stands, and runs nothing."""

import re
from html.parser import HTMLParser

import pytest

from clipfake.report import page as module
from clipfake.report.page import render_report
from clipfake.report.report import PageOptions, summarise
from clipfake.report.sections import sections
from clipfake.report.thumbnails import Thumbnail


@pytest.fixture(scope="module")
def found(hostile):
    return summarise(str(hostile / "reports"), PageOptions())


def test_a_picture_stands_with_its_item_and_others_say_why_there_is_none(found):
    first = found["highest"][0]["item_id"]
    page = render_report(found, {first: Thumbnail("data:image/jpeg;base64,QUJD")})
    assert page.count("data:image/jpeg;base64,QUJD") >= 1
    assert "no thumbnail was asked for" in page


def test_a_section_with_nothing_to_show_is_left_out_and_so_is_its_link(found, monkeypatch):
    some = [section for section in sections() if section.name in ("counts", "limits")]
    monkeypatch.setattr(module, "sections", lambda: some)
    page = render_report(found, {})
    assert re.findall(r'<h2 id="(\w+)">', page) == re.findall(r'<li><a href="#(\w+)">', page) == ["counts", "limits"]


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_runs_nothing_and_asks_for_nothing(found):
    """Its items have names that attack: see conftest."""
    page = render_report(found, {})
    assert "default-src 'none'" in page
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
