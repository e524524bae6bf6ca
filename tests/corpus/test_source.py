"""Files and objects opened for reading at offsets."""

import io
import os
from pathlib import Path

import boto3
import pytest
from gcs import FakeGcs

from clipfake.corpus.fetch import FetchOptions, ItemRef, fetch
from clipfake.corpus.source import Source, open_source, read_head
from clipfake.status import Status
from clipfake.storage import uri as uris

DATA = os.urandom(300_000)


def check(source: Source) -> None:
    assert source.size == len(DATA)
    assert source.read_at(100, 50) == DATA[100:150] and source.read_at(len(DATA) - 3, 50) == DATA[-3:]
    file = source.file()
    assert file.seek(-10, io.SEEK_END) == len(DATA) - 10 and file.read() == DATA[-10:]
    assert file.seek(7) == 7 and file.read(5) == DATA[7:12] and file.tell() == 12
    file.seek(0)
    assert file.read() == DATA
    source.close()


def test_a_local_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    check(open_source(uris.from_path(tmp_path / "a")))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_source(uris.from_path(tmp_path / "pipe"))
    assert read_head(uris.from_path(tmp_path / "none"), 4) == b""


def test_objects(s3: str, gcs: FakeGcs) -> None:
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="a", Body=DATA)
    gcs.put(a=DATA)
    for place in (s3, gcs.uri):
        check(open_source(f"{place}/a"))
        with pytest.raises(OSError):
            open_source(f"{place}/none")


def test_gs_that_fails_is_an_os_error(gcs: FakeGcs) -> None:
    gcs.put(a=DATA)
    source = open_source(f"{gcs.uri}/a")
    gcs.fail(400)  # which pyarrow makes an ArrowInvalid of
    with pytest.raises(OSError):
        source.read_at(0, 10)


def test_rows_that_gs_does_not_give_may_pass(gcs: FakeGcs) -> None:
    gcs.put(a=DATA)
    options = FetchOptions(retries=0)
    there, missing = (ItemRef(f"{gcs.uri}/{name}", None, None, 1, "1-1") for name in ("a", "none"))
    assert fetch([missing], options)[0].status is Status.MISSING
    gcs.fail(503)
    assert fetch([there], options)[0].status is Status.UNREADABLE
    gcs.fail(403)
    assert fetch([there], options)[0].status is Status.DENIED


def test_a_scheme_that_is_not_supported_is_refused() -> None:
    (found,) = fetch([ItemRef("http://host/a.jpg", None, None, 1, "1-1")])
    assert found.status is Status.UNSUPPORTED and "'http' is not supported" in (found.error or "")
