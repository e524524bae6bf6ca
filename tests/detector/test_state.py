"""A detector's state: it comes back as it was, and what does not fit together is refused with the reason."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from clipfake.detector.inspection import load
from clipfake.detector.state import PARTS, arrays_of, audit, construct, describe, parts_of
from clipfake.measures.thresholds import Threshold


@pytest.fixture(scope="module")
def bundle(detector):
    return load(str(detector))


def stored(detector):
    return json.loads(json.dumps(describe(detector))), {
        **arrays_of(detector),
        "test_card": torch.from_numpy(detector.test_card),
    }


def test_what_is_constructed_from_the_state_has_the_same_state(bundle):
    for one in (bundle, replace(bundle, reference=None)):
        again = replace(one, **construct(*stored(one)))
        assert describe(again) == describe(one)
        assert arrays_of(again).keys() == arrays_of(one).keys()
        assert all(torch.equal(array, arrays_of(one)[name]) for name, array in arrays_of(again).items())
        np.testing.assert_array_equal(again.test_card, one.test_card)
    assert set(parts_of(bundle)) == set(PARTS)
    assert set(parts_of(replace(bundle, reference=None))) == set(PARTS) - {"reference"}


def test_a_figure_that_is_no_number_is_null_in_the_description(bundle):
    odd = replace(bundle, metrics={"test": {"auc": math.nan, "of": [1.0, math.inf]}})
    assert describe(odd)["metrics"] == {"test": {"auc": None, "of": [1.0, None]}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d, a: a.pop("test_card"), "its arrays are"),
        (lambda d, a: a.update(more=torch.zeros(1)), "its arrays are"),
        (lambda d, a: a.update(test_card=a["test_card"].double()), "its arrays are"),
        (lambda d, a: d["classifier"].update(kind="oracle"), "classifier: oracle is unknown"),
        (lambda d, a: d.update(calibrator=None), "calibrator: None is unknown"),
    ],
)
def test_a_state_that_is_no_detectors_is_refused(bundle, change, says):
    description, arrays = stored(bundle)
    change(description, arrays)
    with pytest.raises(ValueError, match=says):
        construct(description, arrays)


def low(bundle, fpr):
    return Threshold(fpr, bundle.thresholds[0].decision - 1, 400)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: {"test_card": b.test_card[:-1]}, "the test card does not fit"),
        (lambda b: {"test_card": np.full_like(b.test_card, np.nan)}, "an array is not finite"),
        (lambda b: {"test_card_tolerance": {"fp32": math.inf}}, "a number is not finite"),
        (lambda b: {"thresholds": (*b.thresholds, low(b, 0.01))}, "thresholds fall"),
        (lambda b: {"thresholds": (b.thresholds[0], b.thresholds[0])}, "given twice"),
        (lambda b: {"thresholds": (Threshold(1.5, 0.0, 400),)}, "no rate"),
        (lambda b: {"reference": replace(b.reference, points=b.reference.points[:, :-1])}, "reference"),
        (lambda b: {"head": None}, "do(es)? not fit"),
    ],
)
def test_parts_that_do_not_fit_are_refused(bundle, change, says):
    audit(bundle)
    with pytest.raises(ValueError, match=says):
        audit(replace(bundle, **change(bundle)))


def test_thresholds_of_the_fixture_rise_where_rates_fall(bundle):
    rising = sorted(bundle.thresholds, key=lambda threshold: -threshold.fpr)
    assert all(one.decision <= two.decision for one, two in pairwise(rising))
