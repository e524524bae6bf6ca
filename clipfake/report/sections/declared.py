"""What the files say of themselves, beside the verdict; and those that say so and are called real."""

from typing import Any

from clipfake.report.sections import Section
from clipfake.report.tallies import TALLIES, Question


def _query(question: Question) -> dict[str, Any]:
    declared = "FROM $rows WHERE declared IS NOT NULL"
    (total,) = question.tallies(f"SELECT {TALLIES} {declared}")
    rows = question.tallies(f"SELECT declared, {TALLIES} {declared} GROUP BY 1 ORDER BY n DESC, 1 LIMIT 12")
    against = question.ranked("declared IS NOT NULL AND verdict = 'real'", "decision", question.shown // 2)
    return {"declared": {"total": total, "rows": rows, "items": against}}


SECTION = Section("declared", "What files say", 50, _query)
