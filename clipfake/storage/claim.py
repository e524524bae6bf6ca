"""One writer a folder: a claim file, refreshed while its run lives, which a dead run leaves harmlessly behind."""

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage.store import Store

log = logging.getLogger(__name__)

LOCK_FOLDER = "_lock"
REFRESH_S = 30.0
STALE_S = 180.0


@dataclass(frozen=True)
class Owner:
    """Who holds a claim: enough to name the run to a person and to see on its own machine that it is dead."""

    run_id: str
    host: str
    pid: int
    since: str
    started: float  # of the process, seconds since the epoch, as psutil gives it
    machine: str  # boot and process-id namespace; the pid means something only where it equals ours

    @classmethod
    def here(cls, run_id: str) -> "Owner":
        """This process as the owner."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        started = psutil.Process().create_time()
        return cls(run_id, socket.gethostname(), os.getpid(), now, started, _machine())

    def dead(self) -> bool:
        """Whether it surely no longer runs: only ever true for a process of this machine."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - self.started) > 2
        except psutil.NoSuchProcess:
            return True


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.getfqdn()


class Claim:
    """The right to write into one folder, held by one run.

    `check()` before each commit: it raises ClipfakeError where the claim is gone or another run took over, so
    that a run that slept (a paused machine, a cut-off node) does not write over its successor.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._owner = Owner.here(run_id)
        self._name = f"{LOCK_FOLDER}/{run_id}.json"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Claims the folder. Raises UsageError, in one line, where another live run holds it."""
        self._write()
        try:
            for name, owner, age in self._others():
                if (owner is not None and owner.dead()) or age > STALE_S:
                    log.info("removing the claim of a dead run: %s", name)
                    self._store.delete(name)
                    continue
                who = f"run {owner.run_id} (pid {owner.pid} on {owner.host}, since {owner.since})" if owner else name
                raise UsageError(
                    f"{self._store.uri} is being written by {who}, last seen {age:.0f} s ago; wait for it, or where "
                    f"it is dead wait until {STALE_S:.0f} s have passed or delete {self._store.uri}/{name}"
                )
        except BaseException:
            self._store.delete(self._name)
            raise
        self._thread = threading.Thread(target=self._refresh, name="clipfake-claim", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ClipfakeError where this run's claim no longer stands."""
        now = self._modified(self._name)
        if now is None:
            raise ClipfakeError(
                f"this run lost its claim on {self._store.uri}: another run took over; nothing more is written"
            )

    def release(self) -> None:
        """Gives the folder back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.delete(self._name)

    def _write(self) -> None:
        self._store.write_bytes(self._name, json.dumps(asdict(self._owner), indent=1).encode())

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_S):
            try:
                if self._modified(self._name) is None:
                    return  # taken from us: never claim it back; check() says so before the next commit
                self._write()
            except Exception:
                log.warning("could not refresh the claim on %s; trying again", self._store.uri, exc_info=True)

    def _modified(self, name: str) -> float | None:
        return next((f.mtime for f in self._store.list(LOCK_FOLDER) if f"{LOCK_FOLDER}/{f.name}" == name), None)

    def _others(self) -> Iterator[tuple[str, Owner | None, float]]:
        """Other claims with their age in seconds by the store's own clock (our claim was written just now)."""
        listed = {f"{LOCK_FOLDER}/{f.name}": f.mtime for f in self._store.list(LOCK_FOLDER) if f.name.endswith(".json")}
        now = listed.pop(self._name)
        for name, modified in listed.items():
            owner = None
            with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
                owner = Owner(**json.loads(self._store.read_bytes(name)))
            yield name, owner, now - modified


@contextlib.contextmanager
def claimed(store: Store, run_id: str) -> Iterator[Claim]:
    """Holds the claim on `store` for the duration of the block."""
    claim = Claim(store, run_id)
    claim.take()
    try:
        yield claim
    finally:
        claim.release()
