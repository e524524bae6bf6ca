"""What the nodes offer and answer, and who comes and goes."""

import logging
import os
import time

import pytest

from clipfake.errors import UsageError
from clipfake.onray.nodes import ask_nodes, cluster_nodes, node_of, tell_changes


def where(number: int) -> int:
    if number == 0:
        raise UsageError("zero has no place")
    if number < 0:
        time.sleep(60)
    return os.getpid()


def test_a_node_of_ray_resources():
    node = node_of({"CPU": 4.0, "GPU": 1.0, "memory": 8e9, "object_store_memory": 2e9}, "10.0.0.1", "abc")
    assert (node.cpus, node.gpus, node.memory, node.object_store, node.id) == (4.0, 1.0, 8e9, 2e9, "abc")
    assert node_of({}).memory is None


def test_comings_and_goings_are_told_once(caplog):
    caplog.set_level(logging.INFO, "clipfake")
    seen: set[str] = set()
    for here in ({"a", "b"}, {"a", "c"}, {"a", "c"}):
        tell_changes(seen, here)
    assert caplog.messages == ["nodes are gone: b", "nodes have come: c"]


@pytest.mark.slow
def test_each_node_answers_or_says_why_not(warm_ray):
    nodes = cluster_nodes()
    assert [node.cpus for node in nodes] == [2.0]
    (pid,) = ask_nodes(nodes, where, 1)
    assert isinstance(pid, int)
    assert pid != os.getpid()
    assert ask_nodes(nodes, where, 0)[0].endswith("zero has no place")  # type: ignore[union-attr]
    assert ask_nodes(nodes, where, -1, timeout_s=3.0)[0].startswith("no answer in 3 s")  # type: ignore[union-attr]
    assert ask_nodes([], where, 1) == []
