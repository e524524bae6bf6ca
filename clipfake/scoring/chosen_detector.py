"""Which detector a run scores with: the one that is named, else the one that its report folder goes on with."""

import logging
from contextlib import suppress
from itertools import islice

from clipfake.detector.bundle import Detector
from clipfake.detector.named import load_detector, names, newest
from clipfake.detector.variants import variant, variants
from clipfake.errors import UsageError
from clipfake.scoring.speed import RECORDS
from clipfake.storage.runs import newest_records
from clipfake.storage.store import Store

log = logging.getLogger(__name__)


def detector_of_folder(out: Store) -> tuple[str, str | None]:
    """For a run without --detector: name or URI of the detector of the last run into this folder, and its decoder.

    So a new version of this package never scores a folder anew; where it brings a newer detector, the log says so. For
    a folder without runs it is the package's newest. Raises UsageError where the detector is not there any more, or has
    changed, and where the package has none.
    """
    records = [record for record in islice(newest_records(out), RECORDS) if record["command"] == "score"]
    if not records:
        return newest(), None
    last = max(records, key=lambda record: record["started_at"])  # their names tell seconds only
    fingerprint, place = last["key"], last["options"]["detector"]
    for candidate in (place, *reversed(names())):
        if _scores_alike(candidate, fingerprint):
            break
    else:
        raise UsageError(
            f"{out.uri} was scored with the detector {fingerprint[:12]} of {place}, which is not there any more; "
            "give --detector: its new place to go on with it, or another one to score everything anew"
        )
    if candidate in names() and candidate != newest():
        log.info(
            "%s goes on with %s; the package has a newer detector: --detector %s scores everything anew with it",
            out.uri, candidate, newest(),
        )  # fmt: skip
    return candidate, last["options"].get("decoder")


def named_or_of_folder(detector: str | None, out: Store) -> tuple[str, str | None, Detector]:
    """The detector that is named, else that of `detector_of_folder`; its decoder, None for its own; it, loaded so."""
    decoder = None
    if detector is None:
        detector, decoder = detector_of_folder(out)
    return detector, decoder, variant(load_detector(detector), image_only=False, decoder=decoder)


def _scores_alike(detector: str, fingerprint: str) -> bool:
    """Whether it is there and has this fingerprint, as it is or as what else it can score as."""
    with suppress(UsageError, OSError):
        return any(one.fingerprint == fingerprint for one in variants(load_detector(detector)))
    return False
