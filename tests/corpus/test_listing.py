import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from clipfake.corpus.entries import LITTER
from clipfake.corpus.listing import list_files, stat_files, walk
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import retries
from clipfake.storage import uri as uris

ODD = [b"'q\" $(x).jpg", b"new\nline\r.jpg", "😀.jpg".encode(), b"\xff\xfe.jpg", b"n" * 255, b"a#b?c%41;d&e.jpg", b" "]


def names(place: str, tally: Tally | None = None) -> list[bytes]:
    start = len(place) + 1
    return [uris.to_path("file://" + entry.uri[start:]) for entry in list_files(place, tally or Tally())]


def test_odd_names_are_files_like_others(tmp_path: Path) -> None:
    for name in ODD:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"12345")
    place = uris.from_path(tmp_path)
    entries = list(list_files(place, Tally()))
    assert names(place) == sorted(ODD)
    assert len({entry.uri for entry in entries}) == len(ODD)
    for entry in entries:
        found = Path(os.fsdecode(uris.to_path(entry.uri))).stat()
        assert (entry.size, entry.version) == (5, f"5-{found.st_mtime_ns}")


def test_what_is_no_file_is_counted_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "b.jpg").write_bytes(b"2")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        tally = Tally()
        monkeypatch.setattr(os, "open", None)
        assert names(uris.from_path(tmp_path), tally) == [b"a.jpg", b"folder.jpg/b.jpg"]
    assert tally.skipped == {"FIFO": 1, "broken link": 2, OUTSIDE: 1, "socket": 1}


OUTSIDE = "link out of the corpus (--allow-outside follows it)"
LISTED = "link to a folder that is listed anyway"


def linked(tmp_path: Path) -> str:
    corpus, beside = tmp_path / "corpus", tmp_path / "beside"
    (corpus / "a").mkdir(parents=True)
    beside.mkdir()
    (beside / "x.jpg").write_bytes(b"x")
    (corpus / "a" / "y.jpg").write_bytes(b"y")
    (corpus / "a" / "up").symlink_to(corpus)
    (corpus / "a" / "beside").symlink_to(beside)
    (corpus / "twice").symlink_to(beside)
    (corpus / "far.jpg").symlink_to(beside / "x.jpg")
    (corpus / "near.jpg").symlink_to("a/y.jpg")
    (beside / "back").symlink_to(corpus)
    (beside / "above").symlink_to(tmp_path)
    (beside / "self").symlink_to(beside)
    return uris.from_path(corpus)


def test_links_lead_nowhere_but_to_files_of_the_corpus(tmp_path: Path) -> None:
    tally = Tally()
    assert names(linked(tmp_path), tally) == [b"near.jpg", b"a/y.jpg"]
    assert tally.skipped == {LISTED: 1, OUTSIDE: 3}


def test_links_out_of_the_corpus_are_followed_once_where_it_is_allowed(tmp_path: Path) -> None:
    place, tally = linked(tmp_path), Tally()
    found = [entry.uri.removeprefix(place) for entry in list_files(place, tally, allow_outside=True)]
    assert found == ["/far.jpg", "/near.jpg", "/a/y.jpg", "/twice/x.jpg"]
    assert tally.skipped == {LISTED: 4, "link to a folder above": 1}


def test_a_corpus_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    assert names(uris.from_path(tmp_path / "link")) == [b"a.jpg"]


@pytest.mark.parametrize("allow_outside", [False, True])
def test_a_fan_of_links_is_listed_once(allow_outside: bool, tmp_path: Path) -> None:
    for level in range(40):
        (tmp_path / "x" / f"{level}").mkdir(parents=True)
        for name in ("left", "right"):
            (tmp_path / "x" / f"{level}" / name).symlink_to(tmp_path / "x" / f"{level + 1}")
    (tmp_path / "x" / "39" / "a.jpg").write_bytes(b"1")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "in").symlink_to(tmp_path / "x" / "0")
    for place in (tmp_path / "x", tmp_path / "corpus"):
        found = list(list_files(uris.from_path(place), Tally(), allow_outside=allow_outside))
        assert len(found) == (1 if place.name == "x" or allow_outside else 0)


def test_what_a_desktop_leaves_is_no_file(tmp_path: Path) -> None:
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini", "a.jpg", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"1")
    tally = Tally()
    assert names(uris.from_path(tmp_path), tally) == [b".hidden.jpg", b"a.jpg"]
    assert tally.skipped == {LITTER: 4}
    assert names(uris.from_path(tmp_path / "._a.jpg")) == [b""]  # named by the user


