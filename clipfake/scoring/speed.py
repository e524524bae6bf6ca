"""How fast a folder's last runs were, and how large units are thus to be."""

import math

import pyarrow as pa

from clipfake.scoring.sources import RowSource
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store

UNIT_SECONDS = 120  # of work in a unit, by the speed of the last runs
UNIT_ROWS_LIMITS = (256, 1_000_000)
UNIT_BYTES = 512 << 20


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
    """Images per second of the last comparable run that had work for at least 10 s."""
    for record in reversed(read_records(store)):
        same = (record["command"], record["source"]) == (command, source) and device in (None, record["device"])
        if same and record["images_per_second"] and record["seconds"]["work"] >= 10:
            return float(record["images_per_second"])
    return None
