"""`clipfake nightly`: the nights of a crawl, each scored, compared with the nights before and shown on a page."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from clipfake.errors import ClipfakeError, ExitCode, UsageError, first_line
from clipfake.operate.options import NIGHTS_LIMIT, NightlyOptions
from clipfake.report.drift import drift_of_places
from clipfake.report.report import PageOptions, make_page, page_place
from clipfake.scoring.chosen_detector import named_or_of_folder
from clipfake.scoring.job import Outcome
from clipfake.scoring.score import score
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.compaction import compact
from clipfake.storage.failures import explained
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store, check_apart, kind_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crawl:
    """Where each night lies. template : a place with the night's date in it, `{date}` or `{date:%Y/%m/%d}`"""

    template: str

    def __post_init__(self) -> None:
        one, two = (self.place(date(2026, 11, day)) for day in (9, 10))
        if one == two or one.startswith(f"{two}/") or two.startswith(f"{one}/"):
            raise UsageError(
                "the corpus must name another place for each night: write {date} or {date:%Y/%m/%d} into it, for "
                "example s3://crawls/{date}"
            )

    def place(self, night: date) -> str:
        """The canonical URI of a night. Raises UsageError for a template that names anything but the date."""
        try:
            return uris.place(self.template.format(date=night))
        except (LookupError, ValueError, AttributeError):
            raise UsageError(
                "the corpus is no template: {date} is all that it may name; {{ and }} stand for braces"
            ) from None


def parse_nights(text: str, today: date | None = None) -> list[date]:
    """The nights that `text` names: a date YYYY-MM-DD, today or yesterday (in UTC), or FIRST..LAST of such."""
    today = today or datetime.now(UTC).date()
    named = {"today": today, "yesterday": today - timedelta(days=1)}

    def one(word: str) -> date:
        try:
            return named[word] if word in named else datetime.strptime(word, "%Y-%m-%d").date()
        except ValueError:
            raise UsageError(
                f"--date takes YYYY-MM-DD, today, yesterday, or two of these as FIRST..LAST, not {text!r}"
            ) from None

    first, sign, last = text.partition("..")
    begin, end = one(first), one(last if sign else first)
    if not 0 <= (end - begin).days < NIGHTS_LIMIT:
        raise UsageError(f"--date {text} must go forward in time, over {NIGHTS_LIMIT} nights at most")
    return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]


def nightly(
    corpus: str, nights: list[date], detector: str | None, out: str, pages: str, options: NightlyOptions,
    progress: Callable[[int], Progress],
) -> dict[str, Any]:  # fmt: skip
    """Scores each night into the report `out`, compacts, compares, writes `pages`/DATE.html; returns JSON values.

    detector : its name, path or URI; by default the one that `out` goes on with, else the package's newest

    Of the nights before them those that were scored are listed again: what came late is scored, and what may pass is
    tried again. That one of them is gone is no error.

    A night that fails does not keep the others from being done: its entry has `error`. Run again, it scores what is new
    or may pass and makes the same page.

    Raises UsageError for what is wrong with all nights, before anything is written.
    """
    crawl, began = Crawl(corpus), time.monotonic()
    chosen = named_or_of_folder(detector, Store(uris.place(out)))
    detector, image_only, decoder = chosen
    scan = replace(options.scan, decoder=decoder, image_only=image_only)
    options, key = replace(options, scan=scan), chosen.load().fingerprint
    for night in nights:
        page_place(_page(pages, night), "--pages", apart_from=out)
        for option, folder in (("--out", out), ("--pages", pages), ("--save-embeddings", options.save_embeddings)):
            if folder is not None:
                check_apart(crawl.place(night), uris.place(folder), option)
    before = _scored_before(crawl, nights, out, key, options.again)
    done = [_scored(crawl.place(night), night, detector, out, options, progress) for night in nights]
    earlier = [_scored(crawl.place(night), night, detector, out, options, progress) for night in before]
    compacted = {place: _compacted(place) for place in (out, options.save_embeddings) if place}
    for entry, night in zip([*done, *earlier], [*nights, *before], strict=True):
        if entry["error"] is None and (entry in done or entry["rows"]):  # an earlier night's page where it changed
            _shown(entry, crawl, night, key, out, _page(pages, night), options.against)
    codes = {entry["exit_code"] for entry in done} | {entry["exit_code"] for entry in earlier} & {ExitCode.FAILED}
    return {
        "command": "nightly",
        "exit_code": min(codes - {ExitCode.DONE}, default=ExitCode.DONE),
        "detector": key,
        "reports": uris.place(out),
        "nights": done,
        "earlier": earlier,
        "compacted": compacted,
        "seconds": round(time.monotonic() - began, 1),
    }


