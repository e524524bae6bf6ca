"""A section is a module and a template of one name: the page, its list at the top and its doubts follow from them."""

import re
import sys
from pathlib import Path

import pytest

from clipfake.report import sections as package
from clipfake.report.page import render_report
from clipfake.report.report import PageOptions, summarise
from clipfake.report.sections import CARE, sections
from clipfake.report.trust import trust

FOLDER = Path(package.__file__).parent


def test_each_section_is_two_files_of_its_name():
    names = [section.name for section in sections()]
    assert len(set(names)) == len(names) == len({section.order for section in sections()})
    for kind in ("*.py", "*.html.j2"):
        found = {path.name.partition(".")[0] for path in FOLDER.glob(kind)} - {"__init__"}
        assert found == set(names)


def test_the_page_has_each_section_once_in_order_and_a_link_to_it(hostile):
    page = render_report(summarise(str(hostile / "reports"), PageOptions()), {})
    names = [section.name for section in sections()]
    assert re.findall(r'<h2 id="(\w+)">', page) == names
    assert re.findall(r'<li><a href="#(\w+)">', page) == names


@pytest.fixture
def newcomer(monkeypatch, tmp_path):
    """A further section of two files; its template is that of the limits."""
    (tmp_path / "sizes.py").write_text(
        "from clipfake.report.sections import CARE, Section\n"
        "def query(question):\n"
        "    return {'largest': question.rows.ask('SELECT max(width) AS w FROM $rows')[0]['w']}\n"
        "SECTION = Section('limits', 'Sizes', 35, query, doubts=lambda found: [(CARE, f\"{found['largest']} wide\")])\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr(package, "__path__", [str(FOLDER), str(tmp_path)])
        sections.cache_clear()
        yield
    sections.cache_clear()
    del sys.modules[f"{package.__name__}.sizes"]


def test_a_new_section_is_counted_shown_linked_and_doubts(hostile, newcomer):
    found = summarise(str(hostile / "reports"), PageOptions())
    assert found["largest"] == 90
    assert {"tone": CARE, "text": "90 wide"} in trust(found)["reasons"]
    assert ">Sizes</a>" in render_report(found, {})
