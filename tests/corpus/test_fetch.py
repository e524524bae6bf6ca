import errno
import io
import os
import tarfile
import time
from collections import Counter
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipfake.corpus import fetch as fetching
from clipfake.corpus import source
from clipfake.corpus.fetch import Fetched, FetchOptions, ItemRef, fetch
from clipfake.corpus.layouts import LAYOUTS, LayoutOptions
from clipfake.corpus.listing import list_files
from clipfake.corpus.tally import Tally
from clipfake.status import Status
from clipfake.storage import uri as uris


def plain(place: str) -> list[ItemRef]:
    return [ItemRef(entry.uri, None, None, entry.size, entry.version) for entry in list_files(place, Tally())]


def listed(place: str, layout: str, **options: dict) -> list[ItemRef]:  # type: ignore[type-arg]
    items = LAYOUTS[layout].items(place, LayoutOptions(**options), Tally())
    return [ItemRef(item.uri, item.member, item.offset, item.size, item.version) for item in items]


def statuses(found: list[Fetched]) -> list[str]:
    for one in found:
        assert (one.data is not None) == (one.status is Status.OK) == (one.error is None)
    return [one.status.value for one in found]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSE_S", 0.001)


def test_the_order_is_the_rows(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    rows = plain(uris.from_path(tmp_path))
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    found = fetch(rows)
    assert [one.data for one in found] == [row.uri.rpartition("/")[2].encode() for row in rows]
    assert fetch([]) == []
    assert fetch(rows, FetchOptions(threads=1)) == found


def test_what_happens_to_files_after_they_were_listed(tmp_path: Path) -> None:
    kinds = ["fifo", "folder", "gone", "grown", "large", "empty", "ok", "touched", "under"]
    for name in kinds:
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"x" * (100 if name == "large" else 10))
    rows = plain(uris.from_path(tmp_path))
    rows = [row for name in kinds for row in rows if row.uri.endswith(f"/{name}")]
    for name in ("gone", "fifo", "folder", "under"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "grown").write_bytes(b"y" * 11)
    os.utime(tmp_path / "touched", ns=(1, 1))
    rows[-1] = ItemRef(f"{rows[-2].uri}/under", None, None, 10, "10-1")  # its folder is a file now
    found = fetch(rows, FetchOptions(max_bytes=50))
    assert dict(zip(kinds, statuses(found), strict=True)) == {
        "fifo": "unreadable",
        "folder": "unreadable",
        "gone": "missing",
        "grown": "unreadable",
        "large": "too_large",
        "empty": "empty",
        "ok": "ok",
        "touched": "unreadable",
        "under": "missing",
    }
    assert found[3].error == "changed since it was listed"


def test_a_file_that_was_absent(tmp_path: Path) -> None:
    row = ItemRef(uris.from_path(tmp_path / "a"), None, None, None, "absent")
    assert statuses(fetch([row])) == ["missing"]
    (tmp_path / "a").write_bytes(b"1")
    assert statuses(fetch([row])) == ["unreadable"]


@pytest.mark.parametrize(
    ("fault", "tries", "status"),
    [(errno.EIO, 4, "unreadable"), (errno.EACCES, 1, "denied"), (errno.ENOENT, 1, "missing")],
)
def test_io_errors(fault: int, tries: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    rows = plain(uris.from_path(tmp_path))
    calls = []

    def pread(*args: int) -> bytes:
        calls.append(args)
        raise OSError(fault, os.strerror(fault))

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "pread", pread)
    assert statuses(fetch(rows)) == [status]
    assert len(calls) == tries
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_passing_io_error_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    rows = plain(uris.from_path(tmp_path))
    real, calls = os.pread, []

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        calls.append(length)
        if len(calls) < 3:
            raise OSError(errno.EIO, "I/O error")
        return real(descriptor, min(length, 1), offset)  # and a read that is cut short

    monkeypatch.setattr(os, "pread", pread)
    assert fetch(rows)[0].data == b"1234"


def make_tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


MEMBERS = {f"{number:05}.jpg": os.urandom(2000 + number) for number in range(50)}


