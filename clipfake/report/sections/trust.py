"""May the verdicts be trusted? All that the sections say against them and for them."""

from clipfake.report.sections import Section

SECTION = Section("trust", "Trust", 70)
