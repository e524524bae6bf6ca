"""Copies of tars and Parquet files without some items: bytes, order and sidecars as they were."""

import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tars import read_tar, write_tar

from clipfake.errors import ClipfakeError
from clipfake.scoring.filtered_files import Container, Members, filter_container, pack_files
from clipfake.storage import uri as uris


def test_members_stay_as_they_were_and_in_order(tmp_path: Path):
    shard = {f"{i}.{end}": f"{i}{end}".encode() * 700 for i in (3, 1, 2) for end in ("jpg", "json", "txt")}
    shard |= {"README": b"of the shard", "._1.jpg": b"AppleDouble"}
    uri = write_tar(tmp_path / "a.tar", shard)
    done = filter_container(Container(uri, "b/a.tar", ("3.jpg", "2.jpg"), ("1.jpg",)), uris.from_path(str(tmp_path)))
    assert done == 2
    kept = read_tar(tmp_path / "b" / "a.tar")
    assert list(kept) == ["3.jpg", "3.json", "3.txt", "2.jpg", "2.json", "2.txt", "README"]
    assert all(kept[name] == shard[name] for name in kept)
    with tarfile.open(tmp_path / "b" / "a.tar") as tar:
        assert {(member.mtime, member.mode) for member in tar} == {(1_700_000_000, 0o640)}


def test_a_text_goes_with_the_image_whose_name_it_shares():
    members = Members(keep=["a/1.cond.jpg"], drop=["a/1.jpg", "a/2.jpg"])
    assert members.stays("a/1.cond.json")
    assert not members.stays("a/1.json")  # of 1.jpg, although 1.cond.jpg is of the same sample
    assert members.stays("a/1.other.json")  # of the sample, of which an image stays
    assert not members.stays("a/2.txt")
    assert members.stays("b/1.json")  # of another folder


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(1, 9))
def test_rows_stay_in_order_whatever_the_row_groups(tmp_path_factory, kept: set[int], group: int):
    folder = tmp_path_factory.mktemp("rows")
    table = pa.table({"image": [bytes([i]) * 3 for i in range(31)], "caption": [f"c{i}" for i in range(31)]})
    pq.write_table(table.replace_schema_metadata({"who": "me"}), folder / "a.parquet", row_group_size=group)
    names = [(str(i), i in kept) for i in range(31)]
    keep, drop = (tuple(name for name, stays in names if stays == which) for which in (True, False))
    container = Container(uris.from_path(str(folder / "a.parquet")), "out.parquet", keep, drop)
    assert filter_container(container, uris.from_path(str(folder))) == len(kept)
    found = pq.read_table(folder / "out.parquet")
    assert found.equals(table.take(sorted(kept))) and found.schema.metadata[b"who"] == b"me"


def test_a_file_that_changed_is_refused_and_leaves_nothing(tmp_path: Path):
    uri = write_tar(tmp_path / "a.tar", {"1.jpg": b"1"})
    with pytest.raises(ClipfakeError, match="holds 1 of the 2 items to keep"):
        filter_container(Container(uri, "out.tar", ("1.jpg", "2.jpg"), ()), uris.from_path(str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_files_are_packed_under_their_names(tmp_path: Path):
    (tmp_path / "x y.jpg").write_bytes(b"1" * 1_000)
    uri = uris.from_path(str(tmp_path / "x y.jpg"))
    assert pack_files([(uri, "folder/x y.jpg")], uris.from_path(str(tmp_path)), "000000.tar") == 1
    assert read_tar(tmp_path / "000000.tar") == {"folder/x y.jpg": b"1" * 1_000}
