import subprocess
import sys
from dataclasses import replace

import pytest

from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.spec import EncoderSpec
from clipfake.errors import UsageError
from clipfake.images.preprocess import Preprocess

TAGGED = EncoderDescription(
    arch="ViT-B-32-quickgelu",
    weights="openai",
    weights_sha256="ab" * 32,
    preprocess=Preprocess(),
    dim=512,
    quick_gelu=True,
)
FILE = replace(TAGGED, weights="a b.pt", uri="s3://bucket/a%20b.pt")


def test_the_fingerprint_is_what_it_always_was() -> None:
    """Stored embeddings and detectors name it: a change here makes all of them unusable."""
    assert TAGGED.fingerprint == "083cf3476e81f4e5da27bb390ccca2da706d1ef1af7e6ff355a5c608a6e22eeb"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("arch", {"arch": "ViT-B-32"}),
        ("weights_sha256", {"weights_sha256": "cd" * 32}),
        ("preprocess", {"preprocess": Preprocess(size=(336, 336))}),
        ("preprocess", {"preprocess": Preprocess(interpolation="bilinear")}),
        ("preprocess", {"preprocess": Preprocess(resize_mode="squash")}),
        ("preprocess", {"preprocess": Preprocess(fill_color=1)}),
        ("preprocess", {"preprocess": Preprocess(mean=(0.5, 0.5, 0.5))}),
        ("preprocess", {"preprocess": Preprocess(std=(0.5, 0.5, 0.5))}),
    ],
)
def test_what_decides_an_embedding_changes_the_fingerprint(name: str, change: dict) -> None:
    other = replace(TAGGED, **change)
    assert other.fingerprint != TAGGED.fingerprint
    assert TAGGED.differences(other) == [name]


def test_names_and_places_of_weights_do_not() -> None:
    assert FILE.fingerprint == TAGGED.fingerprint
    assert FILE.differences(TAGGED) == []


PACKED = replace(TAGGED, family="packed", weights="clip-b16")


def test_the_family_decides_too() -> None:
    assert PACKED.fingerprint != TAGGED.fingerprint
    assert PACKED.differences(TAGGED) == TAGGED.differences(PACKED) == ["family"]
    with pytest.raises(UsageError, match="family changed"):
        TAGGED.check(PACKED)


def test_a_description_without_a_family_is_open_clips() -> None:
    """So are all that were written before there were families; their fingerprints stay."""
    assert "family" not in TAGGED.to_dict()
    assert EncoderDescription.from_dict(TAGGED.to_dict() | {"family": "open_clip"}) == TAGGED
    with pytest.raises(UsageError, match="the family 'clip3'"):
        EncoderDescription.from_dict(TAGGED.to_dict() | {"family": "clip3"})


@pytest.mark.parametrize("description", [TAGGED, FILE, PACKED])
def test_json_round_trip(description: EncoderDescription) -> None:
    assert EncoderDescription.from_json(description.to_json()) == description
    assert EncoderDescription.from_dict(description.to_dict()).fingerprint == description.fingerprint
    assert "\n" not in description.to_json()


def test_the_name_finds_the_encoder_again() -> None:
    assert PACKED.name == "clip-b16"
    assert replace(PACKED, uri="s3://bucket/x.safetensors").name == "s3://bucket/x.safetensors"
    assert EncoderSpec.parse(TAGGED.name) == EncoderSpec("ViT-B-32-quickgelu", "openai", "tag")
    assert EncoderSpec.parse(FILE.name) == EncoderSpec("ViT-B-32-quickgelu", "s3://bucket/a%20b.pt", "file")


def test_untrained_says_so() -> None:
    assert TAGGED.trained
    assert not replace(TAGGED, weights="untrained").trained


@pytest.mark.parametrize(
    "change",
    [{"dim": "512"}, {"preprocess": "bicubic"}, {"uri": 1}, {"colour": 1}, {"feature": "tokens"}, {"decoder": "draft"}],
)
def test_what_is_not_known_is_refused(change: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        EncoderDescription.from_dict(TAGGED.to_dict() | change)


def test_a_missing_field_is_refused() -> None:
    values = TAGGED.to_dict()
    del values["weights_sha256"]
    with pytest.raises(UsageError, match="wrong: weights_sha256"):
        EncoderDescription.from_dict(values)


@pytest.mark.parametrize("text", ["", "[]", "null", b"\xff\xfe", "{}"])
def test_what_is_no_description_is_refused(text: str | bytes) -> None:
    with pytest.raises(UsageError, match="no encoder description"):
        EncoderDescription.from_json(text)


def test_reading_a_description_needs_no_torch() -> None:
    code = (
        "import sys; from clipfake.encoder.description import EncoderDescription as D; "
        f"D.from_json({TAGGED.to_json()!r}).fingerprint; "
        "assert not {'torch', 'open_clip', 'pyarrow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
