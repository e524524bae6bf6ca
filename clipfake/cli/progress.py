"""How far long work is, on stderr: a bar on a terminal, elsewhere a log line a minute."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

log = logging.getLogger(__name__)

EVERY_S = 60.0


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Gives a function: how many images there are -> what is to be called with how many more are done."""
    if not sys.stderr.isatty():
        yield by_the_minute
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The terminal itself: while Ray runs, what goes to stderr is filtered line by line.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Progress(*columns, console=Console(file=terminal), transient=True) as bar,
    ):

        def begin(total: int) -> Callable[[int], None]:
            task = bar.add_task("images", total=total)
            return lambda n: bar.advance(task, n)

        yield begin


def by_the_minute(total: int) -> Callable[[int], None]:
    """Logs how much is done, at what speed since the first of it was, and how long the rest takes."""
    spoke = time.monotonic()
    done, first, first_at = 0, 0, 0.0

    def advance(n: int) -> None:
        nonlocal done, first, first_at, spoke
        done, now = done + n, time.monotonic()
        if not first_at:
            first, first_at = done, now
        if now - spoke < EVERY_S:
            return
        spoke, speed = now, (done - first) / max(now - first_at, 1e-9)
        left = f", {timedelta(seconds=round((total - done) / speed))} left" if speed else ""
        log.info("%d of %d images done%s%s", done, total, f", {speed:.1f} a second" if speed else "", left)

    return advance
