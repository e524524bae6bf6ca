import io
import json
import os
import tarfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from clipfake.corpus import manifest
from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import list_corpus, manifest_rows, read_manifest, write_manifest
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import Store, kind_of

DATA = Path(__file__).parents[3] / "shared" / "data"
NO_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="the images of ../shared/data are not on this machine")
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    for scene in ("s1", "s2"):
        (tmp_path / "corpus" / scene).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "corpus" / scene / f"v{number}.jpg").write_bytes(JPEG + b"x" * number)
    (tmp_path / "corpus" / "readme.txt").write_bytes(b"hello")
    return uris.from_path(tmp_path / "corpus")


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(uris.from_path(tmp_path / "manifest"))
    return Store(request.getfixturevalue("s3") + "/manifest")


def rows(store: Store) -> list[dict]:  # type: ignore[type-arg]
    return read_manifest(store.uri).to_table().to_pylist()


def test_write_and_read(corpus: str, out: Store) -> None:
    summary = write_manifest(corpus, "images", LayoutOptions(group_by=r"/(s\d)/v(\d)"), out)
    assert (summary.items, summary.unlabelled, summary.real, summary.fake, summary.parts) == (7, 7, 0, 0, 1)
    assert (summary.bytes, summary.without_group) == (6 * 3 + 6 + 5, 1)
    assert kind_of(out.uri) == "manifest"
    found = rows(out)
    assert [row["group_id"] for row in found] == [None, "s1/0", "s1/1", "s1/2", "s2/0", "s2/1", "s2/2"]
    assert found[1]["item_id"] == found[1]["uri"] == f"{corpus}/s1/v0.jpg"
    footer = pq.read_schema(out.path("part-00000.parquet"), filesystem=out.filesystem).metadata
    assert footer[b"clipfake.layout"] == b"images" and footer[b"clipfake.corpus"] == corpus.encode()
    assert json.loads(footer[b"clipfake.options"])["group_by"] == r"/(s\d)/v(\d)"


def test_indexing_again_replaces(corpus: str, out: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PART_ROWS", 2)
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 2)
    assert write_manifest(corpus, "images", LayoutOptions(), out).parts == 4
    assert len(rows(out)) == 7
    Path(os.fsdecode(uris.to_path(corpus + "/s1/v0.jpg"))).unlink()
    monkeypatch.setattr(manifest, "PART_ROWS", 5)
    assert write_manifest(corpus, "images", LayoutOptions(), out).parts == 1
    assert len(out.list()) == 1
    found = rows(out)
    assert len(found) == 6 and [row["item_id"] for row in found][:2] == [f"{corpus}/readme.txt", f"{corpus}/s1/v1.jpg"]


def test_a_manifest_that_was_cut_off_is_refused(corpus: str, out: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PART_ROWS", 2)
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 2)
    write_manifest(corpus, "images", LayoutOptions(), out)
    real = manifest._record_batch

    def dies(items, *args):  # type: ignore[no-untyped-def]
        if items[0].uri.endswith("s2/v0.jpg") or items[-1].uri.endswith("s2/v0.jpg"):
            raise ClipfakeError("the listing broke off")
        return real(items, *args)

    monkeypatch.setattr(manifest, "_record_batch", dies)
    with pytest.raises(ClipfakeError, match="broke off"):
        write_manifest(corpus, "images", LayoutOptions(), out)
    assert len(out.list()) == 2
    with pytest.raises(UsageError, match="incomplete"):
        read_manifest(out.uri)
    monkeypatch.undo()


def test_a_listing_that_breaks_off_early_keeps_the_old_manifest(corpus: str, out: Store, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    write_manifest(corpus, "images", LayoutOptions(), out)
    before = rows(out)
    folder = Path(os.fsdecode(uris.to_path(corpus)))
    (folder / "metadata.csv").write_text("image_path,target\n" + "s1/v0.jpg,0\n" * 2)
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 1)
    with pytest.raises(UsageError, match="line 3"):
        write_manifest(corpus, "artifact", LayoutOptions(), out)
    assert rows(out) == before


def test_a_missing_part_is_seen(corpus: str, out: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PART_ROWS", 2)
    monkeypatch.setattr(manifest, "ROW_GROUP_ROWS", 2)
    write_manifest(corpus, "images", LayoutOptions(), out)
    for number in (0, 3):
        data = out.read_bytes(f"part-0000{number}.parquet")
        out.delete(f"part-0000{number}.parquet")
        with pytest.raises(UsageError, match="incomplete"):
            read_manifest(out.uri)
        out.write_bytes(f"part-0000{number}.parquet", data)
    assert len(rows(out)) == 7


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("imges", LayoutOptions(), "unknown layout 'imges': use one of images, artifact, csv"),
        ("images", LayoutOptions(real=("x",)), "takes no option real"),
        ("images", LayoutOptions(group_by="("), "no regular expression"),
        ("cifake", LayoutOptions(), "nothing at .* is an item of the layout cifake; 7 skipped"),
        ("artifact", LayoutOptions(), "nothing at"),
    ],
)
def test_wrong_usage_writes_nothing(layout: str, options: LayoutOptions, message: str, corpus: str, out: Store) -> None:
    with pytest.raises(UsageError, match=message) as error:
        write_manifest(corpus, layout, options, out)
    assert "\n" not in str(error.value)
    assert not out.exists()


def test_a_corpus_that_is_not_there(out: Store, s3: str) -> None:
    for place in ("file:///no/such/folder", f"{s3}/nothing"):
        with pytest.raises(UsageError):
            write_manifest(place, "images", LayoutOptions(), out)
    assert not out.exists()


