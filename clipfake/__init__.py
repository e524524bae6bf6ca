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
    from clipfake.storage.latest_rows import LatestRows
    from clipfake.storage.latest_rows import latest_rows as open_report

__version__ = "0.2.0"
__all__ = ["Detector", "ImageEncoder", "LatestRows", "load_detector", "load_encoder", "open_report", "score_images"]

_HOMES = {
    "Detector": "detector.bundle.Detector",
    "load_detector": "detector.named.load_detector",
    "ImageEncoder": "scoring.few_images.ImageEncoder",
    "load_encoder": "scoring.few_images.load_encoder",
    "score_images": "scoring.few_images.score_images",
    "LatestRows": "storage.latest_rows.LatestRows",
    "open_report": "storage.latest_rows.latest_rows",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clipfake' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].rpartition(".")
    return getattr(import_module(f"clipfake.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
