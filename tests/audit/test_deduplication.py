"""Copies in a data set: what `drop` leaves has no copy, and what `group` names is never parted."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from clipfake.audit.deduplication import items_of, write_manifest_without
from clipfake.storage.footers import read_footer
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import Store

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, None]), st.sampled_from(["g", "h", None])), max_size=8
)


def table_of(rows) -> pa.Table:
    columns = {
        "item_id": pa.array([f"file:///{chr(122 - i)}" for i in range(len(rows))], pa.string()),  # z, y, x, ...
        "status": pa.array(["ok"] * len(rows), pa.string()),
        "label": pa.array([label for _, label, _ in rows], pa.int8()),
        "split": pa.array([None] * len(rows), pa.string()),
        "group_id": pa.array([group for *_, group in rows], pa.string()),
        "content_sha256": pa.array([content for content, *_ in rows], pa.string()),
    }
    return pa.table(columns)


@given(ROWS)
def test_drop_leaves_the_first_of_each_content_and_none_of_one_with_both_labels(rows):
    found = items_of(table_of(rows))
    expected = []
    for i, (content, label, _) in enumerate(rows):
        labels = {other for same, other, _ in rows if same == content} - {None}
        first = not any(same == content and other == label for same, other, _ in rows[i + 1 :])  # later names are less
        expected.append(len(labels) > 1 or not first)
    assert found.surplus.tolist() == expected


@given(ROWS)
def test_group_gives_copies_one_name_and_keeps_the_names_that_suffice(rows):
    found = items_of(table_of(rows))
    names = [new or old for new, (*_, old) in zip(found.new_groups, rows, strict=True)]
    for one, (content, _, group) in zip(names, rows, strict=True):
        for other, (same, _, beside) in zip(names, rows, strict=True):
            if content == same and sum(row[0] == content for row in rows) > 1:
                assert one == other is not None
            if group is not None and group == beside:
                assert one == other
    if len({content for content, *_ in rows}) == len(rows):
        assert set(found.new_groups) <= {None}


def test_the_findings_name_sets_with_both_labels_apart():
    found = items_of(table_of([("a", 0, None), ("a", 1, None), ("b", 0, None), ("b", 0, None), ("c", 1, None)]))
    exact = found.described()["exact"]
    assert (exact["sets"], exact["items"], exact["across_classes_sets"]) == (2, 4, 1)
    assert exact["with_both_labels"] == [["file:///z", "file:///y"]]
    assert exact["examples"] == [["file:///x", "file:///w"]]


def test_a_manifest_without_copies_keeps_what_could_not_be_read(tmp_path):
    rows = [("a", 0, None), ("a", 0, None), ("b", 1, "g")]
    found = items_of(table_of(rows))
    full = {name: [None] * 4 for name in MANIFEST_SCHEMA.names}
    full |= {"item_id": [*table_of(rows)["item_id"].to_pylist(), "file:///bad"], "uri": ["u"] * 4, "version": ["1"] * 4}
    listed = pa.table({f.name: pa.array(full[f.name], f.type) for f in MANIFEST_SCHEMA})
    listed = listed.append_column("status", pa.array(["ok", "ok", "ok", "corrupt"]))
    listed = listed.take([3, 0, 1, 2])  # the unreadable one stands before all others
    for how, kept, groups in (("drop", ["bad", "y", "x"], 0), ("group", ["bad", "z", "y", "x"], 2)):
        out = Store(f"file://{tmp_path}/{how}")
        assert write_manifest_without(found, iter(listed.to_batches()), out, how, {"of": "m"}) == len(kept)
        written = pq.read_table(tmp_path / how / "part-00000.parquet")
        assert [name.rpartition("/")[2] for name in written["item_id"].to_pylist()] == kept
        assert sum(name is not None for name in written["group_id"].to_pylist()) == groups
        assert read_footer(written.schema.metadata)["duplicates"] == how


def test_vectors_add_near_copies():
    x = np.array([[1, 0], [0.9999, 0.01], [-1, 0.5], [0, -2]], np.float32)
    found = replace(items_of(table_of([(content, 0, None) for content in "abcd"])), x=x)
    assert found.described()["exact"]["sets"] == 0
    assert found.described()["near"]["sets"] == 1
    assert found.near.members.tolist() == [True, True, False, False]