def test_tar_members(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(make_tar({**MEMBERS, "x.jpg": b""}))
    rows = listed(uris.from_path(tmp_path), "webdataset")
    found = fetch(rows, FetchOptions(max_bytes=2040))
    assert [one.data for one in found[:41]] == list(MEMBERS.values())[:41]
    assert statuses(found[41:]) == ["too_large"] * 9 + ["empty"]


def test_members_after_the_cut_of_a_tar(tmp_path: Path) -> None:
    whole = make_tar(MEMBERS)
    (tmp_path / "a.tar").write_bytes(whole[: 2560 * 20 + 900])
    rows = listed(uris.from_path(tmp_path), "webdataset")
    assert statuses(fetch(rows)) == ["ok"] * (len(rows) - 1) + ["truncated"]
    assert len(rows) > 15
    (tmp_path / "a.tar").write_bytes(whole)
    assert set(statuses(fetch(rows))) == {"unreadable"}


def write_parquet(path: Path, values: list[bytes | None], struct: bool = False) -> None:
    column = (
        pa.array([{"bytes": v, "path": "x"} if v else None for v in values])
        if struct
        else pa.array(values, pa.binary())
    )
    pq.write_table(pa.table({"id": range(len(values)), "image": column}), path, row_group_size=40)


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_rows(struct: bool, tmp_path: Path) -> None:
    values = [None if number % 50 == 7 else os.urandom(1000) for number in range(200)]
    write_parquet(tmp_path / "a.parquet", values, struct)
    rows = listed(uris.from_path(tmp_path), "parquet")
    assert len(rows) == 200 and rows[0].size is None
    order = np.random.default_rng(0).permutation(200)[:120]
    found = fetch([rows[i] for i in order])
    assert [one.data for one in found] == [values[i] for i in order]
    assert {one.status for one, i in zip(found, order, strict=True) if values[i] is None} <= {Status.EMPTY}
    beyond = ItemRef(rows[0].uri, "200", None, None, rows[0].version)
    assert statuses(fetch([rows[0], beyond, rows[0]], FetchOptions(max_bytes=999))) == [
        "too_large",
        "missing",
        "too_large",
    ]


def test_a_damaged_parquet_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [os.urandom(1000) for _ in range(80)])
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(1).data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    found = fetch(listed(uris.from_path(tmp_path), "parquet"))
    assert statuses(found) == ["ok"] * 40 + ["corrupt"] * 40


def put(s3: str, items: dict[str, bytes]) -> None:
    client = boto3.client("s3")
    for key, data in items.items():
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=data)


def test_s3_objects_members_and_rows(s3: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", list(MEMBERS.values()))
    put(
        s3,
        {f"plain/{key}": data for key, data in MEMBERS.items()} | {"plain/empty": b"", "tar/a.tar": make_tar(MEMBERS)},
    )
    put(s3, {"table/a.parquet": (tmp_path / "a.parquet").read_bytes()})
    rows = plain(f"{s3}/plain") + listed(f"{s3}/tar", "webdataset") + listed(f"{s3}/table", "parquet")
    found = fetch(rows)
    assert statuses(found) == ["ok"] * 50 + ["empty"] + ["ok"] * 100
    assert [one.data for one in found] == [*MEMBERS.values(), None, *MEMBERS.values(), *MEMBERS.values()]
    assert all(one.etag for one in found)
    time.sleep(1)  # S3 keeps whole seconds
    put(s3, {"plain/00000.jpg": MEMBERS["00000.jpg"], "plain/00001.jpg": b"other"})
    boto3.client("s3").delete_object(Bucket=s3.removeprefix("s3://"), Key="plain/00002.jpg")
    assert statuses(fetch(rows[:4], FetchOptions(max_bytes=10))) == ["unreadable", "unreadable", "missing", "too_large"]


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
def test_s3_faults_that_pass(fault: str, s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    put(s3, {**MEMBERS, "a.tar": make_tar(MEMBERS)})
    rows = [row for row in plain(s3) if row.uri.endswith("jpg")] + listed(f"{s3}/a.tar", "webdataset")
    seen: Counter[tuple[str, str]] = Counter()

    def twice(number: int, method: str, path: str) -> str | None:
        seen[method, path] += 1
        return fault if seen[method, path] <= 2 else None

    proxy.decide = twice
    found = fetch(rows, FetchOptions(retries=4))
    assert [one.data for one in found] == list(MEMBERS.values()) * 2
    assert min(seen.values()) > 2


def test_what_s3_never_gives_is_a_row(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    put(s3, MEMBERS)
    rows = plain(s3)
    proxy.decide = lambda number, method, path: "503" if "00003" in path else "reset" if "00004" in path else None
    found = fetch(rows)
    assert statuses(found[:6]) == ["ok"] * 3 + ["unreadable"] * 2 + ["ok"]
    assert sum("00003" in path for method, path in proxy.requests if method == "HEAD") == 4
    assert found[3].error and "\n" not in found[3].error


def test_a_hanging_store_is_not_waited_for(s3: str, proxy, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    put(s3, {"a": b"1", "b": b"2"})
    rows = plain(s3)
    monkeypatch.setattr(uris, "REQUEST_TIMEOUT_S", 1.0)
    uris._connect.cache_clear()
    proxy.decide = lambda number, method, path: "hang" if path.endswith("/a") else None
    assert statuses(fetch(rows, FetchOptions(retries=0))) == ["unreadable", "ok"]
    uris._connect.cache_clear()


def test_a_store_that_is_down_costs_minutes_not_days(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    put(s3, {"a": b"1"})
    rows = plain(s3) * 3000
    proxy.decide = lambda number, method, path: "503"
    before = len(proxy.requests)
    assert set(statuses(fetch(rows))) == {"unreadable"}
    assert len(proxy.requests) - before < 4 * 50
    proxy.decide = lambda number, method, path: None
    assert set(statuses(fetch(rows[:3]))) == {"ok"}


def test_forbidden_objects_are_denied(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    put(s3, {"a": b"1"})
    rows = plain(s3)
    proxy.decide = lambda number, method, path: "403"
    assert statuses(fetch(rows)) == ["denied"]


def test_heads(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    heads = [source.read_head(uris.from_path(tmp_path / name), 3) for name in ("a", "pipe", "missing")]
    assert heads == [b"123", b"", b""]
