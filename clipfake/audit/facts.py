"""The facts of an image's encoding, by which a label may be told without its picture: derived, sampled, by class."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from clipfake.storage.duckdb import temporary_database

# In this order causes come before what follows from them: a PNG has no JPEG quality and more bytes per pixel.
TEXTS = ("declared", "format", "metadata", "jpeg_tables", "extension")
NUMBERS = ("width", "height", "aspect", "jpeg_quality", "bytes_per_pixel")
FACTS = ("declared", "format", "width", "height", "aspect", "metadata", "jpeg_quality", "jpeg_tables", "extension",
         "bytes_per_pixel")  # fmt: skip
STORED = {"format": "VARCHAR", "width": "INT", "height": "INT", "metadata": "VARCHAR", "declared": "VARCHAR",
          "jpeg_quality": "SMALLINT", "jpeg_tables": "VARCHAR"}  # fmt: skip
FEWEST = 20  # items a category must have before it is called one-sided
TABLE_ROWS = 12  # values of a fact that its table lists


@contextmanager
def database(rows: Any, columns: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the view `listed`, the labelled items, and `items`, those that could be read, with FACTS.

    rows : what DuckDB scans, an Arrow table or dataset, with the manifest's columns and, for `items`, those of STORED
    columns : its columns; those of STORED that it lacks are null
    """
    with temporary_database() as connection:
        connection.register("rows", rows)
        own = "AND view = 0" if "view" in columns else ""
        connection.execute(f"CREATE TEMP VIEW listed AS SELECT * FROM rows WHERE label IS NOT NULL {own}")
        if "status" in columns:
            connection.execute(_items(lacking(connection, columns)))
        yield connection


def lacking(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> list[str]:
    """Those of STORED that not every row has: where they are younger than some rows they would tell old from new."""
    younger = [name for name in STORED if name not in ("format", "width", "height")]
    if "metadata" in columns:  # "" where the file has none
        (found,) = connection.execute(
            "SELECT 1 FROM listed WHERE status = 'ok' AND metadata IS NULL LIMIT 1"
        ).fetchall() or [()]
        return younger if found else []
    return [name for name in STORED if name not in columns]


def _items(lacking: Sequence[str]) -> str:
    stored = ", ".join(f"NULL::{kind} AS {name}" if name in lacking else name for name, kind in STORED.items())
    # The base name alone: a folder is named after what is in it, and no detector sees it.
    return f"""
        CREATE TEMP VIEW items AS
        SELECT item_id, label, generator, category, group_id, content_sha256, {stored},
               width / height AS aspect, size / (width::DOUBLE * height) AS bytes_per_pixel,
               lower(regexp_extract(name, '[.]([A-Za-z0-9]{{1,8}})$', 1)) AS extension,
               left(regexp_extract(name, '^(.*?)([.][^.]*)?$', 1), 100) AS stem
        FROM (SELECT *, regexp_extract(coalesce(member, uri), '[^/]*$') AS name FROM listed)
        WHERE status = 'ok'"""


def strata(connection: duckdb.DuckDBPyConnection, view: str) -> dict[tuple[int, str], int]:
    """(label, generator) -> the view's items, "" for no generator."""
    query = f"SELECT label, coalesce(generator, ''), count(*) FROM {view} GROUP BY ALL"
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


def sampled(connection: duckdb.DuckDBPyConnection, view: str, size: int) -> pa.Table:
    """About `size` rows of the view, by item_id: those whose name's MD5 is below the share of (label, generator).

    So whether an item is taken depends on its name and its stratum's share alone: no sort, and the same every time.
    """
    share = shares(strata(connection, view), size)
    columns = {
        "of_label": pa.array([label for label, _ in share], pa.int8()),
        "of_generator": pa.array([generator for _, generator in share], pa.string()),
        "share": pa.array(share.values(), pa.float64()),
    }
    connection.register("shares", pa.table(columns))
    query = f"""
        SELECT v.* FROM {view} v JOIN shares ON label = of_label AND coalesce(generator, '') = of_generator
        WHERE share >= 1 OR md5_number_lower(item_id) / 18446744073709551616.0 < share
        ORDER BY item_id"""
    return connection.sql(query).to_arrow_table()


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
        tables[fact] = {
            names[y]: [low, *(middle or []), high] for y, low, middle, high in connection.sql(query).fetchall()
        }
    return tables


def by_generator(connection: duckdb.DuckDBPyConnection, limit: int = 100) -> list[dict[str, Any]]:
    """Of each generator and source of reals (the largest first): counts, its commonest format and size, medians."""
    query = f"""
        SELECT coalesce(generator, '') AS generator,
               count(*) FILTER (label = 0) AS reals, count(*) FILTER (label = 1) AS fakes,
               mode(format) AS format, mode(width::VARCHAR || 'x' || height) AS size,
               approx_quantile(jpeg_quality, 0.5) AS jpeg_quality,
               approx_quantile(bytes_per_pixel, 0.5) AS bytes_per_pixel,
               count(declared) AS declared
        FROM items GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {limit}"""
    found = connection.sql(query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def one_sided_categories(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """How many categories there are, how many of FEWEST items or more have one class only, their items, the largest."""
    query = f"""
        WITH counted AS (
            SELECT category, count(*) AS n, sum(label) AS fakes FROM items WHERE category IS NOT NULL GROUP BY category
        ), one_sided AS (SELECT *, fakes > 0 AS fake FROM counted WHERE n >= {FEWEST} AND fakes IN (0, n))
        SELECT (SELECT count(*) FROM counted), (SELECT coalesce(sum(n), 0) FROM counted), count(*), coalesce(sum(n), 0),
               arg_max({{'category': left(category, 60), 'class': if(fake, 'fake', 'real'), 'items': n}}, n, 5)
        FROM one_sided"""
    ((categories, items, count, inside, largest),) = connection.sql(query).fetchall()
    return {"categories": categories, "items": int(items), "one_sided": count, "one_sided_items": int(inside),
            "largest": largest or []}  # fmt: skip
