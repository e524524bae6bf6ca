"""Items to look at: with the highest decision, nearest to the middle between the thresholds, the least familiar."""

from typing import Any

from clipfake.report.sections import Section
from clipfake.report.tallies import Question


def _query(question: Question) -> dict[str, Any]:
    cuts, shown = [t["decision"] for t in question.thresholds] or [0.0], question.shown
    middle = (min(cuts) + max(cuts)) / 2
    ranked = question.ranked
    return {
        "highest": ranked("decision IS NOT NULL", "decision DESC", shown),
        "unsure": ranked("decision IS NOT NULL", f"abs(decision - ({middle!r}))", shown),
        "unfamiliar_items": ranked("unfamiliarity IS NOT NULL", "unfamiliarity DESC, decision DESC", shown),
    }


SECTION = Section("look", "Look at these", 40, _query)
