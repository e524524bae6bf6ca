"""The command line as a whole: the app, its commands in groups, and the entry point."""

import logging
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from clipfake import __version__
from clipfake.cli import (
    audit,
    calibrate,
    check,
    clusters,
    compact,
    demo,
    detector,
    doctor,
    drift,
    embed,
    encoder,
    evaluate,
    export,
    filter,
    groups,
    import_,
    index,
    nightly,
    prevalence,
    report,
    reproduce,
    review,
    runs,
    score,
    similar,
    train,
)
from clipfake.cli.console import say
from clipfake.cli.options import with_options
from clipfake.errors import ExitCode
from clipfake.onray.connection import exit_on_sigterm
from clipfake.storage.failures import explained

log = logging.getLogger(__name__)

_INTERRUPTED = 128 + signal.SIGINT  # as Typer ends after Ctrl-C
GROUPS = {
    "Start": (check.check, demo.demo, doctor.doctor),
    "Score": (index.index, embed.embed, score.score, report.report, filter.filter_, import_.import_, export.export),
    "Understand": (
        review.review,
        groups.groups,
        prevalence.prevalence,
        drift.drift,
        similar.similar,
        clusters.clusters,
    ),
    "Train": (audit.audit, train.train, calibrate.calibrate, evaluate.evaluate, reproduce.reproduce),
    "Operate": (nightly.nightly, runs.runs, compact.compact),
}


class _InGroups(TyperGroup):
    """The commands under the headings of their groups, in the order in which they were added."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        longest = max(map(len, self.commands))
        for group in GROUPS:
            with formatter.section(group):
                formatter.write_dl(
                    [
                        (name.ljust(longest), command.get_short_help_str(formatter.width - 6 - longest))
                        for name, command in self.commands.items()
                        if getattr(command, "rich_help_panel", None) == group
                    ]
                )


app = typer.Typer(
    cls=_InGroups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Find AI-generated images in collections too large for one machine.",
)
for _group, _commands in GROUPS.items():
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), rich_help_panel=_group)(with_options(_command))
    if _group == "Train":
        app.add_typer(detector.detector_app, name="detector", rich_help_panel=_group)
        app.add_typer(encoder.encoder_app, name="encoder", rich_help_panel=_group)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"clipfake {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option(help="Log more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("clipfake").setLevel(logging.DEBUG if verbose else logging.INFO)


def main(*command: str) -> None:
    """The entry point, or that of one `command`: an error that the user can mend becomes one line and an exit code."""
    exit_on_sigterm()  # which `ray job stop` and Kubernetes send
    if sys.stdout is None:  # closed by the shell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
    try:
        try:
            app([*command, *sys.argv[1:]])
        finally:
            sys.stdout.flush()  # what cannot be written is an error here, and no traceback at the very end
    except SystemExit as ended:
        if ended.code in (signal.SIGTERM, _INTERRUPTED):
            _stopped(128 + signal.SIGTERM if ended.code == signal.SIGTERM else _INTERRUPTED)
        raise
    except KeyboardInterrupt:
        _stopped(_INTERRUPTED)
    except Exception as error:
        _failed(error)


def _failed(error: Exception) -> NoReturn:
    if isinstance(error, OSError):  # it may be stdout's: what is still in its buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # whoever read the output has had enough of it
        sys.exit(ExitCode.FAILED)
    if (told := explained(error)) is None:
        raise error
    log.debug("the whole error", exc_info=error)
    say(f"clipfake: {told}")
    sys.exit(told.exit_code)


def _stopped(code: int) -> NoReturn:
    say("clipfake: stopped; what was committed stays, run the same command again to go on")
    sys.stderr.flush()
    os._exit(code)
