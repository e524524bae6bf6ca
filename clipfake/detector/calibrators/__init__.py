"""Calibrators: from a decision to a probability."""
