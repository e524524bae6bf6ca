"""Schedules of trouble drawn at random: commands on one folder that sleep, die, are cut off, differ or overlap.

Runs are forked from a process that has imported all they need, so that one takes a second. A step is one request of a
run to a store; trouble comes at a step that is drawn. `scene` plays them.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

STALE_S, REFRESH_S, LOOK_S = 2.0, 0.3, 0.1  # the life of a claim here
HOOKED = ("_entries", "read_bytes", "put", "_temporary_sink", "_publish", "delete", "delete_tree", "exists")
# Where a request comes from: the innermost function of these that is under way.
PLACES = {
    "take": "asking for the claim",
    "_refresh": "refreshing the claim",
    "commit_unit": "at a commit",
    "_merge": "inside a merge",
    "finish_compactions": "finishing a merge",
    "_finish": "beside a merge",
    "take_up": "taking up what is open",
    "open_plans": "taking up what is open",
    "_left_open": "taking up what is open",
    "publish_plan": "before the plan counts",
    "plans": "planning",
    "hand_over": "handing rows over",
    "close_plan": "at the end",
    "write_record": "at the end",
    "release": "at the end",
}


@dataclass(frozen=True)
class Act:
    """One command, and what happens to it.

    what : score, compact; grow (the items), poison (a file of embeddings breaks off)
    trouble : none; kill, pause or outage (the store fails for `length` requests) at the request `step`; freeze: a pause
        of the nodes too; partition: the node that has the commit number `length` is cut off at its request `step`, and
        the commit is done again elsewhere
    elsewhere : on a machine of its own, as far as claims can tell
    narrow : with other options than all others, by which every image is too large
    on_ray : its work is done by Ray's actors, and its commits by Ray's tasks
    meanwhile : what happens while it sleeps, or before its node is back
    """

    what: str
    unit_rows: int = 5
    trouble: str = "none"
    step: int = 0
    length: int = 0
    elsewhere: bool = False
    narrow: bool = False
    on_ray: bool = False
    meanwhile: tuple["Act", ...] = ()

    def __str__(self) -> str:
        place = "@" * self.elsewhere + "narrow " * self.narrow + "Ray " * self.on_ray
        trouble = "" if self.trouble == "none" else f" {self.trouble} at {self.step}"
        inner = f" ({', '.join(map(str, self.meanwhile))})" if self.meanwhile else ""
        return f"{place}{self.what}{trouble}{inner}"


@dataclass(frozen=True)
class Schedule:
    """What is done on one folder. images : of images, else of stored embeddings; on_s3 : the reports are on S3"""

    images: bool
    on_s3: bool
    acts: tuple[Act, ...]


def draw(seed: int, on_ray: bool = False) -> Schedule:
    """The schedule of a seed. on_ray : some of its runs are on Ray"""
    chance = random.Random(seed)
    images, on_s3 = chance.random() < 0.5, chance.random() < 0.4

    def act(depth: int) -> Act:
        poison = 10 if depth and not images else 0
        what = chance.choices(("score", "compact", "grow", "poison"), (60, 20, 10, poison))[0]
        if what in ("grow", "poison"):
            return Act(what)
        ray = on_ray and not depth and what == "score" and chance.random() < 0.6
        kinds = ("none", "kill", "pause", "outage", "partition", "freeze")
        sleeps = depth < 2
        weights = (15, 30, 25 * sleeps, 20, 20 * (sleeps and what == "score" and not ray), 25 * ray)
        trouble = chance.choices(kinds, weights)[0]
        step = chance.randint(1, 90 if what == "score" else 30)
        rows, length = chance.choice((3, 5, 8, 50)), chance.choice((1, 3, 10, 60))
        if trouble == "partition":
            step, length = chance.randint(1, 8), chance.randint(1, 3)
        elif ray:
            step = chance.randint(1, 45)
        inner = trouble in ("pause", "partition", "freeze")
        meanwhile = tuple(act(depth + 1) for _ in range(chance.randint(1, 2))) if inner else ()
        narrow = images and what == "score" and chance.random() < 0.2
        return Act(what, rows, trouble, step, length, chance.random() < 0.4, narrow, ray, meanwhile)

    first = act(0)
    while first.what != "score":
        first = act(0)
    return Schedule(images, on_s3, (first, *(act(0) for _ in range(chance.randint(1, 2 if on_ray else 3)))))


def grows(acts: tuple[Act, ...]) -> int:
    """How often new items come in acts and in what comes meanwhile."""
    return sum((act.what == "grow") + grows(act.meanwhile) for act in acts)


def plain(act: Act) -> Act:
    """The same command without trouble."""
    return replace(act, trouble="none", meanwhile=())


def forked(work: Callable[[], Any], log: Path) -> int:
    """Starts a process that does this and ends, with its output in a file; its pid."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 99
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def waited(pid: int) -> int:
    """The exit code; of one that sleeps 1000, of one that was killed -9."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    return 1000 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def hook(act: Act, elsewhere: str | None, noted: Path) -> None:
    """Makes trouble at this process's request number `act.step`; a claim lives for seconds.

    noted : a file that is told where the trouble came
    """
    import pyarrow.parquet as pq

    from clipfake.scoring import ahead, job, plan, score, unit_chunks
    from clipfake.storage import claim, owner
    from clipfake.storage.store import Store

    claim.STALE_S, claim.REFRESH_S, claim.LOOK_S, unit_chunks.PAUSES_S = STALE_S, REFRESH_S, LOOK_S, (0.05, 0.1)
    if not act.on_ray:
        score.counted_ahead = lambda listing, *_: (True, listing)  # no Ray, also where units were left open
    ahead.AFTER_S, plan.PIECE_ROWS, job.FIRST_CHUNKS = 0.0, (1, 12), 0  # work begins while the listing goes on
    if elsewhere is not None:
        owner._machine = lambda: elsewhere
    seen = 0
    signals = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "freeze": signal.SIGSTOP}

    def request() -> None:
        nonlocal seen
        seen += 1
        if seen == act.step and act.trouble not in ("none", "partition"):
            noted.write_text(place())
        if seen == act.step and act.trouble in signals:
            os.kill(os.getpid(), signals[act.trouble])
        if act.trouble == "outage" and act.step <= seen < act.step + act.length:
            raise OSError("AWS Error NETWORK_CONNECTION during a request: the store cannot be reached")

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            request()
            return real(*given, **options)

        return call

    for name in HOOKED:
        setattr(Store, name, counted(getattr(Store, name)))
    pq.ParquetFile.__init__ = counted(pq.ParquetFile.__init__)


def place() -> str:
    """Where the request that is being made comes from."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in PLACES and "clipfake" in frame.f_code.co_filename:
            return PLACES[frame.f_code.co_name]
        frame = frame.f_back  # type: ignore[assignment]
    return "at the start"


def node(orders: Connection, act: Act, noted: Path) -> None:
    """A node that gets one order, and is cut off at its request number `act.step`, until it is continued."""
    from clipfake.scoring.commit import commit_unit

    try:
        order = orders.recv()
    except EOFError:  # the run ended before
        return
    hook(replace(act, trouble="pause"), None, noted)
    commit_unit(order)


def hook_commits(number: int, orders: Connection, pid: int) -> None:
    """The commit of that number goes to the node `pid` first, and is done again here once that is cut off."""
    from clipfake.scoring.executor import InProcess

    commit, seen = InProcess.commit, 0

    def twice(self: InProcess, order: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == number:
            orders.send(order)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and psutil.Process(pid).status() not in ("stopped", "zombie"):
                time.sleep(0.01)
        return commit(self, order)

    InProcess.commit = twice  # type: ignore[method-assign]
