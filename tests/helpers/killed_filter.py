"""`clipfake filter` that is killed again and again: in a process of its own, in which each copy takes a while."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SLOW = """
import time
from clipfake.scoring import filter as module
copy = module._copy
def slow(container, out):
    time.sleep(0.3)
    done = copy(container, out)
    time.sleep(0.3)
    return done
module._copy = slow
from clipfake.cli import main
main("filter")
"""


def killed_filter(arguments: list[object], out: Path, kills: int = 5) -> tuple[list[int], dict[str, Any]]:
    """How many files were done after each kill, and what the filter said when it was let go to its end.

    arguments : of the command, with --json; out : the folder it writes
    """
    command = [sys.executable, "-c", SLOW, *map(str, arguments)]
    seen = []
    for kill in range(kills):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(list((out / "_filter").glob("*.done"))) <= kill and run.poll() is None:
            time.sleep(0.02)
        time.sleep(0.1 * kill)  # before, in and after the next copy
        run.kill()
        assert run.wait() == -signal.SIGKILL, "it ended before the kill"
        seen.append(len(list((out / "_filter").glob("*.done"))))
    return seen, json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
