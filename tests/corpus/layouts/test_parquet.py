"""The layout parquet."""

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gcs import FakeGcs

from clipfake.corpus.layouts import LAYOUTS, Item, LayoutOptions
from clipfake.corpus.listing import Entry, list_files
from clipfake.corpus.tally import Tally
from clipfake.errors import ClipfakeError, UsageError
from clipfake.storage import uri as uris

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))


def listed(place: Path | str, layout: str, tally: Tally | None = None, **columns: str) -> list[Item]:
    uri = place if isinstance(place, str) else uris.from_path(place)
    return list(LAYOUTS[layout].items(uri, LayoutOptions(columns=columns), tally or Tally()))


@pytest.mark.parametrize("struct", [False, True])
def test_parquet(struct: bool, tmp_path: Path) -> None:
    images = [{"bytes": JPEG, "path": None}] * 5 if struct else [JPEG] * 5
    table = pa.table({"image": images, "caption": ["a", "", None, "d", "e"], "fake": [0, 1, None, 1, 0]})
    pq.write_table(table, tmp_path / "0.parquet", row_group_size=2)
    (tmp_path / "read.me").write_bytes(b"")
    tally = Tally()
    found = listed(tmp_path, "parquet", tally)
    assert [item.member for item in found] == ["0", "1", "2", "3", "4"]
    assert [item.caption for item in found] == ["a", None, None, "d", "e"]
    assert {item.label for item in found} == {None}
    assert tally.skipped == {"file that is not .parquet": 1}
    labelled = listed(tmp_path, "parquet", label="fake", generator="caption")
    assert [(item.label, item.target) for item in labelled] == [(0, "0"), (1, "1"), (None, None), (1, "1"), (0, "0")]
    assert labelled[0].generator == "a"


def test_parquet_lists_without_reading_images(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"image": [os.urandom(1000) for _ in range(100)]}), path)
    data = bytearray(path.read_bytes())
    data[4:90_000] = bytes(90_000 - 4)
    path.write_bytes(data)
    assert len(listed(tmp_path, "parquet")) == 100


def test_parquet_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a path"], "label": [3]}), tmp_path / "0.parquet")
    with pytest.raises(UsageError, match="--columns image=NAME"):
        listed(tmp_path, "parquet")
    pq.write_table(pa.table({"image": [JPEG], "label": [3]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"images": [[JPEG]], "n": [1]}), tmp_path / "0.parquet")
    with pytest.raises(UsageError, match=r"it has images \(list<.*binary.*\), n \(int64\); use --columns"):
        listed(tmp_path, "parquet")
    with pytest.raises(UsageError, match=r"of the name images, which is list<.*binary.*>: it has[^;]*$"):
        listed(tmp_path, "parquet", image="images")
    pq.write_table(pa.table({"image": [JPEG], "label": [3]}), tmp_path / "0.parquet")
    for columns, message in (
        ({"label": "label"}, "row 0: the label '3'"),
        ({"label": "x"}, "no column x"),
        ({"x": "label"}, "not x"),
    ):
        with pytest.raises(UsageError, match=message):
            listed(tmp_path, "parquet", **columns)
    (tmp_path / "0.parquet").write_bytes(b"PAR1 and no more")
    tally = Tally()
    assert listed(tmp_path, "parquet", tally) == []
    assert tally.warnings == {"truncated_container": 1}


@pytest.mark.parametrize("labels", [[0.0, 1.0, None], [False, True, None], ["Real", "fake", ""]])
def test_labels_of_other_writers(labels: list[object], tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [JPEG] * 3, "typed": labels}), tmp_path / "0.PARQUET")
    assert [item.label for item in listed(tmp_path, "parquet", label="typed")] == [0, 1, None]


def test_columns_that_folders_name(tmp_path: Path) -> None:
    for folder in ("label=fake/generator=sd%20xl", "label=real/generator=camera"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"image": [JPEG] * 2}), tmp_path / folder / "0.parquet")
    found = listed(tmp_path, "parquet", label="label")
    assert [(item.label, item.generator) for item in found] == [(1, "sd%20xl")] * 2 + [(0, "camera")] * 2
    assert {item.label for item in listed(tmp_path, "parquet")} == {None}  # no label without --columns


def test_dictionary_encoded_columns(tmp_path: Path) -> None:
    images, captions = pa.array([JPEG, JPEG]).dictionary_encode(), pa.array(["a", "b"]).dictionary_encode()
    pq.write_table(pa.table({"image": images, "caption": captions}), tmp_path / "0.parquet")
    assert [item.caption for item in listed(tmp_path, "parquet")] == ["a", "b"]


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9", None, b"plain"]).view(pa.string())
    table = pa.table({"image": [JPEG] * 3, "caption": broken, "generator": pa.array([b"\xff"] * 3).view(pa.string())})
    pq.write_table(table, tmp_path / "0.parquet")
    found = listed(tmp_path, "parquet")
    assert [item.caption for item in found] == ["caf\ufffd", None, "plain"]
    assert {item.generator for item in found} == {"\ufffd"}


def test_gs_that_fails_is_no_damage(gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"image": [os.urandom(50_000)] * 2, "caption": ["a", "b"]}), out)
    gcs.put(**{"x/0.parquet": out.getvalue(), "x/1.parquet": b"PAR1 and no more"})
    tally = Tally()
    found = listed(f"{gcs.uri}/x", "parquet", tally)
    assert [item.caption for item in found] == ["a", "b"] and tally.warnings == {"truncated_container": 1}
    monkeypatch.setattr("clipfake.corpus.layouts.parquet.list_files", partial(_failing_after, gcs))
    with pytest.raises(ClipfakeError, match="broke off"):
        listed(f"{gcs.uri}/x", "parquet")


def _failing_after(gcs: FakeGcs, place: str, tally: Tally, **options: bool) -> Iterator[Entry]:
    entries = list(list_files(place, tally, **options))
    gcs.fail(503)
    yield from entries
