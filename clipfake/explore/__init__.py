"""Looking around in stored embeddings: what is similar, and which clusters there are."""
