"""Strangers' Parquet is read in a process of its own: bombs and lies cost that process, and the file."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.corpus import parquet_bytes
from clipfake.corpus.fetch import ItemRef, fetch
from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.parquet_bytes import DamagedError, read_rows, read_texts
from clipfake.corpus.source import LocalSource
from clipfake.corpus.tally import Tally
from clipfake.status import Status
from clipfake.storage import uri as uris

MEBI = 1 << 20


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reading processes of 128 MiB."""
    monkeypatch.setattr(parquet_bytes, "MEMORY", 128 * MEBI)
    monkeypatch.setattr(parquet_bytes, "_idle", [])
    yield
    for child in parquet_bytes._idle:
        child.kill()


def source_of(tmp_path: Path, table: pa.Table, **options: object) -> LocalSource:
    pq.write_table(table, tmp_path / "0.parquet", **options)
    return LocalSource(uris.from_path(tmp_path / "0.parquet"))


def status(source: LocalSource, row: int = 0) -> tuple[Status, str]:
    uri = uris.from_path(Path(f"/proc/self/fd/{source._descriptor}").readlink())
    (found,) = fetch([ItemRef(uri, str(row), None, None, source._version)])
    return found.status, found.error or ""


def test_rows_and_texts_and_one_process_for_all(tmp_path: Path) -> None:
    source = source_of(tmp_path, pa.table({"image": [b"a", None, b""], "caption": ["x", "y", None]}))
    rows = list(read_rows(source, [0, 1, 2]))
    assert [(row.row, row.size, row.data) for row in rows] == [(0, 1, b"a"), (1, None, None), (2, 0, b"")]
    (child,) = parquet_bytes._idle
    stored = read_texts(source, ["caption"])
    assert (stored.rows, stored.image, list(stored.parts)) == (3, "image", [(3, {"caption": ["x", "y", None]})])
    assert parquet_bytes._idle == [child]
    assert b"AWS_SECRET" not in Path(f"/proc/{child.process.pid}/environ").read_bytes()


def test_chunks_that_follow_one_another_read_a_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.random.default_rng(row).bytes(40_000) for row in range(320)]
    source = source_of(tmp_path, pa.table({"image": images}), row_group_size=320, data_page_size=100_000)
    uri, asked = uris.from_path(tmp_path / "0.parquet"), [0]
    real = LocalSource.read_at

    def read_at(self: LocalSource, offset: int, length: int) -> bytes:
        asked[0] += length
        return real(self, offset, length)

    monkeypatch.setattr(parquet_bytes, "MEMORY", 1 << 30)
    monkeypatch.setattr(LocalSource, "read_at", read_at)
    for start in range(0, 320, 32):
        found = fetch([ItemRef(uri, str(row), None, None, source._version) for row in range(start, start + 32)])
        assert [one.data for one in found] == images[start : start + 32]
    assert asked[0] < 1.5 * source.size  # 5 times the file, where each chunk begins at the beginning
    os.utime(tmp_path / "0.parquet", (1, 1))
    (changed,) = fetch([ItemRef(uri, "1", None, None, source._version)])
    assert changed.status is Status.UNREADABLE


def repeated(value: bytes | str, times: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([value]))


def test_bombs_whose_footers_tell_the_truth(tmp_path: Path) -> None:
    """A few kilobytes that would unpack to hundreds of megabytes: a value that a dictionary repeats, a page, a text."""
    bombs = {
        "a value 1,000 times": (pa.table({"image": repeated(bytes(40 * MEBI), 1000)}), {}),
        "one page": (pa.table({"image": [bytes(160 * MEBI)]}), {"use_dictionary": False}),
    }
    for name, (table, options) in bombs.items():
        source = source_of(tmp_path, table, compression="zstd", store_schema=False, **options)
        assert source.size < 20_000, name
        found, error = status(source)
        assert (found, error[:27]) == (Status.CORRUPT, "the Parquet file is damaged"), name
        source.close()
    table = pa.table({"image": [b"x"] * 1024, "caption": repeated("a" * MEBI, 1024)})
    source_of(tmp_path, table, compression="zstd", store_schema=False).close()
    tally = Tally()
    assert list(LAYOUTS["parquet"].items(uris.from_path(tmp_path), LayoutOptions(), tally)) == []
    assert tally.lost == 1


def test_rows_that_a_dictionary_repeats_do_not_fill_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is a file that is small enough; together they are what a few bytes of the file were unpacked to."""
    monkeypatch.setattr(parquet_bytes, "MAX_UNPACKED", 10 * MEBI)
    table = pa.table({"image": repeated(bytes(MEBI), 1000)})
    source = source_of(tmp_path, table, compression="zstd", store_schema=False)
    read = read_rows(source, list(range(1000)))
    assert [next(read).size for _ in range(10)] == [MEBI] * 10
    with pytest.raises(DamagedError, match="more than 100 times"):
        next(read)
    assert [row.row for row in read_rows(source, [998, 999])] == [998, 999]
    source.close()


def test_lies_of_a_page_and_of_the_footer(tmp_path: Path) -> None:
    source = source_of(tmp_path, pa.table({"image": [b"x" * 100]}), compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "0.parquet").read_bytes())
    start = pq.read_metadata(tmp_path / "0.parquet").row_group(0).column(0).data_page_offset
    # A page's header: field 1 its type, field 2 its size unpacked, here a zigzag varint of two bytes.
    assert data[start : start + 3] == b"\x15\x00\x15"
    data[start + 3 : start + 5] = b"\xfe\xff\xff\xff\x0f"  # 2 GiB - 1
    (tmp_path / "0.parquet").write_bytes(data)
    source.close()
    source = LocalSource(uris.from_path(tmp_path / "0.parquet"))
    assert status(source)[0] is Status.CORRUPT
    source.close()


def test_more_rows_than_bytes_are_not_listed(tmp_path: Path) -> None:
    table = pa.table({"image": pa.nulls(1_000_000, pa.binary())})
    source = source_of(tmp_path, table)
    with pytest.raises(DamagedError, match="1000000 rows"):
        read_texts(source, [])
    source.close()


def test_a_file_that_is_no_parquet_costs_itself_and_the_process_only(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1")
    bad = LocalSource(uris.from_path(tmp_path / "bad"))
    good = source_of(tmp_path, pa.table({"image": [b"a"]}))
    for _ in range(2):
        with pytest.raises(DamagedError):
            list(read_rows(bad, [0]))
        assert [row.data for row in read_rows(good, [0])] == [b"a"]
    bad.close()
    good.close()


def test_a_process_that_is_killed_is_no_damage(tmp_path: Path) -> None:
    source = source_of(tmp_path, pa.table({"image": [os.urandom(1000) for _ in range(100)]}))
    rows = read_rows(source, list(range(100)))
    next(rows)
    next(rows)
    (pid,) = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()][-1:]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(OSError, match="killed"):
        list(rows)
    assert len(list(read_rows(source, list(range(100))))) == 100  # by another one
    source.close()


def test_a_process_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_bytes, "_SILENCE_S", 0.0)
    source = source_of(tmp_path, pa.table({"image": [b"a"]}))
    with pytest.raises(DamagedError, match="not read within 0 s"):
        list(read_rows(source, [0]))
    assert parquet_bytes._idle == []
    source.close()


def test_a_store_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(tmp_path, pa.table({"image": [b"a"]}))

    def failing(offset: int, length: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(source, "read_at", failing)
    with pytest.raises(OSError, match="Input/output error"):
        list(read_rows(source, [0]))
