"""One pass over labelled images under all conditions, kept as embeddings, and what is left of a detector under each.

The pass is an `embed` whose views are conditions: it commits by unit, so a killed one goes on where it was.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from clipfake.detector.bundle import Detector
from clipfake.detector.named import load_detector
from clipfake.detector.text_input import TextInput
from clipfake.errors import ClipfakeError
from clipfake.evaluation.robustness_tables import sweep
from clipfake.evaluation.stored_images import StoredImages, images_of, listing
from clipfake.images.conditions.conditions import Condition, choose, standard
from clipfake.scoring.embed import embed_listing
from clipfake.scoring.embeddings import embedding_ledger
from clipfake.scoring.options import EmbedOptions, JobOptions, ScanOptions
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.footers import read_footer
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.store import Store
from clipfake.storage.vectors import matrix_of

log = logging.getLogger(__name__)

VIEWS = "views"  # the folder below --out


@dataclass(frozen=True)
class RobustnessOptions:
    """What is measured.

    conditions : names of conditions or of their kinds; none for the standard sweep
    enlarger : the user's model, `module:function`, in the place of the proxy of the standard sweep
    """

    conditions: tuple[str, ...] = ()
    enlarger: str = ""
    job: JobOptions = field(default_factory=JobOptions)

    def __post_init__(self) -> None:
        for condition in self.chosen:
            condition.warm_up()

    @property
    def chosen(self) -> tuple[Condition, ...]:
        return choose(self.conditions, self.enlarger) if self.conditions else standard(self.enlarger)


def robustness(
    embeddings: str, detector: str, items: Sequence[str], out: str, options: RobustnessOptions,
    progress: Callable[[int], Progress],
) -> dict[str, Any]:  # fmt: skip
    """Reads the images of `items` again and measures the detector under each condition; JSON values.

    embeddings : labelled, of the detector's encoder; items : item_ids, which the detector should not have seen
    out : the folder below which the embeddings of the pass are kept, one folder for each choice of conditions

    Returns {"conditions": rows of `sweep`, "items", "left_out": {status: items}, "views": the folder, ...}.
    Raises UsageError before anything is read, ClipfakeError where no image of a class can be read again.
    """
    images, trained = images_of(embeddings, items), load_detector(detector)
    images.check(trained)
    names = tuple(condition.name for condition in options.chosen)
    what = EmbedOptions(
        images.encoder.feature, _template(images, trained), conditions=names, decoder=images.encoder.decoder
    )
    place = Store(uris.place(out)).below(f"{VIEWS}/{_digest(images, what)}")
    slower = sum(condition.seconds for condition in options.chosen)
    scan = ScanOptions(
        precision=images.precision,
        limits=replace(images.limits, timeout_s=images.limits.timeout_s + slower),
        bytes_column=images.fetch.bytes_column,
        job=replace(options.job, max_error_rate=1.0),
    )
    embed_listing(partial(listing, images), images.stored.store.uri, images.encoder, place, scan, progress, what)
    ledger = embedding_ledger(place, images.encoder, images.precision, what)
    decision, status = _decisions(ledger, trained, images, 1 + len(names))
    there = np.isfinite(decision).all(axis=1)
    y = images.y[there]
    if len(np.unique(y)) < 2:
        raise ClipfakeError(f"the images of {embeddings} cannot be read again: {dict(status)}")
    if left_out := {name: count for name, count in status.items() if name != "ok"}:
        log.warning("%d of %d images could not be read again: %s", sum(left_out.values()), len(images.y), left_out)
    return {
        "conditions": sweep(y, decision[there], images.unit[there], options.chosen, trained.thresholds),
        "items": len(y),
        "left_out": left_out,
        "precision": images.precision,
        "enlarger": options.enlarger or None,
        "views": place.uri,
    }


def _decisions(ledger: Ledger, detector: Detector, images: StoredImages, width: int) -> tuple[np.ndarray, Counter[str]]:
    """Decisions (N, width) of the images and their views, NaN where there is none, and the images' statuses."""
    keys = zip(images.rows["item_id"].to_pylist(), images.rows["version"].to_pylist(), strict=True)
    at = {key: row for row, key in enumerate(keys)}
    decision, status = np.full((len(at), width), np.nan), Counter[str]()
    columns = ["item_id", "version", "view", "status", "embedding"] + (["text_embedding"] if detector.text else [])
    for batch in ledger.dataset().scanner(columns=columns, **SCAN).to_reader():
        table = pa.Table.from_batches([batch])
        pairs = zip(table["item_id"].to_pylist(), table["version"].to_pylist(), strict=True)
        rows, view = np.array([at.get(pair, -1) for pair in pairs]), table["view"].to_numpy()
        status.update(table.filter(pa.array((rows >= 0) & (view == 0)))["status"].to_pylist())
        ok, vectors = matrix_of(table["embedding"])
        text = None
        if detector.text is not None:
            known, text = matrix_of(table["text_embedding"])
            vectors, text = vectors[np.isin(ok, known)], text[np.isin(known, ok)]
            ok = np.intersect1d(ok, known)
        mine = rows[ok] >= 0
        if mine.any():
            scores = detector.score(vectors[mine], None if text is None else text[mine])
            decision[rows[ok][mine], view[ok][mine]] = scores.decision
    return decision, status


def _template(images: StoredImages, detector: Detector) -> str | None:
    """How the texts of stored embeddings were made, where the detector reads text."""
    if detector.text is None:
        return None
    footer = read_footer(images.stored.footer)
    detector.text.check(TextInput.from_footer(footer))
    return str(json.loads(footer["text"])["template"])


def _digest(images: StoredImages, what: EmbedOptions) -> str:
    made = [images.encoder.fingerprint, images.precision, what.text, what.conditions]
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:12]
