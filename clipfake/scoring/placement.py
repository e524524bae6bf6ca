"""The one place that decides how many actors of which size a job gets, from what the cluster has."""

import math
from dataclasses import dataclass, replace

from clipfake.errors import UsageError
from clipfake.onray.nodes import Node

CORES_PER_ENCODER = 4  # at most: threads of one model wait for one another
MEMORY_PER_ENCODER = 6 << 30  # bytes that an encoder on CPU cores may need, where it is not known which one it is
CHUNKS_PER_ENCODER = 8  # at least, before a second process starts that saves no more time than it takes to start
CORES_PER_PREPARER = 4  # decoding children beside one another under one actor, on machines with GPUs
CORES_PER_CHECKER = 2  # the same where the GPUs decode and the children only check: they leave more to do above them
ROWS_PER_CHUNK = {"cpu": 64, "gpu": 1024}  # rows a task of the pipeline handles: a second or two of work
STORED_ROWS_PER_CHUNK = 16_384  # of stored embeddings: a row group, so that each is read once
BATCH_SIZE = {"cpu": 32, "gpu": 256}
SHARES_OF_A_GPU = 10_000  # Ray counts a GPU in ten thousandths


@dataclass(frozen=True)
class Placement:
    """How many actors of which size make one pass over images, and what each gets at a time.

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


def plan_placement(
    nodes: list[Node], items: int, batch_size: int | None = None, views: int = 0, encoders_per_gpu: int = 1,
    memory: int = MEMORY_PER_ENCODER, on_gpus: bool = False,
) -> Placement:  # fmt: skip
    """The placement for `items` images, each with so many views, on `nodes`.

    With GPUs: encoders_per_gpu a GPU, the other cores decode, those of nodes without a GPU too. Where JPEGs are decoded
    `on_gpus` those cores check them, and decode the rest. Without GPUs: encoders of a core each, on which decoding and
    the forward pass take turns; of up to 4 cores where memory or work is too little for so many: of `memory` bytes for
    each. Never more actors than there are chunks of work.

    Raises UsageError where no node has a CPU.
    """
    nodes = _with_cpus(nodes)
    gpus = sum(int(node.gpus) for node in nodes)
    kind = "gpu" if gpus else "cpu"
    batch = batch_size or BATCH_SIZE[kind]
    chunk = _chunk_rows(batch * max(1, ROWS_PER_CHUNK[kind] // batch), batch, views)
    chunks = max(1, math.ceil(items / chunk))
    if gpus:
        # A core is left free for each encoder, but half of a node's cores decode at least. The encoders claim no CPU:
        # wherever Ray puts the preparers, they cannot keep an encoder from its GPU.
        spare = [max(node.cpus - node.gpus * encoders_per_gpu, node.cpus / 2) for node in nodes]
        size = min(float(CORES_PER_CHECKER if on_gpus else CORES_PER_PREPARER), max(spare))
        preparers = min(sum(int(cpus // size) for cpus in spare), chunks)
        encoders, share = min(gpus * encoders_per_gpu, chunks), _share_of_gpu(encoders_per_gpu)
        return Placement("cuda", encoders, 0.0, share, 1, preparers, size, max(1, int(size)), batch, chunk)
    most = max(1, min(CORES_PER_ENCODER, int(min(node.cpus for node in nodes))))
    cores = next((cores for cores in range(1, most) if _room(nodes, cores, chunks, memory)), most)
    encoders = min(sum(int(node.cpus // cores) or 1 for node in nodes), chunks)
    share = min(float(cores), min(node.cpus for node in nodes))
    return Placement("cpu", encoders, 0.9 * share, 0.0, cores, 0, 0.0, cores, batch, chunk)


def plan_rescoring(nodes: list[Node], items: int, encoders_per_gpu: int = 1) -> Placement:
    """The placement for `items` stored embeddings: encoders_per_gpu actors a GPU, or one of one thread a core.

    Single threads share nothing: reading, scoring and handing over of one chunk go on beside those of the others.
    """
    nodes, chunks = _with_cpus(nodes), max(1, math.ceil(items / STORED_ROWS_PER_CHUNK))
    images = plan_placement(nodes, items, encoders_per_gpu=encoders_per_gpu)
    placement = replace(images, preparers=0, chunk_rows=STORED_ROWS_PER_CHUNK, encoders=min(images.encoders, chunks))
    if placement.device == "cuda":
        return placement
    share = min(1.0, min(node.cpus for node in nodes))
    actors = min(sum(int(node.cpus) or 1 for node in nodes), chunks)
    return replace(placement, encoders=actors, encoder_cpus=0.9 * share, encoder_threads=1)


def _with_cpus(nodes: list[Node]) -> list[Node]:
    """Those that can take part: an actor needs a CPU beside its GPU."""
    if able := [node for node in nodes if node.cpus > 0]:
        return able
    raise UsageError("the cluster has no node with a CPU: start one, or --scale-to N where an autoscaler brings them")


def _room(nodes: list[Node], cores: int, chunks: int, memory: int) -> bool:
    """Whether there are memory and chunks enough for encoders of so many cores on all of the nodes."""
    encoders = [int(node.cpus // cores) for node in nodes]
    fit = all(node.memory is None or n * memory <= node.memory for n, node in zip(encoders, nodes, strict=True))
    return fit and sum(encoders) * CHUNKS_PER_ENCODER <= chunks


def _share_of_gpu(encoders: int) -> float:
    """What one of so many encoders claims of a GPU: rounded down, so that all of them fit on it."""
    return SHARES_OF_A_GPU // encoders / SHARES_OF_A_GPU


def _chunk_rows(images: int, batch: int, views: int) -> int:
    """The items whose images and views are about `images`: what a chunk holds does not grow with its items' views.

    From that number on up to twice as many, the one that leaves the smallest share of its last batch empty.
    """
    least = max(1, images // (1 + views))
    return min(range(least, 2 * least + 1), key=lambda rows: -rows * (1 + views) % batch / rows)
