"""The job `audit`: can the label be told from anything but the picture? Of a manifest or of embeddings."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipfake.corpus import uri as uris
from clipfake.corpus.manifest import MANIFEST_SCHEMA, read_manifest
from clipfake.corpus.store import Store, kind_of
from clipfake.engine.chunk import PIXELS
from clipfake.engine.copies import Items, check_new, items_of, stored_items, write_manifest_without
from clipfake.engine.ledger import Ledger
from clipfake.engine.measure import measured
from clipfake.engine.plan import SCAN
from clipfake.engine.scan import ScanOptions, stored_embeddings
from clipfake.engine.work import Progress
from clipfake.errors import UsageError
from clipfake.evaluation import facts
from clipfake.evaluation.content import THUMBNAIL, naive_baselines, name_pattern
from clipfake.evaluation.crossval import FEWEST, Told, folds
from clipfake.evaluation.duplicates import THRESHOLD
from clipfake.evaluation.shortcuts import find_shortcuts, telling
from clipfake.evaluation.split import unit_of
from clipfake.report.schema import read_footer

SAMPLE = 20_000
DUPLICATES = ("report", "drop", "group")


@dataclass(frozen=True)
class AuditOptions:
    """What is audited.

    sample : items that are judged, half of them of each class where there are as many; of a manifest, also those that
        are read. 0 is all.
    duplicates : report, or drop or group them in a new manifest in the folder `out`
    threshold : cosine of centred embeddings from which two images are near duplicates
    scan : how images are read
    """

    sample: int = SAMPLE
    duplicates: str = "report"
    out: str | None = None
    threshold: float = THRESHOLD
    scan: ScanOptions = field(default_factory=ScanOptions)

    def __post_init__(self) -> None:
        if self.duplicates not in DUPLICATES:
            raise UsageError(f"--duplicates is {self.duplicates!r}: give one of {', '.join(DUPLICATES)}")
        if (self.duplicates == "report") != (self.out is None):
            raise UsageError("--duplicates drop or group and --out belong together: give both or neither")
        if self.sample < 0 or not 0 < self.threshold < 1:
            raise UsageError("--sample must not be negative, and --near must lie between 0 and 1")


@dataclass
class Audit:
    """What was found, as JSON values; what a reader must know, a sentence each; and why not to train on it, if so."""

    found: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    refusal: str | None = None

    def check(self, allow_shortcuts: bool) -> None:
        """Raises UsageError where the label can be told from the encoding, unless that is allowed."""
        if self.refusal and not allow_shortcuts:
            raise UsageError(f"{self.refusal}; make the classes alike, or give --allow-shortcuts")

    def described(self) -> dict[str, Any]:
        """For a detector's provenance: the findings without the long tables."""
        short = {key: self.found[key] for key in ("items", "judged", "not_stored", "shortcuts", "names", "categories")}
        return {**short, "warnings": self.warnings, "refusal": self.refusal}


def audit(source: str, options: AuditOptions, progress: Callable[[int], Progress]) -> Audit:
    """Audits a manifest, by reading a sample of its images, or stored embeddings, by their columns.

    Raises UsageError for anything else, where nothing is labelled, and where `out` is not new.
    """
    place = uris.place(source)
    kind = kind_of(place)
    if options.out is not None:
        check_new(Store(uris.place(options.out)))
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
    dataset = ledger.dataset()
    with facts.database(dataset, dataset.schema.names) as database:
        return _examined(embeddings, database, dataset.schema.names, sample)


def _of_embeddings(source: str, ledger: Ledger, options: AuditOptions) -> Audit:
    result = audit_columns(source, options.sample)
    result.found["kind"] = "embeddings"
    with stored_items(ledger, options.threshold) as items:
        _report_copies(items, result)
        if json.loads(read_footer(ledger.footer)["encoder_description"]).get("weights") == "untrained":
            result.warnings.append("the encoder is untrained: what it finds near says nothing")
        if options.out is not None:
            scanner = ledger.dataset().scanner(
                columns=[*MANIFEST_SCHEMA.names, "status"], filter=pc.field("view") == 0, **SCAN
            )
            _write(items, scanner.to_batches(), options, result, source)
    return result


def _of_manifest(source: str, place: str, options: AuditOptions, progress: Callable[[int], Progress]) -> Audit:
    dataset = read_manifest(place)
    with facts.database(dataset, dataset.schema.names) as database:
        listed = sum(facts.strata(database, "listed").values())
        if not listed:
            raise _unlabelled(source)
        chosen = facts.sampled(database, "listed", options.sample or listed).select(MANIFEST_SCHEMA.names)
    if options.out is not None and chosen.num_rows < dataset.count_rows():
        raise UsageError(
            f"the sample has {chosen.num_rows} of {dataset.count_rows()} items; to {options.duplicates} copies, give "
            "--sample 0, or audit the embeddings (items without a label are in no sample)"
        )
    table = measured(place, chosen, options.scan, progress)
    readable = table.filter(pc.equal(table["status"], "ok"))
    with facts.database(table.drop_columns(PIXELS), table.schema.names) as database:
        result = _examined(source, database, table.schema.names, 0, readable)
    result.found |= {"kind": "manifest", "listed": listed, "read": table.num_rows}
    result.found["unreadable"] = table.num_rows - readable.num_rows
    items = items_of(readable)
    _report_copies(items, result)
    if options.out is not None:
        _write(items, iter(table.drop_columns(PIXELS).to_batches()), options, result, source)
    return result


