"""`clipfake drift`: a few lines over clipfake.report.drift."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json, print_table, sentence
from clipfake.cli.options import Json
from clipfake.errors import ExitCode
from clipfake.measures.drift_limits import DriftLimits


def drift(
    place: Annotated[str, typer.Argument(help="Folder of a report, or of embeddings.", metavar="REPORTS")],
    limits: DriftLimits,
    run: Annotated[str | None, typer.Option(help="The run to judge; by default the last.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A run, a folder of reports or embeddings, or validation; by default all earlier runs."),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Folder of the run's detector, for --against validation.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a run with earlier ones; exits with 4 on an alarm.

    It compares scores, unfamiliarity, errors, formats and sizes. An alarm is a difference that exceeds its limit and
    that chance does not explain.
    """
    from dataclasses import asdict

    from clipfake.report.drift import drift as run_it

    found = run_it(place, run, against, detector, limits)
    if as_json:
        print_json(asdict(found) | {"alarm": found.alarm})
    else:
        table = [(f.measure, f"{f.value:.3f}", f"{f.limit:g}", f"{f.p:.2g}", "ALARM" if f.alarm else "", f.said)
                 for f in found.findings]  # fmt: skip
        print_table(("measure", "value", "limit", "by chance", "alarm", "most of it"), table)
        for note in found.notes:
            print(sentence(note))
        print(f"{found.current} against {found.reference}: {'drift' if found.alarm else 'no alarm'}")
    if found.alarm:
        raise typer.Exit(ExitCode.DRIFT)
