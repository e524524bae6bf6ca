"""Embeddings -> verdict: the head and its triplet loss, the SVM, calibration, thresholds, and the bundle on disk."""