def test_each_kind_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        os.mkfifo(tmp_path / f"{number}\n")
    tally = Tally()
    assert names(uris.from_path(tmp_path), tally) == []
    assert tally.skipped == {"FIFO": 5}
    assert len(caplog.records) == 1 and "\n" not in caplog.text.strip()


def failing(fault: int, name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: bytes):  # type: ignore[no-untyped-def]
        if path.endswith(name):
            raise OSError(fault, os.strerror(fault))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_without_permission_is_counted_one_that_breaks_ends_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "z.jpg").write_bytes(b"z")
    place = uris.from_path(tmp_path)
    failing(errno.EACCES, b"/a", monkeypatch)
    tally = Tally()
    assert names(place, tally) == [b"z.jpg"]
    assert tally.skipped == {"folder that cannot be read": 1}
    monkeypatch.undo()
    failing(errno.EIO, b"/a", monkeypatch)
    with pytest.raises(ClipfakeError, match="broke off"):
        names(place)


def test_places_that_are_not_folders(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1")
    assert [entry.uri for entry in list_files(uris.from_path(file), Tally())] == [uris.from_path(file)]
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe"):
        with pytest.raises(UsageError):
            names(uris.from_path(tmp_path / name))


def test_the_walk_leaves_out_what_is_taken_out(tmp_path: Path) -> None:
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
    seen = []
    for folder in walk(uris.from_path(tmp_path), Tally()):
        seen.append(folder.uri.rpartition("/")[2])
        folder.folders[:] = [uri for uri in folder.folders if not uri.endswith("/a")]
    assert seen == [tmp_path.name, "c"]


def test_stat_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    base = uris.from_path(tmp_path)
    entries = list(stat_files(f"{base}/{name}" for name in ("a", "missing", "a/b", "n" * 300, "nul%00", "")))
    assert [entry and entry.size for entry in entries] == [3, None, None, None, None, None]


def put(s3: str, *keys: str) -> None:
    client = boto3.client("s3")
    for key in keys:
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=b"1234")


def test_s3_is_listed_as_a_folder_is(s3: str) -> None:
    put(s3, "x/b/2.jpg", "x/a.jpg", "x/b/1 ü#.jpg", "x/d/", "x.jpg", "xy/c.jpg")
    entries = list(list_files(f"{s3}/x", Tally()))
    assert [entry.uri for entry in entries] == [f"{s3}/x/{key}" for key in ("a.jpg", "b/1%20%C3%BC%23.jpg", "b/2.jpg")]
    assert all(entry.version.startswith("4-") for entry in entries)
    assert [entry.uri for entry in list_files(f"{s3}/x.jpg", Tally())] == [f"{s3}/x.jpg"]
    assert len(list(list_files(s3, Tally()))) == 5
    assert list(stat_files(iter([f"{s3}/x/a.jpg", f"{s3}/x/none", f"{s3}/x"]))) == [entries[0], None, None]
    for nothing in (f"{s3}/nothing", "s3://no-such-bucket-here/x"):
        with pytest.raises(UsageError):
            list(list_files(nothing, Tally()))


def test_s3_keys_that_cannot_be_named_are_counted(s3: str) -> None:
    put(s3, "x/a.jpg", "x//double.jpg", "x/./dot.jpg")
    tally = Tally()
    assert [entry.uri for entry in list_files(f"{s3}/x", tally)] == [f"{s3}/x/a.jpg"]
    assert tally.skipped == {"key with an empty or dot segment": 2}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(uris, "ATTEMPTS", 2)
    monkeypatch.setattr("clipfake.corpus.objects.LIST_THREADS", 1)  # one after the other: which one fails is known
    yield


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
def test_a_listing_is_tried_again(fault: str, s3: str, proxy, quick: None) -> None:  # type: ignore[no-untyped-def]
    put(s3, *(f"x/{number}/a.jpg" for number in range(5)))
    proxy.decide = lambda number, method, path: fault if number % 3 == 0 else None
    assert len(list(list_files(f"{s3}/x", Tally()))) == 5


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
def test_a_listing_that_breaks_off_never_looks_complete(
    fault: str,
    s3: str,
    proxy,
    quick: None,  # type: ignore[no-untyped-def]
) -> None:
    put(s3, *(f"x/{number}/a.jpg" for number in range(5)))
    seen = []
    with pytest.raises(ClipfakeError, match="broke off"):
        for entry in list_files(f"{s3}/x", Tally()):
            seen.append(entry)
            if len(seen) == 2:
                proxy.decide = lambda number, method, path: fault if method == "GET" else None
    assert len(seen) == 2
