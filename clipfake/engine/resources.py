"""The one place that decides how many actors of which size a job gets, from what the cluster has."""

import logging
import math
from dataclasses import dataclass, replace

log = logging.getLogger(__name__)

CORES_PER_ENCODER = 4  # beyond this a CPU encoder gains more from a second model than from more threads
CORES_PER_PREPARER = 4  # decoding children beside one another under one actor, on machines with GPUs
ROWS_PER_CHUNK = {"cpu": 64, "gpu": 1024}  # rows a task of the pipeline handles: a second or two of work
STORED_ROWS_PER_CHUNK = 16_384  # of stored embeddings: a row group, so that each is read once
BATCH_SIZE = {"cpu": 32, "gpu": 256}


@dataclass(frozen=True)
class Node:
    """What one alive node of the cluster offers."""

    cpus: float
    gpus: float = 0.0
    address: str = ""


@dataclass(frozen=True)
class Layout:
    """How one pass over images is laid out on a cluster.

    preparers x preparer_cpus and encoders x (encoder_cpus, encoder_gpus) are logical resources and always fit beside
    one another, so that a job never waits for a CPU that its own actors hold (Ray 2.60 would wait for ever, silently).
    Without preparers the encoders read and decode themselves.
    """

    device: str  # "cpu" or "cuda"
    encoders: int
    encoder_cpus: float
    encoder_gpus: float
    encoder_threads: int
    preparers: int
    preparer_cpus: float
    decoders: int  # decoding child processes under each preparer, or under each encoder where there are no preparers
    batch_size: int
    chunk_rows: int


def plan_layout(nodes: list[Node], items: int, batch_size: int | None = None, views: int = 0) -> Layout:
    """The layout for `items` images, each with so many views, on `nodes`.

    With GPUs: one encoder a GPU, the other cores decode, those of nodes without a GPU too. Without: encoders of up to
    4 cores, on which decoding and the forward pass take turns. Never more actors than there are chunks of work.

    Raises ValueError where no node has a CPU.
    """
    nodes = [node for node in nodes if node.cpus > 0]
    if not nodes:
        raise ValueError("the cluster has no node with a CPU")
    gpus = int(sum(node.gpus for node in nodes))
    kind = "gpu" if gpus else "cpu"
    batch = batch_size or BATCH_SIZE[kind]
    chunk = _chunk_rows(batch * max(1, ROWS_PER_CHUNK[kind] // batch), batch, views)
    chunks = max(1, math.ceil(items / chunk))
    if gpus:
        # A core a GPU is left free for its encoder, but half of a node's cores decode at least. The encoders claim no
        # CPU: wherever Ray puts the preparers, they cannot keep an encoder from its GPU.
        spare = [max(node.cpus - node.gpus, node.cpus / 2) for node in nodes]
        size = min(float(CORES_PER_PREPARER), max(spare))
        preparers = min(sum(int(cpus // size) for cpus in spare), chunks)
        return Layout("cuda", min(gpus, chunks), 0.0, 1.0, 1, preparers, size, max(1, int(size)), batch, chunk)
    cores = max(1, min(CORES_PER_ENCODER, int(min(node.cpus for node in nodes))))
    encoders = min(sum(int(node.cpus // cores) or 1 for node in nodes), chunks)
    share = min(float(cores), min(node.cpus for node in nodes))
    return Layout("cpu", encoders, 0.9 * share, 0.0, cores, 0, 0.0, cores, batch, chunk)


def plan_rescoring(nodes: list[Node], items: int) -> Layout:
    """The layout for `items` stored embeddings on `nodes`: an actor a GPU, or one of one thread a core.

    Single threads share nothing: reading, scoring and handing over of one chunk go on beside those of the others.
    """
    chunks = max(1, math.ceil(items / STORED_ROWS_PER_CHUNK))
    layout = replace(plan_layout(nodes, items), preparers=0, chunk_rows=STORED_ROWS_PER_CHUNK)
    if layout.device == "cuda":
        return replace(layout, encoders=min(int(sum(node.gpus for node in nodes)), chunks))
    share = min(1.0, min(node.cpus for node in nodes if node.cpus > 0))
    actors = min(sum(int(node.cpus) or 1 for node in nodes if node.cpus > 0), chunks)
    return replace(layout, encoders=actors, encoder_cpus=0.9 * share, encoder_threads=1)


def _chunk_rows(images: int, batch: int, views: int) -> int:
    """The items whose images and views are about `images`: what a chunk holds does not grow with its items' views.

    From that number on up to twice as many, the one that leaves the smallest share of its last batch empty.
    """
    least = max(1, images // (1 + views))
    return min(range(least, 2 * least + 1), key=lambda rows: -rows * (1 + views) % batch / rows)


def cluster_nodes() -> list[Node]:
    """The alive nodes of the connected cluster."""
    import ray

    return [
        Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0), node["NodeManagerAddress"])
        for node in ray.nodes()
        if node["Alive"]
    ]


def tell_changes(seen: set[str], here: set[str]) -> None:
    """Says which nodes have come and gone since the last call, and keeps in `seen` those that are here."""
    if lost := sorted(seen - here):
        log.warning("nodes are gone: %s", ", ".join(lost))
    if seen and (new := sorted(here - seen)):
        log.info("nodes have come: %s", ", ".join(new))
    seen.clear()
    seen.update(here)
