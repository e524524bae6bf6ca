"""May these verdicts be trusted? What the sections of the page say against it and for it, as one answer."""

from collections.abc import Mapping
from typing import Any

from clipfake.report.sections import BAD, CARE, GOOD, sections

_ANSWERS = {BAD: "No", CARE: "With care", GOOD: "Within its limits"}


def trust(found: Mapping[str, Any]) -> dict[str, Any]:
    """{"answer", "tone", "reasons": [{"tone", "text"}]}, the weightiest first: of one tone, the last section's.

    found : of `clipfake.report.report.summarise`
    """
    order = [BAD, CARE, GOOD]
    doubts = [doubt for section in reversed(sections()) for doubt in section.doubts(found)]
    reasons = [{"tone": tone, "text": text} for tone, text in sorted(doubts, key=lambda one: order.index(one[0]))]
    tone = min((reason["tone"] for reason in reasons), key=order.index, default=GOOD)
    return {"answer": _ANSWERS[tone], "tone": tone, "reasons": reasons}
