"""`clipfake prevalence`: a few lines over clipfake.report.prevalence."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.options import Json


def prevalence(
    reports: Annotated[str, typer.Argument(help="Folder that `clipfake score` wrote.")],
    detector: Annotated[
        str | None, typer.Option(help="Folder of the detector that scored; by default the one that scored last.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Also estimate it by folder, host or day (of scoring, in UTC).")
    ] = None,
    top: Annotated[int, typer.Option(help="Number of largest groups to print; the others are added up.", min=1)] = 50,
    audit: Annotated[
        str | None, typer.Option(help="labels.csv of a `clipfake review`: its random sample gives the share too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate how much of a corpus is fake. The share called fake is corrected for the detector's error rates.

    The band supposes images like those of the test part, in any mix of their sources; where they are not, that is said.
    """
    from dataclasses import asdict

    from clipfake.report.audited import audited
    from clipfake.report.prevalence import prevalence as run
    from clipfake.scoring.chosen_detector import named_or_of_folder
    from clipfake.storage import uri as uris
    from clipfake.storage.store import Store

    bundle = named_or_of_folder(detector, Store(uris.place(reports))).load()
    seen = audited(reports, bundle.fingerprint, audit) if audit else None
    found = run(reports, bundle, by, top)
    if as_json:
        print_json(asdict(found) | ({"audit": asdict(seen)} if seen else {}))
        return
    columns = ("scored items", "n", "called fake", "fake", "95% low", "high", "unlike", "doubt")
    estimates = [("all", found.whole), *found.groups.items()]
    print_table(columns, [_row(name, one) for name, one in estimates])
    r = found.rates
    print(
        f"corrected for a TPR of {r.tpr:.1%} (of {r.fakes} fakes) and an FPR of {r.fpr:.2%} (of {r.reals} reals) "
        f"on the test part, at decisions from {r.decision:.4f}"
    )
    if found.whole.by_source:
        print("the 95 % band allows for any mix of the generators and of the sources of reals of the test part")
    else:
        print("the 95 % band supposes the mix of generators and sources of the test part")
    for doubt in found.whole.doubts:
        print(f"doubtful: {doubt}")
    if seen:
        _print_audit(seen)


def _row(name: str, one: Any) -> tuple[Any, ...]:
    shares = [_percent(share) for share in (one.called / one.n, one.value, one.low, one.high, one.unlike)]
    return (name, one.n, *shares, "yes" if one.doubts else "no")


def _print_audit(seen: Any) -> None:
    rows = [
        (name, one.n, one.fakes, *(_percent(share) for share in (one.value, one.low, one.high)))
        for name, one in [("all", seen.whole), *((f"called {name}", one) for name, one in seen.verdicts.items())]
    ]
    print_table(("random sample", "labelled", "fake", "share", "95% low", "high"), rows)
    print(
        f"as people labelled a random sample of {seen.drawn_from} scored items; left out: {seen.undecided} that nobody "
        f"could tell, {seen.gone} without a scored row"
    )
    if seen.scored != seen.drawn_from:
        print(f"doubtful: the report has {seen.scored} scored items now, so the sample is not one of all of them")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
