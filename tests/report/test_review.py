"""The page of `clipfake review`: what it shows, answered by keyboard in a real browser, and what its labels become."""

import csv
import hashlib
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.report.options import ReviewOptions
from clipfake.report.review import _items, make_review
from clipfake.storage import uri as uris
from clipfake.storage.reports import latest, open_report, rows_of

SMALL = ReviewOptions(shown=4, sample=20)


@pytest.fixture(scope="module")
def review(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("review") / "review.html"
    make_review(str(hostile / "reports"), str(out), SMALL)
    return out


def shown(page: Path) -> list[tuple[str, str, str]]:
    """(path, sample, verdict) of each item, in the page's order."""
    return re.findall(r'data-path="([^"]*)" data-sample="([^"]*)" data-verdict="([^"]*)"', page.read_text())


def test_it_holds_each_kind_once_and_says_how_many(hostile, tmp_path, review):
    found = make_review(str(hostile / "reports"), str(tmp_path / "r.html"), SMALL)
    items = shown(review)
    assert found == {"items": len(items), "random": 20, "population": 60, "without_picture": 0, "detector": "d" * 64}
    assert len({path for path, _, _ in items}) == len(items)
    assert [sample for _, sample, _ in items].count("random") == 20
    assert (tmp_path / "r.html").read_bytes() == review.read_bytes()  # the same seed, the same page
    highest = [uris.from_path(str(hostile / "images" / f"night-{night}" / '"><img src=x onerror=alert(1)>.jpg'))
               for night in range(3)]  # fmt: skip
    assert set(highest) <= {path for path, _, _ in items}


def test_the_sample_is_simple_and_random(hostile):
    """Over seeds, each of the 60 scored items is drawn as often as another; no item with an error is."""
    drawn: dict[str, int] = {}
    for seed in range(60):
        for path in sample_of(hostile, ReviewOptions(shown=0, sample=20, seed=seed)):
            drawn[path] = drawn.get(path, 0) + 1
    assert len(drawn) == 60
    # Binomial(60, 1/3): mean 20, deviation 3.65; all 60 within 4.2 of them in more than 99.8 % of such tests.
    assert max(abs(n - 20) for n in drawn.values()) < 4.2 * 3.65


def sample_of(hostile: Path, options: ReviewOptions) -> list[str]:
    with rows_of(open_report(str(hostile / "reports")).dataset()) as rows:
        population, items = _items(latest(rows, "d" * 64), [], options)
    assert population == 60
    return [item["item_id"] for item in items]


def test_what_is_answered_first_is_a_random_part_of_the_sample(hostile):
    """The page's order is not that of the draw: a smaller sample is not its beginning."""
    large = sample_of(hostile, ReviewOptions(shown=0, sample=40))
    small = set(sample_of(hostile, ReviewOptions(shown=0, sample=10)))
    assert small < set(large)
    assert set(large[:10]) != small


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shown": 0, "sample": 0}, "--sample"), ({"sample": -1}, "--sample"), ({"shown": 400}, "--shown"),
     ({"pixels": 8}, "--pixels")],
)  # fmt: skip
def test_options_are_checked(options, message):
    with pytest.raises(UsageError, match=message):
        ReviewOptions(**options)


def test_a_page_is_not_put_among_the_rows(copied):
    with pytest.raises(UsageError, match="--out"):
        make_review(str(copied), f"{copied}/review.html", SMALL)


