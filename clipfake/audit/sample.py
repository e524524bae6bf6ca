"""Reading a sample of a manifest's images on Ray: each one's facts and a thumbnail, from one pass over its bytes."""

from collections.abc import Callable, Iterator

import pyarrow as pa

from clipfake.audit.content import THUMBNAIL
from clipfake.images.preprocess import Preprocess
from clipfake.onray.connection import connected, failures_told
from clipfake.onray.nodes import cluster_nodes
from clipfake.scoring.score import ScanOptions, reading
from clipfake.scoring.stages import Prepare, PrepareOptions

CHUNK_ROWS = 256
_ACTORS = 64  # reading a sample takes a minute on so many
_SQUARE = Preprocess((THUMBNAIL, THUMBNAIL), resize_mode="squash")


def measured(
    manifest: str, items: pa.Table, options: ScanOptions, progress: Callable[[int], Callable[[int], None]]
) -> pa.Table:
    """The items with their facts and, as PIXELS, 32 x 32 x 3 uint8 each (zeros where unreadable), in their order.

    manifest : its canonical URI; items : rows of it. An actor for each CPU of the cluster, one decoder under each.
    Raises ClipfakeError where the cluster gives way.
    """
    options = reading(manifest, options)
    prepare = PrepareOptions(options.fetch, options.limits, _SQUARE, decoders=1)
    rows = items.append_column("_at", pa.array(range(items.num_rows), pa.int64()))
    chunks = [rows.slice(start, CHUNK_ROWS) for start in range(0, rows.num_rows, CHUNK_ROWS)]
    done, advance = [], progress(items.num_rows)
    with connected(options.job.num_cpus):
        for table in _prepared(manifest, prepare, chunks):
            done.append(table)
            advance(table.num_rows)
    return pa.concat_tables(done).sort_by("_at").drop_columns("_at")


def _prepared(manifest: str, options: PrepareOptions, chunks: list[pa.Table]) -> Iterator[pa.Table]:
    import ray
    from ray.util import ActorPool

    cpus = int(sum(node.cpus for node in cluster_nodes()))
    actor = ray.remote(num_cpus=1)(Prepare)
    actors = [actor.remote(manifest, options) for _ in range(max(1, min(cpus, len(chunks), _ACTORS)))]
    try:
        with failures_told("the sample could not be read: {}; run it again"):
            yield from ActorPool(actors).map_unordered(lambda one, chunk: one.items.remote(chunk), chunks)
    finally:
        for one in actors:
            ray.kill(one)  # type: ignore[arg-type]
