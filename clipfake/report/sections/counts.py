"""Do the counts agree? What must be equal, and the runs."""

from collections.abc import Iterator

from clipfake.report.sections import BAD, Doubt, Found, Section


def _doubts(found: Found) -> Iterator[Doubt]:
    if not all(check["holds"] for check in found["checks"]):
        yield BAD, "The counts do not reconcile: see “Do the counts agree?” below."


SECTION = Section("counts", "Counts", 90, doubts=_doubts)
