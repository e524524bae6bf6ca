"""What Prometheus sees of a run, through Ray: its metrics by name, told by the driver and by the actors.

Where there is no Ray in this process, telling does nothing; where Ray's metrics are off, Ray drops them.
"""

import functools
import sys
from collections.abc import Mapping
from typing import Any

# Ray puts "ray_" before a name and "_total" behind a counter's, and adds the node, the process and the job as labels.
METRICS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "clipfake_images": ("Counter", "Images whose rows are committed, by status.", ("status",)),
    "clipfake_bytes": ("Counter", "Bytes of the images whose rows are committed.", ()),
    "clipfake_stage_images": ("Counter", "Images that went through a stage of an actor.", ("stage",)),
    "clipfake_stage_seconds": ("Histogram", "Seconds that a chunk took in a stage of an actor.", ("stage",)),
    "clipfake_commit_seconds": ("Histogram", "Seconds that the commit of a unit took.", ()),
    "clipfake_open_images": ("Gauge", "Images of the plan under way that have not come back from the actors.", ()),
    "clipfake_open_units": ("Gauge", "Units of the wave under way that are not committed.", ()),
    "clipfake_gpu_memory_bytes": ("Gauge", "GPU memory of an actor: held, and at most needed.", ("kind",)),
}
BOUNDARIES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


def stage_done(stage: str, images: int, seconds: float) -> None:
    """An actor has put a chunk of so many images through a stage."""
    if _connected():
        _metric("clipfake_stage_seconds").observe(seconds, {"stage": stage})
        _add("clipfake_stage_images", images, {"stage": stage})
        _tell_gpu_memory()


def unit_committed(status: Mapping[str, int], size: int, seconds: float) -> None:
    """The driver has committed a unit: its images by status, their bytes, how long that took."""
    if _connected():
        for name, images in status.items():
            _add("clipfake_images", images, {"status": name})
        _add("clipfake_bytes", size, {})
        _metric("clipfake_commit_seconds").observe(seconds)


def queue(images: int, units: int) -> None:
    """What is still open."""
    if _connected():
        _metric("clipfake_open_images").set(images)
        _metric("clipfake_open_units").set(units)


def _tell_gpu_memory() -> None:
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for kind, used in (("held", torch.cuda.memory_reserved()), ("peak", torch.cuda.max_memory_allocated())):
            _metric("clipfake_gpu_memory_bytes").set(used, {"kind": kind})


def _add(name: str, value: float, tags: dict[str, str]) -> None:
    if value > 0:  # Ray refuses 0
        _metric(name).inc(value, tags)


def _connected() -> bool:
    ray: Any = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@functools.cache
def _metric(name: str) -> Any:
    from ray.util import metrics

    kind, description, tags = METRICS[name]
    extra = {"boundaries": BOUNDARIES} if kind == "Histogram" else {}
    return getattr(metrics, kind)(name, description, tag_keys=tags, **extra)
