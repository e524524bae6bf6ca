"""Bytes -> pixels: decoding within limits and CLIP preprocessing, in child processes that import little."""
