"""`clipfake doctor`: a few lines over clipfake.operate.doctor."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json, Only
from clipfake.operate.options import DoctorOptions


def doctor(
    question: Annotated[
        DoctorOptions, Only("detector", "out", "encoder", "timeout", "num_cpus", "encoders_per_gpu", "scale_to")
    ],
    source: Annotated[str | None, typer.Argument(help="The corpus, manifest or folder of embeddings to score.")] = None,
    as_json: Json = False,
) -> None:
    """Check the cluster and the places before a run. Says what would fail or hang, and why; then it exits with 1.

    It asks every node of the cluster that RAY_ADDRESS names, or of a Ray that it starts on this machine. It writes one
    small file into --out and removes it.
    """
    from dataclasses import asdict, replace

    from clipfake.operate.doctor import doctor as run
    from clipfake.operate.doctor import exit_code

    found = run(replace(question, source=source))
    if as_json:
        print_json({"exit_code": exit_code(found), "findings": [asdict(finding) for finding in found]})
    else:
        for one in found:
            state = one.state if one.state == "ok" else one.state.upper()
            print(f"{state:<5}{one.check:<10}{one.node or 'cluster':<16} {one.said}")
    if code := exit_code(found):
        raise typer.Exit(code)
