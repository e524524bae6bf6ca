"""`clipfake review`: the items of a report that are worth a person's look, as one page that saves their labels."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from clipfake.errors import UsageError
from clipfake.report.options import CHOSEN_KINDS, ReviewOptions
from clipfake.report.report import bytes_column, named_bundle, page_place
from clipfake.report.sections import look
from clipfake.report.tallies import Question
from clipfake.report.thumbnails import Thumbnail, thumbnails
from clipfake.report.wording import environment
from clipfake.storage.reports import Rows, chosen_detector, detectors, footer_of, latest, open_report, rows_of
from clipfake.storage.runs import read_records

RANDOM = "random"  # of `sample` in labels.csv; the others are CHOSEN
CHOSEN = "chosen"
COLUMNS = ("image_path", "label", "sample", "population", "verdict", "detector")  # of labels.csv
_SECONDS_PER_ITEM = 2.0


def make_review(place: str, out: str, options: ReviewOptions) -> dict[str, Any]:
    """Writes the page; -> {"items", "random", "population", "without_picture", "detector"}, the first four as counts.

    The random items are a simple random sample of all that the detector scored (`population`), each by its latest row;
    the same seed draws the same. All items stand in one random order, so that those that were answered when a person
    stops are a random sample too, and nobody knows which kind is next.

    Raises UsageError where the folder is no report, or has no scored rows of that detector.
    """
    folder, name = page_place(out, "--out", apart_from=place)
    report = open_report(place)
    _, wanted = named_bundle(options.detector)
    with rows_of(report.dataset(), ordered=False) as rows:
        detector = chosen_detector(detectors(rows), wanted, place, last=True)
        thresholds = json.loads(footer_of(report, detector).get("thresholds", "[]"))
        population, items = _items(latest(rows, detector), thresholds, options)
    if not population:
        raise UsageError(f"{place} holds no item that was scored: there is nothing to review")
    records = [record for record in read_records(report.store) if record.get("key") == detector]
    seconds = _SECONDS_PER_ITEM * len(items)
    pictures = thumbnails(items, bytes_column(records), seconds, options.pixels)
    folder.write_bytes(name, render_review(items, pictures, population, detector).encode())
    return {
        "items": len(items),
        "random": sum(item["sample"] == RANDOM for item in items),
        "population": population,
        "without_picture": sum(picture.uri is None for picture in pictures),
        "detector": detector,
    }


def render_review(
    items: Sequence[Mapping[str, Any]], pictures: Sequence[Thumbnail], population: int, detector: str
) -> str:
    """The page as text; it runs the one script that its policy names by digest, and asks nobody for anything.

    items : of a report's rows, with `kinds` and `sample`; pictures : one an item
    """
    made = environment()
    assert made.loader is not None
    script, _, _ = made.loader.get_source(made, "review.js")
    identity = hashlib.sha256("\n".join([detector, *(item["item_id"] for item in items)]).encode()).hexdigest()
    return made.get_template("review.html.j2").render(
        shots=list(zip(items, pictures, strict=True)),
        population=population,
        detector=detector,
        columns=",".join(COLUMNS),
        script=Markup(script),
        digest=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        identity=identity[:16],
    )


def _items(
    rows: Rows, thresholds: Sequence[Mapping[str, Any]], options: ReviewOptions
) -> tuple[int, list[dict[str, Any]]]:
    """How many were scored, and the items to look at, each once, in random order."""
    (scored,) = rows.ask("SELECT count(*) AS n FROM $rows WHERE decision IS NOT NULL")
    question = Question(rows, thresholds, 0.0, options.shown)
    drawn = question.all_of(f"decision IS NOT NULL ORDER BY md5('{options.seed} ' || item_id) LIMIT {options.sample}")
    chosen = look.SECTION.query(question) if options.shown else {}
    items: dict[str, dict[str, Any]] = {}
    for kind, found in [(RANDOM, drawn), *((CHOSEN_KINDS[kind], found) for kind, found in chosen.items())]:
        for row in found:
            item = items.setdefault(row["item_id"], row | {"kinds": []})
            item["kinds"].append(kind)
    for item in items.values():
        item["sample"] = RANDOM if RANDOM in item["kinds"] else CHOSEN

    def place(item: Mapping[str, Any]) -> bytes:  # another order than that of the draw
        return hashlib.sha256(f"order {options.seed} {item['item_id']}".encode()).digest()

    return scored["n"], sorted(items.values(), key=place)
