"""The item lists of open work on disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.storage import units
from clipfake.storage.store import Store
from clipfake.storage.units import UNKNOWN_BYTES, UnitWriter, chunk_lengths


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 10), st.integers(0, 60))
def test_chunks_hold_no_more_than_they_may(sizes: list[int], most_rows: int, most_bytes: int) -> None:
    lengths = chunk_lengths(np.array(sizes, np.int64), most_rows, most_bytes)
    assert sum(lengths) == len(sizes) and all(1 <= length <= most_rows for length in lengths)
    at = 0
    for length in lengths:
        held = sizes[at : at + length]
        assert length == 1 or sum(held) <= most_bytes
        following = sizes[at + length : at + length + 1]
        assert length == most_rows or not following or sum(held + following) > most_bytes  # none is cut too soon
        at += length


@pytest.mark.parametrize(("reads_images", "chunks"), [(True, (2, 2, 1, 2)), (False, (3, 3, 1))])
def test_a_unit_is_cut_into_chunks(
    reads_images: bool, chunks: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "CHUNK_BYTES", 2 * UNKNOWN_BYTES)
    sizes = [1, UNKNOWN_BYTES, None, None, 5 * UNKNOWN_BYTES, None, 0]
    batch = pa.record_batch({"item_id": [str(number) for number in range(7)], "size": pa.array(sizes, pa.int64())})
    store = Store(f"file://{tmp_path}")
    writer = UnitWriter(store, "run", batch.schema, 100, 3, dry=False, reads_images=reads_images)
    for start in (0, 4):
        writer.add(batch.slice(start, 4))
    writer.close()
    (unit,) = writer.units
    assert unit.chunks == chunks and unit.rows == 7
    with pq.ParquetFile(store.path(unit.path)) as file:
        assert tuple(file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)) == chunks
        assert file.read() == pa.Table.from_batches([batch])
