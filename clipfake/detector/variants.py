"""What one bundle can score as: by its own decoder or a further one, with the text that it reads or without it."""

from collections.abc import Iterator
from dataclasses import replace

from clipfake.detector.bundle import Detector
from clipfake.encoder.description import EncoderDescription
from clipfake.errors import UsageError
from clipfake.images.resize import full_name


def variant(detector: Detector, image_only: bool, decoder: str | None) -> Detector:
    """The detector as it is asked for; `decoder` None stands for its own. Raises UsageError for what it cannot be."""
    if image_only:
        detector = detector.without_text()
    return detector if decoder is None else by_decoder(detector, decoder)


def variants(detector: Detector) -> Iterator[Detector]:
    """It, and what else it can score as."""
    yield detector
    yield from (by_decoder(detector, further.decoder) for further in detector.decoders)
    if detector.text is not None:
        yield detector.without_text()


def by_decoder(detector: Detector, decoder: str) -> Detector:
    """The detector for embeddings of pixels by that decoder, its own or a further one that it lists.

    It reads other embeddings, so by a further one it has another fingerprint. Raises UsageError for any other decoder.
    """
    name, own = full_name(decoder), EncoderDescription.from_dict(detector.encoder)
    if name == own.decoder:
        return detector
    card = next((further.test_card for further in detector.decoders if further.decoder == name), None)
    if card is None:
        listed = ", ".join(further.decoder for further in detector.decoders) or "none"
        raise UsageError(
            f"the detector was fitted on pixels of the decoder {own.decoder}; of further ones it lists {listed}, not "
            f"{name}: leave --decoder out, or measure and add it by `clipfake detector add-decoder`"
        )
    encoder = replace(own, decoder=name)
    return replace(
        detector, encoder=encoder.to_dict(), encoder_fingerprint=encoder.fingerprint, test_card=card, decoders=()
    )
