"""What one image may cost: bytes, pixels, time and memory."""

from dataclasses import dataclass

from clipfake.corpus.fetch import MAX_BYTES
from clipfake.options import above, check, option

_IMAGES = ("corpus", "manifest")


@dataclass(frozen=True)
class Limits:
    """What one image may cost. `decode` enforces the first two; a `DecoderPool` enforces all four.

    Up to 16 bytes a pixel are needed (WebP). Where `memory_bytes` is smaller than that, the decoders of WebP, AVIF and
    progressive JPEG may say `corrupt` of a large image where the others say `crashed`: they do not tell the two apart.

    timeout_s : wall-clock time for decoding and preprocessing
    memory_bytes : address space beyond what an idle child has
    """

    max_bytes: int = option(
        MAX_BYTES, "Largest file in bytes; a larger one gets the status too_large.", check=above(0), inputs=_IMAGES
    )
    max_pixels: int = option(
        100_000_000, "Largest image in pixels; a larger one gets the status too_large.", check=above(0), inputs=_IMAGES
    )
    timeout_s: float = option(
        20.0, "Seconds that one image may take to decode.", flag="--decode-timeout", check=above(0), inputs=_IMAGES
    )
    memory_bytes: int = option(
        2 << 30,
        "Bytes of memory that one image may take to decode.",
        flag="--decode-memory",
        check=above(0),
        inputs=_IMAGES,
    )

    def __post_init__(self) -> None:
        check(self)
