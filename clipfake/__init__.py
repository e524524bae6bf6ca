"""clipfake finds AI-generated images in collections too large for one machine.

From Python (docs/python.md): `load_detector`, `load_encoder`, `score_images`, `open_report`; for pipelines of Ray Data,
`clipfake.ray`. Each is imported when it is first asked for, so that `import clipfake` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipfake.detector.bundle import Detector
    from clipfake.detector.named import load_detector
    from clipfake.scoring.few_images import ImageEncoder, load_encoder, score_images

__version__ = "0.1.0"
__all__ = ["Detector", "ImageEncoder", "load_detector", "load_encoder", "score_images"]

_HOMES = {
    "Detector": "detector.bundle",
    "load_detector": "detector.named",
    "ImageEncoder": "scoring.few_images",
    "load_encoder": "scoring.few_images",
    "score_images": "scoring.few_images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clipfake' has no attribute {name!r}")
    return getattr(import_module(f"clipfake.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
