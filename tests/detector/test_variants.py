"""By a further decoder a detector scores other embeddings: the same parts, another encoder, card and fingerprint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipfake.detector.bundle import Detector
from clipfake.detector.further_decoder import FurtherDecoder
from clipfake.detector.named import load_detector
from clipfake.detector.variants import by_decoder, variant, variants
from clipfake.encoder import describe
from clipfake.errors import UsageError


@pytest.fixture
def listing(detector: Path) -> Detector:
    """A detector that lists `fast` beside its own decoder, `exact`."""
    plain = load_detector(str(detector))
    return replace(plain, decoders=(FurtherDecoder("fast", 10_000, 7, 0.01, "fp32", plain.test_card + 1),))


def test_a_further_decoder_changes_what_embeddings_are_read_and_nothing_else(listing):
    fast = by_decoder(listing, "fast")
    assert fast.encoder_fingerprint == describe("ViT-S-32-alt/untrained", decoder="fast").fingerprint
    assert fast.encoder == {**listing.encoder, "decoder": "fast"}
    np.testing.assert_array_equal(fast.test_card, listing.test_card + 1)
    x = np.random.default_rng(0).normal(size=(5, listing.in_dim)).astype(np.float32)
    for one, two in zip(listing.score(x), fast.score(x), strict=True):
        np.testing.assert_array_equal(one, two)
    assert fast.fingerprint not in (listing.fingerprint, by_decoder(listing, "exact").fingerprint)
    assert variant(listing, False, None) is listing
    assert [one.fingerprint for one in variants(listing)] == [listing.fingerprint, fast.fingerprint]


@pytest.mark.parametrize(("decoder", "says"), [("gpu", "lists fast, not gpu-1"), ("best", "give one of")])
def test_one_that_is_not_listed_is_refused(listing, decoder, says):
    with pytest.raises(UsageError, match=says):
        by_decoder(listing, decoder)
    with pytest.raises(UsageError, match="lists none, not exact-2"):
        by_decoder(by_decoder(listing, "fast"), "exact-2")
