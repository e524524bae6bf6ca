"""A placement for each shape of cluster: it always fits, so that no job waits for what its own actors hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfake.errors import UsageError
from clipfake.onray.nodes import Node, tell_changes
from clipfake.scoring.options import ENCODERS_PER_GPU_LIMIT
from clipfake.scoring.placement import plan_placement, plan_rescoring
from clipfake.storage.ledger import ROW_GROUP_ROWS

MANY, GB = 1 << 30, 1 << 30


@given(
    nodes=st.lists(
        st.builds(Node, st.integers(1, 256).map(float), st.integers(0, 8).map(float)), min_size=1, max_size=8
    ),
    items=st.integers(1, 10**9),
    per_gpu=st.integers(1, 16),
)
def test_all_actors_fit_beside_one_another(nodes, items, per_gpu):
    placement = plan_placement(nodes, items, encoders_per_gpu=per_gpu)
    cpus = placement.encoders * placement.encoder_cpus + placement.preparers * placement.preparer_cpus
    assert cpus <= sum(node.cpus for node in nodes)
    assert placement.encoders * placement.encoder_gpus <= sum(node.gpus for node in nodes) + 1e-6
    assert min(placement.encoders, placement.decoders, placement.encoder_threads) >= 1
    assert placement.chunk_rows % placement.batch_size == 0
    if placement.device == "cpu":  # each encoder fits on the node that it is meant for
        assert placement.preparers == 0
        assert placement.encoder_cpus < min(node.cpus for node in nodes)
    else:
        assert 1 <= placement.preparers <= sum(node.cpus // placement.preparer_cpus for node in nodes)


@given(
    cpus=st.integers(2, 256),
    gpus=st.integers(1, 8),
    others=st.lists(st.integers(1, 256).map(lambda cpus: Node(float(cpus))), max_size=4),
)
def test_beside_gpus_all_cores_but_one_a_gpu_decode(cpus, gpus, others):
    """So the GPU waits for pixels only where the cores cannot give more."""
    placement = plan_placement([Node(float(cpus), float(gpus)), *others], MANY)
    spare = max(cpus - gpus, cpus / 2)
    assert placement.encoders == gpus
    assert placement.preparers >= 1
    # At most what does not fill a whole preparer on a node is left idle.
    left = sum(n - placement.preparer_cpus * (n // placement.preparer_cpus) for n in [spare, *(o.cpus for o in others)])
    assert placement.preparers * placement.preparer_cpus + left >= spare
    assert (
        placement.preparers * placement.decoders <= spare + sum(other.cpus for other in others)
        or placement.decoders == 1
    )


@pytest.mark.parametrize(
    ("nodes", "encoders", "threads", "preparers", "decoders"),
    [
        ([Node(1)], 1, 1, 0, 1),
        ([Node(2)], 2, 1, 0, 1),
        ([Node(2, memory=16 * GB)], 2, 1, 0, 1),
        ([Node(2, memory=9 * GB)], 1, 2, 0, 2),
        ([Node(4, memory=12 * GB)], 2, 2, 0, 2),
        ([Node(4, memory=2 * GB)], 1, 4, 0, 4),
        ([Node(16, memory=96 * GB)], 16, 1, 0, 1),
        ([Node(16, memory=41 * GB)], 5, 3, 0, 3),
        ([Node(64, memory=200 * GB)], 32, 2, 0, 2),
        ([Node(256, memory=64 * GB)], 64, 4, 0, 4),
        ([Node(8, memory=48 * GB)] * 3, 24, 1, 0, 1),
        ([Node(8, memory=48 * GB), Node(8, memory=24 * GB)], 8, 2, 0, 2),
        ([Node(16, 1)], 1, 1, 3, 4),
        ([Node(64, 8)], 8, 1, 14, 4),
        ([Node(256, 8)], 8, 1, 62, 4),
        ([Node(8, 1), Node(64)], 1, 1, 17, 4),
        ([Node(4, 8)], 8, 1, 1, 2),
    ],
)
def test_shapes(nodes, encoders, threads, preparers, decoders):
    placement = plan_placement(nodes, MANY)
    assert (placement.encoders, placement.encoder_threads, placement.preparers, placement.decoders) == (
        encoders,
        threads,
        preparers,
        decoders,
    )
    assert placement.device == ("cuda" if any(node.gpus for node in nodes) else "cpu")


@pytest.mark.parametrize(
    ("nodes", "per_gpu", "encoders", "preparers", "checkers"),
    [
        ([Node(2, 1)], 1, 1, 1, 1),
        ([Node(16, 1)], 1, 1, 7, 2),
        ([Node(16, 1)], 7, 7, 4, 2),
        ([Node(64, 8)], 1, 8, 28, 2),
        ([Node(256, 8)], 1, 8, 124, 2),
        ([Node(8, 1), Node(64)], 1, 1, 35, 2),
        ([Node(4, 8)], 1, 8, 1, 2),
        ([Node(16)], 1, 16, 0, 1),
    ],
)
def test_where_gpus_decode_the_cores_beside_them_check(nodes, per_gpu, encoders, preparers, checkers):
    placement = plan_placement(nodes, MANY, encoders_per_gpu=per_gpu, on_gpus=True)
    assert (placement.encoders, placement.preparers, placement.decoders) == (encoders, preparers, checkers)
    assert placement.preparers * placement.preparer_cpus <= sum(node.cpus for node in nodes)
    other = plan_placement(nodes, MANY, encoders_per_gpu=per_gpu)
    assert (placement.encoder_gpus, placement.batch_size, placement.chunk_rows) == (
        other.encoder_gpus,
        other.batch_size,
        other.chunk_rows,
    )


@pytest.mark.parametrize(
    ("nodes", "per_gpu", "encoders", "share", "preparers", "decoders"),
    [
        ([Node(16, 1)], 1, 1, 1.0, 3, 4),
        ([Node(16, 1)], 2, 2, 0.5, 3, 4),
        ([Node(16, 1)], 3, 3, 0.3333, 3, 4),
        ([Node(16, 1)], 7, 7, 0.1428, 2, 4),
        ([Node(4, 1)], 4, 4, 0.25, 1, 2),
        ([Node(64, 8)], 2, 16, 0.5, 12, 4),
        ([Node(8, 1), Node(64)], 2, 2, 0.5, 17, 4),
        ([Node(8, 1), Node(8, 1)], 2, 4, 0.5, 2, 4),
        ([Node(16)], 2, 16, 0.0, 0, 1),
    ],
)
def test_shapes_where_encoders_share_a_gpu(nodes, per_gpu, encoders, share, preparers, decoders):
    placement = plan_placement(nodes, MANY, encoders_per_gpu=per_gpu)
    assert (placement.encoders, placement.encoder_gpus, placement.preparers, placement.decoders) == (
        encoders,
        share,
        preparers,
        decoders,
    )
    gpus = sum(node.gpus for node in nodes)
    assert plan_rescoring(nodes, MANY, per_gpu).encoders == (gpus * per_gpu or 16)
    assert plan_rescoring(nodes, MANY, per_gpu).encoder_gpus == share


@given(per_gpu=st.integers(1, ENCODERS_PER_GPU_LIMIT))
def test_encoders_that_share_a_gpu_fit_on_it_as_ray_counts(per_gpu):
    """Ray rounds a claim to ten thousandths of a GPU: seven of 1/7 would be more than one."""
    claim = plan_placement([Node(16, 1)], 1 << 50, encoders_per_gpu=per_gpu).encoder_gpus
    assert 0 < per_gpu * round(claim * 10_000) <= 10_000


@pytest.mark.parametrize(
    ("nodes", "actors", "cpus", "threads"),
    [
        ([Node(0.5)], 1, 0.45, 1),
        ([Node(2)], 2, 0.9, 1),
        ([Node(16), Node(8)], 24, 0.9, 1),
        ([Node(8, 2)], 2, 0.0, 1),
    ],
)
def test_stored_embeddings_are_scored_by_an_actor_a_core_or_gpu(nodes, actors, cpus, threads):
    placement = plan_rescoring(nodes, MANY)
    assert (placement.encoders, placement.encoder_cpus, placement.encoder_threads) == (actors, cpus, threads)
    assert placement.encoders * placement.encoder_cpus <= sum(node.cpus for node in nodes)
    assert placement.chunk_rows == ROW_GROUP_ROWS  # so each row group is read once
    assert plan_rescoring(nodes, ROW_GROUP_ROWS).encoders == 1


def test_a_small_job_starts_no_actor_without_work():
    assert plan_placement([Node(64)], 65).encoders == 2
    assert plan_placement([Node(64, 8)], 1).encoders == 1


@pytest.mark.parametrize(("chunks", "encoders", "threads"), [(1, 1, 2), (15, 1, 2), (16, 2, 1)])
def test_a_second_process_starts_where_it_pays(chunks, encoders, threads):
    placement = plan_placement([Node(2)], 64 * chunks)
    assert (placement.encoders, placement.encoder_threads) == (encoders, threads)


@pytest.mark.parametrize("plan", [plan_placement, plan_rescoring])
@pytest.mark.parametrize("nodes", [[], [Node(0, 1)]])
def test_a_cluster_without_cpus_is_said(plan, nodes):
    with pytest.raises(UsageError, match="no node with a CPU"):
        plan(nodes, 1)


@given(
    node=st.builds(Node, st.integers(1, 64).map(float), st.integers(0, 4).map(float)),
    views=st.integers(0, 128),
    batch=st.none() | st.integers(1, 600),
)
def test_what_a_chunk_holds_does_not_grow_with_the_views_of_its_items(node, views, batch):
    plain, placement = plan_placement([node], MANY, batch), plan_placement([node], MANY, batch, views)
    images = placement.chunk_rows * (1 + views)
    assert placement.chunk_rows >= 1
    assert images <= 2 * max(plain.chunk_rows, 1 + views)
    assert images > plain.chunk_rows / 2 or views == 0


@pytest.mark.parametrize(("views", "rows"), [(0, 64), (1, 32), (2, 32), (3, 16), (45, 2), (53, 1), (63, 1), (127, 1)])
def test_a_chunk_of_views_fills_its_batches(views, rows):
    placement = plan_placement([Node(2)], MANY, None, views)
    assert placement.chunk_rows == rows
    images = rows * (1 + views)
    assert -images % placement.batch_size < 0.2 * images


def test_nodes_that_come_and_go_are_named(caplog):
    caplog.set_level("INFO")
    seen: set[str] = set()
    for here in ({"a", "b"}, {"a", "b"}, {"b", "c"}):
        tell_changes(seen, here)
    assert caplog.messages == ["nodes are gone: a", "nodes have come: c"]
    assert seen == {"b", "c"}
