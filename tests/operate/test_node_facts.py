"""What a node says of itself: its clock, its disk, what it sees of the places, and whether it can score."""

import time
from dataclasses import replace

import pytest

from clipfake.detector.bundle import Detector
from clipfake.operate.node_facts import encoder_facts, node_facts
from clipfake.storage.store import Store


def test_a_node_tells_its_facts(tmp_path):
    (tmp_path / "file.json").write_text("held")
    place = f"file://{tmp_path}"
    facts = node_facts(str(tmp_path), place, "file.json", place)
    assert (facts.token, facts.source) == ("held", None)
    assert 0 < facts.disk[0] <= facts.disk[1]
    assert abs(facts.clock - time.time()) < 60
    other = node_facts(str(tmp_path), place, "nothing.json", f"{place}/nowhere")
    assert "FileNotFoundError" in (other.token or "")
    assert other.source == "it is not there"


@pytest.mark.slow
def test_a_detector_whose_test_card_does_not_hold_is_said(detector, tmp_path):
    trained = Detector.load(Store(f"file://{detector}"))
    replace(trained, test_card=-trained.test_card).save(Store(f"file://{tmp_path}/other"))
    facts = encoder_facts(f"file://{tmp_path}/other", None, 1, 4, "fp32")
    assert facts.problem is not None
    assert "test card" in facts.problem
