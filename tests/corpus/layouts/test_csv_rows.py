"""Reading a CSV row by row."""

from pathlib import Path

import pytest

from clipfake.corpus.layouts.csv_rows import CsvFile, clean
from clipfake.errors import UsageError
from clipfake.storage import uri as uris


def csv(tmp_path: Path, data: bytes) -> CsvFile:
    (tmp_path / "a.csv").write_bytes(data)
    return CsvFile(uris.from_path(tmp_path / "a.csv"))


def test_rows_have_their_line_numbers(tmp_path: Path) -> None:
    table = csv(tmp_path, b'\xef\xbb\xbfpath , label\r\na.jpg,0\r\n\r\n"b\nc.jpg",1\r\n')
    assert table.columns == ["path", "label"]
    assert list(table.rows()) == [(2, {"path": "a.jpg", "label": "0"}), (5, {"path": "b\nc.jpg", "label": "1"})]


def test_names_that_are_no_utf8_are_kept_for_paths_and_cleaned_for_text(tmp_path: Path) -> None:
    ((_, row),) = csv(tmp_path, b"path\n\xff.jpg\n").rows()
    assert row["path"] == "\udcff.jpg" and clean(row["path"]) == "\ufffd.jpg"
    assert clean("") is clean(None) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"path,label\na.jpg\n", "line 2: 1 values for 2 columns"),
        (b'path\n"a\n', "line 2: unexpected end of data"),
        (b"\xff\xfep\0a\0", "is UTF-16"),
        (b"path" * 50_000 + b"\na\n", "is no CSV: field larger than field limit"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        list(csv(tmp_path, data).rows())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label", "its header is 'path', 'label', separated by commas"),
        ("path\tlabel", "its header is 'path', 'label', separated by tabs; save it with commas"),
        ("path;label, text", "its header is 'path', 'label,text', separated by semicolons; save it with commas"),
        ("path|label", "its header is 'path', 'label', separated by |; save it with commas"),
    ],
)
def test_the_header_is_described(header: str, said: str, tmp_path: Path) -> None:
    assert csv(tmp_path, header.encode()).described() == said
