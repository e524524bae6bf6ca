"""`clipfake detector show|verify|diff`: each a few lines over clipfake.detector.inspection."""

from typing import Annotated

import typer

from clipfake.cli.console import print_comparison, print_detector, print_json, print_table
from clipfake.cli.options import Json, Prevalence
from clipfake.errors import UsageError

detector_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What a detector is, whether it still holds, what two have apart."
)


@detector_app.command()
def show(
    place: Annotated[str, typer.Argument(help="Folder that `clipfake train` wrote.", metavar="DETECTOR")],
    prevalence: Prevalence = None,
    as_json: Json = False,
) -> None:
    """What it is: encoder, training data, metrics beside the raw baseline's, thresholds with intervals."""
    from clipfake.detector import inspection
    from clipfake.measures.thresholds import check_prevalence

    check_prevalence(prevalence)
    found = inspection.load(place)
    if as_json:
        print_json(inspection.summary(found, prevalence))
    else:
        print_detector(found, place, prevalence)


@detector_app.command()
def verify(
    place: Annotated[str, typer.Argument(help="Folder that `clipfake train` wrote.", metavar="DETECTOR")],
    encoder: Annotated[
        str | None, typer.Option(help="Where the detector's encoder is, if its weights file moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether it holds here: loads, audits, embeds the test card in each precision that works; exit 2 where not."""
    from dataclasses import asdict

    from clipfake.detector import inspection

    found = inspection.load(place)
    checks = inspection.verify(found, encoder)
    if as_json:
        print_json({"fingerprint": found.fingerprint, "checks": [asdict(check) for check in checks]})
    else:
        rows = [(c.precision, f"{c.deviation:.2g}", f"{c.allowed:.2g}", "no" if c.problem else "yes") for c in checks]
        print_table(("test card", "off by", "allowed", "holds"), rows)
    for problem in (check.problem for check in checks if check.problem):
        raise UsageError(problem)
    if not as_json:
        print(f"detector {found.fingerprint[:16]} is whole, and its encoder is what it was")


@detector_app.command()
def diff(
    one: Annotated[str, typer.Argument(help="Folder of a detector.")],
    two: Annotated[str, typer.Argument(help="Folder of another.")],
    as_json: Json = False,
) -> None:
    """What two detectors have apart, and whether they score alike."""
    from dataclasses import asdict

    from clipfake.detector import inspection

    found = inspection.compare(inspection.load(one), inspection.load(two))
    if as_json:
        print_json(asdict(found))
    else:
        print_comparison(found)
