"""Child processes for what strangers' bytes are read with: no keys in their environment, no file, little memory."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

# What a child inherits of the environment. Keys of stores and Ray's token are none of its business.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


def start(module: str, theirs: socket.socket, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that runs this module with its end of a socket as stdin. Raises OSError."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",  # torch's
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # gives memory back
    }
    return subprocess.Popen(
        # -P: the current folder, which may be anyone's, is not searched for modules.
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        env=environment,
        process_group=0,  # a terminal's Ctrl-C is for this process; the children end with their socket
    )


def confine(memory_bytes: int) -> None:
    """Limits what this process may take beyond what it holds, now that all it needs is loaded."""
    # Address space, since RLIMIT_DATA misses memory that is mapped shared.
    allowed = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = address_space() + memory_bytes
    wanted = wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is then seen here
    # C libraries write their complaints about bad data straight to stderr, millions of times over a crawl.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def address_space() -> int:
    """Bytes that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def ending(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, in words; it is ended where it has not."""
    try:
        code = process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "stopped answering"
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
