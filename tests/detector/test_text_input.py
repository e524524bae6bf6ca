"""A detector of image and text is kept whole, is given the text it knows, and scores without it only when asked to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clipfake.detector.bundle import Detector
from clipfake.detector.calibrators.maps import Sigmoid
from clipfake.detector.classifiers.kernel_svm import KernelSvm
from clipfake.detector.heads.linear_projection import init_fusion_head
from clipfake.detector.text_input import TextInput
from clipfake.errors import UsageError

DIM, TEXT_DIM = 12, 6
TEXT = TextInput("a photo of {category}", "t" * 64, TEXT_DIM)


class Folder(dict):
    read_bytes = dict.__getitem__
    write_bytes = dict.__setitem__


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    return random.normal(size=(30, DIM)).astype(np.float32), random.normal(size=(30, TEXT_DIM)).astype(np.float32)


@pytest.fixture(params=["sum", "product"])
def detector(request, vectors):
    x, text = vectors
    head = init_fusion_head(x, text, request.param, 8).eval().requires_grad_(False)
    with torch.inference_mode():
        support = head(torch.tensor(x[:9]), torch.tensor(text[:9])).clone()
    svm = KernelSvm(support, torch.tensor(np.random.default_rng(1).normal(size=9)), 0.25, 1.5)
    card, tolerance = np.ones(DIM, np.float32), {"fp32": 1e-4}
    return Detector({"arch": "a"}, "e" * 64, head, svm, Sigmoid(-1.0, 0.0), (), card, tolerance, text=TEXT)


def test_it_comes_back_as_it_was_saved(detector, vectors):
    detector.save(folder := Folder())
    again = Detector.load(folder)
    assert (again.fingerprint, again.text, again.head.fusion) == (detector.fingerprint, TEXT, detector.head.fusion)
    for one, two in zip(detector.score(*vectors), again.score(*vectors), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_the_text_is_and_how_it_is_fused_is_in_the_fingerprint(detector, vectors):
    other = "sum" if detector.head.fusion == "product" else "product"
    fused = init_fusion_head(*vectors, other, 8)
    fused.load_state_dict(detector.head.state_dict())
    changed = [
        replace(detector, head=fused),
        replace(detector, text=replace(TEXT, template="{caption}")),
        replace(detector, text=replace(TEXT, tower_sha256="u" * 64)),
        detector.without_text(),
    ]
    assert len({one.fingerprint for one in (detector, *changed)}) == 5


def test_without_text_it_refuses_unless_it_is_asked_for_the_image_alone(detector, vectors):
    with pytest.raises(UsageError, match="--image-only"):
        detector.score(vectors[0])
    alone = detector.without_text()
    decision = alone.score(vectors[0]).decision
    expected = alone.classifier.decision(detector.head.image(torch.tensor(vectors[0]))).numpy()
    np.testing.assert_array_equal(decision, expected)
    assert np.abs(decision - detector.score(*vectors).decision).max() > 1e-3
    with pytest.raises(UsageError, match="reads no text"):
        alone.without_text()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "there is none here"),
        (replace(TEXT, template="{caption}"), "here it is '{caption}'"),
        (replace(TEXT, tower_sha256="u" * 64), "another text tower"),
    ],
)
def test_other_text_is_refused_in_one_line(found, says):
    TEXT.check(TextInput(**vars(TEXT)))
    with pytest.raises(UsageError, match="a photo of") as refusal:
        TEXT.check(found)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_footer_is_read_and_damage_to_it_is_said():
    entry = '{"template": "a photo of {category}", "tower_sha256": "%s", "dim": 6}' % ("t" * 64)
    assert TextInput.from_footer({"text": entry}) == TEXT
    assert TextInput.from_footer({"kind": "embeddings"}) is None
    for damaged in ("{}", "nothing", "[1]"):
        with pytest.raises(UsageError, match="embed again"):
            TextInput.from_footer({"text": damaged})


def test_a_bundle_whose_text_does_not_fit_its_head_is_damaged(detector):
    detector.save(folder := Folder())
    whole = folder["detector.json"]
    for old, new in ((b'"dim": 6', b'"dim": 7'), (b'"fusion": "', b'"fusion": "x'), (b"a photo of", b"an image of")):
        assert old in whole
        folder["detector.json"] = whole.replace(old, new)
        with pytest.raises(UsageError, match="damaged"):
            Detector.load(folder)
