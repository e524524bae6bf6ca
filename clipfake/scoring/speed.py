"""How fast a folder's last runs were, and how large units are thus to be."""

import math
from itertools import islice
from typing import Any

import pyarrow as pa

from clipfake.scoring.plan import Counts
from clipfake.scoring.sources import RowSource
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import newest_records
from clipfake.storage.store import Store

UNIT_SECONDS = 120  # of work in a unit, by the speed of the last runs
UNIT_ROWS_LIMITS = (256, 1_000_000)
UNIT_BYTES = 512 << 20
RECORDS = 100  # of the last runs, that are looked through for one that can be compared


def unit_rows(store: Store, command: str, source: RowSource, device: str, kept: Ledger, views: int) -> int:
    """Rows for UNIT_SECONDS at the speed of this folder's last run of the same kind on the same device.

    Never more than UNIT_BYTES of the vectors that `kept` gets: a unit is in this process' memory when it commits.
    """
    speed = measured_speed(store, command, source.kind, device)
    low, high = UNIT_ROWS_LIMITS
    rows = source.first_unit_rows(device, views)
    if speed is not None:
        rows = min(high, max(low, math.ceil(speed * UNIT_SECONDS)))
    vectors = [field.type for field in kept.schema if pa.types.is_fixed_size_list(field.type)]
    bytes_a_row = sum(kind.list_size * kind.value_type.bit_width // 8 for kind in vectors) * (1 + views)
    return max(1, min(rows, UNIT_BYTES // bytes_a_row if bytes_a_row else rows))


def measured_speed(store: Store, command: str, source: str, device: str | None = None) -> float | None:
    """Images per second of the last comparable run that had work for at least 10 s, if it is among the last RECORDS."""
    for record in islice(newest_records(store), RECORDS):
        same = (record["command"], record["source"]) == (command, source) and device in (None, record["device"])
        if same and record["images_per_second"] and record["seconds"]["work"] >= 10:
            return float(record["images_per_second"])
    return None


def expectation(
    store: Store, command: str, source: RowSource, found: Counts, still_open: int, gpus: float
) -> dict[str, Any]:
    """What a run would do that is only tried, and how long it would take at the speed of the last one."""
    speed = measured_speed(store, command, source.kind)
    to_do = found.new + found.retried + still_open
    return {
        "listed": found.listed,
        "already_done": found.done - still_open,
        "open": still_open,
        "new": found.new - found.changed,
        "changed": found.changed,
        "to_retry": found.retried,
        "bytes_to_read": found.bytes_to_read,
        "images_per_second": speed,
        "expected_seconds": to_do / speed if speed else None,
        "expected_gpu_hours": to_do / speed * gpus / 3600 if speed else None,
    }
