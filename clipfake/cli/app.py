"""The command line as a whole: the app, its commands in the order of the data's way, and the entry point."""

import logging
import os
import signal
import sys
from typing import Annotated

import typer

from clipfake.cli import (
    audit,
    check,
    detector,
    doctor,
    drift,
    evaluate,
    filter,
    groups,
    index,
    nightly,
    report,
    runs,
    score,
    similar,
    train,
)
from clipfake.cli.console import say
from clipfake.errors import ClipfakeError, UsageError
from clipfake.onray.connection import exit_on_sigterm

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find AI-generated images in collections too large for one machine.",
)

for command in (
    check.check,
    index.index,
    audit.audit,
    score.embed,
    train.train,
    evaluate.evaluate,
    score.score,
    filter.filter_,
    report.report,
    groups.groups,
    score.compact,
    nightly.nightly,
    runs.runs,
    doctor.doctor,
    drift.prevalence,
    drift.drift,
    similar.similar,
    similar.clusters,
    train.reproduce,
    train.pretrain,
    train.demo,
):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(detector.detector_app, name="detector")


@app.callback()
def _root(verbose: Annotated[bool, typer.Option(help="Log more.")] = False) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("clipfake").setLevel(logging.DEBUG if verbose else logging.INFO)


def main(*command: str) -> None:
    """The entry point, or that of one `command`: errors of ours become one line and an exit code."""
    exit_on_sigterm()  # which `ray job stop` and Kubernetes send
    try:
        app([*command, *sys.argv[1:]])
    except UsageError as error:
        say(f"clipfake: {error}")
        sys.exit(2)
    except ClipfakeError as error:
        say(f"clipfake: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _stopped(signal.SIGINT)
    except SystemExit as ended:
        if ended.code == signal.SIGTERM:
            _stopped(signal.SIGTERM)
        raise


def _stopped(by: signal.Signals) -> None:
    say("clipfake: stopped; what was committed stays, run the same command again to go on")
    sys.stderr.flush()
    os._exit(128 + by)


if __name__ == "__main__":
    main()
