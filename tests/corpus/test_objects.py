"""Listing object stores: the folders of gs://, markers, and stores that do not answer."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from gcs import FakeGcs

from clipfake.corpus import objects
from clipfake.corpus.entries import LITTER
from clipfake.corpus.listing import list_files, stat_files, walk
from clipfake.corpus.objects import walk_remote
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import retries
from clipfake.storage import uri as uris

KEYS = ("top.jpg", "2026-11-20/p0.jpg", "2026-11-20/p1.jpg", "2026-11-21/a/b/p0.jpg")


def listed(place: str, tally: Tally | None = None) -> list[str]:
    return [entry.uri.removeprefix(place).strip("/") for entry in list_files(place, tally or Tally())]


def put(s3: str, **bodies: bytes) -> None:
    client = boto3.client("s3")
    for key, body in bodies.items():
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=body)


def test_gs_has_sub_folders(gcs: FakeGcs) -> None:
    gcs.put(**({f"crawl/{key}": b"1234" for key in KEYS} | {"crawl/2026-11-20/": b"", "crawlers": b"1"}))
    expected = ["top.jpg", "2026-11-20/p0.jpg", "2026-11-20/p1.jpg", "2026-11-21/a/b/p0.jpg"]
    assert listed(f"{gcs.uri}/crawl") == expected
    assert listed(f"{gcs.uri}/crawl/2026-11-21") == ["a/b/p0.jpg"]
    assert listed(gcs.uri) == ["crawlers", *(f"crawl/{key}" for key in expected)]
    entry = next(iter(list_files(f"{gcs.uri}/crawl", Tally())))
    assert entry.size == 4 and list(stat_files(iter([entry.uri, f"{entry.uri}x"]))) == [entry, None]
    with pytest.raises(UsageError, match="nothing at"):
        listed(f"{gcs.uri}/nothing")


def test_gs_leaves_out_what_is_taken_out(gcs: FakeGcs) -> None:
    gcs.put(**dict.fromkeys(KEYS, b"1"))
    seen = []
    for folder in walk(gcs.uri, Tally()):
        seen.append(folder.uri)
        folder.folders[:] = [uri for uri in folder.folders if not uri.endswith("20")]
    assert [uri.removeprefix(gcs.uri) for uri in seen] == ["", "/2026-11-21", "/2026-11-21/a", "/2026-11-21/a/b"]


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_marker_hides_no_folder(kind: str, request: pytest.FixtureRequest) -> None:
    keys = {"x/a.jpg": b"1", "x/sub/b.jpg": b"2", "x": b"", "x/sub": b"", "x/sub_$folder$": b"", "x/._a.jpg": b"9"}
    keys |= {"x/both": b"a file", "x/both/c.jpg": b"3", "full": b"a file too", "full/d.jpg": b"4", "empty": b""}
    if kind == "s3":
        place = request.getfixturevalue("s3")
        put(place, **keys)
    else:
        store = request.getfixturevalue("gcs")
        store.put(**keys)
        place = store.uri
    tally = Tally()
    assert listed(f"{place}/x", tally) == ["a.jpg", "both", "both/c.jpg", "sub/b.jpg"]
    assert tally.skipped == {objects._MARKER: 3, LITTER: 1}
    assert listed(f"{place}/full") == ["", "d.jpg"]
    assert listed(f"{place}/empty") == [""]  # an item without bytes, as in a folder


def test_an_outage_of_gs_breaks_the_listing_off(gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: None)
    gcs.put(**dict.fromkeys(KEYS, b"1"))
    gcs.fail(503)
    with pytest.raises(ClipfakeError, match="broke off") as caught:
        listed(gcs.uri)
    assert "\n" not in str(caught.value)
    gcs.fail(403)
    with pytest.raises(UsageError, match="no permission"):
        listed(gcs.uri)


def test_gs_without_credentials_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (uris.EMULATOR, "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UsageError, match="GOOGLE_APPLICATION_CREDENTIALS"):
            listed("gs://some-bucket/crawl")
        assert time.monotonic() - began < 10
        unused.listen()
        assert uris.google_credentials()
    (tmp_path / "application_default_credentials.json").write_text("{}")
    assert uris.google_credentials()


def test_a_store_that_is_not_there_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uris, "ATTEMPTS", 1)
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: None)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        with pytest.raises(ClipfakeError, match="broke off"):
            listed("s3://bucket/crawl")
    assert not [record for record in caplog.records if "asking again" in record.message]
    asked = []

    def failing() -> None:
        asked.append(1)
        raise OSError("SlowDown")

    with pytest.raises(ClipfakeError):
        objects._answer(failing, "s3://bucket")
    assert len(asked) == 3 and len([record for record in caplog.records if "asking again" in record.message]) == 2


def test_a_bucket_in_another_region_says_what_to_do(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(301)
            self.send_header("x-amz-bucket-region", "eu-west-1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(UsageError, match=r"the bucket lies in another region .*unset them"):
            list(walk_remote("s3://elsewhere/folder", Tally()))
    finally:
        server.shutdown()
        server.server_close()


def test_folders_are_asked_for_side_by_side_and_come_in_their_order(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{folder}/{file}.jpg" for folder in "abcd" for file in "xy"]
    put(s3, **dict.fromkeys(names, b"1"))
    together, real = threading.Barrier(4), objects.entries

    def waiting(scheme: str, filesystem: object, path: str, *allowed: bool) -> object:
        if path[-2] == "/":  # not the bucket itself
            together.wait(60)
        return real(scheme, filesystem, path, *allowed)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "entries", waiting)
    assert listed(s3) == names
