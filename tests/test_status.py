"""The status codes of the contract, and which of them the next run tries again."""

from pathlib import Path

from clipfake.status import Status

PERMANENT = "empty unsupported corrupt truncated too_large timeout crashed encoder_error no_text"
MAY_PASS = "missing denied unreadable"


def test_the_codes_and_which_may_pass():
    assert {str(status): status.may_pass for status in Status} == {
        "ok": False, **dict.fromkeys(PERMANENT.split(), False), **dict.fromkeys(MAY_PASS.split(), True),
    }  # fmt: skip


def test_users_can_look_each_up():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [status for status in Status if f"`{status}`" not in readme] == []
