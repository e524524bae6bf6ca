"""Without --detector: the package's newest for a new folder, else the one that the folder was scored with."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clipfake.detector import named
from clipfake.detector.named import load_detector
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold
from clipfake.scoring import executor
from clipfake.scoring.chosen_detector import detector_of_folder
from clipfake.scoring.options import ScanOptions
from clipfake.scoring.score import score
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store


def ship(detector: Path, folder: Path, name: str) -> None:
    """A detector of that name, with a fingerprint of its own."""
    loaded = replace(load_detector(str(detector)), thresholds=(Threshold(0.1, float(name[-1]), 300),))
    loaded.save(Store(f"file://{folder}/{name}"))


@pytest.fixture
def package(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    monkeypatch.setattr(named, "FOLDER", folder)
    monkeypatch.setattr(executor, "at_hand", lambda: False)  # actors would not see what is patched here
    ship(detector, folder, "field/v1")
    return folder


def test_a_folder_goes_on_with_its_detector(package, detector, pictures, tmp_path, caplog):
    (tmp_path / "crawl").mkdir()
    shutil.copy(pictures / "00.jpg", tmp_path / "crawl")
    out = Store(f"file://{tmp_path}/reports")

    def run(detector: str | None = None):
        return score(str(tmp_path / "crawl"), detector, out.uri, ScanOptions(), lambda _: lambda n: None)

    assert run().totals.rows == 1
    assert [record["options"]["detector"] for record in read_records(out)] == ["field/v1"]
    ship(detector, package, "field/v2")
    with caplog.at_level(logging.INFO):
        assert run().totals.rows == 0  # scored already: nothing is scored anew by an update
    assert "goes on with field/v1; the package has a newer detector: --detector field/v2" in caplog.text
    assert run("field/v2").totals.rows == 1
    assert detector_of_folder(out) == "field/v2"


@pytest.fixture
def scored(package, tmp_path):
    """scored(place, fingerprint) -> a folder whose last run was by that detector."""
    from clipfake.storage.runs import write_record

    def make(place: str, fingerprint: str) -> Store:
        out = Store(f"file://{tmp_path}/reports")
        record = {"command": "score", "key": fingerprint, "options": {"detector": place}, "started_at": "2026"}
        write_record(out, "run", record)
        return out

    return make


def test_a_detector_of_ones_own_is_found_where_it_was(scored, detector):
    place, fingerprint = f"file://{detector}", load_detector(str(detector)).fingerprint
    assert detector_of_folder(scored(place, fingerprint)) == place


def test_one_that_moved_into_the_package_is_found_there(scored):
    assert detector_of_folder(scored("file:///gone", load_detector("field/v1").fingerprint)) == "field/v1"


def test_one_that_is_gone_or_changed_is_asked_for(scored):
    with pytest.raises(UsageError, match="give --detector"):
        detector_of_folder(scored("field/v1", "0123456789abcdef"))
