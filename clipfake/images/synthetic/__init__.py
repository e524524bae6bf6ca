"""The demo's images: scenes of two photographs, and what re-synthesis makes of them."""
