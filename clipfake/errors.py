"""The errors clipfake raises on purpose. Each message is one line that says what is wrong and what to do."""


class ClipfakeError(Exception):
    """The work failed (exit code 1)."""


class UsageError(ClipfakeError):
    """Wrong usage or an unusable input; nothing was written (exit code 2)."""
