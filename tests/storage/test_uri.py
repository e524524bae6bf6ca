import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.storage import uri as uris

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda raw: b"\0" not in raw and b"/" not in raw and raw not in (b".", b"..")
)
UNRESERVED = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%")


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_any_local_path_goes_through_its_uri_and_back(names: list[bytes]) -> None:
    path = b"/" + b"/".join(names)
    uri = uris.from_path(path)
    assert uris.to_path(uri) == path
    assert set(uri.removeprefix("file://").encode()) <= UNRESERVED
    assert uris.place(uri) == uri


@given(NAMES, NAMES)
def test_item_id_and_its_parts(name: bytes, member: bytes) -> None:
    uri = uris.from_path(b"/" + name)
    text = member.decode("utf-8", "surrogateescape")
    assert uris.split_item_id(uris.item_id(uri)) == (uri, None)
    assert uris.split_item_id(uris.item_id(uri, text)) == (uri, text)
    assert uris.item_id(uri, text).count("#") == 1


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uris.place("a b/../c#1") == uris.from_path(tmp_path / "c#1")


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/", "s3://bucket"),
        ("s3://bucket/a b/ü.tar", "s3://bucket/a%20b/%C3%BC.tar"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("s3://bucket/100%/x%23y", "s3://bucket/100%25/x%23y"),
        ("hdfs://name:8020/a", "hdfs://name:8020/a"),
        ("file:///a/../b", "file:///b"),
        ("file://localhost/b", "file:///b"),
    ],
)
def test_one_canonical_uri(text: str, uri: str) -> None:
    assert uris.place(text) == uri
    assert uris.place(uri) == uri


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIASECRET:hunter2secret@bucket/a",
        "s3://AKIASECRET:hunter2/secret@bucket/a",
        "s3://hunter2secret@bucket",
        "s3://bucket/a?X-Amz-Signature=hunter2secret",
        "gs://bucket/a#hunter2secret",
        "hdfs://user:hunter2secret@name:8020/a",
        "file://hunter2secret/a",
        "s3:///hunter2secret",
        "s3://bucket/a/../hunter2secret",
        "s3://bucket/a//hunter2secret",
        "ftp://host/hunter2secret",
        "",
    ],
)
def test_what_is_refused_is_never_repeated(text: str) -> None:
    with pytest.raises(UsageError) as error:
        uris.place(text)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None


def test_join_takes_raw_names() -> None:
    assert uris.join("file:///a", b"\xff #") == "file:///a/%FF%20%23"
    assert uris.join("s3://b/", "x/y") == "s3://b/x/y"
    assert uris.join("s3://b/x", "") == "s3://b/x"
    assert uris.shown("file:///%F0%9F%98%80%FF") == "file:///😀\ufffd"


def test_filesystems_are_kept_and_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    first, path = uris.filesystem("s3://bucket/a%20b")
    assert path == "bucket/a b"
    assert uris.filesystem("s3://bucket/other")[0] is first
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
    assert uris.filesystem("s3://bucket/a")[0] is not first


def test_a_folder_that_pyarrow_cannot_name() -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        uris.filesystem(uris.from_path(b"/tmp/\xff"))
    assert uris.filesystem(uris.from_path("/tmp/ü"))[1] == os.fsdecode("/tmp/ü")
