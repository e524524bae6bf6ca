"""Bytes -> pixels: decoding within limits and CLIP preprocessing, in child processes; imports Pillow and numpy only."""
