"""Charts show the numbers they are given, as SVG with the page's colours and without a stranger's markup."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from clipfake.report.figures import charts

HISTOGRAM = {
    "edges": np.linspace(-3, 3, 7).tolist(),
    "real": [5, 9, 3, 0, 0, 0],
    "unsure": [0, 0, 0, 2, 0, 0],
    "fake": [0, 0, 0, 0, 4, 1],
}
THRESHOLDS = [{"fpr": 0.05, "decision": 0.0, "reals": 1}, {"fpr": 0.001, "decision": 1.0, "reals": 1}]
DAYS = [{"day": f"2026-11-{i + 1:02d}", "scored": 9, "errors": i} for i in range(12)]
SHARES = [{"value": 0.1, "low": 0.0, "high": 0.3}] * 11 + [{"value": None, "low": None, "high": None}]
CELL = {
    f"{name}{end}": 0.5
    for name in ("real_accuracy", "fake_accuracy", "balanced_accuracy")
    for end in ("", "_low", "_high")
}
CELLS = [CELL | {"tested_on": name} for name in ("<script>alert(1)</script>", "$\\frac{1}{0}$", "x" * 90, "")]
STRENGTHS = [
    {"kind": kind, "strength": strength, "option": option, "auc": 0.9}
    for kind, option in (("jpeg", ""), ("resize", "bicubic"), ("resize", "lanczos"), ("social", "x"))
    for strength in (1, 2)
]
BINS = [{"probability": 0.2, "fakes": 0.1, "fakes_low": None, "fakes_high": None}]


def drawn():
    of = {kind: [row for row in STRENGTHS if row["kind"] == kind] for kind in ("jpeg", "resize", "social")}
    yield charts.score_histogram(HISTOGRAM, THRESHOLDS)
    yield charts.score_histogram(HISTOGRAM, [])
    yield charts.by_day(DAYS, SHARES)
    yield charts.generators(CELLS)
    yield charts.reliability(BINS)
    yield from (charts.against_strength(rows, kind, 0.95, "auc") for kind, rows in of.items())
    yield charts.against_epsilon([CELL | {"epsilon": epsilon} for epsilon in (0, 1, 2)])


@pytest.fixture(scope="module")
def every():
    return list(drawn())


def test_every_chart_is_svg_that_asks_nobody_and_takes_the_pages_colours(every):
    for chart in every:
        root = ET.fromstring(str(chart))
        assert root.tag.endswith("svg")
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert root.get("width") is None
        for tag in ("script", "image", "foreignObject", "style>@import"):
            assert f"<{tag}" not in chart
        links = re.findall(r'href="([^"]*)"', str(chart))
        assert all(link.startswith("#") for link in links)
        assert "var(--ink)" in chart
        assert not re.findall(r"(?:fill|stroke): #(?!fff)[0-9a-f]{6}", str(chart)), "a colour that is not the page's"


def test_names_are_text(every):
    chart = every[3]
    assert "<script" not in chart
    assert "&lt;script&gt;" in chart
    assert "\\frac" in chart


def test_thresholds_are_named_by_their_rate(every):
    assert "FPR 5 %" in every[0]
    assert "FPR 0.1 %" in every[0]


def test_few_fakes_among_many_reals_are_seen(every):
    many = charts.score_histogram(HISTOGRAM | {"real": [9000, 9000, 0, 0, 0, 0]}, THRESHOLDS)
    assert "log scale" in many
    assert "log scale" not in every[0]


def test_a_chart_is_the_same_every_time(every):
    assert list(drawn()) == every
