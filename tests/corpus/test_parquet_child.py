"""What the reading process does, without the process: rows by their numbers, texts whatever is in them."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.corpus.parquet_child import StoredRows, find_bytes_column, stored_texts, texts


def written(table: pa.Table, **options: object) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_rows_are_read_by_their_numbers(kind: pa.DataType) -> None:
    images = [bytes([number]) * 3 if number % 3 else None for number in range(100)]
    table = pa.table({"other": range(100), "image": pa.array(images, pa.binary()).cast(kind)})
    wanted = [0, 1, 32, 33, 70, 99]
    found = list(StoredRows(written(table, row_group_size=33), None).told([*wanted, 100], 3))
    assert [(about["row"], data) for about, data in found] == [(row, images[row]) for row in wanted]
    (about, data), *_ = StoredRows(written(table), None).told([1], 2)
    assert about["size"] == 3 and data is None


def test_only_row_groups_in_need_are_read_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, groups = pq.ParquetFile.iter_batches, []

    def iter_batches(self, rows, row_groups, *args, **kwargs):  # type: ignore[no-untyped-def]
        groups.extend(row_groups)
        return real(self, rows, row_groups, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    file = written(pa.table({"image": [b"x"] * 200}), row_group_size=40)
    assert len(list(StoredRows(file, None).told([3, 5, 85, 90, 199], 9))) == 5
    assert groups == [0, 2, 4]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.lists(st.lists(st.integers(0, 45), unique=True).map(sorted))
)
def test_whatever_is_asked_for_after_whatever(groups: list[int], orders: list[list[int]]) -> None:
    images = [bytes([row]) for row in range(sum(groups))]
    out, at = io.BytesIO(), 0
    with pq.ParquetWriter(out, pa.schema([("image", pa.binary())])) as writer:
        for rows in groups:
            writer.write_table(pa.table({"image": images[at : at + rows]}), row_group_size=rows)
            at += rows
    stored = StoredRows(out, None)
    for order in orders:
        found = [(about["row"], data) for about, data in stored.told(order, 9)]
        assert found == [(row, images[row]) for row in order if row < len(images)]


def test_a_struct_has_bytes_and_a_path() -> None:
    file = written(pa.table({"image": [{"bytes": b"a", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None]}))
    found = [(about["row"], about["path"], data) for about, data in StoredRows(file, None).told([0, 1], 9)]
    assert found == [(0, "a.jpg", b"a"), (1, "b.jpg", None)]


def test_the_column_is_found() -> None:
    schema = pa.schema([("data", pa.binary()), ("img", pa.struct([("bytes", pa.binary())])), ("image", pa.string())])
    assert find_bytes_column(schema) == "img.bytes"
    assert find_bytes_column(schema, "data") == "data"
    assert find_bytes_column(schema, "image") is find_bytes_column(schema, "none") is None


def test_texts_come_with_what_the_file_has() -> None:
    table = pa.table({"image": [b"a"] * 3, "caption": ["a", "", None], "n": [1, 2, 3]})
    (about, _), *parts = stored_texts(written(table, row_group_size=2), ["caption", "n", "none"], None)
    assert about["columns"][1:] == [("caption", "string"), ("n", "int64")]
    assert (about["image"], about["rows"]) == ("image", 3)
    assert [part["texts"] for part, _ in parts] == [
        {"caption": ["a", None], "n": ["1", "2"]},
        {"caption": [None], "n": ["3"]},
    ]


def test_texts_are_read_whatever_is_in_them() -> None:
    assert texts(pa.array([b"caf\xe9", None, b"x"]).view(pa.string())) == ["caf\ufffd", None, "x"]
    assert texts(pa.array([1, None])) == [1, None]
    assert texts(pa.array(["a", "b"]).dictionary_encode()) == ["a", "b"]
