"""From the rows of a report to estimates: its own rows only, groups that add up to the whole, one for the smallest."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.detector.bundle import Detector
from clipfake.errors import UsageError
from clipfake.measures.prevalence import estimate, rates_of
from clipfake.report.prevalence import prevalence
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store

FOLDERS = {"shop": (60, 6), "art": (30, 20), "maps": (10, 0)}  # scored, called fake


@pytest.fixture
def bundle(detector):
    return Detector.load(Store(f"file://{detector}"))


@pytest.fixture
def report(tmp_path, bundle, items, report_rows):
    """A report of three folders, two days, one error, and a row of another detector."""
    above = rates_of(bundle.thresholds, bundle.metrics).decision
    names = [f"{day}/www.shop.example/{folder}/{i}.jpg" for folder, (n, _) in FOLDERS.items() for i in range(n)
             for day in ["2026-11-20"]]  # fmt: skip
    decision = [above if i < called else above - 0.1 for n, called in FOLDERS.values() for i in range(n)]
    rows = report_rows(items(names), detector=bundle.fingerprint).to_pydict()
    n = len(names)
    rows |= {"decision": decision, "unfamiliarity": [0.5] * (n - 5) + [0.999] * 5}
    rows["scored_at"] = [np.datetime64("2026-11-20T23:59:59" if i % 2 else "2026-11-21T00:00:01") for i in range(n)]
    rows["scored_at"] = [day.astype("datetime64[us]").item() for day in rows["scored_at"]]
    ledger = Ledger(Store(f"file://{tmp_path}/reports"), "report", REPORT_SCHEMA, "", footer("report", {}))
    scored = report_rows(items(names), detector=bundle.fingerprint).from_pydict(rows, REPORT_SCHEMA)
    ledger.commit("a.parquet", scored)
    ledger.commit("b.parquet", report_rows(items(["broken.jpg"]), "corrupt", bundle.fingerprint))
    place = REPORT_SCHEMA.get_field_index("detector")
    ledger.commit("c.parquet", scored.set_column(place, "detector", [["other"] * n]).cast(REPORT_SCHEMA))
    return f"{tmp_path}/reports"


def test_it_counts_what_this_detector_scored(report, bundle):
    found = prevalence(report, bundle)
    assert found.whole == estimate(26, 100, rates_of(bundle.thresholds, bundle.metrics), 0.05)
    assert found.groups == {}


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("folder", {f"file:///c/2026-11-20/www.shop.example/{name}": counts for name, counts in FOLDERS.items()}),
        ("host", {"www.shop.example": (100, 26)}),
        ("day", {"2026-11-21": (50, 13), "2026-11-20": (50, 13)}),
    ],
)
def test_by_group_largest_first(report, bundle, by, groups):
    found = prevalence(report, bundle, by)
    counted = {name: (one.n, one.called) for name, one in found.groups.items()}
    assert counted == groups
    assert found.whole == prevalence(report, bundle).whole


def test_the_small_groups_are_added_up(report, bundle):
    found = prevalence(report, bundle, "folder", top=1)
    assert [(name.rpartition("/")[2], one.n, one.called) for name, one in found.groups.items()] == [
        ("shop", 60, 6),
        ("...", 40, 20),
    ]


def test_a_changed_item_counts_once_by_its_latest_row(report, bundle):
    ledger = Ledger(Store(f"file://{report}"), "report", REPORT_SCHEMA, "", footer("report", {}))
    older = pq.read_table(f"{report}/a.parquet").slice(0, 10)  # ten of the shop, six of them called fake
    n = older.num_rows
    for name, values in {
        "version": ["later"] * n, "decision": [0.0 + rates_of(bundle.thresholds, bundle.metrics).decision] * n,
        "scored_at": [np.datetime64("2026-11-22T00:00:00", "us").item()] * n,
    }.items():  # fmt: skip
        place = REPORT_SCHEMA.get_field_index(name)
        older = older.set_column(place, REPORT_SCHEMA.field(name), pa.array(values, REPORT_SCHEMA.field(name).type))
    ledger.commit("d.parquet", older.cast(REPORT_SCHEMA))
    found = prevalence(report, bundle, "day")
    assert (found.whole.n, found.whole.called) == (100, 30)
    assert {day: one.n for day, one in found.groups.items()} == {"2026-11-21": 45, "2026-11-20": 45, "2026-11-22": 10}


def test_what_cannot_be_answered_is_refused(report, bundle, tmp_path):
    with pytest.raises(UsageError, match="that did"):
        other = replace(bundle.classifier, intercept=bundle.classifier.intercept + 1)
        prevalence(report, replace(bundle, classifier=other))
    with pytest.raises(UsageError, match="--by"):
        prevalence(report, bundle, "colour")
    with pytest.raises(UsageError, match="no report"):
        prevalence(str(tmp_path), bundle)
