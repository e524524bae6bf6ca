import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from clipfake.errors import UsageError
from clipfake.storage import uri as uris
from clipfake.storage.store import Store, check_apart, check_new, kind_of

TABLE = pa.table({"x": [1, 2, 3]})


@pytest.fixture(params=["local", "s3", "hdfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same tests for all. HDFS is played by the local filesystem behind pyarrow, which takes the same path."""
    if request.param == "local":
        return Store(uris.from_path(tmp_path / "a b"))
    if request.param == "s3":
        return Store(request.getfixturevalue("s3") + "/a%20b")
    monkeypatch.setattr(uris, "filesystem", lambda uri, attempts=None: (pafs.LocalFileSystem(), str(tmp_path / "hdfs")))
    return Store("hdfs://name/a")


def write_table(store: Store, name: str, kind: str | None = None) -> None:
    table = TABLE.replace_schema_metadata({"clipfake.kind": kind}) if kind else TABLE
    with store.writing(name) as sink, pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)


def test_a_place_that_is_not_there(store: Store) -> None:
    assert not store.exists()
    assert list(store.list()) == list(store.list("x")) == list(store.folders()) == []
    with pytest.raises(FileNotFoundError):
        store.read_bytes("x")
    store.delete("x")
    store.delete_tree("x")


def test_files_and_folders(store: Store) -> None:
    store.write_bytes("_plan/u1.json", b"{}")
    store.write_bytes("b", b"old")
    store.write_bytes("b", b"new!")
    store.write_bytes("empty", b"")
    write_table(store, "day=1/u1.parquet")
    assert [(file.name, file.size) for file in store.list()] == [("b", 4), ("empty", 0)]
    assert list(store.folders()) == ["_plan", "day=1"]
    assert store.read_bytes("b") == b"new!"
    assert store.exists("day=1") and store.exists("day=1/u1.parquet") and not store.exists("day=1/u2.parquet")
    assert pq.read_table(store.path("day=1/u1.parquet"), filesystem=store.filesystem).equals(TABLE)
    assert store.below("day=1").list()[0].name == "u1.parquet" if store.uri[:4] != "hdfs" else True
    store.delete("b")
    store.delete_tree("day=1")
    assert [file.name for file in store.list()] == ["empty"] and list(store.folders()) == ["_plan"]


def test_nothing_is_visible_of_a_block_that_raises(store: Store) -> None:
    write_table(store, "u1.parquet")
    for name in ("u1.parquet", "u2.parquet"):
        with pytest.raises(KeyError), store.writing(name) as sink:
            sink.write(b"half")
            raise KeyError
    assert pq.read_table(store.path("u1.parquet"), filesystem=store.filesystem).equals(TABLE)
    everything = store.filesystem.get_file_info(pafs.FileSelector(store.path(), recursive=True))
    assert [found.base_name for found in everything] == ["u1.parquet"]


def test_nothing_is_visible_while_a_block_runs(store: Store) -> None:
    with store.writing("day/u1.parquet") as sink:
        sink.write(b"half")
        assert list(store.list("day")) == []
        assert not store.exists("day/u1.parquet")
    assert [file.size for file in store.list("day")] == [4]


def test_a_large_object_is_whole(s3: str) -> None:
    store = Store(s3)
    data = os.urandom(1 << 20) * 23  # several parts of an upload
    with store.writing("large") as sink:
        sink.write(data)
    assert store.read_bytes("large") == data


@pytest.mark.parametrize("fault", ["503", "reset", "cut"])
def test_writes_and_reads_survive_a_flaky_store(fault: str, s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    proxy.decide = lambda number, method, path: fault if number % 2 else None
    store = Store(f"{s3}/flaky")
    for number in range(3):
        store.write_bytes(f"{number}", b"x" * 1000)
    assert [file.size for file in store.list()] == [1000] * 3
    if fault != "cut":  # a body that is cut off while it is read is for `fetch` to retry
        assert store.read_bytes("2") == b"x" * 1000


def test_a_put_that_fails_leaves_the_old_object(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    store = Store(f"{s3}/x")
    store.write_bytes("u", b"old")
    store.filesystem = uris.filesystem(s3, attempts=1)[0]
    for size in (10, 23 << 20):  # one PUT, and an upload in parts of which the third fails
        parts = iter(range(100))
        proxy.decide = lambda number, method, path, size=size, parts=parts: (
            "reset" if method == "PUT" and next(parts) == (0 if size < 100 else 2) else None
        )
        with pytest.raises(OSError, match="AWS Error"), store.writing("u") as sink:
            sink.write(b"n" * size)
        proxy.decide = lambda number, method, path: None
        assert store.read_bytes("u") == b"old"


def test_a_killed_writer_leaves_a_hidden_file_that_is_swept(tmp_path: Path) -> None:
    store = Store(uris.from_path(tmp_path))
    script = (
        "import os, signal, sys; from clipfake.storage.store import Store\n"
        "with Store(sys.argv[1]).writing('u1.parquet') as sink:\n"
        "    sink.write(b'half'); sink.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, store.uri], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".") and not left.name.endswith(".parquet")
    assert list(store.list()) == []
    assert store.sweep() == 0
    os.utime(left, (0, 0))
    assert store.sweep() == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["hdfs"], indirect=True)
@pytest.mark.parametrize("before", ["move", "delete_file"])
def test_a_writer_killed_while_it_replaces_a_file_of_hdfs_loses_none(before: str, store: Store) -> None:
    """Between any two of its steps the old file or the new one is there, if aside; the next run puts it back."""
    store.write_bytes("u.parquet", b"old")
    real, left = store.filesystem, [2 if before == "move" else 1]

    class Dying:
        def __getattr__(self, name: str) -> object:
            if name == before:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            return getattr(real, name)

    store.filesystem = Dying()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        store.write_bytes("u.parquet", b"new")
    store.filesystem = real
    store.sweep(older_than_s=-60)
    assert [(file.name, file.size) for file in store.list()] == [("u.parquet", 3)]
    assert store.read_bytes("u.parquet") == (b"old" if before == "move" else b"new")
    everything = {found.base_name for found in real.get_file_info(pafs.FileSelector(store.path()))}
    assert not any(name.endswith(".aside") for name in everything)


def test_an_upload_in_parts_that_is_killed_shows_nothing_and_stays_for_a_lifecycle_rule(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    script = (
        "import sys; from clipfake.storage.store import Store\n"
        "Store(sys.argv[1]).write_bytes('u.parquet', bytes(23 << 20))"
    )
    child = subprocess.Popen([sys.executable, "-c", script, f"{s3}/x"])

    def decide(number: int, method: str, path: str) -> str | None:
        if method != "PUT" or "partNumber=2" not in path:
            return None
        child.kill()
        return "reset"

    proxy.decide = decide
    assert child.wait(timeout=120) == -signal.SIGKILL
    assert list(Store(f"{s3}/x").list()) == []
    bucket = s3.removeprefix("s3://")
    (left,) = boto3.client("s3").list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert left["Key"] == "x/u.parquet"
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert "AbortIncompleteMultipartUpload" in text, "who pays for them is told what to do"


def test_long_names_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    store = Store(uris.from_path(tmp_path))
    store.write_bytes("n" * 255, b"x")
    assert store.list()[0].name == "n" * 255


def test_kinds(store: Store) -> None:
    assert kind_of(store.uri) is None
    write_table(store, "_plan/a.parquet", "manifest")
    assert kind_of(store.uri) is None
    store.write_bytes("_b.parquet", b"ours, not a reader's")
    store.write_bytes("a.parquet", b"no Parquet at all")
    write_table(store, "u.parquet", "report")
    assert kind_of(store.uri) == "report"
    store.delete("u.parquet")
    write_table(store, "u.parquet")
    assert kind_of(store.uri) is None


def test_kinds_of_partitions_and_single_files(tmp_path: Path) -> None:
    store = Store(uris.from_path(tmp_path))
    write_table(store, "day=1/u.parquet", "embeddings")
    assert kind_of(store.uri) == kind_of(store.uri_of("day=1/u.parquet")) == "embeddings"
    write_table(store, "day=1/u.parquet", "something else")
    assert kind_of(store.uri) is None
    assert kind_of(uris.from_path(b"/tmp/\xff")) is None


def test_an_interrupt_while_uploading_publishes_nothing(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3)
    with contextlib.suppress(KeyboardInterrupt), store.writing("u") as sink:
        sink.write(b"half")
        raise KeyboardInterrupt
    assert not store.exists("u")


def test_a_new_folder_is_empty_or_holds_what_is_its_own(store: Store) -> None:
    check_new(store)
    store.write_bytes("mine", b"x")
    check_new(store, {"mine"})
    store.write_bytes("sub/x", b"x")
    check_new(store, {"mine", "sub"})
    for own, named in ((set(), "mine"), ({"mine"}, "sub")):
        with pytest.raises(UsageError, match=rf"something else \({named}\): give --to a new or empty folder"):
            check_new(store, own, "--to")


@pytest.mark.parametrize(
    ("corpus", "out", "inside"),
    [
        ("s3://b/crawl", "s3://b/crawl/reports", True),
        ("s3://b/crawl", "s3://b/crawl", True),
        ("s3://b/crawl", "s3://b/crawl-reports", False),
        ("s3://b", "s3://b/reports", True),
        ("s3://b/crawl/1", "s3://b/crawl", False),
        ("file:///crawl", "s3://b/crawl", False),
        ("file:///", "file:///out", True),
    ],
)
def test_a_place_in_the_corpus_is_refused(corpus, out, inside):
    with pytest.raises(UsageError, match="give --pages a place outside of it") if inside else contextlib.nullcontext():
        check_apart(corpus, out, "--pages")


def test_a_link_does_not_hide_that_a_place_lies_in_the_corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "link").symlink_to("corpus")
    with pytest.raises(UsageError, match="lies in the corpus"):
        check_apart(f"file://{tmp_path}/corpus", f"file://{tmp_path}/link/out")


def test_a_writer_that_fails_says_why_and_not_that_its_file_is_gone(tmp_path, monkeypatch):
    store = Store(f"file://{tmp_path}")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left"), store.writing("a.parquet"):
        pass
