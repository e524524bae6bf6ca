"""A confined process has no keys, writes no file and takes no more memory than it may."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clipfake.corpus import confinement

CODE = """
from clipfake.corpus.confinement import confine
confine(64 << 20)
try:
    bytearray(128 << 20)
except MemoryError:
    bytearray(16 << 20)
    try:
        open({path!r}, "wb", 0).write(b"x")
    except OSError:
        raise SystemExit(7)
"""


def test_limits_hold(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(path=str(tmp_path / "x"))], check=False)
    assert done.returncode == 7


def test_the_environment_is_small_and_an_ending_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = confinement.start("clipfake.corpus.parquet_child", theirs, str(1 << 30))
        assert b"planted" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        process.kill()
        assert confinement.ending(process) == "died of SIGKILL"
