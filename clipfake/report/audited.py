"""`clipfake prevalence --audit`: how much is fake by the labels that people gave to a random sample of a report."""

from dataclasses import dataclass

import pyarrow as pa

from clipfake.corpus.layouts.csv_rows import CsvFile
from clipfake.errors import UsageError
from clipfake.measures.intervals import Interval, wilson
from clipfake.report.review import COLUMNS, RANDOM
from clipfake.storage import uri as uris
from clipfake.storage.reports import latest, open_report, rows_of

_WORDS = {"real": "real", "0": "real", "fake": "fake", "1": "fake", "": "undecided"}


@dataclass(frozen=True)
class Share:
    """`fakes` of `n` labelled items, as a share with Wilson's 95 % interval; None where n is 0."""

    n: int
    fakes: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Audited:
    """What the labels of the random sample say of the whole report, whatever the detector does.

    whole : of all; verdicts : verdict -> of its items, so that 1 - value of "real" is how often "real" is right
    undecided : items of the sample that nobody could tell, left out; gone : that the report has no scored row of
    drawn_from : scored items when the sample was drawn; scored : now
    """

    whole: Share
    verdicts: dict[str, Share]
    undecided: int
    gone: int
    drawn_from: int
    scored: int


def audited(reports: str, detector: str, labels: str) -> Audited:
    """Counts the random items of the `labels.csv` that a page of `clipfake review` saved; chosen ones say nothing.

    detector : its fingerprint; verdicts are those of the report's latest rows

    Raises UsageError where the file is no such table, or holds no random item that this detector scored.
    """
    given, drawn_from = _sample(labels)
    report = open_report(reports)
    with rows_of(report.dataset(), ordered=False) as rows:
        mine = latest(rows, detector)
        (scored,) = mine.ask("SELECT count(*) AS n FROM $rows WHERE decision IS NOT NULL")
        mine.register("sampled", pa.Table.from_pydict(given).to_reader())
        counts = mine.ask(
            """SELECT label, verdict, count(*) AS n FROM sampled
               LEFT JOIN (FROM $rows WHERE decision IS NOT NULL) USING (item_id) GROUP BY ALL"""
        )
    there = [row for row in counts if row["verdict"] is not None]
    if not there:
        raise UsageError(f"{reports} has no scored row of the items in {labels}: give the report they were drawn from")

    def share(verdict: str | None) -> Share:
        n = {word: sum(row["n"] for row in there if row["label"] == word and verdict in (None, row["verdict"]))
             for word in ("real", "fake")}  # fmt: skip
        labelled = sum(n.values())
        ends: Interval = wilson(n["fake"], labelled)
        return Share(labelled, n["fake"], n["fake"] / labelled if labelled else None, *ends)

    return Audited(
        share(None),
        {verdict: share(verdict) for verdict in ("fake", "unsure", "real")},
        sum(row["n"] for row in there if row["label"] == "undecided"),
        sum(row["n"] for row in counts) - sum(row["n"] for row in there),
        drawn_from,
        scored["n"],
    )


def _sample(labels: str) -> tuple[dict[str, list[str]], int]:
    """The random items as columns item_id and label, and how many items they were drawn from."""
    table = CsvFile(uris.place(labels))
    if lacking := sorted(set(COLUMNS) - set(table.columns)):
        raise UsageError(
            f"{labels} has no column {', '.join(lacking)}: give the labels.csv that a page of `clipfake review` saved"
        )
    found: dict[str, str] = {}
    populations = set()
    for line, row in table.rows():
        if row["sample"].strip() != RANDOM:
            continue
        word = _WORDS.get(row["label"].strip().lower())
        if word is None:
            raise table.error(line, f"the label {row['label']!r} is neither real nor fake")
        if row["image_path"] in found:
            raise table.error(line, "the item is there twice")
        if not row["population"].strip().isdecimal():
            raise table.error(line, f"the population {row['population']!r} is no number")
        found[row["image_path"]] = word
        populations.add(int(row["population"]))
    if len(populations) > 1:
        raise UsageError(f"{labels} holds samples of several reviews: give the labels of one")
    if not found:
        raise UsageError(f"{labels} has no item of the random sample: answer some, or make the page with --sample")
    return {"item_id": list(found), "label": list(found.values())}, populations.pop()
