"""Where images come from: places and their URIs, listings, layouts, manifests, and the bytes of an item."""
