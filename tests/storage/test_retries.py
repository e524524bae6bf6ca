"""Asking again: as often as there are pauses, only for what may pass, with jitter below the pause."""

import pytest

from clipfake.storage import retries
from clipfake.storage.retries import retried


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("failures", range(5))
def test_it_is_asked_once_more_than_there_are_pauses(slept, failures):
    left = [OSError(f"busy {n}") for n in range(failures)]

    def act() -> str:
        if left:
            raise left.pop()
        return "answer"

    if failures > 3:
        with pytest.raises(OSError, match="busy 0"):
            retried(act, (1.0, 4.0, 16.0), lambda error: True)
    else:
        assert retried(act, (1.0, 4.0, 16.0), lambda error: True) == "answer"
    assert len(slept) == min(failures, 3)
    assert all(pause / 2 <= seconds <= pause for seconds, pause in zip(slept, (1.0, 4.0, 16.0), strict=False))


def test_what_does_not_pass_is_raised_at_once(slept):
    with pytest.raises(KeyError):
        retried(lambda: {}["no"], (1.0,), lambda error: isinstance(error, OSError))
    assert not slept
