"""`clipfake drift`: whether a run differs from earlier ones, from another folder or from the validation data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from clipfake.detector.bundle import Detector
from clipfake.detector.inspection import load
from clipfake.errors import UsageError
from clipfake.measures.drift_limits import DriftLimits
from clipfake.measures.shift import (
    BIN_SQL,
    Difference,
    Moments,
    Profile,
    compare,
    histogram_of,
    mean_shift,
    nearest_mixture,
)
from clipfake.measures.unit_shares import design_effect, shares_of, units_sql
from clipfake.storage import uri as uris
from clipfake.storage.duckdb import temporary_database
from clipfake.storage.embeddings import newest_rows, stored_embeddings
from clipfake.storage.ledger import SCAN, Ledger
from clipfake.storage.reports import Rows, below, footer_of, latest, open_report, rows_of
from clipfake.storage.store import kind_of
from clipfake.storage.vectors import matrix_of

VALIDATION = "validation"


@dataclass(frozen=True)
class Drift:
    """What was compared with what, each measure, and what a reader must know."""

    current: str
    reference: str
    findings: list[Difference]
    notes: list[str] = field(default_factory=list)

    @property
    def alarm(self) -> bool:
        """Whether any measure raises one."""
        return any(finding.alarm for finding in self.findings)


def drift(
    place: str,
    run: str | None = None,
    against: str | None = None,
    detector: str | None = None,
    limits: DriftLimits | None = None,
) -> Drift:
    """Compares one run of a report, by default the last, or a folder of embeddings, with something else.

    against : a run of the same report, a folder of reports or embeddings, or "validation", the data that `detector` was
        calibrated on; by default all earlier runs of the report
    detector : a folder; else the detector of the run

    A first run is compared with nothing, without an alarm. Raises UsageError where a place or run is not there, and
    where scores of two detectors would be compared.
    """
    limits, bundle = limits or DriftLimits(), load(detector) if detector else None
    if kind_of(uris.place(place)) == "embeddings":
        return _of_embeddings(place, run, against, bundle, limits)
    report = open_report(place)
    with rows_of(report.dataset()) as rows:
        return _of_runs(report, rows, place, run, against, bundle, limits)


def _of_runs(
    report: Ledger, rows: Rows, place: str, run: str | None, against: str | None, bundle: Detector | None,
    limits: DriftLimits,
) -> Drift:  # fmt: skip
    runs = _runs(rows)
    run = run or max(runs)
    if run not in runs:
        raise UsageError(f"{place} has no rows of run {run}; the last is {max(runs)}")
    key = runs[run]
    if bundle and bundle.fingerprint != key:
        raise UsageError(
            f"run {run} was scored by detector {key[:12]}, not by {bundle.fingerprint[:12]}: give that one"
        )
    called = _called(report, key)
    current = _profile(latest(rows, key, [run]), called)
    if against == VALIDATION:
        reference, notes = _validation(_needed(bundle), current)
        return Drift(f"run {run}", VALIDATION, compare(current, reference, limits), notes)
    if against is None or against in runs:
        chosen = [name for name in runs if runs[name] == key and (name == against if against else name < run)]
        if against and not chosen:
            raise UsageError(f"run {against} was scored by another detector than run {run}: scores cannot be compared")
        if not chosen:  # the first night of a scheduler is no error
            return Drift(f"run {run}", "0 earlier runs", [], ["this is the detector's first run here"])
        reference = _profile(latest(rows, key, chosen), called)
        said = f"run {against}" if against else f"{len(chosen)} earlier runs"
        return Drift(f"run {run}", said, compare(current, reference, limits))
    if kind_of(uris.place(against)) == "embeddings":
        reference = _image_profile(stored_embeddings(uris.place(against)))
        notes = ["embeddings have no scores: only what the images are like was compared"]
        return Drift(f"run {run}", against, compare(current, reference, limits), notes)
    with rows_of(open_report(against).dataset()) as others:
        if key not in _runs(others).values():
            raise UsageError(
                f"{against} holds no rows of run {run}'s detector: scores of two detectors cannot be compared"
            )
        return Drift(f"run {run}", against, compare(current, _profile(latest(others, key), called), limits))


def drift_of_places(
    reports: str, detector: str, place: str, before: Sequence[str], limits: DriftLimits | None = None
) -> Drift:
    """Compares the rows that the detector with this fingerprint gave items below `place` with those below other places.

    Where there are none of the others, it is compared with nothing, without an alarm. Places are canonical URIs.
    """
    report = open_report(reports)
    called, profiles = _called(report, detector), []
    for places in ([place], before):
        with rows_of(report.dataset().filter(below(*places))) as rows:
            profiles.append(_profile(latest(rows, detector), called))
    current, reference = profiles
    if not reference.statuses:
        return Drift(place, "0 earlier nights", [], ["none of the nights before has rows of this detector"])
    return Drift(place, f"the {len(before)} nights before", compare(current, reference, limits or DriftLimits()))


def _of_embeddings(
    place: str, run: str | None, against: str | None, bundle: Detector | None, limits: DriftLimits
) -> Drift:
    if run is not None or against is None:
        raise UsageError("embeddings are compared whole: give --against EMBEDDINGS or validation, and no --run")
    one = stored_embeddings(uris.place(place))
    if against == VALIDATION:
        bundle = _needed(bundle)
        bundle.check_encoder(one.key)
        if bundle.reference is None:
            raise UsageError("this detector has no reference points: train it again")
        mean = Moments()
        mean.add(bundle.reference.points.numpy())
        notes = ["the reference points are training images, as many fakes as reals: another share of fakes shows too"]
        return Drift(place, "reference points", [_mean(_moments(one), mean, limits)], notes)
    if kind_of(uris.place(against)) != "embeddings":
        raise UsageError(f"{against} holds no embeddings: give --against a folder of them, or validation")
    two = stored_embeddings(uris.place(against))
    if one.key != two.key:
        raise UsageError(f"{place} and {against} are of different encoders: they cannot be compared")
    findings = compare(_image_profile(one), _image_profile(two), limits)
    return Drift(place, against, [_mean(_moments(one), _moments(two), limits), *findings])


def _needed(bundle: Detector | None) -> Detector:
    if bundle is None:
        raise UsageError("--against validation needs --detector, whose folder describes the validation data")
    return bundle


def _runs(rows: Rows) -> dict[str, str]:
    """run id -> its detector; ids sort by time."""
    found = rows.ask("SELECT run_id, any_value(detector) AS detector FROM $rows GROUP BY 1")
    return {row["run_id"]: row["detector"] for row in found}


def _called(report: Ledger, detector: str) -> dict[str, str]:
    """What an item may be called -> the SQL for it: at or above each threshold of the detector, and unsure."""
    thresholds = json.loads(footer_of(report, detector).get("thresholds", "[]"))
    reached = {f"at the {100 * t['fpr']:g} % threshold": f"decision >= {float(t['decision'])!r}" for t in thresholds}
    return {**(reached or {"above 0": "decision > 0"}), "unsure": "verdict = 'unsure'"}


_SCORES = ("decision", "unfamiliarity")
_FACTS = ("format", "width", "height", "status")


def _profile(rows: Rows, called: Mapping[str, str] | None = None) -> Profile:
    """The profile of rows with _FACTS; where there are scores, `called` says what of them is counted by units."""
    scores = _SCORES if called else ()
    side = "floor(log2(nullif(least(width, height), 0)))::INTEGER"
    kinds = {name: BIN_SQL.format(name) for name in scores} | {"format": "format", "size": side, "status": "status"}
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in kinds.items())
    sets = ", ".join(f"({name})" for name in kinds)
    profile = Profile()
    query = (
        f"SELECT {', '.join(kinds)}, count(*) AS n FROM (SELECT {chosen} FROM $rows) GROUP BY GROUPING SETS ({sets})"
    )
    for row in rows.ask(query):
        for name in kinds:
            if row[name] is not None:  # the others of the row are null: it counts one of them
                _count(profile, name, row[name], row["n"])
    if called:
        (sums,) = rows.ask(units_sql("$rows", called))
        profile.shares, profile.effect = shares_of(sums, called), design_effect(sums)
    return profile


def _image_profile(ledger: Ledger) -> Profile:
    """The profile of the images of stored embeddings."""
    with temporary_database() as database:
        scanner = newest_rows(ledger).scanner(columns=list(_FACTS), filter=pc.field("view") == 0, **SCAN)
        database.register("images", scanner.to_reader())
        return _profile(Rows(database, "images"))


def _count(profile: Profile, name: str, value: Any, n: int) -> None:
    if name in ("decision", "unfamiliarity"):
        getattr(profile, name)[value] += n
    elif name == "size":
        profile.sizes[f"{2**value}..{2 ** (value + 1) - 1} pixels"] += n
    else:
        (profile.formats if name == "format" else profile.statuses)[value] += n


def _validation(bundle: Detector, current: Profile) -> tuple[Profile, list[str]]:
    """What the bundle says of its validation data, at the share of fakes that fits the decisions best."""
    notes, profile = (
        ["formats, sizes and errors: the bundle does not say; --against the EMBEDDINGS of training"],
        Profile(),
    )
    n = bundle.metrics.get("val", {}).get("n")
    quantiles = bundle.metrics.get("val_quantiles")
    if quantiles is None or n is None:
        notes.append("this detector is older than the record of validation decisions: train it again to compare those")
    elif current.decision.sum():
        real, fake = (histogram_of(quantiles[name]) for name in ("real", "fake"))
        share, mixture = nearest_mixture(current.decision, real, fake)
        profile.decision = mixture * n
        notes.append(
            f"decisions are compared with the mixture of validation reals and fakes that is nearest, {share:.1%} fake"
        )
    if bundle.reference is not None and n is not None:  # its quantiles are those of the validation items
        profile.unfamiliarity = histogram_of([0.0, 1.0]) * n
    return profile, notes


def _moments(ledger: Ledger) -> Moments:
    """Of the embeddings of images, at length 1."""
    moments = Moments()
    only = (pc.field("view") == 0) & (pc.field("status") == "ok")
    for batch in newest_rows(ledger).scanner(columns=["embedding"], filter=only, **SCAN).to_batches():
        x = matrix_of(batch["embedding"])[1].astype(np.float64)
        moments.add(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))
    if not moments.n:
        raise UsageError(f"{ledger.store.uri} holds no embedding with status ok")
    return moments


def _mean(one: Moments, two: Moments, limits: DriftLimits) -> Difference:
    value, p = mean_shift(one, two)
    return Difference("embedding mean", value, limits.mean, p, value > limits.mean and p <= limits.alpha)
