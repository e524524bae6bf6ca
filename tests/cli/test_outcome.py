"""What a run says of how familiar its images were."""

import pytest

from clipfake.cli.outcome import _print_unfamiliar


@pytest.mark.parametrize(
    ("counts", "says", "alarm"),
    [
        ({}, "", False),
        ({"scored": 0, "0.95": 0, "0.99": 0}, "", False),
        ({"scored": 1000, "0.95": 52, "0.99": 11}, "5.2% farther than 95% of it, 1.1% farther than 99% of it", False),
        ({"scored": 300, "0.95": 150, "0.99": 100}, "33.3% farther than 99% of it", True),
    ],
)
def test_a_crawl_like_nothing_seen_is_said(counts, says, alarm, capsys):
    _print_unfamiliar(counts)
    out = capsys.readouterr().out
    assert says in out
    assert bool(out) == bool(says)
    assert ("33% of these images look like nothing the detector has seen" in out) == alarm
