"""Pixels and text -> embeddings. `describe` and `load` find the family of an encoder by its name or description."""

from typing import TYPE_CHECKING

from clipfake.encoder import protocol
from clipfake.errors import UsageError
from clipfake.images.without_compiler import without_compiler

if TYPE_CHECKING:
    from clipfake.encoder.description import EncoderDescription
    from clipfake.encoder.precision import Precision
    from clipfake.encoder.protocol import Encoder, TextDescription, TextEncoder

__all__ = ["describe", "describe_text", "load", "load_text"]


def describe(name: str, feature: str = "projected", decoder: str = "exact") -> "EncoderDescription":
    """The description of the encoder of that name (see `clipfake embed --help`); its weights are fetched.

    feature : see `clipfake.encoder.feature`; decoder : see `clipfake.images.resize`

    Raises UsageError, in one line, for a name, feature or decoder that is not known and for weights that cannot be had.

    >>> describe("ViT-S-32-alt/untrained").fingerprint[:12]
    '5f0c8fc0c1d9'
    """
    from clipfake.images.resize import full_name

    decoder = full_name(decoder)
    with without_compiler():
        return protocol.family_of(name).describe(name, feature, decoder)


def load(
    encoder: "str | EncoderDescription", *, precision: "Precision" = "fp32", device: str = "cpu", batch_size: int = 32
) -> "Encoder":
    """The encoder, ready on `device`; of a description, its weights must still be those that were described.

    Raises UsageError as `describe` does, and for a precision or device that is not to be had.
    """
    _check(device, precision, batch_size)
    described = describe(encoder) if isinstance(encoder, str) else encoder
    with without_compiler():
        return protocol.family(described.family).load(described, precision, device, batch_size)


def describe_text(encoder: "EncoderDescription") -> "TextDescription":
    """The text tower that belongs to an encoder. Raises UsageError where it has none, or it cannot be had."""
    with without_compiler():
        return protocol.family(encoder.family).describe_text(encoder)


def load_text(
    encoder: "EncoderDescription", *, precision: "Precision" = "fp32", device: str = "cpu", batch_size: int = 32
) -> "TextEncoder":
    """That text tower, ready on `device`; raises what `describe_text` and `load` raise."""
    _check(device, precision, batch_size)
    with without_compiler():
        return protocol.family(encoder.family).load_text(encoder, precision, device, batch_size)


def _check(device: str, precision: "Precision", batch_size: int) -> None:
    """Before weights are fetched for it."""
    from clipfake.encoder.tower_encoder import device_of

    device_of(device, precision)
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; give 1 or more")
