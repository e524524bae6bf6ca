"""A night: which place it is, what it does when it runs twice or late, what becomes of the others when one fails."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.cli.nightly import nightly as command
from clipfake.detector.inspection import load
from clipfake.errors import ExitCode, UsageError
from clipfake.operate.nightly import Crawl, NightlyOptions, nightly, parse_nights
from clipfake.report.drift import drift_of_places
from clipfake.scoring.options import ScanOptions
from clipfake.storage import uri as uris
from clipfake.storage.claim import claimed
from clipfake.storage.reports import below
from clipfake.storage.runs import write_record
from clipfake.storage.store import Store

TODAY = date(2026, 11, 25)


def silent(total):
    return lambda n: None


@pytest.mark.parametrize(
    ("text", "nights"),
    [
        ("2026-11-20", ["2026-11-20"]),
        ("yesterday", ["2026-11-24"]),
        ("today", ["2026-11-25"]),
        ("2026-10-30..2026-11-01", ["2026-10-30", "2026-10-31", "2026-11-01"]),
        ("2026-11-23..yesterday", ["2026-11-23", "2026-11-24"]),
    ],
)
def test_nights_that_a_text_names(text, nights):
    assert [str(night) for night in parse_nights(text, TODAY)] == nights


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-31", "20.11.2026", "2026-11-20..", "..2026-11-20", "2026-11-20..2026-11-19", "1999-01-01..today"],
)
def test_what_names_no_nights_is_refused(text):
    with pytest.raises(UsageError, match="--date"):
        parse_nights(text, TODAY)


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("s3://crawls/{date}", "s3://crawls/2026-11-20"),
        ("s3://crawls/{date:%Y/%m/%d}/images", "s3://crawls/2026/11/20/images"),
        ("/c/{{x}} {date}.tar", "file:///c/%7Bx%7D%202026-11-20.tar"),
    ],
)
def test_the_place_of_a_night(template, place):
    assert Crawl(template).place(date(2026, 11, 20)) == place


@pytest.mark.parametrize(
    "template",
    ["s3://crawls", "s3://crawls/{date:%Y-%m}", "s3://c/{day}", "s3://c/{0}", "s3://c/{date", "s3://c/{date.x}"],
)
def test_a_template_that_does_not_tell_nights_apart_is_refused(template):
    with pytest.raises(UsageError, match="the corpus"):
        Crawl(template)


def test_a_secret_in_a_template_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="environment") as refused:
        Crawl("s3://key:hunter2@bucket/{date}")
    assert "hunter2" not in str(refused.value)


@given(st.lists(st.text("ab/#.$0", max_size=5)), st.text("ab", min_size=1, max_size=2))
def test_below_is_the_items_at_and_under_a_place(names, folder):
    place = f"s3://c/{folder}"
    ids = [place, f"{place}#1", *(f"s3://c/{name}" for name in names)]
    found = pads.dataset(pa.table({"item_id": ids})).to_table(filter=below(place))["item_id"].to_pylist()
    assert found == [one for one in ids if one == place or one.startswith((f"{place}/", f"{place}#"))]


def test_nights_are_compared_by_place_whichever_run_scored_them(ledger, items, report_rows):
    for run, (night, status) in enumerate([("2", "ok"), ("1", "ok"), ("3", "unreadable")]):
        rows = report_rows(items([f"{night}/{i}" for i in range(200)]), status=status, run_id=f"r{run}")
        ledger.commit(f"{night}.parquet", rows)
    places = {night: f"file:///c/{night}" for night in "0123"}
    compared = {night: drift_of_places(ledger.store.uri, "d", places[night], [places["1"]]) for night in "23"}
    assert [found.alarm for found in compared.values()] == [False, True]
    first = drift_of_places(ledger.store.uri, "d", places["1"], [places["0"]])
    assert (first.alarm, first.findings) == (False, [])
    other = drift_of_places(ledger.store.uri, "another", places["3"], [places["1"]])
    assert not other.findings, "another detector's rows are nothing to compare with"


@pytest.fixture
def nights(tmp_path: Path, pictures: Path) -> Path:
    """Two nights of five pictures; of the second, one file is broken. And a third that holds no picture."""
    files = sorted(pictures.iterdir())
    for number, night in enumerate(("2026-11-01", "2026-11-02")):
        (tmp_path / "crawl" / night).mkdir(parents=True)
        for file in files[5 * number : 5 * number + 5]:
            (tmp_path / "crawl" / night / file.name).write_bytes(file.read_bytes())
    (tmp_path / "crawl" / "2026-11-02" / "broken.jpg").write_bytes(files[9].read_bytes()[:300])
    (tmp_path / "crawl" / "2026-11-03").mkdir()
    (tmp_path / "crawl" / "2026-11-03" / "readme.txt").write_text("nothing tonight")
    return tmp_path


def run(nights: Path, detector: Path | None, which: str) -> dict:
    places = [str(nights / name) for name in ("reports", "pages")]
    template = str(nights / "crawl" / "{date}")
    return nightly(
        template,
        parse_nights(which),
        detector and str(detector),
        *places,
        NightlyOptions(),
        lambda total: lambda n: None,
    )


@pytest.mark.slow
def test_several_nights_in_one_go_and_again(nights, detector, in_process):
    found = run(nights, detector, "2026-10-31..2026-11-03")
    missing, first, second, empty = found["nights"]
    assert (found["exit_code"], missing["exit_code"], empty["exit_code"]) == (2, 2, 2)
    assert "2026-10-31" in missing["error"]
    assert "no image" in empty["error"]
    assert (first["items"], first["rows"], first["exit_code"], first["drift"]["against"]) == (
        5,
        5,
        0,
        "0 earlier nights",
    )
    assert (second["items"], second["status"], second["exit_code"]) == (6, {"ok": 5, "truncated": 1}, 3)
    (compacted,) = found["compacted"].values()
    assert (compacted["files_before"], compacted["files_after"]) == (2, 1)
    pages = {night: (nights / "pages" / f"{night}.html").read_text() for night in ("2026-11-01", "2026-11-02")}
    assert sorted(path.stem for path in (nights / "pages").iterdir()) == list(pages)
    assert "broken.jpg" in pages["2026-11-02"]
    assert "broken.jpg" not in pages["2026-11-01"]
    json.dumps(found)

    again = run(nights, None, "2026-11-01..2026-11-02")  # with the detector that the report goes on with
    assert again["detector"] == found["detector"]
    assert [(night["rows"], night["items"], night["exit_code"]) for night in again["nights"]] == [(0, 5, 0), (0, 6, 0)]


@pytest.mark.slow
def test_the_second_of_two_at_once_is_told_by_whom_and_exits_with_2(nights, detector, in_process):
    with claimed(Store(uris.place(str(nights / "reports"))), "the-first"):
        found = run(nights, detector, "2026-11-01..2026-11-02")
    assert found["exit_code"] == 2
    assert all("is being written by run the-first" in night["error"] for night in found["nights"])
    assert not list((nights / "reports").glob("*.parquet"))


@pytest.mark.slow
def test_a_night_that_breaks_in_an_unforeseen_way_costs_only_itself(nights, detector, in_process, monkeypatch):
    from clipfake.operate import nightly as module

    def score(place, *rest):
        if place.endswith("01"):
            raise OSError("the disk is on fire\nand more")
        return original(place, *rest)

    original = module.score
    monkeypatch.setattr(module, "score", score)
    found = run(nights, detector, "2026-11-01..2026-11-02")
    one, two = found["nights"]
    assert (found["exit_code"], one["error"], two["items"]) == (1, "OSError: the disk is on fire and more", 6)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"corpus": "crawl"}, "{date}"),
        ({"detector": "crawl"}, "no detector"),
        ({"pages": "reports"}, "--pages"),
        ({"pages": "crawl/2026-11-01/pages"}, "give --pages a place outside"),
        ({"out": "crawl/2026-11-01/reports"}, "give --out a place outside"),
        ({"options": {"against": 0}}, "--against"),
        ({"options": {"scan": ScanOptions(layout="csv")}}, "CSV"),
    ],
)
def test_what_is_wrong_with_all_nights_is_said_before_anything_is_written(nights, detector, changed, says):
    given = {"corpus": "crawl/{date}", "detector": str(detector), "out": "reports", "pages": "pages"} | changed
    places = {name: str(nights / given[name]) for name in ("corpus", "detector", "out", "pages")}
    with pytest.raises(UsageError, match=says):
        nightly(
            nights=parse_nights("2026-11-01"),
            options=NightlyOptions(**given.get("options", {})),
            progress=silent,
            **places,
        )
    assert not (nights / "reports").exists()


def test_a_folder_of_rows_is_not_a_night(nights, detector, ledger, items, report_rows):
    for night in ("2026-11-01", "2026-11-02"):
        ledger.commit(f"{night}.parquet", report_rows(items([night])))
    found = nightly(
        f"{nights}/reports/{{date}}.parquet",
        parse_nights("2026-11-01"),
        str(detector),
        f"{nights}/out",
        f"{nights}/pages",
        NightlyOptions(),
        silent,
    )
    assert "holds report" in found["nights"][0]["error"]
    assert found["exit_code"] == 2


def test_its_options_are_those_of_score_but_for_what_a_night_is():
    import inspect

    from clipfake.cli.options import with_options
    from clipfake.cli.score import score

    own, theirs = (set(inspect.signature(with_options(one)).parameters) for one in (command, score))
    assert theirs - own == {"source", "dry_run", "as_json", "image_only", "decoder"}
    assert own - theirs == {"corpus", "date", "pages", "against", "again"}


def test_nights_before_are_listed_again_where_this_detector_has_scored_them(tmp_path, detector, monkeypatch):
    """What was missing or came late has its row by a later night; a night that is gone fails nothing."""
    from clipfake.operate import nightly as module

    scored, shown = [], []
    key, out = load(str(detector)).fingerprint, Store(uris.place(str(tmp_path / "out")))
    crawl = Crawl(f"{tmp_path}/{{date}}")

    def score(place, *rest):
        scored.append(place[-10:])
        if place.endswith("03"):
            raise UsageError("there is nothing any more")
        rows = 0 if place.endswith("02") else 5
        names = ("run_id", "found", "finished_for_earlier_runs", "status", "verdict", "images_per_second")
        return SimpleNamespace(record=dict.fromkeys(names) | {"rows": rows}, exit_code=ExitCode.DONE)

    for number, (night, by) in enumerate((("01", key), ("02", key), ("03", key), ("04", key), ("05", "another"))):
        source = crawl.place(date(2026, 11, int(night)))
        write_record(out, f"run{number}", {"key": by, "options": {"source": source}})
    monkeypatch.setattr(module, "score", score)
    monkeypatch.setattr(module, "_shown", lambda entry, *rest: shown.append(entry["date"]))
    monkeypatch.setattr(module, "_compacted", lambda place: {})
    given = (str(tmp_path / "{date}"), [date(2026, 11, 6)], str(detector), out.uri, str(tmp_path / "pages"))
    found = nightly(*given, NightlyOptions(again=4), silent)
    assert scored == ["2026-11-06", "2026-11-04", "2026-11-03", "2026-11-02"]
    assert shown == ["2026-11-06", "2026-11-04"]
    assert found["exit_code"] == 0
    assert [entry["error"] for entry in found["earlier"]] == [None, "there is nothing any more", None]
    scored.clear()
    nightly(*given, NightlyOptions(again=0), silent)
    assert scored == ["2026-11-06"]
