"""A run that is laid out for more nodes than there are: an autoscaler brings them, they work, and they go again."""

import json
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from chaos import Run, check_whole, copy_images, halt_encoders, kill_tree, wait_for_nodes
from ray._raylet import GcsClient
from ray.autoscaler._private.monitor import BASE_READONLY_CONFIG

from clipfake.onray.autoscaling import with_nodes_to_come
from clipfake.onray.nodes import Node
from clipfake.scoring.options import JobOptions, ScanOptions
from clipfake.scoring.score import score
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store

ITEMS = 112  # 7 units
HEAD_STARTS = 3


@pytest.mark.parametrize(
    ("here", "scale_to", "planned"),
    [
        ([Node(4)], 1, [Node(4)]),
        ([Node(4)], 3, [Node(4)] * 3),
        ([Node(4)] * 3, 2, [Node(4)] * 3),  # what is there is used, whatever it is scaled to
        ([Node(0), Node(4, 0, "a")], 2, [Node(0), Node(4, 0, "a"), Node(4)]),  # a head without CPUs does not count
        ([Node(64), Node(8, 1)], 4, [Node(64), Node(8, 1), Node(8, 1), Node(8, 1)]),
        ([Node(4), Node(16)], 3, [Node(4), Node(16), Node(16)]),
        ([Node(0, 1)], 3, [Node(0, 1)]),
        ([], 3, []),
    ],
)
def test_nodes_to_come_look_like_the_largest(here, scale_to, planned):
    assert with_nodes_to_come(here, scale_to) == planned


@pytest.mark.slow
def test_nodes_that_never_come_keep_nobody_waiting(warm_ray, pictures, packed_detector, tmp_path):
    options = ScanOptions(job=JobOptions(scale_to=3, unit_rows=8))
    outcome = score(str(pictures), str(packed_detector), str(tmp_path / "out"), options, lambda n: lambda k: None)
    assert outcome.totals.rows == 40
    assert len(outcome.record["nodes"]) == 1


@pytest.fixture
def autoscaled(ray_node, free_port, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a cluster whose head has no CPU, and whose autoscaler brings up to 3 nodes of one; the head."""
    monkeypatch.setenv("RAY_FAKE_CLUSTER", "1")
    monkeypatch.setenv("AUTOSCALER_UPDATE_INTERVAL_S", "1")
    file = tmp_path / "autoscaler.json"
    for attempt in range(HEAD_STARTS):  # a port may be taken meanwhile, and Ray gives up where it starts slowly
        address = f"127.0.0.1:{free_port()}"
        file.write_text(json.dumps(autoscaler(address)))
        head = ray_node(
            "--head", "--num-cpus=0", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false",
            f"--autoscaling-config={file}", "--object-store-memory=100000000",
        )  # fmt: skip
        try:
            wait_for_nodes(address, 1)
            break
        except TimeoutError:
            kill_tree(head.pid)
            if attempt == HEAD_STARTS - 1:
                raise
    monkeypatch.setenv("RAY_ADDRESS", address)
    yield address, psutil.Process(head.pid)
    kill_tree(head.pid)  # asked to end, nodes without their head take half a minute


def autoscaler(address: str) -> dict:
    """Ray's configuration of nodes that are processes of this machine."""
    worker = {"CPU": 1, "object_store_memory": 100_000_000}
    provider = {"type": "fake_multinode", "gcs_address": address, "launch_multiple": True}
    return {
        **BASE_READONLY_CONFIG,
        "max_workers": 3,
        "idle_timeout_minutes": 0.5,
        "provider": {**BASE_READONLY_CONFIG["provider"], **provider, "disable_node_updaters": True},
        "available_node_types": {
            **BASE_READONLY_CONFIG["available_node_types"],
            "worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": 3},
        },
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_come_from_nothing_work_and_go(autoscaled, crawl, packed_detector, tmp_path):
    address, head = autoscaled
    corpus = copy_images(crawl, tmp_path / "corpus", ITEMS)
    run = Run(str(corpus), packed_detector, Store(f"file://{tmp_path}/out"), options=("--scale-to", "2"))
    process = run.start()
    # The first node's encoder waits for the second's, so that it does not do all the work before.
    assert run.wait_for(process, lambda: len({one.pid for one in halt_encoders(head.pid)}) == 2), process.communicate()
    for encoder in halt_encoders(head.pid):
        encoder.resume()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "waiting for a first one" in output
    check_whole(run, ITEMS)
    table = run.read()
    assert table.num_rows == ITEMS
    assert set(table["status"].to_pylist()) == {"ok"}
    (record,) = read_records(run.store)
    (node,) = record["by_node"].values()  # both are on this machine
    assert node["actors"] == 2
    # Nothing asks for the nodes any more.
    assert wait_until(lambda: len(alive(address)) == 1), alive(address)


def alive(address: str) -> list[str]:
    nodes = GcsClient(address=address).get_all_node_info().values()
    return [node.node_id.hex() for node in nodes if node.state == node.ALIVE]


def wait_until(condition: Callable[[], bool], timeout_s: float = 150) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return met
