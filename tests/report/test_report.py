"""`clipfake report` from a folder to a file: what it chooses, what it refuses, and that its counts are the folder's."""

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from clipfake.cli.app import app
from clipfake.detector.bundle import Detector
from clipfake.errors import UsageError
from clipfake.report.page import render_report
from clipfake.report.report import PageOptions, make_page, summarise
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store


def ledger_of(place: Path, detector: str) -> Ledger:
    facts = {"detector": detector, "encoder": "e", "precision": "fp32", "thresholds": []}
    return Ledger(Store(f"file://{place}"), "report", REPORT_SCHEMA, detector, footer("report", facts))


@pytest.fixture
def reports(tmp_path, items, report_rows):
    """Five rows of the detector "d", two of them errors; its run's record."""
    place = tmp_path / "reports"
    ledger = ledger_of(place, "d")
    ledger.commit("one.parquet", report_rows(items(["a", "b", "c"]), status="missing"))
    ledger.commit("two.parquet", report_rows(items(["d", "e"]), status="corrupt", run_id="killed"))
    found = {"listed": 3, "done": 0, "new": 3, "changed": 0, "retried": 0, "bytes_to_read": 0}
    record = {"command": "score", "run_id": "r", "key": "d", "found": found, "finished_for_earlier_runs": 0, "rows": 3}
    ledger.store.write_bytes("_runs/r.json", json.dumps(record).encode())
    return place


def test_counts_are_those_of_the_folder_and_its_runs(reports):
    found = summarise(str(reports), PageOptions())
    assert found["status"] == {"missing": 3, "corrupt": 2}
    assert all(check["holds"] for check in found["checks"])
    assert [(run["run_id"], run["recorded"], run["here"]) for run in found["runs"]] == [
        ("killed", False, 2),
        ("r", True, 3),
    ]
    assert summarise(str(reports), PageOptions(run_id="killed"))["total"]["n"] == 2


def test_rows_that_a_compaction_has_merged_count_once(reports, items, report_rows):
    ledger = ledger_of(reports, "d")
    ledger.commit("merged.parquet", report_rows(items(["a", "b", "c"]), status="missing"))
    intent = {"target": "merged.parquet", "sources": ["one.parquet"]}
    ledger.store.write_bytes("_compact/x.json", json.dumps(intent).encode())
    assert summarise(str(reports), PageOptions())["rows"] == 5


def test_a_detector_is_chosen_by_its_fingerprint_or_its_folder(reports, items, report_rows, detector, tmp_path):
    fingerprint = Detector.load(Store(f"file://{detector}")).fingerprint
    ledger_of(reports, fingerprint).commit("three.parquet", report_rows(items(["a"]), detector=fingerprint))
    for asked in (str(detector), fingerprint[:8]):
        found = summarise(str(reports), PageOptions(detector=asked))
        assert (found["detector"], found["total"]["n"]) == (fingerprint, 1)
    assert found["bundle"] is None
    named = summarise(str(reports), PageOptions(detector=str(detector)))
    assert named["bundle"]["fingerprint"] == fingerprint
    # A run's record leads to the bundle, too.
    record = {"command": "score", "run_id": "r2", "key": fingerprint, "options": {"detector": f"file://{detector}"}}
    record |= {"found": {"listed": 1, "done": 0, "new": 1, "retried": 0}, "finished_for_earlier_runs": 0, "rows": 1}
    Store(f"file://{reports}").write_bytes("_runs/r2.json", json.dumps(record).encode())
    assert summarise(str(reports), PageOptions(detector=fingerprint[:8]))["bundle"]["fingerprint"] == fingerprint


