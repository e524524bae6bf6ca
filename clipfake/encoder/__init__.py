"""Pixels -> CLIP embeddings: open_clip behind one small class, with a description whose fingerprint says what it is."""
