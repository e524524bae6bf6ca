"""What the footers of Parquet files say: the kind of the folder, the version, and facts about the rows."""

import json
from collections.abc import Mapping
from typing import Any

from clipfake import __version__


def footer(kind: str, facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Key-value metadata for a file's footer: `clipfake.kind`, `clipfake.version` and `facts`, JSON unless text."""
    entries = {"kind": kind, "version": __version__, **facts}
    return {
        f"clipfake.{key}".encode(): (value if isinstance(value, str) else json.dumps(value, sort_keys=True)).encode()
        for key, value in entries.items()
    }


def read_footer(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """The `clipfake.` entries of a footer without that prefix."""
    prefix = b"clipfake."
    return {k[len(prefix) :].decode(): v.decode() for k, v in (metadata or {}).items() if k.startswith(prefix)}
