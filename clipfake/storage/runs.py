"""The JSON record of a run: what was asked, what it ran on, what came out, how long each stage took."""

import json
import logging
import platform
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from clipfake import __version__
from clipfake.storage.store import Store

log = logging.getLogger(__name__)

RUN_FOLDER = "_runs"


def new_run_id() -> str:
    """UTC time to the second and 24 random bits: sorts by time, no two alike."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def versions() -> dict[str, str]:
    """What the results may depend on."""
    names = ("ray", "torch", "torchvision", "open_clip_torch", "pillow", "pyarrow", "scikit-learn", "numpy", "duckdb")
    return {"clipfake": __version__, "python": platform.python_version()} | {name: version(name) for name in names}


def write_record(store: Store, run_id: str, record: Mapping[str, Any]) -> None:
    """Writes `_runs/<run id>.json`."""
    store.write_bytes(f"{RUN_FOLDER}/{run_id}.json", json.dumps(record, indent=1, default=str).encode())


def read_records(store: Store) -> list[dict[str, Any]]:
    """All records of a folder, oldest first; unreadable ones are left out with a warning."""
    return list(newest_records(store))[::-1]


def newest_records(store: Store) -> Iterator[dict[str, Any]]:
    """The same, the newest first; each is read when it is asked for."""
    for name in sorted((f.name for f in store.list(RUN_FOLDER) if f.name.endswith(".json")), reverse=True):
        try:
            yield json.loads(store.read_bytes(f"{RUN_FOLDER}/{name}"))
        except ValueError:
            log.warning("%s/%s/%s is not JSON; left out", store.uri, RUN_FOLDER, name)
