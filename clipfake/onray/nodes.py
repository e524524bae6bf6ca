"""The nodes of a cluster: what each offers, and which come and go."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clipfake.errors import ClipfakeError
from clipfake.onray.connection import root_cause

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """What one alive node of the cluster offers, or one that is to come, which has no address yet."""

    cpus: float
    gpus: float = 0.0
    address: str = ""
    memory: float | None = None  # bytes; None where nobody says
    object_store: float = 0.0  # bytes
    id: str = ""  # by which Ray knows it


def cluster_nodes() -> list[Node]:
    """The alive nodes of the connected cluster."""
    import ray

    return [
        node_of(node["Resources"], node["NodeManagerAddress"], node["NodeID"]) for node in ray.nodes() if node["Alive"]
    ]


def node_of(resources: Mapping[str, float], address: str = "", node_id: str = "") -> Node:
    """The node with these of Ray's logical resources."""
    return Node(
        resources.get("CPU", 0.0),
        resources.get("GPU", 0.0),
        address,
        resources.get("memory"),
        resources.get("object_store_memory", 0.0),
        node_id,
    )


def ask_nodes(
    nodes: Sequence[Node], question: Callable[..., T], *arguments: object, timeout_s: float | None = None,
    gpus: float = 0.0,
) -> list[T | str]:  # fmt: skip
    """`question(*arguments)`, answered on each node, which needs no CPU for it; a str where there is no answer: why.

    timeout_s : seconds to wait for all of them; None: without end
    gpus : of each node that answering takes
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(question)
    there = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
    tasks = [remote.options(scheduling_strategy=strategy).remote(*arguments) for strategy in there]
    ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=timeout_s) if tasks else ([], [])
    answers: list[T | str] = []
    for task in tasks:
        if task not in ready:
            ray.cancel(task, force=True)
            answers.append(f"no answer in {timeout_s:g} s: it is out of reach, or its GPU is held by another job")
            continue
        try:
            answers.append(ray.get(task))
        except Exception as error:  # of Ray, which has many
            answers.append(str(error) if isinstance(error, ClipfakeError) else root_cause(error))
    return answers


def tell_changes(seen: set[str], here: set[str]) -> None:
    """Says which nodes have come and gone since the last call, and keeps in `seen` those that are here."""
    if lost := sorted(seen - here):
        log.warning("nodes are gone: %s", ", ".join(lost))
    if seen and (new := sorted(here - seen)):
        log.info("nodes have come: %s", ", ".join(new))
    seen.clear()
    seen.update(here)
