"""A corpus that is uneven is cut into even work: by bytes as well as by rows, within folders and within a shard."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tars import write_tar

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import list_corpus
from clipfake.scoring.plan import Planner
from clipfake.storage import units
from clipfake.storage import uri as uris

IMAGE = b"\xff\xd8\xff\xe0" + bytes(200)
LARGE = IMAGE + bytes(30_000)
UNIT_ROWS, CHUNK_ROWS = 100, 16
CHUNK_BYTES, ITEM_BYTES = 64_000, 2_000


def one_folder_has_a_tenth(top: Path) -> str:
    for number in range(2_000):
        folder = top / ("large" if number < 200 else f"{number % 90:02d}")
        folder.mkdir(exist_ok=True)
        (folder / f"{number:04d}.jpg").write_bytes(IMAGE)
    return "images"


def one_large_shard_beside_tiny_ones(top: Path) -> str:
    for number in range(60):
        write_tar(top / f"{number:02d}.tar", {f"{i}.jpg": IMAGE for i in range(1_000 if number == 30 else 1)})
    return "webdataset"


def large_images_in_a_row(top: Path) -> str:
    for number in range(600):
        (top / f"{number:03d}.jpg").write_bytes(LARGE if number >= 540 else IMAGE)
    return "images"


@pytest.mark.parametrize(
    ("corpus", "together", "spread"),
    [
        (one_folder_has_a_tenth, "/large/", 2),
        (one_large_shard_beside_tiny_ones, "/30.tar", 10),
        (large_images_in_a_row, "/5[4-9].\\.jpg", 9),
    ],
)
def test_no_unit_and_no_chunk_holds_more_than_its_share(
    corpus: Callable[[Path], str], together: str, spread: int, ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`together` is what lies together in the corpus: so many units have a part of it."""
    monkeypatch.setattr(units, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.setattr(units, "ITEM_BYTES", ITEM_BYTES)
    place = tmp_path / "corpus"
    place.mkdir()
    layout = corpus(place)
    listing = list_corpus(uris.from_path(str(place)), layout, LayoutOptions())
    plan = Planner(ledger, []).write("run", listing, "images", UNIT_ROWS, CHUNK_ROWS)
    sizes, having = list[list[int]](), 0
    for unit in plan.units:
        with pq.ParquetFile(ledger.store.path(unit.path)) as file:
            chunks = [file.read_row_group(group) for group in range(file.num_row_groups)]
        assert all(len(chunk) <= CHUNK_ROWS and pc.sum(chunk["size"]).as_py() <= CHUNK_BYTES for chunk in chunks)
        rows = pa.concat_tables(chunks)
        having += pc.any(pc.match_substring_regex(rows["uri"], together)).as_py()
        sizes.append(rows["size"].to_pylist())
    assert having >= spread
    assert all(len(unit) <= UNIT_ROWS and sum(unit) <= UNIT_ROWS * ITEM_BYTES for unit in sizes)
    assert max(map(sum, sizes)) < sum(map(sum, sizes)) / 4  # the last one, too, which ends alone
