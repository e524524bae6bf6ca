"""The errors clipfake raises on purpose. Each message is one line that says what is wrong and what to do."""


class ClipfakeError(Exception):
    """The work failed (exit code 1)."""


class UsageError(ClipfakeError):
    """Wrong usage or an unusable input; nothing was written (exit code 2)."""


class ClaimLostError(ClipfakeError):
    """Another run writes into the folder now: this one must not (exit code 1)."""


class WorkFailedError(ClipfakeError):
    """What was to be computed failed where it was computed; what is committed stays (exit code 1)."""
