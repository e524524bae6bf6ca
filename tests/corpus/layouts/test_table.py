"""The layout csv."""

import os
from pathlib import Path

import boto3
import pytest
from tars import write_tar

from clipfake.corpus.layouts import LAYOUTS, Item, LayoutOptions
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris


def items(place: str | Path, layout: str, **options: dict[str, str]) -> list[Item]:
    uri = place if isinstance(place, str) else uris.from_path(place)
    return list(LAYOUTS[layout].items(uri, LayoutOptions(**options), Tally()))  # type: ignore[arg-type]


def write(folder: Path, name: str, rows: str, files: tuple[str, ...] = ()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(rows)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")


def test_csv_with_the_usual_columns(tmp_path: Path) -> None:
    rows = "\ufeffpath,label,category,caption,generator,group_id,split\n"
    rows += 'a.jpg,Real,c,"one,\ntwo",g,s1,train\nsub/b.jpg,1,,,,,\nnone.jpg,,,,,,\n'
    write(tmp_path, "list.csv", rows, ("a.jpg", "sub/b.jpg"))
    first, second, third = items(tmp_path / "list.csv", "csv")
    assert first.uri == uris.from_path(tmp_path / "a.jpg")
    assert (first.label, first.target, first.category, first.caption) == (0, "Real", "c", "one,\ntwo")
    assert (first.generator, first.group_id, first.split) == ("g", "s1", "train")
    assert (second.label, second.target, second.caption, second.size) == (1, "1", None, 1)
    assert (third.label, third.target, third.version) == (None, None, "absent")


def test_csv_of_grip_unina(tmp_path: Path) -> None:
    write(tmp_path, "list.csv", "filename,typ\na.png,real\nb.png,biggan_512\n", ("a.png", "b.png"))
    found = items(tmp_path / "list.csv", "csv")
    assert [(item.label, item.generator) for item in found] == [(0, "real"), (1, "biggan_512")]


def test_csv_with_named_columns_and_paths_elsewhere(tmp_path: Path, s3: str) -> None:
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="k y", Body=b"123")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    odd.write_bytes(b"1")
    lines = [b"where,is_fake,path", f"{tmp_path}/x/../a.jpg,0,p".encode(), f"{s3}/k y,1,p".encode(), b"\xff.jpg,4,p"]
    (tmp_path / "a.jpg").write_bytes(b"12")
    (tmp_path / "list.csv").write_bytes(b"\r\n".join(lines))
    found = items(tmp_path / "list.csv", "csv", columns={"path": "where", "label": "is_fake"})
    assert [(item.uri, item.size, item.label) for item in found] == [
        (uris.from_path(tmp_path / "a.jpg"), 2, 0),
        (f"{s3}/k%20y", 3, 1),
        (uris.from_path(os.fsencode(tmp_path) + b"/\xff.jpg"), 1, 1),
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ("path,label\na.jpg,maybe\n", {}, "line 2: the label 'maybe'"),
        ("path,label\na.jpg,0\nx/../a.jpg,1\n", {}, "line 3: the file .* is there twice"),
        ("path\n \n", {}, "line 2: the path is empty"),
        ("image,label\na.jpg,0\n", {}, "--columns path=NAME"),
        ("path,label\na.jpg,0\n", {"label": "fake"}, "has no column fake"),
        ("path,label\na.jpg,0\n", {"colour": "label"}, "not colour"),
        ("path\ns3://key:secret@bucket/x\n", {}, "line 2: .*environment"),
        ("path\nfile:///a.jpg#b\n", {}, "line 2: file:///a.jpg is no .tar"),
        ("path\nfile:///a.parquet#x\n", {}, "line 2: 'x' is no row"),
        ("path\nfile:///a.tar#x\nfile:///./a.tar#x\n", {}, "line 3: .* is there twice"),
    ],
)
def test_csv_errors(rows: str, columns: dict[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path, "list.csv", rows)
    with pytest.raises(UsageError, match=message) as error:
        items(tmp_path / "list.csv", "csv", columns=columns)
    assert "key:secret" not in str(error.value)


def test_csv_that_is_no_file(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(UsageError, match="give a CSV file"):
            items(place, "csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"filepath\ttitle\na.jpg\tx\n", "header is 'filepath', 'title', separated by tabs"),
        (b"path;label\r\na.jpg;0\r\n", "header is 'path', 'label', separated by semicolons"),
        (b"file_name,text\na.jpg,x\n", "header is 'file_name', 'text', separated by commas; name the column"),
        ("path,label\na.jpg,0\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
    ],
)
def test_a_csv_of_another_writer_is_described(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        items(tmp_path / "list.csv", "csv")


def test_labels_of_other_writers(tmp_path: Path) -> None:
    for zero, one in (("0.0", "1.0"), ("False", "True"), ("real", "FAKE")):
        write(tmp_path, "list.csv", f"path,label\na.jpg,{zero}\nb.jpg,{one}\nc.jpg,\n")
        assert [item.label for item in items(tmp_path / "list.csv", "csv")] == [0, 1, None]
    write(tmp_path, "metadata.csv", "image_path,target\na.jpg,0.0\nb.jpg,6.0\n")
    assert [item.label for item in items(tmp_path, "artifact")] == [0, 1]


def test_a_csv_on_s3_names_nothing_elsewhere(tmp_path: Path, s3: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"1")
    client, bucket = boto3.client("s3"), s3.removeprefix("s3://")
    for number, named in enumerate((uris.from_path(tmp_path / "secret.jpg"), "gs://other/a.jpg", "hdfs://name/a.jpg")):
        client.put_object(Bucket=bucket, Key=f"{number}.csv", Body=f"path\n{named}\n".encode())
        with pytest.raises(UsageError, match=r"line 2: .* lies elsewhere: allow it with --allow-outside"):
            items(f"{s3}/{number}.csv", "csv")
    allowed = LayoutOptions(allow_outside=True)
    assert [item.size for item in LAYOUTS["csv"].items(f"{s3}/0.csv", allowed, Tally())] == [1]
    write(tmp_path, "list.csv", f"path\n{s3}/0.csv\n")
    assert items(tmp_path / "list.csv", "csv")[0].size  # a table of this machine may


def test_members_of_tars_and_rows_of_parquet(tmp_path: Path, s3: str) -> None:
    members = {"a/1.jpg": b"one", "a/2 #.jpg": b"two", "x": b"", "\udcff.jpg": b"three"}
    tar = write_tar(tmp_path / "0.TAR", members)
    data = (tmp_path / "0.TAR").read_bytes()
    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="0.tar", Body=data)
    for name in ("a.jpg", "rows.parquet", "v.mp4"):
        (tmp_path / name).write_bytes(b"1234")
    table = uris.from_path(tmp_path / "rows.parquet")
    named = [(place, name) for name in reversed(members) for place in (tar, f"{s3}/0.tar")]
    gone = [(tar, "none.jpg"), (uris.from_path(tmp_path / "1.tar"), "1.jpg")]
    video = (uris.from_path(tmp_path / "v.mp4"), "t=1.50")
    rows = [uris.item_id(*one) for one in (*named, (table, "7"), *gone, video)]
    write(tmp_path, "list.csv", "\n".join(["path,label", "a.jpg,0", *(f"{row},1" for row in rows)]) + "\n")
    plain, *found, frame = items(tmp_path / "list.csv", "csv")
    assert (frame.uri, frame.member, frame.group_id) == (*video, video[0])
    assert (plain.member, plain.size, plain.label) == (None, 4, 0)
    assert [(item.uri, item.member) for item in found] == [*named, (table, "7"), *gone]
    for item in found[: len(named)]:
        assert data[item.offset : item.offset + item.size] == members[item.member]  # type: ignore[operator,index]
        assert item.label == 1 and item.version.startswith(f"{len(data)}-")
    row, *others = found[len(named) :]
    assert (row.offset, row.size, row.version.partition("-")[0]) == (None, None, "4")
    assert [item.version for item in others] == ["absent", "absent"]
