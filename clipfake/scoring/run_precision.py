"""The precision of a run, and the decoder of a new embedding: decided once for all nodes that will encode."""

import logging
import os
from collections.abc import Callable
from typing import Final, TypeVar

from clipfake.encoder.precision import AUTO, Precision, fastest, this_machine
from clipfake.english import counted
from clipfake.errors import ClipfakeError
from clipfake.images.resize import FAST_2, GPU_1
from clipfake.onray.connection import at_hand, connected
from clipfake.onray.nodes import ask_nodes, cluster_nodes
from clipfake.scoring.executor import InProcess, Session

log = logging.getLogger(__name__)

T = TypeVar("T")
_HIDDEN: Final = ("", "-1", "NoDevFiles")  # what CUDA_VISIBLE_DEVICES says where no GPU may be seen


def chosen_precision(precision: str, session: Session | None = None) -> Precision:
    """`precision`; for "auto" the fastest that all nodes which will encode have.

    session : waits for the one that is being opened; its nodes are asked. Without one, those of the cluster that is
        named, and where none is, this machine is all there is.
    """
    if precision != AUTO:
        return precision  # type: ignore[return-value]  # checked where the options were made
    machines, device = _encoding_nodes(this_machine, session)
    found = fastest(machines, device)
    log.info("the precision is %s, which %s can do fast (%s)", found, counted(len(machines), "node"), device)
    return found


def chosen_decoder(decoder: str, session: Session | None = None) -> str:
    """`decoder`; for "auto" the one that costs the cores least where images are encoded.

    That is "gpu-1" where they are encoded on GPUs and torchvision is built for these, else "fast-2".
    """
    if decoder != AUTO:
        return decoder
    from clipfake.images.device_decoder import built_for_gpus

    able, device = _encoding_nodes(built_for_gpus, session)
    found = GPU_1 if device == "cuda" and all(able) else FAST_2
    log.info("the decoder is %s, for images that are encoded on %s", found, device)
    return found


def _encoding_nodes(question: Callable[[], T], session: Session | None) -> tuple[list[T], str]:
    """The answers of the nodes that will encode, and on which device they will."""
    if session is not None:
        session.wait()
    if isinstance(session, InProcess):
        return [question()], "cpu"
    if at_hand():
        with connected():
            return _asked(question)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in _HIDDEN
    return [question()], "cuda" if this_machine().gpus and not hidden else "cpu"


def _asked(question: Callable[[], T]) -> tuple[list[T], str]:
    """The same of a cluster: those with GPUs if there are any, as in `plan_placement`."""
    nodes = cluster_nodes()
    with_gpus = [node for node in nodes if node.gpus > 0]
    able = with_gpus or [node for node in nodes if node.cpus > 0]
    answers: list[T] = []
    for node, answer in zip(able, ask_nodes(able, question), strict=True):
        if isinstance(answer, str):
            raise ClipfakeError(f"the node {node.address} does not say what is fast there: {answer}")
        answers.append(answer)
    return answers, "cuda" if with_gpus else "cpu"
