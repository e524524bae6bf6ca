"""Which detector a run scores with: the one that is named, else the one that its report folder goes on with."""

import logging
from contextlib import suppress
from itertools import islice

from clipfake.detector.named import load_detector, names, newest
from clipfake.detector.variants import variants
from clipfake.errors import UsageError
from clipfake.scoring.detector_stage import Bundle
from clipfake.scoring.speed import RECORDS
from clipfake.storage.runs import newest_records
from clipfake.storage.store import Store

log = logging.getLogger(__name__)


def detector_of_folder(out: Store) -> Bundle:
    """For a run without --detector: the detector of the last run into this folder, as it scored there.

    So a new version of this package never scores a folder anew; where it brings a newer detector, the log says so. For
    a folder without runs it is the package's newest. Raises UsageError where the detector is not there any more, or has
    changed, and where the package has none.
    """
    records = [record for record in islice(newest_records(out), RECORDS) if record["command"] == "score"]
    if not records:
        return Bundle(newest())
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
    return Bundle.recorded(last["options"])._replace(place=candidate)


def named_or_of_folder(detector: str | None, out: Store) -> Bundle:
    """The detector that is named, as it is; else that of `detector_of_folder`."""
    return detector_of_folder(out) if detector is None else Bundle(detector)


def _scores_alike(detector: str, fingerprint: str) -> bool:
    """Whether it is there and has this fingerprint, as it is or as what else it can score as."""
    with suppress(UsageError, OSError):
        return any(one.fingerprint == fingerprint for one in variants(load_detector(detector)))
    return False
