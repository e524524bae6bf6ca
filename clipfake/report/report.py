"""`clipfake report`: from a report folder, its run records and its detector to one HTML file."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from clipfake import __version__
from clipfake.detector.bundle import Detector
from clipfake.detector.inspection import load
from clipfake.detector.inspection import summary as described
from clipfake.errors import UsageError
from clipfake.measures.prevalence import estimate, rates_of
from clipfake.report import summary
from clipfake.report.drift import Drift, drift
from clipfake.report.model_card import render_model_card
from clipfake.report.options import PageOptions
from clipfake.report.page import render_report
from clipfake.report.prevalence import evidence
from clipfake.report.reconcile import checks, runs_of
from clipfake.report.thumbnails import thumbnails
from clipfake.scoring.detector_stage import Bundle
from clipfake.storage import uri as uris
from clipfake.storage.reports import Rows, below, chosen_detector, detectors, footer_of, latest, open_report, rows_of
from clipfake.storage.runs import read_records
from clipfake.storage.store import Store


def make_page(place: str, out: str, options: PageOptions, compared: Drift | None = None) -> dict[str, Any]:
    """Writes the page and returns what it shows, without pictures.

    compared : what its section on drift shows; by default a run, the last or that of `options`, against earlier ones

    Raises UsageError where the folder is no report, or has no rows of that detector or run.
    """
    folder, name = page_place(out, "--out", apart_from=place)
    found = summarise(place, options, compared)
    kinds = [found["highest"], found["unsure"], found["unfamiliar_items"], found["declared"]["items"]]
    wanted = {item["item_id"]: item for kind in kinds for item in kind}
    made = dict(zip(wanted, thumbnails(list(wanted.values()), bytes_column(found["runs"])), strict=True))
    folder.write_bytes(name, render_report(found, made).encode())
    return found


def make_model_card(detector: str, result: Mapping[str, Any], out: str) -> None:
    """Writes the model card of the detector at `detector`. result : of `clipfake.evaluation.evaluate.evaluate`"""
    folder, name = page_place(out, "--html")
    folder.write_bytes(name, render_model_card(result, described(load(detector))).encode())


def page_place(out: str, option: str, apart_from: str | None = None) -> tuple[Store, str]:
    """The folder and the name of a page. Raises UsageError for what is no place of one, naming the option.

    apart_from : a report folder, in which no page may lie
    """
    folder, _, name = uris.place(out).rpartition("/")
    if not name.endswith((".html", ".htm")):
        raise UsageError(f"{option} is the page's file: give a name that ends in .html")
    if apart_from is not None and folder == uris.place(apart_from):
        raise UsageError(f"a report folder holds nothing but its rows: choose another place for {option}")
    return Store(folder), uris.shown(name)


def summarise(place: str, options: PageOptions, compared: Drift | None = None) -> dict[str, Any]:
    """Everything that the page says, as JSON values: `clipfake.report.summary.summarise`, and where it comes from."""
    ledger = open_report(place)
    store = ledger.store
    bundle, wanted = named_bundle(options.detector)
    records = [record for record in read_records(store) if record.get("command") == "score"]
    dataset = ledger.dataset()
    if options.below is not None:
        dataset = dataset.filter(below(options.below))
    with rows_of(dataset) as rows:
        there = detectors(rows)
        detector = chosen_detector(there, wanted, place, last=True)
        records = [record for record in records if record.get("key") == detector]
        footer = footer_of(ledger, detector)
        thresholds = json.loads(footer.get("thresholds", "[]"))
        mine = latest(rows, detector, [options.run_id] if options.run_id else None)
        found = summary.summarise(mine, thresholds, options.shown)
        if not found["total"]["n"]:
            which = f"run {options.run_id}: _runs/ names its runs" if options.run_id else f"items below {options.below}"
            raise UsageError(f"{place} has no rows of {which}")
        bundle = bundle or _recorded_bundle(records, detector)
        no_prevalence = _estimate(found, mine, bundle)
        by_run = rows.ask("SELECT run_id, count(*) AS n FROM $rows WHERE detector = $d GROUP BY 1", d=detector)
    here = {row["run_id"]: row["n"] for row in by_run}
    if options.below is not None:
        records = [record for record in records if record["run_id"] in here or _source(record) == options.below]
    runs = runs_of(records, here)
    judged = compared or drift(store.uri, options.run_id or max(here))
    return {
        "place": store.uri,
        "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "clipfake": __version__,
        "detector": detector,
        "detectors": there,
        "run_id": options.run_id,
        "below": options.below,
        "footer": {name: footer.get(name) for name in ("encoder", "precision", "version")},
        "thresholds": [t | {"probability": bundle and bundle.probability_at(t["decision"])} for t in thresholds],
        "bundle": described(bundle) if bundle else None,
        "records_declared": "declared" in footer["columns"],
        "no_prevalence": no_prevalence,
        "drift": asdict(judged) | {"alarm": judged.alarm},
        "rows": sum(here.values()),
        "runs": runs,
        "checks": checks(found, runs, sum(here.values())),
        **found,
    }


def _estimate(found: dict[str, Any], rows: Rows, bundle: Detector | None) -> str | None:
    """Puts `prevalence`, of clipfake.measures.prevalence, to each tally; or says why there is none."""
    groups = [*found["days"], *found["folders"], *found["hot_folders"], *filter(None, [found["other_folders"]])]
    for tally in (found["total"], *groups):
        tally["prevalence"] = None
    if bundle is None:
        return "name the detector's folder with --detector."
    try:
        rates = rates_of(bundle.thresholds, bundle.metrics)
    except UsageError as error:
        return f"{error}."
    if rates.decision != found["flag"]["decision"]:
        return "the detector states none at the threshold that is counted here."
    effect, misfit = evidence(rows, rates, bundle.metrics)
    far, measured = found["unfamiliar"]["0.99"], found["unfamiliar"]["measured"]
    for tally in (found["total"], *groups):
        whole = tally is found["total"]  # what is known of all alone
        unlike = far / measured if measured and whole else None
        if tally["scored"]:
            counts = tally["flagged"], tally["scored"]
            tally["prevalence"] = asdict(estimate(*counts, rates, unlike, effect, misfit if whole else None))
    return None


def named_bundle(place: str | None) -> tuple[Detector | None, str | None]:
    """The bundle at a place, and the beginning of the fingerprint that is asked for."""
    if place is None:
        return None, None
    if len(place) >= 6 and not set(place) - set("0123456789abcdef") and not Store(uris.place(place)).exists():
        return None, place
    detector = load(place)
    return detector, detector.fingerprint


def _recorded_bundle(records: list[dict[str, Any]], detector: str) -> Detector | None:
    """The bundle where the last run found it, if it is there and still the same."""
    for record in reversed(records):
        options = record.get("options") or {}
        if options.get("detector"):
            try:
                found = Bundle.recorded(options).load()
            except (UsageError, OSError):
                return None
            return found if found.fingerprint == detector else None
    return None


def _source(record: Mapping[str, Any]) -> str | None:
    return (record.get("options") or {}).get("source")


def bytes_column(runs: list[dict[str, Any]]) -> str | None:
    """The Parquet column that the last run read images from."""
    for run in reversed(runs):
        if run["options"]:
            return (run["options"].get("fetch") or {}).get("bytes_column")
    return None
