"""A user's own model that enlarges pictures, named as `module:function`, in the place of the proxy for one."""

import functools
import importlib
from collections.abc import Callable

from PIL import Image

from clipfake.errors import UsageError

Enlarger = Callable[[Image.Image, float], Image.Image]


@functools.cache
def load_enlarger(name: str) -> Enlarger:
    """The function that `module:function` names, tried on a small picture: (RGB image, scale) -> RGB image.

    It must be importable in every process that decodes. Raises UsageError where it is not, or gives something else.
    """
    module, colon, function = name.partition(":")
    if not (colon and module and function):
        raise UsageError(f"--enlarger takes module:function, not {name!r}")
    try:
        enlarge: Enlarger = getattr(importlib.import_module(module), function)
        found = enlarge(Image.new("RGB", (16, 12)), 2.0)
    except Exception as error:  # whatever a stranger's module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UsageError(f"--enlarger {name} cannot be used: {reason}") from error
    if not isinstance(found, Image.Image) or found.mode != "RGB" or found.size != (32, 24):
        raise UsageError(f"--enlarger {name} must give an RGB image of twice the size for a scale of 2")
    return enlarge
