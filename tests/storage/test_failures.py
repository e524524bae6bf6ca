"""Errors of disks, stores and Ray's start become one line that says what to do."""

import errno

import pytest

from clipfake.errors import ClipfakeError, ExitCode, UsageError
from clipfake.storage.failures import explained

S3 = "When getting information for key 'crawl' in bucket 'private': AWS Error {} during HeadObject operation: {}"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/reports"), "no permission to use /reports"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/a.parquet"), "no space left for /out/a.parquet"),
        (OSError(errno.EROFS, "Read-only file system", "/out"), "/out is read-only"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/f/x"), "/f/x is a file"),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), "no space left"),
        (RuntimeError("IO Error: Could not write file '/t/x': No space left on device"), "no space left for /t/x"),
        (OSError(S3.format("ACCESS_DENIED", "No response body.")), "no permission at the store (private/crawl): check"),
        (OSError(S3.format("UNKNOWN (HTTP status 403)", "")), "AWS_ACCESS_KEY_ID"),
        (OSError(S3.format("NO_SUCH_BUCKET", "The bucket does not exist")), "no such bucket"),
        (OSError(S3.format("UNKNOWN (HTTP status 301)", "PermanentRedirect")), "AWS_REGION"),
        (OSError("AF_UNIX path length cannot exceed 107 bytes: '/tmp/long'"), "RAY_TMPDIR"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/me/.ray/auth_token"), "RAY_AUTH_TOKEN_PATH"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/me/.ray"), "RAY_AUTH_MODE"),
    ],
)
def test_what_the_user_can_mend_is_a_usage_error_of_one_line(error, says):
    told = explained(error)
    assert isinstance(told, UsageError)
    assert told.exit_code is ExitCode.USAGE
    assert says in str(told)
    assert "\n" not in str(told)


def test_a_store_that_does_not_answer_is_a_failure_that_may_pass():
    told = explained(OSError(S3.format("NETWORK_CONNECTION", "curlCode: 7, Couldn't connect to server")))
    assert told.exit_code is ExitCode.FAILED
    assert "the store does not answer (private/crawl)" in str(told)


def test_other_errors_of_the_system_fail_in_one_line_and_faults_of_the_program_are_not_hidden():
    told = explained(OSError("something\nodd"))
    assert type(told) is ClipfakeError
    assert str(told) == "OSError: something odd"
    assert explained(ValueError("a fault")) is None
    known = ClipfakeError("known")
    assert explained(known) is known
