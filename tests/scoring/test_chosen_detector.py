"""Without --detector: the package's newest for a new folder, else the one that the folder was scored with."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from clipfake.detector import named
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.named import load_detector
from clipfake.encoder import describe, load
from clipfake.errors import UsageError
from clipfake.measures.thresholds import Threshold
from clipfake.scoring import executor
from clipfake.scoring.chosen_detector import detector_of_folder, named_or_of_folder
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.embed import embed
from clipfake.scoring.options import EmbedOptions, ScanOptions
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
    assert detector_of_folder(out) == Bundle("field/v2", decoder="exact")


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
    assert detector_of_folder(scored(place, fingerprint)) == Bundle(place)


def test_it_is_loaded_as_the_folder_goes_on_with_it_or_as_it_is_named(scored, detector):
    out = scored("field/v1", load_detector("field/v1").fingerprint)
    assert named_or_of_folder(None, out) == Bundle("field/v1")
    assert named_or_of_folder(None, out).load().fingerprint == load_detector("field/v1").fingerprint
    assert named_or_of_folder(str(detector), out).load().fingerprint == load_detector(str(detector)).fingerprint


def test_one_that_moved_into_the_package_is_found_there(scored):
    fingerprint = load_detector("field/v1").fingerprint
    assert detector_of_folder(scored("file:///gone", fingerprint)) == Bundle("field/v1")


def test_one_that_is_gone_or_changed_is_asked_for(scored):
    with pytest.raises(UsageError, match="give --detector"):
        detector_of_folder(scored("field/v1", "0123456789abcdef"))


def test_a_further_decoder_scores_where_the_detector_lists_it(package, detector, pictures, tmp_path, monkeypatch):
    """As a detector of its own does that was fitted on that decoder's pixels; and the folder goes on with it."""
    monkeypatch.setattr(executor, "_has_gpu", lambda: False)
    description = describe("ViT-S-32-alt/untrained", decoder="fast")
    plain = load_detector(str(detector))
    listed = FurtherDecoder("fast", 3_000, 0, 0.0, "fp32", load(description).test_card_embedding())
    replace(plain, decoders=(listed,)).save(Store(f"file://{package}/field/v2"))
    (tmp_path / "crawl").mkdir()
    for name in ("00.jpg", "01.jpg"):
        shutil.copy(pictures / name, tmp_path / "crawl")

    def run(source: Path, out: Path, detector: str | None = None, decoder: str | None = None):
        return score(str(source), detector, str(out), ScanOptions(decoder=decoder), lambda _: lambda n: None)

    done = run(tmp_path / "crawl", tmp_path / "out", "field/v2", "fast")
    by_fast = replace(
        plain, encoder=description.to_dict(), encoder_fingerprint=description.fingerprint, test_card=listed.test_card
    )
    assert done.record["key"] == by_fast.fingerprint != plain.fingerprint
    assert run(tmp_path / "crawl", tmp_path / "out").totals.rows == 0
    assert run(tmp_path / "crawl", tmp_path / "out", decoder="exact").totals.rows == 2
    emb = str(tmp_path / "emb")
    embed(
        str(tmp_path / "crawl"),
        description.name,
        emb,
        ScanOptions(),
        lambda _: lambda n: None,
        EmbedOptions(decoder="fast"),
    )
    assert run(tmp_path / "emb", tmp_path / "of_stored", "field/v2").record["key"] == by_fast.fingerprint
    assert run(tmp_path / "emb", tmp_path / "of_stored").totals.rows == 0
    rows, again = (ds.dataset(str(tmp_path / name)).to_table().to_pylist() for name in ("out", "of_stored"))
    decisions = {row["item_id"]: row["decision"] for row in rows if row["detector"] == by_fast.fingerprint}
    assert {row["item_id"]: row["decision"] for row in again} == pytest.approx(decisions, abs=1e-4)
    with pytest.raises(UsageError, match="lists fast, not gpu-1"):
        run(tmp_path / "crawl", tmp_path / "refused", "field/v2", "gpu")
    with pytest.raises(UsageError, match="--decoder does nothing"):
        run(tmp_path / "emb", tmp_path / "refused", "field/v2", "fast")