def test_the_share_of_fakes_is_corrected_where_the_detector_is_known(tmp_path, detector, items, report_rows):
    bundle = Detector.load(Store(f"file://{detector}"))
    facts = {"detector": bundle.fingerprint, "encoder": "e", "precision": "fp32"}
    facts["thresholds"] = [asdict(threshold) for threshold in bundle.thresholds]
    ledger = Ledger(Store(f"file://{tmp_path}/r"), "report", REPORT_SCHEMA, bundle.fingerprint, footer("report", facts))
    n, above = 1000, bundle.thresholds[0].decision + 0.1
    rows = report_rows(items([f"{i}" for i in range(n)]), detector=bundle.fingerprint)
    scores = {"decision": [above] * 160 + [-above] * 840, "verdict": ["unsure"] * 160 + ["real"] * 840}
    for name, values in scores.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values))
    ledger.commit("one.parquet", rows)
    found = summarise(f"{tmp_path}/r", PageOptions(detector=str(detector)))
    # 16 % are flagged by a detector that flags 20 % of fakes and 10 % of reals.
    assert found["total"]["prevalence"]["value"] == pytest.approx((0.16 - 0.1) / (0.2 - 0.1))
    assert found["folders"][0]["prevalence"] == found["days"][0]["prevalence"]
    assert [t["probability"] for t in found["thresholds"]] == [
        bundle.probability_at(t.decision) for t in bundle.thresholds
    ]
    assert "60" in render_report(found, {})
    assert "--detector" in summarise(f"{tmp_path}/r", PageOptions())["no_prevalence"]


def test_a_run_unlike_those_before_it_is_an_alarm(tmp_path, items, report_rows):
    ledger = ledger_of(tmp_path / "r", "d")
    for night, status in (("1", "ok"), ("2", "ok"), ("3", "missing")):
        rows = report_rows(items([f"{night}/{i}" for i in range(200)]), status=status, run_id=night)
        ledger.commit(f"{night}.parquet", rows)
    found = summarise(f"{tmp_path}/r", PageOptions())
    assert (found["drift"]["current"], found["drift"]["alarm"]) == ("run 3", True)
    assert "error rate" in [one["measure"] for one in found["drift"]["findings"] if one["alarm"]]
    assert not summarise(f"{tmp_path}/r", PageOptions(run_id="2"))["drift"]["alarm"]
    first = summarise(f"{tmp_path}/r", PageOptions(run_id="1"))
    assert first["drift"]["findings"] == []
    assert "nothing to compare it with" in render_report(first, {})


def test_a_page_is_written_whole_and_its_summary_is_printed(reports, tmp_path):
    out = tmp_path / "new" / "page.html"
    done = CliRunner().invoke(app, ["report", str(reports), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["total"]["errors"] == 5
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


def test_it_reads_and_writes_object_stores(s3, items, report_rows):
    facts = {"detector": "d", "encoder": "e", "precision": "fp32", "thresholds": []}
    store = Store(f"{s3}/reports")
    ledger = Ledger(store, "report", REPORT_SCHEMA, "d", footer("report", facts))
    ledger.commit("one.parquet", report_rows(items(["a", "b"])))
    assert make_page(f"{s3}/reports", f"{s3}/pages/a.html", PageOptions())["total"]["n"] == 2
    assert Store(f"{s3}/pages").read_bytes("a.html").startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("out", "options", "says"),
    [
        ("page.html", {"run_id": "none"}, "no rows of run"),
        ("page.html", {"detector": "abcdef0"}, "no rows of the detector"),
        ("page.html", {"detector": "./nowhere"}, "no detector"),
        ("page.txt", {}, "ends in .html"),
        ("reports/page.html", {}, "another place"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_written(reports, tmp_path, out, options, says):
    with pytest.raises(UsageError, match=says):
        make_page(str(reports), str(tmp_path / out), PageOptions(**options))
    assert not (tmp_path / out).exists()


def test_a_folder_that_is_no_report_is_refused(tmp_path, pictures):
    with pytest.raises(UsageError, match="no report"):
        summarise(str(pictures), PageOptions())
    with pytest.raises(UsageError, match="--thumbnails"):
        PageOptions(shown=-1)


def test_a_card_that_cannot_be_written_is_refused_before_the_work(detector):
    done = CliRunner().invoke(app, ["evaluate", "nowhere", "--detector", str(detector), "--html", "card.txt"])
    assert isinstance(done.exception, UsageError)
    assert "--html" in str(done.exception)
