"""Asking a store again: the one loop for all that may fail for a moment."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from clipfake.errors import one_line

T = TypeVar("T")
log = logging.getLogger(__name__)


def retried(
    act: Callable[[], T], pauses_s: Sequence[float], may_pass: Callable[[Exception], bool], level: int = logging.DEBUG
) -> T:
    """What `act` returns. Where it raises what `may_pass`, it is tried again after each of the pauses, with jitter.

    level : of the log line for each further try

    Raises what the last try raised.
    """
    for pause_s in pauses_s:
        try:
            return act()
        except Exception as error:
            if not may_pass(error):
                raise
            log.log(level, "a store did not answer; asking again: %s", one_line(error))
        time.sleep(random.uniform(0.5, 1.0) * pause_s)
    return act()
