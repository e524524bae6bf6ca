"""Reading a sample of a manifest's images on Ray: each one's facts and a thumbnail, from one pass over its bytes."""

from collections.abc import Callable

import pyarrow as pa

from clipfake.audit.content import THUMBNAIL
from clipfake.images.preprocess import Preprocess
from clipfake.onray.connection import connected
from clipfake.onray.nodes import cluster_nodes
from clipfake.onray.tasks import map_actors
from clipfake.scoring.listing import reading
from clipfake.scoring.options import ScanOptions
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
    chunks = [items.slice(start, CHUNK_ROWS) for start in range(0, items.num_rows, CHUNK_ROWS)]
    done, advance = [], progress(items.num_rows)
    with connected(options.job.num_cpus):
        cpus = int(sum(node.cpus for node in cluster_nodes()))
        actors = max(1, min(cpus, len(chunks), _ACTORS))
        failed = "the sample could not be read: {}; run it again"
        for table in map_actors(Prepare, (manifest, prepare), "items", chunks, actors, failed=failed):
            done.append(table)
            advance(table.num_rows)
    return pa.concat_tables(done)
