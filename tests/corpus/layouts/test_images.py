from pathlib import Path

import boto3
import pytest
from PIL import Image

from clipfake.corpus.layouts import LAYOUTS, LayoutOptions, images
from clipfake.corpus.tally import Tally
from clipfake.errors import UsageError
from clipfake.storage import uri as uris


def names(place: str) -> list[str]:
    items = LAYOUTS["images"].items(place, LayoutOptions(), Tally())
    return [item.uri.rpartition("/")[2] for item in items]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_images_are_told_by_content(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.txt", kind)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    (tmp_path / "z").write_bytes(b"")
    assert names(uris.from_path(tmp_path)) == ["a.jpg", "image.txt", "z"]


def test_a_corpus_without_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = uris.from_path(tmp_path)
    with pytest.raises(UsageError, match="0 files"):
        names(place)
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"text")
    with pytest.raises(UsageError, match="5 files, none begins like one"):
        names(place)
    monkeypatch.setattr(images, "SNIFFED_FILES", 3)
    with pytest.raises(UsageError, match="first 3 files"):
        names(place)


@pytest.mark.parametrize(
    ("name", "layout"),
    [("0.tar", "webdataset"), ("a.PARQUET", "parquet"), ("x/metadata.csv", "artifact"), ("list.csv", "csv"), ("x", "")],
)
def test_a_corpus_of_another_layout_is_named(name: str, layout: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"no image")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(UsageError, match=f"give --layout {layout}$" if layout else "like one$"):
            names(uris.from_path(place))


def test_on_s3(s3: str) -> None:
    client = boto3.client("s3")
    for key, data in (("a", b"text"), ("b", b"\xff\xd8\xff"), ("c", b"")):
        client.put_object(Bucket=s3.removeprefix("s3://"), Key=key, Body=data)
    assert names(s3) == ["a", "b", "c"]
