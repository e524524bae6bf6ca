"""Tasks list what threads would, whatever becomes of them: each item once, in order, and what was skipped."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tars import write_tar

from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import list_corpus
from clipfake.corpus.tally import CUT_CONTAINER, Tally
from clipfake.errors import UsageError
from clipfake.scoring import containers
from clipfake.scoring.containers import look, on_nodes
from clipfake.storage import uri as uris

JPEG = b"\xff\xd8\xff\xe0" + bytes(200)
Looks = Callable[[int, Tally], Iterator[tuple[int, int]]]


@pytest.fixture
def cluster(warm_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that passes for one of two nodes."""
    monkeypatch.setattr(containers, "_nodes", lambda: 2)
    monkeypatch.setattr(containers, "FEW", 1)
    monkeypatch.setattr(containers, "TASKS_A_NODE", 1)
    monkeypatch.setattr(containers, "PART", 3)


def shards(folder: Path) -> None:
    for number in range(5):
        write_tar(folder / f"{number}.tar", {f"{i}.{end}": JPEG for i in range(4) for end in ("jpg", "cls", "x.jpg")})
    (folder / "3.tar").write_bytes((folder / "3.tar").read_bytes()[:4_000])


def tables(folder: Path) -> None:
    for number in range(4):
        pq.write_table(pa.table({"image": [JPEG] * 5, "caption": ["c"] * 5}), folder / f"{number}.parquet")
    (folder / "2.parquet").write_bytes(b"PAR1, and no more")


@pytest.mark.parametrize(("layout", "make"), [("webdataset", shards), ("parquet", tables)])
def test_tasks_list_what_threads_do_and_count_what_they_count(cluster, layout, make, tmp_path) -> None:
    make(tmp_path)
    (tmp_path / "notes.txt").write_text("none of it")
    place, options = uris.from_path(str(tmp_path)), LayoutOptions()
    here, there = Tally(), Tally()
    expected = list_corpus(place, layout, options, here).read_all()
    assert list_corpus(place, layout, options, there, on_nodes).read_all() == expected
    assert expected.num_rows > 10 and here.lost == 1
    assert (there.skipped, there.warnings) == (here.skipped, here.warnings)


def listed(items: Looks, count: int) -> tuple[list[tuple[int, int]], Tally]:
    tally = Tally()
    return list(on_nodes(items, range(count), tally)), tally


EXPECTED = [(one, i) for one in range(4) for i in range(8)]


def test_a_task_whose_process_dies_is_done_again_from_where_it_was(cluster, tmp_path) -> None:
    flag = str(tmp_path / "died")

    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        tally.skip("first", "file:///a")
        for number in range(8):
            if (one, number) == (2, 7) and not os.path.exists(flag):  # noqa: PTH110
                Path(flag).touch()
                os._exit(1)
            yield one, number
        tally.skip("last", "file:///a")

    found, tally = listed(items, 4)
    assert Path(flag).exists() and found == EXPECTED
    assert tally.skipped == {"first": 4, "last": 4}


def test_tasks_of_a_session_that_was_replaced_are_done_again(cluster, monkeypatch) -> None:
    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        return ((one, number) for number in range(8))

    sessions = iter(["1", "1", "1", "1", "2"])  # two begin, one of them comes, and then
    monkeypatch.setattr(containers, "_session", lambda: next(sessions, "2"))
    assert listed(items, 4)[0] == EXPECTED


def test_what_no_task_can_do_this_process_does(cluster) -> None:
    here = os.getpid()

    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        if os.getpid() != here:
            raise OSError("no such file on this node")
        return ((one, number) for number in range(8))

    assert listed(items, 4)[0] == EXPECTED


def test_what_a_node_cannot_read_whole_this_process_reads(cluster) -> None:
    here = os.getpid()

    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        for number in range(8):
            if one == 2 and number == 5 and os.getpid() != here:
                tally.warn(CUT_CONTAINER, "file:///c.tar", "it breaks off")
                return
            yield one, number

    found, tally = listed(items, 4)
    assert (found, tally.warnings) == (EXPECTED, {})


def test_a_task_that_hangs_is_given_up(cluster, monkeypatch) -> None:
    monkeypatch.setattr(containers, "PATIENCE_S", 3.0)
    here = os.getpid()

    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        if one == 1 and os.getpid() != here:
            time.sleep(600)
        return ((one, number) for number in range(8))

    assert listed(items, 2)[0] == EXPECTED[:16]


def test_what_is_wrong_with_a_container_is_said_in_its_turn(cluster) -> None:
    def items(one: int, tally: Tally) -> Iterator[int]:
        if one == 2:
            raise UsageError("2 has no column with image bytes")
        yield one

    found = on_nodes(items, range(4), Tally())
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(UsageError, match="2 has no column"):
        next(found)


def test_without_another_node_all_is_done_here(monkeypatch) -> None:
    monkeypatch.setattr(containers, "FEW", 2)
    monkeypatch.setattr(containers, "_nodes", lambda: 1)

    def items(one: int, tally: Tally) -> Iterator[tuple[int, int]]:
        tally.skip("file", "file:///a")
        return ((one, number) for number in range(8))

    found, tally = listed(items, 4)
    assert found == EXPECTED and tally.skipped == {"file": 4}


@pytest.mark.parametrize("given", [0, 1, 5, 6, 7])
def test_a_part_comes_with_what_was_counted_on_the_way_to_it(given) -> None:
    def items(one: int, tally: Tally) -> Iterator[int]:
        for number in range(7):
            tally.skip(str(number), "file:///a")
            yield number

    parts = [(list(part), sorted(counted.skipped)) for part, counted in look(items, 0, given, 2)]
    assert [number for part, _ in parts for number in part] == list(range(given, 7))
    assert all(counted == [str(number) for number in part] for part, counted in parts)
