"""What an error of a disk, a store or Ray's start means for the user, and what to do about it."""

import errno
import re

from clipfake.errors import ClipfakeError, UsageError

ANOTHER_REGION = r"PermanentRedirect|HTTP status 301|bucket must be addressed|configured region"
_CREDENTIALS = "check the credentials in the environment (AWS_ACCESS_KEY_ID, ...) and what they are allowed to do"

# The number of a system error -> what it means. pyarrow gives numbers and texts of the system too, "[Errno 13] ...".
_BY_NUMBER = {
    errno.EACCES: "no permission to use {}: change its permissions, or choose another place",
    errno.EPERM: "no permission to use {}: change its permissions, or choose another place",
    errno.EROFS: "{} is read-only: choose another place to write to",
    errno.ENOSPC: "no space left for {}: free some, or choose another place (TMPDIR for temporary files)",
    errno.EDQUOT: "the disk quota is used up at {}: free some space, or choose another place",
    errno.ENOTDIR: "{} is a file or lies below one: name a folder",
    errno.EISDIR: "{} is a folder: name a file",
    errno.ENAMETOOLONG: "the name {} is too long for this system: choose a shorter one",
}
_BY_TEXT = (
    (r"AF_UNIX path length", "the folder of Ray's sockets has too long a name: set RAY_TMPDIR to a short one, as /tmp"),
    (r"ACCESS_DENIED|\b403\b|Forbidden|PERMISSION_DENIED", "no permission at the store{}: " + _CREDENTIALS),
    (r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|UNAUTHENTICATED", "the store refuses the credentials{}: "
     + _CREDENTIALS),
    (r"NO_SUCH_BUCKET|bucket .{0,80}does not exist", "there is no such bucket{}: check its name"),
    (ANOTHER_REGION, "the bucket lies in another region{} than AWS_REGION or AWS_DEFAULT_REGION says: unset them, and "
     "each bucket's own region is found"),
)  # fmt: skip
_NO_ANSWER = r"NETWORK_CONNECTION|curlCode|Couldn't connect|REQUEST_TIMEOUT"
_TOKEN = (
    "Ray cannot keep its token at {}: set RAY_AUTH_TOKEN_PATH to a file that can be written, or RAY_AUTH_MODE=disabled"
)


def explained(error: BaseException) -> ClipfakeError | None:
    """The error as one line that says what to do; None for one that only a developer understands.

    A UsageError is given where the user can mend it: permissions, credentials, space, names. A store that does not
    answer may do so when the same command is run again.
    """
    if isinstance(error, ClipfakeError):
        return error
    text = " ".join(str(error).split())
    for pattern, meaning in _BY_TEXT:
        if re.search(pattern, text):
            return UsageError(meaning.format(_named(text, " ({})")))
    if re.search(_NO_ANSWER, text):
        named = _named(text, " ({})")
        return ClipfakeError(f"the store does not answer{named}: check the network and AWS_ENDPOINT_URL")
    number = _number(error, text)
    if number is None:
        return ClipfakeError(f"{type(error).__name__}: {text[:300]}") if isinstance(error, OSError) else None
    place = getattr(error, "filename", None) or _named(text, "{}") or "the output"
    if number in (errno.EACCES, errno.EROFS, errno.EPERM) and re.search(r"/\.ray(/|$)", str(place)):
        return UsageError(_TOKEN.format(place))
    return UsageError(_BY_NUMBER[number].format(place))


def _number(error: BaseException, text: str) -> int | None:
    """The number of a system error that is known here, also where only its text is left (Ray, DuckDB, PyArrow)."""
    found = getattr(error, "errno", None)
    if named := re.search(r"\[errno (\d+)\]", text, re.IGNORECASE):
        found = int(named[1])
    if found is None and re.search(r"No space left on device", text):
        found = errno.ENOSPC
    if found is None and isinstance(error, PermissionError):
        found = errno.EACCES
    return found if found in _BY_NUMBER else None


def _named(text: str, form: str) -> str:
    """The file, key or bucket that a message of PyArrow or the system names, in that form; "" where it names none."""
    if stored := re.search(r"key '([^']*)' in bucket '([^']+)'", text):
        return form.format(f"{stored[2]}/{stored[1]}")
    found = re.search(r"(?:file|directory|key|bucket|path)s? '([^']+)'", text) or re.search(r": '([^']+)'", text)
    return form.format(found[1]) if found else ""
