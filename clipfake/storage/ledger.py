"""A folder of committed Parquet rows, reports or embeddings: what is in it, and how rows get there in one step."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipfake.errors import UsageError
from clipfake.storage.committed import SOURCES_KEY, committed_files
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Check, Store, nothing_to_check
from clipfake.storage.vectors import parquet_writer

if TYPE_CHECKING:
    import pyarrow.dataset as pads

log = logging.getLogger(__name__)

ROW_GROUP_ROWS = 16_384
SCAN = {"batch_size": 32_768, "batch_readahead": 2, "fragment_readahead": 1}  # bounds what pyarrow reads ahead


@dataclass(frozen=True)
class Ledger:
    """The rows of one kind in one folder.

    store : the folder
    kind : "report" or "embeddings"
    schema : of its files, without footer
    key : the fingerprint that rows are unique for, the detector's or the encoder's: each has one row for an item and
        version, and for each of its views where the schema has views
    footer : key-value metadata of the files that this run writes
    """

    store: Store
    kind: str
    schema: pa.Schema
    key: str
    footer: Mapping[bytes, bytes]

    def check(self) -> None:
        """Raises UsageError where the folder holds anything but rows of this kind.

        Embeddings must be of one encoder and precision, with as many views, and with texts made in the same way.
        """
        for entry in self.store.list(""):
            if entry.name.startswith(("_", ".")):
                continue
            if not entry.name.endswith(".parquet"):
                raise UsageError(
                    f"{self.store.uri} holds something else ({entry.name}): give --out a new or empty folder"
                )
            found = read_footer(self._metadata(entry.name))
            if found.get("kind") != self.kind:
                raise UsageError(
                    f"{self.store.uri} holds {found.get('kind', 'foreign Parquet')}, not {self.kind}: choose another"
                )
            ours = read_footer(self.footer)
            if self.kind == "embeddings" and (found["encoder"], found["precision"]) != (
                ours["encoder"],
                ours["precision"],
            ):
                raise UsageError(
                    f"{self.store.uri} holds embeddings of another encoder or precision ({found['precision']}): "
                    "choose another folder"
                )
            if self.kind == "embeddings":
                self._check_made(found, ours)
            return

    def _check_made(self, found: Mapping[str, str], ours: Mapping[str, str]) -> None:
        views = found.get("views", "0")  # of a folder from before there were views
        if views != ours.get("views", "0"):
            raise UsageError(
                f"{self.store.uri} was made with --views {views}: give the same, or choose another folder for these"
            )
        if found.get("conditions") != ours.get("conditions"):
            raise UsageError(f"{self.store.uri} holds other conditions: choose another folder for these")
        theirs, own = (json.loads(footer.get("text", "null")) for footer in (found, ours))
        if theirs != own:
            made = f"with --text {theirs['template']!r}" if theirs else "without --text"
            same = " and another text tower" if theirs and own and theirs["template"] == own["template"] else ""
            raise UsageError(
                f"{self.store.uri} was made {made}{same}: give the same, or choose another folder for these"
            )

    def files(self) -> list[str]:
        """Names of the committed files."""
        return committed_files(self.store)

    def dataset(self) -> "pads.Dataset":
        """All committed rows, each once; also while a compaction swaps files."""
        import pyarrow.dataset as pads  # and pandas with it: processes that only commit do without

        paths = [self.store.path(name) for name in self.files()]
        return pads.dataset(paths, filesystem=self.store.filesystem, schema=self.schema, format="parquet")

    def count(self, name: str) -> int | None:
        """Rows of a committed file by its footer, or None where there is no such file."""
        if not self.store.exists(name):
            return None
        with self.open(name) as file:
            return file.metadata.num_rows

    def commit(self, name: str, rows: pa.Table, check: Check = nothing_to_check) -> None:
        """Makes `rows` visible as the file `name`, all at once; a file of that name is replaced.

        check : called immediately before; nothing becomes visible where it raises
        """
        self._write(name, rows.to_batches(max_chunksize=ROW_GROUP_ROWS), check)

    def replace(self, name: str, rows: pa.Table, check: Check = nothing_to_check) -> None:
        """Rewrites the file `name` with `rows` in place of the ones with the same (item_id, version, view), at once.

        A row that failed as it did before stays as it is: what fails every night rewrites no file.

        check : as for `commit`
        """
        names = [column for column in ("item_id", "version", "view") if column in self.schema.names]
        rows = self._changed(name, rows, names)
        if not rows.num_rows:
            return
        fresh = {key: i for i, key in enumerate(zip(*(rows[c].to_pylist() for c in names), strict=True))}

        def merged(batch: pa.RecordBatch) -> pa.RecordBatch:
            keys = zip(*(batch[c].to_pylist() for c in names), strict=True)
            at = [fresh.get(key) for key in keys]
            if all(i is None for i in at):
                return batch
            both = pa.concat_tables([pa.Table.from_batches([batch]), rows.cast(batch.schema)])
            take = [row if i is None else batch.num_rows + i for row, i in enumerate(at)]
            return both.take(take).combine_chunks().to_batches()[0]

        with self.open(name) as file:
            batches = (merged(complete(b, self.schema)) for b in file.iter_batches(batch_size=ROW_GROUP_ROWS))
            sources = {k: v for k, v in (file.schema_arrow.metadata or {}).items() if k == SOURCES_KEY}
            self._write(name, batches, check, sources)

    def _changed(self, name: str, rows: pa.Table, names: list[str]) -> pa.Table:
        """Those of the rows that are not an error which the file has for them already."""
        errors = rows.filter(pc.not_equal(rows["status"], "ok"))
        keys = set(zip(*(errors[c].to_pylist() for c in (*names, "status")), strict=True))
        same = set()
        if keys:
            with self.open(name) as file:
                for batch in file.iter_batches(columns=[*names, "status"], batch_size=ROW_GROUP_ROWS):
                    failed = batch.filter(pc.not_equal(batch["status"], "ok"))
                    same |= keys.intersection(zip(*(failed[c].to_pylist() for c in (*names, "status")), strict=True))
        stays = [key not in same for key in zip(*(rows[c].to_pylist() for c in (*names, "status")), strict=True)]
        return rows.filter(pa.array(stays, pa.bool_()))

    def _write(
        self, name: str, batches: Iterable[pa.RecordBatch], check: Check, kept: Mapping[bytes, bytes] | None = None
    ) -> None:
        """kept : what stays in the footer of a file that is rewritten"""
        schema = self.schema.with_metadata({**self.footer, **(kept or {})})
        written = 0
        with (
            self.store.writing(name, check) as sink,
            parquet_writer(sink, schema) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch.cast(schema) if batch.schema != schema else batch)
                written += batch.num_rows
        log.debug("committed %s: %d rows", name, written)

    def open(self, name: str) -> pq.ParquetFile:
        """The committed file. Raises UsageError where it is damaged."""
        try:
            return pq.ParquetFile(self.store.path(name), filesystem=self.store.filesystem)
        except pa.ArrowInvalid as error:
            raise UsageError(f"{self.store.uri}/{name} is not a readable Parquet file: {error}") from None

    def _metadata(self, name: str) -> dict[bytes, bytes]:
        with self.open(name) as file:
            return file.schema_arrow.metadata or {}


def complete(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns of the schema: those younger than its file are null, as our readers see them."""
    have = set(batch.schema.names)
    columns = [batch[f.name] if f.name in have else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.record_batch(columns, schema=schema)
