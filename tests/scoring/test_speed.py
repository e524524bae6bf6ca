"""How large units are: two minutes of work by the last comparable run, within bounds of rows and bytes."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from clipfake.scoring.speed import UNIT_BYTES, UNIT_ROWS_LIMITS, measured_speed, unit_rows
from clipfake.storage.runs import write_record
from clipfake.storage.store import Store

SOURCE = SimpleNamespace(kind="images", first_unit_rows=lambda device, views: 5_000)
NARROW = SimpleNamespace(schema=pa.schema([("decision", pa.float64())]))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(f"file://{tmp_path}")


def ran(store: Store, number: int, speed: float | None, **other) -> None:
    record = {"command": "score", "source": "images", "device": "cpu", "images_per_second": speed,
              "seconds": {"work": 60.0}, **other}  # fmt: skip
    write_record(store, f"2026110{number}T000000-aaaaaa", record)


def test_the_first_run_takes_what_its_source_says(store):
    assert measured_speed(store, "score", "images") is None
    assert unit_rows(store, "score", SOURCE, "cpu", NARROW, 0) == 5_000


def test_the_last_comparable_run_counts(store):
    ran(store, 1, 40.0)
    ran(store, 2, 50.0)
    ran(store, 3, 900.0, device="cuda")
    ran(store, 4, 900.0, source="embeddings")
    ran(store, 5, 900.0, command="embed")
    ran(store, 6, 900.0, seconds={"work": 9.0})  # too short to be a measurement
    ran(store, 7, None)
    assert measured_speed(store, "score", "images", "cpu") == 50.0
    assert measured_speed(store, "score", "images") == 900.0  # on whichever device: the GPU's run of the third night
    assert unit_rows(store, "score", SOURCE, "cpu", NARROW, 0) == 120 * 50


@pytest.mark.parametrize(("speed", "rows"), [(0.01, UNIT_ROWS_LIMITS[0]), (1e9, UNIT_ROWS_LIMITS[1])])
def test_rows_are_bounded(store, speed, rows):
    ran(store, 1, speed)
    assert unit_rows(store, "score", SOURCE, "cpu", NARROW, 0) == rows


@pytest.mark.parametrize("views", [0, 3])
def test_a_units_vectors_fit_into_memory(store, views):
    ran(store, 1, 1e9)
    kept = SimpleNamespace(schema=pa.schema([("embedding", pa.list_(pa.float32(), 512))]))
    assert unit_rows(store, "embed", SOURCE, "cpu", kept, views) <= 5_000
    rows = unit_rows(store, "score", SOURCE, "cpu", kept, views)
    assert rows == UNIT_BYTES // (512 * 4 * (1 + views))