def _unlabelled(source: str) -> UsageError:
    return UsageError(f"{source} holds no labelled items: index with a layout that has labels (artifact, csv, ...)")


def _examined(
    source: str, database: duckdb.DuckDBPyConnection, columns: list[str], sample: int, readable: pa.Table | None = None
) -> Audit:
    """The tables of all items and what tells the label in a sample; with `readable` rows, sorted by item_id, also the
    baselines on their PIXELS."""
    counts = facts.strata(database, "items")
    total = sum(counts.values())
    if not total:
        raise _unlabelled(source)
    rows = facts.sampled(database, "items", sample or total)
    result = Audit(
        {
            "source": source,
            "items": {
                name: sum(n for (of, _), n in counts.items() if of == label)
                for label, name in ((0, "reals"), (1, "fakes"))
            },
            "judged": rows.num_rows,
            "not_stored": [name for name in facts.STORED if name not in columns],
            "facts": facts.by_class(database),
            "generators": facts.by_generator(database),
            "categories": facts.one_sided_categories(database),
            "shortcuts": None,
            "names": None,
            "baselines": None,
        }
    )
    if result.found["not_stored"]:
        result.warnings.append(
            f"not stored, so not audited: {', '.join(result.found['not_stored'])}; embed again to have them"
        )
    y = rows["label"].to_numpy().astype(np.int64)
    units = [
        unit_of(group, content)
        for group, content in zip(rows["group_id"].to_pylist(), rows["content_sha256"].to_pylist(), strict=True)
    ]
    fold = folds(y, units) if len(set(y.tolist())) == 2 else None
    if fold is None:
        result.warnings.append(f"not judged: each class needs {FEWEST} items or groups, and none may be most of it")
    else:
        _judge_encoding(rows, y, fold, result)
        _judge_content(rows, y, fold, readable, result)
    categories = result.found["categories"]
    if categories["one_sided"]:
        result.warnings.append(
            f"{categories['one_sided']} of {categories['categories']} categories are real or fake only, with "
            f"{categories['one_sided_items'] / categories['items']:.0%} of the items: content tells these"
        )
    return result


def _judge_encoding(rows: pa.Table, y: np.ndarray, fold: np.ndarray, result: Audit) -> None:
    values = {fact: _values(rows[fact]) for fact in facts.FACTS}
    generators = [name or "" for name in rows["generator"].to_pylist()]
    found = find_shortcuts(values, y, generators, fold)
    named = found.named
    result.found["shortcuts"] = {**asdict(found), "named": named, "level": found.together.level}
    if found.together.level != "ok":
        said = f"the encoding alone tells real from fake, AUC {found.together}"
        if named:
            said += f", most by {named} (alone {found.alone[named].auc:.3f}: {telling(named, values[named], y)})"
        if found.together.level == "refuse":
            result.refusal = said
        result.warnings.append(said)
    elif found.generators:
        result.warnings.append(f"the encoding alone tells the fakes of {', '.join(found.generators[:5])}")


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """A text column with None, a number's with NaN."""
    if pa.types.is_string(column.type):
        return np.asarray(column.to_pylist(), object)
    return column.cast(pa.float64()).to_numpy()  # null becomes NaN


def _judge_content(rows: pa.Table, y: np.ndarray, fold: np.ndarray, readable: pa.Table | None, result: Audit) -> None:
    names = name_pattern(rows["stem"].to_pylist(), y, fold)
    result.found["names"] = asdict(names)
    _warn("the pattern of the base names", names, result)
    if readable is not None:
        pixels = np.frombuffer(b"".join(readable[PIXELS].to_pylist()), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3)
        baselines = naive_baselines(pixels, y, fold)
        result.found["baselines"] = {name: asdict(told) for name, told in baselines.items()}
        for name, told in baselines.items():
            _warn(f"content ({name})", told, result)


def _warn(what: str, told: Told, result: Audit) -> None:
    if told.level != "ok":
        result.warnings.append(f"{what} tells real from fake, AUC {told}")


def _report_copies(items: Items, result: Audit) -> None:
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


def _write(items: Items, rows: Iterator[pa.RecordBatch], options: AuditOptions, result: Audit, source: str) -> None:
    assert options.out is not None
    out = Store(uris.place(options.out))
    written = write_manifest_without(items, rows, out, options.duplicates, {"made_from": source})
    result.found["written"] = {"manifest": options.out, "items": written}
    if options.duplicates == "drop":
        result.found["written"]["dropped"] = int(items.surplus.sum())
    else:
        result.found["written"]["grouped"] = int(sum(name is not None for name in items.new_groups))
