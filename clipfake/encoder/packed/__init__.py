"""The family `packed`: an open_clip image tower with int8 weights in one file, and the default one, `clip-b16`."""
