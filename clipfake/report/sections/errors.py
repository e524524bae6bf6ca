"""Errors: the most frequent, with their most frequent reasons."""

from collections.abc import Iterator
from typing import Any

from clipfake.report.sections import CARE, Doubt, Found, Section
from clipfake.report.tallies import TALLIES, Question
from clipfake.report.wording import share
from clipfake.status import Status

ERRORS_MANY = 0.05
_EXAMPLES = 4
_PASSING = [status.value for status in Status if status.may_pass]


def _query(question: Question) -> dict[str, Any]:
    formats = f"SELECT format, {TALLIES} FROM $rows GROUP BY format ORDER BY n DESC, format LIMIT 12"
    return {"errors": errors(question), "formats": question.tallies(formats)}


def errors(question: Question) -> list[dict[str, Any]]:
    """By status: rows, whether the next run tries again, and the most frequent reasons, each with an example.

    Reasons that differ only in numbers are one.
    """
    found = question.rows.ask(
        f"""SELECT status, min(error) AS error, min(item_id) AS item_id, count(*) AS n,
                count(*) OVER (PARTITION BY status) AS kinds, sum(count(*)) OVER (PARTITION BY status)::BIGINT AS total
            FROM $rows WHERE status <> 'ok' GROUP BY status, regexp_replace(error, '[0-9]+', '0', 'g')
            QUALIFY row_number() OVER (PARTITION BY status ORDER BY count(*) DESC, min(error)) <= {_EXAMPLES}
            ORDER BY total DESC, status, n DESC"""
    )
    kinds: dict[str, dict[str, Any]] = {}
    for row in found:
        status = row["status"]
        may_pass = status in _PASSING
        kind = {"status": status, "n": row["total"], "may_pass": may_pass, "kinds": row["kinds"], "examples": []}
        kinds.setdefault(status, kind)["examples"].append({name: row[name] for name in ("error", "n", "item_id")})
    return list(kinds.values())


def _doubts(found: Found) -> Iterator[Doubt]:
    total = found["total"]
    if total["n"] and total["errors"] / total["n"] > ERRORS_MANY:
        failed = share(total["errors"] / total["n"])
        yield CARE, f"{failed} of the images have no verdict; they may not be like the others."


SECTION = Section("errors", "Errors", 60, _query, doubts=_doubts)
