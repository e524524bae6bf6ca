"""Lists of what a filter keeps."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.scoring.filtered_list import is_list, write_list
from clipfake.storage import uri as uris


def test_a_list_of_uids_is_sorted_and_of_two_numbers(tmp_path: Path):
    ids = pa.array(["file:///a.tar#ffffffffffffffff0000000000000002.jpg", "file:///0000000000000001000000000000000a"])
    write_list([ids], uris.place(str(tmp_path / "uids.npy")))
    found = np.load(tmp_path / "uids.npy")
    assert found.dtype == np.dtype("u8,u8")
    assert found.tolist() == [(1, 10), (2**64 - 1, 2)]


@pytest.mark.parametrize("suffix", [".txt", ".parquet"])
def test_an_odd_name_stays_on_one_line(tmp_path: Path, suffix: str):
    """What an item_id may not hold is escaped in it, so that a line is an item."""
    ids = ["file:///a%0Ab.jpg", "file:///b.tar#x.jpg"]
    place = tmp_path / f"kept{suffix}"
    write_list([pa.array(ids[:1]), pa.array(ids[1:])], uris.place(str(place)))
    found = place.read_text().splitlines() if suffix == ".txt" else pq.read_table(place)["item_id"].to_pylist()
    assert found == ids and is_list(str(place)) and not is_list(str(tmp_path))
