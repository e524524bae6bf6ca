"""Pure numbers: metrics, intervals, thresholds, splits, distances between distributions. No files, no Ray."""
