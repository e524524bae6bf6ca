"""Temporary folders that do not stay for ever where their process is killed: the next of their kind deletes them."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_LOCK: Final = "lock"  # the system lets go of it when the process dies that has it
_YOUNG_S: Final = 60.0  # seconds in which a new folder may have no lock yet


@contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """A new folder `clipfake-KIND-...` in the system's temporary folder; it is deleted when the block ends."""
    prefix = f"clipfake-{kind}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # a living process', another user's, or gone meanwhile
            if time.time() - left.stat().st_mtime > _YOUNG_S:
                with (left / _LOCK).open("r+") as lock:
                    _take(lock)
                    shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, (Path(folder) / _LOCK).open("w") as lock:
        with suppress(OSError):  # a filesystem without locks: nobody deletes it then
            _take(lock)
        yield Path(folder)


def _take(lock: IO[str]) -> None:
    """Raises BlockingIOError where a process that lives has it."""
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
