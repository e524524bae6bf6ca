"""clipfake finds AI-generated images in collections too large for one machine."""

__version__ = "0.1.0"
