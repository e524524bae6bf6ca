"""What lies in a folder of a remote filesystem, and what the store makes of it on gs://."""

import io

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gcs import FakeGcs
from pyarrow.fs import FileInfo

from clipfake.storage import uri as uris
from clipfake.storage.folders import entries
from clipfake.storage.store import KIND_KEY, Store, kind_of


def parquet(kind: bytes) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({KIND_KEY: kind}), out)
    return out.getvalue()


def listed(place: str, allow_not_found: bool = False) -> list[FileInfo]:
    return entries(uris.scheme_of(place), *uris.filesystem(place), allow_not_found)


def test_gs_is_like_s3(gcs: FakeGcs, s3: str) -> None:
    keys = ("r/a", "r/b/c/d", "r/b", "r/e/f", "r/g//h", "s")
    client = boto3.client("s3")
    for key in keys:
        gcs.put(**{key: b"1"})
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=b"1")

    def seen(place: str) -> list[tuple[str, bool]]:
        return [(found.path.partition("/")[2], found.is_file) for found in listed(place)]

    for folder in ("", "/r", "/r/b", "/r/b/c", "/r/e"):
        assert seen(gcs.uri + folder) == seen(s3 + folder), folder
    for place in (gcs.uri, s3):
        assert listed(f"{place}/nothing", allow_not_found=True) == []
        with pytest.raises(FileNotFoundError):
            listed(f"{place}/nothing")


def test_a_store_on_gs_has_folders(gcs: FakeGcs) -> None:
    gcs.put(**({"r/_plan/1/plan.json": b"{}", "r/_plan/2/plan.json": b"{}", "r/a.parquet": b"1"}))
    store = Store(f"{gcs.uri}/r")
    assert store.folders() == ["_plan"] and store.folders("_plan") == ["1", "2"]
    assert [file.name for file in store.list("_plan/1")] == ["plan.json"]
    assert [file.name for file in store.list()] == ["a.parquet"]


def test_the_kind_of_a_folder_on_gs(gcs: FakeGcs) -> None:
    gcs.put(**({"r/day=1/a.parquet": parquet(b"report"), "m/part-0.parquet": parquet(b"manifest"), "m": b""}))
    assert kind_of(f"{gcs.uri}/r") == "report"
    assert kind_of(f"{gcs.uri}/m") == "manifest"
    assert kind_of(f"{gcs.uri}/m/part-0.parquet") == "manifest"
    assert kind_of(f"{gcs.uri}/none") is None
