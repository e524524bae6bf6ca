"""Nodes that are not there yet: the work is laid out for them, and that is what brings them.

An autoscaler looks at the actors that find no room. A pool that is laid out for more nodes than there are thus asks for
them by itself, its actors start as they come, and the demand ends with the pool, however that ends.
`ray.autoscaler.sdk.request_resources` would not do: Ray Data calls it every 20 s, and the last call counts.
"""

import logging
from dataclasses import replace

from clipfake.english import counted
from clipfake.errors import ClipfakeError
from clipfake.onray.nodes import Node, cluster_nodes

log = logging.getLogger(__name__)


def nodes_to_plan_for(scale_to: int | None, patience_s: float) -> list[Node]:
    """The cluster's nodes, and those to come until there are `scale_to` with a CPU; None: those that are there.

    What comes looks like what is there. So where no node has a CPU, one is asked for, and waited for.

    Raises ClipfakeError where it does not come within `patience_s`.
    """
    here = cluster_nodes()
    if scale_to is None:
        return here
    if not any(node.cpus for node in here):
        _first_node(patience_s)
        here = cluster_nodes()
    return with_nodes_to_come(here, scale_to)


def with_nodes_to_come(nodes: list[Node], scale_to: int) -> list[Node]:
    """`nodes`, and copies of the largest of them (by GPUs, then CPUs), until `scale_to` have a CPU."""
    able = [node for node in nodes if node.cpus > 0]
    missing = scale_to - len(able)
    if not able or missing <= 0:
        return nodes
    largest = max(able, key=lambda node: (node.gpus, node.cpus))
    log.info(
        "planning for %s still to come, of %g CPUs and %g GPUs each",
        counted(missing, "node"),
        largest.cpus,
        largest.gpus,
    )
    return [*nodes, *[replace(largest, address="", id="")] * missing]


def _first_node(patience_s: float) -> None:
    """Waits until a task of one CPU has found a node; that it waits is what the autoscaler sees."""
    import ray

    log.info("no node has a CPU: waiting for a first one, %g s at most", patience_s)
    task = ray.remote(num_cpus=1)(lambda: None).remote()
    if not ray.wait([task], timeout=patience_s)[0]:
        ray.cancel(task)
        raise ClipfakeError(
            f"no node with a CPU came in {patience_s:g} s: see `ray status` for what the autoscaler does, raise "
            "--stall-timeout where nodes take longer"
        )
