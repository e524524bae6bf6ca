"""What a report holds, as plain values for people to look at: what the sections of its page count."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clipfake.report.options import SHOWN
from clipfake.report.sections import sections
from clipfake.report.tallies import TALLIES, Question
from clipfake.storage.reports import Rows


def flag_threshold(thresholds: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The threshold that counts of fakes are made at: the strictest. Where it is at most 1 %, the verdict is fake."""
    return min(thresholds, key=lambda t: t["fpr"], default=None)


def summarise(rows: Rows, thresholds: Sequence[Mapping[str, Any]], shown: int = SHOWN) -> dict[str, Any]:
    """Everything that the page counts, as JSON values.

    rows : of `clipfake.storage.reports.latest`; thresholds : {"fpr", "decision", "reals"} as the footer has them
    shown : items of each kind

    `flagged` counts what reaches the decision `flag`, that of `flag_threshold`, or above 0 where there is none.
    """
    chosen = flag_threshold(thresholds)
    flag = chosen["decision"] if chosen else math.nextafter(0, 1)
    question = Question(rows, thresholds, flag, shown)
    (total,) = question.tallies(f"SELECT {TALLIES} FROM $rows")
    found = {"flag": {"decision": flag, "fpr": chosen["fpr"] if chosen else None}, "total": total}
    for section in sections():
        found |= section.query(question)
    return found
