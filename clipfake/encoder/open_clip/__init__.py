"""open_clip's models as encoders."""