def test_an_out_that_holds_something_else(corpus: str, out: Store) -> None:
    for name, data in (("notes.txt", b"mine"), ("part-00000.parquet", b"not ours"), ("sub/x", b"mine")):
        out.write_bytes(name, data)
        with pytest.raises(UsageError, match="something else"):
            write_manifest(corpus, "images", LayoutOptions(), out)
        assert out.read_bytes(name) == data
        out.delete(name)
        out.delete_tree("sub")
    out.write_bytes("file", b"")
    with pytest.raises(UsageError, match="is a file"):
        write_manifest(corpus, "images", LayoutOptions(), out.below("file"))
    with pytest.raises(UsageError, match="lies in the corpus"):
        write_manifest(corpus, "images", LayoutOptions(), Store(f"{corpus}/manifest"))


def test_reading_what_is_no_manifest(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(UsageError, match="clipfake index"):
        read_manifest(corpus)
    mine = tmp_path / "mine.parquet"
    table = MANIFEST_SCHEMA.empty_table().drop_columns(["label", "uri"])
    pq.write_table(table.replace_schema_metadata({"clipfake.kind": "manifest"}), mine)
    with pytest.raises(UsageError, match=r"lacks the columns uri, label.*clipfake index"):
        read_manifest(uris.from_path(mine))
    table = MANIFEST_SCHEMA.empty_table().set_column(6, "label", pa.array([], pa.int64()))
    pq.write_table(table.replace_schema_metadata({"clipfake.kind": "manifest"}), mine)
    with pytest.raises(UsageError, match=r"other types than label \(int8\)"):
        read_manifest(uris.from_path(mine))
    pq.write_table(MANIFEST_SCHEMA.empty_table().replace_schema_metadata({"clipfake.kind": "manifest"}), mine)
    assert read_manifest(uris.from_path(mine)).count_rows() == 0


def test_odd_names_become_rows(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/corpus"
    Path(os.fsdecode(folder)).mkdir()
    odd = [b"\xff.jpg", b"a\nb.jpg", b"'\".jpg", "😀#.jpg".encode(), b"n" * 255]
    for name in odd:
        with open(folder + b"/" + name, "wb") as file:
            file.write(JPEG)
    out = Store(uris.from_path(tmp_path / "manifest"))
    write_manifest(uris.from_path(folder), "images", LayoutOptions(), out)
    found = [uris.to_path(row["uri"]) for row in rows(out)]
    assert found == sorted(folder + b"/" + name for name in odd)


@NO_DATA
def test_mini_artifact(tmp_path: Path) -> None:
    out = Store(uris.from_path(tmp_path / "manifest"))
    summary = write_manifest(uris.from_path(DATA / "mini_artifact"), "artifact", LayoutOptions(), out)
    assert (summary.items, summary.real, summary.fake, summary.absent) == (4900, 2950, 1950, 0)
    assert {name: tuple(counts.values()) for name, counts in summary.generators.items()} == {
        "clothing": (1800, 0, 0),
        "cycle_gan": (100, 100, 0),
        "imagenet": (1000, 0, 0),
        "pix2pix": (50, 50, 0),
        "stable_diffusion": (0, 1800, 0),
    }
    query = (
        f"select label, count(*), count(distinct item_id) from '{tmp_path}/manifest/*.parquet' group by 1 order by 1"
    )
    assert duckdb.sql(query).fetchall() == [(0, 2950, 2950), (1, 1950, 1950)]


@NO_DATA
def test_crawl(tmp_path: Path) -> None:
    out = Store(uris.from_path(tmp_path / "manifest"))
    assert write_manifest(uris.from_path(DATA / "crawl"), "images", LayoutOptions(), out).items == 390


def test_text_that_cannot_be_written_is_one_item_s_own_fault(tmp_path: Path) -> None:
    members = {"a.jpg": b"\xff\xd8\xff", "a.json": b'{"caption": "half a pair: \\ud83d"}', "b.jpg": b"\xff\xd8\xff"}
    members |= {"b.json": b"[" * 100_000, "c.jpg": b"\xff\xd8\xff", "c.txt": b"caf\xe9"}
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    table = list_corpus(uris.from_path(tmp_path), "webdataset", LayoutOptions()).read_all()
    assert table["caption"].to_pylist() == ["half a pair: ?", None, "caf\ufffd"]


def test_a_tally_is_complete_when_the_listing_ends(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    tally = Tally()
    list_corpus(uris.from_path(tmp_path), "images", LayoutOptions(), tally).read_all()
    assert sum(tally.skipped.values()) == 1


def test_a_manifest_on_a_store_names_nothing_elsewhere(s3: str, corpus: str) -> None:
    write_manifest(corpus, "images", LayoutOptions(), Store(f"{s3}/m"))
    rows = read_manifest(f"{s3}/m").to_table()

    def read(uri: str | None, place: str = f"{s3}/m", **options: bool) -> int:
        table = rows if uri is None else rows.set_column(1, "uri", pa.array([uri] * len(rows)))
        return manifest_rows(place, ds.dataset(table).scanner(), LayoutOptions(**options)).read_all().num_rows

    for named in (None, "http://host/a.jpg", "nothing", "gs://bucket/a.jpg"):
        with pytest.raises(UsageError, match="--allow-outside"):
            read(named)
        assert read(named, allow_outside=True) == read(named, corpus) == len(rows)
    assert read(f"{s3}/a.jpg") == read("s3://another/a.jpg") == len(rows)
