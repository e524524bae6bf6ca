"""The errors clipfake raises on purpose, each message one line that says what to do; and the exit codes."""

from enum import IntEnum


def one_line(error: BaseException, most: int = 500) -> str:
    """What an error says, without line breaks; its kind where it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:most]


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # wrong usage or an unusable input; the user can mend it
    TOO_MANY_ERRORS = 3  # done and committed, but more rows have an error than --max-error-rate allows
    DRIFT = 4  # an alarm of `drift` or `nightly`


class ClipfakeError(Exception):
    """The work failed."""

    exit_code = ExitCode.FAILED


class UsageError(ClipfakeError):
    """Wrong usage or an unusable input; nothing was written."""

    exit_code = ExitCode.USAGE


class NoTextTowerError(UsageError):
    """The encoder embeds images only."""


class ClaimLostError(ClipfakeError):
    """Another run writes into the folder now: this one must not."""


class WorkFailedError(ClipfakeError):
    """What was to be computed failed where it was computed; what is committed stays."""


class BrokenOffError(Exception):
    """The cluster gave way under the work, which can be laid out anew on what is left of it.

    stalled : it gave nothing for too long; else actors or nodes died
    """

    def __init__(self, message: str, *, stalled: bool = False) -> None:
        super().__init__(message)
        self.stalled = stalled
