"""The precision of a run, decided once for all of its nodes."""

import logging
import os

from clipfake.encoder.precision import AUTO, Machine, Precision, fastest, this_machine
from clipfake.english import counted
from clipfake.errors import ClipfakeError
from clipfake.onray.connection import at_hand, connected
from clipfake.onray.nodes import ask_nodes, cluster_nodes
from clipfake.scoring.executor import InProcess, Session

log = logging.getLogger(__name__)


def chosen_precision(precision: str, session: Session | None = None) -> Precision:
    """`precision`; for "auto" the fastest that all nodes which will encode have.

    session : waits for the one that is being opened; its nodes are asked. Without one, those of the cluster that is
        named, and where none is, this machine is all there is.
    """
    if precision != AUTO:
        return precision  # type: ignore[return-value]  # checked where the options were made
    if session is not None:
        session.wait()
    if isinstance(session, InProcess):
        machines, device = [this_machine()], "cpu"
    elif at_hand():
        with connected():
            machines, device = _ask_encoding_nodes()
    else:
        here = this_machine()
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles")
        machines, device = [here], "cuda" if here.gpus and not hidden else "cpu"
    found = fastest(machines, device)
    log.info("the precision is %s, which %s can do fast (%s)", found, counted(len(machines), "node"), device)
    return found


def _ask_encoding_nodes() -> tuple[list[Machine], str]:
    """The machines that will encode, and on which device: those with GPUs if there are any, as in `plan_placement`."""
    nodes = cluster_nodes()
    with_gpus = [node for node in nodes if node.gpus > 0]
    able = with_gpus or [node for node in nodes if node.cpus > 0]
    machines: list[Machine] = []
    for node, answer in zip(able, ask_nodes(able, this_machine), strict=True):
        if isinstance(answer, str):
            raise ClipfakeError(f"the node {node.address} does not say which precision is fast there: {answer}")
        machines.append(answer)
    return machines, "cuda" if with_gpus else "cpu"