# In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser: Any, review: Path) -> Any:
    """open(width=1400, scheme="light", page=review) -> (page, what it asked for or said)."""
    contexts = []

    def open_it(width: int = 1400, scheme: str = "light", page: Path = review) -> tuple[Any, list[str]]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        opened, events = context.new_page(), []
        own = (f"file://{page}", "data:", "blob:")
        opened.on("request", lambda r: events.append(r.url) if not r.url.startswith(own) else None)
        opened.on("console", lambda message: events.append(message.text))
        opened.on("pageerror", lambda error: events.append(str(error)))
        opened.on("dialog", lambda dialog: (events.append(f"dialog {dialog.message}"), dialog.dismiss()))
        opened.goto(f"file://{page}", wait_until="load")
        return opened, events

    yield open_it
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (400, "light"), (400, "dark")])
def test_it_fits_and_strangers_names_are_harmless(opened, hostile, tmp_path, width, scheme):
    make_review(str(hostile / "reports"), str(tmp_path / "all.html"), ReviewOptions(shown=0, sample=60))
    page, events = opened(width, scheme, tmp_path / "all.html")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    said = ""
    for _ in range(60):
        assert page.locator("article:visible").count() == 1
        assert page.evaluate(overflow) == 0
        image, frame = (page.locator(f"article:visible .shot{one}").bounding_box() for one in (" img", ""))
        assert image["height"] <= frame["height"]  # nothing of it is cut off
        said += page.inner_text("main")
        page.keyboard.press("ArrowRight")
    assert page.locator("#end").is_visible()
    for name in ('"><img src=x onerror=alert(1)>.jpg', "{{ 7 * 7 }}{% raw %}.jpg", "a⟨202E⟩gpj.exe.jpg"):
        assert name in said
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.src.startsWith('data:image/jpeg'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor != 'rgb(255, 255, 255)'") == (
        scheme == "dark"
    )
    assert events == []


def test_answers_become_labels_that_the_csv_layout_takes_up(opened, review, tmp_path):
    page, events = opened()
    items = shown(review)
    assert page.locator("#save").is_disabled()
    expected: dict[str, str] = {}
    for number, (path, _, _) in enumerate(items[:-2]):
        assert page.locator("article:visible .told").is_hidden()  # nobody is told before the answer
        word = ("real", "fake", "")[number % 3]
        page.keyboard.press({"real": "r", "fake": "f", "": "u"}[word])
        expected[path] = word
    page.keyboard.press("ArrowLeft")  # the last that was answered: now it is told, and may be changed
    assert page.locator("article:visible .told").is_visible()
    page.get_by_role("button", name="Generated").click()
    expected[items[-3][0]] = "fake"
    page.reload()  # the browser kept the answers
    assert page.inner_text("#count") == f"{len(items) - 2} of {len(items)}"
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "labels.csv"
    download.value.save_as(tmp_path / "labels.csv")
    assert events == []
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image_path"]: row["label"] for row in rows} == expected
    assert [(row["image_path"], row["sample"], row["verdict"]) for row in rows] == items[:-2]
    assert {(row["population"], row["detector"]) for row in rows} == {("60", "d" * 64)}
    place = uris.place(str(tmp_path / "labels.csv"))
    labelled = {item.uri: item.label for item in LAYOUTS["csv"].items(place, LayoutOptions(), Tally())}
    assert labelled == {path: {"real": 0, "fake": 1, "": None}[word] for path, word in expected.items()}
    assert not [item for item in LAYOUTS["csv"].items(place, LayoutOptions(), Tally()) if item.version == "absent"]


def test_at_the_end_it_says_what_was_answered(opened, review):
    page, _ = opened()
    for _ in shown(review):
        page.keyboard.press("f")
    assert page.inner_text("#end h2") == "All are answered"
    assert f"{len(shown(review))} generated" in page.inner_text("#tally")
    page.keyboard.press("f")  # nothing is left to answer
    assert page.inner_text("#count") == f"{len(shown(review))} of {len(shown(review))}"


def test_only_its_own_script_may_run(opened, review, tmp_path):
    text = review.read_text()
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]
    assert b64encode(hashlib.sha256(script.encode()).digest()).decode() in text
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        text.replace("<main", "<img src=x onerror='document.title=1'><script>document.title=2</script><main")
    )
    page, events = opened(page=foreign)
    assert page.title().startswith("Review of")
    assert sum("Content Security Policy" in event for event in events) >= 2
