"""How DuckDB is opened, everywhere: in bounded memory, with a temporary folder for what does not fit into it."""

import contextlib
from collections.abc import Iterator

import duckdb

from clipfake.storage.temporary import temporary_folder

MEMORY = "640MB"  # of DuckDB's; what does not fit is spilled to disk


@contextlib.contextmanager
def temporary_database(*, ordered: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a new database that is deleted when the block ends.

    ordered : whether rows keep the order of what they were read from where a query asks for none; without it less
        memory is needed
    """
    with temporary_folder("duckdb") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": str(spill),
            "preserve_insertion_order": ordered,
        }
        with duckdb.connect(f"{spill}/temporary.duckdb", config=settings) as database:
            yield database
