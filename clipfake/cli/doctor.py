"""`clipfake doctor`: a few lines over clipfake.operate.doctor."""

from typing import Annotated

import typer

from clipfake.cli.console import print_json
from clipfake.cli.options import EncodersPerGpu, Json, NumCpus, ScaleTo


def doctor(
    source: Annotated[str | None, typer.Argument(help="Corpus, manifest or embeddings that is to be scored.")] = None,
    detector: Annotated[str | None, typer.Option(help="Folder that `clipfake train` wrote.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder or URI that is to be written to.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Where the detector's encoder is, if its weights file moved.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds a node may take to answer.", min=1)] = 120.0,
    num_cpus: NumCpus = None,
    encoders_per_gpu: EncodersPerGpu = 1,
    scale_to: ScaleTo = None,
    as_json: Json = False,
) -> None:
    """Say before a run what fits, what would fail or hang and why, and how fast it may be; exit 1 where it would fail.

    Asks every node of the cluster that RAY_ADDRESS names, else of one on this machine, and writes and removes one small
    file in --out.
    """
    from dataclasses import asdict

    from clipfake.operate.doctor import Question, exit_code
    from clipfake.operate.doctor import doctor as run
    from clipfake.scoring.job import JobOptions

    job = JobOptions(num_cpus=num_cpus, encoders_per_gpu=encoders_per_gpu, scale_to=scale_to)
    found = run(Question(source, detector, out, encoder, timeout, job))
    if as_json:
        print_json({"exit_code": exit_code(found), "findings": [asdict(finding) for finding in found]})
    else:
        for one in found:
            state = one.state if one.state == "ok" else one.state.upper()
            print(f"{state:<5}{one.check:<10}{one.node or 'cluster':<16} {one.said}")
    if code := exit_code(found):
        raise typer.Exit(code)
