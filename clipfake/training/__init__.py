"""The flow `train`: stored embeddings -> split, head, classifier, calibration, thresholds -> a detector."""
