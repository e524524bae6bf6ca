"""Telling of a long step while it runs: how long it is expected to take, and now and then how long it has."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 30.0


@contextmanager
def announced(
    what: str, expected_s: float | None, say: Callable[[str], None], every_s: float = EVERY_S
) -> Iterator[None]:
    """Says before the step in here how many seconds are expected, then every `every_s` how many have passed.

    Says nothing where `expected_s` is None. The step must let other threads run, as scikit-learn's SVC does.
    """
    if expected_s is None:
        yield
        return
    began, over = time.monotonic(), threading.Event()
    say(f"{what}: about {expected_s:.0f} s, estimated from a fit of a few rows")

    def speak() -> None:
        while not over.wait(every_s):
            say(f"{what}: {time.monotonic() - began:.0f} s of about {expected_s:.0f} s")

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
