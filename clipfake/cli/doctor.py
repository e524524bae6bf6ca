"""`clipfake doctor`: a few lines over clipfake.operate.doctor."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import Json, Only
from clipfake.operate.options import Question


def doctor(
    question: Annotated[
        Question, Only("detector", "out", "encoder", "timeout", "num_cpus", "encoders_per_gpu", "scale_to")
    ],
    source: Annotated[str | None, typer.Argument(help="Corpus, manifest or embeddings that is to be scored.")] = None,
    as_json: Json = False,
) -> None:
    """Say before a run what fits, what would fail or hang and why, and how fast it may be; exit 1 where it would fail.

    Asks every node of the cluster that RAY_ADDRESS names, else of one on this machine, and writes and removes one small
    file in --out.
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
