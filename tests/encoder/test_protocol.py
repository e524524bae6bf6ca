from clipfake import encoder as encoders
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.protocol import FAMILIES, family, family_of


def test_every_family_of_the_table_offers_what_the_protocol_says() -> None:
    for name in FAMILIES:
        for function in ("claims", "describe", "load", "describe_text", "load_text"):
            assert callable(getattr(family(name), function)), (name, function)


def test_open_clips_names_are_open_clips() -> None:
    for name in (
        "ViT-B-32-quickgelu/openai",
        "ViT-S-32-alt/untrained",
        "ViT-B-32/s3://bucket/x.safetensors",
        "nonsense",
    ):
        assert family_of(name) is family("open_clip")


def test_fingerprints_from_before_there_were_families_stay() -> None:
    """Stored embeddings and detectors name them: a change here makes all of them unusable."""
    described = encoders.describe("ViT-S-32-alt/untrained")
    assert described.fingerprint.startswith("5f0c8fc0c1d9c096")
    assert EncoderDescription.from_json(described.to_json()).fingerprint == described.fingerprint
