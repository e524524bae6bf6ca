"""The item lists of open work on disk."""

import tempfile
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
        writer.add(pa.Table.from_batches([batch.slice(start, 4)]))
    writer.close()
    (unit,) = writer.units
    assert unit.chunks == chunks and unit.rows == 7
    with pq.ParquetFile(store.path(unit.path)) as file:
        assert tuple(file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)) == chunks
        assert file.read() == pa.Table.from_batches([batch])


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9 << 20)), min_size=1, max_size=60),
    st.integers(1, 12),
    st.integers(1, 20),
)
def test_units_hold_no_more_rows_nor_bytes_than_they_may(
    sizes: list[int | None], unit_rows: int, at_a_time: int
) -> None:
    """Images of 30 MB in a row are more units, not one that takes an hour; rows keep their order."""
    table = pa.table({"item_id": [str(number) for number in range(len(sizes))], "size": pa.array(sizes, pa.int64())})
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"file://{folder}")
        writer = UnitWriter(store, "run", table.schema, unit_rows, 3, dry=False, reads_images=True)
        for start in range(0, len(sizes), at_a_time):
            writer.add(table.slice(start, at_a_time))
        writer.close()
        held = [pq.read_table(f"{folder}/{unit.path}") for unit in writer.units]
    assert pa.concat_tables(held) == table and writer.items == len(sizes)
    most = unit_rows * units.ITEM_BYTES
    for here, following in zip(held, [*held[1:], None], strict=True):
        bytes_here = sum(UNKNOWN_BYTES if size is None else size for size in here["size"].to_pylist())
        assert here.num_rows == 1 or (here.num_rows <= unit_rows and bytes_here <= most)
        if following is not None and here.num_rows < unit_rows:  # none ends too soon
            first = following["size"][0].as_py()
            assert bytes_here + (UNKNOWN_BYTES if first is None else first) > most
