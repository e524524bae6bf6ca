"""Both pages in a real browser: nothing runs, nothing is asked for, nothing overflows a phone.

Without a browser these tests skip; where CLIPFAKE_BROWSER is "required", as in .ci/run, they fail instead.
"""

from pathlib import Path
from typing import Any

import pytest

from clipfake.report.model_card import render_model_card
from clipfake.report.report import PageOptions, make_page

ATTACK = '"><img src=x onerror=alert(1)>.jpg'


@pytest.fixture(scope="module")
def report_page(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "report.html"
    make_page(str(hostile / "reports"), str(out), PageOptions())
    return out


@pytest.fixture(scope="module")
def card_page(evaluation: Any, described: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "card.html"
    out.write_text(render_model_card(evaluation(name=ATTACK), described))
    return out


@pytest.fixture(params=["report_page", "card_page"])
def page(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_it_opens_quietly_and_fits(browser, page, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened, events = context.new_page(), []
    opened.on("request", lambda r: events.append(r.url) if not r.url.startswith((f"file://{page}", "data:")) else None)
    opened.on("console", lambda message: events.append(message.text))
    opened.on("pageerror", lambda error: events.append(str(error)))
    opened.on("dialog", lambda dialog: (events.append(f"dialog {dialog.message}"), dialog.dismiss()))
    opened.goto(f"file://{page}", wait_until="load")
    for summary in opened.locator("summary").all()[:8]:
        summary.click()
    for link in opened.locator("nav a").all():
        assert opened.locator(link.get_attribute("href")).count() == 1
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.evaluate(overflow) == 0
    assert opened.evaluate("document.scripts.length") == 0
    assert opened.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert ATTACK in opened.inner_text("body")
    dark = opened.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert events == []
    context.close()


def test_no_markup_of_a_stranger_becomes_an_element(browser, report_page):
    opened = browser.new_page()
    opened.goto(f"file://{report_page}")
    sources = opened.evaluate("[...document.images].map(i => i.src.slice(0, 23))")
    assert set(sources) == {"data:image/jpeg;base64,"}
    assert len(sources) > 20
    handlers = (
        "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length"
    )
    assert opened.evaluate(handlers) == 0
    shown = opened.inner_text("body")
    for text in (
        "{{ 7 * 7 }}{% raw %}.jpg",
        "a⟨202E⟩gpj.exe.jpg",
        "line⟨000A⟩break⟨0007⟩.jpg",
        "<script>alert(2)</script>",
    ):
        assert text in shown
    opened.close()
