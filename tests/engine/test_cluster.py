"""A cluster that is not there is said in one line and at once."""

import pytest

from clipfake.engine.cluster import connected
from clipfake.errors import ClipfakeError


def test_an_address_where_nothing_answers(free_port, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests of this process may have a session
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    message = r"^no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:\d+ \(.*refused"
    with pytest.raises(ClipfakeError, match=message), connected():
        pass
