"""The job `embed`: it fills a folder with the embeddings of a corpus' or a manifest's images."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

from clipfake.corpus.tally import Tally
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.precision import AUTO
from clipfake.errors import UsageError
from clipfake.scoring.commit import Sink
from clipfake.scoring.embeddings import embedding_ledger, embedding_rows
from clipfake.scoring.executor import Session, counted_ahead, opened
from clipfake.scoring.job import Job, Outcome, run_job
from clipfake.scoring.listing import image_listing, reading
from clipfake.scoring.options import EmbedOptions, ScanOptions
from clipfake.scoring.run_precision import chosen_decoder, chosen_precision
from clipfake.scoring.sources import Images, Listing, Work
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Store, kind_of


def embed(
    source: str, encoder: str | EncoderDescription, out: str, options: ScanOptions, progress: Callable[[int], Progress],
    what: EmbedOptions | None = None, chosen: Callable[[Listing], Listing] | None = None,
) -> Outcome:  # fmt: skip
    """Computes the embeddings of a manifest's or a corpus' items into the folder `out`; of what, says `what`.

    chosen : makes of the listing the one that is embedded; what it raises is said before anything is computed
    """
    place, store = uris.place(source), Store(uris.place(out))
    if kind_of(place) in ("embeddings", "report"):
        raise UsageError(f"{source} holds {kind_of(place)}; embed takes a manifest or a corpus")
    options, what, tally = reading(place, options), what or EmbedOptions(), Tally()
    listing = what.checked(image_listing(place, options, {"--out": out}, tally))
    listing = chosen(listing) if chosen else listing
    few, listing = counted_ahead(listing, Images.few, store, options.job.scale_to, len(what.made))
    with opened(options.job.num_cpus, few) as session:  # what is wrong so far is said before
        from clipfake.encoder import describe

        what = replace(what, decoder=embedding_decoder(store, what.decoder, session))
        # It imports open_clip: as many seconds as Ray takes to start.
        described = describe(encoder, what.feature, what.decoder) if isinstance(encoder, str) else encoder
        return embed_listing(listing, place, described, store, options, progress, what, session, tally)


def embed_listing(
    listing: Listing, source: str, encoder: EncoderDescription, out: Store,
    options: ScanOptions, progress: Callable[[int], Progress], what: EmbedOptions, session: Session | None = None,
    tally: Tally | None = None,
) -> Outcome:  # fmt: skip
    """`embed` for listed items, a stream with MANIFEST_SCHEMA; `source`, for the record, says where they come from."""
    precision, views = embedding_precision(out, options.precision, session), len(what.made)
    options = replace(options, precision=precision)
    ledger = embedding_ledger(out, encoder, precision, what)
    job = Job(
        "embed",
        ledger,
        Images(options.fetch, options.limits),
        listing,
        Work(out.uri, encoder, precision, what=what),
        lambda run_id, saves: [Sink(ledger, partial(embedding_rows, schema=ledger.schema, views=views), "rewrites")],
        options={"source": source, "encoder": encoder.name, **options.described(), **asdict(what)},
        views=views,
        tally=tally or Tally(),
    )
    return run_job(job, options.job, progress, session)


def embedding_decoder(out: Store, wanted: str, session: Session) -> str:
    """Of a folder of embeddings: "auto" goes on with the decoder that is there."""
    if wanted == AUTO and kind_of(out.uri) == "embeddings":
        return json.loads(read_footer(stored_embeddings(out.uri).footer)["encoder_description"])["decoder"]
    return chosen_decoder(wanted, session)


def embedding_precision(out: Store, wanted: str | None, session: Session | None = None) -> str:
    """Of a folder of embeddings: fp32 unless asked otherwise; "auto" goes on with the precision that is there."""
    if wanted == AUTO and kind_of(out.uri) == "embeddings":
        return read_footer(stored_embeddings(out.uri).footer)["precision"]
    return chosen_precision(wanted or "fp32", session)
