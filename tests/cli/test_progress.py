"""Where there is no terminal, a line a minute says how far it is."""

import logging

import pytest

from clipfake.cli import progress


def test_a_line_a_minute_with_the_speed_since_the_first_image(monkeypatch: pytest.MonkeyPatch, caplog):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO, progress.__name__)
    with progress.progress_bar() as begin:  # under pytest stderr is no terminal
        advance = begin(1000)
        for now, n in ((1030.0, 100), (1050.0, 40), (1090.0, 260), (1091.0, 100), (1150.0, 200)):  # noqa: B007
            advance(n)
    assert [record.message for record in caplog.records] == [
        "400 of 1000 images done, 5.0 a second, 0:02:00 left",
        "700 of 1000 images done, 5.0 a second, 0:01:00 left",
    ]


def test_nothing_but_a_first_lot_has_no_speed_yet(monkeypatch: pytest.MonkeyPatch, caplog):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO, progress.__name__)
    advance = progress.by_the_minute(10)
    now = 61.0
    advance(4)
    assert caplog.messages == ["4 of 10 images done"]
