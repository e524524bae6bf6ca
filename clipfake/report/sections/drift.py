"""Drift: whether what was scored last is like what was scored before."""

from collections.abc import Iterator

from clipfake.report.sections import CARE, Doubt, Found, Section


def _doubts(found: Found) -> Iterator[Doubt]:
    if found["drift"]["alarm"]:
        measures = ", ".join(one["measure"] for one in found["drift"]["findings"] if one["alarm"])
        yield CARE, f"The last run is unlike the runs before it ({measures}): see “Drift” below."


SECTION = Section("drift", "Drift", 80, doubts=_doubts)
