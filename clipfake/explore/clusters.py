"""The job `clusters`: stored embeddings -> k clusters by spherical k-means, its steps as Ray tasks over row groups."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.explore.options import ClusterOptions
from clipfake.explore.similar import embeddings_in, own_rows
from clipfake.measures.kmeans import Sums, assign, first_centres, moved, sums
from clipfake.onray.connection import connected
from clipfake.onray.tasks import in_order, map_tasks
from clipfake.storage import uri as uris
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.store import Store, check_new
from clipfake.storage.vectors import matrix_of

log = logging.getLogger(__name__)

SHARD_ROWS = 262_144
SAMPLE = 20_000  # rows that the first centres are chosen from
NEAREST = 5  # items that are named of a cluster
CLUSTER_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("cosine", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Shard:
    """Row groups of one file that one task reads at a time, and which of their rows: `own_rows`."""

    place: str
    name: str
    groups: tuple[int, ...]
    own: pc.Expression

    def read(self, columns: tuple[str, ...] = ()) -> tuple[pa.Table, np.ndarray]:
        """The rows that have an embedding, and these, (N, D) as stored."""
        store = Store(self.place)
        with pq.ParquetFile(store.path(self.name), filesystem=store.filesystem) as file:
            needed = dict.fromkeys([*columns, "item_id", "version", "status", "view", "embedding"])
            table = file.read_row_groups(list(self.groups), columns=list(needed)).filter(self.own)
        return table.select(list(columns)), matrix_of(table["embedding"])[1]


def clusters(
    embeddings: str, out: str, options: ClusterOptions, say: Callable[[str], None] = log.info
) -> dict[str, Any]:
    """Writes each item's cluster into the folder `out` and gives a summary, largest cluster first, as JSON values.

    The same for any number of nodes, up to the rounding of a processor. Raises UsageError where `embeddings` holds too
    few, or `out` something else.
    """
    ledger, store = embeddings_in(embeddings), Store(uris.place(out))
    target = Ledger(store, "clusters", CLUSTER_SCHEMA, "", _footer(ledger, options))
    check_new(store)
    shards = _shards(ledger)
    with connected(options.num_cpus):
        centres, cosine, steps = _fit(shards, options, say)
        summary = _write(shards, centres, target)
    say(f"{sum(c['items'] for c in summary)} items in {len(summary)} clusters after {steps} steps")
    return {"k": options.k, "steps": steps, "mean_cosine": cosine, "clusters": summary}


def _shards(ledger: Ledger) -> list[Shard]:
    shards, own = [], own_rows(ledger)
    for name in ledger.files():
        with ledger.open(name) as file:
            rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        number = np.cumsum(rows) // SHARD_ROWS
        for which in np.unique(number):
            groups = tuple(int(i) for i in np.flatnonzero(number == which))
            shards.append(Shard(ledger.store.uri, name, groups, own))
    return shards


def _fit(shards: list[Shard], options: ClusterOptions, say: Callable[[str], None]) -> tuple[np.ndarray, float, int]:
    sample = np.concatenate(in_order(map_tasks(_sample, shards, (len(shards), options.seed))))
    if len(sample) < options.k:
        raise UsageError(f"{len(sample)} items cannot make {options.k} clusters: give a smaller --k")
    centres = first_centres(sample, options.k, options.seed)
    before = -1.0
    for step in range(1, options.steps + 1):
        parts: list[Sums] = in_order(map_tasks(_sums, shards, (centres,)))
        centres, cosine = moved(parts, centres)
        say(f"step {step}: mean cosine to the centre {cosine:.5f}")
        if cosine - before < options.tolerance:
            break
        before = cosine
    return centres, cosine, step


def _sample(shard: Shard, shards: int, seed: int) -> np.ndarray:
    """About SAMPLE rows of all shards together; which ones depends on the seed and the rows' places alone."""
    _, x = shard.read()
    share = np.random.default_rng([seed, *shard.name.encode(), *shard.groups])
    take = min(len(x), -(-SAMPLE // shards))
    return x[np.sort(share.choice(len(x), take, replace=False))].astype(np.float32)


def _sums(shard: Shard, centres: np.ndarray) -> Sums:
    return sums(shard.read()[1], centres)


def _write(shards: list[Shard], centres: np.ndarray, target: Ledger) -> list[dict[str, Any]]:
    """Commits each shard's rows as a file; the summary, with what the shards hold added up."""
    summed: list[_Cluster] = [_Cluster() for _ in centres]
    for number, (rows, kinds) in map_tasks(_rows, shards, (centres,)):
        target.commit(f"part-{number:06d}.parquet", rows)
        for cluster, one in kinds.items():
            summed[cluster].add(one)
    return sorted((one.described(i) for i, one in enumerate(summed)), key=lambda c: -c["items"])


def _rows(shard: Shard, centres: np.ndarray) -> tuple[pa.Table, dict[int, "_Cluster"]]:
    table, x = shard.read(("item_id", "version", "label", "generator"))
    found = assign(x, centres)
    names, labels, generators = (table[name].to_pylist() for name in ("item_id", "label", "generator"))
    summed: dict[int, _Cluster] = {}
    for i in np.argsort(-found.cosine, kind="stable").tolist():
        one = summed.setdefault(int(found.cluster[i]), _Cluster())
        one.items += 1
        one.cosine += float(found.cosine[i])
        one.kinds[(labels[i], generators[i])] += 1
        if len(one.nearest) < NEAREST:
            one.nearest.append((float(found.cosine[i]), names[i]))
    columns = [table["item_id"], table["version"], pa.array(found.cluster.astype(np.int32)), pa.array(found.cosine)]
    return pa.table(columns, schema=CLUSTER_SCHEMA), summed


class _Cluster:
    """What is known of a cluster, added up over shards."""

    def __init__(self) -> None:
        self.items = 0
        self.cosine = 0.0
        self.kinds: Counter[tuple[int | None, str | None]] = Counter()
        self.nearest: list[tuple[float, str]] = []

    def add(self, other: "_Cluster") -> None:
        self.items += other.items
        self.cosine += other.cosine
        self.kinds += other.kinds
        self.nearest = sorted([*self.nearest, *other.nearest], key=lambda entry: (-entry[0], entry[1]))[:NEAREST]

    def described(self, cluster: int) -> dict[str, Any]:
        """As JSON values."""
        labels = Counter({0: 0, 1: 0})
        for (label, _), n in self.kinds.items():
            labels[label] += n  # type: ignore[index]
        kinds = sorted(self.kinds.items(), key=lambda entry: (-entry[1], str(entry[0])))
        return {
            "cluster": cluster,
            "items": self.items,
            "mean_cosine": self.cosine / self.items if self.items else None,
            "reals": labels[0],
            "fakes": labels[1],
            "generators": {name or "": n for (_, name), n in kinds[:5]},
            "nearest": [name for _, name in self.nearest],
        }


def _footer(ledger: Ledger, options: ClusterOptions) -> dict[bytes, bytes]:
    found = read_footer(ledger.footer)
    facts = {"encoder": found["encoder"], "of": ledger.store.uri, "options": json.dumps(asdict(options))}
    return footer("clusters", facts)
