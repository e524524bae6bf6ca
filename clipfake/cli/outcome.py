"""What `embed` and `score` print of a finished run, and the exit code that follows from it."""

from typing import Any

import typer

from clipfake.cli.console import print_json, print_table, say


def finish(outcome: Any, out: str, *, as_json: bool, dry_run: bool) -> None:
    """Prints what a run did and exits with its code."""
    record = outcome.record
    if as_json:
        print_json(record)
    elif dry_run:
        speed = record["images_per_second"]
        rows = [(key.replace("_", " "), _shown(value)) for key, value in record.items()]
        print_table(("dry run", out), rows)
        if speed is None:
            print("No expected time: no earlier run into this folder has been measured.")
    else:
        print_table(
            ("status", "rows"), sorted(record["status"].items(), key=lambda kv: -kv[1]) or [("(nothing to do)", 0)]
        )
        if record["verdict"]:
            print_table(("verdict", "rows"), sorted(record["verdict"].items()))
        _print_unfamiliar(record["unfamiliar"])
        found = record["found"]
        print(
            f"{found['listed']} listed, {found['done']} already done, {found['new']} new ({found['changed']} changed), "
            f"{found['retried']} tried again, {record['finished_for_earlier_runs']} left over from earlier runs; "
            f"{record['rows']} rows committed in {record['seconds']['total']:.1f} s -> {out}"
        )
        for kind, count in {**record["skipped"], **record["warnings"]}.items():
            print(f"{count} skipped or warned of: {kind}")
        if record["busy"]:
            print(slowest(record))
        if record["steady"]:
            print(steady(record))
    if outcome.exit_code:
        errors, rows = outcome.totals.errors, outcome.totals.rows
        share = f" ({errors / rows:.1%})" if rows else ""
        say(
            f"{errors} of {rows} rows have an error{share}; with what the listing could not read that is more than "
            "--max-error-rate allows. The rows are committed"
        )
        raise typer.Exit(outcome.exit_code)


def slowest(record: dict[str, Any]) -> str:
    """Where the time of the work went: each stage's share of the seconds that its actors had, the largest first."""
    shares = sorted(record["busy"].items(), key=lambda kv: -kv[1])
    (first, most), rest = shares[0], ", ".join(f"{name} {share:.0%}" for name, share in shares[1:])
    who = "the driver's" if first == "writing" else "its actors'"
    line = f"slowest: {first}, {most:.0%} of {who} {record['seconds']['work']:.1f} s ({rest})"
    if sum(record["busy"].values()) < 0.5:
        line += "; most of the time went into the start of the actors and into waiting"
    return line


def steady(record: dict[str, Any]) -> str:
    """The rate once the encoders were warm, and how much of that time they waited for what comes before them."""
    found, before = record["steady"], {name: record["busy"].get(name, 0.0) for name in ("reading", "decoding")}
    return (
        f"steady: {found['images_per_second']:,.0f} images/s for {found['seconds']:.1f} s, in which the encoder waited "
        f"{found['waited']:.0%} of the time for {max(before, key=lambda name: before[name])}"
    )


def _print_unfamiliar(counts: dict[str, int]) -> None:
    """Next to nothing unfamiliar is said in one line; what deserves a look, plainly."""
    scored = counts.get("scored")
    if not scored:
        return
    parts = ", ".join(f"{n / scored:.1%} farther than {float(q):.0%} of it" for q, n in counts.items() if q != "scored")
    print(f"unfamiliar: against what the detector was trained on, {parts} (5% and 1% are usual)")
    if counts["0.99"] > 0.1 * scored:
        print(
            f"{counts['0.99'] / scored:.0%} of these images look like nothing the detector has seen: "
            "its figures say little about them."
        )


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
