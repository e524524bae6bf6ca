"""The share that labels of a random sample give: counted by hand, by verdict; refused where it means nothing."""

from datetime import UTC, datetime

import pytest
from scipy.stats import binomtest

from clipfake.errors import UsageError
from clipfake.report.audited import audited
from clipfake.report.review import COLUMNS

AT = datetime(2026, 11, 20, tzinfo=UTC)
# verdict -> the labels of the sampled items with that verdict
SAMPLED = {"fake": ["fake"] * 6 + ["real"] * 2 + [""], "unsure": ["1", "0", "0"], "real": ["real"] * 9 + ["fake"]}


@pytest.fixture
def report(tmp_path, write_rows):
    """30 scored items of each verdict, an error, and rows of another detector that says the contrary."""
    rows = [
        {"item_id": f"file:///c/{verdict}-{i}.jpg", "uri": f"file:///c/{verdict}-{i}.jpg", "verdict": verdict}
        | {"scored_at": AT, "decision": {"fake": 3.0, "unsure": 1.5, "real": -1.0}[verdict]}
        for verdict in SAMPLED
        for i in range(30)
    ]
    error = {"item_id": "file:///c/broken.jpg", "uri": "file:///c/broken.jpg", "status": "corrupt"} | {"scored_at": AT}
    write_rows(tmp_path / "reports", "a", [*rows, error])
    write_rows(tmp_path / "reports", "b", [row | {"verdict": "real", "decision": -9.0} for row in rows], "e" * 64)
    return str(tmp_path / "reports")


@pytest.fixture
def saved(tmp_path):
    """saved(rows, columns=COLUMNS) -> the place of a labels.csv; a row is (name, label, sample)."""

    def save(rows, columns=COLUMNS, population=90):
        lines = [",".join(columns)]
        for name, label, sample in rows:
            row = dict(zip(COLUMNS, (f"file:///c/{name}.jpg", label, sample, population, "", ""), strict=True))
            lines.append(",".join(f'"{row[column]}"' for column in columns))
        (tmp_path / "labels.csv").write_text("\r\n".join(lines) + "\r\n")
        return str(tmp_path / "labels.csv")

    return save


def sample():
    return [(f"{verdict}-{i}", label, "random") for verdict, given in SAMPLED.items() for i, label in enumerate(given)]


def test_it_counts_the_random_items_only(report, saved):
    chosen = [(f"real-{i}", "fake", "chosen") for i in range(20, 30)]
    found = audited(report, "d" * 64, saved([*sample(), *chosen, ("gone", "fake", "random"), ("broken", "", "random")]))
    assert (found.whole.n, found.whole.fakes, found.undecided, found.gone) == (21, 8, 1, 2)
    assert (found.drawn_from, found.scored) == (90, 90)
    assert {verdict: (one.n, one.fakes) for verdict, one in found.verdicts.items()} == {
        "fake": (8, 6),
        "unsure": (3, 1),
        "real": (10, 1),
    }
    for one in (found.whole, *found.verdicts.values()):
        expected = binomtest(one.fakes, one.n).proportion_ci(method="wilson")
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high))
        assert one.value == one.fakes / one.n


def test_all_undecided_is_no_share(report, saved):
    found = audited(report, "d" * 64, saved([("fake-1", "", "random")]))
    assert (found.whole.n, found.whole.value, found.whole.low, found.undecided) == (0, None, None, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("fake-1", "fake", "chosen")], "random sample"),
        ([("fake-1", "maybe", "random")], "line 2.*'maybe'"),
        ([("fake-1", "fake", "random")] * 2, "line 3.*twice"),
        ([("elsewhere", "fake", "random")], "drawn from"),
    ],
)
def test_what_says_nothing_is_refused(report, saved, rows, message):
    with pytest.raises(UsageError, match=message):
        audited(report, "d" * 64, saved(rows))


def test_other_tables_are_refused(report, saved):
    with pytest.raises(UsageError, match="no column population, sample"):
        audited(report, "d" * 64, saved(sample(), tuple(c for c in COLUMNS if c not in ("sample", "population"))))
    with pytest.raises(UsageError, match="population 'x'"):
        audited(report, "d" * 64, saved(sample(), population="x"))


def test_a_sample_of_an_older_report_is_told(report, saved):
    found = audited(report, "d" * 64, saved(sample(), population=80))
    assert (found.drawn_from, found.scored) == (80, 90)
