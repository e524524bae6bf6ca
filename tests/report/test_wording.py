"""What strangers wrote cannot run, hide, turn the line around or fill the page."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from clipfake.report.wording import LONGEST, base, between, environment, flagged_share, name, share, visible


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_a_name_shows_every_character_and_holds_no_markup(text):
    shown = name(text)
    inner = shown.removeprefix("<bdi>").removesuffix("</bdi>")
    assert not set("<>\"'") & set(inner)
    assert all(unicodedata.category(c)[0] != "C" for c in inner)
    shown.encode()  # also of surrogates
    assert len(visible(text)) <= 8 * LONGEST


def test_a_name_that_turns_the_line_around_is_seen_to():
    assert visible("a‮gpj.exe") == "a⟨202E⟩gpj.exe"


def test_a_long_name_keeps_both_ends():
    shown = visible("start" + "x" * 10_000 + "end.jpg")
    assert len(shown) <= LONGEST
    assert shown.startswith("start")
    assert shown.endswith("end.jpg")


def test_everything_is_escaped_and_nothing_is_forgotten():
    template = environment().from_string('<a title="{{ x }}">{{ x }}</a>')
    assert template.render(x='"><script>') == '<a title="&#34;&gt;&lt;script&gt;">&#34;&gt;&lt;script&gt;</a>'
    with pytest.raises(UndefinedError):
        template.render()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (1, "100"), (0.05, "5"), (0.123, "12.3"), (0.0042, "0.42"), (0.00042, "0.042")],
)
def test_small_shares_keep_their_digits(value, text):
    assert share(value).removesuffix("\u202f%") == text


def test_an_interval_stands_beside_its_value():
    low, high = flagged_share({"flagged": 0, "scored": 10})["low"], flagged_share({"flagged": 0, "scored": 10})["high"]
    assert low == pytest.approx(0)
    assert high == pytest.approx(0.278, abs=1e-3)  # Wilson's for 0 of 10
    assert between({"value": 0.5, "low": 0.25, "high": 0.75}) == "50\u202f% (25–75\u202f%)"
    assert between(flagged_share({"flagged": 0, "scored": 0})) == "–"


def test_the_last_part_of_a_name_stands_for_it():
    assert base({"uri": "s3://b/c/d%20e.jpg", "member": None}) == "d e.jpg"
    assert base({"uri": "s3://b/c/d.tar", "member": "x/y.png"}) == "y.png"
