"""Labels and scores -> tables: the split into parts, and the metrics."""
