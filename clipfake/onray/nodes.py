"""The nodes of a cluster: what each offers, and which come and go."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """What one alive node of the cluster offers, or one that is to come, which has no address yet."""

    cpus: float
    gpus: float = 0.0
    address: str = ""
    memory: float | None = None  # bytes; None where nobody says


def cluster_nodes() -> list[Node]:
    """The alive nodes of the connected cluster."""
    import ray

    return [node_of(node["Resources"], node["NodeManagerAddress"]) for node in ray.nodes() if node["Alive"]]


def node_of(resources: Mapping[str, float], address: str = "") -> Node:
    """The node with these of Ray's logical resources."""
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0), address, resources.get("memory"))


def tell_changes(seen: set[str], here: set[str]) -> None:
    """Says which nodes have come and gone since the last call, and keeps in `seen` those that are here."""
    if lost := sorted(seen - here):
        log.warning("nodes are gone: %s", ", ".join(lost))
    if seen and (new := sorted(here - seen)):
        log.info("nodes have come: %s", ", ".join(new))
    seen.clear()
    seen.update(here)
