"""Measuring how many of a detector's verdicts another decoder changes, on the same images embedded by both."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from clipfake import encoder as encoders
from clipfake.detector.bundle import Detector
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.images.resize import GPU_1
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.runs import read_records
from clipfake.storage.store import kind_of
from clipfake.storage.vectors import matrix_of

_KEYS: Final = ["item_id", "version"]


def with_decoder(detector: Detector, own: str, other: str, encoder: str | None = None) -> Detector:
    """The detector with one further decoder: the one that made the embeddings in the folder `other`.

    own : embeddings of the same images by the detector's own decoder, in the same precision
    encoder : where the encoder's weights are, if not where they were

    Raises UsageError where the embeddings are of another encoder, and where the decoder changes too many verdicts.
    """
    further = measured(detector, own, other, encoder)
    if further.problem:
        raise UsageError(further.problem)
    kept = (one for one in detector.decoders if one.decoder != further.decoder)
    return replace(detector, decoders=(*kept, further))


def measured(detector: Detector, own: str, other: str, encoder: str | None = None) -> FurtherDecoder:
    """How the decoder of the embeddings in `other` changes what the detector says of those in `own`."""
    if detector.text is not None:
        raise UsageError("a detector that reads text scores by its own decoder only")
    mine, theirs = _opened(own), _opened(other)
    found, made = read_footer(mine.footer), read_footer(theirs.footer)
    detector.check_encoder(found["encoder"])
    described = replace(
        EncoderDescription.from_dict(detector.encoder),
        decoder=EncoderDescription.from_json(made["encoder_description"]).decoder,
    )
    if described.fingerprint != made["encoder"] or made["encoder"] == found["encoder"]:
        raise UsageError(
            f"{other} must hold embeddings by the detector's encoder and feature and another decoder: make them by "
            "`clipfake embed --for DETECTOR --decoder NAME`"
        )
    if found["precision"] != made["precision"]:
        raise UsageError(
            f"one is of {found['precision']}, the other of {made['precision']}: give both of one precision"
        )
    if described.decoder == GPU_1 and any(run.get("device") != "cuda" for run in read_records(theirs.store)):
        raise UsageError(
            f"{other} was made without a GPU, which decodes otherwise: embed on the machines that will score"
        )
    both = _scored(detector, mine).join(_scored(detector, theirs), _KEYS, join_type="inner", right_suffix=" other")
    changed = pc.sum(pc.not_equal(both["verdict"], both["verdict other"])).as_py() or 0
    moved = pc.max(pc.abs(pc.subtract(both["decision"], both["decision other"]))).as_py() or 0.0
    place = encoders.describe(encoder, described.feature, described.decoder) if encoder else described
    described.check(place)
    card = encoders.load(place).test_card_embedding()
    return FurtherDecoder(described.decoder, both.num_rows, changed, moved, found["precision"], card)


def _opened(folder: str) -> Ledger:
    place = uris.place(folder)
    if kind_of(place) != "embeddings":
        raise UsageError(f"{folder} holds no embeddings: make them by `clipfake embed --for DETECTOR`")
    return stored_embeddings(place)


def _scored(detector: Detector, ledger: Ledger) -> pa.Table:
    """Of each image that has an embedding, not of its views: item_id, version, decision, verdict."""

    def batches() -> Iterator[pa.Table]:
        asked = (pc.field("status") == "ok") & (pc.field("view") == 0)
        for batch in ledger.dataset().to_batches(columns=[*_KEYS, "embedding"], filter=asked, **SCAN):
            _, vectors = matrix_of(batch["embedding"])
            scores = detector.score(vectors)
            yield pa.table(
                {name: batch[name] for name in _KEYS} | {"decision": scores.decision, "verdict": scores.verdict}
            )

    return pa.concat_tables(batches())
