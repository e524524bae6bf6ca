"""The job `audit`: can the label be told from anything but the picture? Of a manifest or of embeddings."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.audit import facts
from clipfake.audit.content import THUMBNAIL
from clipfake.audit.deduplication import ComparedItems, items_of, stored_items, write_manifest_without
from clipfake.audit.findings import Audit, examine, unlabelled
from clipfake.audit.options import SAMPLE, AuditOptions
from clipfake.audit.sample import measured
from clipfake.corpus.manifest import read_manifest
from clipfake.errors import UsageError
from clipfake.options import refuse_idle
from clipfake.scoring.options import NO_IMAGE_READ
from clipfake.scoring.unit_chunks import PIXELS
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_rows, newest_versions, stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import MANIFEST_SCHEMA
from clipfake.storage.store import Store, check_new, kind_of


def audit(source: str, options: AuditOptions, progress: Callable[[int], Progress]) -> Audit:
    """Audits a manifest, by reading a sample of its images, or stored embeddings, by their columns.

    Raises UsageError for anything else, where nothing is labelled, and where `out` is not new.
    """
    place = uris.place(source)
    kind = kind_of(place)
    if options.out is not None:
        check_new(Store(uris.place(options.out)))
    if kind is not None:
        idle = ["--num-cpus"] if kind == "embeddings" and options.scan.job.num_cpus is not None else []
        refuse_idle(options, kind, NO_IMAGE_READ if kind == "embeddings" else "a manifest", idle)
    if kind == "embeddings":
        return _of_embeddings(source, stored_embeddings(place), options)
    if kind == "manifest":
        return _of_manifest(source, place, options, progress)
    raise UsageError(
        f"{source} is neither a manifest nor embeddings: make one with `clipfake index CORPUS --out MANIFEST`"
    )


def audit_columns(embeddings: str, sample: int = SAMPLE) -> Audit:
    """Audits the stored columns of embeddings, without duplicates: what `train` asks before it begins."""
    ledger = stored_embeddings(uris.place(embeddings))
    # Without the vectors, which it does not need: DuckDB has no 16-bit floats.
    schema = pa.schema([column for column in ledger.schema if not pa.types.is_fixed_size_list(column.type)])
    rows = ledger.dataset().replace_schema(schema).filter(newest_versions(ledger))
    with facts.database(rows, schema.names) as database:
        return examine(embeddings, database, schema.names, sample)


def _of_embeddings(source: str, ledger: Ledger, options: AuditOptions) -> Audit:
    result = audit_columns(source, options.sample)
    result.found["kind"] = "embeddings"
    rows = newest_rows(ledger)
    with stored_items(rows, options.threshold) as items:
        _report_copies(items, result)
        if json.loads(read_footer(ledger.footer)["encoder_description"]).get("weights") == "untrained":
            result.warnings.append("the encoder is untrained: what it finds near says nothing")
        if options.out is not None:
            scanner = rows.scanner(columns=[*MANIFEST_SCHEMA.names, "status"], filter=pc.field("view") == 0, **SCAN)
            _write(items, scanner.to_batches(), options, result, source)
    return result


def _of_manifest(source: str, place: str, options: AuditOptions, progress: Callable[[int], Progress]) -> Audit:
    dataset = read_manifest(place)
    with facts.database(dataset, dataset.schema.names) as database:
        listed = sum(facts.strata(database, "listed").values())
        if not listed:
            raise unlabelled(source)
        chosen = facts.sampled(database, "listed", options.sample or listed).select(MANIFEST_SCHEMA.names)
    if options.out is not None and chosen.num_rows < dataset.count_rows():
        raise UsageError(
            f"the sample has {chosen.num_rows} of {dataset.count_rows()} items; to {options.duplicates} copies, give "
            "--sample 0, or audit the embeddings (items without a label are in no sample)"
        )
    table = measured(place, chosen, options.scan, progress)
    readable = table.filter(pc.equal(table["status"], "ok"))
    with facts.database(table.drop_columns(PIXELS), table.schema.names) as database:
        result = examine(source, database, table.schema.names, 0, _pixels(readable))
    result.found |= {"kind": "manifest", "listed": listed, "read": table.num_rows}
    result.found["unreadable"] = table.num_rows - readable.num_rows
    items = items_of(readable)
    _report_copies(items, result)
    if options.out is not None:
        _write(items, iter(table.drop_columns(PIXELS).to_batches()), options, result, source)
    return result


def _pixels(readable: pa.Table) -> np.ndarray:
    return np.frombuffer(b"".join(readable[PIXELS].to_pylist()), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3)


def _report_copies(items: ComparedItems, result: Audit) -> None:
    result.found["duplicates"] = found = items.described()
    for kind, counts in found.items():
        if counts["across_classes_sets"]:
            result.warnings.append(
                f"{counts['across_classes_items']} items in {counts['across_classes_sets']} sets of {kind} duplicates "
                "with both labels"
            )
        if counts["across_splits_sets"]:
            result.warnings.append(
                f"{counts['across_splits_items']} items in {counts['across_splits_sets']} sets of {kind} duplicates in "
                "several splits"
            )


def _write(
    items: ComparedItems, rows: Iterator[pa.RecordBatch], options: AuditOptions, result: Audit, source: str
) -> None:
    assert options.out is not None
    out = Store(uris.place(options.out))
    written = write_manifest_without(items, rows, out, options.duplicates, {"made_from": source})
    result.found["written"] = {"manifest": options.out, "items": written}
    if options.duplicates == "drop":
        result.found["written"]["dropped"] = int(items.surplus.sum())
    else:
        result.found["written"]["grouped"] = int(sum(name is not None for name in items.new_groups))
