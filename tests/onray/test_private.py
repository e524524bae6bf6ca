"""Ray's private parts still do what this package uses them for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from clipfake.onray import private


def test_blocks_reach_the_actors_whole_and_as_arrow():
    given = {}
    dataset = SimpleNamespace(
        map_batches_internal=lambda actor, **options: given.update(options, actor=actor) or "mapped"
    )
    assert private.map_blocks(dataset, dict, num_gpus=1) == "mapped"
    assert given == {"actor": dict, "batch_size": None, "batch_format": "pyarrow", "num_gpus": 1}


@pytest.fixture
def head():
    """head(status) -> the address of a head that answers to all who ask whether it is alive with that gRPC status."""
    servers = []

    def start(status: grpc.StatusCode) -> str:
        def answer(request, context):
            context.abort(status, "no")

        calls = {"CheckAlive": grpc.unary_unary_rpc_method_handler(answer)}
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", calls),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)


def test_a_head_that_asks_for_another_token_is_told_from_one_that_fails(head):
    assert private.refuses_token(head(grpc.StatusCode.UNAUTHENTICATED), 30.0)
    with pytest.raises(grpc.RpcError) as failed:
        private.refuses_token(head(grpc.StatusCode.INTERNAL), 30.0)
    assert failed.value.code() is grpc.StatusCode.INTERNAL


@pytest.mark.slow
def test_of_a_connected_session(warm_ray):
    import ray

    assert Path(private.session_folder()).is_dir()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    free = private.free_resources()
    assert set(free) == set(nodes)
    assert sum(found.get("CPU", 0.0) for found in free.values()) <= ray.cluster_resources()["CPU"]
