"""Limits: what a score can never say."""

from clipfake.report.sections import Section

SECTION = Section("limits", "Limits", 110)
