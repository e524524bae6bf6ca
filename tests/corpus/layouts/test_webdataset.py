"""The layout webdataset."""

import io
import json
import os
import tarfile
from pathlib import Path

import boto3
import pytest

from clipfake.corpus.layouts import LAYOUTS, Item, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))


def listed(place: Path | str, layout: str, tally: Tally | None = None, **columns: str) -> list[Item]:
    uri = place if isinstance(place, str) else uris.from_path(place)
    return list(LAYOUTS[layout].items(uri, LayoutOptions(columns=columns), tally or Tally()))


def make_tar(members: list[tuple[str, bytes]], **options: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


LONG = "d/" + "n" * 200 + ".png"


SAMPLES = [
    ("a/0.json", json.dumps({"caption": "from json", "url": "u"}).encode()),
    ("a/0.jpg", JPEG),
    ("a/1.left.png", JPEG + b"1"),
    ("a/1.right.png", JPEG + b"22"),
    ("a/1.right.txt", b" from text \n"),
    ("a/._1.left.png", JPEG),
    ("b/1.jpg", JPEG),
    ("b/noextension", JPEG),
    ("b/neither", b"hello"),
    (LONG, JPEG),
    ("b/\udcff.jpg", JPEG),
]


@pytest.mark.parametrize("options", [{}, {"format": tarfile.GNU_FORMAT}])
def test_webdataset(options: dict[str, int], tmp_path: Path) -> None:
    data = make_tar(SAMPLES, errors="surrogateescape", encoding="utf-8", **options)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "0.TAR").write_bytes(data)
    (tmp_path / "0_stats.json").write_bytes(b"{}")
    tally = Tally()
    found = listed(tmp_path, "webdataset", tally)
    images = [(name, body) for name, body in SAMPLES if body.startswith(JPEG) and "._" not in name]
    assert [(item.member, item.size) for item in found] == [(name, len(body)) for name, body in images]
    assert [data[item.offset : item.offset + item.size] for item in found] == [body for _, body in images]  # type: ignore[operator]
    assert [item.caption for item in found] == ["from json", None, "from text", *[None] * 4]
    assert tally.skipped == {"file that is not a .tar": 1, "AppleDouble member of a tar (._*)": 1}
    assert not tally.warnings


def test_img2dataset_that_resized(tmp_path: Path) -> None:
    facts = {"width": 256, "height": 256, "original_width": 1024, "original_height": 256, "status": "success"}
    same = {"width": 256, "height": 256, "original_width": 256, "original_height": 256}
    members = [
        ("0.jpg", JPEG),
        ("0.json", json.dumps(facts).encode()),
        ("1.jpg", JPEG),
        ("1.json", json.dumps(same).encode()),
    ]
    members += [("2.jpg", JPEG), ("2.json", b"no json"), ("3.jpg", JPEG), ("3.json", b"[1]")]
    (tmp_path / "0.tar").write_bytes(make_tar(members))
    tally = Tally()
    assert len(listed(tmp_path, "webdataset", tally)) == 4
    assert tally.warnings == {"re-encoded": 1}


MANY = [(f"{number:03}.jpg", JPEG * 5) for number in range(30)]


def test_a_truncated_tar_gives_what_is_before_the_cut(tmp_path: Path) -> None:
    whole = make_tar(MANY)
    path = tmp_path / "0.tar"
    for cut in (1, 100, 512, 513, 1536, 1537, 2048, 3 * 1536, 3 * 1536 + 600, len(MANY) * 1536):
        path.write_bytes(whole[:cut])
        tally = Tally()
        expected = (cut - 512) // 1536 + 1 if cut >= 512 else 0  # whole headers; a member is 512 + 1020, padded to 1536
        assert len(listed(tmp_path, "webdataset", tally)) == expected, cut
        assert tally.warnings == {"truncated_container": 1}, cut
    path.write_bytes(b"")
    assert listed(tmp_path, "webdataset", tally) == []
    damaged = bytearray(whole)
    damaged[1536 * 10 : 1536 * 10 + 512] = b"\xff" * 512  # the eleventh header
    path.write_bytes(damaged)
    tally = Tally()
    assert len(listed(tmp_path, "webdataset", tally)) == 10
    assert tally.warnings == {"truncated_container": 1}


def test_odd_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, kind in (("d.jpg", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE), ("f.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            tar.addfile(info)
        for data in (b"first", b"second"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    tally = Tally()
    found = listed(tmp_path, "webdataset", tally)
    assert [(item.member, item.size) for item in found] == [("a.jpg", 5)]
    assert tally.skipped == {"tar member that is no plain file": 2, "member that is there twice": 1}


def test_compressed_tars_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="compressed"):
        listed(tmp_path, "webdataset")


def test_webdataset_on_s3_reads_in_large_ranges(s3: str, proxy) -> None:  # type: ignore[no-untyped-def]
    members = [(f"{number}.jpg", JPEG + os.urandom(100_000)) for number in range(100)]
    data = make_tar(members)
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="0.tar", Body=data)
    before = len(proxy.requests)
    found = listed(s3, "webdataset")
    assert [data[item.offset : item.offset + item.size] for item in found] == [body for _, body in members]  # type: ignore[operator]
    assert len(proxy.requests) - before < 12


def test_a_store_that_fails_in_a_tar_ends_the_listing(s3: str, proxy, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(uris, "ATTEMPTS", 2)
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="0.tar", Body=make_tar(MANY))
    proxy.decide = lambda number, method, path: "503" if method == "GET" and path.endswith("0.tar") else None
    with pytest.raises(ClipfakeError, match="broke off"):
        listed(s3, "webdataset")