def _scored_before(crawl: Crawl, nights: list[date], out: str, key: str, count: int) -> list[date]:
    """Of the `count` nights before the first one those that a run of this detector has scored into `out`."""
    sources = {
        record["options"].get("source") for record in read_records(Store(uris.place(out))) if record["key"] == key
    }
    before = (min(nights) - timedelta(days=n) for n in range(1, count + 1))
    return [night for night in before if crawl.place(night) in sources]


def _scored(
    place: str, night: date, detector: str, out: str, options: NightlyOptions, progress: Callable[[int], Progress]
) -> dict[str, Any]:
    """The night's entry, with what scoring did."""
    log.info("night %s: scoring %s", night, place)
    entry: dict[str, Any] = {"date": str(night), "source": place, "exit_code": ExitCode.DONE, "error": None}

    def run() -> Outcome:
        if kind := kind_of(place):
            raise UsageError(f"{place} holds {kind}; nightly takes the images themselves and lists them")
        return score(place, detector, out, options.scan, progress, options.save_embeddings, options.encoder)

    outcome = _attempt(entry, run)
    if outcome is not None:
        record = outcome.record
        kept = ("run_id", "found", "finished_for_earlier_runs", "rows", "status", "verdict", "images_per_second")
        entry |= {name: record[name] for name in kept} | {"exit_code": outcome.exit_code}
    return entry


def _shown(entry: dict[str, Any], crawl: Crawl, night: date, key: str, out: str, page: str, against: int) -> None:
    """Adds drift against the nights before, and the page, of all the night's items, whichever run scored them."""
    place = crawl.place(night)
    before = [crawl.place(night - timedelta(days=n)) for n in range(1, against + 1)]

    def run() -> None:
        found = drift_of_places(out, key, place, before)
        shown = make_page(out, page, PageOptions(detector=key, below=place), found)
        alarms = [finding.measure for finding in found.findings if finding.alarm]
        entry["items"] = shown["total"]["n"]
        entry["flagged"] = shown["total"]["flagged"]
        entry["drift"] = {"alarm": found.alarm, "against": found.reference, "alarms": alarms}
        entry["page"] = uris.place(page)
        if found.alarm:
            entry["exit_code"] = entry["exit_code"] or ExitCode.DRIFT

    _attempt(entry, run)


def _attempt(entry: dict[str, Any], run: Callable[[], Any]) -> Any:
    """What `run` gives; where it fails None, with the reason and its exit code in the entry."""
    try:
        return run()
    except Exception as error:  # whatever it is, the other nights are not to wait for it
        log.debug("the night %s failed", entry["date"], exc_info=True)
        told = explained(error) or ClipfakeError(f"{type(error).__name__}: {first_line(error)}")
        entry |= {"exit_code": told.exit_code, "error": str(told)}
    return None


def _compacted(place: str) -> dict[str, Any]:
    """What compaction did; units left open by a night that failed, or another run, keep it for the next night."""
    try:
        return asdict(compact(place))
    except ClipfakeError as error:
        return {"left": str(error)}


def _page(pages: str, night: date) -> str:
    return f"{pages.rstrip('/')}/{night}.html"
