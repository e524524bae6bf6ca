"""Statements of a C2PA manifest: the last editor's first, then those of the picture that was edited."""

import pytest
from signing import created, signed

from clipfake.images.metadata.credentials import MAX_STEPS, Statement, has_credentials, statements


def test_the_editor_stands_before_the_maker(picture, encode):
    made = signed(encode(picture, "png"), "png", created("trainedAlgorithmicMedia"), generator="Maker")
    edited = signed(made, "png", {"action": "c2pa.cropped"}, generator="Editor", edited=True)
    assert statements(made, "png") == [Statement("trainedAlgorithmicMedia", "Maker"), Statement("", "Maker")]
    found = statements(edited, "png")
    assert list(dict.fromkeys(one.generator for one in found)) == ["Editor", "Maker"]
    assert found[-2:] == statements(made, "png")


def test_generated_content_in_a_part_makes_a_composite(picture, encode):
    photo = signed(encode(picture, "jpeg"), "jpeg", created("digitalCapture"))
    filled = created("trainedAlgorithmicMedia", "c2pa.edited")
    kinds = [one.source_type for one in statements(signed(photo, "jpeg", filled, edited=True), "jpeg")]
    assert [kind for kind in kinds if kind] == ["compositeWithTrainedAlgorithmicMedia", "digitalCapture"]


def test_a_chain_of_edits_is_followed_so_far_and_no_farther(picture, encode):
    data = signed(encode(picture, "jpeg"), "jpeg", created("digitalCapture"), generator="step 0")
    for step in range(1, MAX_STEPS + 2):
        data = signed(data, "jpeg", {"action": "c2pa.cropped"}, generator=f"step {step}", edited=True)
    named = list(dict.fromkeys(one.generator for one in statements(data, "jpeg")))
    assert named == [f"step {step}" for step in range(MAX_STEPS + 1, 1, -1)]


@pytest.mark.parametrize("fmt", ["jpeg", "png"])
def test_a_picture_without_a_manifest_says_nothing_and_no_library_is_asked(picture, encode, fmt):
    data = encode(picture, fmt)
    assert not has_credentials(data)
    assert statements(data, fmt) == []


def test_a_format_without_manifests_is_not_looked_at(picture, encode):
    data = signed(encode(picture, "png"), "png", created("trainedAlgorithmicMedia"))
    assert has_credentials(data) and statements(data, "bmp") == []
