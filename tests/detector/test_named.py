"""Detectors by name: what is in the package, a path, a URI, and what is none of them."""

import shutil
from pathlib import Path

import pytest

from clipfake.detector import named
from clipfake.errors import UsageError


@pytest.fixture
def shipped(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with field/v2 and field/v10, in that order of age."""
    folder = tmp_path / "shipped"
    for name in ("field/v2", "field/v10"):
        shutil.copytree(detector, folder / name)
    (folder / "field" / "v11").mkdir()  # without a detector in it
    monkeypatch.setattr(named, "FOLDER", folder)
    return folder


def test_the_names_of_the_package(shipped):
    assert named.names() == ["field/v2", "field/v10"]
    assert named.newest() == "field/v10"
    assert named.load_detector("field/v2").fingerprint == named.load_detector(str(shipped / "field/v10")).fingerprint


def test_a_name_is_taken_before_a_folder(shipped, detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(detector, tmp_path / "field" / "v2")
    assert named.identify("field/v2") == "field/v2"
    assert named.folder_of("field/v2").uri == f"file://{shipped}/field/v2"
    assert named.identify("./field/v2") == f"file://{tmp_path}/field/v2"


def test_what_is_not_there_is_answered_with_what_is(shipped, tmp_path):
    with pytest.raises(UsageError, match=r"no detector field/v3: .*field/v2, field/v10"):
        named.load_detector("field/v3")
    with pytest.raises(UsageError, match="no detector at"):
        named.load_detector(str(tmp_path))


def test_a_package_without_a_detector_says_so_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match="no detector is in this package yet"):
        named.newest()
    with pytest.raises(UsageError, match="this package has none yet"):
        named.identify("field/v1")


def test_those_in_the_package_load():
    for name in named.names():
        assert named.load_detector(name).schema_version
