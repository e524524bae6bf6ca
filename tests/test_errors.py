"""Exit codes are the contract's, and each error has one."""

import pytest

from clipfake import errors
from clipfake.errors import ClipfakeError, ExitCode, UsageError, first_line, one_line

ERRORS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ClipfakeError)]


def test_exit_codes_are_those_that_scripts_rely_on():
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0, "FAILED": 1, "USAGE": 2, "TOO_MANY_ERRORS": 3, "DRIFT": 4,
    }  # fmt: skip


@pytest.mark.parametrize("error", ERRORS)
def test_what_the_user_can_mend_exits_with_2_and_all_else_with_1(error):
    assert error("why").exit_code is (ExitCode.USAGE if issubclass(error, UsageError) else ExitCode.FAILED)


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (OSError("a\n  b" + "c" * 600), "a", ("a b" + "c" * 600)[:500]),
        (OSError("\n"), "OSError", "OSError"),
        (TimeoutError(), "TimeoutError", "TimeoutError"),
    ],
)
def test_an_error_is_said_in_a_line(error, first, whole):
    assert (first_line(error), one_line(error)) == (first, whole)
