"""Copies among the items of a data set: found in stored embeddings or a table, named, and left out or grouped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from clipfake.audit.duplicates import THRESHOLD, Copies, as_codes, exact_copies, grouped, near_copies, surplus
from clipfake.storage.footers import footer
from clipfake.storage.ledger import SCAN
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import Store
from clipfake.storage.temporary import temporary_folder
from clipfake.storage.vectors import matrix_of, parquet_writer

EXAMPLES = 10  # sets of copies that are named
_COLUMNS = ("item_id", "status", "label", "split", "group_id", "content_sha256")


@dataclass(frozen=True)
class ComparedItems:
    """What of the readable items of a data set is compared: (N,) each, codes of strings with -1 for none."""

    item_id: pa.ChunkedArray
    label: np.ndarray
    split: np.ndarray
    group: np.ndarray
    content: np.ndarray
    x: np.ndarray | None = None  # (N, D) embeddings, where there are any
    threshold: float = THRESHOLD

    @cached_property
    def exact(self) -> Copies:
        """Of one content."""
        return exact_copies(self.content)

    @cached_property
    def near(self) -> Copies:
        """Near in the embedding too; where there is none, of one content."""
        return self.exact if self.x is None else near_copies(self.x, self.exact, self.threshold)

    @cached_property
    def surplus(self) -> np.ndarray:
        """(N,) bool: what `drop` leaves out."""
        rank = np.empty(len(self.label), np.int64)
        rank[pc.sort_indices(self.item_id).to_numpy()] = np.arange(len(rank))
        return surplus(self.exact, self.near, self.label, rank)

    @cached_property
    def new_groups(self) -> np.ndarray:
        """(N,) object: the group_id that `group` gives a row, None where it keeps what it has."""
        sets = grouped(self.near, self.group)
        changed = sets.members & (sets.across(self.group) | _any(self.group < 0, sets))
        names = np.full(len(self.label), None, object)
        rows = np.flatnonzero(changed)
        names[rows] = [f"copies-{code:016x}" for code in self.content[sets.cluster[rows]].tolist()]
        return names

    def described(self) -> dict[str, Any]:
        """Counts and examples, as JSON values; sets with both labels are named before others."""
        found: dict[str, Any] = {"exact": self._of(self.exact)}
        if self.x is not None:
            found["near"] = {"threshold": self.threshold, **self._of(self.near)}
        return found

    def _of(self, copies: Copies) -> dict[str, Any]:
        conflicting = copies.across(self.label)
        both, other = (self._named(copies, rows) for rows in (conflicting, copies.members & ~conflicting))
        return {**copies.counts(self.label, self.split), "with_both_labels": both, "examples": other}

    def _named(self, copies: Copies, rows: np.ndarray) -> list[list[str]]:
        return [[self.item_id[i].as_py() for i in one] for one in copies.examples(rows, EXAMPLES)]


def _any(mask: np.ndarray, copies: Copies) -> np.ndarray:
    """(N,) bool: whether it holds of any row of the set."""
    return np.bincount(copies.cluster[mask], minlength=len(mask))[copies.cluster] > 0


def items_of(table: pa.Table) -> ComparedItems:
    """The items of a table of readable rows with _COLUMNS."""
    return _gathered([_codes(table)], None)


@contextmanager
def stored_items(dataset: pads.Dataset, threshold: float = THRESHOLD) -> Iterator[ComparedItems]:
    """The readable items among rows of stored embeddings; in the block their vectors lie in a temporary file."""
    at, parts, kind = 0, [], dataset.schema.field("embedding").type
    with temporary_folder("copies") as folder:
        path, rows = folder / "x", dataset.count_rows(filter=_READABLE)
        x = np.memmap(path, kind.value_type.to_pandas_dtype(), "w+", shape=(max(rows, 1), kind.list_size))[:rows]
        scanner = dataset.scanner(columns=[*_COLUMNS, "embedding"], filter=_READABLE, **SCAN)
        for batch in scanner.to_batches():
            table = pa.Table.from_batches([batch])
            parts.append(_codes(table))
            x[at : at + batch.num_rows] = matrix_of(table["embedding"])[1]
            at += batch.num_rows
        yield _gathered(parts, x, threshold)


_READABLE = (pc.field("status") == "ok") & (pc.field("view") == 0)


def _codes(table: pa.Table) -> tuple[pa.ChunkedArray, np.ndarray]:
    label = table["label"].fill_null(-1).to_numpy().astype(np.int64)
    others = [as_codes(table[name].to_pylist()) for name in ("split", "group_id", "content_sha256")]
    return table["item_id"], np.stack([label, *others])


def _gathered(
    parts: list[tuple[pa.ChunkedArray, np.ndarray]], x: np.ndarray | None, threshold: float = THRESHOLD
) -> ComparedItems:
    names = pa.chunked_array([chunk for column, _ in parts for chunk in column.chunks], pa.string())
    codes = np.concatenate([codes for _, codes in parts], axis=1) if parts else np.empty((4, 0), np.int64)
    label, split, group, content = codes
    return ComparedItems(names, label, split, group, content, x, threshold)


def write_manifest_without(
    items: ComparedItems, rows: Iterator[pa.RecordBatch], out: Store, how: str, about: dict[str, Any]
) -> int:
    """Writes a manifest of `rows` (the manifest's columns and `status`), copies dropped or grouped; returns its rows.

    rows : those of one item each, the readable ones in the order of `items`; the others are kept as they are
    how : "drop" or "group"; about : for the footer
    """
    schema = MANIFEST_SCHEMA.with_metadata(footer("manifest", {"duplicates": how, **about}))
    at = written = 0
    with out.writing("part-00000.parquet") as sink, parquet_writer(sink, schema) as writer:
        for batch in rows:
            ok = pc.equal(batch["status"], "ok").to_numpy(zero_copy_only=False)
            mine = slice(at, at + int(ok.sum()))
            at = mine.stop
            table = pa.Table.from_batches([batch]).select(MANIFEST_SCHEMA.names)
            if how == "drop":
                keep = np.ones(len(ok), bool)
                keep[ok] = ~items.surplus[mine]
                table = table.filter(pa.array(keep))
            else:
                given = np.full(len(ok), None, object)
                given[ok] = items.new_groups[mine]
                column = pc.coalesce(pa.array(given, pa.string()), batch["group_id"])
                table = table.set_column(table.schema.get_field_index("group_id"), "group_id", column)
            writer.write_table(table.cast(schema))
            written += table.num_rows
    return written
