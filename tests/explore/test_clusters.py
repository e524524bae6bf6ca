"""Clusters of stored embeddings: what is committed, and what the summary says of it."""

import json
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import table_of

from clipfake.errors import UsageError
from clipfake.explore import clusters as module
from clipfake.explore.clusters import NEAREST, ClusterOptions, _Cluster, _shards, clusters
from clipfake.measures.kmeans import assign
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import embedding_schema
from clipfake.storage.store import Store


def _vectors(stored: Path) -> tuple[list[str], np.ndarray]:
    found = duckdb.sql(
        f"SELECT item_id, embedding FROM '{stored}/*.parquet' WHERE status = 'ok' AND view = 0 AND version = '1'"
    ).fetchall()
    return [name for name, _ in found], np.array([vector for _, vector in found])


@pytest.mark.slow
def test_clusters_are_kept_and_told_of(stored, tmp_path, warm_ray):
    found = clusters(str(stored), str(tmp_path / "one"), ClusterOptions(k=4))
    again = clusters(str(stored), str(tmp_path / "two"), ClusterOptions(k=4))
    assert found == again
    rows = duckdb.sql(f"SELECT item_id, cluster, cosine FROM '{tmp_path}/one/*.parquet'").fetchall()
    names, x = _vectors(stored)
    assert sorted(name for name, *_ in rows) == sorted(names)
    kept = {name: (cluster, cosine) for name, cluster, cosine in rows}
    assert {c["cluster"]: c["items"] for c in found["clusters"]} == {
        k: sum(cluster == k for cluster, _ in kept.values()) for k in range(4)
    }
    assert sum(c["reals"] + c["fakes"] for c in found["clusters"]) == 39
    # Where it stopped, each item lies with the centre of its own cluster, within what the last step still moves.
    member = np.array([kept[name][0] for name in names])
    centres = np.stack([x[member == k].mean(axis=0) for k in range(4)])
    centres = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
    mine = np.einsum("ij,ij->i", x, centres[member])
    assert np.all(assign(x.astype(np.float32), centres).cosine - mine < 1e-3)
    for one in found["clusters"]:
        best = max((cosine, name) for name, (cluster, cosine) in kept.items() if cluster == one["cluster"])
        assert kept[one["nearest"][0]][1] == pytest.approx(best[0])
    footer = read_footer(pq.read_schema(tmp_path / "one/part-000000.parquet").metadata)
    assert footer["kind"] == "clusters"
    assert json.loads(footer["options"])["k"] == 4
    with pytest.raises(UsageError, match="smaller --k"):
        clusters(str(stored), str(tmp_path / "three"), ClusterOptions(k=100))


ROW = st.tuples(st.floats(-1, 1, width=32), st.sampled_from([0, 1, None]), st.sampled_from("ab"))
ROWS = st.lists(ROW, max_size=12)


def counted(rows: list[tuple[float, int | None, str]]) -> _Cluster:
    """A cluster of these rows, named by their place among all."""
    found = _Cluster()
    for cosine, label, generator in rows:
        one = _Cluster()
        one.items, one.cosine, one.kinds = 1, cosine, Counter({(label, generator): 1})
        one.nearest = [(cosine, f"{cosine!r} {label} {generator}")]
        found.add(one)
    return found


@settings(max_examples=40)
@given(ROWS, st.integers(0, 12))
def test_a_cluster_is_the_same_however_its_rows_lie_in_shards(rows, cut):
    whole, parts = counted(rows), counted(rows[:cut])
    parts.add(counted(rows[cut:]))
    assert parts.described(3) == {**whole.described(3), "mean_cosine": pytest.approx(whole.described(3)["mean_cosine"])}
    found = whole.described(3)
    assert found["items"] == len(rows) and len(found["nearest"]) == min(NEAREST, len(rows))
    assert (found["reals"], found["fakes"]) == tuple(sum(label == kind for _, label, _ in rows) for kind in (0, 1))
    best = sorted((cosine for cosine, *_ in rows), reverse=True)[:NEAREST]
    assert [float(name.split()[0]) for name in found["nearest"]] == best


def test_shards_are_whole_row_groups_of_one_file_and_hold_every_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_ROWS", 10)
    schema = embedding_schema(2, "fp32")
    ledger = Ledger(Store(f"file://{tmp_path}"), "embeddings", schema, "e", {})
    for name, rows in (("a", 25), ("b", 3)):
        own = dict.fromkeys(("uri", "version", "status"), ["ok"] * rows)
        made = {"item_id": [f"{name}{i}" for i in range(rows)], "view": [0] * rows, **own}
        table = table_of(schema, made | {"embedding": [[1.0, float(i)] for i in range(rows)]})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=4)
    shards = _shards(ledger)
    assert all(len(shard.read()[1]) <= 10 + 4 for shard in shards)
    read = [shard.read(("item_id",)) for shard in shards]
    names = [name for table, _ in read for name in table["item_id"].to_pylist()]
    assert sorted(names) == sorted([*(f"a{i}" for i in range(25)), *(f"b{i}" for i in range(3))])
    assert [x[:, 1].tolist() for table, x in read] == [
        [float(name[1:]) for name in table["item_id"].to_pylist()] for table, _ in read
    ]
