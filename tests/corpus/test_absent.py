"""What is said of files that are not there."""

import logging
import unicodedata
from pathlib import Path

import pytest

from clipfake.corpus.absent import guess, said
from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import list_corpus, write_manifest
from clipfake.storage import uri as uris
from clipfake.storage.store import Store

NAMES = {
    "backslashes": ("img/a.jpg", "img\\a.jpg"),
    "NFC": (unicodedata.normalize("NFC", "café.jpg"), unicodedata.normalize("NFD", "café.jpg")),
    "NFD": (unicodedata.normalize("NFD", "café.jpg"), unicodedata.normalize("NFC", "café.jpg")),
    "blanks": ("img/a.jpg", "img /a.jpg"),
}


@pytest.mark.parametrize("reason", NAMES)
def test_a_guess_is_made_from_what_is_there(reason: str, tmp_path: Path) -> None:
    there, named = NAMES[reason]
    uri = uris.from_path(tmp_path / named)
    assert guess(uri) is None
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_bytes(b"1")
    assert reason in (guess(uri) or "")
    assert said(3, 4, uri).startswith(f"3 of 4 files are not there, such as {uris.shown(uri)!r}: it is there")


def test_a_guess_on_s3(s3: str) -> None:
    import boto3

    boto3.client("s3").put_object(Bucket=s3.removeprefix("s3://"), Key="x/img/a.jpg", Body=b"1")
    assert "backslashes" in (guess(uris.join(f"{s3}/x", "img\\a.jpg")) or "")
    assert guess(f"{s3}/x/b.jpg") is None


def test_a_listing_says_how_many_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").write_bytes(b"1")
    (tmp_path / "list.csv").write_text("path,label\nimg\\a.jpg,0\nb.jpg,1\nimg/a.jpg,1\n")
    place = uris.from_path(tmp_path / "list.csv")
    summary = write_manifest(place, "csv", LayoutOptions(), Store(uris.from_path(tmp_path / "m")))
    assert summary.absent == 2 and summary.absent_example.endswith("img%5Ca.jpg")
    list_corpus(place, "csv", LayoutOptions()).read_all()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2 and all("2 of 3 files are not there" in line and "backslashes" in line for line in warned)
