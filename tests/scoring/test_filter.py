"""`clipfake filter`: counts that reconcile, what is there already is not made again, bad conditions in one line."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killed_filter import killed_filter
from tars import read_tar, write_tar

from clipfake.corpus.layouts.base import LayoutOptions
from clipfake.corpus.manifest import list_corpus
from clipfake.errors import UsageError
from clipfake.scoring import filter as module
from clipfake.scoring.filter import FilterOptions, FilterSummary, filter_corpus
from clipfake.storage import uri as uris
from clipfake.storage.footers import footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(module, "at_hand", lambda: False)  # another test's Ray would not see what is patched here


@pytest.fixture
def report(tmp_path: Path, report_rows):
    """report(corpus, layout, fakes): commits a row for each listed item but the last; those named are fake."""

    def make(corpus: Path, layout: str, fakes: set[str]) -> str:
        listed = list_corpus(uris.place(str(corpus)), layout, LayoutOptions()).read_all()
        rows = report_rows(listed.slice(0, listed.num_rows - 1))
        verdicts = [
            "fake" if (row["member"] or row["uri"]).rpartition("/")[2] in fakes else "real" for row in rows.to_pylist()
        ]
        at = rows.schema.get_field_index("verdict")
        rows = rows.set_column(at, rows.schema.field(at), pa.array(verdicts, pa.string()))
        store = Store(uris.from_path(str(tmp_path / "reports")))
        Ledger(store, "report", REPORT_SCHEMA, "d", footer("report", {"detector": "d"})).commit("a.parquet", rows)
        return str(tmp_path / "reports")

    return make


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three shards of four samples each, an image and a text."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for shard in range(3):
        names = [f"{shard}{i}" for i in range(4)]
        members = {f"{name}.{end}": f"{name}{end}".encode() for name in names for end in ("jpg", "txt")}
        write_tar(folder / f"{shard}.tar", members)
    return folder


def test_shards(shards: Path, report, tmp_path: Path):
    reports, out = report(shards, "webdataset", {"00.jpg", "12.jpg"}), tmp_path / "clean"
    options = FilterOptions("verdict = 'real'", layout="webdataset")
    found = filter_corpus(str(shards), reports, str(out), options)
    assert found == FilterSummary(12, kept=9, dropped=3, without_row=1, files=3)
    assert list(read_tar(out / "0.tar")) == ["01.jpg", "01.txt", "02.jpg", "02.txt", "03.jpg", "03.txt"]
    assert list(read_tar(out / "2.tar")) == ["20.jpg", "20.txt", "21.jpg", "21.txt", "22.jpg", "22.txt"]
    keep = FilterOptions("verdict = 'real'", "keep", layout="webdataset")
    assert filter_corpus(str(shards), reports, str(tmp_path / "more"), keep).kept == 10
    assert "23.jpg" in read_tar(tmp_path / "more" / "2.tar")


def test_a_killed_run_is_gone_on_with(shards: Path, report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reports, out = report(shards, "webdataset", {"00.jpg"}), tmp_path / "clean"
    options, copy, copied = FilterOptions("verdict = 'real'", layout="webdataset"), module._copy, []

    def dying(container, out):
        if len(copied) == 1:
            raise KeyboardInterrupt
        copied.append(container.name)
        return copy(container, out)

    monkeypatch.setattr(module, "_copy", dying)
    with pytest.raises(KeyboardInterrupt):
        filter_corpus(str(shards), reports, str(out), options)
    monkeypatch.setattr(module, "_copy", copy)
    written = (out / "0.tar").stat().st_mtime_ns
    found = filter_corpus(str(shards), reports, str(out), options)
    assert (found.files, found.already_done, found.kept) == (2, 1, 10)
    assert (out / "0.tar").stat().st_mtime_ns == written


def test_what_was_decided_anew_is_copied_anew(shards: Path, report, tmp_path: Path):
    out, options = tmp_path / "clean", FilterOptions("verdict = 'real'", layout="webdataset")
    filter_corpus(str(shards), report(shards, "webdataset", {"00.jpg"}), str(out), options)
    found = filter_corpus(str(shards), report(shards, "webdataset", {"11.jpg"}), str(out), options)
    assert (found.files, found.already_done) == (2, 1)
    assert "00.jpg" in read_tar(out / "0.tar") and "11.jpg" not in read_tar(out / "1.tar")


def test_parquet_and_folders_of_images(tmp_path: Path, report):
    corpus = tmp_path / "tables"
    corpus.mkdir()
    pq.write_table(pa.table({"image": [b"a", b"b", b"c"], "x": [1, 2, 3]}), corpus / "t.parquet")
    options = FilterOptions("verdict = 'real'", layout="parquet")
    filter_corpus(str(corpus), report(corpus, "parquet", {"0"}), str(tmp_path / "one"), options)
    assert pq.read_table(tmp_path / "one" / "t.parquet")["x"].to_pylist() == [2]
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    for name in ("a/1.jpg", "a/2.jpg", "3.jpg"):
        (folder / name).write_bytes(b"\xff\xd8\xff\xe0" + name.encode())
    made = report(folder, "images", {"1.jpg"})
    found = filter_corpus(str(folder), made, str(tmp_path / "two"), FilterOptions("verdict = 'real'", "keep"))
    assert (found.kept, found.files) == (2, 1)
    assert set(read_tar(tmp_path / "two" / "000000.tar")) == {"a/2.jpg", "3.jpg"}


@pytest.mark.parametrize("condition", ["verdict ==", "no_such_column > 1", "1; DROP TABLE decided"])
def test_a_bad_condition_is_one_line_before_anything_is_written(shards: Path, report, tmp_path: Path, condition: str):
    reports, out = report(shards, "webdataset", set()), tmp_path / "clean"
    with pytest.raises(UsageError, match="--keep is not a condition") as refused:
        filter_corpus(str(shards), reports, str(out), FilterOptions(condition, layout="webdataset"))
    assert "\n" not in str(refused.value) and not out.exists()


def test_a_folder_of_another_filter_is_refused(shards: Path, report, tmp_path: Path):
    reports, out = report(shards, "webdataset", set()), tmp_path / "clean"
    filter_corpus(str(shards), reports, str(out), FilterOptions("verdict = 'real'", layout="webdataset"))
    with pytest.raises(UsageError, match="another filter"):
        filter_corpus(str(shards), reports, str(out), FilterOptions("verdict = 'fake'", layout="webdataset"))
    with pytest.raises(UsageError, match="drop, keep"):
        FilterOptions("true", "perhaps")


def test_dry_run_counts_and_writes_nothing(shards: Path, report, tmp_path: Path):
    options = FilterOptions("verdict = 'real'", layout="webdataset", dry_run=True)
    found = filter_corpus(str(shards), report(shards, "webdataset", {"00.jpg"}), str(tmp_path / "clean"), options)
    assert (found.kept, found.files) == (10, 3) and not (tmp_path / "clean").exists()


def test_a_list_of_what_stays(shards: Path, report, tmp_path: Path):
    reports, options = report(shards, "webdataset", {"00.jpg"}), FilterOptions("verdict = 'real'", layout="webdataset")
    text, table = tmp_path / "kept.txt", tmp_path / "kept.parquet"
    found = filter_corpus(str(shards), reports, str(text), options)
    assert found == FilterSummary(12, kept=10, dropped=2, without_row=1, files=1)
    listed = list_corpus(uris.place(str(shards)), "webdataset", LayoutOptions()).read_all()["item_id"].to_pylist()
    assert text.read_text().splitlines() == [one for one in listed if not one.endswith(("#00.jpg", "#23.jpg"))]
    dry = FilterOptions("verdict = 'real'", layout="webdataset", dry_run=True)
    assert filter_corpus(str(shards), reports, str(table), dry) == found and not table.exists()
    filter_corpus(str(shards), reports, str(table), options)
    assert pq.read_table(table)["item_id"].to_pylist() == text.read_text().splitlines()
    with pytest.raises(UsageError, match="32 hexadecimal digits"):
        filter_corpus(str(shards), reports, str(tmp_path / "kept.npy"), options)
    assert not (tmp_path / "kept.npy").exists()
    with pytest.raises(UsageError, match="lies in the corpus"):
        filter_corpus(str(shards), reports, str(shards / "kept.txt"), options)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_killed_five_times_the_copy_is_whole(tmp_path: Path, report, layout: str):
    corpus, out = tmp_path / "corpus", tmp_path / "clean"
    corpus.mkdir()
    for shard in range(6):
        images = {f"{shard}{i}.jpg": f"{shard}{i}".encode() * 999 for i in range(5)}
        if layout == "webdataset":
            write_tar(corpus / f"{shard}.tar", images)
        else:
            pq.write_table(pa.table({"image": list(images.values())}), corpus / f"{shard}.parquet")
    reports = report(corpus, layout, {"00.jpg", "31.jpg", "1"})
    arguments = [corpus, reports, "--keep", "verdict = 'real'", "--without-row", "keep", "--layout", layout]
    _, found = killed_filter([*arguments, "--out", out, "--json"], out)
    assert found["kept"] + found["dropped"] == found["listed"] == 30
    assert found["already_done"] >= 4
    if layout == "webdataset":
        kept = [member for path in sorted(out.glob("*.tar")) for member in read_tar(path).items()]
        there = [member for path in sorted(corpus.glob("*.tar")) for member in read_tar(path).items()]
        assert kept == [(name, data) for name, data in there if name not in ("00.jpg", "31.jpg")]
    else:
        kept, there = (pa.concat_tables(map(pq.read_table, sorted(p.glob("*.parquet")))) for p in (out, corpus))
        assert kept.equals(there.filter(pa.array([i % 5 != 1 for i in range(30)])))
    assert found["kept"] == len(kept)
