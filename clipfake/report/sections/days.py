"""By day: what was scored each day, and how much of it is flagged."""

from typing import Any

from clipfake.report.figures import charts
from clipfake.report.sections import Found, Section
from clipfake.report.tallies import TALLIES, Question
from clipfake.report.wording import flagged_share


def _query(question: Question) -> dict[str, Any]:
    return {"days": question.tallies(f"SELECT day, {TALLIES} FROM $rows GROUP BY day ORDER BY day")}


def _several(found: Found) -> bool:
    return len(found["days"]) > 1


def _draw(found: Found) -> dict[str, Any]:
    days = found["days"]
    return {"by_day": charts.by_day(days, [flagged_share(day) for day in days]) if _several(found) else None}


SECTION = Section("days", "Days", 20, _query, _draw, there=_several)
