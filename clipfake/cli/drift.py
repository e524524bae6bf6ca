"""`clipfake prevalence|drift`: each a few lines over the package."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.options import Json

EXIT_DRIFT = 4

Reports = Annotated[str, typer.Argument(help="Folder that `clipfake score` wrote.")]


def prevalence(
    reports: Reports,
    detector: Annotated[str, typer.Option(help="Folder of the detector that scored it.", show_default=False)],
    by: Annotated[str | None, typer.Option(help="Also by folder, host or day (scored, UTC).")] = None,
    top: Annotated[int, typer.Option(help="How many of the largest groups; the others are added up.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """How much of it is fake: the share called fake, corrected for the detector's error rates, with a 95 % interval.

    It holds where only the share of fakes differs from the test data; where the images are unlike them, that is said.
    """
    from dataclasses import asdict

    from clipfake.report.prevalence import prevalence as run

    found = run(reports, detector, by, top)
    if as_json:
        print_json(asdict(found))
        return
    columns = ("scored items", "n", "called fake", "fake", "95% low", "high", "unlike", "doubt")
    estimates = [("all", found.whole), *found.groups.items()]
    print_table(columns, [_row(name, one) for name, one in estimates])
    r = found.rates
    print(
        f"corrected for a TPR of {r.tpr:.1%} (of {r.fakes} fakes) and an FPR of {r.fpr:.2%} (of {r.reals} reals) "
        f"on the test part, at decisions from {r.decision:.4f}"
    )
    for doubt in found.whole.doubts:
        print(f"doubtful: {doubt}")


def drift(
    place: Annotated[str, typer.Argument(help="Folder of a report, or of embeddings.", metavar="REPORTS")],
    run: Annotated[str | None, typer.Option(help="Which run; by default the last.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A run, a folder of reports or embeddings, or validation; by default all earlier runs."),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="Folder of the run's detector, for --against validation.")
    ] = None,
    ks: Annotated[float, typer.Option(help="Largest difference of two cumulative distributions.")] = 0.1,
    psi: Annotated[float, typer.Option(help="Population stability index.")] = 0.2,
    errors: Annotated[float, typer.Option(help="Difference of the shares of errors.")] = 0.02,
    mean: Annotated[float, typer.Option(help="Distance of mean embeddings, in standard deviations.")] = 0.25,
    alpha: Annotated[float, typer.Option(help="An alarm needs a difference that chance gives no more often.")] = 0.001,
    as_json: Json = False,
) -> None:
    """Whether a run differs from what was before: scores, unfamiliarity, errors, formats, sizes; exit 4 on an alarm.

    An alarm is a difference that is beyond its limit and beyond chance.
    """
    from dataclasses import asdict

    from clipfake.measures.shift import Limits
    from clipfake.report.drift import drift as run_it

    found = run_it(place, run, against, detector, Limits(ks, psi, errors, mean, alpha))
    if as_json:
        print_json(asdict(found) | {"alarm": found.alarm})
    else:
        table = [(f.measure, f"{f.value:.3f}", f"{f.limit:g}", f"{f.p:.2g}", "ALARM" if f.alarm else "", f.said)
                 for f in found.findings]  # fmt: skip
        print_table(("measure", "value", "limit", "by chance", "alarm", "most of it"), table)
        for note in found.notes:
            print(f"{note[0].upper()}{note[1:]}.")
        print(f"{found.current} against {found.reference}: {'drift' if found.alarm else 'no alarm'}")
    if found.alarm:
        raise typer.Exit(EXIT_DRIFT)


def _row(name: str, one: Any) -> tuple[Any, ...]:
    shares = [_percent(share) for share in (one.called / one.n, one.value, one.low, one.high, one.unlike)]
    return (name, one.n, *shares, "yes" if one.doubts else "no")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
