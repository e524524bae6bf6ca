"""The layout artifact."""

from pathlib import Path

import boto3
import pytest

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


def test_artifact_labels_come_from_the_target_only(tmp_path: Path) -> None:
    header = "filename,image_path,target,category\n"
    paths = ("a/img000000.jpg", "b/img000000.jpg", "b/deep/er/img000001.jpg")
    rows = f"img000000.jpg,{paths[0]},0,x\nimg000000.jpg,{paths[1]},6,y\nimg000001.jpg,{paths[2]},1,\n"
    for folder in ("ArtiFact/Fake/cycle_gan", "ArtiFact/Real/pro_gan", "lsun"):
        write(tmp_path / folder, "metadata.csv", header + rows, paths)
    found = items(tmp_path, "artifact")
    assert [(item.generator, item.label, item.target, item.category) for item in found] == [
        (generator, *rest)
        for generator in ("cycle_gan", "pro_gan", "lsun")
        for rest in ((0, "0", "x"), (1, "6", "y"), (1, "1", None))
    ]
    assert len({item.uri for item in found}) == 9
    assert found[1].uri == uris.from_path(tmp_path / "ArtiFact/Fake/cycle_gan" / paths[1])
    assert {item.size for item in found} == {1}
    assert [item.generator for item in items(tmp_path / "lsun", "artifact")] == ["lsun"] * 3


def test_artifact_rows_without_a_file(tmp_path: Path) -> None:
    write(tmp_path, "metadata.csv", "image_path,target\na.jpg,0\nmissing.jpg,1\n", ("a.jpg",))
    assert [(item.size, item.version[:2]) for item in items(tmp_path, "artifact")] == [(1, "1-"), (None, "ab")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("image_path,target\na.jpg,real\n", "line 2: target 'real'"),
        ("image_path,target\na.jpg,0\n\nb.jpg,\n", "line 4: target ''"),
        ("image_path,target\na.jpg,0\n./a.jpg,1\n", "line 3: image_path 'a.jpg' is there twice"),
        ("image_path,target\n../a.jpg,0\n", "line 2: .*not below the folder"),
        ("image_path,target\n/a.jpg,0\n", "line 2: .*not below the folder"),
        ("image_path,label\na.jpg,0\n", "lacks the columns target"),
        ("image_path,target\na.jpg,0,1\n", "line 2: 3 values for 2 columns"),
        ('image_path,target\n"a.jpg,0\n', "line 2"),
        ("", "is empty"),
    ],
)
def test_artifact_errors_name_file_and_line(rows: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "big_gan", "metadata.csv", rows)
    with pytest.raises(UsageError, match=message) as error:
        items(tmp_path, "artifact")
    assert "big_gan/metadata.csv" in str(error.value)


def test_artifact_on_s3(s3: str) -> None:
    client = boto3.client("s3")
    files = {"x/a/metadata.csv": b"image_path,target\ni 1.jpg,0\nn/i2.jpg,3\ngone.jpg,1\n", "x/a/i 1.jpg": b"1"}
    for key, data in (files | {"x/a/n/i2.jpg": b"22"}).items():
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=data)
    assert [(item.uri, item.size, item.label) for item in items(f"{s3}/x", "artifact")] == [
        (f"{s3}/x/a/i%201.jpg", 1, 0),
        (f"{s3}/x/a/n/i2.jpg", 2, 1),
        (f"{s3}/x/a/gone.jpg", None, 1),
    ]
