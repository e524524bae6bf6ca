"""The two jobs over items: `embed` fills a folder with embeddings, `score` fills one with report rows."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.manifest import list_corpus, read_manifest
from clipfake.detector.named import identify, load_detector
from clipfake.detector.text_input import TextInput
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import AUTO
from clipfake.errors import UsageError
from clipfake.options import refuse_idle
from clipfake.scoring.chosen_detector import detector_of_folder
from clipfake.scoring.commit import Sink
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
from clipfake.scoring.executor import Listing, Session, begun, looked_into, opened
from clipfake.scoring.job import Job, Outcome, run_job
from clipfake.scoring.options import MANIFEST, NO_IMAGE_READ, EmbedOptions, ScanOptions
from clipfake.scoring.pipeline import Stages
from clipfake.scoring.run_precision import chosen_precision
from clipfake.scoring.waves import Progress
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store, check_apart, kind_of

log = logging.getLogger(__name__)


def embed(
    source: str, encoder: str, out: str, options: ScanOptions, progress: Callable[[int], Progress],
    what: EmbedOptions | None = None,
) -> Outcome:  # fmt: skip
    """Computes the embeddings of a manifest's or a corpus' items into the folder `out`; of what, says `what`."""
    place, store = uris.place(source), Store(uris.place(out))
    if kind_of(place) in ("embeddings", "report"):
        raise UsageError(f"{source} holds {kind_of(place)}; embed takes a manifest or a corpus")
    options, what = reading(place, options), what or EmbedOptions()
    listing = what.checked(_image_listing(place, options, {"--out": out}))
    few, listing = looked_into(listing, "images", store, options.job.scale_to, len(what.made))
    with opened(options.job.num_cpus, few) as session:  # what is wrong so far is said before
        from clipfake.encoder import describe

        # It imports open_clip: as many seconds as Ray takes to start.
        described = describe(encoder, what.feature, what.decoder)
        return embed_listing(listing, place, described, store, options, progress, what, session)


def embed_listing(
    listing: Listing, source: str, encoder: EncoderDescription, out: Store,
    options: ScanOptions, progress: Callable[[int], Progress], what: EmbedOptions, session: Session | None = None,
) -> Outcome:  # fmt: skip
    """`embed` for listed items, a stream with MANIFEST_SCHEMA; `source`, for the record, says where they come from."""
    precision, views = _embedding_precision(out, options.precision, session), len(what.made)
    options = replace(options, precision=precision)
    ledger = embedding_ledger(out, encoder, precision, what)
    job = Job(
        "embed",
        ledger,
        "images",
        listing,
        Stages(out.uri, encoder, precision, options.fetch, options.limits, what=what),
        lambda run_id, saves: [Sink(ledger, partial(embedding_rows, schema=ledger.schema, views=views), "rewrites")],
        options={"source": source, "encoder": encoder.name, **options.described(), **asdict(what)},
        views=views,
    )
    return run_job(job, options.job, progress, session)


def score(
    source: str, detector: str | None, out: str, options: ScanOptions, progress: Callable[[int], Progress],
    save_embeddings: str | None = None, encoder: str | None = None,
) -> Outcome:  # fmt: skip
    """Scores a corpus, a manifest or stored embeddings into the report folder `out`.

    detector : its name, path or URI; by default the one that the folder goes on with, else the package's newest
    encoder : where the detector's encoder is found, if not where it was when the detector was trained
    """
    place = uris.place(source)
    kind, stored = kind_of(place), None
    if kind == "report":
        raise UsageError(f"{source} is a report; score takes a corpus, a manifest or embeddings")
    if kind == "embeddings":
        given = [name for name, value in (("--encoder", encoder), ("--save-embeddings", save_embeddings)) if value]
        refuse_idle(options, "embeddings", NO_IMAGE_READ, given)
        stored = stored_embeddings(place)
        listing: Listing = partial(_stored_listing, stored)
    else:
        options = reading(place, options)
        listing = _image_listing(place, options, {"--out": out, "--save-embeddings": save_embeddings})
    detector = identify(detector) if detector is not None else detector_of_folder(Store(uris.place(out)))
    few, listing = looked_into(
        listing, "embeddings" if stored else "images", Store(uris.place(out)), options.job.scale_to
    )
    with opened(options.job.num_cpus, few) as session:  # Ray starts while the detector's libraries are imported
        job = _scoring(place, listing, stored, detector, out, options, save_embeddings, encoder, session)
        return run_job(job, options.job, progress, session)


def _scoring(
    place: str, listing: Listing, stored: Ledger | None, detector: str, out: str, options: ScanOptions,
    save_embeddings: str | None, encoder: str | None, session: Session,
) -> Job:  # fmt: skip
    """What `score` does with a listing of images, or of `stored` embeddings."""
    store, saves = Store(uris.place(out)), None
    source = "embeddings" if stored else "images"
    trained = load_detector(detector)
    if options.image_only:
        trained = trained.without_text()
    if trained.text is not None and not stored:
        trained.text.check(None)
    description = EncoderDescription.from_dict(trained.encoder)
    if encoder is not None:
        from clipfake.encoder import describe

        description = describe(encoder, description.feature, description.decoder)
        trained.check_encoder(description.fingerprint)
    thresholds = [asdict(threshold) for threshold in trained.thresholds]
    facts = {"detector": trained.fingerprint, "encoder": description.fingerprint, "thresholds": thresholds}
    if stored:
        found = read_footer(stored.footer)
        trained.check_encoder(found["encoder"])
        if trained.text is not None:
            trained.text.check(TextInput.from_footer(found))
        precision = found["precision"]
    else:
        precision = chosen_precision(options.precision or trained.provenance.get("precision", "fp32"), session)
        if save_embeddings:
            target = Store(uris.place(save_embeddings))
            if target.uri == store.uri:
                raise UsageError("--save-embeddings needs a folder of its own, not the report's")
            saves = embedding_ledger(target, description, precision)
    ledger = Ledger(
        store, "report", REPORT_SCHEMA, trained.fingerprint, footer("report", facts | {"precision": precision})
    )

    def sinks(run_id: str, saving: Ledger | None) -> list[Sink]:
        shape = partial(_report_rows, detector=trained.fingerprint, run_id=run_id)
        report = Sink(ledger, shape, "rewrites")
        return (
            [Sink(saving, partial(embedding_rows, schema=saving.schema), "saved"), report]
            if saving is not None
            else [report]
        )

    pipeline = Stages(
        store.uri, description, precision, options.fetch, options.limits, Bundle(detector, options.image_only)
    )
    return Job(
        "score",
        ledger,
        source,
        listing,
        pipeline,
        sinks,
        saves,
        options={"source": place, "detector": detector, **replace(options, precision=precision).described()},
    )


def _embedding_precision(out: Store, wanted: str | None, session: Session | None = None) -> str:
    """Of a folder of embeddings: fp32 unless asked otherwise; "auto" goes on with the precision that is there."""
    if wanted == AUTO and kind_of(out.uri) == "embeddings":
        return read_footer(stored_embeddings(out.uri).footer)["precision"]
    return chosen_precision(wanted or "fp32", session)


def _image_listing(place: str, options: ScanOptions, written: Mapping[str, str | None]) -> Listing:
    """The items of a manifest or a corpus; what is wrong with the place is said here, before anything is written.

    written : option -> the folder that it names
    """
    if kind_of(place) == "manifest":
        idle = ["--columns"] if set(options.listing.columns) - {"image"} else []  # the manifest has the others
        refuse_idle(options, "manifest", MANIFEST, idle)
        manifest = read_manifest(place)
        return lambda: manifest.scanner(**SCAN).to_reader()
    for option, folder in written.items():
        if folder is not None:
            check_apart(place, uris.place(folder), option)
    again = partial(list_corpus, place, options.layout, options.listing)
    return begun(again(), again)


def reading(place: str, options: ScanOptions) -> ScanOptions:
    """The options with the Parquet column that holds the images: as the user says, else as the manifest was made."""
    columns = options.listing.columns
    if kind_of(place) == "manifest":
        path, filesystem = read_manifest(place).files[0], Store(place).filesystem
        made_with = read_footer(pq.read_schema(path, filesystem=filesystem).metadata).get("options", "{}")
        columns = json.loads(made_with).get("columns", {}) | columns
    return replace(options, bytes_column=columns.get("image"))


def _stored_listing(stored: Ledger) -> pa.RecordBatchReader:
    """item_id, version and size of stored embeddings (the images themselves, no views), and where each row lies."""
    columns = ["item_id", "version", "size", "view"]
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("version", pa.string()),
            ("size", pa.int64()),
            ("source", pa.string()),
            ("row", pa.int64()),
        ]
    )

    def batches() -> Any:
        for name in stored.files():
            row = 0
            with pq.ParquetFile(stored.store.path(name), filesystem=stored.store.filesystem) as file:
                for batch in file.iter_batches(columns=columns, batch_size=SCAN["batch_size"]):
                    rows = pa.array(np.arange(row, row + batch.num_rows))
                    source = pa.array([stored.store.uri_of(name)] * batch.num_rows)
                    both = pa.record_batch(
                        [batch["item_id"], batch["version"], batch["size"], source, rows], schema=schema
                    )
                    yield both.filter(pa.array(batch["view"].to_numpy() == 0))
                    row += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema, batches())


def _report_rows(rows: pa.Table, *, detector: str, run_id: str) -> pa.Table:
    now = pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
    for name, value in (("detector", pa.scalar(detector)), ("run_id", pa.scalar(run_id)), ("scored_at", now)):
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    for name in ("declared", "group_id"):  # embeddings may be older than these columns
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
    return rows.select(REPORT_SCHEMA.names).cast(REPORT_SCHEMA)
