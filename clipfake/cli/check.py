"""`clipfake check`: one picture or a few, answered in the terminal, without Ray and without a report folder."""

import mimetypes
import os
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json
from clipfake.english import counted
from clipfake.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector

MOST = 100  # images of a folder


def check(
    files: Annotated[
        list[str], typer.Argument(help="Images: paths or URIs. A folder stands for its images, up to 100.")
    ],
    detector: Annotated[
        str | None,
        typer.Option(
            help="Name of a detector in the package, its path or URI; by default the newest one.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge one picture or a few. Prints verdicts and how sure one may be; exits with 3 where one is unreadable."""
    places = [place for file in files for place in images_at(file)]
    from clipfake.detector.named import load_detector, newest
    from clipfake.scoring.few_images import score_images

    name = detector or newest()
    loaded = load_detector(name)
    rows = [answer(row, loaded) for row in score_images(places, loaded)]
    if as_json:
        print_json({"detector": {"name": name, "fingerprint": loaded.fingerprint}, "images": rows})
    else:
        print("\n\n".join(as_text(row) for row in rows))
        print(f"\n{summary(rows)}; detector {name} ({loaded.fingerprint[:12]})")
    if any(row["status"] != "ok" for row in rows):
        raise typer.Exit(ExitCode.TOO_MANY_ERRORS)  # verdicts do not change it


def images_at(file: str) -> list[str]:
    """The canonical URI of an image; of a folder those of its images, told by name or content, sorted by folder.

    Raises UsageError for a folder of more than MOST.
    """
    from clipfake.corpus.listing import list_files
    from clipfake.corpus.tally import Tally
    from clipfake.storage import uri as uris

    place = uris.place(file)
    if not _is_folder(place):
        return [place]
    images = list(islice((entry.uri for entry in list_files(place, Tally()) if _is_image(entry.uri)), MOST + 1))
    if len(images) > MOST:
        raise UsageError(f"{file} holds more than {MOST} images: score them with `clipfake score {file} --out REPORTS`")
    return images or [place]  # the folder itself then gets a row that says what it is


def answer(row: Mapping[str, Any], detector: "Detector") -> dict[str, Any]:
    """The row, and what it means: `threshold_fpr`, the smallest rate of real images that reach the threshold which this
    image reaches, None for none; `next_threshold`, the lowest that it does not reach, None for none; and `how_sure`, in
    a sentence, None where there is no score.
    """
    scored = row["status"] == "ok"
    reached = [t.fpr for t in detector.thresholds if scored and row["decision"] >= t.decision]
    above = [t for t in detector.thresholds if scored and row["decision"] < t.decision]
    lowest = min(above, key=lambda t: t.decision, default=None)
    return {
        **row,
        "threshold_fpr": min(reached, default=None),
        "next_threshold": lowest and {"fpr": lowest.fpr, "probability": detector.probability_at(lowest.decision)},
        "how_sure": how_sure(row, detector) if scored else None,
    }


def how_sure(row: Mapping[str, Any], detector: "Detector") -> str:
    """What weighs most for or against the verdict, in a sentence or two."""
    from clipfake.measures.thresholds import expected_precision

    if detector.encoder.get("weights") == "untrained":
        return "The encoder has random weights: this says nothing about the image."
    if not detector.thresholds:
        return "The detector has no threshold at a known false-positive rate, so nobody knows how often it errs."
    if row["unfamiliarity"] is not None and row["unfamiliarity"] > 0.99:
        return "The image is unlike what the detector was trained on: its error rates say little about it."
    if row["declared"] and row["verdict"] != "fake":
        return "The file says that it was generated. Metadata can be forged, but here it weighs more than the verdict."
    rates = detector.metrics.get("at_thresholds", {})
    by_fpr = sorted(detector.thresholds, key=lambda t: t.fpr)
    strict, loose = by_fpr[0].fpr, by_fpr[-1].fpr
    if row["verdict"] == "unsure":
        return f"Up to {percent(loose)} of real images score as high: look at the image, and at where it comes from."
    if row["verdict"] == "real":
        tpr = rates.get(str(loose), {}).get("tpr")
        missed = "some" if tpr is None else percent(1 - tpr)
        return f"It misses {missed} of the generated images of its own test, and more of those of newer generators."
    sure = f"Up to {percent(strict)} of real images get this verdict too"
    if (tpr := rates.get(str(strict), {}).get("tpr")) is None:
        return f"{sure}."
    right = expected_precision(0.01, tpr, strict) or 0.0
    return f"{sure}: where 1 of 100 images is generated, it is right in {percent(right)} of the cases."


def as_text(row: Mapping[str, Any]) -> str:
    """The answer as lines for a terminal."""
    name = _shown(row["item_id"])
    if row["status"] != "ok":
        return f"{name}: no answer\n  {row['status']}: {printed(row['error'])}"
    far = row["unfamiliarity"]
    lines = [
        ("probability", f"{row['probability']:.3f} that it is generated; {_reached(row)}"),
        ("unfamiliarity", "not measured" if far is None else f"{far:.3f}, where 0.99 is farther from the training "
                                                             "images than 99 % of such images"),
        ("the file says", printed(row["declared"]) if row["declared"] else "nothing of being generated"),
        ("how sure", row["how_sure"]),
    ]  # fmt: skip
    return "\n".join([f"{name}: {row['verdict']}", *(f"  {label:<13}  {text}" for label, text in lines)])


def summary(rows: list[dict[str, Any]]) -> str:
    """How many have which verdict.

    >>> summary([{"verdict": "fake"}, {"verdict": "real"}, {"verdict": "fake"}, {"verdict": None}])
    '4 images: 2 fake, 1 real, 1 without an answer'
    """
    counts = Counter(row["verdict"] or "without an answer" for row in rows)
    order = ("fake", "unsure", "real", "without an answer")
    found = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if counts[verdict])
    return f"{counted(len(rows), 'image')}: {found}"


def percent(share: float) -> str:
    """A share in percent with two digits.

    >>> percent(0.0512), percent(0.001), percent(0.87), percent(1)
    ('5.1 %', '0.1 %', '87 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def printed(text: str) -> str:
    """A stranger's text in one line, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _reached(row: Mapping[str, Any]) -> str:
    """Which thresholds are reached, and where the next one is: it may be far above a probability of a half."""
    reached, above = row["threshold_fpr"], row["next_threshold"]
    next_one = above and f"{percent(above['fpr'])} false positives, which is at {above['probability']:.3f}"
    if reached is None:
        return f"below the lowest threshold, for {next_one}" if above else "the detector has no threshold"
    found = f"it reaches the threshold for {percent(reached)} false positives"
    return f"{found}, not that for {next_one}" if above else found


def _shown(item_id: str) -> str:
    from clipfake.storage import uri as uris

    return printed(uris.shown(item_id).removeprefix("file://"))


def _is_folder(place: str) -> bool:

    from clipfake.storage import uri as uris

    if uris.is_local(place):
        return os.path.isdir(uris.to_path(place))  # noqa: PTH112 - pathlib has no bytes
    from pyarrow.fs import FileType

    filesystem, path = uris.filesystem(place)
    return filesystem.get_file_info(path).type == FileType.Directory


def _is_image(uri: str) -> bool:

    from clipfake.corpus.layouts.magic import HEAD_BYTES, looks_like_image
    from clipfake.corpus.source import read_head

    kind = mimetypes.guess_type(uri)[0] or ""
    return kind.startswith("image/") or looks_like_image(read_head(uri, HEAD_BYTES))
