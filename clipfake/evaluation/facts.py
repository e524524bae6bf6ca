"""The facts of an image's encoding, by which a label may be told without its picture: derived, sampled, by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np

# In this order causes come before what follows from them: a PNG has no JPEG quality and more bytes per pixel.
TEXTS = ("declared", "format", "metadata", "jpeg_tables", "extension")
NUMBERS = ("width", "height", "aspect", "jpeg_quality", "bytes_per_pixel")
FACTS = ("declared", "format", "width", "height", "aspect", "metadata", "jpeg_quality", "jpeg_tables", "extension",
         "bytes_per_pixel")  # fmt: skip
STORED = ("format", "width", "height", "metadata", "declared", "jpeg_quality", "jpeg_tables")
TABLE_ROWS = 12  # values of a fact that its table lists
_MEMORY = "640MB"  # of DuckDB's; what does not fit is spilled to disk


def database(rows: Any, columns: Sequence[str], spill: str) -> duckdb.DuckDBPyConnection:
    """DuckDB with the view `items`: the labelled images of `rows` that could be read, one row each, with FACTS.

    rows : what DuckDB scans, an Arrow table or dataset; columns : its columns, of which `jpeg_quality`,
    `jpeg_tables`, `metadata` and `declared` may be missing (then they are null); spill : a folder for what memory
    does not hold
    """
    connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": spill})
    connection.register("stored", rows)
    text = {"jpeg_tables", "metadata", "declared"}
    stored = ", ".join(
        name if name in columns else f"NULL::{'VARCHAR' if name in text else 'SMALLINT'} AS {name}" for name in STORED
    )
    own = "view = 0" if "view" in columns else "true"
    # The base name alone: a folder is named after what is in it, and no detector sees it.
    connection.execute(f"""
        CREATE VIEW items AS
        SELECT item_id, label, coalesce(generator, '') AS generator, category, group_id, split, content_sha256,
               {stored}, width / height AS aspect, size / (width::DOUBLE * height) AS bytes_per_pixel,
               lower(regexp_extract(name, '[.]([A-Za-z0-9]{{1,8}})$', 1)) AS extension,
               left(regexp_extract(name, '^(.*?)([.][^.]*)?$', 1), 100) AS stem
        FROM (SELECT *, regexp_extract(coalesce(member, uri), '[^/]*$') AS name FROM stored)
        WHERE status = 'ok' AND label IS NOT NULL AND {own}""")
    return connection


def strata(connection: duckdb.DuckDBPyConnection, view: str = "items") -> dict[tuple[int, str], int]:
    """(label, generator) -> labelled items."""
    query = f"SELECT label, coalesce(generator, ''), count(*) FROM {view} WHERE label IS NOT NULL GROUP BY ALL"
    return {(label, generator): n for label, generator, n in connection.sql(query).fetchall()}


def shares(counts: Mapping[tuple[int, str], int], size: int) -> dict[tuple[int, str], float]:
    """The share of each (label, generator) that a sample of about `size` items takes: 1 where it takes all.

    Half of it is for each class, or what the other leaves, and in a class each generator has as much as there is, but
    no more than the others.
    """
    by_label = {label: {key: n for key, n in counts.items() if key[0] == label} for label in (0, 1)}
    given = _filled({label: sum(of.values()) for label, of in by_label.items()}, size)
    quota = {key: n for label, of in by_label.items() for key, n in _filled(of, given[label]).items()}
    return {key: quota[key] / n for key, n in counts.items()}


def _filled(room: Mapping[Any, int], amount: float) -> dict[Any, float]:
    """The amount poured over vessels: level with one another, none above its brim."""
    poured, left = {}, amount
    for i, key in enumerate(sorted(room, key=lambda key: room[key])):
        poured[key] = min(float(room[key]), left / (len(room) - i))
        left -= poured[key]
    return poured


def sampled(connection: duckdb.DuckDBPyConnection, share: Mapping[tuple[int, str], float], view: str = "items") -> Any:
    """The rows of the view whose item_id's MD5 is within the share of its (label, generator), as a relation.

    So whether an item is taken depends on its name and its stratum's share alone: no sort, and the same every time.
    """
    keys = [*share]
    values = {"label": np.array([key[0] for key in keys], np.int8), "generator": np.array([key[1] for key in keys])}
    connection.register("shares", _arrow({**values, "share": np.array([share[key] for key in keys], float)}))
    return connection.sql(f"""
        SELECT v.* FROM {view} v
        JOIN shares s ON v.label = s.label AND coalesce(v.generator, '') = s.generator
        WHERE s.share >= 1 OR md5_number_lower(v.item_id) / 18446744073709551616.0 < s.share
        ORDER BY v.item_id""")


def _arrow(columns: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    return pa.table(dict(columns))


def missing(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The facts that are null in every row although they need not be: the rows are from before they were stored."""
    present = ", ".join(f"count({name})" for name in ("metadata", "jpeg_quality", "jpeg_tables"))
    query = f"SELECT count(*), count(*) FILTER (format = 'JPEG'), {present} FROM items"
    ((rows, jpegs, *counts),) = connection.sql(query).fetchall()
    needs = (rows, jpegs, jpegs)
    names = ("metadata", "jpeg_quality", "jpeg_tables")
    return [name for name, n, of in zip(names, counts, needs, strict=True) if of and not n]


def by_class(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """fact -> its table: of a text, its commonest values with the reals and fakes that have them; of a number, its
    quantiles (0, 0.05, 0.5, 0.95, 1) among reals and among fakes. JSON values."""
    tables: dict[str, Any] = {}
    for fact in TEXTS:
        query = f"""SELECT {fact}, count(*) FILTER (label = 0), count(*) FILTER (label = 1) FROM items
                    GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {TABLE_ROWS}"""
        rows = connection.sql(query).fetchall()
        tables[fact] = [{"value": value, "reals": reals, "fakes": fakes} for value, reals, fakes in rows]
    for fact in NUMBERS:
        query = f"""SELECT label, min({fact}), approx_quantile({fact}, [0.05, 0.5, 0.95]), max({fact}) FROM items
                    WHERE isfinite({fact}::DOUBLE) GROUP BY label ORDER BY label"""
        names = ("reals", "fakes")
        tables[fact] = {names[y]: [low, *(middle or []), high] for y, low, middle, high in connection.sql(query).fetchall()}
    return tables


def by_generator(connection: duckdb.DuckDBPyConnection, limit: int = 100) -> list[dict[str, Any]]:
    """Of each generator and source of reals (the largest first): counts, its commonest format and size, medians."""
    query = f"""
        SELECT generator, count(*) FILTER (label = 0) AS reals, count(*) FILTER (label = 1) AS fakes,
               mode(format) AS format, mode(width::VARCHAR || 'x' || height) AS size,
               approx_quantile(jpeg_quality, 0.5) AS jpeg_quality,
               approx_quantile(bytes_per_pixel, 0.5) AS bytes_per_pixel,
               count(declared) AS declared
        FROM items GROUP BY generator ORDER BY count(*) DESC, generator LIMIT {limit}"""
    found = connection.sql(query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
