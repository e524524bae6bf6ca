"""The job `score`: it fills a folder with report rows, of images or of stored embeddings."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from clipfake.corpus.tally import Tally
from clipfake.detector.named import identify
from clipfake.detector.text_input import TextInput
from clipfake.detector.variants import variants
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.options import refuse_idle
from clipfake.scoring.chosen_detector import detector_of_folder
from clipfake.scoring.commit import Sink
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
from clipfake.scoring.executor import Session, counted_ahead, opened
from clipfake.scoring.job import Job, Outcome, run_job
from clipfake.scoring.listing import image_listing, reading, stored_listing
from clipfake.scoring.options import NO_IMAGE_READ, ScanOptions
from clipfake.scoring.report_rows import report_rows
from clipfake.scoring.run_precision import chosen_precision
from clipfake.scoring.sources import Images, Listing, RowSource, StoredEmbeddings, Work
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import footer, read_footer
from clipfake.storage.ledger import Ledger
from clipfake.storage.schemas import REPORT_SCHEMA
from clipfake.storage.store import Store, kind_of

log = logging.getLogger(__name__)


def score(
    source: str, detector: str | None, out: str, options: ScanOptions, progress: Callable[[int], Progress],
    save_embeddings: str | None = None, encoder: str | None = None,
) -> Outcome:  # fmt: skip
    """Scores a corpus, a manifest or stored embeddings into the report folder `out`.

    detector : its name, path or URI; by default the one that the folder goes on with, else the package's newest
    encoder : where the detector's encoder is found, if not where it was when the detector was trained
    """
    place = uris.place(source)
    kind, stored, tally = kind_of(place), None, Tally()
    if kind == "report":
        raise UsageError(f"{source} is a report; score takes a corpus, a manifest or embeddings")
    if kind == "embeddings":
        given = [name for name, value in (("--encoder", encoder), ("--save-embeddings", save_embeddings)) if value]
        refuse_idle(options, "embeddings", NO_IMAGE_READ, given)
        stored = stored_embeddings(place)
        listing: Listing = partial(stored_listing, stored)
    else:
        options = reading(place, options)
        listing = image_listing(place, options, {"--out": out, "--save-embeddings": save_embeddings}, tally)
    if detector is not None:
        detector = identify(detector)
    else:
        detector, image_only, decoder = detector_of_folder(Store(uris.place(out)))
        options = replace(options, image_only=options.image_only or image_only)
        if options.decoder is None and not stored:
            options = replace(options, decoder=decoder)
    most = (StoredEmbeddings if stored else Images).few
    few, listing = counted_ahead(listing, most, Store(uris.place(out)), options.job.scale_to)
    with opened(options.job.num_cpus, few) as session:  # Ray starts while the detector's libraries are imported
        job = _scoring(place, listing, stored, detector, out, options, save_embeddings, encoder, session)
        job.tally = tally
        return run_job(job, options.job, progress, session)


def _scoring(
    place: str, listing: Listing, stored: Ledger | None, detector: str, out: str, options: ScanOptions,
    save_embeddings: str | None, encoder: str | None, session: Session,
) -> Job:  # fmt: skip
    """What `score` does with a listing of images, or of `stored` embeddings."""
    store, saves = Store(uris.place(out)), None
    source: RowSource = StoredEmbeddings() if stored else Images(options.fetch, options.limits)
    trained = Bundle(detector, options.image_only, options.decoder).load()
    found = read_footer(stored.footer) if stored else {}
    if stored:
        trained = next((one for one in variants(trained) if one.encoder_fingerprint == found["encoder"]), trained)
    if trained.text is not None and not stored:
        trained.text.check(None)
    description = EncoderDescription.from_dict(trained.encoder)
    if encoder is not None:
        from clipfake.encoder import describe

        description = describe(encoder, description.feature, description.decoder)
        trained.check_encoder(description.fingerprint)
    thresholds = [threshold.described() for threshold in trained.thresholds]
    facts = {"detector": trained.fingerprint, "encoder": description.fingerprint, "thresholds": thresholds}
    if stored:
        trained.check_encoder(found["encoder"])
        if "imported" in found and json.loads(found["imported"])["least_cosine"] is None:
            log.warning("these embeddings were imported and not verified: that this encoder made them is a user's word")
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
        report = Sink(ledger, partial(report_rows, detector=trained.fingerprint, run_id=run_id), "rewrites")
        if saving is None:
            return [report]
        return [Sink(saving, partial(embedding_rows, schema=saving.schema), "saved"), report]

    work = Work(store.uri, description, precision, Bundle(detector, options.image_only, description.decoder))
    described = replace(options, precision=precision, decoder=description.decoder).described()
    options_used = {"source": place, "detector": detector, **described}
    return Job("score", ledger, source, listing, work, sinks, saves, options_used)
