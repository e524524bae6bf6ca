"""Who holds a claim: a run's process, and whether it is seen to be dead or stopped."""

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from clipfake.storage.store import Store

ASKING, HELD = "asking", "held"


@dataclass(frozen=True)
class Owner:
    """Who holds a claim: enough to name the run to a person and to see on its own machine that it is dead."""

    run_id: str
    host: str
    pid: int
    since: str
    started: float  # of the process, seconds since the epoch, as psutil gives it
    machine: str  # boot and process-id namespace; the pid means something only where it equals ours
    ticks: int | None = None  # of the process' start since the boot, which no clock's step changes; None: not known
    state: str = ASKING  # until it is known that no other run holds the folder

    @classmethod
    def here(cls, run_id: str) -> "Owner":
        """This process as the owner."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        started, pid = psutil.Process().create_time(), os.getpid()
        return cls(run_id, socket.gethostname(), pid, now, started, _machine(), _start_ticks(pid))

    def is_here(self) -> bool:
        """Whether it is a process of this machine, whose end can be seen."""
        return self.machine == _machine()

    def dead(self) -> bool:
        """Whether it surely no longer runs: only ever true for a process of this machine."""
        if not self.is_here():
            return False
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            if self.ticks is not None:
                return _start_ticks(self.pid) not in (self.ticks, None)
            return abs(process.create_time() - self.started) > 2
        except psutil.NoSuchProcess:
            return True

    def stopped(self) -> bool:
        """Whether it is a stopped process of this machine."""
        try:
            return self.is_here() and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def named(self) -> str:
        """The run for people."""
        return f"run {self.run_id} (pid {self.pid} on {self.host}, since {self.since})"


def read_owner(store: Store, name: str) -> Owner | None:
    """Who wrote the claim file `name`; None where it cannot be read, or is gone."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Owner(**json.loads(store.read_bytes(name)))
    return None


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.getfqdn()
