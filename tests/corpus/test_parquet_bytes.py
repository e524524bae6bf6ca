"""Reading the bytes of rows, and what is not read."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.corpus import parquet_bytes
from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.parquet_bytes import find_bytes_column, is_damage, read_rows, texts
from clipfake.corpus.source import LocalSource
from clipfake.corpus.tally import Tally
from clipfake.storage import uri as uris


def written(table: pa.Table, **options: object) -> io.BytesIO:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_rows_are_read_by_their_numbers(kind: pa.DataType) -> None:
    images = [bytes([number]) * 3 if number % 3 else None for number in range(100)]
    file = written(
        pa.table({"other": range(100), "image": pa.array(images, pa.binary()).cast(kind)}), row_group_size=33
    )
    wanted = [0, 1, 32, 33, 70, 99]
    assert list(read_rows(file, [*wanted, 100])) == [(row, images[row], None) for row in wanted]


def test_a_struct_has_bytes_and_a_path() -> None:
    images = [{"bytes": b"a", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None]
    assert list(read_rows(written(pa.table({"image": images})), [0, 1])) == [(0, b"a", "a.jpg"), (1, None, "b.jpg")]


def test_the_column_is_found() -> None:
    schema = pa.schema([("data", pa.binary()), ("img", pa.struct([("bytes", pa.binary())])), ("image", pa.string())])
    assert find_bytes_column(schema) == "img.bytes"
    assert find_bytes_column(schema, "data") == "data"
    assert find_bytes_column(schema, "image") is find_bytes_column(schema, "none") is None


def test_a_column_that_unpacks_to_very_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_bytes, "MAX_UNPACKED", 1 << 20)
    bomb = pa.table({"image": [bytes(2 << 20)], "caption": ["a" * (2 << 20)]})
    file = written(bomb, compression="zstd", use_dictionary=False)
    assert file.tell() < 10_000
    with pytest.raises(pa.ArrowInvalid, match="column image would unpack to 2"):
        list(read_rows(file, [0]))
    (tmp_path / "0.parquet").write_bytes(file.getvalue())
    tally = Tally()
    assert list(LAYOUTS["parquet"].items(uris.from_path(tmp_path), LayoutOptions(), tally)) == []
    assert tally.lost == 1
    plain = written(pa.table({"image": [bytes(2 << 20)]}), compression="none", use_dictionary=False)
    assert len(list(read_rows(plain, [0]))) == 1


def test_damage_is_what_is_known_to_be_damage(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    source = LocalSource(uris.from_path(tmp_path / "a"))
    assert is_damage(pa.ArrowInvalid("bad"), source) and is_damage(OSError("bad"), source)
    assert not is_damage(OSError(5, "Input/output error"), source)
    source.failed = True
    assert not is_damage(pa.ArrowInvalid("bad"), source)
    source.close()


def test_texts_are_read_whatever_is_in_them() -> None:
    broken = pa.array([b"caf\xe9", None, b"x"]).view(pa.string())
    assert texts(pa.chunked_array([broken])) == ["caf\ufffd", None, "x"]
    assert texts(pa.chunked_array([pa.array([1, None])])) == [1, None]
    assert texts(pa.chunked_array([pa.array(["a", "b"]).dictionary_encode()])) == ["a", "b"]
