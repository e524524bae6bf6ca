"""The status of an item: `ok`, or the code of the reason why it has no score."""

from enum import StrEnum


class Status(StrEnum):
    """One code a row; DESIGN: permanent errors are kept, errors that may pass are tried again by the next run."""

    OK = "ok"
    # permanent
    EMPTY = "empty"  # zero bytes
    UNSUPPORTED = "unsupported"  # not a format that is allowed
    CORRUPT = "corrupt"  # the decoder refuses it
    TRUNCATED = "truncated"  # the data ends too early
    TOO_LARGE = "too_large"  # more bytes or pixels than the limits allow
    TIMEOUT = "timeout"  # decoding took longer than the limit
    CRASHED = "crashed"  # the decoding process died or met its memory limit
    ENCODER_ERROR = "encoder_error"  # the encoder gave no finite embedding
    NO_TEXT = "no_text"  # the detector reads text beside the image, and the item has none
    # may pass
    MISSING = "missing"  # listed, but not there when it was read
    DENIED = "denied"  # no permission to read it
    UNREADABLE = "unreadable"  # I/O error after retries, or changed between listing and reading

    @property
    def may_pass(self) -> bool:
        """Whether the next run tries the item again."""
        return self in (Status.MISSING, Status.DENIED, Status.UNREADABLE)
