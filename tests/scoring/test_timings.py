"""Where the time went, against sums made by hand."""

import numpy as np
import pyarrow as pa
import pytest

from clipfake.cli.outcome import slowest, steady
from clipfake.scoring import timings
from clipfake.scoring.timings import StageTimes, with_seconds


def rows(stages: dict[str, list[tuple[str, float]]]) -> pa.Table:
    """A table whose stages took, in each row, so many seconds of that actor."""
    columns = {}
    for stage, spent in stages.items():
        columns[f"_{stage}_s"] = pa.array([seconds for _, seconds in spent], pa.float32())
        columns[f"_{stage}_by"] = pa.array([actor for actor, _ in spent])
    return pa.table(columns)


@pytest.fixture
def times() -> StageTimes:
    """Two nodes; a reads and decodes, and both encode."""
    made = StageTimes()
    read = [("a 1 11", 1.0), ("a 1 12", 1.0), ("a 1 11", 2.0)]
    made.count(
        rows({"fetch": read, "decode": [("a 1", 1.0)] * 3, "encode": [("a 2", 4.0), ("b 3", 8.0), ("b 3", 8.0)]})
    )
    made.count(rows({"fetch": [("a 1 12", 4.0)], "decode": [("a 1", 1.0)], "encode": [("a 2", 4.0)]}))
    made.writing = 1.0
    return made


def test_by_stage_and_by_node(times):
    assert times.by_stage == {"fetch": 8.0, "decode": 4.0, "encode": 24.0}
    assert times.by_node() == {
        "a": {"rows": 2, "actors": 2, "seconds": {"fetch": 8.0, "decode": 4.0, "encode": 8.0}},
        "b": {"rows": 2, "actors": 1, "seconds": {"encode": 16.0}},
    }


def test_busy_is_the_share_of_each_actors_time(times):
    """Two threads read; of two encoders one is busy for 8 of 20 s, the other for 16."""
    assert times.busy(20.0) == {
        "reading": pytest.approx(8 / 40),
        "decoding": pytest.approx(4 / 20),
        "the encoder": pytest.approx(24 / 40),
        "writing": pytest.approx(1 / 20),
    }
    assert StageTimes().busy(20.0) == {}


def test_what_is_slow_is_named(times):
    record = {"busy": times.busy(20.0), "seconds": {"work": 20.0}}
    assert slowest(record) == "slowest: the encoder, 60% of its actors' 20.0 s (reading 20%, decoding 20%, writing 5%)"
    assert "start of the actors" in slowest({"busy": times.busy(200.0), "seconds": {"work": 200.0}})


def test_the_seconds_of_a_chunk_are_shared_among_its_rows():
    table = with_seconds(with_seconds(pa.table({"x": np.arange(4)}), "_fetch_s", 2.0), "_encode_s", 1.0)
    times = StageTimes()
    times.count(table.slice(1))
    assert times.by_stage == {"fetch": 1.5, "encode": 0.75}
    (node,) = times.by_node().values()
    assert (node["rows"], node["actors"]) == (3, 1)


def chunks(times: StageTimes, of: list[tuple[str, float, float, float]]) -> None:
    """Adds chunks of 10 rows: the encoder, when it began to be read and was encoded, and the seconds of encoding."""
    for who, began, encoded, spent in of:
        table = rows({"fetch": [("a 1 1", 0.1)] * 10, "encode": [(who, spent / 10)] * 10})
        for name, at in (("_began", began), ("_encoded", encoded)):
            table = table.append_column(name, pa.array([at] * 10))
        times.count(table)


def test_the_steady_rate_has_no_backlog_in_it(times):
    """The encoder is warm at 20 s; by 25 s it has done what was decoded before, then waits 3 s for each chunk."""
    made = StageTimes()
    chunks(made, [("g 1", at, 21.0 + at, 1.0) for at in range(5)])
    chunks(made, [("g 1", 20.5 + 4 * i, 28.0 + 4 * i, 1.0) for i in range(6)])
    assert made.steady() == {"images_per_second": pytest.approx(2.5), "seconds": 20.0, "waited": pytest.approx(0.75)}
    record = {"steady": made.steady(), "busy": {"reading": 0.1, "decoding": 0.9}}
    assert steady(record) == ("steady: 2 images/s for 20.0 s, in which the encoder waited 75% of the time for decoding")


def test_two_encoders_share_the_time():
    made = StageTimes()
    chunks(made, [(f"g {i % 2}", 10.0 + i, 12.0 + i, 2.0) for i in range(9)])
    found = made.steady()
    assert found is not None
    assert (found["images_per_second"], found["waited"]) == (pytest.approx(10.0), pytest.approx(0.0))


def test_what_is_kept_of_chunks_is_bounded_and_the_steady_rate_stays(monkeypatch):
    whole, bounded = StageTimes(), StageTimes()
    for i in range(800):
        one = StageTimes()
        chunks(one, [(f"g {i % 2}", 10.0 + i, 12.0 + i, 1.5)])
        whole.add(one)
        with monkeypatch.context() as patched:
            patched.setattr(timings, "MOST_CHUNKS", 100)
            bounded.add(one)
    assert len(bounded._chunks) <= 4 * 100
    assert bounded.steady() == pytest.approx(whole.steady(), rel=0.05)


def test_a_short_run_has_no_steady_state(times):
    assert times.steady() is None
    made = StageTimes()
    chunks(made, [("g 1", 0.0, 10.0 + i, 1.0) for i in range(9)])  # all were read before the encoder was there
    assert made.steady() is None


def test_when_the_first_chunk_was_read_and_encoded(times):
    assert times.starts(0.0) == {}  # nothing tells when
    made = StageTimes()
    chunks(made, [("g 1", 101.0, 121.0, 2.0), ("g 2", 100.5, 119.0, 1.0)])
    found = made.starts(100.0)
    assert found == pytest.approx({"until_first_read": 0.5, "until_first_encoding": 18.0, "until_first_encoded": 19.0})


def test_stages_tell_when_they_began_and_ended():
    made = StageTimes()
    for _ in range(7):
        table = with_seconds(pa.table({"x": np.arange(4)}), "_fetch_s", 0.0)
        made.count(with_seconds(table, "_encode_s", 1e-9))
    assert made.steady() is not None
