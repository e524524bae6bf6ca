"""A temporary folder goes with its block; one of a killed process goes with the next, one of a live process stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipfake.storage.temporary import temporary_folder

HOLD = """
import sys, time
from clipfake.storage.temporary import temporary_folder
with temporary_folder("kept") as folder:
    (folder / "data").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def _held(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has such a folder, and the folder, as if it were an hour old."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    _age(folder)
    return process, folder


def _age(folder: Path) -> None:
    then = folder.stat().st_mtime - 3600
    os.utime(folder, (then, then))


def test_it_goes_with_its_block(place):
    with temporary_folder("kept") as folder:
        assert folder.is_dir() and folder.parent == place
    assert list(place.iterdir()) == []


def test_of_other_processes_what_the_dead_have_left_goes(place):
    living, stays = _held(place)
    killed, goes = _held(place)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with temporary_folder("another"):
            assert goes.exists(), "it is of another kind"
        with temporary_folder("kept"):
            assert not goes.exists()
            assert (stays / "data").read_text() == "x"
    finally:
        for process in (living, killed):
            process.kill()
            process.communicate()


def test_a_new_one_without_a_lock_and_a_stranger_stay(place):
    new, stranger = place / "clipfake-kept-new", place / "clipfake-kept-of-somebody"
    for folder in (new, stranger):
        folder.mkdir()
    (new / "lock").touch()  # its process has not taken it yet
    _age(stranger)  # no folder of ours: it has no lock
    with temporary_folder("kept"):
        assert new.exists() and stranger.exists()
    _age(new)
    with temporary_folder("kept"):
        assert not new.exists()
