"""Items to look at: the extremes, each file once."""

import pytest


def test_equal_files_are_shown_once(summarised, row):
    rows = [row(f"{i}", decision=3.0 + i, content_sha256="same") for i in range(5)]
    rows.append(row("other", decision=1.0, content_sha256="other"))
    found = summarised(rows, shown=3)
    assert [(item["decision"], item["copies"]) for item in found["highest"]] == [(7.0, 5), (1.0, 1)]


def test_items_to_look_at_are_the_extremes(summarised, row):
    rows = [row(f"{i:02d}", decision=i / 10, unfamiliarity=(i * 7 % 30) / 30) for i in range(30)]
    found = summarised(rows, shown=2)
    assert [item["decision"] for item in found["highest"]] == [2.9, 2.8]
    assert [item["decision"] for item in found["unsure"]] == [1.5, 1.4]
    assert [item["unfamiliarity"] for item in found["unfamiliar_items"]] == pytest.approx([29 / 30, 28 / 30])
